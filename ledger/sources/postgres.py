"""A hospital's PostgreSQL database: snapshots, capture and consumption, by the driver itself."""

# ruff: noqa: S608 -- identifiers are quoted, and values are literals of psycopg
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from ledger.errors import SourceError
from ledger.shape import Shape
from ledger.sources import postgres_capture
from ledger.sources.postgres_changes import split_uid
from ledger.sources.postgres_copy import Connection, connect
from ledger.sources.postgres_errors import explained
from ledger.sources.postgres_load import PostgresLoading
from ledger.sources.postgres_snapshot import PostgresSnapshot
from ledger.sources.postgres_table import find, look, refuse_inexact
from ledger.sources.postgres_types import TypeBook

BATCH = 1000
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresSource:
    """One PostgreSQL database; a wait for a lock lasts at most `busy_seconds`. Authors are the session's users."""

    knows_authors = True

    def __init__(self, url: str, parsed: URL, *, busy_seconds: float = 5.0) -> None:
        self.url = url
        self._place = parsed.set(drivername="postgresql", password=None, query={}).render_as_string()
        self._busy_seconds = busy_seconds
        options = {"connect_timeout": "10", **parsed.query, **parsed.translate_connect_args(database="dbname", username="user")}
        try:
            self._conninfo = make_conninfo(**{name: str(value) for name, value in options.items()})
        except psycopg.ProgrammingError as error:
            raise SourceError(f"{self._place}: the URL has an option that libpq does not know: check what follows the '?'") from error

    def __repr__(self) -> str:
        return f"PostgresSource({self._place!r})"

    @contextmanager
    def snapshot(self, token: str | None = None) -> Iterator[PostgresSnapshot]:
        """One REPEATABLE READ transaction, its snapshot taken at once, or that of the `freeze` whose token is given."""
        with self._connected() as connection, ExitStack() as stack:
            with explained(self._place):
                shared = self._begin(connection, token)

            def another() -> Connection:
                if shared is None:
                    raise SourceError(f"{self._place}: a standby shares no snapshot: finish one reading before the next")
                made = stack.enter_context(self._connected())
                self._begin(made, shared)
                return made

            yield PostgresSnapshot(connection, another, self._place)

    @contextmanager
    def freeze(self) -> Iterator[str | None]:
        """Keep one snapshot alive for others to open by its token; None on a standby, which exports none."""
        with self._connected() as connection:
            with explained(self._place):
                token = self._begin(connection, None)
            yield token

    def install_capture(self, shape: Shape, home: str = "") -> None:
        """Make the table's capture complete, for the home of this id, in one transaction; may be repeated. Raises SourceError."""
        with self._connected() as connection, explained(self._place), connection.transaction():
            types = TypeBook(connection)
            table = look(connection, types, shape.table)
            refuse_inexact(table, shape)
            if table.has_heirs:
                raise SourceError(f"tables inherit from {shape.table!r}, and triggers do not see their rows: use --capture scan")
            postgres_capture.install(connection, table, shape, home)

    def remove_capture(self, shape: Shape, last: Callable[[], None] | None = None) -> None:
        """Take away all of the table's capture, damaged or not, and leave the schema as it was; may be repeated.

        `last` is called before, once nobody else can write to the table: it may read what is still queued, and write nothing here.
        """
        with self._connected() as connection, explained(self._place), connection.transaction():
            table = find(connection, TypeBook(connection), shape.table)
            if last is not None:
                if table is not None:
                    connection.execute(f"LOCK TABLE {table.sql} IN SHARE ROW EXCLUSIVE MODE")
                last()
            postgres_capture.remove(connection, shape.table, table)

    def consume(self, shape: Shape, uids: Sequence[bytes]) -> None:
        """Delete the changes with these ids from the queue; those already gone are passed over."""
        statement = (
            f"DELETE FROM {postgres_capture.queue_sql(shape.table)} AS q USING unnest(%s::uuid[], %s::bigint[]) AS gone (uid, seq)"
            " WHERE q.seq = gone.seq AND q.uid = gone.uid"
        )
        with self._connected() as connection, explained(self._place):
            for first in range(0, len(uids), BATCH):
                parted = [split_uid(uid) for uid in uids[first : first + BATCH]]
                connection.execute(statement, ([uid for uid, _ in parted], [seq for _, seq in parted]))

    @contextmanager
    def loading(self, keep: Callable[[], bool]) -> Iterator[PostgresLoading]:
        """One write transaction for an import; committed at the end if `keep` then says so."""
        with self._connected() as connection:
            with explained(self._place):
                connection.execute("BEGIN")
            yield PostgresLoading(connection, self._place)
            with explained(self._place):
                connection.execute("COMMIT" if keep() else "ROLLBACK")

    def remarks(self) -> list[str]:
        """What the operator should know of this database, one line each: nothing."""
        return []

    def close(self) -> None:
        """Nothing is kept open between calls."""

    def _begin(self, connection: Connection, token: str | None) -> str | None:
        """Begin the transaction, take its snapshot, and return the token under which others may share it, if any."""
        connection.execute(_BEGIN)
        if token:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(token)))
            return token
        standby = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        if standby and standby[0]:
            return None
        exported = connection.execute("SELECT pg_export_snapshot()").fetchone()
        return str(exported[0]) if exported else None

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with explained(self._place):
            connection = connect(self._conninfo, self._busy_seconds)
        try:
            yield connection
        finally:
            connection.close()
