"""Indexes that contradict their table: whoever may write the catalogue makes them, and they hide no row and bring none back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from audit_world import World, make_world

from ledger.errors import HomeError, SourceError
from ledger.store import Store

KEYS = ("INTEGER", "TEXT")


@pytest.fixture(params=KEYS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A hundred sealed rows under a key of either type."""
    made = make_world("sqlite", "triggers", tmp_path, lambda: None)
    made.hospital.run(f"CREATE TABLE lab (id {request.param} PRIMARY KEY, value REAL)")
    made.hospital.many("INSERT INTO lab VALUES (?, 1.5)", [(n if request.param == "INTEGER" else f"k{n:03}",) for n in range(100)])
    made.attach("lab")
    made.seal()
    yield made
    made.close()


def beside_an_index(database: Path, table: str, columns: str, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change a database while its catalogue hides an index, which therefore keeps what was there before."""

    def catalogue(statement: str, *values: object) -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema=ON")
            connection.execute(statement, values)
            version = connection.execute("PRAGMA schema_version").fetchone()[0]
            connection.execute(f"PRAGMA schema_version={version + 1}")

    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"CREATE INDEX report_ix ON {table}({columns})")
        root, sql = connection.execute("SELECT rootpage, sql FROM sqlite_schema WHERE name='report_ix'").fetchone()
    catalogue("DELETE FROM sqlite_schema WHERE name='report_ix'")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        change(connection)
    catalogue("INSERT INTO sqlite_schema VALUES ('index', 'report_ix', ?, ?, ?)", table, root, sql)


def test_rows_altered_under_an_index_that_keeps_the_old_ones(world: World) -> None:
    database = world.hospital.path

    def alter(connection: sqlite3.Connection) -> None:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE lab SET value = 9.5")
        for _, sql in triggers:
            connection.execute(sql)

    beside_an_index(database, "lab", "id, value", alter)
    assert len([kind for kind, _, columns in world.found() if (kind, columns) == ("altered", ("value",))]) == 100


# On PostgreSQL


DEAR = ("enable_seqscan = off", "enable_sort = off", "seq_page_cost = 1e300")  # a table that is only read by its indexes


@pytest.fixture
def served(tmp_path: Path, postgres: Any) -> Iterator[World]:
    """A hundred sealed rows on a server, where an administrator made it dear to read a table otherwise than by an index."""
    made = make_world("postgresql", "triggers", tmp_path, lambda: postgres)
    made.hospital.run("CREATE TABLE lab (id INTEGER PRIMARY KEY, value DOUBLE PRECISION)")
    made.hospital.many("INSERT INTO lab VALUES (?, 1.5)", [(n,) for n in range(100)])
    made.attach("lab")
    made.seal()
    for setting in DEAR:
        made.hospital.run(f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$")
    yield made
    made.close()


def beside_the_key(world: World, *statements: str) -> None:
    """Change the table while its primary key takes no entries."""
    world.hospital.run("SET allow_system_table_mods = on")
    for ready in (False, True):
        with world.hospital.blind():
            world.hospital.run(f"UPDATE pg_index SET indisready = {ready} WHERE indexrelid = 'lab_pkey'::regclass")
            for statement in () if ready else statements:
                world.hospital.run(statement)


def by_the_key(world: World, condition: str) -> list[tuple[object, ...]]:
    """What a reader sees who goes by the index."""
    with closing(world.hospital.connect()) as connection:
        return connection.execute(f"SELECT id, value FROM lab WHERE {condition} ORDER BY id").fetchall()


def test_a_row_that_the_primary_key_does_not_know_is_found(served: World) -> None:
    beside_the_key(served, "INSERT INTO lab VALUES (777, 9.5)")
    assert len(by_the_key(served, "true")) == 100 and by_the_key(served, "id = 777") == []  # hidden
    assert served.found() == [("inserted", (777,), ())]


def test_a_second_row_under_a_key_is_found(served: World) -> None:
    beside_the_key(served, "INSERT INTO lab VALUES (7, 9.5)")
    assert by_the_key(served, "id = 7") == [(7, 1.5)]
    assert served.found() != []


def test_a_row_changed_out_of_the_sight_of_its_index_is_found(served: World) -> None:
    served.hospital.run("CREATE INDEX report_ix ON lab (id) INCLUDE (value)")
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'report_ix'::regclass"
    beside_the_key(
        served, ready.format(False), "DELETE FROM lab WHERE id = 9", "INSERT INTO lab VALUES (9, 9.5)", ready.format(True)
    )  # fmt: skip
    assert served.found() == [("altered", (9,), ("value",))]


def test_a_table_that_can_be_read_by_an_index_only_is_not_intact(served: World) -> None:
    beside_the_key(served, "INSERT INTO lab VALUES (777, 9.5)")
    served.hospital.run("ALTER TABLESPACE pg_default SET (seq_page_cost = 1e300)")
    try:
        with pytest.raises(SourceError, match="would read the table by an index only: reset the cost settings"):
            served.found()
    finally:
        served.hospital.run("ALTER TABLESPACE pg_default RESET (seq_page_cost)")
    assert served.found() == [("inserted", (777,), ())]


# A home's own indexes


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE TRIGGER "sqlite-stat" BEFORE INSERT ON audits BEGIN SELECT RAISE(IGNORE); END',
        'CREATE INDEX "sqlite-stat" ON state(tbl, live, entry)',
        "ANALYZE",
    ],
)
def test_a_home_with_anything_more_in_its_catalogue_is_refused(world: World, statement: str) -> None:
    path = world.home.path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(HomeError, match="was rebuilt by hand"):
        Store(path)


def test_a_home_whose_pages_contradict_each_other_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = Store(path, create=True)
    with store.transaction() as db:
        db.executemany("INSERT INTO entries VALUES (?, ?)", [(n, bytes(150)) for n in range(400)])
    store.check_sound()
    store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    root = store.db.execute("SELECT rootpage FROM sqlite_schema WHERE name='entries'").fetchone()[0]
    store.close()
    data = bytearray(path.read_bytes())
    at = (root - 1) * 8192
    assert data[at] == 5  # an interior page: its first two children change places
    first, second = (int.from_bytes(data[at + 12 + 2 * n : at + 14 + 2 * n], "big") for n in (0, 1))
    one, other = data[at + first : at + first + 4], data[at + second : at + second + 4]
    data[at + first : at + first + 4], data[at + second : at + second + 4] = other, one
    path.write_bytes(data)
    store = Store(path)
    with pytest.raises(HomeError, match="is damaged: restore the home"):
        store.check_sound()
    store.close()
