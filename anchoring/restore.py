"""Restoring a home: rebuild it, hold every row, entry and checkpoint against the chain, journal the restore, and go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anchoring.errors import AnchoringError, JournalDiverged
from anchoring.founding import SEALER, take_over
from anchoring.link import Link
from anchoring.network import NETWORK
from anchoring.verify import EARLIER_GENERATION, Verified, verify
from contracts.calls import ChainCheckpoint
from ledger.audit import Scope
from ledger.backup import Kit, catch_up, install, rebuild
from ledger.errors import HomeError
from ledger.files import write_durably
from ledger.findings import JOURNAL_KINDS, Finding
from ledger.home import CONFIG, Home, Settings, chain_is_inside, exclusive, read_settings, write_settings
from ledger.keys import Keyring
from ledger.tables import attached_tables
from ledger.wire import Kind
from node.embedded import EmbeddedChain
from node.errors import ChainLocked
from node.store import FILE

Rows = Callable[[str, int], None]
_WORK = ".restoring"


def bring_back(target: Path, kit: Kit, passphrase: bytes, archive: Path | None, progress: Rows) -> Path | None:
    """Build the home anew in the folder `target`, from a backup and the mirror or from the mirror alone.

    What was there is moved to a new folder inside, which is returned. HomeError, with nothing changed, where another home is there
    or there is nothing to restore from; AnchoringError where the chain was lost with the home.
    """
    taken = 0

    def told(size: int) -> None:
        nonlocal taken
        progress("journal", size - taken)
        taken = size

    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive(target, 5):
        if (target / CONFIG).exists() and read_settings(target).home_id != kit.settings.home_id:
            raise HomeError(f"{target} holds another home: restore to a new folder")
        work = target / _WORK
        shutil.rmtree(work, ignore_errors=True)
        try:
            rebuild(work, kit.settings, kit.keyring, passphrase, archive, told)
            write_durably(work / NETWORK, kit.settings.network.encode())
            _check_chain(target, work, kit.settings)
            aside = install(work, target)
            if kit.sealer is not None and "://" not in kit.settings.chain:
                take_over(Path(kit.settings.chain), kit.sealer, passphrase)
            return aside
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _check_chain(target: Path, work: Path, settings: Settings) -> None:
    if "://" in settings.chain or Path(settings.chain).exists():
        return
    if not chain_is_inside(target, settings):
        raise AnchoringError(f"there is no chain in {settings.chain}: name its place, a folder or URL, with --chain")
    if not (work / Path(settings.chain).relative_to(target.resolve())).exists():
        raise AnchoringError(
            "the chain lay inside the home and is lost with it: give --backup with a backup that holds it; the mirror holds the entries, "
            "but no chain"
        )


def catch_up_in_place(path: Path, keyring: Keyring, progress: Rows, settings: Settings | None = None) -> None:
    """Bring a home that was rolled back up to its mirror, one transaction for each batch; with `settings` it gets these first."""
    with exclusive(path, 5):
        if settings is not None:
            write_settings(path, settings, keyring)
        catch_up(path, read_settings(path, keyring), keyring, lambda size: progress("journal", 0))


@contextmanager
def still_files(home: Home, clock: Callable[[], float]) -> Iterator[list[str]]:
    """Names of the files inside the home that its backup must hold beside the ledger's: network file and embedded chain, held still.

    AnchoringError where a node serves that chain, for then its file changes.
    """
    names = [NETWORK] if (home.path / NETWORK).exists() else []
    if not chain_is_inside(home.path, home.settings):
        yield names
        return
    folder = Path(home.settings.chain)
    place = folder.relative_to(home.path.resolve())
    try:
        with EmbeddedChain.open(folder, None, clock):
            yield [*names, *(str(place / name) for name in (FILE, SEALER, NETWORK))]
    except ChainLocked as error:
        raise AnchoringError(f"the chain inside {home.path} is being served: stop careseal node run, then back up") from error


def finish_restore(home: Home, link: Link, now: float, progress: Rows, *, new_generation: bool = False) -> Verified:
    """Verify everything against the chain; where the journal holds, note the anchored checkpoints and journal the restore.

    JournalDiverged, with nothing written, where the restored journal is not the one on the chain. With `new_generation`, entries that
    the chain knows and nobody has any more are given up: the members' vote is needed, and every audit says so from then on.
    """
    verified = verify(home, link, Scope(attached_tables(home)), now, record=False, progress=progress)
    lost = [finding for finding in verified.audit.findings if finding.kind in JOURNAL_KINDS]
    state = link.state()
    head = state.head()
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
        for found in state.checkpoints([(head.generation, index) for index in range(head.count)]):
            _note(home, link, found)
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


def _note(home: Home, link: Link, found: ChainCheckpoint) -> None:
    """Hold a checkpoint of the chain against the journal, and remember where it is anchored."""
    if home.journal.tree.root(found.size) != found.root:
        raise JournalDiverged(
            f"the journal contradicts the chain's checkpoint of {found.size} entries: restore from another copy of the mirror"
        )
    known = home.journal.checkpoint_at(found.size)
    if known is None or known.block is not None:
        return
    with home.store.transaction():
        home.journal.mark_anchored(link.anchored(known, found))
