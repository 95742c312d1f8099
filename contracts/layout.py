"""Where the contracts keep what evidence proves: storage slots derived from the shipped layouts.

Pure: keccak-256 and the layout files only, so that a verifier needs no node. A mapping's element lies at
keccak256(slot of the mapping ‖ key), both 32 bytes big-endian, applied once per nesting; a structure's fields follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak

from contracts.artifacts import load


@dataclass(frozen=True, slots=True)
class InstitutionSlots:
    """Slots of an institution's record. Until block 0 means that it is active."""

    name: int
    roles: int
    from_block: int
    until_block: int


@dataclass(frozen=True, slots=True)
class KeySlots:
    """Slots of one key in an institution's history."""

    value: int
    from_block: int
    until_block: int


def _element(slot: int, *keys: int) -> int:
    for key in keys:
        slot = int.from_bytes(keccak(slot.to_bytes(32, "big") + key.to_bytes(32, "big")), "big")
    return slot


def checkpoint_slots(institution: int, generation: int, index: int) -> tuple[int, int]:
    """The slots in `Journals` of a checkpoint: its meta word (see `decode_meta`) and its root; both zero when it is none."""
    meta = _element(load("Journals").slots["entries"], institution, generation, index)
    return meta, meta + 1


def decode_meta(word: int) -> tuple[int, int]:
    """Size (entries) and block number out of a checkpoint's meta word: bits 0 to 63 and those above. Size 0: no checkpoint."""
    return word & (2**64 - 1), word >> 64


def count_slot(institution: int, generation: int) -> int:
    """The slot in `Journals` of the number of checkpoints in a generation."""
    return _element(load("Journals").slots["count"], institution, generation)


def generation_slot(institution: int) -> int:
    """The slot in `Journals` of an institution's current generation."""
    return _element(load("Journals").slots["generation"], institution)


def institution_count_slot() -> int:
    """The slot in `Consortium` of the number of institutions ever admitted; their ids count from 1."""
    return load("Consortium").slots["institution_count"]


def named_slot(name: bytes) -> int:
    """The slot in `Consortium` of the id under a 32-byte commitment to an institution's name."""
    return _element(load("Consortium").slots["named"], int.from_bytes(name, "big"))


def contract_slot(name: bytes, index: int) -> int:
    """The slot in `Consortium` of the address of a contract, by its name, 32 bytes, and its number among those of this name, from 0."""
    return _element(load("Consortium").slots["contract_term"], int.from_bytes(name, "big"), index)


def predecessor_slot() -> int:
    """The slot in `Succession` of the commitment."""
    return load("Succession").slots["predecessor"]


def institution_slots(institution: int) -> InstitutionSlots:
    """The slots in `Consortium` of an institution's record."""
    first = _element(load("Consortium").slots["institution"], institution)
    return InstitutionSlots(first, first + 1, first + 2, first + 3)


def key_count_slot(institution: int, kind: int) -> int:
    """The slot in `Consortium` of the number of keys an institution has had of this kind."""
    return _element(load("Consortium").slots["key_count"], institution, kind)


def key_slots(institution: int, kind: int, index: int) -> KeySlots:
    """The slots in `Consortium` of one key; a sealing key's value is its account as a number."""
    first = _element(load("Consortium").slots["key_at"], institution, kind, index)
    return KeySlots(first, first + 1, first + 2)


def holds_at(from_block: int, until_block: int, block: int) -> bool:
    """Whether a term stood at the end of `block`: from_block <= block < until_block, where until_block 0 is open.

    A record that does not exist has from_block 0 and never stood.
    """
    return 0 < from_block <= block and (until_block == 0 or block < until_block)
