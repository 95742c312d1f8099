"""Trees by the recursive definition of RFC 9162, section 2.1, apart from the program's own."""

from __future__ import annotations

from ledger.merkle import EMPTY_ROOT, node_hash


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def head(leaves: list[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(head(leaves[:k]), head(leaves[k:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), head(leaves[k:])]
    return [*path(index - k, leaves[k:]), head(leaves[:k])]


def subproof(size: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [head(leaves)]
    k = split(len(leaves))
    if size <= k:
        return [*subproof(size, leaves[:k], whole), head(leaves[k:])]
    return [*subproof(size - k, leaves[k:], False), head(leaves[:k])]
