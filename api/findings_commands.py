"""`careseal findings`: what is open, what was proposed and resolved, and the answers of two people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import Rows, finding_json, print_finding, print_json, progress, say
from api.findings_view import (
    answer_json,
    findings_json,
    group_json,
    print_answer,
    print_findings,
    print_invalid,
    print_resolved,
    shown_id,
)
from api.language import _
from api.options import HomeOption, JsonOption, KeyPassphraseOption, PassphraseOption, ReasonOption
from api.passphrase import key_passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from anchoring.link import Link
    from ledger.audit import AuditResult
    from ledger.findings import Finding
    from ledger.groups import Group
    from ledger.home import Home
    from ledger.resolutions import Resolutions

ByOption = Annotated[Path, typer.Option("--by", help=_("Key file of the person who says so."))]
TicketOption = Annotated[str, typer.Option("--ticket", help=_("Under which ticket it was looked into."))]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help=_("The id of a finding or of a group, or its first digits."))]
TableOption = Annotated[list[str] | None, typer.Option("--table", help=_("Audit this table only; may be repeated."))]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, max=64, help=_("How many processes share the work."))]


def app() -> typer.Typer:
    """`careseal findings list|show|accept|dismiss|reopen`."""
    made = typer.Typer(no_args_is_help=True, help=_("Answer findings: one person proposes, a second one with another key confirms."))

    @made.command("list", help=_("Audit, without journalling it, and list open findings with their ids, proposals and what is resolved."))
    def listed(
        home: HomeOption, table: TableOption = None, processes: ProcessesOption = 1, passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        with _audited(home, passphrase_file, table, processes, shown=not as_json) as (opened_home, result):
            answers = _answers(opened_home)
        if as_json:
            return print_json(findings_json(result, groups_only=False) | {
                "answers": [answer_json(answer) for answer in answers.answers.values()],
                "invalid": [{"entry": entry, "why": why} for entry, why in answers.invalid],
            })  # fmt: skip
        print_findings(result.findings, result.windows, answers)
        for answer in answers.answers.values():
            if answer.state == "resolved":
                print_answer(answer)
        print_invalid(answers)
        say("{n} open findings", n=len(result.findings))
        print_resolved(result.resolved)
        return None

    @made.command("show", help=_("Show an open finding, or all that was answered to one."))
    def show(
        home: HomeOption,
        named: IdArgument,
        table: TableOption = None,
        values: Annotated[bool, typer.Option("--values", help=_("Show altered columns before and after, where a copy was kept."))] = False,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.groups import answers_to

        with _audited(home, passphrase_file, table, 1, shown=not as_json, values=values) as (opened_home, result):
            history = answers_to(named, list(_answers(opened_home).answers.values()))
        found = _open(named, result, known=bool(history))
        if as_json:
            return print_json({"open": _open_json(found), "answers": [answer_json(answer) for answer in history]})
        if found is None:
            say("not open, or not there any more")
        else:
            _print_open(found, result)
        for answer in history:
            print_answer(answer)
        return None

    @made.command("accept", help=_("Accept what was found; rows as they are become what is compared from now on. Two people, two keys."))
    def accept(
        home: HomeOption, named: IdArgument, reason: ReasonOption, ticket: TicketOption, by: ByOption, table: TableOption = None,
        key_passphrase_file: KeyPassphraseOption = None, passphrase_file: PassphraseOption = None, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        _answer("accept", home, named, (reason, ticket), (by, key_passphrase_file), table, passphrase_file, as_json=as_json)

    @made.command("dismiss", help=_("Dismiss a finding; it is hidden as long as the row stays exactly as it is. Two people, two keys."))
    def dismiss(
        home: HomeOption, named: IdArgument, reason: ReasonOption, ticket: TicketOption, by: ByOption, table: TableOption = None,
        key_passphrase_file: KeyPassphraseOption = None, passphrase_file: PassphraseOption = None, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        _answer("dismiss", home, named, (reason, ticket), (by, key_passphrase_file), table, passphrase_file, as_json=as_json)

    @made.command("reopen", help=_("Withdraw a proposal, or open again what was resolved; one person is enough."))
    def reopen(
        home: HomeOption, named: IdArgument, reason: ReasonOption, ticket: TicketOption, by: ByOption,
        key_passphrase_file: KeyPassphraseOption = None, passphrase_file: PassphraseOption = None, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        from api.passphrase import passphrase
        from ledger.answering import Why
        from ledger.answering import reopen as reopen_answer
        from ledger.groups import answers_to
        from ledger.home import Home
        from ledger.persons import open_key_file

        key, secret = open_key_file(by, key_passphrase(key_passphrase_file, by)), passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home:
            found = [a for a in answers_to(named, list(_answers(opened_home).answers.values())) if a.state != "reopened"]
            if not found:
                raise LedgerError(f"nothing was answered to {named}, or it is open again already")
            for answer in found:
                done = reopen_answer(opened_home, key, answer, Why(reason, ticket), _now_ms())
        if as_json:
            return print_json(answer_json(done))
        say("{id} is open again", id=shown_id(done))
        return None

    return made


def _answer(
    do: str, path: Path, named: str, why: tuple[str, str], by: tuple[Path, Path | None], table: list[str] | None,
    passphrase_file: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Confirm what another person proposed, else propose."""
    from api.commands import opened
    from ledger.answering import Why, confirm, propose
    from ledger.groups import answers_to
    from ledger.persons import open_key_file

    key, said = open_key_file(by[0], key_passphrase(by[1], by[0])), Why(*why)
    with opened(path, passphrase_file) as (home, link), progress(not as_json) as rows:
        live = [answer for answer in answers_to(named, list(_answers(home).answers.values())) if answer.state == "proposed"]
        if live:
            if live[-1].do != do:
                raise LedgerError(f"{live[-1].proposed.person.name} proposed to {live[-1].do} it: confirm that, or reopen it first")
            done = confirm(home, key, live[-1], said, _now_ms())
            if as_json:
                return print_json(answer_json(done.answer) | {"changed": done.changed})
            say("{id} is resolved: {n} findings", id=shown_id(done.answer), n=done.answer.findings)
            if done.taken:
                say("{n} rows are taken in as they are; careseal seal anchors that", n=done.taken)
            if done.changed:
                say("{n} rows are no longer as they were when it was proposed, and are not among them", n=done.changed)
            return None
        found = _open(named, _audit(home, link, table, rows), known=False)
        assert found is not None  # noqa: S101 - raised otherwise
        answer = propose(home, key, do, found, said, _now_ms())
    if as_json:
        return print_json(answer_json(answer) | {"changed": 0})
    say("proposed; a second person confirms it with the same command and another key: {id}", id=shown_id(answer))
    return None


