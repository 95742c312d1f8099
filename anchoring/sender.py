"""An account on a chain: transactions that are signed here and sent to the node. What the node answers is its word."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from eth_account import Account
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import TxParams, TxReceipt

from anchoring.errors import AnchoringError, ChainStands, Superseded
from contracts.calls import ContractRefused, dry_run

MINED_SECONDS = 120.0
_POLL_SECONDS = 0.2
_AGAIN_SECONDS = 5.0
# What geth, Besu and the embedded chain say where the number is taken: by these bytes, by others that wait, or by others that were mined.
_TAKEN = ("already known", "known transaction", "already imported", "replacement transaction underpriced", "nonce too low")
_PRICED = ("underpriced", "base fee", "gas price")
_PRICE = "set the node's least gas price to 0 and seal again; nothing is lost"
Found = TypeVar("Found")


class Sender:
    """`key` is a sealing key, 32 bytes; it never leaves this process."""

    def __init__(self, w3: Web3, key: bytes) -> None:
        self.w3, self._key = w3, key
        self.account = Account.from_key(key).address

    def nonce(self) -> int:
        """The number of the next transaction."""
        return self.w3.eth.get_transaction_count(self.account, "latest")

    def send(self, transaction: TxParams) -> TxReceipt:
        """Sign, send and await one transaction; its bytes are sent again as long as nobody mined it, for nodes forget.

        ContractRefused with the contract's reason where it reverts, Superseded where another one with its number was mined,
        AnchoringError where a node refuses it or, after MINED_SECONDS, where none mined it.
        """
        signed = Account.sign_transaction(dict(transaction), self._key)
        first, again = self.w3.eth.block_number, time.monotonic()

        def look() -> TxReceipt | None:
            nonlocal again
            if (found := self._receipt(signed.hash)) is None and time.monotonic() >= again:
                again = time.monotonic() + _AGAIN_SECONDS
                mined = self.nonce() > transaction["nonce"]
                if not mined:
                    self._offer(signed.raw_transaction)
                if (found := self._receipt(signed.hash)) is None and mined:
                    raise Superseded("another transaction of this institution was mined in the place of this one: run the command again")
            return found

        try:
            receipt = self.wait(look)
        except ChainStands as error:
            if self.w3.eth.block_number > first:
                raise ChainStands(f"the chain goes on, but the transaction was not mined in {MINED_SECONDS:.0f} s: {_PRICE}") from error
            raise
        if receipt["status"] != 1:
            dry_run(self.w3, transaction, self.account, receipt["blockNumber"] - 1)
            raise ContractRefused("the transaction failed when it was mined")
        return receipt

    def _offer(self, raw: bytes) -> None:
        """Send a signed transaction, unless a node has it, or another one with its number, of this institution: that is awaited."""
        try:
            self.w3.eth.send_raw_transaction(raw)
        except Web3Exception as error:
            said = str(error).lower()
            if any(words in said for words in _TAKEN):
                return
            reason = f"the chain did not take the transaction: {first_line(error)}"
            raise AnchoringError(f"{reason}; {_PRICE}" if any(words in said for words in _PRICED) else reason) from error

    def wait(self, look: Callable[[], Found | None]) -> Found:
        """Ask until there is an answer. ChainStands after MINED_SECONDS."""
        deadline = time.monotonic() + MINED_SECONDS
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise ChainStands(
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


def first_line(error: Exception) -> str:
    """What an error of web3.py says, cut to one line."""
    return (str(error).splitlines() or ["no reason given"])[0][:200]
