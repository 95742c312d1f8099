"""Findings that two people answered: what is hidden, what is taken in, what is open again, and what never is."""

from __future__ import annotations

import pytest
from answers import WHY, answer, only, person, staff, states
from audit_world import World, visits

from ledger.answering import Why, confirm, propose, reopen
from ledger.errors import LedgerError, PersonError
from ledger.findings import Finding, FindingKind
from ledger.persons import revoke_person
from ledger.resolutions import read_resolutions
from ledger.wire import Flag, Kind, RecordEntry

ALTER = "UPDATE visit SET ward='west' WHERE id=3"
ADD = "INSERT INTO visit VALUES (99, 'P1', 'x', 1, NULL, NULL)"
REMOVE = "DELETE FROM visit WHERE id=4"


@pytest.fixture
def sealed(world: World) -> World:
    """On either engine, in either capture; new rows of a scan are not taken up."""
    return visits(world, policy="pending", copies=True)


def behind(world: World, *statements: str) -> None:
    for statement in statements:
        world.hospital.behind(statement)


# Ids


def test_a_finding_has_one_id_in_every_audit(sealed: World) -> None:
    behind(sealed, ALTER, ADD, REMOVE)
    first = {finding.kind: finding.id for finding in sealed.audit().findings}
    sealed.seal()
    assert {finding.kind: finding.id for finding in sealed.audit(processes=2).findings} == first
    assert len(set(first.values())) == 3 and all(made is not None and len(made) == 20 for made in first.values())


def test_a_further_alteration_is_another_finding(sealed: World) -> None:
    seen = set()
    for ward in ("a", "b", "c", "a"):
        behind(sealed, f"UPDATE visit SET ward='{ward}' WHERE id=3")
        seen.add(only(sealed).id)
    assert len(seen) == 3
    behind(sealed, "UPDATE visit SET ward='east' WHERE id=3")
    sealed.assert_intact()


def test_rows_with_the_same_alteration_have_different_ids(sealed: World) -> None:
    behind(sealed, "UPDATE visit SET ward='west' WHERE id IN (3, 5)")
    assert len({finding.id for finding in sealed.audit(record=False).findings}) == 2


def test_an_id_hides_the_key_from_who_has_no_key_of_the_home(sealed: World) -> None:
    """Two homes give other ids to the same row in the same state."""
    behind(sealed, ADD)
    mine = only(sealed).id
    sealed.home.subjects.states_key = b"\x77" * 32
    assert only(sealed).id != mine


# Two people


@pytest.mark.parametrize("do", ["accept", "dismiss"])
@pytest.mark.parametrize("statement", [ALTER, ADD, REMOVE])
def test_what_two_people_answered_is_resolved(sealed: World, do: str, statement: str) -> None:
    people = staff(sealed)
    behind(sealed, statement)
    found = only(sealed)
    made = propose(sealed.home, people[0], do, found, WHY, sealed.tick())
    still = sealed.audit(record=False)
    assert (still.findings, still.resolved, still.ok, made.state) == ([found], [], False, "proposed")
    done = confirm(sealed.home, people[1], made, WHY, sealed.tick())
    after = sealed.audit()
    assert (after.findings, after.ok) == ([], True)
    ((resolved),) = after.resolved
    assert (resolved.answer.id, resolved.answer.do, resolved.count) == (found.id, do, 1)
    assert (resolved.answer.proposed.person.name, resolved.answer.confirmed and resolved.answer.confirmed.person.name) == ("Li", "Wang")
    assert (resolved.answer.reason, resolved.answer.ticket, resolved.answer.table) == ("looked into it", "T-1", "visit")
    assert done.taken == (do == "accept")
    assert after.tables[0].standing == (do == "dismiss")


def test_one_person_is_not_two(sealed: World) -> None:
    li, _ = staff(sealed)
    behind(sealed, ALTER)
    made = propose(sealed.home, li, "accept", only(sealed), WHY, sealed.tick())
    before = sealed.home.journal.size
    with pytest.raises(PersonError, match="Li signed both: it takes two people"):
        confirm(sealed.home, li, made, WHY, sealed.tick())
    assert sealed.home.journal.size == before and only(sealed).kind is FindingKind.ALTERED


