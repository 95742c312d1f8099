"""The append-only journal of one institution: entries, the tree over them, the documents behind event entries, checkpoints."""

from __future__ import annotations

import hmac
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any, Protocol

from ledger import canonical
from ledger.errors import HomeError, LedgerError
from ledger.merkle import leaf_hash
from ledger.store import Store, write_rows
from ledger.tree import Tree, append
from ledger.wire import KIND_AT, EventEntry, Kind, decode_entry, encode_event

_CODE = b"careseal/v1/checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The journal as it stood at `size` entries; block and transaction are None until it is anchored."""

    generation: int
    size: int
    root: bytes  # RFC 9162 tree head, 32 bytes
    time: int  # milliseconds since 1970 UTC, when it was sealed
    tx: str | None = None
    block: int | None = None
    block_hash: str | None = None
    block_time: int | None = None  # seconds since 1970 UTC


class Ledger(Protocol):
    """A ledger to look things up in: an institution's home, or what an outside auditor has of one."""

    @property
    def home_id(self) -> str: ...

    @property
    def store(self) -> Store: ...

    @property
    def journal(self) -> Journal: ...


class StoredTiles:
    """Tiles in `ledger.db`; level and index make up the rowid."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def read(self, level: int, index: int) -> bytes:
        row = self._db.execute("SELECT hashes FROM tiles WHERE id=?", (level << 48 | index,)).fetchone()
        return b"" if row is None else bytes(row[0])

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO tiles VALUES (?,?)", (level << 48 | index, hashes))


class Journal:
    """Reads of, and appends to, the journal in a Store. Appends belong inside the store's transaction.

    Each checkpoint carries a code under `key`, 32 bytes: what is sealed and waits for its anchor cannot be made anew without it. Who has
    no key, None, takes the checkpoints as they stand there, and asks the chain.
    """

    def __init__(self, store: Store, key: bytes | None) -> None:
        self._store, self._db, self._key = store, store.db, key
        self.tiles = StoredTiles(store.db)
        self.tree = Tree(self.tiles)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(self._db.execute("SELECT coalesce(max(idx) + 1, 0) FROM entries").fetchone()[0])

    @property
    def generation(self) -> int:
        """The generation of the journal on the chain, from 0."""
        return int(self._store.meta("generation", "0") or 0)

    def append(self, bodies: Sequence[bytes]) -> int:
        """Append entries; returns the index of the first. Cost does not depend on the journal's size."""
        first = self.size
        write_rows(self._db, "INSERT INTO entries VALUES (?,?)", list(enumerate(bodies, first)))
        append(self.tiles, first, map(leaf_hash, bodies))
        return first

    def entry(self, index: int) -> bytes:
        """The bytes of one entry; LedgerError where there is none."""
        row = self._db.execute("SELECT body FROM entries WHERE idx=?", (index,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise LedgerError(f"the journal has no entry {index}: restore the home from its mirror or backup")
        return row[0]

    def bodies(self, first: int, end: int, chunk: int = 2048) -> Iterator[list[bytes]]:
        """Entries first to end-1 in runs of at most `chunk`."""
        cursor = self._db.execute("SELECT body FROM entries WHERE idx>=? AND idx<? ORDER BY idx", (first, end))
        while rows := cursor.fetchmany(chunk):
            yield [row[0] for row in rows]

    def document(self, index: int) -> tuple[bytes, bytes]:
        """(salt, canonical JSON) of an event entry, checked against the entry."""
        return self._checked(index)[:2]

    def about(self, index: int) -> dict[str, Any]:
        """The document of an event entry, checked against the entry."""
        return self._checked(index)[2]

    def _checked(self, index: int) -> tuple[bytes, bytes, dict[str, Any]]:
        entry = decode_entry(self.entry(index))
        row = self._db.execute("SELECT salt, body FROM documents WHERE entry=?", (index,)).fetchone()
        if row is None or not isinstance(entry, EventEntry):
            raise LedgerError(f"entry {index} has no document")
        return row[0], row[1], dict(canonical.check(row[0], row[1], entry.commitment))

    def documents_of(self, kind: Kind) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(index, time in milliseconds, document) of each event of a kind, in order, each document checked against its entry."""
        rows = self._db.execute(
            "SELECT d.entry FROM documents d JOIN entries e ON e.idx=d.entry WHERE substr(e.body, ?, 1)=? ORDER BY d.entry",
            (KIND_AT + 1, bytes([kind])),
        )
        for (index,) in rows.fetchall():
            yield index, decode_entry(self.entry(index)).time, self.about(index)

    def wrapping(self) -> str | None:
        """What the last erasure calls the wrapping key that is in force since; None where nothing was erased yet."""
        named = [document.get("erasure") for _, _, document in self.documents_of(Kind.ERASURE)]
        return str(named[-1].get("wrapping")) if named and isinstance(named[-1], dict) else None

    def checkpoint(self, time: int) -> Checkpoint | None:
        """Record a checkpoint of the journal as it is now; None where the latest one has this size already."""
        size, last = self.size, self.latest()
        if not size or (last is not None and last.size >= size):
            return None
        made = Checkpoint(self.generation, size, self.tree.root(size), time)
        self._db.execute(
            "INSERT INTO checkpoints (size, generation, root, time, code) VALUES (?,?,?,?,?)",
            (made.size, made.generation, made.root, made.time, self.code_of(made)),
        )
        return made

    def code_of(self, checkpoint: Checkpoint) -> bytes:
        """The code, 32 bytes, that only this home's keyring makes for a checkpoint."""
        numbers = struct.pack(">QQQ", checkpoint.generation, checkpoint.size, checkpoint.time)
        return blake2s(_CODE + numbers + checkpoint.root, key=self._key or b"").digest()

    def latest(self, *, anchored: bool = False) -> Checkpoint | None:
        """The last checkpoint; `anchored`: the last one on the chain."""
        where = "block IS NOT NULL" if anchored else "1"
        return self._one(f"{where} AND generation=? ORDER BY size DESC LIMIT 1", (self.generation,))

    def checkpoint_of(self, generation: int, size: int) -> Checkpoint | None:
        """The checkpoint of exactly this size, in whatever generation."""
        return self._one("generation=? AND size=?", (generation, size))

    def checkpoint_at(self, size: int) -> Checkpoint | None:
        """The checkpoint of exactly this size."""
        return self._one("generation=? AND size=?", (self.generation, size))

    def after(self, size: int) -> Checkpoint | None:
        """The first checkpoint of more than `size` entries."""
        return self._one("generation=? AND size>? ORDER BY size LIMIT 1", (self.generation, size))

    def unanchored(self) -> Checkpoint | None:
        """The oldest checkpoint that is not on the chain yet: of those that continue what is anchored."""
        anchored = self.latest(anchored=True)
        return self.after(anchored.size if anchored else 0)

    def mark_anchored(self, checkpoint: Checkpoint) -> None:
        """Remember block and transaction of a checkpoint that the chain has."""
        self._db.execute(
            "UPDATE checkpoints SET tx=?, block=?, block_hash=?, block_time=? WHERE generation=? AND size=?",
            (
                checkpoint.tx,
                checkpoint.block,
                checkpoint.block_hash,
                checkpoint.block_time,
                checkpoint.generation,
                checkpoint.size,
            ),
        )

    def forget_anchors(self, above: int) -> None:
        """Forget block and transaction of the checkpoints of more than `above` entries, in the present generation."""
        self._db.execute(
            "UPDATE checkpoints SET tx=NULL, block=NULL, block_hash=NULL, block_time=NULL WHERE generation=? AND size>?",
            (self.generation, above),
        )

    def begin_anew(self, head: Checkpoint) -> None:
        """Take `head` for the first checkpoint that is anchored: on another chain, which knows of no earlier one."""
        self.forget_anchors(0)
        self._db.execute(
            "INSERT OR IGNORE INTO checkpoints (size, generation, root, time, code) VALUES (?,?,?,?,?)",
            (head.size, head.generation, head.root, head.time, self.code_of(head)),
        )
        self.mark_anchored(head)

    def _one(self, where: str, values: tuple[int, ...]) -> Checkpoint | None:
        columns = "code, generation, size, root, time, tx, block, block_hash, block_time"
        row = self._db.execute(f"SELECT {columns} FROM checkpoints WHERE {where}", values).fetchone()  # noqa: S608
        if row is None:
            return None
        try:
            found = Checkpoint(*row[1:])
            genuine = self._key is None or hmac.compare_digest(self.code_of(found), row[0])
        except (TypeError, struct.error):
            genuine = False
        if not genuine:
            raise HomeError("the home's checkpoints were changed by hand: restore the home with careseal restore --kit")
        return found


def event(kind: Kind, document: object, time: int, random: Callable[[int], bytes] = os.urandom) -> tuple[bytes, bytes, bytes]:
    """(entry bytes, salt, canonical document) of an event to be journalled."""
    salt, body = random(32), canonical.encode(document)
    return encode_event(EventEntry(kind, time, canonical.commitment(salt, body))), salt, body
