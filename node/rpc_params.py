"""Parameters of JSON-RPC requests, read strictly.

Every function raises RpcError -32602 for what it cannot read. Source: Ethereum execution-apis, schemas/base-types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from node.archive import Archive
from node.errors import RpcError
from node.execution import Call
from node.header import Header
from node.json_rpc import INVALID_PARAMS, SERVER_ERROR

MAX_TOPIC_CHOICES = 1000

_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")
_CALL_FIELDS = {"from", "to", "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "value", "data", "input", "nonce",
                "chainId", "type", "accessList"}


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are asked for: blocks `first` to `last`, any of `addresses`, per position any of `topics`; empty is any."""

    first: int
    last: int
    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes], ...]


def invalid(what: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"invalid params: {what}")


def quantity(value: object, what: str, bits: int = 64) -> int:
    """Return a 0x-prefixed hexadecimal integer without leading zeros, of at most `bits` bits."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value) or (number := int(value, 16)) >> bits:
        raise invalid(f"{what} is not a quantity of at most {bits} bits such as 0x1f")
    return number


def data(value: object, what: str, size: int | None = None) -> bytes:
    """Return 0x-prefixed bytes, `size` of them if given."""
    if not isinstance(value, str) or not _DATA.fullmatch(value) or (size is not None and len(value) != 2 * size + 2):
        raise invalid(f"{what} is not 0x-prefixed hexadecimal of {'whole' if size is None else size} bytes")
    return bytes.fromhex(value[2:])


def address(value: object, what: str = "address") -> bytes:
    return data(value, what, 20)


def flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{what} is not true or false")
    return value


def slot(value: object) -> bytes:
    """Return a storage slot of 32 bytes from a quantity or from up to 32 bytes."""
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,64}", value):
        return int(value, 16).to_bytes(32, "big")
    raise invalid("storage slot is not 0x-prefixed hexadecimal of at most 32 bytes")


def block_number(value: object, chain: Archive) -> int | None:
    """Return the number of the block that a tag, number or hash names, or None when there is no such block.

    `pending` and `latest` are the head. `safe` and `finalized` name none: one sealer's word is not finality.
    """
    if isinstance(value, Mapping):  # EIP-1898
        if set(value) - {"requireCanonical"} == {"blockHash"}:
            return _number_of(data(value["blockHash"], "blockHash", 32), chain)
        if set(value) == {"blockNumber"}:
            value = value["blockNumber"]
        else:
            raise invalid("block is neither {blockHash} nor {blockNumber}")
    if value in ("latest", "pending"):
        return chain.head.number
    if value == "earliest":
        return 0
    if value in ("safe", "finalized"):
        return None
    if isinstance(value, str) and len(value) == 66:
        return _number_of(data(value, "block hash", 32), chain)
    number = quantity(value, "block")
    return number if number <= chain.head.number else None


def block(value: object, chain: Archive) -> Header:
    """Return the header of the block that `value` names. Errors also: RpcError -32000 when there is no such block."""
    number = block_number(value, chain)
    if number is None:
        raise RpcError(SERVER_ERROR, "header not found")
    return chain.header(number)


def call(value: object, limit: int) -> Call:
    """Return the message of eth_call and eth_estimateGas; its gas is at most `limit`. Prices and nonces are ignored."""
    if not isinstance(value, Mapping) or set(value) - _CALL_FIELDS:
        raise invalid("call is not an object of from, to, gas, value, data")
    body = value.get("input", value.get("data"))
    if value.get("data") is not None and body != value["data"]:
        raise invalid("input and data differ")
    to = value.get("to")
    gas = value.get("gas")
    return Call(
        sender=bytes(20) if value.get("from") is None else address(value["from"], "from"),
        to=b"" if to is None or to == "" else address(to, "to"),
        data=b"" if body is None else data(body, "data"),
        value=0 if value.get("value") is None else quantity(value["value"], "value", 256),
        gas=limit if gas is None else min(quantity(gas, "gas"), limit),
    )


def log_filter(value: object, chain: Archive) -> LogFilter:
    """Return the filter of eth_getLogs, its range cut to the chain's head. Errors also: -32000 for an unknown block hash."""
    if not isinstance(value, Mapping) or set(value) - {"fromBlock", "toBlock", "address", "topics", "blockHash"}:
        raise invalid("filter is not an object of fromBlock, toBlock, address, topics, blockHash")
    if value.get("blockHash") is not None:
        if value.get("fromBlock") is not None or value.get("toBlock") is not None:
            raise invalid("filter has blockHash and a range")
        first = last = block(value["blockHash"], chain).number
    else:
        first, last = (_range_end(value.get(name), chain) for name in ("fromBlock", "toBlock"))
        if first > last:
            raise invalid("fromBlock lies above toBlock")
    addresses = value.get("address")
    listed = [] if addresses is None else addresses if isinstance(addresses, list) else [addresses]
    topics = value.get("topics")
    positions = [] if topics is None else topics
    if not isinstance(positions, list) or len(positions) > 4 or len(listed) > MAX_TOPIC_CHOICES:
        raise invalid("topics is not an array of at most 4, or too many addresses")
    return LogFilter(first, min(last, chain.head.number), frozenset(address(item) for item in listed),
                     tuple(_topic_choices(position) for position in positions))


def _number_of(block_hash: bytes, chain: Archive) -> int | None:
    number = chain.store.number_of(block_hash)
    if number is not None and chain.store.block_hash(number) != block_hash:
        raise chain.store.corrupt(f"block {number} is indexed under another hash")
    return number


def _topic_choices(position: object) -> frozenset[bytes]:
    choices = [] if position is None else position if isinstance(position, list) else [position]
    if len(choices) > MAX_TOPIC_CHOICES:
        raise invalid(f"more than {MAX_TOPIC_CHOICES} topics in one position")
    if None in choices:
        return frozenset()
    return frozenset(data(choice, "topic", 32) for choice in choices)


def _range_end(value: object, chain: Archive) -> int:
    if value is None or value in ("latest", "pending"):
        return chain.head.number
    if value == "earliest":
        return 0
    if value in ("safe", "finalized"):
        raise RpcError(SERVER_ERROR, f"{value} block not found")
    return quantity(value, "block")
