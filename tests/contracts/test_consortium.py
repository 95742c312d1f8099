"""Membership, keys, votes and contracts in `Consortium`, and everything that it refuses."""

from __future__ import annotations

import boa
import pytest
from contract_world import NAME, NOTHING, World, name_of, refused, word

from contracts.actions import (
    ZERO_ADDRESS,
    ActionKind,
    KeyKind,
    Role,
    admit,
    contract_name,
    new_generation,
    replace_sealing_key,
    set_contract,
    suspend,
)
from contracts.layout import holds_at

PLACE = "0x" + "11" * 20


def founded(world: World, number: int) -> list[str]:
    """That many hospitals, the founding closed, and a new block begun."""
    accounts = [world.join() for _ in range(number)]
    world.consortium.close_founding(sender=accounts[0])
    world.next_block()
    return accounts


def executed(world: World, proposal: int) -> bool:
    return bool(world.consortium.proposal(proposal)[2])


# Founding and admission


def test_deployer_is_no_member(world: World) -> None:
    assert world.consortium.founding()
    assert world.consortium.member_count() == 0
    assert world.consortium.institution_of(boa.env.eoa) == 0
    with refused(world.consortium, "not a member"):
        world.consortium.close_founding()


def test_ids_are_sequential_from_one(world: World) -> None:
    block = world.next_block()
    accounts = [world.join(role) for role in Role]
    assert [world.consortium.institution_of(account) for account in accounts] == [1, 2, 3]
    assert [world.consortium.acting(account) for account in accounts] == [(1, 1), (2, 2), (3, 4)]
    assert tuple(world.consortium.institution(2)) == (name_of(2), 2, block, 0)
    assert tuple(world.consortium.institution(4)) == (NOTHING, 0, 0, 0)
    assert world.consortium.institution_count() == world.consortium.member_count() == 3


@pytest.mark.parametrize(
    ("name", "roles", "reason"),
    [(NOTHING, 1, "name missing"), (NAME, 0, "unknown role"), (NAME, 8, "unknown role"), (NAME, 9, "unknown role")],
)
def test_joining_needs_a_name_and_known_roles(world: World, name: bytes, roles: int, reason: str) -> None:
    with refused(world.consortium, reason):
        world.consortium.join(name, roles, sender=world.account())
    assert world.consortium.institution_count() == 0


def test_account_joins_once(world: World) -> None:
    account = world.join()
    with refused(world.consortium, "account already used"):
        world.consortium.join(world.name(), 1, sender=account)


def test_name_is_joined_under_once(world: World) -> None:
    world.join()
    with refused(world.consortium, "name already used"):
        world.consortium.join(NAME, 1, sender=world.account())
    world.join()
    for name in (NAME, name_of(2)):
        with refused(world.consortium, "name already used"):
            world.consortium.join(name, 4, sender=world.account())
    assert [world.consortium.named(name_of(n)) for n in (1, 2, 3)] == [1, 2, 0]
    assert world.consortium.named(NOTHING) == 0
    assert world.consortium.institution_count() == 2


def test_a_refused_name_uses_up_no_account(world: World) -> None:
    world.join()
    account = world.account()
    with refused(world.consortium, "name already used"):
        world.consortium.join(NAME, 1, sender=account)
    world.consortium.join(name_of(2), 1, sender=account)
    assert world.consortium.institution_of(account) == 2


def test_a_refused_account_uses_up_no_name(world: World) -> None:
    account = world.join()
    with refused(world.consortium, "account already used"):
        world.consortium.join(name_of(2), 1, sender=account)
    world.join()
    assert world.consortium.named(name_of(2)) == 2


def test_founding_closes_for_good(world: World) -> None:
    account = world.join()
    with refused(world.consortium, "not a member"):
        world.consortium.close_founding(sender=world.account())
    world.consortium.close_founding(sender=account)
    assert not world.consortium.founding()
    with refused(world.consortium, "founding closed"):
        world.consortium.join(world.name(), 1, sender=world.account())
    with refused(world.consortium, "founding closed"):
        world.consortium.close_founding(sender=account)


