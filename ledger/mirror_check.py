"""A look at the mirror that costs one small read for each batch: holes are to be seen while they can still be mended.

Nothing is decrypted and no checksum is computed: what is in a file is checked when it is restored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ledger.batch import batch_path
from ledger.errors import WireError
from ledger.home import Home
from ledger.mirror import HEAD_BYTES, MIRROR_START, Header, header_of


class Fault(StrEnum):
    """What is wrong with a batch's file."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    FOREIGN = "foreign"  # another home's or another batch's, or of another history


@dataclass(frozen=True, slots=True)
class MirrorFault:
    """Batches `first` to `last` of the mirror have the same fault."""

    fault: Fault
    first: int
    last: int


def mirror_faults(home: Home) -> list[MirrorFault]:
    """What is wrong with the files of the batches that the home has written to its mirror, in order; empty where there is no mirror.

    Names, sizes and headers are looked at: every batch must be there, whole, this home's, and begin where the one before ends.
    """
    if home.settings.mirror is None:
        return []
    folder, faults = Path(home.settings.mirror), list[MirrorFault]()
    due: int | None = 0  # number of the entry that the next batch must begin with; None where that is not known
    for number in _written(home):
        header = _looked_at(batch_path(folder, number))
        if isinstance(header, Header) and (header.home, header.number) != (home.settings.home_id, number):
            header = Fault.FOREIGN
        if isinstance(header, Header) and due is not None and header.first != due:
            header = Fault.FOREIGN
        due = header.first + header.count if isinstance(header, Header) else None
        if isinstance(header, Header):
            continue
        if faults and (faults[-1].fault, faults[-1].last) == (header, number - 1):
            faults[-1] = replace(faults[-1], last=number)
        else:
            faults.append(MirrorFault(header, number, number))
    return faults


def _written(home: Home) -> range:
    """Numbers of the batches that should be in the mirror: those that still wait to be written come last."""
    end = int(home.store.meta("batch", "0") or 0) + 1
    waiting = home.store.db.execute("SELECT min(id) FROM batches").fetchone()[0]
    return range(int(home.store.meta(MIRROR_START, "1") or 1), end if waiting is None else waiting)


def _looked_at(path: Path) -> Header | Fault:
    try:
        with path.open("rb") as source:
            header, size = header_of(source.read(HEAD_BYTES)), path.stat().st_size
    except FileNotFoundError:
        return Fault.MISSING
    except OSError:
        return Fault.UNREADABLE
    except WireError:
        return Fault.DAMAGED
    return header if size == header.size else Fault.TRUNCATED if size < header.size else Fault.DAMAGED
