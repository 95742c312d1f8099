"""Capture that is not what it should be, and tables that are not what they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from audit_world import SqliteHospital, World, one, visits

from ledger.errors import SourceError
from ledger.findings import FindingKind


def _kinds(world: World) -> list[str]:
    return [kind for kind, _, _ in world.found()]


def _queue_table(world: World) -> str:
    if isinstance(world.hospital, SqliteHospital):
        [(name,)] = world.hospital.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'careseal_queue%' AND type='table'")
        return name
    [(name,)] = world.hospital.rows("SELECT 'careseal.' || quote_ident(relname) FROM pg_class WHERE relname LIKE 'queue%' AND relkind='r'")
    return name


def _triggers(world: World) -> list[str]:
    if isinstance(world.hospital, SqliteHospital):
        return [name for (name,) in world.hospital.rows("SELECT name FROM sqlite_schema WHERE type='trigger' ORDER BY name")]
    return [name for (name,) in world.hospital.rows("SELECT DISTINCT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname")]


def test_every_trigger_is_missed_when_it_is_dropped(captured: World) -> None:
    visits(captured)
    suffix = "" if captured.hospital.engine == "sqlite" else " ON visit"
    for name in _triggers(captured):
        saved = None
        if isinstance(captured.hospital, SqliteHospital):
            [(saved,)] = captured.hospital.rows("SELECT sql FROM sqlite_schema WHERE name = ?", name)
        captured.hospital.run(f'DROP TRIGGER "{name}"{suffix}')
        found = one(captured.audit(record=False).findings, FindingKind.CAPTURE_DISABLED)
        assert found.table == "visit" and name in found.detail and not found.key
        if saved:
            captured.hospital.run(saved)
        else:
            captured.attach_again("visit")
        captured.assert_intact()


@pytest.mark.parametrize(
    "edit",
    [
        lambda sql: sql.replace("randomblob(16)", "x'00'"),
        lambda sql: sql.replace("BEGIN ", "BEGIN SELECT 1; "),
        lambda sql: sql.replace(" BEGIN", " WHEN 0 BEGIN", 1),
    ],
    ids=["uid", "statement", "when"],
)
def test_an_edited_trigger_is_found(sqlite: World, edit: Callable[[str], str]) -> None:
    visits(sqlite)
    for name, sql in sqlite.hospital.rows("SELECT name, sql FROM sqlite_schema WHERE type='trigger'"):
        if edit(sql) == sql:
            continue
        sqlite.hospital.run(f'DROP TRIGGER "{name}"')
        sqlite.hospital.run(edit(sql))
        found = one(sqlite.audit(record=False).findings, FindingKind.CAPTURE_DISABLED)
        assert name in found.detail
        sqlite.hospital.run(f'DROP TRIGGER "{name}"')
        sqlite.hospital.run(sql)
    sqlite.assert_intact()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE visit DISABLE TRIGGER ALL",
        "ALTER TABLE visit DISABLE TRIGGER USER",
        'ALTER TABLE visit ENABLE TRIGGER "{0}"',
        'ALTER TABLE visit ENABLE REPLICA TRIGGER "{0}"',
        'ALTER TRIGGER "{0}" ON visit RENAME TO other',
        'CREATE OR REPLACE TRIGGER "{0}" AFTER INSERT ON visit FOR EACH ROW EXECUTE FUNCTION careseal.{function}()',
        'DROP TRIGGER "{0}" ON visit; CREATE TRIGGER "{0}" AFTER INSERT OR UPDATE OR DELETE ON visit FOR EACH ROW'
        ' WHEN (1 = 0) EXECUTE FUNCTION careseal.{function}()',
        "DROP FUNCTION careseal.{function}() CASCADE",
        "CREATE OR REPLACE FUNCTION careseal.{function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER FUNCTION careseal.{function}() SECURITY INVOKER",
        "ALTER FUNCTION careseal.{function}() SET search_path = public",
        "CREATE RULE none AS ON INSERT TO {queue} DO INSTEAD NOTHING",
        "ALTER TABLE {queue} DROP COLUMN changed",
        "ALTER TABLE {queue} ENABLE ROW LEVEL SECURITY",
        "CREATE TRIGGER t BEFORE INSERT ON {queue} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP SCHEMA careseal CASCADE",
        "DROP SEQUENCE careseal.{counter}",
    ],
)
def test_capture_that_was_meddled_with_on_postgres(pg: World, statement: str) -> None:
    visits(pg)
    [(function,)] = pg.hospital.rows("SELECT proname FROM pg_proc WHERE proname LIKE 'capture%'")
    [(counter,)] = pg.hospital.rows("SELECT relname FROM pg_class WHERE relkind = 'S' AND relname LIKE 'failures%'")
    pg.assert_intact()
    pg.hospital.run(statement.format(_triggers(pg)[0], function=function, queue=_queue_table(pg), counter=counter))
    assert one(pg.audit(record=False).findings, FindingKind.CAPTURE_DISABLED).table == "visit"


def test_a_row_altered_with_capture_gone_altogether_is_found_too(captured: World) -> None:
    visits(captured)
    captured.hospital.drop_capture()
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id = 3")
    captured.hospital.run("DELETE FROM visit WHERE id = 4")
    captured.hospital.run("INSERT INTO visit (id) VALUES (99)")
    for _ in range(2):
        assert sorted(captured.found()) == [
            ("altered", (3,), ("note",)),
            ("capture_disabled", (), ()),
            ("deleted", (4,), ()),
            ("inserted", (99,), ()),
        ]
        assert captured.seal() == 0


def test_a_failed_capture_lets_the_clinical_write_through_and_leaves_a_mark(pg: World) -> None:
    visits(pg)
    pg.hospital.run(f"ALTER TABLE {_queue_table(pg)} ADD CONSTRAINT broken CHECK (op <> 'U') NOT VALID")
    pg.hospital.run("UPDATE visit SET note = 'x' WHERE id = 3")
    pg.hospital.run(f"ALTER TABLE {_queue_table(pg)} DROP CONSTRAINT broken")
    assert sorted(pg.found()) == [("altered", (3,), ("note",)), ("capture_disabled", (), ())]
    assert "1 change" in next(f.detail for f in pg.audit(record=False).findings if f.kind is FindingKind.CAPTURE_DISABLED)


def test_rows_are_captured_under_replication_role_too(pg: World) -> None:
    visits(pg)
    pg.hospital.run("SET session_replication_role = replica")
    pg.hospital.run("UPDATE visit SET note = 'x' WHERE id = 3")
    pg.hospital.run("RESET session_replication_role")
    pg.assert_intact(pending=1)
    pg.seal()
    pg.assert_intact()


def test_queue_rows_that_were_removed_leave_altered_rows(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id = 3")
    captured.assert_intact(pending=1)
    captured.hospital.run(f"DELETE FROM {_queue_table(captured)}")
    assert captured.found() == [("altered", (3,), ("note",))]


def test_a_queue_row_of_a_change_that_is_none_hides_nothing_after_the_seal(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    captured.hospital.run("INSERT INTO visit (id, note) VALUES (99, 'x')")
    forged = "UPDATE {0} SET new_1 = 3 WHERE new_1 = 99"
    captured.hospital.run(forged.format(_queue_table(captured)))
    captured.seal()
    assert [finding[:2] for finding in captured.found()] == [("inserted", (99,)), ("altered", (3,))]


# Schema


def test_an_added_column(world: World) -> None:
    visits(world)
    world.hospital.run("ALTER TABLE visit ADD COLUMN extra TEXT")
    found = [f for f in world.audit(record=False).findings if f.kind is FindingKind.SCHEMA_CHANGED]
    assert one(found, FindingKind.SCHEMA_CHANGED).columns == ("extra",)
    world.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 3")
    assert ("altered", (3,), ("note",)) in world.found()


def test_a_dropped_column(scanned: World) -> None:
    visits(scanned)
    scanned.hospital.run("ALTER TABLE visit DROP COLUMN note")
    found = one(scanned.audit(record=False).findings, FindingKind.SCHEMA_CHANGED)
    assert found.columns == ("note",)
    assert "note" in found.detail and "could not be compared" in found.detail


def test_a_renamed_column(scanned: World) -> None:
    visits(scanned)
    scanned.hospital.run("ALTER TABLE visit RENAME COLUMN note TO remark")
    assert one(scanned.audit(record=False).findings, FindingKind.SCHEMA_CHANGED).columns == ("note", "remark")


def test_a_dropped_table(world: World) -> None:
    visits(world)
    world.hospital.run("DROP TABLE visit")
    result = world.audit(record=False)
    found = one(result.findings, FindingKind.SCHEMA_CHANGED)
    assert (found.table, result.rows, result.ok) == ("visit", 0, False)


def test_a_table_made_anew_with_the_same_rows_and_no_capture(captured: World) -> None:
    visits(captured)
    captured.hospital.run("CREATE TABLE saved AS SELECT * FROM visit")
    captured.hospital.run("DROP TABLE visit")
    captured.hospital.run(
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, patient TEXT, ward TEXT, price NUMERIC(10,2), note TEXT, at TEXT)"
    )
    captured.hospital.run("INSERT INTO visit SELECT * FROM saved")
    assert _kinds(captured) == ["capture_disabled"]


def test_a_retyped_column_on_postgres(pg: World) -> None:
    pg.capture = "scan"
    visits(pg)
    pg.hospital.run("ALTER TABLE visit ALTER COLUMN at TYPE varchar(50)")
    pg.hospital.run("ALTER TABLE visit ALTER COLUMN price TYPE numeric(12,2)")
    pg.assert_intact()
    pg.hospital.run("ALTER TABLE visit ALTER COLUMN at TYPE timestamp USING at::timestamp")
    found = one(pg.audit(record=False).findings, FindingKind.SCHEMA_CHANGED)
    assert found.columns == ("at",)
    pg.hospital.run("ALTER TABLE visit ALTER COLUMN price TYPE numeric(12,3)")
    assert len(pg.found()) == 11


@pytest.mark.parametrize(("before", "after", "same"), [
    ("VARCHAR(10)", "VARCHAR(80)", True),
    ("VARCHAR(10)", "TEXT COLLATE NOCASE", True),
    ("NUMERIC(10,2)", "NUMERIC(12,4)", True),
    ("TEXT", "INTEGER", False),
    ("REAL", "NUMERIC", False),
])  # fmt: skip
def test_widths_and_collations_are_no_schema_change_on_sqlite(sqlite: World, before: str, after: str, same: bool) -> None:
    sqlite.capture = "scan"
    make = "CREATE TABLE t (id INTEGER PRIMARY KEY, v {})"
    sqlite.hospital.run(make.format(before))
    sqlite.hospital.run("INSERT INTO t VALUES (1, NULL)")
    sqlite.attach("t")
    sqlite.seal()
    sqlite.hospital.run("DROP TABLE t")
    sqlite.hospital.run(make.format(after))
    sqlite.hospital.run("INSERT INTO t VALUES (1, NULL)")
    assert sqlite.found() == ([] if same else [("schema_changed", (), ("v",))])


def test_rows_far_beyond_one_range_give_one_finding_of_a_changed_schema(scanned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.audit.RANGE_ROWS", 3)
    visits(scanned)
    scanned.hospital.run("ALTER TABLE visit RENAME TO away")
    assert _kinds(scanned) == ["schema_changed"]


def test_a_database_that_is_gone_is_an_error_and_no_verdict(sqlite: World) -> None:
    visits(sqlite)
    assert isinstance(sqlite.hospital, SqliteHospital)
    sqlite.hospital.path.rename(sqlite.hospital.path.with_suffix(".away"))
    with pytest.raises(SourceError, match="no database file"):
        sqlite.audit(record=False)
