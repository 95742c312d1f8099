"""Chainpoint-style receipts: journal entries under one root that the journal names in an entry of its own. Validation, pure.

In such a tree leaves and inner nodes are hashed alike, so that an inner node can be passed off as a leaf. Here a target therefore
counts only together with the journal entry whose leaf hash (RFC 9162) it is: an entry is longer than two hashes. And the number of
leaves is journalled, which leaves each leaf one shape of proof. The tree that proves a record remains the journal's own.

Source of the form: Chainpoint v2 receipts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from anchoring.errors import EvidenceInvalid
from anchoring.network import Network, exact_hex
from ledger import canonical
from ledger.canonical import Json
from ledger.errors import ProofError, WireError
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.wire import EventEntry, Kind, RecordEntry, decode_entry

VERSION = "chainpoint/1"
MAX_BYTES = 1 << 25
MAX_LEAVES = 10_000
WARNING = (
    "This tree hashes leaves and inner nodes alike: a targetHash counts only together with the journal entry whose leaf hash it is, "
    "SHA-256 of a zero byte and the entry."
)
CONTEXT, TYPE, ANCHOR = "https://w3id.org/chainpoint/v2", "ChainpointSHA256v2", "CaresealJournal"
_FIELDS: dict[str, set[str]] = {
    "root": {"document", "entry", "index", "proof", "salt"},
    "checkpoint": {"block", "chain_id", "generation", "institution", "journals", "root", "size"},
}


@dataclass(frozen=True, slots=True)
class Receipts:
    """What valid receipts prove: these journal entries existed when entry `index` was journalled.

    That is so if the chain has the checkpoint: `size` entries with this root, which is to be compared with it. `block` is the
    institution's word.
    """

    chain_id: int
    journals: str
    institution: int
    generation: int
    index: int
    size: int
    root: bytes
    block: int
    entries: tuple[RecordEntry, ...]


def is_receipts(data: bytes) -> bool:
    """Whether a file says that it holds receipts of this form."""
    return b'"careseal":"chainpoint/' in data[: MAX_BYTES + 1]


def source_id(checkpoint: Mapping[str, object], index: int) -> str:
    """How a receipt names the journal entry that holds its root."""
    names = ("chain_id", "journals", "institution", "generation")
    return f"careseal/{'/'.join(str(checkpoint[name]) for name in names)}/entry/{index}"


def verify_receipts(data: bytes, network: Network) -> Receipts:
    """What the file's receipts prove. Raises EvidenceInvalid that names the first broken link."""
    root, checkpoint, listed = _container(data)
    if _int(checkpoint, "chain_id") != network.chain_id or checkpoint["journals"] != "0x" + network.journals.hex():
        raise EvidenceInvalid("network", "the receipts are of another chain or contract than the network file")
    leaves, top = _journalled(root)
    try:
        proof = [_hex(node) for node in _list(root["proof"])]
        verify_inclusion(leaf_hash(_hex(root["entry"])), _int(root, "index"), _int(checkpoint, "size"), proof, _hex(checkpoint["root"]))
    except ProofError as error:
        raise EvidenceInvalid("journal", str(error)) from error
    if len(listed) > leaves:
        raise EvidenceInvalid("container", "there are more receipts than leaves")
    said = source_id(checkpoint, _int(root, "index"))
    found = [_receipt(number, item, leaves, top, said) for number, item in enumerate(listed)]
    if len({leaf for leaf, _ in found}) != len(found):
        raise EvidenceInvalid("container", "two receipts are of one leaf")
    return Receipts(
        network.chain_id, str(checkpoint["journals"]), _int(checkpoint, "institution"), _int(checkpoint, "generation"),
        _int(root, "index"), _int(checkpoint, "size"), _hex(checkpoint["root"]), _int(checkpoint, "block"),
        tuple(entry for _, entry in found),
    )  # fmt: skip


def sides(leaf: int, leaves: int) -> Iterator[str]:
    """On which side each sibling of a leaf stands, upwards; the last node of an odd level goes up alone."""
    while leaves > 1:
        if leaf & 1:
            yield "left"
        elif leaf < leaves - 1:
            yield "right"
        leaf, leaves = leaf >> 1, (leaves + 1) >> 1


