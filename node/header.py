"""The block header: 15 fields up to Berlin, and those that London and later forks append, each only after the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from eth_hash.auto import keccak

from node import strict_rlp
from node.errors import HeaderInvalid, RlpInvalid

EMPTY_UNCLES_HASH = keccak(strict_rlp.encode([]))
MAX_EXTRA_DATA = 1 << 16
MAX_ENCODED = MAX_EXTRA_DATA + 1024

_SIZES = {
    "parent_hash": 32,
    "uncles_hash": 32,
    "coinbase": 20,
    "state_root": 32,
    "transactions_root": 32,
    "receipts_root": 32,
    "bloom": 256,
    "mix_hash": 32,
    "nonce": 8,
    "withdrawals_root": 32,
    "parent_beacon_root": 32,
    "requests_hash": 32,
}
_BITS = {
    "difficulty": 256,
    "number": 64,
    "gas_limit": 64,
    "gas_used": 64,
    "timestamp": 64,
    "base_fee_per_gas": 256,
    "blob_gas_used": 64,
    "excess_blob_gas": 64,
}
_RPC_NAMES = {
    "parent_hash": "parentHash",
    "uncles_hash": "sha3Uncles",
    "coinbase": "miner",
    "state_root": "stateRoot",
    "transactions_root": "transactionsRoot",
    "receipts_root": "receiptsRoot",
    "bloom": "logsBloom",
    "difficulty": "difficulty",
    "number": "number",
    "gas_limit": "gasLimit",
    "gas_used": "gasUsed",
    "timestamp": "timestamp",
    "extra_data": "extraData",
    "mix_hash": "mixHash",
    "nonce": "nonce",
    "base_fee_per_gas": "baseFeePerGas",
    "withdrawals_root": "withdrawalsRoot",
    "blob_gas_used": "blobGasUsed",
    "excess_blob_gas": "excessBlobGas",
    "parent_beacon_root": "parentBeaconBlockRoot",
    "requests_hash": "requestsHash",
}
_BERLIN = 15  # fields that every header has


@dataclass(frozen=True, slots=True)
class Header:
    """A block header in the order in which its fields are hashed. Amounts are in wei and gas, time in UTC seconds.

    Every field is checked at construction: HeaderInvalid names the first that has a wrong size or range.
    Source: Ethereum yellow paper, section 4.3; EIP-1559, EIP-4895, EIP-4844, EIP-4788, EIP-7685 for what later forks append.
    """

    parent_hash: bytes
    uncles_hash: bytes
    coinbase: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: bytes
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    extra_data: bytes
    mix_hash: bytes
    nonce: bytes
    base_fee_per_gas: int | None = None
    withdrawals_root: bytes | None = None
    blob_gas_used: int | None = None
    excess_blob_gas: int | None = None
    parent_beacon_root: bytes | None = None
    requests_hash: bytes | None = None

    def __post_init__(self) -> None:
        appended = [getattr(self, name) for name in FIELDS[_BERLIN:]]
        given = sum(value is not None for value in appended)
        if None in appended[:given]:
            raise HeaderInvalid(f"header: {FIELDS[_BERLIN + appended.index(None)]} is missing")
        absent = FIELDS[_BERLIN + given :]
        for name, size in _SIZES.items():
            value = getattr(self, name)
            if name in absent:
                continue
            if not isinstance(value, bytes) or len(value) != size:
                raise HeaderInvalid(f"header: {name} is not {size} bytes")
        for name, bits in _BITS.items():
            number = getattr(self, name)
            if name in absent:
                continue
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << bits:
                raise HeaderInvalid(f"header: {name} is not an unsigned integer of {bits} bits")
        if not isinstance(self.extra_data, bytes) or len(self.extra_data) > MAX_EXTRA_DATA:
            raise HeaderInvalid(f"header: extra_data is not at most {MAX_EXTRA_DATA} bytes")


FIELDS = tuple(field.name for field in fields(Header))


def items(header: Header) -> list[strict_rlp.Item]:
    """Return the fields as the byte strings that RLP encodes; those of later forks only where there are any."""
    values = (getattr(header, name) for name in FIELDS)
    return [strict_rlp.from_int(value) if isinstance(value, int) else value for value in values if value is not None]


def encode(header: Header) -> bytes:
    """Return the header's RLP."""
    return strict_rlp.encode(items(header))


def block_hash(header: Header) -> bytes:
    """Return the keccak-256 of the header's RLP: the block's hash on Ethereum and Clique (not on QBFT)."""
    return bytes(keccak(encode(header)))


def decode(raw: bytes) -> Header:
    """Return the header that `raw` encodes canonically. Errors: HeaderInvalid, and nothing else."""
    if len(raw) > MAX_ENCODED:
        raise HeaderInvalid(f"header: {len(raw)} bytes, at most {MAX_ENCODED} are read")
    try:
        values = strict_rlp.decode_list(raw)
        if not _BERLIN <= len(values) <= len(FIELDS):
            raise HeaderInvalid(f"header: {len(values)} fields where {_BERLIN} to {len(FIELDS)} are expected")
        named = dict(zip(FIELDS, values, strict=False))
        numbers = {name: strict_rlp.to_int(named[name], bits=_BITS[name]) for name in named if name in _BITS}
    except RlpInvalid as error:
        raise HeaderInvalid(f"header: {error}") from error
    return Header(**{**named, **numbers})  # type: ignore[arg-type]


def from_rpc(block: Mapping[str, Any]) -> Header:
    """Return the header of an `eth_getBlockByNumber` answer, as JSON or as web3.py formats it.

    Fields outside the header are ignored; a fork that appends others changes the hash. Errors: HeaderInvalid naming the field.
    """
    values: dict[str, Any] = {}
    for name, rpc_name in _RPC_NAMES.items():
        value = block.get(rpc_name)
        if value is None and name == "extra_data":
            value = block.get("proofOfAuthorityData")  # what web3.py's proof-of-authority middleware makes of it
        if value is None:
            if name in FIELDS[_BERLIN:]:
                continue
            raise HeaderInvalid(f"header: field {rpc_name} is missing")
        values[name] = _rpc_int(rpc_name, value) if name in _BITS else _rpc_bytes(rpc_name, value)
    return Header(**values)


def _rpc_bytes(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    try:
        if isinstance(value, str) and value.startswith("0x") and len(value) <= 2 * MAX_EXTRA_DATA + 2:
            return bytes.fromhex(value[2:])
    except ValueError:
        pass
    raise HeaderInvalid(f"header: field {name} is not 0x-prefixed hexadecimal")


def _rpc_int(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    digits = value[2:] if isinstance(value, str) and value.startswith("0x") else ""
    if not 0 < len(digits) <= 64 or not set(digits) <= set("0123456789abcdefABCDEF"):
        raise HeaderInvalid(f"header: field {name} is not a 0x-prefixed quantity")
    return int(digits, 16)
