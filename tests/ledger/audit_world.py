"""A hospital's database under seal, without a chain: what the audit tests lawfully do to it, and what they do behind its back."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from ledger.attach import attach
from ledger.audit import Anchors, AuditResult, Scope, audit
from ledger.detach import Outcome, detach
from ledger.erasure import erase_subject, ordered
from ledger.findings import Finding, FindingKind
from ledger.home import Home, Settings
from ledger.journal import Checkpoint
from ledger.keys import Keyring
from ledger.persons import PersonKey, _key_from, add_person, persons
from ledger.rotation import following
from ledger.seal import seal
from ledger.sources import open_source
from ledger.tables import Attached, Options, attached_tables
from ledger.wire import EventEntry, RecordEntry, decode_entry

START = 1_700_000_000_000  # milliseconds; every step of the tests' clock is a minute
KEYRING = Keyring(*(bytes([n]) * 32 for n in range(1, 5)))
SETTINGS = Settings("Test", "test", "chain", 1, "0x" + "1" * 40, "0x" + "2" * 40, 1, None)


def person_key(name: str, seed: int) -> PersonKey:
    """A person's keys without a file, whose passphrase would take a while to stretch."""
    return _key_from(name, bytes([seed]) * 32, bytes([seed + 1]) * 32)


STAFF = (person_key("Li", 101), person_key("Wu", 103))
PARTY = person_key("Zhao", 105)


def erase(world: World, label: str, no_term: str | None = "for the test") -> int:
    """Erase a subject on the order of two people, who are registered where they are not yet."""
    register(world, *((key, "staff") for key in STAFF))
    order = ordered(world.home, label, "asked", STAFF, no_term)
    return erase_subject(world.home, order, following(world.home.keyring), b"pass", world.tick())


def register(world: World, *people: tuple[PersonKey, str]) -> None:
    """Register people in their roles, where they are not yet."""
    known = {person.signing for person in persons(world.home)}
    for key, role in people:
        if key.signing not in known:
            add_person(world.home, key.public, role, world.tick())


class SqliteHospital:
    """An SQLite database in WAL mode."""

    engine = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"
        self.connection = self.connect()
        self.connection.execute("PRAGMA journal_mode=WAL")

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    def run(self, statement: str, *values: Any, user: str = "") -> None:
        """What the application does: capture sees it."""
        self.connection.execute(statement, values)

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self.connection.execute("BEGIN")
        self.connection.executemany(statement, rows)
        self.connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()

    def blind(self) -> AbstractContextManager[None]:
        """The triggers are off; afterwards they are as they were."""
        return self.blind_of("%")

    @contextmanager
    def blind_of(self, table: str) -> Iterator[None]:
        """The triggers of one table are off."""
        triggers = self.rows("SELECT name, sql FROM sqlite_schema WHERE type='trigger' AND tbl_name LIKE ? ORDER BY rowid", table)
        for name, _ in triggers:
            self.connection.execute(f'DROP TRIGGER "{name}"')
        try:
            yield
        finally:
            for _, text in triggers:
                self.connection.execute(text)

    def behind(self, statement: str, *values: Any) -> None:
        """What an administrator does with the triggers off."""
        with self.blind():
            self.run(statement, *values)

    def drop_capture(self) -> None:
        """Everything that capture made is gone, and the tables are as they were."""
        for kind in ("trigger", "table"):
            for (name,) in self.rows("SELECT name FROM sqlite_schema WHERE type = ? AND name LIKE 'careseal%'", kind):
                self.run(f'DROP {kind} "{name}"')

    def close(self) -> None:
        self.connection.close()


class PostgresHospital:
    """A PostgreSQL database of its own on the tests' server."""

    engine = "postgresql"

    def __init__(self, server: Any) -> None:
        self.server, self.url = server, server.database()
        self.connections: dict[str, psycopg.Connection[Any]] = {}

    def connect(self, user: str = "") -> psycopg.Connection[Any]:
        return self.server.connect(self.url, user) if user else self.server.connect(self.url)

    def _as(self, user: str) -> psycopg.Connection[Any]:
        if user not in self.connections:
            self.connections[user] = self.connect(user)
        return self.connections[user]

    def run(self, statement: str, *values: Any, user: str = "") -> None:
        self._as(user).execute(statement.replace("?", "%s") if values else statement, values or None)

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._as("").transaction(), self._as("").cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), rows)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._as("").execute(query.replace("?", "%s") if values else query, values or None).fetchall()

    def blind(self) -> AbstractContextManager[None]:
        return self.blind_of("%")

    @contextmanager
    def blind_of(self, table: str) -> Iterator[None]:
        triggers = self.rows(
            "SELECT t.tgname, c.oid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND t.tgname LIKE '%%careseal%%' AND c.relname LIKE ?",
            table,
        )
        for name, table in triggers:
            self.run(f'ALTER TABLE {table} DISABLE TRIGGER "{name}"')
        try:
            yield
        finally:
            for name, table in triggers:
                self.run(f'ALTER TABLE {table} ENABLE ALWAYS TRIGGER "{name}"')

    def behind(self, statement: str, *values: Any) -> None:
        with self.blind():
            self.run(statement, *values)

    def drop_capture(self) -> None:
        self.run("DROP SCHEMA careseal CASCADE")

    def role(self, name: str, *tables: str) -> str:
        """A login role that may do everything with these tables."""
        self.server.role(name)
        for table in tables:
            self.run(f"GRANT ALL ON {table} TO {name}")
        return name

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


