"""The HTTP server: who may use it, what it refuses, how it announces itself, and several processes at once."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from assembled import CHAIN_ID, RECURSE, SEALER_KEY, STORE, Hurried, Sender, word

from node import header, http_rpc, server
from node.embedded import EmbeddedChain
from node.errors import ChainError, ChainLocked, ChainUnwritable
from node.json_rpc import MAX_REQUEST
from node.server import ENDPOINT, Server, read_endpoint, serve

QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
HEADERS = {"Content-Type": "application/json"}

SEND_IN_CHILD = """
import sys
from pathlib import Path
from assembled import Hurried, Sender, word
from node.client import connect

sender = Sender(key=bytes.fromhex(sys.argv[2]))
with connect(Path(sys.argv[1]), None, Hurried()) as web3:
    assert web3.provider.endpoint_uri
    for number in range(12):
        sent = web3.eth.send_raw_transaction(sender.sign(bytes.fromhex(sys.argv[3]), sender.address.rjust(32, b"\\0") + word(number + 1)))
    assert web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.05)["status"] == 1
"""


@pytest.fixture
def served(directory):
    EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()).close()
    with serve(directory, SEALER_KEY, Hurried()) as running:
        yield running


def post(running, body, headers=HEADERS, method="POST"):
    connection = http.client.HTTPConnection("127.0.0.1", int(running.url.rsplit(":", 1)[1]), timeout=10)
    try:
        connection.request(method, "/", body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def raw(running, request):
    with socket.create_connection(("127.0.0.1", int(running.url.rsplit(":", 1)[1])), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_a_request_is_answered_and_the_connection_kept(served):
    connection = http.client.HTTPConnection("127.0.0.1", int(served.url.rsplit(":", 1)[1]), timeout=10)
    started = time.monotonic()
    for _ in range(20):
        connection.request("POST", "/", json.dumps(QUESTION), HEADERS)
        answer = connection.getresponse()
        assert answer.status == 200 and json.loads(answer.read())["result"] == hex(CHAIN_ID)
    connection.close()
    assert time.monotonic() - started < 0.5, "no answer waits for a delayed acknowledgement"
    assert post(served, [QUESTION] * 3)[0] == 200
    assert post(served, {"jsonrpc": "2.0", "method": "eth_chainId"}) == (200, b"")


@pytest.mark.parametrize(("headers", "status"), [
    ({**HEADERS, "Host": "evil.example"}, 403),
    ({**HEADERS, "Host": "evil.example:8545"}, 403),
    ({**HEADERS, "Host": ""}, 403),
    ({**HEADERS, "Host": "127.0.0.1.evil.example"}, 403),
    ({**HEADERS, "Host": "[::1]:8545"}, 200),
    ({**HEADERS, "Host": "LOCALHOST"}, 200),
    ({"Content-Type": "text/plain"}, 415),
    ({}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ({**HEADERS, "Content-Length": str(MAX_REQUEST + 1)}, 413),
    ({**HEADERS, "Content-Length": "9" * 30}, 413),
    ({**HEADERS, "Content-Length": "-1"}, 411),
    ({**HEADERS, "Content-Length": "٣"}, 411),
    ({**HEADERS, "Transfer-Encoding": "chunked"}, 411),
])
def test_requests_that_a_web_page_or_an_attacker_could_make_are_refused(served, headers, status):
    body = json.dumps(QUESTION).encode()
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
    request = "POST / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "Connection: close\r\n\r\n"
    answer = raw(served, request.encode() + body)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"access-control-allow-origin" not in answer.lower()


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT", "DELETE", "HEAD"])
def test_other_methods_are_refused(served, method):
    assert post(served, b"", method=method)[0] == 405


@pytest.mark.parametrize("request_", [
    b"", b"\r\n\r\n", b"garbage\r\n\r\n", b"POST / HTTP/9\r\n\r\n", b"\xff\xfe\0" * 50, b"GET " + b"a" * 70_000,
    b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
])
def test_garbage_harms_nobody(served, request_):
    raw(served, request_)
    assert post(served, QUESTION)[0] == 200


def test_connections_are_bounded(served, monkeypatch):
    port = int(served.url.rsplit(":", 1)[1])
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(http_rpc.MAX_CONNECTIONS)]
    try:
        for _ in range(50):
            try:
                status, _ = post(served, QUESTION)
            except ConnectionError:
                continue
            if status == 503:
                break
        assert status == 503
    finally:
        for connection in held:
            connection.close()
    for _ in range(50):
        if post(served, QUESTION)[0] == 200:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the places were not given back")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
def test_only_loopback_is_served(chain, host):
    with pytest.raises(ChainError, match="refusing to serve"):
        Server(chain, host)


def test_other_addresses_need_to_be_asked_for(chain):
    running = Server(chain, "0.0.0.0", allow_remote=True)  # noqa: S104
    try:
        assert post(running, QUESTION)[0] == 200
    finally:
        running.close()


def test_a_port_in_use_is_an_error(served, tmp_path):
    with EmbeddedChain.create(tmp_path / "other", CHAIN_ID, SEALER_KEY, Hurried()) as chain:
        with pytest.raises(ChainError, match=r"cannot listen on 127\.0\.0\.1 port .* choose another port"):
            Server(chain, port=int(served.url.rsplit(":", 1)[1]))
        assert read_endpoint(chain.directory) is None


def test_the_endpoint_file_is_there_while_served(directory):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()) as chain:
        genesis = "0x" + header.block_hash(chain.genesis).hex()
    with serve(directory, SEALER_KEY, Hurried()) as running:
        assert json.loads((directory / ENDPOINT).read_text()) == {"url": running.url, "pid": os.getpid(), "genesis": genesis}
        with pytest.raises(ChainLocked), serve(directory, SEALER_KEY, Hurried()):
            pass
        assert (directory / ENDPOINT).exists()
    assert not (directory / ENDPOINT).exists()
    with EmbeddedChain.open(directory, SEALER_KEY, Hurried()) as chain:
        running = Server(chain)
        (directory / ENDPOINT).write_text('{"url": "http://127.0.0.1:1"}')
        running.close()
        assert (directory / ENDPOINT).exists(), "another server's file is left alone"


def test_an_endpoint_file_that_cannot_be_written_is_an_error(chain, directory):
    (directory / ENDPOINT).with_suffix(".tmp").mkdir()
    with pytest.raises(ChainError, match=r"cannot write .*rpc\.json .* free space or mend permissions"):
        Server(chain)


def test_what_waits_is_sealed_by_the_serving_process(served, directory, sender):
    for _ in range(5):
        asked = {**QUESTION, "method": "eth_sendRawTransaction", "params": ["0x" + sender.sign(bytes(20)).hex()]}
        assert "result" in json.loads(post(served, asked)[1])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        counted = {**QUESTION, "method": "eth_getTransactionCount", "params": ["0x" + sender.address.hex(), "latest"]}
        if json.loads(post(served, counted)[1])["result"] == "0x5":
            return
        time.sleep(0.05)
    pytest.fail("not sealed")


def test_a_failure_to_seal_is_told_and_overcome(directory, sender, monkeypatch):
    EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()).close()
    full = threading.Event()
    full.set()
    seal = EmbeddedChain.seal

    def failing(self):
        if full.is_set():
            raise ChainUnwritable("disk full; free space")
        return seal(self)

    monkeypatch.setattr(EmbeddedChain, "seal", failing)
    monkeypatch.setattr(server, "MAX_PAUSE", 0.1)
    with serve(directory, SEALER_KEY, Hurried()) as running:
        messages = []
        for _ in range(3):
            asked = {**QUESTION, "method": "eth_sendRawTransaction", "params": ["0x" + sender.sign(bytes(20)).hex()]}
            messages.append(json.loads(post(running, asked)[1]).get("error", {}).get("message"))
            time.sleep(0.05)
        assert messages[-1] == "disk full; free space" and isinstance(running.failure, ChainUnwritable)
        full.clear()
        deadline = time.monotonic() + 10
        while running.failure is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running.failure is None
    with EmbeddedChain.open(directory, None, Hurried()) as chain:
        assert chain.account(sender.address, chain.head).nonce == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sealing_thread_that_dies_does_not_go_unnoticed(served, sender, monkeypatch):
    monkeypatch.setattr(EmbeddedChain, "seal", lambda self: 1 // 0)
    for _ in range(2):
        asked = {**QUESTION, "method": "eth_sendRawTransaction", "params": ["0x" + sender.sign(bytes(20)).hex()]}
        answer = json.loads(post(served, asked)[1])
        time.sleep(0.2)
    assert "sealing has stopped; stop this node, start it again" in answer["error"]["message"]


def test_two_processes_send_at_once_through_a_third(served, directory):
    deployer = Sender(key=b"\x77" * 32)
    code, contract = deployer.deploy(STORE)
    assert "result" in json.loads(post(served, {**QUESTION, "method": "eth_sendRawTransaction", "params": ["0x" + code.hex()]})[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])}
    keys = [bytes([n]) * 32 for n in (0x31, 0x32)]
    children = [subprocess.Popen([sys.executable, "-c", SEND_IN_CHILD, str(directory), key.hex(), contract.hex()], env=environment)
                for key in keys]
    assert [child.wait(timeout=60) for child in children] == [0, 0]
    for key in keys:
        slot = "0x" + Sender(key=key).address.hex()
        asked = {**QUESTION, "method": "eth_getStorageAt", "params": ["0x" + contract.hex(), slot]}
        assert json.loads(post(served, asked)[1])["result"] == "0x" + word(12).hex()
    logs = {**QUESTION, "method": "eth_getLogs", "params": [{"fromBlock": "0x0", "address": "0x" + contract.hex()}]}
    assert len(json.loads(post(served, logs)[1])["result"]) == 24


def test_deep_calls_and_deep_json_are_survived_by_the_threads_that_serve(served):
    deep = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":' + b"[" * 4900 + b"]" * 4900 + b"}"
    assert json.loads(post(served, deep)[1])["error"]["code"] == -32602
    code, contract = Sender().deploy(RECURSE)
    assert "result" in json.loads(post(served, {**QUESTION, "method": "eth_sendRawTransaction", "params": ["0x" + code.hex()]})[1])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and json.loads(post(served, {**QUESTION, "method": "eth_blockNumber"})[1])["result"] == "0x0":
        time.sleep(0.02)
    asked = {**QUESTION, "method": "eth_call", "params": [{"to": "0x" + contract.hex(), "gas": hex(30_000_000)}]}
    assert json.loads(post(served, asked)[1])["result"] == "0x"
