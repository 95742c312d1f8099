"""What `Journals` keeps, and everything that it refuses."""

from __future__ import annotations

import boa
import pytest
from contract_world import NOTHING, World, deploy, refused, word
from trees import consistency, leaf, root

from contracts.actions import Role, new_generation, suspend

LEAVES = [leaf(bytes([n])) for n in range(30)]


def publish(world: World, account: str, size1: int, size2: int, generation: int = 0) -> None:
    proof = consistency(size1, LEAVES[:size2]) if size1 else []
    world.journals.publish(generation, size1, size2, root(LEAVES[:size2]), proof, sender=account)


def approve(world: World, account: str, institution: int, generation: int) -> None:
    world.propose(new_generation(institution, generation, str(world.journals.address)), account)


def test_checkpoints_are_kept_with_their_blocks(world: World) -> None:
    account = world.join()
    blocks = []
    for size1, size2 in ((0, 3), (3, 4), (4, 30)):
        blocks.append(world.next_block())
        publish(world, account, size1, size2)
    assert world.journals.count(1, 0) == 3
    assert [tuple(world.journals.checkpoint(1, 0, n)) for n in range(3)] == [
        (size, root(LEAVES[:size]), block) for size, block in zip((3, 4, 30), blocks, strict=True)
    ]
    assert tuple(world.journals.head(1)) == (0, 3, 30, root(LEAVES), blocks[2])


def test_head_of_an_empty_journal_is_zero(world: World) -> None:
    world.join()
    assert tuple(world.journals.head(1)) == (0, 0, 0, NOTHING, 0)


def test_checkpoint_is_announced(world: World) -> None:
    account = world.join()
    publish(world, account, 0, 3)
    publish(world, account, 3, 5)
    (event,) = world.journals.get_logs()
    assert type(event).__name__ == "CheckpointPublished"
    assert (event.institution, event.generation, event.size, event.root, event.index) == (1, 0, 5, root(LEAVES[:5]), 1)


def test_two_checkpoints_in_one_block_are_both_kept(world: World) -> None:
    account = world.join()
    publish(world, account, 0, 3)
    publish(world, account, 3, 5)
    assert world.journals.count(1, 0) == 2


def test_journals_of_two_institutions_are_apart(world: World) -> None:
    first, second = world.join(), world.join()
    publish(world, first, 0, 7)
    publish(world, second, 0, 3)
    publish(world, second, 3, 5)
    assert [world.journals.head(institution)[2] for institution in (1, 2)] == [7, 5]


def test_first_checkpoint_may_have_any_root(world: World) -> None:
    world.journals.publish(0, 0, 5, NOTHING, [], sender=world.join())
    assert world.journals.head(1)[2] == 5


@pytest.mark.parametrize(
    ("generation", "from_size", "size", "proof", "reason"),
    [
        (1, 7, 9, [NOTHING], "wrong generation"),
        (0, 0, 9, [], "stale from_size"),
        (0, 6, 9, [NOTHING], "stale from_size"),
        (0, 9, 12, [NOTHING], "stale from_size"),
        (0, 7, 7, [], "size does not grow"),
        (0, 7, 6, [NOTHING], "size does not grow"),
        (0, 7, 0, [], "size does not grow"),
        (0, 7, 2**63, [NOTHING], "size too large"),
        (0, 7, 2**256 - 1, [NOTHING], "size too large"),
        (0, 7, 9, [], "history rewritten"),
        (0, 7, 9, [NOTHING], "history rewritten"),
        (0, 7, 2**63 - 1, [NOTHING] * 64, "history rewritten"),
    ],
)
def test_refused_after_seven_entries(
    world: World, generation: int, from_size: int, size: int, proof: list[bytes], reason: str
) -> None:
    account = world.join()
    publish(world, account, 0, 7)
    with refused(world.journals, reason):
        world.journals.publish(generation, from_size, size, root(LEAVES[:9]), proof, sender=account)
    assert tuple(world.journals.head(1))[:3] == (0, 1, 7)


@pytest.mark.parametrize(
    ("from_size", "size", "proof", "reason"),
    [
        (0, 0, [], "size does not grow"),
        (0, 3, [NOTHING], "first proof not empty"),
        (1, 3, [NOTHING], "stale from_size"),
        (0, 2**63, [], "size too large"),
    ],
)
def test_refused_in_an_empty_journal(world: World, from_size: int, size: int, proof: list[bytes], reason: str) -> None:
    account = world.join()
    with refused(world.journals, reason):
        world.journals.publish(0, from_size, size, NOTHING, proof, sender=account)
    assert world.journals.count(1, 0) == 0


