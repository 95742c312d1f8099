"""`careseal run`: seals, publishes and audits a rolling part of the tables, again and again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from api import console
from api.console import say
from api.duration import seconds
from api.language import _, reported
from api.options import HomeOption, PassphraseOption
from api.passphrase import passphrase
from careseal import CaresealError

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
) -> None:
    """Seal, publish and audit in rounds until interrupted; a round that fails is tried again in the next."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    period, whole, lag, stamps = seconds(every), seconds(full_audit_every), seconds(max_lag), seconds(stamp_every)
    if period < 1 or whole < period:
        raise typer.BadParameter(_("--every must be at least 1s and at most --full-audit-every"))
    done, failed, found = 0, 0, False
    while not stop.is_set():
        start = time.monotonic()
        try:
            found |= _round(home, passphrase_file, period, whole, lag, stamps)
            failed = 0
        except CaresealError as error:
            failed += 1
            console.err.print(f"careseal: {reported(str(error))}", markup=False)
        done += 1
        if cycles and done >= cycles:
            break
        stop.wait(
            max(0.0, period * min(2**failed, 8) - (time.monotonic() - start)) if failed else max(0.0, period - (time.monotonic() - start))
        )
    raise typer.Exit(2 if failed else 1 if found else 0)


def _round(home: Path, passphrase_file: Path | None, every: float, whole: float, lag: float, stamps: float) -> bool:
    """One round; whether it found something."""
    from anchoring.receipt import make_receipt
    from anchoring.rolling import finish, next_part
    from anchoring.sealing import sealed
    from anchoring.stamping import is_due, stamp_receipt
    from anchoring.verify import verify
    from api.commands import linked
    from api.receipts import tell_failed, write_receipt
    from ledger.home import Home
    from ledger.seal import quiet

    secret, now = passphrase(passphrase_file, home), int(time.time() * 1000)
    with Home.open(home, lambda: secret) as opened_home:
        with sealed(opened_home, linked(opened_home, secret), now, quiet) as (link, done):
            checkpoint = done.latest if opened_home.settings.tsa and is_due(opened_home, now / 1000, stamps) else None
            signed = None if checkpoint is None else make_receipt(opened_home.settings, checkpoint, link)
            part = next_part(opened_home, every, whole, now / 1000)
            result = verify(opened_home, link, part.scope, time.time(), max_lag=lag).audit
            finish(opened_home, part, now / 1000)
        if checkpoint is not None and signed is not None:
            stamping = stamp_receipt(opened_home, checkpoint, signed)
            tell_failed(stamping)
            if stamping.stamp is not None:
                write_receipt(opened_home, checkpoint, stamping.receipt, None)
    block = done.published[-1].block if done.published else None
    say("{time}  {added} entries added, anchored in block {block}, {rows} rows audited, {n} findings", time=console.iso(time.time()),
        added=done.added, block=block, rows=result.rows, n=len(result.findings))  # fmt: skip
    for finding in result.findings[: console.MOST_FINDINGS]:
        console.print_finding(finding)
    return not result.ok
