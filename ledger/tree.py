"""The journal's Merkle tree, kept in 256-wide tiles: constant-cost appends, O(log n) proofs for any size up to the present one.

A tile (level L, index i) holds up to 256 hashes: the nodes of tree level 8·L at positions 256·i and on. Only complete subtrees
are stored, so a hash once written never changes. Source of the layout: C2SP tlog-tiles.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Protocol

from ledger.errors import LedgerError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, node_hash

WIDTH = 256
TILE_BYTES = WIDTH * HASH_BYTES
# Copies of a hash object that has taken the prefix cost less than new ones: these are merkle.leaf_hash and merkle.node_hash.
_LEAF, _NODE = sha256(b"\0").copy, sha256(b"\1").copy
_PAIR = struct.Struct(f"{2 * HASH_BYTES}s")


class ReadTiles(Protocol):
    """Stored tiles; `read` gives fewer than 8192 bytes for the tile at the right edge, b"" where there is none."""

    def read(self, level: int, index: int) -> bytes: ...


class Tiles(ReadTiles, Protocol):
    """Storage of tiles."""

    def write(self, level: int, index: int, hashes: bytes) -> None: ...


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """`merkle.leaf_hash` of many entries."""
    hashes = []
    for entry in entries:
        digest = _LEAF()
        digest.update(entry)
        hashes.append(digest.digest())
    return hashes


def rows_of(tile: bytes) -> list[bytes]:
    """The complete subtrees inside a tile: item k joins the roots of its runs of 2**k hashes."""
    rows = [tile]
    while len(tile) >= 2 * HASH_BYTES:
        row = []
        for (pair,) in _PAIR.iter_unpack(tile[: len(tile) // _PAIR.size * _PAIR.size]):
            digest = _NODE()
            digest.update(pair)
            row.append(digest.digest())
        tile = b"".join(row)
        rows.append(tile)
    return rows


def append(tiles: Tiles, size: int, leaves: Iterable[bytes]) -> int:
    """Append leaf hashes to a tree of `size` leaves and return the new size. Touches only tiles at the right edge."""
    nodes, level, position = list(leaves), 0, size
    size += len(nodes)
    while nodes:
        index, kept = divmod(position, WIDTH)
        edge = tiles.read(level, index) if kept else b""
        if len(edge) != kept * HASH_BYTES:
            raise LedgerError("the journal's tiles do not fit its size: restore the home from its mirror or backup")
        hashes, nodes = edge + b"".join(nodes), []
        for start in range(0, len(hashes), TILE_BYTES):
            tile = hashes[start : start + TILE_BYTES]
            tiles.write(level, index + start // TILE_BYTES, tile)
            if len(tile) == TILE_BYTES:
                nodes.append(rows_of(tile)[8])
        level, position = level + 1, index
    return size


class Tree:
    """Roots and proofs of the tree in `tiles`; opened tiles are cached within a bound. Sizes beyond what is stored raise LedgerError."""

    def __init__(self, tiles: ReadTiles, cached_tiles: int = 1024) -> None:
        self._tiles = tiles
        self._cache: dict[tuple[int, int], list[bytes]] = {}
        self._bound = cached_tiles

    def _node(self, level: int, index: int) -> bytes:
        shift = level % 8
        place, offset = divmod(index << shift, WIDTH)
        key, at = (level // 8, place), (offset >> shift) * HASH_BYTES
        rows = self._cache.get(key)
        if rows is None or len(rows) <= shift or len(rows[shift]) < at + HASH_BYTES:
            rows = rows_of(self._tiles.read(*key))
            while len(self._cache) >= self._bound:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = rows
        if len(rows) <= shift or len(rows[shift]) < at + HASH_BYTES:
            raise LedgerError("the journal's tiles are incomplete: restore the home from its mirror or backup")
        return rows[shift][at : at + HASH_BYTES]

    def _range(self, low: int, high: int) -> bytes:
        """MTH of leaves low to high-1, where low is a multiple of a power of two that is at least high - low."""
        node: bytes | None = None
        for level, index in reversed(list(_perfect(low, high))):
            left = self._node(level, index)
            node = left if node is None else node_hash(left, node)
        return EMPTY_ROOT if node is None else node

    def root(self, size: int) -> bytes:
        """The tree head of the first `size` leaves, 32 bytes. Source: RFC 9162, section 2.1.1."""
        return self._range(0, size)

    def inclusion_proof(self, index: int, size: int, known: dict[tuple[int, int], bytes] | None = None) -> list[bytes]:
        """Proof for `merkle.verify_inclusion`. Source: RFC 9162, section 2.1.3.1.

        For many proofs in one tree, give each the same dictionary: entries that are near to each other share most of theirs.
        """
        known = {} if known is None else known
        if not 0 <= index < size:
            raise LedgerError(f"entry {index} is not in a journal of {size} entries")
        proof, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            other, low, high = ((middle, high), low, middle) if index < middle else ((low, middle), middle, high)
            node = known.get(other)
            if node is None:
                node = known[other] = self._range(*other)
            proof.append(node)
        return proof[::-1]

    def consistency_proof(self, size1: int, size2: int) -> list[bytes]:
        """Proof for `merkle.verify_consistency`; empty where size1 is 0 or equals size2. Source: RFC 9162, section 2.1.4.1."""
        if not 0 <= size1 <= size2:
            raise LedgerError(f"no consistency proof from {size1} to {size2} entries")
        if size1 in (0, size2):
            return []
        proof, low, high, whole = [], 0, size2, True
        while size1 != high:
            middle = low + _split(high - low)
            if size1 <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low, whole = middle, False
        if not whole:
            proof.append(self._range(low, high))
        return proof[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _perfect(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees (level, index) that make up leaves low to high-1, left to right."""
    while low < high:
        level = (high - low).bit_length() - 1
        if low:
            level = min(level, (low & -low).bit_length() - 1)
        yield level, low >> level
        low += 1 << level
