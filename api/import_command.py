"""`careseal import`: files of FHIR resources, or plain rows, into a table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import Timer, print_json, progress, say
from api.language import _, reported
from api.options import JsonOption, PassphraseOption
from api.passphrase import passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.intake.report import Report, Told

MOST_SHOWN = 20


def import_command(
    file: Annotated[list[Path], typer.Argument(metavar="FILE...", help=_("Bundles (.json), NDJSON or CSV; each may be packed (.gz)."))],
    into: Annotated[str, typer.Option("--into", help=_("The database, as sqlite:///path or postgresql://user@host/name."))],
    home: Annotated[
        Path | None, typer.Option("--home", envvar="CARESEAL_HOME", help=_("The home to which a FHIR store is attached, if it is not yet."))
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help=_("The table; default for FHIR resources: fhir_resource."))] = None,
    row_map: Annotated[
        Path | None, typer.Option("--map", help=_("For plain rows: JSON file that maps columns of the file to columns of the table."))
    ] = None,
    accept_partial: Annotated[
        bool, typer.Option("--accept-partial", help=_("Load what can be loaded, even if something is rejected or conflicts."))
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_("Report what would happen, and load nothing."))] = False,
    report_file: Annotated[Path | None, typer.Option("--report", help=_("Where to write the report as JSON."))] = None,
    values: Annotated[bool, typer.Option("--values", help=_("Name files, resources and rows in the report."))] = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load FHIR resources, or rows by a map, into a table: all or nothing. Exit 0 in order, 1 rejections or conflicts."""
    from ledger.files import write_durably
    from ledger.home import Home
    from ledger.intake.load import STORE, import_files
    from ledger.intake.mapping import read_map

    if row_map is not None and table is None:
        raise LedgerError("name the --table that the rows go to")
    timer, mapped = Timer(), None if row_map is None else read_map(row_map)
    with ExitStack() as stack:
        opened = None
        if home is not None:
            secret = passphrase(passphrase_file)
            opened = stack.enter_context(Home.open(home, lambda: secret))
        rows = stack.enter_context(progress(not as_json))
        report = import_files(
            opened, into, table or STORE, file, mapped, int(time.time() * 1000),
            partial=accept_partial, dry_run=dry_run, progress=rows,
        )  # fmt: skip
    document = report_json(report, file, timer.seconds, dry_run=dry_run, values=values)
    if report_file is not None:
        try:
            write_durably(report_file, (json.dumps(document, indent=2) + "\n").encode())
        except OSError as error:
            raise LedgerError(f"cannot write the report {report_file}: {error.strerror}") from error
    if as_json:
        print_json(document)
    else:
        _print_report(report, file, timer.seconds, dry_run=dry_run, values=values)
    raise typer.Exit(0 if report.clean else 1)


def report_json(report: Report, files: Sequence[Path], seconds: float, *, dry_run: bool, values: bool) -> dict[str, object]:
    """The document of `import --json`. Only with `values` does it name files, resources and rows: patients' names are in all of them."""
    return {
        "loaded": report.loaded, "dry_run": dry_run, "table": report.table, "created": report.created, "attached": report.attached,
        "files": len(files), "accepted": report.accepted, "duplicates": report.duplicates, "conflicts": report.conflicts,
        "rejected": report.rejected, "dangling": report.dangling, "external": report.external, "types": dict(sorted(report.types.items())),
        "seconds": round(seconds, 3), "problems": [_problem_json(told, files, values) for told in report.told],
    }  # fmt: skip


def _problem_json(told: Told, files: Sequence[Path], values: bool) -> dict[str, object]:
    place = {"file": told.place.file, "line": told.place.line, "entry": told.place.entry}
    problem: dict[str, object] = {"kind": told.problem.value, **place, "type": told.type, "reason": told.reason}
    return problem | ({"path": str(files[told.place.file - 1]), "name": told.name} if values else {})


def _print_report(report: Report, files: Sequence[Path], seconds: float, *, dry_run: bool, values: bool) -> None:
    from ledger.intake.report import Problem

    words = {Problem.REJECTED: _("rejected"), Problem.CONFLICT: _("conflict"), Problem.DANGLING: _("dangling reference")}
    for told in report.told[:MOST_SHOWN]:
        file = str(files[told.place.file - 1]) if values else told.place.file
        where = [_("file {file}").format(file=file)]
        where += [_("line {line}").format(line=told.place.line)] if told.place.line is not None else []
        where += [_("entry {entry}").format(entry=told.place.entry)] if told.place.entry is not None else []
        name = (told.name if values else None) or told.type
        what = " ".join(filter(None, [name, reported(told.reason)]))
        say("{problem}: {where}: {what}", problem=words[told.problem], where=_(", ").join(where), what=what)
    if (more := len(report.told) - MOST_SHOWN) > 0:
        say("… and {n} more; --report FILE has them all", n=more)
    for kind, count in sorted(report.types.items()):
        say("  {kind}: {count}", kind=kind, count=count)
    say("{accepted} accepted, {duplicates} duplicates, {conflicts} conflicts, {rejected} rejected in {seconds:.2f} s",
        accepted=report.accepted, duplicates=report.duplicates, conflicts=report.conflicts, rejected=report.rejected,
        seconds=seconds)  # fmt: skip
    if report.dangling or report.external:
        say("{dangling} references lead nowhere, {external} to other servers", dangling=report.dangling, external=report.external)
    if report.attached:
        say("table {table} is attached: seal it with careseal seal", table=report.table)
    if report.loaded:
        say("loaded into table {table}", table=report.table)
    elif dry_run:
        say("dry run: nothing was loaded")
    else:
        say("nothing was loaded: mend the files, or load the rest with --accept-partial")
