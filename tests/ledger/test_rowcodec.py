"""Row encodings: exact, injective, strictly decoded."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import rowcodec
from ledger.errors import WireError
from ledger.rowcodec import PGTEXT, SQLITE, decode_sqlite, display, encode_sqlite, encode_sqlite_fast, encode_sqlite_rows, fields, join

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, 2**15, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63)])
REALS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\t\n\\N'\"中😀"), max_size=12)
BLOBS = st.binary(max_size=12)
VALUES = st.none() | INTEGERS | REALS | TEXTS | BLOBS
ROWS = st.lists(VALUES, min_size=1, max_size=6).map(tuple)


@pytest.mark.parametrize(
    ("row", "encoded"),
    [
        ((None,), "28 01000000 4e"),
        ((1, -1), "28 02000000 69 01000000 69 ffffffff"),
        ((2**31,), "28 01000000 6c 03000000 0000 0000 0200"),
        ((-(2**63),), "28 01000000 6c fbffffff 0000 0000 0000 0000 0800"),
        ((1.5, 0.1), "28 02000000 66 03 312e35 66 13 302e3130303030303030303030303030303031"),
        ((float("-inf"), -0.0), "28 02000000 66 04 2d696e66 66 02 2d30"),
        (("中", ""), "28 02000000 75 03000000 e4b8ad 75 00000000"),
        ((b"\x00\xff",), "28 01000000 73 02000000 00ff"),
        (("\udcff",), "28 01000000 75 03000000 edb3bf"),
    ],
)
def test_values_have_the_documented_bytes(row: tuple[Any, ...], encoded: str) -> None:
    assert encode_sqlite(row) == bytes.fromhex(encoded)
    assert decode_sqlite(bytes.fromhex(encoded)) == row


@given(ROWS)
def test_the_fast_encoder_writes_what_the_plain_one_writes(row: tuple[Any, ...]) -> None:
    assert encode_sqlite_fast(row) == encode_sqlite(row) == encode_sqlite_rows([row])[0]


def test_the_plain_encoder_serves_where_marshal_writes_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowcodec.marshal, "dumps", lambda row, version: b"another layout")
    encoder = rowcodec._fast_encoder()
    monkeypatch.setattr(rowcodec, "encode_sqlite_fast", encoder)
    assert encoder is encode_sqlite
    assert rowcodec.encode_sqlite_rows([(1, "a")]) == [encode_sqlite((1, "a"))]


@given(ROWS)
def test_a_row_is_read_back_with_its_types(row: tuple[Any, ...]) -> None:
    encoded = encode_sqlite(row)
    assert repr(decode_sqlite(encoded)) == repr(row)
    assert join(SQLITE, fields(SQLITE, encoded)) == encoded


@given(ROWS, st.data())
def test_a_damaged_row_is_refused_or_is_another_row(row: tuple[Any, ...], data: st.DataObject) -> None:
    encoded = bytearray(encode_sqlite(row))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_sqlite(bytes(encoded))
    except WireError:
        return
    assert repr(other) != repr(row)
    assert encode_sqlite(other) == bytes(encoded)


@given(st.binary(max_size=40).map(lambda tail: b"(\x01\x00\x00\x00" + tail))
def test_whatever_is_decoded_is_canonical(encoded: bytes) -> None:
    try:
        row = decode_sqlite(encoded)
    except WireError:
        return
    assert encode_sqlite(row) == encoded


@given(ROWS)
def test_every_truncation_and_extension_is_refused(row: tuple[Any, ...]) -> None:
    encoded = encode_sqlite(row)
    for wrong in [encoded[:size] for size in range(len(encoded))] + [encoded + b"\x00", encoded + b"N"]:
        with pytest.raises(WireError):
            fields(SQLITE, wrong)


@pytest.mark.parametrize(
    "field",
    [
        "6c 01000000 0500",  # five as a long integer
        "6c 04000000 0000 0000 0200 0000",  # a leading zero digit
        "6c 03000000 0000 0080 0200",  # a digit of 16 bits
        "6c 06000000 0000 0000 0000 0000 0000 0100",  # beyond 64 bits
        "6c 00000000",  # a long integer without digits
        "66 03 312e30",  # 1.0 is written 1
        "66 04 312e3530",  # 1.50
        "66 03 6e616e",  # not a number
        "66 03 2b2e35",
        "66 05 20312e3520",
        "66 08 696e66696e697479",  # infinity, spelt out
        "75 01000000 ff",  # not UTF-8
        "75 03000000 eda080",  # a lone surrogate that no stored byte gives
        "75 06000000 edb384 edb080",  # hidden bytes
        "75 09000000 edb3a4 edb2b8 edb2ad",  # escaped bytes that are valid UTF-8
        "78 00000000",
        "4e 00",
        "",
    ],
)
def test_values_out_of_canon_are_refused(field: str) -> None:
    with pytest.raises(WireError):
        decode_sqlite(join(SQLITE, [bytes.fromhex(field)]))


def test_sizes_beyond_the_row_are_refused_without_reading_them() -> None:
    for tag in (b"s", b"u"):
        with pytest.raises(WireError, match="truncated"):
            decode_sqlite(b"(\x01\x00\x00\x00" + tag + struct.pack("<I", 2**32 - 1))
    with pytest.raises(WireError, match="columns"):
        decode_sqlite(b"(" + struct.pack("<I", 2**32 - 1) + b"N" * 10)


@pytest.mark.parametrize("value", [True, 2**63, -(2**63) - 1, float("nan"), "\ud800", "\udce4\udcb8\udcad", object(), (1,)])
def test_values_that_sqlite_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(WireError):
        encode_sqlite((value,))  # type: ignore[arg-type]


def test_a_row_has_1_to_256_columns() -> None:
    assert len(fields(SQLITE, encode_sqlite((None,) * 256))) == 256
    for count in (0, 257):
        with pytest.raises(WireError, match="256"):
            encode_sqlite((None,) * count)


@settings(max_examples=60)
@given(st.lists(ROWS.filter(lambda row: len(row) == 2) | st.tuples(VALUES, VALUES), min_size=2, max_size=12))
def test_rows_of_a_real_database_encode_alike_only_when_sqlite_holds_the_same(rows: list[tuple[Any, ...]]) -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a, b)")
    database.executemany("INSERT INTO t VALUES (?, ?)", rows)
    exact = database.execute("SELECT typeof(a), hex(CAST(a AS BLOB)), typeof(b), hex(CAST(b AS BLOB)) FROM t ORDER BY rowid").fetchall()
    stored = database.execute("SELECT a, b FROM t ORDER BY rowid").fetchall()
    database.close()
    encoded = encode_sqlite_rows(stored)
    for i, one in enumerate(encoded):
        for j, other in enumerate(encoded[:i]):
            # As text SQLite writes reals with 15 digits, so two reals are held apart by the driver's value.
            same = exact[i] == exact[j] and repr(stored[i]) == repr(stored[j])
            assert (one == other) == same


@pytest.fixture(scope="module")
def copied(postgres: Any) -> Iterator[Any]:
    """A function that sends texts through a real server's COPY."""
    connection = postgres.connect(postgres.database())
    connection.execute("CREATE TABLE t (place int, a text, b text)")

    def copy(rows: list[tuple[str | None, str | None]]) -> list[bytes]:
        connection.execute("TRUNCATE t")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, %s, %s)", [(place, *row) for place, row in enumerate(rows)])
            with cursor.copy("COPY (SELECT a, b FROM t ORDER BY place) TO STDOUT") as lines:
                return [bytes(line)[:-1] for line in lines]

    yield copy
    connection.close()


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from("\t\n\r\b\f\v\\N.")
PG_TEXTS = st.none() | st.text(CHARACTERS, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(PG_TEXTS, PG_TEXTS), min_size=2, max_size=10))
def test_lines_of_copy_are_alike_only_when_the_rows_are(copied: Any, rows: list[tuple[str | None, str | None]]) -> None:
    lines = copied(rows)
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        parts = fields(PGTEXT, line)
        assert tuple(display(PGTEXT, part) for part in parts) == row
        assert join(PGTEXT, parts) == line
    for i in range(len(rows)):
        for j in range(i):
            assert (lines[i] == lines[j]) == (rows[i] == rows[j])


@pytest.mark.parametrize("field", [b"a\\", b"\\q", b"\\x41", b"\\Na"])
def test_escapes_that_postgresql_does_not_write_are_refused(field: bytes) -> None:
    with pytest.raises(WireError):
        display(PGTEXT, field)


def test_display_is_for_people() -> None:
    shown = [display(SQLITE, field) for field in fields(SQLITE, encode_sqlite((None, 5, 1.5, "中\udcff", b"\x01\xff")))]
    assert shown == [None, "5", "1.5", "中\\xff", "01ff"]
    assert display(PGTEXT, b"\xff") == "\\xff"


def test_an_unknown_encoding_is_refused() -> None:
    for call in (lambda: fields("x/1", b""), lambda: join("x/1", []), lambda: display("x/1", b"")):
        with pytest.raises(WireError, match="unknown row encoding"):
            call()
