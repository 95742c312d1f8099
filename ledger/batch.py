"""What one transaction adds to the home: entries and everything derived from them, with a sidecar for the mirror."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path

from ledger.errors import WireError
from ledger.journal import Journal, event
from ledger.keys import SubjectKeys
from ledger.rowcodec import printable
from ledger.store import Store, write_rows
from ledger.wire import NO_AUTHOR, Kind

Value = int | str | bytes | None
Rows = Mapping[str, Sequence[Sequence[Value]]]  # of derived tables

# Every derived table that a batch writes; replaying the same rows on an older home gives the same home.
_PUT = {
    "tables": "INSERT OR REPLACE INTO tables VALUES (?,?,?,?,?,?,?,?)",
    "gone": "DELETE FROM state WHERE tbl=? AND key=?",
    "state": "INSERT OR REPLACE INTO state VALUES (?,?,?,?,?)",
    "documents": "INSERT OR REPLACE INTO documents VALUES (?,?,?)",
    "authors": "INSERT OR REPLACE INTO authors VALUES (?,?)",
    "copies": "INSERT OR REPLACE INTO copies VALUES (?,?,?)",
    "audits": "INSERT OR REPLACE INTO audits VALUES (?,?,?,?,?,?)",
    "consumed": "INSERT OR IGNORE INTO consumed VALUES (?)",
    "to_consume": "INSERT OR IGNORE INTO to_consume VALUES (?,?)",
    "checkpoints": "INSERT OR IGNORE INTO checkpoints (generation, size, root, time, code) VALUES (?,?,?,?,?)",
    "timestamps": "INSERT OR REPLACE INTO timestamps VALUES (?,?,?)",
    "emptied": "DELETE FROM state WHERE tbl=?",
}
_MAX_SIDECAR = 1 << 28
_FLUSH_ROWS = 5000
_MARKS = 1000  # in one document
_FLUSH_BYTES = 1 << 25  # deflated JSON of it stays far below _MAX_SIDECAR


@dataclass(frozen=True, slots=True)
class State:
    """Where a row's record stands: index of its last entry, its subject, and whether the row should exist."""

    entry: int
    sid: int
    live: bool


def batch_path(folder: Path, number: int) -> Path:
    """The file of a batch in a mirror."""
    return folder / f"{number:012d}.batch"


def is_mirrored(folder: Path, number: int) -> bool:
    """Whether a mirror that can be looked at has this batch."""
    try:
        return batch_path(folder, number).exists()
    except OSError:
        return False


