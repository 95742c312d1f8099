"""What trigger capture costs the hospital's own single-row inserts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg

from bench import homes, rows
from bench.figure import Figure, interleaved, ratios, seconds
from bench.workspace import Workspace, say


def inserts(space: Workspace) -> list[Figure]:
    """Two tables alike on one PostgreSQL server, one attached; a row per transaction, committed to disk, prepared statements."""
    count, server = space.sizes.inserts, space.postgres()
    url = server.database()
    say(f"inserting {count} rows a round with and without capture")
    with closing(server.connect(url)) as connection:
        for table in ("plain", "watched"):
            rows.build_postgres(connection, table, 1, 1_000)
        place = homes.create(space.folder / "insert-home")
        homes.attach_to(place, url, ["watched"])
        next_row = {"plain": 1_001, "watched": 1_001}

        def run(table: str, within: Callable[[], object]) -> float:
            made = list(rows.generate(next_row[table], count))
            next_row[table] += count
            statement = f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(rows.COLUMNS))})"
            return seconds(lambda: _insert(connection, statement, made, within))

        rounds = interleaved(
            space.sizes.repeats, lambda: run("plain", lambda: None), lambda: run("watched", lambda: None),
            lambda: run("plain", connection.transaction), lambda: run("watched", connection.transaction),
        )  # fmt: skip
    single = tuple(count / r[1] for r in rounds)
    return [
        Figure("single-row insert under capture, PostgreSQL", ratios(rounds, 1, 0), "x", "time of one without", "at most", 1.25),
        Figure("single-row insert under capture, PostgreSQL", single, "rows/s", "each its own transaction, fsync on"),
        Figure(
            "the same within one transaction", ratios(rounds, 3, 2), "x",
            "time of one without, commits left out: what the trigger itself costs, no target", "at most",
        ),
    ]  # fmt: skip


def _insert(connection: psycopg.Connection, statement: str, made: list[rows.Row], within: Callable[[], object]) -> None:
    manager = within()
    if manager is None:
        for row in made:
            connection.execute(statement, row, prepare=True)
    else:
        with connection.transaction():
            for row in made:
                connection.execute(statement, row, prepare=True)
