"""Block headers: encoding, strict decoding, and reading what a node answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from node import header, strict_rlp
from node.errors import HeaderInvalid
from node.header import Header


def octets(size):
    return st.binary(min_size=size, max_size=size)


UINT64 = st.integers(min_value=0, max_value=2**64 - 1)
HEADERS = st.builds(
    Header, octets(32), octets(32), octets(20), octets(32), octets(32), octets(32), octets(256),
    st.integers(min_value=0, max_value=2**256 - 1), UINT64, UINT64, UINT64, UINT64,
    st.binary(max_size=200), octets(32), octets(8), st.none() | st.integers(min_value=0, max_value=2**256 - 1),
)  # fmt: skip
LATER = st.builds(
    Header, *[octets(size) for size in (32, 32, 20, 32, 32, 32, 256)], UINT64, UINT64, UINT64, UINT64, UINT64, octets(97), octets(32),
    octets(8), UINT64, octets(32), UINT64, UINT64, octets(32), octets(32),
)  # fmt: skip
SIZES = (32, 32, 20, 32, 32, 32, 256)
PLAIN = Header(*map(bytes, SIZES), 2, 1, 30_000_000, 0, 1_700_000_000, bytes(97), bytes(32), bytes(8))

# Ethereum's genesis block, whose hash everyone knows.
MAINNET = {
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
    "transactions": [],
    "baseFeePerGas": None,
}
MAINNET_HASH = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"


def test_the_hash_of_a_known_block():
    assert header.block_hash(header.from_rpc(MAINNET)).hex() == MAINNET_HASH


@given(HEADERS)
def test_what_is_encoded_is_decoded(value):
    raw = header.encode(value)
    assert header.decode(raw) == value
    assert raw == rlp.encode(rlp.decode(raw))
    assert len(rlp.decode(raw)) == (15 if value.base_fee_per_gas is None else 16)


@given(LATER, st.integers(15, 21))
def test_what_later_forks_append_is_read(value, count):
    value = replace(value, **dict.fromkeys(header.FIELDS[count:]))
    assert header.decode(header.encode(value)) == value and len(header.items(value)) == count


@given(HEADERS)
def test_what_a_node_shows_is_read(value):
    shown = {}
    for name, rpc_name in header._RPC_NAMES.items():
        field = getattr(value, name)
        shown[rpc_name] = field if field is None else hex(field) if isinstance(field, int) else "0x" + field.hex()
    assert header.from_rpc(shown) == value


def test_the_same_block_as_web3_formats_it():
    formatted = {**MAINNET, "proofOfAuthorityData": bytes.fromhex(MAINNET["extraData"][2:]), "number": 0}
    del formatted["extraData"]
    assert header.from_rpc(formatted) == header.from_rpc(MAINNET)


@given(st.binary(max_size=700))
def test_arbitrary_bytes_raise_one_error_type(raw):
    with pytest.raises(HeaderInvalid):
        header.decode(raw)


@given(st.data())
def test_a_damaged_header_is_refused_or_hashes_differently(data):
    raw = bytearray(header.encode(PLAIN))
    position = data.draw(st.integers(min_value=0, max_value=len(raw) - 1))
    raw[position] ^= data.draw(st.integers(min_value=1, max_value=255))
    with suppress(HeaderInvalid):
        assert header.block_hash(header.decode(bytes(raw))) != header.block_hash(PLAIN)


@pytest.mark.parametrize(("raw", "message"), [
    (strict_rlp.encode([b""] * 14), "14 fields"),
    (strict_rlp.encode([b""] * 22), "22 fields"),
    (strict_rlp.encode([b""] * 15), "parent_hash is not 32 bytes"),
    (header.encode(PLAIN) + b"\0", "1 bytes after"),
    (header.encode(PLAIN)[:-1], "overruns"),
    (strict_rlp.encode([*header.items(PLAIN)[:8], b"\0\1", *header.items(PLAIN)[9:]]), "leading zero"),
    (strict_rlp.encode([*header.items(PLAIN)[:8], b"\1" * 9, *header.items(PLAIN)[9:]]), "9 bytes where at most 8"),
    (strict_rlp.encode([[], *header.items(PLAIN)[1:]]), "nested too deep"),
    (strict_rlp.encode([*header.items(PLAIN)[:12], bytes(header.MAX_EXTRA_DATA + 1), *header.items(PLAIN)[13:]]), "extra_data"),
    (bytes(header.MAX_ENCODED + 1), "at most"),
])
def test_malformed_headers_are_named(raw, message):
    with pytest.raises(HeaderInvalid, match=message):
        header.decode(raw)


@pytest.mark.parametrize(("change", "message"), [
    ({"number": "0x"}, "number is not a 0x-prefixed quantity"),
    ({"number": "12"}, "number is not a 0x-prefixed quantity"),
    ({"number": "0x" + "f" * 17}, "number is not an unsigned integer of 64 bits"),
    ({"number": -1}, "number is not an unsigned integer"),
    ({"number": True}, "number is not a 0x-prefixed quantity"),
    ({"number": None}, "number is missing"),
    ({"extraData": None}, "extraData is missing"),
    ({"miner": "0x00"}, "coinbase is not 20 bytes"),
    ({"miner": 5}, "miner is not 0x-prefixed hexadecimal"),
    ({"miner": "0xzz"}, "miner is not 0x-prefixed hexadecimal"),
    ({"logsBloom": "0x" + "00" * 255}, "bloom is not 256 bytes"),
    ({"withdrawalsRoot": "0x" + "00" * 32}, "base_fee_per_gas is missing"),
    ({"baseFeePerGas": "0x7", "blobGasUsed": "0x0"}, "withdrawals_root is missing"),
    ({"baseFeePerGas": "0x7", "withdrawalsRoot": "0x00"}, "withdrawals_root is not 32 bytes"),
])
def test_malformed_answers_are_named(change, message):
    with pytest.raises(HeaderInvalid, match=message):
        header.from_rpc({**MAINNET, **change})


@pytest.mark.parametrize("change", [
    {"number": -1}, {"number": 1.0}, {"base_fee_per_gas": -1}, {"nonce": bytes(9)}, {"coinbase": None},
])
def test_no_header_is_built_from_impossible_values(change):
    with pytest.raises(HeaderInvalid):
        replace(PLAIN, **change)