class Batch:
    """Collects within one transaction of the store; `flush` writes. Reads through it see what was collected."""

    def __init__(self, store: Store, journal: Journal, subjects: SubjectKeys, *, mirrored: bool) -> None:
        self.db, self._store, self._journal, self._subjects, self._mirrored = store.db, store, journal, subjects, mirrored
        self._first = journal.size
        self._bodies: list[bytes] = []
        self._rows: dict[str, list[Sequence[Value]]] = {name: [] for name in _PUT}
        self._state: dict[tuple[int, bytes], State | None] = {}
        self._placed: dict[tuple[int, bytes], Sequence[Value]] = {}  # rows of `state` beside those of new records
        self._authors: dict[str, bytes] = {}
        self._marks: list[dict[str, object]] = []
        self._marked_at = 0
        self._weight = 0
        self.added = 0

    def add(self, body: bytes) -> int:
        """Take in a record's entry; returns its index in the journal."""
        self.added += 1
        return self._append(body)

    def _append(self, body: bytes) -> int:
        self._bodies.append(body)
        return self._first + len(self._bodies) - 1

    def extend(self, bodies: list[bytes], states: Sequence[Sequence[Value]]) -> None:
        """Take in many new records at once: entries, and their rows of `state`."""
        self._bodies += bodies
        self._rows["state"] += states
        self.added += len(bodies)
        self.flush_if_full()

    @property
    def next(self) -> int:
        """The index that the next entry will get."""
        return self._first + len(self._bodies)

    def put(self, name: str, *row: Value) -> None:
        """Take in a row of a derived table."""
        self._rows[name].append(row)
        if name == "copies":
            self._weight += _weight(row)

    def add_event(self, kind: Kind, document: object, time: int) -> int:
        """Take in an event entry with its document; returns its index."""
        body, salt, canonical = event(kind, document, time)
        index = self._append(body)
        self.put("documents", index, salt, canonical)
        return index

    def mark(self, entry: int, key: bytes, columns: Sequence[str], author: str | None, time: int, window: int | None = None) -> None:
        """Say more of a marked entry than it says itself, in a document that the next flush journals. `time` in milliseconds."""
        known = author if author is None else printable(author)
        self._marks.append({"entry": entry, "key": key.hex(), "columns": list(columns), "author": known, "window": window})
        self._marked_at = time

    def state(self, table: int, key: bytes) -> State | None:
        """The state of a row's record, None where the key is unknown."""
        if (table, key) in self._state:
            return self._state[table, key]
        row = self.db.execute("SELECT entry, sid, live FROM state WHERE tbl=? AND key=?", (table, key)).fetchone()
        return None if row is None else State(row[0], row[1], bool(row[2]))

    def set_state(self, table: int, key: bytes, state: State | None) -> None:
        """Set the state of a row's record, or forget the key."""
        if state is None:
            # A flush deletes before it inserts, so that what was collected for this key must go.
            self._placed.pop((table, key), None)
            self.put("gone", table, key)
        self._state[table, key] = state
        if state is not None:
            self._placed[table, key] = (table, key, state.entry, state.sid, int(state.live))

    def body(self, index: int) -> bytes:
        """The bytes of an entry, collected or stored."""
        return self._bodies[index - self._first] if index >= self._first else self._journal.entry(index)

    def author(self, name: str | None) -> bytes:
        """The opaque id, 8 bytes, of an author as the database reports it."""
        if name is None:
            return NO_AUTHOR
        if name not in self._authors:
            blind = blake2s(self._subjects.blind("author:" + name), digest_size=8).digest()
            self._authors[name] = blind
            self.put("authors", blind, name)
        return self._authors[name]

    def flush_if_full(self) -> None:
        if len(self._bodies) >= _FLUSH_ROWS or self._weight > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected, inside the caller's transaction."""
        for start in range(0, len(self._marks), _MARKS):
            self.add_event(Kind.MARKS, {"marks": {"entries": self._marks[start : start + _MARKS]}}, self._marked_at)
        self._marks.clear()
        self._rows["state"] += self._placed.values()
        self._placed.clear()
        for name, statement in _PUT.items():
            if self._rows[name]:
                write_rows(self.db, statement, self._rows[name])
        if self._bodies:
            self._journal.append(self._bodies)
        if self._mirrored and (self._bodies or any(self._rows.values())):
            self._write_sidecar()
        self._first += len(self._bodies)
        self._bodies, self._rows, self._weight = [], {name: [] for name in _PUT}, 0
        self._state.clear()

    def _write_sidecar(self) -> None:
        known, highest = int(self._store.meta("mirrored_sid", "0") or 0), self._subjects.highest()
        subjects = self._subjects.rows(range(known + 1, highest + 1))
        written: dict[str, Sequence[Sequence[Value]]] = {name: rows for name, rows in self._rows.items() if rows}
        sidecar = pack_sidecar({**written, "subjects": subjects})
        number = int(self._store.meta("batch", "0") or 0) + 1
        self.db.execute("INSERT INTO batches VALUES (?,?,?,?)", (number, self._first, len(self._bodies), sidecar))
        self._store.set_meta("batch", str(number))
        self._store.set_meta("mirrored_sid", str(highest))


def pack_sidecar(rows: Rows) -> bytes:
    """Rows of derived tables as deflated JSON: [[table, rows], ...]; bytes become {"x": hex}. WireError over 256 MiB of JSON."""
    text = json.dumps(list(rows.items()), default=lambda value: {"x": value.hex()}, separators=(",", ":")).encode()
    if len(text) > _MAX_SIDECAR:
        raise WireError("a row is too large for the mirror: attach its table without --copies")
    return zlib.compress(text, 1)


def unpack_sidecar(data: bytes) -> dict[str, list[list[Value]]]:
    """The rows that `pack_sidecar` packed; WireError on anything else, and on more than 256 MiB."""
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data, _MAX_SIDECAR)
        if not inflate.eof or inflate.unused_data:
            raise WireError("a mirror batch is damaged or too large")
        rows = dict(json.loads(text, object_hook=lambda value: bytes.fromhex(value["x"])))
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError("a mirror batch is damaged") from error
    if not rows.keys() <= {*_PUT, "subjects"}:
        raise WireError("a mirror batch holds unknown tables")
    return {str(name): value for name, value in rows.items() if isinstance(value, list)}


def derived_rows(store: Store) -> Iterator[tuple[str, list[Sequence[Value]]]]:
    """All rows of the derived tables, in runs that are small enough for a sidecar, as `replay` takes them."""
    for name, statement in _PUT.items():
        if statement.startswith("INSERT"):
            columns = "generation, size, root, time, code" if name == "checkpoints" else "*"
            cursor = store.db.execute(f"SELECT {columns} FROM {name}")  # noqa: S608
            run: list[Sequence[Value]] = []
            weight = 0
            for row in cursor:
                run.append(row)
                weight += _weight(row)
                if len(run) >= _FLUSH_ROWS or weight > _FLUSH_BYTES:
                    yield name, run
                    run, weight = [], 0
            if run:
                yield name, run


def _weight(row: Sequence[Value]) -> int:
    return sum(len(value) for value in row if isinstance(value, str | bytes))


def replay(store: Store, rows: dict[str, list[list[Value]]]) -> None:
    """Write the rows of a sidecar, inside the caller's transaction, in the order in which they were first written."""
    for name, statement in _PUT.items():
        if rows.get(name):
            write_rows(store.db, statement, rows[name])
