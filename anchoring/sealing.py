"""One round of sealing: what was captured becomes entries, they become durable in the mirror, and their checkpoint goes to the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from anchoring.errors import NodeNotBelieved
from anchoring.link import Link
from anchoring.publish import check_head, publish
from ledger.errors import SourceError
from ledger.home import Home
from ledger.journal import Checkpoint
from ledger.mirror import mirror
from ledger.seal import seal
from node.errors import ChainLocked, NodeUnreachable

Rows = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: entries added, checkpoints anchored by it, and the journal's latest checkpoint."""

    added: int
    published: list[Checkpoint]
    latest: Checkpoint | None


@contextmanager
def sealed(home: Home, connection: AbstractContextManager[Link], now: int, progress: Rows) -> Iterator[tuple[Link, Round]]:
    """Seal and publish, and yield the open chain. `now` in milliseconds since 1970 UTC.

    A home that was rolled back seals nothing. While the chain cannot be reached, or its node not be believed, entries are made all the
    same, for a change that is not sealed loses its content to the next one; NodeUnreachable, ChainLocked or NodeNotBelieved then says
    that they wait for their anchor.
    """
    with ExitStack() as stack:
        try:
            link = stack.enter_context(connection)
            check_head(home, link)
        except (NodeUnreachable, ChainLocked, NodeNotBelieved) as error:
            added = seal(home, now, progress=progress).added
            mirror(home, progress)
            waiting = f"{added} entries were added and wait for their anchor, seal again when the chain is back"
            raise type(error)(f"{error}; {waiting}") from error
        try:
            added = seal(home, now, progress=progress).added
        except SourceError:
            # One table that cannot be read keeps no other from its anchor.
            publish(home, link, progress=progress)
            raise
        published = publish(home, link, progress=progress)
        yield link, Round(added, published, home.journal.latest())
