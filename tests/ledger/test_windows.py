"""Batches that two people announced are one finding and one answer; what is smuggled in among them stays a finding of its own."""

from __future__ import annotations

import pytest
from answers import WHY, answer, only_group, person, staff
from audit_world import START, World, visits

from ledger.announcing import close_window, confirm_window, open_window
from ledger.audit import AuditResult
from ledger.errors import LedgerError, PersonError
from ledger.findings import FindingKind
from ledger.groups import find, grouped
from ledger.persons import PersonKey, revoke_person
from ledger.resolutions import read_resolutions
from ledger.tables import find_table
from ledger.windows import Window

HOUR = 3_600_000
FOREVER = START + 10**13  # databases have a clock of their own, which is not the tests'


def opened(world: World, people: tuple[PersonKey, PersonKey], *columns: str, role: str | None = None, until: int = FOREVER) -> Window:
    """A window that both announced."""
    table = find_table(world.home, "visit")
    made = open_window(world.home, people[0], table, columns or ("ward",), role, (world.now + 1, until), WHY, world.now)
    return confirm_window(world.home, people[1], made, WHY, world.tick())


@pytest.fixture
def closed(captured: World) -> World:
    """Ward and price may never change."""
    return visits(captured, immutable=("ward", "price"), copies=True)


def role_of(world: World) -> str | None:
    """The application's user, where the engine knows one."""
    return "postgres" if world.hospital.engine == "postgresql" else None


def seal_and_audit(world: World) -> AuditResult:
    world.seal()
    return world.audit(record=False)


# One line, one answer


def test_an_announced_batch_is_one_group_and_one_answer(closed: World) -> None:
    people = staff(closed)
    window = opened(closed, people, role=role_of(closed))
    closed.hospital.run("UPDATE visit SET ward='west'")
    result = seal_and_audit(closed)
    group = only_group(result)
    assert (group.kind, group.table, group.columns, group.window, len(group.members)) == (
        FindingKind.AMENDED_FINAL, "visit", ("ward",), window.number, 10)  # fmt: skip
    before = closed.home.journal.size
    answer(closed, people, "accept", group)
    assert closed.home.journal.size == before + 2
    closed.assert_intact()
    ((resolved),) = closed.audit(record=False).resolved
    assert (resolved.count, resolved.answer.findings, resolved.answer.group, resolved.answer.window) == (10, 10, True, window.number)


def test_a_row_smuggled_in_with_another_column_stays_its_own_finding(closed: World) -> None:
    people = staff(closed)
    opened(closed, people, role=role_of(closed))
    closed.hospital.run("UPDATE visit SET ward='west' WHERE id<>7")
    closed.hospital.run("UPDATE visit SET ward='west', price=0 WHERE id=7")
    result = seal_and_audit(closed)
    (group,), (alone,) = grouped(result.findings, result.windows)
    assert (len(group.members), alone.key, alone.columns, alone.window) == (9, {"id": 7}, ("ward", "price"), None)
    answer(closed, people, "accept", group)
    assert [finding.key for finding in closed.audit(record=False).findings] == [{"id": 7}]


def test_a_row_smuggled_in_by_another_author_stays_its_own_finding(pg: World) -> None:
    world = visits(pg, writers=("postgres",), copies=True)
    vendor, other = (world.hospital.role(name, "visit") for name in ("vendor", "someone"))  # type: ignore[union-attr]
    people = staff(world)
    opened(world, people, role=vendor)
    world.hospital.run("UPDATE visit SET ward='west' WHERE id<>7", user=vendor)
    world.hospital.run("UPDATE visit SET ward='west' WHERE id=7", user=other)
    result = seal_and_audit(world)
    (group,), (alone,) = grouped(result.findings, result.windows)
    assert (group.kind, len(group.members), group.author) == (FindingKind.UNAUTHORISED, 9, "vendor")
    assert (alone.key, alone.author, alone.window) == ({"id": 7}, "someone", None)


def test_a_row_altered_outside_capture_is_in_no_window(closed: World) -> None:
    people = staff(closed)
    opened(closed, people, role=role_of(closed))
    closed.hospital.behind("UPDATE visit SET note='forged' WHERE id=7")
    closed.hospital.run("UPDATE visit SET ward='west'")
    result = seal_and_audit(closed)
    (group,), (alone,) = grouped(result.findings, result.windows)
    assert (len(group.members), alone.key, alone.kind, alone.window) == (9, {"id": 7}, FindingKind.ALTERED, None)


