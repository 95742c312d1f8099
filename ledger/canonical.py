"""Canonical JSON (RFC 8785) for the documents that event entries commit to, and their commitment.

Reading needs the standard library only, for the evidence verifier does it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from hashlib import sha256

from careseal import read_json
from ledger.errors import WireError

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]
_DOMAIN = b"careseal/v1/document"
_MAX_NUMBER = 2**53 - 1


def encode(value: object) -> bytes:
    """The RFC 8785 bytes of a JSON value."""
    import rfc8785

    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise WireError(f"not canonical JSON: {error}") from error


def decode(data: bytes) -> dict[str, Json]:
    """The object that `data` encodes; WireError unless `data` is its one canonical encoding. Its numbers are integers."""
    try:
        value = read_json(data)
        written = json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise WireError("not JSON, or with numbers that are no integers of 53 bits") from error
    if not isinstance(value, dict) or written != data:
        raise WireError("not a canonical JSON object")
    return value


def _ordered(value: object) -> object:
    """The value with its objects' members in the order of RFC 8785, section 3.2.3. ValueError for what a document does not hold."""
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > _MAX_NUMBER):
        raise ValueError
    return value


def commitment(salt: bytes, document: bytes) -> bytes:
    """SHA-256("careseal/v1/document" ‖ salt ‖ document), 32 bytes; `salt` is 32 bytes."""
    return sha256(_DOMAIN + salt + document).digest()


def check(salt: bytes, document: bytes, committed: bytes) -> Mapping[str, Json]:
    """The document, if it is the one committed to; else WireError."""
    if len(salt) != 32 or not hmac.compare_digest(commitment(salt, document), committed):
        raise WireError("the document is not the one that was committed to")
    return decode(document)
