"""Making evidence: gathers what `anchoring.evidence` verifies, and verifies it before it is handed out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import product

from anchoring.errors import AnchoringError, EvidenceInvalid
from anchoring.evidence import MAX_BYTES, VERSION, Proved, verify_evidence
from anchoring.link import Link
from contracts.layout import checkpoint_slots, institution_slots
from ledger import canonical, rowcodec, sortkey
from ledger.commitment import digest_function, record_secret
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.reporting import Reporter
from ledger.sources import open_source
from ledger.tables import Attached, find_table
from ledger.wire import Flag, RecordEntry, decode_entry
from node import header

MAX_ROW_BYTES = (MAX_BYTES - (1 << 20)) // 2  # a row is written in hex; the rest of the file takes far less than 1 MiB


def export_evidence(home: Home, link: Link, table_name: str, key: Sequence[str]) -> tuple[bytes, Proved]:
    """The evidence file, canonical JSON, of a record's latest sealed version, and what it proves.

    LedgerError where the record is unknown, was deleted, is not anchored yet, or neither the row nor a kept copy opens its entry,
    or where the row has more than MAX_ROW_BYTES.
    """
    table = find_table(home, table_name)
    sort, index, sid = look_up(home, table, key)
    entry = decode_entry(home.journal.entry(index))
    if not isinstance(entry, RecordEntry) or not entry.flags & Flag.CONTENT:
        raise LedgerError("this record was deleted, or its content was never sealed: there is nothing to prove")
    subject_key = home.subjects.keys([sid]).get(sid)
    if subject_key is None:
        raise LedgerError("the key of this record's subject is gone: nothing can be opened")
    secret = record_secret(subject_key, entry.record, entry.version)
    row = _row(home, table, sort, index, entry, secret)
    if len(row) > MAX_ROW_BYTES:
        raise LedgerError(f"this row has {len(row)} bytes, an evidence file takes at most {MAX_ROW_BYTES}: it cannot be exported")
    state = link.state()
    last = state.head().last
    if last is None or last.size <= index:
        raise LedgerError("this version of the record is not anchored yet: run careseal seal first")
    salt, document = home.journal.document(table.entry)
    tree = home.journal.tree
    slots = checkpoint_slots(last.institution, last.generation, last.index)
    storage = _hex(state.proof(link.network.journals, slots))
    member = _hex(state.proof(link.network.consortium, [institution_slots(last.institution).name]))
    evidence = {
        "careseal": VERSION,
        "record": {
            "entry": home.journal.entry(index).hex(),
            "index": index,
            "proof": [node.hex() for node in tree.inclusion_proof(index, last.size)],
            "row": row.hex(),
            "secret": secret.hex(),
        },
        "configuration": {
            "entry": home.journal.entry(table.entry).hex(),
            "index": table.entry,
            "proof": [node.hex() for node in tree.inclusion_proof(table.entry, last.size)],
            "salt": salt.hex(),
            "document": document.hex(),
        },
        "checkpoint": {
            "chain_id": home.settings.chain_id,
            "institution": last.institution,
            "generation": last.generation,
            "index": last.index,
            "size": last.size,
            "root": last.root.hex(),
        },
        "storage": {
            "account": storage[0],
            "meta": storage[1],
            "root": storage[2],
        },
        "institution": {"account": member[0], "name": home.settings.name.encode().hex(), "proof": member[1]},
        "chain": {"header": header.encode(state.header).hex()},
    }
    data = canonical.encode(evidence) + b"\n"
    try:
        return data, verify_evidence(data, link.network)
    except EvidenceInvalid as error:
        raise AnchoringError(f"no evidence can be made of what the chain's node gives, {error}: use another node") from error


def _hex(proof: list[list[bytes]]) -> list[list[str]]:
    return [[node.hex() for node in nodes] for nodes in proof]


def look_up(home: Home, table: Attached, key: Sequence[str]) -> tuple[bytes, int, int]:
    """Sort key, last entry and subject of the record with this key, given as texts in the order of the key's columns."""
    if len(key) != len(table.shape.key):
        raise LedgerError(f"table {table.name} has the key {', '.join(table.shape.key)}: give {len(table.shape.key)} values")
    for values in product(*(_readings(kind, text) for kind, text in zip(table.shape.key_kinds, key, strict=True))):
        sort = sortkey.encode(table.shape.key_kinds, values)
        row = home.store.db.execute("SELECT entry, sid FROM state WHERE tbl=? AND key=?", (table.id, sort)).fetchone()
        if row is not None:
            return sort, row[0], row[1]
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


def _row(home: Home, table: Attached, sort: bytes, index: int, entry: RecordEntry, secret: bytes) -> bytes:
    """The row as sealed: the present one if it still is that, else the kept copy."""
    source = open_source(table.source)
    try:
        with source.snapshot() as snapshot:
            for rows in snapshot.rows(table.shape, low=sort, high=sort + b"\0"):
                if digest_function(entry.algorithm)(secret + rows.rows[0]) == entry.row_digest:
                    return rows.rows[0]
    finally:
        source.close()
    kept = Reporter(home, {}, values=True).kept_row(index)
    if kept is None:
        raise LedgerError("the row is no longer the one that was sealed, and no copy was kept: run careseal verify")
    return kept
