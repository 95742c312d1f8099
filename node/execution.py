"""Executing transactions under the rules of Berlin or London with py-evm, below its block and chain classes.

py-evm's chain classes bind execution to its own consensus: rewards touch the coinbase, the fee recipient is recovered from
a sealed header. Here the caller says who the sealer is, and nothing is added to what the transactions do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from eth import EVM_RECURSION_LIMIT
from eth.abc import AtomicWriteBatchAPI, ComputationAPI, ReceiptAPI, SignedTransactionAPI
from eth.db.backends.base import BaseAtomicDB
from eth.exceptions import Revert, VMError
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.berlin import BerlinVM
from eth.vm.forks.berlin.state import BerlinState
from eth.vm.forks.berlin.transactions import BerlinTransactionBuilder
from eth.vm.forks.london import LondonVM
from eth.vm.forks.london.state import LondonState
from eth.vm.interrupt import EVMMissingData
from eth.vm.spoof import SpoofTransaction
from eth_hash.auto import keccak
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.exceptions import ValidationError

from node import strict_rlp
from node.errors import CallFailed, CallReverted, ChainCorrupt
from node.mpt import EMPTY_ROOT
from node.transactions import fits

# What py-evm imports lets Python recurse 100,000 deep; before that, nested JSON exhausts the stack and ends the process.
sys.setrecursionlimit(EVM_RECURSION_LIMIT)

ERROR_SELECTOR = bytes.fromhex("08c379a0")  # Error(string)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a transaction can learn of the block it runs in. Time in UTC seconds; `ancestors` yields the parent's hash first.

    With a base fee, in wei, London's rules hold; without one Berlin's.
    """

    chain_id: int
    number: int
    timestamp: int
    difficulty: int
    gas_limit: int
    sealer: bytes
    ancestors: Callable[[], Iterable[bytes]]
    base_fee: int | None = None

    @property
    def vm(self) -> type[BerlinVM]:
        """py-evm's rules, of which London's build on Berlin's."""
        return BerlinVM if self.base_fee is None else LondonVM


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a block's transactions led to; roots are 32 bytes, `nodes` are the state nodes that are new."""

    transactions: tuple[SignedTransactionAPI, ...]
    receipts: tuple[ReceiptAPI, ...]
    refused: tuple[SignedTransactionAPI, ...]
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: bytes
    gas_used: int
    nodes: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """A message to simulate; `to` empty creates a contract. Gas and wei."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int


class StoredNodes(Protocol):
    """Where state nodes are kept."""

    def find_node(self, node_hash: bytes) -> bytes | None: ...

    def corrupt(self, what: str) -> ChainCorrupt: ...


class NewNodes:
    """State nodes in memory, over stored ones if there are any."""

    def __init__(self, stored: StoredNodes | None = None) -> None:
        self._stored = stored
        self.kept: dict[bytes, bytes] = {}

    def find_node(self, node_hash: bytes) -> bytes | None:
        found = self.kept.get(node_hash)
        return self._stored.find_node(node_hash) if found is None and self._stored is not None else found

    def corrupt(self, what: str) -> ChainCorrupt:
        return ChainCorrupt(what) if self._stored is None else self._stored.corrupt(what)


class StateNodes(BaseAtomicDB):
    """What py-evm reads from a store and writes to memory, from where the caller takes it when a block is sealed."""

    def __init__(self, store: StoredNodes) -> None:
        self._store = store
        self.written: dict[bytes, bytes] = {}

    def __getitem__(self, key: bytes) -> bytes:
        body = self.written.get(key)
        if body is None:
            body = self._store.find_node(key)
        if body is None:
            raise KeyError(key)  # py-evm also asks for nodes that it has not written yet
        return body

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.written[key] = value

    def __delitem__(self, key: bytes) -> None:
        raise KeyError(key)  # an archive: nothing that was stored is deleted

    def _exists(self, key: bytes) -> bool:
        return key in self.written or self._store.find_node(key) is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        yield self  # type: ignore[misc]  # written in memory: the store's transaction is what is atomic


def open_state(nodes: StateNodes, root: bytes, around: Surroundings) -> BerlinState:
    """Return py-evm's state at `root`, in the given surroundings."""
    context = ExecutionContext(
        coinbase=Address(around.sealer),
        timestamp=around.timestamp,
        block_number=BlockNumber(around.number),
        difficulty=around.difficulty,
        mix_hash=Hash32(bytes(32)),
        gas_limit=around.gas_limit,
        prev_hashes=(Hash32(ancestor) for ancestor in around.ancestors()),
        chain_id=around.chain_id,
        base_fee_per_gas=around.base_fee,
    )
    return (BerlinState if around.base_fee is None else LondonState)(nodes, context, Hash32(root))


