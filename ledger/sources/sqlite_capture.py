"""Capture on SQLite: one queue table and five triggers per attached table, written out from the table as it is.

The triggers run inside the clinical write's transaction, so the queue holds a change exactly when the table does.
REPLACE removes rows without a delete trigger (unless `recursive_triggers` is on); what it may remove is therefore recorded
beforehand as R. An R whose row is still there unchanged meant nothing: the conflict was resolved otherwise.
"""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import SourceError
from ledger.shape import Shape
from ledger.sources.names import LATEST, numbered, quote, slug
from ledger.sources.refusal import OtherHome
from ledger.sources.sqlite_indexes import UniqueIndex
from ledger.sources.sqlite_table import OWN_PREFIX, LiveTable, affinity, look, select_list

# Seconds since 1970 with the milliseconds that SQLite's clock has.
_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_OWNER = re.compile(r" /\* home ([0-9A-Za-z-]+) \*/\)$")
_KINDS = ("insert", "update", "delete", "before_insert", "before_update")


def queue_name(table: str) -> str:
    """The queue table's name; SQLite ignores ASCII case in names."""
    return f"{OWN_PREFIX}queue_{slug(table.lower())}"


def trigger_name(table: str, kind: str) -> str:
    return f"{OWN_PREFIX}{slug(table.lower())}_{kind}"


@dataclass(frozen=True, slots=True)
class Capture:
    """The statements that make up capture of one table, by the name of what each creates."""

    queue: str
    table_sql: str
    triggers: dict[str, str]


def planned(table: LiveTable, shape: Shape) -> Capture:
    """Capture as it should be for this shape of this table."""
    queue = queue_name(shape.table)
    news, olds = numbered("new", len(shape.key)), numbered("old", len(shape.columns))
    head = f"INSERT INTO {quote(queue)} (uid, op, at, changed, "
    new_key = _columns("NEW", shape.key)
    old_row = _columns("OLD", shape.names)
    updated = _bitmap(shape, "OLD", "NEW")
    victim = f"{head}{', '.join(olds)}) SELECT randomblob(16), 'R', {_NOW}, {_replaced_bitmap(shape)}, "
    victim += f"{select_list(shape.names)} FROM {quote(table.name)} AS careseal_row WHERE ({_conflicts(table)})"
    bodies = {
        "insert": ("AFTER INSERT", f"{head}{', '.join(news)}) VALUES (randomblob(16), 'I', {_NOW}, NULL, {new_key})"),
        "update": (
            "AFTER UPDATE",
            f"{head}{', '.join(news + olds)}) VALUES (randomblob(16), 'U', {_NOW}, {updated}, {new_key}, {old_row})",
        ),
        "delete": ("AFTER DELETE", f"{head}{', '.join(olds)}) VALUES (randomblob(16), 'D', {_NOW}, NULL, {old_row})"),
        "before_insert": ("BEFORE INSERT", victim),
        "before_update": ("BEFORE UPDATE", f"{victim} AND NOT ({_same_row(table)})"),
    }
    triggers = {}
    for kind, (event, body) in bodies.items():
        name = trigger_name(shape.table, kind)
        triggers[name] = f"CREATE TRIGGER {quote(name)} {event} ON {quote(table.name)} BEGIN {body}; END"
    return Capture(queue, _queue_sql(shape), triggers)


def _queue_sql(shape: Shape) -> str:
    """The queue's columns have the affinities of the table's, so that values and predicates on them mean the same."""
    types = [column.type for column in shape.columns]
    names = numbered("new", len(shape.key)) + numbered("old", len(types))
    stored = [f"{name} {affinity(kind)}" for name, kind in zip(names, types[: len(shape.key)] + types, strict=True)]
    fixed = ["seq INTEGER PRIMARY KEY", "uid BLOB", "op TEXT", "at REAL", "changed TEXT"]
    return f"CREATE TABLE {quote(queue_name(shape.table))} ({', '.join(fixed + stored)})"


