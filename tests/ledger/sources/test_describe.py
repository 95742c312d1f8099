"""Shapes of live tables: what is committed to, what is refused, and what counts as the same type."""

from __future__ import annotations

import pytest
from clinic import Clinic, PostgresClinic, SqliteClinic, attach, plain_key, read_all, rows_of, shape_of

from ledger.errors import SourceError
from ledger.sources import ColumnMissing, open_source

ODD = ['visit log', 'say "hi"', "就诊记录", "select", "a.b", "x'; DROP TABLE y; --", "Ünïcode", "tab\tname"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_work_everywhere(clinic: Clinic, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    clinic.run(f'CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, "order" text, "备注 ""x""" text)')
    clinic.run(f"INSERT INTO {quoted} VALUES (1, 'a', 'b')")
    before = clinic.schema()
    source, shape = attach(clinic, name)
    assert shape.names == (name, "order", '备注 "x"')
    with source.snapshot() as snapshot:
        snapshot.check_options(shape, subject="order", final='"备注 ""x""" = \'b\'')
        assert len(read_all(snapshot, shape)) == 1
        assert snapshot.capture_faults(shape) == []
    clinic.run(f"UPDATE {quoted} SET \"order\" = 'c'")
    with source.snapshot() as snapshot:
        (batch,) = snapshot.changes(shape, subject=name, final='"备注 ""x""" = \'b\'')
        assert [(c.op, c.closed, c.changed, c.subject) for c in batch] == [("U", True, ("order",), "1")]
    source.remove_capture(shape)
    assert clinic.schema() == before


def test_the_key_comes_first_in_its_own_order(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE dose (note text, day text NOT NULL, patient int NOT NULL, given text, PRIMARY KEY (patient, day))")
    source = open_source(clinic.url)
    assert shape_of(source, "dose").names == ("patient", "day", "note", "given")
    assert shape_of(source, "dose").key == ("patient", "day")
    assert shape_of(source, "dose", ["given"]).names == ("given", "note", "day", "patient")


def test_key_kinds_of_sqlite(file: SqliteClinic) -> None:
    file.run(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x)",
        "CREATE TABLE b (id INT PRIMARY KEY, x)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY DESC, x)",
        "CREATE TABLE d (id INTEGER PRIMARY KEY, x) WITHOUT ROWID",
        "CREATE TABLE e (id TEXT, x INTEGER, PRIMARY KEY (id, x))",
    )
    source = open_source(file.url)
    assert [shape_of(source, name).key_kinds for name in "abcde"] == [("int",), ("any",), ("any",), ("any",), ("any", "any")]
    assert shape_of(source, "e", ["x"]).key_kinds == ("any",)


def test_key_kinds_of_postgresql(server: PostgresClinic) -> None:
    server.run("CREATE DOMAIN number AS int")
    server.run("CREATE TABLE a (s smallint, i int, b bigint, d number, t text, u uuid, PRIMARY KEY (s, i, b, d, t, u))")
    assert shape_of(open_source(server.url), "a").key_kinds == ("int", "int", "int", "int", "text", "text")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE visit (note text)", "no primary key: use --key COL"),
        ("CREATE VIEW visit AS SELECT 1 AS id", "a view"),
    ],
)
def test_tables_that_cannot_be_attached(clinic: Clinic, statement: str, words: str) -> None:
    clinic.run(statement)
    with pytest.raises(SourceError, match=words):
        shape_of(open_source(clinic.url), "visit")


def test_a_missing_table_is_named(clinic: Clinic) -> None:
    with pytest.raises(SourceError, match="no table 'visit'"):
        shape_of(open_source(clinic.url), "visit")


def test_virtual_and_own_tables_of_sqlite_are_refused(file: SqliteClinic) -> None:
    file.run("CREATE VIRTUAL TABLE search USING fts5 (note)", "CREATE TABLE visit (id INTEGER PRIMARY KEY)")
    source, _ = attach(file, "visit")
    own = file.all("SELECT name FROM sqlite_schema WHERE name LIKE 'careseal_queue%'")[0][0]
    for name, words in (("search", "virtual"), ("search_data", "part of a virtual"), (own, "no table of the hospital")):
        with pytest.raises(SourceError, match=words):
            shape_of(source, name)


def test_other_relations_of_postgresql_are_refused(server: PostgresClinic) -> None:
    server.run("CREATE MATERIALIZED VIEW old AS SELECT 1 AS id", "CREATE SEQUENCE numbers")
    for name, words in (("old", "materialised view"), ("numbers", "sequence")):
        with pytest.raises(SourceError, match=words):
            shape_of(open_source(server.url), name)


