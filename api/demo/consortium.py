"""Four institutions on real geth nodes: their records are anchored while a node is killed, and an auditor follows the chain past a liar."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from anchoring.founding import Plan, create_home
from anchoring.network import NETWORK
from anchoring.pilot import stop as stop_nodes
from api.console import out, say
from api.demo.stage import Demo, shown
from api.language import _
from careseal import CaresealError, read_json
from ledger.attach import attach
from ledger.tables import Options
from node.http_rpc import Listener
from node.networks.plan import GENESIS, read_plan
from node.networks.runs import runs
from samples.hospital import build

HOSPITALS = ("First Hospital 第一医院", "Second Hospital 第二医院", "Third Hospital 第三医院", "Fourth Hospital 第四医院")
TABLES = ("visit", "lab_result", "charge")


def four_nodes(demo: Demo) -> None:
    demo.step("Four institutions make a network of real geth nodes, one for each, and found a consortium on it.")
    named = [word for name in HOSPITALS for word in ("--member", name)]
    first = _free_ports(2 * len(HOSPITALS))
    ports = ("--peer-port", str(first), "--rpc-port", str(first + len(HOSPITALS)))
    demo.careseal("network", "create", _network(demo), *named, "--period", "1", *ports)
    demo.careseal("network", "start", _network(demo))


def four_hospitals(demo: Demo) -> None:
    demo.step("Each institution seals its records and anchors them through its own node.")
    for number, name in enumerate(HOSPITALS, 1):
        counts = build(demo.database(number), number)
        kit, mirror = demo.folder / f"kit-{number}.json", demo.folder / f"mirror-{number}"
        plan = Plan(demo.home(number), name, kit, _url(demo, number), mirror=mirror, network=_network(demo) / NETWORK)
        create_home(plan, demo.secret, demo.secret, time.time)
        with demo.opened(number) as (home, _link):
            url, options = f"sqlite:///{demo.database(number)}", Options(subject="patient_id", copies=True)
            attach(home, url, TABLES, (), options, int(time.time() * 1000))
            attach(home, url, ("document",), (), Options(subject="patient_id", copies=True), int(time.time() * 1000))
        say("  {name}: {rows} rows in {tables} tables", name=name, rows=sum(counts.values()), tables=len(counts))
        demo.seal(number)
    demo.expect(demo.audit(1))


def node_killed(demo: Demo) -> None:
    demo.step("The fourth institution's node is killed: the other three go on anchoring, the fourth loses nothing.")
    _kill(_network(demo) / read_plan(_network(demo)).member(4).folder)
    out.print("    $ kill -9 ...", markup=False, style="cyan")
    for number in (2, 4):
        (visit,) = demo.one(number, "SELECT visit_id FROM visit ORDER BY 1")
        demo.sql(number, f"UPDATE visit SET bed_no='W-9' WHERE visit_id='{visit}'")
    demo.seal(2)
    demo.careseal("seal", "--home", demo.home(4), code=2)
    demo.careseal("network", "status", _network(demo), code=1)


def node_back(demo: Demo) -> None:
    demo.step("Its node comes back, takes the blocks that it missed from its peers, and the fourth institution anchors what waited.")
    demo.careseal("network", "start", _network(demo), "--member", "4")
    demo.seal(4)
    demo.expect(demo.audit(4))


def auditor_follows(demo: Demo) -> None:
    demo.step("An auditor's own node re-executes the chain from all four. One of them lies about a block: it is told, and proved.")
    peers = [_url(demo, number) for number in (1, 2, 3)]
    with _liar(_url(demo, 4)) as lying:
        words = [word for url in (lying, *peers) for word in ("--peer", url)]
        files = ("--network", _network(demo) / NETWORK, "--genesis", _network(demo) / GENESIS, "--state", demo.folder / "follower")
        demo.careseal("node", "follow", *files, *words, "--once", code=1)


def evidence_and_end(demo: Demo) -> None:
    demo.step("Evidence says who confirmed the block; it is checked with every node stopped.")
    (visit,) = demo.one(2, "SELECT visit_id FROM visit ORDER BY 1")
    file = demo.leave(demo.folder / "visit.json", _("evidence of a visit, confirmed by the sealers of three institutions or more"))
    demo.careseal("evidence", "export", "visit", str(visit), "--home", demo.home(2), "-o", file)
    demo.careseal("network", "stop", _network(demo))
    demo.careseal("evidence", "verify", file, "--network", _network(demo) / NETWORK)
    say("\n    your turn: careseal network start {folder}", folder=shown(_network(demo)))


def stop(demo: Demo) -> None:
    """Leave no node running, however the demo ended."""
    with suppress(CaresealError):
        stop_nodes(_network(demo))


def _network(demo: Demo) -> Path:
    return demo.folder / "network"


def _url(demo: Demo, number: int) -> str:
    return f"http://127.0.0.1:{read_plan(_network(demo)).member(number).rpc_port}"


def _kill(folder: Path) -> None:
    """End a node and its gateway as a power cut would."""
    found = runs(folder)
    if found is not None:
        children = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text().split()
        for process in (*map(int, children), found.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    while runs(folder) is not None:
        time.sleep(0.1)


@contextmanager
def _liar(truth: str) -> Iterator[str]:
    """A node that says what the node at `truth` says, but shows another state in one block."""

    def told(asked: Any, answer: Any) -> Any:
        result = answer.get("result")
        if asked.get("method") == "eth_getBlockByNumber" and isinstance(result, dict) and result["number"] == "0x3":
            result["stateRoot"] = "0x" + "11" * 32
        return answer

    def answer(body: bytes) -> bytes:
        asked = read_json(body)
        given = requests.post(truth, data=body, headers={"Content-Type": "application/json"}, timeout=10).json()
        several = isinstance(asked, list)
        return json.dumps([told(*pair) for pair in zip(asked, given, strict=True)] if several else told(asked, given)).encode()

    listener = Listener(answer, "127.0.0.1", 0)
    listener.start()
    try:
        yield listener.url
    finally:
        listener.close()


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(20_000, 60_000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    return 20_000
