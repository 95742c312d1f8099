"""The files of a tiled transparency log: their names, their content, and the tree that is laid out in them. Pure.

Source: C2SP tlog-tiles v1.0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ledger.errors import WireError
from ledger.merkle import HASH_BYTES
from ledger.tree import TILE_BYTES, WIDTH, Tree, append, leaf_hashes
from ledger.wire import MAX_ENTRY_BYTES

CHECKPOINT = "checkpoint"
ENTRIES = "tile/entries/"
MAX_BUNDLE = WIDTH * (2 + MAX_ENTRY_BYTES)


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """The place of a tile of hashes; a `width` below 256 is a partial tile."""
    return f"tile/{level}/{_number(index)}{_partial(width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """The place of a bundle of entries."""
    return f"{ENTRIES}{_number(index)}{_partial(width)}"


def width_in(size: int, level: int, index: int) -> int:
    """How many hashes the tile has in a tree of `size` leaves, or entries the bundle where `level` is 0; 0 where there is none."""
    return min(max((size >> 8 * level) - index * WIDTH, 0), WIDTH)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each after its length in two bytes, big-endian."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, count: int) -> list[bytes]:
    """The `count` entries of a bundle; WireError where it has more, fewer, or a length does not fit."""
    entries, at = [], 0
    for _ in range(count):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise WireError("it ends too early")
        entries.append(data[at + 2 : end])
        at = end
    if at != len(data):
        raise WireError("it holds more than its entries")
    return entries


class _Edge:
    """Tiles that are given away as soon as they are full; the partial ones at the right edge are kept."""

    def __init__(self, put: Callable[[str, bytes], None]) -> None:
        self._put = put
        self._open: dict[tuple[int, int], bytes] = {}

    def read(self, level: int, index: int) -> bytes:
        return self._open.get((level, index), b"")

    def write(self, level: int, index: int, hashes: bytes) -> None:
        if len(hashes) == TILE_BYTES:
            self._open.pop((level, index), None)
            self._put(tile_path(level, index), hashes)
        else:
            self._open[level, index] = hashes

    def flush(self) -> None:
        for (level, index), hashes in sorted(self._open.items()):
            self._put(tile_path(level, index, len(hashes) // HASH_BYTES), hashes)


def lay_out(runs: Iterable[list[bytes]], put: Callable[[str, bytes], None]) -> bytes:
    """Put every file of the tree over the entries but the checkpoint, and return the tree's root.

    `runs` are the entries in runs of 256, the last one may be shorter. A bundle is put after the tile of its leaves. Memory does not
    grow with the tree.
    """
    edge, size = _Edge(put), 0
    for index, run in enumerate(runs):
        size = append(edge, size, leaf_hashes(run))
        if len(run) < WIDTH:
            edge.flush()
        put(bundle_path(index, len(run)), encode_bundle(run))
    if size % WIDTH == 0:
        edge.flush()
    return Tree(edge).root(size)


def _number(index: int) -> str:
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"
