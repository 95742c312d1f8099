"""What consecutive sights of a row prove of what happened in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rowcodec import PGTEXT, SQLITE, encode_sqlite
from ledger.succession import Sight, Succession, differing

NAMES = ("id", "a", "b")


def row(*values: object) -> bytes:
    return encode_sqlite(values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ((1, "x", None), (1, "x", None), ()),
        ((1, "x", None), (1, "y", None), ("a",)),
        ((1, "x", None), (2, "", ""), NAMES),
        ((1, 1, 1.0), (1, 1.0, "1.0"), ("a", "b")),
        ((1, 0.0, -0.0), (1, -0.0, 0.0), ()),
        ((1, 0.0, 0), (1, 0, 0.0), ("a", "b")),
        ((1, b"x", "x"), (1, "x", b"x"), ("a", "b")),
    ],
)
def test_differing_columns(one: tuple[object, ...], other: tuple[object, ...], names: tuple[str, ...]) -> None:
    assert differing(SQLITE, NAMES, row(*one), row(*other)) == names


@pytest.mark.parametrize(
    ("changed", "exact", "after", "outside"),
    [
        (("a",), True, (1, "y", "z"), ()),
        (("a",), True, (1, "y", "w"), ("b",)),
        (("a",), True, (1, "x", "z"), ("a",)),
        (("a", "b"), True, (1, "y", "z"), ("b",)),
        ((), True, (1, "x", "z"), ()),
        ((), True, (1, "x", "w"), ("b",)),
        # REPLACE may have got a default after all, but it cannot have done nothing.
        (("a", "b"), False, (1, "y", "z"), ()),
        (("a", "b"), False, (1, "x", "z"), ("a", "b")),
        (("a",), False, (1, "y", "w"), ("b",)),
    ],
)
def test_sights_on_sqlite(changed: tuple[str, ...], exact: bool, after: tuple[object, ...], outside: tuple[str, ...]) -> None:
    before = row(1, "x", "z")
    assert Succession(SQLITE, NAMES).outside(Sight(before, before, changed, exact), row(*after)) == outside


@pytest.mark.parametrize(
    ("changed", "after", "outside"),
    [(("a",), b"1\ty\tz", ()), (("a",), b"1\tx\tz", ()), (("a",), b"1\ty\tw", ("b",)), ((), b"2\tx\tz", ("id",))],
)
def test_sights_on_postgresql(changed: tuple[str, ...], after: bytes, outside: tuple[str, ...]) -> None:
    assert Succession(PGTEXT, NAMES).outside(Sight(b"", b"1\tx\tz", changed, False), after) == outside


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200), st.integers(1, 30))
def test_a_sight_is_taken_once_and_never_forgotten(steps: list[tuple[int, bool]], bound: int) -> None:
    kept, expected = Succession(SQLITE, NAMES, bound), dict[bytes, Sight]()
    for number, (key, keeps) in enumerate(steps):
        name = bytes([key])
        if keeps:
            expected[name] = Sight(b"f%d" % number, b"b%d" % number, ("a",), bool(number % 2))
            kept.keep(name, expected[name])
        else:
            assert kept.take(name) == expected.pop(name, None)
    for name in map(bytes, zip(range(41), strict=True)):
        assert kept.take(name) == expected.get(name)


def test_an_emptied_table_has_no_sights() -> None:
    kept = Succession(SQLITE, NAMES, 2)
    for key in range(9):
        kept.keep(bytes([key]), Sight(b"", b"", (), True))
    kept.clear()
    assert all(kept.take(bytes([key])) is None for key in range(9))
