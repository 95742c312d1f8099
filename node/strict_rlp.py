"""Strict, bounded reading of RLP.

The rlp package decodes recursively without a bound on depth; this decoder is for bytes that come from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import rlp  # type: ignore[import-untyped]

from node.errors import RlpInvalid

Item: TypeAlias = "bytes | list[Item]"


def decode(raw: bytes, *, max_depth: int) -> Item:
    """Return the item that `raw` encodes in the one canonical way, with lists nested at most `max_depth` deep.

    Errors: RlpInvalid for trailing bytes, lengths that are not minimal, items that overrun, too deep nesting.
    Source: Ethereum yellow paper, appendix B.
    """
    item, end = _item(raw, 0, len(raw), max_depth)
    if end != len(raw):
        raise RlpInvalid(f"RLP: {len(raw) - end} bytes after the item")
    return item


def decode_list(raw: bytes, *, max_depth: int = 1) -> list[Item]:
    """`decode` for bytes that must encode a list."""
    item = decode(raw, max_depth=max_depth)
    if isinstance(item, bytes):
        raise RlpInvalid("RLP: a string where a list is expected")
    return item


def encode(item: bytes | Sequence[Item]) -> bytes:
    """Return the canonical encoding of byte strings and lists of them. Source: yellow paper, appendix B."""
    return bytes(rlp.encode(item, infer_serializer=False))


def to_int(item: Item, *, bits: int) -> int:
    """Return the unsigned integer of at most `bits` bits that `item` stands for; leading zero bytes are refused."""
    if not isinstance(item, bytes):
        raise RlpInvalid("RLP: a list where an integer is expected")
    if item[:1] == b"\0":
        raise RlpInvalid("RLP: an integer with leading zero bytes")
    if len(item) * 8 > bits:
        raise RlpInvalid(f"RLP: an integer of {len(item)} bytes where at most {bits // 8} are allowed")
    return int.from_bytes(item, "big")


def from_int(number: int) -> bytes:
    """Return the shortest big-endian bytes of a non-negative integer; zero is the empty string."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _item(raw: bytes, at: int, limit: int, depth: int) -> tuple[Item, int]:
    if at >= limit:
        raise RlpInvalid("RLP: ends early")
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    base = 0x80 if first < 0xC0 else 0xC0
    start, length = _length(raw, at, limit, first - base)
    end = start + length
    if end > limit:
        raise RlpInvalid("RLP: an item overruns its container")
    if base == 0x80:
        if length == 1 and raw[start] < 0x80:
            raise RlpInvalid("RLP: a single byte with a needless prefix")
        return raw[start:end], end
    if depth == 0:
        raise RlpInvalid("RLP: lists nested too deep")
    items: list[Item] = []
    while start < end:
        item, start = _item(raw, start, end, depth - 1)
        items.append(item)
    return items, end


def _length(raw: bytes, at: int, limit: int, code: int) -> tuple[int, int]:
    """Return where the payload starts and how long it is; `code` is the first byte without its type."""
    if code < 56:
        return at + 1, code
    width = code - 55
    digits = raw[at + 1 : at + 1 + width]
    if at + 1 + width > limit:
        raise RlpInvalid("RLP: ends early")
    length = int.from_bytes(digits, "big")
    if digits[0] == 0 or length < 56:
        raise RlpInvalid("RLP: a length that is not minimal")
    return at + 1 + width, length
