"""Errors of a source that a caller tells apart."""

from __future__ import annotations

from ledger.errors import SourceError


class ColumnMissing(SourceError):
    """A column of the shape is no longer in the table; `column` names it."""

    def __init__(self, table: str, column: str) -> None:
        super().__init__(f"table {table} has no column {column} any more: attach it again, or restore the column")
        self.column = column


class OtherHome(SourceError):
    """Another home captures the table's changes, or this one does under another name."""

    def __init__(self, table: str) -> None:
        super().__init__(f"table {table} is attached already, to another Careseal home or under another name: detach it there first")
