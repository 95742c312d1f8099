"""web3.py against a chain opened in-process, and served over HTTP."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from assembled import CHAIN_ID, SEALER_KEY, STORE, TOPIC, Hurried, Sender, word
from eth_utils import to_checksum_address
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError

from node import mpt
from node.client import connect
from node.embedded import EmbeddedChain
from node.errors import ChainLocked, ChainMissing, NodeUnreachable
from node.header import block_hash, from_rpc
from node.http_rpc import Listener
from node.rpc import Rpc
from node.server import ENDPOINT, Server, serve


@pytest.fixture
def path(directory):
    EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()).close()
    return directory


@pytest.fixture(params=["in-process", "served directory", "url"])
def web3(request, path):
    if request.param == "in-process":
        with connect(path, lambda: SEALER_KEY, Hurried()) as connection:
            yield connection
        return
    by_url = request.param == "url"
    with serve(path, SEALER_KEY, Hurried()) as server, connect(server.url if by_url else path, None, Hurried()) as connection:
        assert connection.provider.endpoint_uri == server.url
        yield connection


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_of_several_nodes_the_next_is_asked_when_one_ends(path):
    """Both serve one chain, as two nodes of a network do."""
    with EmbeddedChain.open(path, SEALER_KEY, Hurried()) as chain:
        asked, ended = [], set()

        def node(name: str) -> Listener:
            def answer(body: bytes) -> bytes:
                asked.append(name)
                if name in ended:
                    sys.exit()  # ends the thread of the connection without an answer
                return Rpc(chain, chain.seal).handle_bytes(body)

            return Listener(answer, "127.0.0.1", 0)

        nodes = node("first"), node("second")
        try:
            for one in nodes:
                one.start()
            urls = ",".join(one.url for one in nodes)
            with connect(f"http://127.0.0.1:1,{urls}", None, Hurried()) as web3:
                assert web3.eth.block_number == 0 and set(asked) == {"first"}
                ended.add("first")
                assert web3.eth.chain_id == CHAIN_ID and asked[-1] == "second"
                ended.clear()
                assert web3.eth.block_number == 0 and asked[-1] == "second"
                ended.update(("first", "second"))
                with pytest.raises(NodeUnreachable, match="cannot be reached"):
                    _ = web3.eth.block_number
                ended.remove("first")
                assert web3.eth.block_number == 0 and asked[-1] == "first"
            ended.add("first")
            with pytest.raises(NodeUnreachable, match="cannot be reached"), connect(urls, None, Hurried()):
                pass
        finally:
            for one in nodes:
                one.close()


def test_a_contract_is_deployed_called_and_proved(web3, sender):
    assert web3.eth.chain_id == CHAIN_ID and web3.eth.gas_price == 0 and web3.eth.syncing is False
    raw, address = sender.deploy(STORE)
    contract = to_checksum_address(address)
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw), poll_latency=0.02)
    assert receipt["status"] == 1 and receipt["contractAddress"] == contract and receipt["blockNumber"] == 1
    assert bytes(web3.eth.get_code(contract)) == STORE

    sent = web3.eth.send_raw_transaction(sender.sign(address, word(5) + word(77)))
    receipt = web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.02)
    (log,) = receipt["logs"]
    assert log["address"] == contract and [bytes(topic) for topic in log["topics"]] == [TOPIC, word(5)]
    assert bytes(log["data"]) == word(77)
    assert web3.eth.get_logs({"address": contract, "fromBlock": 0, "topics": [TOPIC]}) == [log]
    assert int.from_bytes(web3.eth.get_storage_at(contract, 5), "big") == 77
    assert bytes(web3.eth.call({"to": contract, "data": word(1) + word(9)})) == word(9)

    block = web3.eth.get_block("latest")
    assert block["number"] == 2 and block["transactions"] == [sent] and len(block["proofOfAuthorityData"]) == 97
    header = from_rpc(block)
    assert block_hash(header) == block["hash"]
    proof = web3.eth.get_proof(contract, [5, 6], block["number"])
    account = mpt.verify_account(header.state_root, address, [bytes(node) for node in proof["accountProof"]])
    assert account.storage_root == proof["storageHash"] and account.nonce == proof["nonce"] == 1
    for slot, value in ((5, 77), (6, 0)):
        nodes = [bytes(node) for node in proof["storageProof"][slot - 5]["proof"]]
        assert mpt.verify_storage(account.storage_root, word(slot), nodes) == value

    assert web3.eth.get_transaction(sent)["from"] == sender.account.address
    assert web3.eth.get_transaction_count(sender.account.address) == 2
    gas = web3.eth.estimate_gas({"to": contract, "data": word(8) + word(1)})
    assert 44_000 < gas < 60_000


def test_reverts_carry_their_reason(web3, sender):
    raw, address = sender.deploy(STORE)
    web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw), poll_latency=0.02)
    with pytest.raises(ContractLogicError, match="refused") as caught:
        web3.eth.call({"to": to_checksum_address(address)})
    assert caught.value.data.startswith("0x08c379a0")
    sent = web3.eth.send_raw_transaction(sender.sign(address))
    assert web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.02)["status"] == 0


def test_refused_transactions_say_why(web3, sender):
    with pytest.raises(Web3RPCError, match="nonce too high"):
        web3.eth.send_raw_transaction(sender.sign(nonce=3))
    with pytest.raises(Web3RPCError, match="invalid chain id"):
        web3.eth.send_raw_transaction(sender.sign(nonce=0, chainId=CHAIN_ID + 1))
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt(bytes(32))


def test_batches_are_answered_in_order(web3):
    with web3.batch_requests() as batch:
        batch.add(web3.eth.get_block(0))
        batch.add(web3.eth.get_balance("0x" + "00" * 20))
        genesis, balance = batch.execute()
    assert genesis["number"] == 0 and balance == 0


def test_without_a_key_the_chain_can_be_read_but_not_extended(path, sender):
    with connect(path, None, Hurried()) as web3:
        assert web3.eth.block_number == 0
        with pytest.raises(Web3RPCError, match="without the sealer's key"):
            web3.eth.send_raw_transaction(sender.sign())


def test_a_held_lock_is_waited_for_and_then_named(path):
    with EmbeddedChain.open(path, None, Hurried()) as holder:
        with pytest.raises(ChainLocked, match=r"process .* has the chain in .* open"), connect(path, None, Hurried(), wait=0.3):
            pass
        threading.Timer(0.5, holder.close).start()
        with connect(path, None, Hurried(), wait=5) as web3:
            assert web3.eth.block_number == 0


def test_a_server_that_starts_while_the_lock_is_held_is_found(path):
    chain = EmbeddedChain.open(path, SEALER_KEY, Hurried())
    servers = []
    timer = threading.Timer(0.4, lambda: servers.append(Server(chain)))
    timer.start()
    try:
        with connect(path, None, Hurried(), wait=5) as web3:
            assert web3.provider.endpoint_uri == servers[0].url
    finally:
        timer.join()
        servers[0].close()
        chain.close()


@pytest.mark.parametrize("content", [
    b"", b"garbage", b"[]", b'{"url": 5}', b'{"url": "http://127.0.0.1:1", "pid": 1, "genesis": "0x00"}',
    b'{"url": "ftp://x", "pid": 1}', b'{"url": "http://[", "pid": 1}',
])
def test_a_stale_endpoint_file_is_ignored(path, content):
    (path / ENDPOINT).write_bytes(content)
    with connect(path, None, Hurried()) as web3:
        assert web3.eth.block_number == 0


def test_an_endpoint_file_that_names_another_chain_is_ignored(path, tmp_path):
    other = tmp_path / "other"
    EmbeddedChain.create(other, CHAIN_ID, SEALER_KEY, Hurried(5e8)).close()
    with serve(other, SEALER_KEY, Hurried()) as server:
        announced = json.loads((other / ENDPOINT).read_text())
        own = EmbeddedChain.open(path, None, Hurried())
        own_genesis = "0x" + block_hash(own.genesis).hex()
        own.close()
        (path / ENDPOINT).write_text(json.dumps({**announced, "genesis": own_genesis}))
        with connect(path, None, Hurried()) as web3:
            assert "0x" + bytes(web3.eth.get_block(0)["hash"]).hex() == own_genesis != announced["genesis"]
        assert server.failure is None


def test_a_missing_directory_is_said_to_be_missing(tmp_path):
    with pytest.raises(ChainMissing, match="create one with init"), connect(tmp_path / "nowhere", None, Hurried()):
        pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://user:secret@127.0.0.1:1/?key=secret"])
def test_an_unreachable_node_is_one_line_without_credentials(url):
    with (
        pytest.raises(NodeUnreachable, match=r"http://127\.0\.0\.1:1.* cannot be reached; start the node") as caught,
        connect(url, None, Hurried()),
    ):
        pass
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host", "http://", "ws://127.0.0.1:8546", "http://host:99999", "http://[::1"])
def test_other_addresses_are_refused(url):
    with pytest.raises(NodeUnreachable, match="http://host:port, https"), connect(url, None, Hurried()):
        pass


def test_a_node_that_goes_away_is_reported_by_the_next_request(path):
    with serve(path, SEALER_KEY, Hurried()) as server:
        entered = connect(server.url, None, Hurried())
        web3 = entered.__enter__()
        assert web3.eth.block_number == 0
    web3.provider._session.close()
    with pytest.raises(NodeUnreachable, match="cannot be reached"):
        web3.eth.get_block("latest")
    entered.__exit__(None, None, None)


@pytest.mark.parametrize(("status", "body", "message"), [
    (200, b"<html>hello</html>", "does not answer as a node does"),
    (200, b"[1]", "does not answer as a node does"),
    (200, b'{"result": 5}', "does not answer as a node does"),
    (404, b"{}", "HTTP status 404"),
])
def test_something_else_than_a_node_is_not_taken_for_one(status, body, message):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(NodeUnreachable, match=message), connect(url, None, Hurried()):
            pass
        server.shutdown()


def test_two_web3_connections_send_through_one_server(path):
    senders = [Sender(key=bytes([40 + i]) * 32) for i in range(4)]
    failures = []

    def send(sender, url):
        try:
            with connect(url, None, Hurried()) as web3:
                for _ in range(5):
                    sent = web3.eth.send_raw_transaction(sender.sign(bytes(20)))
                    assert web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.02)["status"] == 1
        except Exception as error:
            failures.append(error)

    with serve(path, SEALER_KEY, Hurried()) as server:
        threads = [threading.Thread(target=send, args=(sender, server.url)) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
