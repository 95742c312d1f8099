"""The gateway before a node, here an embedded chain that is asked in its process."""

from __future__ import annotations

import json
import time

import pytest
from eth_account import Account
from forked import quick_keys
from world import PASSPHRASE, World

from anchoring.founding import sealer_key
from anchoring.gateway import READING, Gateway
from anchoring.network import NETWORK, institution_name, read_network
from contracts.actions import Role
from contracts.calls import Consortium
from ledger.home import read_keyring, read_settings
from node.client import over
from node.embedded import GAS_LIMIT, EmbeddedChain
from node.rpc import Rpc


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("gateway")).init()


class Asked:
    """A gateway over a chain, and what reached the chain."""

    def __init__(self, world: World, chain: EmbeddedChain, *, founded: bool = True) -> None:
        self.passed: list[str] = []
        rpc = Rpc(chain, lambda: None)
        network = read_network(world.chain / NETWORK) if founded else None

        def send(body: bytes) -> bytes:
            self.passed.append(json.loads(body)["method"])
            return rpc.handle_bytes(body)

        self.gateway = Gateway(send, chain.chain_id, GAS_LIMIT, lambda: network)
        self.chain_id = chain.chain_id

    def __call__(self, method: str, *params: object):
        return json.loads(self.gateway.handle_bytes(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()))

    def send(self, key: bytes, **fields: object):
        values = {"to": "0x" + "11" * 20, "value": 0, "gas": 30_000, "gasPrice": 0, "nonce": 0, "chainId": self.chain_id} | fields
        return self("eth_sendRawTransaction", "0x" + bytes(Account.sign_transaction(values, key).raw_transaction).hex())


@pytest.fixture
def asked(world):
    with quick_keys():
        sealer = sealer_key(world.chain, PASSPHRASE.encode)()
    with EmbeddedChain.open(world.chain, sealer, time.time) as chain:
        yield Asked(world, chain)


def refusal(answer) -> str:
    assert answer["error"]["code"] == -32000, answer
    return answer["error"]["message"]


def test_a_strangers_transaction_reaches_no_node(asked):
    assert refusal(asked.send(b"\x05" * 32)).startswith("only members' transactions are admitted")
    assert "eth_sendRawTransaction" not in asked.passed


def test_a_members_transaction_does(world, asked):
    with quick_keys():
        keyring = read_keyring(world.home, PASSPHRASE.encode())
    nonce = int(asked("eth_getTransactionCount", Account.from_key(keyring.sealing).address, "latest")["result"], 16)
    assert asked.send(keyring.sealing, nonce=nonce)["result"].startswith("0x")
    assert asked.passed[-1] == "eth_sendRawTransaction"


def test_during_the_founding_strangers_may_join_and_do_nothing_else(world, asked):
    consortium = Consortium(over(asked.gateway.handle_bytes), read_settings(world.home).consortium)
    joining = consortium.join(institution_name("Newcomer"), Role.HOSPITAL, nonce=0)
    key = b"\x06" * 32
    assert asked.send(key, **joining | {"gas": 3_000_000})["error"]
    assert asked.send(key, **joining | {"data": "0x12345678"})["error"]
    assert "result" in asked.send(key, **joining)


@pytest.mark.parametrize("raw", ["0x", "0xzz", "0x01", None, 7, "0x" + "f8" * 300])
def test_what_is_no_transaction_is_refused_here(asked, raw):
    assert asked("eth_sendRawTransaction", raw)["error"]["code"] == -32000
    assert asked.passed == []


@pytest.mark.parametrize(
    "method", ["eth_sendTransaction", "eth_sign", "personal_unlockAccount", "miner_start", "debug_setHead", "admin_addPeer"]
)
def test_what_changes_a_node_or_signs_is_not_there(asked, method):
    assert asked(method)["error"]["code"] == -32601 and method not in READING
    assert asked.passed == []


def test_before_the_founding_no_transaction_passes(world):
    with EmbeddedChain.open(world.chain, None, time.time) as chain:
        assert "not founded yet" in refusal(Asked(world, chain, founded=False).send(b"\x05" * 32))


def test_errors_and_results_of_the_node_come_through(asked):
    assert int(asked("eth_chainId")["result"], 16) == asked.chain_id
    answer = asked("eth_getProof", 1, 2, 3)
    assert answer["error"]["code"] == -32602
    broken = Gateway(lambda body: b"[" * 100_000, 1, GAS_LIMIT, lambda: None)
    answer = json.loads(broken.handle_bytes(b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'))
    assert refusal(answer) == "the node gave no usable answer"
