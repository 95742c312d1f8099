"""Sealing one table: captured changes and new rows become journal entries.

Every captured change becomes one entry, the last change of a row with content. A change that shows the row to have been altered
or inserted outside capture beforehand is sealed too, and marked: an amendment never launders a tampered row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import rowcodec
from ledger.batch import Batch, State
from ledger.clinical_time import declared_time
from ledger.commitment import blinded_subject, commit, copy_key, differing_fields, digest_function, record_secret
from ledger.keys import SubjectKeys
from ledger.merge import read_states
from ledger.shape import Change, Rows
from ledger.tables import Attached
from ledger.wire import NO_DIGEST, Flag, Kind, RecordEntry, decode_entry, encode_record

_NONCE = bytes(12)  # each copy has a key of its own


class TableSealer:
    """Seals one table within one batch. `now` in milliseconds, `last_checkpoint` in seconds since 1970 UTC (None: there is none)."""

    def __init__(
        self, table: Attached, batch: Batch, subjects: SubjectKeys, now: int, last_checkpoint: float | None, knows_authors: bool
    ) -> None:
        self._table, self._batch, self._subjects, self._now = table, batch, subjects, now
        self._last_checkpoint, self._knows_authors = last_checkpoint, knows_authors
        self._options, self._encoding = table.options, table.shape.encoding
        self._algorithm = table.options.algorithm_code
        self._time_column = table.shape.names.index(table.options.time) if table.options.time else None
        self._replaced: dict[bytes, Change] = {}

    def _label(self, subject: str | None, key: bytes) -> str:
        """Rows of one patient share a key; rows without a patient share their table's, or have their own (--subject @row)."""
        if self._options.subject == "@row":
            return f"row:{self._table.name}:{key.hex()}"
        return f"table:{self._table.name}" if subject is None else f"subject:{subject}"

    def new_rows(self, rows: Rows, flags: Flag) -> None:
        """Seal rows that have no record yet, many at once."""
        keys, subjects = rows.keys, rows.subjects or [None] * len(rows.keys)
        labels = [self._label(subject, key) for subject, key in zip(subjects, keys, strict=True)]
        sids = self._subjects.sids(labels)
        secrets_of = self._subjects.keys(sids.values())
        ids, bodies, states = os.urandom(16 * len(keys)), [], []
        table, fields_of, algorithm, index = self._table.id, rowcodec.fields, self._algorithm, self._batch.next
        for i, (key, row, label) in enumerate(zip(keys, rows.rows, labels, strict=True)):
            sid, record = sids[label], ids[16 * i : 16 * i + 16]
            subject_key = secrets_of[sid]
            secret = record_secret(subject_key, record, 1)
            fields = fields_of(self._encoding, row)
            made = commit(algorithm, secret, row, fields)
            marked = flags | self._back_dated(fields) if self._time_column is not None and not flags & Flag.BASELINE else flags
            bodies.append(
                encode_record(
                    1, self._now, table, marked, record, 1, None, blinded_subject(subject_key, record), bytes(8), algorithm,
                    made.row_digest, made.field_root, len(fields), made.tags,
                )
            )  # fmt: skip
            states.append((table, key, index + i, sid, 1))
            if marked & Flag.BACK_DATED:
                self._violation(index + i, key, (self._options.time or "",), None, None)
            if self._options.copies:
                self._keep_copy(index + i, sid, secret, row)
        self._batch.extend(bodies, states)

    def change(self, change: Change) -> None:
        """Seal one captured change."""
        self._batch.put("to_consume", self._table.id, change.uid)
        self._batch.put("consumed", change.uid[:8])
        if change.op == "T":
            return self._truncated(change)
        if change.op == "R":
            if change.old_key is not None:
                self._replaced[change.old_key] = change
            return None
        before = change.old_row
        key = change.new_key if change.op == "I" else change.old_key
        if key is None:
            return None
        victim = self._replaced.pop(key, None)
        state = self._batch.state(self._table.id, key)
        flags = Flag.CAPTURED
        columns: tuple[str, ...] = ()
        if change.op == "I" and victim is not None:
            before = victim.old_row
        elif change.op == "I" and state is not None and state.live:
            flags |= Flag.ALTERED_BEFORE  # its deletion was not captured
        if before is not None or change.op != "I":
            state, flags, columns = self._judge_before(change, key, before, state, flags)
        if change.op == "D":
            return self._delete(change, key, state, flags, columns)
        return self._write(change, key, before, state, flags, columns)

    def finish(self, source_rows: Callable[[bytes], bytes | None]) -> None:
        """Seal the deletions that INSERT OR REPLACE made without a delete trigger."""
        for key, change in self._replaced.items():
            state = self._batch.state(self._table.id, key)
            if state is not None and state.live and source_rows(key) is None:
                state, flags, columns = self._judge_before(change, key, change.old_row, state, Flag.CAPTURED)
                self._delete(change, key, state, flags, columns)
        self._replaced.clear()

    def _judge_before(
        self, change: Change, key: bytes, before: bytes | None, state: State | None, flags: Flag
    ) -> tuple[State | None, Flag, tuple[str, ...]]:
        """Hold the row as it was before the change against its last entry; keep it as a copy where they agree."""
        if before is None:
            return state, flags, ()
        if state is None or not state.live:
            state = self._unsealed_row(change, key, before, state)
            return state, flags | (Flag.INSERTED_BEFORE if self._table.sealed else Flag(0)), ()
        entry = self._record(state.entry)
        if not entry.flags & Flag.CONTENT:
            return state, flags, ()
        subject_key = self._subjects.keys([state.sid]).get(state.sid)
        if subject_key is None:
            return state, flags, ()
        secret = record_secret(subject_key, entry.record, entry.version)
        if digest_function(entry.algorithm)(secret + before) == entry.row_digest:
            self._keep_copy(state.entry, state.sid, secret, before)
            return state, flags, ()
        fields = rowcodec.fields(self._encoding, before)
        names = self._table.shape.names
        return (
            state,
            flags | Flag.ALTERED_BEFORE,
            tuple(names[i] for i in differing_fields(entry.algorithm, secret, fields, entry.tags)),
        )

    def _unsealed_row(self, change: Change, key: bytes, before: bytes, state: State | None) -> State:
        """A row that had no live record when it was changed gets an entry of its own first."""
        return self._append(
            Kind.WRITTEN,
            Flag.CONTENT | (Flag(0) if self._table.sealed else Flag.BASELINE),
            key,
            state,
            before,
            change.old_subject,
            None,
        )

    def _delete(self, change: Change, key: bytes, state: State | None, flags: Flag, columns: tuple[str, ...]) -> None:
        if not self._options.deletable:
            flags |= Flag.DELETION
        elif change.closed:
            flags |= Flag.FINAL
        flags |= self._unauthorised(change)
        made = self._append(Kind.DELETED, flags, key, state, None, None, change.author)
        self._violation_if(flags, made, key, columns, state, change.author)

    def _write(self, change: Change, key: bytes, before: bytes | None, state: State | None, flags: Flag, columns: tuple[str, ...]) -> None:
        amends = state is not None and state.live
        touched = set(change.changed)
        if change.op == "I" and before is not None and change.row is not None:
            pairs = zip(
                rowcodec.fields(self._encoding, before),
                rowcodec.fields(self._encoding, change.row),
                self._table.shape.names,
                strict=True,
            )
            touched = {name for old, new, name in pairs if old != new}
        broken = [name for name in self._options.immutable if name in touched] if amends else []
        if broken or (amends and change.closed):
            flags |= Flag.FINAL
            columns = columns or tuple(broken) or tuple(name for name in self._table.shape.names if name in touched)
        flags |= self._unauthorised(change)
        new_key = change.new_key if change.new_key is not None else key
        if new_key != key:
            flags |= Flag.MOVED
        if change.row is not None:
            flags |= Flag.CONTENT
            if not amends and self._time_column is not None:
                flags |= self._back_dated(rowcodec.fields(self._encoding, change.row))
                columns = columns or ((self._options.time or "",) if flags & Flag.BACK_DATED else ())
        made = self._append(Kind.AMENDED if amends else Kind.WRITTEN, flags, new_key, state, change.row, change.subject, change.author)
        if new_key != key:
            self._batch.set_state(self._table.id, key, None)
        self._violation_if(flags, made, new_key, columns, state, change.author)

    def _append(
        self, kind: Kind, flags: Flag, key: bytes, state: State | None, row: bytes | None, subject: str | None, author: str | None
    ) -> State:
        previous = None if state is None else self._record(state.entry)
        record, version = (os.urandom(16), 1) if previous is None else (previous.record, previous.version + 1)
        sid = self._sid(subject, key) if row is not None or state is None else state.sid
        subject_key = self._subjects.keys([sid]).get(sid)
        digest, root, tags, columns, blind = NO_DIGEST, NO_DIGEST, b"", 0, bytes(16)
        if subject_key is None:
            flags &= ~Flag.CONTENT  # the subject was erased: nothing can be committed to under its key
        else:
            blind = blinded_subject(subject_key, record)
        if row is not None and subject_key is not None:
            fields, secret = rowcodec.fields(self._encoding, row), record_secret(subject_key, record, version)
            made = commit(self._algorithm, secret, row, fields)
            digest, root, tags, columns = made.row_digest, made.field_root, made.tags, len(fields)
        body = encode_record(
            kind, self._now, self._table.id, flags, record, version, None if state is None else state.entry, blind,
            self._batch.author(author), self._algorithm, digest, root, columns, tags,
        )  # fmt: skip
        index = self._batch.add(body)
        if row is not None and subject_key is not None and self._options.copies:
            self._keep_copy(index, sid, record_secret(subject_key, record, version), row)
        made_state = State(index, sid, kind is not Kind.DELETED)
        self._batch.set_state(self._table.id, key, made_state)
        self._batch.flush_if_full()
        return made_state

    def _truncated(self, change: Change) -> None:
        """TRUNCATE: every live record of the table is deleted."""
        self._batch.flush()
        low: bytes | None = None
        while (states := next(read_states(self._batch.db, self._table.id, low, None), None)) is not None:
            for key, entry, sid, live in zip(states.keys, states.entries, states.sids, states.live, strict=True):
                if live:
                    self._delete(change, key, State(entry, sid, True), Flag.CAPTURED, ())
            low = states.keys[-1] + b"\0"

    def _record(self, index: int) -> RecordEntry:
        entry = decode_entry(self._batch.body(index))
        assert isinstance(entry, RecordEntry)  # noqa: S101 - `state` holds record entries only
        return entry

    def _sid(self, subject: str | None, key: bytes) -> int:
        label = self._label(subject, key)
        return self._subjects.sids([label])[label]

    def _unauthorised(self, change: Change) -> Flag:
        known = self._knows_authors and bool(self._options.writers)
        return Flag.UNAUTHORISED if known and change.author not in self._options.writers else Flag(0)

    def _back_dated(self, fields: Sequence[bytes]) -> Flag:
        if self._time_column is None or self._last_checkpoint is None:
            return Flag(0)
        declared = declared_time(rowcodec.display(self._encoding, fields[self._time_column]))
        late = declared is not None and declared < self._last_checkpoint - self._options.grace
        return Flag.BACK_DATED if late else Flag(0)

    def _keep_copy(self, index: int, sid: int, secret: bytes, row: bytes) -> None:
        self._batch.put("copies", index, sid, AESGCM(copy_key(secret)).encrypt(_NONCE, row, None))

    def _violation_if(self, flags: Flag, made: State, key: bytes, columns: Sequence[str], before: State | None, author: str | None) -> None:
        if flags & 0xFF00:
            self._violation(made.entry, key, columns, None if before is None else before.entry, author)

    def _violation(self, entry: int, key: bytes, columns: Sequence[str], before: int | None, author: str | None) -> None:
        self._batch.put("violations", entry, self._table.id, key, json.dumps(list(columns)), before, author)
