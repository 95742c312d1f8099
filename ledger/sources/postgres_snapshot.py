"""One REPEATABLE READ transaction on a PostgreSQL database."""

# ruff: noqa: S608 -- identifiers are quoted, and values are literals of psycopg
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ledger import sortkey
from ledger.errors import SourceError
from ledger.rowcodec import Value
from ledger.shape import Change, Consumed, Rows, Shape
from ledger.sources import postgres_capture, postgres_changes
from ledger.sources.names import quote
from ledger.sources.ordering import in_order
from ledger.sources.postgres_capture import sound_queue
from ledger.sources.postgres_changes import as_text, join_uid, key_of, text
from ledger.sources.postgres_copy import Connection, copy_lines
from ledger.sources.postgres_errors import explained, reason
from ledger.sources.postgres_table import (
    DEFAULT_SCHEMA,
    ROW,
    LiveColumn,
    LiveTable,
    check_key,
    look,
    order_of,
    refuse_inexact,
    shape_of,
    text_of,
)
from ledger.sources.postgres_types import TypeBook
from ledger.sources.subject import label_sql, parse


class PostgresSnapshot:
    """One snapshot. Readings may overlap: each runs on a connection of its own that shares the snapshot."""

    def __init__(self, connection: Connection, another: Callable[[], Connection], place: str) -> None:
        self._idle = [connection]
        self._another = another
        self.place = place
        self._tables: dict[str, LiveTable] = {}

    def describe(self, table: str, key: Sequence[str] | None) -> Shape:
        """The table's present shape. Raises SourceError where it is missing or has no key."""
        with self._lease() as connection:
            return shape_of(self._table(connection, table), key)

    def check_options(self, shape: Shape, *, subject: str | None, final: str | None) -> None:
        """Raise SourceError unless every column is exact, the key identifies every row, and subject path and predicate work."""
        with self._lease() as connection:
            table = self._table(connection, shape.table)
            refuse_inexact(table, shape)
            with connection.transaction():
                check_key(connection, table, shape)
            rows = f"(SELECT * FROM {table.sql} LIMIT 100) AS {ROW}"
            label = _label(table, subject)
            if label:
                _try(connection, f"subject path {subject!r}", f"SELECT {label} FROM {rows} LIMIT 1")
            if final:
                closed = postgres_changes.closed_sql(table, shape, [f"{ROW}.{quote(name)}" for name in shape.names], final)
                _try(connection, f"--final {final!r}", f"SELECT 1 FROM {rows} WHERE {closed}")

    def rows(
        self, shape: Shape, *, subject: str | None = None, low: bytes | None = None, high: bytes | None = None
    ) -> Iterator[Rows]:
        """The table's rows with sort keys from `low` to before `high`, in key order, about a thousand at a time.

        Exactly the shape's columns are read, out of the table and out of no index, which can be made to say otherwise; only the look-up of
        one key, and what is read with its subjects, may go by an index. Raises ColumnMissing when one was dropped, SourceError else.
        """
        with self._lease() as connection:
            table = self._table(connection, shape.table)
            columns = table.of(shape)
            key = columns[: len(shape.key)]
            label = _label(table, subject)
            chosen = [text_of(column.type.name, f"{ROW}.{quote(column.name)}") for column in columns] + ([label] if label else [])
            order = ", ".join(map(_order, key))
            within = _within(connection, shape, key, low, high)
            query = f"SELECT {', '.join(chosen)} FROM {table.sql} AS {ROW}{within} ORDER BY {order}"
            keys_of = _key_reader(shape, key)
            one = low is not None and high == low + b"\0"
            for lines in copy_lines(connection, query, by_index=one or label is not None):
                marks: list[str | None] | None = None
                if label:
                    parted = [line.rpartition(b"\t") for line in lines]
                    lines, marks = [parts[0] for parts in parted], [text(parts[2]) for parts in parted]
                keys = keys_of(lines)
                # The conditions in SQL may be wider; the bounds are exact here.
                begin = bisect_left(keys, low) if low is not None else 0
                end = bisect_left(keys, high) if high is not None else len(keys)
                if end - begin == len(keys):
                    yield Rows(keys, lines, marks)
                elif end > begin:
                    yield Rows(keys[begin:end], lines[begin:end], marks and marks[begin:end])
                if end < len(keys):
                    break

    def seeks(self, shape: Shape, low: bytes) -> bool:
        """Whether reading from `low` on can begin there. It cannot without an index, and none is believed."""
        del shape, low
        return False

    def changes(self, shape: Shape, *, subject: str | None, final: str | None) -> Iterator[list[Change]]:
        """The queued changes in the order in which they were made, about a thousand at a time. Raises SourceError.

        None where the queue is gone: `capture_faults` tells so, and the seal must not stop for it.
        """
        return in_order(shape, self._changes(shape, subject, final))

    def _changes(self, shape: Shape, subject: str | None, final: str | None) -> Iterator[list[Change]]:
        with self._lease() as connection:
            table = self._table(connection, shape.table)
            path = parse(subject, [column.name for column in table.columns]) if subject else None
            label, old_label = postgres_changes.labels(shape, path, _hop_table)
            query = postgres_changes.changes_sql(table, shape, label, old_label, final)
            read = postgres_changes.change_reader(shape)
            seen: list[bytes] = []
            for lines in copy_lines(connection, query) if self._has_queue(connection, shape) else ():
                batch = []
                for line in lines:
                    # Where an unenforced key has two rows, the change still is one.
                    uid = line.split(b"\t", 2)[:2]
                    if uid != seen:
                        batch.append(read(line))
                        seen = uid
                if batch:
                    yield batch

    def touched(self, shape: Shape, consumed: Consumed | None = None) -> Iterator[bytes]:
        """The sort keys, old and new, of queued changes not `consumed`, each once and in order; for TRUNCATE see `truncated`."""
        with self._lease() as connection:
            last = None
            query = postgres_changes.touched_sql(shape)
            for lines in copy_lines(connection, query) if self._has_queue(connection, shape) else ():
                known = consumed([join_uid(*line.split(b"\t", 2)[:2]) for line in lines]) if consumed else ()
                for line in lines:
                    uid, seq, key = line.split(b"\t", 2)
                    if key != last and not (known and join_uid(uid, seq) in known):
                        yield key_of(shape.key_kinds, key.split(b"\t"))
                        last = key

    def pending_count(self, shape: Shape) -> int:
        """The number of queued changes."""
        return self._count(shape, "true")

    def truncated(self, shape: Shape, consumed: Consumed | None = None) -> bool:
        """Whether a TRUNCATE not `consumed` is queued: it removed all rows that the table then had, without a change for each."""
        with self._lease() as connection:
            if not self._has_queue(connection, shape):
                return False
            with connection.transaction():
                query = f"SELECT uid::text, seq::text FROM {sound_queue(shape)} AS careseal_sound WHERE op = 'T'"
                uids = [join_uid(uid.encode(), seq.encode()) for uid, seq in connection.execute(query)]
        return bool(set(uids) - (consumed(uids) if consumed else set()))

    def capture_faults(self, shape: Shape) -> list[str]:
        """Why capture is not what it should be, one line each."""
        with self._lease() as connection:
            table = self._table(connection, shape.table)
            with connection.transaction():
                return postgres_capture.faults(connection, table, shape)

    def _count(self, shape: Shape, condition: str) -> int:
        with self._lease() as connection:
            if not self._has_queue(connection, shape):
                return 0
            with connection.transaction():
                counted = connection.execute(f"SELECT count(*) FROM {postgres_capture.queue_sql(shape.table)} WHERE {condition}")
                return int((counted.fetchone() or (0,))[0])

    def _has_queue(self, connection: Connection, shape: Shape) -> bool:
        with connection.transaction():
            return postgres_capture.has_queue(connection, shape)

    @contextmanager
    def _lease(self) -> Iterator[Connection]:
        """A connection that nothing else reads from meanwhile."""
        with explained(self.place):
            connection = self._idle.pop() if self._idle else self._another()
            try:
                yield connection
            finally:
                self._idle.append(connection)

    def _table(self, connection: Connection, name: str) -> LiveTable:
        """The live table, locked against changes of its layout for as long as the snapshot lasts."""
        if name not in self._tables:
            # A savepoint, so that an error leaves the snapshot usable.
            with connection.transaction():
                table = look(connection, TypeBook(connection), name)
                connection.execute(f"LOCK TABLE {table.sql} IN ACCESS SHARE MODE")
                # A rewrite or TRUNCATE between snapshot and lock would make the table look empty.
                rewritten = connection.execute(
                    "SELECT count(*) FROM pg_class c WHERE c.relkind = 'r' AND c.relfilenode <> pg_relation_filenode(c.oid)"
                    " AND (c.oid = %s OR c.oid IN (SELECT relid FROM pg_partition_tree(%s)))",
                    (table.oid, table.oid),
                ).fetchone()
            if rewritten and rewritten[0]:
                raise SourceError(f"table {name!r} was changed while it was being read: try again")
            self._tables[name] = table
        return self._tables[name]


