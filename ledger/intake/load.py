"""An import as a whole: one transaction, kept if nothing speaks against it, and the FHIR store attached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ledger.attach import attach
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.intake.bundles import BY_LINE, plain_suffix
from ledger.intake.mapping import RowMap
from ledger.intake.report import Report
from ledger.intake.rows import CSV, load_rows
from ledger.intake.store import BODY, PATIENT, load_resources
from ledger.sources import open_source
from ledger.tables import Attached, Options, attached_tables

STORE = "fhir_resource"
_OPTIONS = Options(subject=PATIENT, copies=True, json_columns=(BODY,))
Progress = Callable[[str, int], None]


def import_files(
    home: Home | None, url: str, table: str, files: Sequence[Path], mapped: RowMap | None, now: int,
    *, partial: bool, dry_run: bool, progress: Progress,
) -> Report:  # fmt: skip
    """Load files of FHIR resources into a store, or with a map rows into a table; everything or, on any rejection or conflict, nothing.

    `partial` loads what can be loaded all the same. `dry_run` does all but keep it. A store that the home has not attached yet is
    attached, `now` in milliseconds since 1970 UTC. LedgerError, SourceError or OSError where it cannot be done at all.
    """
    kinds = (*BY_LINE, ".json") if mapped is None else (*BY_LINE, *CSV)
    for path in files:
        if plain_suffix(path) not in kinds:
            raise LedgerError(f"{path}: resources come as .json, .ndjson or .jsonl, rows (with --map) as .csv, .tsv, .ndjson or .jsonl")
        if not path.is_file():
            raise LedgerError(f"{path} is no file: check its name")
    report: Report | None = None

    def keep() -> bool:
        return report is not None and not dry_run and (report.clean or partial)

    with closing(open_source(url)) as source:
        known = _attached(home, source.url, table, new=mapped is None)
        with source.loading(keep) as loading:
            if mapped is None:
                report = load_resources(loading, table, files, progress)
            else:
                report = load_rows(loading, table, known.shape.key if known else (), files, mapped, progress)
        report.loaded = keep()
        report.created = report.created and report.loaded
        if report.loaded and home is not None and mapped is None and known is None:
            attach(home, source.url, [table], (), _OPTIONS, now)
            report.attached = True
    return report


def _attached(home: Home | None, url: str, table: str, *, new: bool) -> Attached | None:
    """The table, where the home has attached it. With `new`, LedgerError where it has another one of this name."""
    tables = [] if home is None else attached_tables(home)
    known = next((known for known in tables if (known.source, known.shape.table) == (url, table)), None)
    if new and known is None and any(other.name.casefold() == table.casefold() for other in tables):
        raise LedgerError(f"a table {table} of another database is attached to this home: choose another one with --table")
    return known
