"""Votes that change Clique's sealers, and how many of them must stand behind a block."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from evidence_world import SEALERS, CliqueChain
from hypothesis import given, settings
from hypothesis import strategies as st

from node import clique
from node.confirmation import MAX_HEADERS, Headers
from node.errors import SealInvalid, Unconfirmed
from node.header import Header

A, B, C, D, E = SEALERS[:5]
STATE = bytes(32)


def chain(*sealers: bytes, epoch: int = 30_000) -> CliqueChain:
    return CliqueChain(sealers, STATE, epoch=epoch)


def confirm(made: CliqueChain, place: int, after: int, before: bool = True):
    """Confirm the header at a place by so many after it."""
    headers = made.headers
    found = Headers(tuple(headers[:place]) if before else (), headers[place], tuple(headers[place + 1 : place + 1 + after]))
    return clique.confirm(found, made.network().trust)


def follow(made: CliqueChain) -> clique.Sealers:
    sealers = clique.Sealers(set(made.sealers), made.epoch)
    for header in made.headers:
        sealers.take_in(header)
    return sealers


def test_more_than_half_add_and_remove():
    made = chain(A, B, C)
    made.seal(A, (D, True))
    assert follow(made).current == {A, B, C}
    made.seal(B, (D, True))
    assert follow(made).current == {A, B, C, D}
    made.seal(D, (A, False))
    made.seal(C, (A, False))
    assert follow(made).current == {A, B, C, D}
    made.seal(B, (A, False))
    assert follow(made).current == {B, C, D}
    with pytest.raises(SealInvalid, match="which is not a sealer"):
        made.now.take_in(made.seal(A))


def test_a_vote_is_taken_back_counts_once_and_only_where_it_would_change_something():
    made = chain(A, B, C)
    made.seal(A, (D, True))
    made.seal(B, (D, False))  # D is none: this vote says nothing
    made.seal(C)
    made.seal(A, (D, True))
    assert follow(made).current == {A, B, C}
    made.seal(B, (C, True))  # C is one already
    made.seal(C)
    made.seal(A, (D, False))
    made.seal(B, (D, True))
    assert follow(made).current == {A, B, C} and follow(made).votes == {D: {B}}


def test_with_a_removed_sealer_its_own_votes_go():
    made = chain(A, B, C)
    made.seal(C, (D, True))
    made.seal(A, (C, False))
    made.seal(B, (C, False))
    assert follow(made).current == {A, B} and follow(made).votes == {}
    made.seal(A, (D, True))
    assert follow(made).current == {A, B}


def test_an_epoch_forgets_votes_and_lists_the_sealers():
    made = chain(A, B, C, epoch=42)
    made.seal(A, (D, True))
    made.seal(B)
    assert made.headers[-1].number == 42 and clique.parse_extra(made.headers[-1].extra_data).signers == (A, B, C)
    made.seal(C, (D, True))
    assert follow(made).current == {A, B, C}


def test_nobody_seals_again_too_soon():
    made = chain(A, B, C)
    made.seal(A)
    made.seal(A)
    with pytest.raises(SealInvalid, match=f"block 42 is sealed by 0x{A.hex()} again too soon"):
        follow(made)
    five = chain(A, B, C, D, E)
    for who in (A, B, A):
        five.seal(who)
    with pytest.raises(SealInvalid, match="too soon"):
        follow(five)
    one = chain(A)
    for _ in range(3):
        one.seal(A)
    follow(one)


def test_more_than_half_must_stand_behind_a_block():
    made = chain(A, B, C, D)
    for who in (A, B, C, D):
        made.seal(who)
    with pytest.raises(Unconfirmed, match="2 of 4 sealers stand behind block 41, more than half are needed"):
        confirm(made, 0, 1)
    found = confirm(made, 0, 2)
    assert (found.final, found.sealers, found.of) == (False, (A, B, C), 4)
    with pytest.raises(Unconfirmed, match="more descendants than it needs"):
        confirm(made, 0, 3)
    assert confirm(made, 1, 2, before=False).sealers == (B, C, D)


def test_headers_must_follow_each_other_from_the_trusted_block():
    made = chain(A, B, C)
    for who in (A, B, C, A, B):
        made.seal(who)
    headers, trust = made.headers, made.network().trust
    for wrong in (Headers((), headers[1], (headers[3],)), Headers((headers[1],), headers[2], (headers[3],)),
                  Headers((headers[0], headers[2]), headers[3], (headers[4],)), Headers((), headers[2], (headers[1],))):  # fmt: skip
        with pytest.raises(Unconfirmed, match="does not follow block"):
            clique.confirm(wrong, trust)
    with pytest.raises(Unconfirmed, match=f"more than {MAX_HEADERS} headers"):
        clique.confirm(Headers((headers[0],) * MAX_HEADERS, headers[1], ()), trust)
    hasty = chain(A, B, C)
    hasty.seal(A)
    hasty.seal(B, timestamp=hasty.headers[0].timestamp)
    with pytest.raises(Unconfirmed, match="block 42 comes before its time"):
        confirm(hasty, 0, 1)


def test_a_sealer_that_came_later_does_not_confirm_an_earlier_block():
    made = chain(A, B, C)
    made.seal(A, (D, True))
    made.seal(B, (D, True))
    made.seal(D)
    made.seal(C)
    assert confirm(made, 1, 2).sealers == (B, C)


def test_the_newest_confirmed_block_is_collected():
    made = chain(A, B, C)
    for who in (A, B, C, A, B):
        made.seal(who)
    fetch = {header.number: header for header in (made.first, *made.headers)}.__getitem__
    trust = made.network().trust
    found = clique.collect(made.headers[-1], fetch, trust)
    assert (found.before, found.header, found.after) == ((), made.headers[3], (made.headers[4],))
    assert clique.collect(made.first, fetch, trust) == Headers((), made.first, ())
    with pytest.raises(Unconfirmed, match="wait for further blocks"):
        clique.collect(made.headers[0], fetch, trust)


def test_where_the_sealers_changed_all_headers_are_collected():
    made = chain(A, B, C)
    made.seal(A, (D, True))
    made.seal(B, (D, True))
    for who in (C, D, A, B, C):
        made.seal(who)
    fetch = {header.number: header for header in made.headers}.__getitem__
    found = clique.collect(made.headers[-1], fetch, made.network().trust)
    assert (len(found.before), found.header, found.after) == (4, made.headers[4], tuple(made.headers[5:]))
    assert clique.confirm(found, made.network().trust).of == 4
    far = made.network().trust
    stranger = chain(D, E)
    stranger.headers = [made.headers[-1]]
    for number in range(MAX_HEADERS):
        stranger.seal((D, E)[number % 2])
    more = {header.number: header for header in (*made.headers, *stranger.headers)}.__getitem__
    with pytest.raises(Unconfirmed, match="take a newer network file"):
        clique.collect(stranger.headers[-1], more, far)


class Snapshot:
    """Votes as geth keeps them, a list in the order in which they came: consensus/clique/snapshot.go, apply."""

    def __init__(self, signers: list[bytes]) -> None:
        self.signers, self.votes = set(signers), list[tuple[bytes, bytes, bool]]()

    def apply(self, signer: bytes, address: bytes, authorize: bool) -> None:
        self.votes = [vote for vote in self.votes if vote[:2] != (signer, address)]
        if (address in self.signers) != authorize:
            self.votes.append((signer, address, authorize))
        tally = sum(1 for vote in self.votes if vote[1] == address)
        if tally > len(self.signers) // 2:
            if authorize:
                self.signers.add(address)
            else:
                self.signers.discard(address)
                self.votes = [vote for vote in self.votes if vote[0] != address]
            self.votes = [vote for vote in self.votes if vote[1] != address]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=14))
def test_votes_count_as_geth_counts_them(steps):
    made, geth = chain(A, B, C), Snapshot([A, B, C])
    for who, about, add in steps:
        sealer, account = SEALERS[who], SEALERS[about]
        if sealer not in made.now.current or len(made.now.current) == 1:
            continue
        before: list[Header] = list(made.headers)
        made.seal(sealer, (account, add))
        with suppress(SealInvalid):
            follow(made)
            geth.apply(sealer, account, add)
            assert made.now.current == geth.signers == follow(made).current
            continue
        made.headers = before
        made.now = follow(made)


def renewed(made: CliqueChain, upto: int):
    """The trust of a network file that is renewed when so many blocks are there."""
    by_number = {header.number: header for header in made.headers}
    return clique.renew(made.headers[upto - 1], by_number.__getitem__, made.network().trust)


def test_a_newer_block_is_trusted_once_it_counts_and_no_vote_was_pending():
    made = chain(A, B, C)
    trusted = made.network().trust
    for who, vote in ((A, None), (B, (D, True)), (C, None), (A, (D, True)), (B, None), (C, None), (D, None), (A, None)):
        made.seal(who, vote)
    first = made.headers[0].number
    found = [renewed(made, upto) for upto in range(1, 9)]
    assert [one.block for one in found] == [
        trusted.block, first, first, first,  # blocks 2 and 3 have a vote of B pending
        first, first + 3, first + 4, first + 5,  # from block 4 on there are four sealers, of which three stand behind each
    ]  # fmt: skip
    assert set(found[0].sealers) == {A, B, C} and set(found[-1].sealers) == {A, B, C, D}
    assert all(clique.block_hash(made.headers[one.block - first]) == one.block_hash for one in found[1:])
    made.headers[2] = replace(made.headers[2], parent_hash=bytes(32))
    with pytest.raises(Unconfirmed, match="does not follow"):
        renewed(made, 8)
