"""What hospital applications lawfully do: none of it is a finding, all of it is journalled."""

from __future__ import annotations

from typing import Any

import pytest
from audit_world import PostgresHospital, SqliteHospital, World, visits

from ledger.wire import Flag


def _seals_intact(world: World, changes: int | None = None) -> None:
    assert world.found() == []
    added = world.seal()
    world.assert_intact()
    assert changes is None or added == changes
    assert world.queue("visit") == 0


STAMP = {
    "sqlite": (
        "CREATE TRIGGER {name} AFTER {event} ON visit BEGIN UPDATE visit SET note = 'stamped ' || NEW.ward WHERE id = NEW.id; END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF pg_trigger_depth() = 1 THEN UPDATE visit SET note = 'stamped ' || NEW.ward WHERE id = NEW.id; END IF; RETURN NULL; END $$",
        "CREATE TRIGGER {name} AFTER {event} ON visit FOR EACH ROW EXECUTE FUNCTION stamp()",
    ),
}


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("later", [False, True], ids=["made before", "made after"])
def test_triggers_of_the_hospital_that_change_the_row_again(captured: World, event: str, later: bool) -> None:
    def install() -> None:
        for statement in STAMP[captured.hospital.engine]:
            captured.hospital.run(statement.format(name="a_stamp", event=event))

    if later:
        visits(captured)
    install() if later else None
    if not later:
        captured.hospital.run(
            "CREATE TABLE visit (id INTEGER PRIMARY KEY, patient TEXT, ward TEXT, price NUMERIC(10,2), note TEXT, at TEXT)"
        )
        install()
        captured.hospital.many("INSERT INTO visit (id, ward) VALUES (?, 'east')", [(n,) for n in range(1, 11)])
        captured.attach("visit")
        captured.seal()
    captured.hospital.run("INSERT INTO visit (id, ward) VALUES (50, 'west'), (51, 'south')")
    captured.hospital.run("UPDATE visit SET ward = 'north' WHERE id < 4")
    captured.hospital.run("UPDATE visit SET ward = ward || '!' WHERE id IN (2, 50)")
    _seals_intact(captured)
    captured.hospital.behind("UPDATE visit SET price = 1 WHERE id = 2")
    captured.hospital.run("UPDATE visit SET ward = 'x' WHERE id IN (1, 2)")
    captured.seal()
    assert captured.found() == [("altered", (2,), ("price",))]


def test_triggers_that_change_the_row_before_it_is_written(pg: World) -> None:
    visits(pg)
    pg.hospital.run("CREATE FUNCTION fix() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'fixed'; RETURN NEW; END $$")
    pg.hospital.run("CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON visit FOR EACH ROW EXECUTE FUNCTION fix()")
    pg.hospital.run("INSERT INTO visit (id) VALUES (50)")
    pg.hospital.run("UPDATE visit SET ward = 'x' WHERE id < 4")
    pg.hospital.run("UPDATE visit SET ward = 'y' WHERE id < 4")
    _seals_intact(pg, 7)


def test_triggers_that_change_another_row(captured: World) -> None:
    visits(captured)
    if isinstance(captured.hospital, SqliteHospital):
        captured.hospital.run(
            "CREATE TRIGGER one AFTER UPDATE OF note ON visit WHEN NEW.note = 'current'"
            " BEGIN UPDATE visit SET note = 'former' WHERE note = 'current' AND id <> NEW.id; END"
        )
    else:
        captured.hospital.run(
            "CREATE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.note = 'current' THEN"
            " UPDATE visit SET note = 'former' WHERE note = 'current' AND id <> NEW.id; END IF; RETURN NULL; END $$"
        )
        captured.hospital.run("CREATE TRIGGER zz AFTER UPDATE ON visit FOR EACH ROW EXECUTE FUNCTION one()")
    for key in (1, 2, 1, 3):
        captured.hospital.run("UPDATE visit SET note = 'current' WHERE id = ?", key)
    _seals_intact(captured)
    assert sorted(captured.hospital.rows("SELECT id FROM visit WHERE note = 'current'")) == [(3,)]


