"""Rows planted in a capture queue, detaching under way, and one table under two names or two homes; on both engines."""

from __future__ import annotations

import pytest
from audit_world import World, visits

from ledger.attach import attach
from ledger.errors import LedgerError
from ledger.findings import FindingKind
from ledger.sources import open_source
from ledger.sources.refusal import OtherHome
from ledger.tables import Options, attached_tables

UID = "00112233445566778899aabbccddeeff"


def queue_of(world: World) -> str:
    if world.hospital.engine == "sqlite":
        return world.hospital.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'careseal_queue%' AND type = 'table'")[0][0]
    return world.hospital.rows("SELECT 'careseal.' || quote_ident(tablename) FROM pg_tables WHERE schemaname = 'careseal'")[0][0]


def plant(world: World, **values: str) -> None:
    """A queued update of visit 2, with these SQL expressions in place of what capture would write."""
    sqlite = world.hospital.engine == "sqlite"
    row = {"uid": f"x'{UID}'" if sqlite else f"'{UID}'", "op": "'U'", "at": "0" if sqlite else "now()", "changed": "'000010'"}
    row |= {"new_1": "2", "old_1": "2", **values}
    override = "" if sqlite else "OVERRIDING SYSTEM VALUE "
    world.hospital.run(f"INSERT INTO {queue_of(world)} ({', '.join(row)}) {override}VALUES ({', '.join(row.values())})")


BOTH = [{"uid": "NULL"}, {"seq": "-1"}, {"changed": "'0'"}, {"changed": "NULL"}, {"op": "NULL"}, {"op": "'X'"}, {"at": "NULL"}]
SQLITE = [
    {"uid": "'0123456789abcdef'"}, {"uid": "x'01'"}, {"uid": f"x'{UID}00'"}, {"changed": "x'303030303030'"}, {"new_1": "'x'"},
    {"old_1": "NULL"}, {"at": "9e999"}, {"at": "'x'"},
]  # fmt: skip
POSTGRES = [{"at": "'infinity'"}]


def check_planted(world: World, values: dict[str, str]) -> None:
    visits(world)
    plant(world, **values)
    world.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 2")
    for _ in range(2):
        assert sorted(kind for kind, _, _ in world.found()) == ["altered", "capture_disabled"]
        finding = next(f for f in world.audit(record=False).findings if f.kind is FindingKind.CAPTURE_DISABLED)
        assert "a queue row is malformed" in finding.detail
        assert world.seal() == 0


@pytest.mark.parametrize("values", BOTH, ids=str)
def test_a_malformed_queue_row_is_reported_and_set_aside(captured: World, values: dict[str, str]) -> None:
    check_planted(captured, values)


@pytest.mark.parametrize("values", SQLITE, ids=str)
def test_values_of_another_class_in_an_sqlite_queue(sqlite: World, values: dict[str, str]) -> None:
    check_planted(sqlite, values)


@pytest.mark.parametrize("values", POSTGRES, ids=str)
def test_values_that_postgresql_takes_in_a_queue(pg: World, values: dict[str, str]) -> None:
    check_planted(pg, values)


def test_a_second_row_of_one_id_is_reported(captured: World) -> None:
    visits(captured)
    plant(captured)
    plant(captured, new_1="3", old_1="3")
    assert [kind for kind, _, _ in captured.found()] == ["capture_disabled"]


def test_a_queue_row_that_is_in_the_journal_already_exempts_no_key(captured: World) -> None:
    visits(captured)
    plant(captured, seq="77")
    captured.seal()
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 2")
    captured.hospital.behind("DELETE FROM visit WHERE id = 3")
    plant(captured, seq="77")
    found = captured.found()
    assert ("altered", (2,), ("note",)) in found and ("deleted", (3,), ()) in found


def test_what_is_written_while_a_table_is_detached_is_sealed(captured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    visits(captured)
    before = len(captured.records())
    import ledger.detach

    sealing = ledger.detach.seal

    def seal_then_write(*arguments, **options):
        sealed = sealing(*arguments, **options)
        captured.hospital.run("INSERT INTO visit VALUES (11, 'P1', 'east', 1, NULL, NULL)")
        return sealed

    monkeypatch.setattr(ledger.detach, "seal", seal_then_write)
    assert captured.detach().done
    assert len(captured.records()) == before + 1
    assert attached_tables(captured.home) == []
    assert captured.home.store.db.execute("SELECT count(*) FROM to_consume").fetchone() == (0,)


@pytest.mark.parametrize("names", [["visit", "other"], ["other"]], ids=str)
def test_one_table_is_attached_once_however_it_is_spelled(captured: World, names: list[str]) -> None:
    other = "VISIT" if captured.hospital.engine == "sqlite" else "public.visit"
    if names == ["other"]:
        visits(captured)
    else:
        captured.hospital.run("CREATE TABLE visit (id INTEGER PRIMARY KEY)")
    with pytest.raises(LedgerError, match=f"table {other} is attached already"):
        attach(captured.home, captured.hospital.url, [other if n == "other" else n for n in names], (), Options(), captured.tick())


def test_a_queue_of_another_home_is_left_alone(captured: World) -> None:
    visits(captured)
    shape = attached_tables(captured.home)[0].shape
    source = open_source(captured.hospital.url)
    source.install_capture(shape, captured.home.settings.home_id)
    with pytest.raises(OtherHome, match="another Careseal home"):
        source.install_capture(shape, "0f")
    assert captured.found() == []
    source.close()
