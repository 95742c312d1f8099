"""Making evidence: gathers what `anchoring.evidence` verifies, and verifies it before it is handed out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from anchoring import container
from anchoring.errors import AnchoringError, EvidenceInvalid
from anchoring.evidence import Proved, verify_evidence
from anchoring.ground import gather
from anchoring.link import Link, trusted_network
from anchoring.opening import Record, open_subject, open_table
from anchoring.receipt import timestamp_of
from anchoring.stamping import first_covering
from ledger import canonical, rowcodec, sortkey
from ledger.commitment import SALT_BYTES, digest_function, field_digests, record_secret, salts
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.record_secrets import KeyedSecrets
from ledger.reporting import Reporter
from ledger.sources import open_source
from ledger.tables import Attached, find_table
from ledger.wire import EventEntry, Flag, Kind, RecordEntry, decode_entry

_NODES = 1 << 16  # of proofs, that are kept for the next ones
MAX_ROW_BYTES = (container.MAX_BYTES - (1 << 20)) // 2  # rows are written in hex; the rest of most files takes far less than 1 MiB


@dataclass(frozen=True, slots=True)
class Wanted:
    """What evidence of a record is to show: kind record, fields, history or latest; `columns` of kind fields; an earlier `version`."""

    kind: str = "record"
    columns: tuple[str, ...] = ()
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Where a row's record stands in the home: sort key, number of its last entry, number of its subject."""

    key: bytes
    entry: int
    sid: int


class _Found(NamedTuple):
    """An entry of a record: its number, its bytes, and what they say."""

    number: int
    data: bytes
    entry: RecordEntry


