"""The network file: the small, dated, public root of trust that evidence and receipts are verified against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from anchoring.errors import NetworkInvalid
from careseal import read_json
from node.confirmation import Trust
from node.engines import ENGINES

NETWORK = "network.json"  # its name in the folders of homes, chains and networks
MAX_BYTES = 1 << 20
ENGINE = "clique"  # of the embedded chain


@dataclass(frozen=True, slots=True)
class Network:
    """What a verifier trusts: the chain, its engine and rules, the contracts' code, and one block with its sealers.

    Addresses are 20 bytes, hashes 32. Nothing older than the trusted block can be verified against this file.
    """

    chain_id: int
    engine: str
    period: int  # seconds
    epoch: int  # blocks
    consortium: bytes
    consortium_code: bytes
    journals: bytes
    journals_code: bytes
    block: int
    block_hash: bytes
    sealers: tuple[bytes, ...]

    @property
    def trust(self) -> Trust:
        """The part that the engine needs."""
        return Trust(self.block, self.block_hash, self.sealers, self.period, self.epoch)


_BYTES = {"consortium": 20, "consortium_code": 32, "journals": 20, "journals_code": 32, "block_hash": 32}
_NUMBERS = ("chain_id", "period", "epoch", "block")


def institution_name(name: str) -> bytes:
    """The commitment, 32 bytes, under which the consortium knows an institution: SHA-256("careseal/v1/institution" ‖ UTF-8 name)."""
    return sha256(b"careseal/v1/institution" + name.encode()).digest()


def encode_network(network: Network) -> bytes:
    """The JSON of a network file."""
    values: dict[str, object] = {"careseal": "network/1", "engine": network.engine}
    values |= {name: getattr(network, name) for name in _NUMBERS}
    values |= {name: "0x" + getattr(network, name).hex() for name in _BYTES}
    values["sealers"] = ["0x" + sealer.hex() for sealer in network.sealers]
    return json.dumps(values, indent=2).encode() + b"\n"


def decode_network(data: bytes) -> Network:
    """The Network in a network file. NetworkInvalid unless every field is there, of its type and length, once, and no other."""
    try:
        values = read_json(data, object_pairs_hook=_unique)
        if not isinstance(values, dict) or values.pop("careseal") != "network/1" or not isinstance(engine := values.pop("engine"), str):
            raise ValueError
        if engine not in ENGINES and engine.isalnum():
            known = " and ".join(sorted(ENGINES))
            raise NetworkInvalid(f"this network file is of a chain with the engine {engine[:40]}: only {known} chains can be verified")
        if engine not in ENGINES:
            raise ValueError
        fields: dict[str, object] = {name: _hex(values.pop(name), size) for name, size in _BYTES.items()}
        for name in _NUMBERS:
            number = values.pop(name)
            if type(number) is not int or not 0 <= number < 2**63:
                raise ValueError
            fields[name] = number
        listed = values.pop("sealers")
        if not isinstance(listed, list):
            raise ValueError
        sealers = tuple(_hex(sealer, 20) for sealer in listed)
        if values or not sealers or len(sealers) > 1000 or len(set(sealers)) != len(sealers) or not fields["epoch"]:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NetworkInvalid("this is not a Careseal network file, or it is damaged: get it from the consortium again") from error
    return Network(engine=engine, sealers=sealers, **fields)  # type: ignore[arg-type]


def read_network(path: Path) -> Network:
    """The network file at `path`. OSError as it comes."""
    return decode_network(network_bytes(path))


def network_bytes(path: Path) -> bytes:
    """The bytes of the network file at `path`, no more than one may have. OSError as it comes."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise NetworkInvalid(f"{path} is too large for a network file")
    return data


def exact_hex(text: object) -> bytes:
    """The bytes whose one hexadecimal writing is `text`: lower case, nothing between the digits. ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError("not a text")
    data = bytes.fromhex(text)
    if data.hex() != text:  # fromhex takes white space and upper case
        raise ValueError("not the one hexadecimal writing")
    return data


def _hex(text: object, size: int) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError
    data = exact_hex(text[2:])
    if len(data) != size:
        raise ValueError
    return data


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values
