"""JSON-RPC over a stored chain, for use within the process and over HTTP.

Source: JSON-RPC 2.0; Ethereum execution-apis; EIP-1474 for error codes; EIP-1186 for eth_getProof.
"""

from __future__ import annotations

from collections.abc import Callable

from eth_bloom.bloom import BloomFilter

from careseal import __version__
from node import rpc_params
from node.archive import Archive
from node.embedded import EmbeddedChain
from node.errors import RpcError
from node.json_rpc import SERVER_ERROR, JsonRpc, Method
from node.mpt import EMPTY_ROOT
from node.rpc_params import LogFilter
from node.rpc_views import Log, SealedBlock, View, text, transaction_view

MAX_LOGS = 10_000
MAX_LOG_RANGE = 50_000
MAX_PROOF_SLOTS = 1024


class ReadRpc(JsonRpc):
    """Answers requests about what is on a chain, one after the other, and about nothing else."""

    def __init__(self, chain: Archive) -> None:
        self._chain = chain
        super().__init__(self._table())

    def _table(self) -> dict[str, Method]:
        chain = self._chain
        return {
            "web3_clientVersion": lambda: f"careseal/{__version__}",
            "net_version": lambda: str(chain.chain_id),
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_blockNumber": lambda: hex(chain.head.number),
            "eth_syncing": lambda: False,
            "eth_gasPrice": lambda: "0x0",
            "eth_getBalance": self._balance,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionCount": self._nonce,
            "eth_call": self._eth_call,
            "eth_estimateGas": self._estimate_gas,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockReceipts": self._receipts,
            "eth_getLogs": self._logs,
            "eth_getProof": self._proof,
        }

    def _balance(self, address: object, block: object = "latest") -> str:
        return hex(self._chain.account(rpc_params.address(address), rpc_params.block(block, self._chain)).balance)

    def _code(self, address: object, block: object = "latest") -> str:
        return text(self._chain.code(rpc_params.address(address), rpc_params.block(block, self._chain)))

    def _storage(self, address: object, slot: object, block: object = "latest") -> str:
        at = rpc_params.block(block, self._chain)
        return text(self._chain.storage(rpc_params.address(address), rpc_params.slot(slot), at).to_bytes(32, "big"))

    def _nonce(self, address: object, block: object = "latest") -> str:
        return hex(self._chain.account(rpc_params.address(address), rpc_params.block(block, self._chain)).nonce)

    def _eth_call(self, call: object, block: object = "latest") -> str:
        return text(self._chain.call(rpc_params.call(call, self._chain.head.gas_limit), rpc_params.block(block, self._chain)))

    def _estimate_gas(self, call: object, block: object = "latest") -> str:
        return hex(self._chain.estimate_gas(rpc_params.call(call, self._chain.head.gas_limit), rpc_params.block(block, self._chain)))

    def _transaction(self, transaction_hash: object) -> View | None:
        found = self._find(rpc_params.data(transaction_hash, "transaction hash", 32))
        return found and transaction_view(found[0].transactions[found[1]], *found)

    def _receipt(self, transaction_hash: object) -> View | None:
        found = self._find(rpc_params.data(transaction_hash, "transaction hash", 32))
        return found and found[0].receipt_view(found[1])

    def _find(self, transaction_hash: bytes) -> tuple[SealedBlock, int] | None:
        place = self._chain.store.sent(transaction_hash)
        if place is None:
            return None
        number, position = place
        block = SealedBlock(self._chain, number)
        if not 0 <= position < len(block.transactions) or block.transactions[position].hash != transaction_hash:
            raise self._chain.store.corrupt("the index of transactions names another one")
        return block, position

    def _block(self, block: object, full: object = False) -> View | None:
        number = rpc_params.block_number(block, self._chain)
        whole = rpc_params.flag(full, "full transactions")
        return None if number is None else SealedBlock(self._chain, number).view(whole)

    def _block_by_hash(self, block_hash: object, full: object = False) -> View | None:
        return self._block({"blockHash": block_hash}, full)

    def _receipts(self, block: object) -> list[View] | None:
        number = rpc_params.block_number(block, self._chain)
        if number is None:
            return None
        found = SealedBlock(self._chain, number)
        return [found.receipt_view(position) for position in range(len(found.receipts))]

    def _logs(self, asked: object) -> list[View]:
        wanted = rpc_params.log_filter(asked, self._chain)
        if wanted.last - wanted.first >= MAX_LOG_RANGE:
            raise RpcError(SERVER_ERROR, f"the range exceeds {MAX_LOG_RANGE} blocks; ask for fewer at a time")
        found: list[View] = []
        for number, encoded in self._chain.store.headers(wanted.first, wanted.last):
            head = self._chain.read_header(encoded)
            if head.transactions_root == EMPTY_ROOT or not _may_hold(int.from_bytes(head.bloom, "big"), wanted):
                continue
            block = SealedBlock(self._chain, number)
            found.extend(block.log_view(log) for log in block.logs() if _matches(log, wanted))
            if len(found) > MAX_LOGS:
                raise RpcError(SERVER_ERROR, f"more than {MAX_LOGS} logs match; ask for a smaller range")
        return found

    def _proof(self, address: object, slots: object, block: object = "latest") -> View:
        if not isinstance(slots, list) or len(slots) > MAX_PROOF_SLOTS:
            raise rpc_params.invalid(f"storage keys is not an array of at most {MAX_PROOF_SLOTS}")
        where, keys = rpc_params.address(address), [rpc_params.slot(key) for key in slots]
        at = rpc_params.block(block, self._chain)
        account = self._chain.account(where, at)
        return {
            "address": text(where),
            "accountProof": [text(node) for node in self._chain.prove(at.state_root, where)],
            "balance": hex(account.balance),
            "codeHash": text(account.code_hash),
            "nonce": hex(account.nonce),
            "storageHash": text(account.storage_root),
            "storageProof": [
                {
                    "key": text(key) if len(asked) == 66 else hex(int.from_bytes(key, "big")),
                    "value": hex(self._chain.storage(where, key, at)),
                    "proof": [text(node) for node in self._chain.prove(account.storage_root, key)],
                }
                for asked, key in zip(slots, keys, strict=True)
            ],
        }


