"""All nodes of a network on this machine, for pilots and tests: started in the background, looked at, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anchoring.network import NETWORK, Network, read_network
from node.errors import EngineFailed
from node.networks.plan import Member, Plan, read_plan
from node.networks.running import STOP_SECONDS, Ipc, check_geth, found_geth
from node.networks.runs import runs

START_SECONDS = 120.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class NodeState:
    """What one member's node says. Without `url` it does not run here; without `block` it does not answer."""

    member: Member
    url: str | None = None
    block: int | None = None
    block_hash: str | None = None
    time: int | None = None  # of that block, seconds since 1970 UTC
    peers: int | None = None


def start(network: Path, program: Sequence[str], passphrase: bytes, only: Sequence[int] = ()) -> Plan:
    """Start the nodes that do not run yet, of `only` or of all members, and wait until all answer, and have the founded consortium.

    `program` is the command that runs one node, to which folder and member are added; it gets the passphrase on its standard input.
    EngineFailed with the last words of a node that ended; then those that this call started are stopped again.
    """
    plan = read_plan(network)
    check_geth(plan)
    found_geth()
    chosen = [plan.member(number) for number in only] if only else list(plan.members)
    idle = [member for member in chosen if runs(network / member.folder) is None]
    for member in idle:
        _check_ports(member)
    founder = min(member.number for member in chosen)
    founding = len(chosen) == len(plan.members) and not (network / NETWORK).exists()
    started = [(member, _spawn(network, member, program, passphrase, founding and member.number == founder)) for member in idle]
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(runs(network / member.folder) for member in chosen) or (founding and not _founded(network, chosen)):
            for member, process in started:
                if process.poll() is not None:
                    raise EngineFailed(f"the node of {member.name} did not start: {_last_line(network / member.folder / 'run.log')}")
            if time.monotonic() > deadline:
                raise EngineFailed(f"the network does not answer {START_SECONDS:.0f} s after its start: see the logs in {network}")
            time.sleep(_POLL_SECONDS)
    except BaseException:
        for _, process in started:
            process.terminate()
        for _, process in started:
            process.wait()
        raise
    return plan


def stop(network: Path, only: Sequence[int] = ()) -> int:
    """Stop the nodes of `only`, or of all members, and wait for their end. Returns how many ran."""
    plan = read_plan(network)
    chosen = [plan.member(number) for number in only] if only else list(plan.members)
    running = [(member, found) for member in chosen if (found := runs(network / member.folder))]
    for _, found in running:
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + 2 * STOP_SECONDS
    for member, _ in running:
        while runs(network / member.folder):
            if time.monotonic() > deadline:
                raise EngineFailed(f"the node of {member.name} does not stop: end its process yourself")
            time.sleep(_POLL_SECONDS)
    return len(running)


def status(network: Path) -> list[NodeState]:
    """Each member's node as it stands now."""
    return [_state(network, member) for member in read_plan(network).members]


def _state(network: Path, member: Member) -> NodeState:
    found = runs(network / member.folder)
    if found is None:
        return NodeState(member)
    ipc = Ipc(found.ipc)
    try:
        block, peers = ipc.ask("eth_getBlockByNumber", "latest", False), ipc.ask("net_peerCount")
        return NodeState(
            member, found.url, int(block["number"], 16), str(block["hash"]), int(block["timestamp"], 16), int(peers, 16)
        )  # fmt: skip
    except (EngineFailed, KeyError, TypeError, ValueError):
        return NodeState(member, found.url)


def _spawn(network: Path, member: Member, program: Sequence[str], passphrase: bytes, found: bool) -> subprocess.Popen[bytes]:
    command = [*program, str(network), "--member", str(member.number), "--passphrase-file", "/dev/stdin", *(["--found"] if found else [])]
    with (network / member.folder / "run.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    assert process.stdin is not None  # noqa: S101 -- it is a pipe
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(passphrase)
    return process


def _founded(network: Path, members: Sequence[Member]) -> bool:
    """Whether the consortium's network file is there, and every node has the block that it trusts: one that lags knows no contracts."""
    if not (network / NETWORK).exists():
        return False
    trusted = read_network(network / NETWORK)
    return all(_has_trusted(network / member.folder, trusted) for member in members)


def _has_trusted(own: Path, trusted: Network) -> bool:
    found = runs(own)
    with suppress(EngineFailed):
        block = Ipc(found.ipc).ask("eth_getBlockByNumber", hex(trusted.block), False) if found else None
        return block is not None and block.get("hash") == "0x" + trusted.block_hash.hex()
    return False


def _check_ports(member: Member) -> None:
    for port in (member.p2p_port, member.rpc_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise EngineFailed(
                    f"port {port} for the node of {member.name} is taken ({error.strerror}): end what uses it, or make the network with"
                    " other ports"
                ) from error


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-4096:].decode(errors="replace").splitlines()
    return (lines or ["no reason given"])[-1][:300].removeprefix("careseal: ")
