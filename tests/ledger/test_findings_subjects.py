"""Whose key protects a row, what erasure leaves, and what can be shown of before and after."""

from __future__ import annotations

from typing import Any

import pytest
from audit_world import World, erase, one, visits

from ledger.erasure import erased_subjects
from ledger.errors import LedgerError
from ledger.findings import FindingKind
from ledger.wire import EventEntry, Kind, RecordEntry


def _sids(world: World) -> dict[int, int]:
    """The subject of each row of an integer key."""
    rows = world.home.store.db.execute("SELECT key, sid FROM state WHERE tbl=(SELECT max(id) FROM tables)")
    return {int.from_bytes(key, "big") - 2**63: sid for key, sid in rows}


def _sid(world: World, label: str) -> int:
    blind = world.home.subjects.blind(label)
    return world.home.subjects.known([blind])[blind]


def test_rows_of_one_subject_share_a_key(world: World) -> None:
    visits(world, subject="patient")
    sids = _sids(world)
    assert {sids[n] for n in (1, 4, 7, 10)} == {_sid(world, "subject:P1")}
    assert len(set(sids.values())) == 3
    assert len({entry.subject for entry in world.records()}) == 10  # blinded for each record
    world.assert_intact()


def test_a_subject_is_found_over_other_tables(world: World) -> None:
    world.hospital.run("CREATE TABLE patient (id INTEGER PRIMARY KEY, mrn TEXT)")
    world.hospital.run("CREATE TABLE stay (id INTEGER PRIMARY KEY, patient INTEGER)")
    world.hospital.run("CREATE TABLE result (id INTEGER PRIMARY KEY, stay INTEGER, v TEXT)")
    world.hospital.many("INSERT INTO patient VALUES (?,?)", [(1, "M1"), (2, "M2")])
    world.hospital.many("INSERT INTO stay VALUES (?,?)", [(10, 1), (11, 2), (12, 1)])
    world.hospital.many("INSERT INTO result VALUES (?,?,'x')", [(100, 10), (101, 11), (102, 12), (103, 99), (104, None)])
    world.attach("result", subject="stay/stay.id/patient/patient.id/mrn")
    world.seal()
    sids = _sids(world)
    assert sids[100] == sids[102] == _sid(world, "subject:M1")
    assert sids[101] == _sid(world, "subject:M2")
    assert sids[103] == sids[104] == _sid(world, "table:result")
    world.hospital.behind("UPDATE stay SET patient = 2")
    world.assert_intact()
    world.hospital.behind("UPDATE result SET v = 'y' WHERE id = 100")
    assert world.found() == [("altered", (100,), ("v",))]


def test_every_row_may_have_a_key_of_its_own(world: World) -> None:
    visits(world, subject="@row")
    assert len(set(_sids(world).values())) == 10
    world.assert_intact()


def test_a_null_subject_falls_back_to_the_table(world: World) -> None:
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT)")
    world.hospital.many("INSERT INTO t VALUES (?,?)", [(1, None), (2, ""), (3, "x")])
    world.attach("t", subject="p")
    world.seal()
    sids = _sids(world)
    assert sids[1] == _sid(world, "table:t") and sids[2] == _sid(world, "subject:") and sids[3] == _sid(world, "subject:x")


def test_a_row_that_changes_its_subject_changes_its_key(captured: World) -> None:
    visits(captured, subject="patient", copies=True)
    captured.hospital.run("UPDATE visit SET patient = 'P9', note = 'moved' WHERE id = 4")
    captured.hospital.run("UPDATE visit SET patient = NULL WHERE id = 5")
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (99, 'P9')")
    captured.hospital.run("UPDATE visit SET note = 'n' WHERE id = 99")
    captured.seal()
    captured.assert_intact()
    sids = _sids(captured)
    assert sids[4] == sids[99] == _sid(captured, "subject:P9")
    assert sids[5] == _sid(captured, "table:visit")
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 4")
    captured.hospital.run("UPDATE visit SET patient = 'P0' WHERE id = 4")
    captured.seal()
    shown = one(captured.audit(record=False, values=True).findings, FindingKind.ALTERED)
    assert (shown.columns, shown.before, shown.after) == (("note",), {"note": "moved"}, {"note": "forged"})


