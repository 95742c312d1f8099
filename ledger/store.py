"""The home's own database, `ledger.db`: one SQLite file, one writer, every step one durable transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from itertools import chain
from pathlib import Path

from ledger.errors import HomeError
from ledger.files import private_file

SCHEMA_VERSION = 1
_TOGETHER = 50

# A tile's rowid is its level and index in one number. `state` maps a row's sort key to its record's last entry.
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE tiles (id INTEGER PRIMARY KEY, hashes BLOB NOT NULL);
CREATE TABLE tables (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, source BLOB NOT NULL, shape TEXT NOT NULL, options TEXT NOT NULL,
    entry INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0, detached INTEGER NOT NULL DEFAULT 0);
CREATE TABLE state (
    tbl INTEGER NOT NULL, key BLOB NOT NULL, entry INTEGER NOT NULL, sid INTEGER NOT NULL, live INTEGER NOT NULL,
    PRIMARY KEY (tbl, key)) WITHOUT ROWID;
CREATE TABLE documents (entry INTEGER PRIMARY KEY, salt BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE authors (id BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE copies (entry INTEGER PRIMARY KEY, sid INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE audits (
    entry INTEGER NOT NULL, tbl INTEGER NOT NULL, low BLOB, high BLOB, size INTEGER NOT NULL, clean INTEGER NOT NULL,
    PRIMARY KEY (tbl, entry)) WITHOUT ROWID;
CREATE TABLE checkpoints (
    size INTEGER NOT NULL, generation INTEGER NOT NULL, root BLOB NOT NULL, time INTEGER NOT NULL, code BLOB NOT NULL, tx TEXT,
    block INTEGER, block_hash TEXT, block_time INTEGER, PRIMARY KEY (generation, size)) WITHOUT ROWID;
CREATE TABLE timestamps (generation INTEGER NOT NULL, size INTEGER NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY (generation, size));
CREATE TABLE consumed (uid BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE to_consume (tbl INTEGER NOT NULL, uid BLOB NOT NULL, PRIMARY KEY (tbl, uid)) WITHOUT ROWID;
CREATE TABLE batches (id INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL, sidecar BLOB NOT NULL);
"""


_REMEDIES = {
    sqlite3.SQLITE_FULL: "no space left for {path}: free some and run the command again; nothing was lost",
    sqlite3.SQLITE_IOERR: "cannot read or write {path}: check the disk and its space, then run the command again; nothing was lost",
    sqlite3.SQLITE_BUSY: "{path} is locked by another program: end that and run the command again; nothing was lost",
    sqlite3.SQLITE_LOCKED: "{path} is locked by another program: end that and run the command again; nothing was lost",
    sqlite3.SQLITE_CANTOPEN: "cannot open {path}: check that it is there and yours to read, or restore the home",
    sqlite3.SQLITE_READONLY: "cannot write {path}: check its permissions, then run the command again; nothing was lost",
    sqlite3.SQLITE_PERM: "cannot write {path}: check its permissions, then run the command again; nothing was lost",
}


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn an error of SQLite on the file `path` into a HomeError that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        # SQLite's extended codes keep the primary one in the low byte.
        remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF)
        if remedy is None:
            raise HomeError(f"{path} is damaged: restore the home with careseal restore --kit ({error})") from error
        raise HomeError(remedy.format(path=path)) from error


@cache
def layout_of(schema: str) -> list[tuple[str, ...]]:
    """All that the catalogue of such a file may hold: a table without its key, a view or a trigger could show each reader other rows."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(schema)
        return layout(fresh)


def layout(db: sqlite3.Connection) -> list[tuple[str, ...]]:
    """What the catalogue of a file holds. sqlite3.Error as it comes."""
    return db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def write_rows(db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[int | str | bytes | None]]) -> None:
    """`executemany`, with many rows in one statement where it inserts many: that takes three fifths of the time."""
    head, values, marks = statement.partition(" VALUES ")
    whole = len(rows) // _TOGETHER * _TOGETHER if values else 0
    if whole:
        together = f"{head}{values}{','.join([marks] * _TOGETHER)}"
        db.executemany(together, (list(chain.from_iterable(rows[i : i + _TOGETHER])) for i in range(0, whole, _TOGETHER)))
    db.executemany(statement, rows[whole:])


class Store:
    """`ledger.db`, opened. Damage, a full disk and a foreign file are HomeErrors that say what to do."""

    def __init__(self, path: Path, *, create: bool = False, readonly: bool = False) -> None:
        self.path = path
        mode = "ro" if readonly else "rwc" if create else "rw"
        with self._errors():
            if create:
                private_file(path)
            self.db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10)
            self.db.execute("PRAGMA cache_size=-16384")
            if create:
                self.db.executescript(
                    f"PRAGMA page_size=8192; PRAGMA journal_mode=WAL; BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
                )
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise HomeError(f"{path} has format {version}, this program reads {SCHEMA_VERSION}: use the matching release")
            if layout(self.db) != layout_of(_SCHEMA):
                raise HomeError(f"{path} was rebuilt by hand: restore the home with careseal restore --kit")
            if not readonly:
                self.db.execute("PRAGMA synchronous=FULL")

    def _errors(self) -> AbstractContextManager[None]:
        return one_line(self.path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction: all of it is kept, or, on any error and on a crash, none."""
        with self._errors():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent read."""
        with self._errors():
            self.db.execute("BEGIN")
            try:
                self.db.execute("SELECT count(*) FROM meta").fetchone()
                yield self.db
            finally:
                self.db.execute("ROLLBACK")

    def check_sound(self) -> None:
        """Raise HomeError where the file's pages contradict each other: then one look-up and the next could meet different rows."""
        with self._errors():
            found = self.db.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            raise HomeError(f"{self.path} is damaged: restore the home with careseal restore --kit")

    def snapshot(self, target: Path) -> None:
        """Copy the database, consistently, to a new file."""
        with self._errors(), closing(sqlite3.connect(target)) as copy:
            self.db.backup(copy)

    def meta(self, name: str, default: str | None = None) -> str | None:
        """A named value of the home, or `default`."""
        with self._errors():
            row = self.db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
        return default if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Set a named value; inside a transaction it is part of that."""
        with self._errors():
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, value))

    def close(self) -> None:
        self.db.close()
