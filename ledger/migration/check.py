"""The check of a migration: the old table held against its journal, the new one against the old, and both journals told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ledger.books import books_of
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.migration.compare import Comparison, Progress, Side, compare
from ledger.migration.pairing import ColumnMap, Pairing, check_new
from ledger.shape import Snapshot
from ledger.sources import open_source
from ledger.table_pass import TablePass
from ledger.tables import Attached, attached_tables, find_table
from ledger.wire import Kind


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why the comparison proves nothing about what was sealed."""

    reason: str


@dataclass(frozen=True, slots=True)
class NewTable:
    """The table that data moved to: attached to a home, or only named in a database."""

    name: str
    url: str
    home: Home | None
    attached: Attached | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out. `entry` and `new_entry` are the journal entries that tell of it, the latter only where the new home is another."""

    comparison: Comparison
    pairing: Pairing
    doubts: list[Doubt]
    entry: int
    new_entry: int | None

    @property
    def proven(self) -> bool:
        """Whether nothing changed since the old table was sealed."""
        return self.comparison.equal and not self.doubts


def new_table(home: Home, new_home: Home | None, name: str, url: str | None) -> NewTable:
    """The new table: in the database at `url`, which no home need know, else as the new home, or this one, has attached it."""
    holder = new_home or home
    if url is None:
        attached = find_table(holder, name)
        return NewTable(name, attached.source, holder, attached)
    with closing(open_source(url)) as source:
        known = next((t for t in attached_tables(holder) if (t.source, t.shape.table) == (source.url, name)), None)
        return NewTable(name, source.url, holder if known else None, known)


def check_migration(
    home: Home, old: Attached, new: NewTable, mapped: ColumnMap, now: int,
    *, doubts: list[Doubt], values: bool, progress: Progress,
) -> Checked:  # fmt: skip
    """Compare the tables, each in one snapshot, and journal the result; `now` in milliseconds since 1970 UTC.

    The old table's rows are held against its journal in the snapshot that is compared, the new table's too where it is sealed. `doubts`
    are those that the caller has already. Raises LedgerError or SourceError where nothing can be compared; then nothing is journalled.
    """
    if new.attached is not None and new.home is home and new.attached.id == old.id:
        raise LedgerError("the old and the new table are the same: name the one that the data moved to")
    pairing = mapped.names(old.shape)
    found = list(doubts)
    with _snapshot(old.source) as before, _snapshot(new.url) as after:
        shape = new.attached.shape if new.attached is not None else after.describe(new.name, pairing.new_key)
        check_new(pairing, shape)
        found += _intact(home, old, before, progress)
        if new.home is not None and new.attached is not None and new.attached.sealed:
            found += _intact(new.home, new.attached, after, progress)
        secret = os.urandom(32)
        made = compare(Side(before, old.shape), Side(after, shape), pairing, secret, values=values, progress=progress)
    other = new.home if new.home is not home else None
    known = new.home is not None and new.attached is not None
    there = _table(new.home, new.attached) if known else {"table": new.name}  # type: ignore[arg-type]
    told = {"at": now, "old": _table(home, old), "new": there, **_result(made, pairing), "intact": not found}
    # Both heads are taken before either journal grows.
    new_entry = None
    if other is not None:
        with other.batch() as batch:
            new_entry = batch.add_event(Kind.AUDIT, {"migration": told}, now)
    with home.batch() as batch:
        entry = batch.add_event(Kind.AUDIT, {"migration": told}, now)
    return Checked(made, pairing, found, entry, new_entry)


@contextmanager
def _snapshot(url: str) -> Iterator[Snapshot]:
    with closing(open_source(url)) as source, source.snapshot() as snapshot:
        yield snapshot


def _intact(home: Home, table: Attached, snapshot: Snapshot, progress: Progress) -> list[Doubt]:
    """Why a table's rows, as this snapshot has them, are not all those that its journal commits to."""
    walk = TablePass(home.store.db, books_of(home).secrets, table, snapshot)
    report = walk.run(None, None, progress)
    name, spots = table.name, report.spots + walk.schema(report.unread)
    if not table.sealed:
        return [Doubt(f"table {name} is not sealed yet: seal it first")]
    found = [Doubt(f"table {name} contradicts its journal: careseal verify tells where")] if spots else []
    return found + ([Doubt(f"{report.pending} rows of table {name} wait to be sealed: seal first")] if report.pending else [])


def _table(home: Home, table: Attached) -> dict[str, object]:
    """A table and the head of the journal that it is sealed in, as both journals will know it."""
    size, settings = home.journal.size, home.settings
    return {
        "table": table.name, "id": table.id, "attach": table.entry, "home": settings.home_id, "chain_id": settings.chain_id,
        "institution": settings.institution, "generation": home.journal.generation, "size": size,
        "root": home.journal.tree.root(size).hex(),
    }  # fmt: skip


def _result(made: Comparison, pairing: Pairing) -> dict[str, object]:
    return {
        "columns": [[pair.old, pair.new, pair.rule] for pair in pairing.pairs],
        "dropped": list(pairing.dropped),
        "added": list(pairing.added),
        "old_rows": made.old_rows,
        "new_rows": made.new_rows,
        "counts": {change.value: count for change, count in made.counts.items()},
        "changed_columns": made.columns,
        "differences_sha256": made.digest.hex(),
    }
