"""An exported chain, re-executed from its genesis: every seal, every link, every transaction, every root.

The format is that of nodes: `engine`, `genesis` as geth, GoQuorum and Besu read it, and `blocks` as eth_getBlockByNumber gives them with
their transactions in full. Nothing in it is believed but the genesis: whoever trusts that knows what the chain holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth.abc import SignedTransactionAPI
from eth.vm.forks.berlin.transactions import BerlinTransactionBuilder
from eth_hash.auto import keccak
from eth_keys.exceptions import BadSignature
from eth_typing import Address
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node import clique, execution, header, qbft, strict_rlp
from node.engines import ENGINES
from node.errors import ChainCorrupt, ExportInvalid, NodeError, RlpInvalid
from node.execution import Surroundings
from node.header import Header
from node.mpt import EMPTY_ROOT

_BEFORE_BERLIN = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin")
_ANCESTORS = 256
_GAS_STEP = 1024  # a block's gas limit differs by less than this part from that before it
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
_MAX_TRANSACTIONS = 100_000  # of one block


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to. `blocks` and `transactions` count those that hold, `head` is the hash of the last of them, `sealers` are in
    force after it. `wrong` is the number of the first block that does not hold, and `reason` why; None where all do.
    """

    engine: str
    blocks: int
    transactions: int
    head: bytes
    sealers: tuple[bytes, ...]
    wrong: int | None = None
    reason: str = ""


class Nodes:
    """State nodes in memory."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    def find_node(self, node_hash: bytes) -> bytes | None:
        return self.kept.get(node_hash)

    def corrupt(self, what: str) -> ChainCorrupt:
        return ChainCorrupt(what)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the genesis fixes; `period` in seconds, `epoch` in blocks."""

    engine: str
    chain_id: int
    period: int
    epoch: int


def replay(exported: object) -> Replayed:
    """Re-execute an exported chain. ExportInvalid where it is none that can be: another format, engine, or other rules than Berlin's."""
    if not isinstance(exported, dict) or not isinstance(exported.get("genesis"), dict) or not isinstance(exported.get("blocks"), list):
        raise ExportInvalid("this is no exported chain: it needs engine, genesis and blocks")
    genesis, blocks = exported["genesis"], exported["blocks"]
    rules = rules_of(exported.get("engine"), genesis)
    if not blocks:
        raise ExportInvalid("this exported chain has no block")
    walk = _Walk(rules, genesis)
    done = transactions = 0
    for number, block in enumerate(blocks):
        try:
            if not isinstance(block, dict):
                raise ExportInvalid("it is no block")
            transactions += walk.step(number, block)
        except NodeError as error:
            return Replayed(rules.engine, done, transactions, walk.hash, walk.in_force, number, str(error))
        done += 1
    return Replayed(rules.engine, done, transactions, walk.hash, walk.in_force)


def rules_of(engine: object, genesis: Mapping[str, Any]) -> Rules:
    """The rules in a genesis. ExportInvalid where they are not known, or others than Berlin's from the first block on."""
    config = genesis.get("config")
    if engine not in ENGINES or not isinstance(config, dict):
        raise ExportInvalid(f"only chains of the engines {' and '.join(ENGINES)} can be replayed, with a genesis that has a config")
    named = {str(name).lower(): value for name, value in config.items()}
    own = named.get(str(engine))
    if not isinstance(own, dict):
        raise ExportInvalid(f"the genesis has no settings for {engine}")
    settings = {str(name).lower(): value for name, value in own.items()}
    forks = {name.removesuffix("block"): value for name, value in named.items() if name.endswith("block")}
    late = [name for name, value in forks.items() if name not in (*_BEFORE_BERLIN, "muirglacier") and value is not None]
    if "berlin" not in forks or late or any(_number(value) for name, value in forks.items() if name in _BEFORE_BERLIN):
        raise ExportInvalid("only Berlin's rules, from the first block on, can be replayed")
    period, epoch = ("period", "epoch") if engine == "clique" else ("blockperiodseconds", "epochlength")
    made = Rules(str(engine), _number(named.get("chainid")), _number(settings.get(period, 0)), _number(settings.get(epoch, 30_000)))
    if made.epoch < 1 or made.chain_id < 1:
        raise ExportInvalid("the genesis has an epoch or a chain id that can be none")
    return made


