"""Two people of the staff who answer findings of a world."""

from __future__ import annotations

from audit_world import World

import ledger.keys
from ledger.answering import Confirmed, Why, confirm, propose
from ledger.audit import AuditResult
from ledger.findings import Finding
from ledger.groups import Group, grouped
from ledger.persons import PersonKey, add_person, make_key_file, open_key_file
from ledger.resolutions import Resolution

WHY = Why("looked into it", "T-1")


def person(world: World, name: str, role: str = "staff") -> PersonKey:
    """A registered person's key."""
    stretch, ledger.keys._SCRYPT["n"] = ledger.keys._SCRYPT["n"], 16
    try:
        path = world.home.path / f"{name}.key"
        path.write_bytes(make_key_file(name, b"p"))
        key = open_key_file(path, b"p")
    finally:
        ledger.keys._SCRYPT["n"] = stretch
    add_person(world.home, key.public, role, world.tick())
    return key


def staff(world: World) -> tuple[PersonKey, PersonKey]:
    return person(world, "Li"), person(world, "Wang")


def answer(world: World, people: tuple[PersonKey, PersonKey], do: str, found: Finding | Group) -> Confirmed:
    """Both answer."""
    made = propose(world.home, people[0], do, found, WHY, world.tick())
    return confirm(world.home, people[1], made, WHY, world.tick())


def only(world: World) -> Finding:
    """The only open finding."""
    (found,) = world.audit(record=False).findings
    return found


def only_group(result: AuditResult) -> Group:
    """The only group of open findings; none is outside it."""
    (group,), rest = grouped(result.findings, result.windows)
    assert rest == []
    return group


def states(answers: dict[int, Resolution]) -> list[str]:
    return [made.state for made in answers.values()]
