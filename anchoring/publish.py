"""Publishing: every checkpoint goes to the chain exactly once, in order, whatever is killed in between.

The outbox is the ledger's list of checkpoints without a block. What the chain has is asked first, proofs start from there, and every
transaction has the account's next number, whatever waits in pools: it fills a gap, and of all with that number one is mined. The contract
refuses a second copy, so repeating is harmless.
"""

from __future__ import annotations

from collections.abc import Callable

from anchoring.errors import AnchoringError, JournalDiverged, NodeNotBelieved, Superseded
from anchoring.link import Link
from contracts.calls import ChainCheckpoint, ContractRefused
from ledger.home import Home
from ledger.journal import Checkpoint
from ledger.mirror import mirror

_MOST_TRIES = 4


def publish(
    home: Home, link: Link, told: Callable[[Checkpoint], None] = lambda checkpoint: None,
    progress: Callable[[str, int], None] = lambda what, entries: None,
) -> list[Checkpoint]:  # fmt: skip
    """Publish what is sealed, after it is durable in the mirror; returns the checkpoints that are anchored now and were not before.

    `progress` hears of entries that were mirrored.

    JournalDiverged where the chain has a longer or another history. ContractRefused, AnchoringError and NodeUnreachable leave
    the checkpoint in the outbox.
    """
    mirror(home, progress)
    _take_back_lost(home, link)
    if home.journal.unanchored() is None:
        check_head(home, link)
        return []
    done = []
    while (checkpoint := home.journal.unanchored()) is not None:
        check_head(home, link)
        found = link.state().find(checkpoint.generation, checkpoint.size)
        if found is None:
            _send(home, link, checkpoint)
        found = _confirmed(link, checkpoint)
        if found.root != checkpoint.root:
            raise JournalDiverged(f"the chain has another root for {checkpoint.size} entries than this home: run careseal verify")
        anchored = link.anchored(checkpoint, found)
        with home.store.transaction():
            home.journal.mark_anchored(anchored)
        done.append(anchored)
        told(anchored)
    return done


def _confirmed(link: Link, checkpoint: Checkpoint) -> ChainCheckpoint:
    """The checkpoint, which was mined, as the chain has it at a block that counts; AnchoringError where none comes to count."""

    def look() -> ChainCheckpoint | None:
        state = link.confirmed()
        return None if state is None else state.find(checkpoint.generation, checkpoint.size)

    return link.wait(look)


def _take_back_lost(home: Home, link: Link) -> None:
    """Put checkpoints back into the outbox that the home saw anchored and the chain has no more, as after a fork of it was undone.

    Only once the chain took the first of them anew: a node that shows an old block makes the home forget nothing.
    """
    head = link.head()
    noted, size = home.journal.latest(anchored=True), 0 if head.last is None else head.last.size
    if noted is None or head.generation != noted.generation or size >= noted.size:
        return
    check_head(home, link)
    first = home.journal.after(size)
    if first is not None and link.state().find(first.generation, first.size) is None:
        _send(home, link, first)
        if link.state().find(first.generation, first.size) is None:
            raise NodeNotBelieved("the chain's node shows a block that lacks what it says was mined: use another node")
    with home.store.transaction():
        home.journal.forget_anchors(size)


def check_head(home: Home, link: Link) -> None:
    """Raise JournalDiverged unless the chain's head is a part of this journal."""
    last = link.head().last
    if last is None:
        return
    size = home.journal.size
    if last.size > size:
        raise JournalDiverged(
            f"this home was rolled back: the chain has {last.size} entries of it, the home {size}; run careseal restore with the mirror"
        )
    if home.journal.tree.root(last.size) != last.root:
        raise JournalDiverged("the journal of this home is not the one on the chain: run careseal verify, then restore it from the mirror")


def _send(home: Home, link: Link, checkpoint: Checkpoint) -> None:
    """Have the checkpoint mined, by this transaction or by one that was sent before. Errors of `publish`."""
    for _ in range(_MOST_TRIES):
        check_head(home, link)
        head = link.head()
        start = 0 if head.last is None else head.last.size
        proof = home.journal.tree.consistency_proof(start, checkpoint.size)
        try:
            link.send(link.journals.publish(checkpoint.generation, start, checkpoint.size, checkpoint.root, proof, nonce=link.nonce()))
            return
        except (ContractRefused, Superseded) as error:
            # Another process of this institution, or a transaction thought lost, may have published it meanwhile.
            if link.state().find(checkpoint.generation, checkpoint.size) is not None:
                return
            if isinstance(error, ContractRefused):
                raise
    raise AnchoringError("other transactions of this institution were mined again and again: end what sends them, then seal again")
