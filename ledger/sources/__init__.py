"""Sources: a hospital's existing database as a stream of exact rows and captured changes."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ledger.errors import SourceError
from ledger.shape import Source
from ledger.sources.refusal import ColumnMissing
from ledger.sources.sqlite import SqliteSource

__all__ = ["ColumnMissing", "open_source"]

_POSTGRES = ("postgresql", "postgresql+psycopg")
_FORMS = "write sqlite:////absolute/path.db or postgresql://user@host/database"


def open_source(url: str, *, busy_seconds: float = 5.0) -> Source:
    """The source at an SQLAlchemy-style URL; `busy_seconds` bounds the wait for another connection's lock.

    SQLite: `sqlite:////absolute/path.db`, `sqlite:///relative.db`, with `?mode=ro` to read only; no file is ever created.
    PostgreSQL: `postgresql://` or `postgresql+psycopg://`, libpq's options as query. Raises SourceError, never with a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SourceError(f"the database URL cannot be read: {_FORMS}") from error
    dialect = parsed.get_backend_name()
    if dialect in ("mysql", "mariadb"):
        raise SourceError("MySQL and MariaDB are not supported yet: attach SQLite or PostgreSQL")
    if parsed.drivername == "sqlite":
        return _sqlite(parsed, busy_seconds)
    if parsed.drivername in _POSTGRES:
        from ledger.sources.postgres import PostgresSource

        return PostgresSource(url, parsed, busy_seconds=busy_seconds)
    raise SourceError(f"{parsed.drivername}:// is not supported: {_FORMS}")


def _sqlite(parsed: URL, busy_seconds: float) -> SqliteSource:
    if not parsed.database or parsed.database == ":memory:" or parsed.host:
        raise SourceError("the database URL names no file: write sqlite:////absolute/path.db or sqlite:///relative.db")
    mode = dict(parsed.query).pop("mode", "rw")
    if set(parsed.query) - {"mode"} or mode not in ("rw", "ro"):
        raise SourceError("an SQLite URL takes no other option than ?mode=ro")
    # The URL is kept beyond this process's working directory.
    path = Path(parsed.database).absolute()
    absolute = parsed.set(database=str(path)).render_as_string()
    return SqliteSource(absolute, path, read_only=mode == "ro", busy_seconds=busy_seconds)
