"""Rows of a snapshot: exact bytes, in key order, of exactly the shape's columns, all from one moment."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
import tracemalloc
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from clinic import Clinic, PostgresClinic, SqliteClinic, plain_key, plain_row, read_all, rows_of, shape_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import rowcodec, sortkey
from ledger.errors import SourceError
from ledger.sources import open_source

SQLITE_VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00a中"), max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([2**53, 2**53 + 1, float(2**53), 0.0, -0.0, 0, 1, 1.0, float("inf"), "1", "1.0", "1.10", 1.1])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(SQLITE_VALUES, SQLITE_VALUES, SQLITE_VALUES), max_size=20),
    declared=st.sampled_from(["", "TEXT", "NUMERIC", "REAL"]),
)
def test_any_sqlite_table_is_read_exactly_and_in_order(file: SqliteClinic, rows: list[tuple[Any, ...]], declared: str) -> None:
    """Also where the declared key is not enforced: duplicates and NULLs come out too."""
    file.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (a {declared}, b COLLATE NOCASE, c)")
    file.connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    stored = file.all("SELECT a, b, c FROM t")
    source = open_source(file.url)
    shape = shape_of(source, "t", ["a", "b"])
    with source.snapshot() as snapshot:
        found = read_all(snapshot, shape)
        keys = [key for key, _ in found]
        for cut in keys[:: max(1, len(keys) // 3)]:
            for bound in (cut, cut + b"\0"):
                # Rows of one key, possible where it is not enforced, come in any order.
                below, above = read_all(snapshot, shape, high=bound), read_all(snapshot, shape, low=bound)
                assert sorted(below) == sorted(pair for pair in found if pair[0] < bound)
                assert sorted(above) == sorted(pair for pair in found if pair[0] >= bound)
    assert sorted(repr(rowcodec.decode_sqlite(row)) for _, row in found) == sorted(repr(row) for row in stored)
    assert [repr(plain_key(shape, key)) for key, _ in found] == [repr(rowcodec.decode_sqlite(row)[:2]) for _, row in found]
    # SQLite orders 0.0 and -0.0 alike.
    if not any(str(value) == "-0.0" for row in stored for value in row):
        assert keys == sorted(keys)


DATES = st.dates() | st.sampled_from([datetime.date(1, 1, 1), datetime.date(9999, 12, 31)])
NUMERICS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9) | st.sampled_from(
    [Decimal("1.10"), Decimal("1.1"), Decimal("0"), Decimal("-0.0001")]
)
PG_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from("\t\n\\ aA中😀"), max_size=5)
KEY_TYPES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "text": PG_TEXTS,
    'text COLLATE "C"': PG_TEXTS,
    "varchar(9)": PG_TEXTS,
    "char(6)": PG_TEXTS,
    "bpchar": PG_TEXTS,
    "uuid": st.uuids(),
    "date": DATES,
    "timestamptz": st.datetimes(timezones=st.just(datetime.UTC)),
    "numeric": NUMERICS,
    "float8": st.floats(allow_nan=False),
    "bytea": st.binary(max_size=4),
    "boolean": st.booleans(),
    "inet": st.sampled_from(["10.0.0.1", "10.0.0.1/24", "10.0.0.1/8", "10.0.0.0/8", "::1", "fe80::1/64", "10.0.0.10"]),
    "interval": st.timedeltas(datetime.timedelta(-900), datetime.timedelta(900)),
    "mood": st.sampled_from(["sad", "ok", "Happy", "很好"]),
    "int[]": st.lists(st.integers(-9, 9), max_size=3),
    "number": st.integers(0, 50),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kinds=st.lists(st.sampled_from(sorted(KEY_TYPES)), min_size=1, max_size=3), enforced=st.booleans())
def test_any_postgresql_table_is_read_exactly_and_in_order(
    server: PostgresClinic, data: st.DataObject, kinds: list[str], enforced: bool
) -> None:
    server.run("DROP TABLE IF EXISTS t", "DROP TYPE IF EXISTS mood", "DROP DOMAIN IF EXISTS number")
    server.run("CREATE TYPE mood AS ENUM ('sad', 'ok', 'Happy', '很好')", "CREATE DOMAIN number AS numeric(6, 2)")
    names = [f"k{n}" for n in range(len(kinds))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
    key = f", PRIMARY KEY ({', '.join(names)})" if enforced else ""
    server.run(f"CREATE TABLE t (note text, {columns}{key})")
    values = [KEY_TYPES[kind] if enforced else st.none() | KEY_TYPES[kind] for kind in kinds]
    rows = data.draw(st.lists(st.tuples(PG_TEXTS, *values), max_size=12))
    casts = ", ".join(f"%s::{kind.partition(' ')[0]}" for kind in kinds)
    with server.connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO t VALUES (%s, {casts}) ON CONFLICT DO NOTHING", rows)
    stored = server.all(f"SELECT {', '.join(f'{name}::text' for name in names)} FROM t")
    source = open_source(server.url)
    shape = shape_of(source, "t", names)
    with source.snapshot() as snapshot:
        found = read_all(snapshot, shape)
        keys = [key for key, _ in found]
        assert keys == sorted(keys)
        for cut in keys[:: max(1, len(keys) // 3)]:
            for bound in (cut, cut + b"\0"):
                # Rows of one key, possible where it is not enforced, come in any order.
                below, above = read_all(snapshot, shape, high=bound), read_all(snapshot, shape, low=bound)
                assert sorted(below) == sorted(pair for pair in found if pair[0] < bound)
                assert sorted(above) == sorted(pair for pair in found if pair[0] >= bound)
    assert len(found) == len(stored)
    shown = [tuple(None if value is None else str(value) for value in plain_key(shape, key) or ()) for key, _ in found]
    assert shown == [(plain_row(shape, row) or ())[: len(kinds)] for _, row in found]
    if enforced:
        assert len(set(keys)) == len(keys)


PG_VALUES: dict[str, list[str]] = {
    "numeric": ["1.1", "1.10", "-0.00", "NaN", "1e-20", "123456789012345678901234567890.5"],
    "float8": ["0.1", "0.1000000000000000055511151231257827", "1e300", "-0", "NaN", "Infinity"],
    "real": ["0.1", "16777217", "-0"],
    "text": ["\\\\N", "", " a ", "\\t\t\n\r", "中😀"],
    "bytea": ["\\\\x00ff", ""],
    "timestamptz": ["2024-02-29 12:00:00.000001+08", "infinity", "0044-03-15 00:00:00+00 BC"],
    "timestamp": ["2024-02-29 12:00:00", "-infinity"],
    "date": ["2024-02-29", "12345-01-01"],
    "time": ["24:00:00", "12:00:00.5"],
    "timetz": ["12:00:00+08:30:15"],
    "interval": ["1 mon 2 days -03:00:00", "-1 year -2 mons", "36 hours", "-00:00:00.000001"],
    "json": ['{"a":  1.10, "a": 2}'],
    "jsonb": ['{"b": 1.10, "a": 1.1}'],
    "bit(4)": ["1010"],
    "varbit": ["101", ""],
    "inet": ["10.0.0.1", "10.0.0.1/24"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    "int4range": ["[1,5)", "empty", "(,3]"],
    "nummultirange": ["{[1.0,2.00),[5,7)}"],
    "point": ["(0.1,-0)"],
    "path": ["[(0,0),(1,1)]"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "tsvector": ["'a':1A 'b':2,3"],
    "tsquery": ["'a' & !'b'"],
    "text[]": ["{}", '{NULL,"NULL","a,b","{}"}', "[2:3]={a,b}", "{{a,b},{c,d}}"],
    "pair": ['(1,"a ""b"",")', "(,)", '(,"")'],
    "mood": ["sad"],
    "number": ["1.10"],
    "boolean": ["t", "f"],
    "name": ["a"],
    "oid": ["4294967295"],
    "pg_lsn": ["16/B374D848"],
    "citext": ["MiXed"],
    "hstore": ['"a"=>"1", "b"=>NULL'],
    "ltree": ["Top.Science"],
}


PG_COLUMNS = ", ".join(f'"{kind}" {kind}' for kind in PG_VALUES)


def _pg_types(server: PostgresClinic) -> None:
    server.run("CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE DOMAIN number AS numeric CHECK (VALUE > 0)")
    server.run("CREATE TYPE pair AS (a int, b text)", "CREATE EXTENSION citext", "CREATE EXTENSION hstore", "CREATE EXTENSION ltree")


def test_every_accepted_type_has_one_text_whatever_the_settings(server: PostgresClinic, postgres: Any) -> None:
    """Same bytes under hostile settings of database and account; different values, different bytes; readable back to the same value."""
    _pg_types(server)
    values = [(kind, value) for kind, texts in PG_VALUES.items() for value in texts]
    server.run(f"CREATE TABLE t (id int PRIMARY KEY, {PG_COLUMNS})")
    for number, (kind, value) in enumerate(values):
        server.run(f"INSERT INTO t (id, \"{kind}\") VALUES ({number}, E'{value.replace(chr(39), chr(39) * 2)}')")
    source = open_source(server.url)
    shape = shape_of(source, "t")
    with source.snapshot() as snapshot:
        snapshot.check_options(shape, subject=None, final=None)
        before = read_all(snapshot, shape)
    name = server.url.partition("?")[0].rpartition("/")[2]
    hostile = {
        "TimeZone": "'Asia/Shanghai'", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601", "extra_float_digits": "-15",
        "bytea_output": "escape", "client_encoding": "LATIN1", "search_path": "nowhere", "standard_conforming_strings": "off",
        "xmlbinary": "hex", "quote_all_identifiers": "on", "default_transaction_isolation": "serializable",
        "statement_timeout": "'1ms'", "array_nulls": "off",
    }  # fmt: skip
    try:
        for setting, value in hostile.items():
            server.admin.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        again = open_source(server.url)
        assert shape_of(again, "t") == shape
        with again.snapshot() as snapshot:
            assert read_all(snapshot, shape) == before
    finally:
        server.admin.execute(f"ALTER DATABASE {name} RESET ALL")
    columns = {kind: [] for kind in PG_VALUES}  # type: dict[str, list[bytes]]
    for (kind, _), (_, row) in zip(values, before, strict=True):
        columns[kind].append(rowcodec.fields(shape.encoding, row)[shape.names.index(kind)])
    for kind, fields in columns.items():
        assert b"\\N" not in fields
        if kind not in ("float8",):
            assert len(set(fields)) == len(fields), kind


def test_every_accepted_type_is_captured(server: PostgresClinic) -> None:
    _pg_types(server)
    server.run(f"CREATE TABLE t (id int PRIMARY KEY, {PG_COLUMNS})")
    first = ", ".join("E'" + texts[0].replace("'", "''") + "'" for texts in PG_VALUES.values())
    last = ", ".join("E'" + texts[-1].replace("'", "''") + "'" for texts in PG_VALUES.values())
    server.run(f"INSERT INTO t VALUES (1, {first})")
    source = open_source(server.url)
    shape = shape_of(source, "t")
    source.install_capture(shape)
    source.install_capture(shape)
    with source.snapshot() as snapshot:
        ((_, before),) = read_all(snapshot, shape)
    quoted = ", ".join(f'"{kind}"' for kind in PG_VALUES)
    server.run(f"UPDATE t SET ({quoted}) = ROW({last})")
    with source.snapshot() as snapshot:
        assert snapshot.capture_faults(shape) == []
        ((change,),) = snapshot.changes(shape, subject=None, final=None)
        ((_, after),) = read_all(snapshot, shape)
    assert change.old_row == before
    assert change.row == after
    assert set(change.changed) == {kind for kind, texts in PG_VALUES.items() if len(texts) > 1}


def test_text_that_is_not_utf8_is_read_exactly(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)")
    notes = ["中".encode(), b"\xff", b"\xed\xb3\xbf", b"caf\xe9", b"a\x00b", b"\xed\xa0\x80", b"", b"\xe4\xb8"]
    many = [(number, notes[number % 8] if number > 1200 else b"plain") for number in range(1500)]
    file.run("BEGIN")
    file.connection.executemany("INSERT INTO t VALUES (?, CAST(? AS TEXT))", many)
    file.run("COMMIT")
    source = open_source(file.url)
    shape = shape_of(source, "t")
    with source.snapshot() as snapshot:
        found = read_all(snapshot, shape)
        assert read_all(snapshot, shape) == found
        labels = [label for rows in snapshot.rows(shape, subject="note") for label in rows.subjects or []]
    assert len(found) == 1500
    for number, (key, row) in enumerate(found):
        assert plain_key(shape, key) == (number,)
        text = rowcodec.decode_sqlite(row)[1]
        assert isinstance(text, str)
        assert text.encode("utf-8", "surrogateescape") == (notes[number % 8] if number > 1200 else b"plain")
    assert len({row[5:] for _, row in found[1208:1216]}) == 8
    assert "\n".join(label or "" for label in labels).encode()  # every label can be stored


def test_columns_added_later_are_left_out(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)", "INSERT INTO t VALUES (1, 'a')")
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    before = rows_of(source, shape)
    clinic.run("ALTER TABLE t ADD COLUMN more text DEFAULT 'x'")
    assert rows_of(source, shape) == before
    assert shape_of(source, "t").names == ("id", "note", "more")


def test_a_dropped_column_never_becomes_a_literal(file: SqliteClinic) -> None:
    """SQLite reads a quoted name that is no column as a string."""
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)", "INSERT INTO t VALUES (1, 'note')")
    source = open_source(file.url)
    shape = shape_of(source, "t")
    file.run("ALTER TABLE t RENAME COLUMN note TO remark")
    with pytest.raises(SourceError, match="no column note"):
        rows_of(source, shape)


def test_subjects_come_with_their_rows(clinic: Clinic) -> None:
    clinic.run(
        "CREATE TABLE person (id int PRIMARY KEY, family int, mrn text)", "CREATE TABLE family (no int PRIMARY KEY, house text)",
        "CREATE TABLE visit (id int PRIMARY KEY, patient int)",
        "INSERT INTO family VALUES (7, 'h7')", "INSERT INTO person VALUES (1, 7, 'm1'), (2, NULL, 'm2'), (3, 8, NULL)",
        "INSERT INTO visit VALUES (10, 1), (11, 2), (12, 3), (13, 4), (14, NULL)",
    )  # fmt: skip
    source = open_source(clinic.url)
    shape = shape_of(source, "visit")

    def labels(path: str) -> list[str | None]:
        with source.snapshot() as snapshot:
            snapshot.check_options(shape, subject=path, final=None)
            return [label for rows in snapshot.rows(shape, subject=path) for label in rows.subjects or []]

    assert labels("patient") == ["1", "2", "3", "4", None]
    assert labels("patient/person.id/mrn") == ["m1", "m2", None, None, None]
    assert labels("patient/person.id/family/family.no/house") == ["h7", None, None, None, None]
    clinic.run("ALTER TABLE person RENAME TO people", "CREATE VIEW person AS SELECT id, mrn FROM people UNION ALL SELECT 1, 'a0'")
    assert labels("patient/person.id/mrn")[0] == "a0"
    with source.snapshot() as snapshot:
        assert [rows.subjects for rows in snapshot.rows(shape)] == [None]


def test_a_subject_table_of_another_schema(server: PostgresClinic) -> None:
    server.run("CREATE SCHEMA his", "CREATE TABLE his.person (id int PRIMARY KEY, mrn text)")
    server.run("CREATE TABLE visit (id int PRIMARY KEY, patient int)")
    server.admin.execute("INSERT INTO his.person VALUES (1, 'm\t1'); INSERT INTO visit VALUES (5, 1)")
    source = open_source(server.url)
    shape = shape_of(source, "visit")
    with source.snapshot() as snapshot:
        (rows,) = snapshot.rows(shape, subject="patient/his.person.id/mrn")
    assert (rows.rows, rows.subjects) == ([b"5\t1"], ["m\t1"])


def test_rows_come_in_bounded_runs(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, 'x' FROM n"
    clinic.run(many)
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    with source.snapshot() as snapshot:
        sizes = [len(rows.keys) for rows in snapshot.rows(shape)]
    assert sum(sizes) == 5000
    assert max(sizes) <= 1000


def test_long_documents_do_not_fill_the_memory(clinic: Clinic) -> None:
    long = "hex(zeroblob(500000))" if clinic.engine == "sqlite" else "repeat('0', 1000000)"
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 230)"
    clinic.run(f"{numbers} INSERT INTO t SELECT i, CASE WHEN i > 150 THEN {long} END FROM n")
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    tracemalloc.start()
    try:
        with source.snapshot() as snapshot:
            assert sum(len(row) for rows in snapshot.rows(shape) for row in rows.rows) > 80_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 70_000_000


def test_a_snapshot_does_not_move(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)", "INSERT INTO t VALUES (1, 'a')")
    source = open_source(clinic.url)
    with source.snapshot() as snapshot:
        clinic.run("INSERT INTO t VALUES (2, 'b')", "UPDATE t SET note = 'c'")
        shape = snapshot.describe("t", None)
        assert [plain_row(shape, row)[1:] for _, row in read_all(snapshot, shape)] == [("a",)]  # type: ignore[index]
    assert len(rows_of(source, shape)) == 2


WORKER = """
import sys
from ledger.sources import open_source
source = open_source(sys.argv[1])
with source.snapshot(sys.argv[2]) as snapshot:
    print("open", flush=True)
    sys.stdin.readline()
    shape = snapshot.describe("t", None)
    print(sum(len(rows.keys) for rows in snapshot.rows(shape)))
