"""Hospitals on four real geth nodes: joining, sealing, evidence, and nodes that are killed, stopped and restarted meanwhile."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time

import forked
import pytest
from eth_account import Account
from geth_network import GethNetwork, needs_geth, wait
from lying_node import lying
from web3.exceptions import Web3RPCError
from world import World

import anchoring.sender
from anchoring.chain_state import ChainState, confirmed
from anchoring.network import NETWORK, read_network
from contracts.calls import Consortium
from node.client import connect
from node.errors import NodeError
from node.followed import FollowedChain
from node.http_rpc import Listener
from node.networks.plan import GENESIS
from node.networks.votes import vote
from node.rpc import ReadRpc

pytestmark = [pytest.mark.slow, needs_geth]


@pytest.fixture(scope="session")
def hospital(network, tmp_path_factory) -> World:
    """The first member's hospital, joined and with its baseline sealed."""
    made = network.world(tmp_path_factory.mktemp("first") / "w", 1)
    made.ok("seal")
    return made


def test_evidence_says_confirmed_and_verifies(network: GethNetwork, hospital: World, tmp_path):
    file = tmp_path / "e.json"
    hospital.ok("evidence export", "visit", "1", "-o", file)
    shown = hospital.ok("evidence verify", file, "--network", network.folder / NETWORK).out
    assert "VALID" in shown and "confirmed, not final: 3 of 4 sealers" in shown


def test_a_second_hospital_joins_at_its_own_node(network: GethNetwork, hospital: World, tmp_path):
    other = network.world(tmp_path / "second", 2)
    other.ok("seal")
    other.check(counted=False)
    assert {read["id"] for read in hospital.ok("node members", "--json").json["members"]} >= {1, 2}
    hospital.settle()


def test_a_chain_that_geth_made_is_re_executed_from_its_genesis(network: GethNetwork, hospital: World, tmp_path):
    """With four sealers, and votes of nobody; the contracts are deployed and called in it."""
    arguments = ("--network", network.folder / NETWORK, "--rpc", network.url(2), "--genesis", network.folder / GENESIS, "--json")
    for again in range(5):  # blocks at the head may still be replaced by others
        made = forked.here("node", "export", tmp_path / f"{again}.json.gz", *arguments, environment={})
        if made.code == 0:
            break
        assert "the chain changed" in made.line()
    told = forked.here("node", "replay", made.json["file"], "--json", environment={}).json
    assert told["ok"] and told["error"] is None and len(told["validators"]) == 4
    assert told["blocks"] == made.json["blocks"] and told["transactions"] >= 5


def test_an_auditors_follower_trusts_none_of_the_four(network: GethNetwork, hospital: World, tmp_path):
    """One of them lies about a block; what the follower serves is what the contracts hold."""
    hospital.settle()
    trusted = read_network(network.folder / NETWORK)
    with lying(network.url(4)) as liar:
        liar.lie = lambda method, given, answer: (
            answer | {"result": answer["result"] | {"stateRoot": "0x" + "11" * 32}}
            if method == "eth_getBlockByNumber" and int(given[0], 16) == trusted.block and answer["result"] else answer
        )  # fmt: skip
        peers = [word for url in (liar.url, *map(network.url, (1, 2, 3))) for word in ("--peer", url)]
        files = ("--network", network.folder / NETWORK, "--genesis", network.folder / GENESIS, "--state", tmp_path / "f")
        made = forked.here("node", "follow", *files, *peers, "--once", "--json", environment={})
    told = made.json
    bad = [(event["kind"], event["peer"]) for event in told["events"] if event["kind"] not in ("failed", "reorganised")]
    assert made.code == 1 and bad == [("lied", liar.url)]
    assert told["block"] > trusted.block and len(told["validators"]) == 4 and len(told["proofs"]) == 1
    with FollowedChain.open(tmp_path / "f") as chain:
        listener = Listener(ReadRpc(chain).handle_bytes, "127.0.0.1", 0)
        listener.start()
        try:
            with connect(listener.url, None, time.time) as own, connect(network.url(1), None, time.time) as theirs:
                head = confirmed(own, trusted)
                assert told["block"] - 3 <= head.number
                for institution in ChainState(own, trusted, 0, head).terms():
                    assert ChainState(own, trusted, institution, head).head() == ChainState(theirs, trusted, institution, head).head()
        finally:
            listener.close()


