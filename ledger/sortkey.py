"""Binary sort keys: a row's primary key as bytes whose memcmp order is the order in which the source yields rows.

A key is the concatenation of its columns, each by its kind, and is bijective to the key's values:

    int   8 bytes, big-endian, biased by 2**63 (SQLite's rowid, PostgreSQL's smallint, int and bigint).
          A NULL, possible where a declared key is not enforced, is FF x 8, 01; inside a composite key the greatest
          integer is FF x 8, 00. `ORDER BY k`, NULLs last.
    text  UTF-8 of the server's text, ended by 00 unless it is the last column; a NULL is FF.
          `ORDER BY k::text COLLATE "C"`, NULLs last (PostgreSQL, all other types).
    any   a tag, then by storage class as SQLite orders them (`ORDER BY k COLLATE BINARY`):
          01                            NULL
          02 f64 i16                    a number: the nearest double made ordered, then what is missing to the integer
          03 bytes, 04 bytes            TEXT, BLOB; in a composite key 00 is written 00 FF and 00 00 ends the value
          and, after all columns, one byte for each number: 0 integer, 1 real, 2 the real -0.0. Numbers of equal value
          are one key to SQLite's indexes, so their class may not come before a later column.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from ledger.errors import WireError
from ledger.rowcodec import Value
from ledger.shape import KeyKind

_U64 = struct.Struct(">Q")
_F64 = struct.Struct(">d")
_I16 = struct.Struct(">H")
_BIAS = 1 << 63
_TOP = b"\xff" * 8
_NULL, _NUMBER, _TEXT, _BLOB = b"\x01", b"\x02", b"\x03", b"\x04"
_INTEGER, _REAL, _MINUS_ZERO = 0, 1, 2


def encode(kinds: Sequence[KeyKind], values: Sequence[Value]) -> bytes:
    """The sort key of `values`, one per kind; values of kind `text` are str or UTF-8 bytes. Raises WireError."""
    if len(kinds) != len(values):
        raise WireError(f"the key has {len(kinds)} columns, not {len(values)}")
    out = bytearray()
    classes = bytearray()
    last = len(kinds) - 1
    for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        if kind == "int":
            out += _encode_int(value, ended=place < last)
        elif kind == "text":
            out += _encode_text(value, ended=place < last)
        else:
            out += _encode_any(value, classes, ended=last > 0)
    return bytes(out + classes)


def encoder(kinds: Sequence[KeyKind]) -> Callable[[Sequence[Value]], bytes]:
    """`encode` for these kinds, by the shortest way: one call per row in an audit."""
    if tuple(kinds) == ("int",):
        return lambda values: int_key(values[0])
    return lambda values: encode(kinds, values)


def int_key(value: Value) -> bytes:
    """The sort key of a single column of kind `int`."""
    return _U64.pack(value + _BIAS) if isinstance(value, int) else _encode_int(value, ended=False)


def int_keys(values: Sequence[int]) -> list[bytes]:
    """`int_key` of many integers."""
    pack = _U64.pack
    return [pack(value + _BIAS) for value in values]


def decode(kinds: Sequence[KeyKind], key: bytes) -> tuple[Value, ...]:
    """The values of a sort key: int, str (kind `text`) or raw values (kind `any`). Raises WireError unless it is canonical."""
    values: list[Value] = []
    numbers: list[tuple[int, float, int]] = []
    value: Value
    at = 0
    last = len(kinds) - 1
    try:
        for place, kind in enumerate(kinds):
            if kind == "int":
                value, at = _decode_int(key, at, ended=place < last)
            elif kind == "text":
                value, at = _decode_text(key, at, ended=place < last)
            elif key[at : at + 1] == _NUMBER:
                numbers.append((place, *_decode_number(key, at + 1)))
                value, at = None, at + 11
            else:
                value, at = _decode_any(key, at, ended=last > 0)
            values.append(value)
        for (place, near, residual), kind_of_number in zip(numbers, key[at:], strict=True):
            values[place] = int(near) + residual if kind_of_number == _INTEGER else near
            if kind_of_number == _MINUS_ZERO:
                values[place] = -0.0
        canonical = encode(kinds, values) == key
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise WireError("bytes are no sort key of these columns") from error
    if not canonical:
        raise WireError("a sort key is not in its canonical encoding")
    return tuple(values)


def bound(kinds: Sequence[KeyKind], key: bytes) -> tuple[tuple[Value, ...], bool] | None:
    """What a bound of a range means: the values of the key that it is, or that it directly follows (key + 00), then False.

    None where `key` is neither: such a bound lies between keys at a place that no values tell.
    """
    if key.endswith(b"\x00"):
        try:
            return decode(kinds, key[:-1]), False
        except WireError:
            pass
    try:
        return decode(kinds, key), True
    except WireError:
        return None


def _encode_int(value: Value, *, ended: bool) -> bytes:
    if value is None:
        return _TOP + b"\x01"
    if not isinstance(value, int) or not -_BIAS <= value < _BIAS:
        raise WireError("an integer key column holds something else than a 64-bit integer")
    packed = _U64.pack(value + _BIAS)
    return packed + b"\x00" if ended and packed == _TOP else packed


def _decode_int(key: bytes, at: int, *, ended: bool) -> tuple[int | None, int]:
    packed = key[at : at + 8]
    at += 8
    if packed == _TOP and (ended or at < len(key)):
        return (None, at + 1) if key[at] == 1 else (_BIAS - 1, at + 1)
    return int(_U64.unpack(packed)[0]) - _BIAS, at


def _encode_text(value: Value, *, ended: bool) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8")
    if value is None:
        value = b"\xff"
    if not isinstance(value, bytes) or (ended and 0 in value):
        raise WireError("a text key column holds something else than PostgreSQL's text")
    return value + b"\x00" if ended else value


def _decode_text(key: bytes, at: int, *, ended: bool) -> tuple[str | None, int]:
    end = key.index(0, at) if ended else len(key)
    text = key[at:end]
    return (None if text == b"\xff" else text.decode("utf-8")), end + ended


def _encode_any(value: Value, classes: bytearray, *, ended: bool) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, int | float):
        near = float(value)
        if isinstance(value, int):
            classes.append(_INTEGER)
        else:
            classes.append(_MINUS_ZERO if _F64.pack(value)[0] == 0x80 and value == 0 else _REAL)
        # Adding zero turns -0.0 into 0.0: SQLite holds them equal.
        (bits,) = _U64.unpack(_F64.pack(near + 0.0))
        ordered = bits ^ (2**64 - 1) if bits >> 63 else bits | _BIAS
        residual = value - int(near) if isinstance(value, int) else 0
        return _NUMBER + _U64.pack(ordered) + _I16.pack(residual + 0x8000)
    tag, data = (_TEXT, value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else (_BLOB, value)
    return tag + (data.replace(b"\x00", b"\x00\xff") + b"\x00\x00" if ended else data)


def _decode_number(key: bytes, at: int) -> tuple[float, int]:
    ordered = int(_U64.unpack(key[at : at + 8])[0])
    bits = ordered ^ _BIAS if ordered >> 63 else ordered ^ (2**64 - 1)
    return float(_F64.unpack(_U64.pack(bits))[0]), int(_I16.unpack(key[at + 8 : at + 10])[0]) - 0x8000


def _decode_any(key: bytes, at: int, *, ended: bool) -> tuple[Value, int]:
    tag = key[at : at + 1]
    if tag == _NULL:
        return None, at + 1
    if tag not in (_TEXT, _BLOB):
        raise ValueError("unknown tag")
    end = _end_of_escaped(key, at + 1) if ended else len(key)
    data = key[at + 1 : end]
    if ended:
        data = data.replace(b"\x00\xff", b"\x00")
        end += 2
    return (data.decode("utf-8", "surrogateescape") if tag == _TEXT else data), end


def _end_of_escaped(key: bytes, at: int) -> int:
    while True:
        at = key.index(0, at)
        if key[at + 1] == 0:
            return at
        at += 2