class Exporter:
    """Makes evidence of records of one table, all on one checkpoint at one block, whose proofs are gathered once."""

    def __init__(self, home: Home, link: Link, table: Attached, wanted: Wanted) -> None:
        unknown = [name for name in wanted.columns if name not in table.shape.names]
        if unknown:
            raise LedgerError(f"table {table.name} has no column {unknown[0]}: its columns are {', '.join(table.shape.names)}")
        self._home, self.table, self._wanted = home, table, wanted
        self._reporter = Reporter(home, KeyedSecrets(home.subjects), {}, values=True)
        ground, self.anchored = gather(link.w3, link.network, home.settings.institution, home.settings.name.encode())
        if self.anchored.size <= table.entry:
            raise LedgerError("this table is not anchored yet: run careseal seal first")
        self._ground: dict[str, Any] = ground | {"configuration": _document(home, table.entry, self.anchored.size)}
        self._own = "versions" if wanted.kind == "history" else "record"
        frame = {**self._ground, self._own: "@", "careseal": container.VERSION, "kind": wanted.kind}
        self._described = open_table(self._ground["configuration"], self._ground["checkpoint"])
        before, after = container.encode(container.plain(frame)).split(b'"@"')  # type: ignore[arg-type]
        self._frame = before, after
        self._nodes: dict[tuple[int, int], bytes] = {}

    def make(self, known: Known, row: bytes | None, *, values: bool = True) -> tuple[bytes, Proved]:
        """The evidence of a record and what it proves, with the row's `values` for people where they are wanted; `row` is its present row.

        LedgerError where the record is not anchored yet, or nothing opens what is to be shown.
        """
        entries = self._entries(known.entry)
        if self._wanted.kind == "history":
            own: Any = [self._version(found, known, row) for found in entries]
        elif self._wanted.kind == "latest":
            own = self._version(entries[-1], known, row)
        else:
            own = self._opened(entries[-1], known, row)
        data = container.encode({"": container.plain(own)})[4:-2].join(self._frame)
        if len(data) > container.MAX_BYTES:
            raise LedgerError(f"this evidence would have {len(data)} bytes, a file takes at most {container.MAX_BYTES}: export less of it")
        parts: Mapping[str, Any] = {**self._ground, self._own: own, "kind": self._wanted.kind}
        try:
            return data, Proved(self._wanted.kind, self.anchored, open_subject(parts, self._described, values=values))
        except EvidenceInvalid as error:
            raise AnchoringError(f"no evidence can be made, {error}: run careseal verify") from error

    def _entries(self, last: int) -> list[_Found]:
        """The entries that are to be shown, oldest first."""
        kind, version = self._wanted.kind, self._wanted.version
        found = [_record_entry(self._home, last)]
        while kind == "history" or (version is not None and found[0].entry.version > version):
            previous = found[0].entry.previous
            if previous is None:
                break
            found.insert(0, _record_entry(self._home, previous))
        if version is not None and version not in (one.entry.version for one in found):
            raise LedgerError(f"this record has no version {version}: its last one is {found[-1].entry.version}")
        if version is not None:
            found = [one for one in found if one.entry.version <= version]
        if len(found) > container.MAX_VERSIONS:
            raise LedgerError(f"this record has more than {container.MAX_VERSIONS} versions: export single ones with --version")
        if found[-1].number >= self.anchored.size:
            raise LedgerError("this version of the record is not anchored yet: run careseal seal first, and wait until it is confirmed")
        return found

    def _included(self, found: _Found) -> dict[str, Any]:
        if len(self._nodes) > _NODES:
            self._nodes.clear()
        proof = self._home.journal.tree.inclusion_proof(found.number, self.anchored.size, self._nodes)
        return {"entry": found.data, "index": found.number, "proof": proof}

    def _version(self, found: _Found, known: Known, row: bytes | None) -> dict[str, Any]:
        """A version with its content, or without where nothing opens it."""
        secret, content = self._content(found.number, found.entry, known, row)
        return self._included(found) | {"row": content, "secret": None if content is None else secret}

    def _opened(self, found: _Found, known: Known, row: bytes | None) -> dict[str, Any]:
        """A version with its row, or with the fields that are to be shown."""
        index, entry = found.number, found.entry
        if not entry.flags & Flag.CONTENT:
            raise LedgerError("this record was deleted, or its content was never sealed: there is nothing to prove")
        secret, content = self._content(index, entry, known, row)
        if secret is None:
            raise LedgerError("the key of this record's subject is gone: nothing can be opened")
        if content is None:
            raise LedgerError("the row is no longer the one that was sealed, and no copy was kept: run careseal verify")
        if len(content) > MAX_ROW_BYTES:
            raise LedgerError(f"this row has {len(content)} bytes, an evidence file takes at most {MAX_ROW_BYTES}: it cannot be exported")
        if self._wanted.kind == "record":
            return self._included(found) | {"row": content, "secret": secret}
        fields = rowcodec.fields(self.table.shape.encoding, content)
        salt, digests = salts(entry.algorithm, secret, len(fields)), field_digests(entry.algorithm, secret, fields)
        shown: list[dict[str, bytes]] = [{"digest": digest} for digest in digests]
        for place, name in enumerate(self.table.shape.names):
            if name in self._wanted.columns:
                shown[place] = {"salt": salt[SALT_BYTES * place : SALT_BYTES * (place + 1)], "value": fields[place]}
        return self._included(found) | {"fields": shown}

    def _content(self, index: int, entry: RecordEntry, known: Known, row: bytes | None) -> tuple[bytes | None, bytes | None]:
        """Secret and row of a version: the present row where it still is that one, else the kept copy; None for what is gone."""
        if not entry.flags & Flag.CONTENT:
            return None, None
        sid = known.sid if index == known.entry else self._sid(index, known.sid)
        subject_key = self._home.subjects.keys([sid]).get(sid)
        if subject_key is None:
            return None, None
        secret = record_secret(subject_key, entry.record, entry.version)
        if row is not None and digest_function(entry.algorithm)(secret + row) == entry.row_digest:
            return secret, row
        return secret, self._reporter.kept_row(index)

    def _sid(self, index: int, otherwise: int) -> int:
        """The subject of an earlier version, where its copy tells: it may have been another then."""
        found = self._home.store.db.execute("SELECT sid FROM copies WHERE entry=?", (index,)).fetchone()
        return otherwise if found is None else int(found[0])


def export_evidence(home: Home, link: Link, table_name: str, key: Sequence[str], wanted: Wanted = Wanted()) -> tuple[bytes, Proved]:
    """The evidence file, canonical JSON, of a record, and what it proves.

    LedgerError where the record is unknown, is not anchored yet, or neither the row nor a kept copy opens what is to be shown.
    """
    table = find_table(home, table_name)
    known = look_up(home, table, key)
    exporter = Exporter(home, link, table, wanted)
    source = open_source(table.source)
    try:
        with source.snapshot() as snapshot:
            rows = [row for run in snapshot.rows(table.shape, low=known.key, high=known.key + b"\0") for row in run.rows]
    finally:
        source.close()
    return _with_timestamp(home, *exporter.make(known, rows[0] if rows else None))