def test_a_row_with_an_older_finding_is_not_hidden_in_the_batch(closed: World) -> None:
    people = staff(closed)
    closed.hospital.run("UPDATE visit SET price=0 WHERE id=7")
    closed.seal()
    opened(closed, people, role=role_of(closed))
    closed.hospital.run("UPDATE visit SET ward='west'")
    result = seal_and_audit(closed)
    (group,), (alone,) = grouped(result.findings, result.windows)
    assert (len(group.members), alone.key, len(alone.faults)) == (9, {"id": 7}, 2)


def test_only_updates_are_announced(captured: World) -> None:
    world = visits(captured, immutable=("ward",), time="at", grace=0)
    people = staff(world)
    opened(world, people, "ward", "at", "note", "price", "patient", "id", role=role_of(world))
    world.hospital.run("DELETE FROM visit WHERE id=1")
    world.hospital.run("INSERT INTO visit VALUES (50, 'P1', 'east', 1, NULL, '2001-01-01 00:00:00')")
    world.hospital.run("UPDATE visit SET id=60, ward='west' WHERE id=2")
    found = seal_and_audit(world).findings
    assert {finding.window for finding in found} == {None} and len(found) == 3


def test_changes_before_after_and_without_a_second_person_are_not_announced(closed: World) -> None:
    people = staff(closed)
    table = find_table(closed.home, "visit")
    opened(closed, people, role=role_of(closed), until=closed.now + 2 * HOUR)  # ended long ago, by the database's clock
    open_window(closed.home, people[0], table, ("ward",), role_of(closed), (closed.now + 1, FOREVER), WHY, closed.now)
    closed.hospital.run("UPDATE visit SET ward='west' WHERE id=1")
    late = opened(closed, people, role=role_of(closed))
    found = seal_and_audit(closed).findings
    assert [finding.window for finding in found] == [late.number]  # in force by the tests' clock, which is behind the database's


def test_a_window_groups_nothing_that_was_changed_before_it_was_confirmed(closed: World) -> None:
    """The database's clock is the machine's, so here the home's is too."""
    import time

    people = staff(closed)
    closed.now = int(time.time() * 1000)
    table = find_table(closed.home, "visit")
    made = open_window(closed.home, people[0], table, ("ward",), role_of(closed), (closed.now + 1, closed.now + HOUR), WHY, closed.now)
    closed.hospital.run("UPDATE visit SET ward='west' WHERE id=1")
    closed.now = int(time.time() * 1000) + 5000
    confirm_window(closed.home, people[1], made, WHY, closed.now)
    assert [finding.window for finding in seal_and_audit(closed).findings] == [None]


def test_a_closed_window_groups_nothing_any_more(closed: World) -> None:
    import time

    people = staff(closed)
    window = opened(closed, people, role=role_of(closed))
    close_window(closed.home, people[0], window, WHY, int(time.time() * 1000) - 60_000)
    closed.hospital.run("UPDATE visit SET ward='west' WHERE id=1")
    assert [finding.window for finding in seal_and_audit(closed).findings] == [None]
    (listed,) = read_resolutions(closed.home).windows.values()
    assert listed.closed is not None and listed.span is not None


# What cannot be announced


def test_what_cannot_be_announced(captured: World) -> None:
    world = visits(captured)
    li, wang = staff(world)
    table, role = find_table(world.home, "visit"), role_of(world)
    for columns, given, span, words in (
        (("nothing",), role, (world.now, FOREVER), "table visit has no such column"),
        (("ward",), role, (world.now - 1, FOREVER), "--from lies in the past"),
        (("ward",), role, (world.now, world.now), "--until must be later than --from"),
        (("ward",), None if role else "x", (world.now, FOREVER), "give --role|leave --role out"),
    ):
        with pytest.raises(LedgerError, match=words):
            open_window(world.home, li, table, columns, given, span, WHY, world.now)
    made = open_window(world.home, li, table, ("ward",), role, (world.now, FOREVER), WHY, world.now)
    with pytest.raises(PersonError, match="Li signed both"):
        confirm_window(world.home, li, made, WHY, world.tick())
    auditor = person(world, "Zhao", "auditor")
    for act in (confirm_window, close_window):
        with pytest.raises(PersonError, match="this needs staff"):
            act(world.home, auditor, made, WHY, world.tick())
    confirm_window(world.home, wang, made, WHY, world.tick())
    with pytest.raises(PersonError, match="confirmed or closed already"):
        confirm_window(world.home, wang, made, WHY, world.tick())
    close_window(world.home, wang, made, WHY, world.tick())
    with pytest.raises(PersonError, match="closed already"):
        close_window(world.home, li, made, WHY, world.tick())


