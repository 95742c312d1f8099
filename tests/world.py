"""A hospital with its database, home, mirror and chain in one folder, and what must hold of them whatever was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import forked
import pytest
from forked import quick_keys

from api.pdf_font import PdfError, font_file
from contracts.calls import Journals
from ledger.backup import rebuild
from ledger.home import Home, read_keyring, read_settings, write_settings
from node.client import connect
from node.server import read_endpoint

PASSPHRASE = "correct horse"
TABLES = ("visit", "lab_result")
DERIVED = ("entries", "tiles", "tables", "state", "documents", "authors", "copies", "audits", "consumed", "timestamps")

SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE visit (visit_id INTEGER PRIMARY KEY, patient TEXT NOT NULL, note TEXT);
CREATE TABLE lab_result (accession TEXT NOT NULL, item TEXT NOT NULL, patient TEXT, value REAL, PRIMARY KEY (accession, item));
CREATE TABLE truth (seq INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO visit VALUES (1, 'p1', 'first'), (2, 'p2', NULL), (3, 'p1', '第三');
INSERT INTO lab_result VALUES ('a1', 'na', 'p1', 140.5), ('a1', 'k', 'p1', 4.1);
"""
BASELINE = 5

# One transaction each: a change, and the note of it that the tests count by.
CHANGES = (
    ("INSERT INTO visit VALUES (10, 'p3', 'new')",),
    ("UPDATE visit SET note='amended' WHERE visit_id=1",),
    ("UPDATE visit SET note='amended again' WHERE visit_id=1",),
    ("UPDATE visit SET visit_id=20 WHERE visit_id=10",),
    ("INSERT INTO lab_result VALUES ('a2', 'na', 'p9', 139.0)", "UPDATE lab_result SET value=4.2 WHERE accession='a1' AND item='k'"),
    ("DELETE FROM lab_result WHERE accession='a1' AND item='na'",),
    ("UPDATE visit SET note=NULL WHERE visit_id=2",),
)


def has_font() -> bool:
    """Whether this machine can make PDFs."""
    try:
        return font_file().exists()
    except PdfError:
        return False


needs_font = pytest.mark.skipif(not has_font(), reason="no Chinese font: fonts-wqy-microhei")