@dataclass(slots=True)
class _Walk:
    """The chain up to a block that holds."""

    rules: Rules
    genesis: Mapping[str, Any]
    nodes: Nodes = field(default_factory=Nodes)
    hash: bytes = bytes(32)
    in_force: tuple[bytes, ...] = ()
    _head: Header | None = None
    _sealers: clique.Sealers | qbft.Sealers | None = None
    _ancestors: deque[bytes] = field(default_factory=lambda: deque(maxlen=_ANCESTORS))

    def step(self, number: int, block: Mapping[str, Any]) -> int:
        """Take in the next block; returns how many transactions it has. NodeError where it does not hold: then nothing is taken in."""
        engine, own = ENGINES[self.rules.engine], header.from_rpc(block)
        digest = engine.block_hash(own)
        if own.number != number or block.get("hash") != "0x" + digest.hex():
            raise ExportInvalid(f"it is not block {number}, or its hash is not that of its header")
        sent = transactions_of(block, self.rules.chain_id)
        if self._head is None:
            self._begin(own, sent)
        else:
            self._follow(self._head, own, sent)
        self.hash, self._head = digest, own
        self._ancestors.appendleft(digest)
        self.in_force = tuple(sorted(self._sealers.current if self._sealers else ()))
        return len(sent)

    def _begin(self, own: Header, sent: Sequence[SignedTransactionAPI]) -> None:
        if sent or own.gas_used or own.transactions_root != EMPTY_ROOT or own.receipts_root != EMPTY_ROOT or own.bloom != bytes(256):
            raise ExportInvalid("the genesis has transactions")
        wanted = {
            "extra_data": _bytes(self.genesis.get("extraData", "0x")), "gas_limit": _number(self.genesis.get("gasLimit", 0)),
            "difficulty": _number(self.genesis.get("difficulty", 0)), "timestamp": _number(self.genesis.get("timestamp", 0)),
            "mix_hash": _bytes(self.genesis.get("mixHash", "00" * 32)), "coinbase": _bytes(self.genesis.get("coinbase", "00" * 20)),
            "nonce": _number(self.genesis.get("nonce", 0)).to_bytes(8, "big"), "parent_hash": bytes(32),
            "uncles_hash": header.EMPTY_UNCLES_HASH, "state_root": self._state(own),
        }  # fmt: skip
        for name, value in wanted.items():
            if getattr(own, name) != value:
                raise ExportInvalid(f"block 0 has another {name} than the genesis")
        if self.rules.engine == "clique":
            self._sealers = clique.Sealers(set(clique.parse_extra(own.extra_data).signers), self.rules.epoch)
        else:
            self._sealers = qbft.Sealers(set(qbft.parse_extra(own).validators), self.rules.epoch)
        if not self._sealers.current:
            raise ExportInvalid("the genesis names nobody who seals")

    def _state(self, own: Header) -> bytes:
        """The root of what the genesis allots."""
        allotted = self.genesis.get("alloc", {})
        if not isinstance(allotted, dict):
            raise ExportInvalid("the genesis allots nothing that can be read")
        nodes = execution.StateNodes(self.nodes)
        state = execution.open_state(nodes, EMPTY_ROOT, self._around(own, bytes(20)))
        for name, account in allotted.items():
            if not isinstance(account, dict):
                raise ExportInvalid("the genesis allots something that is no account")
            address = Address(_bytes(name if str(name).startswith("0x") else f"0x{name}", 20))
            state.set_balance(address, _number(account.get("balance", 0)))
            state.set_nonce(address, _number(account.get("nonce", 0)))
            if account.get("code", "0x") != "0x":
                state.set_code(address, _bytes(account["code"]))
            for slot, value in dict(account.get("storage", {})).items():
                state.set_storage(address, int.from_bytes(_bytes(slot), "big"), int.from_bytes(_bytes(value), "big"))
        state.persist()
        self.nodes.kept |= nodes.written
        return bytes(state.state_root)

    def _follow(self, parent: Header, own: Header, sent: Sequence[SignedTransactionAPI]) -> None:
        if own.parent_hash != self.hash:
            raise ExportInvalid("it does not follow the block before it")
        if own.timestamp < parent.timestamp + max(1, self.rules.period):
            raise ExportInvalid("it comes before its time")
        if abs(own.gas_limit - parent.gas_limit) * _GAS_STEP > parent.gas_limit or own.gas_used > own.gas_limit:
            raise ExportInvalid("its gas limit leaps, or it uses more gas than that")
        if own.transactions_root != execution.ordered_root([transaction.encode() for transaction in sent]):
            raise ExportInvalid("its transactions do not give its transactions root")
        assert self._sealers is not None  # noqa: S101 - made with block 0
        sealers = self._sealers.copy()
        # On Clique fees go to who sealed the block, on QBFT to the proposer that the header names.
        sealer = sealers.take_in(own)
        around = self._around(own, sealer)
        outcome = execution.execute(self.nodes, parent.state_root, around, sent)
        if len(outcome.transactions) != len(sent):
            raise ExportInvalid("it has a transaction that cannot be there")
        for name in ("state_root", "receipts_root", "bloom", "gas_used"):
            if getattr(outcome, name) != getattr(own, name):
                raise ExportInvalid(f"executing its transactions gives another {name} than it has")
        self.nodes.kept |= outcome.nodes
        self._sealers = sealers

    def _around(self, own: Header, sealer: bytes) -> Surroundings:
        ancestors = tuple(self._ancestors)
        return Surroundings(self.rules.chain_id, own.number, own.timestamp, own.difficulty, own.gas_limit, sealer, lambda: ancestors)


