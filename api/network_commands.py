"""`careseal network`: make a network of real engines, and run its nodes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import print_json, progress, say
from api.evidence_commands import read_trusted
from api.language import _
from api.options import JsonOption, NetworkOption, PassphraseOption
from api.passphrase import passphrase
from api.succeed_commands import succeed, succession
from node.errors import NetworkPlanInvalid

if TYPE_CHECKING:
    from web3 import Web3

    from anchoring.network import Network

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help=_("The network file to write."))]
RpcOption = Annotated[str, typer.Option("--rpc", metavar="URL", help=_("A node of the chain; it is not believed."))]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help=_("The network's folder."))]
OnlyOption = Annotated[list[int] | None, typer.Option("--member", min=1, help=_("Only this member's node; may be repeated."))]


def app() -> typer.Typer:
    """The commands of `careseal network`."""
    made = typer.Typer(no_args_is_help=True, help=_("Networks of real engines: make one, run its nodes."))
    commands: dict[str, Callable[..., None]] = {
        "create": create, "key": key, "start": start, "stop": stop, "status": status, "run": run, "found": found, "renew": renew,
        "succeed": succeed, "succession": succession,
    }  # fmt: skip
    for name, command in commands.items():
        made.command(name, help=_((command.__doc__ or "").strip()))(command)
    return made


def create(
    folder: FolderArgument,
    member: Annotated[list[str], typer.Option("--member", help=_("An institution's name; once for each."))],
    host: Annotated[
        list[str] | None, typer.Option("--host", help=_("IP address of a member's node, in the members' order; default: this machine."))
    ] = None,
    period: Annotated[int, typer.Option("--period", min=1, max=3600, help=_("Seconds from block to block."))] = 2,
    gas_limit: Annotated[int, typer.Option("--gas-limit", min=5_000_000, max=2**31, help=_("Of every block."))] = 30_000_000,
    chain_id: Annotated[int | None, typer.Option("--chain-id", min=1, max=2**53 - 1, help=_("Default: a random one."))] = None,
    p2p_port: Annotated[int, typer.Option("--peer-port", min=1, max=65535, help=_("The first member's port for peers."))] = 30303,
    rpc_port: Annotated[int, typer.Option("--rpc-port", min=1, max=65535, help=_("The first member's port on loopback."))] = 8545,
    engine: Annotated[str, typer.Option("--engine", help=_("geth (Clique, for pilots) or besu (QBFT, for production)."))] = "geth",
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write keys, genesis, peers and start script of every member's node."""
    import secrets

    from node import clique
    from node.networks.create import create as write
    from node.networks.create import members
    from node.networks.plan import BESU, GETH, Plan

    chosen = members(member, host or [], p2p_port, rpc_port)
    if engine not in (GETH, BESU):
        raise NetworkPlanInvalid(f"--engine {engine}: give geth or besu")
    plan = Plan(chain_id or 1_000_000 + secrets.randbits(32), period, clique.EPOCH, gas_limit, int(time.time()), chosen, engine)
    made = write(folder, plan, passphrase(passphrase_file, create=True))
    if as_json:
        return print_json({"chain_id": made.chain_id, "members": [m.name for m in made.members]})
    say("network {chain_id} of {count} members in {folder}", chain_id=made.chain_id, count=len(made.members), folder=folder)
    if engine == BESU:
        return say("each member starts its node with start.sh; then careseal network found founds the consortium")
    return say("start it with careseal network start {folder}", folder=folder)


def start(folder: FolderArgument, member: OnlyOption = None, passphrase_file: PassphraseOption = None) -> None:
    """Start the nodes on this machine in the background, and found the consortium the first time."""
    from anchoring.network import NETWORK
    from anchoring.pilot import start as launch

    plan = launch(folder, [sys.executable, "-m", "api.cli", "network", "run"], passphrase(passphrase_file), member or ())
    for one in plan.members:
        if not member or one.number in member:
            say("{name}: http://127.0.0.1:{port}", name=one.name, port=one.rpc_port)
    say("join with careseal init --chain URL --network {file}", file=folder / NETWORK)


def stop(folder: FolderArgument, member: OnlyOption = None) -> None:
    """Stop the nodes on this machine."""
    from anchoring.pilot import stop as end

    say("{count} nodes stopped", count=end(folder, member or ()))