def test_every_part_of_a_checkpoint_is_proved(world: World) -> None:
    account = world.join()
    publish(world, account, 0, 7)
    proof = consistency(7, LEAVES[:12])
    grown = root(LEAVES[:12])
    wrong = [(12, grown, bad) for bad in (proof[:-1], [*proof, NOTHING], proof[::-1], [NOTHING, *proof[1:]])]
    for arguments in [*wrong, (12, root(LEAVES[:13]), proof), (17, grown, proof)]:
        with refused(world.journals, "history rewritten"):
            world.journals.publish(0, 7, *arguments, sender=account)
    publish(world, account, 7, 12)


@pytest.mark.parametrize("roles", [Role.AUDITOR, Role.REGULATOR, Role.AUDITOR | Role.REGULATOR])
def test_only_hospitals_publish(world: World, roles: Role) -> None:
    account = world.join(roles)
    with refused(world.journals, "not a hospital"):
        publish(world, account, 0, 3)


def test_hospital_with_another_role_publishes(world: World) -> None:
    publish(world, world.join(Role.HOSPITAL | Role.REGULATOR), 0, 3)


def test_strangers_are_refused(world: World) -> None:
    world.join()
    with refused(world.journals, "not a member"):
        publish(world, world.account(), 0, 3)
    with refused(world.journals, "not a member"):
        world.journals.open_generation(1, sender=world.account())


def test_rotated_out_key_is_refused_in_the_same_block(world: World) -> None:
    account, successor = world.join(), world.account()
    publish(world, account, 0, 3)
    world.consortium.rotate_key(1, word(successor), sender=account)
    with refused(world.journals, "not a member"):
        publish(world, account, 3, 5)
    publish(world, successor, 3, 5)
    assert world.journals.count(1, 0) == 2


def test_suspended_institution_is_refused_and_its_history_stays(world: World) -> None:
    account, other = world.join(), world.join()
    publish(world, account, 0, 3)
    world.propose(suspend(1), other, account)
    with refused(world.journals, "not a member"):
        publish(world, account, 3, 5)
    assert tuple(world.journals.head(1))[:3] == (0, 1, 3)


def test_new_generation_begins_empty_and_keeps_the_old_one(world: World) -> None:
    account = world.join()
    publish(world, account, 0, 7)
    approve(world, account, 1, 1)
    publish(world, account, 7, 8)
    world.journals.open_generation(1, sender=account)
    assert tuple(world.journals.head(1)) == (1, 0, 0, NOTHING, 0)
    publish(world, account, 0, 2, generation=1)
    assert [world.journals.count(1, generation) for generation in (0, 1)] == [2, 1]
    assert [world.journals.checkpoint(1, 0, n)[0] for n in (0, 1)] == [7, 8]
    with refused(world.journals, "wrong generation"):
        publish(world, account, 8, 9, generation=0)


def test_generation_needs_its_own_approval(world: World) -> None:
    account = world.join()
    with refused(world.journals, "generation not approved"):
        world.journals.open_generation(1, sender=account)
    approve(world, account, 1, 1)
    for wrong in (0, 2, 2**256 - 1):
        with refused(world.journals, "wrong generation"):
            world.journals.open_generation(wrong, sender=account)
    world.journals.open_generation(1, sender=account)
    with refused(world.journals, "wrong generation"):
        world.journals.open_generation(1, sender=account)
    with refused(world.journals, "generation not approved"):
        world.journals.open_generation(2, sender=account)


def test_approval_serves_one_institution_and_one_contract(world: World) -> None:
    account, other = world.join(), world.join()
    world.propose(new_generation(1, 1, str(world.journals.address)), account, other)
    with refused(world.journals, "generation not approved"):
        world.journals.open_generation(1, sender=other)
    successor = deploy("Journals", word(str(world.consortium.address)))
    with refused(successor, "generation not approved"):
        successor.open_generation(1, sender=account)


def test_auditor_opens_no_generation(world: World) -> None:
    account = world.join(Role.AUDITOR)
    approve(world, account, 1, 1)
    with refused(world.journals, "not a hospital"):
        world.journals.open_generation(1, sender=account)


def test_checkpoint_that_does_not_exist_is_refused(world: World) -> None:
    account = world.join()
    publish(world, account, 0, 3)
    for place in ((1, 0, 1), (1, 1, 0), (2, 0, 0), (0, 0, 0), (1, 0, 2**256 - 1)):
        with refused(world.journals, "no such checkpoint"):
            world.journals.checkpoint(*place)


def test_journals_need_a_consortium(world: World) -> None:
    with pytest.raises(Exception, match="no consortium"):
        deploy("Journals", word(world.account()))


def test_contracts_take_no_money(world: World) -> None:
    account = world.join()
    boa.env.set_balance(account, 10)
    with pytest.raises(boa.BoaError):
        world.journals.publish(0, 0, 3, NOTHING, [], sender=account, value=1)
