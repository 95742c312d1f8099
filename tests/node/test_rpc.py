"""JSON-RPC: every method's answer, every error code, and bounds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from assembled import CHAIN_ID, STORE, TOPIC, Sender, word
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node import json_rpc, mpt, pool, rpc
from node.clique import EPOCH, parse_extra
from node.embedded import GAS_LIMIT
from node.header import block_hash, from_rpc
from node.http_rpc import MAX_CONNECTIONS
from node.rpc import Rpc
from node.transactions import MAX_TRANSACTION

NOBODY = "0x" + "00" * 20


@pytest.fixture
def ask(chain):
    dispatcher = Rpc(chain, chain.seal)

    def ask(method, *params):
        answer = dispatcher.handle({"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)})
        assert answer["jsonrpc"] == "2.0" and answer["id"] == 7 and ("error" in answer) != ("result" in answer)
        return answer

    ask.dispatcher = dispatcher
    return ask


@pytest.fixture
def result(ask):
    def result(method, *params):
        answer = ask(method, *params)
        assert "result" in answer, answer
        return answer["result"]

    return result


@pytest.fixture
def error(ask):
    def error(method, *params):
        answer = ask(method, *params)
        assert "error" in answer, answer
        return answer["error"]["code"], answer["error"]["message"]

    return error


def hexed(value):
    return "0x" + value.hex()


def test_what_the_node_says_of_itself(result):
    assert result("web3_clientVersion").startswith("careseal/")
    assert result("net_version") == str(CHAIN_ID)
    assert result("eth_chainId") == hex(CHAIN_ID)
    assert result("eth_blockNumber") == "0x0"
    assert result("eth_syncing") is False
    assert result("eth_gasPrice") == "0x0"
    assert result("clique_getSigners") == ["0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"]


def test_a_block_is_shown_in_full(result, chain, sender, contract):
    hashes = [result("eth_sendRawTransaction", hexed(sender.sign(contract, word(1) + word(2))))]
    shown = result("eth_getBlockByNumber", "latest", False)
    assert shown == result("eth_getBlockByHash", shown["hash"], False) == result("eth_getBlockByNumber", "0x2", False)
    assert block_hash(from_rpc(shown)) == bytes.fromhex(shown["hash"][2:]) == chain.store.block_hash(2)
    assert shown["transactions"] == hashes and shown["uncles"] == [] and shown["totalDifficulty"] == "0x5"
    assert len(parse_extra(bytes.fromhex(shown["extraData"][2:])).seal) == 65 and len(shown["logsBloom"]) == 514
    header, (raw,) = chain.store.block(2).header, chain.store.block(2).transactions
    assert int(shown["size"], 16) == len(header) + len(raw) + 2 + 1 + 3  # list prefixes of the bodies, the uncles, the block
    (full,) = result("eth_getBlockByNumber", "latest", True)["transactions"]
    assert full == result("eth_getTransactionByHash", hashes[0])
    assert full["from"] == hexed(sender.address) and full["to"] == hexed(contract) and full["blockHash"] == shown["hash"]
    assert (full["nonce"], full["transactionIndex"], full["type"], full["chainId"]) == ("0x1", "0x0", "0x0", hex(CHAIN_ID))
    assert int(full["v"], 16) in (2 * CHAIN_ID + 35, 2 * CHAIN_ID + 36) and full["input"] == hexed(word(1) + word(2))
    assert result("eth_getBlockByNumber", "earliest")["number"] == "0x0"
    assert result("eth_getBlockByNumber", "0x3") is None
    assert result("eth_getBlockByNumber", "finalized") is None
    assert result("eth_getBlockByHash", hexed(word(5))) is None


def test_receipts_and_logs_fit_each_other(result, chain, sender, contract):
    listed = [{"address": hexed(contract), "storageKeys": [hexed(word(1))]}]
    other = Sender(key=b"\x66" * 32)
    for raw in (
        sender.sign(contract, word(1) + word(2)),
        other.sign(contract),
        sender.sign(contract, word(3) + word(4), type=1, accessList=listed),
        sender.deploy(STORE)[0],
    ):
        chain.submit(raw)
    chain.seal()
    receipts = result("eth_getBlockReceipts", "latest")
    hashes = result("eth_getBlockByNumber", "latest")["transactions"]
    assert [result("eth_getTransactionReceipt", item) for item in hashes] == receipts
    assert [receipt["status"] for receipt in receipts] == ["0x1", "0x0", "0x1", "0x1"]
    assert [receipt["type"] for receipt in receipts] == ["0x0", "0x0", "0x1", "0x0"]
    assert [receipt["contractAddress"] is None for receipt in receipts] == [True, True, True, False]
    assert sum(int(receipt["gasUsed"], 16) for receipt in receipts) == chain.head.gas_used == int(receipts[-1]["cumulativeGasUsed"], 16)
    assert [log["logIndex"] for receipt in receipts for log in receipt["logs"]] == ["0x0", "0x1"]
    assert all(receipt["effectiveGasPrice"] == "0x0" for receipt in receipts)
    assert result("eth_getCode", receipts[-1]["contractAddress"]) == hexed(STORE)
    typed = result("eth_getTransactionByHash", hashes[2])
    assert typed["accessList"] == listed and typed["yParity"] == typed["v"] in ("0x0", "0x1")
    logs = result("eth_getLogs", {"fromBlock": "0x0"})
    assert logs == [log for receipt in receipts for log in receipt["logs"]]
    assert logs[1]["transactionHash"] == hashes[2] and logs[1]["topics"] == [hexed(TOPIC), hexed(word(3))] and not logs[1]["removed"]
    assert result("eth_getTransactionReceipt", hexed(word(1))) is None
    assert result("eth_getTransactionByHash", hexed(word(1))) is None
    assert result("eth_getBlockReceipts", "0x99") is None


def test_logs_are_found_by_address_topic_and_range(result, error, chain, sender, contract, monkeypatch):
    for number in range(2, 6):
        chain.submit(sender.sign(contract, word(number) + word(0)))
        chain.seal()

    def numbers(**asked):
        return [int(log["blockNumber"], 16) for log in result("eth_getLogs", {"fromBlock": "0x0", **asked})]

    head = result("eth_getBlockByNumber", "0x3")["hash"]
    assert numbers() == [2, 3, 4, 5]
    assert [log["blockNumber"] for log in result("eth_getLogs", {})] == ["0x5"]
    assert numbers(address=hexed(contract)) == numbers(address=[NOBODY, hexed(contract)]) == [2, 3, 4, 5]
    assert numbers(address=NOBODY) == []
    assert numbers(fromBlock="0x3", toBlock="0x4") == [3, 4]
    assert numbers(fromBlock="0x4", toBlock="0xffff") == [4, 5]
    assert numbers(topics=[hexed(TOPIC)]) == numbers(topics=[None]) == numbers(topics=[[]]) == [2, 3, 4, 5]
    assert numbers(topics=[None, hexed(word(4))]) == [4]
    assert numbers(topics=[hexed(TOPIC), [hexed(word(2)), hexed(word(5))]]) == [2, 5]
    assert numbers(topics=[hexed(word(4))]) == numbers(topics=[None, None, None]) == []
    assert [log["blockNumber"] for log in result("eth_getLogs", {"blockHash": head})] == ["0x3"]
    assert error("eth_getLogs", {"blockHash": hexed(word(1))}) == (-32000, "header not found")
    assert error("eth_getLogs", {"blockHash": head, "toBlock": "latest"})[0] == -32602
    assert error("eth_getLogs", {"fromBlock": "0x4", "toBlock": "0x3"})[0] == -32602
    assert error("eth_getLogs", {"fromBlock": "0x99"})[0] == -32602
    assert error("eth_getLogs", {"toBlock": "finalized"})[0] == -32000
    monkeypatch.setattr(rpc, "MAX_LOGS", 3)
    assert error("eth_getLogs", {"fromBlock": "0x0"}) == (-32000, "more than 3 logs match; ask for a smaller range")
    monkeypatch.setattr(rpc, "MAX_LOG_RANGE", 5)
    assert error("eth_getLogs", {"fromBlock": "0x0"}) == (-32000, "the range exceeds 5 blocks; ask for fewer at a time")


def test_state_is_read_and_proved_at_every_block(result, error, chain, sender, contract):
    for value in (7, 8):
        result("eth_sendRawTransaction", hexed(sender.sign(contract, word(1) + word(value))))
    where = hexed(contract)
    for block, value in (("0x1", 0), ("0x2", 7), ("0x3", 8), ("latest", 8), ("pending", 8), ({"blockNumber": "0x2"}, 7),
                         (result("eth_getBlockByNumber", "0x2")["hash"], 7),
                         ({"blockHash": result("eth_getBlockByNumber", "0x2")["hash"], "requireCanonical": True}, 7)):
        assert int(result("eth_getStorageAt", where, "0x1", block), 16) == value
        proof = result("eth_getProof", where, ["0x1", hexed(word(1)), "0x5"], block)
        number = block if isinstance(block, str) and len(block) < 10 else "0x2"
        root = bytes.fromhex(result("eth_getBlockByNumber", number)["stateRoot"][2:])
        account = mpt.verify_account(root, contract, [bytes.fromhex(node[2:]) for node in proof["accountProof"]])
        assert hexed(account.storage_root) == proof["storageHash"] and hexed(account.code_hash) == proof["codeHash"]
        assert [entry["key"] for entry in proof["storageProof"]] == ["0x1", hexed(word(1)), "0x5"]
        for entry, slot in zip(proof["storageProof"], (1, 1, 5), strict=True):
            nodes = [bytes.fromhex(node[2:]) for node in entry["proof"]]
            assert mpt.verify_storage(account.storage_root, word(slot), nodes) == int(entry["value"], 16)
    nobody = result("eth_getProof", NOBODY, [hexed(word(0))])
    assert (nobody["balance"], nobody["nonce"], nobody["storageProof"][0]["proof"]) == ("0x0", "0x0", [])
    assert mpt.verify_account(chain.head.state_root, bytes(20), [bytes.fromhex(node[2:]) for node in nobody["accountProof"]]) \
        == mpt.NO_ACCOUNT
    assert result("eth_getBalance", where) == "0x0" and result("eth_getCode", where) == hexed(STORE)
    assert result("eth_getCode", where, "earliest") == "0x"
    assert result("eth_getTransactionCount", hexed(sender.address), "0x1") == "0x1"
    for block in ("0x4", hexed(word(9)), "safe", "finalized", {"blockHash": hexed(word(9))}):
        assert error("eth_getBalance", where, block) == (-32000, "header not found")


def test_the_pool_is_visible_as_pending(chain, sender):
    dispatcher = Rpc(chain, lambda: None)

    def ask(method, *params):
        return dispatcher.handle({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})["result"]

    sent = ask("eth_sendRawTransaction", hexed(sender.sign(bytes(20))))
    assert ask("eth_getTransactionCount", hexed(sender.address)) == "0x0"
    assert ask("eth_getTransactionCount", hexed(sender.address), "pending") == "0x1"
    waiting = ask("eth_getTransactionByHash", sent)
    assert waiting["blockHash"] is None and waiting["hash"] == sent and ask("eth_getTransactionReceipt", sent) is None
    chain.seal()
    assert ask("eth_getTransactionByHash", sent)["blockNumber"] == "0x1"


def test_calls_and_their_errors(ask, result, error, chain, sender, contract):
    where = hexed(contract)
    assert result("eth_call", {"to": where, "data": hexed(word(1) + word(9))}) == hexed(word(9))
    assert result("eth_call", {"to": where, "input": hexed(word(1) + word(9)), "gas": "0xffffffffff", "from": NOBODY}, "latest")
    assert result("eth_call", {"to": where, "data": "0x"}, "earliest") == "0x"
    reverted = ask("eth_call", {"to": where})["error"]
    assert reverted["code"] == 3 and reverted["message"] == "execution reverted: refused" and reverted["data"].startswith("0x08c379a0")
    assert error("eth_estimateGas", {"to": where})[0] == 3
    assert error("eth_call", {"to": where, "value": "0x1"}) == (-32000, "insufficient funds for transfer")
    assert error("eth_call", {"to": where, "data": hexed(word(1)), "gas": "0x5300"}) == (-32000, "out of gas")
    assert 43_000 < int(result("eth_estimateGas", {"to": where, "data": hexed(word(1) + word(9))}), 16) < 60_000
    assert error("eth_sendRawTransaction", hexed(sender.sign(contract, nonce=9)))[1].startswith("nonce too high")


@pytest.mark.parametrize(("method", "params"), [
    ("eth_getBalance", []),
    ("eth_getBalance", ["0x00"]),
    ("eth_getBalance", [NOBODY[2:]]),
    ("eth_getBalance", [NOBODY, "0x01"]),
    ("eth_getBalance", [NOBODY, "0x"]),
    ("eth_getBalance", [NOBODY, 1]),
    ("eth_getBalance", [NOBODY, "newest"]),
    ("eth_getBalance", [NOBODY, {}]),
    ("eth_getBalance", [NOBODY, {"blockHash": "0x1"}]),
    ("eth_getBalance", [NOBODY, "0x1", "0x2"]),
    ("eth_getBalance", [NOBODY, "0x1" + "0" * 16]),
    ("eth_getBalance", [NOBODY, None]),
    ("eth_getStorageAt", [NOBODY, "0x1" + "0" * 64]),
    ("eth_getStorageAt", [NOBODY, "5"]),
    ("eth_getStorageAt", [NOBODY, 5]),
    ("eth_getProof", [NOBODY, "0x1"]),
    ("eth_getProof", [NOBODY, ["0x1"] * 1025]),
    ("eth_getProof", [NOBODY, [1]]),
    ("eth_getTransactionReceipt", ["0x1234"]),
    ("eth_getTransactionByHash", [7]),
    ("eth_getBlockByNumber", ["latest", "yes"]),
    ("eth_getBlockByHash", ["latest"]),
    ("eth_call", ["0x"]),
    ("eth_call", [{"to": NOBODY, "gasLimit": "0x1"}]),
    ("eth_call", [{"to": "0x1"}]),
    ("eth_call", [{"to": NOBODY, "data": "0x1"}]),
    ("eth_call", [{"to": NOBODY, "data": "0x01", "input": "0x02"}]),
    ("eth_call", [{"to": NOBODY, "value": "1"}]),
    ("eth_call", [{"to": NOBODY, "value": "0x1" + "0" * 64}]),
    ("eth_sendRawTransaction", ["deadbeef"]),
    ("eth_getLogs", [[]]),
    ("eth_getLogs", [{"topics": "0x"}]),
    ("eth_getLogs", [{"topics": [None] * 5}]),
    ("eth_getLogs", [{"topics": ["0x12"]}]),
    ("eth_getLogs", [{"topics": [["0x" + "00" * 32] * 1001]}]),
    ("eth_getLogs", [{"address": "0x12"}]),
    ("eth_getLogs", [{"address": [NOBODY] * 1001}]),
    ("eth_getLogs", [{"limit": 5}]),
])
def test_parameters_that_cannot_be_read_are_32602(error, method, params):
    code, message = error(method, *params)
    assert code == -32602 and message.startswith("invalid params: ")


@pytest.mark.parametrize("method", ["eth_mining", "personal_unlockAccount", "admin_peers", "eth_accounts", "eth_sendTransaction",
                                    "eth_sign", "debug_setHead", "miner_start", "", "__init__", "x" * 5000])
def test_other_methods_do_not_exist(error, method):
    code, message = error(method)
    assert code == -32601 and len(message) < 150


@pytest.mark.parametrize(("request_", "code"), [
    (5, -32600), (None, -32600), ("eth_chainId", -32600), ({}, -32600), ([], -32600), ([1], -32600),
    ({"jsonrpc": "1.0", "id": 1, "method": "eth_chainId"}, -32600),
    ({"jsonrpc": "2.0", "id": 1, "method": 5}, -32600),
    ({"jsonrpc": "2.0", "id": {}, "method": "eth_chainId"}, -32600),
    ({"jsonrpc": "2.0", "id": True, "method": "eth_chainId"}, -32600),
    ({"jsonrpc": "2.0", "id": 1e999, "method": "eth_chainId"}, -32600),
    ({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": {"a": 1}}, -32602),
    ({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [1]}, -32602),
    ([{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}] * 101, -32600),
])
def test_requests_that_are_none_are_refused(ask, request_, code):
    answer = ask.dispatcher.handle(request_)
    answer = answer[0] if isinstance(answer, list) else answer
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(("body", "code"), [
    (b"", -32700), (b"{", -32700), (b"\xff", -32700), (b'{"id": NaN}', -32700), (b"1" * 5000, -32700), (b"[" * 4_000, -32700),
    (b"[" * 30_000, -32600), (b"{}" * 3_000_000, -32600), (b'{"a":' * 4_000 + b"1" + b"}" * 4_000, -32600),
])
def test_bytes_that_are_no_request_are_refused(ask, body, code):
    assert json.loads(ask.dispatcher.handle_bytes(body))["error"]["code"] == code


def test_batches_and_notifications(ask):
    one = {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId"}
    silent = {"jsonrpc": "2.0", "method": "eth_chainId"}
    bad = {"jsonrpc": "2.0", "id": None, "method": "eth_unknown"}
    handle = ask.dispatcher.handle
    assert handle(silent) is None and handle([silent, silent]) is None and ask.dispatcher.handle_bytes(json.dumps(silent).encode()) == b""
    answers = handle([one, silent, bad, 7])
    assert [answer["id"] for answer in answers] == ["a", None, None]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32601, -32600]
    assert json.loads(ask.dispatcher.handle_bytes(json.dumps([one] * 100).encode())) == [
        {"jsonrpc": "2.0", "id": "a", "result": hex(CHAIN_ID)}
    ] * 100


# whatever is asked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.sampled_from(["latest", "0x1", "0x", NOBODY, "0x" + "11" * 32, "0x0", "pending", "safe", "blockHash", "to", "data", "0xzz"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["to", "from", "data", "gas", "value", "topics", "address", "fromBlock", "toBlock", "blockHash",
                                       "blockNumber", "id", "method", "jsonrpc", "params"]) | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def well_formed(answer):
    if isinstance(answer, list):
        return bool(answer) and all(well_formed(item) and not isinstance(item, list) for item in answer)
    if set(answer) == {"jsonrpc", "id", "error"}:
        failure = answer["error"]
        return failure["code"] in (-32700, -32600, -32601, -32602, -32000, 3) and isinstance(failure["message"], str)
    return set(answer) == {"jsonrpc", "id", "result"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON | st.lists(JSON, max_size=3))
def test_any_json_is_answered_well(ask, request_):
    answer = ask.dispatcher.handle(request_)
    assert answer is not None and well_formed(answer)
    json.dumps(answer, allow_nan=False)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.lists(JSON, max_size=4))
def test_any_parameters_are_answered_well(ask, contract, data, params):
    method = data.draw(st.sampled_from(sorted(ask.dispatcher._methods)))
    if params and data.draw(st.booleans()):
        params[0] = hexed(contract)
    answer = ask.dispatcher.handle({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert well_formed(answer)
    json.dumps(answer, allow_nan=False)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_answered_well(ask, body):
    assert well_formed(json.loads(ask.dispatcher.handle_bytes(body)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120))
def test_any_code_is_executed_or_fails_with_an_error(ask, code):
    answer = ask("eth_call", {"data": hexed(code), "gas": hex(200_000)})
    assert well_formed(answer)


def test_the_documented_methods_are_the_real_ones(ask):
    text = (Path(__file__).parents[2] / "docs" / "chain.md").read_text()
    assert set(re.findall(r"`((?:web3|net|eth|clique)_\w+)`", text)) == set(ask.dispatcher._methods)
    counts = (json_rpc.MAX_CONTAINERS, rpc.MAX_LOGS, rpc.MAX_LOG_RANGE, pool.MAX_TRANSACTIONS, GAS_LIMIT, EPOCH)
    sizes = (f"{json_rpc.MAX_REQUEST >> 20} MB", f"{pool.MAX_BYTES >> 20} MB", f"{MAX_TRANSACTION >> 10} kB")
    for bound in (*(f"{count:,}" for count in counts), *sizes, f"{json_rpc.MAX_BATCH} requests", f"{MAX_CONNECTIONS} connections"):
        assert bound in text, bound
