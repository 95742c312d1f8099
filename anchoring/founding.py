"""Founding and joining: the embedded chain's folder, its contracts, the home, its membership and its recovery kit."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eth_utils.address import to_checksum_address
from web3 import Web3

from anchoring.chain_state import confirmed, raw_header
from anchoring.errors import AnchoringError, NetworkInvalid, NodeNotBelieved
from anchoring.link import Link, one_line_errors, trusted_network
from anchoring.network import ENGINE, NETWORK, Network, encode_network, institution_name, read_network
from anchoring.sender import Sender
from anchoring.stamping import check_tsas
from contracts.actions import Role, set_contract
from contracts.artifacts import load
from contracts.calls import Consortium, deploy_consortium, deploy_journals
from ledger.backup import Kit, write_kit
from ledger.errors import HomeError, KeyUnavailable
from ledger.files import write_durably
from ledger.home import CONFIG, UNFINISHED, Home, Settings, exclusive, read_keyring, read_settings, write_settings
from ledger.keys import Keyring, open_box, seal_box
from ledger.mirror import prepare_folder
from node import clique
from node.client import connect
from node.confirmation import Trust
from node.embedded import EmbeddedChain
from node.engines import ENGINES
from node.errors import ChainExists, Unconfirmed
from node.header import Header, block_hash

SEALER = "sealer.json"
SEALER_PURPOSE = "sealer key"
_FOUNDING_SECONDS = 60.0  # that another process may take to found the chain


@dataclass(frozen=True, slots=True)
class Plan:
    """What `init` is asked for. `chain` is a folder or URL, None for a chain inside the home; `network` is needed with a URL; `tsa` lists
    the addresses of TSAs.
    """

    home: Path
    name: str
    kit: Path
    chain: str | None = None
    network: Path | None = None
    mirror: Path | None = None
    tsa: tuple[str, ...] = ()


def sealer_key(chain: Path, passphrase: Callable[[], bytes]) -> Callable[[], bytes]:
    """A function that opens the embedded chain's sealer key when it is asked for. KeyUnavailable where another passphrase made it."""

    def open_key() -> bytes:
        if not (chain / SEALER).exists():
            raise AnchoringError(f"there is no chain in {chain}: mount its disk, put back a backup of that folder, or check its place")
        try:
            return bytes.fromhex(open_box(chain / SEALER, passphrase(), SEALER_PURPOSE)["key"])
        except KeyUnavailable as error:
            raise KeyUnavailable(
                f"wrong passphrase for the chain in {chain}: give that of its founder, or let the founder serve it with careseal node run"
            ) from error

    return open_key


def take_over(chain: Path, key: bytes, passphrase: bytes) -> None:
    """Put the chain's sealer key under this passphrase, where another one was lost."""
    try:
        open_box(chain / SEALER, passphrase, SEALER_PURPOSE)
    except (KeyUnavailable, HomeError):
        _write(chain, lambda: write_durably(chain / SEALER, seal_box(passphrase, SEALER_PURPOSE, {"key": key.hex()})))


def create_home(plan: Plan, passphrase: bytes, kit_passphrase: bytes, clock: Callable[[], float]) -> Settings:
    """Create a home and make it a member of its chain; run again after a crash, or after an admission by vote, it goes on.

    HomeError where there is a finished home already; AnchoringError where the consortium admits by vote only, or knows another
    institution by this name: then no home is begun, and one that was begun earlier takes any other name.
    """
    path = plan.home
    check_tsas(plan.tsa)
    chain = plan.chain or str((path / "chain").resolve())
    if "://" not in chain:
        chain = str(Path(chain).resolve())
    settings = replace(_prepared(plan, chain, passphrase, clock), name=plan.name)
    keyring = read_keyring(path, passphrase)
    network = _network(plan, chain, keyring, passphrase, clock)
    settings = replace(
        settings,
        chain_id=network.chain_id,
        consortium=to_checksum_address(network.consortium),
        journals=to_checksum_address(network.journals),
        network=encode_network(network).decode(),
    )
    sealer = None if "://" in chain else sealer_key(Path(chain), lambda: passphrase)
    with connect(chain, sealer, clock) as w3, one_line_errors():
        link = Link(w3, network, 0, keyring.sealing)
        link.check()
        link.state()
        settings = replace(settings, institution=join(link, settings.name))
    founded = sealer is not None and settings.institution == 1
    kit = Kit(settings, keyring, sealer() if founded and sealer else None)
    _write(plan.kit, lambda: write_kit(plan.kit, path, kit, kit_passphrase))
    write_durably(path / NETWORK, encode_network(network))
    write_settings(path, settings, keyring)
    return settings


