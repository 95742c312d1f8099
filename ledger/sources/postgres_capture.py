"""Capture on PostgreSQL: a queue, two functions, a failure counter and two triggers per attached table.

All but the triggers live in schema `careseal`, which clinical accounts need no rights on: the functions run as their owner.
A failing capture must never abort the clinical write, so the functions catch every error; they then step a sequence, which
survives a rollback of the write, and which `faults` reports.

Rows of one key are captured in commit order, for the second writer of a row waits for the first one's commit.
"""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from ledger.errors import SourceError
from ledger.shape import LOST_CHANGES, Shape
from ledger.sources.names import LATEST, numbered, quote, slug
from ledger.sources.postgres_copy import Connection
from ledger.sources.postgres_table import LiveTable
from ledger.sources.postgres_types import queue_type
from ledger.sources.refusal import OtherHome

SCHEMA = "careseal"
_COMMENT = "made by Careseal, which drops it with the last attached table"
_HOME = "captures for the Careseal home "
# Triggers of one event fire by name: ours sees a row before the hospital's own triggers change it again.
_ROW_TRIGGER = "00_careseal_row"
_TRUNCATE_TRIGGER = "00_careseal_truncate"
# pg_trigger.tgtype: row 1, before 2, insert 4, delete 8, update 16, truncate 32
_ROW_TYPE = 1 | 4 | 8 | 16
_TRUNCATE_TYPE = 2 | 32
_FIXED = [
    ("seq", "bigint"),
    ("uid", "uuid"),
    ("op", "text"),
    ("author", "text"),
    ("at", "timestamp with time zone"),
    ("changed", "text"),
]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one table's capture objects within schema `careseal`."""

    queue: str
    failures: str
    row_function: str
    truncate_function: str


def names_of(table: str) -> Names:
    own = slug(table)
    return Names(f"queue_{own}", f"failures_{own}", f"capture_{own}", f"truncate_{own}")


def queue_sql(table: str) -> str:
    return f"{SCHEMA}.{quote(names_of(table).queue)}"


def queue_columns(shape: Shape) -> list[tuple[str, str]]:
    """Name and type of each queue column; the captured ones take every width of their type."""
    types = [queue_type(column.type) for column in shape.columns]
    news, olds = numbered("new", len(shape.key)), numbered("old", len(types))
    return _FIXED + list(zip(news, types, strict=False)) + list(zip(olds, types, strict=True))


def functions(shape: Shape) -> dict[str, str]:
    """The body of each function, by name.

    Every function, operator and type is qualified, because the functions run with their owner's rights under the writer's
    search_path; pinning that path instead would cost every write more than the capture itself.
    """
    names = names_of(shape.table)
    news, olds = numbered("new", len(shape.key)), numbered("old", len(shape.columns))
    new_key = ", ".join(f"NEW.{quote(name)}" for name in shape.key)
    old_row = ", ".join(f"OLD.{quote(name)}" for name in shape.names)
    bits = " OPERATOR(pg_catalog.||) ".join(map(_differs, shape.names))
    head = f"INSERT INTO {SCHEMA}.{quote(names.queue)} (op, author, at, changed"
    stamp = "session_user, pg_catalog.clock_timestamp()"
    row_body = f"""
DECLARE
  bits pg_catalog.text;
BEGIN
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
    {head}, {", ".join(news)}) VALUES ('I', {stamp}, NULL, {new_key});
  ELSIF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
    bits := {bits};
    IF pg_catalog.strpos(bits, '1') OPERATOR(pg_catalog.>) 0 THEN
      {head}, {", ".join(news + olds)}) VALUES ('U', {stamp}, bits, {new_key}, {old_row});
    END IF;
  ELSE
    {head}, {", ".join(olds)}) VALUES ('D', {stamp}, NULL, {old_row});
  END IF;
  RETURN NULL;
{_on_failure(names)}"""
    truncate_body = f"""
BEGIN
  {head}) VALUES ('T', {stamp}, NULL);
  RETURN NULL;
{_on_failure(names)}"""
    return {names.row_function: row_body, names.truncate_function: truncate_body}


