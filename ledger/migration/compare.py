"""Two tables, row by row and value by value, whatever order their engines keep rows in, in bounded memory.

Each side is read once in key order, and of every row only digests go to a temporary database of SQLite's own: of its key, by which
rows are brought together, and 8 bytes of each value, under a key that exists for this comparison only. So no clinical value comes to
lie on another disk, and engines that sort alike or not are compared in the same way. Rows that differ are then read again, for their
names. A changed value goes unnoticed with probability 2^-64.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b, sha256

from ledger import canonical, rowcodec
from ledger.migration.pairing import Pairing, places
from ledger.migration.values import Rule, form_of
from ledger.shape import Shape, Snapshot

MOST_LISTED = 1000
_WIDTH = 8
_KEY = 16
Progress = Callable[[str, int], None]


class Change(StrEnum):
    """What became of a row."""

    CHANGED = "changed"
    MISSING = "missing"  # there is no row of this key any more
    ADDED = "added"  # no old row has this key
    REPEATED = "repeated"  # a second row under one key


@dataclass(slots=True)
class Difference:
    """One row that differs: its key by old names, and the old columns whose values do; values only where they were asked for."""

    change: Change
    key: dict[str, str | None]
    columns: tuple[str, ...] = ()
    before: dict[str, str | None] | None = None
    after: dict[str, str | None] | None = None


@dataclass(slots=True)
class Comparison:
    """What was found. `differences` lists the first 1000; `digest` is SHA-256 over all of them, see docs/spec.md."""

    old_rows: int = 0
    new_rows: int = 0
    counts: dict[Change, int] = field(default_factory=lambda: dict.fromkeys(Change, 0))
    columns: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    digest: bytes = b""

    @property
    def equal(self) -> bool:
        return not any(self.counts.values())


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two tables, in one snapshot."""

    snapshot: Snapshot
    shape: Shape


class _Reader:
    """Rows of one side as the digests of their keys, and what they hold."""

    def __init__(self, side: Side, pairing: Pairing, *, new: bool, secret: bytes) -> None:
        self._side, self._secret, self._keys = side, secret, pairing.keys
        self.names = [pair.old for pair in pairing.pairs]
        self._places = places([pair.new if new else pair.old for pair in pairing.pairs], side.shape)
        self._rules: list[Rule] = [pair.of_new if new else pair.of_old for pair in pairing.pairs]
        self._types = [side.shape.columns[place].type for place in self._places]

    def rows(self) -> Iterator[list[tuple[bytes, list[bytes], list[bytes]]]]:
        """Runs of (digest of the key, fields in the order of the pairs, their forms)."""
        encoding = self._side.shape.encoding
        for run in self._side.snapshot.rows(self._side.shape):
            made = []
            for row in run.rows:
                parts = rowcodec.fields(encoding, row)
                chosen = [parts[place] for place in self._places]
                forms = [
                    rule(form_of(encoding, part, kind)) for part, kind, rule in zip(chosen, self._types, self._rules, strict=True)
                ]
                made.append((self._key_of(forms), chosen, forms))
            yield made

    def _key_of(self, forms: list[bytes]) -> bytes:
        digest = blake2b(digest_size=_KEY, key=self._secret)
        for form in forms[: self._keys]:
            digest.update(len(form).to_bytes(8, "big") + form)
        return digest.digest()

    def digests(self, forms: list[bytes]) -> bytes:
        return b"".join([blake2b(form, digest_size=_WIDTH, key=self._secret).digest() for form in forms])

    def texts(self, fields: list[bytes]) -> dict[str, str | None]:
        """What a row holds, for people, by the old names."""
        encoding = self._side.shape.encoding
        return {name: rowcodec.display(encoding, part) for name, part in zip(self.names, fields, strict=True)}

    def key_texts(self, fields: list[bytes]) -> dict[str, str | None]:
        return dict(list(self.texts(fields).items())[: self._keys])


