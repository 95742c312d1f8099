"""JSON-RPC over one embedded chain, for use within the process and over HTTP.

Source: JSON-RPC 2.0; Ethereum execution-apis; EIP-1474 for error codes; EIP-1186 for eth_getProof.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from eth_bloom.bloom import BloomFilter

from careseal import __version__
from node import rpc_params
from node.embedded import EmbeddedChain
from node.errors import CallReverted, NodeError, RpcError
from node.mpt import EMPTY_ROOT
from node.rpc_params import SERVER_ERROR, LogFilter
from node.rpc_views import Log, SealedBlock, View, text, transaction_view

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, REVERTED = -32700, -32600, -32601, 3
MAX_REQUEST = 4 << 20  # bytes
MAX_CONTAINERS = 5_000  # objects and arrays in one request, which bounds its depth as well
MAX_BATCH = 100
MAX_LOGS = 10_000
MAX_LOG_RANGE = 50_000
MAX_PROOF_SLOTS = 1024

_Method = Callable[..., Any]


class Rpc:
    """Answers requests. `submitted` is called after a transaction entered the pool: it seals at once, or wakes who does."""

    def __init__(self, chain: EmbeddedChain, submitted: Callable[[], object]) -> None:
        self._chain = chain
        self._submitted = submitted
        self._methods: dict[str, tuple[_Method, int, int]] = {}
        for name, method in self._table().items():
            accepted = inspect.signature(method).parameters.values()
            needed = sum(parameter.default is parameter.empty for parameter in accepted)
            self._methods[name] = (method, needed, len(accepted))

    def handle_bytes(self, body: bytes) -> bytes:
        """Answer an encoded request or batch; empty when it holds notifications only. Never raises for what is asked."""
        if len(body) > MAX_REQUEST:
            return _encode(_error(None, INVALID_REQUEST, f"a request has at most {MAX_REQUEST} bytes"))
        if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
            return _encode(_error(None, INVALID_REQUEST, "the request is nested too deep or has too many parts"))
        try:
            request = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return _encode(_error(None, PARSE_ERROR, "the request is not JSON"))
        response = self.handle(request)
        return b"" if response is None else _encode(response)

    def handle(self, request: object) -> View | list[View] | None:
        """Answer a decoded request, or a batch of at most 100; None for notifications, which have no id."""
        if not isinstance(request, list):
            return self._one(request)
        if not 0 < len(request) <= MAX_BATCH:
            return _error(None, INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} requests")
        return [answer for item in request if (answer := self._one(item)) is not None] or None

    def _one(self, request: object) -> View | None:
        if not isinstance(request, Mapping):
            return _error(None, INVALID_REQUEST, "a request is an object")
        asked_id = request.get("id")
        if isinstance(asked_id, bool) or not isinstance(asked_id, str | int | float | None) or asked_id in (math.inf, -math.inf):
            return _error(None, INVALID_REQUEST, "an id is a string, a number or null")
        method, params = request.get("method"), request.get("params", [])
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return _error(asked_id, INVALID_REQUEST, 'a request has jsonrpc "2.0" and a method')
        try:
            answer: View = {"jsonrpc": "2.0", "id": asked_id, "result": self._call(method, params)}
        except RpcError as error:
            answer = _error(asked_id, error.code, str(error))
        except CallReverted as error:
            answer = _error(asked_id, REVERTED, str(error))
            answer["error"]["data"] = text(error.data)
        except NodeError as error:
            answer = _error(asked_id, SERVER_ERROR, str(error))
        return answer if "id" in request else None

    def _call(self, method: str, params: object) -> Any:
        if method not in self._methods:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method[:60]} does not exist or is not available")
        function, needed, accepted = self._methods[method]
        values = [] if params is None else params
        if not isinstance(values, list):
            raise rpc_params.invalid("params is not an array")
        if not needed <= len(values) <= accepted:
            raise rpc_params.invalid(f"{len(values)} params, {method} takes {needed} to {accepted}")
        return function(*values)

    def _table(self) -> dict[str, _Method]:
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
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockReceipts": self._receipts,
            "eth_getLogs": self._logs,
            "eth_getProof": self._proof,
            "clique_getSigners": self._signers,
        }

    def _balance(self, address: object, block: object = "latest") -> str:
        return hex(self._chain.account(rpc_params.address(address), rpc_params.block(block, self._chain)).balance)

    def _code(self, address: object, block: object = "latest") -> str:
        return text(self._chain.code(rpc_params.address(address), rpc_params.block(block, self._chain)))

    def _storage(self, address: object, slot: object, block: object = "latest") -> str:
        at = rpc_params.block(block, self._chain)
        return text(self._chain.storage(rpc_params.address(address), rpc_params.slot(slot), at).to_bytes(32, "big"))

    def _nonce(self, address: object, block: object = "latest") -> str:
        if block == "pending":
            return hex(self._chain.next_nonce(rpc_params.address(address)))
        return hex(self._chain.account(rpc_params.address(address), rpc_params.block(block, self._chain)).nonce)

    def _eth_call(self, call: object, block: object = "latest") -> str:
        return text(self._chain.call(rpc_params.call(call), rpc_params.block(block, self._chain)))

    def _estimate_gas(self, call: object, block: object = "latest") -> str:
        return hex(self._chain.estimate_gas(rpc_params.call(call), rpc_params.block(block, self._chain)))

    def _send(self, raw: object) -> str:
        transaction_hash = self._chain.submit(rpc_params.data(raw, "transaction"))
        self._submitted()
        return text(transaction_hash)

    def _transaction(self, transaction_hash: object) -> View | None:
        wanted = rpc_params.data(transaction_hash, "transaction hash", 32)
        if waiting := self._chain.waiting(wanted):
            return transaction_view(waiting, None, 0)
        found = self._find(wanted)
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

    def _signers(self, block: object = "latest") -> list[str]:
        rpc_params.block(block, self._chain)  # the set never changes, but the block must exist
        return [text(self._chain.sealer)]


def _may_hold(bloom: int, wanted: LogFilter) -> bool:
    held = BloomFilter(bloom)
    return all(any(choice in held for choice in choices) for choices in (wanted.addresses, *wanted.topics) if choices)


def _matches(log: Log, wanted: LogFilter) -> bool:
    if (wanted.addresses and log.address not in wanted.addresses) or len(wanted.topics) > len(log.topics):
        return False
    return all(not choices or topic in choices for choices, topic in zip(wanted.topics, log.topics, strict=False))


def _error(asked_id: object, code: int, message: str) -> View:
    return {"jsonrpc": "2.0", "id": asked_id, "error": {"code": code, "message": message}}


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _encode(response: View | list[View]) -> bytes:
    return json.dumps(response, separators=(",", ":")).encode()
