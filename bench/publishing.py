"""From a seal to its confirmed checkpoint on four real geth nodes, each of which has one checkpoint of its institution in every period."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from anchoring import pilot
from anchoring.founding import Plan as HomePlan
from anchoring.founding import create_home
from anchoring.link import open_link
from anchoring.network import NETWORK
from anchoring.publish import publish
from bench import homes, rows
from bench.figure import Figure
from bench.workspace import Workspace, say
from ledger.seal import seal
from node import clique
from node.errors import EngineFailed
from node.networks.create import create, members
from node.networks.plan import Plan
from node.networks.running import found_geth

_PASSPHRASE, _PERIOD, _PORTS = b"bench", 2, 23_100
_PROGRAM = [sys.executable, "-m", "api.cli", "network", "run"]


def publishing(space: Workspace) -> list[Figure]:
    """Periods from the beginning of a seal until its checkpoint counts: the 95th percentile over all institutions."""
    try:
        found_geth()
    except EngineFailed as error:
        say(f"left out: {error}")
        return []
    place, names = space.folder / "network", [f"Bench {number}" for number in range(1, 5)]
    say("founding four institutions on a network of four geth nodes")
    plan = Plan(909, _PERIOD, clique.EPOCH, 30_000_000, int(time.time()), members(names, [], _PORTS, _PORTS + len(names)))
    create(place, plan, _PASSPHRASE, work=1 << 12)
    pilot.start(place, _PROGRAM, _PASSPHRASE)
    try:
        made = [_institution(space.folder / f"member-{number}", place, number, name) for number, name in enumerate(names, 1)]
        say("each seals a change in every period, all at the same time")
        took: list[float] = []
        threads = [threading.Thread(target=_keep_publishing, args=(one, 10 * space.sizes.few, took)) for one in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        pilot.stop(place)
    assert len(took) == 10 * space.sizes.few * len(names), "a checkpoint was not published"
    ordered = sorted(took)
    what = f"{len(took)} checkpoints of {len(names)} institutions, a period of {_PERIOD} s, from seal() until the block is confirmed"
    return [
        Figure("seal to confirmed, 95th percentile", (ordered[len(ordered) * 95 // 100] / _PERIOD,), "periods", what, "at most", 3),
        Figure("seal to confirmed, median", (ordered[len(ordered) // 2] / _PERIOD,), "periods", what, "at most"),
    ]


def _institution(folder: Path, network: Path, number: int, name: str) -> Path:
    """A home on the network with one attached table, whose baseline is anchored."""
    folder.mkdir()
    url = rows.build_sqlite(folder / "his.db", {"lab": (number, 10)})
    chain = f"http://127.0.0.1:{_PORTS + 3 + number}"
    create_home(HomePlan(folder / "home", name, folder / "kit.json", chain, network=network / NETWORK), _PASSPHRASE, _PASSPHRASE, time.time)
    homes.attach_to(folder / "home", url, ["lab"])
    return folder


def _keep_publishing(folder: Path, times: int, took: list[float]) -> None:
    with homes.opened(folder / "home") as home, open_link(home.settings, home.keyring.sealing, None, time.time) as link:
        seal(home, int(time.time() * 1000))
        publish(home, link)
        for _ in range(times):
            with closing(sqlite3.connect(folder / "his.db")) as database, database:
                database.execute("UPDATE lab SET note=note||'.' WHERE rowid=(SELECT min(rowid) FROM lab)")
            time.sleep(int.from_bytes(os.urandom(2), "big") / 65536 * _PERIOD)
            start = time.perf_counter()
            seal(home, int(time.time() * 1000))
            publish(home, link)
            took.append(time.perf_counter() - start)
