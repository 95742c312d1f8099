"""Canonical bytes of a row: the exact values of the database, in one encoding, with a strict decoder.

Two encodings exist, named in every shape. No two different rows of one shape encode alike.

`sqlite/1`: the raw driver values in column order, in the layout of CPython's marshal format version 0, which has neither
references nor interning and is the fastest exact encoder at hand:

    row     '(' u32 count, then one value per column
    value   'N'                              NULL
            'i' i32                          integer that fits 32 bits
            'l' i32 count, count x u16       other integer: 15-bit digits, least first; the count has the integer's sign
            'f' u8 length, ASCII             real, as C prints it with %.17g
            's' u32 length, bytes            BLOB
            'u' u32 length, UTF-8            TEXT; stored bytes b that are not valid UTF-8 appear as U+DC00 + b (3 bytes)

`pgtext/1`: the line of `COPY (SELECT columns) TO STDOUT` in text format without its newline; columns are parted by TAB.

All numbers are little-endian. This module uses only the standard library, for the evidence verifier imports it.
"""

from __future__ import annotations

import marshal
import math
import re
import struct
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ledger.errors import WireError

SQLITE = "sqlite/1"
PGTEXT = "pgtext/1"
MAX_COLUMNS = 256

Value: TypeAlias = int | float | str | bytes | None

_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_MAX_SIZE = 2**31 - 1
_ONE = b"(" + _U32.pack(1)  # begins a row of one column
_MAX_DIGITS = 5  # 64 bits need five digits of 15 bits


def encode_sqlite(values: Sequence[Value]) -> bytes:
    """The `sqlite/1` bytes of a row, by the layout above. Raises WireError on a value that SQLite cannot hold."""
    if not 1 <= len(values) <= MAX_COLUMNS:
        raise WireError(f"a row has 1 to {MAX_COLUMNS} columns, this one has {len(values)}")
    return b"(" + _U32.pack(len(values)) + b"".join(map(_encode_value, values))


def decode_sqlite(row: bytes) -> tuple[Value, ...]:
    """The values of a `sqlite/1` row. Raises WireError unless `row` is the one encoding of its values."""
    return tuple(_decode_value(field) for field in _sqlite_fields(row))


def fields(encoding: str, row: bytes) -> list[bytes]:
    """The bytes of each column of a row, in column order; `join` is the inverse. Raises WireError on a malformed row."""
    if encoding == SQLITE:
        return _sqlite_fields(row)
    if encoding == PGTEXT:
        return row.split(b"\t")
    raise WireError(f"unknown row encoding {encoding!r}")


def join(encoding: str, parts: Sequence[bytes]) -> bytes:
    """The row whose columns have these bytes. Raises WireError on an unknown encoding."""
    if encoding == SQLITE:
        return b"(" + _U32.pack(len(parts)) + b"".join(parts)
    if encoding == PGTEXT:
        return b"\t".join(parts)
    raise WireError(f"unknown row encoding {encoding!r}")


def decode_field(field: bytes) -> Value:
    """The value of a `sqlite/1` field. Raises WireError unless `field` is the one encoding of it."""
    return _decode_value(field)


def display(encoding: str, field: bytes) -> str | None:
    """A column's value for people, None for NULL: not exact (an integer and a text may look alike). Raises WireError."""
    if encoding == SQLITE:
        value = _decode_value(field)
        if value is None:
            return None
        return value.hex() if isinstance(value, bytes) else printable(str(value))
    if encoding == PGTEXT:
        text = unescape(field)
        return None if text is None else text.decode("utf-8", "backslashreplace")
    raise WireError(f"unknown row encoding {encoding!r}")


def printable(text: str) -> str:
    """`text` with bytes that were not UTF-8 written as \\xNN, so that it can be encoded, printed and stored."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if not text.isascii() else text


_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}


def unescape(field: bytes) -> bytes | None:
    """The server's text of a `pgtext/1` field, None for NULL. Source: PostgreSQL documentation, COPY, Text Format."""
    if b"\\" not in field:
        return field
    if field == b"\\N":
        return None
    try:
        return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], field)
    except KeyError as error:
        raise WireError("a COPY field has an escape that PostgreSQL does not write") from error


