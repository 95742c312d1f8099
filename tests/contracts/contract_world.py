"""The shipped contracts in titanoboa under London rules, and what is refused there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boa
import boa.vm.py_evm as boa_evm
import pytest
from boa.contracts.abi.abi_contract import ABIContract, ABIContractFactory
from eth.chains.base import Chain
from eth.db.atomic import AtomicDB
from eth.tools.builder import chain as build
from eth.vm.forks.london import LondonVM
from eth_abi import decode, encode

from contracts.actions import Action, Role
from contracts.artifacts import load


def london() -> Any:
    """titanoboa builds its chain with the newest rules and has no setting for older ones."""
    rules = build.build(Chain, build.fork_at(LondonVM, 0), build.chain_id(1337), build.name("LondonChain"))
    return rules.from_genesis(AtomicDB(), boa_evm.GENESIS_PARAMS)


NAME = b"n" * 32
NOTHING = bytes(32)


def name_of(institution: int) -> bytes:
    """The name that `World.join` gives the institution with this id."""
    return (int.from_bytes(NAME) + institution - 1).to_bytes(32)


def word(account: str) -> bytes:
    """An account as the 32 bytes that a sealing key is kept in."""
    return int(account, 16).to_bytes(32, "big")


@contextmanager
def refused(contract: ABIContract, reason: str) -> Iterator[None]:
    """The call in the block is refused with exactly this reason."""
    with pytest.raises(boa.BoaError):
        yield
    output = contract._computation.output
    assert output[:4].hex() == "08c379a0", "reverted without a reason"
    assert decode(["string"], output[4:])[0] == reason


@dataclass
class World:
    """The two contracts and a few callers; sealing accounts are made as needed."""

    consortium: ABIContract
    journals: ABIContract

    def account(self) -> str:
        return str(boa.env.generate_address())

    def join(self, roles: Role = Role.HOSPITAL) -> str:
        """Join while the consortium is founded; the sealing account. The first to join gets id 1."""
        account = self.account()
        self.consortium.join(self.name(), int(roles), sender=account)
        return account

    def name(self) -> bytes:
        """The commitment to a name that no institution has had: NAME of the first, and so on."""
        return name_of(int(self.consortium.institution_count()) + 1)

    def propose(self, action: Action, *voters: str) -> int:
        """Put an action to the vote by the first of the voters; the others vote for it in turn."""
        fields = (int(action.kind), action.institution, action.account, action.word, action.number)
        proposal = int(self.consortium.propose(fields, sender=voters[0]))
        for voter in voters[1:]:
            self.consortium.vote(proposal, sender=voter)
        return proposal

    def next_block(self) -> int:
        boa.env.time_travel(blocks=1)
        return int(boa.env.evm.patch.block_number)


def deploy(name: str, arguments: bytes = b"") -> ABIContract:
    address, _ = boa.env.deploy_code(bytecode=load(name).bytecode + arguments)
    return ABIContractFactory(name, list(load(name).abi)).at(address)


def new_world() -> World:
    consortium = deploy("Consortium")
    return World(consortium, deploy("Journals", encode(["address"], [str(consortium.address)])))
