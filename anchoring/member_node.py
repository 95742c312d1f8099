"""One institution's node of a network, in the foreground: geth, the gateway before it, and the founding of the consortium where asked."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from anchoring.founding import deploy
from anchoring.gateway import Gateway
from anchoring.link import one_line_errors
from anchoring.network import ENGINE, NETWORK, Network, encode_network, read_network
from ledger.files import write_durably
from node.client import over
from node.confirmation import Trust
from node.errors import EngineFailed
from node.http_rpc import Listener
from node.networks.plan import Plan, read_plan
from node.networks.running import Ipc, check_geth, running
from node.networks.runs import alone, announce
from node.networks.watchdog import Watchdog

_LOOK_SECONDS = 0.5


def run(
    network: Path, number: int, passphrase: bytes, stop: threading.Event, *, found: bool = False,
    told: Callable[[str], None] = lambda url: None,
) -> None:  # fmt: skip
    """Run the node of member `number` until `stop` is set; `told` gets the gateway's address once it answers.

    With `found` the contracts are deployed first, unless the network has its file already. EngineFailed where geth ends by itself,
    ChainError where the gateway's port is taken, KeystoreUnreadable for another passphrase.
    """
    plan = read_plan(network)
    check_geth(plan)
    member = plan.member(number)
    own = network / member.folder
    with alone(own), running(network, plan, member, passphrase) as (ipc, ended):
        gateway = Gateway(ipc.send, plan.chain_id, plan.gas_limit, _Founded(network / NETWORK))
        listener = Listener(gateway.handle_bytes, "127.0.0.1", member.rpc_port)
        listener.start()
        neighbours = [other.enode for other in plan.members if other != member]
        watchdog, unwatched = Watchdog(ipc, member.sealer, plan.period, random.random, neighbours), threading.Event()
        watching = threading.Thread(target=_watch, args=(watchdog, unwatched), name="watchdog", daemon=True)
        watching.start()
        try:
            announce(own, os.getpid(), listener.url, ipc.path)
            if found and not (network / NETWORK).exists():
                write_durably(network / NETWORK, encode_network(_found(ipc, plan)))
            told(listener.url)
            while not stop.wait(_LOOK_SECONDS):
                if (code := ended()) is not None:
                    raise EngineFailed(f"geth ended by itself ({code}): see {own / 'geth.log'}, then start it again; nothing is lost")
        finally:
            unwatched.set()
            watching.join()
            listener.close()


def _watch(watchdog: Watchdog, unwatched: threading.Event) -> None:
    while not unwatched.wait(_LOOK_SECONDS):
        watchdog.look(time.monotonic())


class _Founded:
    """The consortium's network file, read once it is there."""

    def __init__(self, path: Path) -> None:
        self._path, self._known = path, None

    def __call__(self) -> Network | None:
        if self._known is None and self._path.is_file():
            self._known = read_network(self._path)
        return self._known

    _known: Network | None


def _found(ipc: Ipc, plan: Plan) -> Network:
    """Deploy the contracts by a key that is used for nothing else and forgotten: they have no owner."""
    w3 = over(ipc.send)
    first = w3.eth.get_block(0)
    sealers = tuple(sorted(member.sealer for member in plan.members))
    with one_line_errors():
        return deploy(w3, os.urandom(32), ENGINE, Trust(0, bytes(first["hash"]), sealers, plan.period, plan.epoch))
