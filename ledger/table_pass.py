"""The audit's walk over a table: every row against the last entry of its record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from hashlib import blake2s, sha256

from ledger import rowcodec
from ledger.commitment import differing_fields, digest_function, record_secret
from ledger.errors import LedgerError, SourceError
from ledger.findings import FindingKind, Spot
from ledger.keys import SubjectKeys
from ledger.merge import Matched, OnlyRows, OnlyState, States, merge, read_states
from ledger.shape import Snapshot
from ledger.tables import Attached
from ledger.wire import KIND_AT, ROW_DIGEST, SECRET_INPUT, Algorithm, Flag, Kind, RecordEntry, decode_entry

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class TableReport:
    """What one range of a table's keys showed. `pending` counts rows and records that wait to be sealed."""

    table: int
    rows: int = 0
    pending: int = 0
    spots: list[Spot] = field(default_factory=list)


class TablePass:
    """Audits ranges of one table. `claimed` has one byte per journal entry and is set to 1 for each entry a state names."""

    def __init__(
        self,
        db: sqlite3.Connection,
        subjects: SubjectKeys,
        table: Attached,
        snapshot: Snapshot,
        claimed: bytearray,
        erased: Set[int],
    ) -> None:
        self._db, self._subjects, self._table, self._snapshot, self._claimed, self._erased = (
            db,
            subjects,
            table,
            snapshot,
            claimed,
            erased,
        )
        self._keys: dict[int, bytes] = {}
        triggers = table.options.capture == "triggers"
        self._touched = set(snapshot.touched(table.shape)) if triggers else set()
        self._truncated = triggers and snapshot.truncated(table.shape)
        self._adopts = not table.sealed or (not triggers and table.options.policy == "adopt")

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
                    for key in part.rows.keys:
                        self._only_row(key, report)
                else:
                    self._only_state(part, report)
                if report.rows != seen:
                    progress(self._table.name, report.rows - seen)
        except SourceError as error:
            if self._schema_holds():
                raise
            report.spots.append(Spot(FindingKind.SCHEMA_CHANGED, self._table.id, detail=f"rows could not be compared: {error}"))
        return report

    def schema(self) -> list[Spot]:
        """Findings about the table as a whole: its columns, its capture."""
        spots = []
        try:
            now = self._snapshot.describe(self._table.name, self._table.shape.key)
        except SourceError as error:
            return [Spot(FindingKind.SCHEMA_CHANGED, self._table.id, detail=str(error))]
        was_types, now_types = ({column.name: column.type for column in shape.columns} for shape in (self._table.shape, now))
        changed = tuple(name for name in {**was_types, **now_types} if was_types.get(name) != now_types.get(name))
        if changed:
            words = [f"{name}: {was_types.get(name, 'absent')} became {now_types.get(name, 'absent')}" for name in changed]
            spots.append(Spot(FindingKind.SCHEMA_CHANGED, self._table.id, columns=changed, detail="; ".join(words)))
        faults = self._snapshot.capture_faults(self._table.shape) if self._table.options.capture == "triggers" else []
        if faults:
            spots.append(Spot(FindingKind.CAPTURE_DISABLED, self._table.id, detail="; ".join(faults)))
        return spots

    def _schema_holds(self) -> bool:
        try:
            now = self._snapshot.describe(self._table.name, self._table.shape.key)
        except SourceError:
            return False
        return set(self._table.shape.names) <= set(now.names)

    def _matched(self, part: Matched, report: TableReport) -> None:
        states = part.states
        self._claim(states)
        keys = self._keys
        if not all(map(keys.__contains__, states.sids)):
            keys = self._keys = self._subjects.keys(states.sids)
        if self._table.options.algorithm_code is Algorithm.SHA256 and all(map(keys.__contains__, states.sids)):
            sha, prf = sha256, blake2s
            made = [
                sha(prf(body[SECRET_INPUT], key=key).digest() + row).digest()
                for row, body, key in zip(part.rows, states.bodies, map(keys.__getitem__, states.sids), strict=True)
            ]
            wanted = [body[ROW_DIGEST] for body in states.bodies]
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
        if key in self._touched:
            return None
        if states.bodies[i][KIND_AT] == Kind.DELETED:
            return report.spots.append(Spot(FindingKind.INSERTED, self._table.id, key, entry=index, detail="its record was deleted"))
        entry = self._entry(states.bodies[i])
        if entry is None:
            return report.spots.append(
                Spot(FindingKind.JOURNAL_ALTERED, self._table.id, key, entry=index, detail="its journal entry is damaged")
            )
        subject_key = self._subjects.keys([sid]).get(sid)
        if subject_key is None:
            kind = FindingKind.ERASED_PRESENT if sid in self._erased else FindingKind.SECRET_MISSING
            return report.spots.append(Spot(kind, self._table.id, key, entry=index))
        secret = record_secret(subject_key, entry.record, entry.version)
        if entry.flags & Flag.CONTENT and digest_function(entry.algorithm)(secret + row) == entry.row_digest:
            return None
        names, fields = self._table.shape.names, rowcodec.fields(self._table.shape.encoding, row)
        columns = (
            names
            if entry.columns != len(fields)
            else tuple(names[c] for c in differing_fields(entry.algorithm, secret, fields, entry.tags))
        )
        return report.spots.append(Spot(FindingKind.ALTERED, self._table.id, key, columns, index))

    def _only_row(self, key: bytes, report: TableReport) -> None:
        if self._adopts or key in self._touched:
            report.pending += 1
        else:
            report.spots.append(Spot(FindingKind.INSERTED, self._table.id, key))

    def _only_state(self, part: OnlyState, report: TableReport) -> None:
        self._claim(part.states)
        for key, index, body in zip(part.states.keys, part.states.entries, part.states.bodies, strict=True):
            live = body[KIND_AT] != Kind.DELETED
            if live and (self._truncated or key in self._touched):
                report.pending += 1
            elif live:
                report.spots.append(Spot(FindingKind.DELETED, self._table.id, key, entry=index))

    def _claim(self, states: States) -> None:
        first, count = states.entries[0], len(states.entries)
        if states.entries == tuple(range(first, first + count)) and not any(self._claimed[first : first + count]):
            self._claimed[first : first + count] = b"\1" * count
            return
        for index in states.entries:
            # A second claim stays visible: it will not match the heads.
            self._claimed[index] = 2 if self._claimed[index] else 1

    def _entry(self, body: bytes) -> RecordEntry | None:
        try:
            entry = decode_entry(body)
        except LedgerError:
            return None
        return entry if isinstance(entry, RecordEntry) and entry.table == self._table.id else None
