"""Four real geth nodes whose links are cut, healed and slow, and hospitals whose way to their node repeats and loses messages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import requests
from geth_network import GethNetwork, needs_geth, wait
from links import Links

import anchoring.sender
from anchoring import pilot
from anchoring.network import NETWORK
from node.http_rpc import Listener
from node.networks.runs import runs

pytestmark = [pytest.mark.slow, needs_geth]


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """The network, its links, and hospitals at the nodes of its first and its last member."""
    folder = tmp_path_factory.mktemp("links")
    network = GethNetwork(folder / "n")

    def process(number: int) -> int | None:
        found = runs(network.folder / network.plan.member(number).folder)
        children = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text().split() if found else []
        return int(children[0]) if children else None

    links, patch = Links(network, process), pytest.MonkeyPatch()
    try:
        patch.setattr(pilot, "_check_ports", lambda member: None)  # they are the links'
        network.start()
        hospitals = [network.world(folder / f"w{number}", number) for number in (1, 4)]
        for hospital in hospitals:
            hospital.ok("seal")
        yield network, links, hospitals
    finally:
        network.stop()
        links.close()
        patch.undo()
        shutil.rmtree(network.folder, ignore_errors=True)


def change(hospital, words: str) -> None:
    hospital.change([(f"UPDATE visit SET note='{words}' WHERE visit_id=1",)])


def settled(linked, tmp_path) -> None:
    """All nodes have one chain that grows; every checkpoint is on it once, audits are intact, evidence verifies."""
    network, _, hospitals = linked
    network.grows(1)
    height = network.block(1)
    for number in (2, 3, 4):
        wait(lambda number=number: network.block(number) >= height, 120)
    for hospital in hospitals:
        hospital.settle(counted=False)
        file = tmp_path / f"{hospital.name}.json"
        hospital.ok("evidence export", "visit", "1", "-o", file)
        hospital.ok("evidence verify", file, "--network", network.folder / NETWORK)
    blocks = [network.ipc(number).ask("eth_getBlockByNumber", hex(height), False)["hash"] for number in (1, 2, 3, 4)]
    assert len(set(blocks)) == 1


def test_halves_stand_still_and_go_on_together(linked, tmp_path, monkeypatch):
    network, links, hospitals = linked
    links.cut((1, 2), (3, 4))
    wait(lambda: all(int(network.ipc(number).ask("net_peerCount"), 16) == 1 for number in (1, 2, 3, 4)))
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 6.0)
    for hospital in hospitals:
        change(hospital, "parted")
        assert "nothing is lost" in hospital.refused("seal")
    monkeypatch.undo()
    links.heal()
    wait(lambda: int(network.ipc(1).ask("net_peerCount"), 16) >= 2, 120)
    settled(linked, tmp_path)


def test_three_go_on_and_the_fourth_catches_up(linked, tmp_path, monkeypatch):
    network, links, hospitals = linked
    links.cut((1, 2, 3), (4,))
    wait(lambda: int(network.ipc(4).ask("net_peerCount"), 16) == 0)
    change(hospitals[0], "with the three")
    hospitals[0].ok("seal")
    change(hospitals[1], "alone")
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 6.0)
    assert "nothing is lost" in hospitals[1].refused("seal")
    monkeypatch.undo()
    links.heal()
    settled(linked, tmp_path)


def test_slow_links_lose_nothing(linked, tmp_path):
    _, links, hospitals = linked
    links.delay = 0.15
    try:
        for turn in range(3):
            for hospital in hospitals:
                change(hospital, f"slow {turn}")
                hospital.ok("seal")
        settled(linked, tmp_path)
    finally:
        links.delay = 0.0


@pytest.mark.parametrize("loses", [False, True])
def test_a_way_to_the_node_that_repeats_requests_and_loses_answers(linked, tmp_path, loses):
    """Every transaction is sent twice; where answers are lost, those to the first transaction are."""
    network, _, hospitals = linked
    hospital, lost = hospitals[0], []

    def asked(body: bytes) -> bytes:
        def once() -> bytes:
            return requests.post(network.url(1), body, headers={"Content-Type": "application/json"}, timeout=30).content

        if json.loads(body)["method"] == "eth_sendRawTransaction":
            once()
            if loses and not lost:
                lost.append(body)
                return b"lost"
        return once()

    listener = Listener(asked, "127.0.0.1", 0)
    listener.start()
    try:
        hospital.set("chain", listener.url)
        for turn in range(2):
            change(hospital, f"repeated {turn} {loses}")
            sealed = hospital.run("seal")
            assert sealed.code == (2 if loses and not turn else 0), sealed
    finally:
        listener.close()
        hospital.set("chain", network.url(1))
    settled(linked, tmp_path)
