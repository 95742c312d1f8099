"""Names and bundles of a tiled log, and the layout of its tree against the definition."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchoring.tlog import bundle_path, decode_bundle, encode_bundle, lay_out, tile_path, width_in
from ledger.errors import WireError

entries = st.lists(st.binary(max_size=512), max_size=300)


def test_names_are_those_of_the_specification() -> None:
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(3, 0, 17) == "tile/3/000.p/17"
    assert [bundle_path(n, w) for n, w in ((0, 256), (999, 1), (1000, 256))] == [
        "tile/entries/000", "tile/entries/999.p/1", "tile/entries/x001/000",
    ]  # fmt: skip


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    widths = {(level, index): width_in(70000, level, index) for level in range(4) for index in range(300)}
    assert sum(width == 256 for (level, _), width in widths.items() if level == 0) == 273
    assert widths[0, 273] == 112 and widths[0, 274] == 0
    assert [widths[1, n] for n in range(3)] == [256, 17, 0]
    assert (widths[2, 0], widths[2, 1], widths[3, 0]) == (1, 0, 0)


@given(entries)
def test_bundles_survive(listed: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(listed), len(listed)) == listed


@given(entries.filter(bool), st.data())
def test_bundles_of_another_length_are_refused(listed: list[bytes], data: st.DataObject) -> None:
    whole = encode_bundle(listed)
    with pytest.raises(WireError):
        decode_bundle(whole[: data.draw(st.integers(0, len(whole) - 1))], len(listed))
    with pytest.raises(WireError, match="more than its entries"):
        decode_bundle(whole + b"\0", len(listed))
    for count in (len(listed) - 1, len(listed) + 1):
        with pytest.raises(WireError):
            decode_bundle(whole, count)


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + definition(leaves[:split]) + definition(leaves[split:])).digest()


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 66000])
def test_tiles_are_the_subtrees_of_the_definition(size: int) -> None:
    bodies = [n.to_bytes(4, "big") for n in range(size)]
    leaves = [sha256(b"\0" + body).digest() for body in bodies]
    put: dict[str, bytes] = {}

    def once(path: str, content: bytes) -> None:
        assert path not in put
        put[path] = content

    assert lay_out((bodies[at : at + 256] for at in range(0, size, 256)), once) == definition(leaves)
    wanted = {}
    nodes, level = leaves, 0
    while nodes:
        for index in range(-(-len(nodes) // 256)):
            tile = nodes[index * 256 : index * 256 + 256]
            wanted[tile_path(level, index, len(tile))] = b"".join(tile)
            if not level:
                run = bodies[index * 256 : index * 256 + 256]
                wanted[bundle_path(index, len(run))] = encode_bundle(run)
        nodes = [definition(nodes[at : at + 256]) for at in range(0, len(nodes) - 255, 256)]
        level += 1
    assert put == wanted


@settings(max_examples=30)
@given(st.integers(1, 2000), st.integers(0, 3), st.integers(0, 10))
def test_widths_add_up_to_the_tree(size: int, level: int, index: int) -> None:
    assert sum(width_in(size, level, n) for n in range(10)) == min(size >> 8 * level, 2560)
    assert 0 <= width_in(size, level, index) <= 256


def test_the_empty_tree_has_no_files() -> None:
    assert lay_out(iter(()), lambda path, content: pytest.fail(path)) == sha256(b"").digest()
