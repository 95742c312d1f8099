"""Plain rows, of CSV or NDJSON files, into a table that is there already."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import LedgerError, Rejected, WireError
from ledger.intake.bundles import BY_LINE, Place, Refused, plain_suffix
from ledger.intake.files import MAX_LINE, lines
from ledger.intake.mapping import RowMap
from ledger.intake.report import Report
from ledger.json_text import Json, Number, Scanner
from ledger.shape import Cell, Loading

CSV = (".csv", ".tsv")
Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row by the table's columns; numbers are the text that they were."""

    place: Place
    values: Mapping[str, Cell]


def load_rows(loading: Loading, table: str, key: Sequence[str], files: Sequence[Path], mapped: RowMap, progress: Progress) -> Report:
    """Put the rows of all files into `table`, whose rows `key` identifies; the database checks types and constraints.

    All happens in the transaction of `loading`; whoever began it decides by the report whether to keep it. Memory: one row.
    Raises LedgerError where map and table do not fit, SourceError; OSError where a file cannot be read.
    """
    report, key = Report(table), tuple(key) or loading.primary_key(table)
    mapped.check(table, loading.columns(table))
    if not key or not set(key) <= set(mapped.columns.values()):
        raise LedgerError(f"the map must give the key of table {table}, by which rows that are there already are known")
    for number, path in enumerate(files, 1):
        for row in _rows(path, number, mapped):
            progress(table, 1)
            if isinstance(row, Refused):
                report.reject(row.place, row.reason)
                continue
            name = ", ".join(str(row.values[column]) for column in key)
            try:
                if any(row.values[column] is None for column in key):
                    raise Rejected("the row has no key")
                same = loading.same(table, key, row.values)
                if same is None:
                    loading.insert(table, row.values)
                    report.accepted += 1
                elif same:
                    report.duplicates += 1
                else:
                    report.conflict(row.place, "a row of this key is there with other values", None, name)
            except Rejected as error:
                report.reject(row.place, str(error), None, name)
    return report


def _rows(path: Path, number: int, mapped: RowMap) -> Iterator[Row | Refused]:
    try:
        yield from _by_line(path, number, mapped) if plain_suffix(path) in BY_LINE else _by_comma(path, number, mapped)
    except Rejected as error:
        yield Refused(Place(number), str(error))


def _by_line(path: Path, number: int, mapped: RowMap) -> Iterator[Row | Refused]:
    for line, data in lines(path):
        place = Place(number, line)
        if not data.strip():
            continue
        try:
            text = data.decode("utf-8")
            values: dict[str, Cell] = dict.fromkeys([name for name in mapped.columns.values() if name is not None])
            for name, value, source in _members(text):
                if name not in mapped.columns:
                    raise Rejected("the row has a member that the map does not name")
                to = mapped.columns[name]
                if to is not None:
                    values[to] = _cell(value, source)
            yield Row(place, values)
        except UnicodeDecodeError:
            yield Refused(place, str(Rejected("the line is not UTF-8")))
        except (WireError, Rejected) as error:
            yield Refused(place, str(error))


def _members(text: str) -> Iterator[tuple[str, Json, str]]:
    scanner = Scanner(text)
    for name in scanner.members():
        value = scanner.value()
        yield name, value, text[scanner.start : scanner.position]
    scanner.end()


def _cell(value: Json, source: str) -> Cell:
    """Objects and arrays are kept as they were written."""
    if isinstance(value, Number):
        return str(value)
    made = source if isinstance(value, list | dict) else value
    if isinstance(made, str) and not made.isascii() and not _is_text(made):
        raise Rejected("a text holds half of a surrogate pair")
    return made


def _by_comma(path: Path, number: int, mapped: RowMap) -> Iterator[Row | Refused]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(_texts(path), delimiter="\t" if plain_suffix(path) == ".tsv" else mapped.delimiter, strict=True)
    header = None
    while True:
        place = Place(number, reader.line_num + 1)
        try:
            fields = next(reader, None)
        except csv.Error:
            yield Refused(place, str(Rejected("quotes or line ends are wrong here: the rest of the file was not read")))
            return
        if fields is None:
            break
        if not fields:
            continue
        if header is None:
            header = _header(fields, mapped)
        elif len(fields) != len(header):
            yield Refused(place, str(Rejected(f"the row has {len(fields)} fields and the header {len(header)}")))
        elif not all(map(_is_text, fields)):
            yield Refused(place, str(Rejected("the line is not UTF-8")))
        else:
            pairs = zip(header, fields, strict=True)
            yield Row(place, {name: _field(value, mapped) for name, value in pairs if name is not None})
    if header is None:
        raise Rejected("the file is empty: its first line names the columns")


def _texts(path: Path) -> Iterator[str]:
    for _, line in lines(path):
        yield line.decode("utf-8", "surrogateescape")


def _header(fields: Sequence[str], mapped: RowMap) -> list[str | None]:
    if len(set(fields)) != len(fields):
        raise Rejected("the header names a column twice")
    # Names of a header that is none could be a patient's.
    unknown = [place for place, name in enumerate(fields, 1) if name not in mapped.columns]
    if unknown:
        raise Rejected(f"the map does not name column {unknown[0]} of the file: map it, or to null to leave it out")
    missing = mapped.columns.keys() - set(fields)
    if missing:
        raise Rejected(f"the header lacks the column {min(missing)} that the map names")
    return [mapped.columns[name] for name in fields]


def _field(value: str, mapped: RowMap) -> Cell:
    return None if not value and mapped.empty_is_null else value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