class World:
    """One institution. `run` runs a command on its home, `ok` one that must succeed."""

    def __init__(self, folder: Path, *, chain: Path | str | None = "chain", mirror: bool = True, name: str = "First Hospital") -> None:
        self.name = name
        self.folder, self.home, self.mirror = folder, folder / "home", folder / "mirror"
        self.database, self.kit = folder / "his.db", folder / "kit.json"
        self.url = f"sqlite:///{self.database}"
        self.chain = self.home / "chain" if chain is None else folder / chain
        self.moved = False  # to a successor of the chain
        self.more = ("--chain", self.chain) if chain is not None else ()
        self.more += ("--mirror", self.mirror) if mirror else ()

    def run(self, command: str, *arguments: object, **options) -> forked.Outcome:
        """Run a command on this home: in a child where it is to be killed or patched, else here."""
        words = command.split()
        home = () if words in (["evidence", "verify"], ["journal", "check"], ["person", "create"]) else ("--home", self.home)
        way = forked.run if options else forked.here
        return way(*words, *arguments, *home, environment={"CARESEAL_PASSPHRASE": PASSPHRASE}, **options)

    def ok(self, command: str, *arguments: object, **options) -> forked.Outcome:
        outcome = self.run(command, *arguments, **options)
        assert outcome.code == 0, (command, outcome)
        return outcome

    def refused(self, command: str, *arguments: object, **options) -> str:
        """Run a command that must end with code 2 and one line, which is returned."""
        outcome = self.run(command, *arguments, **options)
        assert outcome.code == 2, (command, outcome)
        return outcome.line()

    def refused_at(self, home: Path, command: str, *arguments: object) -> str:
        """The same on another home."""
        mine, self.home = self.home, home
        try:
            return self.refused(command, *arguments)
        finally:
            self.home = mine

    def init(self) -> World:
        self.ok("init", "--name", self.name, "--kit", self.kit, *self.more)
        return self

    def create_database(self) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(SCHEMA)

    def attach(self) -> World:
        self.create_database()
        self.ok("attach", *self.attachment)
        return self

    @property
    def attachment(self) -> tuple[object, ...]:
        tables = [word for name in TABLES for word in ("--table", name)]
        return (self.url, *tables, "--subject", "patient", "--deletable", "--copies")

    def staffed(self) -> World:
        """Li and Wu of the staff and Zhao of the other side are registered, each with the passphrase in the file `secret`."""
        (self.folder / "secret").write_text(PASSPHRASE)
        for name, role in (("li", "staff"), ("wu", "staff"), ("zhao", "party")):
            key = self.folder / f"{name}.key"
            self.ok("person create", key, "--name", name, "--key-passphrase-file", self.folder / "secret")
            self.ok("person add", key, "--role", role)
        return self

    def by(self, *names: str) -> tuple[object, ...]:
        """The options that sign as these people."""
        secret = ("--key-passphrase-file", self.folder / "secret")
        return tuple(word for name in names for word in ("--by", self.folder / f"{name}.key", *secret))

    def change(self, changes=CHANGES) -> None:
        """What the hospital's application writes, each change with its note in one transaction."""
        for statements in changes:
            self._write([(statement, statement.split()[0]) for statement in statements])

    def _write(self, statements) -> None:
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            for statement, note in statements:
                connection.execute(statement)
                connection.execute("INSERT INTO truth (name) VALUES (?)", (note,))

    def queued(self) -> int:
        """How many captured changes wait."""
        queues = self.rows("SELECT name FROM sqlite_master WHERE type='table' AND name LIKE 'careseal%queue%'")
        return sum(self.count(f"SELECT count(*) FROM {queue}") for (queue,) in queues)

    def count(self, query: str, database: str | None = None) -> int:
        return self.rows(query, database)[0][0]

    def rows(self, query: str, database: str | None = None) -> list[tuple]:
        with closing(sqlite3.connect(self.home / database if database else self.database)) as connection:
            return connection.execute(query).fetchall()

    @contextmanager
    def opened(self):
        """The home, opened in this process."""
        with quick_keys(), Home.open(self.home, PASSPHRASE.encode) as home:
            yield home

    def checkpoints(self, institution: int | None = None) -> list[tuple[int, bytes]]:
        """(size, root) of the institution's checkpoints, in the chain's order, once no transaction on the chain is seen to have failed."""
        settings = read_settings(self.home)
        number = institution or settings.institution
        with connect(self.chain, None, forked.fast_time) as w3:
            journals = Journals(w3, settings.journals)
            count = journals.count(number, 0)
            found = [journals.checkpoint(number, 0, index) for index in range(count)]
            for block in range(w3.eth.block_number + 1):
                for digest in w3.eth.get_block(block)["transactions"]:
                    assert w3.eth.get_transaction_receipt(digest)["status"] == 1
        return [(item.size, item.root) for item in found]

    def setting(self, name: str):
        """A value of the home's settings."""
        return json.loads((self.home / "home.json").read_bytes())[name]

    def set(self, name: str, value: str) -> None:
        """Change one of the home's settings, as its owner could."""
        with quick_keys():
            keyring = read_keyring(self.home, PASSPHRASE.encode())
            write_settings(self.home, replace(read_settings(self.home, keyring), **{name: value}), keyring)

    def settle(self, *, counted: bool = True) -> None:
        """Run the normal commands, and hold everything against everything."""
        self.ok("seal")
        self.check(counted=counted)
        found = self.run("verify", "--json")
        assert found.code == 0 and (found.json["findings"], found.json["pending"]) == ([], 0), found

    def check(self, *, counted: bool = True) -> None:
        """Every change has one entry, every checkpoint is on the chain once, the mirror holds the journal and all that goes with it."""
        assert self.queued() == 0
        records = self.count("SELECT count(*) FROM entries WHERE substr(body, 2, 1) IN (x'01', x'02', x'03')", "ledger.db")
        assert not counted or records == BASELINE + self.count("SELECT count(*) FROM truth")
        mine = self.rows("SELECT size, root FROM checkpoints WHERE block IS NOT NULL ORDER BY size", "ledger.db")
        unanchored = self.rows("SELECT size FROM checkpoints WHERE block IS NULL", "ledger.db")
        assert [size for (size,) in unanchored if not self.moved or size > mine[0][0]] == []  # before are the predecessor's
        assert self.checkpoints() == mine
        self.check_mirror()

    def check_mirror(self) -> None:
        with quick_keys(), tempfile.TemporaryDirectory() as folder:
            keyring = read_keyring(self.home, PASSPHRASE.encode())
            settings = read_settings(self.home, keyring)
            rebuild(Path(folder) / "copy", settings, keyring, PASSPHRASE.encode(), None, lambda size: None)
            for name in DERIVED:
                query = f"SELECT * FROM {name} ORDER BY 1, 2" if name != "consumed" else "SELECT uid FROM consumed ORDER BY 1"
                with closing(sqlite3.connect(Path(folder) / "copy" / "ledger.db")) as copy:
                    assert copy.execute(query).fetchall() == self.rows(query, "ledger.db"), name
            with closing(sqlite3.connect(Path(folder) / "copy" / "subjects.db")) as copy:
                kept = copy.execute("SELECT * FROM subject ORDER BY sid").fetchall()
                mine = self.rows("SELECT * FROM subject ORDER BY sid", "subjects.db")
                # A run that was killed may have made keys that no batch needs yet.
                assert kept == mine[: len(kept)]

    def save(self) -> Path:
        """A copy of the whole folder, for `put_back`."""
        copy = self.folder.with_name(f"{self.folder.name}.saved")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder, copy)
        return copy

    def put_back(self, copy: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)


