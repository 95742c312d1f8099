"""The queued changes of a PostgreSQL table with what the table holds now, as one query, and its lines as changes."""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from ledger import rowcodec, sortkey
from ledger.rowcodec import PGTEXT, Value, unescape
from ledger.shape import Change, KeyKind, Shape
from ledger.sources.names import numbered, quote
from ledger.sources.postgres_capture import sound_queue
from ledger.sources.postgres_table import ROW, LiveTable, order_of, text_of
from ledger.sources.subject import SubjectPath, label_sql


def changes_sql(table: LiveTable, shape: Shape, label: str, old_label: str, final: str | None) -> str:
    """All queued changes in order: uid, seq, op, author, at, changed, closed, present, labels, new key, old row, present row.

    The present row is joined only to the last change of its key. One grouping finds the last changes, and both joins are
    equalities that can be hashed or sought in an index, so the plan is linear in the queue.
    """
    columns = table.of(shape)
    key = columns[: len(shape.key)]
    news, olds = numbered("new", len(key)), numbered("old", len(columns))
    queue = f"{sound_queue(shape)} AS careseal_sound"
    keys = numbered("k", len(key))
    as_new = ", ".join(f'{new}::text COLLATE "C" AS {name}' for new, name in zip(news, keys, strict=True))
    as_old = ", ".join(f'{old}::text COLLATE "C"' for old in olds[: len(key)])
    # Twice the sequence number, odd where the key is the one under which the row is found after the change.
    last = (
        f"SELECT max(code) AS code FROM (SELECT 2 * seq + 1 AS code, {as_new} FROM {queue} WHERE op IN ('I', 'U') "
        f"UNION ALL SELECT 2 * seq, {as_old} FROM {queue} WHERE op IN ('U', 'D')) AS careseal_keys "
        f"GROUP BY {', '.join(keys)}"
    )
    met = " AND ".join(
        f"{ROW}.{quote(column.name)} = q.{new}{f' COLLATE {column.collation}' if column.collation else ''}"
        for column, new in zip(key, news, strict=True)
    )
    closed = f"q.op IN ('U', 'D') AND {closed_sql(table, shape, [f'q.{old}' for old in olds], final)}" if final else "false"
    chosen = [
        "q.uid", "q.seq", "q.op", "q.author", "extract(epoch FROM q.at)", "q.changed", closed, f"{ROW}.ctid IS NOT NULL", label, old_label,
        *(text_of(column.type.name, f"q.{new}") for column, new in zip(key, news, strict=True)),
        *(text_of(column.type.name, f"q.{old}") for column, old in zip(columns, olds, strict=True)),
        *(text_of(column.type.name, f"{ROW}.{quote(column.name)}") for column in columns),
    ]  # fmt: skip
    return (
        f"SELECT {', '.join(chosen)} FROM {sound_queue(shape)} AS q "
        f"LEFT JOIN ({last}) AS careseal_last ON careseal_last.code = 2 * q.seq + 1 "
        f"LEFT JOIN {table.sql} AS {ROW} ON {met} AND careseal_last.code IS NOT NULL ORDER BY q.seq"
    )


def touched_sql(shape: Shape) -> str:
    """Every key, old or new, of every queued change, in key order, after the change's uid and seq."""
    key = shape.columns[: len(shape.key)]
    queue = f"{sound_queue(shape)} AS careseal_sound"
    keys = numbered("k", len(key))
    new = ", ".join(f"{new} AS {name}" for new, name in zip(numbered("new", len(key)), keys, strict=True))
    old = ", ".join(numbered("old", len(key)))
    union = f"SELECT uid, seq, {new} FROM {queue} WHERE op IN ('I', 'U')"
    union += f" UNION ALL SELECT uid, seq, {old} FROM {queue} WHERE op IN ('U', 'D')"
    chosen = ", ".join(text_of(column.type, name) for column, name in zip(key, keys, strict=True))
    order = ", ".join(order_of(column.type, name) for column, name in zip(key, keys, strict=True))
    return f"SELECT uid, seq, {chosen} FROM ({union}) AS careseal_keys ORDER BY {order}"


def labels(shape: Shape, subject: SubjectPath | None, hop_table: Callable[[str], str]) -> tuple[str, str]:
    """The subject's label for the present row, and for the old row where its first column is captured."""
    if subject is None:
        return "NULL", "NULL"
    present = label_sql(subject, f"{ROW}.{quote(subject.column)}", hop_table, as_text)
    if subject.column not in shape.names:
        return present, "NULL"
    old = f"q.old_{shape.names.index(subject.column) + 1}"
    return present, label_sql(subject, old, hop_table, as_text)


def as_text(value: str) -> str:
    return f"({value})::text"


def closed_sql(table: LiveTable, shape: Shape, values: Sequence[str], final: str) -> str:
    """Whether the predicate `final` holds for a row with these value expressions, under the columns' own collations."""
    named = ", ".join(
        f"{value}{f' COLLATE {column.collation}' if column.collation else ''} AS {quote(column.name)}"
        for column, value in zip(table.of(shape), values, strict=True)
    )
    # The line break keeps a comment at the end of the predicate from swallowing the rest.
    return f"EXISTS (SELECT FROM (SELECT {named}) AS {quote(table.name)} WHERE ({final}\n))"


def change_reader(shape: Shape) -> Callable[[bytes], Change]:
    """From a line of `changes_sql` to a Change."""
    kinds, key, width = shape.key_kinds, len(shape.key), len(shape.columns)
    old_at = 10 + key
    row_at = old_at + width

    def read(line: bytes) -> Change:
        parts = line.split(b"\t")
        op = parts[2].decode()
        changed = parts[5].decode() if parts[5] != b"\\N" else ""
        had_old, present = op in ("U", "D"), parts[7] == b"t"
        return Change(
            uid=join_uid(parts[0], parts[1]),
            op=op,
            author=text(parts[3]),
            at=float(parts[4]),
            old_key=key_of(kinds, parts[old_at : old_at + key]) if had_old else None,
            new_key=key_of(kinds, parts[10:old_at]) if op in ("I", "U") else None,
            old_row=rowcodec.join(PGTEXT, parts[old_at:row_at]) if had_old else None,
            row=rowcodec.join(PGTEXT, parts[row_at:]) if present else None,
            subject=text(parts[8]) if present else None,
            old_subject=text(parts[9]) if had_old else None,
            closed=parts[6] == b"t",
            changed=tuple(name for name, bit in zip(shape.names, changed, strict=False) if bit == "1"),
        )

    return read


def join_uid(written: bytes, seq: bytes) -> bytes:
    """A change's id: 16 random bytes, the ones without the version first, and its place in the queue, as COPY wrote them."""
    random = UUID(written.decode()).bytes
    return random[8:] + random[:8] + int(seq).to_bytes(8, "big")


def split_uid(uid: bytes) -> tuple[UUID, int]:
    """The inverse of `join_uid`."""
    return UUID(bytes=uid[8:16] + uid[:8]), int.from_bytes(uid[16:], "big")


def key_of(kinds: Sequence[KeyKind], parts: Sequence[bytes]) -> bytes:
    """The sort key of key columns as COPY wrote them."""
    values: list[Value] = []
    for kind, part in zip(kinds, parts, strict=True):
        plain = unescape(part)
        values.append(int(plain) if kind == "int" and plain is not None else plain)
    return sortkey.encode(kinds, values)


def text(part: bytes) -> str | None:
    plain = unescape(part)
    return None if plain is None else plain.decode("utf-8", "backslashreplace")