@pytest.mark.parametrize("role", ["auditor", "party"])
def test_only_the_staff_answers(sealed: World, role: str) -> None:
    li, _ = staff(sealed)
    other = person(sealed, "Zhao", role)
    behind(sealed, ALTER)
    with pytest.raises(PersonError, match=f"Zhao is registered as {role}: this needs staff"):
        propose(sealed.home, other, "dismiss", only(sealed), WHY, sealed.tick())
    made = propose(sealed.home, li, "dismiss", only(sealed), WHY, sealed.tick())
    with pytest.raises(PersonError, match=f"Zhao is registered as {role}"):
        confirm(sealed.home, other, made, WHY, sealed.tick())
    assert only(sealed).kind is FindingKind.ALTERED


def test_revoked_keys_neither_propose_nor_confirm_nor_are_confirmed(sealed: World) -> None:
    li, wang = staff(sealed)
    zhao = person(sealed, "Zhao")
    behind(sealed, ALTER)
    made = propose(sealed.home, li, "dismiss", only(sealed), WHY, sealed.tick())
    revoke_person(sealed.home, "Wang", "left", sealed.tick())
    for attempt in (lambda: confirm(sealed.home, wang, made, WHY, sealed.tick()),
                    lambda: propose(sealed.home, wang, "dismiss", only(sealed), WHY, sealed.tick())):  # fmt: skip
        with pytest.raises(PersonError, match="the key of Wang was revoked"):
            attempt()
    revoke_person(sealed.home, "Li", "left", sealed.tick())
    with pytest.raises(PersonError, match="the key of Li was revoked before it was confirmed"):
        confirm(sealed.home, zhao, made, WHY, sealed.tick())
    assert only(sealed).kind is FindingKind.ALTERED


def test_what_was_resolved_stays_so_when_a_key_is_revoked_later(sealed: World) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    answer(sealed, people, "dismiss", only(sealed))
    revoke_person(sealed.home, "Li", "left", sealed.tick())
    sealed.assert_intact()


@pytest.mark.parametrize(
    "why", [Why("", "T"), Why("x" * 1001, "T"), Why("ok", ""), Why("ok", "x" * 101), Why("o\nk", "T"), Why("ok", "\x1b")]
)
def test_reason_and_ticket_are_asked_for(sealed: World, why: Why) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    with pytest.raises(PersonError, match=r"--(reason|ticket): give one line"):
        propose(sealed.home, people[0], "accept", only(sealed), why, sealed.tick())


# What is hidden, and for how long


@pytest.mark.parametrize("do", ["accept", "dismiss"])
def test_a_later_alteration_of_an_answered_row_is_open(sealed: World, do: str) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    answer(sealed, people, do, only(sealed))
    behind(sealed, "UPDATE visit SET note='more' WHERE id=3")
    found = only(sealed)
    assert found.kind is FindingKind.ALTERED and "note" in found.columns
    behind(sealed, "UPDATE visit SET note=NULL WHERE id=3")
    sealed.assert_intact()


def test_an_accepted_deletion_does_not_cover_the_row_that_comes_back(sealed: World) -> None:
    people = staff(sealed)
    behind(sealed, REMOVE)
    answer(sealed, people, "accept", only(sealed))
    behind(sealed, "INSERT INTO visit VALUES (4, 'P1', 'east', 40, NULL, '2023-11-01 10:00:00')")
    assert only(sealed).kind is FindingKind.INSERTED
    answer(sealed, people, "accept", only(sealed))
    sealed.assert_intact()
    behind(sealed, REMOVE)
    assert only(sealed).kind is FindingKind.DELETED


def test_an_accepted_row_is_the_baseline_of_its_next_captured_change(captured: World) -> None:
    world = visits(captured, copies=True)
    people = staff(world)
    behind(world, ALTER, ADD)
    for found in world.audit(record=False).findings:
        answer(world, people, "accept", found)
    world.hospital.run("UPDATE visit SET note='lawful' WHERE id IN (3, 99)")
    world.seal()
    world.assert_intact()
    last = [entry for entry in world.records() if entry.kind is Kind.AMENDED][-2:]
    assert [entry.flags & ~Flag.CONTENT for entry in last] == [Flag.CAPTURED, Flag.CAPTURED]


def test_a_dismissed_row_is_not_the_baseline_of_its_next_change(captured: World) -> None:
    world = visits(captured)
    behind(world, ALTER)
    people = staff(world)
    answer(world, people, "dismiss", only(world))
    world.hospital.run("UPDATE visit SET note='lawful' WHERE id=3")
    world.seal()
    found = only(world)
    assert (found.kind, found.columns) == (FindingKind.ALTERED, ("ward",))


