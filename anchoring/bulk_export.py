"""Evidence of many records of a table in one pass: one file each, all on one checkpoint at one block."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anchoring.export import Exporter, Known, Wanted, look_up
from anchoring.link import Link
from ledger import canonical, sortkey
from ledger.errors import HomeError, LedgerError
from ledger.files import sync_folder, write_durably
from ledger.home import Home
from ledger.shape import Snapshot
from ledger.sources import open_source
from ledger.tables import Attached, find_table

INDEX = "index.json"
_RUN = 1000
_SPARSE = 8  # rows read for each that is wanted, beyond which they are looked up one by one


@dataclass(frozen=True, slots=True)
class Exported:
    """How many files were written, how many bytes, and how many records were left out, by reason."""

    files: int
    bytes: int
    left_out: Counter[str]


def export_many(
    home: Home, link: Link, table_name: str, keys: Sequence[Sequence[str]] | None, wanted: Wanted, folder: Path,
    progress: Callable[[int], None] = lambda files: None,
) -> Exported:  # fmt: skip
    """Write the evidence of the records with these keys, or of all, into a new or empty folder, and an index of it.

    A record of which no evidence can be made is left out and counted. LedgerError where a key is unknown, HomeError where the folder
    cannot be written; then what is there is not complete.
    """
    table = find_table(home, table_name)
    exporter = Exporter(home, link, table, wanted)
    stem = re.sub(r"[^\w.-]", "_", table.name)
    left_out: Counter[str] = Counter()
    index: dict[str, object] = {}
    written = 0
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise HomeError(f"{folder} is not empty: choose a new folder for the evidence")
        for run in _runs(home, table, keys):
            for known, row in _with_rows(table, run):
                try:
                    data, _proved = exporter.make(known, row, values=False)
                except LedgerError as error:
                    left_out[str(error)] += 1
                    continue
                name = f"{stem}-{known.entry}.json"
                _write(folder / name, data)
                index[name] = [str(value) for value in sortkey.decode(table.shape.key_kinds, known.key)]
                written += len(data)
            progress(len(index))
        write_durably(folder / INDEX, canonical.encode(index))
        os.sync()  # one for all files: each by itself would take longer than making them
        sync_folder(folder)
    except OSError as error:
        raise HomeError(f"cannot write {folder}: {error.strerror}; free some space or choose another folder, and export again") from error
    return Exported(len(index), written, left_out)


def read_keys(path: Path) -> list[list[str]]:
    """The keys in a file: a line each, the key's columns parted by TAB. LedgerError where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LedgerError(f"cannot read the keys in {path}: {reason}") from error
    return [line.split("\t") for line in lines if line]


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
    finally:
        os.close(handle)


def _runs(home: Home, table: Attached, keys: Sequence[Sequence[str]] | None) -> Iterator[list[Known]]:
    """The records in the order of their keys, some at a time."""
    if keys is not None:
        found = sorted({known.key: known for known in (look_up(home, table, key) for key in keys)}.items())
        for start in range(0, len(found), _RUN):
            yield [known for _, known in found[start : start + _RUN]]
        return
    low = b""
    query = "SELECT key, entry, sid FROM state WHERE tbl=? AND key>=? AND live ORDER BY key LIMIT ?"
    while run := [Known(*row) for row in home.store.db.execute(query, (table.id, low, _RUN))]:
        yield run
        low = run[-1].key + b"\0"


def _with_rows(table: Attached, run: Sequence[Known]) -> Iterator[tuple[Known, bytes | None]]:
    """Each record with its present row, None where there is none."""
    source = open_source(table.source)
    try:
        with source.snapshot() as snapshot:
            rows = _rows(snapshot, table, run)
    finally:
        source.close()
    for known in run:
        yield known, rows.get(known.key)


def _rows(snapshot: Snapshot, table: Attached, run: Sequence[Known]) -> dict[bytes, bytes]:
    """The present rows of these records. Where few of the rows between the first and the last are wanted, each is looked up."""
    wanted, found, read = {known.key for known in run}, dict[bytes, bytes](), 0
    for rows in snapshot.rows(table.shape, low=run[0].key, high=run[-1].key + b"\0"):
        found |= {key: row for key, row in zip(rows.keys, rows.rows, strict=True) if key in wanted}
        read += len(rows.keys)
        if read > _SPARSE * len(run):
            break
    else:
        return found
    for known in run:
        if known.key not in found:
            for rows in snapshot.rows(table.shape, low=known.key, high=known.key + b"\0"):
                found |= dict(zip(rows.keys, rows.rows, strict=True))
    return found
