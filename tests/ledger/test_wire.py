"""Entries: every entry has one encoding, and every other byte string is refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import WireError
from ledger.wire import (
    MAX_COLUMNS,
    MAX_ENTRY_BYTES,
    NO_DIGEST,
    RECORD,
    RECORD_BYTES,
    ROW_DIGEST,
    SECRET_INPUT,
    TABLE,
    VIOLATIONS,
    Algorithm,
    EventEntry,
    Flag,
    Kind,
    RecordEntry,
    decode_entry,
    encode_event,
    encode_record,
    tag_width,
)

RECORD_KINDS = [Kind.WRITTEN, Kind.AMENDED, Kind.DELETED]
EVENT_KINDS = [kind for kind in Kind if kind not in RECORD_KINDS]


def encoded(entry: RecordEntry) -> bytes:
    return encode_record(*(getattr(entry, name) for name in RecordEntry.__slots__))


@st.composite
def records(draw: st.DrawFn) -> RecordEntry:
    kind = draw(st.sampled_from(RECORD_KINDS))
    columns = 0 if kind is Kind.DELETED else draw(st.one_of(st.integers(0, 6), st.sampled_from([64, 65, 128, 256])))
    flags = Flag(draw(st.integers(0, 0x7F)) << 8 | draw(st.sampled_from([0, 1, 4, 8, 13]))) | (Flag.CONTENT if columns else Flag(0))
    version = draw(st.integers(1, 2**32 - 1))
    width = tag_width(columns) if columns else 0
    return RecordEntry(
        kind=kind,
        time=draw(st.integers(0, 2**48 - 1)),
        table=draw(st.integers(0, 2**16 - 1)),
        flags=flags,
        record=draw(st.binary(min_size=16, max_size=16)),
        version=version,
        previous=None if version == 1 else draw(st.integers(0, 2**48 - 2)),
        subject=draw(st.binary(min_size=16, max_size=16)),
        author=draw(st.binary(min_size=8, max_size=8)),
        algorithm=draw(st.sampled_from(Algorithm)),
        row_digest=draw(st.binary(min_size=32, max_size=32)) if columns else NO_DIGEST,
        field_root=draw(st.binary(min_size=32, max_size=32)) if columns else NO_DIGEST,
        columns=columns,
        tags=draw(st.binary(min_size=columns * width, max_size=columns * width)),
    )


events = st.builds(EventEntry, st.sampled_from(EVENT_KINDS), st.integers(0, 2**48 - 1), st.binary(min_size=32, max_size=32))


@given(records())
def test_records_come_back(entry: RecordEntry) -> None:
    data = encoded(entry)
    assert len(data) <= MAX_ENTRY_BYTES
    assert decode_entry(data) == entry


@given(records())
def test_the_audits_cuts_are_where_the_fields_are(entry: RecordEntry) -> None:
    data = encoded(entry)
    assert data[RECORD] == entry.record and int.from_bytes(data[TABLE], "big") == entry.table
    assert data[SECRET_INPUT] == entry.record + struct.pack(">I", entry.version)
    assert data[ROW_DIGEST] == entry.row_digest
    assert int.from_bytes(data[32:38], "big") == (0 if entry.previous is None else entry.previous + 1)
    assert bool(data[10]) == bool(entry.flags & VIOLATIONS)


@given(events)
def test_events_come_back(entry: EventEntry) -> None:
    assert len(encode_event(entry)) == 40
    assert decode_entry(encode_event(entry)) == entry


@given(st.one_of(records().map(encoded), events.map(encode_event)), st.data())
@settings(max_examples=300)
def test_what_is_decoded_has_no_second_encoding(data: bytes, how: st.DataObject) -> None:
    bent = bytearray(data)
    for _ in range(how.draw(st.integers(1, 3))):
        bent[how.draw(st.integers(0, len(bent) - 1))] = how.draw(st.integers(0, 255))
    again = bytes(bent[: how.draw(st.integers(0, len(bent)))] if how.draw(st.booleans()) else bent + how.draw(st.binary(max_size=4)))
    try:
        entry = decode_entry(again)
    except WireError:
        return
    assert (encoded(entry) if isinstance(entry, RecordEntry) else encode_event(entry)) == again


@given(st.binary(max_size=MAX_ENTRY_BYTES))
def test_noise_is_refused_by_one_error(data: bytes) -> None:
    try:
        entry = decode_entry(data)
    except WireError:
        return
    assert (encoded(entry) if isinstance(entry, RecordEntry) else encode_event(entry)) == data


SAMPLE = RecordEntry(
    Kind.AMENDED, 1, 2, Flag.CONTENT | Flag.CAPTURED, b"r" * 16, 3, 4, b"s" * 16, b"a" * 8, Algorithm.SHA256, b"d" * 32, b"f" * 32, 2,
    b"t" * 8,
)  # fmt: skip


def _bent(**changes: Any) -> bytes:
    return encode_record(*({name: getattr(SAMPLE, name) for name in RecordEntry.__slots__} | changes).values())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "unknown version"),
        (b"\x01", "unknown version"),
        (b"\x02" + encoded(SAMPLE)[1:], "unknown version"),
        (b"\x01\x04" + encoded(SAMPLE)[2:], "unknown kind"),
        (b"\x01\x00" + encoded(SAMPLE)[2:], "unknown kind"),
        (encoded(SAMPLE)[:128], "at least"),
        (encoded(SAMPLE)[:-1], "do not fit its columns"),
        (encoded(SAMPLE) + b"x", "do not fit its columns"),
        (_bent(columns=3), "do not fit its columns"),
        (_bent(columns=MAX_COLUMNS + 1), "do not fit its columns"),
        (_bent(columns=0, tags=b""), "do not fit its columns"),
        (_bent(flags=Flag.CAPTURED), "do not fit its columns"),
        (_bent(flags=Flag.CAPTURED, columns=0, tags=b""), "has digests"),
        (_bent(flags=SAMPLE.flags | 0x80), "unknown flag"),
        (_bent(flags=SAMPLE.flags | 0x10), "unknown flag"),
        (_bent(algorithm=3), "unknown flag, algorithm"),
        (_bent(algorithm=0), "unknown flag, algorithm"),
        (_bent(version=0), "version"),
        (_bent(version=1), "contradicts itself"),
        (_bent(previous=None), "contradicts itself"),
        (_bent(kind=Kind.DELETED), "contradicts itself"),
        (encode_event(EventEntry(Kind.AUDIT, 1, bytes(32)))[:-1], "39 bytes"),
        (encode_event(EventEntry(Kind.AUDIT, 1, bytes(32))) + b"x", "41 bytes"),
    ],
)
def test_refused(data: bytes, text: str) -> None:
    with pytest.raises(WireError, match=text):
        decode_entry(data)


@pytest.mark.parametrize("data", [None, "text", 7, 1.5, bytearray(40)])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(WireError):
        decode_entry(data)


def test_the_layout_is_as_published() -> None:
    data = encoded(SAMPLE)
    assert RECORD_BYTES == 129 and len(data) == 137
    assert data[:12] == bytes([1, 2, 0, 0, 0, 0, 0, 1, 0, 2, 0, 10])
    assert data[12:62] == b"r" * 16 + bytes([0, 0, 0, 3]) + bytes([0, 0, 0, 0, 0, 5]) + b"s" * 16 + b"a" * 8
    assert data[62:] == b"\1" + b"d" * 32 + b"f" * 32 + bytes([0, 2]) + b"t" * 8


def test_tags_of_any_row_fit() -> None:
    for columns in range(1, MAX_COLUMNS + 1):
        assert 1 <= tag_width(columns) <= 4
        assert columns * tag_width(columns) <= 256


def test_kinds_and_flags_never_change_their_numbers() -> None:
    assert {kind.name: kind.value for kind in Kind} == {
        "WRITTEN": 1, "AMENDED": 2, "DELETED": 3, "CONFIGURATION": 16, "AUDIT": 17, "ERASURE": 18, "FINDING": 19, "HOLD": 20,
        "PERSON": 21, "GRANT": 22, "EXPORT": 23, "RESTORE": 24, "MARKS": 25,
    }  # fmt: skip
    assert {flag.name: flag.value for flag in Flag} == {
        "BASELINE": 1, "CONTENT": 2, "MOVED": 4, "CAPTURED": 8, "ALTERED_BEFORE": 0x100, "INSERTED_BEFORE": 0x200,
        "UNAUTHORISED": 0x400, "FINAL": 0x800, "BACK_DATED": 0x1000, "DELETION": 0x2000, "UNCOMPARED": 0x4000,
        "TIME_UNREADABLE": 0x8000,
    }  # fmt: skip
    assert VIOLATIONS == 0xFF00
