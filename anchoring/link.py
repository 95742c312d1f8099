"""A home's link to its chain: who it is there, what the chain has of its journal, transactions that are signed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from coincurve import PrivateKey
from eth_account import Account
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import TxParams, TxReceipt

from anchoring.errors import AnchoringError
from careseal import CaresealError
from contracts.calls import ChainCheckpoint, ChainHead, Consortium, ContractRefused, Journals, dry_run
from ledger.home import Settings
from ledger.journal import Checkpoint
from node.client import connect

MINED_SECONDS = 120.0
_POLL_SECONDS = 0.2
Found = TypeVar("Found")


class Link:
    """The chain as one institution uses it. `key` is its sealing key, 32 bytes; the key never leaves this process."""

    def __init__(self, w3: Web3, consortium: str, journals: str, institution: int, key: bytes) -> None:
        self.w3, self.institution = w3, institution
        self.consortium, self.journals = Consortium(w3, consortium), Journals(w3, journals)
        self._key = key
        self.account = Account.from_key(key).address

    def head(self) -> ChainHead:
        """Where the chain says that this institution's journal stands."""
        return self.journals.head(self.institution)

    def check(self, chain_id: int) -> None:
        """Raise AnchoringError unless this is the home's chain, with the contracts that this program was made for."""
        found = self.w3.eth.chain_id
        if found != chain_id:
            raise AnchoringError(f"the chain has id {found}, this home belongs to {chain_id}: check the address of the chain")
        self.consortium.check_code()
        self.journals.check_code()

    def find(self, generation: int, size: int) -> ChainCheckpoint | None:
        """The checkpoint of exactly `size` entries, found in logarithmically many calls."""
        low, high = 0, self.journals.count(self.institution, generation)
        while low < high:
            middle = (low + high) // 2
            found = self.journals.checkpoint(self.institution, generation, middle)
            if found.size == size:
                return found
            low, high = (middle + 1, high) if found.size < size else (low, middle)
        return None

    def anchored(self, checkpoint: Checkpoint, on_chain: ChainCheckpoint) -> Checkpoint:
        """The checkpoint with block, time and transaction as the chain has them."""
        block = self.w3.eth.get_block(on_chain.block)
        tx = None
        for digest in block["transactions"]:
            receipt = self.w3.eth.get_transaction_receipt(digest)  # type: ignore[arg-type]
            if self.journals.published(receipt) == on_chain:
                tx = Web3.to_hex(receipt["transactionHash"])
        return replace(checkpoint, tx=tx, block=on_chain.block, block_hash=Web3.to_hex(block["hash"]), block_time=block["timestamp"])

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
            raise AnchoringError(f"the chain did not take the transaction: {_first_line(error)}") from error
        receipt = self.wait(lambda: self._receipt(digest))
        if receipt["status"] != 1:
            dry_run(self.w3, transaction, self.account, receipt["blockNumber"] - 1)
            raise ContractRefused("the transaction failed when it was mined")
        return receipt

    def wait(self, look: Callable[[], Found | None], seconds: float = MINED_SECONDS) -> Found:
        """Ask until there is an answer. AnchoringError after `seconds`."""
        deadline = time.monotonic() + seconds
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise AnchoringError(f"the chain mined no block for {seconds:.0f} s: look after the node, then seal again; nothing is lost")
            time.sleep(_POLL_SECONDS)
        return found

    def _receipt(self, digest: bytes) -> TxReceipt | None:
        try:
            return self.w3.eth.get_transaction_receipt(digest)  # type: ignore[arg-type]
        except TransactionNotFound:
            return None

    def sign(self, digest: bytes) -> bytes:
        """A recoverable secp256k1 signature, 65 bytes, of a 32-byte digest by the sealing key."""
        return PrivateKey(self._key).sign_recoverable(digest, hasher=None)


@contextmanager
def open_link(settings: Settings, key: bytes, sealer_key: Callable[[], bytes] | None, clock: Callable[[], float]) -> Iterator[Link]:
    """Connect to the home's chain and make sure that it is the right one. Errors of any layer below come as one-line CaresealErrors."""
    if not settings.institution:
        raise AnchoringError("this home is no member of its consortium yet: run careseal init again, as the first time")
    with connect(settings.chain, sealer_key, clock) as w3, one_line_errors():
        link = Link(w3, settings.consortium, settings.journals, settings.institution, key)
        link.check(settings.chain_id)
        yield link


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what web3.py raises for odd answers of a node into an AnchoringError."""
    try:
        yield
    except CaresealError:
        raise
    except Web3Exception as error:
        raise AnchoringError(f"the chain's node gives no usable answer: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:200]