"""


def test_processes_share_one_frozen_state(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    source = open_source(clinic.url)
    wrote = threading.Event()

    def write() -> None:
        connection = clinic.connect()
        connection.execute("INSERT INTO t VALUES (2)")
        connection.close()
        wrote.set()

    with source.freeze() as token:
        assert token is not None
        writer = threading.Thread(target=write)
        writer.start()
        command = [sys.executable, "-c", WORKER, clinic.url, token]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "open\n"
        with source.snapshot(token) as here:
            shape = here.describe("t", None)
            assert len(read_all(here, shape)) == 1
            assert wrote.is_set() == (clinic.engine == "postgresql")
    writer.join(10)
    assert worker.communicate("go\n", timeout=20)[0] == "1\n"
    assert len(rows_of(source, shape)) == 2


def test_readings_may_overlap(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)")
    for table in "ab":
        clinic.run(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO {table} SELECT i FROM n")
    source = open_source(clinic.url)
    with source.snapshot() as snapshot:
        first = snapshot.describe("a", None)
        reading = snapshot.rows(first)
        keys = list(next(reading).keys)
        clinic.run("DELETE FROM b")
        second = snapshot.describe("b", None)
        assert len(read_all(snapshot, second)) == 3000
        for rows in reading:
            keys += rows.keys
    assert keys == sortkey.int_keys(range(1, 3001)) if first.key_kinds == ("int",) else len(keys) == 3000


def test_a_reading_may_be_left_off(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
    clinic.run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, 'some note' FROM n")
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    with source.snapshot() as snapshot:
        clinic.run("DELETE FROM t")
        for _ in range(3):
            reading = snapshot.rows(shape)
            next(reading)
            reading.close()  # type: ignore[attr-defined]
        assert len(read_all(snapshot, shape)) == 20000


def test_a_table_emptied_or_rewritten_after_the_snapshot_is_not_taken_for_empty(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 2)")
    source = open_source(server.url)
    for statement in ("ALTER TABLE t ALTER n TYPE bigint", "TRUNCATE t", "DROP TABLE t"):
        with source.snapshot() as snapshot:
            server.admin.execute(statement)
            with pytest.raises(SourceError) as caught:
                read_all(snapshot, snapshot.describe("t", None))
        assert "\n" not in str(caught.value)


def test_a_table_being_read_keeps_its_layout(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 2)")
    source = open_source(server.url)
    with source.snapshot() as snapshot:
        shape = snapshot.describe("t", None)
        server.admin.execute("SET lock_timeout = '100ms'")
        with pytest.raises(Exception, match="lock timeout"):
            server.admin.execute("ALTER TABLE t DROP n")
        server.run("UPDATE t SET n = 3")
        assert [plain_row(shape, row) for _, row in read_all(snapshot, shape)] == [("1", "2")]


def test_partitions_are_read_as_one_table(server: PostgresClinic) -> None:
    server.run(
        "CREATE TABLE t (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')", "CREATE TABLE t2 PARTITION OF t DEFAULT",
        "INSERT INTO t VALUES (2, '2024-05-05'), (1, '2030-01-01'), (1, '2024-01-01')",
    )  # fmt: skip
    source = open_source(server.url)
    assert rows_of(source, shape_of(source, "t")) == [("1", "2024-01-01"), ("1", "2030-01-01"), ("2", "2024-05-05")]


def test_rows_without_a_key_value_are_not_hidden(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id int, note text)", "INSERT INTO t VALUES (NULL, 'x'), (2147483647, 'y'), (NULL, 'z'), (1, 'a')")
    source = open_source(server.url)
    shape = shape_of(source, "t", ["id"])
    with source.snapshot() as snapshot:
        found = read_all(snapshot, shape)
        assert [plain_key(shape, key) for key, _ in found] == [(1,), (2147483647,), (None,), (None,)]
        low = sortkey.int_key(5)
        assert read_all(snapshot, shape, high=low) + read_all(snapshot, shape, low=low) == found


def test_bounds_that_are_no_keys_are_taken_as_bytes(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO t VALUES ('a'), ('b'), ('c')")
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    with source.snapshot() as snapshot:
        found = read_all(snapshot, shape)
        for bound in (b"", b"\x00", b"\xff\xff", found[1][0] + b"\xff", found[1][0][:-1] + b"\x00"):
            assert read_all(snapshot, shape, high=bound) == [pair for pair in found if pair[0] < bound]
            assert read_all(snapshot, shape, low=bound) == [pair for pair in found if pair[0] >= bound]


def test_a_uuid_key_is_read_in_the_order_of_its_text(server: PostgresClinic) -> None:
    server.run("CREATE TABLE t (id uuid PRIMARY KEY)", "INSERT INTO t SELECT gen_random_uuid() FROM generate_series(1, 50)")
    source = open_source(server.url)
    found = [str(UUID(str(row[0]))) for row in rows_of(source, shape_of(source, "t")) if row]
    assert found == sorted(found)
    assert len(found) == 50


def test_a_database_that_another_process_drops_is_one_line(file: SqliteClinic) -> None:
    file.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = open_source(file.url)
    shape = shape_of(source, "t")
    file.run("DROP TABLE t")
    with pytest.raises(SourceError, match="no table 't'"):
        rows_of(source, shape)


# Beginning within the table


KEYS = [
    ("k INTEGER PRIMARY KEY", True), ("k VARCHAR(20) PRIMARY KEY", False), ("k VARCHAR(20) COLLATE NOCASE PRIMARY KEY", False),
    ("k NUMERIC PRIMARY KEY", False), ("k DATE PRIMARY KEY", False), ("a VARCHAR(20), k INTEGER, PRIMARY KEY (a, k)", False),
    ("k INTEGER, a INTEGER, PRIMARY KEY (k, a)", False),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "on_sqlite"), KEYS, ids=str)
def test_whether_reading_can_begin_within_the_table(clinic: Clinic, columns: str, on_sqlite: bool) -> None:
    if isinstance(clinic, PostgresClinic):
        columns = columns.replace(" COLLATE NOCASE", "")
    clinic.run(f"CREATE TABLE t (v TEXT, {columns})")
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    values: dict[str, Any] = {"int": 7, "text": "7", "any": "7"}
    low = sortkey.encoder(shape.key_kinds)([values[kind] for kind in shape.key_kinds])
    with source.snapshot() as snapshot:
        assert snapshot.seeks(shape, low) is (on_sqlite and isinstance(clinic, SqliteClinic))  # PostgreSQL could by an index alone
    source.close()
