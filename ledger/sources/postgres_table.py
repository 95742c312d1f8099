"""What a PostgreSQL database says of one of its tables, and the shape that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import SourceError
from ledger.rowcodec import MAX_COLUMNS, PGTEXT
from ledger.shape import Column, KeyKind, Shape
from ledger.sources.names import quote
from ledger.sources.postgres_copy import Connection
from ledger.sources.postgres_types import ExactType, TypeBook
from ledger.sources.refusal import ColumnMissing

DEFAULT_SCHEMA = "public"
ROW = "careseal_row"

_TABLE = """
SELECT c.oid, n.nspname, c.relname, c.relkind,
       (SELECT datcollate FROM pg_database WHERE datname = current_database()) IN ('C', 'POSIX'),
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""
_COLUMNS = """
SELECT a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated::text, l.collname, ln.nspname
  FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_UNIQUES = """
SELECT i.indisprimary, array(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place)
                               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place)
  FROM pg_index i WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table", "S": "a sequence", "i": "an index", "c": "a type"}


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column as it is now. `collation` is qualified SQL, None where the type has none; `bytewise` when it sorts by bytes."""

    name: str
    type: ExactType
    not_null: bool
    virtual: bool
    collation: str | None
    bytewise: bool


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table as it is now; `uniques` are the column sets that an index keeps unique, `has_heirs`: other tables inherit from it."""

    oid: int
    schema: str
    name: str
    columns: tuple[LiveColumn, ...]
    primary_key: tuple[str, ...]
    uniques: tuple[frozenset[str], ...]
    has_heirs: bool

    @property
    def sql(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def given_name(self) -> str:
        """The name under which the table is attached: without the schema where it is the default one."""
        return self.name if self.schema == DEFAULT_SCHEMA else f"{self.schema}.{self.name}"

    def column(self, name: str) -> LiveColumn:
        found = next((column for column in self.columns if column.name == name), None)
        if found is None:
            raise ColumnMissing(self.given_name, name)
        return found

    def of(self, shape: Shape) -> list[LiveColumn]:
        """The live columns of the shape, in its order. Raises ColumnMissing."""
        return [self.column(name) for name in shape.names]


def look(connection: Connection, types: TypeBook, table: str) -> LiveTable:
    """The live table `table` or `schema.table`. Raises SourceError for a view, foreign or missing table."""
    found = find(connection, types, table)
    if found is None:
        elsewhere = connection.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = %s AND c.relkind IN ('r', 'p') ORDER BY 1",
            (table,),
        ).fetchall()
        hint = f": write {elsewhere[0][0]}.{table}" if elsewhere else ": check the name"
        raise SourceError(f"the database has no table {table!r} in schema {DEFAULT_SCHEMA}{hint}")
    return found


def find(connection: Connection, types: TypeBook, table: str) -> LiveTable | None:
    """As `look`, but None for a missing table."""
    schema, dot, name = table.partition(".")
    places = [(schema, name), (DEFAULT_SCHEMA, table)] if dot else [(DEFAULT_SCHEMA, table)]
    found = next((row for place in places if (row := connection.execute(_TABLE, place).fetchone())), None)
    if found is None:
        return None
    oid, schema, name, kind, c_database, has_heirs = found
    if kind not in ("r", "p"):
        raise SourceError(f"{table!r} is {_KINDS.get(kind, 'no table')}: attach the tables that hold its rows")
    columns = tuple(
        LiveColumn(
            column,
            types.look_up(type_oid, modifier),
            not_null,
            generated == "v",
            f"{quote(collation_schema)}.{quote(collation)}" if collation else None,
            collation in ("C", "POSIX") or (collation == "default" and c_database),
        )
        for column, type_oid, modifier, not_null, generated, collation, collation_schema in connection.execute(_COLUMNS, (oid,))
    )
    uniques = sorted(connection.execute(_UNIQUES, (oid,)).fetchall(), reverse=True)
    primary = next((tuple(names) for is_primary, names in uniques if is_primary), ())
    return LiveTable(oid, schema, name, columns, primary, tuple(frozenset(names) for _, names in uniques), has_heirs)