def test_a_deleted_record_keeps_its_subject(captured: World) -> None:
    visits(captured, subject="patient", deletable=True)
    captured.hospital.run("DELETE FROM visit WHERE id = 4")
    captured.seal()
    captured.assert_intact()
    assert _sids(captured)[4] == _sid(captured, "subject:P1")
    assert captured.records()[-1].subject == captured.records()[3].subject


# Erasure


def _erased(world: World) -> World:
    visits(world, subject="patient")
    erase(world, "subject:P1")
    return world


def test_an_erased_subject_whose_rows_are_gone_is_no_finding(captured: World) -> None:
    visits(captured, subject="patient", deletable=True)
    captured.hospital.run("DELETE FROM visit WHERE patient = 'P1'")
    captured.seal()
    erase(captured, "subject:P1")
    captured.assert_intact()


def test_rows_of_an_erased_subject_are_told_as_such(world: World) -> None:
    _erased(world)
    assert world.found() == [("erased_present", (n,), ()) for n in (1, 4, 7, 10)]
    assert [entry.kind for entry in world.entries() if isinstance(entry, EventEntry)][-1] is Kind.ERASURE
    assert erased_subjects(world.home) == {_sid(world, "subject:P1")}
    assert world.home.store.db.execute("SELECT count(*) FROM documents WHERE instr(body, 'P1')").fetchone() == (0,)


def test_a_key_that_came_back_does_not_undo_an_erasure(world: World) -> None:
    visits(world, subject="patient")
    sid = _sid(world, "subject:P1")
    kept = world.home.subjects.keys([sid])[sid]
    erase(world, "subject:P1")
    assert world.home.subjects.rows([sid])[0][2] is None
    wrapped = world.home.subjects._wrapped(kept, world.home.subjects.blind("subject:P1"))
    world.home.subjects._db.execute("UPDATE subject SET key=? WHERE sid=?", (wrapped, sid))
    assert world.found() == [("erased_present", (n,), ()) for n in (1, 4, 7, 10)]


def test_an_erasure_done_twice_is_journalled_once(world: World) -> None:
    _erased(world)
    size = world.home.journal.size
    with pytest.raises(LedgerError, match="this subject is erased already"):
        erase(world, "subject:P1")
    assert world.home.journal.size == size
    with pytest.raises(LedgerError, match="no sealed record"):
        erase(world, "subject:unknown")


def test_rows_of_an_erased_subject_can_still_change_and_arrive(world: World) -> None:
    _erased(world)
    world.hospital.run("INSERT INTO visit (id, patient) VALUES (40, 'P1')")
    if world.capture == "triggers":
        world.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 4")
        world.hospital.run("UPDATE visit SET patient = 'P2' WHERE id = 7")
    world.seal()
    rest = (1, 4, 10, 40) if world.capture == "triggers" else (1, 4, 7, 10, 40)
    assert sorted(world.found()) == [("erased_present", (n,), ()) for n in rest]
    assert all(isinstance(entry, RecordEntry | EventEntry) for entry in world.entries())


def test_a_key_gone_without_an_erasure_is_a_missing_secret(world: World) -> None:
    visits(world, subject="patient")
    world.home.subjects.destroy(world.home.subjects.blind("subject:P1"))
    result = world.audit(record=False)
    assert [(f.kind, f.key["id"]) for f in result.findings] == [(FindingKind.SECRET_MISSING, n) for n in (1, 4, 7, 10)]
    assert not result.ok


