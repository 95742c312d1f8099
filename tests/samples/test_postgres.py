"""The same hospital on PostgreSQL, with PostgreSQL's types."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from samples.hospital import SampleError, rows_of
from samples.postgres import build_postgres
from samples.row import json_text


@pytest.fixture
def connection(postgres):
    url = postgres.database().replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_values_arrive_exactly(connection):
    heard = []
    counts = build_postgres(connection, 1, progress=lambda *news: heard.append(news))
    rows = rows_of(1)
    assert counts == {table: len(table_rows) for table, table_rows in rows.items()}
    assert heard[-1][1] == heard[-1][2] == sum(counts.values())
    for table, table_rows in rows.items():
        columns = ", ".join(table_rows[0])
        found = connection.execute(f"SELECT {columns} FROM {table} ORDER BY ctid").fetchall()
        assert found == [tuple(map(_as_read, row.values())) for row in table_rows], table
    digits = [str(row["value_num"]) for row in rows["lab_result"] if row["value_num"] is not None]
    assert [text for (text,) in connection.execute(VALUE_TEXTS)] == digits


VALUE_TEXTS = "SELECT value_num::text FROM lab_result WHERE value_num IS NOT NULL ORDER BY ctid"


def _as_read(value):
    return json.loads(json_text(value)) if isinstance(value, dict | list) else value


def test_columns_have_types(connection):
    build_postgres(connection, 2)
    types = connection.execute(
        "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_schema = 'public'"
    ).fetchall()
    assert {name for (name,) in types} == {
        "bigint", "boolean", "bytea", "character", "character varying", "date", "jsonb", "numeric", "smallint", "text",
        "timestamp with time zone", "uuid",
    }  # fmt: skip
    row = connection.execute("SELECT document_id, created_at, signature FROM document WHERE signed_at IS NOT NULL").fetchone()
    assert [type(value) for value in row] == [UUID, datetime, bytes]
    assert row[1].astimezone(UTC) < datetime(2026, 1, 1, tzinfo=UTC)
    amount, day = connection.execute("SELECT c.amount, b.day FROM charge c JOIN bed_day b USING (visit_id)").fetchone()
    assert isinstance(amount, Decimal)
    assert isinstance(day, date)


def test_another_schema_and_the_search_path_is_restored(connection):
    build_postgres(connection, 1, "second hospital")
    assert connection.execute('SELECT count(*) FROM "second hospital".patient').fetchone() == (16,)
    assert connection.execute("SELECT to_regclass('public.patient')").fetchone() == (None,)
    with connection.transaction():
        before = connection.execute("SHOW search_path").fetchone()
        build_postgres(connection, 1, "third")
        assert connection.execute("SHOW search_path").fetchone() == before


def test_a_schema_in_use_is_refused_and_left_as_it_is(connection):
    connection.execute("CREATE TABLE visit (note text); INSERT INTO visit VALUES ('precious')")
    with pytest.raises(SampleError, match="has tables of a hospital already"):
        build_postgres(connection, 1)
    assert connection.execute("SELECT note FROM visit").fetchall() == [("precious",)]
    assert connection.execute("SELECT to_regclass('patient')").fetchone() == (None,)


def test_a_role_without_rights_is_told(postgres, connection):
    role = postgres.role("sample_reader")
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with postgres.connect(connection.info.dbname, role) as reader, pytest.raises(SampleError, match="may not create tables"):
        build_postgres(reader, 1)


def test_a_failed_build_leaves_nothing(connection):
    def interrupt(table, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_postgres(connection, 1, "half", progress=interrupt)
    assert connection.execute("SELECT to_regnamespace('half')").fetchone() == (None,)
