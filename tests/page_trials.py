"""Both verifiers of evidence asked the same, and worlds whose journals hold what no honest program writes."""

from __future__ import annotations

from collections.abc import Sequence

from browser import Verifier
from evidence_world import World, journal, seed

from anchoring.container import encode, plain
from anchoring.errors import EvidenceInvalid
from anchoring.evidence import Proved, verify_evidence
from anchoring.network import Network, encode_network
from anchoring.opening import Report
from ledger import canonical
from ledger.commitment import commit, record_secret
from ledger.wire import EventEntry, Flag, Kind, encode_event, encode_record

PLACE = 13  # of a record of PostgreSQL's, and of its configuration


def link_of(data: bytes, network: Network) -> str | None:
    try:
        verify_evidence(data, network)
    except EvidenceInvalid as error:
        return error.link
    return None


def agree(page: Verifier, network: Network, tried: dict[str, bytes], base: bytes) -> list[str | None]:
    """The links, on which both verifiers agree for each of the files."""
    theirs = page.links(base, encode_network(network), tried.values())
    ours = [link_of(data, network) for data in tried.values()]
    assert {name: pair for name, *pair in zip(tried, ours, theirs, strict=True) if pair[0] != pair[1]} == {}
    return ours


def as_page(proved: Proved) -> dict[str, object]:
    """What the Python verifier read, in the form in which the page gives it."""
    anchored, subject = proved.anchored, proved.subject
    stamp = None if proved.stamped is None else proved.stamped.size
    about: dict[str, object] = {"kind": proved.kind, "stamp": stamp, "anchored": {
        "institution": anchored.institution, "name": anchored.name, "chain_id": anchored.chain_id, "engine": anchored.engine,
        "generation": anchored.generation, "size": anchored.size, "root": anchored.root.hex(), "block": anchored.block,
        "header_block": anchored.header_block, "header_time": anchored.header_time, "final": anchored.final,
        "sealers": [sealer.hex() for sealer in anchored.sealers], "of": anchored.sealers_of,
    }}  # fmt: skip
    if isinstance(subject, Report):
        return about | {"entry": subject.index, "sealed_at": subject.sealed_at, "audit": subject.audit}
    versions = [
        {"version": version.number, "entry": version.index, "change": version.kind, "baseline": version.baseline,
         "captured": version.captured, "marks": list(version.marks), "sealed_at": version.sealed_at,
         "values": None if version.values is None else [list(pair) for pair in version.values.items()]}
        for version in subject.versions
    ]  # fmt: skip
    return about | {"table": subject.table, "source_table": subject.source_table, "record": subject.id.hex(), "key": list(subject.key),
                    "hidden": list(subject.hidden), "versions": versions}  # fmt: skip


class Forged:
    """A world whose journal has further entries that hold what no honest program writes."""

    def __init__(self) -> None:
        self.journal = journal()

    def row(self, table: int, row: bytes, fields: Sequence[bytes], algorithm: int = 1) -> int:
        """An entry that commits to these bytes as a row, and to these as its fields."""
        index, record = len(self.journal.entries), seed(f"forged {len(self.journal.entries)}")[:16]
        secret = record_secret(seed("subject"), record, 1)
        digest, root, tags = commit(algorithm, secret, row, fields)
        self.journal.contents[index] = secret, row
        self.journal.entries.append(encode_record(
            Kind.WRITTEN, 1000 * index, table, Flag.CONTENT, record, 1, None, bytes(16), bytes(8), algorithm, digest, root, len(fields),
            tags,
        ))  # fmt: skip
        return index

    def document(self, kind: Kind, body: bytes) -> int:
        index = len(self.journal.entries)
        self.journal.salts[index] = seed(f"salt {index}"), body
        self.journal.entries.append(encode_event(EventEntry(kind, 1000 * index, canonical.commitment(seed(f"salt {index}"), body))))
        return index

    def entry(self, data: bytes) -> int:
        self.journal.entries.append(data)
        return len(self.journal.entries) - 1

    def world(self) -> World:
        return World(self.journal)


def of_record(world: World, configuration: int, record: int) -> bytes:
    own = {"configuration": world.journal.document(configuration), "record": world.journal.version(record)}
    return encode(world.parts("record") | plain(own))  # type: ignore[operator]