class PostgresWorld(World):
    """The same hospital on PostgreSQL; `server` is the fixture."""

    def __init__(self, folder: Path, server) -> None:
        super().__init__(folder)
        self._server, self.url = server, server.database()

    def create_database(self) -> None:
        statements = SCHEMA.replace("PRAGMA journal_mode=WAL;", "").replace("seq INTEGER PRIMARY KEY", "seq SERIAL PRIMARY KEY")
        with self._server.connect(self.url) as connection:
            connection.execute(statements)

    def _write(self, statements) -> None:
        with self._server.connect(self.url, autocommit=False) as connection:
            for statement, note in statements:
                connection.execute(statement)
                connection.execute("INSERT INTO truth (name) VALUES (%s)", (note,))

    def rows(self, query: str, database: str | None = None) -> list[tuple]:
        if database:
            return super().rows(query, database)
        with self._server.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def queued(self) -> int:
        queues = self.rows("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE tablename LIKE 'queue_%'")
        return sum(self.count(f"SELECT count(*) FROM {queue}") for (queue,) in queues)


@contextmanager
def served(chain: Path, log: Path):
    """An embedded chain, served by `careseal node run` in a child, whose id is yielded."""
    with log.open("wb") as output:
        node = forked.start("node", "run", "--chain", chain, "--port", "0", out=output, err=output,
                            environment={"CARESEAL_PASSPHRASE": PASSPHRASE})  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while read_endpoint(chain) is None or "serving" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield node
    finally:
        stop(node)


def stop(node: int) -> None:
    """End a child, if it still runs."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(node, signal.SIGTERM)
        os.waitpid(node, 0)


def kill_everywhere(world: World, command: str, *arguments: object, check, stride: int = 1) -> int:
    """Kill a command at each of its durable steps, or at each `stride`-th, from the same start each time, and `check` after each.

    Returns the number of steps.
    """
    saved, step = world.save(), 1
    while True:
        world.put_back(saved)
        outcome = world.run(command, *arguments, kill_at=step)
        if not outcome.killed:
            assert outcome.code == 0, outcome
            check()
            return step - 1
        check()
        step += stride