def test_an_anchored_checkpoint_counts_already(network: GethNetwork, hospital: World):
    hospital.change()
    sealed = hospital.ok("seal", "--json").json
    trusted = read_network(network.folder / NETWORK)
    with connect(network.url(3), None, lambda: 0.0) as w3:
        assert confirmed(w3, trusted).number >= sealed["block"]


def test_strangers_transactions_are_not_admitted(network: GethNetwork, hospital: World):
    stranger = Account.create()
    transaction = {"to": "0x" + "11" * 20, "value": 0, "gas": 21_000, "gasPrice": 0, "nonce": 0, "chainId": network.plan.chain_id}
    raw = "0x" + bytes(stranger.sign_transaction(transaction).raw_transaction).hex()
    with connect(network.url(2), None, lambda: 0.0) as w3:
        answer = w3.provider.make_request("eth_sendRawTransaction", [raw])
        assert answer["error"]["message"].startswith("only members' transactions are admitted")
        for method in ("eth_sendTransaction", "eth_sign", "personal_unlockAccount", "miner_stop", "debug_setHead", "admin_peers"):
            assert w3.provider.make_request(method, [])["error"]["code"] == -32601
        # What a node tells in an error reaches whoever asked, as with a revert's reason.
        consortium = Consortium(w3, "0x" + read_network(network.folder / NETWORK).consortium.hex())
        answer = w3.provider.make_request("eth_call", [{"to": consortium.address, "data": "0x00000000"}, "latest"])
        assert answer["error"]["code"] in (3, -32000)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_killed_node_stops_nobody_else_and_comes_back(network: GethNetwork, hospital: World, number):
    before = network.block(number)
    network.kill(number)
    hospital.change([("UPDATE visit SET note=note || '.' WHERE visit_id=1",)])
    if number == 1:
        assert "cannot be reached" in hospital.refused("seal")
    else:
        hospital.ok("seal")
    network.start(number)
    wait(lambda: network.block(number) >= before)
    wait(lambda: network.block(number) >= network.block(number % 4 + 1) - 1)
    hospital.settle()


def test_with_several_nodes_named_a_hospital_goes_on_when_its_own_is_killed(network: GethNetwork, tmp_path):
    made = network.world(tmp_path / "third", 3)
    made.chain = f"{network.url(3)},{network.url(1)}"
    made.set("chain", made.chain)
    made.ok("seal")
    network.kill(3)
    made.change()
    made.ok("seal")
    made.check(counted=False)
    network.start(3)


def test_a_stopped_chain_loses_nothing_and_goes_on(network: GethNetwork, hospital: World, monkeypatch):
    network.kill(3, 4)
    hospital.change([("UPDATE visit SET note=note || '!' WHERE visit_id=1",)])
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 6.0)
    said = hospital.refused("seal")
    assert "seal again; nothing is lost" in said, said
    assert hospital.refused("seal")  # and once more, with a transaction that waits already
    monkeypatch.undo()
    network.start(3, 4)
    network.grows(1)
    hospital.settle()


def test_a_network_that_was_killed_whole_starts_where_it_stood(network: GethNetwork, hospital: World):
    trusted = read_network(network.folder / NETWORK)
    with connect(network.url(1), None, lambda: 0.0) as w3:
        counted = confirmed(w3, trusted)
    network.kill(1, 2, 3, 4)
    hospital.change([("UPDATE visit SET note=note || '?' WHERE visit_id=1",)])
    assert "cannot be reached" in hospital.refused("seal")
    network.start()
    network.grows(1)
    for number in (1, 4):
        wait(lambda number=number: network.block(number) >= counted.number)
        found = network.ipc(number).ask("eth_getBlockByNumber", hex(counted.number), False)
        assert int(found["stateRoot"], 16) == int.from_bytes(counted.state_root, "big")
    hospital.settle()


