"""Announcing batches of changes: one person opens a change window, a second one with another key confirms it, either closes it early."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from ledger.answering import Why, journalled, signed, signed_part
from ledger.canonical import Json
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.persons import PersonKey
from ledger.sources import open_source
from ledger.tables import Attached
from ledger.windows import Window


def open_window(
    home: Home, key: PersonKey, table: Attached, columns: Sequence[str], role: str | None, span: tuple[int, int], why: Why, now: int
) -> Window:
    """Journal what one person announces, from `span[0]` to `span[1]` in milliseconds like `now`.

    LedgerError where it cannot be told from other changes, or would begin before it is journalled.
    """
    why.check()
    for name in columns:
        if name not in table.shape.names:
            raise LedgerError(f"--columns {name}: table {table.name} has no such column")
    if table.options.capture != "triggers":
        raise LedgerError(f"table {table.name} is scanned: nothing is known of its single changes, and nothing can be announced")
    with closing(open_source(table.source)) as source:
        if source.knows_authors and not role:
            raise LedgerError(f"table {table.name} knows who writes: give --role, the database user of the batch")
        if role and not source.knows_authors:
            raise LedgerError("SQLite knows no users: leave --role out; writers cannot be told apart there")
    if span[0] < now:
        raise LedgerError("--from lies in the past: a window announces changes before they are made")
    if span[1] <= span[0]:
        raise LedgerError("--until must be later than --from")
    place = home.journal.size
    listed: list[Json] = [*sorted(set(columns))]
    action = signed(home, key, place, {
        "do": "open window", "table_id": table.id, "table": table.name, "columns": listed, "role": role, "from": span[0],
        "until": span[1], "reason": why.reason, "ticket": why.ticket,
    })  # fmt: skip
    return journalled(home, {"window": {"action": action}}, now).windows[place]


def confirm_window(home: Home, key: PersonKey, window: Window, why: Why, now: int) -> Window:
    """Journal that a second person confirms a window: from now on, and not for what was changed before, it groups."""
    why.check()
    about: dict[str, Json] = {"do": "confirm", "proposal": window.number, "proposal_sha256": signed_part(home, window.number)}
    action = signed(home, key, home.journal.size, {**about, "reason": why.reason, "ticket": why.ticket})
    return journalled(home, {"confirmation": {"action": action}}, now).windows[window.number]


def close_window(home: Home, key: PersonKey, window: Window, why: Why, now: int) -> Window:
    """Journal that a window ends now; one person is enough."""
    why.check()
    about: dict[str, Json] = {"do": "close window", "window": window.number, "reason": why.reason, "ticket": why.ticket}
    return journalled(home, {"closing": {"action": signed(home, key, home.journal.size, about)}}, now).windows[window.number]
