"""The embedded chain: one sealer, Clique headers, Berlin rules, zero gas price, one process at a time.

A geth with the same genesis accepts every block (tested against geth 1.13.15).
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from eth.abc import SignedTransactionAPI

from node import check, clique, execution, header, transactions
from node.archive import Archive, ends, lock
from node.errors import ChainMissing, ChainUnwritable, ClockBehind, SealInvalid, WrongSealer
from node.header import EMPTY_UNCLES_HASH, Header
from node.mpt import EMPTY_ROOT
from node.pool import Pool
from node.store import Block, Settings, Store

GAS_LIMIT = 30_000_000
MAX_CHAIN_ID = (1 << 53) - 1  # what a JSON number holds exactly
MAX_WAIT = 60.0


class EmbeddedChain(Archive):
    """An open chain. Every method may be called from several threads; a block that `seal` returned is durable.

    `clock` returns UTC seconds; `sleep` waits for the period. Close it, or use it as a context manager.
    """

    def __init__(self, directory: Path, store: Store, lock: int, key: bytes | None, clock: Callable[[], float],
                 sleep: Callable[[float], None]) -> None:
        genesis, head = ends(store)
        self.sealer = _sealer(store, genesis, head)
        super().__init__(directory, store, lock, genesis, head)
        self._key, self._clock, self._sleep = key, clock, sleep
        self._sealing = threading.Lock()
        self._pool = Pool()
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
        descriptor = lock(path)
        try:
            block = Block(0, digest, header.encode(genesis), (), ())
            store = Store.create(path, Settings(chain_id, period, epoch, digest, 0, digest), block)
        except BaseException:
            os.close(descriptor)
            raise
        return cls._adopt(path, store, descriptor, sealer_key, clock, sleep)

    @classmethod
    def open(cls, path: Path, sealer_key: bytes | None, clock: Callable[[], float], *,
             sleep: Callable[[float], None] = time.sleep) -> EmbeddedChain:
        """Open the chain in the directory `path`; without `sealer_key` it can be read but not extended.

        Genesis, head and the head's parent and seal are checked. Errors: ChainMissing, ChainLocked, ChainCorrupt,
        ChainUnwritable, WrongSealer.
        """
        if not path.is_dir():
            raise ChainMissing(f"there is no chain in {path}; create one with init, or name another directory")
        descriptor = lock(path)
        try:
            store = Store.open(path)
        except BaseException:
            os.close(descriptor)
            raise
        return cls._adopt(path, store, descriptor, sealer_key, clock, sleep)

    @classmethod
    def _adopt(cls, path: Path, store: Store, descriptor: int, key: bytes | None, clock: Callable[[], float],
               sleep: Callable[[float], None]) -> EmbeddedChain:
        try:
            return cls(path, store, descriptor, key, clock, sleep)
        except BaseException:
            store.close()
            os.close(descriptor)
            raise

    def __enter__(self) -> EmbeddedChain:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for a block being sealed, then release the file and the lock. May be called twice."""
        with self._sealing:
            super().close()

    def fee_recipient(self, at: Header) -> bytes:
        return self.sealer if at.number else bytes(20)

    def more_of(self, at: Header) -> dict[str, str]:
        return {"totalDifficulty": hex(1 + clique.IN_TURN * at.number)}

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
                                            lambda: self.ancestors(number))
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

    def check(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Check everything that is stored: structure, every block, every index entry, every node of every state.

        `progress` is called with the blocks done and their number. Memory stays flat. Errors: ChainCorrupt.
        """
        check.check(self.store, self.sealer, progress)


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


def _sealer(store: Store, genesis: Header, head: Header) -> bytes:
    """The one account that seals the chain, after checking that it sealed the head. Errors: ChainCorrupt."""
    try:
        signers = clique.parse_extra(genesis.extra_data).signers
        if len(signers) != 1:
            raise store.corrupt("the genesis does not name one sealer")
        if head.number:
            clique.verify_seal(head, signers, epoch=store.settings().epoch)
    except SealInvalid as error:
        raise store.corrupt(str(error)) from error
    return signers[0]