def transactions_of(block: Mapping[str, Any], chain_id: int) -> list[SignedTransactionAPI]:
    """A block's transactions, decoded from what a node gives.

    ExportInvalid where one is malformed, of another chain, or not the one that it says it is.
    """
    listed = block.get("transactions")
    if not isinstance(listed, list) or len(listed) > _MAX_TRANSACTIONS or block.get("uncles", []) != []:
        raise ExportInvalid("its transactions are missing, too many, or it has uncles")
    return list(_decoded(listed, chain_id))


def _decoded(listed: Sequence[Any], chain_id: int) -> Iterator[SignedTransactionAPI]:
    for place, given in enumerate(listed):
        try:
            raw = _raw(given)
            made = BerlinTransactionBuilder.decode(raw)
            made.validate()
            honest = given.get("hash") == "0x" + keccak(raw).hex() and given.get("from", "").lower() == "0x" + made.sender.hex()
        except (*_MALFORMED, RLPException, RlpInvalid, ValidationError, BadSignature) as error:
            raise ExportInvalid(f"its transaction {place} is malformed, or of a type that Berlin does not know") from error
        if not honest:
            raise ExportInvalid(f"its transaction {place} has another hash or sender than it says")
        if made.chain_id not in (None, chain_id):
            raise ExportInvalid(f"its transaction {place} is of chain {made.chain_id}")
        yield made


def _raw(given: Mapping[str, Any]) -> bytes:
    """The bytes that were signed and sent."""
    kind = _number(given.get("type", 0))
    numbers = {name: _minimal(given[name]) for name in ("nonce", "gasPrice", "gas", "value", "v", "r", "s")}
    to = b"" if given["to"] is None else _bytes(given["to"], 20)
    common: list[strict_rlp.Item] = [numbers["nonce"], numbers["gasPrice"], numbers["gas"], to, numbers["value"], _bytes(given["input"])]
    signature: list[strict_rlp.Item] = [numbers["v"], numbers["r"], numbers["s"]]
    if kind == 0:
        return strict_rlp.encode([*common, *signature])
    if kind != 1:
        raise ValueError
    access: strict_rlp.Item = [
        [_bytes(entry["address"], 20), [_bytes(key, 32) for key in entry["storageKeys"]]] for entry in given["accessList"]
    ]
    return b"\x01" + strict_rlp.encode([_minimal(given["chainId"]), *common, access, *signature])


def _minimal(value: object) -> bytes:
    return strict_rlp.from_int(_number(value))


def _number(value: object) -> int:
    """A number in hexadecimal or decimal, as JSON or text. ExportInvalid where it is none, or has more than 256 bits."""
    try:
        made = value if type(value) is int else int(str(value), 16 if str(value).startswith("0x") else 10)
    except ValueError:
        made = -1
    if isinstance(value, bool) or not 0 <= made < 1 << 256:
        raise ExportInvalid("a number in it cannot be read")
    return made


def _bytes(value: object, size: int | None = None) -> bytes:
    """Bytes in hexadecimal. ExportInvalid where they are none, or not so many."""
    try:
        made = bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else None
    except ValueError:
        made = None
    if made is None or (size is not None and len(made) != size):
        raise ExportInvalid("a text in it is not the hexadecimal that it should be")
    return made


