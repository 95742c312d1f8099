"""Events that others are to rely on: journalled, and anchored before anything is handed out that names them."""

from __future__ import annotations

from anchoring.link import Link
from anchoring.publish import check_head, publish
from ledger.home import Home
from ledger.wire import Kind


def announce(home: Home, link: Link, kind: Kind, document: object, now: int) -> int:
    """Journal an event and anchor it; returns the number of its entry. `now` in milliseconds since 1970 UTC.

    JournalDiverged, with nothing journalled, where the home was rolled back. What keeps the checkpoint from the chain leaves it in the
    outbox.
    """
    check_head(home, link)
    with home.batch(now) as batch:
        index = batch.add_event(kind, document, now)
    publish(home, link)
    return index