def _differs(name: str) -> str:
    """'1' where the column changed. Images are compared: not every type has an equality, and equal values may differ as text."""
    old, new = (f"ROW({record}.{quote(name)})::pg_catalog.record" for record in ("OLD", "NEW"))
    return f"CASE WHEN {old} OPERATOR(pg_catalog.*<>) {new} THEN '1' ELSE '0' END"


def _on_failure(names: Names) -> str:
    return f"""EXCEPTION WHEN OTHERS THEN
  BEGIN
    PERFORM pg_catalog.nextval('{SCHEMA}.{quote(names.failures)}'::pg_catalog.regclass);
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  RETURN NULL;
END
"""


def sound_queue(shape: Shape) -> str:
    """The queue without rows that no trigger of ours made, as a table expression."""
    return f"(SELECT * FROM {queue_sql(shape.table)} WHERE {_sound(shape)})"


def _sound(shape: Shape) -> str:
    """Whether a queue row is one that a trigger can have made: `faults` tells of the others, and nothing else reads them."""
    return (
        "coalesce(uid IS NOT NULL AND seq BETWEEN 0 AND 4611686018427387903 AND isfinite(at)"
        f" AND abs(extract(epoch FROM at)) < {LATEST}"
        f" AND CASE op WHEN 'U' THEN length(changed) = {len(shape.columns)} AND changed !~ '[^01]'"
        " ELSE op IN ('I', 'D', 'T') AND changed IS NULL END, false)"
    )


def install(connection: Connection, table: LiveTable, shape: Shape, home: str) -> None:
    """Make capture what it should be, inside the caller's transaction.

    Raises SourceError where that would lose changes, or where the queue is that of another home than `home`, "" for any.
    """
    names = names_of(shape.table)
    _prepare_schema(connection)
    expected = queue_columns(shape)
    present = _columns(connection, names.queue)
    if home and present:
        told = connection.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", (queue_sql(shape.table),)).fetchone()
        if told and told[0] and told[0].startswith(_HOME) and told[0] != _HOME + home:
            raise OtherHome(shape.table)
    if present and present != expected:
        if connection.execute(f"SELECT 1 FROM {queue_sql(shape.table)} LIMIT 1").fetchone():
            raise SourceError(f"the capture queue of {shape.table!r} has another layout and holds changes: seal or detach first")
        connection.execute(f"DROP TABLE {queue_sql(shape.table)}")
        present = []
    if not present:
        special = {"seq": " GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "uid": " DEFAULT gen_random_uuid()"}
        columns = ", ".join(f"{name} {kind}{special.get(name, '')}" for name, kind in expected)
        connection.execute(f"CREATE TABLE {queue_sql(shape.table)} ({columns})")
        if home:
            connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(sql.SQL(queue_sql(shape.table)), sql.Literal(_HOME + home)))
    connection.execute(f"CREATE SEQUENCE IF NOT EXISTS {SCHEMA}.{quote(names.failures)}")
    for function, body in functions(shape).items():
        connection.execute(
            f"CREATE OR REPLACE FUNCTION {SCHEMA}.{quote(function)}() RETURNS trigger LANGUAGE plpgsql "
            f"SECURITY DEFINER AS $careseal${body}$careseal$"
        )
        connection.execute(f"REVOKE ALL ON FUNCTION {SCHEMA}.{quote(function)}() FROM PUBLIC")
    if _trigger_faults(connection, table, names):
        _drop_triggers(connection, table)
        row, truncate = quote(_ROW_TRIGGER), quote(_TRUNCATE_TRIGGER)
        connection.execute(
            f"CREATE TRIGGER {row} AFTER INSERT OR UPDATE OR DELETE ON {table.sql} "
            f"FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.{quote(names.row_function)}()"
        )
        connection.execute(
            f"CREATE TRIGGER {truncate} BEFORE TRUNCATE ON {table.sql} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.{quote(names.truncate_function)}()"
        )
        connection.execute(f"ALTER TABLE {table.sql} ENABLE ALWAYS TRIGGER {truncate}")
        for part in _parts(connection, table):
            connection.execute(f"ALTER TABLE {part} ENABLE ALWAYS TRIGGER {row}")