def test_a_declared_key_must_exist(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE visit (code text, note text)")
    source = open_source(clinic.url)
    with pytest.raises(ColumnMissing, match="no column number"):
        shape_of(source, "visit", ["number"])
    with pytest.raises(SourceError, match="twice"):
        shape_of(source, "visit", ["code", "code"])


@pytest.mark.parametrize(
    ("rows", "words"), [("('a', 1), ('a', 2)", "not unique"), ("('a', 1), (NULL, 2)", "NULL in some row"), ("('a', 1), ('b', 2)", None)]
)
def test_a_declared_key_must_identify_every_row(clinic: Clinic, rows: str, words: str | None) -> None:
    clinic.run("CREATE TABLE visit (code text, note int)", f"INSERT INTO visit VALUES {rows}")
    source = open_source(clinic.url)
    with source.snapshot() as snapshot:
        shape = snapshot.describe("visit", ["code"])
        if words is None:
            snapshot.check_options(shape, subject=None, final=None)
        else:
            with pytest.raises(SourceError, match=words):
                snapshot.check_options(shape, subject=None, final=None)
        assert len(read_all(snapshot, shape)) == 2


def test_null_in_a_primary_key_of_sqlite_is_refused(file: SqliteClinic) -> None:
    file.run("CREATE TABLE visit (code TEXT PRIMARY KEY)", "INSERT INTO visit VALUES (NULL), (NULL), ('a')")
    source = open_source(file.url)
    with source.snapshot() as snapshot, pytest.raises(SourceError, match="NULL in some row"):
        snapshot.check_options(snapshot.describe("visit", None), subject=None, final=None)


def test_more_than_256_columns_are_refused(clinic: Clinic) -> None:
    columns = ", ".join(f"c{n} int" for n in range(256))
    clinic.run(f"CREATE TABLE visit (id int PRIMARY KEY, {columns})")
    source = open_source(clinic.url)
    with source.snapshot() as snapshot, pytest.raises(SourceError, match="at most 256"):
        snapshot.check_options(snapshot.describe("visit", None), subject=None, final=None)


def test_256_columns_are_captured(clinic: Clinic) -> None:
    columns = ", ".join(f"c{n} int" for n in range(255))
    clinic.run(f"CREATE TABLE visit (id int PRIMARY KEY, {columns})", "INSERT INTO visit (id) VALUES (1)")
    source, shape = attach(clinic, "visit")
    clinic.run("UPDATE visit SET c254 = 7, c0 = 1")
    with source.snapshot() as snapshot:
        snapshot.check_options(shape, subject=None, final="c254 = 7")
        ((change,),) = snapshot.changes(shape, subject=None, final="c254 is null")
    assert change.changed == ("c0", "c254")
    assert change.closed


@pytest.mark.parametrize(
    "kind", ["money", "xml", "regclass", "regproc", "xid", "tid", '"char"', "int2vector", "money[]", "pair", "strange", "txid_snapshot"]
)
def test_inexact_types_are_refused_by_column(server: PostgresClinic, kind: str) -> None:
    server.run("CREATE TYPE pair AS (a int, b money)", "CREATE DOMAIN strange AS xml")
    server.run(f"CREATE TABLE visit (id int PRIMARY KEY, odd {kind})")
    source = open_source(server.url)
    with source.snapshot() as snapshot:
        shape = snapshot.describe("visit", None)
        with pytest.raises(SourceError, match="column 'odd' of table 'visit' cannot be committed to exactly"):
            snapshot.check_options(shape, subject=None, final=None)
    with pytest.raises(SourceError, match="'odd'"):
        source.install_capture(shape)


def test_a_key_without_an_order_is_refused(server: PostgresClinic) -> None:
    server.run("CREATE TABLE visit (body json, spot point)")
    source = open_source(server.url)
    for key in ("body", "spot"):
        with source.snapshot() as snapshot, pytest.raises(SourceError, match="cannot be a key"):
            snapshot.check_options(snapshot.describe("visit", [key]), subject=None, final=None)


def test_generated_columns_of_sqlite_are_committed_to(file: SqliteClinic) -> None:
    file.run(
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, a INTEGER, twice INTEGER AS (a * 2) VIRTUAL, thrice INTEGER AS (a * 3) STORED)",
        "INSERT INTO visit (id, a) VALUES (1, 2)",
    )
    source, shape = attach(file, "visit")
    assert rows_of(source, shape) == [(1, 2, 4, 6)]
    file.run("UPDATE visit SET a = 5")
    with source.snapshot() as snapshot:
        snapshot.check_options(shape, subject=None, final="twice > 100")
        ((change,),) = snapshot.changes(shape, subject=None, final=None)
    assert change.changed == ("a", "twice", "thrice")


