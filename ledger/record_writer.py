"""Writing the entries of one table's records, with everything the home keeps beside them: states, copies, marks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import rowcodec
from ledger.batch import Batch, State
from ledger.commitment import blinded_subject, commit, copy_key, differing_fields, digest_function, record_secret
from ledger.errors import LedgerError
from ledger.keys import SubjectKeys
from ledger.shape import Rows
from ledger.tables import Attached
from ledger.wire import NO_AUTHOR, NO_DIGEST, VIOLATIONS, Flag, Kind, RecordEntry, decode_entry, encode_record

_NONCE = bytes(12)  # each copy has a key of its own


class RecordWriter:
    """Writes entries of one table within one batch. `now` is in milliseconds since 1970 UTC.

    `erased` are the subjects whose keys were destroyed on purpose; nothing can be committed to under such a key.
    """

    def __init__(self, table: Attached, batch: Batch, subjects: SubjectKeys, now: int, erased: Set[int]) -> None:
        self._table, self._batch, self._subjects, self._now, self.erased = table, batch, subjects, now, erased
        self._encoding, self._algorithm, self._copies = table.shape.encoding, table.options.algorithm_code, table.options.copies
        self.begun = batch.next
        self._read: tuple[int, RecordEntry] | None = None

    def _label(self, subject: str | None, key: bytes) -> str:
        """Rows of one patient share a key; rows without a patient share their table's, or have their own (--subject @row)."""
        if subject is not None:
            return "subject:" + subject
        return f"row:{self._table.name}:{key.hex()}" if self._table.options.subject == "@row" else f"table:{self._table.name}"

    def new_rows(self, rows: Rows, flags: Flag, late: Callable[[Sequence[bytes]], int]) -> None:
        """Seal rows that have no record yet, many at once; `late` gives the flag of a row whose fields declare no credible time, else 0."""
        keys, subjects = rows.keys, rows.subjects or [None] * len(rows.keys)
        labels = list(map(self._label, subjects, keys))
        sids = self._subjects.sids(labels)
        secrets_of = self._subjects.keys(sids.values())
        ids, bodies, states = os.urandom(16 * len(keys)), [], []
        table, fields_of, algorithm, index = self._table.id, rowcodec.fields, int(self._algorithm), self._batch.next
        in_time = int(flags)  # operators of an IntFlag are slow
        for i, (key, row, label) in enumerate(zip(keys, rows.rows, labels, strict=True)):
            sid, record = sids[label], ids[16 * i : 16 * i + 16]
            subject_key = secrets_of.get(sid)
            if subject_key is None:
                body = self._without_content(Kind.WRITTEN, flags, record, 1, None, bytes(16), NO_AUTHOR)
                bodies.append(body)
                states.append((table, key, index + i, sid, 1))
                continue
            secret = record_secret(subject_key, record, 1)
            fields = fields_of(self._encoding, row)
            made = commit(algorithm, secret, row, fields)
            marked = in_time | late(fields)
            bodies.append(
                encode_record(
                    1, self._now, table, marked, record, 1, None, blinded_subject(subject_key, record), NO_AUTHOR, algorithm,
                    made.row_digest, made.field_root, len(fields), made.tags,
                )
            )  # fmt: skip
            states.append((table, key, index + i, sid, 1))
            if marked != in_time:
                self._batch.mark(index + i, key, (self._table.options.time or "",), None, self._now)
            if self._copies:
                self._keep(index + i, sid, secret, row)
        self._batch.extend(bodies, states)

    def append(
        self, kind: Kind, flags: Flag, key: bytes | None, state: State | None, row: bytes | None, subject: str | None, author: str | None
    ) -> State:
        """Add an entry to the record in `state`, or begin one, with content where `row` is given; the record is then under `key`.

        Without a `key` the record's place is another record's by now.
        """
        previous = None if state is None else self.record(state.entry)
        record, version = (os.urandom(16), 1) if previous is None else (previous.record, previous.version + 1)
        sid = self._sid(subject, key or b"") if row is not None or state is None else state.sid
        subject_key, signed = self._subjects.keys([sid]).get(sid), self._batch.author(author)
        index_before = None if state is None else state.entry
        blind = bytes(16) if subject_key is None else blinded_subject(subject_key, record)
        if row is None or subject_key is None:
            index = self._batch.add(self._without_content(kind, flags, record, version, index_before, blind, signed))
        else:
            fields, secret = rowcodec.fields(self._encoding, row), record_secret(subject_key, record, version)
            made = commit(self._algorithm, secret, row, fields)
            body = encode_record(
                kind, self._now, self._table.id, flags | Flag.CONTENT, record, version, index_before, blind, signed, self._algorithm,
                made.row_digest, made.field_root, len(fields), made.tags,
            )  # fmt: skip
            index = self._batch.add(body)
            if self._copies:
                self._keep(index, sid, secret, row)
        made_state = State(index, sid, kind is not Kind.DELETED)
        if key is not None:
            self._batch.set_state(self._table.id, key, made_state)
        self._batch.flush_if_full()
        return made_state

    def _without_content(
        self, kind: Kind, flags: Flag, record: bytes, version: int, previous: int | None, blind: bytes, author: bytes
    ) -> bytes:
        return encode_record(
            kind, self._now, self._table.id, flags & ~Flag.CONTENT, record, version, previous, blind, author, self._algorithm,
            NO_DIGEST, NO_DIGEST, 0, b"",
        )  # fmt: skip

    def record(self, index: int) -> RecordEntry:
        """A record entry of the journal, or of this batch."""
        if self._read is None or self._read[0] != index:
            entry = decode_entry(self._batch.body(index))
            if not isinstance(entry, RecordEntry):
                raise LedgerError(f"the home's index names entry {index}, which is no record's: restore the home from its mirror or backup")
            self._read = index, entry
        return self._read[1]

    def secret_of(self, state: State) -> bytes | None:
        """The secret of a record's last version; None where its subject's key is gone."""
        entry, subject_key = self.record(state.entry), self._subjects.keys([state.sid]).get(state.sid)
        return None if subject_key is None else record_secret(subject_key, entry.record, entry.version)

    def agrees(self, state: State, secret: bytes, row: bytes) -> bool:
        """Whether a record's last version is this row; if so it is kept as a copy."""
        entry = self.record(state.entry)
        if digest_function(entry.algorithm)(secret + row) != entry.row_digest:
            return False
        self._keep(state.entry, state.sid, secret, row)
        return True

    def contradicted(self, state: State, row: bytes | None) -> tuple[str, ...]:
        """The columns in which a row contradicts a record's last version, as far as can be told."""
        entry, secret = self.record(state.entry), self.secret_of(state)
        if row is None or secret is None or not entry.flags & Flag.CONTENT:
            return ()
        names = self._table.shape.names
        return tuple(names[i] for i in differing_fields(entry.algorithm, secret, rowcodec.fields(self._encoding, row), entry.tags))

    def _sid(self, subject: str | None, key: bytes) -> int:
        label = self._label(subject, key)
        return self._subjects.sids([label])[label]

    def _keep(self, index: int, sid: int, secret: bytes, row: bytes) -> None:
        self._batch.put("copies", index, sid, AESGCM(copy_key(secret)).encrypt(_NONCE, row, None))

    def mark_if(
        self, flags: Flag, made: State, key: bytes, columns: Sequence[str], author: str | None, window: int | None = None
    ) -> None:
        """Say what was found when a change was sealed, where its flags tell that something was; `window` announced it."""
        if flags & VIOLATIONS:
            self._batch.mark(made.entry, key, columns, author, self._now, window)