def _encode_value(value: Value) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, int) and not isinstance(value, bool):
        return _encode_integer(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise WireError("SQLite holds no NaN")
        digits = (f"{value:.17g}").encode("ascii")
        return b"f" + bytes((len(digits),)) + digits
    if isinstance(value, bytes):
        return b"s" + _sized(value)
    if isinstance(value, str):
        return b"u" + _sized(_encode_text(value))
    raise WireError(f"SQLite holds no {type(value).__name__}")


def _encode_integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"i" + _I32.pack(value)
    if not -(2**63) <= value < 2**63:
        raise WireError("SQLite holds no integer beyond 64 bits")
    digits: list[int] = []
    rest = abs(value)
    while rest:
        digits.append(rest & 0x7FFF)
        rest >>= 15
    return b"l" + _I32.pack(len(digits) if value > 0 else -len(digits)) + struct.pack(f"<{len(digits)}H", *digits)


def _encode_text(text: str) -> bytes:
    try:
        stored = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise WireError("a lone surrogate is no text of a database") from error
    # Escaped bytes that form valid UTF-8 would give one stored text two encodings.
    if stored.decode("utf-8", "surrogateescape") != text:
        raise WireError("a text escapes bytes that are valid UTF-8")
    return text.encode("utf-8", "surrogatepass")


def _sized(data: bytes) -> bytes:
    if len(data) > _MAX_SIZE:
        raise WireError("a value longer than 2 GiB cannot be committed to")
    return _U32.pack(len(data)) + data


_N, _I, _F, _L, _U = b"Niflu"
_TEXTS = frozenset(b"su")
_HEAD = struct.Struct("<BI").unpack_from  # a value's tag, and what for most tags is its size


def _sqlite_fields(row: bytes) -> list[bytes]:
    if len(row) < 5 or row[0] != 0x28:
        raise WireError("a sqlite/1 row begins with '(' and its column count")
    (count,) = _U32.unpack_from(row, 1)
    if not 1 <= count <= MAX_COLUMNS:
        raise WireError(f"a row has 1 to {MAX_COLUMNS} columns")
    parts: list[bytes] = []
    at, take, padded = 5, parts.append, row + bytes(4)
    try:
        # Sealing takes every row apart: this loop makes no call that it can do without.
        for _ in range(count):
            tag, size = _HEAD(padded, at)
            if tag in _TEXTS:
                end = at + 5 + size
            elif tag == _N:
                end = at + 1
            elif tag == _I:
                end = at + 5
            elif tag == _F:
                end = at + 2 + (size & 0xFF)
            elif tag == _L:
                end = at + 5 + 2 * (size if size < 1 << 31 else (1 << 32) - size)
            else:
                raise WireError("a sqlite/1 row is truncated or has an unknown value tag")
            take(row[at:end])
            at = end
    except struct.error:
        at = len(row) + 1
    if at > len(row):
        raise WireError("a sqlite/1 row is truncated")
    if at != len(row):
        raise WireError("a sqlite/1 row has bytes after its last column")
    return parts


def _decode_value(field: bytes) -> Value:
    if field == b"N":
        return None
    if len(field) >= 5:
        # Of nearly all values there is nothing more to check than this.
        tag, size = _HEAD(field)
        if tag == _I and len(field) == 5:
            return int(_I32.unpack_from(field, 1)[0])
        if tag == _U and len(field) == 5 + size and (text := field[5:]).isascii():
            return text.decode("ascii")
    if _sqlite_fields(_ONE + field) != [field]:
        raise WireError("a sqlite/1 value has a wrong length")
    value = _lax_value(field)
    # Whatever a lax reading accepted, only the one canonical encoding stays.
    if _encode_value(value) != field:
        raise WireError("a sqlite/1 value is not in its canonical encoding")
    return value


def _lax_value(field: bytes) -> Value:
    tag, body = field[:1], field[5:]
    if tag == b"N":
        return None
    if tag == b"s":
        return body
    if tag == b"i":
        return int(_I32.unpack(field[1:5])[0])
    if tag == b"l":
        count = int(_I32.unpack(field[1:5])[0])
        if abs(count) > _MAX_DIGITS:
            raise WireError("a sqlite/1 integer is beyond 64 bits")
        digits = enumerate(struct.unpack(f"<{abs(count)}H", body))
        total = sum(int(digit) << (15 * place) for place, digit in digits)
        return total if count > 0 else -total
    try:
        return body.decode("utf-8", "surrogatepass") if tag == b"u" else float(field[2:].decode("ascii"))
    except (UnicodeDecodeError, ValueError) as error:
        raise WireError("a sqlite/1 value is not in its canonical encoding") from error


_PROBES: tuple[tuple[Value, ...], ...] = (
    (None, 0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1, 2**45, 2**63 - 1, -(2**63)),
    (0.0, -0.0, 0.1, 1.0, -1.5, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 2.0**53),
    ("", "x", "x", "中文", "\x00", "\U0001f600", "\udc80\udcff", "a" * 300, b"", b"x", b"\x00\xff", b"y" * 300),
)


def _fast_encoder() -> Callable[[tuple[Value, ...]], bytes]:
    """`marshal.dumps(row, 0)` where this interpreter's marshal writes exactly the layout above, else the plain encoder."""

    def dumps(row: tuple[Value, ...]) -> bytes:
        return marshal.dumps(row, 0)

    return dumps if all(dumps(row) == encode_sqlite(row) for row in _PROBES) else encode_sqlite


#: The bytes of `encode_sqlite` for a tuple of values that came out of SQLite, which are not checked again.
encode_sqlite_fast: Callable[[tuple[Value, ...]], bytes] = _fast_encoder()


def encode_sqlite_rows(rows: Sequence[tuple[Value, ...]]) -> list[bytes]:
    """`encode_sqlite` of many rows that came out of SQLite; one C call per row."""
    if encode_sqlite_fast is encode_sqlite:
        return [encode_sqlite(row) for row in rows]
    dumps = marshal.dumps
    return [dumps(row, 0) for row in rows]
