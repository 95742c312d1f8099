"""Capture on PostgreSQL: never in the way of a clinical write, never silently off."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import psycopg
import pytest
from clinic import PostgresClinic, attach, changes_of, faults_of, plain_row, read_all, rows_of, shape_of, told, touched_of

from ledger.errors import SourceError
from ledger.shape import Shape, Source
from ledger.sources import open_source
from ledger.sources.postgres_capture import names_of

TABLE = "CREATE TABLE t (id int PRIMARY KEY, note text)"


def attached(server: PostgresClinic, *statements: str) -> tuple[Source, Shape]:
    server.run(TABLE, *statements)
    return attach(server, "t")


def ops(source: Source, shape: Shape) -> list[tuple[Any, ...]]:
    return [(op, old and old[0], new and new[0]) for op, old, new, _, _ in told(shape, changes_of(source, shape))]


NAMES = names_of("t")
QUEUE = f"careseal.{NAMES.queue}"
FAILURES: list[tuple[str, str]] = [
    (f"DROP TABLE {QUEUE}", "the capture queue is missing"),
    (f"ALTER TABLE {QUEUE} RENAME old_2 TO gone", "the capture queue was altered"),
    (f"ALTER TABLE {QUEUE} ALTER old_1 TYPE smallint", "the capture queue was altered"),
    (f"ALTER TABLE {QUEUE} ADD CHECK (op <> 'U')", "1 changes could not be captured"),
    (f"REVOKE INSERT ON {QUEUE} FROM postgres", ""),
    (f"CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$; "
     f"CREATE TRIGGER boom BEFORE INSERT ON {QUEUE} FOR EACH ROW EXECUTE FUNCTION boom()", "has a trigger"),
    (f"DROP SEQUENCE careseal.{NAMES.failures}; DROP TABLE {QUEUE}", "the counter of capture failures is missing"),
    ("ALTER TABLE t DROP COLUMN note", "could not be captured"),
    ("ALTER TABLE t RENAME COLUMN note TO remark", "could not be captured"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), FAILURES)
def test_a_failing_capture_never_aborts_the_clinical_write(server: PostgresClinic, damage: str, words: str) -> None:
    source, shape = attached(server, "INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    server.admin.execute(damage)
    server.run("BEGIN", "UPDATE t SET id = 70000 WHERE id = 1", "COMMIT")
    assert server.all("SELECT id FROM t ORDER BY id") == [(2,), (70000,)]
    if words:
        assert any(words in fault for fault in faults_of(source, shape)), faults_of(source, shape)
    else:
        assert faults_of(source, shape) == []  # the owner's rights are not taken by revoking them


def test_a_failure_is_counted_even_when_the_write_is_rolled_back(server: PostgresClinic) -> None:
    source, shape = attached(server)
    server.admin.execute(f"ALTER TABLE {QUEUE} ADD CHECK (op <> 'D')")
    server.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "BEGIN", "DELETE FROM t", "ROLLBACK")
    assert faults_of(source, shape) == ["2 changes could not be captured"]
    assert ops(source, shape) == [("I", None, 1), ("I", None, 2)]


def test_a_queue_that_takes_no_more_is_only_a_failure(server: PostgresClinic) -> None:
    """Any error of the queue's storage counts; here the sequence of its rows is used up."""
    source, shape = attached(server)
    sequence = server.all("SELECT pg_get_serial_sequence(%s, 'seq')", (QUEUE,))[0][0]
    server.admin.execute(f"ALTER SEQUENCE {sequence} MAXVALUE 2")
    server.run("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b')", "INSERT INTO t VALUES (3, 'c')")
    assert faults_of(source, shape) == ["1 changes could not be captured"]
    assert server.all("SELECT count(*) FROM t") == [(3,)]


