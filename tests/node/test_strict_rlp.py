"""The strict RLP decoder agrees with the rlp package on what is canonical, and is bounded where that is not."""

from __future__ import annotations

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from node import strict_rlp
from node.errors import RlpInvalid

ITEMS = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=20)


@given(ITEMS)
def test_what_is_encoded_is_decoded(item):
    raw = strict_rlp.encode(item)
    assert raw == rlp.encode(item)
    assert strict_rlp.decode(raw, max_depth=20) == item


@given(st.binary(max_size=80))
def test_only_canonical_bytes_are_decoded(raw):
    try:
        item = strict_rlp.decode(raw, max_depth=80)
    except RlpInvalid:
        with pytest.raises((rlp.exceptions.DecodingError, IndexError)):
            rlp.decode(raw)
    else:
        assert strict_rlp.encode(item) == raw


@pytest.mark.parametrize(("raw", "message"), [
    (b"", "ends early"),
    (b"\x83ab", "overruns"),
    (b"\xc3\x83ab", "overruns"),
    (b"\x81\x7f", "needless prefix"),
    (b"\xb8\x37" + bytes(55), "not minimal"),
    (b"\xb9\x00\x38" + bytes(56), "not minimal"),
    (b"\xb8", "ends early"),
    (b"\xf9\x01", "ends early"),
    (b"\xbf" + b"\xff" * 8, "overruns"),
    (b"\x80\x80", "1 bytes after"),
])
def test_malformed_bytes_are_named(raw, message):
    with pytest.raises(RlpInvalid, match=message):
        strict_rlp.decode(raw, max_depth=4)


def test_nesting_is_bounded():
    raw = b""
    for _ in range(20_000):
        raw = strict_rlp.encode([]) if not raw else rlp.codec.length_prefix(len(raw), 0xC0) + raw
    with pytest.raises(RlpInvalid, match="nested too deep"):
        strict_rlp.decode(raw, max_depth=16)


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_integers_round_trip(number):
    assert strict_rlp.to_int(strict_rlp.from_int(number), bits=256) == number


@pytest.mark.parametrize(("item", "message"), [
    (b"\0", "leading zero"), (b"\0\1", "leading zero"), (b"\1" * 9, "9 bytes where at most 8"), ([], "a list"),
])
def test_integers_are_minimal_and_bounded(item, message):
    with pytest.raises(RlpInvalid, match=message):
        strict_rlp.to_int(item, bits=64)


def test_a_string_is_not_a_list():
    with pytest.raises(RlpInvalid, match="a string where a list"):
        strict_rlp.decode_list(b"\x80")
