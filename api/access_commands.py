"""`careseal audit-access`: what a home gives outside auditors, and until when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import iso, print_json, say
from api.duration import end_of_day
from api.language import _
from api.options import HomeOption, JsonOption, PassphraseOption, ReasonOption
from api.passphrase import passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.access import Grant
    from ledger.home import Home
    from ledger.persons import Person

NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help=_("The grant's number."))]
FileOption = Annotated[Path, typer.Option("--output", "-o", help=_("The file to write; only the auditor's key opens it."))]


def app() -> typer.Typer:
    """`careseal audit-access grant|issue|list|revoke`."""
    made = typer.Typer(
        no_args_is_help=True, help=_("What outside auditors need to check records by themselves: granted, until a day, and journalled.")
    )

    @made.command("grant", help=_("Let a registered auditor check tables until a day, and write the secrets for that to a file."))
    def grant(
        home: HomeOption,
        to: Annotated[str, typer.Option("--to", metavar="KEY", help=_("The auditor: public file, key file, number or name."))],
        until: Annotated[str, typer.Option("--until", help=_("The last day, as YYYY-MM-DD."))],
        output: FileOption,
        tables: Annotated[
            list[str] | None, typer.Option("--tables", metavar="A,B", help=_("Tables, joined by commas; may be repeated. Default: all."))
        ] = None,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.access import grant_access
        from ledger.home import Home
        from ledger.tables import attached_tables

        end, secret, now = end_of_day(until), passphrase(passphrase_file, home), int(time.time() * 1000)
        _check_new(output)
        with Home.open(home, lambda: secret) as opened:
            names = [name for part in tables or [] for name in part.split(",")] or [table.name for table in attached_tables(opened)]
            number = grant_access(opened, _auditor(opened, to), names, end, now)
            _issue(opened, number, output, now, as_json)

    @made.command("issue", help=_("Write the secrets of a grant anew, with those of records sealed since."))
    def issue(
        home: HomeOption, number: NumberArgument, output: FileOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False
    ) -> None:
        from ledger.home import Home

        secret = passphrase(passphrase_file, home)
        _check_new(output)
        with Home.open(home, lambda: secret) as opened:
            _issue(opened, number, output, int(time.time() * 1000), as_json)

    @made.command("list", help=_("List every grant, whose it is, and what was given."))
    def listed(home: HomeOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
        from ledger.access import grants
        from ledger.home import Home
        from ledger.tables import attached_tables

        secret = passphrase(passphrase_file, home)
        with Home.open(home, lambda: secret) as opened:
            found = grants(opened)
            names = {table.id: table.name for table in attached_tables(opened, detached=True)}
        if as_json:
            return print_json({"grants": [_json(one, names) for one in found]})
        for one in found:
            _say(one, ", ".join(names[table] for table in one.tables))
        if not found:
            say("no audit access was granted")
        return None

    @made.command("revoke", help=_("Revoke a grant: nothing more is given. What the auditor has read already stays known to the auditor."))
    def revoke(
        home: HomeOption,
        number: NumberArgument,
        reason: ReasonOption,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.access import revoke_access
        from ledger.home import Home

        secret = passphrase(passphrase_file, home)
        with Home.open(home, lambda: secret) as opened:
            grant = revoke_access(opened, number, reason, int(time.time() * 1000))
        if as_json:
            return print_json({"number": number, "name": grant.person.name, "revoked": True})
        say("audit access {number}, of {name}, is revoked", number=number, name=grant.person.name)
        return None

    return made


def _check_new(path: Path) -> None:
    if path.exists():
        raise LedgerError(f"{path} exists already: choose another name")


def _auditor(home: Home, who: str) -> Person:
    """The registered person of a key's file, a number or a name."""
    from ledger.persons import find_person, persons, read_public

    among, file = persons(home), Path(who)
    if not file.is_file():
        return find_person(among, who)
    signing = read_public(file).signing
    found = next((person for person in among if person.signing == signing), None)
    if found is None:
        raise LedgerError(f"the key {who} is not registered here: careseal person add {who} --role auditor")
    return found


def _issue(home: Home, number: int, output: Path, now: int, as_json: bool) -> None:
    from ledger.access import issue_access

    grant, size = issue_access(home, number, output, now)
    values = {"number": number, "name": grant.person.name, "size": size, "file": str(output), "until": iso(grant.until / 1000)}
    if as_json:
        return print_json(values)
    say("audit access {number}, of {name}, until {until}: {file}, of {size} entries", **values)
    say("give the file to the auditor, with an account that may only read the databases and a copy of ledger.db")
    return None


def _json(grant: Grant, names: dict[int, str]) -> dict[str, object]:
    issues = [{"entry": issue.entry, "size": issue.size, "sha256": issue.digest.hex()} for issue in grant.issues]
    return {
        "number": grant.number, "entry": grant.entry, "name": grant.person.name, "person": grant.person.id,
        "tables": [names[table] for table in grant.tables], "granted": iso(grant.time / 1000), "until": iso(grant.until / 1000),
        "revoked": grant.revoked, "issues": issues,
    }  # fmt: skip


def _say(grant: Grant, tables: str) -> None:
    values = {"number": grant.number, "name": grant.person.name, "tables": tables, "until": iso(grant.until / 1000)}
    if grant.revoked is None:
        say("{number}  {name}: {tables}, until {until}", **values)
    else:
        say("{number}  {name}: {tables}, revoked in journal entry {entry}", **values, entry=grant.revoked)
    for issue in grant.issues:
        say("    given: secrets of {size} entries, journal entry {entry}", size=issue.size, entry=issue.entry)
