"""Making a network's folder: keys, genesis, peers and start script of every institution; there whole or not at all."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from coincurve import PrivateKey

from node.errors import NetworkPlanInvalid
from node.networks import besu, geth
from node.networks.keystore import WORK, encrypted
from node.networks.plan import BESU, GENESIS, MAX_MEMBERS, PLAN, Member, Plan, encode_plan
from node.signature import account_of

SEALER_KEY, NODE_KEY = "keystore/sealer.json", "node-key.json"
MAX_NAME = 200
_README = """\
One folder per institution: give each institution its own, with genesis.json and network-plan.json beside it, and nobody else's.
keystore/sealer.json seals blocks, node-key.json names the node to its peers; both are encrypted under the passphrase that the
network was made with: change it, or have each institution make its keys, before more than a pilot rests on them.
start.sh starts the institution's node; careseal network start starts those of a pilot on one machine.
"""


def create(folder: Path, plan: Plan, passphrase: bytes, random: Callable[[int], bytes] = os.urandom, work: int = WORK) -> Plan:
    """Write a network's folder and return its plan with the keys that were made. `plan` has members without keys.

    NetworkPlanInvalid where the folder exists, or the plan is none that nodes can run.
    """
    _check(plan)
    if not passphrase.isascii() or not passphrase.decode().isprintable():
        raise NetworkPlanInvalid("the passphrase of a network's keys is one line of ASCII: geth reads it from a line")
    if folder.exists():
        raise NetworkPlanInvalid(f"{folder} exists already: choose a new folder for the network")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700, parents=True)
        members = tuple(_with_keys(part, member, plan.engine, passphrase, random, work) for member in plan.members)
        made = replace(plan, members=members)
        for path, content in (_of_besu(made) if plan.engine == BESU else _of_geth(made)).items():
            (part / path).write_bytes(content)
        for member in members:
            (part / member.folder / "start.sh").chmod(0o700)
        (part / "README.txt").write_text(_README)
        (part / PLAN).write_bytes(encode_plan(made))
        os.sync()
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise NetworkPlanInvalid(f"cannot write the network's folder {folder}: {error.strerror}") from error
    return made


def members(names: Sequence[str], hosts: Sequence[str], p2p_port: int, rpc_port: int) -> tuple[Member, ...]:
    """Members without keys. On one machine each has ports of its own; where every member has a host, they may be the same."""
    if hosts and len(hosts) != len(names):
        raise NetworkPlanInvalid(f"{len(names)} members and {len(hosts)} hosts: give --host once for each member, in their order, or never")
    step = 0 if len(set(hosts)) == len(names) and len(names) > 1 else 1
    return tuple(
        Member(number + 1, name, bytes(20), bytes(64), host, p2p_port + step * number, rpc_port + step * number)
        for number, (name, host) in enumerate(zip(names, hosts or ["127.0.0.1"] * len(names), strict=True))
    )


def _check(plan: Plan) -> None:
    names = [member.name for member in plan.members]
    if not 1 <= len(names) <= MAX_MEMBERS:
        raise NetworkPlanInvalid(f"a network has 1 to {MAX_MEMBERS} members: give --member once for each")
    if len(set(names)) != len(names) or not all(0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise NetworkPlanInvalid(f"members have different names, of 1 to {MAX_NAME} printable characters")
    for ports in ([m.p2p_port for m in plan.members], [m.rpc_port for m in plan.members]):
        if not all(1 <= port <= 65535 for port in ports):
            raise NetworkPlanInvalid("ports are numbers from 1 to 65535: choose a lower --peer-port and --rpc-port")
    shared = {(m.host, m.p2p_port) for m in plan.members} & {(m.host, m.rpc_port) for m in plan.members}
    if shared:
        raise NetworkPlanInvalid("a port for peers is one for requests too: choose --peer-port and --rpc-port further apart")
    if plan.period < 1 or plan.epoch < 1 or plan.gas_limit < 5_000_000 or plan.chain_id < 1:
        raise NetworkPlanInvalid("period and epoch are at least 1, the gas limit at least 5000000, the chain id at least 1")


def _of_geth(plan: Plan) -> dict[str, bytes]:
    made = {GENESIS: geth.genesis(plan)}
    for member in plan.members:
        made[f"{member.folder}/config.toml"] = geth.config(plan, member)
        made[f"{member.folder}/start.sh"] = _start_script(member)
    return made


def _of_besu(plan: Plan) -> dict[str, bytes]:
    made = {GENESIS: besu.genesis(plan), "compose.yaml": besu.compose(plan)}
    for member in plan.members:
        made |= {f"{member.folder}/{name}": content for name, content in besu.files(plan, member).items()}
        made[f"{member.folder}/kubernetes.yaml"] = besu.kubernetes(plan, member)
        made[f"{member.folder}/start.sh"] = _besu_start_script(member)
    return made


def _with_keys(part: Path, member: Member, engine: str, passphrase: bytes, random: Callable[[int], bytes], work: int) -> Member:
    own = part / member.folder
    own.mkdir(mode=0o700)
    (own / SEALER_KEY).parent.mkdir(mode=0o700)
    sealer = PrivateKey(random(32))
    node = sealer if engine == BESU else PrivateKey(random(32))  # a validator of Besu is known by its node's key
    keys = {SEALER_KEY: sealer} if node is sealer else {SEALER_KEY: sealer, NODE_KEY: node}
    for name, key in keys.items():
        (own / name).write_bytes(encrypted(key.secret, passphrase, work))
    return Member(
        member.number, member.name, account_of(sealer.public_key), node.public_key.format(compressed=False)[1:], member.host,
        member.p2p_port, member.rpc_port,
    )  # fmt: skip


def _start_script(member: Member) -> bytes:
    text = (
        "#!/bin/sh\n"
        f"# Runs the node of {shlex.quote(member.name)} until it is stopped. Needs careseal and geth {geth.VERSION} on the PATH and the\n"
        "# passphrase, from CARESEAL_PASSPHRASE_FILE or as for every command.\n"
        'cd "$(dirname "$0")/.." || exit 2\n'
        f'exec careseal network run . --member {member.number} "$@"\n'
    )
    return text.encode()


def _besu_start_script(member: Member) -> bytes:
    text = (
        "#!/bin/sh\n"
        f"# Runs the node of {shlex.quote(member.name)} until it is stopped. Needs careseal and Besu on the PATH and the passphrase, from\n"
        "# CARESEAL_PASSPHRASE_FILE or as for every command. The key is in memory only, readable by this user, while the node runs.\n"
        'cd "$(dirname "$0")/.." || exit 2\n'
        'keys=$(mktemp -d /dev/shm/careseal.XXXXXX) || exit 2\n'
        'key=$keys/key\n'
        "trap 'kill \"$node\" 2>/dev/null; wait; rm -rf \"$keys\"' EXIT\n"
        "trap 'exit 143' INT TERM\n"
        f'careseal network key . "$key" --member {member.number} || exit 2\n'
        f'{besu.start_command(member)} "$@" &\n'
        "node=$!\n"
        'wait "$node"\n'
    )
    return text.encode()
