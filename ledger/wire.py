"""Byte formats of the journal, with strict decoders: one valid encoding each, one error type, nothing repaired.

Every number is unsigned and big-endian. `docs/spec.md` describes the same bytes for strangers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from ledger.errors import WireError

VERSION = 1
MAX_COLUMNS = 256
MAX_ENTRY_BYTES = 512
NO_DIGEST = bytes(32)
NO_AUTHOR = bytes(8)

_RECORD = struct.Struct(">BB6sHH16sI6s16s8sB32s32sH")
_EVENT = struct.Struct(">BB6s32s")

RECORD_BYTES = _RECORD.size  # of a record entry without tags

# Where the audit cuts a record entry without decoding it.
KIND_AT = 1
TABLE = slice(8, 10)
RECORD = slice(12, 28)
RECORD_VERSION = slice(28, 32)
PREVIOUS = slice(32, 38)  # 0 for none, else one more than its index
SECRET_INPUT = slice(12, 32)  # record id and version
ROW_DIGEST = slice(63, 95)


class Kind(IntEnum):
    """What an entry records."""

    WRITTEN = 1
    AMENDED = 2
    DELETED = 3
    CONFIGURATION = 16
    AUDIT = 17
    ERASURE = 18
    FINDING = 19
    HOLD = 20
    PERSON = 21
    GRANT = 22
    EXPORT = 23
    RESTORE = 24
    MARKS = 25  # key, columns and author of marked record entries before it


class Flag(IntFlag):
    """What is known of a record entry. The upper byte holds violations found when the change was sealed."""

    BASELINE = 1  # present when its table was first sealed; nothing is proved about earlier times
    CONTENT = 2  # row digest, field root and tags are given
    MOVED = 4  # the change gave the record another primary key
    CAPTURED = 8  # taken from the capture queue
    ALTERED_BEFORE = 0x100  # the row had been changed outside capture, before this change or between it and its seal
    INSERTED_BEFORE = 0x200  # the row had appeared outside capture before this change
    UNAUTHORISED = 0x400
    FINAL = 0x800  # an immutable column or a closed row was changed
    BACK_DATED = 0x1000
    DELETION = 0x2000  # deletion is not allowed, or was not captured
    UNCOMPARED = 0x4000  # what the row had been could not be held against its entry: the subject's key was gone
    TIME_UNREADABLE = 0x8000  # its declared time cannot be read, so nobody can tell whether it is back-dated


VIOLATIONS = Flag(sum(flag for flag in Flag if flag >= Flag.ALTERED_BEFORE))


class Algorithm(IntEnum):
    """Digest algorithm of a record's commitments."""

    SHA256 = 1
    SM3 = 2


# Looking through an enumeration for each entry would be most of the time that decoding takes.
_FLAGS, _ALGORITHMS, _CONTENT = int(sum(Flag)), {algorithm.value: algorithm for algorithm in Algorithm}, int(Flag.CONTENT)


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One version of one record. `previous` is the index of its previous entry, None for its first.

    `subject` is blinded, `author` an opaque id; `tags` are truncated field digests, `tag_width(columns)` bytes each.
    """

    kind: Kind
    time: int  # milliseconds since 1970 UTC
    table: int
    flags: Flag
    record: bytes  # 16 random bytes, the record's id
    version: int  # from 1
    previous: int | None
    subject: bytes  # 16 bytes
    author: bytes  # 8 bytes
    algorithm: Algorithm
    row_digest: bytes  # 32 bytes
    field_root: bytes  # 32 bytes
    columns: int
    tags: bytes


@dataclass(frozen=True, slots=True)
class EventEntry:
    """Anything but a record: the entry commits to a document that the home keeps."""

    kind: Kind
    time: int  # milliseconds since 1970 UTC
    commitment: bytes  # 32 bytes


def tag_width(columns: int) -> int:
    """Bytes of each field tag, so that all tags of a row together take at most 256 bytes."""
    return 4 if columns <= 64 else MAX_COLUMNS // columns


def encode_record(
    kind: int,
    time: int,
    table: int,
    flags: int,
    record: bytes,
    version: int,
    previous: int | None,
    subject: bytes,
    author: bytes,
    algorithm: int,
    row_digest: bytes,
    field_root: bytes,
    columns: int,
    tags: bytes,
) -> bytes:
    """The bytes of a RecordEntry (129 and the tags). The caller vouches for lengths and ranges; it made them."""
    return (
        _RECORD.pack(
            VERSION,
            kind,
            time.to_bytes(6, "big"),
            table,
            flags,
            record,
            version,
            (0 if previous is None else previous + 1).to_bytes(6, "big"),
            subject,
            author,
            algorithm,
            row_digest,
            field_root,
            columns,
        )
        + tags
    )


def encode_event(entry: EventEntry) -> bytes:
    """The 40 bytes of an EventEntry."""
    return _EVENT.pack(VERSION, entry.kind, entry.time.to_bytes(6, "big"), entry.commitment)


def decode_entry(data: bytes) -> RecordEntry | EventEntry:
    """The entry that `data` encodes. Raises WireError unless `data` is exactly its one encoding."""
    if not isinstance(data, bytes) or len(data) < 2 or data[0] != VERSION:
        raise WireError("unknown version of a journal entry")
    try:
        kind = Kind(data[1])
    except ValueError:
        raise WireError(f"unknown kind of journal entry: {data[1]}") from None
    if kind > Kind.DELETED:
        if len(data) != _EVENT.size:
            raise WireError(f"an event entry has {len(data)} bytes instead of {_EVENT.size}")
        _, _, time, commitment = _EVENT.unpack(data)
        return EventEntry(kind, int.from_bytes(time, "big"), commitment)
    return _decode_record(kind, data)


def _decode_record(kind: Kind, data: bytes) -> RecordEntry:
    if len(data) < _RECORD.size:
        raise WireError(f"a record entry has {len(data)} bytes, at least {_RECORD.size} are needed")
    parts = _RECORD.unpack_from(data)
    _, _, time, table, flags, record, version, previous, subject, author, algorithm, digest, root, columns = parts
    tags = data[_RECORD.size :]
    content = bool(flags & _CONTENT)
    if flags & ~_FLAGS or algorithm not in _ALGORITHMS or version == 0:
        raise WireError("a record entry has an unknown flag, algorithm or version")
    if columns > MAX_COLUMNS or content != (columns > 0) or len(tags) != (columns * tag_width(columns) if columns else 0):
        raise WireError("a record entry's field tags do not fit its columns")
    if not content and (digest != NO_DIGEST or root != NO_DIGEST):
        raise WireError("a record entry without content has digests")
    if (kind is Kind.DELETED and content) or ((version == 1) != (int.from_bytes(previous, "big") == 0)):
        raise WireError("a record entry contradicts itself")
    return RecordEntry(
        kind,
        int.from_bytes(time, "big"),
        table,
        Flag(flags),
        record,
        version,
        int.from_bytes(previous, "big") - 1 if version > 1 else None,
        subject,
        author,
        _ALGORITHMS[algorithm],
        digest,
        root,
        columns,
        tags,
    )