def remove(connection: Connection, table: str, live: LiveTable | None) -> None:
    """Drop whatever is there of the table's capture, and the schema with its last object, inside the caller's transaction."""
    names = names_of(table)
    if live is not None:
        _drop_triggers(connection, live)
    if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone():
        return
    for function in (names.row_function, names.truncate_function):
        connection.execute(f"DROP FUNCTION IF EXISTS {SCHEMA}.{quote(function)}() CASCADE")
    connection.execute(f"DROP TABLE IF EXISTS {queue_sql(table)} CASCADE")
    connection.execute(f"DROP SEQUENCE IF EXISTS {SCHEMA}.{quote(names.failures)}")
    empty = connection.execute(
        "SELECT obj_description(n.oid, 'pg_namespace') = %s"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)"
        " FROM pg_namespace n WHERE nspname = %s",
        (_COMMENT, SCHEMA),
    ).fetchone()
    if empty and empty[0]:
        connection.execute(f"DROP SCHEMA {SCHEMA}")


def has_queue(connection: Connection, shape: Shape) -> bool:
    """Whether the queue is there in its own layout, so that changes can be read from it."""
    return _columns(connection, names_of(shape.table).queue) == queue_columns(shape)


def faults(connection: Connection, table: LiveTable, shape: Shape) -> list[str]:
    """What keeps capture from being what it should be, one line each; empty when all is well."""
    names = names_of(shape.table)
    found = _trigger_faults(connection, table, names)
    for function, body in functions(shape).items():
        row = connection.execute(
            "SELECT p.prosrc, p.prosecdef, p.proconfig, l.lanname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang"
            " WHERE p.pronamespace = to_regnamespace(%s) AND p.proname = %s AND p.pronargs = 0",
            (SCHEMA, function),
        ).fetchone()
        if row is None:
            found.append(f"function {function} is missing")
        elif row != (body, True, None, "plpgsql"):
            found.append(f"function {function} was changed")
    found += _queue_faults(connection, shape, names)
    counted = connection.execute(
        "SELECT pg_sequence_last_value(c.oid) FROM pg_class c WHERE c.relkind = 'S' AND c.relname = %s"
        " AND c.relnamespace = to_regnamespace(%s)",
        (names.failures, SCHEMA),
    ).fetchone()
    if counted is None:
        found.append("the counter of capture failures is missing")
    elif counted[0]:
        found.append(f"{counted[0]} {LOST_CHANGES}")
    return found


def _prepare_schema(connection: Connection) -> None:
    if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is None:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(f"COMMENT ON SCHEMA {SCHEMA} IS '{_COMMENT}'")


def _drop_triggers(connection: Connection, table: LiveTable) -> None:
    for trigger in (_ROW_TRIGGER, _TRUNCATE_TRIGGER):
        connection.execute(f"DROP TRIGGER IF EXISTS {quote(trigger)} ON {table.sql}")


def _parts(connection: Connection, table: LiveTable) -> list[str]:
    """The table and, where it is partitioned, all its partitions, as SQL."""
    found = connection.execute(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = %s OR c.oid IN (SELECT relid FROM pg_partition_tree(%s)) ORDER BY 1",
        (table.oid, table.oid),
    )
    return [str(part) for (part,) in found]


