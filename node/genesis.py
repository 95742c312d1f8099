"""The genesis of a chain, in the format that geth, GoQuorum and Besu read: its rules, and the block 0 that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from eth_typing import Address

from node import execution, header
from node.engines import ENGINES
from node.errors import ExportInvalid
from node.execution import StoredNodes, Surroundings
from node.given import number, octets
from node.header import Header
from node.mpt import EMPTY_ROOT

_BEFORE_BERLIN = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin")


_NOTHING_CHANGED = ("muirglacier", "arrowglacier", "grayglacier", "ceil2nby3")  # on chains whose blocks have no difficulty of work
_ELASTICITY, _FEE_STEP, _FIRST_FEE = 2, 8, 1_000_000_000  # EIP-1559
# Settings that change what executing a block gives, or how it is sealed; each with the values that change nothing.
_UNCHANGED: Mapping[str, tuple[object, ...]] = {
    "eccurve": ("secp256k1",),
    "fixedbasefee": (False,),
    "blockreward": (0, "0", "0x0"),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the genesis fixes; `period` in seconds, `epoch` in blocks."""

    engine: str
    chain_id: int
    period: int
    epoch: int
    london: bool = False
    free: bool = False  # London's base fee is zero in every block after the genesis

    def base_fee(self, parent: Header) -> int | None:
        """The base fee, in wei, of the block after `parent`; None under Berlin's rules. Source: EIP-1559; Besu's `zeroBaseFee`."""
        if not self.london or parent.base_fee_per_gas is None:
            return None
        fee, target = parent.base_fee_per_gas, parent.gas_limit // _ELASTICITY
        if self.free or not target:
            return 0
        change = fee * abs(parent.gas_used - target) // target // _FEE_STEP
        return fee + max(change, 1) if parent.gas_used > target else fee - change


def rules_of(engine: object, genesis: Mapping[str, Any]) -> Rules:
    """The rules in a genesis. ExportInvalid where they are not known, or others than Berlin's or London's from the first block on."""
    made = consensus_of(engine, genesis)
    named = {str(name).lower(): value for name, value in genesis["config"].items()}
    own = {str(name).lower(): value for name, value in genesis["config"][made.engine].items()}
    for name, value in (named | own).items():
        if value not in _UNCHANGED.get(name, (value,)):
            raise ExportInvalid(f"the genesis sets {name} to a value that cannot be replayed")
    forks = {name.removesuffix("block"): value for name, value in named.items() if name.endswith(("block", "time"))}
    late = [name for name, value in forks.items() if name not in (*_BEFORE_BERLIN, *_NOTHING_CHANGED, "london") and value is not None]
    london = forks.get("london") is not None
    begun = (forks.get(name) or 0 for name in (*_BEFORE_BERLIN, "london"))
    if not (london or "berlin" in forks) or late or any(map(number, begun)):
        raise ExportInvalid("only the rules of Berlin or London, from the first block on, can be replayed")
    return replace(made, london=london, free=named.get("zerobasefee") is True)


def engine_of(genesis: Mapping[str, Any]) -> str:
    """The engine for which a genesis has settings. ExportInvalid where it is none that is known, or not one."""
    config = genesis.get("config")
    named = [name for name in ENGINES if isinstance(config, dict) and name in config]
    if len(named) != 1:
        raise ExportInvalid(f"the genesis has settings for none of the engines {' and '.join(ENGINES)}, or for both")
    return named[0]


def consensus_of(engine: object, genesis: Mapping[str, Any]) -> Rules:
    """The rules in a genesis by which blocks are sealed, whatever transactions mean. ExportInvalid where they cannot be read."""
    config = genesis.get("config")
    if engine not in ENGINES or not isinstance(config, dict):
        raise ExportInvalid(f"only chains of the engines {' and '.join(ENGINES)} can be replayed, with a genesis that has a config")
    named = {str(name).lower(): value for name, value in config.items()}
    own = named.get(str(engine))
    if not isinstance(own, dict):
        raise ExportInvalid(f"the genesis has no settings for {engine}")
    settings = {str(name).lower(): value for name, value in own.items()}
    period, epoch = ("period", "epoch") if engine == "clique" else ("blockperiodseconds", "epochlength")
    made = Rules(str(engine), number(named.get("chainid")), number(settings.get(period, 0)), number(settings.get(epoch, 30_000)))
    if made.epoch < 1 or made.chain_id < 1:
        raise ExportInvalid("the genesis has an epoch or a chain id that can be none")
    return made


def first_block(genesis: Mapping[str, Any], rules: Rules, nodes: StoredNodes) -> tuple[Header, dict[bytes, bytes]]:
    """Block 0, and the state nodes of what the genesis allots. ExportInvalid where the genesis cannot be read."""
    made = Header(
        parent_hash=bytes(32),
        uncles_hash=header.EMPTY_UNCLES_HASH,
        coinbase=octets(genesis.get("coinbase", "00" * 20), 20),
        state_root=EMPTY_ROOT,
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        bloom=bytes(256),
        difficulty=number(genesis.get("difficulty", 0)),
        number=0,
        gas_limit=number(genesis.get("gasLimit", 0)),
        gas_used=0,
        timestamp=number(genesis.get("timestamp", 0)),
        extra_data=octets(genesis.get("extraData", "0x")),
        mix_hash=octets(genesis.get("mixHash", "00" * 32), 32),
        nonce=(number(genesis.get("nonce", 0)) % (1 << 64)).to_bytes(8, "big"),
        base_fee_per_gas=number(genesis.get("baseFeePerGas", _FIRST_FEE)) if rules.london else None,
    )
    root, written = _allotted(genesis.get("alloc", {}), made, rules, nodes)
    return replace(made, state_root=root), written


def _allotted(allotted: object, made: Header, rules: Rules, kept: StoredNodes) -> tuple[bytes, dict[bytes, bytes]]:
    """The root and the nodes of the state in which these accounts are."""
    if not isinstance(allotted, dict):
        raise ExportInvalid("the genesis allots nothing that can be read")
    nodes = execution.StateNodes(kept)
    around = Surroundings(rules.chain_id, 0, made.timestamp, made.difficulty, made.gas_limit, bytes(20), tuple)
    state = execution.open_state(nodes, EMPTY_ROOT, around)
    for name, account in allotted.items():
        if not isinstance(account, dict):
            raise ExportInvalid("the genesis allots something that is no account")
        address = Address(octets(name if str(name).startswith("0x") else f"0x{name}", 20))
        state.set_balance(address, number(account.get("balance", 0)))
        state.set_nonce(address, number(account.get("nonce", 0)))
        if account.get("code", "0x") != "0x":
            state.set_code(address, octets(account["code"]))
        for slot, value in dict(account.get("storage", {})).items():
            state.set_storage(address, int.from_bytes(octets(slot), "big"), int.from_bytes(octets(value), "big"))
    state.persist()
    return bytes(state.state_root), nodes.written