def test_a_column_computed_by_the_application_alone_is_refused(file: SqliteClinic) -> None:
    file.connection.create_function("pinyin", 1, str, deterministic=True)
    file.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, name TEXT, sound TEXT AS (pinyin(name)))")
    source = open_source(file.url)
    with source.snapshot() as snapshot, pytest.raises(SourceError, match="column 'sound' of table 'visit' cannot be committed"):
        snapshot.check_options(snapshot.describe("visit", None), subject=None, final=None)


def test_generated_columns_of_postgresql_are_committed_to(server: PostgresClinic) -> None:
    server.run("CREATE TABLE visit (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)")
    server.run("INSERT INTO visit VALUES (1, 2)")
    source, shape = attach(server, "visit")
    assert rows_of(source, shape) == [("1", "2", "4")]
    server.run("UPDATE visit SET a = 3")
    with source.snapshot() as snapshot:
        ((change,),) = snapshot.changes(shape, subject=None, final=None)
    assert change.changed == ("a", "twice")


SAME: list[tuple[str, str]] = [
    ("varchar(20)", "varchar(40)"), ("varchar(20)", "text"), ("int", "bigint"), ("smallint", "int"), ("numeric(10,2)", "numeric(12,2)"),
    ("char(5)", "char(9)"), ("timestamp(0)", "timestamp(6)"), ("varchar(9)[]", "text[]"), ("bit(3)", "bit(3)"),
]  # fmt: skip
OTHER = [("varchar(20)", "int"), ("int", "numeric"), ("text", "bytea"), ("real", "float8"), ("date", "timestamp"), ("json", "jsonb")]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_widening_a_column_is_no_change(server: PostgresClinic, before: str, after: str) -> None:
    server.run(f"CREATE TABLE visit (id int PRIMARY KEY, x {before})")
    odd = {"char(5)": "'ab'", "timestamp(0)": "'2024-02-29 12:00:00'", "varchar(9)[]": "'{a,b}'", "bit(3)": "B'101'"}
    literal = odd.get(before, "'12'")
    server.run(f"INSERT INTO visit VALUES (1, {literal})")
    source, shape = attach(server, "visit")
    with source.snapshot() as snapshot:
        rows = read_all(snapshot, shape)
    server.run(f"ALTER TABLE visit ALTER x TYPE {after}")
    assert shape_of(source, "visit") == shape
    with source.snapshot() as snapshot:
        assert read_all(snapshot, shape) == rows
        assert snapshot.capture_faults(shape) == []
    # The queue takes the wider values as well.
    long = {"varchar(40)": "repeat('x', 40)", "text": "repeat('x', 99)", "bigint": "9999999999", "text[]": "'{0123456789}'"}
    server.run(f"UPDATE visit SET x = {long.get(after, literal)}", "DELETE FROM visit")
    with source.snapshot() as snapshot:
        assert snapshot.capture_faults(shape) == []
        assert [c.op for batch in snapshot.changes(shape, subject=None, final=None) for c in batch][-1] == "D"


@pytest.mark.parametrize(("before", "after"), OTHER)
def test_a_real_retype_is_a_change(server: PostgresClinic, before: str, after: str) -> None:
    server.run(f"CREATE TABLE visit (id int PRIMARY KEY, x {before})")
    source = open_source(server.url)
    shape = shape_of(source, "visit")
    server.run("ALTER TABLE visit DROP x", f"ALTER TABLE visit ADD x {after}")
    assert shape_of(source, "visit") != shape


def test_types_of_sqlite_are_told_apart_by_what_they_hold(file: SqliteClinic) -> None:
    declared = ["VARCHAR(20)", "nvarchar(9)", "TEXT", "INT", "bigint", "DOUBLE", "DECIMAL(10,2)", "decimal(12, 2)"]
    declared += ["DATE", "", "BLOB", "my type"]
    names = [f"c{n}" for n in range(len(declared))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, declared, strict=True))
    file.run(f"CREATE TABLE visit (id INTEGER PRIMARY KEY, {columns})", "CREATE TABLE strict (id INTEGER PRIMARY KEY, x ANY) STRICT")
    source = open_source(file.url)
    types = [column.type for column in shape_of(source, "visit").columns][1:]
    assert types == ["TEXT", "TEXT", "TEXT", "INTEGER", "INTEGER", "REAL", "DECIMAL", "DECIMAL", "DATE", "BLOB", "BLOB", "MY TYPE"]
    assert shape_of(source, "strict").columns[1].type == "ANY STRICT"


