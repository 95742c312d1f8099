"""Evidence: one file that proves what a journal holds, verified without database, network or this program's other parts.

The verifier follows the links of the proof in order and stops at the first that is broken: container, record, configuration,
journal, history, audit, network, header, storage, checkpoint, institution, seal, confirmation, timestamp. It derives every storage
slot itself and imports no web3, no py-evm and no SQLAlchemy. Every field of the file takes part in a check; a field that proves
nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from anchoring import proofs
from anchoring.container import Part, read_container
from anchoring.errors import EvidenceInvalid, LinkBroken
from anchoring.network import Network, institution_name
from anchoring.opening import Record, Report, open_subject
from anchoring.stamped import Stamped, open_stamped
from contracts.layout import checkpoint_slots, institution_slots
from ledger.errors import LedgerError
from node.header import Header


@dataclass(frozen=True, slots=True)
class Anchored:
    """The checkpoint that the evidence stands on, as the chain holds it. Times are seconds since 1970 UTC.

    `block` is the one that took the checkpoint in, `header_block` and `header_time` are those of the header that proves it. `final`:
    no other block can take its place while fewer than a third of the sealers cheat; else it is confirmed by `sealers`, of as many as
    `sealers_of`. Nobody is listed where the header is the trusted block itself.
    """

    institution: int
    name: str
    chain_id: int
    engine: str
    generation: int
    size: int
    root: bytes
    block: int
    header_block: int
    header_time: int
    final: bool
    sealers: tuple[bytes, ...]
    sealers_of: int


@dataclass(frozen=True, slots=True)
class Proved:
    """What valid evidence proves: of a record or of an audit, by a checkpoint. Later versions of a record are not excluded by it.

    `stamped` is a time stamp that comes with it, of which `anchoring.stamped.check_stamp` tells whether it holds.
    """

    kind: str
    anchored: Anchored
    subject: Record | Report
    stamped: Stamped | None = None

    @property
    def record(self) -> Record:
        """The record; LedgerError where the evidence is of an audit."""
        if not isinstance(self.subject, Record):
            raise LedgerError("this is evidence of an audit, not of a record: give evidence of a record")
        return self.subject


def verify_evidence(data: bytes, network: Network) -> Proved:
    """What the evidence proves under this network file. Raises EvidenceInvalid that names the first broken link."""
    parts = read_container(data)
    subject = open_subject(parts)
    anchored, stamped = verify_anchor(parts, network), None
    if "timestamp" in parts:
        last = subject.last.index if isinstance(subject, Record) else subject.index
        stamped = open_stamped(parts["timestamp"], last, parts["checkpoint"], network)
    return Proved(parts["kind"], anchored, subject, stamped)


def verify_anchor(parts: Mapping[str, Any], network: Network) -> Anchored:
    """The checkpoint of the parts of a container, as the chain holds it. Raises EvidenceInvalid that names the first broken link."""
    with refusing():
        return _anchored(parts, network)


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever link breaks in a file, the file is not valid."""
    try:
        yield
    except EvidenceInvalid:
        raise
    except LinkBroken as error:
        raise EvidenceInvalid(error.link, error.message) from error


def _anchored(parts: Mapping[str, Any], network: Network) -> Anchored:
    checkpoint = parts["checkpoint"]
    if checkpoint["chain_id"] != network.chain_id:
        raise EvidenceInvalid("network", f"the evidence is of chain {checkpoint['chain_id']}, the network file of chain {network.chain_id}")
    headers = proofs.read_chain(parts["chain"])
    head = headers.header
    block = _checkpoint_block(checkpoint, parts["storage"], head, network)
    name = _institution(parts, head, network)
    confirmation = proofs.confirm(headers, network)
    if block > head.number:
        raise EvidenceInvalid("checkpoint", f"block {block} is later than the header's, {head.number}")
    return Anchored(
        checkpoint["institution"], name, network.chain_id, network.engine, checkpoint["generation"], checkpoint["size"],
        checkpoint["root"], block, head.number, head.timestamp, confirmation.final, confirmation.sealers, confirmation.of,
    )  # fmt: skip


def _checkpoint_block(checkpoint: Part, storage: Part, head: Header, network: Network) -> int:
    """The block of the checkpoint, once the contract's storage under the header's state root holds it."""
    contract = proofs.journals_storage(head, network, storage["account"])
    slots = checkpoint_slots(checkpoint["institution"], checkpoint["generation"], checkpoint["index"])
    words = (
        proofs.read_word("storage", contract, slot, proof)
        for slot, proof in zip(slots, (storage["meta"], storage["root"]), strict=True)
    )
    size, root, block = proofs.read_checkpoint(*words)
    if (size, root) != (checkpoint["size"], checkpoint["root"]):
        raise EvidenceInvalid("checkpoint", "the chain holds another checkpoint under this number")
    return block


def _institution(parts: Mapping[str, Part], head: Header, network: Network) -> str:
    """The institution's name, as the consortium's storage under the header's state root commits to it."""
    part = parts["institution"]
    contract = proofs.consortium_storage(head, network, part["account"])
    word = proofs.read_word("institution", contract, institution_slots(parts["checkpoint"]["institution"]).name, part["proof"])
    try:
        name = str(part["name"].decode())
    except UnicodeDecodeError as error:
        raise EvidenceInvalid("institution", "its name is not UTF-8") from error
    if institution_name(name) != word.to_bytes(32, "big"):
        raise EvidenceInvalid("institution", "the consortium knows this institution by another name")
    return name
