"""How fast an audit is, against a loop that only reads the same rows and takes SHA-256 of each."""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import psycopg

from bench import homes, rows
from bench.figure import Figure, interleaved, ratios, seconds
from bench.workspace import Workspace, say

_RUN = 128  # rows fetched at once: the fastest of 32 to 1000 here


def read_and_hash_sqlite(database: Path) -> int:
    """Read all columns of all rows in the key's order, and take SHA-256 of each row's bytes; returns the number of rows.

    A row's bytes are `marshal.dumps(row, 0)`, the quickest way from an exact row to bytes in Python.
    """
    dumps, count = marshal.dumps, 0
    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute(f"SELECT {', '.join(rows.COLUMNS)} FROM lab ORDER BY id")
        while found := cursor.fetchmany(_RUN):
            count += len([sha256(dumps(row, 0)).digest() for row in found])
    return count


_COPY = f"COPY (SELECT {', '.join(rows.COLUMNS)} FROM lab ORDER BY id) TO STDOUT (FORMAT binary)"


def read_and_hash_postgres(connection: psycopg.Connection) -> int:
    """An ordered binary COPY of all columns, and SHA-256 of each row as psycopg hands it out; returns the number of rows."""
    count = 0
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for data in copy:
            sha256(data).digest()
            count += 1
    return count


def read_and_hash_libpq(connection: psycopg.Connection) -> int:
    """The same by libpq's own calls, without psycopg's part in each row."""
    count, server = 0, connection.pgconn
    server.exec_(_COPY.encode())
    while True:
        length, data = server.get_copy_data(0)
        if length <= 0:
            break
        sha256(data).digest()
        count += 1
    while server.get_result() is not None:
        pass
    return count


def audit_sqlite(space: Workspace) -> list[Figure]:
    """One process, every check on: journal against its root and tiles, every row against its entry, schema and capture."""
    hospital = space.hospital(space.sizes.small)
    say("auditing it")

    def audit() -> float:
        with homes.opened(hospital.home) as home:
            return seconds(lambda: homes.full_audit(home))

    rounds = interleaved(space.sizes.repeats, lambda: seconds(lambda: read_and_hash_sqlite(hospital.database)), audit)
    return _figures("audit, SQLite", hospital.rows, rounds, "a loop: SELECT in key order, marshal.dumps(row, 0), SHA-256 of it")


def audit_postgres(space: Workspace) -> list[Figure]:
    """The same on PostgreSQL."""
    count, server = space.sizes.small, space.postgres()
    url = server.database()
    say(f"building a hospital of {count:,} rows on PostgreSQL, sealing and auditing it")
    with closing(server.connect(url)) as connection:
        rows.build_postgres(connection, "lab", 1, count)
        place = homes.create(space.folder / "postgres-home")
        homes.attach_to(place, url, ["lab"])
        added, took = homes.seal_all(place)
        assert added == count

        def audit() -> float:
            with homes.opened(place) as home:
                return seconds(lambda: homes.full_audit(home))

        rounds = interleaved(
            space.sizes.repeats, lambda: seconds(lambda: read_and_hash_postgres(connection)), audit,
            lambda: seconds(lambda: read_and_hash_libpq(connection)),
        )  # fmt: skip
    lean = "of the rows/s of the same loop on libpq's bare calls, no target"
    return [
        *_figures("audit, PostgreSQL", count, rounds, "a loop: ordered binary COPY by psycopg, SHA-256 of each row"),
        Figure("audit, PostgreSQL", ratios(rounds, 2, 1), "x", lean),
        Figure("seal, PostgreSQL, first sealing of a table", (added / took,), "rows/s", "wall clock of seal(), no target"),
    ]


def processes(space: Workspace) -> list[Figure]:
    """Two processes against one, same home, same call."""
    hospital = space.hospital(space.sizes.large)
    say("auditing it with one and with two processes")

    def audit(count: int) -> float:
        with homes.opened(hospital.home) as home:
            return seconds(lambda: homes.full_audit(home, count))

    rounds = interleaved(space.sizes.few, lambda: audit(1), lambda: audit(2))
    return [
        Figure("audit, two processes", ratios(rounds, 0, 1), "x", f"the same audit of {hospital.rows:,} rows by one", limit=1.6),
        Figure(
            "audit, two processes", tuple(hospital.rows / two for _, two in rounds), "rows/s", "wall clock, processes' start included"
        ),
    ]


def _figures(name: str, count: int, rounds: Sequence[tuple[float, ...]], baseline: str) -> list[Figure]:
    return [
        Figure(name, ratios(rounds, 0, 1), "x", f"of the rows/s of {baseline}; {count:,} rows", limit=0.5),
        Figure(name, tuple(count / r[1] for r in rounds), "rows/s", "wall clock of audit() on an opened home"),
        Figure(f"{name}: the baseline", tuple(count / r[0] for r in rounds), "rows/s", "same run, in turn with the audit"),
    ]
