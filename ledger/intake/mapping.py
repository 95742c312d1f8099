"""The map of an import of plain rows: which column of the file goes to which column of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import LedgerError, WireError
from ledger.intake.files import whole
from ledger.json_text import Json, parse

_FIELDS = {"columns", "empty", "delimiter"}


@dataclass(frozen=True, slots=True)
class RowMap:
    """`columns` maps each column of the file to one of the table, or to None where it is left out.

    `empty_is_null`: an empty field of a CSV file is NULL, else an empty text. `delimiter` parts the fields of a CSV file.
    """

    columns: Mapping[str, str | None]
    empty_is_null: bool = True
    delimiter: str = ","

    def check(self, table: str, columns: tuple[str, ...]) -> None:
        """Raise LedgerError unless every named column of the table is there, once."""
        named = [name for name in self.columns.values() if name is not None]
        for name in named:
            if name not in columns:
                raise LedgerError(f"the map names column {name}, which table {table} does not have")
        if len(set(named)) != len(named) or not named:
            raise LedgerError("the map must name one column of the table or more, each once")


def read_map(path: Path) -> RowMap:
    """The map in a JSON file. Raises LedgerError."""
    value = read_object(path)
    columns = value.get("columns")
    empty, delimiter = value.get("empty", "null"), value.get("delimiter", ",")
    if (
        not value.keys() <= _FIELDS
        or not isinstance(columns, dict)
        or not all(name is None or type(name) is str for name in columns.values())
        or empty not in ("null", "text")
        or delimiter not in (",", ";", "\t", "|")
    ):
        raise LedgerError(f'{path} is no map of an import: write {{"columns": {{"column of file": "column of table"}}}}')
    return RowMap({name: str(to) if to is not None else None for name, to in columns.items()}, empty == "null", str(delimiter))


def read_object(path: Path) -> dict[str, Json]:
    """The JSON object in a file of the operator's. Raises LedgerError."""
    try:
        value = parse(whole(path))
    except WireError as error:
        raise LedgerError(f"{path}: {error}") from error
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from error
    if not isinstance(value, dict):
        raise LedgerError(f"{path} holds no JSON object")
    return value
