"""Receipts and their time stamps, as commands write and show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from api.console import err, say
from api.language import _, reported
from ledger.errors import LedgerError
from ledger.files import write_durably

if TYPE_CHECKING:
    from anchoring.stamping import Stamping
    from anchoring.timestamp import Stamp
    from anchoring.verify import Stamped
    from ledger.home import Home
    from ledger.journal import Checkpoint


def tell_failed(stamping: Stamping) -> None:
    """A line of warning for each TSA that gave no time stamp."""
    for error in stamping.failed:
        err.print(_("warning: {message}").format(message=reported(str(error))), markup=False)


def write_receipt(home: Home, checkpoint: Checkpoint, content: bytes, path: Path | None) -> Path:
    """Write the receipt of an anchored checkpoint to a file."""
    target = path or home.path / "receipts" / f"{checkpoint.size:012d}.json"
    try:
        if path is None:
            target.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(target, content)
    except OSError as error:
        raise LedgerError(f"cannot write the receipt {target}: {error.strerror}; the checkpoint is anchored all the same") from error
    return target


def precise(time: datetime) -> str:
    """A UTC time as ISO 8601, with as many digits as it has."""
    return time.isoformat().replace("+00:00", "Z")


def stamp_json(stamp: Stamp | None) -> dict[str, object] | None:
    """A stamp as JSON; `accuracy` in seconds, either way."""
    if stamp is None:
        return None
    return {
        "time": precise(stamp.time), "accuracy": stamp.accuracy.total_seconds(), "ordering": stamp.ordering, "policy": stamp.policy,
        "serial": str(stamp.serial), "tsa": stamp.tsa,
    }  # fmt: skip


def stamps_json(stamps: Sequence[Stamped]) -> list[dict[str, object]]:
    """`timestamps` of `verify --json`: a stamp is null where it was not checked."""
    return [{"receipt": str(one.receipt), "stamp": stamp_json(one.stamp)} for one in stamps]


def print_stamps(stamps: Sequence[Stamped]) -> None:
    """The time stamps of the receipts that were given, for people."""
    for one in stamps:
        if one.stamp is None:
            say("the time stamp of {receipt} was not checked: give --tsa-cert with the root certificate of its TSA", receipt=one.receipt)
        else:
            say("{receipt} existed at {time}, give or take {accuracy} s: stamped by {tsa} under policy {policy}", receipt=one.receipt,
                time=precise(one.stamp.time), accuracy=f"{one.stamp.accuracy.total_seconds():g}", tsa=one.stamp.tsa,
                policy=one.stamp.policy)  # fmt: skip
