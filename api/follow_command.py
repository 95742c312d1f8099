"""`careseal node follow`: the auditor's own node, which re-executes the chain and trusts no hospital."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import console
from api.console import print_json, progress, say
from api.duration import seconds
from api.errors import FAILED, FINDINGS
from api.evidence_commands import read_trusted
from api.language import _, reported
from api.options import JsonOption, NetworkOption

if TYPE_CHECKING:
    from node.follow import Event, Follower

BAD = ("lied", "fork")  # what speaks against somebody


def follow(
    network: NetworkOption,
    peer: Annotated[list[str], typer.Option("--peer", metavar="URL", help=_("A node of the chain, not believed; several times."))],
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help=_("Folder of the chain that is followed; made where there is none."))
    ] = Path("follower"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help=_("Port on loopback; 0 takes a free one."))] = 8546,
    genesis: Annotated[
        Path | None, typer.Option("--genesis", help=_("The chain's genesis file, needed where that allots accounts."))
    ] = None,
    every: Annotated[str, typer.Option("--every", help=_("How often the peers are asked for new blocks, as 1s."))] = "1s",
    once: Annotated[bool, typer.Option("--once", help=_("End when there is nothing more to follow; nothing is served."))] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain through several nodes, re-execute all of it, and serve it read-only. Exit with --once: 0 done, 1 lies, 2 no peer."""
    from node.exported import read_genesis
    from node.follow import Followed, Follower, opened
    from node.peer import Peer
    from node.proof_files import ProofFiles

    trusted, pause, peers = read_trusted(network), seconds(every), [Peer(url) for url in dict.fromkeys(peer)]
    given = None if genesis is None else read_genesis(genesis)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with opened(state, trusted.engine, trusted.chain_id, trusted.trust, peers, given) as chain:
        events: deque[Event] = deque(maxlen=1000)
        proofs, followed = ProofFiles(state / "proofs"), [Followed(one) for one in peers]
        follower = Follower(chain, trusted.trust, followed, proofs, time.time, lambda event: events.append(_told(event)))
        with _served(follower, None if once else port):
            _rounds(follower, stop, pause, once=once, shown=not as_json)
        bad = any(event.kind in BAD for event in events)
        code = 0 if not once else FINDINGS if bad else FAILED if follower.behind else 0
        _show(follower, events, as_json)
    raise typer.Exit(code)


def _rounds(follower: Follower, stop: threading.Event, pause: float, *, once: bool, shown: bool) -> None:
    with progress(shown) as rows:
        idle = 0
        while not stop.is_set():
            before = follower.chain.head.number
            if follower.round():
                rows("chain", max(0, follower.chain.head.number - before))
                idle = 0
                continue
            idle += 1
            if once and (not follower.behind or idle > 3):
                return
            stop.wait(pause)


@contextmanager
def _served(follower: Follower, port: int | None) -> Iterator[None]:
    """Serve the chain within the context, where a port is given."""
    from node.http_rpc import Listener
    from node.rpc import ReadRpc

    if port is None:
        yield
        return
    rpc = ReadRpc(follower.chain)

    def answer(body: bytes) -> bytes:
        with follower.chain.standing():
            return rpc.handle_bytes(body)

    listener = Listener(answer, "127.0.0.1", port)
    listener.start()
    try:
        say("serving what is followed at {url}", url=listener.url)
        yield
    finally:
        listener.close()


def _told(event: Event) -> Event:
    texts = {
        "failed": _("{peer}: {reason}"),
        "lied": _("{peer} LIED about block {block}: {reason}"),
        "reorganised": _("reorganised from block {block} on: {peer} has a heavier branch"),
        "fork": _("FORK at block {block}, shown by {peer}: both are final, a third of the validators or more sealed twice"),
    }
    text = texts[event.kind].format(peer=event.peer, block=event.block, reason=reported(event.reason))
    console.err.print(text, markup=False)
    return event


def _show(follower: Follower, events: Iterable[Event], as_json: bool) -> None:
    head, chain = follower.chain.head, follower.chain
    digest = "0x" + chain.store.block_hash(head.number).hex()
    sealers = ["0x" + sealer.hex() for sealer in sorted(chain.walk_at(head.number).sealers.current)]
    if as_json:
        print_json({
            "ok": not follower.behind and not any(event.kind in BAD for event in events), "block": head.number, "hash": digest,
            "validators": sealers, "events": [asdict(event) for event in events], "proofs": [str(path) for path in follower.proofs.paths()],
            "peers": [{"url": one.peer.url, "block": one.head if one.head >= 0 else None, "state": one.state} for one in follower.peers],
        })  # fmt: skip
        return
    states = {
        "new": _("not asked yet"), "agrees": _("agrees"), "lags": _("lags behind"),
        "branch": _("is on a branch that weighs no more"), "fork": _("has another final block"),
    }  # fmt: skip
    say("followed up to block {block}, {hash}, {n} sealers", block=head.number, hash=digest, n=len(sealers))
    for one in follower.peers:
        state = states.get(one.state) or reported(one.state)
        say("{peer}: block {block}, {state}", peer=one.peer.url, block=one.head if one.head >= 0 else "-", state=state)
    if follower.proofs.paths():
        say("proofs of what peers gave that is not of the chain: {n} files in {folder}", n=len(follower.proofs.paths()),
            folder=follower.proofs.folder)  # fmt: skip
