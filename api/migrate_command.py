"""`careseal migrate-check`: whether a table that moved still holds what it held."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import console
from api.console import Timer, print_json, progress, say
from api.language import _, reported
from api.options import HomeOption, JsonOption, PassphraseOption
from api.passphrase import passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.migration.check import Checked
    from ledger.migration.compare import Difference

MOST_SHOWN = 100


def migrate_check_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_("The attached table that the data was in."))],
    new: Annotated[str, typer.Argument(metavar="NEW", help=_("The table that it moved to, attached or in the database of --into."))],
    home: HomeOption,
    column_map: Annotated[
        Path | None, typer.Option("--map", help=_("JSON file: what columns became, and rules for their values. Default: all the same."))
    ] = None,
    into: Annotated[str | None, typer.Option("--into", help=_("The database of NEW, where it is not attached."))] = None,
    new_home: Annotated[Path | None, typer.Option("--new-home", help=_("The home to which NEW is attached, where it is another."))] = None,
    new_passphrase_file: Annotated[
        Path | None, typer.Option("--new-passphrase-file", help=_("File with the passphrase of the new home, where it is another."))
    ] = None,
    values: Annotated[bool, typer.Option("--values", help=_("Show values that differ, before and after."))] = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove, value by value, that a moved table is unchanged, and journal it. Exit 0 unchanged, 1 differences, 2 could not compare."""
    from anchoring.verify import verify
    from api.commands import linked
    from ledger.audit import Scope
    from ledger.home import Home
    from ledger.migration.check import Doubt, check_migration, new_table
    from ledger.migration.pairing import read_column_map
    from ledger.tables import find_table

    if new_home is not None and new_home.resolve() == home.resolve():
        raise LedgerError("--new-home is the same as --home: leave it out")
    timer, mapped, secret = Timer(), read_column_map(column_map), passphrase(passphrase_file)
    with ExitStack() as stack:
        opened = stack.enter_context(Home.open(home, lambda: secret))
        other = None
        if new_home is not None:
            other_secret = secret if new_passphrase_file is None else passphrase(new_passphrase_file)
            other = stack.enter_context(Home.open(new_home, lambda: other_secret))
        table, moved = find_table(opened, old), new_table(opened, other, new, into)
        rows = stack.enter_context(progress(not as_json))
        link = stack.enter_context(linked(opened, secret))
        clean = verify(opened, link, Scope([table]), time.time(), progress=rows).audit.ok
        doubts = [] if clean else [Doubt(f"the audit of table {old} has findings: careseal verify tells which")]
        checked = check_migration(
            opened, table, moved, mapped, int(time.time() * 1000), doubts=doubts, values=values, progress=rows
        )
    if as_json:
        print_json(migration_json(checked, old, new, timer.seconds))
    else:
        _print(checked, old, new, timer.seconds)
    raise typer.Exit(0 if checked.proven else 1)


def migration_json(checked: Checked, old: str, new: str, seconds: float) -> dict[str, object]:
    """The document of `migrate-check --json`."""
    made = checked.comparison
    return {
        "proven": checked.proven, "equal": made.equal, "doubts": [doubt.reason for doubt in checked.doubts],
        "old": old, "new": new, "old_rows": made.old_rows, "new_rows": made.new_rows,
        "counts": {change.value: count for change, count in made.counts.items()}, "changed_columns": made.columns,
        "dropped": list(checked.pairing.dropped), "added": list(checked.pairing.added),
        "differences_sha256": made.digest.hex(), "entry": checked.entry, "new_entry": checked.new_entry, "seconds": round(seconds, 3),
        "differences": [_difference_json(difference) for difference in made.differences],
    }  # fmt: skip


def _difference_json(difference: Difference) -> dict[str, object]:
    shown: dict[str, object] = {"change": difference.change.value, "key": difference.key, "columns": list(difference.columns)}
    if difference.before is not None or difference.after is not None:
        shown |= {"before": difference.before, "after": difference.after}
    return shown


def _print(checked: Checked, old: str, new: str, seconds: float) -> None:
    from ledger.migration.compare import Change

    words = {Change.CHANGED: _("changed"), Change.MISSING: _("missing"), Change.ADDED: _("added"), Change.REPEATED: _("repeated")}
    made = checked.comparison
    for difference in made.differences[:MOST_SHOWN]:
        key = ", ".join(f"{name}={value}" for name, value in difference.key.items())
        line = f"{words[difference.change]}  {old} [{key}]"
        if difference.columns:
            line += "  " + _("columns: {names}").format(names=", ".join(difference.columns))
        console.out.print(line, markup=False, style="bold red")
        for name in difference.columns:
            if difference.before is not None or difference.after is not None:
                say("    {name}: before: {before}  after: {after}", name=name, before=_value(difference.before, name),
                    after=_value(difference.after, name))  # fmt: skip
    if (more := sum(made.counts.values()) - len(made.differences[:MOST_SHOWN])) > 0:
        say("… and {n} more differences", n=more)
    say("{old_rows} rows of {old} and {new_rows} of {new} compared in {seconds:.2f} s", old_rows=made.old_rows, old=old,
        new_rows=made.new_rows, new=new, seconds=seconds)  # fmt: skip
    if checked.pairing.dropped or checked.pairing.added:
        say("not compared: {names}", names=", ".join([*checked.pairing.dropped, *checked.pairing.added]))
    for doubt in checked.doubts:
        say("not proven: {reason}", reason=reported(doubt.reason))
    if not made.equal:
        say("DIFFERENT: {changed} changed, {missing} missing, {added} added, {repeated} repeated",
            **{change.value: count for change, count in made.counts.items()})  # fmt: skip
    elif checked.proven:
        say("UNCHANGED: every value is what it was when it was sealed")
    else:
        say("the tables are equal, and that proves nothing about what was sealed")
    say("journalled as entry {entry}: seal anchors it", entry=checked.entry)


def _value(row: dict[str, str | None] | None, name: str) -> str:
    value = None if row is None else row.get(name)
    return "NULL" if value is None else value
