"""Sort keys: bytes that compare as the engines order, and that give back the key."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import sortkey
from ledger.errors import WireError
from ledger.shape import KeyKind

NASTY: list[Any] = [
    None, 0, 1, -1, 255, 256, 2**53, 2**53 + 1, 2**53 - 1, 2**62 + 1, 2**63 - 1, -(2**63), 0.0, -0.0, 1.0, 0.5, -0.5, 1e-320,
    float(2**53), float(2**53 + 2), float(2**63), -float(2**63), float("inf"), float("-inf"), 1.7e308, "", "\x00", "\x00\x00", "a",
    "a\x00", "a\x00b", "a\x01", "ab", "A", "Ä", "中", "\U0001f600", "\uffff", "\udcff", "\udc80a", b"", b"\x00", b"\x00\xff", b"a",
    b"\xff", b"\x00\x00", "1", "1.0", b"1",
]  # fmt: skip
VALUES = st.sampled_from(NASTY) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.binary(max_size=3)
INTS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), -1, 0, 1, 255, 256, 2**63 - 1])


def _stored(rows: list[tuple[Any, ...]], columns: str, order: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(":memory:")
    database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    database.execute(f"CREATE TABLE t ({columns})")
    for row in rows:
        # The driver takes no escaped bytes, but SQLite's CAST stores any bytes as TEXT.
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in row)
        database.execute(
            f"INSERT INTO t VALUES ({marks})",
            [value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value for value in row],
        )
    found = database.execute(f"SELECT * FROM t ORDER BY {order}").fetchall()
    database.close()
    return found


@settings(max_examples=150)
@given(st.lists(st.tuples(VALUES), max_size=30))
def test_one_column_sorts_as_sqlite_sorts_it(rows: list[tuple[Any]]) -> None:
    found = _stored(rows, "a", "a COLLATE BINARY, typeof(a)")
    keys = [sortkey.encode(("any",), row) for row in found]
    # SQLite has no order between 0.0 and -0.0.
    zeros = [key for key, row in zip(keys, found, strict=True) if row[0] == 0 and isinstance(row[0], float)]
    others = [key for key in keys if key not in zeros]
    assert others == sorted(others)
    assert repr([sortkey.decode(("any",), key) for key in keys]) == repr(found)


@settings(max_examples=150)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=30))
def test_composite_keys_sort_as_sqlite_sorts_them(rows: list[tuple[Any, ...]]) -> None:
    kinds: tuple[KeyKind, ...] = ("any", "any", "any")
    found = _stored(rows, "a, b, c", "a COLLATE BINARY, b COLLATE BINARY, c COLLATE BINARY, typeof(a), typeof(b), typeof(c)")
    keys = [sortkey.encode(kinds, row) for row in found]
    assert repr([sortkey.decode(kinds, key) for key in keys]) == repr(found)
    for one, other, row, following in zip(keys, keys[1:], found, found[1:], strict=False):
        assert one <= other or row == following


@given(st.lists(st.tuples(INTS, VALUES), max_size=20))
def test_an_integer_before_other_columns_sorts_first(rows: list[tuple[Any, ...]]) -> None:
    kinds: tuple[KeyKind, ...] = ("int", "any")
    found = _stored(rows, "a INTEGER, b", "a, b COLLATE BINARY, typeof(b)")
    keys = [sortkey.encode(kinds, row) for row in found]
    assert repr([sortkey.decode(kinds, key) for key in keys]) == repr(found)
    for one, other, row, following in zip(keys, keys[1:], found, found[1:], strict=False):
        assert one <= other or row == following


@given(st.lists(INTS, max_size=20))
def test_a_single_integer_is_eight_bytes_in_order(values: list[int]) -> None:
    keys = sortkey.int_keys(values)
    assert keys == [sortkey.encode(("int",), (value,)) for value in values] == [sortkey.encoder(("int",))((value,)) for value in values]
    assert all(len(key) == 8 for key in keys)
    assert sorted(keys) == sortkey.int_keys(sorted(values))
    assert [sortkey.decode(("int",), key) for key in keys] == [(value,) for value in values]


def test_a_null_integer_sorts_behind_all_others() -> None:
    for kinds, rest in ((("int",), ()), (("int", "text"), ("\x7f",)), (("int", "int"), (5,))):
        values = [(2**63 - 2, *rest), (2**63 - 1, *rest), (None, *rest)]
        keys = [sortkey.encode(kinds, value) for value in values]  # type: ignore[arg-type]
        assert keys == sorted(keys)
        assert [sortkey.decode(kinds, key) for key in keys] == values  # type: ignore[arg-type]


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from("\x01\x7fa中\U0001f600 ")
PG_TEXTS = st.text(CHARACTERS, max_size=4)


@pytest.fixture(scope="module")
def connection(postgres: Any) -> Any:
    made = postgres.connect(postgres.database())
    made.execute("CREATE TABLE t (a text, b bigint, c text)")
    yield made
    made.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.none() | PG_TEXTS, st.none() | INTS, st.none() | PG_TEXTS), min_size=2, max_size=20))
def test_composite_keys_sort_as_postgresql_sorts_them(connection: Any, rows: list[tuple[Any, ...]]) -> None:
    kinds: tuple[KeyKind, ...] = ("text", "int", "text")
    connection.execute("TRUNCATE t")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s, %s)", rows)
    found = connection.execute('SELECT * FROM t ORDER BY a COLLATE "C", b, c COLLATE "C"').fetchall()
    keys = [sortkey.encode(kinds, row) for row in found]
    assert keys == sorted(keys)
    assert [sortkey.decode(kinds, key) for key in keys] == found


@given(st.binary(max_size=30), st.sampled_from([("int",), ("any",), ("text",), ("any", "any"), ("int", "text"), ("text", "int", "text")]))
def test_whatever_is_decoded_is_canonical(key: bytes, kinds: tuple[KeyKind, ...]) -> None:
    try:
        values = sortkey.decode(kinds, key)
    except WireError:
        return
    assert sortkey.encode(kinds, values) == key


@given(st.tuples(VALUES, VALUES), st.data())
def test_truncated_keys_are_refused(values: tuple[Any, ...], data: st.DataObject) -> None:
    kinds: tuple[KeyKind, ...] = ("any", "any")
    key = sortkey.encode(kinds, values)
    with pytest.raises(WireError):
        sortkey.decode(kinds, key[: data.draw(st.integers(0, len(key) - 1))])


@given(st.tuples(VALUES, VALUES))
def test_a_bound_is_a_key_or_follows_one(values: tuple[Any, ...]) -> None:
    kinds: tuple[KeyKind, ...] = ("any", "any")
    key = sortkey.encode(kinds, values)
    assert repr(sortkey.bound(kinds, key)) == repr((values, True))
    assert repr(sortkey.bound(kinds, key + b"\x00")) == repr((values, False))
    assert sortkey.bound(kinds, b"\x09") is None


def test_values_that_do_not_fit_are_refused() -> None:
    wrong: list[tuple[tuple[KeyKind, ...], tuple[Any, ...]]] = [
        (("int",), ("1",)), (("int",), (2**63,)), (("text", "text"), ("a\x00b", "c")), (("int",), (1, 2)), (("text",), (1.5,)),
    ]  # fmt: skip
    for kinds, values in wrong:
        with pytest.raises(WireError):
            sortkey.encode(kinds, values)