def sound_queue(shape: Shape) -> str:
    """The queue without rows that no trigger of ours made, as a table expression."""
    return f"(SELECT * FROM main.{quote(queue_name(shape.table))} WHERE {sound(shape)})"


def sound(shape: Shape, row: str = "") -> str:
    """Whether a queue row is one that a trigger can have made: `faults` tells of the others, and nothing else reads them.

    `row` is put before the names of columns.
    """
    changed = f"{row}changed"
    bits = f"(typeof({changed}) = 'text' AND length({changed}) = {len(shape.columns)} AND {changed} NOT GLOB '*[^01]*')"
    tests = [
        f"typeof({row}uid) = 'blob' AND length({row}uid) = 16 AND {row}seq BETWEEN 0 AND 4611686018427387903",
        f"typeof({row}at) IN ('real', 'integer') AND abs({row}at) < {LATEST}",
        f"CASE {row}op WHEN 'U' THEN {bits} WHEN 'R' THEN {changed} IS NULL OR {bits} WHEN 'I' THEN {changed} IS NULL "
        f"WHEN 'D' THEN {changed} IS NULL ELSE 0 END",
    ]
    for place, kind in enumerate(shape.key_kinds, 1):
        if kind == "int":
            tests.append(f"({row}op NOT IN ('I', 'U') OR typeof({row}new_{place}) = 'integer')")
            tests.append(f"({row}op NOT IN ('U', 'D', 'R') OR typeof({row}old_{place}) = 'integer')")
    return f"coalesce({' AND '.join(tests)}, 0)"


def install(connection: sqlite3.Connection, shape: Shape, home: str) -> None:
    """Make capture what it should be, inside the caller's transaction.

    Raises SourceError where that would lose changes, or where the queue is that of another home than `home`, "" for any.
    """
    table = look(connection, shape.table)
    capture = planned(table, shape)
    present = _own_objects(connection, shape.table)
    owner = _owner(connection, shape.table)
    if home and owner not in ("", home):
        raise OtherHome(shape.table)
    if capture.queue in present and present[capture.queue] != capture.table_sql:
        if connection.execute(f"SELECT 1 FROM main.{quote(capture.queue)} LIMIT 1").fetchone():
            raise SourceError(f"the capture queue of {shape.table!r} has another layout and holds changes: seal or detach first")
        connection.execute(f"DROP TABLE main.{quote(capture.queue)}")
        del present[capture.queue]
    if capture.queue not in present:
        connection.execute(f"{capture.table_sql[:-1]} /* home {home} */)" if home else capture.table_sql)
    for name, sql in capture.triggers.items():
        if present.get(name) != sql:
            connection.execute(f"DROP TRIGGER IF EXISTS main.{quote(name)}")
            connection.execute(sql)


def remove(connection: sqlite3.Connection, table: str) -> None:
    """Drop whatever is there of the table's capture, inside the caller's transaction; with its queue go the changes in it."""
    for kind in _KINDS:
        connection.execute(f"DROP TRIGGER IF EXISTS main.{quote(trigger_name(table, kind))}")
    connection.execute(f"DROP TABLE IF EXISTS main.{quote(queue_name(table))}")


def has_queue(connection: sqlite3.Connection, shape: Shape) -> bool:
    """Whether the queue is there in its own layout, so that changes can be read from it."""
    name = queue_name(shape.table)
    return _own_objects(connection, shape.table).get(name) == _queue_sql(shape)


def faults(connection: sqlite3.Connection, shape: Shape) -> list[str]:
    """What keeps capture from being what it should be, one line each; empty when all is well."""
    capture = planned(look(connection, shape.table), shape)
    present = _own_objects(connection, shape.table)
    found = []
    if capture.queue not in present:
        found.append("the capture queue is missing")
    elif present[capture.queue] != capture.table_sql:
        found.append("the capture queue was altered")
    else:
        queue = f"main.{quote(capture.queue)}"
        if connection.execute(f"SELECT 1 FROM {queue} WHERE NOT {sound(shape)} LIMIT 1").fetchone():
            found.append("a queue row is malformed")
        if connection.execute(f"SELECT 1 FROM {queue} WHERE uid IS NOT NULL GROUP BY uid HAVING count(*) > 1 LIMIT 1").fetchone():
            found.append("two queue rows have the same id")
    for name, sql in capture.triggers.items():
        if name not in present:
            found.append(f"trigger {name} is missing")
        elif present[name] != sql:
            found.append(f"trigger {name} was changed")
    others = connection.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND instr(lower(sql), ?) > 0 ORDER BY name",
        (capture.queue.lower(),),
    )
    found += [f"trigger {name!r} meddles with the capture queue" for (name,) in others if name not in capture.triggers]
    return found