def test_sqlite_ignores_case_and_the_shape_has_the_real_names(file: SqliteClinic) -> None:
    file.run("CREATE TABLE Visit (Id INTEGER PRIMARY KEY, Note TEXT)", "INSERT INTO visit VALUES (1, 'a')")
    source, shape = attach(file, "VISIT", ["note"])
    assert (shape.table, shape.names) == ("Visit", ("Note", "Id"))
    file.run("UPDATE visit SET ID = 2")
    with source.snapshot() as snapshot:
        assert snapshot.capture_faults(shape) == []
        assert [plain_key(shape, key) for key in snapshot.touched(shape)] == [("a",)]


def test_tables_of_other_schemas_are_named_with_them(server: PostgresClinic) -> None:
    server.run(
        "CREATE SCHEMA \"病 历\"", 'CREATE TABLE "病 历".visit (id int PRIMARY KEY)', "CREATE TABLE visit (id text PRIMARY KEY)",
        'CREATE TABLE "a.b" (id int PRIMARY KEY)',
    )  # fmt: skip
    source = open_source(server.url)
    assert shape_of(source, "病 历.visit").table == "病 历.visit"
    assert shape_of(source, "病 历.visit").key_kinds == ("int",)
    assert shape_of(source, "public.visit").table == shape_of(source, "visit").table == "visit"
    assert shape_of(source, "a.b").table == "a.b"
    before = server.schema()
    _, first = attach(server, "病 历.visit")
    _, second = attach(server, "visit")
    source.remove_capture(first)
    with source.snapshot() as snapshot:
        assert snapshot.capture_faults(second) == []
    source.remove_capture(second)
    assert server.schema() == before


def test_a_table_on_the_accounts_own_search_path_does_not_stand_in(server: PostgresClinic) -> None:
    server.run("CREATE TABLE visit (id int PRIMARY KEY)", "INSERT INTO visit VALUES (1)")
    server.run("CREATE SCHEMA postgres", "CREATE TABLE postgres.visit (id int PRIMARY KEY)")
    source = open_source(server.url)
    assert rows_of(source, shape_of(source, "visit")) == [("1",)]


PATHS = ["nothing", "patient/person", "patient/person.id", "patient/.id/x", "patient/person.id/mrn/x", "patient/people.id/mrn"]


@pytest.mark.parametrize("path", [*PATHS, "patient/person.no/mrn"])
def test_wrong_subject_paths(clinic: Clinic, path: str) -> None:
    clinic.run("CREATE TABLE person (id int PRIMARY KEY, mrn text)", "CREATE TABLE visit (id int PRIMARY KEY, patient int)")
    source = open_source(clinic.url)
    with source.snapshot() as snapshot:
        shape = snapshot.describe("visit", None)
        with pytest.raises(SourceError, match="subject path"):
            snapshot.check_options(shape, subject=path, final=None)
        assert snapshot.describe("visit", None) == shape  # the snapshot is still of use


WRONG = ["nonsense is null", "status = ", "count(*) > 1", "(SELECT 1", "status = 'x'; DROP TABLE visit"]


@pytest.mark.parametrize("final", WRONG)
def test_wrong_predicates(clinic: Clinic, final: str) -> None:
    clinic.run("CREATE TABLE visit (id int PRIMARY KEY, status text)", "INSERT INTO visit VALUES (1, 'x')")
    source = open_source(clinic.url)
    with source.snapshot() as snapshot:
        shape = snapshot.describe("visit", None)
        with pytest.raises(SourceError, match="--final"):
            snapshot.check_options(shape, subject=None, final=final)
        snapshot.check_options(shape, subject=None, final="status = 'final' -- closed")
    assert len(rows_of(source, shape)) == 1


def test_errors_never_carry_patient_data(server: PostgresClinic) -> None:
    server.run("CREATE TABLE visit (id int PRIMARY KEY, weight text)", "INSERT INTO visit VALUES (1, 'Ms Secret, 60 kg')")
    source = open_source(server.url)
    with source.snapshot() as snapshot, pytest.raises(SourceError) as caught:
        snapshot.check_options(snapshot.describe("visit", None), subject=None, final="weight::int > 5")
    assert "Secret" not in str(caught.value)


def test_the_name_of_a_dropped_column_is_told(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE visit (id int PRIMARY KEY, note text, x text)", "INSERT INTO visit VALUES (1, 'a', 'b')")
    source = open_source(clinic.url)
    shape = shape_of(source, "visit")
    clinic.run("ALTER TABLE visit DROP COLUMN note")
    with pytest.raises(ColumnMissing) as caught:
        rows_of(source, shape)
    assert caught.value.column == "note"
    with pytest.raises(ColumnMissing):
        shape_of(source, "visit", ["note"])