def test_clinical_accounts_need_no_rights_on_capture(server: PostgresClinic) -> None:
    source, shape = attached(server)
    server.run("INSERT INTO t VALUES (1, 'a')")
    for statement in (f"SELECT * FROM {QUEUE}", f"DELETE FROM {QUEUE}", f"SELECT nextval('careseal.{NAMES.failures}')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            server.connection.execute(statement)
    server.admin.execute("GRANT USAGE ON SCHEMA careseal TO doctor")
    server.run("CREATE TABLE mine (id int, note text)", "ALTER TABLE mine OWNER TO doctor")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        server.connection.execute(f"CREATE TRIGGER x AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION careseal.{NAMES.row_function}()")
    assert ops(source, shape) == [("I", None, 1)]


def test_the_author_is_the_session_and_not_the_role_in_force(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
    server.admin.execute("CREATE FUNCTION write() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (2, NULL)'")
    source, shape = attach(server, "t")
    server.admin.execute("SET ROLE doctor; INSERT INTO t VALUES (1, 'a'); RESET ROLE")
    server.connection.execute("SELECT write()")
    assert [change.author for change in changes_of(source, shape)] == ["postgres", "doctor"]


def test_triggers_fire_whatever_the_replication_role(server: PostgresClinic) -> None:
    source, shape = attached(server)
    server.admin.execute("SET session_replication_role = replica; INSERT INTO t VALUES (1, 'a'); RESET session_replication_role")
    assert ops(source, shape) == [("I", None, 1)]


def test_truncate_and_copy(server: PostgresClinic) -> None:
    source, shape = attached(server)
    with server.connection.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("1\ta\n2\tb\n")
    server.admin.execute("TRUNCATE t")
    server.run("INSERT INTO t VALUES (1, 'c')")
    assert ops(source, shape) == [("I", None, 1), ("I", None, 2), ("T", None, None), ("I", None, 1)]
    (last,) = (change for change in changes_of(source, shape) if change.row is not None)
    assert plain_row(shape, last.row) == ("1", "c")
    with source.snapshot() as snapshot:
        assert snapshot.truncated(shape)
        assert snapshot.pending_count(shape) == 4
    assert touched_of(source, shape) == [(1,), (2,)]


def test_merge_upsert_and_cascades(server: PostgresClinic) -> None:
    server.run("CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p VALUES (1), (2)")
    server.run("CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)")
    server.run("INSERT INTO t VALUES (10, 1), (20, 2)")
    source, shape = attach(server, "t")
    server.run("INSERT INTO t VALUES (10, 2), (30, 2) ON CONFLICT (id) DO UPDATE SET p = excluded.p")
    server.run("DELETE FROM t WHERE id = 20 RETURNING *")
    server.run("UPDATE p SET id = 5 WHERE id = 2", "DELETE FROM p WHERE id = 5")
    assert sorted(ops(source, shape)[:3]) == [("D", 20, None), ("I", None, 30), ("U", 10, 10)]
    assert sorted(ops(source, shape)[3:]) == [("D", 10, None), ("D", 30, None), ("U", 10, 10), ("U", 30, 30)]
    if server.admin.info.server_version >= 150000:
        server.run("MERGE INTO t USING (VALUES (40)) v(id) ON t.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1)")
        assert ops(source, shape)[-1] == ("I", None, 40)


def test_an_update_that_changes_nothing_is_no_change(server: PostgresClinic) -> None:
    source, shape = attached(server, "INSERT INTO t VALUES (1, 'a')")
    server.run("ALTER TABLE t ADD COLUMN seen timestamptz")
    server.run("UPDATE t SET note = note", "UPDATE t SET seen = now()")
    assert ops(source, shape) == []
    assert faults_of(source, shape) == []


def test_equal_values_with_different_texts_are_changes(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id numeric PRIMARY KEY, a numeric, b char(4), c json, d float8)")
    server.run("INSERT INTO t VALUES (1, 1.1, 'x', '{}', 0)")
    source, shape = attach(server, "t")
    for change in ("a = 1.10", "b = 'x '", "c = '{ }'", "d = '-0'", "id = 1.0"):
        server.run(f"UPDATE t SET {change}")
    changes = changes_of(source, shape)
    assert [change.changed for change in changes] == [("a",), ("c",), ("d",), ("id",)]
    assert [(op, old, new, bool(row)) for op, old, new, _, row in told(shape, changes)][-1] == ("U", ("1",), ("1.0",), True)


def test_partitions_are_captured_and_watched(server: PostgresClinic) -> None:
    server.run(
        "CREATE TABLE t (id int, day date, n int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        "CREATE TABLE spare (n int, id int NOT NULL, day date NOT NULL)",
    )
    before = server.schema()
    source, shape = attach(server, "t")
    server.run("ALTER TABLE t ATTACH PARTITION spare DEFAULT", "ALTER TABLE t DETACH PARTITION spare", "DROP TABLE spare")
    server.run( "CREATE TABLE spare PARTITION OF t DEFAULT")
    server.run("INSERT INTO t VALUES (1, '2024-05-05', 0)", "INSERT INTO t1 VALUES (2, '2024-05-05', 0)", "UPDATE t SET n = 5 WHERE id = 2")
    server.run("UPDATE t SET day = '2030-01-01' WHERE id = 1", "DELETE FROM t1")
    assert ops(source, shape)[:3] == [("I", None, 1), ("I", None, 2), ("U", 2, 2)]
    assert sorted(ops(source, shape)[3:]) == [("D", 1, None), ("D", 2, None), ("I", None, 1)]
    source.install_capture(shape)
    assert faults_of(source, shape) == []
    server.admin.execute('ALTER TABLE t1 DISABLE TRIGGER "00_careseal_row"')
    assert faults_of(source, shape) == ["trigger 00_careseal_row is disabled on partition t1"]
    source.install_capture(shape)
    assert faults_of(source, shape) == []
    source.remove_capture(shape)
    server.run("DROP TABLE spare", "CREATE TABLE spare (n int, id int NOT NULL, day date NOT NULL)")
    assert server.schema() == before


def test_the_hospitals_own_triggers_do_not_turn_the_order_round(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id int PRIMARY KEY, note text, stamp text)")
    body = "IF pg_trigger_depth() = 1 THEN UPDATE t SET stamp = TG_OP WHERE id = NEW.id; END IF; RETURN NULL;"
    server.admin.execute(f"CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$")
    source, shape = attach(server, "t")
    for name in ("stamp", "000_stamp"):
        server.run(f'CREATE TRIGGER "{name}" AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamp()')
        server.run("INSERT INTO t VALUES (1, 'a')", "UPDATE t SET note = 'b'")
        changes = changes_of(source, shape)
        assert told(shape, changes) == [
            ("I", None, (1,), None, None),
            ("U", (1,), (1,), ("1", "a", None), None),
            ("U", (1,), (1,), ("1", "a", "INSERT"), None),
            ("U", (1,), (1,), ("1", "b", "INSERT"), ("1", "b", "UPDATE")),
        ]
        source.consume(shape, [change.uid for change in changes])
        server.run("DROP TRIGGER " + f'"{name}" ON t', "DELETE FROM t")
        source.consume(shape, [change.uid for change in changes_of(source, shape)])


DAMAGES: list[tuple[str, str]] = [
    ('DROP TRIGGER "00_careseal_row" ON t', "trigger 00_careseal_row is missing"),
    ('DROP TRIGGER "00_careseal_truncate" ON t', "trigger 00_careseal_truncate is missing"),
    ('ALTER TABLE t DISABLE TRIGGER "00_careseal_row"', "trigger 00_careseal_row is disabled"),
    ("ALTER TABLE t DISABLE TRIGGER ALL", "trigger 00_careseal_truncate is disabled"),
    ('ALTER TABLE t ENABLE TRIGGER "00_careseal_row"', "trigger 00_careseal_row is not ENABLE ALWAYS"),
    ('ALTER TABLE t ENABLE REPLICA TRIGGER "00_careseal_row"', "trigger 00_careseal_row is not ENABLE ALWAYS"),
    ('ALTER TRIGGER "00_careseal_row" ON t RENAME TO x', "trigger 00_careseal_row is missing"),
    (f'DROP TRIGGER "00_careseal_row" ON t; CREATE TRIGGER "00_careseal_row" AFTER INSERT OR DELETE ON t FOR EACH ROW '
     f"EXECUTE FUNCTION careseal.{NAMES.row_function}(); ALTER TABLE t ENABLE ALWAYS TRIGGER \"00_careseal_row\"", "was changed"),
    (f'DROP TRIGGER "00_careseal_row" ON t; CREATE TRIGGER "00_careseal_row" AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW '
     f"WHEN (pg_trigger_depth() > 5) EXECUTE FUNCTION careseal.{NAMES.row_function}(); "
     'ALTER TABLE t ENABLE ALWAYS TRIGGER "00_careseal_row"', "was changed"),
    (f'DROP TRIGGER "00_careseal_row" ON t; CREATE TRIGGER "00_careseal_row" AFTER INSERT OR UPDATE OF note OR DELETE ON t FOR EACH ROW '
     f"EXECUTE FUNCTION careseal.{NAMES.row_function}(); ALTER TABLE t ENABLE ALWAYS TRIGGER \"00_careseal_row\"", "was changed"),
    (f"CREATE OR REPLACE FUNCTION careseal.{NAMES.row_function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
     "$$BEGIN RETURN NULL; END$$", f"function {NAMES.row_function} was changed"),
    (f"ALTER FUNCTION careseal.{NAMES.row_function}() SECURITY INVOKER", f"function {NAMES.row_function} was changed"),
    (f"ALTER FUNCTION careseal.{NAMES.truncate_function}() SET search_path = pg_temp", f"function {NAMES.truncate_function} was changed"),
    (f"DROP FUNCTION careseal.{NAMES.row_function}() CASCADE", f"function {NAMES.row_function} is missing"),
    ("DROP SCHEMA careseal CASCADE", "the capture queue is missing"),
    (f"ALTER TABLE {QUEUE} SET UNLOGGED", "has a trigger, a rule"),
    (f"CREATE RULE r AS ON INSERT TO {QUEUE} DO INSTEAD NOTHING", "has a trigger, a rule"),
    (f"ALTER TABLE {QUEUE} ENABLE ROW LEVEL SECURITY", "has a trigger, a rule"),
    (f"ALTER TABLE {QUEUE} ALTER uid SET DEFAULT '00000000-0000-0000-0000-000000000000'", "lost its key or defaults"),
    (f"ALTER TABLE {QUEUE} ALTER seq DROP IDENTITY", "lost its key or defaults"),
    (f"ALTER TABLE {QUEUE} ADD COLUMN x int", "the capture queue was altered"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_damaged_capture_is_found_mended_and_removed(server: PostgresClinic, damage: str, words: str) -> None:
    server.run(TABLE)
    before = server.schema()
    source, shape = attach(server, "t")
    server.admin.execute(damage)
    assert any(words in fault for fault in faults_of(source, shape)), faults_of(source, shape)
    # What was done to the queue itself is not undone in place: it may hold changes.
    if "RENAME" not in damage and (QUEUE not in damage or "ADD COLUMN" in damage):
        source.install_capture(shape)
        assert faults_of(source, shape) == []
        server.admin.execute(damage)
    source.remove_capture(shape)
    assert server.schema() == before
    source.remove_capture(shape)


def test_a_table_with_heirs_is_not_captured(server: PostgresClinic) -> None:
    server.run(TABLE, "CREATE TABLE heir (more int) INHERITS (t)", "INSERT INTO heir VALUES (2, 'b', 0)")
    source = open_source(server.url)
    shape = shape_of(source, "t")
    assert rows_of(source, shape) == [("2", "b")]
    with pytest.raises(SourceError, match="use --capture scan"):
        source.install_capture(shape)


def test_detach_leaves_a_schema_that_was_there_before(server: PostgresClinic) -> None:
    server.run("CREATE SCHEMA careseal", "CREATE TABLE careseal.own (id int)", TABLE)
    before = server.schema()
    source, shape = attach(server, "t")
    source.remove_capture(shape)
    assert server.schema() == before


def test_detach_after_the_table_is_gone(server: PostgresClinic) -> None:
    server.run("CREATE TABLE other (id int)")
    before = server.schema()
    source, shape = attached(server)
    server.run("DROP TABLE t")
    source.remove_capture(shape)
    assert server.schema() == before


def test_writers_cannot_lend_capture_their_own_functions(server: PostgresClinic) -> None:
    """The functions run with their owner's rights, so nothing in the writer's search_path may stand in for an operator or function."""
    source, shape = attached(server)
    server.run("GRANT CREATE ON SCHEMA public TO doctor")
    doctor = server.connection
    doctor.execute("CREATE FUNCTION evil(text, text) RETURNS boolean LANGUAGE plpgsql AS "
                   "$$BEGIN CREATE TABLE IF NOT EXISTS public.broken (id int); RETURN true; END$$")  # fmt: skip
    for operator in ("=", "<>", "||", ">"):
        doctor.execute(f"CREATE OPERATOR public.{operator} (LEFTARG = text, RIGHTARG = text, FUNCTION = evil)")
    doctor.execute("CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'")
    doctor.execute("CREATE FUNCTION public.strpos(text, text) RETURNS int LANGUAGE sql AS 'SELECT 0'")
    doctor.execute("CREATE DOMAIN public.text AS pg_catalog.text CHECK (false)")
    doctor.execute("SET search_path = public, pg_catalog")
    doctor.execute("INSERT INTO t VALUES (1, 'a'); UPDATE t SET note = 'b'; DELETE FROM t")
    assert [op for op, _, _ in ops(source, shape)] == ["I", "U", "D"]
    assert all(change.at > 0 for change in changes_of(source, shape))
    assert server.all("SELECT to_regclass('public.broken')") == [(None,)]
    assert faults_of(source, shape) == []


def test_predicates_use_the_columns_own_collation_and_type(server: PostgresClinic) -> None:
    server.run("CREATE EXTENSION citext", "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    server.run("CREATE TABLE t (id int PRIMARY KEY, a text COLLATE folded, b citext, c varchar(5), d char(5))")
    server.run("INSERT INTO t VALUES (1, 'FINAL', 'Final', 'x', 'y')")
    source, shape = attach(server, "t")
    server.run("DELETE FROM t")
    predicates = {"a = 'final'": True, "b = 'FINAL'": True, "c || d = 'xy'": True, "a = 'open'": False, "d = 'y  '": True}
    for predicate, holds in predicates.items():
        with source.snapshot() as snapshot:
            snapshot.check_options(shape, subject=None, final=predicate)
        assert [change.closed for change in changes_of(source, shape, final=predicate)] == [holds], predicate


@pytest.mark.parametrize("kind", ["text", "uuid", "numeric", "timestamptz", "varchar(40) COLLATE \"C\"", "citext", "number", "mood"])
def test_present_rows_are_found_by_any_key(server: PostgresClinic, kind: str) -> None:
    server.run("CREATE EXTENSION citext", "CREATE DOMAIN number AS numeric", "CREATE TYPE mood AS ENUM ('one', 'two')")
    first, second = {
        "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        "numeric": ("1.10", "2"),
        "number": ("1.10", "2"),
        "timestamptz": ("2024-01-01 00:00:00+00", "2024-01-01 00:00:00.5+00"),
    }.get(kind, ("one", "two"))
    server.run(f"CREATE TABLE t (id {kind} PRIMARY KEY, n int)", f"INSERT INTO t VALUES ('{first}', 0)")
    source, shape = attach(server, "t")
    server.run("UPDATE t SET n = 1", f"INSERT INTO t VALUES ('{second}', 5)", f"DELETE FROM t WHERE id = '{first}'")
    assert [(op, old, new, row and row[1]) for op, old, new, _, row in told(shape, changes_of(source, shape))] == [
        ("U", (first,), (first,), None), ("I", None, (second,), "5"), ("D", (first,), None, None)
    ]  # fmt: skip
    assert touched_of(source, shape) == sorted([(first,), (second,)])


def _write(server: PostgresClinic, number: int, stop: float, errors: list[str]) -> None:
    """Updates in transactions of a few rows, some rolled back whole, some with a part rolled back."""
    chance = random.Random(number)
    with server.connect() as connection:
        while time.monotonic() < stop:
            try:
                with connection.transaction():
                    for row in [chance.randrange(1, 9) for _ in range(chance.randrange(1, 4))]:
                        connection.execute("UPDATE t SET n = n + 1, writer = %s WHERE id = %s", (number, row))
                        if chance.random() < 0.2:
                            with connection.transaction(force_rollback=True):
                                connection.execute("DELETE FROM t WHERE id = %s", (row,))
                    if chance.random() < 0.3:
                        raise psycopg.Rollback
            except psycopg.errors.DeadlockDetected:
                continue
            except psycopg.Error as error:
                errors.append(str(error))
                return


def test_concurrent_writers_are_captured_in_the_order_of_each_row(server: PostgresClinic) -> None:
    """Several writers with rollbacks and savepoints, read meanwhile: every committed change of a row appears once, and old rows chain."""
    server.run("CREATE TABLE t (id int PRIMARY KEY, n int, writer int)", "INSERT INTO t SELECT i, 0, 0 FROM generate_series(1, 8) i")
    source, shape = attach(server, "t")
    server.admin.execute("ALTER SYSTEM SET deadlock_timeout = '20ms'")
    server.admin.execute("SELECT pg_reload_conf()")
    errors: list[str] = []
    stop = time.monotonic() + 2.5
    writers = [threading.Thread(target=_write, args=(server, number, stop, errors)) for number in range(4)]
    for writer in writers:
        writer.start()
    counts = dict.fromkeys(range(1, 9), 0)
    finished = False
    while not finished:
        finished = not any(writer.is_alive() for writer in writers)
        with source.snapshot() as snapshot:
            changes = [change for batch in snapshot.changes(shape, subject=None, final=None) for change in batch]
            present = {plain_row(shape, row) for _, row in read_all(snapshot, shape)}
        for op, old, new, old_row, row in told(shape, changes):
            assert op == "U"
            assert old == new
            assert old is not None
            assert old_row is not None
            assert old_row[1] == str(counts[old[0]])
            counts[old[0]] += 1
            assert row is None or row in present
        assert {(row[0], row[1]) for row in present if row} == {(str(key), str(count)) for key, count in counts.items()}
        source.consume(shape, [change.uid for change in changes])
    assert errors == []
    assert changes_of(source, shape) == []
    assert server.all("SELECT sum(n) FROM t") == [(sum(counts.values()),)]
    assert sum(counts.values()) > 20
    assert faults_of(source, shape) == []


def test_an_owner_who_is_no_superuser_attaches_and_may_lose_his_rights(server: PostgresClinic, postgres: Any) -> None:
    postgres.role("his")
    server.run(TABLE, "ALTER TABLE t OWNER TO his")
    server.run("GRANT ALL ON t TO doctor")
    name = server.url.partition("?")[0].rpartition("/")[2]
    owner = open_source(postgres.url(server.url, "his"))
    shape = shape_of(owner, "t")
    with pytest.raises(SourceError, match="permission denied for database"):
        owner.install_capture(shape)
    server.admin.execute(f"GRANT CREATE ON DATABASE {name} TO his")
    owner.install_capture(shape)
    server.run("INSERT INTO t VALUES (1, 'a')")
    server.run(f"REVOKE INSERT ON {QUEUE} FROM his")
    server.run("INSERT INTO t VALUES (2, 'b')")
    server.run("REVOKE ALL ON SCHEMA careseal FROM his")
    server.run("INSERT INTO t VALUES (3, 'c')")
    server.run("GRANT ALL ON SCHEMA careseal TO his", f"GRANT INSERT ON {QUEUE} TO his")
    assert [change.author for change in changes_of(owner, shape)] == ["doctor"]
    assert rows_of(owner, shape) == [("1", "a"), ("2", "b"), ("3", "c")]
    # Without a right on the schema not even the counter can be reached; the rows without a change tell it all the same.
    assert faults_of(owner, shape) == ["1 changes could not be captured"]
    owner.remove_capture(shape)
    server.admin.execute(f"REVOKE ALL ON DATABASE {name} FROM his")


def test_a_bulk_load_is_captured_whole(server: PostgresClinic) -> None:
    source, shape = attached(server)
    server.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 20000) i")
    with source.snapshot() as snapshot:
        assert snapshot.pending_count(shape) == 20000
        assert snapshot.capture_faults(shape) == []
    changes = changes_of(source, shape)
    source.consume(shape, [change.uid for change in changes])
    assert changes_of(source, shape) == []


def test_an_auditor_reads_with_rights_of_reading_only(server: PostgresClinic, postgres: Any) -> None:
    source, shape = attached(server)
    server.run("INSERT INTO t VALUES (1, 'a')")
    postgres.role("auditor")
    auditor = open_source(postgres.url(server.url, "auditor"))
    server.run("GRANT SELECT ON t TO auditor")
    with pytest.raises(SourceError, match="permission denied for schema careseal"):
        changes_of(auditor, shape)
    server.run("GRANT USAGE ON SCHEMA careseal TO auditor", "GRANT SELECT ON ALL TABLES IN SCHEMA careseal TO auditor")
    server.run("GRANT SELECT ON ALL SEQUENCES IN SCHEMA careseal TO auditor")
    assert shape_of(auditor, "t") == shape
    assert ops(auditor, shape) == [("I", None, 1)]
    assert faults_of(auditor, shape) == []
    with pytest.raises(SourceError, match="permission"):
        auditor.consume(shape, [change.uid for change in changes_of(auditor, shape)])
    source.close()
