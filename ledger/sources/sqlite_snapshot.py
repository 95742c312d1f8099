"""One read transaction on an SQLite database."""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from ledger import rowcodec, sortkey
from ledger.errors import SourceError
from ledger.rowcodec import Value, printable
from ledger.shape import Change, Consumed, Rows, Shape
from ledger.sources import sqlite_capture, sqlite_changes
from ledger.sources.names import quote
from ledger.sources.ordering import in_order
from ledger.sources.sqlite_changes import join_uid
from ledger.sources.sqlite_errors import explained, undecodable
from ledger.sources.sqlite_table import LiveTable, check_key, look, refuse_inexact, select_list, shape_of
from ledger.sources.subject import SubjectPath, label_sql, parse

RUN_ROWS = 256
RUN_BYTES = 4 << 20
_NO_INDEX = " NOT INDEXED"
STEP = 16  # rows fetched at once: nearly as fast as a hundred, and long documents do not add up


class SqliteSnapshot:
    """One read transaction on an SQLite database."""

    def __init__(self, connection: sqlite3.Connection, place: str) -> None:
        self._connection = connection
        self.place = place

    def describe(self, table: str, key: Sequence[str] | None) -> Shape:
        """The table's present shape. Raises SourceError where it is missing, has no key, or cannot be committed to exactly."""
        with explained(self.place):
            return shape_of(look(self._connection, table), key)

    def check_options(self, shape: Shape, *, subject: str | None, final: str | None) -> None:
        """Raise SourceError unless the key identifies every row and the subject path and predicate work."""
        with explained(self.place):
            table = look(self._connection, shape.table)
            refuse_inexact(self._connection, table)
            check_key(self._connection, table, shape.key)
        path = parse(subject, [column.name for column in table.columns]) if subject else None
        rows = f"main.{quote(table.name)} AS careseal_row"
        try:
            if path is not None:
                self._connection.execute(f"SELECT {_label(path)} FROM {rows} LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            raise SourceError(f"subject path {subject!r}: {error}") from error
        try:
            if final is not None:
                values = [f"careseal_row.{quote(name)}" for name in shape.names]
                closed = sqlite_changes.closed_sql(table, shape, values, final)
                some = f"(SELECT * FROM {rows} LIMIT 100) AS careseal_row"
                self._connection.execute(f"SELECT 1 FROM {some} WHERE {closed}").fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise SourceError(f"--final {final!r}: {error}") from error

    def rows(
        self, shape: Shape, *, subject: str | None = None, low: bytes | None = None, high: bytes | None = None
    ) -> Iterator[Rows]:
        """The table's rows with sort keys from `low` to before `high`, in key order, about a thousand at a time.

        Exactly the shape's columns are read, out of the table and out of no index, which can be made to say otherwise; only the look-up of
        one key goes by an index. Raises ColumnMissing when one was dropped, SourceError else.
        """
        with explained(self.place):
            table = look(self._connection, shape.table)
        for name in shape.names:
            table.column(name)
        path = parse(subject, [column.name for column in table.columns]) if subject else None
        condition, values = _within(table, shape, low, high)
        chosen = select_list(shape.names) + (f", {_label(path)}" if path else "")
        one = low is not None and high == low + b"\0"
        rows = f"main.{quote(table.name)} AS careseal_row" + ("" if one else _NO_INDEX)
        statement = f"SELECT {chosen} FROM {rows}{condition} ORDER BY {_order(table, shape)}"
        width, key_width = len(shape.columns), len(shape.key)
        key_of = sortkey.encoder(shape.key_kinds)
        one_int = shape.key_kinds == ("int",)
        keys: list[bytes] = []
        data: list[bytes] = []
        marks: list[str | None] = []
        weight = 0
        for found in self._fetch(statement, values):
            new = sortkey.int_keys([row[0] for row in found]) if one_int else [key_of(row[:key_width]) for row in found]
            # The condition in SQL is as wide as SQLite's comparisons; the bounds are exact here.
            begin = bisect_left(new, low) if low is not None else 0
            end = bisect_left(new, high) if high is not None else len(new)
            ended = end < len(new)
            if begin or ended:
                new, found = new[begin:end], found[begin:end]
            encoded = rowcodec.encode_sqlite_rows([row[:width] for row in found] if path else found)
            keys += new
            data += encoded
            if path:
                marks += [None if row[width] is None else printable(row[width]) for row in found]
            weight += sum(map(len, encoded))
            if len(data) + STEP > RUN_ROWS or weight >= RUN_BYTES:
                yield Rows(keys, data, marks if path else None)
                keys, data, marks, weight = [], [], [], 0
            if ended:
                break
        if data:
            yield Rows(keys, data, marks if path else None)

    def seeks(self, shape: Shape, low: bytes) -> bool:
        """Whether reading from `low` on begins there, by an index that has the order of sort keys; else all rows are read and sorted."""
        with explained(self.place):
            table = look(self._connection, shape.table)
            condition, values = _within(table, shape, low, None)
            query = f"SELECT 1 FROM main.{quote(table.name)} AS careseal_row{_NO_INDEX}{condition} ORDER BY {_order(table, shape)}"
            steps = [str(step[-1]) for step in self._connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        return any(step.startswith("SEARCH") for step in steps) and not any("TEMP B-TREE" in step for step in steps)

    def changes(self, shape: Shape, *, subject: str | None, final: str | None) -> Iterator[list[Change]]:
        """The queued changes in the order in which they were made, about a thousand at a time. Raises SourceError.

        None where the queue is gone: `capture_faults` tells so, and the seal must not stop for it.
        """
        return in_order(shape, self._changes(shape, subject, final))

    def _changes(self, shape: Shape, subject: str | None, final: str | None) -> Iterator[list[Change]]:
        with explained(self.place):
            table = look(self._connection, shape.table)
        for name in shape.names:
            table.column(name)
        path = parse(subject, [column.name for column in table.columns]) if subject else None
        read = sqlite_changes.change_reader(shape)
        seen = None
        if not self._has_queue(shape):
            return
        batch: list[Change] = []
        weight = 0
        for found in self._fetch(sqlite_changes.changes_sql(table, shape, path, final), []):
            for row in found:
                # Where an unenforced key has two rows, the change still is one.
                if row[0] != seen:
                    batch.append(change := read(row))
                    seen = row[0]
                    weight += len(change.old_row or b"") + len(change.row or b"")
            if len(batch) + STEP > RUN_ROWS or weight >= RUN_BYTES:
                yield batch
                batch, weight = [], 0
        if batch:
            yield batch

    def touched(self, shape: Shape, consumed: Consumed | None = None) -> Iterator[bytes]:
        """The sort keys, old and new, of all queued changes not `consumed`, each once and in order."""
        key_of, last = sortkey.encoder(shape.key_kinds), None
        if not self._has_queue(shape):
            return
        for found in self._fetch(sqlite_changes.touched_sql(shape), []):
            uids = [join_uid(*row[-2:]) for row in found]
            known = consumed(uids) if consumed else ()
            for row, uid in zip(found, uids, strict=True):
                if uid not in known and (key := key_of(row[:-2])) != last:
                    yield key
                    last = key

    def pending_count(self, shape: Shape) -> int:
        """The number of queued changes."""
        if not self._has_queue(shape):
            return 0
        with explained(self.place):
            counted = self._connection.execute(f"SELECT count(*) FROM main.{quote(sqlite_capture.queue_name(shape.table))}")
            return int(counted.fetchone()[0])

    def truncated(self, shape: Shape, consumed: Consumed | None = None) -> bool:
        """Whether a TRUNCATE is queued: SQLite has none."""
        return False

    def capture_faults(self, shape: Shape) -> list[str]:
        """Why capture is not what it should be, one line each."""
        with explained(self.place):
            return sqlite_capture.faults(self._connection, shape)

    def _has_queue(self, shape: Shape) -> bool:
        with explained(self.place):
            return sqlite_capture.has_queue(self._connection, shape)

    def _fetch(self, statement: str, values: Sequence[Value]) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of an ordered query, some at a time; TEXT that is not UTF-8 comes as surrogate escapes."""
        done = 0
        with explained(self.place):
            cursor = self._connection.execute(statement, values)
            while True:
                try:
                    found = cursor.fetchmany(STEP)
                except sqlite3.OperationalError as error:
                    if not undecodable(error) or self._connection.text_factory is not str:
                        raise
                    # Escapes leave valid text as it is, so the snapshot goes on with them; the lost rows are read again.
                    self._connection.text_factory = _escaped
                    cursor = self._connection.execute(f"{statement} LIMIT -1 OFFSET {done}", values)
                    continue
                if not found:
                    return
                done += len(found)
                yield found


def _escaped(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _label(path: SubjectPath) -> str:
    return label_sql(path, f"careseal_row.{quote(path.column)}", sqlite_changes.hop_table, sqlite_changes.as_text)


def _order(table: LiveTable, shape: Shape) -> str:
    terms = [_compared(shape, place) for place in range(len(shape.key))]
    # Numbers of equal value are ties to SQLite; sort keys put the integer first.
    if not table.enforces(shape.key):
        terms += [f"typeof({term})" for term, kind in zip(terms, shape.key_kinds, strict=True) if kind == "any"]
    return ", ".join(terms)


def _within(table: LiveTable, shape: Shape, low: bytes | None, high: bytes | None) -> tuple[str, list[Value]]:
    """The condition, with its values, that leaves out rows before `low` and most rows from `high` on; NULLs sort first."""
    tests: list[str] = []
    values: list[Value] = []
    lowest = sortkey.bound(shape.key_kinds, low) if low is not None else None
    if lowest is not None:
        test, values = _from(shape, lowest[0])
        tests.append(test)
    highest = sortkey.bound(shape.key_kinds, high) if high is not None else None
    # Where NULLs may precede the bound, reading simply ends at it: rows come in order.
    if highest is not None and table.never_null(shape.key[0]):
        tests.append(f"{_compared(shape, 0)} <= {_mark(highest[0][0])}")
        values = [*values, highest[0][0]]
    raw: list[Value] = [value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value for value in values]
    return (f" WHERE {' AND '.join(tests)}" if tests else ""), raw


def _from(shape: Shape, bounds: Sequence[Value]) -> tuple[str, list[Value]]:
    condition = "1"
    values: list[Value] = []
    last = len(shape.key) - 1
    for place in reversed(range(len(shape.key))):
        bound, name = bounds[place], _compared(shape, place)
        if bound is None:
            condition = "1" if place == last else f"({name} IS NOT NULL OR {condition})"
        elif place == last:
            condition, values = f"{name} >= {_mark(bound)}", [bound]
        else:
            mark = _mark(bound)
            condition, values = f"({name} >= {mark} AND ({name} > {mark} OR {condition}))", [bound, bound, *values]
    return condition, values


def _mark(value: Value) -> str:
    """The placeholder of a bound: TEXT is bound as its bytes, for the driver refuses escaped ones."""
    return "CAST(? AS TEXT)" if isinstance(value, str) else "?"


def _compared(shape: Shape, place: int) -> str:
    name = f"careseal_row.{quote(shape.key[place])}"
    return name if shape.key_kinds[place] == "int" else f"{name} COLLATE BINARY"
