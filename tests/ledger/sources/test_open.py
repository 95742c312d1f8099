"""Opening a source: every bad start is one line that says what to do, without a password, and creates nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clinic import PostgresClinic, SqliteClinic, attach, rows_of, shape_of

from ledger.errors import SourceError
from ledger.sources import open_source

SECRET = "s3cret-word"


def refusal(url: str, *, busy_seconds: float = 0.3) -> str:
    """The one line with which a source refuses to be opened or read."""
    with pytest.raises(SourceError) as caught:
        source = open_source(url, busy_seconds=busy_seconds)
        with source.snapshot() as snapshot:
            snapshot.describe("visit", None)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "cannot be read"),
        ("visit.db", "cannot be read"),
        ("mysql://root:s3cret-word@host/his", "not supported yet"),
        ("mariadb+pymysql://root:s3cret-word@host/his", "not supported yet"),
        ("oracle://u:s3cret-word@host/his", "not supported"),
        ("postgres://u:s3cret-word@host/his", "postgresql://"),
        ("postgresql+psycopg2://u:s3cret-word@host/his", "postgresql://"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////tmp/x.db?immutable=1", "no other option"),
        ("postgresql://u:s3cret-word@host:notaport/his", "cannot be read"),
        ("postgresql://u:s3cret-word@host/his?nonsense=1", "option that libpq does not know"),
    ],
)
def test_wrong_urls(url: str, words: str) -> None:
    assert words in refusal(url)


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    assert "no database file" in refusal(f"sqlite:///{tmp_path}/his.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "his.db").write_bytes(b"patient,diagnosis\n" * 200)
    assert "not an SQLite database" in refusal(f"sqlite:///{tmp_path}/his.db")


def test_a_directory(tmp_path: Path) -> None:
    assert "no database file" in refusal(f"sqlite:///{tmp_path}")


def test_a_damaged_database(file: SqliteClinic) -> None:
    file.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, note TEXT)")
    file.run(*[f"INSERT INTO visit VALUES ({n}, '{'x' * 900}')" for n in range(40)], "PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    data = bytearray(file.path.read_bytes())
    data[4096 * 3 : 4096 * 8] = b"\xa5" * (4096 * 5)
    file.path.write_bytes(data)
    source = open_source(file.url)
    with pytest.raises(SourceError, match="damaged"):
        rows_of(source, shape_of(source, "visit"))


def test_a_locked_database_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    clinic = SqliteClinic(tmp_path, wal=False)
    clinic.run("CREATE TABLE visit (id INTEGER PRIMARY KEY)", "BEGIN EXCLUSIVE")
    assert "locked" in refusal(clinic.url)
    clinic.run("ROLLBACK")
    source = open_source(clinic.url, busy_seconds=0.2)
    shape = shape_of(source, "visit")
    clinic.run("BEGIN IMMEDIATE")
    with pytest.raises(SourceError, match="locked"):
        source.install_capture(shape)
    with pytest.raises(SourceError, match="locked"), source.freeze():
        pass
    clinic.run("ROLLBACK")
    source.install_capture(shape)
    clinic.close()


def test_utf16_text_is_refused(tmp_path: Path) -> None:
    clinic = SqliteClinic(tmp_path, wal=False)
    clinic.run("PRAGMA encoding = 'UTF-16le'", "CREATE TABLE visit (id INTEGER PRIMARY KEY, note TEXT)")
    assert "UTF-8" in refusal(clinic.url)
    clinic.close()


def test_read_only_sqlite_is_read_but_not_captured(file: SqliteClinic) -> None:
    file.run("CREATE TABLE visit (id INTEGER PRIMARY KEY)", "INSERT INTO visit VALUES (1)")
    source = open_source(file.url + "?mode=ro")
    shape = shape_of(source, "visit")
    assert rows_of(source, shape) == [(1,)]
    with source.freeze() as token:
        assert token is None
    with pytest.raises(SourceError, match="read-only"):
        source.install_capture(shape)


def test_a_relative_path_is_kept_absolute(file: SqliteClinic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(file.path.parent)
    source = open_source("sqlite:///his.db")
    assert source.url == f"sqlite:///{file.path}"
    assert open_source(source.url).url == source.url
    read_only = open_source("sqlite:///his.db?mode=ro")
    assert read_only.url == f"sqlite:///{file.path}?mode=ro"


def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    place = tmp_path / "住院 50% a#b"
    place.mkdir()
    clinic = SqliteClinic(place)
    clinic.run("CREATE TABLE visit (id INTEGER PRIMARY KEY)", "INSERT INTO visit VALUES (1)")
    source = open_source("sqlite:///" + str(clinic.path).replace("%", "%25").replace("#", "%23"))
    assert rows_of(source, shape_of(source, "visit")) == [(1,)]
    again = open_source(source.url)
    assert rows_of(again, shape_of(again, "visit")) == [(1,)]
    clinic.close()


def test_sqlite_tells_of_a_journal_that_holds_up_writers(tmp_path: Path) -> None:
    clinic = SqliteClinic(tmp_path, wal=False)
    clinic.run("CREATE TABLE visit (id INTEGER PRIMARY KEY)")
    assert ["WAL" in line for line in open_source(clinic.url).remarks()] == [True]
    clinic.run("PRAGMA journal_mode = WAL")
    assert open_source(clinic.url).remarks() == []
    clinic.close()


def test_an_unreachable_server(tmp_path: Path) -> None:
    assert "refused" in refusal(f"postgresql://u:{SECRET}@127.0.0.1:1/his")
    assert "failed" in refusal(f"postgresql://u:{SECRET}@/his?host={tmp_path}")


def test_postgresql_refusals(server: PostgresClinic, postgres: Any) -> None:
    assert "does not exist" in refusal(postgres.url("no_such_database"))
    postgres.role("nurse", "right")
    assert "password" in refusal(postgres.url(server.url, "nurse", SECRET))
    assert "no table 'visit'" in refusal(server.url)
    server.run("CREATE SCHEMA his", "CREATE TABLE his.visit (id int PRIMARY KEY)")
    assert "write his.visit" in refusal(server.url)


def test_a_server_that_stops_is_one_line(server: PostgresClinic) -> None:
    clinic = server
    clinic.run("CREATE TABLE visit (id int PRIMARY KEY)", "INSERT INTO visit SELECT generate_series(1, 5)")
    source = open_source(clinic.url)
    shape = shape_of(source, "visit")
    with pytest.raises(SourceError) as caught, source.snapshot() as snapshot:
        clinic.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'careseal'")
        list(snapshot.rows(shape))
    assert "\n" not in str(caught.value)


def test_an_account_without_rights(server: PostgresClinic, postgres: Any) -> None:
    server.run("CREATE TABLE visit (id int PRIMARY KEY)", "INSERT INTO visit VALUES (1)")
    postgres.role("stranger")
    stranger = open_source(postgres.url(server.url, "stranger"))
    with pytest.raises(SourceError, match="permission"):
        rows_of(stranger, shape_of(open_source(server.url), "visit"))
    server.run("GRANT SELECT ON visit TO stranger")
    shape = shape_of(stranger, "visit")
    assert rows_of(stranger, shape) == [("1",)]
    with pytest.raises(SourceError, match="permission"):
        stranger.install_capture(shape)


def test_hidden_rows_are_refused_rather_than_left_out(server: PostgresClinic, postgres: Any) -> None:
    server.run("CREATE TABLE visit (id int PRIMARY KEY)", "INSERT INTO visit VALUES (1)", "ALTER TABLE visit ENABLE ROW LEVEL SECURITY")
    auditor = open_source(postgres.url(server.url, "doctor"))
    with pytest.raises(SourceError, match="row-level security"):
        rows_of(auditor, shape_of(auditor, "visit"))


def test_a_database_of_another_encoding_is_refused(postgres: Any) -> None:
    with postgres.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS latin")
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    assert "UTF8" in refusal(postgres.url("latin"))


def test_no_password_in_any_representation(postgres: Any, server: PostgresClinic) -> None:
    postgres.role("keeper", SECRET)
    source = open_source(postgres.url(server.url, "keeper", SECRET))
    assert SECRET not in repr(source)
    assert SECRET in source.url  # other processes open it again
    with source.snapshot() as snapshot:
        assert SECRET not in repr(snapshot)


def test_locks_are_waited_for_and_then_refused(server: PostgresClinic) -> None:
    server.run("CREATE TABLE visit (id int PRIMARY KEY)")
    source = open_source(server.url, busy_seconds=0.2)
    shape = shape_of(source, "visit")
    with server.admin.transaction():
        server.admin.execute("LOCK TABLE visit")
        with pytest.raises(SourceError, match="locked"):
            rows_of(source, shape)
        with pytest.raises(SourceError, match="locked"):
            source.install_capture(shape)
    source.install_capture(shape)


def test_a_captured_table_is_reported_with_its_pending_changes(file: SqliteClinic) -> None:
    file.run("CREATE TABLE visit (id INTEGER PRIMARY KEY)")
    source, shape = attach(file, "visit")
    file.run("INSERT INTO visit VALUES (1)", "INSERT INTO visit VALUES (2)")
    with source.snapshot() as snapshot:
        assert snapshot.pending_count(shape) == 2
        assert snapshot.truncated(shape) is False
    source.close()
