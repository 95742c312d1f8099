"""A chain of real blocks under Berlin rules (py-evm) with a web3 provider over it.

What runs here uses no opcode of London or later, and gas is counted as in a real transaction: from cold storage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.tools.builder import chain as build
from eth.vm.forks.berlin import BerlinVM
from eth.vm.spoof import SpoofTransaction
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import decode_hex, encode_hex, to_canonical_address, to_checksum_address
from web3 import Web3
from web3.providers import BaseProvider

CHAIN_ID = 1337
BLOCK_GAS = 30_000_000
GENESIS = {"difficulty": 1, "gas_limit": BLOCK_GAS, "timestamp": 1_700_000_000}


class Berlin(BaseProvider):
    """Mines every transaction at once in a block of its own, unless `hold` is set: then all go into one block until `mine`."""

    def __init__(self) -> None:
        super().__init__()
        forks = build.fork_at(BerlinVM, 0), build.chain_id(CHAIN_ID), build.disable_pow_check(), build.name("BerlinChain")
        self.chain = build.build(MiningChain, *forks).from_genesis(AtomicDB(), GENESIS)
        self.receipts: dict[str, dict[str, Any]] = {}
        self.hold = False
        self.methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_blockNumber": lambda: hex(self._head().block_number),
            "eth_getTransactionCount": lambda address, _="latest": hex(self._state().get_nonce(to_canonical_address(address))),
            "eth_getCode": lambda address, _="latest": encode_hex(self._state().get_code(to_canonical_address(address))),
            "eth_getStorageAt": self._storage,
            "eth_call": self._call,
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionReceipt": self.receipts.get,
        }

    def make_request(self, method: str, params: Any) -> Any:
        answer = self.methods[method](*params)
        return answer if isinstance(answer, dict) and "error" in answer else {"jsonrpc": "2.0", "id": 1, "result": answer}

    def mine(self) -> None:
        self.chain.mine_block()

    def _head(self) -> Any:
        return self.chain.get_canonical_head()

    def _state(self) -> Any:
        return self.chain.get_vm(self._head()).state

    def _storage(self, address: str, slot: str, _block: str = "latest") -> str:
        value = self._state().get_storage(to_canonical_address(address), int(slot, 16))
        return encode_hex(value.to_bytes(32, "big"))

    def _call(self, call: dict[str, Any], _block: str = "latest") -> Any:
        vm = self.chain.get_vm(self.chain.header)
        sender = to_canonical_address(call.get("from") or bytes(20))
        transaction = vm.create_unsigned_transaction(
            nonce=vm.state.get_nonce(sender), gas_price=0, gas=int(call.get("gas") or hex(BLOCK_GAS), 16), value=0,
            to=to_canonical_address(call["to"]) if call.get("to") else b"", data=decode_hex(call["data"]),
        )  # fmt: skip
        done = vm.state.costless_execute_transaction(SpoofTransaction(transaction, from_=sender))
        if not done.is_error:
            return encode_hex(done.output)
        return {"jsonrpc": "2.0", "id": 1, "error": {"code": 3, "message": "execution reverted", "data": encode_hex(done.output)}}

    def _send(self, raw: str) -> str:
        vm = self.chain.get_vm(self.chain.header)
        transaction = vm.get_transaction_builder().decode(decode_hex(raw))
        before = self.chain.header.gas_used
        block, receipt, done = self.chain.apply_transaction(transaction)
        key = encode_hex(transaction.hash)
        place = {
            "transactionHash": key,
            "transactionIndex": hex(len(block.transactions) - 1),
            "blockNumber": hex(block.number),
            "blockHash": "0x" + "00" * 32,
        }
        self.receipts[key] = {
            **place,
            "status": hex(not done.is_error),
            "from": to_checksum_address(transaction.sender),
            "to": to_checksum_address(transaction.to) if transaction.to else None,
            "contractAddress": None if transaction.to else to_checksum_address(done.msg.storage_address),
            "gasUsed": hex(receipt.gas_used - before),
            "cumulativeGasUsed": hex(receipt.gas_used),
            "logsBloom": "0x" + "00" * 256,
            "type": "0x0",
            "logs": [
                {
                    **place,
                    "logIndex": hex(index),
                    "removed": False,
                    "address": to_checksum_address(log.address),
                    "data": encode_hex(log.data),
                    "topics": [encode_hex(topic.to_bytes(32, "big")) for topic in log.topics],
                }
                for index, log in enumerate(receipt.logs)
            ],
        }
        if not self.hold:
            self.mine()
        return key


def account(number: int) -> LocalAccount:
    """A fixed account for the tests."""
    return Account.from_key(number.to_bytes(32, "big"))


class Caller:
    """An account that signs, sends and counts its nonces."""

    def __init__(self, w3: Web3, number: int) -> None:
        self.w3 = w3
        self.key = account(number)
        self.address = self.key.address
        self.nonce = 0

    def send(self, build_transaction: Callable[..., Any], *arguments: Any) -> Any:
        """Send a typed call and return the receipt, whatever its status."""
        signed = self.key.sign_transaction(build_transaction(*arguments, nonce=self.nonce))
        self.nonce += 1
        return self.w3.eth.get_transaction_receipt(self.w3.eth.send_raw_transaction(signed.raw_transaction))
