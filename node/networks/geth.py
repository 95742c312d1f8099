"""Files and command line of a geth node of a Clique network.

Source: go-ethereum 1.13.15, `core/genesis.go`, `node/config.go`, `cmd/utils/flags.go`; EIP-225 for the genesis block's extra data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from node import clique
from node.networks.plan import Member, Plan

VERSION = "1.13.15"
FORKS = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin")


def genesis(plan: Plan) -> bytes:
    """The genesis file. Berlin rules: with London's, one full block lifts the base fee and zero-price transactions are stuck for ever."""
    values = {
        "config": {
            "chainId": plan.chain_id,
            **{f"{fork}Block": 0 for fork in FORKS},
            "clique": {"period": plan.period, "epoch": plan.epoch},
        },
        "timestamp": hex(plan.created),
        "extraData": "0x" + clique.unsealed_extra(0, [member.sealer for member in plan.members]).hex(),
        "gasLimit": hex(plan.gas_limit),
        "difficulty": "0x1",
        "alloc": {},
    }
    return json.dumps(values, indent=2).encode() + b"\n"


def config(plan: Plan, member: Member) -> bytes:
    """The node's configuration: whom it knows, and nobody else. What has a flag is in `command`: a table here empties all it leaves out."""
    peers = json.dumps([other.enode for other in plan.members if other != member])
    lines = [
        "[Node.P2P]", f"MaxPeers = {max(8, 2 * len(plan.members))}", "DialRatio = 1", "NoDiscovery = true",
        f'ListenAddr = "{_listen(member)}"', f"StaticNodes = {peers}", f"TrustedNodes = {peers}",
    ]  # fmt: skip
    return "\n".join(lines).encode() + b"\n"


def command(geth: str, folder: Path, plan: Plan, member: Member, ipc: Path, node_key: int, password: int) -> Sequence[str]:
    """The command line of a member's node. Its keys come through the file descriptors `node_key` and `password`.

    There is no port for requests: they come through the socket `ipc` alone, for the sealer's account is unlocked here, for sealing, and
    whoever reaches the node's own interface can sign with it. Every state is kept on disk: without that, a killed node forgets up to
    an hour of blocks, and a whole network that loses its power forgets them for good.
    """
    return (
        geth, "--config", str(folder / "config.toml"), "--datadir", str(folder / "data"), "--keystore", str(folder / "keystore"),
        "--networkid", str(plan.chain_id), "--syncmode", "full", "--gcmode", "archive", "--state.scheme", "hash",
        "--miner.gaslimit", str(plan.gas_limit), "--miner.etherbase", "0x" + member.sealer.hex(), "--miner.recommit", "1s",
        "--ipcpath", str(ipc), "--nodekey", f"/dev/fd/{node_key}", "--unlock", "0x" + member.sealer.hex(),
        "--password", f"/dev/fd/{password}", "--nat", f"extip:{member.host}", "--authrpc.port", "0", "--cache", "64", "--verbosity", "3",
    )  # fmt: skip


def _listen(member: Member) -> str:
    """Only the member's own address where that is loopback, else every one of its machine."""
    return f"{member.host}:{member.p2p_port}" if member.host in ("127.0.0.1", "::1") else f":{member.p2p_port}"
