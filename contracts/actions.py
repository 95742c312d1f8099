"""What members of the consortium are and vote on, in the numbers that `Consortium.vy` uses. No web3."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address

ZERO_ADDRESS = to_checksum_address("0x" + "00" * 20)
ZERO_WORD = bytes(32)


class Role(IntFlag):
    """What an institution is in the consortium; it may be several."""

    HOSPITAL = 1
    AUDITOR = 2
    REGULATOR = 4


class KeyKind(IntEnum):
    """An institution's keys: the account that acts for it, and commitments to two others."""

    SEALING = 1
    SIGNING = 2
    ENCRYPTION = 3


class ActionKind(IntEnum):
    """What can be voted on."""

    ADMIT = 1
    SUSPEND = 2
    REPLACE_SEALING_KEY = 3
    SET_CONTRACT = 4
    NEW_GENERATION = 5


@dataclass(frozen=True, slots=True)
class Action:
    """One action put to the vote; made by the functions below. Fields that its kind does not use are zero."""

    kind: ActionKind
    institution: int = 0
    account: ChecksumAddress = ZERO_ADDRESS
    word: bytes = ZERO_WORD  # 32 bytes
    number: int = 0


def contract_name(name: str) -> bytes:
    """A contract's name as the registry keeps it: ASCII, zero-padded to 32 bytes. Raises ValueError when it does not fit."""
    if not name.isascii() or not 0 < len(name) <= 32:
        raise ValueError("a contract's name is 1 to 32 ASCII characters")
    return name.encode("ascii").ljust(32, b"\0")


def admit(name: bytes, roles: Role, account: str) -> Action:
    """Admit an institution: a 32-byte commitment to its name, which no other ever had, its roles, its sealing account."""
    return Action(ActionKind.ADMIT, account=to_checksum_address(account), word=name, number=int(roles))


def suspend(institution: int) -> Action:
    """Suspend an institution for good; it can be admitted again under a new id, name and account."""
    return Action(ActionKind.SUSPEND, institution=institution)


def replace_sealing_key(institution: int, account: str) -> Action:
    """Give an institution that lost its sealing key another account, never used before."""
    return Action(ActionKind.REPLACE_SEALING_KEY, institution=institution, account=to_checksum_address(account))


def set_contract(name: str, address: str) -> Action:
    """Make `address` the current contract of this name."""
    return Action(ActionKind.SET_CONTRACT, account=to_checksum_address(address), word=contract_name(name))


def new_generation(institution: int, generation: int, journals: str) -> Action:
    """Allow an institution to begin generation `generation` in one `Journals` contract; each approval serves once, in order."""
    return Action(
        ActionKind.NEW_GENERATION, institution=institution, account=to_checksum_address(journals), number=generation
    )
