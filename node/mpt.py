"""Merkle Patricia tries of fixed-length keys: finding a value, and proofs of accounts and storage slots.

Needs nothing but RLP and keccak, so that it can run in an evidence verifier.
Source: Ethereum yellow paper, appendix D; proofs as eth_getProof gives them (EIP-1186).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from node import strict_rlp
from node.errors import ProofInvalid, RlpInvalid
from node.strict_rlp import Item

EMPTY_ROOT = keccak(b"\x80")
EMPTY_CODE_HASH = keccak(b"")
MAX_NODE = 1024  # a branch of sixteen hashes is 532 bytes, an account leaf at most 150
MAX_NODES = 65  # sixty-four nibbles and a leaf


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the state trie keeps it; the balance is in wei, the hashes are 32 bytes."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes


NO_ACCOUNT = Account(0, 0, EMPTY_ROOT, EMPTY_CODE_HASH)


def verify_account(state_root: bytes, address: bytes, proof: Sequence[bytes]) -> Account:
    """Return the account at the 20-byte `address` under `state_root`, or `NO_ACCOUNT` when the proof shows its absence.

    `proof` holds the nodes from the root downwards, each used exactly once. Errors: ProofInvalid saying what is wrong.
    Source: EIP-1186, accountProof.
    """
    if len(address) != 20:
        raise ProofInvalid("proof: an address has 20 bytes")
    value = _verify(state_root, keccak(address), proof)
    return NO_ACCOUNT if value is None else decode_account(value)


def verify_storage(storage_root: bytes, slot: bytes, proof: Sequence[bytes]) -> int:
    """Return the value of the 32-byte `slot` under `storage_root`; 0 when the proof shows that nothing is stored.

    `proof` holds the nodes from the root downwards, each used exactly once. Errors: ProofInvalid saying what is wrong.
    Source: EIP-1186, storageProof.
    """
    if len(slot) != 32:
        raise ProofInvalid("proof: a storage slot has 32 bytes")
    value = _verify(storage_root, keccak(slot), proof)
    return 0 if value is None else decode_storage(value)


def decode_account(value: bytes) -> Account:
    """Return the account that a leaf of the state trie holds. Errors: ProofInvalid."""
    try:
        parts = strict_rlp.decode_list(value)
        if len(parts) != 4:
            raise ProofInvalid(f"proof: an account of {len(parts)} fields where 4 are expected")
        nonce, balance = strict_rlp.to_int(parts[0], bits=64), strict_rlp.to_int(parts[1], bits=256)
    except RlpInvalid as error:
        raise ProofInvalid(f"proof: the account is malformed ({error})") from error
    return Account(nonce, balance, _hash(parts[2], "an account's storage root"), _hash(parts[3], "an account's code hash"))


def decode_storage(value: bytes) -> int:
    """Return the non-zero value that a leaf of a storage trie holds. Errors: ProofInvalid."""
    try:
        number = strict_rlp.to_int(strict_rlp.decode(value, max_depth=0), bits=256)
    except RlpInvalid as error:
        raise ProofInvalid(f"proof: the storage value is malformed ({error})") from error
    if number == 0:
        raise ProofInvalid("proof: a trie does not store zero")
    return number


def find(root: bytes, key: bytes, fetch: Callable[[bytes], bytes]) -> bytes | None:
    """Return the value of `key` in the trie under `root`, or None when the trie has no such key.

    `fetch` returns the node with a hash; this function trusts it to be that node. Errors: ProofInvalid for nodes that no
    trie of fixed-length keys contains, and whatever `fetch` raises.
    """
    if root == EMPTY_ROOT:
        return None
    path = _nibbles(key)
    at = 0
    reference: Item = root
    while True:
        node = decode_node(fetch(reference)) if isinstance(reference, bytes) else reference
        if len(node) == 17:
            if at == len(path):
                raise ProofInvalid("proof: a branch deeper than the key")
            reference = node[path[at]]
            at += 1
            if reference == b"":
                return None
            continue
        step, leaf = _compact(node[0])
        rest = path[at : at + len(step)] if not leaf else path[at:]
        if len(rest) != len(step):
            raise ProofInvalid("proof: a path of another length than the key")
        if leaf:
            value = node[1]
            if not isinstance(value, bytes) or not value:
                raise ProofInvalid("proof: a leaf without a value")
            return value if rest == step else None
        if rest != step:
            return None
        reference = node[1]
        at += len(step)


def decode_node(raw: bytes) -> list[Item]:
    """Return the items of a branch (17) or a short node (2) whose references are well-formed. Errors: ProofInvalid."""
    if len(raw) > MAX_NODE:
        raise ProofInvalid(f"proof: a node of {len(raw)} bytes, at most {MAX_NODE} are read")
    try:
        node = strict_rlp.decode_list(raw, max_depth=MAX_INLINE)
    except RlpInvalid as error:
        raise ProofInvalid(f"proof: a node is malformed ({error})") from error
    _check(node)
    return node


def children(node: Sequence[Item]) -> list[bytes | list[Item]]:
    """Return the references that a decoded node holds: 32-byte hashes and embedded nodes."""
    if len(node) == 17:
        return [reference for reference in node[:16] if reference != b""]
    return [] if _compact(node[0])[1] else [node[1]]


def leaf_value(node: Sequence[Item]) -> bytes | None:
    """Return the value when a decoded node is a leaf, else None."""
    if len(node) == 2 and _compact(node[0])[1] and isinstance(node[1], bytes):
        return node[1]
    return None


# A node embedded in another is shorter than 32 bytes, and every further level costs at least two.
MAX_INLINE = 16


def _verify(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    if len(root) != 32:
        raise ProofInvalid("proof: a root has 32 bytes")
    if len(proof) > MAX_NODES:
        raise ProofInvalid(f"proof: {len(proof)} nodes, at most {MAX_NODES} are read")
    if root == EMPTY_ROOT and list(proof) == [b"\x80"]:
        return None  # some nodes answer with the empty trie's one node, others with none
    used = 0

    def fetch(reference: bytes) -> bytes:
        nonlocal used
        if used == len(proof):
            raise ProofInvalid(f"proof: ends after {used} nodes, before the key is reached")
        node = proof[used]
        if keccak(node) != reference:
            raise ProofInvalid(f"proof: node {used} does not hash to what {'its parent' if used else 'the root'} names")
        used += 1
        return node

    value = find(root, key, fetch)
    if used != len(proof):
        raise ProofInvalid(f"proof: {len(proof) - used} nodes after the last one needed")
    return value


def _check(node: Sequence[Item]) -> None:
    if len(node) == 17:
        if node[16] != b"":
            raise ProofInvalid("proof: a branch with a value, which fixed-length keys never make")
    elif len(node) == 2:
        step, leaf = _compact(node[0])
        if not leaf and (not step or node[1] == b""):
            raise ProofInvalid("proof: an extension that leads nowhere")
    else:
        raise ProofInvalid(f"proof: a node of {len(node)} items, neither a branch nor a short node")
    for reference in children(node):
        if isinstance(reference, bytes):
            _hash(reference, "a reference")
        elif len(strict_rlp.encode(reference)) >= 32:
            raise ProofInvalid("proof: an embedded node that is too long to be embedded")
        else:
            _check(reference)


def _compact(item: Item) -> tuple[bytes, bool]:
    """Return the nibbles of a hex-prefixed path and whether it ends in a leaf. Source: yellow paper, appendix C."""
    if not isinstance(item, bytes) or not item or item[0] >> 4 > 3 or (not item[0] & 0x10 and item[0] & 0x0F):
        raise ProofInvalid("proof: a path without a valid prefix")
    nibbles = _nibbles(item)
    return nibbles[1 if item[0] & 0x10 else 2 :], bool(item[0] & 0x20)


def _nibbles(data: bytes) -> bytes:
    return bytes(nibble for byte in data for nibble in (byte >> 4, byte & 15))


def _hash(item: Item, what: str) -> bytes:
    if not isinstance(item, bytes) or len(item) != 32:
        raise ProofInvalid(f"proof: {what} is not 32 bytes")
    return item
