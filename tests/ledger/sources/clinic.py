"""A hospital's database for the tests of sources, on either engine, and plain readings of what a source yields."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger import rowcodec, sortkey
from ledger.shape import Change, Shape, Snapshot, Source
from ledger.sources import open_source


class SqliteClinic:
    """An SQLite file; `connection` is the clinical application's."""

    engine = "sqlite"

    def __init__(self, directory: Path, *, wal: bool = True) -> None:
        self.path = directory / "his.db"
        self.url = f"sqlite:///{self.path}"
        self.connection = self.connect()
        if wal:
            self.connection.execute("PRAGMA journal_mode = WAL")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=30)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()

    def schema(self) -> object:
        return self.all("SELECT type, name, tbl_name, sql FROM sqlite_schema")

    def close(self) -> None:
        self.connection.close()


class PostgresClinic:
    """A PostgreSQL database, emptied; `connection` is the clinical application's, as an account without rights on `careseal`."""

    engine = "postgresql"

    def __init__(self, server: Any, url: str) -> None:
        self.server = server
        self.url = url
        self.admin = server.connect(self.url)
        self._empty()
        server.role("doctor")
        self.admin.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO doctor; GRANT CREATE, USAGE ON SCHEMA public TO doctor")
        self.connection = server.connect(self.url, "doctor")

    def _empty(self) -> None:
        """Far faster than another database."""
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        self.admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        own = "nspname !~ '^pg_' AND nspname <> 'information_schema'"
        for (schema,) in self.all(f"SELECT quote_ident(nspname) FROM pg_namespace WHERE {own}"):
            self.admin.execute(f"DROP SCHEMA {schema} CASCADE")
        self.admin.execute("CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")

    def connect(self) -> Any:
        return self.server.connect(self.url, "doctor")

    def run(self, *statements: str) -> None:
        """DDL as the owner, everything else as the doctor."""
        for statement in statements:
            ddl = re.match(r"\s*(CREATE|ALTER|DROP|GRANT|REVOKE)\b", statement, re.IGNORECASE)
            (self.admin if ddl else self.connection).execute(statement)

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.admin.execute(query, values or None).fetchall()

    def schema(self) -> object:
        dumped = subprocess.run(
            [self.server.program("pg_dump"), "-s", "-h", str(self.server.directory), "-p", str(self.server.port), "-U", "postgres",
             self.url.partition("?")[0].rpartition("/")[2]],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        # pg_dump guards its output with a random word.
        return re.sub(rb"(?m)^\\(un)?restrict .*$", b"", dumped)

    def close(self) -> None:
        self.connection.close()
        self.admin.close()


Clinic = SqliteClinic | PostgresClinic


def shape_of(source: Source, table: str, key: Sequence[str] | None = None) -> Shape:
    with source.snapshot() as snapshot:
        return snapshot.describe(table, key)


def attach(clinic: Clinic, table: str, key: Sequence[str] | None = None) -> tuple[Source, Shape]:
    """Describe and capture."""
    source = open_source(clinic.url)
    shape = shape_of(source, table, key)
    source.install_capture(shape)
    return source, shape


def plain_row(shape: Shape, row: bytes | None) -> tuple[Any, ...] | None:
    """Raw values on SQLite, texts on PostgreSQL."""
    if row is None:
        return None
    if shape.encoding == rowcodec.SQLITE:
        return rowcodec.decode_sqlite(row)
    return tuple(rowcodec.display(shape.encoding, field) for field in rowcodec.fields(shape.encoding, row))


def plain_key(shape: Shape, key: bytes | None) -> tuple[Any, ...] | None:
    return None if key is None else sortkey.decode(shape.key_kinds, key)


def read_all(snapshot: Snapshot, shape: Shape, **bounds: Any) -> list[tuple[bytes, bytes]]:
    return [pair for rows in snapshot.rows(shape, **bounds) for pair in zip(rows.keys, rows.rows, strict=True)]


def rows_of(source: Source, shape: Shape, **bounds: Any) -> list[tuple[Any, ...] | None]:
    with source.snapshot() as snapshot:
        return [plain_row(shape, row) for _, row in read_all(snapshot, shape, **bounds)]


def changes_of(source: Source, shape: Shape, *, subject: str | None = None, final: str | None = None) -> list[Change]:
    with source.snapshot() as snapshot:
        return [change for batch in snapshot.changes(shape, subject=subject, final=final) for change in batch]


def told(shape: Shape, changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """Operation, old key, new key, old row, present row."""
    return [
        (c.op, plain_key(shape, c.old_key), plain_key(shape, c.new_key), plain_row(shape, c.old_row), plain_row(shape, c.row))
        for c in changes
    ]  # fmt: skip


def touched_of(source: Source, shape: Shape) -> list[tuple[Any, ...] | None]:
    with source.snapshot() as snapshot:
        return [plain_key(shape, key) for key in snapshot.touched(shape)]


def faults_of(source: Source, shape: Shape) -> list[str]:
    with source.snapshot() as snapshot:
        return snapshot.capture_faults(shape)