def compare(old: Side, new: Side, pairing: Pairing, secret: bytes, *, values: bool, progress: Progress) -> Comparison:
    """Compare all rows of both sides. `secret`: 32 random bytes that nobody else has. Raises SourceError."""
    made = Comparison()
    before = _Reader(old, pairing, new=False, secret=secret)
    after = _Reader(new, pairing, new=True, secret=secret)
    # A database without a name is private, on disk only beyond its cache, and gone when closed.
    with closing(sqlite3.connect("", isolation_level=None)) as spool:
        spool.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; PRAGMA temp_store=FILE;")
        spool.execute("CREATE TABLE odd (side TEXT, key BLOB, change TEXT, columns TEXT, PRIMARY KEY (side, key)) WITHOUT ROWID")
        spool.execute("BEGIN")
        made.old_rows = _spool(spool, "old", before, old.shape.table, made, progress)
        made.new_rows = _spool(spool, "new", after, new.shape.table, made, progress)
        _join(spool, before.names, made)
        digest = sha256()
        listed: dict[bytes, Difference] = {}
        if not made.equal:
            for side, reader in (("old", before), ("new", after)):
                for key, difference in _named(spool, side, reader, values):
                    digest.update(_line(difference) + b"\n")
                    if len(made.differences) < MOST_LISTED:
                        made.differences.append(difference)
                        listed[key] = difference
            if values:
                _fill(after, listed)
        made.digest = digest.digest()
    return made


def _spool(spool: sqlite3.Connection, side: str, reader: _Reader, table: str, made: Comparison, progress: Progress) -> int:
    count = 0
    spool.execute(f"CREATE TABLE {side} (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID")
    for run in reader.rows():
        for key, _fields, forms in run:
            taken = spool.execute(f"INSERT OR IGNORE INTO {side} VALUES (?,?)", (key, reader.digests(forms)))  # noqa: S608
            if not taken.rowcount:
                made.counts[Change.REPEATED] += 1
                spool.execute("INSERT OR IGNORE INTO odd VALUES (?,?,?,'')", (side, key, Change.REPEATED))
        count += len(run)
        progress(table, len(run))
    return count


def _join(spool: sqlite3.Connection, names: list[str], made: Comparison) -> None:
    cursor = spool.execute("SELECT o.key, o.row, n.row FROM old o JOIN new n ON n.key = o.key WHERE o.row <> n.row")
    while rows := cursor.fetchmany(1000):
        for key, was, now in rows:
            differing = [i for i in range(len(names)) if was[_WIDTH * i : _WIDTH * (i + 1)] != now[_WIDTH * i : _WIDTH * (i + 1)]]
            for i in differing:
                made.columns[names[i]] = made.columns.get(names[i], 0) + 1
            made.counts[Change.CHANGED] += 1
            listed = ",".join(map(str, differing))
            spool.execute("INSERT OR REPLACE INTO odd VALUES ('old',?,?,?)", (key, Change.CHANGED, listed))
    for side, other, change in (("old", "new", Change.MISSING), ("new", "old", Change.ADDED)):
        lacking = f"FROM {side} WHERE key NOT IN (SELECT key FROM {other})"  # noqa: S608
        made.counts[change] += spool.execute(f"SELECT count(*) {lacking}").fetchone()[0]
        spool.execute(f"INSERT OR REPLACE INTO odd SELECT '{side}', key, '{change}', '' {lacking}")


def _named(spool: sqlite3.Connection, side: str, reader: _Reader, values: bool) -> Iterator[tuple[bytes, Difference]]:
    """The differences that one side's rows show, in the order in which that side is read."""
    if not spool.execute("SELECT count(*) FROM odd WHERE side=?", (side,)).fetchone()[0]:
        return
    met: set[bytes] = set()
    for run in reader.rows():
        for key, fields, _forms in run:
            found = spool.execute("SELECT change, columns FROM odd WHERE side=? AND key=?", (side, key)).fetchone()
            if found is None:
                continue
            if found[0] == Change.REPEATED and key not in met:
                met.add(key)  # the first row under a key is not the repeated one
                continue
            columns = tuple(reader.names[int(place)] for place in found[1].split(",") if place)
            texts, change = reader.texts(fields), Change(found[0])
            shown = {name: texts[name] for name in columns or reader.names} if values else None
            yield key, Difference(
                change, reader.key_texts(fields), columns,
                shown if side == "old" else None, shown if side == "new" else None,
            )  # fmt: skip


def _fill(after: _Reader, listed: dict[bytes, Difference]) -> None:
    """Give the listed changed rows their present values."""
    wanted = {key: difference for key, difference in listed.items() if difference.change is Change.CHANGED}
    for run in after.rows() if wanted else ():
        for key, fields, _forms in run:
            if key in wanted:
                texts = after.texts(fields)
                wanted[key].after = {name: texts[name] for name in wanted[key].columns}


def _line(difference: Difference) -> bytes:
    return canonical.encode({"change": difference.change.value, "columns": list(difference.columns), "key": difference.key})
