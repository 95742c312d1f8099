"""The derived storage slots hold what the views say, on the shipped bytecode."""

from __future__ import annotations

import boa
from boa.contracts.abi.abi_contract import ABIContract
from contract_world import NAME, World, name_of, word
from hypothesis import given
from hypothesis import strategies as st
from trees import node

from contracts import layout
from contracts.actions import KeyKind, Role, new_generation, suspend


def stored(contract: ABIContract, slot: int) -> int:
    return int(boa.env.get_storage(contract.address, slot))


def test_checkpoints_lie_where_derived(world: World) -> None:
    accounts = [world.join() for _ in range(3)]
    world.propose(new_generation(2, 1, str(world.journals.address)), *accounts[:2])
    published = {}
    for generation, sizes in ((0, (5, 2**40, 2**63 - 1)), (1, (1,))):
        if generation:
            world.journals.open_generation(1, sender=accounts[1])
        published[generation, 0] = (sizes[0], world.next_block())
        world.journals.publish(generation, 0, sizes[0], bytes([generation + 1]) * 32, [], sender=accounts[1])
    for (generation, index), (size, block) in published.items():
        meta, root = layout.checkpoint_slots(2, generation, index)
        assert layout.decode_meta(stored(world.journals, meta)) == (size, block)
        assert stored(world.journals, root).to_bytes(32, "big") == bytes([generation + 1]) * 32
        assert stored(world.journals, layout.count_slot(2, generation)) == 1
    assert stored(world.journals, layout.generation_slot(2)) == 1
    assert stored(world.journals, layout.generation_slot(1)) == 0
    for place in ((2, 0, 1), (1, 0, 0), (2, 2, 0)):
        assert [stored(world.journals, slot) for slot in layout.checkpoint_slots(*place)] == [0, 0]


def test_every_later_checkpoint_lies_where_derived(world: World) -> None:
    account = world.join()
    root = b"\7" * 32
    world.journals.publish(0, 0, 1, root, [], sender=account)
    size = 1
    for index in range(1, 5):
        block = world.next_block()
        size *= 2

        sibling = bytes([index]) * 32
        root = node(root, sibling)
        world.journals.publish(0, size // 2, size, root, [sibling], sender=account)
        meta, root_slot = layout.checkpoint_slots(1, 0, index)
        assert layout.decode_meta(stored(world.journals, meta)) == (size, block)
        assert stored(world.journals, root_slot) == int.from_bytes(root, "big")
        assert stored(world.journals, layout.count_slot(1, 0)) == index + 1


def test_sealing_key_at_a_block_is_proved_by_its_slots(world: World) -> None:
    world.join()
    account, successor = world.join(Role.HOSPITAL | Role.AUDITOR), world.account()
    changed = world.next_block()
    world.consortium.rotate_key(KeyKind.SEALING, word(successor), sender=account)
    world.consortium.rotate_key(KeyKind.ENCRYPTION, NAME, sender=successor)
    assert stored(world.consortium, layout.key_count_slot(2, KeyKind.SEALING)) == 2
    assert stored(world.consortium, layout.key_count_slot(2, KeyKind.SIGNING)) == 0
    for kind, index, expected in (
        (KeyKind.SEALING, 0, (int(account, 16), changed - 1, changed)),
        (KeyKind.SEALING, 1, (int(successor, 16), changed, 0)),
        (KeyKind.SEALING, 2, (0, 0, 0)),
        (KeyKind.ENCRYPTION, 0, (int.from_bytes(NAME, "big"), changed, 0)),
    ):
        slots = layout.key_slots(2, kind, index)
        assert tuple(stored(world.consortium, slot) for slot in (slots.value, slots.from_block, slots.until_block)) == expected


def test_institution_record_lies_where_derived(world: World) -> None:
    accounts = [world.join(), world.join(Role.REGULATOR), world.join()]
    start, end = boa.env.evm.patch.block_number, world.next_block()
    world.propose(suspend(2), accounts[0], accounts[2])
    slots = layout.institution_slots(2)
    found = [stored(world.consortium, slot) for slot in (slots.name, slots.roles, slots.from_block, slots.until_block)]
    assert found == [int.from_bytes(name_of(2), "big"), Role.REGULATOR, start, end]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_meta_word_decodes(size: int, block: int) -> None:
    assert layout.decode_meta(size | block << 64) == (size, block)


def test_term_holds_from_its_first_block_and_not_at_its_last() -> None:
    assert [layout.holds_at(5, 8, block) for block in (4, 5, 7, 8)] == [False, True, True, False]
    assert layout.holds_at(5, 0, 10**9)
    assert not layout.holds_at(5, 5, 5)
    assert not layout.holds_at(0, 0, 5)
