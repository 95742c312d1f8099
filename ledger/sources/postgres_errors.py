"""PostgreSQL's errors as one line that says what to do, without values from the database and without the password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ledger.errors import SourceError

# By SQLSTATE or its class, https://www.postgresql.org/docs/current/errcodes-appendix.html
_REASONS = {
    "08": "the connection was lost: check the server and try again",
    "28": "the server refused the login: check user and password",
    "25006": "the server or account is read-only: capture needs write access",
    "3D000": "the database does not exist: check the URL",
    "40": "another transaction came in between: try again",
    "42501": "this account lacks a permission",
    "42P01": "a table is missing: check its name, or attach it again",
    "53": "the server is out of disk, memory or connections: make room and try again",
    "55P03": "a table is locked by another connection: try again, or allow a longer busy timeout",
    "57": "the server ended the work (shutdown, restart or cancel): try again",
    "22": "an expression fails on a row of the table: check --final and --subject",
    "XX": "the server reports damaged data: check its log",
}


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn psycopg's errors within the block into SourceError; those of the schema and of permissions with the server's words."""
    try:
        yield
    except psycopg.Error as error:
        raise SourceError(f"{place}: {reason(error)}") from error


def reason(error: psycopg.Error) -> str:
    """What to do about an error, in one line."""
    state = error.sqlstate or ""
    if not state:
        # Made by libpq: about the connection, several lines, never with the password.
        return " ".join(str(error).split("\n", 1)[0].split()) or "the connection failed"
    known = _REASONS.get(state) or _REASONS.get(state[:2])
    # Class 42 speaks of names and syntax; messages of other classes may hold values.
    words = " ".join((error.diag.message_primary or "").split()) if state.startswith("42") else ""
    return f"{known or f'PostgreSQL refused (SQLSTATE {state})'}{f' ({words})' if words else ''}"
