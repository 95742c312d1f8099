"""The queued changes of an SQLite table with what the table holds now, as one statement, and its rows as changes."""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from ledger import rowcodec, sortkey
from ledger.rowcodec import printable
from ledger.shape import Change, Shape
from ledger.sources.names import numbered, quote
from ledger.sources.sqlite_capture import queue_name, sound, sound_queue
from ledger.sources.sqlite_table import LiveTable, select_list
from ledger.sources.subject import SubjectPath, label_sql


def changes_sql(table: LiveTable, shape: Shape, subject: SubjectPath | None, final: str | None) -> str:
    """All queued changes in order: seq, uid, op, at, changed, closed, labels, new key, old row, and the present row.

    The present row is joined only to the last change of its key, so the plan is linear in the queue: the last change of every
    key comes from one grouping, and each join seeks the table's key.
    """
    queue = sound_queue(shape)
    news, olds = numbered("new", len(shape.key)), numbered("old", len(shape.columns))
    keys = numbered("k", len(shape.key))
    as_new = ", ".join(f"{new} AS {key}" for new, key in zip(news, keys, strict=True))
    as_old = ", ".join(f"{old} AS {key}" for old, key in zip(olds, keys, strict=False))

    def last(removing: str) -> str:
        # Twice the sequence number, odd where the key is the one under which the row is found after the change.
        return (
            f"SELECT max(code) FROM (SELECT 2 * seq + 1 AS code, {as_new} FROM {queue} WHERE op IN ('I', 'U') "
            f"UNION ALL SELECT 2 * seq + (op = 'R'), {as_old} FROM {queue} WHERE op IN ({removing})) "
            f"GROUP BY {', '.join(f'{key} COLLATE BINARY' for key in keys)}"
        )

    # An R may turn out to be none, so the change before it keeps the row as well.
    any_last, sure_last = last("'U', 'D', 'R'"), last("'U', 'D'")
    met = [f"CASE q.op WHEN 'R' THEN (2 * q.seq + 1) IN ({any_last}) ELSE (2 * q.seq + 1) IN ({sure_last}) END"]
    for name, new, old in zip(shape.key, news, olds, strict=False):
        target = f"CASE q.op WHEN 'R' THEN q.{old} ELSE q.{new} END"
        # The first comparison uses the column's own index and collation, the second is exact.
        met.append(f"careseal_row.{quote(name)} = {target} AND careseal_row.{quote(name)} = {target} COLLATE BINARY")
    label, old_label = labels(shape, subject, dict(zip(shape.names, olds, strict=True)))
    closed = closed_sql(table, shape, [f"q.{old}" for old in olds], final) if final else "0"
    return (
        f"SELECT q.seq, q.uid, q.op, q.at, q.changed, q.op IN ('U', 'D', 'R') AND {closed}, {label}, {old_label}, "
        f"{', '.join(f'q.{name}' for name in news + olds)}, "
        f"careseal_row.{quote(shape.key[0])} IS NOT NULL, {select_list(shape.names)} "
        f"FROM main.{quote(queue_name(shape.table))} AS q LEFT JOIN main.{quote(table.name)} AS careseal_row ON {' AND '.join(met)} "
        f"WHERE {sound(shape, 'q.')} ORDER BY q.seq"
    )


def touched_sql(shape: Shape) -> str:
    """Every key, old or new, of every queued change, in key order, with the change's uid and seq."""
    queue = sound_queue(shape)
    count = len(shape.key)
    new = ", ".join(f"{name} COLLATE BINARY" for name in numbered("new", count))
    old = ", ".join(f"{name} COLLATE BINARY" for name in numbered("old", count))
    order = ", ".join(f"{place} COLLATE BINARY" for place in range(1, count + 1))
    return (
        f"SELECT {new}, uid, seq FROM {queue} WHERE op IN ('I', 'U') UNION ALL "
        f"SELECT {old}, uid, seq FROM {queue} WHERE op IN ('U', 'D', 'R') ORDER BY {order}"
    )


def labels(shape: Shape, subject: SubjectPath | None, old_columns: dict[str, str]) -> tuple[str, str]:
    """The subject's label for the present row, and for the old row where its first column is captured."""
    if subject is None:
        return "NULL", "NULL"
    old = old_columns.get(subject.column)
    present = label_sql(subject, f"careseal_row.{quote(subject.column)}", hop_table, as_text)
    return present, label_sql(subject, f"q.{old}", hop_table, as_text) if old else "NULL"


def hop_table(name: str) -> str:
    return f"main.{quote(name)}"


def as_text(value: str) -> str:
    return f"CAST({value} AS TEXT)"


def closed_sql(table: LiveTable, shape: Shape, values: Sequence[str], final: str) -> str:
    """Whether the predicate `final` holds for a row with these value expressions, under the columns' own collations."""
    collations = column_collations(table)
    named = ", ".join(
        f"{value}{' COLLATE ' + quote(collations[name]) if name in collations else ''} AS {quote(name)}"
        for name, value in zip(shape.names, values, strict=True)
    )
    # The line break keeps a comment at the end of the predicate from swallowing the rest.
    return f"EXISTS (SELECT 1 FROM (SELECT {named}) AS {quote(table.name)} WHERE ({final}\n))"


def column_collations(table: LiveTable) -> dict[str, str]:
    """The collation of each column that has another one than BINARY; of the built-in collations, for no other is at hand.

    No pragma tells it, so the table is made again, empty and in memory, with an index on each column.
    """
    collations = {}
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        memory.execute(table.sql)
        for column in table.columns:
            try:
                memory.execute(f"CREATE INDEX careseal_probe ON {quote(table.name)} ({quote(column.name)})")
            except sqlite3.OperationalError:
                continue
            found = memory.execute("PRAGMA index_xinfo(careseal_probe)").fetchone()[4]
            memory.execute("DROP INDEX careseal_probe")
            if found != "BINARY":
                collations[column.name] = found
    except sqlite3.OperationalError:
        return {}
    finally:
        memory.close()
    return collations


def change_reader(shape: Shape) -> Callable[[tuple[Any, ...]], Change]:
    """From a row of `changes_sql` to a Change."""
    key_of = sortkey.encoder(shape.key_kinds)
    dumps = rowcodec.encode_sqlite_fast
    key, width = len(shape.key), len(shape.columns)
    old_at = 8 + key
    row_at = old_at + width + 1

    def read(found: tuple[Any, ...]) -> Change:
        op, changed, label, old_label = found[2], found[4], found[6], found[7]
        had_old = op in ("U", "D", "R")
        old = found[old_at : row_at - 1]
        present = bool(found[row_at - 1])
        return Change(
            uid=join_uid(found[1], found[0]),
            op=op,
            author=None,
            at=found[3],
            old_key=key_of(old[:key]) if had_old else None,
            new_key=key_of(found[8:old_at]) if op in ("I", "U") else None,
            old_row=dumps(old) if had_old else None,
            row=dumps(found[row_at:]) if present else None,
            subject=printable(label) if present and label is not None else None,
            old_subject=printable(old_label) if had_old and old_label is not None else None,
            closed=bool(found[5]),
            changed=tuple(name for name, bit in zip(shape.names, changed, strict=True) if bit == "1") if changed else (),
        )

    return read


def join_uid(random: bytes, seq: int) -> bytes:
    """A change's id: 16 random bytes, and its place in the queue, by which it is found."""
    return random + seq.to_bytes(8, "big")


def split_uid(uid: bytes) -> tuple[bytes, int]:
    """The inverse of `join_uid`."""
    return uid[:-8], int.from_bytes(uid[-8:], "big")
