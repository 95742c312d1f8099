"""A hospital's SQLite database: snapshots, capture and consumption, by the driver itself."""

# ruff: noqa: S608 -- identifiers are quoted, and the statements carry no values
from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote as percent

from ledger.errors import SourceError
from ledger.shape import Shape
from ledger.sources import sqlite_capture
from ledger.sources.names import quote
from ledger.sources.sqlite_changes import split_uid
from ledger.sources.sqlite_errors import explained
from ledger.sources.sqlite_load import SqliteLoading
from ledger.sources.sqlite_snapshot import SqliteSnapshot

BATCH = 1000


class SqliteSource:
    """One SQLite file. SQLite knows no users, so no change has an author; a write waits at most `busy_seconds` for its lock.

    With a rollback journal (not WAL) a writer cannot commit while a snapshot is open: see `remarks`.
    """

    knows_authors = False

    def __init__(self, url: str, path: Path, *, read_only: bool = False, busy_seconds: float = 5.0) -> None:
        self.url = url
        self._path = path
        self._read_only = read_only
        self._busy_seconds = busy_seconds
        if not path.is_file():
            raise SourceError(f"no database file {path}: check the URL (an absolute path takes four slashes: sqlite:////data/his.db)")

    def __repr__(self) -> str:
        return f"SqliteSource({str(self._path)!r})"

    @contextmanager
    def snapshot(self, token: str | None = None) -> Iterator[SqliteSnapshot]:
        """One read transaction, begun at once; under `freeze` every process sees the same state, whatever the token."""
        with self._connected() as connection:
            with explained(str(self._path)):
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM main.sqlite_schema").fetchone()
                (encoding,) = connection.execute("PRAGMA encoding").fetchone()
            if encoding != "UTF-8":
                raise SourceError(f"{self._path}: {encoding} text cannot be committed to exactly: convert the database to UTF-8")
            yield SqliteSnapshot(connection, str(self._path))

    @contextmanager
    def freeze(self) -> Iterator[str | None]:
        """Hold off writers, so that all snapshots opened within show one state; None where this account may not write."""
        # On a read-only file SQLite would take the lock for granted.
        if self._read_only or not os.access(self._path, os.W_OK):
            yield None
            return
        with self._connected() as connection:
            with explained(str(self._path)):
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield ""
            finally:
                connection.rollback()

    def install_capture(self, shape: Shape, home: str = "") -> None:
        """Make the table's capture complete, for the home of this id, in one transaction; may be repeated. Raises SourceError."""
        with self._writing() as connection:
            sqlite_capture.install(connection, shape, home)

    def remove_capture(self, shape: Shape, last: Callable[[], None] | None = None) -> None:
        """Take away all of the table's capture, damaged or not, and leave the schema as it was; may be repeated.

        `last` is called before, once nobody else can write: it may read what is still queued, and write nothing here.
        """
        with self._connected() as connection:
            with explained(str(self._path)):
                connection.execute("BEGIN IMMEDIATE")
            if last is not None:
                last()
            with explained(str(self._path)):
                sqlite_capture.remove(connection, shape.table)
                connection.execute("COMMIT")

    def consume(self, shape: Shape, uids: Sequence[bytes]) -> None:
        """Delete the changes with these ids from the queue; those already gone are passed over. Close snapshots before."""
        queue = f"main.{quote(sqlite_capture.queue_name(shape.table))}"
        for first in range(0, len(uids), BATCH):
            doomed = [split_uid(uid) for uid in uids[first : first + BATCH]]
            with self._writing() as connection:
                connection.executemany(f"DELETE FROM {queue} WHERE uid = ? AND seq = ?", doomed)

    @contextmanager
    def loading(self, keep: Callable[[], bool]) -> Iterator[SqliteLoading]:
        """One write transaction for an import, with foreign keys enforced; committed at the end if `keep` then says so."""
        with self._connected() as connection:
            with explained(str(self._path)):
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("BEGIN IMMEDIATE")
            yield SqliteLoading(connection, str(self._path))
            with explained(str(self._path)):
                connection.execute("COMMIT" if keep() else "ROLLBACK")

    def remarks(self) -> list[str]:
        """What the operator should know of this database, one line each."""
        with self._connected() as connection, explained(str(self._path)):
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":
            return []
        return [f"journal mode is {mode}: writers wait while an audit or a seal reads; PRAGMA journal_mode=WAL avoids it"]

    def close(self) -> None:
        """Nothing is kept open between calls."""

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        mode = "ro" if self._read_only else "rw"
        with explained(str(self._path)):
            connection = sqlite3.connect(
                f"file:{percent(str(self._path))}?mode={mode}", uri=True, isolation_level=None, timeout=self._busy_seconds
            )
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection, explained(str(self._path)):
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