def take_network(home: Home, link: Link) -> None:
    """Make the link's network file the root of trust of an opened home, which `link` leads to the chain of.

    AnchoringError where it is older than the home's, and NodeNotBelieved where the chain does not follow from it.
    """
    former = trusted_network(home.settings)
    if link.network.block < former.block:
        raise AnchoringError(
            f"this network file trusts block {link.network.block}, the home trusts {former.block} already: get the latest file"
        )
    link.state()
    text = encode_network(link.network)
    write_settings(home.path, replace(home.settings, network=text.decode()), home.keyring)
    write_durably(home.path / NETWORK, text)


def _prepared(plan: Plan, chain: str, passphrase: bytes, clock: Callable[[], float]) -> Settings:
    """The home's files with institution 0, which says that it is not a member yet."""
    if (plan.home / CONFIG).exists():
        settings = read_settings(plan.home)
        if settings.institution:
            raise HomeError(f"{plan.home} is a home already ({settings.name}): choose another folder")
        return settings
    if plan.kit.exists():
        raise HomeError(f"the recovery kit {plan.kit} exists already: move it away or name another with --kit")
    _check_name(plan, chain, clock)
    _write(plan.home, lambda: plan.home.mkdir(mode=0o700, parents=True, exist_ok=True))
    _write(plan.home, lambda: _clear(plan.home))
    mirror = None
    if plan.mirror is not None:
        prepare_folder(plan.mirror)
        mirror = str(plan.mirror.resolve())
    settings = Settings(plan.name, os.urandom(16).hex(), chain, 0, "", "", 0, mirror, tsa=plan.tsa)
    _write(plan.home, lambda: Home.create(plan.home, settings, Keyring.generate(), passphrase))
    return settings


def _check_name(plan: Plan, chain: str, clock: Callable[[], float]) -> None:
    """Raise AnchoringError where there is a chain already and its consortium knows an institution by the name."""
    network = _known_network(plan, chain)
    if network is not None:
        with connect(chain, None, clock) as w3, one_line_errors():
            consortium = Consortium(w3, to_checksum_address(network.consortium))
            if consortium.named(institution_name(plan.name)):
                raise _name_taken(plan.name)


def _clear(home: Path) -> None:
    """Take away what an init left that was killed before it wrote `home.json`; HomeError where there is anything else."""
    if (home / UNFINISHED).exists():
        for entry in sorted(home.iterdir(), key=lambda entry: entry.name == UNFINISHED):
            entry.unlink()
    if any(home.iterdir()):
        raise HomeError(f"{home} is not empty: choose a new folder for the home")


def _known_network(plan: Plan, chain: str) -> Network | None:
    """The network of the chain that there is, None where it is still to be founded."""
    if plan.network is not None:
        try:
            return read_network(plan.network)
        except OSError as error:
            raise NetworkInvalid(f"cannot read the network file {plan.network}: {error.strerror}") from error
    if "://" in chain:
        raise NetworkInvalid("a chain that is reached by URL needs --network FILE, the network file of the consortium")
    return read_network(Path(chain) / NETWORK) if (Path(chain) / NETWORK).is_file() else None


