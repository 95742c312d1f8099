"""SQLite's errors as one line that says what to do, without values from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import SourceError

# Primary result codes, https://www.sqlite.org/rescode.html
_REASONS = {
    3: "access is denied: check the file's permissions",
    5: "the database is locked by another connection: try again, or allow a longer busy timeout",
    6: "the database is locked by another connection: try again, or allow a longer busy timeout",
    8: "the database is read-only for this account: capture needs write access",
    10: "a read or write of the file failed: check the disk",
    11: "the database file is damaged: run PRAGMA integrity_check and restore it",
    13: "the disk is full: make room and try again",
    14: "the file cannot be opened: check the path and the permissions",
    26: "the file is not an SQLite database: check the path",
}


def undecodable(error: sqlite3.Error) -> bool:
    """Whether the driver met a TEXT that is not valid UTF-8."""
    return isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error)


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn sqlite3's errors within the block into SourceError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 1) & 0xFF
        # Messages of the general error class speak of the statement and the schema only, others may hold values.
        general = " ".join(str(error).split()) if code == 1 else f"SQLite error {code}"
        reason = _REASONS.get(code, general)
        raise SourceError(f"{place}: {reason}") from error
