"""The part of evidence that comes from the chain: a checkpoint, proved at a block that counts. One serves for many files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web3 import Web3

from anchoring.chain_state import ChainState, collected
from anchoring.errors import AnchoringError, EvidenceInvalid
from anchoring.evidence import Anchored, verify_anchor
from anchoring.network import Network
from anchoring.proofs import chain_part
from contracts.layout import checkpoint_slots, institution_slots
from node.errors import Unconfirmed

Place = tuple[int, int]  # a checkpoint's generation, and its index in that


def gather(w3: Web3, network: Network, institution: int, name: bytes, place: Place | None = None) -> tuple[dict[str, Any], Anchored]:
    """The parts chain, checkpoint, institution and storage, and what they prove: of the checkpoint at a place, or of the last one.

    `name` is UTF-8. They are proved at the newest block that counts by now. AnchoringError where none does, or there is no checkpoint;
    NodeNotBelieved where the chain's node does not prove what it says.
    """
    try:
        headers = collected(w3, network)
    except Unconfirmed as error:
        raise AnchoringError(f"no evidence can be made now: {error}") from error
    state = ChainState(w3, network, institution, headers.header)
    last = state.head().last if place is None else state.checkpoint(*place)
    if last is None:
        raise AnchoringError("nothing of this journal is anchored yet: run careseal seal first")
    account, meta, root = state.proof(network.journals, checkpoint_slots(institution, last.generation, last.index))
    member, proof = state.proof(network.consortium, [institution_slots(institution).name])
    parts: dict[str, Any] = {
        "chain": chain_part(headers),
        "checkpoint": {
            "chain_id": network.chain_id,
            "generation": last.generation,
            "index": last.index,
            "institution": institution,
            "root": last.root,
            "size": last.size,
        },
        "institution": {"account": member, "name": name, "proof": proof},
        "storage": {"account": account, "meta": meta, "root": root},
    }
    return parts, checked(parts, network)


def checked(parts: Mapping[str, Any], network: Network) -> Anchored:
    """What the parts prove. AnchoringError where that is nothing: the node gave something else than it should."""
    try:
        return verify_anchor(parts, network)
    except EvidenceInvalid as error:
        raise AnchoringError(f"no evidence can be made of what the chain's node gives, {error}: use another node") from error
