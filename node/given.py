"""Blocks as nodes give them over JSON-RPC, taken apart strictly: nothing in them is believed, and ExportInvalid says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eth.abc import SignedTransactionAPI
from eth.vm.forks.london.transactions import LondonTransactionBuilder
from eth_hash.auto import keccak
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node import strict_rlp
from node.errors import ExportInvalid, RlpInvalid

_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
_MAX_TRANSACTIONS = 100_000  # of one block


def transactions_of(block: Mapping[str, Any], chain_id: int, *, fees: bool = False) -> list[SignedTransactionAPI]:
    """A block's transactions, decoded from what a node gives; `fees`: those of London's type are known.

    ExportInvalid where one is malformed, of another chain, or not the one that it says it is.
    """
    listed = block.get("transactions")
    if not isinstance(listed, list) or len(listed) > _MAX_TRANSACTIONS or block.get("uncles", []) != []:
        raise ExportInvalid("its transactions are missing, too many, or it has uncles")
    return list(_decoded(listed, chain_id, fees))


def _decoded(listed: Sequence[Any], chain_id: int, fees: bool) -> Iterator[SignedTransactionAPI]:
    for place, given in enumerate(listed):
        try:
            raw = _raw(given, fees)
            made = LondonTransactionBuilder.decode(raw)
            honest = given.get("hash") == "0x" + keccak(raw).hex() and given.get("from", "").lower() == "0x" + made.sender.hex()
        except (*_MALFORMED, RLPException, RlpInvalid, ValidationError, BadSignature) as error:
            raise ExportInvalid(f"its transaction {place} is malformed, or of a type that the chain's rules do not know") from error
        if not honest:
            raise ExportInvalid(f"its transaction {place} has another hash or sender than it says")
        if made.chain_id not in (None, chain_id):
            raise ExportInvalid(f"its transaction {place} is of chain {made.chain_id}")
        yield made


def _raw(given: Mapping[str, Any], fees: bool) -> bytes:
    """The bytes that were signed and sent."""
    kind = number(given.get("type", 0))
    prices = ["maxPriorityFeePerGas", "maxFeePerGas"] if kind == 2 else ["gasPrice"]
    numbers = {name: _minimal(given[name]) for name in ("nonce", "gas", "value", "v", "r", "s", *prices)}
    to = b"" if given["to"] is None else octets(given["to"], 20)
    paid = [numbers[name] for name in prices]
    common: list[strict_rlp.Item] = [numbers["nonce"], *paid, numbers["gas"], to, numbers["value"], octets(given["input"])]
    signature: list[strict_rlp.Item] = [numbers["v"], numbers["r"], numbers["s"]]
    if kind == 0:
        return strict_rlp.encode([*common, *signature])
    if kind != 1 and not (kind == 2 and fees):
        raise ValueError
    access: strict_rlp.Item = [
        [octets(entry["address"], 20), [octets(key, 32) for key in entry["storageKeys"]]] for entry in given["accessList"]
    ]
    return bytes([kind]) + strict_rlp.encode([_minimal(given["chainId"]), *common, access, *signature])


def _minimal(value: object) -> bytes:
    return strict_rlp.from_int(number(value))


def number(value: object) -> int:
    """A number in hexadecimal or decimal, as JSON or text. ExportInvalid where it is none, or has more than 256 bits."""
    try:
        made = value if type(value) is int else int(str(value), 16 if str(value).startswith("0x") else 10)
    except ValueError:
        made = -1
    if isinstance(value, bool) or not 0 <= made < 1 << 256:
        raise ExportInvalid("a number in it cannot be read")
    return made


def octets(value: object, size: int | None = None) -> bytes:
    """Bytes in hexadecimal. ExportInvalid where they are none, or not so many."""
    try:
        made = bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else None
    except ValueError:
        made = None
    if made is None or (size is not None and len(made) != size):
        raise ExportInvalid("a text in it is not the hexadecimal that it should be")
    return made
