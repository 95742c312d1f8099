"""Four institutions' geth nodes on loopback, made and started by the program itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import rlp
from world import PASSPHRASE, World

from anchoring import pilot
from anchoring.network import NETWORK
from node import clique
from node.errors import EngineFailed
from node.networks.create import create, members
from node.networks.plan import Plan
from node.networks.running import Ipc, found_geth
from node.networks.runs import runs

NAMES = ("First Hospital", "第二医院", "Third Hospital", "Fourth Hospital")
PROGRAM = [sys.executable, "-m", "api.cli", "network", "run"]
CHAIN_ID = 424242


def has_geth() -> bool:
    try:
        return bool(found_geth())
    except EngineFailed:
        return False


needs_geth = pytest.mark.skipif(not has_geth(), reason="geth is not installed: make engines")


def free_ports(count: int) -> int:
    """The first of so many free ports in a row; processes that run side by side begin far from each other."""
    for first in range(21000 + os.getpid() * 64 % 4000, 30000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")


def heads_after_import(folder: Path, genesis: dict, stored) -> str:
    """The hashes of block 0 and of the head, as a geth shows them that was given this genesis and imported these blocks of a store."""
    bodies = [[rlp.decode(raw) if raw[0] >= 0xC0 else raw for raw in block.transactions] for block in stored[1:]]
    blocks = [rlp.encode([rlp.decode(block.header), body, []]) for block, body in zip(stored[1:], bodies, strict=True)]
    (folder / "genesis.json").write_text(json.dumps(genesis))
    (folder / "blocks.rlp").write_bytes(b"".join(blocks))
    geth = [found_geth(), "--datadir", str(folder / "geth"), "--verbosity", "2"]
    for arguments in (["init", str(folder / "genesis.json")], ["import", str(folder / "blocks.rlp")]):
        subprocess.run([*geth, *arguments], check=True, capture_output=True, timeout=60)
    offline = ["--nodiscover", "--maxpeers", "0", "--port", "0", "--authrpc.port", "0", "--ipcdisable"]
    script = "eth.getBlock(0).hash + eth.getBlock('latest').hash"
    return subprocess.run([*geth, *offline, "--exec", script, "console"], check=True, capture_output=True, text=True, timeout=60).stdout


class GethNetwork:
    """A network in a folder."""

    def __init__(self, folder: Path) -> None:
        first = free_ports(2 * len(NAMES))
        plan = Plan(CHAIN_ID, 1, clique.EPOCH, 30_000_000, int(time.time()), members(NAMES, [], first, first + len(NAMES)))
        self.folder = folder
        self.plan = create(folder, plan, PASSPHRASE.encode(), work=1 << 12)

    def start(self, *only: int) -> None:
        pilot.start(self.folder, PROGRAM, PASSPHRASE.encode(), only)

    def stop(self, *only: int) -> None:
        pilot.stop(self.folder, only)

    def kill(self, *numbers: int) -> None:
        """End nodes by SIGKILL, the node itself first."""
        for number in numbers:
            found = runs(self.folder / self.plan.member(number).folder)
            children = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text().split()
            for pid in (*map(int, children), found.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for number in numbers:
            wait(lambda number=number: runs(self.folder / self.plan.member(number).folder) is None)

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.plan.member(number).rpc_port}"

    def ipc(self, number: int) -> Ipc:
        return Ipc(runs(self.folder / self.plan.member(number).folder).ipc)

    def block(self, number: int) -> int:
        return int(self.ipc(number).ask("eth_blockNumber"), 16)

    def grows(self, number: int, blocks: int = 2) -> None:
        """Wait until a node has so many blocks more."""
        first = self.block(number)
        wait(lambda: self.block(number) >= first + blocks)

    def world(self, folder: Path, number: int) -> World:
        """A hospital with its home on this network, at the node of a member, with sealed tables."""
        folder.mkdir()
        made = World(folder, chain=None, name=self.plan.member(number).name)
        made.chain = self.url(number)
        made.more = ("--chain", made.chain, "--network", self.folder / NETWORK, "--mirror", made.mirror)
        return made.init().attach()


def wait(holds, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.2)