def test_foreign_keys_that_cascade(captured: World) -> None:
    if isinstance(captured.hospital, SqliteHospital):
        captured.hospital.run("PRAGMA foreign_keys = ON")
    captured.hospital.run("CREATE TABLE ward (name VARCHAR(20) PRIMARY KEY)")
    captured.hospital.run("INSERT INTO ward VALUES ('a'), ('b'), ('c')")
    captured.hospital.run(
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, w VARCHAR(20) REFERENCES ward ON UPDATE CASCADE ON DELETE SET NULL,"
        " x VARCHAR(20) REFERENCES ward ON DELETE CASCADE)"
    )
    captured.hospital.many("INSERT INTO visit VALUES (?,?,?)", [(n, "abc"[n % 3], "c" if n % 3 == 2 else None) for n in range(9)])
    captured.attach("visit", deletable=True)
    captured.seal()
    captured.hospital.run("UPDATE ward SET name = 'z' WHERE name = 'a'")
    captured.hospital.run("DELETE FROM ward WHERE name = 'b'")
    captured.hospital.run("DELETE FROM ward WHERE name = 'c'")
    _seals_intact(captured)
    assert captured.hospital.rows("SELECT count(*) FROM visit WHERE w = 'z'") == [(3,)]


def test_what_was_rolled_back_was_never_captured(captured: World) -> None:
    visits(captured)
    for statement in (
        "BEGIN", "UPDATE visit SET note = 'x'", "SAVEPOINT s", "DELETE FROM visit", "ROLLBACK TO s", "INSERT INTO visit (id) VALUES (50)",
        "ROLLBACK", "BEGIN", "UPDATE visit SET note = 'y' WHERE id = 1", "SAVEPOINT s", "UPDATE visit SET note = 'z' WHERE id = 1",
        "ROLLBACK TO s", "COMMIT",
    ):  # fmt: skip
        captured.hospital.run(statement)
    _seals_intact(captured, 1)


