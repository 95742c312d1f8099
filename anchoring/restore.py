"""Restoring a home: rebuild it, hold every row, entry and checkpoint against the chain, journal the restore, and go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from anchoring.errors import AnchoringError, JournalDiverged
from anchoring.link import Link
from anchoring.verify import EARLIER_GENERATION, Verified, verify
from ledger.audit import Scope
from ledger.backup import catch_up, rebuild
from ledger.findings import JOURNAL_KINDS, Finding
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
    """Bring a home that was rolled back up to its mirror, one transaction for each batch; returns the number of entries taken in."""
    return catch_up(path, keyring, lambda size: progress("journal", 0))


def finish_restore(home: Home, link: Link, now: float, progress: Rows, *, new_generation: bool = False) -> Verified:
    """Verify everything against the chain; where the journal holds, note the anchored checkpoints and journal the restore.

    JournalDiverged, with nothing written, where the restored journal is not the one on the chain. With `new_generation`, entries that
    the chain knows and nobody has any more are given up: the members' vote is needed, and every audit says so from then on.
    """
    verified = verify(home, link, Scope(attached_tables(home)), now, record=False, progress=progress)
    lost = [finding for finding in verified.audit.findings if finding.kind in JOURNAL_KINDS]
    head = link.head()
    with home.store.transaction():
        home.store.set_meta("generation", str(head.generation))
    if lost and new_generation:
        _open_generation(home, link)
    elif _current(lost):
        raise JournalDiverged(
            f"the restored journal is not the one on the chain ({lost[0].detail}): use a newer backup or the whole mirror, "
            "or, where entries are lost for good, --new-generation"
        )
    else:
        for index in range(head.count):
            _note(home, link, index, head.generation)
    with home.batch(checkpoint_time=int(now * 1000)) as batch:
        size = verified.audit.size
        document = {
            "restore": {
                "size": size,
                "root": home.journal.tree.root(size).hex(),
                "findings": len(verified.audit.findings),
                "generation": home.journal.generation,
            }
        }
        batch.add_event(Kind.RESTORE, document, int(now * 1000))
    return verified


def _current(findings: list[Finding]) -> list[Finding]:
    """Those about the present generation; that there were earlier ones is no reason not to restore."""
    return [finding for finding in findings if not finding.detail.startswith(EARLIER_GENERATION)]


def _open_generation(home: Home, link: Link) -> None:
    generation = home.journal.generation + 1
    if link.consortium.approved_generation(link.journals.address, link.institution) < generation:
        raise AnchoringError(
            f"a new generation needs the members' vote: let them run careseal node new-generation --institution {link.institution} "
            f"--generation {generation}, then restore again"
        )
    link.send(link.journals.open_generation(generation, nonce=link.nonce()))
    with home.store.transaction():
        home.store.set_meta("generation", str(generation))


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
