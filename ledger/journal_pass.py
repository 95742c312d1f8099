"""The audit's walk over the journal: entries against tiles and roots, and which entry is the last of its record."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from ledger import canonical
from ledger.errors import WireError
from ledger.findings import FindingKind, Spot
from ledger.journal import StoredTiles
from ledger.tree import TILE_BYTES, Tree, append, leaf_hashes
from ledger.wire import KIND_AT, RECORD_BYTES, TABLE, VIOLATIONS, EventEntry, Flag, Kind, RecordEntry, decode_entry

_CHUNK = 1024
_NONE = bytes(6)
_TOLD = 64  # findings of one sort that are told one by one
# In `heads`, one byte for each entry: 0 where it is not the last of a record, 1 where it is, 2 where it is and tells of a deletion.
_DEAD, _TWICE = 2, 3


@dataclass(slots=True)
class JournalReport:
    """What the journal showed: `violations` are entries marked when they were sealed, `configurations` those of tables and their options.

    `marks` are the entries whose documents say more of the violations. `deletions` has, for each table with lawful deletions, the first
    entry of one.
    """

    violations: list[int] = field(default_factory=list)
    configurations: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    deletions: dict[int, int] = field(default_factory=dict)
    spots: list[Spot] = field(default_factory=list)

    def add(self, kind: FindingKind, detail: str, entry: int | None = None, table: int | None = None) -> None:
        """Report a finding about the journal."""
        self.spots.append(Spot(kind, table, entry=entry, detail=detail))


class _Recomputed:
    """Tiles computed from the entries, each full one held against the stored one; keeps only the right edge."""

    def __init__(self, stored: StoredTiles) -> None:
        self._stored = stored
        self._edge: dict[int, tuple[int, bytes]] = {}
        self.wrong: list[tuple[int, int]] = []

    def read(self, level: int, index: int) -> bytes:
        place, hashes = self._edge.get(level, (index, b""))
        return hashes if place == index else b""

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self._edge[level] = (index, hashes)
        if len(hashes) == TILE_BYTES and self._stored.read(level, index) != hashes:
            self.wrong.append((level, index))

    def check_edge(self) -> None:
        """Hold the tiles at the right edge, which are not full, against the stored ones."""
        self.wrong += [
            (level, index)
            for level, (index, hashes) in self._edge.items()
            if len(hashes) < TILE_BYTES and self._stored.read(level, index) != hashes
        ]


def journal_pass(db: sqlite3.Connection, size: int, expected: Mapping[int, bytes]) -> JournalReport:
    """Read all entries once, then the home's index of records. Memory: two bytes for each entry.

    `expected` maps sizes to the roots that chain, receipts and the last checkpoint give for them.
    """
    report, heads = JournalReport(), bytearray(size)
    tiles, done = _Recomputed(StoredTiles(db)), 0
    stops = sorted(stop for stop in expected if 0 < stop <= size)
    cursor = db.execute("SELECT body FROM entries WHERE idx>=0 ORDER BY idx")
    while done < size:
        stop = next((stop for stop in stops if stop > done), size)
        rows = cursor.fetchmany(min(_CHUNK, stop - done))
        if not rows:
            report.add(FindingKind.JOURNAL_ALTERED, f"the journal breaks off at entry {done} of {size}")
            break
        bodies = [row[0] for row in rows]
        if set(map(type, bodies)) != {bytes}:
            bodies = [body if isinstance(body, bytes) else b"" for body in bodies]
        append(tiles, done, leaf_hashes(bodies))
        heads[done : done + len(bodies)] = b"\1" * len(bodies)
        if not _plain(bodies):
            for i, body in enumerate(bodies):
                if not _begins(body):
                    _special(db, report, heads, done + i, body)
        done += len(bodies)
        if done in expected and Tree(tiles).root(done) != expected[done]:
            report.add(FindingKind.JOURNAL_ALTERED, f"the first {done} entries do not give the root anchored for them")
    else:
        tiles.check_edge()
        _index(db, report, heads)
    for level, index in tiles.wrong[:_TOLD]:
        report.add(FindingKind.JOURNAL_ALTERED, f"stored tile {level}/{index} contradicts the entries below it")
    return report


def _begins(body: bytes) -> bool:
    """Whether an entry begins a record and tells of no violation: nearly all entries do, and need no look at other entries."""
    return len(body) >= RECORD_BYTES and body[1] == 1 and not body[10] and body[32:38] == _NONE


def _plain(bodies: list[bytes]) -> bool:
    """Whether all entries begin records, in a few steps for all together; False where these steps cannot tell."""
    size = len(bodies[0])
    if size < RECORD_BYTES or set(map(len, bodies)) != {size}:
        return False
    joined = b"".join(bodies)
    return not joined[KIND_AT::size].strip(b"\1") and not any(joined[place::size].strip(b"\0") for place in (10, *range(32, 38)))


def _special(db: sqlite3.Connection, report: JournalReport, heads: bytearray, index: int, body: bytes) -> None:
    try:
        entry = decode_entry(body)
    except WireError as error:
        heads[index] = 0
        return report.add(FindingKind.JOURNAL_ALTERED, f"entry {index}: {error}", index)
    if isinstance(entry, EventEntry):
        heads[index] = 0
        if entry.kind is Kind.CONFIGURATION:
            report.configurations.append(index)
        elif entry.kind is Kind.MARKS:
            report.marks.append(index)
        return _document(db, report, index, entry)
    if entry.flags & VIOLATIONS:
        report.violations.append(index)
    if entry.kind is Kind.DELETED:
        heads[index] = _DEAD
        if not entry.flags & Flag.DELETION:
            report.deletions.setdefault(entry.table, index)
    if entry.previous is None:
        return None
    try:
        row = db.execute("SELECT body FROM entries WHERE idx=?", (entry.previous,)).fetchone()
        before = None if row is None or entry.previous >= index else decode_entry(row[0])
    except WireError:
        before = None
    if (
        not isinstance(before, RecordEntry)
        or (before.record, before.version + 1) != (entry.record, entry.version)
        or before.table != entry.table
        or (before.kind is Kind.DELETED) != (entry.kind is Kind.WRITTEN)
    ):
        return report.add(FindingKind.JOURNAL_ALTERED, f"entry {index} does not follow entry {entry.previous}", index, entry.table)
    if not heads[entry.previous]:
        detail = f"entry {index} and an earlier one are both version {entry.version} of one record"
        return report.add(FindingKind.FORKED, detail, index, entry.table)
    heads[entry.previous] = 0
    return None


def _document(db: sqlite3.Connection, report: JournalReport, index: int, entry: EventEntry) -> None:
    row = db.execute("SELECT CAST(salt AS BLOB), CAST(body AS BLOB) FROM documents WHERE entry=?", (index,)).fetchone()
    try:
        if row is None:
            raise WireError("its document is missing")
        canonical.check(row[0], row[1], entry.commitment)
    except WireError as error:
        report.add(FindingKind.JOURNAL_ALTERED, f"entry {index}: {error}", index)


def _index(db: sqlite3.Connection, report: JournalReport, heads: bytearray) -> None:
    """Hold the home's index against the journal: it must name every record's last entry once, as live or deleted, and no other."""
    named, size = bytearray(len(heads)), len(heads)
    attached = [row[0] for row in db.execute("SELECT id FROM tables WHERE detached=0")]
    told = 0
    for table, (live, condition) in product(attached, ((1, "live=1"), (_DEAD, "live IS NOT 1"))):
        # Keys of another type than BLOB sort below: no walk over the table would meet them.
        cursor = db.execute(f"SELECT entry FROM state WHERE tbl=? AND key>=x'' AND {condition}", (table,))  # noqa: S608
        while rows := cursor.fetchmany(_CHUNK):
            entries = [row[0] for row in rows]
            first, count = entries[0], len(entries)
            inside = isinstance(first, int) and 0 <= first <= size - count
            if inside and entries == list(range(first, first + count)) and not any(named[first : first + count]):
                named[first : first + count] = bytes((live,)) * count
                continue
            for entry in entries:
                if isinstance(entry, int) and 0 <= entry < size:
                    # A second naming stays visible: it is neither 1 nor 2.
                    named[entry] = _TWICE if named[entry] else live
                elif (told := told + 1) <= _TOLD:
                    report.add(FindingKind.JOURNAL_ALTERED, f"the home's index names entry {entry}, which there is not", None, table)
    for start in range(0, size, _CHUNK):
        if heads[start : start + _CHUNK] != named[start : start + _CHUNK]:
            told = _compare(db, report, heads, named, range(start, min(start + _CHUNK, size)), set(attached), told)
    if told > _TOLD:
        report.add(FindingKind.JOURNAL_ALTERED, f"the home's index contradicts {told - _TOLD} more entries")


def _compare(
    db: sqlite3.Connection, report: JournalReport, heads: bytearray, named: bytearray, part: range, attached: set[int], told: int
) -> int:
    bodies = db.execute("SELECT CAST(body AS BLOB) FROM entries WHERE idx>=? AND idx<? ORDER BY idx", (part.start, part.stop))
    for index, (body,) in zip(part, bodies, strict=True):
        head, name = heads[index], named[index]
        table = int.from_bytes(body[TABLE], "big")
        # A deleted record's place may be another's by now: one that moved there.
        if head == name or (not name and (head == _DEAD or table not in attached)):
            continue
        told += 1
        if told <= _TOLD:
            words = "names it, and it is no record's last" if not head else "does not name it" if not name else "tells otherwise"
            report.add(FindingKind.JOURNAL_ALTERED, f"entry {index}: the home's index {words}", index, table)
    return told
