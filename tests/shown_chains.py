"""Nodes that show a chain over JSON-RPC, honestly or not, and chains of Clique without transactions to be shown."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import replace

import coincurve

from node import clique, qbft, strict_rlp
from node import header as headers
from node.confirmation import Trust
from node.engines import ENGINES
from node.genesis import rules_of
from node.header import EMPTY_UNCLES_HASH, Header
from node.http_rpc import Listener
from node.json_rpc import JsonRpc
from node.mpt import EMPTY_ROOT
from node.walk import Walk

FORKS = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin")


class Shown:
    """A node that has these blocks. `lie` gets a method and its true answer and returns what is answered; `body` alters the bytes."""

    def __init__(self, blocks: list[dict]) -> None:
        self.blocks, self.asked, self.seconds = blocks, 0, 0.0
        self.lie = lambda method, given, answer: answer
        self.body = lambda body: body
        self._rpc = JsonRpc({"eth_blockNumber": self._number, "eth_getBlockByNumber": self._block})

    def _number(self) -> str:
        return self.lie("eth_blockNumber", None, hex(len(self.blocks) - 1))

    def _block(self, number: str, full: bool) -> dict | None:
        at = int(number, 16)
        found = self.blocks[at] if at < len(self.blocks) else None
        if found is not None and not full:
            found = found | {"transactions": [one["hash"] for one in found["transactions"]]}
        return self.lie("eth_getBlockByNumber", at, found)

    def answer(self, body: bytes) -> bytes:
        self.asked += 1
        time.sleep(self.seconds)
        return self.body(self._rpc.handle_bytes(body))


@contextmanager
def serving(*nodes: Shown):
    """The addresses of these nodes."""
    listeners = [Listener(node.answer, "127.0.0.1", 0) for node in nodes]
    for listener in listeners:
        listener.start()
    try:
        yield [listener.url for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def shown(header: Header, engine: str = "clique") -> dict:
    """A block without transactions as a node gives it."""
    values = {rpc: getattr(header, name) for name, rpc in headers._RPC_NAMES.items()}
    made = {name: hex(value) if isinstance(value, int) else "0x" + value.hex() for name, value in values.items() if value is not None}
    return made | {"hash": "0x" + ENGINES[engine].block_hash(header).hex(), "transactions": [], "uncles": []}


class Branch:
    """A chain of Clique with these private keys, without transactions, that can be led on in several ways."""

    def __init__(self, keys: list[bytes], began: int, *, epoch: int = 30_000) -> None:
        self.keys = {clique.address_of(key): key for key in keys}
        self.epoch = epoch
        extra = clique.unsealed_extra(0, list(self.keys))
        self.genesis = {
            "config": {"chainId": 77, **{f"{fork}Block": 0 for fork in FORKS}, "clique": {"period": 1, "epoch": epoch}},
            "difficulty": "0x1", "gasLimit": hex(30_000_000), "extraData": "0x" + extra.hex(), "timestamp": hex(began), "alloc": {},
        }  # fmt: skip
        self.headers = [Walk.begin(rules_of("clique", self.genesis), self.genesis).head]

    def copy(self, upto: int) -> Branch:
        """The same up to a block, to be led on differently."""
        made = Branch(list(self.keys.values()), self.headers[0].timestamp, epoch=self.epoch)
        made.headers = self.headers[: upto + 1]
        return made

    def seal(self, *, out_of_turn: int = 0, seconds: int = 1, vote: tuple[bytes, bool] | None = None, signers=None, **changes) -> Header:
        """Seal the next block by who is in turn, or by who comes so many later."""
        parent, number = self.headers[-1], len(self.headers)
        ordered = sorted(self.keys if signers is None else signers)
        account, add = vote or (bytes(20), False)
        made = Header(
            parent_hash=headers.block_hash(parent), uncles_hash=EMPTY_UNCLES_HASH, coinbase=account, state_root=EMPTY_ROOT,
            transactions_root=EMPTY_ROOT, receipts_root=EMPTY_ROOT, bloom=bytes(256), difficulty=1 if out_of_turn else 2, number=number,
            gas_limit=30_000_000, gas_used=0, timestamp=parent.timestamp + seconds,
            extra_data=clique.unsealed_extra(number, ordered, self.epoch), mix_hash=bytes(32), nonce=(b"\xff" if add else b"\0") * 8,
        )  # fmt: skip
        key = self.keys[ordered[(number + out_of_turn) % len(ordered)]]
        self.headers.append(clique.seal(replace(made, **changes), key))
        return self.headers[-1]

    def trust(self, block: int = 0) -> Trust:
        """The trusted block of a network file."""
        return Trust(block, headers.block_hash(self.headers[block]), tuple(sorted(self.keys)), 1, self.epoch)

    def node(self) -> Shown:
        return Shown([shown(header) for header in self.headers])


class Final:
    """A chain of QBFT with these private keys, without transactions; all validators seal each block."""

    def __init__(self, keys: list[bytes], began: int) -> None:
        self.keys = {clique.address_of(key): key for key in keys}
        self.genesis = {
            "config": {
                "chainId": 77, **{f"{fork}Block": 0 for fork in FORKS}, "qbft": {"blockPeriodSeconds": 1, "epochLength": 30_000},
            },
            "difficulty": "0x1", "gasLimit": hex(30_000_000), "extraData": "0x" + self._extra([]).hex(), "timestamp": hex(began),
            "mixHash": "0x" + qbft.MIX_HASH.hex(), "alloc": {},
        }  # fmt: skip
        self.headers = [Walk.begin(rules_of("qbft", self.genesis), self.genesis).head]

    def _extra(self, seals: list[bytes]) -> bytes:
        return strict_rlp.encode([bytes(32), sorted(self.keys), [], b"", seals])

    def seal(self, seconds: int = 1) -> None:
        parent, proposer = self.headers[-1], min(self.keys)
        made = replace(
            parent, parent_hash=qbft.block_hash(parent), coinbase=proposer, number=parent.number + 1, extra_data=self._extra([]),
            timestamp=parent.timestamp + seconds,
        )  # fmt: skip
        digest = qbft.commit_hash(made)
        seals = [coincurve.PrivateKey(key).sign_recoverable(digest, hasher=None) for key in self.keys.values()]
        self.headers.append(replace(made, extra_data=self._extra(seals)))

    def trust(self) -> Trust:
        return Trust(0, qbft.block_hash(self.headers[0]), tuple(sorted(self.keys)), 1, 30_000)

    def node(self) -> Shown:
        return Shown([shown(header, "qbft") for header in self.headers])


def garbage(kind: str):
    """What an answer is turned into."""
    return {
        "empty": lambda body: b"", "html": lambda body: b"<html>", "nested": lambda body: b"[" * 100_000, "null": lambda body: b"null",
        "list": lambda body: json.dumps([1, 2, {"id": 0}]).encode(), "cut": lambda body: body[: len(body) // 2],
        "oversized": lambda body: b'"' + b"x" * (17 << 20) + b'"', "other": lambda body: b'[{"id": 0, "result": {"a": 1}}]',
    }[kind]  # fmt: skip