def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show each node's head and peers; exit code 1 unless all run and agree."""
    from anchoring.pilot import status as look

    states = look(folder)
    if as_json:
        print_json([
            {"member": s.member.number, "name": s.member.name, "url": s.url, "block": s.block, "hash": s.block_hash, "time": s.time,
             "peers": s.peers}
            for s in states
        ])  # fmt: skip
    else:
        for s in states:
            if s.url is None:
                say("{name}: does not run here", name=s.member.name)
            elif s.block is None:
                say("{name}: does not answer", name=s.member.name)
            else:
                say("{name}: block {block}, {hash}, {peers} peers", name=s.member.name, block=s.block, hash=s.block_hash, peers=s.peers)
    blocks = [s.block for s in states if s.block is not None]
    if len(blocks) < len(states) or max(blocks) - min(blocks) > 2:
        raise typer.Exit(1)


def run(
    folder: FolderArgument,
    member: Annotated[int, typer.Option("--member", min=1, help=_("The member's number."))],
    found: Annotated[bool, typer.Option("--found", help=_("Deploy the contracts first, and write the network file."))] = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Run one member's node in the foreground, behind its gateway, until interrupted."""
    from anchoring.member_node import run as serve

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    serve(folder, member, passphrase(passphrase_file), stopping, found=found, told=lambda url: say("serving at {url}", url=url))


def key(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("A new file, which only this user can read; best in memory."))],
    member: Annotated[int, typer.Option("--member", min=1, help=_("The member's number."))],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Write the key of a member's Besu node in clear, for the node to read: take the file away after its start."""
    from node.networks.create import SEALER_KEY
    from node.networks.keystore import read_key
    from node.networks.plan import read_plan

    opened = read_key(folder / read_plan(folder).member(member).folder / SEALER_KEY, passphrase(passphrase_file))
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
            target.write("0x" + opened.hex())
    except OSError as error:
        raise NetworkPlanInvalid(f"cannot write {file}: {error.strerror}") from error


def found(
    file: FileArgument,
    genesis: Annotated[Path, typer.Option("--genesis", help=_("The chain's genesis file."))],
    rpc: RpcOption,
    as_json: JsonOption = False,
) -> None:
    """Found the consortium on a chain that runs already, of any engine: deploy the contracts and write the network file."""
    from anchoring.renewal import found as founded
    from node.exported import read_genesis

    given = read_genesis(genesis)
    _write(file, rpc, as_json, lambda w3, progress: founded(w3, given, progress))


def renew(file: FileArgument, network: NetworkOption, rpc: RpcOption, as_json: JsonOption = False) -> None:
    """Write a newer network file, whose sealers are those of now, proved from the older file."""
    from anchoring.renewal import renewed

    trusted = read_trusted(network)
    _write(file, rpc, as_json, lambda w3, progress: renewed(w3, trusted, progress))


def _write(file: Path, rpc: str, as_json: bool, make: Callable[[Web3, Callable[[int], None]], Network]) -> None:
    """Write the network file that `make` gives at the node, where there is no file of the name yet."""
    from anchoring.link import one_line_errors
    from anchoring.network import encode_network
    from ledger.files import write_durably
    from node.client import connect

    if file.exists():
        raise NetworkPlanInvalid(f"{file} exists already: choose another name for the network file")
    with connect(rpc, None, time.time) as w3, one_line_errors(), progress(not as_json) as rows:
        made = make(w3, lambda blocks: rows("chain", blocks))
    try:
        write_durably(file, encode_network(made))
    except OSError as error:
        raise NetworkPlanInvalid(f"cannot write {file}: {error.strerror}") from error
    sealers = ["0x" + sealer.hex() for sealer in made.sealers]
    if as_json:
        return print_json({"file": str(file), "chain_id": made.chain_id, "engine": made.engine, "block": made.block, "sealers": sealers})
    say("{file}: chain {chain_id}, {engine}, trusts block {block} and {n} sealers", file=file, chain_id=made.chain_id, engine=made.engine,
        block=made.block, n=len(sealers))  # fmt: skip
    return say("compare its SHA-256 with the other members by telephone: {digest}", digest=sha256(file.read_bytes()).hexdigest())
