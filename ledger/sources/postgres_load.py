"""One write transaction on a PostgreSQL database, for imports."""

# ruff: noqa: S608 -- identifiers are quoted, and values are parameters
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg

from ledger.errors import Rejected
from ledger.shape import Cell
from ledger.sources.names import quote
from ledger.sources.postgres_copy import Connection
from ledger.sources.postgres_errors import explained
from ledger.sources.postgres_table import DEFAULT_SCHEMA, LiveTable, find, look
from ledger.sources.postgres_types import TypeBook

_REASONS = {
    "23502": "a column that must have a value has none",
    "23503": "a row that it refers to is not there",
    "23505": "another row has a value that must be unique",
    "23514": "a check of the table fails",
    "23P01": "an exclusion constraint of the table fails",
}


class PostgresLoading:
    """Reads and inserts within the caller's transaction."""

    def __init__(self, connection: Connection, place: str) -> None:
        self._connection, self._place = connection, place
        self._tables: dict[str, LiveTable] = {}
        self._types: dict[str, dict[str, str]] = {}

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns of an existing table, those that are computed left out. Raises SourceError."""
        with explained(self._place):
            return tuple(self._writable(table))

    def primary_key(self, table: str) -> tuple[str, ...]:
        """The columns of the table's primary key, none where it has none."""
        with explained(self._place):
            return self._table(table).primary_key

    def create(self, table: str, columns: Mapping[str, bool], key: Sequence[str]) -> bool:
        """Create a table of text columns, `columns` telling which must not be null, unless it is there; tells whether it was made."""
        with explained(self._place):
            if find(self._connection, TypeBook(self._connection), table) is not None:
                return False
            made = ", ".join(f'{quote(name)} text COLLATE "C"{" NOT NULL" if needed else ""}' for name, needed in columns.items())
            sql = f"{quote(DEFAULT_SCHEMA)}.{quote(table)}"
            self._execute(f"CREATE TABLE {sql} ({made}, PRIMARY KEY ({', '.join(map(quote, key))}))")
            return True

    def lookup(self, table: str, key: Mapping[str, str], column: str) -> str | None:
        """The text in a column of the first row with this key; None where there is none."""
        query = f"SELECT {_name(column)}::text FROM {self._sql(table)} WHERE {_equal(key)} LIMIT 1"
        with explained(self._place):
            found = self._execute(query, [*key.values()]).fetchone()
        return None if found is None else str(found[0])

    def walk(self, table: str, key: Mapping[str, str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The texts in some columns of all rows with this key."""
        chosen = ", ".join(f"{_name(name)}::text" for name in columns)
        with explained(self._place), self._connection.cursor("careseal_texts") as cursor:
            cursor.execute(f"SELECT {chosen} FROM {self._sql(table)} WHERE {_equal(key)}".encode(), [*key.values()])
            while rows := cursor.fetchmany(100):
                yield from rows

    def same(self, table: str, key: Sequence[str], row: Mapping[str, Cell]) -> bool | None:
        """Whether the row with this row's key holds all that this row does; None where there is no such row.

        Values are compared by the server's text of what it would store. Raises Rejected where a value is none of its column's type.
        """
        types = self._writable(table)
        same = " AND ".join(f"{_name(n)}::text COLLATE \"C\" IS NOT DISTINCT FROM (%s::{types[n]})::text COLLATE \"C\"" for n in row)
        where = " AND ".join(f"{_name(name)} = %s::{types[name]}" for name in key)
        query, values = f"SELECT {same} FROM {self._sql(table)} WHERE {where}", [*map(_bound, row.values())]
        values += [_bound(row[name]) for name in key]
        found = self._tried(row, types, query, values).fetchone()
        return None if found is None else bool(found[0])

    def insert(self, table: str, row: Mapping[str, Cell]) -> None:
        """Insert a row. Raises Rejected, with what the database has against it and no value; then nothing of it remains."""
        types = self._writable(table)
        names, marks = ", ".join(map(_name, row)), ", ".join(f"%s::{types[name]}" for name in row)
        query = f"INSERT INTO {self._sql(table)} ({names}) VALUES ({marks})"
        self._tried(row, types, query, [*map(_bound, row.values())])

    def update(self, table: str, key: Mapping[str, str], column: str, value: str) -> None:
        """Set one column of the row with this key."""
        with explained(self._place):
            self._execute(f"UPDATE {self._sql(table)} SET {_name(column)} = %s WHERE {_equal(key)}", [value, *key.values()])

    def _tried(self, row: Mapping[str, Cell], types: Mapping[str, str], query: str, values: Sequence[str | None]) -> psycopg.Cursor[Any]:
        try:
            with self._connection.transaction():
                return self._execute(query, values)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise Rejected(self._reason(error, row, types)) from None
        except psycopg.Error as error:
            with explained(self._place):
                raise error

    def _reason(self, error: psycopg.Error, row: Mapping[str, Cell], types: Mapping[str, str]) -> str:
        state, column, constraint = error.sqlstate or "22000", error.diag.column_name, error.diag.constraint_name
        if state in _REASONS:
            named = column or constraint
            return f"{_REASONS[state]} ({named})" if named else _REASONS[state]
        for name, value in row.items():
            try:
                with self._connection.transaction():
                    self._execute(f"SELECT %s::{types[name]}", [_bound(value)])
            except psycopg.Error:
                return f"column {name}: the value is no {types[name]}"
        return f"the database refuses the row (SQLSTATE {state})"

    def _table(self, table: str) -> LiveTable:
        if table not in self._tables:
            self._tables[table] = look(self._connection, TypeBook(self._connection), table)
        return self._tables[table]

    def _sql(self, table: str) -> str:
        return self._table(table).sql.replace("%", "%%")

    def _writable(self, table: str) -> dict[str, str]:
        """Name and SQL type of each column that can be written."""
        if table not in self._types:
            found = self._execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s AND attnum > 0"
                " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
                [str(self._table(table).oid)],
            )
            self._types[table] = {name: kind.replace("%", "%%") for name, kind in found}
        return self._types[table]

    def _execute(self, query: str, values: Sequence[str | None] = ()) -> psycopg.Cursor[Any]:
        return self._connection.execute(query.encode(), values or None)


def _name(name: str) -> str:
    """The identifier in a query with parameters."""
    return quote(name).replace("%", "%%")


def _equal(key: Mapping[str, str]) -> str:
    return " AND ".join(f"{_name(name)} = %s" for name in key)


def _bound(value: Cell) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value
