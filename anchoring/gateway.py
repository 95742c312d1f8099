"""The gateway in front of an institution's node: it answers what changes nothing, and admits members' transactions only.

On a chain without gas price anybody who reaches a node could fill its blocks for nothing, and a node's own interface would sign with the
sealer's key for whoever asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address

from anchoring.network import Network
from careseal import read_json
from contracts.calls import MEMBER_GAS, Consortium
from node import transactions
from node.client import over
from node.errors import RpcError
from node.json_rpc import SERVER_ERROR, JsonRpc

READING = (
    "web3_clientVersion", "net_version", "net_peerCount", "net_listening", "eth_chainId", "eth_blockNumber", "eth_syncing", "eth_gasPrice",
    "eth_getBalance", "eth_getCode", "eth_getStorageAt", "eth_getTransactionCount", "eth_call", "eth_estimateGas",
    "eth_getTransactionByHash", "eth_getTransactionByBlockNumberAndIndex", "eth_getTransactionReceipt", "eth_getBlockByNumber",
    "eth_getBlockByHash", "eth_getBlockReceipts", "eth_getLogs", "eth_getProof", "clique_getSigners", "clique_getSignersAtHash",
    "clique_status",
)  # fmt: skip
_JOIN = function_signature_to_4byte_selector("join(bytes32,uint256)")


class Gateway(JsonRpc):
    """Passes requests on by `send`, which takes and gives encoded JSON-RPC. `network` gives the consortium's, once it is founded."""

    def __init__(self, send: Callable[[bytes], bytes], chain_id: int, gas_limit: int, network: Callable[[], Network | None]) -> None:
        super().__init__({name: partial(self._forward, name) for name in READING} | {"eth_sendRawTransaction": self._admit})
        self._send, self._network = send, network
        self._chain_id, self._gas_limit = chain_id, gas_limit

    def _forward(self, method: str, *params: object) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer = read_json(self._send(json.dumps(request).encode()))
            if error := answer.get("error"):
                data = error.get("data")
                raise RpcError(int(error["code"]), str(error["message"]), None if data is None else str(data))
            return answer["result"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RpcError(SERVER_ERROR, "the node gave no usable answer") from error

    def _admit(self, raw: object) -> Any:
        try:
            encoded = bytes.fromhex(str(raw).removeprefix("0x"))
        except ValueError:
            raise RpcError(SERVER_ERROR, "the transaction is not hexadecimal") from None
        transaction = transactions.decode(encoded, self._chain_id, self._gas_limit)
        network = self._network()
        if network is None:
            raise RpcError(SERVER_ERROR, "this network is not founded yet: put its network.json beside the plan")
        consortium = Consortium(over(self._send), to_checksum_address(network.consortium))
        if not consortium.institution_of(to_checksum_address(transaction.sender)):
            joins = transaction.to == network.consortium and transaction.data[:4] == _JOIN and transaction.gas <= MEMBER_GAS
            if not (joins and consortium.founding()):
                raise RpcError(SERVER_ERROR, "only members' transactions are admitted: this account is no member's present key")
        return self._forward("eth_sendRawTransaction", "0x" + encoded.hex())
