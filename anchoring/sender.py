"""An account on a chain: transactions that are signed here and sent to the node. What the node answers is its word."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from coincurve import PrivateKey
from eth_account import Account
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import TxParams, TxReceipt

from anchoring.errors import AnchoringError
from contracts.calls import ContractRefused, dry_run

MINED_SECONDS = 120.0
_POLL_SECONDS = 0.2
Found = TypeVar("Found")


class Sender:
    """`key` is a sealing key, 32 bytes; it never leaves this process."""

    def __init__(self, w3: Web3, key: bytes) -> None:
        self.w3, self._key = w3, key
        self.account = Account.from_key(key).address

    def in_flight(self) -> bool:
        """Whether a transaction of this institution waits to be mined."""
        count = self.w3.eth.get_transaction_count
        return count(self.account, "pending") > count(self.account, "latest")

    def nonce(self) -> int:
        """The number of the next transaction."""
        return self.w3.eth.get_transaction_count(self.account, "latest")

    def send(self, transaction: TxParams) -> TxReceipt:
        """Sign, send and await one transaction. ContractRefused with the contract's reason where it reverts."""
        signed = Account.sign_transaction(dict(transaction), self._key)
        try:
            digest = self.w3.eth.send_raw_transaction(signed.raw_transaction)
        except Web3Exception as error:
            # Another node may have it from the one that it was sent to first.
            if "already known" not in str(error).lower():
                raise AnchoringError(f"the chain did not take the transaction: {first_line(error)}") from error
            digest = signed.hash
        receipt = self.wait(lambda: self._receipt(digest))
        if receipt["status"] != 1:
            dry_run(self.w3, transaction, self.account, receipt["blockNumber"] - 1)
            raise ContractRefused("the transaction failed when it was mined")
        return receipt

    def wait(self, look: Callable[[], Found | None]) -> Found:
        """Ask until there is an answer. AnchoringError after MINED_SECONDS."""
        deadline = time.monotonic() + MINED_SECONDS
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise AnchoringError(
                    f"the chain did not go on for {MINED_SECONDS:.0f} s: look after the node, then seal again; nothing is lost"
                )
            time.sleep(_POLL_SECONDS)
        return found

    def _receipt(self, digest: bytes) -> TxReceipt | None:
        try:
            return self.w3.eth.get_transaction_receipt(digest)  # type: ignore[arg-type]
        except TransactionNotFound:
            return None
        except Web3RPCError as error:
            # What a geth says of a transaction that it does not know yet, while it looks through its blocks after a start.
            if "indexing is in progress" in str(error):
                return None
            raise

    def sign(self, digest: bytes) -> bytes:
        """A recoverable secp256k1 signature, 65 bytes, of a 32-byte digest by the sealing key."""
        return PrivateKey(self._key).sign_recoverable(digest, hasher=None)


def first_line(error: Exception) -> str:
    """What an error of web3.py says, cut to one line."""
    return (str(error).splitlines() or ["no reason given"])[0][:200]
