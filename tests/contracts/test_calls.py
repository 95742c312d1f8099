"""The typed calls, over web3 against real blocks under Berlin rules."""

from __future__ import annotations

import pytest
from berlin import CHAIN_ID, Berlin, Caller, account
from eth_abi import encode
from trees import consistency, leaf, root
from web3 import Web3

from careseal import CaresealError
from contracts import calls
from contracts.actions import (
    Action,
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
from contracts.layout import checkpoint_slots, count_slot, decode_meta

NAME, OTHER = b"n" * 32, b"o" * 32
LEAVES = [leaf(bytes([n])) for n in range(30)]


class Network:
    """A Berlin chain with both contracts, deployed by nobody in particular, and two hospitals."""

    def __init__(self) -> None:
        self.provider = Berlin()
        self.w3 = Web3(self.provider)
        deployer = Caller(self.w3, 99)
        self.consortium = calls.Consortium(self.w3, deployer.send(calls.deploy_consortium, self.w3)["contractAddress"])
        made = deployer.send(calls.deploy_journals, self.w3, self.consortium.address)
        self.journals = calls.Journals(self.w3, made["contractAddress"])
        self.first, self.second = Caller(self.w3, 1), Caller(self.w3, 2)
        for caller, name in ((self.first, NAME), (self.second, OTHER)):
            assert caller.send(self.consortium.join, name, Role.HOSPITAL)["status"] == 1

    def publish(self, caller: Caller, size1: int, size2: int) -> calls.TxReceipt:
        proof = consistency(size1, LEAVES[:size2]) if size1 else []
        return caller.send(self.journals.publish, 0, size1, size2, root(LEAVES[:size2]), proof)

    def block(self) -> int:
        return int(self.w3.eth.block_number)


@pytest.fixture
def network() -> Network:
    return Network()


def test_transactions_are_legacy_free_and_of_constant_gas(network: Network) -> None:
    transaction = network.journals.publish(0, 0, 3, NAME, [], nonce=7)
    data = transaction.pop("data")
    assert data.startswith("0x")
    assert transaction == {
        "to": network.journals.address,
        "gas": calls.PUBLISH_GAS,
        "gasPrice": 0,
        "nonce": 7,
        "chainId": CHAIN_ID,
        "value": 0,
    }
    assert "to" not in calls.deploy_consortium(network.w3, nonce=0)


def test_checkpoints_read_back_as_published(network: Network) -> None:
    receipt = network.publish(network.first, 0, 3)
    first = calls.ChainCheckpoint(1, 0, 0, 3, root(LEAVES[:3]), network.block())
    assert network.journals.published(receipt) == first
    network.publish(network.first, 3, 30)
    second = calls.ChainCheckpoint(1, 0, 1, 30, root(LEAVES), network.block())
    assert network.journals.head(1) == calls.ChainHead(1, 0, 2, second)
    assert [network.journals.checkpoint(1, 0, index) for index in (0, 1)] == [first, second]
    assert network.journals.head(2) == calls.ChainHead(2, 0, 0, None)
    assert (network.journals.generation(1), network.journals.count(1, 0)) == (0, 2)
    assert network.journals.consortium() == network.consortium.address
    meta, root_slot = checkpoint_slots(1, 0, 1)
    slots = (meta, root_slot, count_slot(1, 0))
    storage = [int.from_bytes(network.w3.eth.get_storage_at(network.journals.address, slot)) for slot in slots]
    assert (decode_meta(storage[0]), storage[1:]) == ((30, second.block), [int.from_bytes(root(LEAVES)), 2])


def test_refused_checkpoint_fails_on_chain_and_says_why(network: Network) -> None:
    network.publish(network.first, 0, 3)
    forged = [leaf(b"forged"), *LEAVES[1:5]]
    arguments = (0, 3, 5, root(forged), consistency(3, forged))
    receipt = network.first.send(network.journals.publish, *arguments)
    assert receipt["status"] == 0
    assert network.journals.published(receipt) is None
    assert network.journals.count(1, 0) == 1
    transaction = network.journals.publish(*arguments, nonce=network.first.nonce)
    with pytest.raises(calls.ContractRefused, match=r"^the contract refused: history rewritten$") as caught:
        calls.dry_run(network.w3, transaction, network.first.address)
    assert caught.value.reason == "history rewritten"
    assert isinstance(caught.value, CaresealError)
    with pytest.raises(calls.ContractRefused, match="not a member"):
        calls.dry_run(network.w3, transaction, network.w3.to_checksum_address("0x" + "33" * 20))


def test_dry_run_of_a_lawful_transaction_changes_nothing(network: Network) -> None:
    transaction = network.journals.publish(0, 0, 3, NAME, [], nonce=network.first.nonce)
    calls.dry_run(network.w3, transaction, network.first.address)
    calls.dry_run(network.w3, calls.deploy_consortium(network.w3, nonce=network.first.nonce), network.first.address)
    assert network.journals.count(1, 0) == 0


def test_published_ignores_other_contracts(network: Network) -> None:
    receipt = network.publish(network.first, 0, 3)
    made = Caller(network.w3, 98).send(calls.deploy_journals, network.w3, network.consortium.address)
    other = calls.Journals(network.w3, made["contractAddress"])
    assert other.published(receipt) is None
    assert network.consortium.proposed(receipt) is None


def test_view_refusals_are_typed(network: Network) -> None:
    with pytest.raises(calls.ContractRefused, match="no such checkpoint"):
        network.journals.checkpoint(1, 0, 0)
    with pytest.raises(calls.ContractRefused, match="no such proposal"):
        network.consortium.proposal(1)
    with pytest.raises(calls.ContractRefused, match="inconsistent"):
        network.journals.verify_consistency(3, 5, root(LEAVES[:3]), root(LEAVES[:5]), [])
    with pytest.raises(calls.ContractRefused, match="no reason given"):
        network.journals.verify_consistency(3, 5, root(LEAVES[:3]), root(LEAVES[:5]), [NAME] * 65)
    network.journals.verify_consistency(3, 5, root(LEAVES[:3]), root(LEAVES[:5]), consistency(3, LEAVES[:5]))


@pytest.mark.parametrize("wrong", [b"short", NAME + b"\0"])
def test_hashes_of_another_length_never_reach_the_chain(network: Network, wrong: bytes) -> None:
    for build in (
        lambda: network.journals.publish(0, 0, 3, wrong, [], nonce=0),
        lambda: network.journals.publish(0, 1, 3, NAME, [wrong], nonce=0),
        lambda: network.consortium.join(wrong, Role.HOSPITAL, nonce=0),
        lambda: network.consortium.named(wrong),
        lambda: network.consortium.propose(admit(wrong, Role.HOSPITAL, account(5).address), nonce=0),
        lambda: network.journals.verify_consistency(1, 2, wrong, NAME, []),
    ):
        with pytest.raises(ValueError, match="does not fit its type"):
            build()


def test_a_missing_contract_is_noticed(network: Network) -> None:
    with pytest.raises(calls.ContractMismatchError, match="there is no Journals contract at"):
        calls.Journals(network.w3, account(7).address).head(1)


def test_members_and_keys_read_back(network: Network) -> None:
    consortium, joined = network.consortium, network.block()
    assert consortium.founding()
    assert consortium.institution(2) == calls.Institution(2, OTHER, Role.HOSPITAL, joined, 0)
    assert consortium.institution(2).active
    assert not consortium.institution(3).active
    assert [consortium.named(name) for name in (NAME, OTHER, b"m" * 32)] == [1, 2, 0]
    successor = Caller(network.w3, 12)
    receipt = network.second.send(consortium.rotate_key, KeyKind.SEALING, bytes.fromhex(successor.address[2:]))
    rotated = receipt["blockNumber"]
    keys = consortium.keys(2, KeyKind.SEALING)
    assert [(key.account, key.from_block, key.until_block) for key in keys] == [
        (network.second.address, joined, rotated),
        (successor.address, rotated, 0),
    ]
    assert [consortium.institution_of(caller.address) for caller in (network.first, network.second, successor)] == [1, 0, 2]
    successor.send(consortium.rotate_key, KeyKind.SIGNING, NAME)
    assert consortium.keys(2, KeyKind.SIGNING) == (calls.ChainKey(2, KeyKind.SIGNING, 0, NAME, network.block(), 0),)
    assert consortium.keys(2, KeyKind.ENCRYPTION) == ()


def test_key_rotated_out_is_refused_later_in_the_same_block(network: Network) -> None:
    network.publish(network.second, 0, 3)
    network.provider.hold = True
    before = network.publish(network.second, 3, 4)
    rotation = network.second.send(network.consortium.rotate_key, KeyKind.SEALING, bytes.fromhex(account(12).address[2:]))
    after = network.publish(network.second, 4, 5)
    successor = network.publish(Caller(network.w3, 12), 4, 5)
    network.provider.mine()
    assert len({receipt["blockNumber"] for receipt in (before, rotation, after, successor)}) == 1
    assert [receipt["status"] for receipt in (before, rotation, after, successor)] == [1, 1, 0, 1]
    assert network.journals.head(2).count == 3


def test_votes_read_back(network: Network) -> None:
    consortium, first, second = network.consortium, network.first, network.second
    assert first.send(consortium.close_founding)["status"] == 1
    assert not consortium.founding()
    newcomer = Caller(network.w3, 3)
    action = admit(b"m" * 32, Role.AUDITOR | Role.REGULATOR, newcomer.address)
    opened = first.send(consortium.propose, action)
    number = consortium.proposed(opened)
    assert number == consortium.proposal_count() == 1
    assert consortium.proposal(1) == calls.Proposal(1, action, opened["blockNumber"], 0, 1)
    assert [consortium.has_voted(1, institution) for institution in (1, 2)] == [True, False]
    closed = second.send(consortium.vote, number)
    assert consortium.proposal(1) == calls.Proposal(1, action, opened["blockNumber"], closed["blockNumber"], 2)
    assert consortium.institution(3).roles == Role.AUDITOR | Role.REGULATOR
    assert (consortium.member_count(), consortium.institution_count()) == (3, 3)


def test_contracts_and_generations_are_set_by_vote(network: Network) -> None:
    consortium, journals = network.consortium, network.journals
    assert consortium.contract_at("Journals") is None
    assert consortium.contracts("Journals") == ()
    for action in (set_contract("Journals", journals.address), new_generation(2, 1, journals.address)):
        receipt = network.first.send(consortium.propose, action)
        receipt = network.second.send(consortium.vote, consortium.proposed(receipt))
        assert receipt["status"] == 1
    assert consortium.contract_at("Journals") == journals.address
    assert consortium.contracts("Journals") == (calls.ContractTerm(journals.address, receipt["blockNumber"] - 2, 0),)
    assert consortium.approved_generation(journals.address, 2) == 1
    assert network.second.send(journals.open_generation, 1)["status"] == 1
    assert journals.head(2) == calls.ChainHead(2, 1, 0, None)
    assert journals.generation(2) == 1


def test_actions_hold_only_what_their_kind_uses() -> None:
    place = account(4).address
    assert suspend(3) == Action(ActionKind.SUSPEND, institution=3)
    assert replace_sealing_key(3, place.lower()) == Action(ActionKind.REPLACE_SEALING_KEY, institution=3, account=place)
    assert contract_name("Journals") == b"Journals" + bytes(24)
    for wrong in ("", "x" * 33, "日志"):
        with pytest.raises(ValueError, match="1 to 32 ASCII characters"):
            contract_name(wrong)


@pytest.mark.parametrize(
    ("message", "data", "reason"),
    [
        ("Execution reverted (not a member)", "0x08c379a0" + encode(["string"], ["not a member"]).hex(), "not a member"),
        ("execution reverted: not a member", None, "not a member"),
        ("execution reverted", "0x", "no reason given"),
        ("execution reverted", None, "no reason given"),
        ("execution reverted", "0x08c379a0ffff", "unreadable reason"),
        ("execution reverted", "0x08c379a0zz", "unreadable reason"),
    ],
)
def test_reasons_are_read_from_any_engine(network: Network, message: str, data: str | None, reason: str) -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "error": {"code": 3, "message": message, "data": data}}
    network.provider.methods["eth_call"] = lambda *_: answer
    with pytest.raises(calls.ContractRefused) as caught:
        network.journals.head(1)
    assert caught.value.reason == reason
