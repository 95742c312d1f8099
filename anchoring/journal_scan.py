"""A whole journal, as exported, searched for the versions of one record: what proves that there is no later one.

Only the entries are read (C2SP tlog-tiles); that they are the anchored journal follows from the root that they give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anchoring.errors import EvidenceInvalid
from anchoring.evidence import Proved
from anchoring.tlog import CHECKPOINT, MAX_BUNDLE, bundle_path, decode_bundle, lay_out, width_in
from ledger.errors import LedgerError, WireError
from ledger.tree import WIDTH
from ledger.wire import RECORD, RecordEntry, decode_entry


@dataclass(frozen=True, slots=True)
class Later:
    """The last version of a record in the journal up to the checkpoint of the evidence, and the number of its entry."""

    version: int
    index: int
    size: int  # entries that were looked through

    def excluded(self, proved: Proved) -> bool:
        """Whether the evidence shows the last version."""
        return self.index == proved.record.last.index


def scan_journal(folder: Path, proved: Proved) -> Later:
    """The last version of the evidence's record in the exported journal in `folder`.

    EvidenceInvalid: link journal where the export is not the anchored journal or has two histories of the record; link latest where
    evidence of kind latest shows an earlier version. LedgerError where the export cannot be read. Memory does not grow with it.
    """
    record, size = proved.record, proved.anchored.size
    found: list[tuple[int, RecordEntry]] = []

    def runs() -> Iterator[list[bytes]]:
        for number in range(-(-size // WIDTH)):
            run = _bundle(folder, number, width_in(size, 0, number))
            for place, entry in enumerate(run):
                if entry[RECORD] == record.id and isinstance(decoded := decode_entry(entry), RecordEntry):
                    found.append((number * WIDTH + place, decoded))
            yield run

    try:
        root = lay_out(runs(), lambda path, content: None)
    except WireError as error:
        raise EvidenceInvalid("journal", f"the exported journal holds something else than entries: {error}") from error
    if root != proved.anchored.root:
        raise EvidenceInvalid("journal", "the exported journal is not the one of the checkpoint")
    if [entry.version for _, entry in found] != list(range(1, len(found) + 1)):
        raise EvidenceInvalid("journal", "the journal has two histories of this record")
    index, last = found[-1]
    if proved.kind == "latest" and index != record.last.index:
        raise EvidenceInvalid("latest", f"entry {index} of the journal is a later version, {last.version}")
    return Later(last.version, index, size)


def _bundle(folder: Path, number: int, width: int) -> list[bytes]:
    """The first `width` entries of a bundle: the export may have gone on since."""
    path, held = folder / bundle_path(number), WIDTH
    try:
        if not path.exists():
            partial = (folder / bundle_path(number, 1)).parent
            names = [name.name for name in partial.iterdir() if name.name.isdecimal()] if partial.is_dir() else []
            held = min((int(name) for name in names if width <= int(name) < WIDTH), default=0)
            if not held and not (folder / CHECKPOINT).exists() and not number:
                raise LedgerError(f"{folder} is no exported journal: give the folder that careseal journal export wrote")
            if not held:
                raise LedgerError(f"the exported journal in {folder} ends too early: export it again, at the checkpoint or later")
            path = partial / str(held)
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE + 1)
    except OSError as error:
        raise LedgerError(f"cannot read the exported journal {folder}: {error.strerror}") from error
    return decode_bundle(data, held)[:width]
