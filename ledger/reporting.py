"""Findings as they are reported: key columns, version, author, since when, and values where they may be shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import canonical, rowcodec, sortkey
from ledger.commitment import copy_key, digest_function, record_secret
from ledger.errors import LedgerError
from ledger.findings import Finding, IntactAt, Spot, kind_of
from ledger.home import Home
from ledger.tables import Attached
from ledger.wire import RecordEntry, decode_entry


class PresentRows(Protocol):
    """Where the present row of a key can be looked up."""

    def row(self, table: Attached, key: bytes) -> bytes | None: ...


class Reporter:
    """Turns spots into findings. With `values`, altered and amended columns are shown before and after, where a copy exists."""

    def __init__(self, home: Home, tables: Mapping[int, Attached], values: bool) -> None:
        self._home, self._tables, self._values = home, tables, values
        self._authors = dict(home.store.db.execute("SELECT id, name FROM authors"))

    def findings(self, spots: Iterable[Spot], violations: Sequence[int], present: PresentRows) -> list[Finding]:
        """One finding per row, the first that applies: what the rows show now, then what was marked when changes were sealed."""
        made, seen = [], set()
        for spot in [*spots, *self._violations(violations)]:
            if spot.key is not None:
                if (spot.table, spot.key) in seen:
                    continue
                seen.add((spot.table, spot.key))
            made.append(self._finding(spot, present))
        return made

    def _violations(self, entries: Sequence[int]) -> Iterable[Spot]:
        known = {row[0]: row[1:] for row in self._home.store.db.execute("SELECT entry, tbl, key, columns, before, author FROM violations")}
        for index in entries:
            entry = self._entry(index)
            if entry is None or self._tables[entry.table].detached:
                continue
            key, columns, author = None, (), None
            if index in known:
                _, key, listed, _, author = known[index]
                columns = tuple(json.loads(listed))
            yield Spot(kind_of(entry.flags), entry.table, key, columns, index, author, "found when the change was sealed")

    def _finding(self, spot: Spot, present: PresentRows) -> Finding:
        table = None if spot.table is None else self._tables.get(spot.table)
        entry = None if spot.entry is None else self._entry(spot.entry)
        key: dict[str, str | int | float | None] = {}
        if table is not None and spot.key is not None:
            values = sortkey.decode(table.shape.key_kinds, spot.key)
            key = {name: value.hex() if isinstance(value, bytes) else value for name, value in zip(table.shape.key, values, strict=True)}
        marked = bool(spot.author or spot.detail.startswith("found when"))
        judged = entry.previous if entry is not None and marked else spot.entry
        before = after = None
        if self._values and table is not None and spot.key is not None:
            before, after = self._shown(spot, table, judged, marked, present)
        author = spot.author or (self._authors.get(entry.author) if entry is not None and marked else None)
        intact = None if table is None else self.intact_at(table.id, spot.key, judged, spot.entry if marked else None)
        return Finding(
            spot.kind,
            table.name if table else None,
            key,
            spot.columns,
            entry.version if entry else None,
            author,
            intact,
            spot.detail,
            before,
            after,
        )

    def intact_at(self, table: int, key: bytes | None, entry: int | None, until: int | None) -> IntactAt | None:
        """The last anchored clean audit that covered the row, else the checkpoint that sealed it; None where neither is anchored.

        `entry` is the entry the row is held against, `until` the entry that marked a change: later audits do not count.
        """
        db = self._home.store.db
        anchored = db.execute("SELECT coalesce(max(size), 0) FROM checkpoints WHERE block IS NOT NULL").fetchone()[0]
        rows = db.execute(
            "SELECT entry FROM audits WHERE tbl=? AND clean=1 AND entry<? AND size>?"
            " AND (low IS NULL OR low<=?) AND (high IS NULL OR high>?) ORDER BY entry DESC",
            (table, min(anchored, anchored if until is None else until), -1 if entry is None else entry, key, key),
        )
        audit = next((row[0] for row in rows if self._was_clean(row[0], self._tables[table].name)), None)
        if audit is not None:
            checkpoint = self._home.journal.anchor_of(audit)
            time = decode_entry(self._home.journal.entry(audit)).time / 1000
        elif entry is not None:
            checkpoint = self._home.journal.anchor_of(entry)
            time = float(checkpoint.block_time or 0) if checkpoint else 0.0
        else:
            return None
        if checkpoint is None or checkpoint.block is None:
            return None
        return IntactAt(checkpoint.generation, checkpoint.size, checkpoint.root, checkpoint.block, time)

    def _was_clean(self, audit: int, table: str) -> bool:
        """Whether the journalled document of an audit says that it found nothing in a table; the home's own note proves nothing."""
        try:
            document: dict[str, Any] = canonical.decode(self._home.journal.document(audit)[1])
            return [part["findings"] for part in document["audit"]["tables"] if part["table"] == table] == [0]
        except (LedgerError, KeyError, TypeError):
            return False

    def _shown(
        self, spot: Spot, table: Attached, judged: int | None, marked: bool, present: PresentRows
    ) -> tuple[dict[str, str | None] | None, dict[str, str | None] | None]:
        was = None if judged is None else self.kept_row(judged)
        now = None if spot.key is None or marked else present.row(table, spot.key)
        if marked and spot.entry is not None:
            now = self.kept_row(spot.entry) or (present.row(table, spot.key) if spot.key is not None else None)
        columns = spot.columns or table.shape.names
        return self._columns(table, was, columns), self._columns(table, now, columns)

    def _columns(self, table: Attached, row: bytes | None, columns: Sequence[str]) -> dict[str, str | None] | None:
        if row is None:
            return None
        encoding = table.shape.encoding
        shown = zip(table.shape.names, rowcodec.fields(encoding, row), strict=True)
        return {name: rowcodec.display(encoding, value) for name, value in shown if name in columns}

    def kept_row(self, index: int) -> bytes | None:
        """The row of a sealed version, where a copy was kept and it is the one committed to; never a guess."""
        stored = self._home.store.db.execute("SELECT sid, body FROM copies WHERE entry=?", (index,)).fetchone()
        entry = self._entry(index)
        subject_key = None if stored is None else self._home.subjects.keys([stored[0]]).get(stored[0])
        if subject_key is None or entry is None:
            return None
        secret = record_secret(subject_key, entry.record, entry.version)
        try:
            row = AESGCM(copy_key(secret)).decrypt(bytes(12), stored[1], None)
        except InvalidTag:
            return None
        return row if digest_function(entry.algorithm)(secret + row) == entry.row_digest else None

    def _entry(self, index: int) -> RecordEntry | None:
        try:
            entry = decode_entry(self._home.journal.entry(index))
        except LedgerError:
            return None
        return entry if isinstance(entry, RecordEntry) else None
