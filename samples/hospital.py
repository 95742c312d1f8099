"""Builds a hospital's own database out of the sample data: `careseal sample-hospital FILE.db --site N`."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from careseal import CaresealError
from samples import bundles, chart, people
from samples.charges import charge_rows
from samples.documents import document_rows, documents_of
from samples.laboratory import range_rows, result_rows, results_of
from samples.pharmacy import dispensing_rows, fills_of, order_rows, prescriptions_of
from samples.quality import quality_rows
from samples.row import Row, Value, json_text
from samples.schema import TABLES, sqlite_ddl
from samples.site import site_of

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called after each table with its name, the rows written so far and the rows in all."""


class SampleError(CaresealError):
    """The sample hospital could not be built; nothing was left behind."""


def rows_of(site: int) -> dict[str, list[Row]]:
    """Every table's rows for a site, in the order of `schema.TABLES`; the same for the same site, always.

    Raises SampleError if `site` is not a positive number.
    """
    if site < 1:
        raise SampleError("A site is a positive number: use --site 1, --site 2 and so on.")
    hospital = site_of(bundles.load(), site)
    staff, practitioners = people.staff_rows(hospital)
    signatures = people.signatures_of(hospital, staff)
    results = results_of(hospital)
    prescriptions = prescriptions_of(hospital)
    fills = fills_of(prescriptions)
    documents = documents_of(hospital, results, prescriptions)
    rows = {
        "department": people.department_rows(),
        "practitioner": practitioners,
        "signature": people.signature_rows(hospital, staff, signatures),
        "patient": people.patient_rows(hospital),
        "visit": chart.visit_rows(hospital, staff),
        "appointment": chart.appointment_rows(hospital),
        "bed_day": chart.bed_day_rows(hospital, staff),
        "diagnosis": chart.diagnosis_rows(hospital, staff),
        "procedure_record": chart.procedure_rows(hospital, staff),
        "reference_range": range_rows(),
        "lab_result": result_rows(results, staff),
        "drug_order": order_rows(prescriptions, staff),
        "dispensing": dispensing_rows(fills, staff),
        "charge": charge_rows(hospital, results, fills),
        "document": document_rows(documents, staff, signatures),
        "quality_event": quality_rows(hospital, results, documents, staff),
    }
    return {table: rows[table] for table in TABLES}


def build(target: str | Path | sqlite3.Connection, site: int, *, progress: Progress | None = None) -> dict[str, int]:
    """Create the database of hospital `site` and return the number of rows per table.

    A path becomes a new SQLite file: complete, or not there at all; the same site gives the same bytes (of one SQLite version).
    A connection gets the tables in one transaction.

    Raises SampleError if the file or one of the tables exists, or if the file cannot be written.
    """
    if isinstance(target, sqlite3.Connection):
        return _fill(target, rows_of(site), progress)
    path = Path(target)
    with _new_file(path) as partial, closing(sqlite3.connect(partial)) as connection:
        return _fill(connection, rows_of(site), progress)


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its name, never another file's place, once the block has succeeded."""
    if os.path.lexists(path):
        raise SampleError(f"{path} exists and is never overwritten: choose another file name or remove it first.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise SampleError(f"Cannot write in {path.parent}: {error.strerror}. Choose a directory you may write in.") from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        os.link(partial, path)  # unlike a rename, this fails where the name was taken meanwhile
    except FileExistsError as error:
        raise SampleError(f"{path} appeared meanwhile and was left as it is: choose another file name.") from error
    except OSError as error:
        raise SampleError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
        for rest in ("-journal", "-wal", "-shm"):
            Path(f"{partial}{rest}").unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, rows: dict[str, list[Row]], progress: Progress | None) -> dict[str, int]:
    total, done = sum(map(len, rows.values())), 0
    try:
        connection.executescript(f"BEGIN;\n{sqlite_ddl()}")
        for table, table_rows in rows.items():
            columns = list(table_rows[0])
            marks = ", ".join(f":{column}" for column in columns)
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names from this package
            connection.executemany(insert, [{c: _sqlite_value(row[c]) for c in columns} for row in table_rows])
            done += len(table_rows)
            if progress:
                progress(table, done, total)
        connection.commit()
    except sqlite3.Error as error:
        connection.rollback()
        raise SampleError(f"The tables could not be written: {error}. Choose an empty database on a disk with room.") from error
    except BaseException:
        connection.rollback()
        raise
    return {table: len(table_rows) for table, table_rows in rows.items()}


def _sqlite_value(value: Value) -> bool | int | str | bytes | None:
    match value:
        case Decimal() | UUID():
            return str(value)
        case date() | datetime():
            return value.isoformat()
        case dict() | list():
            return json_text(value)
    return value
