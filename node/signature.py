"""Recoverable secp256k1 signatures, r ‖ s ‖ recovery id, and the accounts behind them."""

from __future__ import annotations

import coincurve
from eth_hash.auto import keccak

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNATURE = 65


def recover(signature: bytes, digest: bytes) -> bytes:
    """The 20-byte account whose key signed a 32-byte digest.

    ValueError for malformed signatures and for a high s, so that nobody can make a second valid signature out of one.
    """
    r, s = (int.from_bytes(signature[i : i + 32], "big") for i in (0, 32))
    if len(signature) != SIGNATURE or signature[64] > 1 or not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise ValueError("not a canonical signature")
    return account_of(coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None))


def account_of(public: coincurve.PublicKey) -> bytes:
    """The last 20 bytes of keccak of the public key's x ‖ y. Source: Ethereum yellow paper, appendix F."""
    return bytes(keccak(public.format(compressed=False)[1:])[12:])
