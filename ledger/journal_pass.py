"""The audit's walk over the journal: entries against tiles and roots, and which entry is the last of its record."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.errors import LedgerError, WireError
from ledger.findings import FindingKind, Spot
from ledger.journal import StoredTiles
from ledger.tree import TILE_BYTES, Tree, append, leaf_hashes
from ledger.wire import VIOLATIONS, EventEntry, Kind, decode_entry

_CHUNK = 1024
_NONE = bytes(6)


@dataclass(slots=True)
class JournalReport:
    """`heads` has one byte per entry, 1 where it is the last entry of a record; `violations` are entries marked when they were sealed."""

    size: int = 0
    heads: bytearray = field(default_factory=bytearray)
    violations: list[int] = field(default_factory=list)
    configurations: list[int] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)


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


def journal_pass(db: sqlite3.Connection, size: int, expected: Mapping[int, bytes]) -> JournalReport:
    """Read all entries once. `expected` maps sizes to the roots that chain, receipts and the last checkpoint give for them."""
    report, stored = JournalReport(size, bytearray(size)), StoredTiles(db)
    tiles, done = _Recomputed(stored), 0
    stops = sorted(stop for stop in expected if stop <= size)
    cursor = db.execute("SELECT body FROM entries ORDER BY idx")
    while done < size:
        stop = next((stop for stop in stops if stop > done), size)
        rows = cursor.fetchmany(min(_CHUNK, stop - done))
        if not rows:
            report.spots.append(Spot(FindingKind.JOURNAL_ALTERED, None, detail=f"the journal breaks off at entry {done} of {size}"))
            break
        bodies = [row[0] for row in rows]
        append(tiles, done, leaf_hashes(bodies))
        report.heads[done : done + len(bodies)] = b"\1" * len(bodies)
        # New records are nearly all of a journal and need no look at other entries.
        special = [i for i, body in enumerate(bodies) if body[1] != 1 or body[10] or body[32:38] != _NONE]
        for i in special:
            _special(db, report, done + i, bodies[i])
        done += len(bodies)
        if done in expected and Tree(tiles).root(done) != expected[done]:
            report.spots.append(
                Spot(FindingKind.JOURNAL_ALTERED, None, detail=f"the first {done} entries do not give the root anchored for them")
            )
    for level, index in tiles.wrong[:16]:
        report.spots.append(Spot(FindingKind.JOURNAL_ALTERED, None, detail=f"stored tile {level}/{index} contradicts the entries below it"))
    return report


def _special(db: sqlite3.Connection, report: JournalReport, index: int, body: bytes) -> None:
    try:
        entry = decode_entry(body)
    except WireError as error:
        report.heads[index] = 0
        report.spots.append(Spot(FindingKind.JOURNAL_ALTERED, None, entry=index, detail=f"entry {index}: {error}"))
        return
    if isinstance(entry, EventEntry):
        report.heads[index] = 0
        if entry.kind is Kind.CONFIGURATION:
            report.configurations.append(index)
        return
    if entry.flags & VIOLATIONS:
        report.violations.append(index)
    if entry.previous is None:
        return
    try:
        row = db.execute("SELECT body FROM entries WHERE idx=?", (entry.previous,)).fetchone()
        before = None if row is None or entry.previous >= index else decode_entry(row[0])
    except LedgerError:
        before = None
    if before is None or isinstance(before, EventEntry) or (before.record, before.version + 1) != (entry.record, entry.version):
        detail = f"entry {index} does not follow entry {entry.previous}"
        report.spots.append(Spot(FindingKind.JOURNAL_ALTERED, entry.table, entry=index, detail=detail))
    elif not report.heads[entry.previous]:
        detail = f"entries {index} and an earlier one are both version {entry.version} of one record"
        report.spots.append(Spot(FindingKind.FORKED, entry.table, entry=index, detail=detail))
    else:
        report.heads[entry.previous] = 0