def _try(connection: Connection, what: str, query: str) -> None:
    try:
        with connection.transaction():
            connection.execute(query).fetchall()
    except psycopg.Error as error:
        raise SourceError(f"{what}: {reason(error)}") from error


def _label(table: LiveTable, subject: str | None) -> str | None:
    if not subject:
        return None
    path = parse(subject, [column.name for column in table.columns])
    return label_sql(path, f"{ROW}.{quote(path.column)}", _hop_table, as_text)


def _hop_table(name: str) -> str:
    schema, dot, table = name.partition(".")
    return f"{quote(schema)}.{quote(table)}" if dot else f"{quote(DEFAULT_SCHEMA)}.{quote(name)}"


def _key_reader(shape: Shape, key: Sequence[LiveColumn]) -> Callable[[list[bytes]], list[bytes]]:
    """From the lines of a COPY that begin with the key columns to sort keys."""
    kinds, width = shape.key_kinds, len(key)
    if kinds == ("int",) and key[0].not_null:
        if len(shape.columns) == 1:
            return lambda lines: sortkey.int_keys([int(line) for line in lines])
        return lambda lines: sortkey.int_keys([int(line[: line.index(b"\t")]) for line in lines])
    return lambda lines: [key_of(kinds, line.split(b"\t", width)[:width]) for line in lines]


