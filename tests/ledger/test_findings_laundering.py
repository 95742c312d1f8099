"""Tampering stays a finding, whatever the application lawfully does to the row afterwards."""

from __future__ import annotations

import pytest
from audit_world import World, one, visits

from ledger.findings import FindingKind


def _stays(world: World, expected: list[tuple[str, tuple[object, ...], tuple[str, ...]]]) -> None:
    """The findings are these after the next seal, and after any number of further seals and audits."""
    world.seal()
    for _ in range(2):
        assert sorted(world.found()) == sorted(expected)
        world.audit()
        world.seal()


@pytest.mark.parametrize("options", [{}, {"copies": True}, {"subject": "patient"}, {"algorithm": "sm3"}], ids=str)
def test_an_altered_row_that_is_then_updated(captured: World, options: dict[str, object]) -> None:
    visits(captured, **options)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    assert captured.found() == [("altered", (3,), ("note",))]
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    _stays(captured, [("altered", (3,), ("note",))])
    captured.hospital.run("UPDATE visit SET note = NULL WHERE id = 3")
    _stays(captured, [("altered", (3,), ("note",))])


def test_an_altered_row_that_is_then_deleted(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.behind("UPDATE visit SET note = 'forged', ward = 'x' WHERE id = 3")
    captured.hospital.run("DELETE FROM visit WHERE id IN (3, 4)")
    _stays(captured, [("altered", (3,), ("ward", "note"))])


def test_an_altered_row_whose_key_is_then_changed(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET id = 30 WHERE id = 3")
    _stays(captured, [("altered", (30,), ("note",))])
    captured.hospital.run("UPDATE visit SET id = 31 WHERE id = 30")
    _stays(captured, [("altered", (31,), ("note",))])


def test_an_altered_row_that_is_then_put_back(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET note = NULL WHERE id = 3")
    _stays(captured, [("altered", (3,), ("note",))])


def test_a_row_inserted_behind_capture_that_is_then_updated(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("INSERT INTO visit (id, patient) VALUES (99, 'x')")
    captured.hospital.run("UPDATE visit SET patient = 'y' WHERE id = 99")
    _stays(captured, [("inserted", (99,), ())])


def test_a_row_inserted_behind_capture_that_is_then_deleted(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.behind("INSERT INTO visit (id, patient) VALUES (99, 'x')")
    captured.hospital.run("DELETE FROM visit WHERE id = 99")
    _stays(captured, [("inserted", (99,), ())])


def test_a_row_inserted_behind_capture_whose_key_is_then_changed(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("INSERT INTO visit (id, patient) VALUES (99, 'x')")
    captured.hospital.run("UPDATE visit SET id = 98 WHERE id = 99")
    _stays(captured, [("inserted", (98,), ())])


def test_a_row_deleted_behind_capture_that_is_then_inserted_again(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("DELETE FROM visit WHERE id IN (3, 4)")
    captured.hospital.run("INSERT INTO visit SELECT 3, patient, ward, 30, 'new', at FROM visit WHERE id = 6")
    _stays(captured, [("altered", (3,), ("note",)), ("deleted", (4,), ())])


def test_a_row_deleted_behind_capture_whose_key_another_row_takes(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("DELETE FROM visit WHERE id = 3")
    captured.hospital.run("UPDATE visit SET id = 3 WHERE id = 4")
    _stays(captured, [("deleted", (3,), ())])
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    _stays(captured, [("deleted", (3,), ())])


def test_a_row_moved_behind_capture_that_is_then_updated(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET id = 30 WHERE id = 3")
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 30")
    _stays(captured, [("deleted", (3,), ()), ("inserted", (30,), ())])


def test_a_row_altered_between_two_changes_of_one_seal(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET ward = 'north' WHERE id = 3")
    _stays(captured, [("altered", (3,), ("note",))])


def test_a_row_altered_between_its_change_and_the_seal(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    _stays(captured, [("altered", (3,), ("note",))])


def test_a_row_altered_before_many_changes_of_one_seal(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    for n in range(5):
        captured.hospital.run("UPDATE visit SET ward = ?, id = ? WHERE id = ?", f"w{n}", 30 + n, 3 if not n else 29 + n)
    captured.hospital.run("DELETE FROM visit WHERE id = 34")
    captured.hospital.run("INSERT INTO visit (id, note) VALUES (34, 'another')")
    _stays(captured, [("altered", (34,), ("note",))])


def test_a_row_deleted_behind_capture_after_a_change_and_put_back_later(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    captured.hospital.behind("DELETE FROM visit WHERE id = 3")
    captured.seal()
    assert captured.found() == [("deleted", (3,), ())]
    captured.hospital.behind("INSERT INTO visit (id, ward) VALUES (3, 'forged')")
    assert [finding[:2] for finding in captured.found()] == [("altered", (3,))]
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 3")
    captured.seal()
    captured.seal()
    assert [finding[:2] for finding in captured.found()] == [("altered", (3,))]


def test_an_insert_and_delete_before_a_seal_are_both_journalled(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (99, 'x')")
    captured.hospital.run("DELETE FROM visit WHERE id = 99")
    captured.assert_intact()
    assert captured.seal() == 2
    captured.assert_intact()
    captured.hospital.behind("INSERT INTO visit (id, patient) VALUES (99, 'x')")
    _stays(captured, [("inserted", (99,), ())])


def test_a_deleted_row_that_is_deletable_and_comes_back_unseen(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.run("DELETE FROM visit WHERE id = 3")
    captured.seal()
    captured.assert_intact()
    captured.hospital.behind("INSERT INTO visit (id, patient) VALUES (3, 'x')")
    assert captured.found() == [("inserted", (3,), ())]
    captured.hospital.run("UPDATE visit SET patient = 'y' WHERE id = 3")
    _stays(captured, [("inserted", (3,), ())])


def test_a_truncated_table_is_deleted_rows(pg: World) -> None:
    visits(pg)
    pg.hospital.run("TRUNCATE visit")
    pg.assert_intact(pending=10)
    _stays(pg, [("deleted", (n,), ()) for n in range(1, 11)])


def test_a_truncated_deletable_table_is_no_finding_but_its_altered_rows_cannot_be_told(pg: World) -> None:
    visits(pg, deletable=True)
    pg.hospital.run("TRUNCATE visit")
    pg.hospital.run("INSERT INTO visit (id, patient) VALUES (3, 'x')")
    pg.assert_intact(pending=10)
    assert pg.seal() == 11
    pg.assert_intact()


def test_a_table_truncated_behind_capture(pg: World) -> None:
    visits(pg, deletable=True)
    pg.hospital.behind("TRUNCATE visit")
    pg.hospital.run("INSERT INTO visit (id, patient) VALUES (3, 'x')")
    pg.seal()
    found = sorted(pg.found(), key=lambda finding: finding[1])
    assert [finding[:2] for finding in found] == [(("altered" if n == 3 else "deleted"), (n,)) for n in range(1, 11)]


def test_keys_swapped_in_one_statement_under_a_deferred_constraint(pg: World) -> None:
    pg.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY DEFERRABLE, v TEXT)")
    pg.hospital.many("INSERT INTO t VALUES (?, ?)", [(n, f"v{n}") for n in range(1, 6)])
    pg.attach("t")
    pg.seal()
    pg.hospital.run("UPDATE t SET id = 3 - id WHERE id < 3")
    pg.seal()
    pg.assert_intact()
    pg.hospital.run("UPDATE t SET id = id + 1")
    pg.seal()
    pg.assert_intact()
    pg.hospital.run("UPDATE t SET id = 11 - id, v = v || 'x'")
    pg.hospital.run("UPDATE t SET v = v || 'y' WHERE id > 7")
    pg.seal()
    pg.assert_intact()
    pg.hospital.behind("UPDATE t SET v = 'forged' WHERE id = 6")
    pg.hospital.run("UPDATE t SET id = 15 - id WHERE id IN (6, 9)")
    pg.seal()
    assert pg.found() == [("altered", (9,), ("v",))]


# What REPLACE does on SQLite, with and without the delete trigger firing.


@pytest.fixture(params=[False, True], ids=["plain", "recursive"])
def replacing(request: pytest.FixtureRequest, sqlite: World) -> World:
    sqlite.hospital.connection.execute(f"PRAGMA recursive_triggers={int(request.param)}")
    sqlite.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, mrn TEXT UNIQUE, v TEXT, closed INTEGER DEFAULT 0)")
    sqlite.hospital.many("INSERT INTO t (id, mrn, v) VALUES (?,?,?)", [(n, f"m{n}", f"v{n}") for n in range(1, 8)])
    return sqlite


def _attached(world: World, **options: object) -> World:
    world.attach("t", **options)
    world.seal()
    return world


def test_a_replaced_row_is_amended(replacing: World) -> None:
    _attached(replacing)
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm3', 'new')")
    replacing.assert_intact(pending=1)
    assert replacing.seal() == 1
    replacing.assert_intact()
    assert replacing.records()[-1].version == 2


def test_a_tampered_row_that_is_then_replaced(replacing: World) -> None:
    _attached(replacing)
    replacing.hospital.behind("UPDATE t SET v = 'forged' WHERE id = 3")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm3', 'new')")
    _stays(replacing, [("altered", (3,), ("v",))])


def test_a_tampered_row_that_is_then_upserted(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    upsert = "INSERT INTO visit (id, ward) VALUES (?, 'west') ON CONFLICT (id) DO UPDATE SET ward = excluded.ward"
    for key in (2, 3, 99):
        captured.hospital.run(upsert, key)
    _stays(captured, [("altered", (3,), ("note",))])


def test_a_tampered_row_that_an_insert_or_ignore_meets_is_found_before_and_after_the_seal(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    for key in (2, 3):
        captured.hospital.run("INSERT INTO visit (id, ward) VALUES (?, 'west') ON CONFLICT DO NOTHING", key)
    assert captured.found() == [("altered", (3,), ("note",))]
    _stays(captured, [("altered", (3,), ("note",))])


def test_a_row_deleted_behind_capture_that_a_replace_brings_back(replacing: World) -> None:
    _attached(replacing)
    replacing.hospital.behind("DELETE FROM t WHERE id = 3")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm3', 'v3')")
    _stays(replacing, [("altered", (3,), ())])


def test_another_row_removed_by_a_replace_is_deleted(replacing: World) -> None:
    _attached(replacing)
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm4', 'new')")
    replacing.assert_intact(pending=2)
    _stays(replacing, [("deleted", (4,), ())])


def test_another_row_removed_by_a_replace_is_lawful_where_rows_are_deletable(replacing: World) -> None:
    _attached(replacing, deletable=True)
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm4', 'new')")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (8, 'm5', 'new')")
    replacing.hospital.run("INSERT INTO t (id, mrn, v) VALUES (5, 'm9', 'again')")
    replacing.seal()
    replacing.assert_intact()


def test_a_tampered_row_that_a_replace_of_another_removes(replacing: World) -> None:
    _attached(replacing, deletable=True)
    replacing.hospital.behind("UPDATE t SET v = 'forged' WHERE id = 4")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm4', 'new')")
    _stays(replacing, [("altered", (4,), ("v",))])


def test_a_removed_row_that_is_inserted_again_was_deleted(replacing: World) -> None:
    _attached(replacing)
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm4', 'new')")
    replacing.hospital.run("INSERT INTO t (id, mrn, v) VALUES (4, 'm9', 'again')")
    _stays(replacing, [("deleted", (4,), ())])


def test_a_row_that_an_update_or_replace_moves_onto_another(replacing: World) -> None:
    _attached(replacing)
    replacing.hospital.run("UPDATE OR REPLACE t SET id = 4 WHERE id = 3")
    replacing.assert_intact(pending=2)
    _stays(replacing, [("deleted", (4,), ())])


def test_a_row_that_an_update_or_replace_lawfully_moves_onto_another(replacing: World) -> None:
    _attached(replacing, deletable=True)
    replacing.hospital.run("UPDATE OR REPLACE t SET id = 4 WHERE id = 3")
    replacing.hospital.run("UPDATE OR REPLACE t SET mrn = 'm6' WHERE id = 5")
    replacing.hospital.run("UPDATE t SET id = 3 WHERE id = 7")
    replacing.seal()
    replacing.assert_intact()


def test_a_lawful_deletion_leaves_its_key_to_a_row_that_moves_there(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.run("DELETE FROM visit WHERE id = 3")
    captured.seal()
    captured.hospital.run("UPDATE visit SET id = 3 WHERE id = 4")
    captured.seal()
    captured.assert_intact()
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (4, 'x')")
    captured.hospital.run("DELETE FROM visit WHERE id = 3")
    captured.seal()
    captured.assert_intact()


def test_ignored_inserts_into_a_table_that_is_not_sealed_yet_leave_its_baseline_whole(captured: World) -> None:
    captured.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    captured.hospital.many("INSERT INTO t VALUES (?, 'x')", [(n,) for n in range(5)])
    captured.attach("t")
    captured.hospital.run("INSERT INTO t VALUES (2, 'y') ON CONFLICT DO NOTHING")
    captured.hospital.run("UPDATE t SET v = 'z' WHERE id = 3")
    captured.hospital.run("INSERT INTO t VALUES (9, 'new')")
    captured.seal()
    captured.assert_intact()


def test_a_replaced_row_with_computed_columns_and_defaults_is_no_finding(replacing: World) -> None:
    replacing.hospital.run(
        "CREATE TABLE g (id INTEGER PRIMARY KEY, a REAL DEFAULT 1, b NUMERIC, c TEXT, d BLOB,"
        " v AS (a * 2) VIRTUAL, s TEXT AS (c || b) STORED, n INTEGER NOT NULL DEFAULT 7)"
    )
    for n in range(4):
        replacing.hospital.run("INSERT INTO g (id, a, b, c, d) VALUES (?, 1, '1.50', 5, '7')", n)
    replacing.attach("g", immutable=("c",))
    replacing.seal()
    replacing.assert_intact()
    replacing.hospital.run("INSERT OR REPLACE INTO g (id, a, b, c, d) VALUES (1, '2', 3.0, 5.0, x'07')")
    replacing.seal()
    assert replacing.found() == [("amended_final", (1,), ("c",))]
    replacing.hospital.run("INSERT OR REPLACE INTO g (id, a, b, c, d) VALUES (2, 3, '2.50', '5', 7.5)")
    replacing.hospital.run("UPDATE OR REPLACE g SET a = 8 WHERE id = 2")
    replacing.hospital.run("UPDATE g SET b = b + 1 WHERE id = 3")
    replacing.hospital.run("UPDATE g SET b = b + 1, d = NULL WHERE id = 3")
    replacing.hospital.run("INSERT OR REPLACE INTO g (id, b, c) VALUES (NULL, 3.0, 5.0)")
    replacing.seal()
    assert replacing.found() == [("amended_final", (1,), ("c",))]


def test_a_closed_row_that_is_replaced_is_amended_final(replacing: World) -> None:
    replacing.hospital.run("UPDATE t SET closed = 1 WHERE id < 4")
    _attached(replacing, final="closed = 1", immutable=("mrn",))
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (3, 'm3', 'new')")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (4, 'm10', 'v4')")
    replacing.hospital.run("UPDATE t SET v = 'x' WHERE id = 4")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v) VALUES (5, 'm5', 'new')")
    replacing.hospital.run("INSERT OR REPLACE INTO t (id, mrn, v, closed) VALUES (2, 'm2', 'v2', 1)")
    _stays(replacing, [("amended_final", (3,), ("v", "closed")), ("amended_final", (4,), ("mrn",))])


def test_secrets_taken_away_do_not_launder_a_row(captured: World) -> None:
    visits(captured, subject="patient")
    db = captured.home.subjects._db
    sid = captured.home.subjects.known([captured.home.subjects.blind("subject:P0")])[captured.home.subjects.blind("subject:P0")]
    db.execute("DELETE FROM subject WHERE sid=?", (sid,))
    captured.home.subjects._keys.clear()
    captured.home.subjects._sids.clear()
    captured.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 3")
    assert captured.found() == [("secret_missing", (n,), ()) for n in (3, 6, 9)]
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id IN (3, 6)")
    _stays(captured, [("secret_missing", (n,), ()) for n in (9, 3, 6)])


def test_the_changed_row_and_its_author_are_told(pg: World) -> None:
    pg.hospital.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, note TEXT)")
    pg.hospital.many("INSERT INTO visit VALUES (?, 'n')", [(n,) for n in range(3)])
    doctor = pg.hospital.role("dr_wang", "visit")
    pg.attach("visit", copies=True)
    pg.seal()
    pg.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 1")
    pg.hospital.run("UPDATE visit SET note = 'later' WHERE id = 1", user=doctor)
    pg.seal()
    found = one(pg.audit(record=False, values=True).findings, FindingKind.ALTERED)
    assert (found.version, found.author) == (2, "dr_wang")
    assert (found.before, found.after) == ({"note": "n"}, {"note": "later"})
