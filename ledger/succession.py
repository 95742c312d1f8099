"""What consecutive sights of one row, between two seals, say of each other.

Capture keeps the row as it was before each change, and which columns a change touched, but not what it made of them. The next sight
of the row, by its next change or by the seal, may therefore differ in no other column: what else differs was changed outside capture,
and so was what does not differ although it was touched.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger import rowcodec

# SQLite's functions hold the reals -0.0 and 0.0 equal, so no trigger can tell that one became the other.
_ZEROS = frozenset({b"f\x02-0", b"f\x010"})


def differing(encoding: str, names: Sequence[str], one: bytes, other: bytes) -> tuple[str, ...]:
    """The names of the columns in which two rows differ, in column order."""
    pairs = zip(names, rowcodec.fields(encoding, one), rowcodec.fields(encoding, other), strict=True)
    return tuple(name for name, a, b in pairs if a != b and not {a, b} <= _ZEROS)


@dataclass(frozen=True, slots=True)
class Sight:
    """A row before a change that touched the columns `changed`; `first` is the row before the first change since the last seal.

    `exact`: each of these columns came out different. PostgreSQL compares images, and two of them may have one text; and what REPLACE
    is about to write may still get a default.
    """

    first: bytes
    before: bytes
    changed: Collection[str]
    exact: bool


class Succession:
    """The last sights of rows whose changes are being sealed; those beyond `bound` wait in a temporary file, none is forgotten."""

    def __init__(self, encoding: str, names: Sequence[str], bound: int = 20_000) -> None:
        self._encoding, self._names, self._bound = encoding, names, bound
        self._sights: dict[bytes, Sight] = {}
        self._spilled: sqlite3.Connection | None = None

    def take(self, key: bytes) -> Sight | None:
        """The last sight of the row under this key, which is forgotten."""
        found = self._sights.pop(key, None)
        if found is None and self._spilled is not None:
            row = self._spilled.execute("DELETE FROM sight WHERE key=? RETURNING first, before, changed, exact", (key,)).fetchone()
            found = None if row is None else Sight(row[0], row[1], tuple(json.loads(row[2])), bool(row[3]))
        return found

    def keep(self, key: bytes, sight: Sight) -> None:
        """Remember a sight of the row that is under this key now."""
        if len(self._sights) >= self._bound:
            self._spill()
        self._sights[key] = sight

    def clear(self) -> None:
        """Forget all: the table was emptied."""
        self._sights.clear()
        self._spilled = None

    def _spill(self) -> None:
        if self._spilled is None:
            # An empty name is a file that SQLite removes by itself, and that nobody else can open.
            self._spilled = sqlite3.connect("", isolation_level=None)
            self._spilled.execute("CREATE TABLE sight (key BLOB PRIMARY KEY, first BLOB, before BLOB, changed TEXT, exact) WITHOUT ROWID")
        rows = ((key, s.first, s.before, json.dumps(list(s.changed)), s.exact) for key, s in self._sights.items())
        self._spilled.executemany("INSERT OR REPLACE INTO sight VALUES (?,?,?,?,?)", rows)
        self._sights.clear()

    def outside(self, sight: Sight, row: bytes) -> tuple[str, ...]:
        """The columns that were changed outside capture between a sight and the next one, `row`."""
        met, changed = set(differing(self._encoding, self._names, sight.before, row)), set(sight.changed)
        if sight.exact or (not met and self._encoding == rowcodec.SQLITE):
            met ^= changed
        else:
            met -= changed
        return tuple(name for name in self._names if name in met)
