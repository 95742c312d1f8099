"""Files of a Besu node of a QBFT network.

Source: Besu's documentation: "Configure QBFT consensus", "Genesis file items", "Use local permissioning", "Static nodes", "Private network
command line options", "Command line options", "Configure free gas networks".
"""

from __future__ import annotations

import json
from typing import Any

from node import qbft, strict_rlp
from node.networks.plan import GENESIS, Member, Plan

IMAGE = "hyperledger/besu:25.7.0"
_CONFIG, _STATIC, _PERMISSIONS, _KEY = "config.toml", "static-nodes.json", "permissions.toml", "/run/secrets/node-key"


def genesis(plan: Plan) -> bytes:
    """The genesis file. Berlin's rules from the first block on; a base fee, should a later fork bring one, stays zero."""
    validators = sorted(member.sealer for member in plan.members)
    values = {
        "config": {
            "chainId": plan.chain_id,
            "berlinBlock": 0,
            "zeroBaseFee": True,
            "qbft": {
                "blockperiodseconds": plan.period,
                "epochlength": plan.epoch,
                "requesttimeoutseconds": 2 * plan.period,
            },
        },
        "nonce": "0x0",
        "timestamp": hex(plan.created),
        "extraData": "0x" + strict_rlp.encode([bytes(32), list(validators), [], b"", []]).hex(),
        "gasLimit": hex(plan.gas_limit),
        "difficulty": "0x1",
        "mixHash": "0x" + qbft.MIX_HASH.hex(),
        "coinbase": "0x" + bytes(20).hex(),
        "alloc": {},
    }
    return json.dumps(values, indent=2).encode() + b"\n"


def files(plan: Plan, member: Member) -> dict[str, bytes]:
    """What lies in a member's folder beside its key: configuration, the nodes that it connects to, and those that may connect to it."""
    others = [other.enode for other in plan.members if other != member]
    allowed = json.dumps([other.enode for other in plan.members])
    return {
        _CONFIG: _toml(_options(plan, member)),
        _STATIC: json.dumps(others, indent=2).encode() + b"\n",
        _PERMISSIONS: f"nodes-allowlist={allowed}\n".encode(),
    }


def _options(plan: Plan, member: Member) -> dict[str, Any]:
    """Paths are relative to the network's folder. No account is unlocked: Besu has none."""
    own = member.folder
    return {
        "data-path": f"{own}/data",
        "genesis-file": GENESIS,
        "p2p-host": member.host,
        "p2p-port": member.p2p_port,
        "discovery-enabled": False,
        "static-nodes-file": f"{own}/{_STATIC}",
        "permissions-nodes-config-file-enabled": True,
        "permissions-nodes-config-file": f"{own}/{_PERMISSIONS}",
        "remote-connections-limit-enabled": False,
        "rpc-http-enabled": True,
        "rpc-http-host": "127.0.0.1",
        "rpc-http-port": member.rpc_port,
        "rpc-http-api": ["ETH", "NET", "WEB3", "QBFT"],
        "host-allowlist": ["localhost", "127.0.0.1"],
        "min-gas-price": 0,
        "target-gas-limit": plan.gas_limit,
        "sync-mode": "FULL",
        "data-storage-format": "FOREST",  # keeps the state of every block, and with it old proofs
    }


def start_command(member: Member) -> str:
    """What runs the node, in the network's folder; `$key` names the file with the key."""
    return f'besu --config-file={member.folder}/{_CONFIG} --node-private-key-file="$key"'


def compose(plan: Plan) -> bytes:
    """A compose file with every member's node, for those of one machine; keys come from a folder that CARESEAL_KEYS names."""
    services = {
        member.folder: {
            "image": IMAGE,
            "network_mode": "host",
            "working_dir": "/network",
            "command": [f"--config-file={member.folder}/{_CONFIG}", f"--node-private-key-file={_KEY}"],
            "volumes": ["./:/network"],
            "secrets": [{"source": f"{member.folder}-key", "target": "node-key", "mode": 0o400}],
            "restart": "unless-stopped",
        }
        for member in plan.members
    }
    secrets = {f"{member.folder}-key": {"file": f"${{CARESEAL_KEYS:?folder with the keys}}/{member.folder}"} for member in plan.members}
    return json.dumps({"services": services, "secrets": secrets}, indent=2).encode() + b"\n"


def kubernetes(plan: Plan, member: Member) -> bytes:
    """A manifest for one member's cluster: files, storage and node. Its key is a secret `node-key`, which is not made here."""
    name, labels = f"besu-{member.number}", {"app": f"careseal-besu-{member.number}"}
    mounted = {path: content.decode() for path, content in files(plan, member).items()}
    container = {
        "name": "besu",
        "image": IMAGE,
        "workingDir": "/network",
        "args": [f"--config-file={member.folder}/{_CONFIG}", "--node-private-key-file=/keys/key"],
        "volumeMounts": [
            {"name": "files", "mountPath": f"/network/{path}", "subPath": path.rpartition("/")[2]}
            for path in (GENESIS, *(f"{member.folder}/{path}" for path in mounted))
        ] + [{"name": "data", "mountPath": f"/network/{member.folder}/data"}, {"name": "key", "mountPath": "/keys", "readOnly": True}],
    }  # fmt: skip
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
            "data": {GENESIS: genesis(plan).decode(), **mounted},
        },
        {
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "labels": labels},
            "spec": {
                "serviceName": name, "replicas": 1, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    # The enode names the machine's address: peers know the node by that.
                    "spec": {
                        "hostNetwork": True, "securityContext": {"fsGroup": 1000, "runAsUser": 1000, "runAsNonRoot": True},
                        "containers": [container],
                        "volumes": [
                            {"name": "files", "configMap": {"name": name}},
                            {"name": "key", "secret": {"secretName": "node-key", "defaultMode": 0o400}},
                        ],
                    },
                },
                "volumeClaimTemplates": [{
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}},
                }],
            },
        },
    ]  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2, ensure_ascii=False).encode() + b"\n"


def _toml(options: dict[str, Any]) -> bytes:
    """JSON's booleans, numbers, strings and arrays of strings are TOML's."""
    return "".join(f"{name}={json.dumps(value)}\n" for name, value in options.items()).encode()
