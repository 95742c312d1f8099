"""What a monitor keeps between its rounds: how far each journal was read, the last entry of each record, and the alarms."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anchoring.alarms import Alarm, AlarmKind
from anchoring.errors import MonitorStateInvalid, damaged_state
from anchoring.record_heads import SCHEMA as HEADS
from ledger.merkle import EMPTY_ROOT
from ledger.tree import TILE_BYTES, Tree

DATABASE = "monitor.db"
TOLD = 64  # alarms of one kind about one journal that are kept one by one
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS network (consortium TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS journals (id INTEGER PRIMARY KEY, institution INTEGER, generation INTEGER, size INTEGER, root BLOB, edge BLOB,
    checkpoints INTEGER, verifier TEXT, UNIQUE (institution, generation));
{HEADS}
CREATE TABLE IF NOT EXISTS notes (journal INTEGER, size INTEGER, root BLOB, PRIMARY KEY (journal, size, root)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms (id TEXT PRIMARY KEY, kind TEXT, institution INTEGER, generation INTEGER, entry INTEGER, detail TEXT,
    seen INTEGER, sent INTEGER);
"""


class Edge:
    """The tiles at the right edge of a tree, which is all that it takes to go on and to know its root."""

    def __init__(self, kept: bytes = b"") -> None:
        self._tiles: dict[int, tuple[int, bytes]] = {}
        at = 0
        while at < len(kept):
            level, index, length = kept[at], int.from_bytes(kept[at + 1 : at + 9], "big"), int.from_bytes(kept[at + 9 : at + 11], "big")
            self._tiles[level] = index, kept[at + 11 : at + 11 + length]
            at += 11 + length

    def read(self, level: int, index: int) -> bytes:
        place, hashes = self._tiles.get(level, (index, b""))
        return hashes if place == index else b""

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self._tiles[level] = index, hashes

    def root(self, size: int) -> bytes:
        """The root of the tree, which has `size` leaves."""
        return Tree(self).root(size)

    def kept(self) -> bytes:
        """What an Edge can be made of again."""
        assert all(len(hashes) <= TILE_BYTES for _, hashes in self._tiles.values())  # noqa: S101 -- two bytes hold the length
        return b"".join(
            bytes([level]) + index.to_bytes(8, "big") + len(hashes).to_bytes(2, "big") + hashes
            for level, (index, hashes) in sorted(self._tiles.items())
        )


@dataclass(slots=True)
class Read:
    """How far a journal was read: `size` entries that give `root`, which `checkpoints` of the chain agree with, one after the other."""

    id: int
    size: int
    root: bytes
    edge: bytes
    checkpoints: int
    verifier: str | None


class MonitorState:
    """The state in a folder. One monitor uses it at a time."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def journal(self, institution: int, generation: int) -> Read:
        """How far a journal was read. MonitorStateInvalid where what was kept does not fit itself."""
        self.db.execute(
            "INSERT INTO journals (institution, generation, size, root, edge, checkpoints) VALUES (?,?,0,?,x'',0) ON CONFLICT DO NOTHING",
            (institution, generation, EMPTY_ROOT),
        )
        query = "SELECT id, size, root, edge, checkpoints, verifier FROM journals WHERE institution=? AND generation=?"
        read = Read(*self.db.execute(query, (institution, generation)).fetchone())
        try:
            fits = Edge(read.edge).root(read.size) == read.root
        except Exception as error:
            raise damaged_state() from error
        if not fits:
            raise damaged_state()
        return read

    def keep(self, read: Read) -> None:
        """Keep how far a journal was read now."""
        self.db.execute(
            "UPDATE journals SET size=?, root=?, edge=?, checkpoints=?, verifier=? WHERE id=?",
            (read.size, read.root, read.edge, read.checkpoints, read.verifier, read.id),
        )

    def note(self, journal: int, size: int, root: bytes) -> None:
        """Keep what an institution signed of its journal, until the journal was read so far."""
        self.db.execute("INSERT INTO notes VALUES (?,?,?) ON CONFLICT DO NOTHING", (journal, size, root))

    def notes(self, journal: int) -> dict[int, list[bytes]]:
        """The roots that an institution signed, by size, beyond what was read."""
        found: dict[int, list[bytes]] = {}
        for size, root in self.db.execute("SELECT size, root FROM notes WHERE journal=? ORDER BY size, root", (journal,)):
            found.setdefault(size, []).append(root)
        return found

    def drop_notes(self, journal: int, size: int) -> None:
        """Forget what was signed of a journal up to `size` entries: it was compared."""
        self.db.execute("DELETE FROM notes WHERE journal=? AND size<=?", (journal, size))

    def raise_alarm(self, alarm: Alarm, now: int) -> None:
        """Keep an alarm, once; further ones of a kind about one journal only up to a bound."""
        count = "SELECT count(*) FROM alarms WHERE kind=? AND institution=? AND generation=?"
        (held,) = self.db.execute(count, (alarm.kind, alarm.institution, alarm.generation)).fetchone()
        if held < TOLD:
            self.db.execute(
                "INSERT INTO alarms VALUES (?,?,?,?,?,?,?,0) ON CONFLICT DO NOTHING",
                (alarm.id, alarm.kind, alarm.institution, alarm.generation, alarm.entry, alarm.detail, now),
            )

    def settle(self, present: set[str]) -> None:
        """Forget the alarms that can go and are not `present`."""
        for alarm, _ in self.alarms():
            if not alarm.kind.stands and alarm.id not in present:
                self.db.execute("DELETE FROM alarms WHERE id=?", (alarm.id,))

    def alarms(self, *, unsent: bool = False) -> list[tuple[Alarm, int]]:
        """The alarms, oldest first, each with when it was raised, in seconds since 1970 UTC."""
        where = "WHERE sent=0" if unsent else ""
        rows = self.db.execute(f"SELECT kind, institution, generation, entry, detail, seen FROM alarms {where} ORDER BY seen, rowid")  # noqa: S608
        return [(Alarm(AlarmKind(kind), *rest), seen) for kind, *rest, seen in rows]

    def sent(self, alarm: Alarm) -> None:
        """Mark an alarm as told."""
        self.db.execute("UPDATE alarms SET sent=1 WHERE id=?", (alarm.id,))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is kept within, or nothing of it."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")


@contextmanager
def opened(folder: Path, consortium: str) -> Iterator[MonitorState]:
    """The state in `folder`, made where there is none. `consortium` names chain and contracts.

    MonitorStateInvalid where it is damaged, another consortium's, or used by another monitor.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MonitorStateInvalid(f"cannot make the folder {folder}: {error.strerror}") from error
    try:
        db = sqlite3.connect(folder / DATABASE, timeout=2, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise MonitorStateInvalid(f"cannot open {folder / DATABASE}: {error}") from error
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA journal_mode=TRUNCATE")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-65536")
        db.executescript(_SCHEMA)
        db.execute("INSERT INTO network SELECT ? WHERE NOT EXISTS (SELECT 1 FROM network)", (consortium,))
        if db.execute("SELECT consortium FROM network").fetchall() != [(consortium,)]:
            raise MonitorStateInvalid(f"{folder} belongs to another consortium: give another --state")
        yield MonitorState(db)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise MonitorStateInvalid(f"another monitor uses {folder}: wait for it, or give another --state") from error
        raise MonitorStateInvalid(f"cannot write {folder / DATABASE}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise damaged_state() from error
    finally:
        db.close()
