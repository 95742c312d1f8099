"""RFC 6962 / RFC 9162 Merkle trees over SHA-256: hashing, and verification of proofs. Pure, standard library only."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

from ledger.errors import ProofError

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32
MAX_SIZE = 2**63


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry), 32 bytes. Source: RFC 9162, section 2.1.1."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes. Source: RFC 9162, section 2.1.1."""
    return sha256(b"\1" + left + right).digest()


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless `leaf_hash` is leaf `index` of the tree of `size` leaves with this `root`.

    Hashes are 32 bytes each, `proof` runs from the leaf's sibling upwards. Source: RFC 9162, section 2.1.3.2.
    """
    _check_hashes([leaf_hash, root, *proof])
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    fn, sn, node = index, size - 1, leaf_hash
    for sibling in proof:
        if sn == 0:
            raise ProofError("inclusion proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("inclusion proof is too short")
    _expect(root, node, "inclusion proof")


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """Raise ProofError unless the tree (size2, root2) extends the tree (size1, root1) without changing it.

    Equal sizes need equal roots and an empty proof. A proof from size 0 says nothing about the later tree and is refused.
    Source: RFC 9162, section 2.1.4.2; `Journals.publish` is its twin on the chain.
    """
    _check_hashes([root1, root2, *proof])
    if not 0 < size1 <= size2 <= MAX_SIZE:
        raise ProofError(f"no consistency can be proved from size {size1} to size {size2}")
    if size1 == size2:
        if proof:
            raise ProofError("consistency proof between equal sizes must be empty")
        return _expect(root2, root1, "equal sizes")
    if not proof:
        raise ProofError("consistency proof is empty")
    path = list(proof)
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofError("consistency proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("consistency proof is too short")
    _expect(root1, first, "consistency proof, first root")
    return _expect(root2, second, "consistency proof, second root")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(f"a hash has {len(value)} bytes instead of {HASH_BYTES}")


def _expect(expected: bytes, actual: bytes, what: str) -> None:
    if not hmac.compare_digest(expected, actual):
        raise ProofError(f"{what}: expected root {expected.hex()}, computed {actual.hex()}")