def _container(data: bytes) -> tuple[dict[str, Json], dict[str, Json], list[Json]]:
    """Root, checkpoint and receipts. The file must be its one canonical encoding."""
    if len(data) > MAX_BYTES:
        raise EvidenceInvalid("container", f"larger than {MAX_BYTES} bytes")
    try:
        values = canonical.decode(data[:-1] if data.endswith(b"\n") else data)
    except WireError as error:
        raise EvidenceInvalid("container", f"edited, truncated, or no evidence: {error}") from error
    if values.get("careseal") != VERSION:
        raise EvidenceInvalid("container", "not Chainpoint-style receipts of version 1")
    if values.keys() != {"careseal", "warning", "receipts", *_FIELDS} or values["warning"] != WARNING:
        raise EvidenceInvalid("container", "a part is missing or unknown")
    parts = []
    for part, names in _FIELDS.items():
        content = values[part]
        if not isinstance(content, dict) or content.keys() != names:
            raise EvidenceInvalid("container", f"{part}: a field is missing or unknown")
        parts.append(content)
    listed = values["receipts"]
    if not isinstance(listed, list) or not listed:
        raise EvidenceInvalid("container", "it holds no receipts")
    return parts[0], parts[1], listed


def _journalled(part: dict[str, Json]) -> tuple[int, bytes]:
    """Number of leaves and root, as the journal's entry commits to them."""
    try:
        entry = decode_entry(_hex(part["entry"]))
        if not isinstance(entry, EventEntry) or entry.kind is not Kind.EXPORT:
            raise WireError("it is of another kind")
        about = canonical.check(_hex(part["salt"]), _hex(part["document"]), entry.commitment)["chainpoint"]
        if not isinstance(about, dict) or about.keys() != {"leaves", "root"} or not 0 < _int(about, "leaves") <= MAX_LEAVES:
            raise WireError("it names no root")
        return _int(about, "leaves"), _hex(about["root"], 32)
    except (WireError, KeyError) as error:
        raise EvidenceInvalid("root", f"the journal entry does not open: {error}") from error


def _receipt(number: int, item: Json, leaves: int, top: bytes, said: str) -> tuple[int, RecordEntry]:
    """The leaf's number and the journal entry that a receipt proves to be under the root."""
    names = {"@context", "type", "targetHash", "merkleRoot", "proof", "anchors", "careseal"}
    if not isinstance(item, dict) or item.keys() != names or (item["@context"], item["type"]) != (CONTEXT, TYPE):
        raise EvidenceInvalid("receipt", f"receipt {number} is not of the form")
    if item["anchors"] != [{"sourceId": said, "type": ANCHOR}]:
        raise EvidenceInvalid("receipt", f"receipt {number} names another anchor")
    own = item["careseal"]
    if not isinstance(own, dict) or own.keys() != {"entry", "leaf"}:
        raise EvidenceInvalid("receipt", f"receipt {number} does not bring its journal entry")
    try:
        body = _hex(own["entry"])
        entry = decode_entry(body)
    except WireError as error:
        raise EvidenceInvalid("leaf", f"receipt {number}: {error}") from error
    if not isinstance(entry, RecordEntry) or leaf_hash(body) != _hex(item["targetHash"], 32):
        raise EvidenceInvalid("leaf", f"receipt {number}: the target is not the leaf hash of a record's entry")
    leaf, node = _int(own, "leaf"), leaf_hash(body)
    steps = [step if isinstance(step, dict) else {} for step in _list(item["proof"])]
    if leaf >= leaves or [list(step) for step in steps] != [[side] for side in sides(leaf, leaves)]:
        raise EvidenceInvalid("tree", f"receipt {number}: the proof has not the shape of leaf {leaf} of {leaves}")
    for step in steps:
        node = sha256(_hex(step["left"], 32) + node if "left" in step else node + _hex(step["right"], 32)).digest()
    if node != top or _hex(item["merkleRoot"], 32) != top:
        raise EvidenceInvalid("tree", f"receipt {number}: the proof does not end in the journalled root")
    return leaf, entry


def _int(part: dict[str, Json], name: str) -> int:
    value = part[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise EvidenceInvalid("container", "a number is not what it should be")
    return value


def _hex(value: Json, size: int | None = None) -> bytes:
    try:
        data = exact_hex(value)
    except ValueError as error:
        raise EvidenceInvalid("container", "a value is not lower-case hexadecimal") from error
    if size is not None and len(data) != size:
        raise EvidenceInvalid("container", f"a hash does not have {size} bytes")
    return data


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list) or len(value) > 65:
        raise EvidenceInvalid("container", "a proof is no list, or too long")
    return value