def test_admission_by_majority(world: World) -> None:
    accounts, newcomer = founded(world, 4), world.account()
    proposal = world.propose(admit(world.name(), Role.AUDITOR, newcomer), *accounts[:2])
    assert not executed(world, proposal)
    assert world.consortium.institution_of(newcomer) == 0
    world.consortium.vote(proposal, sender=accounts[2])
    assert executed(world, proposal)
    assert world.consortium.acting(newcomer) == (5, 2)
    assert world.consortium.named(name_of(5)) == 5


def test_a_used_name_is_not_admitted_even_after_a_suspension(world: World) -> None:
    accounts = founded(world, 3)
    first, last = (world.propose(admit(name_of(n), Role.AUDITOR, world.account()), accounts[0]) for n in (1, 3))
    for proposal in (first, last):
        with refused(world.consortium, "name already used"):
            world.consortium.vote(proposal, sender=accounts[1])
    world.propose(suspend(3), *accounts[:2])
    with refused(world.consortium, "name already used"):
        world.consortium.vote(last, sender=accounts[1])
    assert not executed(world, last)
    assert world.consortium.named(name_of(3)) == 3
    assert (world.consortium.institution_count(), world.consortium.member_count()) == (3, 2)


def test_a_suspended_institution_comes_back_under_another_id_name_and_account(world: World) -> None:
    accounts, account = founded(world, 3), world.account()
    world.propose(suspend(3), *accounts[:2])
    world.propose(admit(name_of(4), Role.HOSPITAL, account), *accounts[:2])
    assert world.consortium.institution_of(account) == 4
    assert [tuple(world.consortium.institution(n))[0] for n in (3, 4)] == [name_of(3), name_of(4)]


def test_of_two_admissions_under_one_name_the_first_to_be_executed_has_it(world: World) -> None:
    accounts = founded(world, 3)
    one, other = (world.propose(admit(name_of(4), Role.HOSPITAL, world.account()), accounts[0]) for _ in range(2))
    world.consortium.vote(other, sender=accounts[1])
    world.consortium.vote(one, sender=accounts[1])
    with refused(world.consortium, "name already used"):
        world.consortium.vote(one, sender=accounts[2])
    assert world.consortium.institution_count() == 4


def test_a_used_account_is_not_admitted(world: World) -> None:
    accounts = founded(world, 3)
    proposal = world.propose(admit(world.name(), Role.AUDITOR, accounts[2]), accounts[0])
    with refused(world.consortium, "account already used"):
        world.consortium.vote(proposal, sender=accounts[1])
    assert world.consortium.member_count() == 3
    assert not executed(world, proposal)


def test_a_full_consortium_admits_nobody(world: World) -> None:
    account = world.join()
    boa.env.set_storage(world.consortium.address, 2, 1000)
    assert world.consortium.institution_count() == 1000
    with refused(world.consortium, "consortium full"):
        world.consortium.join(world.name(), 1, sender=world.account())
    with refused(world.consortium, "consortium full"):
        world.propose(admit(world.name(), Role.AUDITOR, world.account()), account)


# Votes


def test_one_vote_per_institution(world: World) -> None:
    accounts = founded(world, 3)
    proposal = world.propose(suspend(3), accounts[0])
    with refused(world.consortium, "already voted"):
        world.consortium.vote(proposal, sender=accounts[0])
    successor = world.account()
    world.consortium.rotate_key(KeyKind.SEALING, word(successor), sender=accounts[0])
    with refused(world.consortium, "already voted"):
        world.consortium.vote(proposal, sender=successor)
    assert world.consortium.voted(proposal, 1)
    assert not world.consortium.voted(proposal, 2)


def test_half_is_no_majority(world: World) -> None:
    accounts = founded(world, 4)
    proposal = world.propose(suspend(4), *accounts[:2])
    assert not executed(world, proposal)


