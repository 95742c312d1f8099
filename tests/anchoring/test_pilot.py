"""Starting a network: when it is said to run. Real nodes run in tests/network."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import ExitStack

import pytest

from anchoring import pilot
from anchoring.network import NETWORK, Network, encode_network
from node import clique
from node.networks.create import create, members
from node.networks.plan import Plan
from node.networks.runs import alone, announce

TRUSTED = Network(4242, "clique", 1, clique.EPOCH, b"\1" * 20, b"\2" * 32, b"\3" * 20, b"\4" * 32, 7, b"\7" * 32, (b"\5" * 20, b"\6" * 20))


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A network's folder whose two nodes run and answer; what each has as block 7 is told by the list that comes with it."""
    monkeypatch.setenv("CARESEAL_GETH", "/bin/true")
    folder, blocks = tmp_path / "n", [None, None]
    plan = create(folder, Plan(4242, 1, clique.EPOCH, 30_000_000, 1_790_000_000, members(["a", "b"], [], 30303, 8545)), b"secret", work=16)
    with ExitStack() as stack:
        for member in plan.members:

            class Answer(socketserver.StreamRequestHandler):
                number = member.number

                def handle(self) -> None:
                    asked = json.loads(self.rfile.readline())
                    assert (asked["method"], asked["params"]) == ("eth_getBlockByNumber", ["0x7", False])
                    self.wfile.write(json.dumps({"jsonrpc": "2.0", "id": 1, "result": blocks[self.number - 1]}).encode() + b"\n")

            server = stack.enter_context(socketserver.ThreadingUnixStreamServer(str(tmp_path / f"{member.number}.ipc"), Answer))
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
            stack.enter_context(alone(folder / member.folder))
            announce(folder / member.folder, 1, "http://127.0.0.1:1", tmp_path / f"{member.number}.ipc")
        yield folder, blocks


def test_a_network_is_started_once_every_node_has_the_block_that_its_file_trusts(nodes):
    """A node that lags behind the founding knows no contracts: a hospital that joined there was told that there are none."""
    folder, blocks = nodes
    starting = threading.Thread(target=pilot.start, args=(folder, ["/bin/false"], b"secret"))
    starting.start()
    ours, another = ({"hash": "0x" + content.hex()} for content in (TRUSTED.block_hash, b"\x66" * 32))
    for written, blocks[:] in ((False, [None, None]), (True, [ours, None]), (True, [ours, another])):
        if written:
            (folder / NETWORK).write_bytes(encode_network(TRUSTED))
        starting.join(0.6)
        assert starting.is_alive(), blocks
    blocks[:] = [ours, ours]
    starting.join(5)
    assert not starting.is_alive()


def test_nodes_of_a_network_that_was_founded_before_may_lag(nodes):
    folder, _ = nodes
    (folder / NETWORK).write_bytes(encode_network(TRUSTED))
    assert len(pilot.start(folder, ["/bin/false"], b"secret").members) == 2
