"""The contract that holds what a consortium followed."""

from __future__ import annotations

import boa
from boa.contracts.abi.abi_contract import ABIContractFactory
from contract_world import World

from contracts.artifacts import load
from contracts.layout import predecessor_slot


def deploy(commitment: bytes):
    artifact = load("Succession")
    address, _ = boa.env.deploy(bytecode=artifact.bytecode + commitment)
    return ABIContractFactory(artifact.name, artifact.abi).at(address)


def test_it_keeps_the_commitment_where_evidence_looks_for_it(world: World) -> None:
    contract = deploy(b"p" * 32)
    assert contract.predecessor() == b"p" * 32
    assert boa.env.get_storage(contract.address, predecessor_slot()) == int.from_bytes(b"p" * 32)


def test_nothing_is_no_predecessor(world: World) -> None:
    artifact = load("Succession")
    address, computation = boa.env.deploy(bytecode=artifact.bytecode + bytes(32))
    assert computation.is_error
    assert boa.env.get_code(address) == b""


def test_the_code_on_the_chain_is_the_shipped_one(world: World) -> None:
    assert boa.env.get_code(deploy(b"p" * 32).address) == load("Succession").runtime_bytecode
