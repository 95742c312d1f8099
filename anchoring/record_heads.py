"""The last entry of every record of journals that a monitor reads: what makes a second history of a record visible."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anchoring.alarms import AlarmKind
from anchoring.errors import damaged_state
from ledger.errors import WireError
from ledger.wire import (
    KIND_AT,
    MAX_COLUMNS,
    RECORD,
    RECORD_BYTES,
    TABLE,
    VERSION,
    Algorithm,
    Flag,
    Kind,
    RecordEntry,
    decode_entry,
    tag_width,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS heads (journal INTEGER, record BLOB, state BLOB, PRIMARY KEY (journal, record)) WITHOUT ROWID;
"""
_HELD = 1 << 16  # records that begin are stored so many at a time, in order
_ID = RECORD.stop - RECORD.start
_STATE = struct.Struct(">6sIHB")  # entry, version, table, marks
_DELETED, _GAP = 1, 2  # marks: its last entry tells of a deletion; versions before that one are missing
# One statement takes all records apart: a call for each of them would be most of the time that a monitor takes.
_STORE = f"""
WITH RECURSIVE place(at) AS (SELECT 1 UNION ALL SELECT at+{_ID + _STATE.size} FROM place WHERE at+{_ID + _STATE.size}<length(?2))
INSERT INTO heads SELECT ?1, substr(?2, at, {_ID}), substr(?2, at+{_ID}, {_STATE.size}) FROM place WHERE true ON CONFLICT DO NOTHING
"""  # noqa: S608
_FIRST = bytes(3) + b"\1" + bytes(6)  # version 1, no previous entry
_ALGORITHMS = bytes(sorted(Algorithm))
_PLAIN_FLAGS = bytes(sorted(flags for flags in range(16) if flags & Flag.CONTENT))
_CONTENT_COLUMNS = {RECORD_BYTES + columns * tag_width(columns): columns for columns in range(1, MAX_COLUMNS + 1)}

Found = Callable[[AlarmKind, int, str], None]


class RecordHeads:
    """Takes the entries of one journal in, in their order, within the transaction of whoever opened `db`. `found` gets what is wrong."""

    def __init__(self, db: sqlite3.Connection, journal: int, found: Found) -> None:
        self._db, self._journal, self._found = db, journal, found
        self._begun: list[bytes] = []

    def take(self, first: int, entries: Sequence[bytes]) -> None:
        """Take entries `first` and on in."""
        if plain(entries):
            rest = _state(0, 1, int.from_bytes(entries[0][TABLE], "big"), False)[6:]
            self._begun += [entry[RECORD] + index.to_bytes(6, "big") + rest for index, entry in enumerate(entries, first)]
        else:
            for index, entry in enumerate(entries, first):
                self._one(index, entry)
        if len(self._begun) >= _HELD:
            self.flush()

    def flush(self) -> None:
        """Store the records that began. MonitorStateInvalid where what is kept of one is damaged."""
        if not self._begun:
            return
        begun, self._begun = sorted(self._begun), []
        stored = self._db.total_changes
        self._db.execute(_STORE, (self._journal, b"".join(begun)))
        if self._db.total_changes - stored < len(begun):
            for one in begun:
                index, head = int.from_bytes(one[_ID : _ID + 6], "big"), self._head(one[:_ID])
                if head is not None and head.entry != index:
                    self._again(index, 1, head)

    def _one(self, index: int, data: bytes) -> None:
        try:
            entry = decode_entry(data)
        except WireError as error:
            return self._found(AlarmKind.MALFORMED, index, str(error))
        if not isinstance(entry, RecordEntry):
            return None
        deleted = entry.kind is Kind.DELETED
        if entry.previous is None:
            self._begun.append(entry.record + _state(index, entry.version, entry.table, deleted))
            return None
        self.flush()
        head = self._head(entry.record)
        if head is not None and entry.version <= head.version:
            return self._again(index, entry.version, head)
        if head is None or not head.precedes(entry):
            self._out_of_order(index)
        gap = (head is not None and head.gap) or entry.version != (0 if head is None else head.version) + 1
        state = _state(index, entry.version, entry.table, deleted, gap)
        self._db.execute("INSERT OR REPLACE INTO heads VALUES (?,?,?)", (self._journal, entry.record, state))
        return None

    def _head(self, record: bytes) -> _Head | None:
        """A record's last entry. MonitorStateInvalid where what is kept of it is damaged."""
        found = self._db.execute("SELECT state FROM heads WHERE journal=? AND record=?", (self._journal, record)).fetchone()
        if found is None:
            return None
        try:
            entry, version, table, marks = _STATE.unpack(found[0])
        except (struct.error, TypeError) as error:
            raise damaged_state() from error
        return _Head(int.from_bytes(entry, "big"), version, table, bool(marks & _DELETED), bool(marks & _GAP))

    def _again(self, index: int, version: int, head: _Head) -> None:
        """An entry of a version that is not higher than the last one's: that one is there twice, unless some are missing."""
        if version == head.version or not head.gap:
            self._found(AlarmKind.REPEATED, index, f"entry {index} and an earlier one are both version {version} of one record")
        else:
            self._out_of_order(index)

    def _out_of_order(self, index: int) -> None:
        self._found(AlarmKind.OUT_OF_ORDER, index, f"entry {index} does not follow the one before it of its record")


@dataclass(frozen=True, slots=True)
class _Head:
    """The last entry of a record: its number, version, table, whether it tells of a deletion, whether versions before it are missing."""

    entry: int
    version: int
    table: int
    deleted: bool
    gap: bool

    def precedes(self, entry: RecordEntry) -> bool:
        """Whether an entry follows this one as it should."""
        expected = entry.previous, entry.version - 1, entry.table, entry.kind is Kind.WRITTEN
        return (self.entry, self.version, self.table, self.deleted) == expected


def _state(entry: int, version: int, table: int, deleted: bool, gap: bool = False) -> bytes:
    return _STATE.pack(entry.to_bytes(6, "big"), version, table, deleted * _DELETED | gap * _GAP)


def plain(entries: Sequence[bytes]) -> bool:
    """Whether all entries are of one table and each begins a record, in a few steps for all together; False where these cannot tell.

    What this accepts `wire.decode_entry` accepts too, as the WRITTEN first version of a record with content.
    """
    if not entries:
        return False
    size = len(entries[0])
    columns = _CONTENT_COLUMNS.get(size)
    if columns is None or set(map(len, entries)) != {size}:
        return False
    joined = b"".join(entries)

    def same(place: int, values: bytes) -> bool:
        return not joined[place::size].strip(values)

    table, flags, first, algorithm, width = entries[0][TABLE], 10, 28, 62, columns.to_bytes(2, "big")
    return (
        same(0, bytes([VERSION]))
        and same(KIND_AT, bytes([Kind.WRITTEN]))
        and same(TABLE.start, table[:1])
        and same(TABLE.start + 1, table[1:])
        and same(flags, b"\0")
        and same(flags + 1, _PLAIN_FLAGS)
        and all(same(first + place, _FIRST[place : place + 1]) for place in range(len(_FIRST)))
        and same(algorithm, _ALGORITHMS)
        and same(RECORD_BYTES - 2, width[:1])
        and same(RECORD_BYTES - 1, width[1:])
    )
