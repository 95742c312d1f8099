"""Files with a whole chain in them, as `node.replay` re-executes it: read, and written from what any node answers."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from careseal import read_json
from node.errors import ExportInvalid
from node.header import Header, from_rpc
from node.mpt import EMPTY_ROOT

MAX_BYTES = 1 << 30
Ask = Callable[[str, list[Any]], Any]  # a method of JSON-RPC and its parameters, and the result


def read_exported(path: Path) -> object:
    """What a file holds, gzip or plain. ExportInvalid where it cannot be read, is too large, or holds no JSON."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain) if packed else plain as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ExportInvalid(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is damaged, or cut off'}") from error
    if len(data) > MAX_BYTES:
        raise ExportInvalid(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return read_json(data)
    except ValueError as error:
        raise ExportInvalid(f"{path} holds no JSON, or it is cut off") from error


def read_genesis(path: Path) -> dict[str, Any]:
    """What a genesis file holds. ExportInvalid as from `read_exported`."""
    found = read_exported(path)
    if not isinstance(found, dict):
        raise ExportInvalid(f"{path} holds no genesis")
    return found


def genesis_of(first: Header, engine: str, chain_id: int, period: int, epoch: int) -> dict[str, Any]:
    """The genesis that block 0 was made of, where it allots nothing. ExportInvalid where it allots something: that is in no header."""
    if first.state_root != EMPTY_ROOT:
        raise ExportInvalid("the genesis of this chain allots accounts, which no node tells: give --genesis with its file")
    forks = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin")
    own = {"period": period, "epoch": epoch} if engine == "clique" else {"blockPeriodSeconds": period, "epochLength": epoch}
    return {
        "config": {"chainId": chain_id, **{f"{fork}Block": 0 for fork in forks}, engine: own},
        "difficulty": hex(first.difficulty), "gasLimit": hex(first.gas_limit), "extraData": "0x" + first.extra_data.hex(),
        "mixHash": "0x" + first.mix_hash.hex(), "nonce": hex(int.from_bytes(first.nonce, "big")), "timestamp": hex(first.timestamp),
        "coinbase": "0x" + first.coinbase.hex(), "alloc": {},
    }  # fmt: skip


def export_chain(
    ask: Ask, path: Path, engine: str, genesis: Callable[[Header], Mapping[str, Any]], progress: Callable[[int], None] = lambda blocks: None
) -> int:
    """Write all blocks that a node has to a new file, gzip where its name ends with .gz; returns how many. Nothing is checked: replay does.

    ExportInvalid where the node gives no block or goes over to another chain, or the file cannot be written: then there is none.
    """
    head = _block(ask, "latest")
    count = from_rpc(head).number + 1
    part = path.with_name(f".{path.name}.part")
    try:
        with (gzip.open(part, "wt", encoding="utf-8") if path.suffix == ".gz" else part.open("w", encoding="utf-8")) as file:
            before = None
            for number in range(count):
                block = _block(ask, hex(number))
                if number and block.get("parentHash") != before:
                    raise ExportInvalid(f"the chain changed at block {number} while it was written: run it again")
                before = block.get("hash")
                if number == 0:
                    begin = json.dumps({"engine": engine, "genesis": genesis(from_rpc(block))})
                    file.write(begin[:-1] + ', "blocks": [')
                file.write((",\n" if number else "\n") + json.dumps(block))
                progress(1)
            file.write("\n]}\n")
        part.replace(path)
    except OSError as error:
        raise ExportInvalid(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return count


def _block(ask: Ask, number: str) -> dict[str, Any]:
    found = ask("eth_getBlockByNumber", [number, True])
    if not isinstance(found, dict):
        raise ExportInvalid(f"the chain's node does not give block {number}: use one that keeps all blocks")
    return found
