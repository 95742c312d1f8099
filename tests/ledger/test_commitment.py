"""Commitments: what opens what, what hides what, and which column differs."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.commitment import (
    SALT_BYTES,
    blinded_subject,
    commit,
    copy_key,
    differing_fields,
    digest_function,
    field_digests,
    field_root,
    record_secret,
    salts,
    verify_row,
)
from ledger.errors import ProofError
from ledger.wire import Algorithm, tag_width

KEY, RECORD = bytes(range(32)), bytes(range(16))
SECRET = record_secret(KEY, RECORD, 1)
ALGORITHMS = st.sampled_from(Algorithm)


def test_sm3_is_the_standards() -> None:
    # GB/T 32905-2016, appendix A, examples 1 and 2
    sm3 = digest_function(Algorithm.SM3)
    assert sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_formulas() -> None:
    assert hashlib.blake2s(RECORD + b"\0\0\0\1", key=KEY).digest() == SECRET
    assert blinded_subject(KEY, RECORD) == hashlib.blake2s(b"careseal/v1/subject" + RECORD, key=KEY, digest_size=16).digest()
    assert copy_key(SECRET) == hashlib.shake_256(b"careseal/v1/copy" + SECRET).digest(32)
    made = commit(Algorithm.SHA256, SECRET, b"ab", [b"a", b"b"])
    salt = hashlib.shake_256(b"careseal/v1/fields\x01" + SECRET).digest(32)
    first, second = (hashlib.sha256(salt[16 * i : 16 * i + 16] + field).digest() for i, field in enumerate([b"a", b"b"]))
    assert made.row_digest == hashlib.sha256(SECRET + b"ab").digest()
    assert made.field_root == hashlib.sha256(b"careseal/v1/root" + first + second).digest()
    assert made.tags == first[:4] + second[:4]


def test_every_version_and_record_and_subject_has_its_own_secret() -> None:
    secrets = {record_secret(key, record, version) for key in (KEY, bytes(32)) for record in (RECORD, bytes(16)) for version in (1, 2, 256)}
    assert len(secrets) == 12
    assert len({blinded_subject(KEY, RECORD), blinded_subject(KEY, bytes(16)), blinded_subject(bytes(32), RECORD)}) == 3


@given(ALGORITHMS, st.binary(max_size=200), st.binary(max_size=200))
def test_a_row_is_opened_by_itself_alone(algorithm: Algorithm, row: bytes, other: bytes) -> None:
    made = commit(algorithm, SECRET, row, [row])
    verify_row(algorithm, SECRET, row, made.row_digest)
    if other != row:
        with pytest.raises(ProofError, match="not the one"):
            verify_row(algorithm, SECRET, other, made.row_digest)
    with pytest.raises(ProofError):
        verify_row(algorithm, record_secret(KEY, RECORD, 2), row, made.row_digest)
    with pytest.raises(ProofError):
        verify_row(Algorithm(3 - algorithm), SECRET, row, made.row_digest)


@given(ALGORITHMS, st.lists(st.binary(max_size=20), min_size=1, max_size=80), st.data())
def test_differing_fields_are_exactly_those(algorithm: Algorithm, fields: list[bytes], data: st.DataObject) -> None:
    made = commit(algorithm, SECRET, b"", fields)
    assert len(made.tags) == len(fields) * tag_width(len(fields))
    assert differing_fields(algorithm, SECRET, fields, made.tags) == []
    changed = sorted(data.draw(st.sets(st.integers(0, len(fields) - 1))))
    other = [field + b"x" if i in changed else field for i, field in enumerate(fields)]
    assert differing_fields(algorithm, SECRET, other, made.tags) == changed
    digests = field_digests(algorithm, SECRET, fields)
    assert field_root(algorithm, digests) == made.field_root != field_root(algorithm, [*digests[:-1], bytes(32)])


def test_equal_fields_have_unequal_digests() -> None:
    assert len(set(field_digests(Algorithm.SHA256, SECRET, [b"x"] * 256))) == 256


def test_salts_of_more_columns_begin_with_those_of_fewer() -> None:
    assert salts(1, SECRET, 256)[: 3 * SALT_BYTES] == salts(1, SECRET, 3)
    assert salts(1, SECRET, 3) != salts(2, SECRET, 3)
