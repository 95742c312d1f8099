"""While a hold stands its subjects are not erased and its records not deleted unseen; only the lawful ways end it."""

from __future__ import annotations

import json

import pytest
from audit_world import PARTY, STAFF, World, erase, register, visits

from ledger.canonical import decode
from ledger.errors import LedgerError, PersonError
from ledger.findings import FindingKind
from ledger.holds import Held, Hold, Part, create_hold, extend_hold, find_hold, holds, release_hold
from ledger.wire import Kind

DAY = 86_400_000


def held(world: World, *ids: int, number: int = 1, until: int = 0) -> Hold:
    """A hold of these visits."""
    rows = world.home.store.db.execute("SELECT tbl, key, entry, sid FROM state").fetchall()
    chosen = [row for row in rows if int.from_bytes(row[1], "big") - 2**63 in ids]
    blinds = {blind.hex() for _, blind, _ in world.home.subjects.rows({row[3] for row in chosen})}
    part = Part(1, "part-0001.hold", "aa" * 32, "bb" * 32, tuple(Held(*row[:3]) for row in chosen), frozenset(blinds))
    hold = Hold(number, "/held", until or world.now + 1000 * DAY, "dispute", ("person 1",), (part,))
    create_hold(world.home, hold, world.tick())
    return hold


def standing(world: World, **options) -> World:
    visits(world, subject="patient", deletable=True, **options)
    register(world, *((key, "staff") for key in STAFF), (PARTY, "party"))
    held(world, 1, 4)
    return world


def test_a_held_subject_is_not_erased_until_the_hold_is_released(captured: World) -> None:
    standing(captured)
    with pytest.raises(LedgerError, match=r"records of this subject are under hold 1, until 20\d\d-\d\d-\d\d at least: release it first"):
        erase(captured, "subject:P1")
    erase(captured, "subject:P2")
    release_hold(captured.home, 1, "both", None, (STAFF[0], PARTY), captured.tick())
    erase(captured, "subject:P1")


def test_a_held_record_that_is_deleted_is_a_finding_though_its_table_allows_it(captured: World) -> None:
    standing(captured)
    captured.hospital.run("DELETE FROM visit WHERE id = 2")
    captured.hospital.run("DELETE FROM visit WHERE id = 4")
    captured.seal()
    (finding,) = captured.audit(record=False).findings
    assert (finding.kind, finding.key, finding.detail) == (FindingKind.DELETED, {"id": 4}, "it is under hold 1")
    assert finding.id is None  # nobody answers it away while the hold stands
    release_hold(captured.home, 1, "settlement", "cc" * 32, STAFF[:1], captured.tick())
    captured.assert_intact()


def test_a_held_record_is_found_under_another_key_too(captured: World) -> None:
    standing(captured)
    captured.hospital.run("UPDATE visit SET id = 50 WHERE id = 4")
    captured.seal()
    captured.assert_intact()
    captured.hospital.run("DELETE FROM visit WHERE id = 50")
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (4, 'P9')")
    captured.seal()
    assert captured.found() == [("deleted", (50,), ())]


def test_a_held_record_stays_in_use(captured: World) -> None:
    standing(captured)
    captured.hospital.run("UPDATE visit SET note = 'later' WHERE id = 4")
    captured.seal()
    captured.assert_intact()


def test_a_hold_is_released_by_both_sides(sqlite: World) -> None:
    standing(sqlite)
    for keys in ((), STAFF[:1], (PARTY,), STAFF, (PARTY, PARTY), (*STAFF, PARTY)):
        with pytest.raises(PersonError, match="both sides release a hold: give --by twice"):
            release_hold(sqlite.home, 1, "both", None, keys, sqlite.tick())
    release_hold(sqlite.home, 1, "both", None, (PARTY, STAFF[1]), sqlite.tick())
    (hold,) = holds(sqlite.home)
    assert (hold.stands, hold.ground) == (False, "both")
    with pytest.raises(LedgerError, match="hold 1 was released already"):
        release_hold(sqlite.home, 1, "both", None, (PARTY, STAFF[1]), sqlite.tick())


