"""A member's geth as a child process: started with its keys through pipes, reached through a socket that only its user can open."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from careseal import read_json
from node.errors import EngineFailed
from node.networks import geth
from node.networks.create import NODE_KEY, SEALER_KEY
from node.networks.keystore import read_key
from node.networks.plan import GENESIS, GETH, Member, Plan

START_SECONDS = 60.0
STOP_SECONDS = 30.0
MEET_SECONDS = 15.0
REQUEST_SECONDS = 30.0
MAX_ANSWER = 64 << 20
_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


class Ipc:
    """Requests to a node through its socket. Each has a connection of its own, so that threads need not wait for each other.

    Errors: EngineFailed where the node does not answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, body: bytes) -> bytes:
        """The node's answer to an encoded request or batch."""
        parts: list[bytes] = []
        size = 0
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(REQUEST_SECONDS)
                connection.connect(str(self.path))
                connection.sendall(body + b"\n")
                # geth ends each answer with a newline, and JSON has none inside.
                while not parts or not parts[-1].endswith(b"\n"):
                    part = connection.recv(1 << 16)
                    size += len(part)
                    if not part or size > MAX_ANSWER:
                        raise EngineFailed("the node broke off its answer: look at its log")
                    parts.append(part)
        except OSError as error:
            raise EngineFailed(f"the node does not answer ({error.strerror or 'timed out'}): look at its log") from error
        return b"".join(parts)

    def ask(self, method: str, *params: object) -> Any:
        """The result of one method. EngineFailed with the node's own words where it refuses."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer = read_json(self.send(json.dumps(request).encode()))
            if "error" in answer:
                raise EngineFailed(f"the node refused {method}: {str(answer['error']['message'])[:200]}")
            return answer["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise EngineFailed(f"the node gave no usable answer to {method}: look at its log") from error


def check_geth(plan: Plan) -> None:
    """EngineFailed where a network's nodes are none that are run here."""
    if plan.engine != GETH:
        raise EngineFailed("only networks of geth are run by careseal: start this one with each member's start.sh, or with compose.yaml")


@contextmanager
def running(
    network: Path, plan: Plan, member: Member, passphrase: bytes, program: str | None = None
) -> Iterator[tuple[Ipc, Callable[[], int | None]]]:
    """Run a member's geth within the context, sealing at a gas price of zero; yields the way to it, and what tells whether it ended.

    It waits a while for half of its peers before it seals: sealers that do not see each other run into a deadlock.
    The genesis block is made at the first start. Errors: EngineFailed, KeystoreUnreadable.
    """
    own, binary = network / member.folder, program or found_geth()
    keys = [read_key(own / NODE_KEY, passphrase).hex().encode(), passphrase + b"\n"]
    read_key(own / SEALER_KEY, passphrase)  # geth would say less clearly that it does not open
    if not (own / "data" / "geth" / "chaindata").exists():
        _initialise(binary, network, own)
    # A socket's path has about a hundred bytes at most, and a network's folder may be longer.
    with tempfile.TemporaryDirectory(prefix="careseal-") as short:
        pipes = [_filled(key) for key in keys]
        try:
            command = geth.command(binary, own, plan, member, Path(short) / "geth.ipc", *pipes)
            with (own / "geth.log").open("ab") as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=pipes, start_new_session=True,
                    preexec_fn=_end_with_parent,
                )  # fmt: skip
        except OSError as error:
            raise EngineFailed(f"cannot start {binary}: {error.strerror}") from error
        finally:
            for pipe in pipes:
                os.close(pipe)
        try:
            ipc = Ipc(Path(short) / "geth.ipc")
            _await(ipc, process, own, member)
            # geth raises a price of zero on its command line to one gwei.
            ipc.ask("miner_setGasPrice", "0x0")
            _meet(ipc, len(plan.members) // 2)
            ipc.ask("miner_start")
            yield ipc, process.poll
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def found_geth() -> str:
    """The geth to use: CARESEAL_GETH, or the one on the PATH, or where Go installs programs. EngineFailed where there is none."""
    named = os.environ.get("CARESEAL_GETH")
    found = named or shutil.which("geth") or shutil.which("geth", path=str(Path.home() / "go" / "bin"))
    if not found:
        raise EngineFailed(f"there is no geth: make engines builds {geth.VERSION}, or name yours in CARESEAL_GETH")
    return found


def _initialise(binary: str, network: Path, own: Path) -> None:
    command = (binary, "--datadir", str(own / "data"), "--state.scheme", "hash", "init", str(network / GENESIS))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineFailed(f"{binary} does not make the genesis block: {error}") from error
    if done.returncode:
        shutil.rmtree(own / "data", ignore_errors=True)
        raise EngineFailed(f"{binary} does not take the genesis file: {(done.stderr.splitlines() or ['no reason given'])[-1][:200]}")


def _end_with_parent() -> None:
    """In the child, before it becomes geth: whoever kills the process that runs a node ends the node, in order. Source: prctl(2), Linux."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _filled(content: bytes) -> int:
    """The reading end of a pipe that holds `content`."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(content)
    return reading


def _await(ipc: Ipc, process: subprocess.Popen[bytes], own: Path, member: Member) -> None:
    """Wait until the node answers and can sign: sealing that begins before its account is unlocked fails, and is not tried again."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EngineFailed(f"geth ended at once: {_last_words(own / 'geth.log')}")
        with suppress(EngineFailed):
            ipc.ask("eth_sign", "0x" + member.sealer.hex(), "0x")
            return
        time.sleep(_POLL_SECONDS)
    raise EngineFailed(f"geth does not answer {START_SECONDS:.0f} s after its start: see {own / 'geth.log'}")


def _meet(ipc: Ipc, peers: int) -> None:
    deadline = time.monotonic() + MEET_SECONDS
    while time.monotonic() < deadline and int(ipc.ask("net_peerCount"), 16) < peers:
        time.sleep(_POLL_SECONDS)


def _last_words(log: Path) -> str:
    lines = log.read_bytes()[-4096:].decode(errors="replace").splitlines()
    fatal = [line for line in lines if line.startswith("Fatal")]
    return (fatal or lines or ["no reason given"])[-1][:300]
