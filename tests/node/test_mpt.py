"""State proofs: a real chain's, random tries, and everything that can be wrong with a proof."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

from node import mpt, strict_rlp
from node.errors import ProofInvalid
from node.execution import ordered_root
from node.mpt import EMPTY_CODE_HASH, EMPTY_ROOT, NO_ACCOUNT, Account

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "eth_getProof").glob("*.io"))
WORDS = st.binary(min_size=32, max_size=32)


def exchanged(path):
    lines = path.read_text().splitlines()
    answer = next(json.loads(line[3:]) for line in lines if line.startswith("<< "))["result"]
    return answer, [bytes.fromhex(node[2:]) for node in answer["accountProof"]]


def build(entries):
    """A trie over py-trie, its root, and a function that proves a key the way a node does."""
    nodes = {}
    trie = HexaryTrie(nodes)
    for key, value in entries.items():
        trie[key] = value

    def prove(key):
        visited = []

        def fetch(reference):
            visited.append(nodes[reference])
            return nodes[reference]

        mpt.find(trie.root_hash, key, fetch)
        return visited

    return trie.root_hash, prove


def single(node):
    """A proof of one node: what its content must be for the verifier to look further than hashes."""
    raw = strict_rlp.encode(node)
    return keccak(raw), [raw]


def leaf(key, value):
    return [b"\x20" + key, value]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_proof_of_a_real_chain_verifies(path):
    answer, proof = exchanged(path)
    account = mpt.verify_account(keccak(proof[0]), bytes.fromhex(answer["address"][2:]), proof)
    assert account == Account(int(answer["nonce"], 16), int(answer["balance"], 16), bytes.fromhex(answer["storageHash"][2:]),
                              bytes.fromhex(answer["codeHash"][2:]))


def test_there_are_vectors():
    assert len(VECTORS) == 2


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_no_byte_of_a_real_proof_can_be_changed(path):
    answer, proof = exchanged(path)
    root, address = keccak(proof[0]), bytes.fromhex(answer["address"][2:])
    for number, node in enumerate(proof):
        for position in range(len(node)):
            altered = node[:position] + bytes([node[position] ^ 1 << position % 8]) + node[position + 1 :]
            with pytest.raises(ProofInvalid, match=f"node {number} does not hash"):
                mpt.verify_account(root, address, [*proof[:number], altered, *proof[number + 1 :]])


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_no_node_of_a_real_proof_can_be_dropped_repeated_moved_or_added(path):
    answer, proof = exchanged(path)
    root, address = keccak(proof[0]), bytes.fromhex(answer["address"][2:])

    def refused(nodes, message):
        with pytest.raises(ProofInvalid, match=message):
            mpt.verify_account(root, address, nodes)

    for number in range(len(proof)):
        refused(proof[:number] + proof[number + 1 :], "does not hash|ends after")
        refused(proof[: number + 1] + proof[number:], "does not hash|after the last one")
        refused(proof[:number], f"ends after {number} nodes")
    refused(proof[::-1], "node 0 does not hash")
    refused([proof[0], proof[2], proof[1]], "node 1 does not hash")
    refused([*proof, proof[0]], "1 nodes after the last one needed")
    refused([*proof, b"", b""], "2 nodes after")
    refused([b"", *proof], "node 0 does not hash")
    refused(proof * 30, "at most 65")
    with pytest.raises(ProofInvalid, match="node 0 does not hash to what the root names"):
        mpt.verify_account(bytes(32), address, proof)
    with pytest.raises(ProofInvalid):
        mpt.verify_account(root, bytes(20), proof)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(WORDS, st.integers(min_value=1, max_value=2**256 - 1), min_size=1, max_size=30), WORDS, st.data())
def test_every_slot_of_a_random_trie_is_proved_and_others_are_proved_absent(slots, stranger, data):
    root, prove = build({keccak(slot): strict_rlp.encode(strict_rlp.from_int(value)) for slot, value in slots.items()})
    slot = data.draw(st.sampled_from(sorted(slots)))
    proof = prove(keccak(slot))
    assert mpt.verify_storage(root, slot, proof) == slots[slot]
    assert mpt.verify_storage(root, stranger, prove(keccak(stranger))) == slots.get(stranger, 0)
    number = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
    position = data.draw(st.integers(min_value=0, max_value=len(proof[number]) - 1))
    bit = 1 << data.draw(st.integers(min_value=0, max_value=7))
    altered = proof[number][:position] + bytes([proof[number][position] ^ bit]) + proof[number][position + 1 :]
    with pytest.raises(ProofInvalid):
        mpt.verify_storage(root, slot, [*proof[:number], altered, *proof[number + 1 :]])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.binary(min_size=2, max_size=2), st.binary(min_size=1, max_size=3), min_size=1, max_size=60))
def test_embedded_nodes_are_followed(tails):
    entries = {bytes(30) + tail: value for tail, value in tails.items()}
    root, prove = build(entries)
    for key, value in entries.items():
        proof = prove(key)
        assert mpt._verify(root, key, proof) == value
        assert all(len(node) >= 32 for node in proof[1:])
    absent = next(key for n in range(65536) if (key := n.to_bytes(32, "big")) not in entries)
    assert mpt._verify(root, absent, prove(absent)) is None


def test_an_empty_trie_proves_that_nothing_is_there():
    for proof in ([], [b"\x80"]):
        assert mpt.verify_account(EMPTY_ROOT, bytes(20), proof) == NO_ACCOUNT
        assert mpt.verify_storage(EMPTY_ROOT, bytes(32), proof) == 0
    with pytest.raises(ProofInvalid, match="1 nodes after"):
        mpt.verify_storage(EMPTY_ROOT, bytes(32), [b"\x81"])
    with pytest.raises(ProofInvalid, match="ends after 0 nodes"):
        mpt.verify_storage(bytes(32), bytes(32), [])


KEY = keccak(bytes(32))
NIBBLE = KEY[0] >> 4
OTHER = bytes([KEY[0] ^ 0x80]) + KEY[1:]
HASH = b"\x55" * 32


def branch(**children):
    node = [b""] * 17
    for name, child in children.items():
        node[int(name[1:])] = child
    return node


@pytest.mark.parametrize(("node", "message"), [
    ([b"", b"", b""], "3 items"),
    ([], "0 items"),
    (branch(_16=b"value"), "a branch with a value"),
    (branch(_3=b"\1" * 31), "a reference is not 32 bytes"),
    (branch(_3=b"\1" * 33), "a reference is not 32 bytes"),
    (branch(_3=[b"\x20" + bytes(31), b"\1" * 31]), "too long to be embedded"),
    (branch(_3=[b"\x20", b"\1", b"\2"]), "3 items"),
    ([b"", b"\1"], "a path without a valid prefix"),
    ([b"\x40" + KEY, b"\1"], "a path without a valid prefix"),
    ([b"\x21" + KEY, b"\1"], "a path without a valid prefix"),
    ([b"\x31" + KEY, b"\1"], "a path of another length"),
    ([b"\x2f" + KEY, b"\1"], "a path without a valid prefix"),
    ([[], b"\1"], "a path without a valid prefix"),
    ([b"\x00", HASH], "leads nowhere"),
    ([b"\x00" + KEY[:1], b""], "leads nowhere"),
    ([b"\x00" + KEY[:1], b"\1"], "a reference is not 32 bytes"),
    (leaf(KEY[:-1], b"\1"), "another length"),
    (leaf(KEY + b"\0", b"\1"), "another length"),
    ([b"\x00" + KEY + b"\0", HASH], "another length"),
    (leaf(KEY, b""), "a leaf without a value"),
    (leaf(KEY, [b"\1"]), "a leaf without a value"),
    (leaf(KEY, b"\x00"), "leading zero"),
    (leaf(KEY, b"\x80"), "does not store zero"),
    (leaf(KEY, strict_rlp.encode(b"\0\1")), "leading zero"),
    (leaf(KEY, strict_rlp.encode(b"\1" * 33)), "33 bytes where at most 32"),
    (leaf(KEY, b"\x81\x05"), "needless prefix"),
    (leaf(KEY, b"\xc0"), "nested too deep"),
    (leaf(KEY, b"\1" * 1100), "at most 1024"),
])
def test_nodes_that_no_trie_has_are_refused_though_they_hash_right(node, message):
    root, proof = single(node)
    with pytest.raises(ProofInvalid, match=message):
        mpt.verify_storage(root, bytes(32), proof)


def test_a_branch_below_the_end_of_the_key_is_refused():
    deepest = strict_rlp.encode(branch(_3=HASH))
    root, proof = single([b"\x00" + KEY, keccak(deepest)])
    with pytest.raises(ProofInvalid, match="a branch deeper than the key"):
        mpt.verify_storage(root, bytes(32), [*proof, deepest])


@pytest.mark.parametrize("node", [
    branch(), leaf(OTHER, b"\5"), [b"\x00" + OTHER[:4], HASH], branch(**{f"_{(NIBBLE + 1) % 16}": HASH}),
])
def test_absence_is_proved_by_a_gap_another_leaf_or_another_way(node):
    root, proof = single(node)
    assert mpt.verify_storage(root, bytes(32), proof) == 0
    elsewhere = next(address for n in range(99) if keccak(address := n.to_bytes(20, "big"))[0] >> 4 == NIBBLE)
    assert mpt.verify_account(root, elsewhere, proof) == NO_ACCOUNT


@pytest.mark.parametrize(("fields", "message"), [
    ([b"", b"", EMPTY_ROOT], "3 fields"),
    ([b"", b"", EMPTY_ROOT, EMPTY_CODE_HASH, b""], "5 fields"),
    ([b"\0", b"", EMPTY_ROOT, EMPTY_CODE_HASH], "leading zero"),
    ([b"\1" * 9, b"", EMPTY_ROOT, EMPTY_CODE_HASH], "9 bytes where at most 8"),
    ([b"", b"\1" * 33, EMPTY_ROOT, EMPTY_CODE_HASH], "33 bytes"),
    ([b"", b"", EMPTY_ROOT[1:], EMPTY_CODE_HASH], "storage root is not 32 bytes"),
    ([b"", b"", EMPTY_ROOT, b""], "code hash is not 32 bytes"),
    ([b"", [], EMPTY_ROOT, EMPTY_CODE_HASH], "nested too deep"),
])
def test_malformed_accounts_are_named(fields, message):
    root, proof = single(leaf(keccak(bytes(20)), strict_rlp.encode(fields)))
    with pytest.raises(ProofInvalid, match=message):
        mpt.verify_account(root, bytes(20), proof)


@given(st.binary(max_size=200))
def test_arbitrary_nodes_raise_one_error_type(raw):
    try:
        value = mpt.verify_storage(keccak(raw), bytes(32), [raw])
    except ProofInvalid:
        return
    assert value >= 0


def test_lengths_are_checked():
    with pytest.raises(ProofInvalid, match="an address has 20 bytes"):
        mpt.verify_account(EMPTY_ROOT, bytes(19), [])
    with pytest.raises(ProofInvalid, match="a storage slot has 32 bytes"):
        mpt.verify_storage(EMPTY_ROOT, bytes(31), [])
    with pytest.raises(ProofInvalid, match="a root has 32 bytes"):
        mpt.verify_storage(bytes(31), bytes(32), [])


@pytest.mark.parametrize("count", [*range(20), 127, 128, 129, 130, 255, 256, 257, 300, 1000])
@pytest.mark.parametrize("size", [1, 20, 33, 200])
def test_the_root_of_a_list_is_that_of_the_trie_that_py_evm_makes(count, size):
    trie = HexaryTrie({})
    values = [hashlib.shake_256(b"%d" % number).digest(size) for number in range(count)]
    for position, value in enumerate(values):
        trie[strict_rlp.encode(strict_rlp.from_int(position))] = value
    assert ordered_root(values) == trie.root_hash
