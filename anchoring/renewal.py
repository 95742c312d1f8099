"""Network files: of a consortium that is founded on a running chain, and newer ones, after its sealers changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from web3 import Web3

from anchoring.chain_state import raw_header
from anchoring.errors import AnchoringError
from anchoring.founding import deploy
from anchoring.network import Network
from node.confirmation import Trust
from node.engines import ENGINES
from node.genesis import consensus_of, engine_of
from node.given import octets

Progress = Callable[[int], None]


def found(w3: Web3, genesis: Mapping[str, Any], progress: Progress = lambda blocks: None) -> Network:
    """Deploy the contracts on the chain of `genesis` by a key that is used for nothing else and forgotten: they have no owner.

    Returns the network file that everybody trusts. AnchoringError where the node is of another chain, or the chain does not go on.
    """
    engine = engine_of(genesis)
    rules, first = consensus_of(engine, genesis), raw_header(w3, 0, engine)
    if w3.eth.chain_id != rules.chain_id or first.extra_data != octets(genesis.get("extraData", "0x")):
        raise AnchoringError("the node is of another chain than the genesis file: check --rpc and --genesis")
    sealers = tuple(sorted(ENGINES[engine].listed(first)))
    trust = Trust(0, ENGINES[engine].block_hash(first), sealers, max(1, rules.period), rules.epoch)
    trust = _renewed(w3, engine, trust, progress)
    return deploy(w3, os.urandom(32), engine, trust)


def renewed(w3: Web3, network: Network, progress: Progress = lambda blocks: None) -> Network:
    """The network file with the newest block that counts and those who seal after it, all proved from the older file.

    AnchoringError (NodeNotBelieved) where the node shows another chain; Unconfirmed and SealInvalid where the older file does not lead
    to its blocks.
    """
    if ENGINES[network.engine].block_hash(raw_header(w3, network.block, network.engine)) != network.block_hash:
        raise AnchoringError("the node is of another chain than the network file: check --rpc and --network")
    trust = _renewed(w3, network.engine, network.trust, progress)
    return replace(network, block=trust.block, block_hash=trust.block_hash, sealers=trust.sealers)


def _renewed(w3: Web3, engine: str, trust: Trust, progress: Progress) -> Trust:
    def fetch(number: int) -> Any:
        progress(1)
        return raw_header(w3, number, engine)

    return ENGINES[engine].renew(raw_header(w3, None, engine), fetch, trust)
