"""What keeps a Clique network going after its sealers ran into a deadlock.

Sealers that lost sight of each other may each seal a block of the same height and difficulty. Each node then keeps its own, may not
seal on top of it, as it signed it, and waits for others who wait as well. A node that gives its own block up takes a neighbour's and
seals on that one, and its chain is the heavier one for all. It has to meet its neighbours anew for that: how much a chain weighs they
say when they meet, afterwards only of new blocks, and often of those no more than the hash. Source: EIP-225, on the limit of recent
signatures; go-ethereum 1.13.15, `consensus/clique/clique.go`, `eth/sync.go` and `eth/handler_eth.go`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from node.errors import EngineFailed
from node.networks.running import Ipc

STILL_PERIODS = 15
STILL_SECONDS = 20.0
SYNC_SECONDS = 45.0  # geth dials a neighbour again after 35 s, unless that one dials before

log = logging.getLogger(__name__)


class Watchdog:
    """Looks after one node of a network with blocks every `period` seconds. `random` gives a number from 0 to 1, `neighbours` are the
    enode URLs of the other nodes.

    Nothing confirmed is given up: only a block that the node sealed itself and nobody built on.
    """

    def __init__(self, ipc: Ipc, account: bytes, period: int, random: Callable[[], float], neighbours: Sequence[str]) -> None:
        self._ipc, self._account, self._random, self._neighbours = ipc, "0x" + account.hex(), random, neighbours
        self._patience = max(STILL_PERIODS * period, STILL_SECONDS)
        self._head: str | None = None
        self._until = 0.0
        self._resume: float | None = None

    def look(self, now: float) -> bool:
        """Look at the node at `now`, in seconds of a clock that only goes forward; whether its own last block was given up."""
        with suppress(EngineFailed, KeyError, TypeError, ValueError):
            head = self._ipc.ask("eth_getBlockByNumber", "latest", False)
            if head["hash"] != self._head:
                self._head = head["hash"]
                # Not all at once: when two give up together, neither has anything to take over.
                self._until = now + self._patience * (1 + self._random())
                self._seal_again()
            elif self._resume is not None and now > self._resume:
                self._seal_again()
            elif now > self._until:
                self._until = now + self._patience * (1 + self._random())
                return self._give_up(head, now)
        return False

    def _give_up(self, head: dict[str, str], now: float) -> bool:
        number = int(head["number"], 16)
        if not number or not int(self._ipc.ask("net_peerCount"), 16) or self._ipc.ask("clique_getSigner", hex(number)) != self._account:
            return False
        self._ipc.ask("miner_stop")
        self._resume = now + SYNC_SECONDS
        self._ipc.ask("debug_setHead", hex(number - 1))
        for neighbour in self._neighbours:
            self._ipc.ask("admin_removePeer", neighbour)
            self._ipc.ask("admin_addPeer", neighbour)
        self._head = self._ipc.ask("eth_getBlockByNumber", "latest", False)["hash"]
        log.warning("block %d was sealed here, and nobody goes on: taking a neighbour's instead", number)
        return True

    def _seal_again(self) -> None:
        if self._resume is not None:
            self._ipc.ask("miner_start")
            self._resume = None
