"""QBFT headers of two real networks, validators voted out and in, and seals that are too few, repeated, foreign or malformed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import coincurve
import pytest
from evidence_world import KEYS, SEALERS, qbft_header, seed

from node import header, qbft, strict_rlp
from node.confirmation import Headers, Trust
from node.errors import SealInvalid, Unconfirmed
from node.signature import ORDER

FIXTURES = Path(__file__).parents[1] / "vectors" / "qbft"


def chain(name: str):
    """Blocks of a real network and their headers, decoded from their own RLP."""
    blocks = json.loads(gzip.decompress((FIXTURES / f"{name}.json.gz").read_bytes()))
    return blocks, [header.decode(header.encode(header.from_rpc(block))) for block in blocks]


FOUR, VOTES = chain("qbft4"), chain("qbft-votes")


def trust(headers, number: int, sealers=None) -> Trust:
    listed = sealers or qbft.parse_extra(headers[number + 1]).validators
    return Trust(number, qbft.block_hash(headers[number]), tuple(listed), 1, 30_000)


def resealed(made, change):
    """The header with its list of seals changed."""
    extra = qbft.parse_extra(made)
    parts = [extra.vanity, list(extra.validators), extra.vote, extra.round, change(list(extra.seals))]
    return replace(made, extra_data=strict_rlp.encode(parts))


@pytest.mark.parametrize(("blocks", "headers"), [FOUR, VOTES], ids=["four", "votes"])
def test_real_blocks_hash_and_are_sealed_by_a_quorum(blocks, headers):
    for block, made, parent in zip(blocks[1:], headers[1:], headers[:-1], strict=True):
        assert "0x" + qbft.block_hash(made).hex() == block["hash"] != "0x" + header.block_hash(made).hex()
        assert made.parent_hash == qbft.block_hash(parent) and qbft.is_of_engine(made)
        sealed, listed = qbft.verify_quorum(made), qbft.parse_extra(made).validators
        assert set(sealed) <= set(listed) and len(sealed) >= qbft.quorum(len(listed))
        assert qbft.verify_sealed(made, listed, 30_000) == sealed


def test_rounds_are_sealed_but_not_in_the_hash():
    turned = [made for made in FOUR[1][1:] if qbft.parse_extra(made).round]
    assert [made.number for made in turned] == [1, 256, 259, 262, 265]
    for made in turned:
        extra = qbft.parse_extra(made)
        flat = replace(made, extra_data=strict_rlp.encode([extra.vanity, list(extra.validators), extra.vote, b"", list(extra.seals)]))
        assert qbft.block_hash(flat) == qbft.block_hash(made)
        with pytest.raises(SealInvalid):
            qbft.verify_quorum(flat)


def test_a_validator_voted_out_and_in_again_is_followed():
    headers = VOTES[1]
    sets = [len(qbft.parse_extra(made).validators) for made in headers]
    assert (set(sets[:16]), set(sets[16:31]), set(sets[31:])) == ({5}, {4}, {5})
    for start, end in ((3, 20), (3, 42), (15, 16), (20, 31), (20, 42), (14, 15)):
        found = qbft.collect(headers[end], lambda number: headers[number], trust(headers, start))
        confirmed = qbft.confirm(found, trust(headers, start))
        assert confirmed.final and confirmed.of == sets[end] and found.header == headers[end]
    whole = Headers((headers[16], headers[31]), headers[42], ())
    assert qbft.confirm(whole, trust(headers, 3)).of == 5
    with pytest.raises(Unconfirmed, match="block 17 does not change the validators"):
        qbft.confirm(Headers((headers[16], headers[17]), headers[42], ()), trust(headers, 3))
    with pytest.raises(Unconfirmed, match="block 10 does not come after block 16"):
        qbft.confirm(Headers((headers[16], headers[10]), headers[42], ()), trust(headers, 3))
    with pytest.raises(SealInvalid, match="lists other validators"):
        qbft.verify_sealed(headers[20], qbft.parse_extra(headers[3]).validators, 30_000)


def test_a_quorum_is_two_thirds_rounded_up():
    assert [qbft.quorum(count) for count in range(1, 11)] == [1, 2, 2, 3, 4, 4, 5, 6, 6, 7]


@pytest.mark.parametrize(("change", "message"), [
    (lambda seals: seals[:2], "has 2 seals of 4 validators, 3 are needed"),
    (lambda seals: [], "has 0 seals"),
    (lambda seals: [seals[0], seals[1], seals[0]], "twice"),
    (lambda seals: [*seals, *seals], "more seals than validators"),
    (lambda seals: [seals[0][:64] + b"\2", *seals[1:]], "no canonical signature"),
    (lambda seals: [bytes(65), *seals[1:]], "no canonical signature"),
    (lambda seals: [seals[0][:32] + (ORDER - int.from_bytes(seals[0][32:64], "big")).to_bytes(32, "big") + bytes([seals[0][64] ^ 1]),
                    *seals[1:]], "no canonical signature"),
    (lambda seals: [seals[0][:40], *seals[1:]], "65 bytes in a list"),
    (lambda seals: [coincurve.PrivateKey(seed("x")).sign_recoverable(bytes(32), hasher=None), *seals[1:]], "is not a validator"),
])
def test_too_few_repeated_foreign_and_malformed_seals_are_refused(change, message):
    made = FOUR[1][100]
    with pytest.raises(SealInvalid, match=message):
        qbft.verify_quorum(resealed(made, change))


def test_seals_beyond_the_quorum_may_be_left_out_and_any_order_serves():
    made = qbft_header(50, bytes(32), SEALERS[:4], SEALERS[:4])
    assert len(qbft.verify_quorum(made)) == 4
    assert len(qbft.verify_quorum(resealed(made, lambda seals: seals[:0:-1]))) == 3


@pytest.mark.parametrize("name", [name for name in header.FIELDS[:15] if name != "extra_data"])
def test_no_field_can_be_changed_after_sealing(name):
    made = FOUR[1][100]
    value = getattr(made, name)
    changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    with pytest.raises(SealInvalid):
        qbft.verify_quorum(replace(made, **{name: changed}))


def test_extra_data_that_is_no_extra_data_is_refused():
    made = FOUR[1][100]
    extra = qbft.parse_extra(made)
    whole = [extra.vanity, list(extra.validators), [], b"", list(extra.seals)]
    for parts in (whole[:4], [*whole, b""], [b"", *whole[1:]], [[], *whole[1:]], [whole[0], b"", *whole[2:]], [*whole[:3], b"\0", whole[4]],
                  [whole[0], [], *whole[2:]], [whole[0], [bytes(19)], *whole[2:]], [whole[0], [SEALERS[0]] * 2, *whole[2:]],
                  [whole[0], [n.to_bytes(20, "big") for n in range(1001)], *whole[2:]], [*whole[:3], [], whole[4]],
                  [*whole[:3], b"\1" * 5, whole[4]], [*whole[:2], [[[]]], *whole[3:]]):  # fmt: skip
        with pytest.raises(SealInvalid, match="QBFT: "):
            qbft.parse_extra(replace(made, extra_data=strict_rlp.encode(parts)))
    for raw in (b"", b"\x80", made.extra_data[:-1], made.extra_data + b"\0"):
        with pytest.raises(SealInvalid):
            qbft.block_hash(replace(made, extra_data=raw))


def test_a_new_set_needs_more_than_a_third_of_the_old_one():
    old = Trust(40, bytes(32), tuple(SEALERS[:3]), 1, 30_000)
    one = qbft_header(50, bytes(32), SEALERS[2:6], SEALERS[2:6])  # one of three: a third, not more
    with pytest.raises(Unconfirmed, match="no more than a third"):
        qbft.confirm(Headers((), one, ()), old)
    two = qbft_header(50, bytes(32), SEALERS[1:5], SEALERS[1:5])
    assert qbft.confirm(Headers((), two, ()), old).of == 4
    with pytest.raises(Unconfirmed, match="needs no descendants"):
        qbft.confirm(Headers((), two, (two,)), old)
    with pytest.raises(Unconfirmed, match="cannot be followed"):
        qbft.collect(one, lambda number: qbft_header(number, bytes(32), SEALERS[3:6], SEALERS[3:6]), old)


def test_headers_with_a_base_fee_and_what_later_forks_append():
    keys = list(KEYS)[:4]
    made = qbft_header(50, bytes(32), keys, keys, base_fee_per_gas=0, withdrawals_root=bytes(32))
    assert qbft.verify_quorum(header.decode(header.encode(made))) == tuple(keys)
