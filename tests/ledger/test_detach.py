"""Letting tables go: what is open of them is journalled, and nobody forgets it by attaching anew; on both engines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from audit_world import World, visits

import ledger.detach
from ledger.audit import findings_sha256
from ledger.configuration import Former
from ledger.detach import detach
from ledger.errors import LedgerError
from ledger.tables import attached_tables


def last_document(world: World) -> tuple[int, dict[str, Any]]:
    """The last detachment's entry, and its document."""
    rows = world.home.store.db.execute("SELECT entry, body FROM documents ORDER BY entry DESC").fetchall()
    return next((entry, about["detach"]) for entry, body in rows if "detach" in (about := json.loads(body)))


def forge(world: World, *numbers: int) -> None:
    for number in numbers:
        world.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = ?", number)


def attached_anew(world: World) -> list[Former]:
    world.attach("visit")
    world.seal()
    result = world.audit()
    assert result.ok
    return result.former


def test_a_table_with_findings_stays_attached(world: World) -> None:
    visits(world)
    forge(world, 3, 4)
    outcome = world.detach()
    assert (outcome.done, dict(outcome.audits["visit"].counts)) == (False, {"altered": 2})
    assert [table.name for table in attached_tables(world.home)] == ["visit"]
    found = world.audit()
    assert {finding.kind.value for finding in found.findings} == {"altered"}  # capture is in its place
    with pytest.raises(StopIteration):
        last_document(world)


def test_what_is_open_is_journalled_and_told_after_attaching_anew(world: World) -> None:
    visits(world)
    forge(world, 3, 4)
    found = world.audit(record=False).findings
    assert world.detach(with_findings=True).done
    entry, about = last_document(world)
    assert (about["table"], about["findings"], about["findings_sha256"]) == ("visit", {"altered": 2}, findings_sha256(found))
    audit = json.loads(world.home.journal.document(about["audit"])[1])["audit"]
    assert (audit["findings"], audit["findings_sha256"]) == (2, about["findings_sha256"])
    assert attached_anew(world) == [Former("visit", "visit", entry, {"altered": 2})]


def test_a_table_without_findings_is_said_to_have_had_none(world: World) -> None:
    visits(world)
    assert world.detach().done
    entry, about = last_document(world)
    assert (about["findings"], about["findings_sha256"]) == ({}, findings_sha256(()))
    assert attached_anew(world) == [Former("visit", "visit", entry, {})]


def test_findings_marked_when_they_were_sealed_count(captured: World) -> None:
    visits(captured)
    captured.hospital.run("DELETE FROM visit WHERE id = 2")
    assert dict(captured.detach().audits["visit"].counts) == {"deleted": 1}


def test_disabled_capture_counts(captured: World) -> None:
    visits(captured)
    captured.hospital.drop_capture()
    assert dict(captured.detach().audits["visit"].counts) == {"capture_disabled": 1}
    assert captured.detach(with_findings=True).done
    assert last_document(captured)[1]["findings"] == {"capture_disabled": 1}


def test_findings_of_one_table_keep_all_that_were_named(world: World) -> None:
    visits(world)
    world.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    world.attach("other")
    world.seal()
    forge(world, 1)
    outcome = world.detach()
    assert not outcome.done and {name: len(last.findings) for name, last in outcome.audits.items()} == {"visit": 1, "other": 0}
    assert len(attached_tables(world.home)) == 2
    assert world.detach("other").done


def test_findings_about_the_journal_keep_every_table(world: World) -> None:
    visits(world)
    world.home.store.db.execute("UPDATE documents SET body = x'7b7d' WHERE entry = 0")
    outcome = world.detach()
    assert not outcome.done and dict(outcome.audits["visit"].counts) == {"journal_altered": 2}
    assert outcome.audits["visit"].entry is None


def test_a_lost_database_is_said_not_to_have_been_audited(world: World) -> None:
    visits(world)
    forge(world, 3)
    [table] = attached_tables(world.home)
    detach(world.home, [replace(table, source="sqlite:////nowhere/at/all.db")], world.tick(), None)
    entry, about = last_document(world)
    assert (about["audit"], about["findings"], about["findings_sha256"]) == (None, None, None)
    assert attached_anew(world) == [Former("visit", "visit", entry, None)]


def test_every_earlier_attachment_is_told_and_only_of_tables_that_are_looked_at(world: World) -> None:
    visits(world)
    world.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    world.attach("other")
    world.detach()
    world.attach("visit", "other")
    world.detach("visit")
    world.attach("visit")
    world.seal()
    assert [former.table for former in world.audit().former] == ["visit", "other", "visit"]
    assert [former.table for former in world.audit(tables=["visit"]).former] == ["visit", "visit"]


def test_a_change_against_the_rules_during_the_audit_keeps_the_table_and_its_capture(captured: World) -> None:
    visits(captured)

    def audit(tables: Any) -> Any:
        result = captured.audit()
        captured.hospital.run("DELETE FROM visit WHERE id = 5")
        return result

    with pytest.raises(LedgerError, match="visit was changed against its rules while it was audited, and stays attached"):
        detach(captured.home, attached_tables(captured.home), captured.tick(), audit, with_findings=True)
    captured.anchor()
    assert [kind for kind, *_ in captured.found()] == ["deleted"]
    assert dict(captured.detach().audits["visit"].counts) == {"deleted": 1}


def test_a_detachment_that_was_killed_after_capture_was_removed_goes_on(captured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    visits(captured)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger.detach, "_journal", killed)
        with pytest.raises(KeyboardInterrupt):
            captured.detach()
    assert [kind for kind, *_ in captured.found()] == ["capture_disabled"]
    assert captured.detach().done
    assert last_document(captured)[1]["findings"] == {}


def test_what_was_altered_after_it_was_killed_is_found(captured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    visits(captured)
    monkeypatch.setattr(ledger.detach, "_journal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        captured.detach()
    captured.hospital.run("UPDATE visit SET note = 'free' WHERE id = 1")
    assert dict(captured.detach().audits["visit"].counts) == {"altered": 1}
