"""Restoring a home: rebuild it, hold every row, entry and checkpoint against the chain, journal the restore, and go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from anchoring.errors import JournalDiverged
from anchoring.link import Link
from anchoring.verify import Verified, verify
from ledger.audit import Scope
from ledger.backup import catch_up, rebuild
from ledger.findings import JOURNAL_KINDS
from ledger.home import Home, Settings
from ledger.keys import Keyring
from ledger.tables import attached_tables
from ledger.wire import Kind

Rows = Callable[[str, int], None]


def rebuild_beside(
    target: Path, settings: Settings, keyring: Keyring, passphrase: bytes, archive: Path | None, old: Path | None, progress: Rows
) -> None:
    """Build the home anew in `target`; a home that was there is moved to the new folder `old` first, never deleted."""
    taken = 0

    def told(size: int) -> None:
        nonlocal taken
        progress("journal", size - taken)
        taken = size

    work = target.with_name(f"{target.name}.restored")
    shutil.rmtree(work, ignore_errors=True)
    rebuild(work, settings, keyring, passphrase, archive, told)
    if old is not None:
        for extra in ("chain", "network.json"):
            if (target / extra).exists():
                shutil.move(target / extra, work / extra)
        target.rename(old)
    elif target.exists():
        target.rmdir()
    work.rename(target)


def catch_up_in_place(path: Path, keyring: Keyring, progress: Rows) -> int:
    """Bring a home that was rolled back up to its mirror, on a copy that replaces it when it is whole."""
    return catch_up(path, keyring, lambda size: progress("journal", 0))


def finish_restore(home: Home, link: Link, now: float, progress: Rows) -> Verified:
    """Verify everything against the chain; where the journal holds, note the anchored checkpoints and journal the restore.

    JournalDiverged, with nothing written, where the restored journal is not the one on the chain.
    """
    head = link.head()
    verified = verify(home, link, Scope(attached_tables(home)), now, progress=progress)
    broken = [finding for finding in verified.audit.findings if finding.kind in JOURNAL_KINDS]
    if broken:
        raise JournalDiverged(
            f"the restored journal is not the one on the chain ({broken[0].detail}): use a newer backup or the whole mirror"
        )
    with home.store.transaction():
        home.store.set_meta("generation", str(head.generation))
    for index in range(head.count):
        _note(home, link, index, head.generation)
    with home.batch(checkpoint_time=int(now * 1000)) as batch:
        size = verified.audit.size
        document = {"restore": {"size": size, "root": home.journal.tree.root(size).hex(), "findings": len(verified.audit.findings)}}
        batch.add_event(Kind.RESTORE, document, int(now * 1000))
    return verified


def _note(home: Home, link: Link, index: int, generation: int) -> None:
    """Hold a checkpoint of the chain against the journal, and remember where it is anchored."""
    found = link.journals.checkpoint(link.institution, generation, index)
    if home.journal.tree.root(found.size) != found.root:
        raise JournalDiverged(
            f"the journal contradicts the chain's checkpoint of {found.size} entries: restore from another copy of the mirror"
        )
    known = home.journal.checkpoint_at(found.size)
    if known is None or known.block is not None:
        return
    with home.store.transaction():
        home.journal.mark_anchored(link.anchored(known, found))
