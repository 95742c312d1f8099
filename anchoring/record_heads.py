"""The last entry of every record of journals that a monitor reads: what makes a second history of a record visible."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from anchoring.alarms import AlarmKind
from anchoring.errors import damaged_state
from ledger.errors import WireError
from ledger.wire import (
    KIND_AT,
    MAX_COLUMNS,
    PREVIOUS,
    RECORD,
    RECORD_BYTES,
    RECORD_VERSION,
    TABLE,
    VERSION,
    Algorithm,
    Flag,
    Kind,
    decode_entry,
    tag_width,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS heads (journal INTEGER, record BLOB, state BLOB, PRIMARY KEY (journal, record)) WITHOUT ROWID;
"""
_HELD = 1 << 16  # entries are taken in so many at a time, their records in order
_ID = RECORD.stop - RECORD.start
# What the next entry of the record must name, as it encodes it: the previous entry, its version, the table; and marks.
_STATE = struct.Struct(">6s4s2sB")
_WHOLE, _NONE = struct.Struct(f"{_STATE.size}s"), bytes(_STATE.size)
_DELETED, _GAP = 1, 2  # marks: the last entry tells of a deletion; versions before it are missing
# One statement takes all records apart: a call for each of them would be most of the time that a monitor takes.
_APART = "WITH RECURSIVE place(at) AS (SELECT 1 UNION ALL SELECT at+{0} FROM place WHERE at+{0}<length(?2))"
_STORE = f"""{_APART.format(_ID + _STATE.size)}
INSERT INTO heads SELECT ?1, substr(?2, at, {_ID}), substr(?2, at+{_ID}, {_STATE.size}) FROM place WHERE true ON CONFLICT DO """  # noqa: S608
_STORE_NEW, _STORE_LAST = _STORE + "NOTHING", _STORE + "UPDATE SET state=excluded.state"
_FIND = f"""{_APART.format(_ID)}
SELECT group_concat(hex(ifnull(state, zeroblob({_STATE.size}))), '')
FROM place LEFT JOIN heads ON journal=?1 AND record=substr(?2, at, {_ID})"""  # noqa: S608
_FIRST, _TWO = bytes(3) + b"\1" + bytes(6), bytes(3) + b"\2"  # version 1 and no previous entry; version 2
_HISTORY = slice(RECORD_VERSION.start, PREVIOUS.stop)
_RECORD_KINDS = (Kind.WRITTEN, Kind.AMENDED, Kind.DELETED)
_MARKS_BEFORE: dict[int, bytes] = {kind: bytes([_DELETED * (kind is Kind.WRITTEN)]) for kind in _RECORD_KINDS}
_MARKS_AFTER: dict[int, bytes] = {kind: bytes([_DELETED * (kind is Kind.DELETED)]) for kind in _RECORD_KINDS}
_ALGORITHMS = bytes(sorted(Algorithm))
_PLAIN_FLAGS = bytes(sorted(flags for flags in range(16) if flags & Flag.CONTENT))
_CONTENT_COLUMNS = {RECORD_BYTES + columns * tag_width(columns): columns for columns in range(1, MAX_COLUMNS + 1)}

Found = Callable[[AlarmKind, int, str], None]