class Rpc(ReadRpc):
    """Answers requests to the embedded chain.

    `submitted` is called after a transaction entered the pool: it seals at once, or wakes who does.
    """

    def __init__(self, chain: EmbeddedChain, submitted: Callable[[], object]) -> None:
        self._sealing, self._submitted = chain, submitted
        super().__init__(chain)

    def _table(self) -> dict[str, Method]:
        return super()._table() | {"eth_sendRawTransaction": self._send, "clique_getSigners": self._signers}

    def _nonce(self, address: object, block: object = "latest") -> str:
        if block == "pending":
            return hex(self._sealing.next_nonce(rpc_params.address(address)))
        return super()._nonce(address, block)

    def _send(self, raw: object) -> str:
        transaction_hash = self._sealing.submit(rpc_params.data(raw, "transaction"))
        self._submitted()
        return text(transaction_hash)

    def _transaction(self, transaction_hash: object) -> View | None:
        if waiting := self._sealing.waiting(rpc_params.data(transaction_hash, "transaction hash", 32)):
            return transaction_view(waiting, None, 0)
        return super()._transaction(transaction_hash)

    def _signers(self, block: object = "latest") -> list[str]:
        rpc_params.block(block, self._chain)  # the set never changes, but the block must exist
        return [text(self._sealing.sealer)]


def _may_hold(bloom: int, wanted: LogFilter) -> bool:
    held = BloomFilter(bloom)
    return all(any(choice in held for choice in choices) for choices in (wanted.addresses, *wanted.topics) if choices)


def _matches(log: Log, wanted: LogFilter) -> bool:
    if (wanted.addresses and log.address not in wanted.addresses) or len(wanted.topics) > len(log.topics):
        return False
    return all(not choices or topic in choices for choices, topic in zip(wanted.topics, log.topics, strict=False))
