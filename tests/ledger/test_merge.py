"""The walk over rows and states: every key on one side or both, exactly once, whatever the runs look like."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merge import Matched, OnlyRows, OnlyState, Repeated, States, merge, read_states
from ledger.shape import Rows


def _keys(numbers: list[int]) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in numbers]


def _rows(keys: list[bytes], run: int, subjects: bool = False) -> Iterator[Rows]:
    for start in range(0, len(keys), run):
        part = keys[start : start + run]
        yield Rows(part, [b"row" + key for key in part], [key.hex() for key in part] if subjects else None)


def _states(keys: list[bytes], run: int) -> Iterator[States]:
    for start in range(0, len(keys), run):
        part = keys[start : start + run]
        numbers = tuple(range(start, start + len(part)))
        yield States(tuple(part), numbers, tuple(n + 1 for n in numbers), tuple(b"\x01\x01" + key for key in part))


def _walk(rows: list[bytes], states: list[bytes], row_run: int, state_run: int) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {"matched": [], "rows": [], "repeated": [], "states": []}
    for part in merge(_rows(rows, row_run, subjects=True), _states(states, state_run)):
        if isinstance(part, Matched):
            assert len(part.rows) == len(part.states.keys) > 0
            assert part.rows == [b"row" + key for key in part.states.keys]
            assert part.states.bodies == tuple(b"\x01\x01" + key for key in part.states.keys)
            assert part.states.sids == tuple(n + 1 for n in part.states.entries)
            found["matched"] += part.states.keys
        elif isinstance(part, OnlyState):
            found["states"] += part.states.keys
        else:
            assert part.rows.rows == [b"row" + key for key in part.rows.keys]
            assert part.rows.subjects == [key.hex() for key in part.rows.keys]
            found["repeated" if isinstance(part, Repeated) else "rows"] += part.rows.keys
    return found


numbers = st.lists(st.integers(0, 60), max_size=60)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=400)
def test_every_key_once(rows: set[int], states: set[int], row_run: int, state_run: int) -> None:
    found = _walk(_keys(sorted(rows)), _keys(sorted(states)), row_run, state_run)
    assert found["matched"] == _keys(sorted(rows & states))
    assert found["rows"] == _keys(sorted(rows - states))
    assert found["states"] == _keys(sorted(states - rows))
    assert found["repeated"] == []


@given(numbers, st.sets(st.integers(0, 60)), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=400)
def test_repeated_rows_of_a_sealed_key_are_told_apart(rows: list[int], states: set[int], row_run: int, state_run: int) -> None:
    found = _walk(_keys(sorted(rows)), _keys(sorted(states)), row_run, state_run)
    assert found["matched"] == _keys(sorted(set(rows) & states))
    assert found["rows"] == _keys(sorted(row for row in rows if row not in states))
    expected = sorted(row for row in rows if row in states)
    for row in set(expected):
        expected.remove(row)
    assert found["repeated"] == _keys(expected)


@pytest.mark.parametrize("gap", [0, 1, 5, 999, 1000, 1001, 1999, 2000, 2047, 2048])
def test_gaps_at_the_borders_of_runs(gap: int) -> None:
    rows = [n for n in range(2050) if n != gap]
    states = [n for n in range(2050) if n != (gap + 1) % 2050]
    found = _walk(_keys(rows), _keys(states), 1000, 128)
    assert found["states"] == _keys([gap])
    assert found["rows"] == _keys([(gap + 1) % 2050])
    assert len(found["matched"]) == 2048


def test_nothing_on_either_side() -> None:
    assert list(merge(iter(()), iter(()))) == []
    assert [type(part) for part in merge(_rows(_keys([1]), 1), iter(()))] == [OnlyRows]
    assert [type(part) for part in merge(iter(()), _states(_keys([1]), 1))] == [OnlyState]


@pytest.fixture
def db() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:")
    made.execute("CREATE TABLE entries (idx INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    columns = "tbl INTEGER, key BLOB, entry INTEGER, sid INTEGER, live INTEGER"
    made.execute(f"CREATE TABLE state ({columns}, PRIMARY KEY (tbl, key)) WITHOUT ROWID")
    made.executemany("INSERT INTO entries VALUES (?,?)", [(n, bytes([1, 1 + 2 * (n % 2)])) for n in range(500)])
    made.executemany("INSERT INTO state VALUES (?,?,?,?,1)", [(t, n.to_bytes(2, "big"), n, 7) for t in (1, 2) for n in range(500)])
    return made


@pytest.mark.parametrize(("low", "high"), [(None, None), (0, 500), (100, 200), (None, 1), (499, None), (7, 7)])
def test_states_of_a_range(db: sqlite3.Connection, low: int | None, high: int | None) -> None:
    bounds = [None if bound is None else bound.to_bytes(2, "big") for bound in (low, high)]
    found = [key for states in read_states(db, 1, bounds[0], bounds[1], chunk=33) for key in states.keys]
    assert found == _keys(list(range(low or 0, 500 if high is None else high)))


def test_states_tell_of_deletions_by_their_entry(db: sqlite3.Connection) -> None:
    states = next(read_states(db, 1, None, None, chunk=4))
    assert states.live == (True, False, True, False)
    assert states.cut(1, 3).live == (False, True)


def test_keys_of_a_wrong_type_are_not_met(db: sqlite3.Connection) -> None:
    db.execute("UPDATE state SET key=CAST(key AS TEXT) WHERE tbl=1 AND entry=3")
    db.execute("UPDATE entries SET body='text' WHERE idx=4")
    found = [(key, body) for states in read_states(db, 1, None, None) for key, body in zip(states.keys, states.bodies, strict=True)]
    assert len(found) == 499 and found[3] == (b"\0\4", b"text")
