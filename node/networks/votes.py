"""Votes on who seals, given by a member's own node in the way of its engine.

Source: go-ethereum 1.13.15, `consensus/clique/api.go`; Besu's JSON-RPC reference, QBFT methods; GoQuorum's API, istanbul.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.errors import EngineFailed, NodeError

_METHODS = {"clique": ("clique_propose",), "qbft": ("qbft_proposeValidatorVote", "istanbul_propose")}


def vote(ask: Callable[..., Any], engine: str, account: bytes, *, add: bool) -> None:
    """Have the node that `ask` asks, a method and its parameters, vote in its next blocks to add or to remove an account that seals.

    The vote counts in a block that the node seals, and is carried out with more than half of those who seal. EngineFailed where the
    node takes no votes.
    """
    refused: NodeError | None = None
    for method in _METHODS[engine]:
        try:
            ask(method, "0x" + account.hex(), add)
            return
        except NodeError as error:
            refused = error
    raise EngineFailed(f"the node takes no vote on who seals: ask the institution's own node, by its folder or loopback ({refused})")
