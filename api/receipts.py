"""Receipts and their time stamps, as commands write and show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from api.console import err, print_json_line, say
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


def place_of(home: Home, checkpoint: Checkpoint) -> Path:
    """Where a checkpoint's receipt lies in the home."""
    return home.path / "receipts" / f"{checkpoint.size:012d}.json"


@contextmanager
def promising(home: Home, path: Path | None, *, as_json: bool) -> Iterator[None]:
    """Where the chain keeps what is sealed in here from its anchor, leave a provisional receipt of it, and tell; the error goes on."""
    from anchoring.errors import ChainStands, NodeNotBelieved
    from anchoring.provisional import promise
    from node.errors import ChainLocked, NodeUnreachable

    try:
        yield
    except (NodeUnreachable, ChainLocked, NodeNotBelieved, ChainStands):
        # What is sealed is durable in the mirror by now.
        with suppress(LedgerError):  # the first error says what to do
            promised = promise(home, lambda checkpoint: path or place_of(home, checkpoint))
            if promised is not None and as_json:
                print_json_line({"provisional_receipt": str(promised)})
            elif promised is not None:
                say("provisional receipt: {path} - the receipt takes its place once the checkpoint is anchored", path=promised)
        raise


def tell_completed(home: Home, *, as_json: bool) -> None:
    """Put receipts in the places of provisional ones, and tell."""
    from anchoring.provisional import complete

    done = complete(home)
    for path in done.written if not as_json else ():
        say("receipt: {path} is no longer provisional", path=path)
    for error in done.failed:
        err.print(_("warning: {message}").format(message=reported(str(error))), markup=False)


def write_receipt(home: Home, checkpoint: Checkpoint, content: bytes, path: Path | None) -> Path:
    """Write the receipt of an anchored checkpoint to a file."""
    target = path or place_of(home, checkpoint)
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
