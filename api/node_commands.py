"""`careseal node`: serve the embedded chain, look at it, and vote in the consortium."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console import print_json, progress, say
from api.errors import FINDINGS
from api.evidence_commands import read_trusted
from api.follow_command import follow
from api.language import _, reported
from api.options import HomeOption as NeededHome
from api.options import JsonOption, NetworkOption, PassphraseOption
from api.passphrase import passphrase
from ledger.errors import HomeError, LedgerError
from node.errors import EngineFailed

if TYPE_CHECKING:
    from contracts.actions import Action

HomeOption = Annotated[Path | None, typer.Option("--home", envvar="CARESEAL_HOME", help=_("The institution's home folder."))]
NodeOption = Annotated[
    str | None, typer.Option("--node", metavar="PLACE", help=_("Your own node: the member's folder where its geth runs, or a URL."))
]
ChainOption = Annotated[Path | None, typer.Option("--chain", help=_("The chain's folder; default: the home's chain."))]


def app() -> typer.Typer:
    """The commands of `careseal node`."""
    made = typer.Typer(no_args_is_help=True, help=_("Run and look at the embedded chain; admit members."))
    commands: dict[str, Callable[..., None]] = {
        "run": run, "status": status, "check": check, "members": members, "admit": admit_member, "suspend": suspend_member,
        "replace-key": replace_key, "new-generation": approve_generation, "close-founding": close_founding, "trust": trust,
        "replay": replay, "export": export, "follow": follow,
    }  # fmt: skip
    for name, command in commands.items():
        made.command(name, help=_((command.__doc__ or "").strip()))(command)
    return made


def run(
    home: HomeOption = None,
    chain: ChainOption = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help=_("Port on loopback; 0 takes a free one."))] = 8545,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Serve the embedded chain on loopback until interrupted; other commands then use it."""
    from anchoring.founding import sealer_key
    from node.server import serve

    folder, secret = _folder(home, chain), passphrase(passphrase_file)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serve(folder, sealer_key(folder, lambda: secret)(), time.time, port=port) as server:
        say("serving the chain in {folder} at {url}", folder=folder, url=server.url)
        stop.wait()


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The exported chain, JSON or gzip."))],
    as_json: JsonOption = False,
) -> None:
    """Re-execute an exported chain from its genesis, and check every seal, link and root. Exit 0 it holds, 1 it does not, 2 it is none."""
    from node.exported import read_exported
    from node.replay import replay as replayed

    made = replayed(read_exported(file))
    sealers = ["0x" + sealer.hex() for sealer in made.sealers]
    if as_json:
        print_json({
            "ok": made.wrong is None, "engine": made.engine, "blocks": made.blocks, "transactions": made.transactions,
            "head": "0x" + made.head.hex(), "validators": sealers,
            "error": None if made.wrong is None else {"block": made.wrong, "reason": made.reason},
        })  # fmt: skip
    else:
        say("{blocks} blocks with {transactions} transactions hold, up to 0x{head} ({engine}, {n} sealers)", blocks=made.blocks,
            transactions=made.transactions, head=made.head.hex(), engine=made.engine, n=len(sealers))  # fmt: skip
        if made.wrong is not None:
            say("block {number} does not hold: {reason}", number=made.wrong, reason=reported(made.reason))
    raise typer.Exit(0 if made.wrong is None else FINDINGS)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The file to write; gzip where its name ends with .gz."))],
    network: NetworkOption,
    rpc: Annotated[str, typer.Option("--rpc", metavar="URL", help=_("A node of the chain, or an embedded chain's folder; not believed."))],
    genesis: Annotated[
        Path | None, typer.Option("--genesis", help=_("The chain's genesis file, needed where that allots accounts."))
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a whole chain to a file, for careseal node replay."""
    from web3.types import RPCEndpoint

    from anchoring.link import one_line_errors
    from node.client import connect
    from node.exported import export_chain, genesis_of, read_genesis
    from node.header import Header

    trusted = read_trusted(network)
    if file.exists():
        raise LedgerError(f"{file} exists already: choose another name")
    given = None if genesis is None else read_genesis(genesis)

    def allotted(first: Header) -> Any:
        return given or genesis_of(first, trusted.engine, trusted.chain_id, trusted.period, trusted.epoch)

    with connect(rpc, None, time.time) as w3, one_line_errors(), progress(not as_json) as rows:

        def ask(method: str, parameters: list[Any]) -> object:
            return w3.provider.make_request(RPCEndpoint(method), parameters).get("result")

        count = export_chain(ask, file, trusted.engine, allotted, lambda blocks: rows("chain", blocks))
    if as_json:
        return print_json({"file": str(file), "blocks": count})
    say("{file}: {blocks} blocks", file=file, blocks=count)
    return None


def status(home: HomeOption = None, chain: ChainOption = None, as_json: JsonOption = False) -> None:
    """Show the chain's id and head."""
    from node.client import connect

    target = _target(home, chain)
    with connect(target, None, time.time) as w3:
        head = w3.eth.get_block("latest")
        values = {
            "chain": str(target),
            "chain_id": w3.eth.chain_id,
            "block": head["number"],
            "hash": w3.to_hex(head["hash"]),
            "time": head["timestamp"],
        }
    if as_json:
        return print_json(values)
    return say("chain {chain_id} in {chain}: block {block}, {hash}", **values)


def check(home: HomeOption = None, chain: ChainOption = None) -> None:
    """Walk the whole embedded chain: every block, seal and state."""
    from node.embedded import EmbeddedChain

    with progress(True) as rows, EmbeddedChain.open(_folder(home, chain), None, time.time) as opened:
        done = 0

        def told(now: int, total: int) -> None:
            nonlocal done
            rows(_("chain"), now - done)
            done = now

        opened.check(told)
        number = opened.head.number
    say("the chain is whole: {blocks} blocks", blocks=number + 1)


def members(
    home: NeededHome,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the consortium's institutions and open proposals."""
    from anchoring.network import institution_name
    from api.commands import opened

    with opened(home, passphrase_file) as (_home, link):
        consortium = link.consortium
        listed = [consortium.institution(number) for number in range(1, consortium.institution_count() + 1)]
        open_proposals = [p for p in (consortium.proposal(n) for n in range(1, consortium.proposal_count() + 1)) if not p.until_block]
        names = {institution_name(_home.settings.name): _home.settings.name}
    values = [{"id": i.id, "name": names.get(i.name), "active": i.active, "from": i.from_block, "until": i.until_block} for i in listed]
    if as_json:
        return print_json(
            {
                "members": values,
                "proposals": [{"number": p.number, "action": p.action.kind.name.lower(), "votes": p.votes} for p in open_proposals],
            }
        )
    for value in values:
        say("institution {id}: {name}, {state}, since block {since}", id=value["id"], name=value["name"] or "-", since=value["from"],
            state=_("active") if value["active"] else _("ended"))  # fmt: skip
    for p in open_proposals:
        say("proposal {number}: {action}, {votes} votes", number=p.number, action=p.action.kind.name.lower(), votes=p.votes)
    return None


def admit_member(
    home: NeededHome,
    account: Annotated[str, typer.Option("--account", help=_("The new institution's account, as its init printed it."))],
    name: Annotated[str, typer.Option("--name", help=_("The new institution's name."))],
    sealer: Annotated[
        str | None, typer.Option("--sealer", help=_("The account of its node, to vote it in as a sealer too; needs --node."))
    ] = None,
    node: NodeOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Vote to admit an institution, and with --sealer its node; the majority's vote admits it."""
    from anchoring.network import institution_name
    from contracts.actions import Role, admit

    _vote(home, passphrase_file, admit(institution_name(name), Role.HOSPITAL, _account(account)), {sealer: True}, node)


def suspend_member(
    home: NeededHome,
    institution: Annotated[int, typer.Option("--institution", min=1, help=_("The institution's number."))],
    sealer: Annotated[
        str | None, typer.Option("--sealer", help=_("The account of its node, to vote it out as a sealer too; needs --node."))
    ] = None,
    node: NodeOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Vote to suspend an institution for good, and with --sealer to have its node seal no more."""
    from contracts.actions import suspend

    _vote(home, passphrase_file, suspend(institution), {sealer: False}, node)


def replace_key(
    home: NeededHome,
    institution: Annotated[int, typer.Option("--institution", min=1, help=_("The institution's number."))],
    account: Annotated[str, typer.Option("--account", help=_("The account that it has from now on."))],
    sealer: Annotated[
        str | None, typer.Option("--sealer", help=_("The account of its new node, to vote it in as a sealer too; needs --node."))
    ] = None,
    old_sealer: Annotated[
        str | None, typer.Option("--old-sealer", help=_("The account of its former node, to vote it out; needs --node."))
    ] = None,
    node: NodeOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Vote to give an institution that lost its key another account, and with --sealer and --old-sealer its node another one."""
    from contracts.actions import replace_sealing_key

    _vote(home, passphrase_file, replace_sealing_key(institution, _account(account)), {sealer: True, old_sealer: False}, node)


def approve_generation(
    home: NeededHome,
    institution: Annotated[int, typer.Option("--institution", min=1, help=_("The institution's number."))],
    generation: Annotated[int, typer.Option("--generation", min=1, help=_("The generation that begins: the present one and one more."))],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Vote to let an institution begin a new generation of its journal; the old one stays a permanent finding."""
    from contracts.actions import new_generation
    from ledger.home import Home

    secret = passphrase(passphrase_file, home)
    with Home.open(home, lambda: secret) as opened_home:
        journals = opened_home.settings.journals
    _vote(home, passphrase_file, new_generation(institution, generation, journals))


def close_founding(home: NeededHome, passphrase_file: PassphraseOption = None) -> None:
    """End the founding phase: from now on members are admitted by vote only."""
    from api.commands import opened

    with opened(home, passphrase_file) as (_home, link):
        link.send(link.consortium.close_founding(nonce=link.nonce()))
    say("founding is closed")


def trust(
    home: NeededHome,
    network: Annotated[Path, typer.Argument(metavar="FILE", help=_("The consortium's new network file."))],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Take the consortium's new network file as the home's root of trust, after its sealers changed."""
    from anchoring.founding import take_network
    from api.commands import linked
    from ledger.home import Home

    trusted, secret = read_trusted(network), passphrase(passphrase_file)
    with Home.open(home, lambda: secret) as opened_home, linked(opened_home, secret, trusted) as link:
        take_network(opened_home, link)
    say("trusted from now on: block {block} and {sealers} sealers", block=trusted.block, sealers=len(trusted.sealers))
    say("the recovery kit has the former network file: take this one again after a restore")


def _vote(
    home: Path, passphrase_file: Path | None, action: Action, sealers: Mapping[str | None, bool] = MappingProxyType({}),
    node: str | None = None,
) -> None:  # fmt: skip
    """Vote for an open proposal of this action, or make one; before that, at the institution's own node, on who seals."""
    from api.commands import opened

    wanted = {bytes.fromhex(_account(sealer)[2:]): add for sealer, add in sealers.items() if sealer is not None}
    if bool(wanted) != (node is not None):
        raise HomeError("a vote on a sealer takes place at your own node: give --node with --sealer, or neither")
    with opened(home, passphrase_file) as (_home, link):
        if node is not None:
            _vote_on_sealers(node, link.network.engine, wanted)
        consortium = link.consortium
        for number in range(1, consortium.proposal_count() + 1):
            proposal = consortium.proposal(number)
            if proposal.action == action and not proposal.until_block and not consortium.has_voted(number, link.institution):
                link.send(consortium.vote(number, nonce=link.nonce()))
                break
        else:
            receipt = link.send(consortium.propose(action, nonce=link.nonce()))
            number = consortium.proposed(receipt) or consortium.proposal_count()
        proposal = consortium.proposal(number)
    if proposal.until_block:
        say("proposal {number} has its majority and is carried out", number=number)
    else:
        say("proposal {number} has {votes} votes and waits for the majority", number=number, votes=proposal.votes)


def _vote_on_sealers(node: str, engine: str, wanted: Mapping[bytes, bool]) -> None:
    """Have the institution's own node vote: a member's folder where its geth runs, or the URL of its node."""
    from web3.types import RPCEndpoint

    from node.client import connect
    from node.networks.running import Ipc
    from node.networks.runs import runs
    from node.networks.votes import vote

    def each(ask: Callable[..., Any]) -> None:
        for account, add in wanted.items():
            vote(ask, engine, account, add=add)

    if "://" not in node:
        found = runs(Path(node))
        if found is None:
            raise EngineFailed(f"no node runs in {node}: give the folder of a member whose node runs here, or the URL of its node")
        each(Ipc(found.ipc).ask)
    else:
        with connect(node, None, time.time) as w3:

            def ask(method: str, *parameters: object) -> Any:
                answer = w3.provider.make_request(RPCEndpoint(method), parameters)
                if "result" not in answer:
                    raise EngineFailed(f"the node refused {method}: {str(answer.get('error', {}).get('message', ''))[:200]}")
                return answer["result"]

            each(ask)
    say("the node votes in its next blocks; careseal network renew writes a new network file when the majority did")


def _account(text: str) -> str:
    if not re.fullmatch("0x[0-9a-fA-F]{40}", text):
        raise HomeError(f"{text} is no account: give 0x and 40 hex digits, as the new member's init printed it")
    return text


def _target(home: Path | None, chain: Path | None) -> str | Path:
    from ledger.home import read_settings

    if chain is not None:
        return chain
    if home is None:
        raise HomeError("name the chain: give --home or --chain")
    return read_settings(home).chain


def _folder(home: Path | None, chain: Path | None) -> Path:
    from anchoring.network import NETWORK

    target = _target(home, chain)
    if isinstance(target, str) and "://" in target:
        raise HomeError("this home's chain is reached by URL: only an embedded chain in a folder can be served or checked here")
    folder = Path(target)
    if not (folder / NETWORK).exists():
        raise HomeError(f"there is no finished chain in {folder}: run careseal init first")
    return folder
