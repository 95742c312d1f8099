"""Writing the journal into a folder as a tiled transparency log, so that it outlives the chain and this program.

Files are only ever added: what is there already must be what the journal gives. The checkpoint comes last, when all that it covers
is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from hashlib import blake2s
from pathlib import Path

from anchoring.announce import announce
from anchoring.errors import AnchoringError, EvidenceInvalid, JournalDiverged
from anchoring.link import Link
from anchoring.log_folder import ABOUT, About, Anchor, KeyEntry, encode_about, key_document, origin, read_about
from anchoring.note import LogCheckpoint, Verifier, read_checkpoint, sign, verifier_of
from anchoring.publish import publish
from anchoring.tlog import CHECKPOINT, lay_out
from ledger import canonical
from ledger.files import sync_folder, write_durably, write_whole
from ledger.home import Home
from ledger.journal import Journal
from ledger.keys import Keyring
from ledger.mirror import mirror
from ledger.tree import WIDTH
from ledger.wire import Kind
from node.errors import ChainLocked, NodeUnreachable

README = "README.txt"
VERIFIER = "verifier-key.txt"
_TEMPLATE = Path(__file__).with_name("export-readme.txt")
_NOTE_KEY = b"careseal/v1/note"

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did: the log as it stands in the folder, and how many of its files were added."""

    about: About
    checkpoint: LogCheckpoint
    added: int


def note_key(keyring: Keyring) -> bytes:
    """The seed, 32 bytes, of the Ed25519 key that signs exports. It follows from the sealing key, so the recovery kit brings it back."""
    return blake2s(_NOTE_KEY, key=keyring.sealing).digest()


def export_journal(
    home: Home, connection: AbstractContextManager[Link], folder: Path, now: int, *, unanchored: bool = False,
    progress: Progress = lambda entries: None,
) -> Exported:  # fmt: skip
    """Bring the export in `folder` up to the last anchored checkpoint or, `unanchored`, to all that is in the mirror. `now` in ms.

    The first time the key is journalled and anchored, for which the chain is needed; later it is not. AnchoringError where the folder
    holds anything else, another log, more than is to be exported, or what contradicts the journal: then nothing in it was changed, or
    only files added that belong there.
    """
    settings, seed = home.settings, note_key(home.keyring)
    verifier = verifier_of(origin(settings.chain_id, settings.journals, settings.institution, home.journal.generation), seed)
    _check_place(folder, verifier)
    _journal_key(home, connection, verifier, now, unanchored)
    if unanchored:
        mirror(home)
    anchored = home.journal.latest(anchored=True)
    size = home.journal.size if unanchored else anchored.size if anchored else 0
    checkpoint = LogCheckpoint(verifier.name, size, home.journal.tree.root(size))
    about = About(settings.chain_id, settings.journals.lower(), settings.institution, home.journal.generation, verifier,
                  _key_entry(home, verifier), None)  # fmt: skip
    if anchored is not None and anchored.block is not None and anchored.block_time is not None:
        about = replace(about, anchor=Anchor(anchored.size, anchored.root, anchored.block, str(anchored.block_hash), anchored.block_time))
        if anchored.root != home.journal.tree.root(anchored.size):
            raise AnchoringError("the journal is not the one that was anchored: run careseal verify, then restore the home")
    try:
        added = write_log(home.journal, checkpoint, about, seed, folder, progress)
    except OSError as error:
        raise AnchoringError(f"cannot write the export {folder}: {error.strerror}; mend it and export again") from error
    return Exported(about, checkpoint, added)


def write_log(journal: Journal, checkpoint: LogCheckpoint, about: About, seed: bytes, folder: Path, progress: Progress) -> int:
    """Write what is missing of the log into the folder and return how many files were added. OSError as it comes."""
    folder.mkdir(parents=True, exist_ok=True)
    _check_growth(journal, checkpoint, folder)
    if read_about(folder) is None:
        # Before anything else: a folder that an export was killed in is known as its own.
        write_durably(folder / ABOUT, encode_about(replace(about, key=None, anchor=None)))
    folders: set[Path] = set()
    added = 0

    def put(path: str, content: bytes) -> None:
        nonlocal added
        if (folder / path).parent not in folders:
            folders.add((folder / path).parent)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        added += _put(folder / path, content)

    def runs() -> Iterator[list[bytes]]:
        for start in range(0, checkpoint.size, WIDTH):
            run = [body for part in journal.bodies(start, min(start + WIDTH, checkpoint.size)) for body in part]
            yield run
            progress(len(run))

    if lay_out(runs(), put) != checkpoint.root:
        raise AnchoringError("the entries of this journal do not give its root, no checkpoint was signed: run careseal verify")
    # Also where nothing was added: a run that was killed before this may have added it.
    for touched in {above for path in folders for above in (path, *path.parents) if above.is_relative_to(folder)}:
        for left_over in touched.glob(".*.part"):
            left_over.unlink()
        sync_folder(touched)
    sync_folder(folder.parent)
    write_durably(folder / README, _readme(about))
    write_durably(folder / VERIFIER, f"{about.verifier}\n".encode())
    write_durably(folder / ABOUT, encode_about(about))
    write_durably(folder / CHECKPOINT, sign(checkpoint, seed))
    return added