def test_executed_proposals_do_not_run_twice(world: World) -> None:
    accounts = founded(world, 4)
    proposal = world.propose(set_contract("Journals", PLACE), *accounts[:3])
    with refused(world.consortium, "already executed"):
        world.consortium.vote(proposal, sender=accounts[3])
    assert world.consortium.contract_count(contract_name("Journals")) == 1


def test_votes_of_suspended_members_do_not_count(world: World) -> None:
    accounts = founded(world, 5)
    proposal = world.propose(set_contract("Journals", PLACE), accounts[3], accounts[4])
    world.propose(suspend(5), *accounts[:3])
    world.propose(suspend(4), *accounts[:3])
    world.consortium.vote(proposal, sender=accounts[0])
    assert not executed(world, proposal)
    world.consortium.vote(proposal, sender=accounts[1])
    assert executed(world, proposal)


def test_majority_is_of_the_members_active_at_execution(world: World) -> None:
    accounts = founded(world, 3)
    stale = world.propose(set_contract("Journals", PLACE), accounts[0])
    for _ in range(2):
        newcomer = world.account()
        world.propose(admit(world.name(), Role.HOSPITAL, newcomer), *accounts[: len(accounts) // 2 + 1])
        accounts.append(newcomer)
    world.consortium.vote(stale, sender=accounts[1])
    assert not executed(world, stale)
    world.consortium.vote(stale, sender=accounts[4])
    assert executed(world, stale)


def test_shrunken_membership_needs_fewer_votes(world: World) -> None:
    accounts = founded(world, 5)
    proposal = world.propose(set_contract("Journals", PLACE), accounts[0])
    world.propose(suspend(5), *accounts[:3])
    world.propose(suspend(4), *accounts[:3])
    world.consortium.vote(proposal, sender=accounts[1])
    assert executed(world, proposal)


def test_strangers_neither_propose_nor_vote(world: World) -> None:
    accounts = founded(world, 3)
    proposal = world.propose(suspend(3), accounts[0])
    stranger = world.account()
    with refused(world.consortium, "not a member"):
        world.propose(suspend(1), stranger)
    with refused(world.consortium, "not a member"):
        world.consortium.vote(proposal, sender=stranger)


def test_unknown_proposals_are_refused(world: World) -> None:
    (account,) = founded(world, 1)
    for number in (0, 1, 2**256 - 1):
        with refused(world.consortium, "no such proposal"):
            world.consortium.vote(number, sender=account)


def test_proposals_keep_what_was_voted_and_when(world: World) -> None:
    accounts = founded(world, 3)
    opened = world.next_block()
    proposal = world.propose(suspend(3), accounts[0])
    assert tuple(world.consortium.proposal(proposal)) == ((2, 3, ZERO_ADDRESS, NOTHING, 0), opened, 0, 1)
    closed = world.next_block()
    world.consortium.vote(proposal, sender=accounts[1])
    assert tuple(world.consortium.proposal(proposal))[1:] == (opened, closed, 2)
    assert world.consortium.proposal_count() == 1


@pytest.mark.parametrize("kind", [0, 6, 2**256 - 1])
def test_unknown_kinds_of_action_are_refused(world: World, kind: int) -> None:
    with refused(world.consortium, "unknown kind of action"):
        world.consortium.propose((kind, 0, ZERO_ADDRESS, NOTHING, 0), sender=world.join())


USED = {
    ActionKind.ADMIT: ("account", "word", "number"),
    ActionKind.SUSPEND: ("institution",),
    ActionKind.REPLACE_SEALING_KEY: ("institution", "account"),
    ActionKind.SET_CONTRACT: ("account", "word"),
    ActionKind.NEW_GENERATION: ("institution", "account", "number"),
}
GIVEN = {"institution": 1, "account": PLACE, "word": NAME, "number": 1}
EMPTY = {"institution": 0, "account": ZERO_ADDRESS, "word": NOTHING, "number": 0}


@pytest.mark.parametrize("field", GIVEN)
@pytest.mark.parametrize("kind", ActionKind)
def test_actions_have_exactly_the_fields_of_their_kind(world: World, kind: ActionKind, field: str) -> None:
    accounts = founded(world, 3)
    good = {name: (GIVEN if name in USED[kind] else EMPTY)[name] for name in GIVEN}
    world.consortium.propose((int(kind), *good.values()), sender=accounts[0])
    bad = good | {field: EMPTY[field] if good[field] == GIVEN[field] else GIVEN[field]}
    with refused(world.consortium, "malformed action"):
        world.consortium.propose((int(kind), *bad.values()), sender=accounts[0])


# What is voted on


def test_suspended_member_may_do_nothing(world: World) -> None:
    accounts = founded(world, 3)
    block = world.next_block()
    world.propose(suspend(3), *accounts[:2])
    assert world.consortium.institution(3)[3] == block
    assert world.consortium.member_count() == 2
    assert world.consortium.acting(accounts[2]) == (0, 0)
    for call in (
        lambda: world.propose(suspend(1), accounts[2]),
        lambda: world.consortium.rotate_key(KeyKind.SIGNING, NAME, sender=accounts[2]),
        lambda: world.consortium.close_founding(sender=accounts[2]),
    ):
        with refused(world.consortium, "not a member"):
            call()


@pytest.mark.parametrize("institution", [3, 4, 2**256 - 1])
def test_only_active_institutions_can_be_acted_on(world: World, institution: int) -> None:
    accounts = founded(world, 3)
    world.propose(suspend(3), *accounts[:2])
    for action in (suspend(institution), replace_sealing_key(institution, PLACE), new_generation(institution, 1, PLACE)):
        proposal = world.propose(action, accounts[0])
        with refused(world.consortium, "institution not active"):
            world.consortium.vote(proposal, sender=accounts[1])


def test_last_member_cannot_be_suspended(world: World) -> None:
    (account,) = founded(world, 1)
    with refused(world.consortium, "last member"):
        world.propose(suspend(1), account)


def test_lost_sealing_key_is_replaced_by_vote(world: World) -> None:
    accounts, successor = founded(world, 3), world.account()
    block = world.next_block()
    world.propose(replace_sealing_key(3, successor), *accounts[:2])
    assert world.consortium.institution_of(successor) == 3
    assert world.consortium.institution_of(accounts[2]) == 0
    assert [world.consortium.key_at(3, 1, n)[0] for n in (0, 1)] == [word(accounts[2]), word(successor)]
    assert world.consortium.key_at(3, 1, 0)[2] == world.consortium.key_at(3, 1, 1)[1] == block


def test_contracts_are_kept_with_their_blocks(world: World) -> None:
    (account,) = founded(world, 1)
    name, other = contract_name("Journals"), "0x" + "22" * 20
    assert world.consortium.contract_at(name) == ZERO_ADDRESS
    first = world.next_block()
    world.propose(set_contract("Journals", PLACE), account)
    second = world.next_block()
    world.propose(set_contract("Journals", other), account)
    assert world.consortium.contract_at(name) == other
    assert [tuple(world.consortium.contract_term(name, n)) for n in (0, 1)] == [(PLACE, first, second), (other, second, 0)]
    assert world.consortium.contract_at(contract_name("Consents")) == ZERO_ADDRESS


def test_generations_are_approved_one_by_one(world: World) -> None:
    accounts = founded(world, 2)
    for wrong in (2, 2**256 - 1):
        proposal = world.propose(new_generation(1, wrong, PLACE), accounts[0])
        with refused(world.consortium, "generation out of turn"):
            world.consortium.vote(proposal, sender=accounts[1])
    twice = [world.propose(new_generation(1, 1, PLACE), accounts[0]) for _ in range(2)]
    world.consortium.vote(twice[0], sender=accounts[1])
    with refused(world.consortium, "generation out of turn"):
        world.consortium.vote(twice[1], sender=accounts[1])
    assert world.consortium.approved_generation(PLACE, 1) == 1
    assert world.consortium.approved_generation(PLACE, 2) == 0
    assert world.consortium.approved_generation(accounts[0], 1) == 0


# Keys


def test_rotated_key_is_refused_in_the_same_block(world: World) -> None:
    account, successor = world.join(), world.account()
    world.consortium.rotate_key(KeyKind.SEALING, word(successor), sender=account)
    assert world.consortium.institution_of(account) == 0
    assert world.consortium.institution_of(successor) == 1
    with refused(world.consortium, "not a member"):
        world.consortium.rotate_key(KeyKind.SIGNING, NAME, sender=account)


def test_key_terms_describe_the_end_of_each_block(world: World) -> None:
    account = world.join()
    start = world.next_block()
    successors = [world.account() for _ in range(3)]
    world.consortium.rotate_key(KeyKind.SEALING, word(successors[0]), sender=account)
    world.consortium.rotate_key(KeyKind.SEALING, word(successors[1]), sender=successors[0])
    end = world.next_block()
    world.consortium.rotate_key(KeyKind.SEALING, word(successors[2]), sender=successors[1])
    terms = [world.consortium.key_at(1, KeyKind.SEALING, n)[1:] for n in range(4)]
    assert terms == [(start - 1, start), (start, start), (start, end), (end, 0)]
    for block, current in ((start - 2, None), (start - 1, 0), (start, 2), (end, 3), (end + 9, 3)):
        assert [n for n, term in enumerate(terms) if holds_at(*term, block)] == ([] if current is None else [current])


@pytest.mark.parametrize("kind", [KeyKind.SIGNING, KeyKind.ENCRYPTION])
def test_other_keys_have_a_history_too(world: World, kind: KeyKind) -> None:
    account = world.join()
    assert world.consortium.key_count(1, kind) == 0
    for number in (1, 2, 2):
        world.next_block()
        world.consortium.rotate_key(kind, bytes([number]) * 32, sender=account)
    assert world.consortium.key_count(1, kind) == 3
    assert [world.consortium.key_at(1, kind, n)[0][0] for n in range(3)] == [1, 2, 2]
    assert world.consortium.institution_of(account) == 1


@pytest.mark.parametrize(
    ("kind", "key", "reason"),
    [
        (0, NAME, "unknown kind of key"),
        (4, NAME, "unknown kind of key"),
        (1, NOTHING, "key missing"),
        (2, NOTHING, "key missing"),
        (3, NOTHING, "key missing"),
        (1, NAME, "not an account"),
        (1, (2**160).to_bytes(32, "big"), "not an account"),
    ],
)
def test_what_is_no_key_is_refused(world: World, kind: int, key: bytes, reason: str) -> None:
    with refused(world.consortium, reason):
        world.consortium.rotate_key(kind, key, sender=world.join())


def test_no_account_is_a_sealing_key_twice(world: World) -> None:
    first, second, successor = world.join(), world.join(), world.account()
    world.consortium.rotate_key(KeyKind.SEALING, word(successor), sender=first)
    for account, caller in ((first, second), (successor, second), (second, successor), (first, successor), (second, second)):
        with refused(world.consortium, "account already used"):
            world.consortium.rotate_key(KeyKind.SEALING, word(account), sender=caller)
    with refused(world.consortium, "account already used"):
        world.consortium.join(world.name(), 1, sender=first)


def test_strangers_rotate_nothing(world: World) -> None:
    world.join()
    stranger = world.account()
    with refused(world.consortium, "not a member"):
        world.consortium.rotate_key(KeyKind.SEALING, word(stranger), sender=stranger)


def test_changes_are_announced(world: World) -> None:
    (account,) = founded(world, 1)
    world.propose(admit(world.name(), Role.AUDITOR, PLACE), account)
    names = [type(event).__name__ for event in world.consortium.get_logs()]
    assert names == ["Proposed", "Voted", "Executed", "Admitted", "KeyAdded"]