def _trigger_faults(connection: Connection, table: LiveTable, names: Names) -> list[str]:
    found = connection.execute(
        "SELECT t.tgname, t.tgtype, t.tgenabled::text, p.proname, t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgattr::text = ''"
        "  AND NOT t.tgdeferrable AND pn.nspname = %s, c.oid = %s, c.relname"
        " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
        " JOIN pg_namespace pn ON pn.oid = p.pronamespace"
        " WHERE NOT (t.tgisinternal AND c.oid = %s) AND t.tgname IN (%s, %s)"
        " AND (c.oid = %s OR c.oid IN (SELECT relid FROM pg_partition_tree(%s)))",
        (SCHEMA, table.oid, table.oid, _ROW_TRIGGER, _TRUNCATE_TRIGGER, table.oid, table.oid),
    ).fetchall()
    on_part = {(name, relation): row for name, *row, relation in found}
    faults = []
    relations = [(table.name, True), *((name, False) for name in _partition_names(connection, table))]
    wanted = {_ROW_TRIGGER: (_ROW_TYPE, names.row_function), _TRUNCATE_TRIGGER: (_TRUNCATE_TYPE, names.truncate_function)}
    for relation, is_top in relations:
        for name, (kind, function) in wanted.items():
            if not is_top and name == _TRUNCATE_TRIGGER:
                continue
            row = on_part.get((name, relation))
            place = "" if is_top else f" on partition {relation}"
            if row is None:
                faults.append(f"trigger {name} is missing{place}")
            elif row[0] != kind or row[2] != function or not row[3]:
                faults.append(f"trigger {name} was changed{place}")
            elif row[1] == "D":
                faults.append(f"trigger {name} is disabled{place}")
            elif row[1] != "A":
                faults.append(f"trigger {name} is not ENABLE ALWAYS{place}")
    return faults


def _partition_names(connection: Connection, table: LiveTable) -> list[str]:
    query = (
        "SELECT c.relname FROM pg_partition_tree(%s) t JOIN pg_class c ON c.oid = t.relid WHERE c.oid <> %s ORDER BY 1"
    )
    return [str(name) for (name,) in connection.execute(query, (table.oid, table.oid))]


def _columns(connection: Connection, queue: str) -> list[tuple[str, str]]:
    """Name and type of each column of a queue that exists, in the words of `queue_columns`."""
    found = connection.execute(
        "SELECT a.attname, CASE WHEN tn.nspname = 'pg_catalog' THEN format_type(a.atttypid, a.atttypmod)"
        " ELSE quote_ident(tn.nspname) || '.' || quote_ident(t.typname) END, tn.nspname, t.typcategory, en.nspname, e.typname"
        " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace"
        " LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' LEFT JOIN pg_namespace en ON en.oid = e.typnamespace"
        " WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (f"{SCHEMA}.{quote(queue)}",),
    )
    columns = []
    for name, kind, space, category, element_space, element in found:
        if category == "A" and space != "pg_catalog":
            kind = f"{quote(element_space)}.{quote(element)}[]"
        columns.append((str(name), str(kind)))
    return columns


def _queue_faults(connection: Connection, shape: Shape, names: Names) -> list[str]:
    present = _columns(connection, names.queue)
    if not present:
        return ["the capture queue is missing"]
    found = []
    if present != queue_columns(shape):
        found.append("the capture queue was altered")
    else:
        queue = queue_sql(shape.table)
        if connection.execute(f"SELECT 1 FROM {queue} WHERE NOT {_sound(shape)} LIMIT 1").fetchone():
            found.append("a queue row is malformed")
        if connection.execute(f"SELECT 1 FROM {queue} WHERE uid IS NOT NULL GROUP BY uid HAVING count(*) > 1 LIMIT 1").fetchone():
            found.append("two queue rows have the same id")
    meddled = connection.execute(
        "SELECT c.relpersistence <> 'p' OR c.relrowsecurity OR c.relhasrules"
        " OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid)"
        " OR NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)"
        " OR NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'seq' AND a.attidentity = 'a')"
        " OR NOT EXISTS (SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        "  WHERE a.attrelid = c.oid AND a.attname = 'uid' AND pg_get_expr(d.adbin, d.adrelid) = 'gen_random_uuid()')"
        " FROM pg_class c WHERE c.oid = to_regclass(%s)",
        (f"{SCHEMA}.{quote(names.queue)}",),
    ).fetchone()
    if meddled and meddled[0]:
        found.append("the capture queue has a trigger, a rule, a policy, or lost its key or defaults")
    return found
