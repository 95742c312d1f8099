"""Sealing one table: captured changes and new rows become journal entries.

Every captured change becomes one entry, the last change of a row with content. A change that shows the row to have been altered
or inserted outside capture is sealed too, and marked: an amendment never launders a tampered row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace

from ledger import rowcodec
from ledger.batch import Batch, State
from ledger.clinical_time import declared_time
from ledger.keys import SubjectKeys
from ledger.merge import read_states
from ledger.record_writer import RecordWriter
from ledger.shape import Change, Rows
from ledger.succession import Sight, Succession
from ledger.tables import Attached
from ledger.windows import Window
from ledger.wire import VIOLATIONS, Flag, Kind


@dataclass(frozen=True, slots=True)
class _Judged:
    """Where a record stood when a change met it, and what its row then showed; `first` is the row before this seal's first change."""

    state: State | None
    flags: Flag = Flag.CAPTURED
    columns: tuple[str, ...] = ()
    first: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Displaced:
    """A record whose key another record moved to, by the change `by`, and its last sight."""

    state: State
    sight: Sight | None
    by: Change


class TableSealer:
    """Seals one table within one batch. `now` in milliseconds, `last_checkpoint` in seconds since 1970 UTC (None: there is none).

    `erased` are the subjects whose keys were destroyed on purpose, `windows` the table's change windows.
    """

    def __init__(
        self,
        table: Attached,
        batch: Batch,
        subjects: SubjectKeys,
        now: int,
        last_checkpoint: float | None,
        knows_authors: bool,
        erased: Set[int],
        windows: Sequence[Window] = (),
    ) -> None:
        self._table, self._batch, self._options, self._encoding = table, batch, table.options, table.shape.encoding
        self._writer = RecordWriter(table, batch, subjects, now, erased)
        self._last_checkpoint, self._knows_authors, self._windows = last_checkpoint, knows_authors, windows
        self._time_column = table.shape.names.index(table.options.time) if table.options.time else None
        self._succession = Succession(self._encoding, table.shape.names)
        # What REPLACE may have removed, those announced for the operation at hand, and captured deletions of these.
        self._replaced: dict[bytes, Change] = {}
        self._removable: set[bytes] = set()
        self._held: dict[bytes, Change] = {}
        # Records whose key another record moved to, and such keys.
        self._displaced: dict[bytes, _Displaced] = {}
        self._taken_over: set[bytes] = set()

    def new_rows(self, rows: Rows, flags: Flag) -> None:
        """Seal rows that have no record yet, many at once."""
        exempt = self._time_column is None or flags & Flag.BASELINE
        self._writer.new_rows(rows, flags, (lambda fields: 0) if exempt else self._late)

    def change(self, change: Change) -> None:
        """Seal one captured change."""
        self._batch.put("to_consume", self._table.id, change.uid)
        self._batch.put("consumed", change.uid)
        if change.op == "D" and change.old_key in self._removable:
            # With recursive triggers on, REPLACE fires the delete trigger too: whether the row comes back decides.
            self._held[change.old_key] = change
            return
        self._settle(change.new_key if change.op == "I" else None)
        if change.op == "T":
            self._truncated(change)
        elif change.op == "R":
            if change.old_key is not None:
                self._replaced[change.old_key] = change
                self._removable.add(change.old_key)
        else:
            self._captured(change)
            self._removable.clear()

    def finish(self, source_row: Callable[[bytes], tuple[bytes, str | None] | None]) -> None:
        """Seal what only the end of the queue shows. `source_row` gives the present row of a key, and its subject."""
        self._settle(None)
        replaced, self._replaced = self._replaced, {}
        for key, change in replaced.items():
            if change.row is None:
                self._removed(key, change)
            elif not self._table.sealed and self._batch.state(self._table.id, key) is None:
                # INSERT OR IGNORE met a row of the baseline.
                self._writer.append(Kind.WRITTEN, Flag.BASELINE, key, None, change.row, change.subject, None)
        for key in list(self._displaced):
            self._vanished(key)
        for key in self._taken_over:
            there, present = self._batch.state(self._table.id, key), source_row(key)
            if there is not None and there.live and present is not None and not self._writer.record(there.entry).flags & Flag.CONTENT:
                self._writer.append(Kind.AMENDED, Flag(0), key, there, *present, None)

    def _settle(self, coming_back: bytes | None) -> None:
        """Seal the deletions that came right after a REPLACE announced them, except of the row that comes back at once."""
        held, self._held = self._held, {}
        for key, change in held.items():
            if key != coming_back:
                self._captured(change)

    def _captured(self, change: Change) -> None:
        key = change.new_key if change.op == "I" else change.old_key
        if key is None:
            return
        victim = self._replaced.pop(key, None)
        if change.op == "I" and victim is not None:
            if key in self._removable or victim.changed:
                change = replace(change, old_row=victim.old_row, closed=victim.closed, changed=victim.changed)
            else:
                self._removed(key, victim)
        state, sight, taken_over = self._batch.state(self._table.id, key), self._succession.take(key), False
        if change.op == "D" or change.new_key != key:
            other = self._displaced.get(key)
            if other is not None and (self._fits(change, other.state, other.sight) or not self._fits(change, state, sight)):
                if sight is not None:
                    self._succession.keep(key, sight)
                state, sight, taken_over = self._displaced.pop(key).state, other.sight, True
        judged = _Judged(state)
        if change.old_row is not None:
            judged = self._judge(change, key, change.old_row, state, sight)
        elif change.op == "I" and state is not None and state.live:
            # Its deletion was not captured.
            judged = _Judged(state, Flag.CAPTURED | Flag.ALTERED_BEFORE, self._writer.contradicted(state, change.row))
        if change.op == "D":
            self._delete(change, key, judged, lasting=taken_over)
        else:
            self._write(change, key, judged, taken_over)

    def _removed(self, key: bytes, victim: Change) -> None:
        """Seal the deletion of a row that REPLACE removed without a delete trigger."""
        self._captured(replace(victim, op="D", old_key=key))

    def _fits(self, change: Change, state: State | None, sight: Sight | None) -> bool:
        """Whether the row before a change may be that of a record, by the record's last sight or last entry."""
        if state is None or change.old_row is None:
            return False
        if sight is not None:
            return not self._succession.outside(sight, change.old_row)
        secret = self._writer.secret_of(state)
        return secret is not None and self._writer.agrees(state, secret, change.old_row)

    def _judge(self, change: Change, key: bytes, before: bytes, state: State | None, sight: Sight | None) -> _Judged:
        """Hold the row as it was before the change against its last sight, else its last entry; keep it as a copy where they agree."""
        if state is None or not state.live:
            # It gets an entry of its own first.
            known = Flag(0) if self._table.sealed else Flag.BASELINE
            made = self._writer.append(Kind.WRITTEN, known, key, state, before, change.old_subject, None)
            if (secret := self._writer.secret_of(made)) is not None:
                self._writer.agrees(made, secret, before)
            return _Judged(made, Flag.CAPTURED | (Flag(0) if known else Flag.INSERTED_BEFORE), (), before)
        if sight is not None:
            outside = self._succession.outside(sight, before)
            return _Judged(state, Flag.CAPTURED | (Flag.ALTERED_BEFORE if outside else Flag(0)), outside, sight.first)
        secret, flags = self._writer.secret_of(state), Flag.CAPTURED
        if secret is None:
            return _Judged(state, flags | (Flag(0) if state.sid in self._writer.erased else Flag.UNCOMPARED), (), before)
        if not self._writer.record(state.entry).flags & Flag.CONTENT:
            # What a change of this seal made of the row is not known; a change sealed earlier had left no row behind.
            return _Judged(state, flags | (Flag(0) if state.entry >= self._writer.begun else Flag.ALTERED_BEFORE), (), before)
        if self._writer.agrees(state, secret, before):
            return _Judged(state, flags, (), before)
        return _Judged(state, flags | Flag.ALTERED_BEFORE, self._writer.contradicted(state, before), before)

    def _delete(self, change: Change, key: bytes, judged: _Judged, *, lasting: bool = False) -> None:
        """Seal a deletion; `lasting`: another record is under the key by now."""
        flags = judged.flags | self._unauthorised(change)
        if not self._options.deletable:
            flags |= Flag.DELETION
        elif change.closed:
            flags |= Flag.FINAL
        made = self._writer.append(Kind.DELETED, flags, None if lasting else key, judged.state, None, None, change.author)
        self._writer.mark_if(flags, made, key, judged.columns, change.author)

    def _write(self, change: Change, key: bytes, judged: _Judged, taken_over: bool) -> None:
        state, flags, columns = judged.state, judged.flags | self._unauthorised(change), judged.columns
        amended = state if state is not None and state.live else None
        new_key = key if change.new_key is None else change.new_key
        moved = new_key != key
        if moved:
            flags |= Flag.MOVED
            self._make_room(change, new_key)
        if amended is not None and change.old_row is not None:
            exact = change.op == "U" and self._encoding == rowcodec.SQLITE
            sight = Sight(judged.first or change.old_row, change.old_row, change.changed, exact)
            if change.row is None:
                self._succession.keep(new_key, sight)
            elif outside := self._succession.outside(sight, change.row):
                # Changed outside capture after this change and before its seal.
                flags, columns = flags | Flag.ALTERED_BEFORE, columns or outside
        fixed = tuple(name for name in self._options.immutable if name in change.changed)
        if amended is not None and (fixed or (change.closed and change.changed)):
            flags, columns = flags | Flag.FINAL, columns or fixed or change.changed
        if change.row is not None and (back_dated := self._back_dating(change.row, amended, judged.first)):
            flags, columns = flags | Flag(back_dated), columns or (self._options.time or "",)
        if flags & Flag.UNAUTHORISED:
            columns = columns or change.changed
        kind = Kind.WRITTEN if amended is None else Kind.AMENDED
        made = self._writer.append(kind, flags, new_key, state, change.row, change.subject, change.author)
        if moved and not taken_over:
            self._batch.set_state(self._table.id, key, None)
        window = next((w for w in self._windows if w.covers(change, flags, moved)), None) if flags & VIOLATIONS else None
        self._writer.mark_if(flags, made, new_key, columns, change.author, None if window is None else window.number)

    def _make_room(self, change: Change, key: bytes) -> None:
        """A record moves to this key: what is there was replaced, or moves on in the same statement, or is gone unseen."""
        victim = self._replaced.pop(key, None)
        if victim is not None:
            self._removed(key, victim)
        there = self._batch.state(self._table.id, key)
        if there is not None and there.live:
            self._vanished(key)
            self._displaced[key] = _Displaced(there, self._succession.take(key), change)
            self._taken_over.add(key)

    def _vanished(self, key: bytes) -> None:
        """A displaced record that moved nowhere: its row had been deleted outside capture."""
        displaced = self._displaced.pop(key, None)
        if displaced is not None:
            change = replace(displaced.by, author=None, closed=False)
            self._delete(change, key, _Judged(displaced.state, Flag.CAPTURED | Flag.DELETION), lasting=True)

    def _truncated(self, change: Change) -> None:
        """TRUNCATE: every live record of the table is deleted."""
        self._succession.clear()
        self._batch.flush()
        low: bytes | None = None
        while (states := next(read_states(self._batch.db, self._table.id, low, None), None)) is not None:
            for key, entry, sid, live in zip(states.keys, states.entries, states.sids, states.live, strict=True):
                if live:
                    self._delete(change, key, _Judged(State(entry, sid, True)))
            low = states.keys[-1] + b"\0"

    def _unauthorised(self, change: Change) -> Flag:
        known = self._knows_authors and bool(self._options.writers)
        return Flag.UNAUTHORISED if known and change.author not in self._options.writers else Flag(0)

    def _back_dating(self, row: bytes, amended: State | None, first: bytes | None) -> int:
        """The flag of too early or unreadable a time: a new record's, or one that an amendment moved back by more than the grace."""
        late = 0 if self._time_column is None else self._late(rowcodec.fields(self._encoding, row))
        if late != Flag.BACK_DATED or amended is None or first is None or self._never_sealed(amended):
            return late
        was, now = (declared_time(self._declared(rowcodec.fields(self._encoding, version))) for version in (first, row))
        return late if was is None or now is None or now < was - self._options.grace else 0

    def _never_sealed(self, state: State) -> bool:
        """Whether the record began in this seal, and none of its versions has content yet."""
        index: int | None = state.entry
        while index is not None and index >= self._writer.begun:
            entry = self._writer.record(index)
            if entry.flags & Flag.CONTENT or entry.kind is Kind.WRITTEN:
                return not entry.flags & Flag.CONTENT
            index = entry.previous
        return False

    def _late(self, fields: Sequence[bytes]) -> int:
        """A flag where the declared time is further than the grace before the checkpoint that precedes this seal, or cannot be read."""
        text = self._declared(fields)
        declared = declared_time(text)
        if declared is None:
            return 0 if text is None else int(Flag.TIME_UNREADABLE)
        late = self._last_checkpoint is not None and declared < self._last_checkpoint - self._options.grace
        return int(Flag.BACK_DATED) if late else 0

    def _declared(self, fields: Sequence[bytes]) -> str | None:
        return None if self._time_column is None else rowcodec.display(self._encoding, fields[self._time_column])