def execute(store: StoredNodes, root: bytes, around: Surroundings, candidates: Sequence[SignedTransactionAPI]) -> Outcome:
    """Execute as many of `candidates` as fit, in order, on the state at `root`, and return what that leads to.

    Reverted and failed transactions are part of the block, with status 0. One that no longer is valid is `refused`, as are
    its sender's later ones; one that does not fit any more is left out, as are its sender's later ones. Nothing is stored.
    Errors: ChainCorrupt.
    """
    nodes = StateNodes(store)
    included: list[SignedTransactionAPI] = []
    receipts: list[ReceiptAPI] = []
    refused: list[SignedTransactionAPI] = []
    blocked: set[bytes] = set()
    gas_used = 0
    with missing_is_damage(store):
        state = open_state(nodes, root, around)
        for transaction in candidates:
            sender = transaction.sender
            if sender in blocked or gas_used + transaction.gas > around.gas_limit:
                blocked.add(sender)
                continue
            if not fits(transaction, state.get_nonce(sender), state.get_balance(sender)):
                blocked.add(sender)
                refused.append(transaction)
                continue
            state.lock_changes()
            before = state.snapshot()
            try:
                computation = state.apply_transaction(transaction)
            except ValidationError:
                state.revert(before)
                blocked.add(sender)
                refused.append(transaction)
                continue
            state.commit(before)
            receipt, gas_used = _receipt(around.vm, transaction, computation, gas_used)
            included.append(transaction)
            receipts.append(receipt)
        state.persist()
    bloom = 0
    for receipt in receipts:
        bloom |= receipt.bloom
    return Outcome(
        tuple(included),
        tuple(receipts),
        tuple(refused),
        state.state_root,
        ordered_root([transaction.encode() for transaction in included]),
        ordered_root([receipt.encode() for receipt in receipts]),
        bloom.to_bytes(256, "big"),
        gas_used,
        nodes.written,
    )


def simulate(store: StoredNodes, root: bytes, around: Surroundings, call: Call) -> tuple[bytes, int]:
    """Run `call` on the state at `root` and return its output and the gas it used; nothing is stored.

    Errors: CallReverted with the contract's data; CallFailed for any other failure; ChainCorrupt.
    """
    if around.base_fee is not None:
        around = replace(around, base_fee=0)  # a call pays no fees
    with missing_is_damage(store):
        state = open_state(StateNodes(store), root, around)
        sender = Address(call.sender)
        if call.value > state.get_balance(sender):
            raise CallFailed("insufficient funds for transfer")
        unsigned = BerlinTransactionBuilder.create_unsigned_transaction(
            nonce=state.get_nonce(sender), gas_price=0, gas=call.gas, to=Address(call.to), value=call.value, data=call.data
        )
        if call.gas < unsigned.intrinsic_gas:
            raise CallFailed(f"intrinsic gas too low: have {call.gas}, want {unsigned.intrinsic_gas}")
        spoofed: SignedTransactionAPI = SpoofTransaction(unsigned, from_=sender)  # type: ignore[assignment]
        executor = state.get_transaction_executor()
        try:
            computation = executor.build_computation(executor.build_evm_message(spoofed), spoofed)
        except ValidationError as error:
            raise CallFailed(str(error)) from error
        executor.finalize_computation(spoofed, computation)
    if computation.is_error:
        raise _failure(computation)
    return bytes(computation.output), around.vm.finalize_gas_used(spoofed, computation)


