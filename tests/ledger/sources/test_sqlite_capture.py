"""Capture on SQLite: replaced rows, odd tables, the hospital's own triggers, and crashes."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from clinic import SqliteClinic, attach, changes_of, faults_of, plain_row, read_all, rows_of, shape_of, told

from ledger.errors import SourceError
from ledger.sources import open_source
from ledger.sources.sqlite_indexes import split_index


def ops(clinic: SqliteClinic, source: Any, shape: Any) -> list[tuple[Any, ...]]:
    """Operation, old key's value, new key's value; what was queued is consumed."""
    changes = changes_of(source, shape)
    source.consume(shape, [change.uid for change in changes])
    return [(op, old and old[0], new and new[0]) for op, old, new, _, _ in told(shape, changes)]


@pytest.mark.parametrize("kind", ["INTEGER PRIMARY KEY", "INT PRIMARY KEY", "TEXT PRIMARY KEY", "WITHOUT ROWID"])
@pytest.mark.parametrize("recursive", [0, 1])
def test_replaced_rows_are_captured(file: SqliteClinic, kind: str, recursive: int) -> None:
    declared, tail = ("INT PRIMARY KEY", kind) if kind == "WITHOUT ROWID" else (kind, "")
    file.run(f"PRAGMA recursive_triggers = {recursive}", f"CREATE TABLE t (id {declared}, code TEXT UNIQUE, a, b, UNIQUE (a, b)) {tail}")
    file.run("INSERT INTO t VALUES (1, 'x', 1, 1), (2, 'y', 1, 2), (3, 'z', 1, 3)")
    source, shape = attach(file, "t")
    deleted = [("D", 1, None)] if recursive else []
    ids = (lambda found: [(op, old and int(old), new and int(new)) for op, old, new in found]) if kind == "TEXT PRIMARY KEY" else list

    file.run("INSERT OR REPLACE INTO t VALUES (1, 'x', 1, 9)")
    assert ids(ops(file, source, shape)) == [("R", 1, None), *deleted, ("I", None, 1)]

    file.run("REPLACE INTO t VALUES (7, 'x', 1, 2)")  # takes the place of two rows by two constraints
    found = ids(ops(file, source, shape))
    assert sorted(found[:2]) == [("R", 1, None), ("R", 2, None)]
    assert found[-1] == ("I", None, 7)
    assert sorted(found[2:-1]) == ([("D", 1, None), ("D", 2, None)] if recursive else [])

    file.run("UPDATE OR REPLACE t SET code = 'z' WHERE id = 7")
    assert ids(ops(file, source, shape)) == [("R", 3, None), *([("D", 3, None)] if recursive else []), ("U", 7, 7)]

    file.run("INSERT INTO t VALUES (8, 'w', 0, 0)", "UPDATE OR REPLACE t SET id = 7 WHERE id = 8")
    found = ids(ops(file, source, shape))
    assert found[:2] == [("I", None, 8), ("R", 7, None)]
    assert found[-1] == ("U", 8, 7)
    assert [row[0] for row in rows_of(source, shape) if row] == ([7] if kind != "TEXT PRIMARY KEY" else ["7"])


def test_a_replaced_row_of_the_same_key_tells_what_differs(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, note TEXT)", "INSERT INTO t VALUES (1, 'x', 'a'), (2, 'y', 'b')")
    source, shape = attach(file, "t")
    file.run("REPLACE INTO t VALUES (1, 'y', 'a')")
    changes = changes_of(source, shape, subject="code", final="note = 'b'")
    replaced = {plain_row(shape, c.old_row): (c.op, c.changed, c.closed, c.old_subject) for c in changes[:2]}
    assert replaced == {(1, "x", "a"): ("R", ("code",), False, "x"), (2, "y", "b"): ("R", (), True, "y")}
    assert (changes[2].op, plain_row(shape, changes[2].row), changes[2].subject) == ("I", (1, "y", "a"), "y")


def test_a_conflict_resolved_without_a_loss_shows_the_row_unchanged(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n)", "INSERT INTO t VALUES (1, 'x', 0)")
    source, shape = attach(file, "t")
    file.run("INSERT OR IGNORE INTO t VALUES (5, 'x', 1)")
    (change,) = changes_of(source, shape)
    assert (change.op, change.old_row) == ("R", change.row)
    file.run("INSERT INTO t VALUES (6, 'x', 1) ON CONFLICT (code) DO UPDATE SET n = n + 1")
    assert [(c.op, plain_row(shape, c.old_row)) for c in changes_of(source, shape)] == [
        ("R", (1, "x", 0)), ("R", (1, "x", 0)), ("U", (1, "x", 0))
    ]  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError):
        file.run("INSERT INTO t VALUES (1, 'q', 1)")
    assert len(changes_of(source, shape)) == 3
    file.run("INSERT OR IGNORE INTO t VALUES (5, 'x', 1)")
    # The update keeps the present row, for the last R is none.
    assert [(c.op, plain_row(shape, c.row)) for c in changes_of(source, shape)[2:]] == [("U", (1, "x", 1)), ("R", (1, "x", 1))]


def test_a_removed_row_is_gone_after_its_capture(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE)", "INSERT INTO t VALUES (1, 'x')")
    source, shape = attach(file, "t")
    file.run("REPLACE INTO t VALUES (5, 'x')")
    assert told(shape, changes_of(source, shape)) == [("R", (1,), None, (1, "x"), None), ("I", None, (5,), None, (5, "x"))]


@pytest.mark.parametrize(
    ("index", "statement"),
    [
        ("CREATE UNIQUE INDEX ux ON t (lower(code))", "REPLACE INTO t VALUES (9, 'X', 0)"),
        ("CREATE UNIQUE INDEX ux ON t (code COLLATE NOCASE DESC)", "REPLACE INTO t VALUES (9, 'X', 0)"),
        ("CREATE UNIQUE INDEX ux ON t (code) WHERE n IS NOT NULL /* ) where */", "REPLACE INTO t VALUES (9, 'x', 0)"),
        ("CREATE UNIQUE INDEX ux ON t (n % 10, substr(code, 1, instr('a,)b', ',')))", "REPLACE INTO t VALUES (9, 'x', 15)"),
        ("CREATE UNIQUE INDEX ux ON t (rowid, code)", "REPLACE INTO t(rowid, id, code) VALUES (1, 9, 'x')"),
    ],
)
def test_every_kind_of_unique_index_is_minded(file: SqliteClinic, index: str, statement: str) -> None:
    file.run("CREATE TABLE t (id TEXT PRIMARY KEY, code TEXT, n INT)")
    if "rowid" not in index:
        file.run(index)
    file.run("INSERT INTO t VALUES (1, 'x', 5), (2, 'y', 6)")
    source, shape = attach(file, "t")
    file.run(statement)
    assert [op for op, _, _ in ops(file, source, shape)] == ["R", "I"]
    assert len(rows_of(source, shape)) == 2


def test_an_insert_looks_conflicts_up_in_indexes_only(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT, n INT)", "CREATE UNIQUE INDEX ux ON t (lower(code)) WHERE n > 0")
    attach(file, "t")
    body = file.all("SELECT sql FROM sqlite_schema WHERE name LIKE '%before_insert'")[0][0]
    select = re.sub(r'NEW\.("\w+"|rowid)', "'1'", body[body.index("SELECT") : body.rindex(";")])
    plan = " ".join(str(row[3]) for row in file.all("EXPLAIN QUERY PLAN " + select))
    assert "SEARCH careseal_row USING INDEX ux" in plan
    assert "SCAN careseal_row" not in plan


@pytest.mark.parametrize(
    ("sql", "terms", "where"),
    [
        ("CREATE UNIQUE INDEX x ON t(a)", ("a",), None),
        ('CREATE UNIQUE INDEX "a (b" ON "t (" ("a, b" DESC, lower("c)") ASC) WHERE a > 1', ('"a, b"', 'lower("c)")'), "a > 1"),
        ("CREATE INDEX x ON t (a -- , b\n, 'it''s, (' || [x,y]) where `q)` is null", ("a", "'it''s, (' || [x,y]"), "`q)` is null"),
        ("CREATE INDEX x ON t (coalesce(a, (b)), /* ,( */ c collate nocase)", ("coalesce(a, (b))", "c collate nocase"), None),
    ],
)
def test_index_statements_are_taken_apart(sql: str, terms: tuple[str, ...], where: str | None) -> None:
    assert split_index(sql) == (terms, where)


def test_without_rowid_and_strict_tables(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (a TEXT, b ANY, n INT, PRIMARY KEY (b, a)) STRICT, WITHOUT ROWID", "INSERT INTO t VALUES ('x', '007', 1)")
    source, shape = attach(file, "t")
    file.run("UPDATE t SET n = 2", "UPDATE t SET b = 7", "DELETE FROM t")
    assert told(shape, changes_of(source, shape)) == [
        ("U", ("007", "x"), ("007", "x"), ("007", "x", 1), None),
        ("U", ("007", "x"), (7, "x"), ("007", "x", 2), None),
        ("D", (7, "x"), None, (7, "x", 2), None),
    ]


def test_old_values_keep_their_storage_class(file: SqliteClinic) -> None:
    odd: list[Any] = [None, 1, 1.0, "1", b"1", "1.10", 2**62, 1e400, -0.0, "中\x00x", b"", "", 9007199254740993, "0x10"]
    for declared in ("", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB", "VARCHAR(3)", "ANY", "DATE"):
        file.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
        file.connection.executemany("INSERT INTO t(v) VALUES (?)", [(value,) for value in odd])
        source = open_source(file.url)
        shape = shape_of(source, "t")
        source.remove_capture(shape)
        source.install_capture(shape)
        with source.snapshot() as snapshot:
            before = [row for _, row in read_all(snapshot, shape)]
        file.run("UPDATE t SET v = v || 'changed'", "DELETE FROM t")
        changes = changes_of(source, shape)
        assert [change.old_row for change in changes if change.op == "U"] == before
        assert len(changes) == 2 * len(odd)


def test_differences_that_collations_and_comparisons_hide_are_changes(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, b TEXT COLLATE RTRIM, c)")
    file.run("INSERT INTO t VALUES (1, 'x', 'y', 1)")
    source, shape = attach(file, "t")
    for change in ("a = 'X'", "b = 'y  '", "c = 1.0", "c = '1.0'", "c = NULL", "a = a"):
        file.run(f"UPDATE t SET {change}")
    assert [change.changed for change in changes_of(source, shape)] == [("a",), ("b",), ("c",), ("c",), ("c",), ()]


def test_predicates_mean_in_the_queue_what_they_mean_in_the_table(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, status TEXT COLLATE NOCASE, code NUMERIC, amount TEXT)")
    file.run("INSERT INTO t VALUES (1, 'FINAL', '007', 5)")
    predicates = ["status = 'final'", "code = '7'", "amount = 5", "code = 7.0", "status = 'other'", "amount > '49'"]
    predicates += ["typeof(amount) = 'text'", "status = 'x' COLLATE BINARY"]
    truth = [bool(file.all(f"SELECT count(*) FROM t WHERE {predicate}")[0][0]) for predicate in predicates]
    source, shape = attach(file, "t")
    file.run("DELETE FROM t")
    assert [changes_of(source, shape, final=predicate)[0].closed for predicate in predicates] == truth


def test_text_that_is_not_utf8_in_the_queue(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id TEXT PRIMARY KEY, note TEXT)")
    file.run("INSERT INTO t VALUES (CAST(X'ff' AS TEXT), CAST(X'e4b8' AS TEXT)), ('ok', 'ok')")
    source, shape = attach(file, "t")
    with source.snapshot() as snapshot:
        before = [row for _, row in read_all(snapshot, shape)]
    file.run("UPDATE t SET note = 'x'")
    changes = changes_of(source, shape, subject="note")
    assert sorted(change.old_row or b"" for change in changes) == sorted(before)
    assert {change.old_subject for change in changes} == {"\\xe4\\xb8", "ok"}
    assert [plain_row(shape, change.row) for change in changes if change.subject == "x"] != []


@pytest.mark.parametrize("later", [False, True])
def test_the_hospitals_own_triggers_do_not_turn_the_order_round(file: SqliteClinic, later: bool) -> None:
    """SQLite runs the newest trigger first, so one made after capture changes the row before capture saw it."""
    own = [
        "CREATE TRIGGER stamp_i AFTER INSERT ON t BEGIN UPDATE t SET stamp = 'new' WHERE id = NEW.id; END",
        "CREATE TRIGGER stamp_u AFTER UPDATE OF note ON t BEGIN UPDATE t SET stamp = 'again' WHERE id = NEW.id; END",
        "CREATE TRIGGER log_u AFTER UPDATE OF note ON t BEGIN INSERT INTO log VALUES (OLD.note); END",
    ]
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT, stamp TEXT)", "CREATE TABLE log (note)")
    if not later:
        file.run(*own)
    source, shape = attach(file, "t")
    if later:
        file.run(*own)
    file.run("INSERT INTO t VALUES (1, 'a', NULL)", "UPDATE t SET note = 'b'", "UPDATE t SET note = 'c'")
    assert told(shape, changes_of(source, shape)) == [
        ("I", None, (1,), None, None),
        ("U", (1,), (1,), (1, "a", None), None),
        ("U", (1,), (1,), (1, "a", "new"), None),
        ("U", (1,), (1,), (1, "b", "new"), None),
        ("U", (1,), (1,), (1, "b", "again"), None),
        ("U", (1,), (1,), (1, "c", "again"), (1, "c", "again")),
    ]
    assert faults_of(source, shape) == []


def test_cascades_of_foreign_keys_are_captured(file: SqliteClinic) -> None:
    file.run("PRAGMA foreign_keys = ON", "CREATE TABLE p (id INTEGER PRIMARY KEY)")
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, p INT REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)")
    file.run("INSERT INTO p VALUES (1), (2)", "INSERT INTO t VALUES (10, 1), (20, 2)")
    source, shape = attach(file, "t")
    file.run("DELETE FROM p WHERE id = 1", "UPDATE p SET id = 3", "REPLACE INTO p VALUES (3)")
    assert ops(file, source, shape) == [("D", 10, None), ("U", 20, 20), ("D", 20, None)]


def test_capture_works_under_the_strictest_settings_of_the_application(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n)")
    source, shape = attach(file, "t")
    file.run("PRAGMA trusted_schema = OFF", "PRAGMA foreign_keys = ON", "PRAGMA recursive_triggers = ON", "PRAGMA case_sensitive_like = ON")
    file.run("INSERT INTO t(n) VALUES (1)", "INSERT OR FAIL INTO t(n) VALUES (1)")
    assert file.all("SELECT last_insert_rowid()") == [(2,)]
    assert file.all("UPDATE t SET n = 5 RETURNING id") == [(1,), (2,)]
    assert [op for op, _, _ in ops(file, source, shape)] == ["I", "I", "U", "U"]
    assert file.all("SELECT name FROM sqlite_sequence") == [("t",)]


def test_columns_that_hide_the_rowid(file: SqliteClinic) -> None:
    file.run('CREATE TABLE t (rowid TEXT PRIMARY KEY, oid INT UNIQUE, "_rowid_" INT)', "INSERT INTO t VALUES ('a', 1, 2), ('b', 2, 3)")
    source, shape = attach(file, "t")
    file.run("REPLACE INTO t VALUES ('c', 1, 2)", "UPDATE t SET oid = 9 WHERE rowid = 'b'")
    # Where no name is left for the rowid, an update may look like the loss of its own row; it is still there.
    assert [op for op, _, _ in ops(file, source, shape) if op != "R"] == ["I", "U"]


DAMAGES: list[tuple[str, str]] = [
    ("DROP TRIGGER {update}", "update is missing"),
    ("DROP TRIGGER {before_insert}", "before_insert is missing"),
    ("DROP TABLE {queue}", "the capture queue is missing"),
    ("ALTER TABLE {queue} ADD COLUMN x", "the capture queue was altered"),
    ("ALTER TABLE {queue} RENAME TO elsewhere", "the capture queue is missing"),
    ("CREATE TRIGGER evil AFTER INSERT ON {queue} BEGIN DELETE FROM {queue}; END", "'evil' meddles"),
    ("CREATE TRIGGER evil AFTER INSERT ON t BEGIN DELETE FROM {queue}; END", "'evil' meddles"),
]


def own_names(file: SqliteClinic) -> dict[str, str]:
    names = {str(name): str(kind) for name, kind in file.all("SELECT name, type FROM sqlite_schema WHERE name LIKE 'careseal%'")}
    found = {"queue": next(name for name, kind in names.items() if kind == "table")}
    for kind in ("before_insert", "before_update", "insert", "update", "delete"):
        found[kind] = next(name for name in names if name.endswith("_" + kind) and name not in found.values())
    return found


@pytest.mark.parametrize(("statement", "words"), DAMAGES)
def test_damaged_capture_is_found_and_removed(file: SqliteClinic, statement: str, words: str) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
    before = file.schema()
    source, shape = attach(file, "t")
    file.run(statement.format(**own_names(file)))
    assert any(words in fault for fault in faults_of(source, shape)), faults_of(source, shape)
    source.remove_capture(shape)
    file.run("DROP TRIGGER IF EXISTS evil", "DROP TABLE IF EXISTS elsewhere")
    assert file.schema() == before


def test_an_edited_trigger_is_found_and_mended(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
    source, shape = attach(file, "t")
    for kind, name in own_names(file).items():
        if kind == "queue":
            continue
        (sql,) = file.all("SELECT sql FROM sqlite_schema WHERE name = ?", (name,))[0]
        file.run(f"DROP TRIGGER {name}", sql.replace(" BEGIN", f" WHEN {'OLD' if kind == 'delete' else 'NEW'}.n <> 1 BEGIN", 1))
        assert faults_of(source, shape) == [f"trigger {name} was changed"]
        source.install_capture(shape)
        assert faults_of(source, shape) == []


def test_a_trigger_changed_through_the_schema_table_is_found(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
    source, shape = attach(file, "t")
    edited = "UPDATE sqlite_schema SET sql = replace(sql, 'randomblob(16)', 'x''00''') WHERE type = 'trigger'"
    file.run("PRAGMA writable_schema = ON", edited)
    assert len(faults_of(source, shape)) == 5


def test_a_new_unique_index_asks_for_capture_anew(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
    source, shape = attach(file, "t")
    file.run("CREATE UNIQUE INDEX ux ON t (n)")
    assert len(faults_of(source, shape)) == 2
    source.install_capture(shape)
    assert faults_of(source, shape) == []


def test_own_objects_are_not_hidden_by_a_renamed_table(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
    source, shape = attach(file, "t")
    file.run("ALTER TABLE t RENAME TO u")
    with pytest.raises(SourceError, match="no table 't'"):
        faults_of(source, shape)
    source.remove_capture(shape)
    assert [name for (name,) in file.all("SELECT name FROM sqlite_schema")] == ["u"]


WRITER = """
import sqlite3, sys, random
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
random.seed(int(sys.argv[2]))
print("go", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(random.randrange(1, 30)):
        n = random.randrange(300)
        connection.execute(random.choice([
            "INSERT OR REPLACE INTO t VALUES (:n, 'r' || :m)", "UPDATE t SET note = 'u' || :m WHERE id = :n", "DELETE FROM t WHERE id = :n",
            "UPDATE OR REPLACE t SET id = :n WHERE id = :o",
        ]), {"n": n, "m": random.random(), "o": random.randrange(300)})
    connection.execute("COMMIT")
"""


@pytest.mark.parametrize("wal", [True, False])
def test_table_and_queue_agree_whenever_a_writer_is_killed(tmp_path: Path, wal: bool) -> None:
    clinic = SqliteClinic(tmp_path, wal=wal)
    clinic.run("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)")
    source, shape = attach(clinic, "t")
    state: dict[int, Any] = {}
    for round_number in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(clinic.path), str(round_number)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 + 0.04 * round_number)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        with source.snapshot() as snapshot:
            changes = [change for batch in snapshot.changes(shape, subject=None, final=None) for change in batch]
            present = {plain_row(shape, row)[0]: plain_row(shape, row) for _, row in read_all(snapshot, shape)}  # type: ignore[index]
        for op, old, new, old_row, row in told(shape, changes):
            if op == "R":
                assert state.get(old[0]) in (old_row, "unknown")
            elif op != "I":
                assert state.pop(old[0]) in (old_row, "unknown")
            if new is not None:
                state[new[0]] = row or "unknown"
        assert state == present
        source.consume(shape, [change.uid for change in changes])
    assert changes_of(source, shape) == []
    assert faults_of(source, shape) == []
    clinic.close()


INSTALLER = """
import sys
from ledger.sources import open_source
source = open_source(sys.argv[1], busy_seconds=30)
with source.snapshot() as snapshot:
    shape = snapshot.describe("t", None)
print("go", flush=True)
while True:
    source.install_capture(shape)
    source.remove_capture(shape)
"""


def test_a_killed_installation_is_completed_or_removed(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)")
    before = file.schema()
    for round_number in range(4):
        installer = subprocess.Popen([sys.executable, "-c", INSTALLER, file.url], stdout=subprocess.PIPE)
        assert installer.stdout is not None
        installer.stdout.readline()
        time.sleep(0.01 * round_number)
        installer.kill()
        installer.wait()
        file.run(f"INSERT INTO t(note) VALUES ('{round_number}')")
        source, shape = attach(file, "t")
        assert faults_of(source, shape) == []
        source.remove_capture(shape)
        assert file.schema() == before
