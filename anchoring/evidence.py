"""Evidence: one file that proves one record at one version, verified without database, network or this program's other parts.

The verifier follows the links of the proof in order and stops at the first that is broken: container, record, journal,
configuration, checkpoint, storage, institution, header, seal, network. It derives every storage slot itself and imports no
web3, no py-evm and no SQLAlchemy. Every field of the file takes part in a check; a field that proves nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anchoring import proofs
from anchoring.errors import EvidenceInvalid, LinkBroken
from anchoring.network import Network, exact_hex, institution_name
from contracts.layout import checkpoint_slots, institution_slots
from ledger import canonical, rowcodec
from ledger.commitment import field_digests, field_root, verify_row
from ledger.errors import LedgerError, WireError
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.wire import VIOLATIONS, EventEntry, Flag, Kind, RecordEntry, decode_entry, tag_width

Part = Mapping[str, Any]  # one part of the container, typed field by field in _FORMAT
MAX_BYTES = 1 << 25
VERSION = "evidence/1"
_MAX_NODES = 65

# The container's fields and their types; "hex" is lower-case without prefix, "hex[]" a list of it.
_FORMAT: dict[str, dict[str, str]] = {
    "record": {"entry": "hex", "index": "int", "proof": "hex[]", "row": "hex", "secret": "hex"},
    "configuration": {"document": "hex", "entry": "hex", "index": "int", "proof": "hex[]", "salt": "hex"},
    "checkpoint": {"chain_id": "int", "generation": "int", "index": "int", "institution": "int", "root": "hex", "size": "int"},
    "storage": {"account": "hex[]", "meta": "hex[]", "root": "hex[]"},
    "institution": {"account": "hex[]", "name": "hex", "proof": "hex[]"},
    "chain": {"header": "hex"},
}


@dataclass(frozen=True, slots=True)
class Proved:
    """What valid evidence proves. Times are seconds since 1970 UTC; `block` is the one that took the checkpoint in.

    `baseline`: the record was there when its table was first sealed, and nothing is proved about earlier times.
    `captured`: the change was taken from the capture queue. `marks` names the violations that were found when it was sealed,
    as `wire.Flag` does, in lower case. `table` is the name in the institution's home, `source_table` that in its database. `sealed_at`
    is the institution's own word. Later versions of the record are not excluded.
    """

    institution: int
    name: str
    chain_id: int
    table: str
    source_table: str
    values: dict[str, str | None]
    key: tuple[str, ...]
    version: int
    kind: str
    baseline: bool
    captured: bool
    marks: tuple[str, ...]
    sealed_at: float
    size: int
    root: bytes
    block: int
    header_block: int
    header_time: int
    sealer: bytes


def verify_evidence(data: bytes, network: Network) -> Proved:
    """What the evidence proves under this network file. Raises EvidenceInvalid that names the first broken link."""
    try:
        return _verified(data, network)
    except EvidenceInvalid:
        raise
    except LinkBroken as error:
        raise EvidenceInvalid(error.link, error.message) from error


def _verified(data: bytes, network: Network) -> Proved:
    parts = _container(data)
    entry, document = _record(parts["record"]), _configuration(parts["configuration"], parts["checkpoint"])
    if parts["configuration"]["index"] >= parts["record"]["index"]:
        raise EvidenceInvalid("configuration", "it is not older than the record's entry")
    fields = _opened(entry, parts["record"], document)
    _inclusion("journal", parts["record"], parts["checkpoint"])
    size, block = _storage(parts, network)
    name = _institution(parts, network)
    head = proofs.read_header(parts["chain"]["header"])
    sealer = proofs.verify_sealed(head, network)
    if block > head.number:
        raise EvidenceInvalid("checkpoint", f"block {block} is later than the header's, {head.number}")
    names = [str(column["name"]) for column in document["columns"]]
    values = _displayed(str(document["encoding"]), names, fields)
    return Proved(
        parts["checkpoint"]["institution"], name, network.chain_id, str(document["table"]), str(document["source_table"]), values,
        tuple(names[: len(document["key_kinds"])]), entry.version, entry.kind.name.lower(), bool(entry.flags & Flag.BASELINE),
        bool(entry.flags & Flag.CAPTURED), tuple(str(flag.name).lower() for flag in entry.flags & VIOLATIONS),
        entry.time / 1000, size, parts["checkpoint"]["root"], block, head.number, head.timestamp, sealer,
    )  # fmt: skip


def _container(data: bytes) -> dict[str, Part]:
    """The parts of the container, with bytes for hex. The file must be its one canonical encoding."""
    if len(data) > MAX_BYTES:
        raise EvidenceInvalid("container", f"larger than {MAX_BYTES} bytes")
    try:
        values = canonical.decode(data[:-1] if data.endswith(b"\n") else data)
    except WireError as error:
        raise EvidenceInvalid("container", f"edited, truncated, or no evidence: {error}") from error
    if values.get("careseal") != VERSION:
        raise EvidenceInvalid("container", "not Careseal evidence of version 1")
    if values.keys() != {"careseal", *_FORMAT}:
        raise EvidenceInvalid("container", "a part is missing or unknown")
    parts: dict[str, Part] = {}
    for part, names in _FORMAT.items():
        content = values[part]
        if not isinstance(content, dict) or content.keys() != names.keys():
            raise EvidenceInvalid("container", f"{part}: a field is missing or unknown")
        parts[part] = {name: _typed(f"{part}.{name}", kind, content[name]) for name, kind in names.items()}
    return parts


def _typed(name: str, kind: str, value: object) -> int | bytes | list[bytes]:
    if kind == "int" and type(value) is int and 0 <= value < 2**63:
        return value
    if kind == "hex" and isinstance(value, str):
        try:
            return exact_hex(value)
        except ValueError:
            pass
    if kind == "hex[]" and isinstance(value, list) and len(value) <= _MAX_NODES:
        return [b for item in value if isinstance(b := _typed(name, "hex", item), bytes)]
    raise EvidenceInvalid("container", f"{name} is not what it should be")


def _record(record: Mapping[str, bytes]) -> RecordEntry:
    try:
        entry = decode_entry(record["entry"])
    except WireError as error:
        raise EvidenceInvalid("record", str(error)) from error
    if not isinstance(entry, RecordEntry) or not entry.flags & Flag.CONTENT:
        raise EvidenceInvalid("record", "the journal entry commits to no row")
    return entry


def _opened(entry: RecordEntry, record: Mapping[str, bytes], document: Mapping[str, Any]) -> list[bytes]:
    """The row's fields, once the row opens the entry's row digest, field root and tags."""
    columns, encoding = document["columns"], str(document["encoding"])
    try:
        if len(record["secret"]) != 32:
            raise WireError("the secret does not have 32 bytes")
        verify_row(entry.algorithm, record["secret"], record["row"], entry.row_digest)
        fields = rowcodec.fields(encoding, record["row"])
        digests = field_digests(entry.algorithm, record["secret"], fields)
        width = tag_width(len(fields))
        tags = b"".join(digest[:width] for digest in digests)
        if (len(fields), tags, field_root(entry.algorithm, digests)) != (entry.columns, entry.tags, entry.field_root):
            raise WireError("the fields are not the ones that were committed to")
    except LedgerError as error:
        raise EvidenceInvalid("record", str(error)) from error
    if entry.table != document["id"] or len(fields) != len(columns):
        raise EvidenceInvalid("configuration", "it describes another table")
    return fields


def _displayed(encoding: str, names: list[str], fields: list[bytes]) -> dict[str, str | None]:
    """The values for people, by column."""
    try:
        return {name: rowcodec.display(encoding, value) for name, value in zip(names, fields, strict=True)}
    except WireError as error:
        raise EvidenceInvalid("record", str(error)) from error


def _configuration(part: Part, checkpoint: Part) -> Part:
    """The description of the table, once it opens its configuration entry and that is in the journal."""
    try:
        entry = decode_entry(part["entry"])
        if not isinstance(entry, EventEntry) or entry.kind is not Kind.CONFIGURATION:
            raise WireError("not a configuration entry")
        document = canonical.check(part["salt"], part["document"], entry.commitment)["attach"]
        columns, kinds = document["columns"], document["key_kinds"]  # type: ignore[index, call-overload]
        texts = (document["encoding"], document["table"], document["source_table"])  # type: ignore[index, call-overload]
        typed = all(isinstance(text, str) for text in texts) and type(document["id"]) is int  # type: ignore[index, call-overload]
        if not typed or not all(isinstance(column["name"], str) for column in columns) or not 0 < len(kinds) <= len(columns):  # type: ignore[index, call-overload, union-attr, arg-type]
            raise WireError("not a description of a table")
    except (LedgerError, KeyError, TypeError) as error:
        raise EvidenceInvalid("configuration", f"it does not open: {error}") from error
    _inclusion("configuration", part, checkpoint)
    return document  # type: ignore[return-value]


def _inclusion(link: str, part: Part, checkpoint: Part) -> None:
    try:
        verify_inclusion(leaf_hash(part["entry"]), part["index"], checkpoint["size"], part["proof"], checkpoint["root"])
    except LedgerError as error:
        raise EvidenceInvalid(link, str(error)) from error


def _storage(parts: Mapping[str, Part], network: Network) -> tuple[int, int]:
    """Size and block of the checkpoint, as the contract's storage under the header's state root holds it."""
    checkpoint, storage = parts["checkpoint"], parts["storage"]
    if checkpoint["chain_id"] != network.chain_id:
        raise EvidenceInvalid("network", f"the evidence is of chain {checkpoint['chain_id']}, the network file of chain {network.chain_id}")
    contract = proofs.journals_storage(proofs.read_header(parts["chain"]["header"]), network, storage["account"])
    slots = checkpoint_slots(checkpoint["institution"], checkpoint["generation"], checkpoint["index"])
    words = (
        proofs.read_word("storage", contract, slot, proof)
        for slot, proof in zip(slots, (storage["meta"], storage["root"]), strict=True)
    )
    size, root, block = proofs.read_checkpoint(*words)
    if (size, root) != (checkpoint["size"], checkpoint["root"]):
        raise EvidenceInvalid("checkpoint", "the chain holds another checkpoint under this number")
    return size, block


def _institution(parts: Mapping[str, Part], network: Network) -> str:
    """The institution's name, as the consortium's storage under the header's state root commits to it."""
    part = parts["institution"]
    contract = proofs.consortium_storage(proofs.read_header(parts["chain"]["header"]), network, part["account"])
    word = proofs.read_word("institution", contract, institution_slots(parts["checkpoint"]["institution"]).name, part["proof"])
    try:
        name = str(part["name"].decode())
    except UnicodeDecodeError as error:
        raise EvidenceInvalid("institution", "its name is not UTF-8") from error
    if institution_name(name) != word.to_bytes(32, "big"):
        raise EvidenceInvalid("institution", "the consortium knows this institution by another name")
    return name
