"""Canonical JSON: the vectors of RFC 8785, strict decoding, and commitments to documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import check, commitment, decode, encode
from ledger.errors import WireError

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc8785"
NAMES = sorted(path.stem for path in (VECTORS / "input").glob("*.json"))


def test_vectors_are_there() -> None:
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_vector(name: str) -> None:
    made = encode(json.loads((VECTORS / "input" / f"{name}.json").read_text(encoding="utf-8")))
    assert made == (VECTORS / "output" / f"{name}.json").read_bytes().rstrip(b"\n")
    assert made == bytes.fromhex((VECTORS / "outhex" / f"{name}.txt").read_text())


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=4))
def test_reading_without_the_library_accepts_what_the_library_writes_and_nothing_else(value: dict[str, Any]) -> None:
    whole = encode(value)
    other = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if other != whole:
        with pytest.raises(WireError):
            decode(other)


def test_members_are_in_the_order_of_utf_16() -> None:
    astral, private = "\U0001f600", "\uffee"
    assert decode(encode({private: 1, astral: 2})) == {private: 1, astral: 2}
    with pytest.raises(WireError):
        decode(json.dumps({private: 1, astral: 2}, ensure_ascii=False, separators=(",", ":")).encode())


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=4))
def test_objects_come_back(value: dict[str, Any]) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"7", b'"x"', b"null", b'{ "a":1}', b'{"a":1}\n', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1e2}',
     b'{"a":"\\u0041"}', b'{"a":-0}', b"\xff", b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":9007199254740992}', b'{"a":1.5}', b'{"\\ud800":1}',
     b"[" * 5000, b"[" * 5000 + b"]" * 5000],
)  # fmt: skip
def test_anything_but_the_canonical_object_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60, {1: 2}, b"x", object(), "\ud800"])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(WireError):
        encode(value)


def test_a_document_opens_its_commitment_with_its_salt_only() -> None:
    salt, document = bytes(32), encode({"a": 1})
    made = commitment(salt, document)
    assert check(salt, document, made) == {"a": 1}
    for bad in ((b"\1" * 32, document), (salt, encode({"a": 2})), (salt[:31], b"\0" + document), (salt + document[:1], document[1:])):
        with pytest.raises(WireError):
            check(*bad, made)
