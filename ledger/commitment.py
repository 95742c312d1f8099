"""Commitments to one version of one record: what they hide, what they open, and how a column is named. Pure.

    secret  = BLAKE2s(key = subject key, message = record id ‖ version), 32 bytes (RFC 7693); it opens this version and no other
    row     = H(secret ‖ canonical row bytes)
    salts   = SHAKE256("careseal/v1/fields" ‖ algorithm ‖ secret), 16 bytes for each column (FIPS 202)
    field i = H(salt i ‖ field bytes)
    root    = H("careseal/v1/root" ‖ field 0 ‖ field 1 ‖ ...)
    tag i   = the first bytes of field i

Opening the row gives the secret away, and with it every field; opening single fields gives only their salts, and the row digest
stays closed. H is SHA-256, or SM3 (GB/T 32905) where the table asks for it.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Sequence
from hashlib import blake2s, sha256, shake_256
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SM3, Hash

from ledger.errors import ProofError
from ledger.wire import MAX_COLUMNS, Algorithm, tag_width

SALT_BYTES = 16
_FIELDS = b"careseal/v1/fields"
_ROOT = b"careseal/v1/root"
_SUBJECT = b"careseal/v1/subject"
_COPY = b"careseal/v1/copy"
_TAGS = tuple(slice(tag_width(columns)) for columns in range(1, MAX_COLUMNS + 1))
_EACH_SALT = tuple(struct.Struct(f"{SALT_BYTES}s" * columns).unpack for columns in range(MAX_COLUMNS + 1))


def _sha256(data: bytes) -> bytes:
    return sha256(data).digest()


def _sm3(data: bytes) -> bytes:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


def digest_function(algorithm: int) -> Callable[[bytes], bytes]:
    """H of the table's algorithm, bytes to 32 bytes."""
    return _sm3 if algorithm == Algorithm.SM3 else _sha256


def record_secret(subject_key: bytes, record: bytes, version: int) -> bytes:
    """The secret, 32 bytes, of one version of one record."""
    return blake2s(record + version.to_bytes(4, "big"), key=subject_key).digest()


def blinded_subject(subject_key: bytes, record: bytes) -> bytes:
    """16 bytes that only the holder of the subject's key can link to the subject."""
    return blake2s(_SUBJECT + record, key=subject_key, digest_size=16).digest()


def copy_key(secret: bytes) -> bytes:
    """AES-256 key for the one kept copy of this version's row."""
    return shake_256(_COPY + secret).digest(32)


def salts(algorithm: int, secret: bytes, columns: int) -> bytes:
    """The salts of all columns, 16 bytes each, in one string."""
    return shake_256(_FIELDS + bytes([algorithm]) + secret).digest(SALT_BYTES * columns)


def field_digests(algorithm: int, secret: bytes, fields: Sequence[bytes]) -> list[bytes]:
    """The salted digest of each field, 32 bytes each."""
    each = _EACH_SALT[len(fields)](salts(algorithm, secret, len(fields)))
    if algorithm == Algorithm.SM3:
        return [_sm3(salt + field) for salt, field in zip(each, fields, strict=True)]
    # A call of _sha256 for each field of each row would be a fifth of the time that sealing takes.
    return [sha256(salt + field).digest() for salt, field in zip(each, fields, strict=True)]


def field_root(algorithm: int, digests: Sequence[bytes]) -> bytes:
    """The digest, 32 bytes, that all field digests of a row are combined in."""
    return digest_function(algorithm)(_ROOT + b"".join(digests))


class Commitment(NamedTuple):
    """What a record entry says of its row."""

    row_digest: bytes
    field_root: bytes
    tags: bytes


def commit(algorithm: int, secret: bytes, row: bytes, fields: Sequence[bytes]) -> Commitment:
    """Commit to a row: its canonical bytes, and the same split in fields."""
    digests, tag, digest = field_digests(algorithm, secret, fields), _TAGS[len(fields) - 1], digest_function(algorithm)
    return Commitment(digest(secret + row), digest(_ROOT + b"".join(digests)), b"".join([d[tag] for d in digests]))


def verify_row(algorithm: int, secret: bytes, row: bytes, row_digest: bytes) -> None:
    """Raise ProofError unless `secret` and `row` open `row_digest`."""
    if not hmac.compare_digest(digest_function(algorithm)(secret + row), row_digest):
        raise ProofError("the row is not the one that was committed to")


def differing_fields(algorithm: int, secret: bytes, fields: Sequence[bytes], tags: bytes) -> list[int]:
    """Positions of the fields that contradict the tags of the committed version.

    A changed field goes unnamed with probability 2^-32 (tables of at most 64 columns); the row digest still tells that one changed.
    """
    width = tag_width(len(fields))
    digests = field_digests(algorithm, secret, fields)
    return [i for i, digest in enumerate(digests) if digest[:width] != tags[width * i : width * (i + 1)]]
