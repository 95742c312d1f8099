"""Gas in real transactions under Berlin rules. `python -m pytest tests/contracts/test_gas.py -s` prints the figures."""

from __future__ import annotations

from typing import Any

import pytest
from berlin import BLOCK_GAS, Berlin, Caller, account
from trees import even_consistency, even_root
from web3 import Web3

from contracts import calls
from contracts.actions import Action, KeyKind, Role, admit, new_generation, replace_sealing_key, set_contract, suspend

PUBLISH_BOUND = 150_000
AWKWARD = [
    (999_999, 1_000_999),
    (1_000_999, 1_001_999),
    (2**20 - 1, 2**20 + 1),
    (2**20, 2**20 + 1),
    (2**20 - 1, 2**21 - 1),
    (2**19 + 1, 2**20 - 1),
    (1, 2**24),
    (2**30 - 1, 2**30 + 1),
]


class Deployment:
    """Both contracts on a chain of their own, with one hospital, and every call's gas printed and checked against its limit."""

    def __init__(self) -> None:
        self.w3 = Web3(Berlin())
        self.caller = Caller(self.w3, 1)
        receipt = self.spend("deploy Consortium", calls.DEPLOY_GAS, calls.deploy_consortium, self.w3)
        self.consortium = calls.Consortium(self.w3, receipt["contractAddress"])
        receipt = self.spend("deploy Journals", calls.DEPLOY_GAS, calls.deploy_journals, self.w3, self.consortium.address)
        self.journals = calls.Journals(self.w3, receipt["contractAddress"])
        self.spend("join", calls.MEMBER_GAS, self.consortium.join, b"n" * 32, Role.HOSPITAL)

    def spend(self, what: str, limit: int, function: Any, *arguments: Any, caller: Caller | None = None) -> Any:
        receipt = (caller or self.caller).send(function, *arguments)
        assert receipt["status"] == 1
        print(f"{what:<58}{receipt['gasUsed']:>10,} gas")
        assert receipt["gasUsed"] * 1.5 < limit < BLOCK_GAS / 3
        return receipt

    def publish(self, size1: int, size2: int) -> int:
        proof = even_consistency(size1, size2) if size1 else []
        what = f"publish {size1:,} -> {size2:,} ({len(proof)} hashes)"
        arguments = (0, size1, size2, even_root(size2), proof)
        return int(self.spend(what, calls.PUBLISH_GAS, self.journals.publish, *arguments)["gasUsed"])


@pytest.mark.parametrize(("size1", "size2"), AWKWARD)
def test_one_checkpoint_costs_less_than_150_000_gas(size1: int, size2: int) -> None:
    deployment = Deployment()
    assert deployment.publish(0, size1) < PUBLISH_BOUND
    assert deployment.publish(size1, size2) < PUBLISH_BOUND


def test_longest_proof_fits_the_gas_limit() -> None:
    deployment = Deployment()
    deployment.publish(0, 2**62 - 1)
    deployment.publish(2**62 - 1, 2**63 - 1)


def test_key_and_founding_calls_fit_their_gas_limit() -> None:
    deployment = Deployment()
    consortium = deployment.consortium
    deployment.spend("rotate encryption key", calls.MEMBER_GAS, consortium.rotate_key, KeyKind.ENCRYPTION, b"k" * 32)
    deployment.spend("rotate encryption key again", calls.MEMBER_GAS, consortium.rotate_key, KeyKind.ENCRYPTION, b"l" * 32)
    deployment.spend("close founding", calls.MEMBER_GAS, consortium.close_founding)
    new = bytes.fromhex(account(9).address[2:])
    deployment.spend("rotate sealing key", calls.MEMBER_GAS, consortium.rotate_key, KeyKind.SEALING, new)


def test_votes_fit_their_gas_limit_even_with_a_thousand_voters() -> None:
    deployment = Deployment()
    consortium, journals = deployment.consortium, deployment.journals
    approve = new_generation(1, 1, journals.address)
    deployment.spend("propose and execute new_generation", calls.VOTE_GAS, consortium.propose, approve)
    deployment.spend("open generation", calls.GENERATION_GAS, journals.open_generation, 1)
    deployment.spend("propose and execute set_contract", calls.VOTE_GAS, consortium.propose, set_contract("J", journals.address))
    callers = [Caller(deployment.w3, number) for number in range(2, 42)]
    for caller in callers:
        assert caller.send(consortium.join, bytes.fromhex(caller.address[2:]).rjust(32), Role.HOSPITAL)["status"] == 1

    def voted(action: Action, name: str) -> list[int]:
        number = consortium.proposed(deployment.spend(f"propose {name}", calls.VOTE_GAS, consortium.propose, action))
        receipts = [caller.send(consortium.vote, number) for caller in callers[:20]]
        assert consortium.proposal(number).until_block
        costs = [int(receipt["gasUsed"]) for receipt in receipts]
        print(f"{f'vote {name}: first, 19th, executing':<58}{costs[0]:>10,} gas, {costs[18]:,}, {costs[19]:,}")
        return costs

    most = 0
    for name, action in {
        "replace_sealing_key": replace_sealing_key(41, account(51).address),
        "suspend": suspend(41),
        "admit": admit(b"m" * 32, Role.AUDITOR, account(50).address),
    }.items():
        costs = voted(action, name)
        each = (costs[18] - costs[8]) // 10
        most = max(most, costs[19] + 980 * each)
    print(f"{'executing vote, extrapolated to the 1000th voter':<58}{most:>10,} gas")
    assert most * 1.5 < calls.VOTE_GAS