def export_audit(home: Home, link: Link, index: int | None = None) -> tuple[bytes, Proved]:
    """The evidence file of an audit's report, by the number of its entry, or of the last one that is anchored, and what it proves."""
    parts, anchored = gather(link.w3, link.network, home.settings.institution, home.settings.name.encode())
    index = next(_audits(home, anchored.size), None) if index is None else index
    if index is None:
        raise LedgerError("no audit is anchored yet: run careseal verify, then careseal seal")
    if index >= anchored.size:
        raise LedgerError("this audit is not anchored yet: run careseal seal first")
    entry = decode_entry(home.journal.entry(index))
    if not isinstance(entry, EventEntry) or entry.kind is not Kind.AUDIT:
        raise LedgerError(f"entry {index} of the journal is no audit: careseal verify --json shows the number of its entry")
    part = _document(home, index, anchored.size)
    audit: Any = canonical.decode(part["document"])["audit"]
    parts |= {"audit": part | {"consistency": home.journal.tree.consistency_proof(audit["size"], anchored.size)}}
    values = {**parts, "careseal": container.VERSION, "kind": "audit"}
    try:
        data = container.encode(container.plain(values))  # type: ignore[arg-type]
        return _with_timestamp(home, data, Proved("audit", anchored, open_subject(values)))
    except EvidenceInvalid as error:
        raise AnchoringError(f"no evidence can be made, {error}: run careseal verify") from error


def _with_timestamp(home: Home, data: bytes, proved: Proved) -> tuple[bytes, Proved]:
    """The evidence with the time stamp of the first checkpoint that commits to all it shows, where the home has one."""
    subject, anchored = proved.subject, proved.anchored
    receipt = first_covering(home, subject.last.index if isinstance(subject, Record) else subject.index)
    token = None if receipt is None else timestamp_of(receipt)
    if receipt is None or token is None:
        return data, proved
    signed: Any = canonical.decode(receipt.strip())
    signed.pop("timestamp")
    network = trusted_network(home.settings)
    if signed["size"] > anchored.size or (signed["chain_id"], signed["journals"]) != (anchored.chain_id, "0x" + network.journals.hex()):
        return data, proved  # it is of later entries, or of the chain that this one succeeded
    consistency = home.journal.tree.consistency_proof(signed["size"], anchored.size)
    part = {"consistency": consistency, "receipt": canonical.encode(signed), "token": token}
    stamped = container.encode({**json.loads(data), "timestamp": container.plain(part)})
    return stamped, replace(proved, stamped=verify_evidence(stamped, network).stamped)


def _audits(home: Home, size: int) -> Iterator[int]:
    """The numbers of the entries of audits, the last first."""
    for (index,) in home.store.db.execute("SELECT DISTINCT entry FROM audits WHERE entry<? ORDER BY entry DESC", (size,)):
        yield index


def look_up(home: Home, table: Attached, key: Sequence[str]) -> Known:
    """The record with this key, given as texts in the order of the key's columns. LedgerError where there is none."""
    if len(key) != len(table.shape.key):
        raise LedgerError(f"table {table.name} has the key {', '.join(table.shape.key)}: give {len(table.shape.key)} values")
    for values in product(*(_readings(kind, text) for kind, text in zip(table.shape.key_kinds, key, strict=True))):
        sort = sortkey.encode(table.shape.key_kinds, values)
        row = home.store.db.execute("SELECT entry, sid FROM state WHERE tbl=? AND key=?", (table.id, sort)).fetchone()
        if row is not None:
            return Known(sort, row[0], row[1])
    raise LedgerError(f"table {table.name} has no sealed record with this key")


def _readings(kind: str, text: str) -> list[rowcodec.Value]:
    """The values that a text on the command line may stand for; SQLite may hold a number as number or as text."""
    if kind == "text":
        return [text]
    readings: list[rowcodec.Value] = []
    with suppress(ValueError):
        if -(2**63) <= int(text) < 2**63:
            readings.append(int(text))
    if kind == "int":
        return readings
    with suppress(ValueError):
        readings.append(float(text))
    with suppress(ValueError):
        readings.append(bytes.fromhex(text))
    return [*readings, text]


def _record_entry(home: Home, index: int) -> _Found:
    data = home.journal.entry(index)
    entry = decode_entry(data)
    if not isinstance(entry, RecordEntry):
        raise LedgerError(f"the home's index names entry {index}, which is no record's: restore the home from its mirror or backup")
    return _Found(index, data, entry)


def _document(home: Home, index: int, size: int) -> dict[str, Any]:
    salt, document = home.journal.document(index)
    proof = home.journal.tree.inclusion_proof(index, size)
    return {"document": document, "entry": home.journal.entry(index), "index": index, "proof": proof, "salt": salt}
