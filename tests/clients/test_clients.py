"""The JSON-RPC of the embedded chain, and of a follower, as ethers and Foundry's cast use them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from assembled import STORE, TOPIC, deployer

from node.confirmation import Trust
from node.embedded import EmbeddedChain
from node.follow import Followed, Follower, opened
from node.header import block_hash, from_rpc
from node.http_rpc import Listener
from node.peer import Peer
from node.proof_files import ProofFiles
from node.rpc import ReadRpc
from node.server import serve

HERE = Path(__file__).parent
CHAIN_ID, SEALER, SENDER = 4711, b"\x21" * 32, "0x" + "31" * 32
CAST = HERE / "node_modules" / ".bin" / "cast"

pytestmark = pytest.mark.skipif(
    not (HERE / "node_modules").is_dir() or not shutil.which("node"),
    reason="ethers and cast are not installed: npm ci --prefix tests/clients",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    EmbeddedChain.create(folder / "chain", CHAIN_ID, SEALER, time.time).close()
    with serve(folder / "chain", SEALER, time.time) as server:
        yield server.url, folder


def cast(url: str, *words: object) -> str:
    command = [str(CAST), *map(str, words), "--rpc-url", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ethers(url: str) -> dict:
    command = ["node", "client.mjs", url, SENDER, "0x" + deployer(STORE).hex()]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def seen(served):
    return ethers(served[0])


def test_ethers_deploys_calls_sends_and_reads(seen):
    assert (seen["chain"], seen["output"], seen["status"], seen["storage"], seen["proof"]) == (CHAIN_ID, 42, 1, 42, 42)
    assert seen["logs"] == [[7, 42, seen["hash"]]] and seen["block"][1] == [seen["hash"]]
    assert (seen["nonce"], seen["balance"], seen["code"]) == (2, 0, "0x" + STORE.hex())
    assert "refused" in seen["refused"]


def test_cast_sends_and_reads(served, seen):
    url, contract = served[0], seen["contract"]
    arguments = f"{9:064x}{81:064x}"
    free = ("--private-key", SENDER, "--legacy", "--gas-price", "0")
    sent = json.loads(cast(url, "send", contract, "0x" + arguments, *free, "--json"))
    assert int(sent["status"], 16) == 1 and sent["logs"][0]["topics"][0] == "0x" + TOPIC.hex()
    assert int(cast(url, "call", contract, "--data", "0x" + arguments), 16) == 81
    assert json.loads(cast(url, "receipt", sent["transactionHash"], "--json"))["blockNumber"] == sent["blockNumber"]
    reads(url, contract, sent["transactionHash"])


def reads(url: str, contract: str, transaction: str) -> None:
    assert int(cast(url, "chain-id")) == CHAIN_ID and int(cast(url, "storage", contract, "9"), 16) == 81
    assert cast(url, "code", contract) == "0x" + STORE.hex()
    logs = json.loads(cast(url, "logs", "--address", contract, "--from-block", "0", "0x" + TOPIC.hex(), "--json"))
    assert [int(log["data"], 16) for log in logs] == [42, 81]
    proof = json.loads(cast(url, "proof", contract, "9"))
    assert int(proof["storageProof"][0]["value"], 16) == 81
    assert json.loads(cast(url, "tx", transaction, "--json"))["hash"] == transaction
    assert int(json.loads(cast(url, "block", "latest", "--json"))["number"], 16) == int(cast(url, "block-number"))


def test_both_read_from_a_follower(served, seen, tmp_path):
    url, contract = served[0], seen["contract"]
    peer = Peer(url)
    (first,) = peer.blocks([0], full=False)
    trust = Trust(0, block_hash(from_rpc(first)), (), 1, 30_000)
    with opened(tmp_path / "f", "clique", CHAIN_ID, trust, [peer], None) as chain:
        follower = Follower(chain, trust, [Followed(peer)], ProofFiles(tmp_path / "p"), time.time)
        while follower.round():
            pass
        listener = Listener(ReadRpc(chain).handle_bytes, "127.0.0.1", 0)
        listener.start()
        try:
            last = chain.store.block(chain.head.number).hash.hex()
            assert cast(listener.url, "block", "latest", "--field", "hash") == "0x" + last
            reads(listener.url, contract, json.loads(cast(url, "block", "latest", "--json"))["transactions"][0])
        finally:
            listener.close()