def test_a_settlement_needs_a_person_of_the_staff(sqlite: World) -> None:
    standing(sqlite)
    for keys in ((), (PARTY,)):
        with pytest.raises(PersonError, match="a hold is released by a person of the staff"):
            release_hold(sqlite.home, 1, "settlement", "cc" * 32, keys, sqlite.tick())
    release_hold(sqlite.home, 1, "settlement", "cc" * 32, (STAFF[0],), sqlite.tick())
    assert holds(sqlite.home)[0].ground == "settlement"


def test_a_term_ends_a_hold_only_when_it_is_over(sqlite: World) -> None:
    standing(sqlite)
    until = find_hold(sqlite.home, 1).until
    with pytest.raises(LedgerError, match=r"hold 1 stands until 20\d\d-\d\d-\d\d: release it by both sides' keys, or by a settlement"):
        release_hold(sqlite.home, 1, "term", None, STAFF[:1], until - 1)
    extend_hold(sqlite.home, find_hold(sqlite.home, 1), None, until + DAY, "asked again", sqlite.tick())
    with pytest.raises(LedgerError, match="hold 1 stands until"):
        release_hold(sqlite.home, 1, "term", None, STAFF[:1], until)
    release_hold(sqlite.home, 1, "term", None, STAFF[:1], until + DAY)
    assert holds(sqlite.home)[0].ground == "term"


def test_holds_are_numbered_and_looked_up(sqlite: World) -> None:
    standing(sqlite)
    held(sqlite, 2, number=2)
    assert [hold.id for hold in holds(sqlite.home)] == [1, 2]
    assert [len(hold.parts[0].records) for hold in holds(sqlite.home)] == [2, 1]
    with pytest.raises(LedgerError, match="there is no hold 3: see careseal hold list"):
        find_hold(sqlite.home, 3)


def released(world: World) -> dict:
    release_hold(world.home, 1, "both", None, (STAFF[0], PARTY), world.tick())
    (index,) = list(world.home.journal.documents_of(Kind.HOLD))[-1][:1]
    return json.loads(json.dumps(decode(world.home.journal.document(index)[1])))


@pytest.mark.parametrize("change", [
    lambda d: d["release"].update(ground="term"), lambda d: d["release"].update(hold=1), lambda d: d["release"].update(hold=3),
    lambda d: d["release"].update(hold=0), lambda d: d["release"].update(ground="mercy"), lambda d: d["release"].pop("signed"),
    lambda d: d["release"].update(signed=d["release"]["signed"][:1]), lambda d: d["release"].update(signed=[d["release"]["signed"][0]] * 2),
    lambda d: d["release"]["signed"][0].update(signature="00" * 64), lambda d: d["release"]["signed"][0].update(person=2),
    lambda d: d["release"]["signed"][1].update(home="other"), lambda d: d.update(extend=d.pop("release")),
    lambda d: d["release"].update(settlement="cc" * 32), lambda d: d.update(other=d.pop("release")),
    lambda d: d["release"].update(signed=None),
])  # fmt: skip
def test_a_release_that_is_not_lawful_is_a_finding_and_releases_nothing(sqlite: World, change) -> None:
    """Everything of the first hold's release is replayed for the second, with one thing changed each time."""
    standing(sqlite)
    forged = released(sqlite)
    held(sqlite, 2, number=2)
    forged["release"]["hold"] = 2
    change(forged)
    with sqlite.home.batch() as batch:
        index = batch.add_event(Kind.HOLD, forged, sqlite.tick())
    with pytest.raises(LedgerError, match=f"entry {index} tells of no lawful hold, extension or release"):
        holds(sqlite.home)
    (finding,) = sqlite.audit(record=False).findings
    assert (finding.kind, finding.detail) == (
        FindingKind.JOURNAL_ALTERED, f"entry {index} tells of no lawful hold, extension or release: restore the home from its mirror",
    )  # fmt: skip
    with pytest.raises(LedgerError, match="tells of no lawful hold"):
        erase(sqlite, "subject:P1")


@pytest.mark.parametrize("settlement", ["cc" * 31, "cc" * 33, "", None, "zz" * 32])
def test_a_settlement_without_its_digest_is_refused(sqlite: World, settlement: str | None) -> None:
    standing(sqlite)
    size = sqlite.home.journal.size
    with pytest.raises(LedgerError, match="a settlement is named by the SHA-256 of its document, 64 hex digits"):
        release_hold(sqlite.home, 1, "settlement", settlement, STAFF[:1], sqlite.tick())
    assert sqlite.home.journal.size == size