def test_a_scanned_table_has_no_changes_to_announce(scanned: World) -> None:
    world = visits(scanned)
    people = staff(world)
    with pytest.raises(LedgerError, match="is scanned"):
        opened(world, people, role=role_of(world))


def test_a_window_opened_by_a_key_that_was_revoked_is_never_confirmed(captured: World) -> None:
    world = visits(captured)
    li, wang = staff(world)
    made = open_window(world.home, li, find_table(world.home, "visit"), ("ward",), role_of(world), (world.now, FOREVER), WHY, world.now)
    revoke_person(world.home, "Li", "left", world.tick())
    with pytest.raises(PersonError, match="the key of Li was revoked before it was confirmed"):
        confirm_window(world.home, wang, made, WHY, world.tick())


# Groups without a window


def test_more_than_ten_alike_are_one_line_and_one_answer(captured: World) -> None:
    world = visits(captured)
    people = staff(world)
    world.hospital.many("INSERT INTO visit VALUES (?,?,?,?,?,?)", [(n, "P", "east", 1, None, None) for n in range(20, 40)])
    world.seal()
    world.hospital.behind("UPDATE visit SET ward='west' WHERE id>=20")
    world.hospital.behind("UPDATE visit SET note='x' WHERE id=3")
    result = world.audit(record=False)
    (group,), (alone,) = grouped(result.findings, result.windows)
    assert (len(group.members), group.kind, group.columns, alone.key) == (20, FindingKind.ALTERED, ("ward",), {"id": 3})
    assert find(group.shown, [group], result.findings) is group and find(group.shown[:6], [group], []) is group
    done = answer(world, people, "accept", group)
    assert (done.taken, done.changed) == (20, 0)
    assert [finding.key for finding in world.audit(record=False).findings] == [{"id": 3}]


def test_members_that_changed_meanwhile_stay_open(captured: World) -> None:
    from ledger.answering import confirm, propose

    world = visits(captured)
    people = staff(world)
    world.hospital.many("INSERT INTO visit VALUES (?,?,?,?,?,?)", [(n, "P", "east", 1, None, None) for n in range(20, 40)])
    world.seal()
    world.hospital.behind("UPDATE visit SET ward='west' WHERE id>=20")
    made = propose(world.home, people[0], "accept", only_group(world.audit(record=False)), WHY, world.tick())
    world.hospital.behind("UPDATE visit SET ward='north' WHERE id=21")
    done = confirm(world.home, people[1], made, WHY, world.tick())
    assert (done.taken, done.changed) == (19, 1)
    assert [finding.key for finding in world.audit(record=False).findings] == [{"id": 21}]


def test_ten_alike_are_told_one_by_one(captured: World) -> None:
    world = visits(captured)
    world.hospital.behind("UPDATE visit SET ward='west'")
    result = world.audit(record=False)
    assert grouped(result.findings, result.windows) == ([], result.findings) and len(result.findings) == 10


def test_a_group_is_another_one_with_each_member(captured: World) -> None:
    world = visits(captured)
    world.hospital.many("INSERT INTO visit VALUES (?,?,?,?,?,?)", [(n, "P", "east", 1, None, None) for n in range(20, 40)])
    world.seal()
    ids = set()
    for last in (31, 32, 33):
        world.hospital.behind(f"UPDATE visit SET ward='west' WHERE id BETWEEN 20 AND {last}")
        ids.add(only_group(world.audit(record=False)).id)
    assert len(ids) == 3


@pytest.mark.parametrize(("named", "words"), [
    ("abc", "is no id of a finding"), ("xyzw", "is no id of a finding"), ("", "is no id"), ("g", "is no id"), ("gzzzz", "is no id"),
    ("0000", "no open finding 0000"), ("g0000", "no open finding g0000"), ("ABCD", "is no id"),
])  # fmt: skip
def test_ids_that_name_nothing(named: str, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        find(named, [], [])
