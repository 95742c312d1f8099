"""One write transaction on an SQLite database, for imports."""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from ledger.errors import Rejected, SourceError
from ledger.shape import Cell
from ledger.sources.names import quote
from ledger.sources.sqlite_errors import explained
from ledger.sources.sqlite_table import LiveTable, affinity, look

_NUMBERS = {"INTEGER": re.compile(r"\s*[+-]?[0-9]+\s*"), "REAL": re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")}
_DECIMAL = re.compile(r"DEC|NUM")


class SqliteLoading:
    """Reads and inserts within the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, place: str) -> None:
        self._connection, self._place = connection, place
        self._tables: dict[str, LiveTable] = {}

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns of an existing table, those that are computed left out. Raises SourceError."""
        with explained(self._place):
            known = self._table(table)
            computed = {row[1] for row in self._connection.execute(f"PRAGMA main.table_xinfo({quote(known.name)})") if row[6]}
        return tuple(column.name for column in known.columns if column.name not in computed)

    def primary_key(self, table: str) -> tuple[str, ...]:
        """The columns of the table's primary key, none where it has none."""
        with explained(self._place):
            return self._table(table).primary_key

    def create(self, table: str, columns: Mapping[str, bool], key: Sequence[str]) -> bool:
        """Create a table of text columns, `columns` telling which must not be null, unless it is there; tells whether it was made."""
        with explained(self._place):
            if self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE", (table,)).fetchone():
                return False
            made = ", ".join(f"{quote(name)} TEXT{' NOT NULL' if needed else ''}" for name, needed in columns.items())
            self._connection.execute(f"CREATE TABLE main.{quote(table)} ({made}, PRIMARY KEY ({', '.join(map(quote, key))}))")
            return True

    def lookup(self, table: str, key: Mapping[str, str], column: str) -> str | None:
        """The text in a column of the first row with this key; None where there is none."""
        with explained(self._place):
            found = self._connection.execute(
                f"SELECT {quote(column)} FROM main.{quote(table)} WHERE {_equal(key)} LIMIT 1", [*key.values()]
            ).fetchone()
        return None if found is None else str(found[0])

    def walk(self, table: str, key: Mapping[str, str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The texts in some columns of all rows with this key."""
        chosen = ", ".join(map(quote, columns))
        with explained(self._place):
            cursor = self._connection.execute(f"SELECT {chosen} FROM main.{quote(table)} WHERE {_equal(key)}", [*key.values()])
            while rows := cursor.fetchmany(100):
                yield from rows

    def same(self, table: str, key: Sequence[str], row: Mapping[str, Cell]) -> bool | None:
        """Whether the row with this row's key holds all that this row does; None where there is no such row.

        Values are compared as the database would store them.
        """
        same = " AND ".join(f"{quote(name)} IS ?" for name in row)
        values = [*map(_bound, row.values()), *(_bound(row[name]) for name in key)]
        with explained(self._place):
            found = self._connection.execute(
                f"SELECT {same} FROM main.{quote(table)} WHERE {' AND '.join(f'{quote(name)} IS ?' for name in key)}", values
            ).fetchone()
        return None if found is None else bool(found[0])

    def insert(self, table: str, row: Mapping[str, Cell]) -> None:
        """Insert a row. Raises Rejected, with what the database has against it and no value; then nothing of it remains."""
        known = self._table(table)
        for name, value in row.items():
            pattern = _pattern(known.column(name).type)
            if isinstance(value, str) and pattern is not None and not pattern.fullmatch(value):
                raise Rejected(f"column {name}: the value is no {known.column(name).type}")
        names, marks = ", ".join(map(quote, row)), ", ".join("?" * len(row))
        try:
            self._connection.execute("SAVEPOINT careseal_row")
            self._connection.execute(f"INSERT INTO main.{quote(table)} ({names}) VALUES ({marks})", [*map(_bound, row.values())])
            self._connection.execute("RELEASE careseal_row")
        except sqlite3.IntegrityError as error:
            self._undo()
            # Messages of constraints name columns and constraints, never values.
            raise Rejected(f"the database refuses the row ({error})") from None
        except sqlite3.Error as error:
            with explained(self._place):
                raise error

    def update(self, table: str, key: Mapping[str, str], column: str, value: str) -> None:
        """Set one column of the row with this key."""
        with explained(self._place):
            self._connection.execute(f"UPDATE main.{quote(table)} SET {quote(column)} = ? WHERE {_equal(key)}", [value, *key.values()])

    def _table(self, table: str) -> LiveTable:
        if table not in self._tables:
            self._tables[table] = look(self._connection, table)
        return self._tables[table]

    def _undo(self) -> None:
        if not self._connection.in_transaction:
            raise SourceError(f"{self._place}: a trigger of the database ended the import: nothing was loaded")
        self._connection.execute("ROLLBACK TO careseal_row")
        self._connection.execute("RELEASE careseal_row")


def _equal(key: Mapping[str, str]) -> str:
    return " AND ".join(f"{quote(name)} = ?" for name in key)


def _bound(value: Cell) -> str | int | None:
    """SQLite has no booleans: 1 and 0 stand for them."""
    return int(value) if isinstance(value, bool) else value


def _pattern(declared: str) -> re.Pattern[str] | None:
    """What a text must look like to be stored as the number that its column is declared to hold: SQLite itself takes anything."""
    kind = affinity(declared)
    return _NUMBERS["REAL"] if kind == "NUMERIC" and _DECIMAL.search(declared) else _NUMBERS.get(kind)
