"""Row fields, sort keys and entries: readers written from docs/spec.md agree with the program's on random and on damaged bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import stranger
from hypothesis import given
from hypothesis import strategies as st

from ledger import rowcodec, sortkey, wire
from ledger.errors import WireError

integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)])
texts = st.binary(max_size=12).map(lambda stored: stored.decode("utf-8", "surrogateescape")) | st.text(max_size=12)
values = st.none() | integers | st.floats(allow_nan=False) | st.binary(max_size=12) | texts
utf8 = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
storable = st.none() | integers | st.floats(allow_nan=False) | st.binary(max_size=12) | utf8


def refused(act: object, *arguments: object) -> object:
    """What a reader gives, or `refused`."""
    try:
        return act(*arguments)  # type: ignore[operator]
    except (WireError, ValueError):
        return "refused"


@given(st.lists(values.filter(lambda value: refused(rowcodec.encode_sqlite, [value]) != "refused"), min_size=1, max_size=8))
def test_rows_split_and_read_alike(row: list[rowcodec.Value]) -> None:
    encoded = rowcodec.encode_sqlite(row)
    fields = stranger.fields_of("sqlite/1", encoded)
    assert fields == rowcodec.fields(rowcodec.SQLITE, encoded)
    assert [stranger.shown("sqlite/1", field) for field in fields] == [rowcodec.display(rowcodec.SQLITE, field) for field in fields]


@given(st.lists(storable, min_size=1, max_size=4), st.data())
def test_damaged_rows_are_refused_alike(row: list[rowcodec.Value], data: st.DataObject) -> None:
    encoded = bytearray(rowcodec.encode_sqlite(row))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    cut = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    for damaged in (bytes(encoded), cut):
        fields = refused(stranger.fields_of, "sqlite/1", damaged)
        assert fields == refused(rowcodec.fields, rowcodec.SQLITE, damaged)
        for field in fields if isinstance(fields, list) else ():
            assert refused(stranger.shown, "sqlite/1", field) == refused(rowcodec.display, rowcodec.SQLITE, field)


@given(st.binary(max_size=12) | st.text(alphabet="ab\\N\tnrtvfbx", max_size=12).map(str.encode))
def test_fields_of_copy_lines_are_read_alike(line: bytes) -> None:
    fields = stranger.fields_of("pgtext/1", line)
    assert fields == rowcodec.fields(rowcodec.PGTEXT, line)
    for field in fields:
        assert refused(stranger.shown, "pgtext/1", field) == refused(rowcodec.display, rowcodec.PGTEXT, field)


def any_key(value: rowcodec.Value, *, composite: bool) -> tuple[bytes, bytes]:
    """A column of kind `any` and its class byte, by the specification."""
    if value is None:
        return b"\x01", b""
    if isinstance(value, int | float):
        near = float(value) + 0.0
        bits = int.from_bytes(struct.pack(">d", near), "big")
        ordered = ~bits & 2**64 - 1 if bits >> 63 else bits | 1 << 63
        excess = 2**15 + (value - int(near) if isinstance(value, int) else 0)
        mark = 0 if isinstance(value, int) else 2 if struct.pack(">d", value) == b"\x80" + bytes(7) else 1
        return b"\x02" + ordered.to_bytes(8, "big") + excess.to_bytes(2, "big"), bytes([mark])
    tag, stored = (b"\x03", value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else (b"\x04", value)
    return tag + (stored.replace(b"\0", b"\0\xff") + b"\0\0" if composite else stored), b""


def key_of(kinds: Sequence[str], row: Sequence[rowcodec.Value]) -> bytes:
    """A sort key, by the specification."""
    key, marks, last = b"", b"", len(kinds) - 1
    for place, (kind, value) in enumerate(zip(kinds, row, strict=True)):
        if kind == "any":
            part, mark = any_key(value, composite=last > 0)
            key, marks = key + part, marks + mark
        elif kind == "text":
            key += (b"\xff" if value is None else str(value).encode()) + (b"\0" if place < last else b"")
        elif value is None:
            key += b"\xff" * 8 + b"\x01"
        else:
            key += (int(value) + 2**63).to_bytes(8, "big") + (b"\0" if value == 2**63 - 1 and place < last else b"")
    return key + marks


columns = st.one_of(
    st.tuples(st.just("int"), st.none() | integers),
    st.tuples(st.just("text"), st.none() | utf8.filter(lambda text: "\0" not in text)),
    st.tuples(st.just("any"), storable),
)


@given(st.lists(columns, min_size=1, max_size=4))
def test_sort_keys(key: list[tuple[sortkey.KeyKind, rowcodec.Value]]) -> None:
    kinds, row = [kind for kind, _ in key], [value for _, value in key]
    assert key_of(kinds, row) == sortkey.encode(kinds, row)


@given(st.binary(min_size=1, max_size=200), st.sampled_from([1, 2, 3, 16]), st.integers(0, 0xFFFF), st.integers(0, 20))
def test_entries_are_refused_alike(tail: bytes, kind: int, flags: int, count: int) -> None:
    head = bytes([1, kind]) + bytes(8) + flags.to_bytes(2, "big") + bytes(16) + (1).to_bytes(4, "big") + bytes(30)
    for entry in (head + b"\x01" + bytes(64) + count.to_bytes(2, "big") + bytes(4 * count), head + tail, tail):
        ours, theirs = refused(wire.decode_entry, entry), refused(stranger.record_entry, entry)
        if isinstance(ours, wire.RecordEntry):
            assert isinstance(theirs, stranger.Entry)
            assert (theirs.flags, theirs.columns, theirs.tags) == (ours.flags, ours.columns, ours.tags)
        else:
            assert theirs == "refused"
