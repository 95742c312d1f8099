"""The subject path: from a row to the text that names its patient, over other tables where needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.errors import SourceError
from ledger.sources.names import quote


@dataclass(frozen=True, slots=True)
class Hop:
    """Go on in `table`, at the row whose `match` equals the value so far, with its `onward`."""

    table: str
    match: str
    onward: str


@dataclass(frozen=True, slots=True)
class SubjectPath:
    """`column` of the attached table, then hops through others; the last value, as text, is the label."""

    column: str
    hops: tuple[Hop, ...]


def parse(path: str, columns: Sequence[str]) -> SubjectPath:
    """`COL` or `COL/TABLE.COL/COL[/TABLE.COL/COL...]`. Raises SourceError when it does not begin with one of `columns`."""
    if path in columns:
        return SubjectPath(path, ())
    first, *rest = path.split("/")
    if first not in columns:
        raise SourceError(f"subject path {path!r}: the table has no column {first!r}")
    if len(rest) % 2:
        raise SourceError(f"subject path {path!r}: write COL or COL/TABLE.COL/COL, two columns for each table")
    hops = []
    for target, onward in zip(rest[::2], rest[1::2], strict=True):
        table, dot, match = target.rpartition(".")
        if not (dot and table and match and onward):
            raise SourceError(f"subject path {path!r}: {target!r} should be TABLE.COL")
        hops.append(Hop(table, match, onward))
    return SubjectPath(first, tuple(hops))


def label_sql(path: SubjectPath, start: str, table_sql: Callable[[str], str], text: Callable[[str], str]) -> str:
    """The label as a scalar expression; `start` is the first column's expression, `text` casts to text.

    Where several rows match, the least label is taken, so that the result does not depend on their order.
    """
    if not path.hops:
        return text(start)
    aliases = [f"careseal_hop_{number}" for number in range(len(path.hops))]
    tables = [f"{table_sql(hop.table)} AS {alias}" for hop, alias in zip(path.hops, aliases, strict=True)]
    values = [start] + [f"{alias}.{quote(hop.onward)}" for hop, alias in zip(path.hops, aliases, strict=True)]
    met = [f"{alias}.{quote(hop.match)} = {value}" for hop, alias, value in zip(path.hops, aliases, values, strict=False)]
    return f"(SELECT min({text(values[-1])}) FROM {' CROSS JOIN '.join(tables)} WHERE {' AND '.join(met)})"  # noqa: S608
