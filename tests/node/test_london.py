"""London's rules: what a chain of them leads to here is what geth makes of it, and what a follower is given of it is what was sealed."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
import rlp
from assembled import BURN, CHAIN_ID, SEALER_KEY, STORE, VANISH, WITNESS, Sender, deployer, word
from eth.vm.forks.london.transactions import LondonTransactionBuilder as Builder
from eth_account import Account
from eth_utils import keccak, to_checksum_address
from geth_network import heads_after_import, needs_geth

from node import clique, execution
from node.errors import ExportInvalid
from node.execution import Surroundings
from node.followed import FollowedChain
from node.genesis import Rules, rules_of
from node.given import transactions_of
from node.header import EMPTY_UNCLES_HASH, Header, encode
from node.networks.geth import FORKS
from node.rpc import ReadRpc
from node.walk import Step, Walk

KEY = bytes.fromhex("44" * 32)
RICH = Account.from_key(KEY).address
GAS_LIMIT, GWEI = 2_000_000, 10**9


class Chain:
    """A chain of one Clique sealer that is sealed here, block by block, as `FollowedChain` stores it."""

    def __init__(self, folder, base_fee: int, *, free: bool = False) -> None:
        sealer = clique.address_of(SEALER_KEY)
        config = {"chainId": CHAIN_ID, **{f"{fork}Block": 0 for fork in FORKS}, "londonBlock": 0, "clique": {"period": 1, "epoch": 30_000}}
        self.genesis = {
            "config": config | ({"zeroBaseFee": True} if free else {}), "difficulty": "0x1", "gasLimit": hex(GAS_LIMIT),
            "extraData": "0x" + clique.unsealed_extra(0, [sealer]).hex(), "timestamp": hex(int(time.time()) - 1000),
            "baseFeePerGas": hex(base_fee), "alloc": {RICH[2:]: {"balance": hex(10**18)}},
        }  # fmt: skip
        self.rules = rules_of("clique", self.genesis)
        self.chain, self.sealer, self.fees = FollowedChain.create(folder, "clique", self.genesis), sealer, []

    def seal(self, *raws: bytes) -> execution.Outcome:
        walk = self.chain.walk_at(self.chain.head.number)
        number, timestamp, fee = walk.head.number + 1, walk.head.timestamp + 1, self.rules.base_fee(walk.head)
        around = Surroundings(CHAIN_ID, number, timestamp, 2, GAS_LIMIT, self.sealer, lambda: tuple(walk.ancestors), fee)
        outcome = execution.execute(walk.nodes, walk.head.state_root, around, [Builder.decode(raw) for raw in raws])
        assert not outcome.refused and len(outcome.transactions) == len(raws)
        made = clique.seal(Header(
            walk.hash, EMPTY_UNCLES_HASH, bytes(20), outcome.state_root, outcome.transactions_root, outcome.receipts_root, outcome.bloom, 2,
            number, GAS_LIMIT, outcome.gas_used, timestamp, clique.unsealed_extra(number, [self.sealer]), bytes(32), bytes(8), fee,
        ), SEALER_KEY)  # fmt: skip
        step, _ = walk.sealed(made)
        self.chain.append([Step(made, step.hash, outcome.transactions, outcome.receipts, outcome.nodes, step.sealers)])
        self.fees.append(fee)
        return outcome


def dynamic(nonce: int, to: bytes, data: bytes = b"", **fields) -> bytes:
    """A transaction of type 2."""
    values = {
        "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "gas": 900_000, "maxFeePerGas": 3 * GWEI, "maxPriorityFeePerGas": GWEI,
        "to": to_checksum_address(to) if to else b"", "value": 0, "data": data, "accessList": [], **fields,
    }  # fmt: skip
    return bytes(Account.sign_transaction(values, KEY).raw_transaction)


def paid(folder) -> Chain:
    """Fees are paid and burned, slots are cleared, contracts vanish, and blocks above and below their target move the base fee."""
    made = Chain(folder, GWEI)
    addresses = [rlp_address(nonce) for nonce in range(4)]
    made.seal(*(dynamic(nonce, b"", deployer(code)) for nonce, code in enumerate((STORE, WITNESS))))
    made.seal(*(dynamic(nonce, b"", deployer(code)) for nonce, code in enumerate((VANISH, BURN), 2)))
    listed = [{"address": "0x" + addresses[0].hex(), "storageKeys": ["0x" + word(1).hex()]}]
    made.seal(
        dynamic(4, addresses[0], word(1) + word(7)),
        dynamic(5, addresses[0], word(1) + word(0), accessList=listed),  # a refund, smaller than before London
    )
    made.seal(dynamic(6, addresses[2]), dynamic(7, addresses[3], gas=1_500_000))  # none for what vanishes; all gas is burned
    made.seal(
        dynamic(8, b"", bytes.fromhex("60ef60005360016000f3"), gas=100_000),  # code that begins with 0xef fails
        dynamic(9, b"", bytes.fromhex("4860005260206000f3"), gas=100_000),  # leaves the base fee as its code
        dynamic(10, bytes(20), value=5, maxPriorityFeePerGas=0),
    )
    made.seal()
    made.seal(dynamic(11, addresses[1]))
    return made


def free(folder) -> Chain:
    """Nobody pays, as institutions do not."""
    sender, made = Sender(), Chain(folder, 0)
    raw, store = sender.deploy(STORE)
    made.seal(raw)
    made.seal(sender.sign(store, word(1) + word(7)), sender.sign(store, word(1) + word(0)))
    return made


def rlp_address(nonce: int) -> bytes:
    return keccak(rlp.encode([bytes.fromhex(RICH[2:]), nonce]))[12:]


@needs_geth
@pytest.mark.parametrize("make", [paid, free])
def test_geth_accepts_every_block_and_reaches_the_same_head(tmp_path, make):
    made = make(tmp_path / "chain")
    stored = [made.chain.store.block(number) for number in range(made.chain.head.number + 1)]
    heads = heads_after_import(tmp_path, made.genesis, stored)
    assert f"0x{stored[0].hash.hex()}0x{stored[-1].hash.hex()}" in heads
    made.chain.close()


def shown(made: Chain, number: int):
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": [hex(number), True]}
    return json.loads(ReadRpc(made.chain).handle_bytes(json.dumps(request).encode()))["result"]


def test_what_a_node_shows_of_it_is_re_executed(tmp_path):
    made = paid(tmp_path / "chain")
    steps = list(pairwise(made.fees))
    assert any(new > old for old, new in steps) and any(new < old for old, new in steps)
    walk = Walk.begin(made.rules, made.genesis)
    for number in range(1, made.chain.head.number + 1):
        block = shown(made, number)
        walk.go(walk.check(block))
        assert block["baseFeePerGas"] == hex(made.fees[number - 1])
    assert walk.hash == made.chain.store.block(made.chain.head.number).hash
    sent = shown(made, 3)["transactions"][0]
    assert (sent["type"], sent["maxFeePerGas"], sent["gasPrice"]) == ("0x2", hex(3 * GWEI), hex(made.fees[2] + GWEI))
    with pytest.raises(ExportInvalid, match="of a type that the chain's rules do not know"):
        transactions_of(shown(made, 3), CHAIN_ID)
    made.chain.close()


@pytest.mark.parametrize("fee", [None, 0, GWEI, GWEI + 1])
def test_another_base_fee_than_the_rules_give_is_refused(tmp_path, fee):
    made = Chain(tmp_path / "chain", GWEI)
    expected = made.rules.base_fee(made.chain.walk_at(0).head)
    made.rules = type("Wrong", (), {"base_fee": lambda self, parent: fee})()
    with pytest.raises(ExportInvalid, match="base fee"):
        made.seal()
    assert fee != expected
    made.chain.close()


def test_a_network_with_zero_base_fee_stays_free_whatever_its_blocks_hold():
    rules = Rules("qbft", 1, 1, 30_000, london=True, free=True)
    full = Header(
        bytes(32), EMPTY_UNCLES_HASH, bytes(20), bytes(32), bytes(32), bytes(32), bytes(256), 1, 0, GAS_LIMIT, GAS_LIMIT, 0, b"", bytes(32),
        bytes(8), GWEI,
    )  # fmt: skip
    assert rules.base_fee(full) == 0 and len(encode(full)) > 500
    assert Rules("qbft", 1, 1, 30_000, london=True).base_fee(full) == GWEI + GWEI // 8
    assert Rules("qbft", 1, 1, 30_000).base_fee(full) is None
