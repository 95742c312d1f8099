"""Change windows: batches of changes that two people announced beforehand, so that what they do against the rules is one finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.persons import Person
from ledger.shape import Change
from ledger.wire import VIOLATIONS, Flag

# What an announced change may be. A row that was altered outside capture is never part of one.
_ANNOUNCED = Flag.UNAUTHORISED | Flag.FINAL | Flag.BACK_DATED
PREFIX = "w"  # before the number of a window, which is that of its journal entry


@dataclass(frozen=True, slots=True)
class Signed:
    """That a person signed something, in which journal entry, and when (milliseconds since 1970 UTC)."""

    person: Person
    entry: int
    time: int


@dataclass(frozen=True, slots=True)
class Window:
    """An announced batch: updates of a table by a database role that touch no other columns, between two times in milliseconds.

    `role` is None where the engine knows no users. It is in force once a second person confirmed it, and never for changes before that.
    """

    table: int
    name: str  # of the table
    columns: tuple[str, ...]
    role: str | None
    begin: int
    end: int
    reason: str
    ticket: str
    opened: Signed
    confirmed: Signed | None = None
    closed: Signed | None = None

    @property
    def number(self) -> int:
        return self.opened.entry

    @property
    def id(self) -> str:
        return f"{PREFIX}{self.number}"

    @property
    def span(self) -> tuple[int, int] | None:
        """From when to when it is in force; None where it is not."""
        if self.confirmed is None:
            return None
        begin, end = max(self.begin, self.confirmed.time), self.end if self.closed is None else min(self.end, self.closed.time)
        return (begin, end) if begin < end else None

    def covers(self, change: Change, flags: Flag, moved: bool) -> bool:
        """Whether a captured change, sealed with these flags, is one that was announced."""
        if self.span is None or moved or change.op != "U" or not change.changed or flags & VIOLATIONS & ~_ANNOUNCED:
            return False
        begin, end = self.span
        ours = self.role is None or change.author == self.role
        return ours and begin <= change.at * 1000 < end and set(change.changed) <= set(self.columns)


def window_from(action: Mapping[str, Any], opened: Signed) -> Window:
    """The window that a signed action opens. KeyError, TypeError or ValueError where it opens none."""
    columns, role, times = action["columns"], action["role"], (action["from"], action["until"])
    texts = [*columns, action["table"], action["reason"], action["ticket"], *([] if role is None else [role])]
    if not columns or not all(isinstance(text, str) for text in texts) or not all(type(n) is int for n in (*times, action["table_id"])):
        raise ValueError
    return Window(action["table_id"], action["table"], tuple(columns), role, *times, action["reason"], action["ticket"], opened)