def _network(plan: Plan, chain: str, keyring: Keyring, passphrase: bytes, clock: Callable[[], float]) -> Network:
    known = _known_network(plan, chain)
    if known is not None:
        return known
    folder = Path(chain)
    _write(folder, lambda: folder.mkdir(mode=0o700, parents=True, exist_ok=True))
    with exclusive(folder, _FOUNDING_SECONDS, "founding.lock"):
        with suppress(FileNotFoundError):
            return read_network(folder / NETWORK)
        _create_chain(folder, passphrase, clock)
        with connect(folder, sealer_key(folder, lambda: passphrase), clock) as w3, one_line_errors():
            network = deploy(w3, keyring.sealing, ENGINE, _embedded_genesis(w3))
        _write(folder, lambda: write_durably(folder / NETWORK, encode_network(network)))
        return network


def _create_chain(folder: Path, passphrase: bytes, clock: Callable[[], float]) -> None:
    """An embedded chain with a random id and a sealer key of its own, encrypted under the founder's passphrase."""
    if not (folder / SEALER).exists():
        _write(folder, lambda: write_durably(folder / SEALER, seal_box(passphrase, SEALER_PURPOSE, {"key": os.urandom(32).hex()})))
    key = sealer_key(folder, lambda: passphrase)()
    chain_id = 1_000_000 + int.from_bytes(os.urandom(4), "big")
    with suppress(ChainExists), EmbeddedChain.create(folder, chain_id, key, clock):
        pass


def deploy(w3: Web3, key: bytes, engine: str, genesis: Trust) -> Network:
    """Deploy the contracts by the account of `key`; the network file trusts a block that has them and counts.

    `genesis` is the chain's first block with its rules and sealers. AnchoringError where no block comes to count.
    """
    founder = Sender(w3, key)
    consortium = founder.send(deploy_consortium(w3, nonce=founder.nonce()))["contractAddress"]
    receipt = founder.send(deploy_journals(w3, str(consortium), nonce=founder.nonce()))
    network = Network(
        w3.eth.chain_id, engine, genesis.period, genesis.epoch, bytes.fromhex(str(consortium)[2:]), load("Consortium").code_hash,
        bytes.fromhex(str(receipt["contractAddress"])[2:]), load("Journals").code_hash, genesis.block, genesis.block_hash, genesis.sealers,
    )  # fmt: skip

    def look() -> Header | None:
        with suppress(Unconfirmed):
            head = confirmed(w3, network)
            return head if head.number >= receipt["blockNumber"] else None
        return None

    trusted = founder.wait(look)
    return replace(network, block=trusted.number, block_hash=ENGINES[engine].block_hash(trusted))


def _embedded_genesis(w3: Web3) -> Trust:
    first = raw_header(w3, 0, ENGINE)
    return Trust(0, block_hash(first), clique.parse_extra(first.extra_data).signers, 1, clique.EPOCH)


def join(link: Link, name: str) -> int:
    """The institution's id; joins during the founding phase, and the first member names the journals contract."""
    institution = link.consortium.institution_of(link.account)
    named = link.consortium.named(institution_name(name))
    if named and named != institution:
        raise _name_taken(name)
    if institution and not named:
        raise AnchoringError(f"this home is institution {institution} already, not under the name {name!r}: give the name it joined by")
    if not institution:
        if not link.consortium.founding():
            raise AnchoringError(
                f"the consortium admits by vote: members run careseal node admit --account {link.account} --name {name!r};"
                " then run init again"
            )
        link.send(link.consortium.join(institution_name(name), Role.HOSPITAL, nonce=link.nonce()))
        institution = link.consortium.institution_of(link.account)
    link.institution = institution
    if bytes.fromhex(link.account[2:]) not in link.state().sealing_accounts():
        raise NodeNotBelieved(f"the chain's node is not believed: institution {institution} is not this one; use another node")
    if link.consortium.member_count() == 1 and link.consortium.contract_at("journals") is None:
        link.send(link.consortium.propose(set_contract("journals", link.journals.address), nonce=link.nonce()))
    return institution


def _name_taken(name: str) -> AnchoringError:
    return AnchoringError(
        f"the consortium knows another institution by the name {name!r}: run init again with another --name;"
        " a home that was lost comes back by careseal restore"
    )


def _write(path: Path, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        raise HomeError(f"cannot write {path}: {error.strerror}") from error