def test_an_accepted_row_has_an_entry_that_says_so(sealed: World) -> None:
    people = staff(sealed)
    behind(sealed, ALTER, REMOVE, ADD)
    for found in sealed.audit(record=False).findings:
        assert answer(sealed, people, "accept", found).taken == 1
    made = {entry.kind: entry for entry in sealed.records() if not entry.flags & Flag.BASELINE}
    assert {kind: entry.flags for kind, entry in made.items()} == {
        Kind.AMENDED: Flag.ALTERED_BEFORE | Flag.CONTENT,
        Kind.DELETED: Flag.DELETION,
        Kind.WRITTEN: Flag.INSERTED_BEFORE | Flag.CONTENT,
    }
    assert made[Kind.AMENDED].version == 2 and made[Kind.DELETED].version == 2


def test_a_violation_in_the_journal_stays_resolved_for_ever_and_a_new_one_is_open(captured: World) -> None:
    world = visits(captured, immutable=("ward",), copies=True)
    people = staff(world)
    world.hospital.run("UPDATE visit SET ward='west' WHERE id=3")
    world.seal()
    found = only(world)
    assert (found.kind, found.columns) == (FindingKind.AMENDED_FINAL, ("ward",))
    answer(world, people, "dismiss", found)
    for note in ("a", "b"):
        world.hospital.run(f"UPDATE visit SET note='{note}' WHERE id=3")
        world.seal()
        world.assert_intact()
    world.hospital.run("UPDATE visit SET ward='north' WHERE id=3")
    world.seal()
    assert (only(world).kind, only(world).id != found.id) == (FindingKind.AMENDED_FINAL, True)


def test_a_row_that_breaks_two_rules_is_one_finding_and_only_what_is_new_opens_it(captured: World) -> None:
    world = visits(captured, immutable=("ward",))
    people = staff(world)
    world.hospital.run("UPDATE visit SET ward='west' WHERE id=3")
    world.seal()
    behind(world, "UPDATE visit SET note='more' WHERE id=3")
    both = only(world)
    assert (both.kind, len(both.faults), "also amended_final" in both.detail) == (FindingKind.ALTERED, 2, True)
    answer(world, people, "accept", both)
    world.assert_intact()
    behind(world, "UPDATE visit SET note='again' WHERE id=3")
    assert (only(world).kind, len(only(world).faults), only(world).detail) == (FindingKind.ALTERED, 1, "")


def test_what_changed_since_the_proposal_stays_open(sealed: World) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    made = propose(sealed.home, people[0], "accept", only(sealed), WHY, sealed.tick())
    behind(sealed, "UPDATE visit SET note='more' WHERE id=3")
    before = sealed.home.journal.size
    with pytest.raises(LedgerError, match="no longer as it was proposed"):
        confirm(sealed.home, people[1], made, WHY, sealed.tick())
    assert sealed.home.journal.size == before and only(sealed).kind is FindingKind.ALTERED


def test_a_queued_change_keeps_a_row_from_being_taken_in(captured: World) -> None:
    world = visits(captured)
    people = staff(world)
    behind(world, ALTER)
    made = propose(world.home, people[0], "accept", only(world), WHY, world.tick())
    world.hospital.run("UPDATE visit SET note='lawful' WHERE id=3")
    with pytest.raises(LedgerError, match="no longer as it was proposed"):
        confirm(world.home, people[1], made, WHY, world.tick())
    world.seal()
    assert (only(world).kind, only(world).columns) == (FindingKind.ALTERED, ("ward",))


def test_dismissing_says_nothing_of_when_a_row_was_intact(sealed: World) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    answer(sealed, people, "dismiss", only(sealed))
    sealed.audit()
    sealed.seal()
    (made,) = read_resolutions(sealed.home).answers.values()
    reopen(sealed.home, people[0], made, WHY, sealed.tick())
    intact = only(sealed).intact_at
    assert intact is not None and intact.size == min(sealed.anchored)


# Reopening


@pytest.mark.parametrize("do", ["accept", "dismiss"])
def test_a_reopened_finding_is_the_same_finding(sealed: World, do: str) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    found = only(sealed)
    answer(sealed, people, do, found)
    (made,) = read_resolutions(sealed.home).answers.values()
    reopen(sealed.home, people[1], made, Why("was wrong", "T-2"), sealed.tick())
    again = only(sealed)
    assert (again.id, again.kind, again.key, again.columns) == (found.id, FindingKind.ALTERED, {"id": 3}, ("ward",))
    answer(sealed, people, "dismiss", again)
    sealed.assert_intact()
    assert states(read_resolutions(sealed.home).answers) == ["reopened", "resolved"]


