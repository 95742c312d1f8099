"""Durable storage of a chain: one SQLite file, one transaction per block.

Durability: `append` returns after the journal is gone and the directory synced, so that a block that was announced survives
kill -9 and power loss, and a block that was not is either whole or absent. Integrity: state nodes are checked against
their hash, blocks and settings against a digest, on every read. Nothing is ever pruned.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from node import strict_rlp
from node.errors import ChainCorrupt, ChainError, ChainExists, ChainLocked, ChainMissing, ChainUnwritable, NodeError, RlpInvalid

FILE = "chain.db"
FORMAT = 1
APPLICATION_ID = 0x43534C43  # "CSLC", so that another program's database is told apart
MAX_VALUE = 64 << 20
CACHED_NODES = 20_000
HashOf = Callable[[bytes], bytes]

_SCHEMA = (
    "CREATE TABLE chain (one INTEGER PRIMARY KEY CHECK (one = 1), chain_id INTEGER NOT NULL, period INTEGER NOT NULL, "
    "epoch INTEGER NOT NULL, genesis BLOB NOT NULL, head INTEGER NOT NULL, head_hash BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE block (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, header BLOB NOT NULL, "
    "transactions BLOB NOT NULL, receipts BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE sent (hash BLOB PRIMARY KEY, number INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE node (hash BLOB PRIMARY KEY, body BLOB NOT NULL, born INTEGER NOT NULL) WITHOUT ROWID",
)
_UNWRITABLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_UNREADABLE_IO = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a chain fixes at its creation (period in seconds, epoch in blocks), and where its head stands."""

    chain_id: int
    period: int
    epoch: int
    genesis: bytes
    head: int
    head_hash: bytes

    def digest(self) -> bytes:
        return _digest(b"settings", *(repr(value).encode() for value in self._values()))

    def row(self) -> tuple[Any, ...]:
        return (*self._values(), self.digest())

    def _values(self) -> tuple[Any, ...]:
        return self.chain_id, self.period, self.epoch, self.genesis, self.head, self.head_hash


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block as stored: encoded header, transactions and receipts, each in its consensus encoding."""

    number: int
    hash: bytes
    header: bytes
    transactions: tuple[bytes, ...]
    receipts: tuple[bytes, ...]

    def row(self) -> tuple[Any, ...]:
        transactions, receipts = (strict_rlp.encode(list(values)) for values in (self.transactions, self.receipts))
        digest = _digest(b"block", str(self.number).encode(), self.hash, self.header, transactions, receipts)
        return self.number, self.hash, self.header, transactions, receipts, digest


class Store:
    """The file of one chain. Safe for use by several threads of one process; the caller keeps other processes out.

    `hash_of` gives the hash of a block from its encoded header, and raises NodeError where it is none of the chain's engine.
    """

    def __init__(self, path: Path, hash_of: HashOf = keccak) -> None:
        self.path, self._hash_of = path, hash_of
        self._lock = threading.RLock()
        self._nodes: OrderedDict[bytes, bytes] = OrderedDict()
        with self._guard():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
        self._db.text_factory = bytes
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)

    @classmethod
    def create(
        cls, directory: Path, settings: Settings, genesis: Block, nodes: Mapping[bytes, bytes] | None = None, hash_of: HashOf = keccak
    ) -> Store:
        """Store a new chain in `directory`, which must exist; all of it becomes durable at once, or nothing.

        Errors: ChainExists when there is one already; ChainUnwritable; ChainCorrupt when the file is something else.
        """
        store = cls(directory / FILE, hash_of)
        try:
            with store._guard():
                store._configure()
                if store._pragma("application_id") or store._rows("SELECT 1 FROM sqlite_master"):
                    raise ChainExists(f"{directory} already holds a chain; open it, or choose another directory")
                with store._transaction():
                    for statement in _SCHEMA:
                        store._db.execute(statement)
                    store._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    store._db.execute(f"PRAGMA user_version = {FORMAT}")
                    store._db.execute("INSERT INTO chain VALUES (1, ?, ?, ?, ?, ?, ?, ?)", settings.row())
                    store._insert(genesis, (), nodes or {})
            _sync_directory(directory)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, directory: Path, hash_of: HashOf = keccak) -> Store:
        """Open the chain in `directory`. Reads the settings only; `node.archive` checks that head and genesis fit.

        Errors: ChainMissing, ChainCorrupt, ChainUnwritable when the file may not be written.
        """
        path = directory / FILE
        if not path.is_file():
            raise ChainMissing(f"there is no chain in {directory}; create one with init, or name another directory")
        store = cls(path, hash_of)
        try:
            with store._guard():
                if not store._pragma("application_id") and not store._rows("SELECT 1 FROM sqlite_master"):
                    raise ChainMissing(f"the chain in {directory} is empty; put back a backup, or create it again if it is new")
                if store._pragma("application_id") != APPLICATION_ID or store._pragma("user_version") != FORMAT:
                    raise store.corrupt("the file is not a chain of this version")
                store._configure()
            store.settings()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def settings(self) -> Settings:
        """Return the settings and the head as they are stored. Errors: ChainCorrupt."""
        rows = self._select("SELECT chain_id, period, epoch, genesis, head, head_hash, digest FROM chain")
        if len(rows) != 1:
            raise self.corrupt("the settings are missing")
        settings = Settings(*rows[0][:-1])
        if settings.digest() != rows[0][-1]:
            raise self.corrupt("the settings contradict their digest")
        return settings

    def block(self, number: int) -> Block:
        """Return block `number`, which must not lie above the head. Errors: ChainCorrupt when it is missing or damaged."""
        rows = self._select("SELECT number, hash, header, transactions, receipts, digest FROM block WHERE number = ?", number)
        if not rows:
            raise self.corrupt(f"block {number} is missing")
        if not all(isinstance(value, bytes) for value in rows[0][1:]):
            raise self.corrupt(f"block {number} is malformed")
        try:
            transactions, receipts = (_parts(value) for value in rows[0][3:5])
        except RlpInvalid as error:
            raise self.corrupt(f"block {number} is malformed") from error
        block = Block(rows[0][0], rows[0][1], rows[0][2], transactions, receipts)
        if block.number != number or block.row() != rows[0] or not self._has_hash(block.header, block.hash):
            raise self.corrupt(f"block {number} contradicts its digest")
        return block

    def headers(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and encoded header of the blocks `first` to `last`, oldest first, checked against their hash."""
        for start in range(first, last + 1, 256):
            rows = self._select("SELECT number, hash, header FROM block WHERE number BETWEEN ? AND ? ORDER BY number",
                                start, end := min(start + 255, last))
            if [row[0] for row in rows] != list(range(start, end + 1)):
                raise self.corrupt(f"a block between {start} and {end} is missing")
            for number, block_hash, header in rows:
                if not isinstance(header, bytes) or not self._has_hash(header, block_hash):
                    raise self.corrupt(f"block {number} contradicts its hash")
                yield number, header

    def block_hash(self, number: int) -> bytes:
        """Return the 32-byte hash under which block `number` is stored. Errors: ChainCorrupt."""
        rows = self._select("SELECT hash FROM block WHERE number = ?", number)
        if not rows or not isinstance(rows[0][0], bytes) or len(rows[0][0]) != 32:
            raise self.corrupt(f"the hash of block {number} is missing")
        return rows[0][0]

    def number_of(self, block_hash: bytes) -> int | None:
        """Return the number of the block with this hash, or None when there is none."""
        rows = self._select("SELECT number FROM block WHERE hash = ?", block_hash)
        return int(rows[0][0]) if rows else None

    def sent(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """Return block number and position of a sealed transaction, or None when it is not sealed."""
        rows = self._select("SELECT number, position FROM sent WHERE hash = ?", transaction_hash)
        if rows and not all(isinstance(value, int) for value in rows[0]):
            raise self.corrupt("the index of transactions is malformed")
        return rows[0] if rows else None

    def node(self, node_hash: bytes) -> bytes:
        """Return the trie node or contract code with this keccak-256. Errors: ChainCorrupt when missing or altered."""
        if (body := self.find_node(node_hash)) is None:
            raise self.corrupt(f"state node 0x{node_hash.hex()} is missing")
        return body

    def find_node(self, node_hash: bytes) -> bytes | None:
        """`node`, but None when it is missing. Errors: ChainCorrupt when altered."""
        with self._lock:
            if (body := self._nodes.get(node_hash)) is not None:
                self._nodes.move_to_end(node_hash)
                return body
            if (body := self.stored_node(node_hash)) is not None:
                self._nodes[node_hash] = body
                if len(self._nodes) > CACHED_NODES:
                    self._nodes.popitem(last=False)
            return body

    def stored_node(self, node_hash: bytes) -> bytes | None:
        """`find_node`, from the file and never from memory."""
        rows = self._select("SELECT body FROM node WHERE hash = ?", node_hash)
        if not rows:
            return None
        if not isinstance(rows[0][0], bytes) or keccak(rows[0][0]) != node_hash:
            raise self.corrupt(f"state node 0x{node_hash.hex()} is altered")
        return rows[0][0]

    def born(self, node_hash: bytes) -> int | None:
        """Return the number of the block that first stored a node, or None when it is not stored."""
        rows = self._select("SELECT born FROM node WHERE hash = ?", node_hash)
        return rows[0][0] if rows and isinstance(rows[0][0], int) else None

    def append(self, block: Block, hashes: Sequence[bytes], nodes: Mapping[bytes, bytes]) -> None:
        """Store `block`, the hashes of its transactions and its new state nodes, and make it the head, all or nothing.

        Returns only when the block is durable. Errors: ChainUnwritable (disk full and the like) with the former head
        still in place; ChainLocked when the head is not the parent, that is, when something else writes this file.
        """
        with self._lock:
            if (head := self.settings().head) != block.number - 1:
                raise ChainLocked(f"another process sealed block {head} in {self.path.parent}; stop it, then try again")
            self.replace([(block, hashes, nodes)])

    def replace(self, blocks: Sequence[tuple[Block, Sequence[bytes], Mapping[bytes, bytes]]]) -> None:
        """Store consecutive blocks, each as `append` does, in the place of those that are stored from the first one's number on; all
        or nothing. State nodes stay: they are found by their hash.

        Errors: ChainUnwritable, with everything as it was.
        """
        first, last = blocks[0][0].number, blocks[-1][0]
        with self._lock:
            settings = self.settings()
            after = replace(settings, head=last.number, head_hash=last.hash)
            gone = [keccak(raw) for number in range(first, settings.head + 1) for raw in self.block(number).transactions]
            try:
                with self._guard(), self._transaction():
                    self._db.executemany("DELETE FROM sent WHERE hash = ?", ((item,) for item in gone))
                    self._db.execute("DELETE FROM block WHERE number >= ?", (first,))
                    for block, hashes, nodes in blocks:
                        self._insert(block, hashes, nodes)
                    self._db.execute("UPDATE chain SET chain_id = ?, period = ?, epoch = ?, genesis = ?, head = ?, "
                                     "head_hash = ?, digest = ? WHERE one = 1", after.row())
            except ChainUnwritable:
                # A commit can fail after the point of no return; what is stored decides, not the error.
                if self.settings() != after:
                    raise

    def _insert(self, block: Block, hashes: Sequence[bytes], nodes: Mapping[bytes, bytes]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO node VALUES (?, ?, ?)", ((key, body, block.number) for key, body in nodes.items()))
        self._db.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?)", block.row())
        self._db.executemany("INSERT INTO sent VALUES (?, ?, ?)", ((item, block.number, place) for place, item in enumerate(hashes)))

    def _has_hash(self, header: bytes, block_hash: bytes) -> bool:
        try:
            return self._hash_of(header) == block_hash
        except NodeError:
            return False

    def structure_is_sound(self) -> None:
        """Have SQLite check every page of the file. Errors: ChainCorrupt."""
        rows = self._select("PRAGMA integrity_check(1)")
        if [row[0] for row in rows] not in ([b"ok"], ["ok"]):
            raise self.corrupt("SQLite finds its structure damaged")

    def blocks_above(self, number: int) -> int:
        """Return how many blocks are stored above `number`."""
        return int(self._select("SELECT count(*) FROM block WHERE number > ?", number)[0][0])

    def sent_count(self) -> int:
        """Return how many sealed transactions the index holds."""
        return int(self._select("SELECT count(*) FROM sent")[0][0])

    def corrupt(self, what: str) -> ChainCorrupt:
        return ChainCorrupt(f"the chain in {self.path.parent} is damaged ({what}); put back a backup of that directory")

    def _configure(self) -> None:
        # A rollback journal and not WAL: at rest the chain is one file, and a damaged log cannot silently shorten it.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = TRUNCATE", "synchronous = EXTRA", "trusted_schema = OFF",
                       "cell_size_check = ON", "mmap_size = 0", "cache_size = -16000"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()

    def _pragma(self, name: str) -> int:
        return int(self._rows(f"PRAGMA {name}")[0][0])

    def _select(self, query: str, *values: object) -> list[Any]:
        with self._guard():
            return self._rows(query, *values)

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Hold the lock, and turn SQLite's errors into the chain's."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OverflowError) as error:
                raise self._typed(error) from error

    def _typed(self, error: Exception) -> ChainError:
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(code, int):
            return self.corrupt("a value has an impossible type") if not isinstance(error, sqlite3.ProgrammingError) \
                else ChainMissing(f"the chain in {self.path.parent} was closed; open it again")
        primary = code & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return ChainLocked(f"another process has {self.path} open; stop it, or use its RPC")
        if primary in _UNWRITABLE or (primary == sqlite3.SQLITE_IOERR and code not in _UNREADABLE_IO):
            return ChainUnwritable(f"cannot write {self.path} ({error}); free space or mend permissions, then try again")
        return self.corrupt(str(error).splitlines()[0] if str(error) else "unreadable")


def _digest(*parts: bytes) -> bytes:
    """Tell damage from data; not a commitment, the headers are."""
    return hashlib.blake2b(b"".join(len(part).to_bytes(8, "big") + part for part in parts), digest_size=16).digest()


def _parts(value: bytes) -> tuple[bytes, ...]:
    return tuple(part for part in strict_rlp.decode_list(value) if isinstance(part, bytes))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