def test_a_lost_disk_is_rebuilt_from_the_mirror(network: GethNetwork, hospital: World):
    hospital.settle()
    shutil.rmtree(hospital.home)
    assert hospital.ok("restore", "--kit", hospital.kit, "--json").json["ok"]
    hospital.change((("UPDATE visit SET note='after the loss' WHERE visit_id=1",),))
    hospital.ok("seal")
    hospital.check(counted=False)


def test_a_flood_of_foreign_transactions_holds_nobody_up(network: GethNetwork, hospital: World):
    """Strangers fill every gateway; what they send is refused, and a checkpoint is anchored within a few blocks."""
    hospital.settle()
    stranger, ended, refused = Account.create(), threading.Event(), [0]

    def flood(url: str) -> None:
        with connect(url, None, time.time) as w3:
            for nonce in range(20_000):
                if ended.is_set():
                    return
                sent = {"nonce": nonce % 7, "to": stranger.address, "value": 0, "gas": 5_000_000, "gasPrice": 0, "chainId": 424242}
                raw = stranger.sign_transaction(sent).raw_transaction
                try:
                    w3.eth.send_raw_transaction(raw)
                except Web3RPCError:
                    refused[0] += 1

    threads = [threading.Thread(target=flood, args=(network.url(number),)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    try:
        wait(lambda: refused[0] > 50)
        hospital.change((("UPDATE visit SET note='flooded' WHERE visit_id=1",),))
        first = network.block(1)
        sealed = hospital.ok("seal", "--json").json
        assert sealed["block"] <= first + 10
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    hospital.check(counted=False)
    assert refused[0] > 50


def test_a_sealer_is_voted_in_and_out_on_the_running_network(network: GethNetwork, hospital: World, tmp_path):
    """One institution votes by its command, at its node; two others' nodes vote as theirs would have them."""
    sealer = Account.create().address.lower()
    words = ("--account", Account.create().address, "--name", "Fifth Hospital", "--sealer", sealer)
    hospital.settle()
    assert "the node votes in its next blocks" in hospital.ok("node admit", *words, "--node", network.folder / "member-1").out
    for number, add in ((2, True), (3, True)):
        vote(network.ipc(number).ask, "clique", bytes.fromhex(sealer[2:]), add=add)
    wait(lambda: len(network.ipc(1).ask("clique_getSigners")) == 5)
    old = network.folder / NETWORK
    for number, count in ((1, 5), (2, 4)):
        if count == 4:
            for member in (1, 2, 3):
                vote(network.ipc(member).ask, "clique", bytes.fromhex(sealer[2:]), add=False)
            wait(lambda: len(network.ipc(1).ask("clique_getSigners")) == 4)
        network.grows(1, 8)
        new = tmp_path / f"{number}.json"
        made = forked.here("network", "renew", new, "--network", old, "--rpc", network.url(2), "--json", environment={})
        assert made.code == 0 and len(made.json["sealers"]) == count
        hospital.ok("node trust", new)
        hospital.change((("UPDATE visit SET note='voted' WHERE visit_id=1",),))
        hospital.ok("seal")
        hospital.check(counted=False)
        old = new


def test_status_shows_every_node(network: GethNetwork, hospital: World):
    def states():
        return json.loads(forked.here("network", "status", network.folder, "--json", environment={}).out)

    # A peer that was lost is called again after half a minute.
    wait(lambda: all(state["peers"] == 3 for state in states()))
    assert [state["member"] for state in states()] == [1, 2, 3, 4]


def test_a_node_cannot_run_twice_and_another_passphrase_is_refused(network: GethNetwork):
    again = forked.here("network", "run", network.folder, "--member", "2", environment={"CARESEAL_PASSPHRASE": "correct horse"})
    assert again.code == 2 and "runs already" in again.line()
    network.stop(2)
    wrong = forked.here("network", "run", network.folder, "--member", "2", environment={"CARESEAL_PASSPHRASE": "another one"})
    assert wrong.code == 2 and "does not open" in wrong.line()
    with pytest.raises(NodeError, match="port"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", network.plan.member(2).rpc_port))
            taken.listen()
            network.start(2)
    network.start(2)
