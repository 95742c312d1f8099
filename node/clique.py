"""Clique proof of authority: who sealed a header, and whether that is one of the sealers.

Source: EIP-225.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import coincurve
from eth_hash.auto import keccak

from node import strict_rlp
from node.errors import SealInvalid
from node.header import EMPTY_UNCLES_HASH, Header, items

VANITY = 32
SEAL = 65
EPOCH = 30_000
IN_TURN, OUT_OF_TURN = 2, 1

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_ZERO20, _ZERO32 = bytes(20), bytes(32)
_NONCES = {bytes(8), b"\xff" * 8}
_EXTRA = 12  # position of the extra data among the header's fields


@dataclass(frozen=True, slots=True)
class Extra:
    """A Clique header's extra data in its parts. `signers` is not empty on epoch blocks only."""

    vanity: bytes
    signers: tuple[bytes, ...]
    seal: bytes


def parse_extra(extra_data: bytes) -> Extra:
    """Return the 32 bytes of vanity, the 20-byte signers and the 65-byte seal. Errors: SealInvalid for other lengths."""
    middle = len(extra_data) - VANITY - SEAL
    if middle < 0 or middle % 20:
        raise SealInvalid(f"Clique: {len(extra_data)} bytes of extra data are not vanity, signers and seal")
    listed = extra_data[VANITY : VANITY + middle]
    return Extra(extra_data[:VANITY], tuple(listed[i : i + 20] for i in range(0, middle, 20)), extra_data[-SEAL:])


def unsealed_extra(number: int, signers: Collection[bytes], epoch: int = EPOCH) -> bytes:
    """Return the extra data of block `number` with an empty seal; blocks at a multiple of `epoch` list the signers."""
    listed = b"".join(sorted(signers)) if number % epoch == 0 else b""
    return bytes(VANITY) + listed + bytes(SEAL)


def seal_hash(header: Header) -> bytes:
    """Return the 32 bytes that a sealer signs: keccak-256 of the header's RLP without the 65 bytes of the seal."""
    parse_extra(header.extra_data)
    values = items(header)
    values[_EXTRA] = header.extra_data[:-SEAL]
    return bytes(keccak(strict_rlp.encode(values)))


def address_of(key: bytes) -> bytes:
    """Return the 20-byte address of a 32-byte private key. Errors: SealInvalid when it is no valid key."""
    try:
        public = coincurve.PrivateKey(key).public_key
    except ValueError as error:
        raise SealInvalid("the sealer's key is not a valid secp256k1 private key; check the key file") from error
    return _address(public)


def seal(header: Header, key: bytes) -> Header:
    """Return `header` with its last 65 bytes of extra data replaced by the signature of `key` (32 bytes)."""
    address_of(key)
    signature = coincurve.PrivateKey(key).sign_recoverable(seal_hash(header), hasher=None)
    return replace(header, extra_data=header.extra_data[:-SEAL] + signature)


def recover_sealer(header: Header) -> bytes:
    """Return the 20-byte address whose key sealed `header`.

    Errors: SealInvalid for malformed signatures and for a high s, so that nobody can make a second valid seal of a block.
    """
    signature = parse_extra(header.extra_data).seal
    r, s = (int.from_bytes(signature[i : i + 32], "big") for i in (0, 32))
    if signature[64] > 1 or not 0 < r < _ORDER or not 0 < s <= _ORDER // 2:
        raise SealInvalid(f"Clique: the seal of block {header.number} is not a canonical signature")
    try:
        public = coincurve.PublicKey.from_signature_and_message(signature, seal_hash(header), hasher=None)
    except ValueError as error:
        raise SealInvalid(f"Clique: the seal of block {header.number} recovers no key") from error
    return _address(public)


def verify_seal(header: Header, signers: Collection[bytes], *, epoch: int = EPOCH) -> bytes:
    """Return the sealer of `header` after checking all that EIP-225 asks of one header, given the signers in force.

    That is: sealed by one of `signers` (20 bytes each), difficulty 2 in turn and 1 out of turn, the signers listed on
    multiples of `epoch` and nowhere else, no mix hash, no uncles, a nonce that is a vote or none. What needs the parent
    (period, not twice within n/2 blocks) is not checked here. Errors: SealInvalid.
    """
    def refuse(reason: str) -> SealInvalid:
        return SealInvalid(f"Clique: block {header.number} {reason}")

    if header.number == 0:
        raise refuse("is the genesis, which has no seal")
    if header.mix_hash != _ZERO32 or header.uncles_hash != EMPTY_UNCLES_HASH or header.nonce not in _NONCES:
        raise refuse("carries a mix hash, uncles or a nonce that Clique does not allow")
    ordered = sorted(set(signers))
    checkpoint = header.number % epoch == 0
    if checkpoint and (header.coinbase != _ZERO20 or header.nonce != bytes(8)):
        raise refuse("votes at an epoch")
    if parse_extra(header.extra_data).signers != (tuple(ordered) if checkpoint else ()):
        raise refuse("does not list the signers as it must")
    sealer = recover_sealer(header)
    if sealer not in ordered:
        raise refuse(f"is sealed by 0x{sealer.hex()}, which is not a sealer")
    in_turn = ordered[header.number % len(ordered)] == sealer
    if header.difficulty != (IN_TURN if in_turn else OUT_OF_TURN):
        raise refuse(f"claims difficulty {header.difficulty} out of its sealer's turn")
    return sealer


def _address(public: coincurve.PublicKey) -> bytes:
    return bytes(keccak(public.format(compressed=False)[1:])[12:])
