"""`careseal retention`: how long records are kept before their subject may be erased."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from api.console import print_json, say
from api.language import _
from api.options import HomeOption, JsonOption, PassphraseOption
from api.passphrase import passphrase


def app() -> typer.Typer:
    """`careseal retention set|list`."""
    made = typer.Typer(no_args_is_help=True, help=_("How long records are kept before their subject may be erased."))

    @made.command("set", help=_("Declare a table's term of keeping; it is journalled, and a later one takes its place."))
    def set_command(
        home: HomeOption,
        table: Annotated[str, typer.Option("--table", help=_("The table."))],
        kind: Annotated[str, typer.Option("--class", help=_("outpatient (15 years), inpatient (30 years), or a number of years."))],
        since: Annotated[str, typer.Option("--since", help=_("Column with the time that counts, of a subject's latest record."))],
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.home import Home
        from ledger.retention import set_term

        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened:
            term = set_term(opened, table, kind, since, int(time.time() * 1000))
        if as_json:
            return print_json({"table": table, "class": term.kind, "years": term.years, "since": term.since, "entry": term.entry})
        say("{table}: kept for {years} years from a subject's latest {since}", table=table, years=term.years, since=term.since)
        return None

    @made.command("list", help=_("List the tables with their terms of keeping."))
    def list_command(home: HomeOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
        from ledger.home import Home
        from ledger.retention import terms
        from ledger.tables import attached_tables

        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened:
            declared = terms(opened)
            found = [(table.name, declared.get(table.id)) for table in attached_tables(opened)]
        if as_json:
            return print_json({"terms": [
                {"table": name, "class": t and t.kind, "years": t and t.years, "since": t and t.since, "entry": t and t.entry}
                for name, t in found
            ]})  # fmt: skip
        for name, term in found:
            if term is None:
                say("{table}: no term declared", table=name)
            else:
                say("{table}: kept for {years} years from a subject's latest {since}", table=name, years=term.years, since=term.since)
        return None

    return made