def shape_of(table: LiveTable, key: Sequence[str] | None) -> Shape:
    """The table's present shape, keyed by `key` or else by its primary key. Raises SourceError where it has neither."""
    chosen = [table.column(name) for name in key or table.primary_key]
    if not chosen:
        raise SourceError(f"table {table.given_name!r} has no primary key: use --key COL with columns that are unique and never null")
    if len(set(chosen)) != len(chosen):
        raise SourceError(f"table {table.given_name!r}: --key names a column twice")
    rest = [column for column in table.columns if column not in chosen]
    kinds: list[KeyKind] = ["int" if column.type.name == "integer" else "text" for column in chosen]
    return Shape(table.given_name, PGTEXT, tuple(Column(c.name, c.type.name) for c in [*chosen, *rest]), tuple(kinds))


def refuse_inexact(table: LiveTable, shape: Shape) -> None:
    """Raise SourceError naming the first column that cannot be committed to exactly."""
    if len(shape.columns) > MAX_COLUMNS:
        raise SourceError(f"table {shape.table!r} has {len(shape.columns)} columns: at most {MAX_COLUMNS} can be committed to")
    for column in table.of(shape):
        if not column.type.exact:
            raise SourceError(
                f"column {column.name!r} of table {shape.table!r} cannot be committed to exactly: "
                f"the text of type {column.type.name} is not exact or not stable; change its type or attach another table"
            )
        if column.virtual:
            raise SourceError(f"column {column.name!r} of table {shape.table!r} is virtual, and triggers do not see it: make it stored")
    for column in table.of(shape)[: len(shape.key)]:
        if not column.type.orderable:
            raise SourceError(f"column {column.name!r} of table {shape.table!r} has no order and cannot be a key: use --key COL")


def check_key(connection: Connection, table: LiveTable, shape: Shape) -> None:
    """Raise SourceError where a row has NULL in its key or two rows share one: both would make a record ambiguous."""
    named = f"table {shape.table!r}: the key ({', '.join(shape.key)})"
    nullable = [f"{ROW}.{quote(name)}" for name in shape.key if not table.column(name).not_null]
    source = f"{table.sql} AS {ROW}"
    if nullable:
        condition = " OR ".join(f"{column} IS NULL" for column in nullable)
        if connection.execute(f"SELECT 1 FROM {source} WHERE {condition} LIMIT 1").fetchone():  # noqa: S608
            raise SourceError(f"{named} is NULL in some row: use --key COL with columns that are never null")
    if not any(unique <= set(shape.key) for unique in table.uniques):
        group = ", ".join(f"{ROW}.{quote(name)}" for name in shape.key)
        duplicate = f"SELECT 1 FROM {source} GROUP BY {group} HAVING count(*) > 1 LIMIT 1"  # noqa: S608
        if connection.execute(duplicate).fetchone():
            raise SourceError(f"{named} is not unique: use --key COL with columns that are")


def text_of(kind: str, value: str) -> str:
    """What COPY is asked for: char(n) without its padding, which is no part of the value and changes with the width."""
    return f"{value}::text" if kind == "character" else value


def order_of(kind: str, value: str, *, bytewise: bool = False) -> str:
    """The expression that orders by the bytes of the value's text; the bare value where its index has that order."""
    if kind in ("integer", "uuid", "bytea") or (kind == "text" and bytewise):
        return value
    if kind in ("inet", "bpchar", "boolean"):
        # The cast to text adds a mask, takes away blanks or spells the value out, unlike the type's own text.
        return f"CASE WHEN {value} IS NOT NULL THEN format('%s', {value}) END COLLATE \"C\""
    return f'{value}::text COLLATE "C"'
