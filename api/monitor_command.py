"""`careseal monitor`: reads the journals of all members and raises alarms."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import console
from api.console import iso, print_json, progress, say
from api.duration import seconds
from api.errors import FAILED, FINDINGS
from api.evidence_commands import read_trusted
from api.language import _, reported
from api.options import JsonOption
from careseal import CaresealError
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from anchoring.log_source import Source
    from anchoring.monitor import Place, Round
    from anchoring.monitor_state import MonitorState
    from anchoring.network import Network

_JOURNAL = re.compile(r"([1-9][0-9]{0,8})(?:/([0-9]{1,9}))?=(.+)")


def monitor(
    network: Annotated[Path, typer.Option("--network", help=_("The consortium's network file."))],
    rpc: Annotated[str, typer.Option("--rpc", metavar="URL", help=_("A node of the chain; it is not believed."))],
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help=_("Folder for what was read already; made where there is none."))],
    journal: Annotated[
        list[str] | None,
        typer.Option(
            "--journal", metavar="N=PLACE",
            help=_("Where institution N shows its journal: a folder or http(s) address of an export; N/G=PLACE for generation G."),
        ),
    ] = None,
    max_lag: Annotated[str, typer.Option("--max-lag", help=_("Alarm when an institution's last checkpoint is older."))] = "2d",
    webhook: Annotated[str | None, typer.Option("--webhook", metavar="URL", help=_("Web address that gets each alarm, once."))] = None,
    webhook_secret: Annotated[
        Path | None, typer.Option("--webhook-secret-file", help=_("File with the secret that signs what is sent (HMAC-SHA256)."))
    ] = None,
    every: Annotated[str | None, typer.Option("--every", help=_("Go on, a round each time, as 60s or 5m; default: one round."))] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Read the journals of all members, hold them against the chain, and raise alarms. Exit 0 none, 1 alarms, 2 could not be done."""
    from anchoring.errors import MonitorStateInvalid
    from anchoring.link import consortium_of
    from anchoring.log_source import source_of
    from anchoring.monitor_state import opened
    from node.errors import NodeUnreachable

    trusted, places = read_trusted(network), dict(map(_place, journal or []))
    pause, told = None if every is None else seconds(every), _Told(webhook, _secret(webhook_secret), as_json)
    if pause is not None and pause < 1:
        raise typer.BadParameter(_("--every must be at least 1s"))
    watched = _Watched(trusted, rpc, {place: source_of(where) for place, where in places.items()}, seconds(max_lag))
    stop = threading.Event()
    if pause is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    with opened(state, repr(consortium_of(trusted))) as kept:
        begun = False
        while pause is not None:
            try:
                code = _round(watched, kept, told)
                begun = True
            except MonitorStateInvalid:
                raise
            except CaresealError as error:
                # A chain that is away is no reason to stop watching; one that was never the right one is.
                if not begun and not isinstance(error, NodeUnreachable):
                    raise
                code = FAILED
                console.err.print(f"careseal: {reported(str(error))}", markup=False)
            if stop.wait(pause):
                raise typer.Exit(code)
        raise typer.Exit(_round(watched, kept, told))


@dataclass(frozen=True, slots=True)
class _Watched:
    """What is watched: the chain by a node at `rpc`, and journals where they are shown. `max_lag` in seconds."""

    network: Network
    rpc: str
    sources: Mapping[Place, Source]
    max_lag: float


@dataclass(frozen=True, slots=True)
class _Told:
    """Who is told, and how."""

    webhook: str | None
    secret: bytes | None
    as_json: bool


def _round(watched: _Watched, kept: MonitorState, told: _Told) -> int:
    """One round, and its exit code."""
    from anchoring.link import one_line_errors
    from anchoring.monitor import Monitor
    from node.client import connect

    with connect(watched.rpc, None, time.time) as w3, one_line_errors(), progress(not told.as_json) as rows:
        watching = Monitor(w3, watched.network, kept, watched.sources, watched.max_lag, lambda entries: rows("journal", entries))
        seen = watching.round(time.time())
    if told.webhook is not None:
        _tell(told.webhook, told.secret, watched.network.chain_id, kept)
    _show(seen, told.as_json)
    return FINDINGS if seen.alarms else 0


def _show(seen: Round, as_json: bool) -> None:
    if as_json:
        return print_json({
            "ok": not seen.alarms, "block": seen.block, "entries": seen.entries,
            "journals": [
                {"institution": j.institution, "generation": j.generation, "size": j.size, "read": j.read, "checkpoints": j.checkpoints}
                for j in seen.journals
            ],
            "alarms": [
                {"id": alarm.id, "kind": alarm.kind.value, "institution": alarm.institution, "generation": alarm.generation,
                 "entry": alarm.entry, "detail": alarm.detail, "seen": iso(raised)}
                for alarm, raised in seen.alarms
            ],
        })  # fmt: skip
    for j in seen.journals:
        say("institution {institution}, generation {generation}: {read} of {size} entries read, {checkpoints} checkpoints agree",
            institution=j.institution, generation=j.generation, read=j.read, size=j.size, checkpoints=j.checkpoints)  # fmt: skip
    for alarm, raised in seen.alarms:
        say("{kind}  institution {institution}: {detail} (since {since}, {id})", kind=alarm.kind.upper(), institution=alarm.institution,
            detail=alarm.detail, since=iso(raised), id=alarm.id)  # fmt: skip
    if not seen.alarms:
        say("no alarms at block {block}", block=seen.block)
    return None


def _tell(url: str, secret: bytes | None, chain_id: int, kept: MonitorState) -> None:
    """Send the alarms that were not taken yet; one that is not taken now is sent again in the next round."""
    from anchoring.alarms import encode, tell

    waiting = kept.alarms(unsent=True)
    for alarm, raised in waiting:
        if not tell(url, encode(alarm, chain_id, raised), secret):
            console.err.print(_("careseal: the webhook does not take alarms: they are sent again in the next round"), markup=False)
            return
        kept.sent(alarm)


def _place(text: str) -> tuple[Place, str]:
    found = _JOURNAL.fullmatch(text)
    if found is None:
        raise LedgerError(f"{text} names no journal: give --journal N=FOLDER or N=URL, N the institution's number")
    return (int(found[1]), int(found[2] or 0)), found[3]


def _secret(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        secret = path.read_bytes()[:4096].strip()
    except OSError as error:
        raise LedgerError(f"cannot read the secret {path}: {error.strerror}") from error
    if len(secret) < 16:
        raise LedgerError(f"the secret in {path} is too short: at least 16 characters")
    return secret
