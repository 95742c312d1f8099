"""Indexes that contradict their table: whoever may write the catalogue makes them, and they hide no row and bring none back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from audit_world import World, make_world

from ledger.errors import HomeError
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
