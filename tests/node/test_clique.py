"""Clique seals: made, recovered, and refused in every way a header can be wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from assembled import SEALER_KEY
from hypothesis import given, settings
from hypothesis import strategies as st

from node import clique, header
from node.errors import SealInvalid
from node.header import EMPTY_UNCLES_HASH, Header
from node.signature import ORDER

OTHER_KEY = bytes.fromhex("44" * 32)
SEALER, OTHER = clique.address_of(SEALER_KEY), clique.address_of(OTHER_KEY)


def unsealed(number: int, signers=(SEALER,), **overrides) -> Header:
    fields = {
        "parent_hash": bytes(32), "uncles_hash": EMPTY_UNCLES_HASH, "coinbase": bytes(20), "state_root": bytes(32),
        "transactions_root": bytes(32), "receipts_root": bytes(32), "bloom": bytes(256), "difficulty": 2, "number": number,
        "gas_limit": 30_000_000, "gas_used": 0, "timestamp": 1_700_000_000, "mix_hash": bytes(32), "nonce": bytes(8),
        "extra_data": clique.unsealed_extra(number, signers), **overrides,
    }  # fmt: skip
    return Header(**fields)


# Block 1 of a chain whose import geth 1.13.15 accepted.
ACCEPTED = (
    "f9025aa0ef90ad1b8949f58fba9f8356747f4f823bced99cf6e01be707627eee85ae2c8fa01dcc4de8dec75d7aab85b567b6ccd41ad312451b94"
    "8a7413f0a142fd40d49347940000000000000000000000000000000000000000a0fb009dd442226fc1911f38793994e1dfb40cd9bcb916a1df04"
    "249b3b65f97a9aa0a52d6f579ea41d31a66156086faba289fc36f1d40e1fa897e8ee32cd993094d8a07494c730b50c6c7bdef0cd0e428a11a186"
    "7278fe68138893c55f4f3e102af961b9010000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000002018401c9c3808305c0f4846553f102"
    "b86100000000000000000000000000000000000000000000000000000000000000006f6fef703375f6f99eada9b203fd944d3b07c60cc95fa4d8"
    "2d46419f39bc1c104c018ffe7fe0a352c9b4f7ef405e82f5b43332a1459e3cc42d60707c3d7549be00a000000000000000000000000000000000"
    "00000000000000000000000000000000880000000000000000"
)
ACCEPTED_HASH = "6f45ea1e58c365745b4999f5e6705391faf57bfa40c3888c28f262c41b653740"


def test_a_block_that_geth_accepted():
    accepted = header.decode(bytes.fromhex(ACCEPTED))
    assert header.block_hash(accepted).hex() == ACCEPTED_HASH
    assert clique.verify_seal(accepted, [SEALER], epoch=4) == SEALER == bytes.fromhex("19e7e376e7c213b7e7e7e46cc70a5dd086daff2a")


def test_a_sealed_header_names_its_sealer():
    sealed = clique.seal(unsealed(7), SEALER_KEY)
    assert clique.recover_sealer(sealed) == clique.verify_seal(sealed, [SEALER]) == SEALER
    assert clique.seal_hash(sealed) == clique.seal_hash(unsealed(7)) != header.block_hash(sealed)
    london = clique.seal(unsealed(7, base_fee_per_gas=7), SEALER_KEY)
    assert clique.verify_seal(london, [SEALER]) == SEALER


@settings(max_examples=60)
@given(st.sampled_from(header.FIELDS[:15]), st.data())
def test_no_field_can_be_changed_after_sealing(name, data):
    sealed = clique.seal(unsealed(7), SEALER_KEY)
    value = getattr(sealed, name)
    if isinstance(value, int):
        changed = value ^ 1 << data.draw(st.integers(min_value=0, max_value=62))
    else:
        position = data.draw(st.integers(min_value=0, max_value=len(value) - 1))
        changed = value[:position] + bytes([value[position] ^ data.draw(st.integers(1, 255))]) + value[position + 1 :]
    with pytest.raises(SealInvalid):
        clique.verify_seal(replace(sealed, **{name: changed}), [SEALER])


def test_extra_data_is_taken_apart():
    sealed = clique.seal(unsealed(0, (OTHER, SEALER)), SEALER_KEY)
    extra = clique.parse_extra(sealed.extra_data)
    assert extra.vanity == bytes(32) and extra.signers == tuple(sorted((SEALER, OTHER))) and len(extra.seal) == 65
    for size in (0, 31, 96, 98, 116, 118):
        with pytest.raises(SealInvalid, match=f"{size} bytes of extra data"):
            clique.parse_extra(bytes(size))


def test_epoch_blocks_list_the_signers_and_others_do_not():
    assert clique.EPOCH == 30_000
    for number, listed in ((29_999, 0), (30_000, 1), (30_001, 0), (60_000, 1)):
        sealed = clique.seal(unsealed(number), SEALER_KEY)
        assert len(clique.parse_extra(sealed.extra_data).signers) == listed
        clique.verify_seal(sealed, [SEALER])
        with pytest.raises(SealInvalid, match="does not list the signers"):
            clique.verify_seal(clique.seal(unsealed(number, extra_data=bytes(97 + 20 * (1 - listed))), SEALER_KEY), [SEALER])


def high_s(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])


@pytest.mark.parametrize("forge", [
    high_s,
    lambda signature: bytes(65),
    lambda signature: signature[:64] + b"\x02",
    lambda signature: signature[:64] + b"\x1b",
    lambda signature: bytes(32) + signature[32:],
    lambda signature: signature[:32] + bytes(32) + signature[64:],
    lambda signature: b"\xff" * 32 + signature[32:],
    lambda signature: b"\0" * 31 + b"\5" + signature[32:],
])
def test_malformed_seals_are_refused(forge):
    sealed = clique.seal(unsealed(7), SEALER_KEY)
    forged = replace(sealed, extra_data=sealed.extra_data[:-65] + forge(sealed.extra_data[-65:]))
    with pytest.raises(SealInvalid, match="block 7"):
        clique.recover_sealer(forged)


@pytest.mark.parametrize(("overrides", "message"), [
    ({"mix_hash": b"\1" * 32}, "mix hash"),
    ({"uncles_hash": bytes(32)}, "uncles"),
    ({"nonce": b"\1" * 8}, "nonce"),
    ({"difficulty": 1}, "difficulty 1 out of its sealer's turn"),
    ({"difficulty": 3}, "difficulty 3"),
])
def test_headers_that_break_the_rules_are_refused_though_sealed(overrides, message):
    with pytest.raises(SealInvalid, match=message):
        clique.verify_seal(clique.seal(unsealed(7, **overrides), SEALER_KEY), [SEALER])


def test_votes_are_allowed_except_at_an_epoch():
    vote = {"coinbase": b"\5" * 20, "nonce": b"\xff" * 8}
    clique.verify_seal(clique.seal(unsealed(7, **vote), SEALER_KEY), [SEALER])
    with pytest.raises(SealInvalid, match="votes at an epoch"):
        clique.verify_seal(clique.seal(unsealed(30_000, **vote), SEALER_KEY), [SEALER])


def test_a_stranger_and_the_genesis_are_refused():
    with pytest.raises(SealInvalid, match=f"sealed by 0x{OTHER.hex()}, which is not a sealer"):
        clique.verify_seal(clique.seal(unsealed(7), OTHER_KEY), [SEALER])
    with pytest.raises(SealInvalid, match="not a sealer"):
        clique.verify_seal(clique.seal(unsealed(7), SEALER_KEY), [])
    with pytest.raises(SealInvalid, match="genesis"):
        clique.verify_seal(clique.seal(unsealed(0), SEALER_KEY), [SEALER])


def test_two_sealers_take_turns():
    first, second = sorted((SEALER, OTHER))
    keys = {SEALER: SEALER_KEY, OTHER: OTHER_KEY}
    for number, in_turn in ((8, first), (9, second)):
        out_of_turn = second if in_turn == first else first
        for who, difficulty, good in ((in_turn, 2, True), (in_turn, 1, False), (out_of_turn, 1, True), (out_of_turn, 2, False)):
            sealed = clique.seal(unsealed(number, (), difficulty=difficulty), keys[who])
            if good:
                assert clique.verify_seal(sealed, [SEALER, OTHER]) == who
            else:
                with pytest.raises(SealInvalid, match="turn"):
                    clique.verify_seal(sealed, [SEALER, OTHER])


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"\1" * 33])
def test_keys_that_are_none_are_refused(key):
    with pytest.raises(SealInvalid, match="check the key file"):
        clique.address_of(key)
    with pytest.raises(SealInvalid):
        clique.seal(unsealed(7), key)