def test_housekeeping_of_the_database(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id = 1")
    for statement in ("VACUUM", "REINDEX", "ANALYZE") if captured.hospital.engine == "sqlite" else (
        "VACUUM FULL visit", "CLUSTER visit USING visit_pkey", "ANALYZE", "REINDEX TABLE visit", "ALTER TABLE visit SET (fillfactor = 50)",
        "COMMENT ON TABLE visit IS 'visits'", "CREATE INDEX ON visit (ward)", "ALTER TABLE visit ALTER COLUMN note SET STORAGE EXTERNAL",
    ):  # fmt: skip
        captured.hospital.run(statement)
    _seals_intact(captured, 1)
    captured.hospital.run("UPDATE visit SET note = 'y' WHERE id = 1")
    _seals_intact(captured, 1)


def test_bulk_statements(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.run("INSERT INTO visit (id, ward) SELECT id + 100, ward FROM visit")
    captured.hospital.run("UPDATE visit SET id = id + 1000 WHERE id > 100")
    captured.hospital.run("UPDATE visit SET ward = upper(ward), note = ward")
    captured.hospital.run("DELETE FROM visit WHERE id > 1105")
    _seals_intact(captured, 10 + 10 + 20 + 5)


def test_copy_merge_and_returning(pg: World) -> None:
    visits(pg, deletable=True)
    assert isinstance(pg.hospital, PostgresHospital)
    with pg.hospital.connect() as connection, connection.cursor() as cursor, cursor.copy("COPY visit (id, ward) FROM STDIN") as copy:
        for n in range(20, 40):
            copy.write_row((n, "copied"))
    version = pg.hospital.rows("SHOW server_version_num")[0][0]
    if int(version) >= 150000:
        pg.hospital.run(
            "MERGE INTO visit v USING generate_series(35, 45) AS s(id) ON v.id = s.id WHEN MATCHED AND v.id > 38 THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET note = 'merged' WHEN NOT MATCHED THEN INSERT (id, ward) VALUES (s.id, 'merged')"
        )
    pg.hospital.run("WITH gone AS (DELETE FROM visit WHERE id = 20 RETURNING *) UPDATE visit SET note = 'x' WHERE id = 21")
    _seals_intact(pg)


def test_values_at_the_edge(captured: World) -> None:
    sqlite = captured.hospital.engine == "sqlite"
    kinds = ("REAL", "INTEGER", "TEXT", "BLOB") if sqlite else ("double precision", "bigint", "text", "bytea")
    captured.hospital.run(f"CREATE TABLE visit (id INTEGER PRIMARY KEY, {', '.join(f'c{n} {kind}' for n, kind in enumerate(kinds))})")
    rows: list[list[Any]] = [
        [0.0, 0, "", b""],
        [-0.0, -(2**63), "\t\n\\N", b"\0"],
        [1e308, 2**63 - 1, "中文😀", b"\xff" * 1000],
        [5e-324, None, None, None],
        [float("inf"), 1, "x" * 100_000, b"\\"],
    ]
    for key, row in enumerate(rows):
        captured.hospital.run("INSERT INTO visit VALUES (?,?,?,?,?)", key, *row)
    captured.attach("visit", copies=True)
    captured.seal()
    captured.assert_intact()
    for shift in range(1, 4):
        for key in range(len(rows)):
            values = rows[(key + shift) % len(rows)]
            captured.hospital.run("UPDATE visit SET c0 = ?, c1 = ?, c2 = ?, c3 = ? WHERE id = ?", *values, key)
        if shift % 2:
            _seals_intact(captured)
    _seals_intact(captured)


def test_text_that_is_not_utf_8(sqlite: World) -> None:
    sqlite.hospital.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, v TEXT)")
    sqlite.hospital.run("INSERT INTO visit VALUES (1, CAST(x'61ff62' AS TEXT)), (2, CAST(x'00' AS TEXT))")
    sqlite.attach("visit")
    sqlite.seal()
    sqlite.hospital.run("UPDATE visit SET v = CAST(x'61fe62' AS TEXT) WHERE id = 1")
    _seals_intact(sqlite, 1)
    sqlite.hospital.behind("UPDATE visit SET v = CAST(x'61fd62' AS TEXT) WHERE id = 1")
    assert sqlite.found() == [("altered", (1,), ("v",))]


def test_rows_that_move_between_partitions(pg: World) -> None:
    pg.hospital.run("CREATE TABLE visit (id INTEGER, ward TEXT, note TEXT, PRIMARY KEY (id, ward)) PARTITION BY LIST (ward)")
    for ward in ("east", "west"):
        pg.hospital.run(f"CREATE TABLE visit_{ward} PARTITION OF visit FOR VALUES IN ('{ward}')")
    pg.hospital.many("INSERT INTO visit VALUES (?, 'east', 'n')", [(n,) for n in range(5)])
    pg.attach("visit", deletable=True)
    pg.seal()
    pg.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 1")
    pg.hospital.run("UPDATE visit_east SET note = 'x' WHERE id = 2")
    pg.hospital.run("INSERT INTO visit_west VALUES (9, 'west', 'direct')")
    _seals_intact(pg)
    with pg.hospital.blind():
        pg.hospital.run("UPDATE visit_west SET note = 'forged' WHERE id = 9")
    assert pg.found() == [("altered", (9, "west"), ("note",))]


def test_a_row_that_moves_between_partitions_counts_as_deleted_and_inserted(pg: World) -> None:
    # PostgreSQL fires the triggers of a deletion and an insertion for it, and no others: such a table needs --deletable.
    pg.hospital.run("CREATE TABLE visit (id INTEGER, ward TEXT, PRIMARY KEY (id, ward)) PARTITION BY LIST (ward)")
    for ward in ("east", "west"):
        pg.hospital.run(f"CREATE TABLE visit_{ward} PARTITION OF visit FOR VALUES IN ('{ward}')")
    pg.hospital.run("INSERT INTO visit VALUES (1, 'east')")
    pg.attach("visit")
    pg.seal()
    pg.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 1")
    pg.seal()
    assert pg.found() == [("deleted", (1, "east"), ())]


def test_a_table_in_another_schema_with_odd_names(pg: World) -> None:
    pg.hospital.run('CREATE SCHEMA "His 2"')
    pg.hospital.run('CREATE TABLE "His 2"."病历 "" x" (id INTEGER PRIMARY KEY, "select" TEXT, "a""b" TEXT)')
    pg.hospital.run("""INSERT INTO "His 2"."病历 "" x" VALUES (1, 'x', 'y')""")
    pg.attach('His 2.病历 " x')
    pg.seal()
    pg.hospital.run("""UPDATE "His 2"."病历 "" x" SET "select" = 'z'""")
    pg.seal()
    pg.assert_intact()
    with pg.hospital.blind():
        pg.hospital.run("""UPDATE "His 2"."病历 "" x" SET "a""b" = 'z'""")
    assert pg.found() == [("altered", (1,), ('a"b',))]


def test_changes_that_wait_while_a_long_transaction_is_open(pg: World) -> None:
    visits(pg)
    assert isinstance(pg.hospital, PostgresHospital)
    with pg.hospital.connect() as slow:
        slow.execute("BEGIN")
        slow.execute("UPDATE visit SET note = 'slow' WHERE id = 1")
        pg.hospital.run("UPDATE visit SET note = 'fast' WHERE id = 2")
        assert pg.seal() == 1
        pg.assert_intact()
        slow.execute("UPDATE visit SET ward = 'slow' WHERE id = 1")
        slow.execute("COMMIT")
    pg.assert_intact(pending=1)
    assert pg.seal() == 2
    pg.assert_intact()
    assert all(entry.flags & Flag.CAPTURED for entry in pg.records()[10:])
