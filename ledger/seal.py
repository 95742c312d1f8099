"""Sealing a home: every attached table's captured changes and new rows, then a checkpoint; each table is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ledger.batch import Batch
from ledger.erasure import erased_subjects
from ledger.errors import HomeError, SourceError
from ledger.home import Home
from ledger.journal import Checkpoint
from ledger.merge import OnlyRows, merge, read_states
from ledger.resolutions import live_windows, read_resolutions
from ledger.shape import Consumed, Rows, Snapshot, Source
from ledger.sources import open_source
from ledger.table_sealer import TableSealer
from ledger.tables import Attached, attached_tables, find_table
from ledger.wire import Flag, Kind

Progress = Callable[[str, int], None]


def quiet(table: str, rows: int) -> None:
    """A Progress that shows nothing."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal did: record entries added, and the journal's latest checkpoint."""

    added: int
    checkpoint: Checkpoint | None


def seal(home: Home, now: int, *, tables: Sequence[Attached] | None = None, progress: Progress = quiet) -> Sealed:
    """Seal what the attached tables captured and took up, and make a checkpoint. `now` in milliseconds since 1970 UTC.

    Nothing captured is lost, whenever the process is killed: a queue row is deleted only after its entry is durable, and an entry
    is made only once for a queue row's id. SourceError where a table cannot be read, once all the others are sealed.
    """
    added, unread = 0, None
    for table in attached_tables(home) if tables is None else tables:
        try:
            with closing(open_source(table.source)) as source:
                consume(home, table, source)
                added += _seal_table(home, table, source, now, progress)
                consume(home, table, source)
        except SourceError as error:
            unread = unread or error
    with home.batch(checkpoint_time=now):
        pass
    if unread is not None:
        raise unread
    return Sealed(added, home.journal.latest())


def seal_last(home: Home, table: Attached, source: Source, now: int) -> None:
    """Seal a table without deleting from its queue, which is about to be dropped."""
    sealed = find_table(home, table.name)
    _seal_table(home, sealed, source, now, quiet)
    with home.batch(checkpoint_time=now):
        pass


def consumed_of(db: sqlite3.Connection) -> Consumed:
    """Tells which changes are in the journal already."""

    def known(uids: Sequence[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        for start in range(0, len(uids), 500):
            part = uids[start : start + 500]
            marks = ",".join("?" * len(part))
            found |= {row[0] for row in db.execute(f"SELECT uid FROM consumed WHERE uid IN ({marks})", part)}  # noqa: S608
        return found

    return known


def consume(home: Home, table: Attached, source: Source) -> None:
    """Delete from the table's queue what is durable in the journal."""
    rows = home.store.db.execute("SELECT uid FROM to_consume WHERE tbl=?", (table.id,)).fetchall()
    if rows:
        source.consume(table.shape, [row[0] for row in rows])
        with home.store.transaction() as db:
            db.execute("DELETE FROM to_consume WHERE tbl=?", (table.id,))


def _seal_table(home: Home, table: Attached, source: Source, now: int, progress: Progress) -> int:
    with source.snapshot() as snapshot, home.batch() as batch:
        last = home.journal.latest()
        before, erased = None if last is None else last.time / 1000, erased_subjects(home)
        windows = list(live_windows(read_resolutions(home), table.id))
        sealer = TableSealer(table, batch, home.subjects, now, before, source.knows_authors, erased, windows)
        if not table.sealed or (table.options.capture == "scan" and table.options.policy == "adopt"):
            _new_rows(home, table, snapshot, sealer, progress)
            batch.flush()
        if table.options.capture == "triggers":
            _changes(batch, table, snapshot, sealer, progress)
        added = batch.added
        if not table.sealed:
            batch.add_event(Kind.CONFIGURATION, {"baseline": {"id": table.id, "entries": added}}, now)
            replace(table, sealed=True).put(batch, home.keyring)
        return added


def _new_rows(home: Home, table: Attached, snapshot: Snapshot, sealer: TableSealer, progress: Progress) -> None:
    captured = set(snapshot.touched(table.shape, consumed_of(home.store.db))) if table.options.capture == "triggers" else set()
    flags = Flag.CONTENT | (Flag(0) if table.sealed else Flag.BASELINE)
    subject = None if table.options.subject == "@row" else table.options.subject
    rows = snapshot.rows(table.shape, subject=subject)
    last: bytes | None = None
    for part in merge(rows, read_states(home.store.db, table.id, None, None) if table.sealed else iter(())):
        if isinstance(part, OnlyRows):
            found = part.rows
            if captured:
                found = _without(found, captured)
            if found.keys:
                last = _check_unique(table, found.keys, last)
                sealer.new_rows(found, flags)
                progress(table.name, len(found.keys))


def _check_unique(table: Attached, keys: list[bytes], last: bytes | None) -> bytes:
    if len(set(keys)) != len(keys) or keys[0] == last:
        raise SourceError(f"table {table.name}: its key ({', '.join(table.shape.key)}) is not unique: attach it with another --key")
    return keys[-1]


def _without(rows: Rows, keys: set[bytes]) -> Rows:
    kept = [i for i, key in enumerate(rows.keys) if key not in keys]
    subjects = [rows.subjects[i] for i in kept] if rows.subjects else None
    return Rows([rows.keys[i] for i in kept], [rows.rows[i] for i in kept], subjects)


def _changes(batch: Batch, table: Attached, snapshot: Snapshot, sealer: TableSealer, progress: Progress) -> None:
    subject = None if table.options.subject == "@row" else table.options.subject
    consumed = consumed_of(batch.db)
    for changes in snapshot.changes(table.shape, subject=subject, final=table.options.final):
        known = consumed([change.uid for change in changes])
        for change in changes:
            if change.uid in known:
                batch.put("to_consume", table.id, change.uid)
            else:
                sealer.change(change)
        progress(table.name, len(changes))

    def present(key: bytes) -> tuple[bytes, str | None] | None:
        for rows in snapshot.rows(table.shape, subject=subject, low=key, high=key + b"\0"):
            return rows.rows[0], rows.subjects[0] if rows.subjects else None
        return None

    sealer.finish(present)


def tables_of(home: Home, names: Sequence[str]) -> Iterator[Attached]:
    """The attached tables of these names, or all where none is given."""
    attached = {table.name: table for table in attached_tables(home)}
    for name in names:
        if name not in attached:
            raise HomeError(f"table {name} is not attached; attached are: {', '.join(attached) or 'none'}")
    yield from (table for table in attached.values() if not names or table.name in names)
