"""The compiled contracts as they are shipped; no compiler and no web3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from careseal import CaresealError

if TYPE_CHECKING:
    from eth_typing import ABI

class ArtifactError(CaresealError):
    """A contract's artifact is not installed."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One contract as it is deployed. No immutables: the code on chain is `runtime_bytecode`, byte for byte."""

    name: str
    abi: ABI
    bytecode: bytes  # deployment code, to be followed by the ABI-encoded constructor arguments
    runtime_bytecode: bytes
    code_hash: bytes  # keccak-256 of the runtime code, as in the account of the deployed contract
    slots: Mapping[str, int]  # storage variable -> its slot


@cache
def load(name: str) -> Artifact:
    """The shipped artifact of `Consortium`, `Journals` or `Succession`. Raises ArtifactError when it is not installed."""
    source = files("contracts") / "artifacts" / f"{name}.json"
    if not source.is_file():
        raise ArtifactError(f"contract artifact {name}.json is missing: reinstall Careseal")
    fields = json.loads(source.read_text(encoding="utf-8"))
    return Artifact(
        name=fields["name"],
        abi=fields["abi"],
        bytecode=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
        runtime_bytecode=bytes.fromhex(fields["runtime_bytecode"].removeprefix("0x")),
        code_hash=bytes.fromhex(fields["code_hash"].removeprefix("0x")),
        slots=MappingProxyType({name: place["slot"] for name, place in fields["storage_layout"].items()}),
    )