def estimate_gas(store: StoredNodes, root: bytes, around: Surroundings, call: Call) -> int:
    """Return a gas limit with which `call` succeeds, within 1.5 % above the least one. Errors: as `simulate`."""
    _, used = simulate(store, root, around, call)
    low, high = used - 1, call.gas
    trial = min(high, used * 64 // 63 + 2_300)  # enough unless refunds or the 63/64 rule take more
    while low + 1 < high and (high - low) * 1000 > 15 * high:
        try:
            simulate(store, root, around, Call(call.sender, call.to, call.data, call.value, trial))
            high = trial
        except (CallReverted, CallFailed):
            low = trial
        trial = (low + high) // 2
    return high


def ordered_root(values: Sequence[bytes]) -> bytes:
    """Return the root of the trie that a block keeps of its transactions or receipts, keyed by position.

    Source: Ethereum yellow paper, section 4.3.2 and appendix D.
    """
    if not values:
        return EMPTY_ROOT
    keyed = sorted((strict_rlp.encode(strict_rlp.from_int(position)).hex(), value) for position, value in enumerate(values))
    return bytes(keccak(strict_rlp.encode(_subtrie(keyed, 0))))


def _subtrie(keyed: Sequence[tuple[str, bytes]], depth: int) -> list[strict_rlp.Item]:
    """The node of values under keys in ascending order, written in nibbles, that agree in their first `depth`; no key begins another."""
    first, last = keyed[0][0], keyed[-1][0]
    if first == last:
        return [_path(first[depth:], leaf=True), keyed[0][1]]
    shared = next(place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    if shared > depth:
        return [_path(first[depth:shared], leaf=False), _reference(_subtrie(keyed, shared))]
    groups = groupby(keyed, key=lambda one: int(one[0][depth], 16))
    branch: list[strict_rlp.Item] = [b""] * 17
    for nibble, group in groups:
        branch[nibble] = _reference(_subtrie(list(group), depth + 1))
    return branch


def _reference(node: list[strict_rlp.Item]) -> strict_rlp.Item:
    """What a node's parent holds of it: itself where it is short, else its hash."""
    encoded = strict_rlp.encode(node)
    return node if len(encoded) < 32 else bytes(keccak(encoded))


def _path(nibbles: str, *, leaf: bool) -> bytes:
    """Nibbles in the hex-prefix encoding. Source: Ethereum yellow paper, appendix C."""
    odd = len(nibbles) % 2
    return bytes.fromhex(f"{2 * leaf + odd}{'' if odd else '0'}{nibbles}")


@contextmanager
def missing_is_damage(store: StoredNodes) -> Iterator[None]:
    """Turn py-evm's errors about absent nodes into ChainCorrupt: an archive misses nothing."""
    try:
        yield
    except EVMMissingData as error:
        raise store.corrupt("a state node is missing") from error


def _receipt(
    vm: type[BerlinVM], transaction: SignedTransactionAPI, computation: ComputationAPI, before: int
) -> tuple[ReceiptAPI, int]:
    total = before + vm.finalize_gas_used(transaction, computation)
    status = b"" if computation.is_error else b"\x01"
    return transaction.make_receipt(status, total, computation.get_log_entries()), total


def _failure(computation: ComputationAPI) -> CallReverted | CallFailed:
    error: VMError = computation.error
    if not isinstance(error, Revert):
        name = type(error).__name__
        return CallFailed({"OutOfGas": "out of gas"}.get(name, f"the call failed: {name}"))
    data = bytes(computation.output)
    reason = ""
    if data[:4] == ERROR_SELECTOR and len(data) >= 68:
        text = data[68 : 68 + min(int.from_bytes(data[36:68], "big"), len(data))].decode("utf-8", "replace")
        reason = ": " + "".join(letter if letter.isprintable() else " " for letter in text)
    return CallReverted(f"execution reverted{reason}", data)
