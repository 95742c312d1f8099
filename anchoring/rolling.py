"""Rolling audits: each round takes the next share of all rows, so that everything is verified again within a given time."""

from __future__ import annotations

import math

from ledger.audit import Scope
from ledger.home import Home
from ledger.tables import attached_tables

_CURSOR = "rolling"


def next_scope(home: Home, share: float) -> Scope:
    """What this round audits: the next `share` (0 to 1) of all records, in order of table and key, then from the start again.

    The walk over the whole journal is part of the round in which the walk over the tables starts again.
    """
    tables = attached_tables(home)
    if share >= 1 or not tables:
        return Scope(tables)
    db = home.store.db
    total = int(db.execute("SELECT count(*) FROM state").fetchone()[0])
    left = max(1, math.ceil(total * share))
    at, low = _cursor(home, [table.id for table in tables])
    journal = low is None and at == tables[0].id
    parts: dict[int, tuple[bytes | None, bytes | None]] = {}
    chosen = []
    following: tuple[int, bytes | None] = (tables[0].id, None)
    for table in tables[[table.id for table in tables].index(at) :]:
        row = db.execute(
            "SELECT key FROM state WHERE tbl=? AND key>=? ORDER BY key LIMIT 1 OFFSET ?", (table.id, low or b"", left)
        ).fetchone()
        chosen.append(table)
        parts[table.id] = (low, None if row is None else row[0])
        if row is not None:
            following = (table.id, row[0])
            break
        left -= int(db.execute("SELECT count(*) FROM state WHERE tbl=? AND key>=?", (table.id, low or b"")).fetchone()[0])
        low = None
    with home.store.transaction():
        home.store.set_meta(_CURSOR, f"{following[0]}:{'' if following[1] is None else following[1].hex()}")
    return Scope(chosen, parts, journal)


def _cursor(home: Home, ids: list[int]) -> tuple[int, bytes | None]:
    number, _, key = (home.store.meta(_CURSOR, "") or "").partition(":")
    if number.isdigit() and int(number) in ids:
        return int(number), bytes.fromhex(key) if key else None
    return ids[0], None
