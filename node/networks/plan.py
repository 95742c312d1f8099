"""The plan of a network: its engine and rules, and who takes part from where. One file, `network-plan.json`, that holds no secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from careseal import read_json
from node.errors import NetworkPlanInvalid

PLAN = "network-plan.json"
GENESIS = "genesis.json"
GETH, BESU = "geth", "besu"
MAX_BYTES = 1 << 20
MAX_MEMBERS = 100
_FORMAT = "network-plan/1"


@dataclass(frozen=True, slots=True)
class Member:
    """One institution's node. `sealer` is its 20-byte account, `node_id` the 64-byte public key by which peers know it."""

    number: int  # from 1
    name: str
    sealer: bytes
    node_id: bytes
    host: str  # an IP address, where its peers reach it
    p2p_port: int
    rpc_port: int  # on loopback of its own machine

    @property
    def folder(self) -> str:
        """The name of the institution's folder in the network's."""
        return f"member-{self.number}"

    @property
    def enode(self) -> str:
        """The node's address for its peers. Source: Ethereum devp2p, enode URL format."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"enode://{self.node_id.hex()}@{host}:{self.p2p_port}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A network of geth nodes, which seal by Clique, or of Besu nodes, which seal by QBFT: there a member's two keys are one.

    `created` is the genesis block's time, seconds since 1970 UTC.
    """

    chain_id: int
    period: int  # seconds
    epoch: int  # blocks
    gas_limit: int
    created: int
    members: tuple[Member, ...]
    engine: str = GETH

    def member(self, number: int) -> Member:
        """The member of this number. NetworkPlanInvalid where there is none."""
        if not 1 <= number <= len(self.members):
            raise NetworkPlanInvalid(f"this network has members 1 to {len(self.members)}, not {number}")
        return self.members[number - 1]


def encode_plan(plan: Plan) -> bytes:
    """The JSON of a plan's file."""
    members = [
        {"name": m.name, "sealer": "0x" + m.sealer.hex(), "node_id": m.node_id.hex(), "host": m.host, "p2p_port": m.p2p_port,
         "rpc_port": m.rpc_port}
        for m in plan.members
    ]  # fmt: skip
    values = {"careseal": _FORMAT, "engine": plan.engine, "chain_id": plan.chain_id, "period": plan.period, "epoch": plan.epoch,
              "gas_limit": plan.gas_limit, "created": plan.created, "members": members}  # fmt: skip
    return json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n"


def decode_plan(data: bytes) -> Plan:
    """The Plan in a plan's file. NetworkPlanInvalid unless every field is there, of its type, and no other."""
    try:
        values = read_json(data)
        if not isinstance(values, dict) or values.pop("careseal") != _FORMAT:
            raise ValueError
        listed = values.pop("members")
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_MEMBERS:
            raise ValueError
        members = tuple(_member(number, value) for number, value in enumerate(listed, 1))
        engine = values.pop("engine")
        numbers = {name: _number(values.pop(name), 2**53 - 1) for name in ("chain_id", "period", "epoch", "gas_limit", "created")}
        if values or engine not in (GETH, BESU) or not all(numbers.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NetworkPlanInvalid(f"{PLAN} is damaged or another version's: put back the one that careseal network create wrote") from error
    return Plan(members=members, engine=engine, **numbers)


def read_plan(folder: Path) -> Plan:
    """The plan of the network in a folder. NetworkPlanInvalid where there is none."""
    try:
        with (folder / PLAN).open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise NetworkPlanInvalid(f"there is no network in {folder} ({error.strerror}): make one with careseal network create") from error
    return decode_plan(data)


def _member(number: int, values: Any) -> Member:
    values = dict(values)
    name, sealer, node_id = values.pop("name"), values.pop("sealer"), values.pop("node_id")
    if not isinstance(name, str) or not name or not sealer.startswith("0x"):
        raise ValueError
    made = Member(
        number, name, bytes.fromhex(sealer[2:]), bytes.fromhex(node_id), str(ip_address(values.pop("host"))),
        _number(values.pop("p2p_port"), 65535), _number(values.pop("rpc_port"), 65535),
    )  # fmt: skip
    if values or len(made.sealer) != 20 or len(made.node_id) != 64 or not made.p2p_port or not made.rpc_port:
        raise ValueError
    return made


def _number(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError
    return value
