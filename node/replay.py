"""An exported chain, re-executed from its genesis.

The format is that of nodes: `engine`, `genesis` as geth, GoQuorum and Besu read it, and `blocks` as eth_getBlockByNumber gives them with
their transactions in full. Nothing in it is believed but the genesis: whoever trusts that knows what the chain holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node import header
from node.errors import ExportInvalid, NodeError
from node.genesis import rules_of
from node.walk import Walk, check_first


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to. `blocks` and `transactions` count those that hold, `head` is the hash of the last of them, `sealers` are in
    force after it. `wrong` is the number of the first block that does not hold, and `reason` why; None where all do.
    """

    engine: str
    blocks: int
    transactions: int
    head: bytes
    sealers: tuple[bytes, ...]
    wrong: int | None = None
    reason: str = ""


def replay(exported: object) -> Replayed:
    """Re-execute an exported chain. ExportInvalid where it is none that can be: another format, engine, or rules that are not known."""
    if not isinstance(exported, dict) or not isinstance(exported.get("genesis"), dict) or not isinstance(exported.get("blocks"), list):
        raise ExportInvalid("this is no exported chain: it needs engine, genesis and blocks")
    genesis, blocks = exported["genesis"], exported["blocks"]
    rules = rules_of(exported.get("engine"), genesis)
    if not blocks:
        raise ExportInvalid("this exported chain has no block")
    walk: Walk | None = None
    done = transactions = 0
    reason: str | None = None
    for block in blocks:
        try:
            if not isinstance(block, dict):
                raise ExportInvalid("it is no block")
            if walk is None:
                begun = Walk.begin(rules, genesis)
                _check_genesis(block, begun)
                walk = begun
            else:
                step = walk.check(block)
                walk.go(step)
                transactions += len(step.transactions)
        except NodeError as error:
            reason = str(error)
            break
        done += 1
    last, sealers = (bytes(32), ()) if walk is None else (walk.hash, tuple(sorted(walk.sealers.current)))
    return Replayed(rules.engine, done, transactions, last, sealers, None if reason is None else done, reason or "")


def _check_genesis(block: Mapping[str, Any], walk: Walk) -> None:
    check_first(header.from_rpc(block), walk.head)
    if block.get("hash") != "0x" + walk.hash.hex() or block.get("transactions") != []:
        raise ExportInvalid("block 0 has another hash than its header, or transactions")
