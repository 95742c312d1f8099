"""Evidence that is older than the root of trust, proved anew from the chain's present state: what is there once stays there."""

from __future__ import annotations

from web3 import Web3

from anchoring.container import encode, plain, read_container
from anchoring.errors import EvidenceInvalid
from anchoring.evidence import Proved, verify_evidence
from anchoring.ground import gather
from anchoring.network import Network
from anchoring.opening import open_subject


def refresh_evidence(data: bytes, w3: Web3, network: Network) -> tuple[bytes, Proved]:
    """The same evidence with the chain's part of now, and what it proves. The old chain part is not looked at, and need not hold.

    EvidenceInvalid where the rest does not hold, or is of another chain; AnchoringError where the chain does not prove its checkpoint.
    """
    parts = read_container(data)
    open_subject(parts)
    checkpoint = parts["checkpoint"]
    if checkpoint["chain_id"] != network.chain_id:
        raise EvidenceInvalid("network", f"the evidence is of chain {checkpoint['chain_id']}, the network file of chain {network.chain_id}")
    place = checkpoint["generation"], checkpoint["index"]
    ground, _ = gather(w3, network, checkpoint["institution"], parts["institution"]["name"], place)
    if ground["checkpoint"] != checkpoint:
        raise EvidenceInvalid("checkpoint", "the chain holds another checkpoint under this number")
    fresh = encode(plain(parts | ground))  # type: ignore[arg-type]
    return fresh, verify_evidence(fresh, network)
