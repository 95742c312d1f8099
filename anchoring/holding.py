"""Putting records under hold: each one's evidence is copied to a second place, listed, and the copy's digest is journalled and anchored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from anchoring.export import Exporter, Known, Wanted, look_up
from anchoring.hold_folder import Custody, finished, list_name, part_name, prepare, sealed_part, write
from anchoring.link import Link
from anchoring.publish import publish
from ledger import canonical, sortkey
from ledger.errors import LedgerError
from ledger.holds import Held, Hold, Part, create_hold, extend_hold, holds, next_id
from ledger.home import Home
from ledger.journal import Checkpoint
from ledger.retention import records_of
from ledger.sources import open_source
from ledger.tables import Attached, find_table
from ledger.wire import RecordEntry, decode_entry

Printer = Callable[[Mapping[str, Any]], bytes]  # the list as PDF
MOST_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """A record to be put under hold: sort key, and its key as texts."""

    table: Attached
    key: bytes
    entry: int
    sid: int
    texts: tuple[str, ...]


def choose(home: Home, table_name: str | None, keys: Sequence[str], subjects: Sequence[str]) -> list[Chosen]:
    """The records of a table with these keys, whose columns are joined by commas, and all that exist of the subjects, each once.

    LedgerError where there is none of a key or a subject.
    """
    found: dict[tuple[int, bytes], Chosen] = {}
    if keys and table_name is None:
        raise LedgerError("--key needs --table, the table of these records")
    for text in keys:
        one = _of_key(home, find_table(home, table_name or ""), text)
        found[one.table.id, one.key] = one
    for subject in subjects:
        blind = home.subjects.blind(f"subject:{subject}")
        sids = home.subjects.known([blind]).values()
        live = [record for sid in sids for record in records_of(home, sid) if record.live]
        if not live:
            raise LedgerError("no sealed record belongs to this subject: check its name")
        for record in live:
            found[record.table.id, record.key] = Chosen(
                record.table, record.key, record.entry, record.sid, _texts(record.table, record.key)
            )
    if not found:
        raise LedgerError("name the records to put under hold: --table with --key, or --subject")
    if len(found) > MOST_RECORDS:
        raise LedgerError(f"these are more than {MOST_RECORDS} records: put fewer of them under hold, then extend it")
    return list(found.values())


def _of_key(home: Home, table: Attached, text: str) -> Chosen:
    texts = tuple(text.split(",")) if len(table.shape.key) > 1 else (text,)
    known = look_up(home, table, texts)
    return Chosen(table, known.key, known.entry, known.sid, texts)


def _texts(table: Attached, key: bytes) -> tuple[str, ...]:
    values = sortkey.decode(table.shape.key_kinds, key)
    return tuple(value.hex() if isinstance(value, bytes) else str(value) for value in values)


def create(
    home: Home, link: Link, chosen: Sequence[Chosen], folder: Path, custody: Custody, until: int, reason: str, printed: Printer, now: int
) -> Hold:
    """Put records under hold in a new folder; they must be sealed and anchored. `until` and `now` in milliseconds.

    What is journalled lies durable in its place; killed before, nothing is under hold, and the same command does it again.
    LedgerError where a record is not to be had or the folder cannot be written.
    """
    hold = Hold(next_id(home), str(folder.resolve()), until, reason, custody.names)
    files, part = _part(home, link, hold, 1, chosen, custody, printed, now)
    prepare(folder, lambda path: any(known.place == str(path) for known in holds(home)))
    write(folder, files)
    hold = Hold(hold.id, hold.place, until, reason, custody.names, (part,))
    create_hold(home, hold, now)
    finished(folder)
    publish(home, link)
    return hold


def extend(
    home: Home, link: Link, hold: Hold, chosen: Sequence[Chosen], custody: Custody, until: int, reason: str, printed: Printer, now: int
) -> None:
    """Add records, or later versions of held ones, as a further part; or only prolong the hold. As for `create`."""
    part = None
    if chosen:
        files, part = _part(home, link, hold, len(hold.parts) + 1, chosen, custody, printed, now)
        folder = Path(hold.place)
        if not (folder / part_name(1)).exists():
            raise LedgerError(f"the hold's folder {folder} is not there: mount its place")
        write(folder, files)
    extend_hold(home, hold, part, until, reason, now)
    publish(home, link)


def _part(
    home: Home, link: Link, hold: Hold, number: int, chosen: Sequence[Chosen], custody: Custody, printed: Printer, now: int
) -> tuple[dict[str, bytes], Part]:
    """A part's files by name, and what the journal will say of it."""
    if not custody.names:
        raise LedgerError("somebody must be able to open the hold: give --for with a person, or --custody-passphrase-file")
    copies = _copies(home, link, chosen)
    files = sealed_part(home.settings.home_id, hold.id, number, copies, custody)
    digest = sha256(files[part_name(number)]).hexdigest()
    checkpoint = home.journal.latest(anchored=True)
    listed = _list(home, hold, number, chosen, digest, checkpoint, now)
    data = canonical.encode(listed) + b"\n"
    files |= {list_name(number): data, list_name(number, "pdf"): printed(listed)}
    blinds = {blind.hex() for _, blind, _ in home.subjects.rows({record.sid for record in chosen})}
    records = tuple(Held(record.table.id, record.key, record.entry) for record in chosen)
    return files, Part(number, part_name(number), digest, sha256(data).hexdigest(), records, frozenset(blinds))


def _copies(home: Home, link: Link, chosen: Sequence[Chosen]) -> list[bytes]:
    """The evidence of each record, of one table after the other on one checkpoint."""
    made: dict[tuple[int, bytes], bytes] = {}
    for table in {record.table.id: record.table for record in chosen}.values():
        exporter = Exporter(home, link, table, Wanted())
        with closing(open_source(table.source)) as source, source.snapshot() as snapshot:
            for record in (record for record in chosen if record.table.id == table.id):
                known = Known(record.key, record.entry, record.sid)
                found = [row for run in snapshot.rows(table.shape, low=record.key, high=record.key + b"\0") for row in run.rows]
                made[table.id, record.key] = exporter.make(known, found[0] if found else None)[0]
    return [made[record.table.id, record.key] for record in chosen]


def _list(
    home: Home, hold: Hold, number: int, chosen: Sequence[Chosen], digest: str, checkpoint: Checkpoint | None, now: int
) -> dict[str, Any]:
    """The list (封存清单) of a part."""
    records = []
    for record in chosen:
        entry = decode_entry(home.journal.entry(record.entry))
        if not isinstance(entry, RecordEntry):
            raise LedgerError(f"entry {record.entry} is no record's: restore the home from its mirror or backup")
        records.append({
            "table": record.table.name, "key": dict(zip(record.table.shape.key, record.texts, strict=True)), "entry": record.entry,
            "version": entry.version, "sealed_at": _iso(entry.time), "digest": entry.row_digest.hex(),
            "algorithm": entry.algorithm.name.lower(),
        })  # fmt: skip
    settings = home.settings
    anchored = None if checkpoint is None else {
        "size": checkpoint.size, "root": checkpoint.root.hex(), "block": checkpoint.block,
    }  # fmt: skip
    return {
        "careseal": "hold-list/1", "home": settings.home_id, "name": settings.name, "institution": settings.institution,
        "chain_id": settings.chain_id, "hold": hold.id, "part": number, "made_at": _iso(now), "until": _iso(hold.until),
        "reason": hold.reason, "custody": list(hold.custody), "file": part_name(number), "sha256": digest, "checkpoint": anchored,
        "records": records,
    }  # fmt: skip


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
