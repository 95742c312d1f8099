"""Succession: one consortium goes on where another ended, with other contracts, another engine or on another chain.

A succession file proves it offline. On the predecessor: the last block that counts, and where every institution's journal stood there.
On the successor: the members' commitment to that block and to the predecessor's network file, and that every one of those journals
begins at exactly that head. So the successor's network file leads to the predecessor's, and evidence made before verifies across.
Pure: imports no web3, no py-evm and no SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from anchoring import proofs
from anchoring.container import CHAIN, MAX_BYTES, PROOF, Many, Spec, encode, is_bounded, plain, read_form
from anchoring.errors import EvidenceInvalid, LinkBroken, NetworkInvalid
from anchoring.evidence import Proved, refusing, verify_evidence
from anchoring.network import Network, decode_network
from careseal import read_json
from contracts.actions import contract_name
from contracts.artifacts import load
from contracts.layout import (
    checkpoint_slots,
    contract_slot,
    count_slot,
    generation_slot,
    institution_count_slot,
    institution_slots,
    named_slot,
    predecessor_slot,
)
from node import mpt
from node.header import Header

VERSION = "succession/1"
CONTRACT = "succession"  # its name in the consortium's list of contracts
_DOMAIN = b"careseal/v1/predecessor"
_MAX_PROOFS = 1 << 14
_SLOTS = 64  # proved in one request, of which nodes take up to 1024
_PROOFS: Spec = Many(PROOF, _MAX_PROOFS)
_FORM: dict[str, Spec] = {
    "careseal": "text",
    "predecessor": {"block": "int", "chain": CHAIN, "hash": "hex", "network": "hex", "proofs": _PROOFS},
    "successor": {"chain": CHAIN, "proofs": _PROOFS},
}  # fmt: skip

Fetch = Callable[[bytes, Sequence[int]], Sequence[Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class Head:
    """Where an institution's journal stood at the predecessor's last block. `name` is the commitment to its name, 32 bytes."""

    institution: int
    name: bytes
    generation: int
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Predecessor:
    """What came before: its network file, its last block that counts, and the heads at that block, by the commitments to names."""

    network: Network
    block: int
    block_hash: bytes
    heads: Mapping[bytes, Head]


@dataclass(frozen=True, slots=True)
class Storage:
    """Words of contracts' storage at one block. `fetch` gives the proofs of an account and of its slots, which are not believed."""

    header: Header
    fetch: Fetch

    def words(self, link: str, address: bytes, code_hash: bytes, slots: Sequence[int]) -> list[int]:
        """The words in these slots of the contract with this code. LinkBroken of `link` where they are not proved."""
        words: list[int] = []
        for first in range(0, len(slots), _SLOTS):
            part = slots[first : first + _SLOTS]
            account, *nodes = self.fetch(address, part)
            root = self._root(link, address, code_hash, account)
            words += [proofs.read_word(link, root, slot, proof) for slot, proof in zip(part, nodes, strict=True)]
        return words

    def _root(self, link: str, address: bytes, code_hash: bytes, proof: Sequence[bytes]) -> bytes:
        account = proofs.checked(link, lambda: mpt.verify_account(self.header.state_root, address, proof))
        if account.code_hash != code_hash:
            raise LinkBroken(link, "there is another contract at the address")
        return account.storage_root


def commitment(network: bytes, block: int, block_hash: bytes) -> bytes:
    """What the successor's members commit to: SHA-256 of the domain, the block's number (8 bytes), its hash, and the network file."""
    return sha256(_DOMAIN + block.to_bytes(8, "big") + block_hash + network).digest()


def heads_at(storage: Storage, network: Network) -> dict[bytes, Head]:
    """The head of every journal of an institution that is a member, by the commitment to its name. Link: predecessor."""

    def consortium(*slots: int) -> list[int]:
        return storage.words("predecessor", network.consortium, network.consortium_code, slots)

    def journals(*slots: int) -> list[int]:
        return storage.words("predecessor", network.journals, network.journals_code, slots)

    heads = {}
    (count,) = consortium(institution_count_slot())
    for number in range(1, count + 1):
        slots = institution_slots(number)
        name, until = consortium(slots.name, slots.until_block)
        (generation,) = journals(generation_slot(number))
        (checkpoints,) = journals(count_slot(number, generation))
        if until or not checkpoints:
            continue
        size, root, _ = proofs.read_checkpoint(*journals(*checkpoint_slots(number, generation, checkpoints - 1)))
        commitment_to_name = name.to_bytes(32, "big")
        heads[commitment_to_name] = Head(number, commitment_to_name, generation, size, root)
    return heads


