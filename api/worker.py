"""`careseal run`: seals, publishes and audits a rolling part of the tables, again and again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import console
from api.console import mirror_json, say
from api.duration import seconds
from api.language import _, reported
from api.options import HomeOption, JsonOption, PassphraseOption
from api.passphrase import passphrase
from careseal import CaresealError
from ledger.findings import Finding
from ledger.watch import News, Watch

if TYPE_CHECKING:
    from ledger.mirror_check import MirrorFault

log = logging.getLogger("careseal.run")


def run(
    home: HomeOption,
    every: Annotated[str, typer.Option("--every", help=_("How often to seal, as 60s or 5m."))] = "60s",
    full_audit_every: Annotated[
        str, typer.Option("--full-audit-every", help=_("In what time every row is audited again, as 24h."))
    ] = "24h",
    stamp_every: Annotated[
        str, typer.Option("--stamp-every", help=_("How often to ask the home's TSAs for a time stamp; 0s stamps every round."))
    ] = "1h",
    max_lag: Annotated[str, typer.Option("--max-lag", help=_("Warn when entries wait longer than this for their anchor."))] = "10m",
    cycles: Annotated[int, typer.Option("--cycles", min=0, help=_("Stop after this many rounds; 0 runs until interrupted."))] = 0,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal, publish and audit in rounds until interrupted; a round that fails is tried again. Findings are told as they come and go."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    pace = _Pace(seconds(every), seconds(full_audit_every), seconds(max_lag), seconds(stamp_every))
    if pace.every < 1 or pace.whole < pace.every:
        raise typer.BadParameter(_("--every must be at least 1s and at most --full-audit-every"))
    done, failed, found, known = 0, 0, False, _Known()
    while not stop.is_set():
        start = time.monotonic()
        try:
            found |= _round(home, passphrase_file, pace, known, as_json)
            failed = 0
        except CaresealError as error:
            failed += 1
            console.err.print(f"careseal: {reported(str(error))}", markup=False)
        done += 1
        if cycles and done >= cycles:
            break
        period = pace.every * min(2**failed, 8) if failed else pace.every
        stop.wait(max(0.0, period - (time.monotonic() - start)))
    raise typer.Exit(2 if failed else 1 if found else 0)


@dataclass(frozen=True, slots=True)
class _Pace:
    """Seconds: between rounds, until all is audited again, that entries may wait for their anchor, between time stamps."""

    every: float
    whole: float
    lag: float
    stamps: float


@dataclass(slots=True)
class _Known:
    """What earlier rounds told: after a restart it is told once more."""

    findings: Watch = field(default_factory=Watch)
    mirror: list[MirrorFault] = field(default_factory=list)


def _round(home: Path, passphrase_file: Path | None, pace: _Pace, known: _Known, as_json: bool) -> bool:
    """One round; whether it found something."""
    from anchoring.receipt import make_receipt
    from anchoring.rolling import finish, next_part
    from anchoring.sealing import sealed
    from anchoring.stamping import is_due, stamp_receipt
    from anchoring.verify import verify
    from api.commands import linked
    from api.receipts import promising, tell_completed, tell_failed, write_receipt
    from ledger.home import Home
    from ledger.seal import quiet

    secret, now = passphrase(passphrase_file, home), int(time.time() * 1000)
    with Home.open(home, lambda: secret) as opened_home:
        connection = linked(opened_home, secret)
        with promising(opened_home, None, as_json=as_json), sealed(opened_home, connection, now, quiet) as (link, done):
            tell_completed(opened_home, as_json=as_json)
            checkpoint = done.latest if opened_home.settings.tsa and is_due(opened_home, now / 1000, pace.stamps) else None
            signed = None if checkpoint is None else make_receipt(opened_home.settings, checkpoint, opened_home.keyring.sealing)
            part = next_part(opened_home, pace.every, pace.whole, now / 1000)
            verified = verify(opened_home, link, part.scope, time.time(), max_lag=pace.lag)
            finish(opened_home, part, now / 1000)
        if checkpoint is not None and signed is not None:
            stamping = stamp_receipt(opened_home, checkpoint, signed)
            tell_failed(stamping)
            if stamping.stamp is not None:
                write_receipt(opened_home, checkpoint, stamping.receipt, None)
    result, block = verified.audit, done.published[-1].block if done.published else None
    news = known.findings.take(result.findings, ends_cycle=part.ends_cycle)
    if as_json:
        _print_lines(news, {"added": done.added, "block": block, "rows": result.rows, "mirror_faults": mirror_json(verified.mirror)})
        return not result.ok
    say("{time}  {added} entries added, anchored in block {block}, {rows} rows audited, {n} findings: {new} new, {changed} changed, "
        "{gone} gone", time=console.iso(time.time()), added=done.added, block=block, rows=result.rows,
        n=news.open, new=len(news.new), changed=len(news.changed), gone=len(news.gone))  # fmt: skip
    told, marks = _marked(news), {"new": _("NEW"), "changed": _("CHANGED"), "gone": _("GONE")}
    for change, finding in told[: console.MOST_FINDINGS]:
        console.print_finding(finding, marks[change])
    if len(told) > console.MOST_FINDINGS:
        say("… and {n} more; careseal verify --json lists all findings", n=len(told) - console.MOST_FINDINGS)
    if part.scope.journal and list(verified.mirror) != known.mirror:
        known.mirror = list(verified.mirror)
        console.print_mirror_faults(verified.mirror)
    return not result.ok


def _marked(news: News) -> list[tuple[str, Finding]]:
    groups = (("new", news.new), ("changed", news.changed), ("gone", news.gone))
    return [(change, finding) for change, found in groups for finding in found]


def _print_lines(news: News, about: dict[str, object]) -> None:
    """One JSON document in each line: what is news of findings, then the round."""
    at = {"time": console.iso(time.time())}
    for change, finding in _marked(news):
        console.print_json_line({"event": change, **at, **console.finding_json(finding)})
    counts = {"findings": news.open, "new": len(news.new), "changed": len(news.changed), "gone": len(news.gone)}
    console.print_json_line({"event": "round", **at, **about, **counts})
