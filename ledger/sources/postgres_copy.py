"""Connections with pinned output settings, and the lines of a COPY in bounded runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import psycopg
from psycopg import errors, pq

from ledger.errors import SourceError

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

# A run is about as large as what a unix socket holds, so that the server works on the next one while this one is compared.
RUN_BYTES, ROW_BYTES = 256 << 10, 512  # a row counts as its own bytes and ROW_BYTES

# Everything on which the text of an accepted type depends, and what keeps reading apart from the account's own settings.
# What a database or tablespace has been told about costs and plans, too: a reading that must go by no index then goes by none.
# `row_security` off makes the server refuse rather than hide rows.
_SETTINGS = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3;
SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET quote_all_identifiers = off; SET row_security = off;
SET search_path = pg_catalog, public; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET jit = off;
SET work_mem = '32MB'; SET enable_indexonlyscan = off; SET enable_seqscan = on; SET enable_sort = on; SET seq_page_cost = 1
"""
_OLDEST = 130000
_BY_INDEX = re.compile(r"^[ >-]*(Parallel )?(Index|Bitmap) ", re.MULTILINE)  # the nodes of a plan that read one


def connect(conninfo: str, busy_seconds: float) -> Connection:
    """A connection in autocommit with pinned settings. Raises psycopg.Error, and SourceError for a server that is not supported."""
    connection = psycopg.connect(
        conninfo, autocommit=True, prepare_threshold=None, client_encoding="UTF8", application_name="careseal"
    )
    try:
        if connection.info.server_version < _OLDEST:
            raise SourceError(f"PostgreSQL {connection.info.server_version // 10000} is too old: version 13 or later is needed")
        connection.execute(_SETTINGS + f"; SET lock_timeout = {int(busy_seconds * 1000)}")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise SourceError(f"the database's encoding is {encoding}, and only UTF8 can be committed to exactly: convert the database")
    except BaseException:
        connection.close()
        raise
    return connection


def copy_lines(connection: Connection, query: str, *, by_index: bool = True) -> Iterator[list[bytes]]:
    """The lines of `COPY (query) TO STDOUT`, without newlines, in runs of bounded size.

    Without `by_index` rows come out of the table alone: an index is what a superuser makes it say. Within the caller's transaction;
    closing the iterator early cancels the query and leaves the transaction usable. Raises psycopg.Error, SourceError.
    """
    choice = "on" if by_index else "off"
    connection.execute(f"SAVEPOINT careseal_copy; SET LOCAL enable_indexscan = {choice}; SET LOCAL enable_bitmapscan = {choice}")
    try:
        if not by_index:
            _refuse_index(connection, query)
        with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
            get = connection.pgconn.get_copy_data
            ended = False
            while not ended:
                lines: list[bytes] = []
                room = RUN_BYTES
                while room > 0:
                    # Most lines are in libpq's buffer already; only an empty one is worth psycopg's waiting loop.
                    count, data = get(1)
                    if count == 0:
                        data = memoryview(copy.read())
                        count = len(data) or -1
                    elif count < 0:
                        _end(connection)
                    if count < 0:
                        ended = True
                        break
                    lines.append(data[:-1].tobytes())
                    room -= count + ROW_BYTES
                if lines:
                    yield lines
    except BaseException:
        if connection.info.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            connection.execute("ROLLBACK TO SAVEPOINT careseal_copy")
        raise
    connection.execute("RELEASE SAVEPOINT careseal_copy")


def _refuse_index(connection: Connection, query: str) -> None:
    """A switched-off index is only dear to the planner: where the table itself was made dearer, nothing is read."""
    plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN (COSTS OFF) {query}"))
    if _BY_INDEX.search(plan):
        raise SourceError("the server would read the table by an index only: reset the cost settings of its database and tablespaces")


def _end(connection: Connection) -> None:
    """Take the final results of a COPY whose data has ended; raise the error that ended it."""
    failure = None
    while (result := connection.pgconn.get_result()) is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            failure = failure or errors.error_from_result(result)
    if failure is not None:
        raise failure
