"""What an SQLite database says of one of its tables, and the shape that follows from it."""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import SourceError
from ledger.rowcodec import MAX_COLUMNS, SQLITE
from ledger.shape import Column, KeyKind, Shape
from ledger.sources.names import quote, quoted_list
from ledger.sources.refusal import ColumnMissing
from ledger.sources.sqlite_indexes import UniqueIndex, unique_indexes

OWN_PREFIX = "careseal_"
_VIRTUAL_GENERATED = 2
_ROWID_NAMES = ("rowid", "oid", "_rowid_")
_REFUSED = {"view": "a view", "virtual": "a virtual table", "shadow": "part of a virtual table"}
_MARKS = (("INTEGER", ("INT",)), ("TEXT", ("CHAR", "CLOB", "TEXT")), ("BLOB", ("BLOB",)), ("REAL", ("REAL", "FLOA", "DOUB")))


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column as it is now. `type` is normalised, `key_place` its place in the primary key from 1, 0 outside it."""

    name: str
    type: str
    not_null: bool
    key_place: int
    computed: bool


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table as it is now. `rowid` is a name that means the rowid in SQL, None where there is none or all are taken."""

    name: str
    sql: str
    columns: tuple[LiveColumn, ...]
    rowid: str | None
    rowid_alias: str | None
    uniques: tuple[UniqueIndex, ...]

    def column(self, name: str) -> LiveColumn:
        """The column of this name, in any ASCII case. Raises ColumnMissing."""
        found = next((column for column in self.columns if column.name.lower() == name.lower()), None)
        if found is None:
            raise ColumnMissing(self.name, name)
        return found

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(column.name for column in sorted(self.columns, key=lambda column: column.key_place) if column.key_place)

    def never_null(self, name: str) -> bool:
        return self.column(name).not_null or name == self.rowid_alias

    def enforces(self, key: Sequence[str]) -> bool:
        """Whether an index keeps two rows from having the same key."""
        if self.rowid_alias in key:
            return True
        return any(index.where is None and None not in index.columns and set(index.columns) <= set(key) for index in self.uniques)


def look(connection: sqlite3.Connection, table: str) -> LiveTable:
    """The live table named `table` (SQLite ignores ASCII case). Raises SourceError for a view, virtual or missing table."""
    found = connection.execute(
        "SELECT l.name, l.type, l.wr, l.strict, s.sql FROM pragma_table_list AS l "
        "LEFT JOIN main.sqlite_schema AS s ON s.name = l.name AND s.type = 'table' "
        "WHERE l.schema = 'main' AND l.name = ? COLLATE NOCASE",
        (table,),
    ).fetchone()
    if found is None:
        raise SourceError(f"the database has no table {table!r}: check the name")
    name, kind, without_rowid, strict, sql = found
    if kind != "table" or sql is None or name.startswith(OWN_PREFIX):
        what = _REFUSED.get(kind, "no table of the hospital")
        raise SourceError(f"{table!r} is {what}: attach the tables that hold its rows")
    info = connection.execute(f"PRAGMA main.table_xinfo({quote(name)})").fetchall()
    columns = tuple(
        LiveColumn(column, normal_type(declared, strict=bool(strict)), bool(not_null), place, hidden == _VIRTUAL_GENERATED)
        for _, column, declared, not_null, _, place, hidden in info
    )
    uniques = unique_indexes(connection, name)
    taken = {column.name.lower() for column in columns}
    rowid = None if without_rowid else next((alias for alias in _ROWID_NAMES if alias not in taken), None)
    key = [column for column in columns if column.key_place]
    # A sole column declared INTEGER PRIMARY KEY is the rowid itself; then, and only then, it has no index of its own.
    alias = None
    if not without_rowid and len(key) == 1 and not any(index.primary for index in uniques):
        alias = key[0].name
        rowid = rowid or alias
    return LiveTable(name, sql, columns, rowid, alias, uniques)


def shape_of(table: LiveTable, key: Sequence[str] | None) -> Shape:
    """The table's present shape, keyed by `key` or else by its primary key. Raises SourceError where it has neither."""
    chosen = [table.column(name) for name in key or table.primary_key]
    if not chosen:
        raise SourceError(f"table {table.name!r} has no primary key: use --key COL with columns that are unique and never null")
    if len(set(chosen)) != len(chosen):
        raise SourceError(f"table {table.name!r}: --key names a column twice")
    rest = [column for column in table.columns if column not in chosen]
    kinds: list[KeyKind] = ["int" if column.name == table.rowid_alias else "any" for column in chosen]
    columns = tuple(Column(column.name, column.type) for column in [*chosen, *rest])
    return Shape(table.name, SQLITE, columns, tuple(kinds))


def normal_type(declared: str, *, strict: bool = False) -> str:
    """The declared type without its width, one name for types that hold alike: all text, all integer, all real types."""
    plain = " ".join(re.sub(r"\([^)]*\)", " ", declared).upper().split())
    # ANY stores values as they come in a STRICT table, and as NUMERIC elsewhere.
    if strict and plain == "ANY":
        return "ANY STRICT"
    kind = affinity(plain)
    return plain if kind == "NUMERIC" else kind


def affinity(declared: str) -> str:
    """The column affinity of a declared type. Source: https://www.sqlite.org/datatype3.html, section 3.1."""
    upper = declared.upper()
    if upper == "ANY STRICT" or not upper:
        return "BLOB"
    for found, marks in _MARKS:
        if any(mark in upper for mark in marks):
            return found
    return "NUMERIC"


def check_key(connection: sqlite3.Connection, table: LiveTable, key: Sequence[str]) -> None:
    """Raise SourceError where a row has NULL in its key or two rows share one: both would make a record ambiguous."""
    rows = f"main.{quote(table.name)} AS careseal_row"
    named = f"table {table.name!r}: the key ({', '.join(key)})"
    nullable = [name for name in key if not table.never_null(name)]
    if nullable:
        condition = " OR ".join(f"careseal_row.{quote(name)} IS NULL" for name in nullable)
        if connection.execute(f"SELECT 1 FROM {rows} WHERE {condition} LIMIT 1").fetchone():
            raise SourceError(f"{named} is NULL in some row: use --key COL with columns that are never null")
    if not table.enforces(key):
        group = ", ".join(f"careseal_row.{quote(name)} COLLATE BINARY" for name in key)
        if connection.execute(f"SELECT 1 FROM {rows} GROUP BY {group} HAVING count(*) > 1 LIMIT 1").fetchone():
            raise SourceError(f"{named} is not unique: use --key COL with columns that are")


def refuse_inexact(connection: sqlite3.Connection, table: LiveTable) -> None:
    """Raise SourceError naming the first column that cannot be committed to exactly.

    SQLite's driver values are exact. A virtual generated column is what the application reads, so it is committed to as well,
    unless only the application can compute it.
    """
    if len(table.columns) > MAX_COLUMNS:
        raise SourceError(f"table {table.name!r} has {len(table.columns)} columns: at most {MAX_COLUMNS} can be committed to")
    for column in table.columns:
        if column.computed:
            try:
                connection.execute(f"SELECT {select_list([column.name])} FROM main.{quote(table.name)} AS careseal_row LIMIT 1")
            except sqlite3.OperationalError as error:
                raise SourceError(
                    f"column {column.name!r} of table {table.name!r} cannot be committed to exactly: only the application "
                    "knows the function that computes it; make it a stored column"
                ) from error


def select_list(names: Sequence[str]) -> str:
    """Columns of the row under its alias: a bare quoted name that does not exist would silently become a string literal."""
    return quoted_list(names, "careseal_row.")
