"""`careseal network succeed` and `careseal network succession`: moving to another chain, engine or contracts, with all journals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anchoring.evidence_main import read_evidence
from api.console import print_json, say
from api.evidence_commands import read_trusted
from api.kit import say_kit, write_new_kit
from api.language import _
from api.options import HomeOption, JsonOption, NetworkOption, PassphraseOption
from api.passphrase import given_passphrase, passphrase, recovery_passphrase
from careseal import CaresealError
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web3 import Web3

    from anchoring.network import Network
    from ledger.home import Home

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help=_("The succession file; the first institution to move writes it."))]
SuccessorOption = Annotated[Path, typer.Option("--network", help=_("The successor's network file."))]


def succeed(
    home: HomeOption,
    file: FileArgument,
    network: SuccessorOption,
    chain: Annotated[str, typer.Option("--chain", help=_("The successor's folder, or its nodes' URLs with commas between."))],
    kit: Annotated[Path | None, typer.Option("--kit", help=_("Where to write the new recovery kit; default: beside the home."))] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move this institution to the consortium's successor: its journal goes on there, from where it stands on the present chain."""
    from anchoring.founding import sealer_key
    from anchoring.link import Link, one_line_errors
    from anchoring.succeeding import move
    from ledger.home import Home
    from node.client import connect

    secret, successor = passphrase(passphrase_file), read_trusted(network)
    place = chain if "://" in chain else str(Path(chain).resolve())
    sealer = None if "://" in place else sealer_key(Path(place), lambda: secret)
    spoken = None if given_passphrase(passphrase_file) else recovery_passphrase()
    with Home.open(home, lambda: secret) as opened:
        part, written = _predecessor(opened, file, secret), []
        with connect(place, sealer, time.time) as w3, one_line_errors():
            link = Link(w3, successor, 0, opened.keyring.sealing)

            def new_kit(settings: Any) -> None:
                written.append(
                    write_new_kit(opened, settings, opened.keyring, kit, secret, spoken.encode() if spoken else secret)
                )

            settings = move(opened, link, place, part, int(time.time() * 1000), new_kit)
            missing = _finish(file, w3, successor, part)
    if as_json:
        extra = {"kit": str(written[0]), "missing": missing} | ({"recovery_passphrase": spoken} if spoken else {})
        return print_json({"institution": settings.institution, "chain_id": settings.chain_id, "block": part["block"], **extra})
    say("moved: institution {number} on chain {chain_id}", number=settings.institution, chain_id=settings.chain_id)
    say_kit(written[0], spoken)
    return _say_finished(file, missing)


def succession(
    file: FileArgument,
    network: NetworkOption,
    rpc: Annotated[str, typer.Option("--rpc", metavar="URL", help=_("A node of the chain; it is not believed."))],
    as_json: JsonOption = False,
) -> None:
    """Finish a succession file once all institutions moved, or prove it anew from the successor's present state."""
    from anchoring.link import one_line_errors
    from anchoring.succession import read_unfinished
    from node.client import connect

    trusted, part = read_trusted(network), read_unfinished(read_evidence(file))
    with connect(rpc, None, time.time) as w3, one_line_errors():
        missing = _finish(file, w3, trusted, part)
    if as_json:
        print_json({"file": str(file), "finished": missing is None, "missing": missing})
    else:
        _say_finished(file, missing)
    if missing is not None:
        raise typer.Exit(1)


def _predecessor(home: Home, file: Path, secret: bytes) -> Mapping[str, Any]:
    """What the file says of the predecessor; made of the home's chain, and written, where there is no file yet."""
    from anchoring.succeeding import predecessor_part
    from anchoring.succession import encode_succession, read_unfinished
    from api.commands import linked

    if file.exists():
        return read_unfinished(read_evidence(file))
    with linked(home, secret) as link:
        part = predecessor_part(link.w3, link.network)
    _write(file, encode_succession({"predecessor": part}))
    return part


def _finish(file: Path, w3: Web3, network: Network, part: Mapping[str, Any]) -> str | None:
    """Write the finished file; else why it is not finished yet."""
    from anchoring.succeeding import finished

    try:
        data = finished(w3, network, part)
    except CaresealError as error:
        return str(error)
    _write(file, data)
    return None


def _say_finished(file: Path, missing: str | None) -> None:
    if missing is None:
        return say("{file}: finished; it leads from the successor's network file to the predecessor's", file=file)
    return say("{file}: {missing}", file=file, missing=missing)


def _write(file: Path, data: bytes) -> None:
    from ledger.files import write_durably

    try:
        write_durably(file, data)
    except OSError as error:
        raise LedgerError(f"cannot write {file}: {error.strerror}") from error
