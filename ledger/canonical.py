"""Canonical JSON (RFC 8785) for the documents that event entries commit to, and their commitment."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

import rfc8785

from careseal import read_json
from ledger.errors import WireError

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]
_DOMAIN = b"careseal/v1/document"


def encode(value: object) -> bytes:
    """The RFC 8785 bytes of a JSON value."""
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise WireError(f"not canonical JSON: {error}") from error


def decode(data: bytes) -> dict[str, Json]:
    """The object that `data` encodes; WireError unless `data` is its one canonical encoding."""
    try:
        value = read_json(data)
    except ValueError as error:
        raise WireError("not JSON") from error
    if not isinstance(value, dict) or encode(value) != data:
        raise WireError("not a canonical JSON object")
    return value


def commitment(salt: bytes, document: bytes) -> bytes:
    """SHA-256("careseal/v1/document" ‖ salt ‖ document), 32 bytes; `salt` is 32 bytes."""
    return sha256(_DOMAIN + salt + document).digest()


def check(salt: bytes, document: bytes, committed: bytes) -> Mapping[str, Json]:
    """The document, if it is the one committed to; else WireError."""
    if len(salt) != 32 or not hmac.compare_digest(commitment(salt, document), committed):
        raise WireError("the document is not the one that was committed to")
    return decode(document)
