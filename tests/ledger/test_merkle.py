"""Proof verification: the public vectors unchanged, and proofs of our own trees bent in every way."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_definition import head, path, subproof

from ledger.errors import ProofError
from ledger.merkle import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc6962"
INCLUSION = sorted(path.relative_to(VECTORS).as_posix() for path in (VECTORS / "inclusion").rglob("*.json"))
CONSISTENCY = sorted(path.relative_to(VECTORS).as_posix() for path in (VECTORS / "consistency").rglob("*.json"))


def _vector(name: str) -> tuple[dict[str, Any], list[bytes]]:
    vector = json.loads((VECTORS / name).read_text())
    return vector, [base64.b64decode(part) for part in vector["proof"] or []]


def test_all_vectors_are_there() -> None:
    assert (len(INCLUSION), len(CONSISTENCY)) == (53, 50)


@pytest.mark.parametrize("name", INCLUSION)
def test_inclusion_vector(name: str) -> None:
    vector, proof = _vector(name)
    root, leaf = base64.b64decode(vector["root"]), base64.b64decode(vector["leafHash"])
    arguments = (leaf, vector["leafIdx"], vector["treeSize"], proof, root)
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("name", CONSISTENCY)
def test_consistency_vector(name: str) -> None:
    vector, proof = _vector(name)
    root1, root2 = base64.b64decode(vector["root1"]), base64.b64decode(vector["root2"])
    arguments = (vector["size1"], vector["size2"], root1, root2, proof)
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


LEAVES = [leaf_hash(n.to_bytes(2, "big")) for n in range(70)]


def test_the_empty_root_and_domain_separation() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 33, 64, 70])
def test_every_leaf_is_included_and_nothing_else_is(size: int) -> None:
    root = head(LEAVES[:size])
    for index in range(size):
        proof = path(index, LEAVES[:size])
        verify_inclusion(LEAVES[index], index, size, proof, root)
        for other in {0, index - 1, index + 1, size - 1} - {index}:
            with pytest.raises(ProofError):
                verify_inclusion(LEAVES[index], other, size, proof, root)
        for bent in _bent(proof):
            with pytest.raises(ProofError):
                verify_inclusion(LEAVES[index], index, size, bent, root)
        with pytest.raises(ProofError, match="expected root"):
            verify_inclusion(bytes(32), index, size, proof, root)


@given(st.integers(1, 69), st.integers(0, 69))
def test_consistency_of_all_sizes(size1: int, more: int) -> None:
    size2 = min(70, size1 + more)
    root1, root2 = head(LEAVES[:size1]), head(LEAVES[:size2])
    proof = subproof(size1, LEAVES[:size2])
    verify_consistency(size1, size2, root1, root2, proof)
    for bent in _bent(proof):
        with pytest.raises(ProofError):
            verify_consistency(size1, size2, root1, root2, bent)
    rewritten = head([bytes(32), *LEAVES[1:size2]])
    with pytest.raises(ProofError):
        verify_consistency(size1, size2, root1, rewritten, subproof(size1, [bytes(32), *LEAVES[1:size2]]))
    if size1 != size2:
        with pytest.raises(ProofError):
            verify_consistency(size2, size1, root2, root1, proof)


def _bent(proof: list[bytes]) -> list[list[bytes]]:
    bent = [[*proof, bytes(32)], [bytes(32), *proof]]
    for place in range(len(proof)):
        bent.append(proof[:place] + proof[place + 1 :])
        bent.append([*proof[:place], bytes([proof[place][0] ^ 1]) + proof[place][1:], *proof[place + 1 :]])
        bent.append([*proof[:place], proof[place][:31], *proof[place + 1 :]])
    if len(proof) > 1:
        bent.append(proof[::-1])
    return bent


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 1, b"", b"", []), "bytes instead of 32"),
        ((0, 1, bytes(32), bytes(32), []), "no consistency"),
        ((0, 0, bytes(32), bytes(32), []), "no consistency"),
        ((-1, 1, bytes(32), bytes(32), []), "no consistency"),
        ((1, 2**63 + 1, bytes(32), bytes(32), []), "no consistency"),
        ((2, 2, bytes(32), bytes(32), [bytes(32)]), "must be empty"),
        ((2, 2, bytes(32), b"\1" * 32, []), "equal sizes"),
        ((2, 3, bytes(32), bytes(32), []), "is empty"),
    ],
)
def test_refused_consistency(arguments: Any, text: str) -> None:
    with pytest.raises(ProofError, match=text):
        verify_consistency(*arguments)


@pytest.mark.parametrize("index", [-1, 2, 10])
def test_refused_inclusion(index: int) -> None:
    with pytest.raises(ProofError, match="is not in a tree"):
        verify_inclusion(bytes(32), index, 2, [bytes(32)], bytes(32))


def test_a_proof_of_impossible_length_ends() -> None:
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(bytes(32), 0, 2**62, [bytes(32)] * 5000, bytes(32))
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(1, 2**62, bytes(32), bytes(32), [bytes(32)] * 5000)