def check_successor(storage: Storage, network: Network, committed: bytes, heads: Mapping[bytes, Head]) -> None:
    """LinkBroken of `successor` unless the members committed to the predecessor, and every journal begins where it stood there."""

    def consortium(*slots: int) -> list[int]:
        return storage.words("successor", network.consortium, network.consortium_code, slots)

    (account,) = consortium(contract_slot(contract_name(CONTRACT), 0))
    if not account:
        raise LinkBroken("successor", "its members named no predecessor")
    address = (account % (1 << 160)).to_bytes(20, "big")
    (word,) = storage.words("successor", address, load("Succession").code_hash, [predecessor_slot()])
    if word.to_bytes(32, "big") != committed:
        raise LinkBroken("successor", "its members committed to another predecessor, or to another last block of it")
    for head in heads.values():
        (number,) = consortium(named_slot(head.name))
        if not number:
            raise LinkBroken("successor", f"it dropped institution {head.institution} of the predecessor and its {head.size} entries")
        words = storage.words("successor", network.journals, network.journals_code, checkpoint_slots(number, 0, 0))
        if not words[0]:
            raise LinkBroken("successor", f"the journal of institution {head.institution} of the predecessor did not begin there yet")
        size, root, _ = proofs.read_checkpoint(*words)
        if (size, root) != (head.size, head.root):
            raise LinkBroken("successor", f"it changed the head of institution {head.institution} of the predecessor")


def verify_succession(data: bytes, successor: Network) -> Predecessor:
    """What a succession file proves under the successor's network file. EvidenceInvalid that names the first broken link."""
    values = _parsed(data)
    before, after = values["predecessor"], values["successor"]
    predecessor = verify_predecessor(before)
    with refusing():
        headers = proofs.read_chain(after["chain"])
        proofs.confirm(headers, successor)
        proved = iter(after["proofs"])
        committed = commitment(before["network"], predecessor.block, predecessor.block_hash)
        check_successor(Storage(headers.header, given(proved)), successor, committed, predecessor.heads)
        if next(proved, None) is not None:
            raise LinkBroken("container", "it holds a proof that proves nothing")
    return predecessor


def verify_predecessor(part: Mapping[str, Any]) -> Predecessor:
    """What a file says of the predecessor, proved from the predecessor's own network file. EvidenceInvalid."""
    try:
        network = decode_network(part["network"])
    except NetworkInvalid as error:
        raise EvidenceInvalid("predecessor", "its network file is none") from error
    with refusing():
        headers = proofs.read_chain(part["chain"])
        proofs.confirm(headers, network)
        proved = iter(part["proofs"])
        heads = heads_at(Storage(headers.header, given(proved)), network)
        digest = proofs.hash_of(headers.header, network)
        if (headers.header.number, digest) != (part["block"], part["hash"]) or next(proved, None) is not None:
            raise LinkBroken("predecessor", "its last block is not the one that is proved, or a proof proves nothing")
    return Predecessor(network, part["block"], part["hash"], heads)


def verify_across(data: bytes, network: Network, files: Sequence[bytes]) -> Proved:
    """What evidence proves under a network file, or under one of its predecessors', to which succession files lead, the latest first.

    EvidenceInvalid naming the first broken link, of the succession, or of the evidence under the network of its chain.
    """
    trusted: list[tuple[Network, int | None]] = [(network, None)]
    for file in files:
        before = verify_succession(file, trusted[-1][0])
        trusted.append((before.network, before.block))
    refused: EvidenceInvalid | None = None
    for known, last in trusted:
        try:
            proved = verify_evidence(data, known)
        except EvidenceInvalid as error:
            # Of another chain says nothing where there is a network file of its own chain.
            refused = error if refused is None or refused.link == "network" else refused
            continue
        if last is not None and proved.anchored.header_block > last:
            raise EvidenceInvalid("predecessor", f"block {proved.anchored.header_block} is later than {last}, where the successor begins")
        return proved
    assert refused is not None  # noqa: S101 -- there is one network at least
    raise refused


def given(listed: Iterator[Sequence[bytes]]) -> Fetch:
    """Proofs as a file holds them, in the order in which they are asked for."""

    def fetch(address: bytes, slots: Sequence[int]) -> list[Sequence[bytes]]:
        taken = [proof for _, proof in zip(range(1 + len(slots)), listed, strict=False)]
        if len(taken) != 1 + len(slots):
            raise LinkBroken("container", "a proof is missing")
        return taken

    return fetch


def encode_succession(parts: Mapping[str, object]) -> bytes:
    """The bytes of a succession file; of one that is not finished, where the part `successor` is missing."""
    return encode({"careseal": VERSION, **{name: plain(part) for name, part in parts.items()}})


def read_unfinished(data: bytes) -> Mapping[str, Any]:
    """The part `predecessor` of a succession file, finished or not. EvidenceInvalid."""
    values = _loaded(data)
    form = {name: spec for name, spec in _FORM.items() if name in values or name != "successor"}
    part: Mapping[str, Any] = read_form("succession", form, values)["predecessor"]
    return part


def _parsed(data: bytes) -> Mapping[str, Any]:
    values = _loaded(data)
    if "successor" not in values:
        raise EvidenceInvalid("successor", "this succession is not finished: run careseal network succession once all institutions moved")
    return read_form("succession", _FORM, values)


def _loaded(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise EvidenceInvalid("container", f"larger than {MAX_BYTES} bytes")
    try:
        if not is_bounded(data.removesuffix(b"\n")):
            raise ValueError
        values = read_json(data)
        whole = isinstance(values, dict) and encode(values) == data
    except (ValueError, TypeError) as error:
        raise EvidenceInvalid("container", "edited, truncated, or no succession file: not JSON") from error
    if not whole or values.get("careseal") != VERSION:
        raise EvidenceInvalid("container", "this is no succession file of a version that this program reads, or it was edited")
    return dict(values)