@contextmanager
def _audited(
    path: Path, passphrase_file: Path | None, tables: Sequence[str] | None, processes: int, *, shown: bool, values: bool = False
) -> Iterator[tuple[Home, AuditResult]]:
    """A home, and what an audit finds now; the audit is not journalled."""
    from api.commands import opened

    with opened(path, passphrase_file) as (home, link), progress(shown) as rows:
        yield home, _audit(home, link, tables, rows, processes=processes, values=values)


def _audit(
    home: Home, link: Link, tables: Sequence[str] | None, rows: Rows, *, processes: int = 1, values: bool = False
) -> AuditResult:
    from anchoring.verify import verify
    from ledger.audit import Scope
    from ledger.seal import tables_of

    scope = Scope(list(tables_of(home, tables or ())))
    return verify(home, link, scope, time.time(), processes=processes, values=values, record=False, progress=rows).audit


def _answers(home: Home) -> Resolutions:
    from ledger.resolutions import read_resolutions

    return read_resolutions(home)


def _open(named: str, result: AuditResult, *, known: bool) -> Finding | Group | None:
    """The open finding or group of this id; None where there is none and something is `known` of it."""
    from ledger.groups import find, grouped

    groups, _rest = grouped(result.findings, result.windows)
    try:
        return find(named, groups, result.findings)
    except LedgerError:
        if known:
            return None
        raise


def _open_json(found: Finding | Group | None) -> dict[str, object] | None:
    from ledger.groups import Group

    if found is None:
        return None
    return group_json(found) if isinstance(found, Group) else finding_json(found)


def _print_open(found: Finding | Group, result: AuditResult) -> None:
    from ledger.groups import Group

    if isinstance(found, Group):
        print_findings(found.members, result.windows)
    else:
        print_finding(found)


def _now_ms() -> int:
    return int(time.time() * 1000)
