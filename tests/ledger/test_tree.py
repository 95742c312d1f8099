"""Tiles: the same roots and proofs as the recursive definition, whatever way the leaves came in."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_definition import head, path, subproof

from ledger.errors import LedgerError
from ledger.merkle import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency, verify_inclusion
from ledger.tree import TILE_BYTES, Tree, append, leaf_hashes, rows_of

LEAVES = [leaf_hash(n.to_bytes(3, "big")) for n in range(140_000)]


class Memory:
    """Tiles in a dictionary; `written` counts."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.written = 0

    def read(self, level: int, index: int) -> bytes:
        return self.tiles.get((level, index), b"")

    def write(self, level: int, index: int, hashes: bytes) -> None:
        old = self.read(level, index)
        assert hashes[: len(old)] == old, "a hash once written changed"
        assert 0 < len(hashes) <= TILE_BYTES
        self.written += 1
        self.tiles[level, index] = hashes


@cache
def full() -> Memory:
    tiles = Memory()
    assert append(tiles, 0, LEAVES) == len(LEAVES)
    return tiles


@cache
def fast_head(low: int, high: int) -> bytes:
    """The definition again, with memory: trees of 10^5 leaves."""
    if high - low == 1:
        return LEAVES[low]
    k = 1
    while k * 2 < high - low:
        k *= 2
    return node_hash(fast_head(low, low + k), fast_head(low + k, high))


def test_leaf_hashes_are_those_of_the_verifier() -> None:
    assert leaf_hashes([b"", b"a", b"b" * 500]) == [leaf_hash(b""), leaf_hash(b"a"), leaf_hash(b"b" * 500)]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 300])
def test_small_roots_and_all_their_proofs(size: int) -> None:
    tiles = Memory()
    assert append(tiles, 0, LEAVES[:size]) == size
    tree = Tree(tiles)
    assert tree.root(size) == (head(LEAVES[:size]) if size else EMPTY_ROOT)
    known: dict[tuple[int, int], bytes] = {}
    for index in range(0, size, max(1, size // 60)):
        assert tree.inclusion_proof(index, size) == tree.inclusion_proof(index, size, known) == path(index, LEAVES[:size])
    for size1 in range(0, size + 1, max(1, size // 60)):
        assert tree.consistency_proof(size1, size) == (subproof(size1, LEAVES[:size]) if size1 else [])


@given(st.lists(st.integers(0, 700), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_way_leaves_come_in_does_not_matter(parts: list[int]) -> None:
    tiles, size = Memory(), 0
    for part in parts:
        size = append(tiles, size, LEAVES[size : size + part])
        assert Tree(tiles).root(size) == (fast_head(0, size) if size else EMPTY_ROOT)
    whole = Memory()
    append(whole, 0, LEAVES[:size])
    assert tiles.tiles == whole.tiles


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_proofs_of_large_trees_at_any_earlier_size(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index, size1 = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    tree = Tree(full(), cached_tiles=data.draw(st.sampled_from([1, 2, 1024])))
    root = tree.root(size)
    assert root == fast_head(0, size)
    verify_inclusion(LEAVES[index], index, size, tree.inclusion_proof(index, size), root)
    verify_consistency(size1, size, tree.root(size1), root, tree.consistency_proof(size1, size))


def test_the_cost_of_an_append_does_not_grow_with_the_tree() -> None:
    for size in (1_000, 100_000, 139_000):
        tiles = Memory()
        append(tiles, 0, LEAVES[:size])
        tiles.written = 0
        append(tiles, size, LEAVES[size : size + 10])
        assert tiles.written <= 4


def test_a_tree_that_grew_is_seen_by_a_tree_with_cached_edges() -> None:
    tiles = Memory()
    tree, size, rng = Tree(tiles), 0, random.Random(1)
    while size < 3000:
        more = rng.randint(1, 90)
        size = append(tiles, size, LEAVES[size : size + more])
        assert tree.root(size) == fast_head(0, size)


def test_rows_of_a_tile_are_its_subtrees() -> None:
    for count in (1, 2, 3, 255, 256):
        rows = rows_of(b"".join(LEAVES[:count]))
        for level, row in enumerate(rows):
            assert len(row) == 32 * (count >> level)
            for place in range(count >> level):
                assert row[32 * place : 32 * place + 32] == fast_head(place << level, (place + 1) << level)


@pytest.mark.parametrize("level", [0, 1])
def test_tiles_that_do_not_fit_the_size_are_refused(level: int) -> None:
    tiles = Memory()
    append(tiles, 0, LEAVES[:600])
    tiles.tiles[level, 0 if level else 2] = tiles.tiles[level, 0 if level else 2][:-32]
    with pytest.raises(LedgerError, match="restore the home"):
        append(tiles, 600, LEAVES[600:900])


def test_a_missing_tile_is_an_error_and_no_other_root() -> None:
    tiles = Memory()
    append(tiles, 0, LEAVES[:600])
    del tiles.tiles[0, 2]
    with pytest.raises(LedgerError, match="incomplete"):
        Tree(tiles).root(600)
    with pytest.raises(LedgerError, match="incomplete"):
        Tree(tiles).inclusion_proof(599, 600)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (9, 5), (0, 0)])
def test_there_is_no_proof_for_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(LedgerError, match="is not in a journal"):
        Tree(full()).inclusion_proof(index, size)


@pytest.mark.parametrize(("size1", "size2"), [(-1, 5), (6, 5)])
def test_there_is_no_consistency_backwards(size1: int, size2: int) -> None:
    with pytest.raises(LedgerError, match="no consistency proof"):
        Tree(full()).consistency_proof(size1, size2)
