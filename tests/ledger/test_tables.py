"""Attached tables: what the home remembers of them, and what the journal commits to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from audit_world import World, visits

from ledger import canonical
from ledger.attach import attach
from ledger.detach import detach
from ledger.errors import HomeError, LedgerError, SourceError
from ledger.home import Home
from ledger.seal import tables_of
from ledger.tables import Options, attached_tables, find_table, shape_from


def test_what_was_declared_is_remembered_and_journalled(captured: World) -> None:
    options = {"immutable": ("patient",), "final": "note is not null", "time": "at", "grace": 7, "subject": "patient", "copies": True}
    visits(captured, **options)
    [table] = attached_tables(captured.home)
    assert table.options == Options(**options)  # type: ignore[arg-type]
    assert table.source == captured.hospital.url and table.sealed and not table.detached
    document = canonical.decode(captured.home.journal.document(table.entry)[1])
    assert document == table.document()
    text = canonical.encode(document).decode()
    assert captured.hospital.url not in text and "sqlite:" not in text and "postgresql:" not in text


def test_the_database_url_is_not_in_the_home_in_clear(captured: World) -> None:
    visits(captured)
    [(stored,)] = captured.home.store.db.execute("SELECT source FROM tables").fetchall()
    assert captured.hospital.url.encode() not in stored
    captured.home.store.db.execute("UPDATE tables SET source=zeroblob(60)")
    with pytest.raises(HomeError, match="list of tables was changed"):
        attached_tables(captured.home)


@pytest.mark.parametrize("bad", ["7", "{}", "null", '{"table":"t"}', "x", '{"table":"t","encoding":"e","columns":[{}],"key_kinds":[]}'])
def test_a_damaged_description(sqlite: World, bad: str) -> None:
    visits(sqlite)
    sqlite.home.store.db.execute("UPDATE tables SET shape=?", (bad,))
    with pytest.raises(LedgerError):
        attached_tables(sqlite.home)


@pytest.mark.parametrize("bad", ["7", "null", "x", '{"unknown": 1}'])
def test_damaged_options(sqlite: World, bad: str) -> None:
    visits(sqlite)
    sqlite.home.store.db.execute("UPDATE tables SET options=?", (bad,))
    with pytest.raises(LedgerError):
        attached_tables(sqlite.home)


def test_a_shape_comes_back_from_its_document(captured: World) -> None:
    visits(captured)
    [table] = attached_tables(captured.home)
    document = table.document()["attach"]
    assert isinstance(document, dict) and shape_from(document) == table.shape


def test_tables_are_found_by_name(world: World) -> None:
    visits(world)
    assert find_table(world.home, "visit").id == 1
    with pytest.raises(LedgerError, match="attached are: visit"):
        find_table(world.home, "nope")
    assert [table.name for table in tables_of(world.home, ["visit"])] == ["visit"]
    with pytest.raises(HomeError, match="attached are: visit"):
        list(tables_of(world.home, ["nope"]))


def test_all_tables_are_attached_or_none(world: World) -> None:
    world.hospital.run("CREATE TABLE a (id INTEGER PRIMARY KEY)")
    for names, text in (((), "name at least one"), (("a", "missing"), "no table"), (("a", "a"), "already")):
        with pytest.raises((LedgerError, SourceError), match=text):
            world.attach(*names)
        assert attached_tables(world.home) == [] and world.home.journal.size == 0
    world.attach("a")
    with pytest.raises(LedgerError, match="attached already"):
        world.attach("a")


def test_attaching_after_a_crash_completes_it(captured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    captured.hospital.run("CREATE TABLE a (id INTEGER PRIMARY KEY)")

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Home, "batch", fail)
        with pytest.raises(KeyboardInterrupt):
            captured.attach("a")
    captured.hospital.run("INSERT INTO a VALUES (1)")
    captured.attach("a")
    captured.hospital.run("INSERT INTO a VALUES (2)")
    assert captured.seal() == 2
    captured.assert_intact()


def test_detaching_seals_what_was_captured_and_leaves_the_schema_as_it_was(captured: World) -> None:
    schema = "SELECT sql FROM sqlite_schema ORDER BY name" if captured.hospital.engine == "sqlite" else (
        "SELECT relname, relkind::text FROM pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,"
        " 'information_schema'::regnamespace) ORDER BY 1 UNION ALL SELECT nspname, 'n' FROM pg_namespace WHERE nspname LIKE 'care%'"
    ).replace("ORDER BY 1 ", "")  # fmt: skip
    captured.hospital.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, v TEXT)")
    before = sorted(captured.hospital.rows(schema))
    captured.attach("visit")
    captured.hospital.run("INSERT INTO visit VALUES (1, 'x')")
    captured.seal()
    captured.hospital.run("UPDATE visit SET v = 'y' WHERE id = 1")
    assert captured.detach().done
    assert sorted(captured.hospital.rows(schema)) == before
    assert attached_tables(captured.home) == []
    assert [entry.version for entry in captured.records()] == [1, 2]
    captured.anchor()
    captured.hospital.run("UPDATE visit SET v = 'free' WHERE id = 1")
    captured.assert_intact()


def test_a_table_attached_again_is_another_one(world: World) -> None:
    visits(world)
    assert world.detach().done
    world.attach("visit")
    world.seal()
    [table] = attached_tables(world.home)
    assert table.id == 2
    world.assert_intact()
    assert [t.id for t in attached_tables(world.home, detached=True)] == [1, 2]


def test_a_lost_database_can_be_detached_by_force(world: World) -> None:
    visits(world)
    lost = replace(attached_tables(world.home)[0], source="sqlite:////nowhere/at/all.db")
    with pytest.raises(SourceError):
        detach(world.home, [lost], world.tick(), lambda tables: world.audit())
    assert detach(world.home, [lost], world.tick(), None).audits == {}
    assert attached_tables(world.home) == []


def test_a_table_with_more_columns_than_fit_an_entry_names_the_bound(world: World) -> None:
    world.hospital.run(f"CREATE TABLE wide ({', '.join(f'c{n} INTEGER' for n in range(257))}, PRIMARY KEY (c0))")
    with pytest.raises(LedgerError, match="at most 256"):
        attach(world.home, world.hospital.url, ["wide"], (), Options(capture="scan"), world.tick())
