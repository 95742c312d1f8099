"""Names of tables in a home: one name of two databases or schemas, and one table under two names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from audit_world import SqliteHospital, World, shown, visits

from ledger.attach import attach
from ledger.errors import LedgerError
from ledger.sources.refusal import OtherHome
from ledger.tables import Options, attached_tables, find_table

VISIT = "CREATE TABLE visit (id INTEGER PRIMARY KEY, patient TEXT, ward TEXT, price NUMERIC(10,2), note TEXT, at TEXT)"


@pytest.fixture
def second(world: World, tmp_path: Path) -> Any:
    """Another hospital's database of the same engine, with a table of the same name."""
    if world.hospital.engine == "sqlite":
        made = SqliteHospital(tmp_path / "second.db")
    else:
        made = type(world.hospital)(world.hospital.server)  # type: ignore[call-arg, union-attr]
    made.run(VISIT)
    made.many("INSERT INTO visit VALUES (?, 'Q', 'west', 1, NULL, NULL)", [(n,) for n in range(1, 6)])
    yield made
    made.close()


def attach_second(world: World, second: Any, alias: str | None = "visit_2") -> None:
    attach(world.home, second.url, ["visit"], (), Options(capture=world.capture), world.tick(), alias=alias)
    world.seal()


def test_the_same_name_in_two_databases(world: World, second: Any) -> None:
    visits(world)
    with pytest.raises(LedgerError, match="this home has a table visit already, of another database or schema: .* --as NAME"):
        attach_second(world, second, None)
    attach_second(world, second)
    world.assert_intact()
    second.behind("UPDATE visit SET note = 'forged' WHERE id = 2")
    world.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 7")
    found = world.audit().findings
    assert [(finding.table, *shown(finding)) for finding in found] == [
        ("visit", "altered", (7,), ("note",)), ("visit_2", "altered", (2,), ("note",))]  # fmt: skip
    assert [(part.name, part.rows, part.findings) for part in world.audit().tables] == [("visit", 10, 1), ("visit_2", 5, 1)]
    assert [finding.table for finding in world.audit(tables=["visit_2"]).findings] == ["visit_2"]
    assert find_table(world.home, "visit_2").document()["attach"].items() >= {"table": "visit_2", "source_table": "visit"}.items()  # type: ignore[union-attr, attr-defined]


def test_rows_of_two_tables_of_one_name_share_no_key(world: World, second: Any) -> None:
    visits(world, subject="@row")
    attach(world.home, second.url, ["visit"], (), Options(capture=world.capture, subject="@row"), world.tick(), alias="visit_2")
    world.seal()
    sids = world.home.store.db.execute("SELECT sid FROM state").fetchall()
    assert len(sids) == len(set(sids)) == 15


def test_captured_changes_and_detaching_under_another_name(captured: World, tmp_path: Path) -> None:
    hospital = captured.hospital
    hospital.run(VISIT)
    attach(captured.home, hospital.url, ["visit"], (), Options(), captured.tick(), alias="ward rounds")
    hospital.run("INSERT INTO visit VALUES (1, 'P', 'east', 1, NULL, NULL)")
    assert captured.seal() == 1
    hospital.run("DELETE FROM visit WHERE id = 1")
    captured.seal()
    [found] = captured.audit().findings
    assert (found.kind.value, found.table) == ("deleted", "ward rounds")
    assert captured.detach("ward rounds", with_findings=True).done
    captured.attach("visit")
    captured.seal()
    [former] = captured.audit().former  # the table is known by its name in its database too
    assert (former.table, former.source_table, former.findings) == ("ward rounds", "visit", {"deleted": 1})


@pytest.mark.parametrize("taken", ["Visit", "VISIT", "visit"])
def test_names_that_differ_only_by_case_are_refused(world: World, second: Any, taken: str) -> None:
    visits(world)
    with pytest.raises(LedgerError, match=f"this home has a table {taken} already"):
        attach_second(world, second, taken)
    assert len(attached_tables(world.home)) == 1


def test_one_table_is_not_attached_under_two_names(world: World) -> None:
    visits(world)
    with pytest.raises(LedgerError, match="table visit is attached already: detach it first"):
        attach(world.home, world.hospital.url, ["visit"], (), Options(capture=world.capture), world.tick(), alias="other")


def test_nor_where_its_database_is_spelled_otherwise(captured: World, tmp_path: Path) -> None:
    visits(captured)
    if captured.hospital.engine == "sqlite":
        (tmp_path / "link.db").symlink_to(captured.hospital.path)  # type: ignore[union-attr]
        url = f"sqlite:///{tmp_path / 'link.db'}"
    else:
        url = captured.hospital.url + ("&" if "?" in captured.hospital.url else "?") + "application_name=x"
    with pytest.raises(OtherHome, match="attached already, to another Careseal home or under another name"):
        attach(captured.home, url, ["visit"], (), Options(), captured.tick(), alias="other")
    captured.assert_intact()


def test_tables_of_two_schemas(pg: World) -> None:
    visits(pg)
    for schema in ("north", "south"):
        pg.hospital.run(f"CREATE SCHEMA {schema}")
        pg.hospital.run(f"CREATE TABLE {schema}.visit (id INTEGER PRIMARY KEY, note TEXT)")
    pg.attach("north.visit")
    attach(pg.home, pg.hospital.url, ["south.visit"], (), Options(), pg.tick(), alias="south")
    for schema in ("north", "south"):
        pg.hospital.run(f"INSERT INTO {schema}.visit VALUES (1, 'x')")
    assert pg.seal() == 2
    pg.hospital.run("DELETE FROM south.visit")
    pg.seal()
    assert [finding.table for finding in pg.audit().findings] == ["south"]


@pytest.mark.parametrize("alias", ["", "  ", "a\nb", "x" * 201, "\x1b[2J"])
def test_a_name_that_cannot_be_printed_is_refused(sqlite: World, alias: str) -> None:
    sqlite.hospital.run(VISIT)
    with pytest.raises(LedgerError, match="--as takes a name of printable characters, at most 200"):
        attach(sqlite.home, sqlite.hospital.url, ["visit"], (), Options(), sqlite.tick(), alias=alias)


def test_a_name_is_for_one_table(sqlite: World) -> None:
    with pytest.raises(LedgerError, match="give exactly one --table"):
        attach(sqlite.home, sqlite.hospital.url, ["a", "b"], (), Options(), sqlite.tick(), alias="c")