def _within(connection: Connection, shape: Shape, key: Sequence[LiveColumn], low: bytes | None, high: bytes | None) -> str:
    """The condition that leaves out rows before `low` and from `high` on, wider where a key column can be NULL; NULLs sort last."""
    whole = all(column.not_null for column in key)
    used = key if whole else key[:1]
    bare = f"{ROW}.{quote(key[0].name)}"
    orders = ", ".join(map(_order, used))
    tests = []
    lowest = sortkey.bound(shape.key_kinds, low) if low is not None else None
    if lowest is not None:
        values = lowest[0][: len(used)]
        if values[0] is None:
            tests.append(f"{bare} IS NULL")
        else:
            test = f"({orders}) >= ({_literals(connection, used, values)})"
            tests.append(test if whole else f"({test} OR {bare} IS NULL)")
    highest = sortkey.bound(shape.key_kinds, high) if high is not None else None
    if highest is not None and highest[0][0] is not None:
        values, itself = highest[0][: len(used)], highest[1]
        tests.append(f"({orders}) {'<' if whole and itself else '<='} ({_literals(connection, used, values)})")
    return f" WHERE {' AND '.join(tests)}" if tests else ""


def _order(column: LiveColumn) -> str:
    return order_of(column.type.name, f"{ROW}.{quote(column.name)}", bytewise=column.bytewise)


def _literals(connection: Connection, columns: Sequence[LiveColumn], values: Sequence[Value]) -> str:
    literals = []
    for column, value in zip(columns, values, strict=True):
        literal = sql.Literal(value).as_string(connection)
        native = column.type.name in ("uuid", "bytea")
        literals.append(f"{literal}::{column.type.name}" if native else literal)
    return ", ".join(literals)