class RecordHeads:
    """Takes the entries of one journal in, in their order, within the transaction of whoever opened `db`. `found` gets what is wrong.

    A thread of its own stores them while the caller reads on: until `flush`, or the end of the context, `db` is not the caller's.
    """

    def __init__(self, db: sqlite3.Connection, journal: int, found: Found) -> None:
        self._db, self._journal, self._found = db, journal, found
        # At most one of the two has something.
        self._begun: list[bytes] = []  # records, each with its state
        self._mixed: list[tuple[int, Sequence[bytes]]] = []  # runs of entries, each with the number of its first one
        self._held = 0
        self._storing = ThreadPoolExecutor(1)
        self._stored: Future[None] | None = None

    def __enter__(self) -> RecordHeads:
        return self

    def __exit__(self, *exception: object) -> None:
        self._storing.shutdown()

    def take(self, first: int, entries: Sequence[bytes]) -> None:
        """Take entries `first` and on in. MonitorStateInvalid where what is kept of a record is damaged: then, or in a later call."""
        simple = plain(entries)
        if simple and {entry[_HISTORY] for entry in entries} == {_FIRST}:
            if self._mixed:
                self._store()
            rest = _TWO + entries[0][TABLE] + b"\0"
            self._begun += [entry[RECORD] + index.to_bytes(6, "big") + rest for index, entry in enumerate(entries, first + 1)]
        else:
            if self._begun:
                self._store()
            self._mixed += [(first, entries)] if simple else self._of_records(first, entries)
        self._held += len(entries)
        if self._held >= _HELD:
            self._store()

    def flush(self) -> None:
        """Store what was taken in. MonitorStateInvalid as in `take`."""
        self._store()
        self._wait()

    def _store(self) -> None:
        self._wait()
        if self._begun:
            self._stored = self._storing.submit(self._begin, self._begun)
        elif self._mixed:
            self._stored = self._storing.submit(self._follow, self._mixed)
        self._begun, self._mixed, self._held = [], [], 0

    def _wait(self) -> None:
        if self._stored is not None:
            self._stored.result()

    def _of_records(self, first: int, entries: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
        for index, entry in enumerate(entries, first):
            if self._decoded(index, entry) in _RECORD_KINDS:
                yield index, [entry]

    def _decoded(self, index: int, entry: bytes) -> Kind | None:
        try:
            return decode_entry(entry).kind
        except WireError as error:
            self._found(AlarmKind.MALFORMED, index, str(error))
            return None

    def _begin(self, begun: list[bytes]) -> None:
        """Keep records that begin, and tell of those that had begun before."""
        begun.sort()
        stored = self._db.total_changes
        self._put(_STORE_NEW, b"".join(begun))
        if self._db.total_changes - stored == len(begun):
            return
        heads = self._heads({one[:_ID] for one in begun})
        for one in begun:
            if one[_ID:] != heads[one[:_ID]]:
                self._earlier(int.from_bytes(one[_ID : _ID + 6], "big") - 1, 1, *_apart(heads[one[:_ID]]))

    def _follow(self, mixed: list[tuple[int, Sequence[bytes]]]) -> None:
        """Hold entries against the last one of their record, and put them in its place."""
        heads = self._heads({entry[RECORD] for _, run in mixed for entry in run})
        for first, run in mixed:
            for index, entry in enumerate(run, first):
                record, version, table, kind = entry[RECORD], entry[RECORD_VERSION], entry[TABLE], entry[KIND_AT]
                marks = _MARKS_AFTER[kind]
                if heads[record] != entry[PREVIOUS] + version + table + _MARKS_BEFORE[kind]:
                    strange = self._strange(index, entry, heads[record])
                    if strange is None:
                        continue
                    marks = strange
                following = (int.from_bytes(version, "big") + 1).to_bytes(5, "big")[1:]
                heads[record] = (index + 1).to_bytes(6, "big") + following + table + marks
        self._put(_STORE_LAST, b"".join([record + head for record, head in heads.items() if head != _NONE]))

    def _strange(self, index: int, entry: bytes, head: bytes) -> bytes | None:
        """Look at an entry that is not what `head`, its record's last one, lets expect, and tell what is wrong. The record's marks with
        it; None where the last one stays the last one.
        """
        if self._decoded(index, entry) is None:
            return None
        kind, number = entry[KIND_AT], int.from_bytes(entry[RECORD_VERSION], "big")
        following, before = _apart(head)
        if number < following:
            self._earlier(index, number, following, before)
            return None
        gap = before & _GAP
        expected = entry[PREVIOUS] + entry[RECORD_VERSION] + entry[TABLE] + bytes([_MARKS_BEFORE[kind][0] | gap])
        if head != expected and (head != _NONE or number > 1):
            self._out_of_order(index)
        return bytes([_MARKS_AFTER[kind][0] | gap | (number > max(following, 1)) * _GAP])

    def _put(self, statement: str, heads: bytes) -> None:
        if heads:
            self._db.execute(statement, (self._journal, heads))

    def _heads(self, records: set[bytes]) -> dict[bytes, bytes]:
        """The states of records in the records' order, `_NONE` for those that have none."""
        ordered = sorted(records)
        # One answer with all of them: the other thread goes on meanwhile.
        ((states,),) = self._db.execute(_FIND, (self._journal, b"".join(ordered)))
        if len(states) != 2 * _STATE.size * len(ordered):
            raise damaged_state()
        return dict(zip(ordered, (state for (state,) in _WHOLE.iter_unpack(bytes.fromhex(states))), strict=True))

    def _earlier(self, index: int, version: int, following: int, marks: int) -> None:
        """An entry of a version that is not higher than the last one's: that one is there twice, unless some are missing."""
        if version + 1 == following or not marks & _GAP:
            self._found(AlarmKind.REPEATED, index, f"entry {index} and an earlier one are both version {version} of one record")
        else:
            self._out_of_order(index)

    def _out_of_order(self, index: int) -> None:
        self._found(AlarmKind.OUT_OF_ORDER, index, f"entry {index} does not follow the one before it of its record")


def _apart(head: bytes) -> tuple[int, int]:
    """The version that follows, and the marks."""
    _, following, _, marks = _STATE.unpack(head)
    return int.from_bytes(following, "big"), marks


def plain(entries: Sequence[bytes]) -> bool:
    """Whether all entries are of one table and write or amend a record, in a few steps for all together; False where these cannot tell.

    What this accepts `wire.decode_entry` accepts too, as WRITTEN or AMENDED with content, but for what version and previous entry
    say of each other.
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

    table, flags, algorithm, width = entries[0][TABLE], 10, 62, columns.to_bytes(2, "big")
    return (
        same(0, bytes([VERSION]))
        and same(KIND_AT, bytes([Kind.WRITTEN, Kind.AMENDED]))
        and same(TABLE.start, table[:1])
        and same(TABLE.start + 1, table[1:])
        and same(flags, b"\0")
        and same(flags + 1, _PLAIN_FLAGS)
        and same(algorithm, _ALGORITHMS)
        and same(RECORD_BYTES - 2, width[:1])
        and same(RECORD_BYTES - 1, width[1:])
    )
