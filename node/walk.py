"""Going along a chain from its genesis, block by block: every seal, every link, every transaction, every root."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eth.abc import ReceiptAPI, SignedTransactionAPI

from node import execution, header
from node.confirmation import Voted
from node.engines import ENGINES
from node.errors import ExportInvalid
from node.execution import NewNodes, Surroundings
from node.genesis import Rules, first_block
from node.given import transactions_of
from node.header import FIELDS, Header

ANCESTORS = 256
_GAS_STEP = 1024  # a block's gas limit differs by less than this part from that before it


@dataclass(frozen=True, slots=True)
class Step:
    """A block that holds: its header and hash, what it contains, the state nodes that are new with it, and who may seal the next one."""

    header: Header
    hash: bytes
    transactions: tuple[SignedTransactionAPI, ...]
    receipts: tuple[ReceiptAPI, ...]
    nodes: dict[bytes, bytes]
    sealers: Voted


@dataclass(slots=True)
class Walk:
    """The chain up to block `head`. The states of the blocks that it went over are in `nodes`."""

    rules: Rules
    nodes: NewNodes
    head: Header
    hash: bytes
    sealers: Voted
    ancestors: deque[bytes] = field(default_factory=lambda: deque(maxlen=ANCESTORS))  # hashes, that of the head first

    @classmethod
    def begin(cls, rules: Rules, genesis: Mapping[str, Any]) -> Walk:
        """The walk that stands at block 0. NodeError where the genesis makes none."""
        nodes = NewNodes()
        first, nodes.kept = first_block(genesis, rules, nodes)
        digest = ENGINES[rules.engine].block_hash(first)
        return cls(rules, nodes, first, digest, sealers_of(first, rules), deque([digest], ANCESTORS))

    def check(self, block: Mapping[str, Any]) -> Step:
        """The next block, as a node gives it. NodeError where it does not hold. The walk stays where it is: `go` goes on."""
        own = header.from_rpc(block)
        digest = ENGINES[self.rules.engine].block_hash(own)
        if own.number != self.head.number + 1 or block.get("hash") != "0x" + digest.hex():
            raise ExportInvalid(f"it is not block {self.head.number + 1}, or its hash is not that of its header")
        empty, recipient = self.sealed(own)
        around = self._around(own, recipient)
        sent = transactions_of(block, self.rules.chain_id, fees=self.rules.london)
        outcome = execution.execute(self.nodes, self.head.state_root, around, sent)
        if len(outcome.transactions) != len(sent):
            raise ExportInvalid("it has a transaction that cannot be there")
        for name in ("transactions_root", "state_root", "receipts_root", "bloom", "gas_used"):
            if getattr(outcome, name) != getattr(own, name):
                raise ExportInvalid(f"executing its transactions gives another {name} than it has")
        return replace(empty, transactions=outcome.transactions, receipts=outcome.receipts, nodes=outcome.nodes)

    def sealed(self, own: Header) -> tuple[Step, bytes]:
        """The next header, whatever its block contains, and who gets the fees: on Clique who sealed it, on QBFT the proposer that it
        names. NodeError where it does not follow, or is not sealed.
        """
        if own.parent_hash != self.hash or own.number != self.head.number + 1:
            raise ExportInvalid("it does not follow the block before it")
        if own.timestamp < self.head.timestamp + max(1, self.rules.period):
            raise ExportInvalid("it comes before its time")
        if abs(own.gas_limit - self.head.gas_limit) * _GAS_STEP > self.head.gas_limit or own.gas_used > own.gas_limit:
            raise ExportInvalid("its gas limit leaps, or it uses more gas than that")
        if own.base_fee_per_gas != self.rules.base_fee(self.head) or own.withdrawals_root is not None:
            raise ExportInvalid("its base fee is not that of the rules, or it has fields of later rules")
        sealers = self.sealers.copy()
        recipient = sealers.take_in(own)
        return Step(own, ENGINES[self.rules.engine].block_hash(own), (), (), {}, sealers), recipient

    def go(self, step: Step) -> None:
        """Go on to a next block that holds."""
        self.head, self.hash, self.sealers = step.header, step.hash, step.sealers
        self.ancestors.appendleft(step.hash)
        self.nodes.kept |= step.nodes

    def _around(self, own: Header, sealer: bytes) -> Surroundings:
        ancestors = tuple(self.ancestors)
        return Surroundings(
            self.rules.chain_id, own.number, own.timestamp, own.difficulty, own.gas_limit, sealer, lambda: ancestors, own.base_fee_per_gas
        )  # fmt: skip


def sealers_of(listing: Header, rules: Rules) -> Voted:
    """Who may seal after a header that lists them, when no vote is pending: the genesis, or a block at a multiple of the epoch."""
    engine = ENGINES[rules.engine]
    made = engine.voted(engine.listed(listing), rules.epoch)
    if not made.current:
        raise ExportInvalid("the genesis names nobody who seals")
    return made


def check_first(own: Header, first: Header) -> None:
    """ExportInvalid naming the first field in which block 0 is not the one that the genesis makes."""
    for name in FIELDS:
        if getattr(own, name) != getattr(first, name):
            raise ExportInvalid(f"block 0 has another {name} than the genesis")
