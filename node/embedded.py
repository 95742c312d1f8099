"""The embedded chain: one sealer, Clique headers, Berlin rules, zero gas price, one process at a time.

A geth with the same genesis accepts every block (tested against geth 1.13.15).
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from eth.abc import SignedTransactionAPI
from eth_hash.auto import keccak

from node import check, clique, execution, header, mpt, transactions
from node.errors import (
    ChainLocked,
    ChainMissing,
    ChainUnwritable,
    ClockBehind,
    HeaderInvalid,
    ProofInvalid,
    SealInvalid,
    WrongSealer,
)
from node.header import EMPTY_UNCLES_HASH, Header
from node.mpt import EMPTY_ROOT, NO_ACCOUNT, Account
from node.pool import Pool
from node.store import Block, Settings, Store

GAS_LIMIT = 30_000_000
MAX_CHAIN_ID = (1 << 53) - 1  # what a JSON number holds exactly
MAX_WAIT = 60.0
LOCK = "lock"


class EmbeddedChain:
    """An open chain. Every method may be called from several threads; a block that `seal` returned is durable.

    `clock` returns UTC seconds; `sleep` waits for the period. Close it, or use it as a context manager.
    """

    def __init__(self, directory: Path, store: Store, lock: int, key: bytes | None, clock: Callable[[], float],
                 sleep: Callable[[float], None]) -> None:
        self.directory = directory
        self.store = store
        self._lock_file = lock
        self._key = key
        self._clock = clock
        self._sleep = sleep
        self._sealing = threading.Lock()
        self._state = threading.RLock()
        self._pool = Pool()
        settings = store.settings()
        self.chain_id, self.period, self.epoch = settings.chain_id, settings.period, settings.epoch
        self.genesis, self.head, self.sealer = _check_ends(store, settings)
        if key is not None and clique.address_of(key) != self.sealer:
            raise WrongSealer(f"the key given does not seal the chain in {directory}; give that of 0x{self.sealer.hex()}")

    @classmethod
    def create(cls, path: Path, chain_id: int, sealer_key: bytes, clock: Callable[[], float], *, period: int = 1,
               epoch: int = clique.EPOCH, sleep: Callable[[float], None] = time.sleep) -> EmbeddedChain:
        """Create a chain in the directory `path`, made when it does not exist, and open it.

        `period` is the least number of seconds between blocks, `epoch` the distance between blocks that list the sealer.
        Errors: ChainExists, ChainLocked, ChainUnwritable, WrongSealer for an invalid key.
        """
        if not 0 < chain_id <= MAX_CHAIN_ID or period < 1 or epoch < 1:
            raise ValueError(f"chain id 1 to {MAX_CHAIN_ID}, period and epoch at least 1")
        try:
            genesis = genesis_header(clique.address_of(sealer_key), int(clock()))
        except SealInvalid as error:
            raise WrongSealer(str(error)) from error
        digest = header.block_hash(genesis)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ChainUnwritable(f"cannot make the directory {path} ({error.strerror}); choose another") from error
        lock = _lock(path)
        try:
            block = Block(0, digest, header.encode(genesis), (), ())
            store = Store.create(path, Settings(chain_id, period, epoch, digest, 0, digest), block)
        except BaseException:
            os.close(lock)
            raise
        return cls._adopt(path, store, lock, sealer_key, clock, sleep)

    @classmethod
    def open(cls, path: Path, sealer_key: bytes | None, clock: Callable[[], float], *,
             sleep: Callable[[float], None] = time.sleep) -> EmbeddedChain:
        """Open the chain in the directory `path`; without `sealer_key` it can be read but not extended.

        Genesis, head and the head's parent and seal are checked. Errors: ChainMissing, ChainLocked, ChainCorrupt,
        ChainUnwritable, WrongSealer.
        """
        if not path.is_dir():
            raise ChainMissing(f"there is no chain in {path}; create one with init, or name another directory")
        lock = _lock(path)
        try:
            store = Store.open(path)
        except BaseException:
            os.close(lock)
            raise
        return cls._adopt(path, store, lock, sealer_key, clock, sleep)

    @classmethod
    def _adopt(cls, path: Path, store: Store, lock: int, key: bytes | None, clock: Callable[[], float],
               sleep: Callable[[float], None]) -> EmbeddedChain:
        try:
            return cls(path, store, lock, key, clock, sleep)
        except BaseException:
            store.close()
            os.close(lock)
            raise

    def __enter__(self) -> EmbeddedChain:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for a block being sealed, then release the file and the lock. May be called twice."""
        with self._sealing, self._state:
            self.store.close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    # sending and sealing

    @property
    def can_seal(self) -> bool:
        return self._key is not None

    def submit(self, raw: bytes) -> bytes:
        """Take a signed transaction into the pool and return its 32-byte hash. The pool is not durable.

        Errors: TransactionRejected; WrongSealer when this process cannot seal.
        """
        if self._key is None:
            raise WrongSealer("this process opened the chain without the sealer's key and takes no transactions; give the key")
        transaction = transactions.decode(raw, self.chain_id, GAS_LIMIT)
        with self._state:
            account = self.account(transaction.sender, self.head)
            self._pool.add(transaction, len(raw), account.nonce, account.balance)
        return bytes(transaction.hash)

    def waiting(self, transaction_hash: bytes) -> SignedTransactionAPI | None:
        """Return a transaction that waits in the pool, or None."""
        with self._state:
            return self._pool.get(transaction_hash)

    def pooled(self) -> int:
        """Return how many transactions wait for a block."""
        with self._state:
            return len(self._pool)

    def forget(self) -> None:
        """Empty the pool. Whoever sent what was in it sends it again."""
        with self._state:
            self._pool = Pool()

    def next_nonce(self, address: bytes) -> int:
        """Return the nonce that the next transaction of the 20-byte `address` must have, with those waiting counted."""
        with self._state:
            return self._pool.next_nonce(address, self.account(address, self.head).nonce)

    def seal(self) -> Header | None:
        """Seal one block with what waits and fits, and return its header once it is durable; None when nothing can be sealed.

        Its time is the clock's, at least one period after its parent and at most a second ahead of the clock: until then
        this waits. Errors: ClockBehind when that would take more than a minute; ChainUnwritable and ChainCorrupt, after
        which the pool is as it was; WrongSealer.
        """
        if self._key is None:
            raise WrongSealer("this process opened the chain without the sealer's key and cannot seal; give the key")
        with self._sealing:
            if not self.pooled():
                return None
            timestamp = self._wait_for_turn()
            with self._state:
                candidates = self._pool.waiting()
            parent, number = self.head, self.head.number + 1
            around = execution.Surroundings(self.chain_id, number, timestamp, clique.IN_TURN, GAS_LIMIT, self.sealer,
                                            lambda: self._ancestors(number))
            outcome = execution.execute(self.store, parent.state_root, around, candidates)
            if not outcome.transactions:
                with self._state:
                    self._pool.remove((), outcome.refused)
                return None
            sealed = clique.seal(
                Header(
                    parent_hash=header.block_hash(parent),
                    uncles_hash=EMPTY_UNCLES_HASH,
                    coinbase=bytes(20),
                    state_root=outcome.state_root,
                    transactions_root=outcome.transactions_root,
                    receipts_root=outcome.receipts_root,
                    bloom=outcome.bloom,
                    difficulty=clique.IN_TURN,
                    number=number,
                    gas_limit=GAS_LIMIT,
                    gas_used=outcome.gas_used,
                    timestamp=timestamp,
                    extra_data=clique.unsealed_extra(number, [self.sealer], self.epoch),
                    mix_hash=bytes(32),
                    nonce=bytes(8),
                ),
                self._key,
            )
            clique.verify_seal(sealed, [self.sealer], epoch=self.epoch)
            block = Block(
                number,
                header.block_hash(sealed),
                header.encode(sealed),
                tuple(transaction.encode() for transaction in outcome.transactions),
                tuple(receipt.encode() for receipt in outcome.receipts),
            )
            self.store.append(block, [bytes(transaction.hash) for transaction in outcome.transactions], outcome.nodes)
            with self._state:
                self.head = sealed
                self._pool.remove(outcome.transactions, outcome.refused)
            return sealed

    def _wait_for_turn(self) -> int:
        earliest = self.head.timestamp + self.period
        behind = earliest - self._clock() - 1
        if behind > MAX_WAIT:
            raise ClockBehind(f"the clock is {math.ceil(behind)} s behind the last block; set the clock, then try again")
        while (behind := earliest - self._clock() - 1) > 0:
            self._sleep(min(behind, 1.0))
        return max(int(self._clock()), earliest)

    def _ancestors(self, number: int) -> Iterator[bytes]:
        for ancestor in range(number - 1, max(number - 257, -1), -1):
            yield self.store.block_hash(ancestor)

    # reading

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

    def check(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Check everything that is stored: structure, every block, every index entry, every node of every state.

        `progress` is called with the blocks done and their number. Memory stays flat. Errors: ChainCorrupt.
        """
        check.check(self.store, self.sealer, progress)

    def _around(self, at: Header) -> execution.Surroundings:
        sealer = self.sealer if at.number else bytes(20)
        return execution.Surroundings(self.chain_id, at.number, at.timestamp, at.difficulty, GAS_LIMIT, sealer,
                                      lambda: self._ancestors(at.number))

    def _find(self, root: bytes, key: bytes, fetch: Callable[[bytes], bytes]) -> bytes | None:
        try:
            return mpt.find(root, key, fetch)
        except ProofInvalid as error:
            raise self.store.corrupt("a state trie is malformed") from error


def genesis_header(sealer: bytes, timestamp: int) -> Header:
    """Return the first header of a chain with the one 20-byte `sealer`, an empty state and this time (UTC seconds)."""
    return Header(
        parent_hash=bytes(32),
        uncles_hash=EMPTY_UNCLES_HASH,
        coinbase=bytes(20),
        state_root=EMPTY_ROOT,
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        bloom=bytes(256),
        difficulty=1,
        number=0,
        gas_limit=GAS_LIMIT,
        gas_used=0,
        timestamp=timestamp,
        extra_data=clique.unsealed_extra(0, [sealer]),
        mix_hash=bytes(32),
        nonce=bytes(8),
    )


def _check_ends(store: Store, settings: Settings) -> tuple[Header, Header, bytes]:
    """Return genesis, head and sealer after checking that they, the settings and the head's parent fit together."""

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise store.corrupt(what)

    try:
        first, last = store.block(0), store.block(settings.head)
        genesis, head = header.decode(first.header), header.decode(last.header)
        signers: Sequence[bytes] = clique.parse_extra(genesis.extra_data).signers
        need(first.hash == settings.genesis and genesis.number == 0 and len(signers) == 1, "the genesis is not the one it had")
        need(last.hash == settings.head_hash and head.number == settings.head, "the head is not the one it had")
        need(store.blocks_above(settings.head) == 0, "there are blocks above the head")
        if head.number:
            need(head.parent_hash == store.block(settings.head - 1).hash, "the head does not follow its parent")
            clique.verify_seal(head, signers, epoch=settings.epoch)
        need(head.state_root == EMPTY_ROOT or bool(store.node(head.state_root)), "the head has no state")
    except (HeaderInvalid, SealInvalid) as error:
        raise store.corrupt(str(error)) from error
    return genesis, head, signers[0]


def _lock(directory: Path) -> int:
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
