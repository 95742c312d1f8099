"""Rows of a table beside the states of their records, both in key order, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.shape import Rows
from ledger.wire import KIND_AT, Kind

_DELETED = bytes([Kind.DELETED])


@dataclass(frozen=True, slots=True)
class States:
    """A run of records in key order: sort key, last entry's index, subject, the entry's bytes."""

    keys: tuple[bytes, ...]
    entries: tuple[int, ...]
    sids: tuple[int, ...]
    bodies: tuple[bytes, ...]

    @property
    def live(self) -> tuple[bool, ...]:
        """Whether a row should exist for each record."""
        return tuple(body[KIND_AT : KIND_AT + 1] != _DELETED for body in self.bodies)

    def cut(self, start: int, end: int) -> States:
        return States(self.keys[start:end], self.entries[start:end], self.sids[start:end], self.bodies[start:end])


@dataclass(frozen=True, slots=True)
class Matched:
    """Rows and states with equal keys."""

    rows: list[bytes]
    states: States


@dataclass(frozen=True, slots=True)
class OnlyRows:
    """Rows whose keys have no state."""

    rows: Rows


@dataclass(frozen=True, slots=True)
class Repeated:
    """Rows under the key of a matched row before them: their key is not unique."""

    rows: Rows


@dataclass(frozen=True, slots=True)
class OnlyState:
    """States whose keys have no row."""

    states: States


def read_states(db: sqlite3.Connection, table: int, low: bytes | None, high: bytes | None, chunk: int = 256) -> Iterator[States]:
    """The states of a table's records with low <= key < high, in key order."""
    # The lower bound leaves out whatever is not a BLOB, for SQLite sorts that first.
    where, values = "s.tbl=? AND s.key>=?", [table, low or b""]
    if high is not None:
        where, values = f"{where} AND s.key<?", [*values, high]
    chosen = "s.key, s.entry, s.sid, CAST(e.body AS BLOB)"
    cursor = db.execute(f"SELECT {chosen} FROM state s JOIN entries e ON e.idx=s.entry WHERE {where} ORDER BY s.key", values)  # noqa: S608
    while rows := cursor.fetchmany(chunk):
        yield States(*zip(*rows, strict=True))


def merge(rows: Iterator[Rows], states: Iterator[States]) -> Iterator[Matched | OnlyRows | Repeated | OnlyState]:
    """Walk both sides once. Of rows with a key that occurs twice the first one is matched."""
    row, state = next(rows, None), next(states, None)
    r = s = 0
    matched: bytes | None = None
    while row is not None and state is not None:
        count = min(len(row.keys) - r, len(state.keys) - s)
        same = _common(row.keys, r, state.keys, s, count)
        if same:
            yield Matched(row.rows[r : r + same], state.cut(s, s + same))
            matched = row.keys[r + same - 1]
            r, s = r + same, s + same
        elif row.keys[r] < state.keys[s]:
            yield (Repeated if row.keys[r] == matched else OnlyRows)(_cut(row, r, r + 1))
            r += 1
        else:
            yield OnlyState(state.cut(s, s + 1))
            s += 1
        if r == len(row.keys):
            row, r = next(rows, None), 0
        if s == len(state.keys):
            state, s = next(states, None), 0
    while row is not None:
        again = r
        while again < len(row.keys) and row.keys[again] == matched:
            again += 1
        if again > r:
            yield Repeated(_cut(row, r, again))
        if again < len(row.keys):
            yield OnlyRows(_cut(row, again, len(row.keys)))
        row, r = next(rows, None), 0
    while state is not None:
        yield OnlyState(state.cut(s, len(state.keys)))
        state, s = next(states, None), 0


def _cut(rows: Rows, start: int, end: int) -> Rows:
    return Rows(rows.keys[start:end], rows.rows[start:end], rows.subjects[start:end] if rows.subjects else None)


def _common(a: list[bytes], i: int, b: tuple[bytes, ...], j: int, count: int) -> int:
    """How many of the next `count` keys are equal, from the start."""
    if tuple(a[i : i + count]) == b[j : j + count]:
        return count
    for k in range(count):
        if a[i + k] != b[j + k]:
            return k
    return count