def test_a_row_that_cannot_be_opened_is_told_before_any_row_it_hides(captured: World) -> None:
    visits(captured, subject="patient")
    captured.home.subjects.destroy(captured.home.subjects.blind("subject:P1"))
    captured.hospital.behind("DELETE FROM visit WHERE id = 4")
    captured.hospital.behind("UPDATE visit SET note = 'x' WHERE id IN (1, 2)")
    assert sorted(captured.found()) == [
        ("altered", (2,), ("note",)),
        ("deleted", (4,), ()),
        ("secret_missing", (1,), ()),
        ("secret_missing", (7,), ()),
        ("secret_missing", (10,), ()),
    ]


# Before and after


def _shown(world: World) -> dict[Any, tuple[Any, Any]]:
    findings = world.audit(record=False, values=True).findings
    return {next(iter(finding.key.values())): (finding.before, finding.after) for finding in findings}


def test_with_copies_before_and_after_are_shown(world: World) -> None:
    visits(world, copies=True)
    world.hospital.behind("UPDATE visit SET note = 'forged', price = NULL WHERE id = 3")
    world.hospital.behind("DELETE FROM visit WHERE id = 4")
    shown = _shown(world)
    price = "30" if world.hospital.engine == "sqlite" else "30.00"
    assert shown[3] == ({"price": price, "note": None}, {"price": None, "note": "forged"})
    before, after = shown[4]
    assert before is not None and before["patient"] == "P1" and len(before) == 6 and after is None


def test_without_copies_nothing_is_guessed(world: World) -> None:
    visits(world)
    world.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    assert _shown(world) == {3: (None, {"note": "forged"})}


def test_values_are_shown_only_when_they_are_asked_for(world: World) -> None:
    visits(world, copies=True)
    world.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    found = one(world.audit(record=False).findings, FindingKind.ALTERED)
    assert (found.before, found.after) == (None, None)


def test_the_previous_version_is_kept_on_an_amendment_without_copies(captured: World) -> None:
    visits(captured, immutable=("patient",))
    captured.hospital.run("UPDATE visit SET patient = 'P9' WHERE id = 3")
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (99, 'a')")
    captured.hospital.run("UPDATE visit SET patient = 'b' WHERE id = 99")
    captured.seal()
    shown = _shown(captured)
    assert shown[3] == ({"patient": "P0"}, {"patient": "P9"})
    assert shown[99] == (None, {"patient": "b"})
    captured.hospital.run("UPDATE visit SET ward = 'later' WHERE id = 3")
    captured.seal()
    assert _shown(captured)[3] == ({"patient": "P0"}, {"patient": "P9"})


def test_the_version_after_is_not_the_present_row_of_a_later_one(captured: World) -> None:
    visits(captured, immutable=("patient",))
    captured.hospital.run("UPDATE visit SET patient = 'P9' WHERE id = 3")
    captured.seal()
    captured.hospital.behind("UPDATE visit SET patient = 'P8' WHERE id = 3")
    captured.hospital.behind("UPDATE visit SET patient = 'P7' WHERE id = 3")
    assert one(captured.audit(record=False).findings, FindingKind.ALTERED).detail == "also amended_final"
    assert _shown(captured)[3] == (None, {"patient": "P7"})


def test_a_tampered_row_is_never_kept_as_the_version_that_was_sealed(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    captured.seal()
    assert captured.home.store.db.execute("SELECT count(*) FROM copies").fetchone() == (0,)
    assert _shown(captured)[3] == (None, {"note": "forged"})


def test_copies_open_under_their_own_version_only(captured: World) -> None:
    visits(captured, copies=True)
    for n in range(3):
        captured.hospital.run("UPDATE visit SET note = ? WHERE id = 3", f"v{n}")
        captured.seal()
    bodies = [body for (body,) in captured.home.store.db.execute("SELECT body FROM copies")]
    assert len(bodies) == len(set(bodies)) == 13
    assert not any(b"P0" in body for body in bodies)
