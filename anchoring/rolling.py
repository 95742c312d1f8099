"""Rolling audits: each round takes the next part of all rows, so that everything is verified again within a given time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ledger.audit import Scope
from ledger.home import Home
from ledger.tables import attached_tables

_CURSOR = "rolling"


@dataclass(frozen=True, slots=True)
class Part:
    """What a round audits, and where the next one begins: `table` and the sort key there, None for its first row."""

    scope: Scope
    table: int = 0
    key: bytes | None = None

    @property
    def ends_cycle(self) -> bool:
        """Whether the next part begins with the first row again."""
        return self.table == 0


def next_part(home: Home, every: float, whole: float, now: float) -> Part:
    """The next part of all records, in order of table and key, then from the start again; all of it takes at most `whole` seconds.

    Rounds are due each `every` seconds; one that comes later takes as much more. `now` in seconds since 1970 UTC. The walk over the
    whole journal belongs to the round that begins with the first table. The same part is given until `finish` says that it is done.
    """
    tables = attached_tables(home)
    table, low, last = _cursor(home)
    share = (every if last is None else max(every, now - last)) / whole
    if share >= 1 or not tables:
        return Part(Scope(tables))
    if table not in {attached.id for attached in tables}:
        table, low = tables[0].id, None
    db = home.store.db
    left = max(1, math.ceil(int(db.execute("SELECT count(*) FROM state").fetchone()[0]) * share))
    journal, chosen = low is None and table == tables[0].id, []
    parts: dict[int, tuple[bytes | None, bytes | None]] = {}
    for attached in tables[[attached.id for attached in tables].index(table) :]:
        here = (attached.id, low or b"")
        row = db.execute("SELECT key FROM state WHERE tbl=? AND key>=? ORDER BY key LIMIT 1 OFFSET ?", (*here, left)).fetchone()
        chosen.append(attached)
        parts[attached.id] = (low, None if row is None else row[0])
        if row is not None:
            return Part(Scope(chosen, parts, journal), attached.id, row[0])
        left -= int(db.execute("SELECT count(*) FROM state WHERE tbl=? AND key>=?", here).fetchone()[0])
        low = None
    return Part(Scope(chosen, parts, journal))


def finish(home: Home, part: Part, now: float) -> None:
    """Remember that a part was audited, at `now` in seconds since 1970 UTC."""
    with home.store.transaction():
        home.store.set_meta(_CURSOR, f"{part.table}:{'' if part.key is None else part.key.hex()}:{int(now)}")


def _cursor(home: Home) -> tuple[int, bytes | None, int | None]:
    """Table and key where the next round begins, and when the last one was; what cannot be read begins anew."""
    try:
        table, key, last = (home.store.meta(_CURSOR) or "").split(":")
        return int(table), bytes.fromhex(key) if key else None, int(last)
    except ValueError:
        return 0, None, None
