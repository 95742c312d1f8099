"""What an audit finds, and since when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from ledger.wire import Flag


class FindingKind(StrEnum):
    """Every kind of finding, in order: a row gets the first that applies."""

    ALTERED = "altered"
    DELETED = "deleted"
    INSERTED = "inserted"
    UNAUTHORISED = "unauthorised"
    AMENDED_FINAL = "amended_final"
    BACK_DATED = "back_dated"
    CAPTURE_DISABLED = "capture_disabled"
    SCHEMA_CHANGED = "schema_changed"
    JOURNAL_ALTERED = "journal_altered"
    ROLLED_BACK = "rolled_back"
    FORKED = "forked"
    SECRET_MISSING = "secret_missing"  # noqa: S105 - the name of a finding
    ERASED_PRESENT = "erased_present"
    UNANCHORED = "unanchored"


JOURNAL_KINDS = frozenset({FindingKind.JOURNAL_ALTERED, FindingKind.ROLLED_BACK, FindingKind.FORKED})
WARNINGS = frozenset({FindingKind.UNANCHORED})

ORDER = {kind: place for place, kind in enumerate(FindingKind)}

_OF_FLAG = (
    (Flag.ALTERED_BEFORE, FindingKind.ALTERED),
    (Flag.DELETION, FindingKind.DELETED),
    (Flag.INSERTED_BEFORE, FindingKind.INSERTED),
    (Flag.UNAUTHORISED, FindingKind.UNAUTHORISED),
    (Flag.FINAL, FindingKind.AMENDED_FINAL),
    (Flag.BACK_DATED, FindingKind.BACK_DATED),
    (Flag.TIME_UNREADABLE, FindingKind.BACK_DATED),
    (Flag.UNCOMPARED, FindingKind.SECRET_MISSING),
)


def kind_of(flags: Flag) -> FindingKind:
    """The first finding that applies to an entry with these violations."""
    return next(kind for flag, kind in _OF_FLAG if flags & flag)


@dataclass(frozen=True, slots=True)
class IntactAt:
    """The last time the row is known to have been intact, and the anchored checkpoint that proves it.

    `time` is seconds since 1970 UTC: of the clean audit that covered the row, else of the block that anchored its sealing.
    """

    generation: int
    size: int
    root: bytes
    block: int
    time: float


@dataclass(frozen=True, slots=True)
class Spot:
    """A finding as the passes see it: `key` is a sort key, `entry` the journal entry it is judged by.

    `marked`: that entry itself was marked when its change was sealed.
    """

    kind: FindingKind
    table: int | None
    key: bytes | None = None
    columns: tuple[str, ...] = ()
    entry: int | None = None
    author: str | None = None
    detail: str = ""
    marked: bool = False
    id: bytes | None = None  # of this fault, by ledger.identity; None where it is of no kind that people can answer
    window: int | None = None  # the change window that announced the change


def fault_of(spot: Spot) -> bytes | int | None:
    """What an answer names: the spot's id, or the number of a marked entry; None where nobody can answer it."""
    return spot.entry if spot.marked else spot.id


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as it is reported. `before` and `after` hold the named columns where values were asked for and a copy exists."""

    kind: FindingKind
    table: str | None
    key: dict[str, str | int | float | None] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    version: int | None = None
    author: str | None = None
    intact_at: IntactAt | None = None
    detail: str = ""
    before: dict[str, str | None] | None = None
    after: dict[str, str | None] | None = None
    faults: tuple[bytes | int, ...] = ()  # what it consists of: ids, or indices of marked entries; empty where nobody can answer it
    id: bytes | None = None
    window: int | None = None

    def without_intact_at(self) -> Finding:
        """The same finding with nothing said about when the row was intact."""
        return replace(self, intact_at=None)