def test_a_withdrawn_proposal_cannot_be_confirmed_and_nothing_is_reopened_twice(sealed: World) -> None:
    people = staff(sealed)
    behind(sealed, ALTER)
    made = propose(sealed.home, people[0], "dismiss", only(sealed), WHY, sealed.tick())
    reopen(sealed.home, people[0], made, WHY, sealed.tick())
    with pytest.raises(PersonError, match="confirmed or withdrawn already"):
        confirm(sealed.home, people[1], made, WHY, sealed.tick())
    with pytest.raises(PersonError, match="open already"):
        reopen(sealed.home, people[1], made, WHY, sealed.tick())


def test_nothing_is_confirmed_twice(sealed: World) -> None:
    people = staff(sealed)
    zhao = person(sealed, "Zhao")
    behind(sealed, ALTER)
    made = propose(sealed.home, people[0], "dismiss", only(sealed), WHY, sealed.tick())
    confirm(sealed.home, people[1], made, WHY, sealed.tick())
    with pytest.raises(PersonError, match="confirmed or withdrawn already"):
        confirm(sealed.home, zhao, made, WHY, sealed.tick())


# What nobody can answer


@pytest.mark.parametrize("kind", [FindingKind.JOURNAL_ALTERED, FindingKind.FORKED, FindingKind.ROLLED_BACK, FindingKind.UNANCHORED])
def test_findings_about_the_journal_cannot_be_accepted_away(sealed: World, kind: FindingKind) -> None:
    people = staff(sealed)
    with pytest.raises(LedgerError, match=f"a finding of kind {kind.value} cannot be accepted or dismissed: mend what it tells of"):
        propose(sealed.home, people[0], "accept", Finding(kind, None), WHY, sealed.tick())


def test_an_altered_journal_has_no_id_to_answer(sealed: World) -> None:
    sealed.home.store.db.execute("UPDATE entries SET body=zeroblob(40) WHERE idx=3")
    found = sealed.audit(record=False).findings
    assert any(one.kind is FindingKind.JOURNAL_ALTERED for one in found)
    assert all(one.id is None and one.faults == () for one in found if one.kind is FindingKind.JOURNAL_ALTERED)


def test_capture_that_is_off_is_mended_and_not_accepted(captured: World) -> None:
    world = visits(captured)
    people = staff(world)
    with world.hospital.blind():
        found = [one for one in world.audit(record=False).findings if one.kind is FindingKind.CAPTURE_DISABLED]
        assert found and all(one.id is None for one in found)
        with pytest.raises(LedgerError, match="a finding of kind capture_disabled cannot be accepted"):
            propose(world.home, people[0], "accept", found[0], WHY, world.tick())
    world.assert_intact()


def test_a_changed_schema_is_accepted_as_it_is_now(captured: World) -> None:
    world = visits(captured)
    people = staff(world)
    world.hospital.run("ALTER TABLE visit ADD COLUMN extra TEXT")
    found = next(one for one in world.audit(record=False).findings if one.kind is FindingKind.SCHEMA_CHANGED)
    answer(world, people, "accept", found)
    assert FindingKind.SCHEMA_CHANGED not in {one.kind for one in world.audit(record=False).findings}
    world.hospital.run("ALTER TABLE visit ADD COLUMN extra2 TEXT")
    assert FindingKind.SCHEMA_CHANGED in {one.kind for one in world.audit(record=False).findings}


def test_a_row_whose_key_is_gone_is_answered_for_its_present_content_only(sealed: World) -> None:
    people = staff(sealed)
    sealed.home.subjects._db.execute("UPDATE subject SET key=NULL")
    sealed.home.subjects._keys.clear()
    (found, *_) = [one for one in sealed.audit(record=False).findings if one.key == {"id": 3}]
    assert found.kind is FindingKind.SECRET_MISSING
    assert answer(sealed, people, "accept", found).taken == 0
    assert {"id": 3} not in [one.key for one in sealed.audit(record=False).findings]
    behind(sealed, ALTER)
    assert {"id": 3} in [one.key for one in sealed.audit(record=False).findings]


# Restored homes


def test_answers_come_back_from_the_mirrors_rows(sealed: World) -> None:
    """All that an answer consists of is an entry and its document, which every mirror and backup has."""
    people = staff(sealed)
    behind(sealed, ALTER)
    answer(sealed, people, "dismiss", only(sealed))
    for table in ("audits", "authors", "copies"):
        sealed.home.store.db.execute(f"DELETE FROM {table}")
    sealed.assert_intact()
    assert isinstance(sealed.entries()[3], RecordEntry)
