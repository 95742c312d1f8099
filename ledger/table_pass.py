"""The audit's walk over a table: every row against the last entry of its record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from operator import itemgetter

from ledger import identity, rowcodec
from ledger.commitment import differing_fields, digest_function
from ledger.errors import LedgerError, SourceError
from ledger.findings import JOURNAL_KINDS, FindingKind, Spot
from ledger.merge import Matched, OnlyRows, OnlyState, Repeated, merge, read_states
from ledger.record_secrets import RecordSecrets
from ledger.seal import consumed_of
from ledger.shape import LOST_CHANGES, Snapshot
from ledger.tables import Attached
from ledger.wire import ROW_DIGEST, TABLE, Algorithm, Flag, Kind, RecordEntry, decode_entry

Progress = Callable[[str, int], None]
SECOND_ROW = "a second row under the key of a sealed one"
_TABLE, _ROW_DIGEST = itemgetter(TABLE), itemgetter(ROW_DIGEST)


@dataclass(slots=True)
class TableReport:
    """What one range of a table's keys showed. `pending` counts rows and records that wait to be sealed, `unchecked` those that the
    secrets at hand do not cover.

    `unread` says why the rows could not be compared, where the table is not what it was.
    """

    table: int
    rows: int = 0
    pending: int = 0
    unchecked: int = 0
    spots: list[Spot] = field(default_factory=list)
    unread: str = ""


class TablePass:
    """Audits ranges of one table."""

    def __init__(self, db: sqlite3.Connection, secrets: RecordSecrets, table: Attached, snapshot: Snapshot) -> None:
        self._db, self._secrets, self._table, self._snapshot, self._erased = db, secrets, table, snapshot, secrets.erased
        self._algorithm, self._number = table.options.algorithm_code, table.id.to_bytes(2, "big")
        self._changed: set[bytes | None] | None = None
        self._consumed = consumed_of(db)
        self._faults = snapshot.capture_faults(table.shape) if self._captures and self._schema_holds() else []
        try:
            self._touched = set(snapshot.touched(table.shape, self._consumed)) if self._captures else set()
            self._truncated = self._captures and snapshot.truncated(table.shape, self._consumed)
        except SourceError:
            if not self._faults and self._schema_holds():
                raise
            # The queue is gone or damaged, which is a finding of its own; then nothing is pending.
            self._touched, self._truncated = set(), False
        self._adopts = not table.sealed or (not self._captures and table.options.policy == "adopt")

    @property
    def _captures(self) -> bool:
        return self._table.options.capture == "triggers"

    def run(self, low: bytes | None, high: bytes | None, progress: Progress) -> TableReport:
        """Hold rows with low <= key < high against their records. Memory does not grow with the range."""
        report = TableReport(self._table.id)
        try:
            rows = self._snapshot.rows(self._table.shape, low=low, high=high)
            for part in merge(rows, read_states(self._db, self._table.id, low, high)):
                seen = report.rows
                if isinstance(part, Matched):
                    report.rows += len(part.rows)
                    self._matched(part, report)
                elif isinstance(part, OnlyRows):
                    report.rows += len(part.rows.keys)
                    for key, row in zip(part.rows.keys, part.rows.rows, strict=True):
                        self._only_row(key, row, report)
                elif isinstance(part, Repeated):
                    report.rows += len(part.rows.keys)
                    self._repeated(part, report)
                else:
                    self._only_state(part, report)
                if report.rows != seen:
                    progress(self._table.name, report.rows - seen)
        except SourceError as error:
            if self._schema_holds():
                raise
            report.unread = self._said(error)
        return report

    def _said(self, error: SourceError) -> str:
        """What an error says, without the address of the database: whoever reads the same by another account finds the same."""
        return str(error).replace(self._snapshot.place, "the database")

    def schema(self, unread: str) -> list[Spot]:
        """Findings about the table as a whole: its columns, its capture; `unread` as in the reports."""
        spots = []
        try:
            now = self._snapshot.describe(self._table.shape.table, self._table.shape.key)
        except SourceError as error:
            return [self._about(FindingKind.SCHEMA_CHANGED, self._said(error))]
        was_types, now_types = ({column.name: column.type for column in shape.columns} for shape in (self._table.shape, now))
        changed = tuple(name for name in {**was_types, **now_types} if was_types.get(name) != now_types.get(name))
        if changed or unread:
            words = [f"{name}: {was_types.get(name, 'absent')} became {now_types.get(name, 'absent')}" for name in changed]
            words += [f"its rows could not be compared: {unread}"] if unread else []
            spots.append(self._about(FindingKind.SCHEMA_CHANGED, "; ".join(words), changed))
        if self._faults:
            # Capture that is off is mended, not accepted: else it could be off again later, and nobody would be told.
            lasting = all(fault.endswith(LOST_CHANGES) for fault in self._faults)
            spots.append(self._about(FindingKind.CAPTURE_DISABLED, "; ".join(self._faults), answerable=lasting))
        return spots

    def _about(self, kind: FindingKind, detail: str, columns: tuple[str, ...] = (), *, answerable: bool = True) -> Spot:
        made = identity.about_table(kind, self._table.entry, detail) if answerable else None
        return Spot(kind, self._table.id, columns=columns, detail=detail, id=made)

    def _schema_holds(self) -> bool:
        try:
            now = self._snapshot.describe(self._table.shape.table, self._table.shape.key)
        except SourceError:
            return False
        return set(self._table.shape.names) <= set(now.names)

    def _matched(self, part: Matched, report: TableReport) -> None:
        states = part.states
        if self._truncated:
            # Whatever rows there are came after the TRUNCATE.
            for key, row in zip(states.keys, part.rows, strict=True):
                self._only_row(key, row, report)
            return
        plain = self._algorithm is Algorithm.SHA256 and self._erased.isdisjoint(states.sids)
        secrets = self._secrets.many(states.sids, states.entries, states.bodies) if plain else None
        if secrets is not None and set(map(_TABLE, states.bodies)) == {self._number}:
            sha = sha256
            made = [sha(secret + row).digest() for row, secret in zip(part.rows, secrets, strict=True)]
            wanted = list(map(_ROW_DIGEST, states.bodies))
            wrong = [] if made == wanted else [i for i, digest in enumerate(made) if digest != wanted[i]]
        else:
            wrong = list(range(len(part.rows)))
        for i in wrong:
            self._suspect(i, part, report)
        if self._touched:
            report.pending += sum(1 for key in states.keys if key in self._touched)

    def _suspect(self, i: int, part: Matched, report: TableReport) -> None:
        """Judge one row exactly; the fast loop only says that it needs a look."""
        states, row = part.states, part.rows[i]
        key, index, sid = states.keys[i], states.entries[i], states.sids[i]
        if self._is_changed(key):
            return None
        entry = self._entry(states.bodies[i])
        if entry is None:
            detail = "its journal entry is damaged or another table's"
            return self._found(report, FindingKind.JOURNAL_ALTERED, key, index, row, detail=detail)
        if entry.kind is Kind.DELETED:
            return self._found(report, FindingKind.INSERTED, key, index, row, detail="its record was deleted")
        secret = self._secrets.one(sid, index, entry)
        if sid in self._erased:
            return self._found(report, FindingKind.ERASED_PRESENT, key, index, row)
        if secret is None and not self._secrets.covers(index):
            report.unchecked += 1
            return None
        if secret is None:
            return self._found(report, FindingKind.SECRET_MISSING, key, index, row)
        if not self._secrets.is_subject(sid, entry):
            return self._found(report, FindingKind.JOURNAL_ALTERED, key, index, row, detail="the home's index names another subject for it")
        if entry.flags & Flag.CONTENT and digest_function(entry.algorithm)(secret + row) == entry.row_digest:
            return None
        names, fields = self._table.shape.names, rowcodec.fields(self._table.shape.encoding, row)
        columns = names
        if entry.columns == len(fields):
            columns = tuple(names[c] for c in differing_fields(entry.algorithm, secret, fields, entry.tags))
        return self._found(report, FindingKind.ALTERED, key, index, row, columns)

    def _is_changed(self, key: bytes) -> bool:
        """Whether a change of the key is queued, and not only an announcement that REPLACE, or INSERT OR IGNORE, met its row."""
        if key not in self._touched or self._table.shape.encoding != rowcodec.SQLITE:
            return key in self._touched
        if self._changed is None:
            queue = self._snapshot.changes(self._table.shape, subject=None, final=None)
            self._changed = set()
            for run in queue:
                known = self._consumed([change.uid for change in run])
                news = [change for change in run if change.op != "R" and change.uid not in known]
                self._changed |= {key for change in news for key in (change.old_key, change.new_key)}
        return key in self._changed

    def _only_row(self, key: bytes, row: bytes, report: TableReport) -> None:
        if self._adopts or self._is_changed(key):
            report.pending += 1
        else:
            self._found(report, FindingKind.INSERTED, key, None, row)

    def _repeated(self, part: Repeated, report: TableReport) -> None:
        for key, row in zip(part.rows.keys, part.rows.rows, strict=True):
            if not self._is_changed(key):
                self._found(report, FindingKind.INSERTED, key, None, row, detail=SECOND_ROW)

    def _only_state(self, part: OnlyState, report: TableReport) -> None:
        for key, index, live in zip(part.states.keys, part.states.entries, part.states.live, strict=True):
            if live and (self._truncated or key in self._touched):
                report.pending += 1
            elif live:
                self._found(report, FindingKind.DELETED, key, index, None)

    def _found(
        self, report: TableReport, kind: FindingKind, key: bytes, entry: int | None, row: bytes | None, columns: tuple[str, ...] = (),
        detail: str = "",
    ) -> None:  # fmt: skip
        made = None if kind in JOURNAL_KINDS else identity.state(self._secrets.blind_state, kind, self._table.id, key, entry, row)
        report.spots.append(Spot(kind, self._table.id, key, columns, entry, detail=detail, id=made))

    def _entry(self, body: bytes) -> RecordEntry | None:
        try:
            entry = decode_entry(body)
        except LedgerError:
            return None
        return entry if isinstance(entry, RecordEntry) and entry.table == self._table.id else None