def _own_objects(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    names = [queue_name(table), *(trigger_name(table, kind) for kind in _KINDS)]
    marks = ", ".join("?" for _ in names)
    found = connection.execute(f"SELECT name, sql FROM main.sqlite_schema WHERE name IN ({marks})", names)
    return {name: _OWNER.sub(")", sql) if name == names[0] else sql for name, sql in found}


def _owner(connection: sqlite3.Connection, table: str) -> str:
    """The id of the home that made the queue; "" where there is none, or it does not tell."""
    found = connection.execute("SELECT sql FROM main.sqlite_schema WHERE name = ?", (queue_name(table),)).fetchone()
    mark = _OWNER.search(found[0]) if found else None
    return mark[1] if mark else ""


def _columns(prefix: str, names: Sequence[str]) -> str:
    return ", ".join(f"{prefix}.{quote(name)}" for name in names)


def _bitmap(shape: Shape, before: str, after: str) -> str:
    """One character per column, 1 where the stored value differs, by value and storage class whatever the collation.

    The reals 0.0 and -0.0 are told apart by no SQL function, so they count as equal here; the row's bytes do differ.
    """
    differs = []
    for column in shape.columns:
        old, new = f"{before}.{quote(column.name)}", f"{after}.{quote(column.name)}"
        test = f"{old} IS NOT {new} COLLATE BINARY"
        # A text column never holds equal values of two classes.
        differs.append(f"({test})" if affinity(column.type) == "TEXT" else f"({test} OR typeof({old}) <> typeof({new}))")
    return "||".join(differs)


def _replaced_bitmap(shape: Shape) -> str:
    """As `_bitmap`, of a row that may be replaced by one of its key; NULL where the key differs, for then it is removed."""
    same = " AND ".join(f"careseal_row.{quote(name)} IS NEW.{quote(name)} COLLATE BINARY" for name in shape.key)
    return f"CASE WHEN {same} THEN {_bitmap(shape, 'careseal_row', 'NEW')} END"


def _conflicts(table: LiveTable) -> str:
    """The rows that NEW collides with, through any unique index or the rowid."""
    tests = [_collision(table, index) for index in table.uniques]
    if table.rowid is not None:
        name = quote(table.rowid) if table.rowid == table.rowid_alias else table.rowid
        tests.append(f"careseal_row.{name} = NEW.{name}")
    return " OR ".join(f"({test})" for test in tests) or "0"


def _collision(table: LiveTable, index: UniqueIndex) -> str:
    tests = [f"({index.where})"] if index.where else []
    for column, expression, collation in zip(index.columns, index.expressions, index.collations, strict=True):
        if column is not None:
            tests.append(f"careseal_row.{quote(column)} = NEW.{quote(column)} COLLATE {quote(collation)}")
        else:
            news = ", ".join(f"NEW.{quote(item.name)} AS {quote(item.name)}" for item in table.columns)
            tests.append(f"({expression}) = (SELECT ({expression}) FROM (SELECT {news}))")
    return " AND ".join(tests)


def _same_row(table: LiveTable) -> str:
    if table.rowid is not None:
        name = quote(table.rowid) if table.rowid == table.rowid_alias else table.rowid
        return f"careseal_row.{name} = OLD.{name}"
    return " AND ".join(f"careseal_row.{quote(name)} IS OLD.{quote(name)}" for name in table.primary_key) or "0"
