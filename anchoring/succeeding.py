"""Carrying out a succession: the predecessor's end is noted, and every institution begins on the successor at its head there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eth_utils.address import to_checksum_address
from web3 import Web3

from anchoring import proofs
from anchoring.chain_state import ChainState, collected
from anchoring.errors import AnchoringError, JournalDiverged, LinkBroken
from anchoring.founding import join
from anchoring.link import Link, consortium_of, trusted_network
from anchoring.network import NETWORK, Network, encode_network, institution_name
from anchoring.succession import (
    CONTRACT,
    Fetch,
    Head,
    Storage,
    check_successor,
    commitment,
    encode_succession,
    heads_at,
    verify_predecessor,
    verify_succession,
)
from contracts.actions import set_contract
from contracts.calls import deploy_succession
from contracts.layout import predecessor_slot
from ledger.files import write_durably
from ledger.home import Home, Settings, write_settings
from ledger.journal import Checkpoint
from ledger.wire import Kind, decode_entry
from node.confirmation import Headers
from node.errors import Unconfirmed


def predecessor_part(w3: Web3, network: Network) -> dict[str, Any]:
    """What a succession file says of the predecessor, whose newest block that counts by now becomes its last.

    AnchoringError where none counts, or the chain's node does not prove what it says.
    """
    headers, state = _ground(w3, network)
    kept: list[Sequence[bytes]] = []
    try:
        heads_at(Storage(headers.header, _recorded(state, kept)), network)
    except LinkBroken as error:
        raise AnchoringError(f"the chain's node does not prove where the journals stand, {error}: use another node") from error
    head = headers.header
    part = {
        "block": head.number, "chain": proofs.chain_part(headers), "hash": proofs.hash_of(head, network),
        "network": encode_network(network), "proofs": kept,
    }  # fmt: skip
    verify_predecessor(part)
    return part


def finished(w3: Web3, network: Network, part: Mapping[str, Any]) -> bytes:
    """The succession file, proved at the successor's newest block that counts by now.

    AnchoringError naming the institution whose journal did not begin there yet, or what else does not hold.
    """
    before = verify_predecessor(part)
    headers, state = _ground(w3, network)
    kept: list[Sequence[bytes]] = []
    committed = commitment(part["network"], before.block, before.block_hash)
    try:
        check_successor(Storage(headers.header, _recorded(state, kept)), network, committed, before.heads)
    except LinkBroken as error:
        raise AnchoringError(f"the succession is not finished, {error}") from error
    data = encode_succession({"predecessor": part, "successor": {"chain": proofs.chain_part(headers), "proofs": kept}})
    verify_succession(data, network)
    return data


def move(
    home: Home, link: Link, chain: str, part: Mapping[str, Any], now: int, write_kit: Callable[[Settings], None]
) -> Settings:
    """Begin on the successor, to which `link` leads, with the journal's head on the predecessor; then the home belongs to the successor.

    `now` in milliseconds since 1970 UTC; `chain` is the successor's folder or URL. Killed anywhere and run again, it goes on. The first
    to move commits the successor to the predecessor. AnchoringError, with nothing changed in the home, where the part is of another
    chain than the home's, or the successor of another predecessor; JournalDiverged where the home lacks what the predecessor has.
    """
    before = verify_predecessor(part)
    if consortium_of(before.network) != consortium_of(trusted_network(home.settings)):
        raise AnchoringError("the succession is of another consortium than this home's, or this home moved already")
    head = before.heads.get(institution_name(home.settings.name))
    _check_head(home, head)
    link.check()
    link.state()
    institution = join(link, home.settings.name)
    _commit(link, commitment(part["network"], before.block, before.block_hash))
    anchored = None if head is None else _begin(home, link, head)
    network = link.network
    settings = replace(
        home.settings, chain=chain, chain_id=network.chain_id, consortium=to_checksum_address(network.consortium),
        journals=to_checksum_address(network.journals), institution=institution, network=encode_network(network).decode(),
    )  # fmt: skip
    write_kit(settings)
    with home.store.transaction():
        if anchored is None:
            home.journal.forget_anchors(0)
        else:
            home.journal.begin_anew(anchored)
    about = {"block": before.block, "chain_id": network.chain_id, "hash": before.block_hash.hex(), "size": head.size if head else 0}
    if all(document.get("succession") != about for _, _, document in home.journal.documents_of(Kind.CONFIGURATION)):
        with home.batch(now) as batch:
            batch.add_event(Kind.CONFIGURATION, {"succession": about}, now)
    write_durably(home.path / NETWORK, encode_network(network))
    write_settings(home.path, settings, home.keyring)
    return settings


def _check_head(home: Home, head: Head | None) -> None:
    if head is None:
        return
    if head.generation:
        raise AnchoringError(
            f"this journal is in generation {head.generation} on the predecessor: only journals that never began anew can move"
        )
    if head.size > home.journal.size or home.journal.tree.root(head.size) != head.root:
        raise JournalDiverged("the journal of this home is not the one on the predecessor: run careseal verify, then restore it")


def _commit(link: Link, committed: bytes) -> None:
    """Have the successor name the predecessor; its first member does. AnchoringError where it names another, or has members already."""
    if named := link.consortium.contracts(CONTRACT):
        # The node's word: it is proved when the file is finished.
        if bytes(link.w3.eth.get_storage_at(named[0].address, predecessor_slot())) != committed:
            raise AnchoringError("the successor named another predecessor, or another last block: use the succession file of its founder")
        return
    if link.consortium.member_count() > 1:
        raise AnchoringError("the successor names no predecessor, and only its first member can do that: found another successor")
    made = link.send(deploy_succession(link.w3, committed, nonce=link.nonce()))
    link.send(link.consortium.propose(set_contract(CONTRACT, str(made["contractAddress"])), nonce=link.nonce()))


def _begin(home: Home, link: Link, head: Head) -> Checkpoint:
    """The first checkpoint on the successor, which is the head on the predecessor, once it counts."""
    if link.head().last is None:
        link.send(link.journals.publish(0, 0, head.size, head.root, [], nonce=link.nonce()))

    def look() -> Any:
        state = link.confirmed()
        counts = None if state is None else state.counts([0])[0]
        return state.checkpoint(0, 0) if state is not None and counts else None

    found = link.wait(look)
    if (found.size, found.root) != (head.size, head.root):
        raise AnchoringError("on the successor this institution's journal began with another head than the predecessor's")
    known = home.journal.checkpoint_of(0, head.size)
    sealed = decode_entry(home.journal.entry(head.size - 1)).time if known is None else known.time
    return link.anchored(Checkpoint(0, head.size, head.root, sealed), found)


def _ground(w3: Web3, network: Network) -> tuple[Headers, ChainState]:
    try:
        headers = collected(w3, network)
    except Unconfirmed as error:
        raise AnchoringError(f"no block counts now: {error}") from error
    return headers, ChainState(w3, network, 0, headers.header)


def _recorded(state: ChainState, kept: list[Sequence[bytes]]) -> Fetch:
    def fetch(address: bytes, slots: Sequence[int]) -> Sequence[Sequence[bytes]]:
        proved = state.proof(address, slots)
        kept.extend(proved)
        return proved

    return fetch
