"""How fast sealing is, whatever the journal's size, and what it keeps on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from bench import bare, homes, rows
from bench.figure import Figure, interleaved, ratios
from bench.workspace import Hospital, Workspace, say


def sealing(space: Workspace) -> list[Figure]:
    """The first sealing of another table, in homes whose journals are short and long; then of captured changes."""
    short, long, count = space.hospital(1_000), space.hospital(space.sizes.large), space.sizes.sealed
    say(f"sealing {count:,} rows more in journals of {short.rows:,} and {long.rows:,} entries")
    url = rows.build_sqlite(space.folder / "next.db", {"next": (1, count)})

    def first(hospital: Hospital) -> float:
        with space.copy(hospital.home) as home:
            homes.attach_to(home, url, ["next"])
            added, took = homes.seal_all(home)
        assert added == count
        return added / took

    rounds = interleaved(
        space.sizes.few, lambda: first(short), lambda: first(long), lambda: _captured(space, short, count // 5)[0],
        lambda: bare.commitments(count // 5),
    )  # fmt: skip
    what = f"wall clock of seal(): {count:,} rows of a table under trigger capture, commitments, journal, tree, disk"
    return [
        Figure(f"seal, journal of {short.rows:,} entries", tuple(r[0] for r in rounds), "rows/s", what, limit=40_000),
        Figure(f"seal, journal of {long.rows:,} entries", tuple(r[1] for r in rounds), "rows/s", what, limit=40_000),
        Figure("seal, long journal against short", ratios(rounds, 1, 0), "x", "rows/s of the second over the first, alike", limit=0.9),
        Figure("seal, against its bare commitments", ratios(rounds, 0, 3), "x", "rows/s of a loop of hashlib's calls in memory, no target"),
        Figure("seal, captured inserts", tuple(r[2] for r in rounds), "changes/s", f"the same of {count // 5:,} queued changes, no target"),
    ]


def _captured(space: Workspace, hospital: Hospital, count: int) -> tuple[float, float]:
    """Changes per second of a seal that takes up rows inserted since the last one, and the bytes that it adds per row."""
    database = space.folder / "captured.db"
    with space.copy(hospital.home) as home:
        homes.attach_to(home, rows.build_sqlite(database, {"later": (1, 1)}), ["later"])
        homes.seal_all(home)
        before = homes.bytes_kept(home)
        with closing(sqlite3.connect(database)) as connection:
            rows.insert_sqlite(connection, "later", 2, count)
        added, took = homes.seal_all(home)
        kept = homes.bytes_kept(home) - before
    database.unlink()
    assert added == count
    return added / took, kept / count


def kept_bytes(space: Workspace) -> list[Figure]:
    """The files of the home after sealing and closing, by row."""
    hospital, count = space.hospital(space.sizes.large), space.sizes.sealed
    kept = homes.bytes_kept(hospital.home) / hospital.rows
    own = hospital.database.stat().st_size / hospital.rows
    what = f"all files of the home, without a mirror; {hospital.rows:,} rows of {own:.0f} bytes each in the hospital's file"
    inserted = _captured(space, space.hospital(1_000), count)[1]
    why = f"the same for {count:,} inserts captured in one seal: besides, the ids of consumed changes and pages to be used again; no target"
    return [
        Figure("bytes kept per sealed row", (kept,), "bytes", what, "at most", 250),
        Figure("bytes kept per captured insert", (inserted,), "bytes", why, "at most"),
    ]
