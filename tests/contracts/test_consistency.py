"""The consistency check on chain, against the vectors of RFC 6962 and against trees made in Python."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import boa
import pytest
from contract_world import World, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import consistency, even_consistency, even_root, leaf, node, root
from web3 import Web3

from contracts.calls import Journals
from ledger.errors import ProofError
from ledger.merkle import verify_consistency

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc6962" / "consistency"
CASES = sorted(path.relative_to(VECTORS).as_posix() for path in VECTORS.rglob("*.json"))

# A bytes32 cannot carry these hashes of another length: the encoder refuses them before any contract sees them.
NOT_32_BYTES = {
    "1/wrong-root1.json",
    "2/preceding-garbage.json",
    "3/preceding-garbage.json",
    "3/trailing-garbage.json",
    "3/wrong-root1.json",
    "3/wrong-root2.json",
    "4/wrong-root2.json",
    "additional/roots-do-not-not-match-and-sizes-are-one.json",
    "additional/size1-is-greater-than-size2-again.json",
    "additional/sizes-are-equal-one-but-roots-are-not.json",
    "additional/sizes-are-equal-zero-and-proof-is-empty.json",
    "additional/sizes-are-equal-zero-but-roots-are-not.json",
}

LEAVES = [leaf(n.to_bytes(4, "big")) for n in range(200)]


def test_vectors_are_there() -> None:
    assert len(CASES) == 50
    assert set(CASES) >= NOT_32_BYTES


@pytest.mark.parametrize("case", CASES)
def test_vector(world: World, case: str) -> None:
    vector = json.loads((VECTORS / case).read_text())
    root1, root2 = (base64.b64decode(vector[name]) for name in ("root1", "root2"))
    proof = [base64.b64decode(text) for text in vector["proof"]]
    arguments = (vector["size1"], vector["size2"], root1, root2, proof)
    if case in NOT_32_BYTES:
        assert vector["wantErr"]
        assert any(len(part) != 32 for part in (root1, root2, *proof))
        with pytest.raises(ValueError, match="verify_consistency: an argument does not fit its type"):
            Journals(Web3(), str(world.journals.address)).verify_consistency(*arguments)
    elif vector["wantErr"]:
        with refused(world.journals, "inconsistent"):
            world.journals.verify_consistency(*arguments)
    else:
        world.journals.verify_consistency(*arguments)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_tree_grown_leaf_by_leaf_is_consistent(shared_world: World, one: int, other: int) -> None:
    size1, size2 = sorted((one, other))
    proof = consistency(size1, LEAVES[:size2])
    shared_world.journals.verify_consistency(size1, size2, root(LEAVES[:size1]), root(LEAVES[:size2]), proof)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_sizes_up_to_the_limit_are_consistent(shared_world: World, one: int, other: int) -> None:
    size1, size2 = sorted((one, other))
    proof = even_consistency(size1, size2)
    assert len(proof) <= 64
    shared_world.journals.verify_consistency(size1, size2, even_root(size1), even_root(size2), proof)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 199), st.integers(2, 200), st.randoms(use_true_random=False))
def test_any_single_change_is_refused(shared_world: World, one: int, other: int, chance: random.Random) -> None:
    size1, size2 = sorted((one, other)) if one != other else (one, one + 1)
    proof = consistency(size1, LEAVES[:size2])
    roots = [root(LEAVES[:size1]), root(LEAVES[:size2])]
    stranger = chance.randbytes(32)
    match chance.choice(["root1", "root2", "swap", "hash", "drop", "add", "twice"]):
        case "root1":
            roots[0] = stranger
        case "root2":
            roots[1] = stranger
        case "swap":
            roots.reverse()
        case "hash":
            proof[chance.randrange(len(proof))] = stranger
        case "drop":
            del proof[chance.randrange(len(proof))]
        case "add":
            proof.insert(chance.randint(0, len(proof)), stranger)
        case "twice":
            place = chance.randrange(len(proof))
            proof.insert(place, proof[place])
    with refused(shared_world.journals, "inconsistent"):
        shared_world.journals.verify_consistency(size1, size2, *roots, proof)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(), st.integers(0, 7))
def test_python_and_the_contract_agree(
    shared_world: World, size1: int, size2: int, made1: int, made2: int, lawful: bool, drop: int
) -> None:
    """Proofs made for some sizes and shown for others, cut short or whole: the twins accept and refuse the same."""
    made1, made2 = sorted((made1, made2))
    if lawful:
        size1, size2 = made1, made2
    proof = consistency(made1, LEAVES[:made2])[drop // 6 :] if made1 else []
    arguments = (size1, size2, root(LEAVES[:made1]), root(LEAVES[:made2]), proof)
    try:
        verify_consistency(*arguments)
    except ProofError:
        with refused(shared_world.journals, "inconsistent"):
            shared_world.journals.verify_consistency(*arguments)
    else:
        shared_world.journals.verify_consistency(*arguments)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 150))
def test_proof_holds_for_the_older_root_only_at_its_own_size(shared_world: World, size: int, claimed: int, growth: int) -> None:
    grown = size + growth if size + growth <= len(LEAVES) else len(LEAVES)
    old, new = root(LEAVES[:size]), root(LEAVES[:grown])
    arguments = (claimed, grown, old, new, consistency(size, LEAVES[:grown]))
    if claimed == size:
        shared_world.journals.verify_consistency(*arguments)
    else:
        with refused(shared_world.journals, "inconsistent"):
            shared_world.journals.verify_consistency(*arguments)


def test_degenerate_sizes(world: World) -> None:
    check = world.journals.verify_consistency
    same, other = b"\1" * 32, b"\2" * 32
    check(7, 7, same, same, [])
    for arguments in (
        (0, 0, same, same, []),
        (0, 7, same, other, []),
        (7, 7, same, other, []),
        (7, 7, same, same, [other]),
        (8, 7, same, other, []),
        (7, 8, same, other, []),
        (2**63, 2**63, same, same, []),
        (2**63 - 1, 2**63, same, other, [same] * 64),
        (1, 2**256 - 1, same, other, [same] * 64),
    ):
        with refused(world.journals, "inconsistent"):
            check(*arguments)


def test_proof_of_another_depth_is_refused_though_both_roots_match(world: World) -> None:
    """Roots made by a liar, who hashes one level more or less than the sizes allow."""
    left, third, fourth, above = LEAVES[:4]
    deeper = node(above, node(left, third)), node(above, node(left, node(third, fourth))), [third, fourth, left, above]
    shallower = third, node(third, fourth), [third, fourth]
    for root1, root2, proof in (deeper, shallower):
        with refused(world.journals, "inconsistent"):
            world.journals.verify_consistency(3, 4, root1, root2, proof)
    world.journals.verify_consistency(3, 4, node(left, third), node(left, node(third, fourth)), [third, fourth, left])


def test_proof_longer_than_any_tree_is_refused_by_the_decoder(world: World) -> None:
    with pytest.raises(boa.BoaError):
        world.journals.verify_consistency(1, 2**63 - 1, even_root(1), even_root(2**63 - 1), [even_root(1)] * 65)
