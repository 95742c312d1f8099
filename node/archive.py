"""A stored chain as it is read: headers, blocks, every state that it ever had, and calls on them."""

from __future__ import annotations

import fcntl
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eth_hash.auto import keccak

from node import execution, header, mpt
from node.errors import ChainLocked, ChainUnwritable, HeaderInvalid, ProofInvalid
from node.header import Header
from node.mpt import NO_ACCOUNT, Account
from node.store import Store

LOCK = "lock"


class Archive(ABC):
    """An open chain, of which nothing is ever pruned. Every method may be called from several threads.

    Whoever opened the directory gives the descriptor of its `lock`, which is held until `close`.
    """

    def __init__(self, directory: Path, store: Store, lock: int, genesis: Header, head: Header) -> None:
        self.directory, self.store, self.genesis, self.head = directory, store, genesis, head
        settings = store.settings()
        self.chain_id, self.period, self.epoch = settings.chain_id, settings.period, settings.epoch
        self._lock_file = lock
        self._state = threading.RLock()

    def close(self) -> None:
        """Release the file and the lock. May be called twice."""
        with self._state:
            self.store.close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Within it the head stays where it is."""
        with self._state:
            yield

    @abstractmethod
    def fee_recipient(self, at: Header) -> bytes:
        """The 20-byte account that contracts see as the coinbase of a block."""

    def more_of(self, at: Header) -> dict[str, str]:
        """What JSON-RPC shows of a block beside its header and content."""
        return {}

    def header(self, number: int) -> Header:
        """Return the header of block `number`, at most the head's. Errors: ChainCorrupt."""
        if number == self.head.number:
            return self.head
        return self.read_header(next(self.store.headers(number, number))[1])

    def read_header(self, encoded: bytes) -> Header:
        try:
            return header.decode(encoded)
        except HeaderInvalid as error:
            raise self.store.corrupt("a header is malformed") from error

    def account(self, address: bytes, at: Header) -> Account:
        """Return the account at the 20-byte `address` in the state after block `at`. Errors: ChainCorrupt."""
        value = self._find(at.state_root, keccak(address), self.store.node)
        return NO_ACCOUNT if value is None else mpt.decode_account(value)

    def storage(self, address: bytes, slot: bytes, at: Header) -> int:
        """Return what the 32-byte `slot` of `address` holds after block `at`; 0 when nothing. Errors: ChainCorrupt."""
        value = self._find(self.account(address, at).storage_root, keccak(slot), self.store.node)
        return 0 if value is None else mpt.decode_storage(value)

    def code(self, address: bytes, at: Header) -> bytes:
        """Return the contract's code after block `at`; empty when there is none. Errors: ChainCorrupt."""
        code_hash = self.account(address, at).code_hash
        return b"" if code_hash == mpt.EMPTY_CODE_HASH else self.store.node(code_hash)

    def prove(self, root: bytes, key: bytes) -> list[bytes]:
        """Return the nodes from `root` towards `key` (an address or a slot), which `node.mpt` verifies. Errors: ChainCorrupt."""
        visited: list[bytes] = []

        def fetch(node_hash: bytes) -> bytes:
            visited.append(self.store.node(node_hash))
            return visited[-1]

        self._find(root, keccak(key), fetch)
        return visited

    def call(self, call: execution.Call, at: Header) -> bytes:
        """Run a call on the state after block `at` and return its output. Errors: CallReverted, CallFailed, ChainCorrupt."""
        return execution.simulate(self.store, at.state_root, self._around(at), call)[0]

    def estimate_gas(self, call: execution.Call, at: Header) -> int:
        """Return a gas limit with which `call` succeeds on the state after block `at`. Errors: as `call`."""
        return execution.estimate_gas(self.store, at.state_root, self._around(at), call)

    def _around(self, at: Header) -> execution.Surroundings:
        return execution.Surroundings(self.chain_id, at.number, at.timestamp, at.difficulty, at.gas_limit, self.fee_recipient(at),
                                      lambda: self.ancestors(at.number), at.base_fee_per_gas)

    def ancestors(self, number: int) -> Iterator[bytes]:
        """The hashes of the up to 256 blocks before block `number`, the last one first."""
        for ancestor in range(number - 1, max(number - 257, -1), -1):
            yield self.store.block_hash(ancestor)

    def _find(self, root: bytes, key: bytes, fetch: Callable[[bytes], bytes]) -> bytes | None:
        try:
            return mpt.find(root, key, fetch)
        except ProofInvalid as error:
            raise self.store.corrupt("a state trie is malformed") from error


def ends(store: Store) -> tuple[Header, Header]:
    """The first and the last header, after checking that they, the settings and the head's parent fit together. Errors: ChainCorrupt."""

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise store.corrupt(what)

    settings = store.settings()
    first, last = store.block(0), store.block(settings.head)
    try:
        genesis, head = header.decode(first.header), header.decode(last.header)
    except HeaderInvalid as error:
        raise store.corrupt(str(error)) from error
    need(first.hash == settings.genesis and genesis.number == 0, "the genesis is not the one it had")
    need(last.hash == settings.head_hash and head.number == settings.head, "the head is not the one it had")
    need(store.blocks_above(settings.head) == 0, "there are blocks above the head")
    if head.number:
        need(head.parent_hash == store.block(settings.head - 1).hash, "the head does not follow its parent")
    need(head.state_root == mpt.EMPTY_ROOT or bool(store.node(head.state_root)), "the head has no state")
    return genesis, head


def lock(directory: Path) -> int:
    """Return a descriptor that holds the directory's lock until it is closed. Errors: ChainLocked, ChainUnwritable."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ChainUnwritable(f"cannot open {directory / LOCK} ({error.strerror}); mend the permissions") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ChainLocked(f"process {holder} has the chain in {directory} open; wait, stop it, or use its RPC") from error
    except OSError as error:
        os.close(descriptor)
        raise ChainUnwritable(f"cannot lock {directory} ({error.strerror}); use a local disk") from error
    with suppress(OSError):  # a courtesy to whoever is refused; a full disk must not keep the chain from opening
        os.pwrite(descriptor, f"{os.getpid():<20}".encode(), 0)
    return descriptor
