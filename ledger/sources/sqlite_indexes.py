"""The unique indexes of an SQLite table: through each of them, REPLACE may remove another row."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

from ledger.sources.names import quote

_PIECE = re.compile(
    r"""(?P<gap>\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))|(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|(?P<word>[^\W\d]\w*)|(?P<other>.)""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index or constraint: per term a column name, or None and an expression; each term's collation; its WHERE."""

    primary: bool
    columns: tuple[str | None, ...]
    expressions: tuple[str | None, ...]
    collations: tuple[str, ...]
    where: str | None


def unique_indexes(connection: sqlite3.Connection, table: str) -> tuple[UniqueIndex, ...]:
    """The unique indexes of `table`, the primary key's among them where it has one, in the order of their names."""
    found = []
    listed = connection.execute(f"PRAGMA main.index_list({quote(table)})").fetchall()
    for _, name, unique, origin, partial in sorted(listed, key=lambda row: str(row[1])):
        if not unique:
            continue
        terms = [row for row in connection.execute(f"PRAGMA main.index_xinfo({quote(name)})") if row[5]]
        columns = tuple(term[2] for term in terms)
        expressions: tuple[str | None, ...] = (None,) * len(terms)
        where = None
        if partial or None in columns:
            stored = connection.execute("SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND name = ?", (name,))
            written, where = split_index(stored.fetchone()[0])
            expressions = tuple(text if column is None else None for column, text in zip(columns, written, strict=True))
        found.append(UniqueIndex(origin == "pk", columns, expressions, tuple(term[4] for term in terms), where))
    return tuple(found)


def split_index(sql: str) -> tuple[tuple[str, ...], str | None]:
    """The terms and the WHERE of a CREATE INDEX statement as SQLite stored it, without ASC, DESC and comments."""
    terms: list[list[str]] = [[]]
    where: list[str] = []
    depth = 0
    closed = False
    for match in _PIECE.finditer(sql):
        piece = " " if match["gap"] else match[0]
        if closed:
            where.append(piece)
            continue
        depth -= piece == ")"
        if piece == ")" and depth == 0:
            closed = True
        elif depth == 1 and piece == ",":
            terms.append([])
        elif depth >= 1 and not (depth == 1 and piece.upper() in ("ASC", "DESC")):
            terms[-1].append(piece)
        depth += piece == "("
    condition = "".join(where).strip()
    return tuple("".join(term).strip() for term in terms), condition[5:].strip() if condition[:5].upper() == "WHERE" else None
