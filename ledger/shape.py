"""What Careseal knows of an attached table: its columns as committed, its key, and the operator's options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

KeyKind = Literal["int", "text", "any"]
LOST_CHANGES = "changes could not be captured"  # ends the fault that no mending undoes
Capture = Literal["triggers", "scan"]
Cell = str | bool | None  # a value to import; a number is the text that it was
# Of these ids of changes, those that are in the journal already.
Consumed = Callable[[Sequence[bytes]], Set[bytes]]


@dataclass(frozen=True, slots=True)
class Column:
    """A committed column. `type` is the engine's declared type without width, charset or collation."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as committed: key columns first (`key_kinds` tells how each sorts), then the others in table order.

    `table` is the name the operator gave, `encoding` names the row encoding of `docs/spec.md`.
    """

    table: str
    encoding: str
    columns: tuple[Column, ...]
    key_kinds: tuple[KeyKind, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns[: len(self.key_kinds)])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Change:
    """One captured change, in the order in which the database made it.

    `op` is I (insert), U (update), D (delete), R (possibly replaced by INSERT/UPDATE OR REPLACE) or T (truncate).
    Keys are sort keys, rows canonical row bytes. `row` is the present row, given only on the last
    change of its key (and the last but R).
    `author` is None where the engine knows no users. `closed`: the old row satisfied the table's --final predicate.
    `changed` names the columns an update changed. `at` is the database's clock, seconds since 1970 UTC.
    """

    uid: bytes
    op: str
    author: str | None
    at: float
    old_key: bytes | None
    new_key: bytes | None
    old_row: bytes | None
    row: bytes | None
    subject: str | None
    old_subject: str | None
    closed: bool
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """A run of rows in key order: sort keys, canonical row bytes, and subject labels where they were asked for."""

    keys: list[bytes]
    rows: list[bytes]
    subjects: list[str | None] | None


class Snapshot(Protocol):
    """One consistent read of the hospital's database; nothing in it changes while it is open. `place` names the database in errors."""

    place: str

    def describe(self, table: str, key: Sequence[str] | None) -> Shape: ...

    def rows(self, shape: Shape, *, subject: str | None = None, low: bytes | None = None, high: bytes | None = None) -> Iterator[Rows]: ...

    def seeks(self, shape: Shape, low: bytes) -> bool: ...

    def changes(self, shape: Shape, *, subject: str | None, final: str | None) -> Iterator[list[Change]]: ...

    def touched(self, shape: Shape, consumed: Consumed | None = None) -> Iterator[bytes]: ...

    def truncated(self, shape: Shape, consumed: Consumed | None = None) -> bool: ...

    def pending_count(self, shape: Shape) -> int: ...

    def capture_faults(self, shape: Shape) -> list[str]: ...

    def check_options(self, shape: Shape, *, subject: str | None, final: str | None) -> None: ...


class Loading(Protocol):
    """One write transaction on a hospital's database: what is inserted is seen by all that follows, and kept or dropped as a whole."""

    def columns(self, table: str) -> tuple[str, ...]: ...

    def primary_key(self, table: str) -> tuple[str, ...]: ...

    def create(self, table: str, columns: Mapping[str, bool], key: Sequence[str]) -> bool: ...

    def lookup(self, table: str, key: Mapping[str, str], column: str) -> str | None: ...

    def walk(self, table: str, key: Mapping[str, str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]: ...

    def same(self, table: str, key: Sequence[str], row: Mapping[str, Cell]) -> bool | None: ...

    def insert(self, table: str, row: Mapping[str, Cell]) -> None: ...

    def update(self, table: str, key: Mapping[str, str], column: str, value: str) -> None: ...


class Source(Protocol):
    """A hospital's database, of one engine."""

    url: str
    knows_authors: bool

    def snapshot(self, token: str | None = None) -> AbstractContextManager[Snapshot]: ...

    def freeze(self) -> AbstractContextManager[str | None]: ...

    def install_capture(self, shape: Shape, home: str = "") -> None: ...

    def remove_capture(self, shape: Shape, last: Callable[[], None] | None = None) -> None: ...

    def consume(self, shape: Shape, uids: Sequence[bytes]) -> None: ...

    def loading(self, keep: Callable[[], bool]) -> AbstractContextManager[Loading]: ...

    def remarks(self) -> list[str]: ...

    def close(self) -> None: ...
