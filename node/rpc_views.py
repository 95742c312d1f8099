"""Blocks, transactions, receipts and logs as JSON-RPC shows them. Source: Ethereum execution-apis, schemas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from eth.abc import ReceiptAPI, SignedTransactionAPI
from eth.vm.forks.london.receipts import LondonReceiptBuilder
from eth.vm.forks.london.transactions import LondonTransactionBuilder
from eth_hash.auto import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node import strict_rlp
from node.archive import Archive
from node.header import Header
from node.store import Block

View: TypeAlias = dict[str, Any]
_DYNAMIC = 2  # the type of a transaction that names a fee and a tip, EIP-1559


@dataclass(frozen=True, slots=True)
class Log:
    """One log entry and where it stands: `index` counts the logs of the block, `position` the transactions."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    position: int
    index: int


class SealedBlock:
    """A stored block, decoded. Errors: ChainCorrupt when a part cannot be."""

    def __init__(self, chain: Archive, number: int) -> None:
        self._chain = chain
        self.stored: Block = chain.store.block(number)
        self.header: Header = chain.read_header(self.stored.header)
        try:
            sent, receipts = self.stored.transactions, self.stored.receipts
            self.transactions: list[SignedTransactionAPI] = [LondonTransactionBuilder.decode(raw) for raw in sent]
            self.receipts: list[ReceiptAPI] = [LondonReceiptBuilder.decode(raw) for raw in receipts]
        except (RLPException, ValidationError) as error:
            raise chain.store.corrupt(f"block {number} holds something else than transactions") from error

    def logs(self) -> Iterator[Log]:
        index = 0
        for position, receipt in enumerate(self.receipts):
            for log in receipt.logs:
                topics = tuple(topic.to_bytes(32, "big") for topic in log.topics)
                yield Log(bytes(log.address), topics, bytes(log.data), position, index)
                index += 1

    def view(self, full: bool) -> View:
        """Return the block with its transactions in full or as hashes."""
        own = self.header
        return {
            "number": hex(own.number),
            "hash": text(self.stored.hash),
            "parentHash": text(own.parent_hash),
            "nonce": text(own.nonce),
            "mixHash": text(own.mix_hash),
            "sha3Uncles": text(own.uncles_hash),
            "logsBloom": text(own.bloom),
            "transactionsRoot": text(own.transactions_root),
            "stateRoot": text(own.state_root),
            "receiptsRoot": text(own.receipts_root),
            "miner": text(own.coinbase),
            "difficulty": hex(own.difficulty),
            **self._chain.more_of(own),
            "extraData": text(own.extra_data),
            "size": hex(self._size()),
            "gasLimit": hex(own.gas_limit),
            "gasUsed": hex(own.gas_used),
            **({} if own.base_fee_per_gas is None else {"baseFeePerGas": hex(own.base_fee_per_gas)}),
            "timestamp": hex(own.timestamp),
            "uncles": [],
            "transactions": [
                transaction_view(transaction, self, position) if full else text(transaction.hash)
                for position, transaction in enumerate(self.transactions)
            ],
        }

    def receipt_view(self, position: int) -> View:
        """Return the receipt of the transaction at `position`."""
        transaction, receipt = self.transactions[position], self.receipts[position]
        before = self.receipts[position - 1].gas_used if position else 0
        sender = bytes(transaction.sender)
        created = None
        if not transaction.to:
            created = keccak(strict_rlp.encode([sender, strict_rlp.from_int(transaction.nonce)]))[12:]
        return {
            "transactionHash": text(transaction.hash),
            "transactionIndex": hex(position),
            "blockHash": text(self.stored.hash),
            "blockNumber": hex(self.header.number),
            "from": text(sender),
            "to": text(transaction.to) if transaction.to else None,
            "contractAddress": None if created is None else text(created),
            "cumulativeGasUsed": hex(receipt.gas_used),
            "gasUsed": hex(receipt.gas_used - before),
            "effectiveGasPrice": hex(_price(transaction, self)),
            "status": "0x1" if receipt.state_root == b"\x01" else "0x0",
            "type": hex(transaction.type_id or 0),
            "logsBloom": text(receipt.bloom.to_bytes(256, "big")),
            "logs": [self.log_view(log) for log in self.logs() if log.position == position],
        }

    def log_view(self, log: Log) -> View:
        return {
            "address": text(log.address),
            "topics": [text(topic) for topic in log.topics],
            "data": text(log.data),
            "blockNumber": hex(self.header.number),
            "blockHash": text(self.stored.hash),
            "transactionHash": text(self.transactions[log.position].hash),
            "transactionIndex": hex(log.position),
            "logIndex": hex(log.index),
            "removed": False,
        }

    def _size(self) -> int:
        """Return how long the block is in RLP: header, transactions, uncles."""
        bodies = sum(len(raw) if raw[0] >= 0xC0 else len(strict_rlp.encode(raw)) for raw in self.stored.transactions)
        return _framed(len(self.stored.header) + _framed(bodies) + 1)


def transaction_view(transaction: SignedTransactionAPI, block: SealedBlock | None, position: int) -> View:
    """Return a transaction; `block` is None while it waits."""
    chain_id = transaction.chain_id
    view: View = {
        "hash": text(transaction.hash),
        "blockHash": None if block is None else text(block.stored.hash),
        "blockNumber": None if block is None else hex(block.header.number),
        "transactionIndex": None if block is None else hex(position),
        "from": text(transaction.sender),
        "to": text(transaction.to) if transaction.to else None,
        "nonce": hex(transaction.nonce),
        "gas": hex(transaction.gas),
        "gasPrice": hex(_price(transaction, block)),
        "value": hex(transaction.value),
        "input": text(transaction.data),
        "type": hex(transaction.type_id or 0),
        "chainId": None if chain_id is None else hex(chain_id),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }
    if transaction.type_id == _DYNAMIC:
        view["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        view["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    if transaction.type_id:
        view["v"] = view["yParity"] = hex(transaction.y_parity)
        view["accessList"] = [
            {"address": text(account), "storageKeys": [text(key.to_bytes(32, "big")) for key in keys]}
            for account, keys in transaction.access_list
        ]
    else:
        view["v"] = hex((chain_id or 0) * 2 + 35 + transaction.y_parity)
    return view


def _price(transaction: SignedTransactionAPI, block: SealedBlock | None) -> int:
    """What is paid for a unit of gas, in wei. Source: EIP-1559."""
    fee = None if block is None else block.header.base_fee_per_gas
    return min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas + (fee or 0))


def text(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def _framed(length: int) -> int:
    """Return how long a list of `length` bytes is with its prefix."""
    return length + (1 if length < 56 else 1 + (length.bit_length() + 7) // 8)
