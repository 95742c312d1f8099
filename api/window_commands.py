"""`careseal change-window`: batches of changes that two people announce beforehand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import print_json, say
from api.duration import moment
from api.findings_commands import ByOption, TicketOption
from api.findings_view import print_window, window_json
from api.language import _
from api.options import HomeOption, JsonOption, KeyPassphraseOption, PassphraseOption, ReasonOption
from api.passphrase import key_passphrase, passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.home import Home
    from ledger.windows import Window

WindowArgument = Annotated[str, typer.Argument(metavar="WINDOW", help=_("The window's id, as w2681."))]


def app() -> typer.Typer:
    """`careseal change-window open|confirm|close|list`."""
    made = typer.Typer(no_args_is_help=True, help=_("Announce batches of changes, so that what they do against the rules is one finding."))

    @made.command("open", help=_("Announce that a database user will change these columns between two times; a second person confirms it."))
    def open_command(
        home: HomeOption,
        table: Annotated[str, typer.Option("--table", help=_("The attached table."))],
        columns: Annotated[list[str], typer.Option("--columns", help=_("A column that may change; may be repeated."))],
        begin: Annotated[str, typer.Option("--from", help=_("When it begins, as 2026-11-23T22:00:00Z; not before it is opened."))],
        end: Annotated[str, typer.Option("--until", help=_("When it ends, the same way."))],
        reason: ReasonOption,
        ticket: TicketOption,
        by: ByOption,
        role: Annotated[str | None, typer.Option("--role", help=_("Database user of the batch; SQLite knows none."))] = None,
        key_passphrase_file: KeyPassphraseOption = None,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.announcing import open_window
        from ledger.answering import Why
        from ledger.home import Home
        from ledger.persons import open_key_file
        from ledger.tables import find_table

        span = moment("--from", begin), moment("--until", end)
        key, secret = open_key_file(by, key_passphrase(key_passphrase_file, by)), passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home:
            attached = find_table(opened_home, table)
            window = open_window(opened_home, key, attached, columns, role, span, Why(reason, ticket), _now_ms())
        if as_json:
            return print_json(window_json(window))
        return print_window(window)

    @made.command("confirm", help=_("Confirm a change window as the second person; it is in force from now on at the earliest."))
    def confirm(
        home: HomeOption, named: WindowArgument, reason: ReasonOption, ticket: TicketOption, by: ByOption,
        key_passphrase_file: KeyPassphraseOption = None, passphrase_file: PassphraseOption = None, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        _change("confirm", home, named, (reason, ticket), (by, key_passphrase_file), passphrase_file, as_json=as_json)

    @made.command("close", help=_("End a change window now; one person is enough."))
    def close(
        home: HomeOption, named: WindowArgument, reason: ReasonOption, ticket: TicketOption, by: ByOption,
        key_passphrase_file: KeyPassphraseOption = None, passphrase_file: PassphraseOption = None, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        _change("close", home, named, (reason, ticket), (by, key_passphrase_file), passphrase_file, as_json=as_json)

    @made.command("list", help=_("List change windows."))
    def listed(home: HomeOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
        from ledger.home import Home
        from ledger.resolutions import read_resolutions

        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home:
            found = list(read_resolutions(opened_home).windows.values())
        if as_json:
            return print_json({"windows": [window_json(window) for window in found]})
        for window in found:
            print_window(window)
        if not found:
            say("no change window was announced")
        return None

    return made


def _change(
    do: str, path: Path, named: str, why: tuple[str, str], by: tuple[Path, Path | None], passphrase_file: Path | None, *, as_json: bool
) -> None:
    from ledger.announcing import close_window, confirm_window
    from ledger.answering import Why
    from ledger.home import Home
    from ledger.persons import open_key_file

    key, secret = open_key_file(by[0], key_passphrase(by[1], by[0])), passphrase(passphrase_file)
    with Home.open(path, lambda: secret) as home:
        action = {"confirm": confirm_window, "close": close_window}[do]
        window = action(home, key, _window(home, named), Why(*why), _now_ms())
    if as_json:
        return print_json(window_json(window))
    return print_window(window)


def _window(home: Home, named: str) -> Window:
    from ledger.resolutions import read_resolutions

    windows = {window.id: window for window in read_resolutions(home).windows.values()}
    if named not in windows:
        raise LedgerError(f"no change window {named}; there are: {', '.join(windows) or 'none'}")
    return windows[named]


def _now_ms() -> int:
    return int(time.time() * 1000)
