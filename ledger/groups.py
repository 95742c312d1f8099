"""Findings that are alike, as one: what a migration did to 200,000 rows is one line to read, and one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger import identity
from ledger.errors import LedgerError
from ledger.findings import Finding, FindingKind
from ledger.resolutions import Resolution
from ledger.windows import Window

ALONE = 10  # so many findings that are alike are told one by one; what a change window announced is always together
SHORTEST = 4  # digits of an id that are enough to name it, if no other begins so


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one kind in one table and columns, by one author, and in one change window, where one announced them."""

    id: bytes
    kind: FindingKind
    table: str | None
    columns: tuple[str, ...]
    author: str | None
    window: int | None
    detail: str
    members: tuple[Finding, ...]

    @property
    def shown(self) -> str:
        return identity.GROUP + self.id.hex()[: identity.SHOWN]


def grouped(findings: Sequence[Finding], windows: Mapping[int, Window]) -> tuple[list[Group], list[Finding]]:
    """The groups, the largest first, and the findings that are in none, in their order."""
    alike: dict[object, list[Finding]] = {}
    for finding in findings:
        if finding.id is not None and finding.key:
            alike.setdefault(_likeness(finding), []).append(finding)
    groups = [_group(found, windows) for found in alike.values() if len(found) > (ALONE if found[0].window is None else 1)]
    together = {id(member) for group in groups for member in group.members}
    return sorted(groups, key=lambda group: -len(group.members)), [f for f in findings if id(f) not in together]


def _likeness(finding: Finding) -> tuple[object, ...]:
    if finding.window is not None:
        return finding.window, finding.kind
    return finding.table, finding.kind, finding.columns, finding.author, finding.detail


def _group(members: Sequence[Finding], windows: Mapping[int, Window]) -> Group:
    first = members[0]
    window = None if first.window is None else windows.get(first.window)
    columns = first.columns if window is None else window.columns
    made = identity.of_group([member.id for member in members if member.id is not None])
    return Group(made, first.kind, first.table, columns, first.author, first.window, first.detail, tuple(members))


def find(named: str, groups: Sequence[Group], findings: Sequence[Finding]) -> Group | Finding:
    """The open finding or group whose id begins so. LedgerError where there is none, or more than one."""
    group, digits = _split(named)
    among: Sequence[Group | Finding] = groups if group else findings
    found = [one for one in among if one.id is not None and one.id.hex().startswith(digits)]
    if not found:
        raise LedgerError(f"no open finding {named}: see careseal findings list")
    if len(found) > 1:
        raise LedgerError(f"{named} begins the ids of {len(found)} findings: give more digits")
    return found[0]


def answers_to(named: str, answers: Sequence[Resolution]) -> list[Resolution]:
    """The answers to the finding or group whose id begins so, in the journal's order. LedgerError where that is not one id."""
    group, digits = _split(named)
    found = [answer for answer in answers if answer.group == group and answer.id.hex().startswith(digits)]
    if len({answer.id for answer in found}) > 1:
        raise LedgerError(f"{named} begins the ids of {len(found)} findings: give more digits")
    return found


def _split(named: str) -> tuple[bool, str]:
    digits = named.removeprefix(identity.GROUP)
    if len(digits) < SHORTEST or set(digits) - set("0123456789abcdef"):
        raise LedgerError(f"{named} is no id of a finding: give at least {SHORTEST} of the digits that careseal findings list shows")
    return digits != named, digits
