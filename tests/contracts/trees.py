"""A small RFC 6962 tree of the tests' own, so that the contract is judged by something else than the product's tree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    if not leaves:
        return hashlib.sha256(b"").digest()
    cut = split(len(leaves))
    return node(root(leaves[:cut]), root(leaves[cut:]))


def consistency(size: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """PROOF(size, leaves) and SUBPROOF of RFC 6962, section 2.1.2."""
    if size == len(leaves):
        return [] if whole else [root(leaves)]
    cut = split(len(leaves))
    if size <= cut:
        return [*consistency(size, leaves[:cut], whole=whole), root(leaves[cut:])]
    return [*consistency(size - cut, leaves[cut:], whole=False), root(leaves[:cut])]


@cache
def even_root(size: int) -> bytes:
    """The root of `size` equal leaves, for trees too large to build."""
    return leaf(b"") if size == 1 else node(even_root(split(size)), even_root(size - split(size)))


def even_consistency(size1: int, size2: int, *, whole: bool = True) -> list[bytes]:
    if size1 == size2:
        return [] if whole else [even_root(size2)]
    cut = split(size2)
    if size1 <= cut:
        return [*even_consistency(size1, cut, whole=whole), even_root(size2 - cut)]
    return [*even_consistency(size1 - cut, size2 - cut, whole=False), even_root(cut)]
