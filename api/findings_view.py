"""Findings, groups of them, answers and change windows, as commands show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from api.console import MOST_FINDINGS, finding_json, iso, out, print_finding, say
from api.language import _, reported
from ledger import identity

if TYPE_CHECKING:
    from ledger.audit import Answered, AuditResult
    from ledger.findings import Finding
    from ledger.groups import Group
    from ledger.resolutions import Resolution, Resolutions
    from ledger.windows import Signed, Window

_FIRST = 3  # keys of a group that are shown


def findings_json(result: AuditResult, *, groups_only: bool) -> dict[str, object]:
    """What `verify --json` tells of findings: all of them, or with `groups_only` those that are in no group, and the groups."""
    from ledger.groups import grouped

    groups, rest = grouped(result.findings, result.windows)
    return {
        "findings": [finding_json(finding) for finding in (rest if groups_only else result.findings)],
        "groups": [group_json(group) for group in groups],
        "resolved": [{**answer_json(answered.answer), "met": answered.count} for answered in result.resolved],
    }


def group_json(group: Group) -> dict[str, object]:
    """A group: its id commits to the ids of all its members."""
    return {
        "id": identity.GROUP + group.id.hex(), "kind": group.kind.value, "table": group.table, "columns": list(group.columns),
        "author": group.author, "window": group.window, "detail": group.detail, "count": len(group.members),
        "first": [member.key for member in group.members[:_FIRST]],
    }  # fmt: skip


def answer_json(answer: Resolution) -> dict[str, object]:
    """An answer: who proposed and confirmed it, when, and why."""
    return {
        "id": shown_id(answer, whole=True), "do": answer.do, "state": answer.state, "kind": answer.kind, "table": answer.table,
        "columns": list(answer.columns), "window": answer.window, "findings": answer.findings, "reason": answer.reason,
        "ticket": answer.ticket, "proposed": signed_json(answer.proposed), "confirmed": signed_json(answer.confirmed),
        "reopened": signed_json(answer.reopened), "taken_in": len(answer.sealed_states),
    }  # fmt: skip


def signed_json(signed: Signed | None) -> dict[str, object] | None:
    """Who signed, when, and in which entry of the journal."""
    return None if signed is None else {"by": signed.person.name, "time": iso(signed.time / 1000), "entry": signed.entry}


def shown_id(answer: Resolution, *, whole: bool = False) -> str:
    """The id of what was answered, as commands take it."""
    digits = answer.id.hex()
    return (identity.GROUP if answer.group else "") + (digits if whole else digits[: identity.SHOWN])


def print_findings(findings: Sequence[Finding], windows: Mapping[int, Window], answers: Resolutions | None = None) -> None:
    """Open findings, those that are alike in one line; with `answers` each with its id, and what was proposed."""
    from ledger.groups import grouped

    groups, rest = grouped(findings, windows)
    for group in groups:
        _print_group(group, answers)
    for finding in rest[:MOST_FINDINGS]:
        print_finding(finding)
        if answers is not None:
            _print_open("    ", finding, answers)
    if len(rest) > MOST_FINDINGS:
        say("… and {n} more findings; --json lists them all", n=len(rest) - MOST_FINDINGS)


def _print_group(group: Group, answers: Resolutions | None) -> None:
    keys = "; ".join(", ".join(f"{name}={value}" for name, value in member.key.items()) for member in group.members[:_FIRST])
    parts = [f"{_(group.kind.value.upper())}  {group.table}", _("{n} rows: {keys}; …").format(n=len(group.members), keys=keys)]
    if group.columns:
        parts.append(_("columns: {names}").format(names=", ".join(group.columns)))
    if group.author:
        parts.append(_("by {author}").format(author=group.author))
    if group.window is not None:
        parts.append(_("in change window {window}").format(window=f"w{group.window}"))
    if group.detail:
        parts.append(reported(group.detail))
    out.print("  ".join([*parts, group.shown]), markup=False, style="bold red")
    if answers is not None:
        live = [answer for answer in answers.answers.values() if answer.group and answer.id == group.id and answer.state == "proposed"]
        for answer in live:
            _print_proposal("    ", answer)


def _print_open(indent: str, finding: Finding, answers: Resolutions) -> None:
    if finding.id is None:
        out.print(indent + _("cannot be accepted or dismissed: mend what it tells of"), markup=False)
        return
    out.print(f"{indent}{finding.id.hex()[: identity.SHOWN]}", markup=False)
    proposal = answers.proposed(finding.faults)
    if proposal is not None:
        _print_proposal(indent, proposal)


def _print_proposal(indent: str, answer: Resolution) -> None:
    words = {"accept": _("{name} proposed to accept it at {time}: {reason} ({ticket})"),
             "dismiss": _("{name} proposed to dismiss it at {time}: {reason} ({ticket})")}[answer.do]  # fmt: skip
    values = {"name": answer.proposed.person.name, "time": iso(answer.proposed.time / 1000)}
    out.print(indent + words.format(**values, reason=answer.reason, ticket=answer.ticket), markup=False)


def print_answer(answer: Resolution) -> None:
    """An answer in one line, and its history."""
    state = {"proposed": _("proposed"), "resolved": _("resolved"), "reopened": _("reopened")}[answer.state]
    done = {"accept": _("accepted"), "dismiss": _("dismissed")}[answer.do]
    say("{id}  {state}: {kind}  {table}  {n} findings, {done}", id=shown_id(answer), state=state, kind=_(answer.kind.upper()),
        table=answer.table or _("journal"), n=answer.findings, done=done)  # fmt: skip
    say("    reason: {reason}  ticket: {ticket}", reason=answer.reason, ticket=answer.ticket)
    for words, signed in ((_("proposed by {name} at {time}, journal entry {entry}"), answer.proposed),
                          (_("confirmed by {name} at {time}, journal entry {entry}"), answer.confirmed),
                          (_("reopened by {name} at {time}, journal entry {entry}"), answer.reopened)):  # fmt: skip
        if signed is not None:
            shown = words.format(name=signed.person.name, time=iso(signed.time / 1000), entry=signed.entry)
            out.print("    " + shown, markup=False)
    if answer.sealed:
        say("    {n} rows were taken in as they were, from journal entry {entry} on",
            n=len(answer.sealed_states), entry=answer.sealed[0][0])  # fmt: skip


def print_resolved(resolved: Sequence[Answered]) -> None:
    """How much is resolved, in one line."""
    counts: Counter[str] = Counter()
    for answered in resolved:
        counts[answered.answer.do] += answered.count
    if resolved:
        say("resolved by two people: {accepted} accepted, {dismissed} dismissed; careseal findings list shows who and when",
            accepted=counts["accept"], dismissed=counts["dismiss"])  # fmt: skip


def print_invalid(answers: Resolutions) -> None:
    """Entries that are no valid answers: they hide nothing."""
    for entry, why in answers.invalid:
        say("journal entry {entry} answers nothing: {why}", entry=entry, why=reported(why))


def window_json(window: Window) -> dict[str, object]:
    """A change window."""
    return {
        "id": window.id, "table": window.name, "columns": list(window.columns), "role": window.role, "from": iso(window.begin / 1000),
        "until": iso(window.end / 1000), "reason": window.reason, "ticket": window.ticket, "in_force": span_json(window),
        "opened": signed_json(window.opened), "confirmed": signed_json(window.confirmed), "closed": signed_json(window.closed),
    }  # fmt: skip


def span_json(window: Window) -> dict[str, str] | None:
    """From when to when a window is in force, or None."""
    return None if window.span is None else {"from": iso(window.span[0] / 1000), "until": iso(window.span[1] / 1000)}


def print_window(window: Window) -> None:
    """A change window in a few lines."""
    say("{id}  {table}  columns: {columns}  by {role}, {begin} to {end}", id=window.id, table=window.name,
        columns=", ".join(window.columns), role=window.role or _("anybody"), begin=iso(window.begin / 1000),
        end=iso(window.end / 1000))  # fmt: skip
    say("    reason: {reason}  ticket: {ticket}", reason=window.reason, ticket=window.ticket)
    for words, signed in ((_("opened by {name} at {time}, journal entry {entry}"), window.opened),
                          (_("confirmed by {name} at {time}, journal entry {entry}"), window.confirmed),
                          (_("closed by {name} at {time}, journal entry {entry}"), window.closed)):  # fmt: skip
        if signed is not None:
            shown = words.format(name=signed.person.name, time=iso(signed.time / 1000), entry=signed.entry)
            out.print("    " + shown, markup=False)
    if window.confirmed is None:
        say("    not in force: a second person has to confirm it")
    elif window.span is not None:
        say("    in force from {begin} to {end}", begin=iso(window.span[0] / 1000), end=iso(window.span[1] / 1000))
    else:
        say("    it was never in force")
    if window.role is None:
        say("    SQLite knows no users: whoever makes such changes meanwhile is in it")