Hospital = SqliteHospital | PostgresHospital
Shown = tuple[str, tuple[Any, ...], tuple[str, ...]]


@cache
def _template() -> Path:
    """A home that every test copies: stretching a passphrase takes a while."""
    path = Path(tempfile.mkdtemp(prefix="careseal-home-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    Home.create(path, SETTINGS, KEYRING, b"pass")
    return path


def new_home(path: Path) -> Home:
    """A home with made-up settings, opened without its lock."""
    shutil.copytree(_template(), path)
    return open_home(path)


def open_home(path: Path) -> Home:
    home = Home(path, SETTINGS, KEYRING)
    for db in (home.store.db, home.subjects._db):
        db.execute("PRAGMA synchronous=OFF")
    return home


@dataclass
class World:
    """One hospital and its home; `seal` anchors every checkpoint in a made-up block, `audit` holds the journal against those."""

    hospital: Hospital
    home: Home
    capture: str = "triggers"
    now: int = START
    anchored: dict[int, bytes] = field(default_factory=dict)
    audit_times: list[float] = field(default_factory=list)  # of journalled audits, in seconds

    def tick(self, seconds: float = 60) -> int:
        self.now += int(seconds * 1000)
        return self.now

    def attach(self, *tables: str, key: Sequence[str] = (), **options: Any) -> list[Attached]:
        made = Options(**{"capture": self.capture, **options})
        return attach(self.home, self.hospital.url, tables, key, made, self.tick())

    def detach(self, *names: str, **options: Any) -> Outcome:
        """Detach tables, all where none is named, after an audit."""
        tables = [table for table in attached_tables(self.home) if not names or table.name in names]
        return detach(self.home, tables, self.tick(), lambda chosen: self.audit(scope=Scope(chosen)), **options)

    def attach_again(self, table: str) -> None:
        """Mend the table's capture, as the operator would."""
        source = open_source(self.hospital.url)
        source.install_capture(next(attached.shape for attached in attached_tables(self.home) if attached.name == table))
        source.close()

    def seal(self, *, anchor: bool = True) -> int:
        """Seal, anchor, and return the number of entries added."""
        sealed = seal(self.home, self.tick())
        if anchor:
            self.anchor()
        return sealed.added

    def anchor(self) -> Checkpoint | None:
        latest = self.home.journal.latest()
        if latest is not None and latest.block is None:
            block = len(self.anchored) + 1
            anchored = replace(latest, tx=f"0x{block:x}", block=block, block_hash=f"0x{block:064x}", block_time=self.now // 1000)
            self.home.journal.mark_anchored(anchored)
            self.anchored[latest.size] = latest.root
            return anchored
        return latest

    @property
    def anchors(self) -> Anchors:
        return Anchors(max(self.anchored, default=0), dict(self.anchored))

    def audit(self, *, tables: Sequence[str] = (), anchors: Anchors | None = None, **options: Any) -> AuditResult:
        scope = Scope([table for table in attached_tables(self.home) if not tables or table.name in tables])
        scope = options.pop("scope", scope)
        if options.get("record", True):
            self.audit_times.append((self.now + 60_000) / 1000)
        return audit(self.home, scope, anchors or self.anchors, self.tick() / 1000, **options)

    def found(self, **options: Any) -> list[Shown]:
        """The findings of an audit that is not journalled, in short: kind, key values, columns."""
        return [shown(finding) for finding in self.audit(**{"record": False, **options}).findings]

    def assert_intact(self, *, pending: int = 0) -> None:
        result = self.audit(record=False)
        assert ([shown(finding) for finding in result.findings], result.ok, result.pending) == ([], True, pending), result.findings

    def entries(self) -> list[RecordEntry | EventEntry]:
        return [decode_entry(body) for part in self.home.journal.bodies(0, self.home.journal.size) for body in part]

    def records(self) -> list[RecordEntry]:
        return [entry for entry in self.entries() if isinstance(entry, RecordEntry)]

    def queue(self, table: str) -> int:
        """The number of queued changes."""
        source = open_source(self.hospital.url)
        try:
            found = next(attached for attached in attached_tables(self.home) if attached.name == table)
            with source.snapshot() as snapshot:
                return sum(map(len, snapshot.changes(found.shape, subject=None, final=None)))
        finally:
            source.close()

    def close(self) -> None:
        self.home.close()
        self.hospital.close()


def shown(finding: Finding) -> Shown:
    return finding.kind.value, tuple(finding.key.values()), finding.columns


def one(findings: Sequence[Finding], kind: FindingKind) -> Finding:
    """The only finding, which is of this kind."""
    assert [finding.kind for finding in findings] == [kind]
    return findings[0]


def visits(world: World, **options: Any) -> World:
    """A table of ten visits, sealed and anchored."""
    world.hospital.run(
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, patient TEXT, ward TEXT, price NUMERIC(10,2), note TEXT, at TEXT)"
    )
    rows = [(n, f"P{n % 3}", "east", n * 10, None, "2023-11-01 10:00:00") for n in range(1, 11)]
    world.hospital.many("INSERT INTO visit VALUES (?,?,?,?,?,?)", rows)
    world.attach("visit", **options)
    world.seal()
    return world


ENGINES = ("sqlite", "postgresql")


def make_world(engine: str, capture: str, tmp_path: Path, server: Callable[[], Any]) -> World:
    name = os.urandom(4).hex()
    hospital = SqliteHospital(tmp_path / f"{name}.db") if engine == "sqlite" else PostgresHospital(server())
    return World(hospital, new_home(tmp_path / f"home-{name}"), capture)
