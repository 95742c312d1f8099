"""Who runs a member's node on this machine: one process, under a lock, which tells where the node is reached."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from careseal import read_json
from node.errors import NetworkPlanInvalid

RUN = "run.json"
LOCK = "run.lock"


@dataclass(frozen=True, slots=True)
class Run:
    """A process that runs a node: its id, the gateway's address, the node's own socket."""

    pid: int
    url: str
    ipc: Path


@contextmanager
def alone(own: Path) -> Iterator[None]:
    """Be the one process that runs the node of the folder `own`. NetworkPlanInvalid where another one does."""
    try:
        file = (own / LOCK).open("wb")
    except OSError as error:
        raise NetworkPlanInvalid(f"cannot write {own / LOCK}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NetworkPlanInvalid(f"the node in {own} runs already: stop it first with careseal network stop") from None
        (own / RUN).unlink(missing_ok=True)  # of a process that was killed
        try:
            yield
        finally:
            (own / RUN).unlink(missing_ok=True)


def announce(own: Path, pid: int, url: str, ipc: Path) -> None:
    """Tell where the node is reached, whole or not at all."""
    part = own / f".{RUN}.part"
    part.write_text(json.dumps({"pid": pid, "url": url, "ipc": str(ipc)}))
    part.replace(own / RUN)


def runs(own: Path) -> Run | None:
    """The process that runs the node of the folder `own` and has told where, None where none does."""
    try:
        with (own / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                pass
        found = read_json((own / RUN).read_bytes()[:4096])
        return Run(int(found["pid"]), str(found["url"]), Path(found["ipc"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
