"""Taking in rows as they are: a state that two people accepted gets an entry, marked with what was found; changes are held against that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from ledger.audit_workers import Workers
from ledger.batch import Batch
from ledger.books import books_of
from ledger.erasure import erased_subjects
from ledger.findings import FindingKind, Spot
from ledger.home import Home
from ledger.record_writer import RecordWriter
from ledger.seal import quiet
from ledger.shape import Snapshot
from ledger.table_pass import SECOND_ROW
from ledger.tables import Attached, find_table
from ledger.wire import Flag, Kind

_TAKEN_IN = {
    FindingKind.ALTERED: (Kind.AMENDED, Flag.ALTERED_BEFORE),
    FindingKind.INSERTED: (Kind.WRITTEN, Flag.INSERTED_BEFORE),
    FindingKind.DELETED: (Kind.DELETED, Flag.DELETION),
}
_ONE_BY_ONE = 100  # rows of fewer keys are looked up, those of more are picked out of one reading of the table


@dataclass(frozen=True, slots=True)
class States:
    """What of some states is there still, in one snapshot of a table's database."""

    table: Attached | None
    snapshot: Snapshot | None
    there: Sequence[Spot]


@contextmanager
def states_of(home: Home, name: str, wanted: Set[bytes]) -> Iterator[States]:
    """Audit a table for states by their ids. LedgerError where it is not attached, SourceError where it cannot be read."""
    if not wanted:
        yield States(None, None, [])
        return
    table = find_table(home, name)
    with Workers(books_of(home), [table], 1) as workers:
        with home.store.reading():
            report = workers.local.table_pass(table.id).run(None, None, quiet)
            spots = report.spots + workers.schema_spots({table.id: report.unread})
        yield States(table, workers.local.snapshot_of(table.id), [spot for spot in spots if spot.id in wanted])


def take_in(home: Home, batch: Batch, states: States, now: int) -> list[tuple[int, bytes]]:
    """Give each row that can have one an entry; returns (entry, id of its state) for each, in the order of the entries.

    A row whose subject's key is gone, or that shares its key with another, cannot be sealed: it stays as it is, and is no open finding
    as long as it does.
    """
    found = {spot.key: spot for spot in states.there if spot.key is not None and spot.kind in _TAKEN_IN and spot.detail != SECOND_ROW}
    if states.table is None or states.snapshot is None:
        return []
    writer = RecordWriter(states.table, batch, home.subjects, now, erased_subjects(home))
    taken: list[tuple[int, bytes]] = []
    gone = [spot for spot in found.values() if spot.kind is FindingKind.DELETED]
    present = _rows(states.table, states.snapshot, {key for key, spot in found.items() if spot.kind is not FindingKind.DELETED})
    for key, row, subject in chain(((spot.key or b"", None, None) for spot in gone), present):
        spot = found[key]
        kind, mark = _TAKEN_IN[spot.kind]
        before = batch.state(states.table.id, key)
        made = writer.append(kind, mark, key, before, row, subject, None)
        writer.mark_if(mark, made, key, spot.columns, None)
        taken.append((made.entry, spot.id or b""))
    return taken


def _rows(table: Attached, snapshot: Snapshot, keys: Set[bytes]) -> Iterator[tuple[bytes, bytes, str | None]]:
    """Key, row and subject of each row under these keys, in key order."""
    subject = None if table.options.subject == "@row" else table.options.subject
    few = len(keys) <= _ONE_BY_ONE
    for low, high in [(key, key) for key in sorted(keys)] if few else [(min(keys), max(keys))]:
        for run in snapshot.rows(table.shape, subject=subject, low=low, high=high + b"\0"):
            for key, row, label in zip(run.keys, run.rows, run.subjects or [None] * len(run.keys), strict=True):
                if key in keys:
                    yield key, row, label