def _put(path: Path, content: bytes) -> bool:
    """Add a file, unless it is there already; AnchoringError where another one is."""
    try:
        with path.open("rb") as file:
            if file.read(len(content) + 1) != content:
                raise AnchoringError(f"{path} contradicts the journal, nothing there was overwritten: export into a new folder")
    except FileNotFoundError:
        write_whole(path, content)
        return True
    return False


def _check_place(folder: Path, verifier: Verifier) -> None:
    """Raise AnchoringError unless the folder is new, empty, or holds this log."""
    try:
        about = read_about(folder)
        if about is not None and about.verifier.name != verifier.name:
            raise AnchoringError(f"{folder} holds another log, {about.verifier.name}, not {verifier.name}: choose another folder")
        # What an export that was killed at once leaves has a name with a dot.
        if about is None and folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise AnchoringError(f"{folder} is not empty and holds no exported journal: choose another folder")
    except OSError as error:
        raise AnchoringError(f"cannot read the folder {folder}: {error.strerror}") from error
    except EvidenceInvalid as error:
        raise AnchoringError(f"the export in {folder} is damaged ({error}): export into a new folder") from error


def _check_growth(journal: Journal, checkpoint: LogCheckpoint, folder: Path) -> None:
    """A log only grows: raise AnchoringError unless what the folder has is a part of the journal, and not more than will be written."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        there = read_checkpoint(path.read_bytes())
    except EvidenceInvalid as error:
        raise AnchoringError(f"the export in {folder} is damaged ({error}): export into a new folder") from error
    if there.size > journal.size or journal.tree.root(there.size) != there.root:
        raise AnchoringError(f"{folder} holds another history than this journal: run careseal verify, and export into a new folder")
    if there.size > checkpoint.size:
        raise AnchoringError(f"{folder} has {there.size} entries, {checkpoint.size} are anchored: seal first, or give --unanchored")


def _journal_key(home: Home, connection: AbstractContextManager[Link], verifier: Verifier, now: int, unanchored: bool) -> None:
    """Have the journal name the key, and an anchor over that unless the export may go without."""
    known, anchored = _key_entry(home, verifier), home.journal.latest(anchored=True)
    if known is not None and (unanchored or (anchored is not None and anchored.size > known.entry)):
        return
    try:
        with connection as link:
            if known is None:
                announce(home, link, Kind.CONFIGURATION, key_document(verifier.public), now)
            else:
                publish(home, link)
    except JournalDiverged:
        raise
    except (AnchoringError, NodeUnreachable, ChainLocked) as error:
        if not unanchored:
            raise AnchoringError(
                f"{error}; the key that signs exports is not anchored yet: export again when the chain is back, or with --unanchored"
            ) from error
        if _key_entry(home, verifier) is None:
            with home.batch(now) as batch:
                batch.add_event(Kind.CONFIGURATION, key_document(verifier.public), now)


def _key_entry(home: Home, verifier: Verifier) -> KeyEntry | None:
    """The first entry by which the journal names this key."""
    wanted = canonical.encode(key_document(verifier.public))
    row = home.store.db.execute("SELECT entry FROM documents WHERE body=? ORDER BY entry LIMIT 1", (wanted,)).fetchone()
    return None if row is None else KeyEntry(row[0], *home.journal.document(row[0]))


def _readme(about: About) -> bytes:
    values = {"origin": about.origin, "verifier": about.verifier, "chain_id": about.chain_id, "journals": about.journals,
              "institution": about.institution, "generation": about.generation,
              "entry": "-" if about.key is None else about.key.entry}  # fmt: skip
    return _TEMPLATE.read_text(encoding="utf-8").format(**values).encode()
