"""Transactions that wait for a block, in memory.

A transaction is taken only when its nonce is its sender's next one, so that the order of arrival always is an order in which
all of them can be executed. The pool is lost with the process: whoever publishes repeats until there is a receipt.
"""

from __future__ import annotations

from collections.abc import Iterable

from eth.abc import SignedTransactionAPI

from node.errors import TransactionRejected
from node.transactions import cost

MAX_TRANSACTIONS = 4096
MAX_BYTES = 16 << 20


class Pool:
    """A bounded queue. Not locked: the chain that owns it is."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, tuple[SignedTransactionAPI, int]] = {}
        self._next_nonce: dict[bytes, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def get(self, transaction_hash: bytes) -> SignedTransactionAPI | None:
        entry = self._waiting.get(transaction_hash)
        return entry[0] if entry else None

    def waiting(self) -> list[SignedTransactionAPI]:
        """Return all that wait, in an order in which they can be executed."""
        return [transaction for transaction, _ in self._waiting.values()]

    def next_nonce(self, sender: bytes, sealed: int) -> int:
        """Return the nonce that `sender` must use next, when `sealed` is the one its account has on the chain."""
        return self._next_nonce.get(sender, sealed)

    def add(self, transaction: SignedTransactionAPI, size: int, nonce: int, balance: int) -> None:
        """Take a decoded transaction of `size` bytes, whose sender has this nonce and balance (wei) on the chain.

        Errors: TransactionRejected for a known one, a nonce that is not the next, lacking funds, a full pool.
        """
        if bytes(transaction.hash) in self._waiting:
            raise TransactionRejected("already known")
        expected = self.next_nonce(transaction.sender, nonce)
        if transaction.nonce < nonce:
            raise TransactionRejected(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.nonce < expected:
            raise TransactionRejected(f"replacement transaction underpriced: nonce {transaction.nonce} is taken, next {expected}")
        if transaction.nonce > expected:
            raise TransactionRejected(f"nonce too high: next nonce {expected}, tx nonce {transaction.nonce}")
        if cost(transaction) > balance:
            raise TransactionRejected("insufficient funds for gas * price + value: use gas price 0 and value 0")
        if len(self._waiting) >= MAX_TRANSACTIONS or self._bytes + size > MAX_BYTES:
            raise TransactionRejected("txpool is full: wait for the next block, then send again")
        self._waiting[bytes(transaction.hash)] = (transaction, size)
        self._next_nonce[transaction.sender] = expected + 1
        self._bytes += size

    def remove(self, sealed: Iterable[SignedTransactionAPI], refused: Iterable[SignedTransactionAPI]) -> None:
        """Drop what was sealed, and what was refused with everything its sender has waiting."""
        lost = {transaction.sender for transaction in refused}
        gone = {bytes(transaction.hash) for transaction in sealed}
        self._waiting = {
            key: entry for key, entry in self._waiting.items() if key not in gone and entry[0].sender not in lost
        }
        still = {transaction.sender for transaction, _ in self._waiting.values()}
        self._next_nonce = {sender: nonce for sender, nonce in self._next_nonce.items() if sender in still}
        self._bytes = sum(size for _, size in self._waiting.values())
