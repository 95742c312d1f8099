"""The mirror: a second place that holds every entry, and what is needed to use it, before its checkpoint is published.

One file for each batch. Entries are in clear, as they carry only commitments; the sidecar, with keys of rows, wrapped subject
keys and documents, is encrypted under the home's mirror key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from careseal import read_json
from ledger.batch import Rows, Value, batch_path, derived_rows, pack_sidecar, replay, unpack_sidecar
from ledger.errors import HomeError, KeyUnavailable, WireError
from ledger.files import sync_folder, write_durably
from ledger.home import Home, write_settings
from ledger.keys import Keyring
from ledger.wire import MAX_ENTRY_BYTES

_MAGIC = b"careseal batch 1\n"
_NAME = re.compile(r"\d{12}\.batch")
_MAX_HEADER = 1024
_NONCE, _TAG, _CHECKSUM = 12, 16, 32
_MAX_FILE = 1 << 30
_CHUNK = 5000
MIRROR_START = "mirror_start"  # number of the first batch of the present mirror
HEAD_BYTES = len(_MAGIC) + _MAX_HEADER  # no header ends later in its file


@dataclass(frozen=True, slots=True)
class Header:
    """What a batch's file says of itself: the home, its number, its entries `first` and on, and how large, in bytes, all of it is."""

    home: str
    number: int
    first: int
    count: int
    size: int
    line: bytes


@dataclass(frozen=True, slots=True)
class MirrorBatch:
    """One batch as the mirror holds it: entries `first` and on, and rows of the derived tables."""

    number: int
    first: int
    entries: list[bytes]
    rows: dict[str, list[list[Value]]]


def mirror(home: Home, progress: Callable[[str, int], None] = lambda what, entries: None) -> int:
    """Make every batch of the home durable in its mirror and return the number of entries there are in it.

    What it costs grows with the batches that wait, and not with those that the mirror holds.

    HomeError, with nothing lost, where the mirror cannot be written, or holds another home or a longer history.
    """
    if home.settings.mirror is None:
        return home.journal.size
    folder, start = Path(home.settings.mirror), int(home.store.meta(MIRROR_START, "1") or 1)
    for number, entries in home.store.db.execute("SELECT id, count FROM batches ORDER BY id").fetchall():
        try:
            if number > start and not batch_path(folder, number - 1).exists():
                raise HomeError(
                    f"the mirror {folder} lacks batch {number - 1}: nothing was lost or published; mount it and seal again, "
                    "or start another one with careseal seal --new-mirror DIR"
                )
            _write(home, folder, number)
        except OSError as error:
            raise HomeError(
                f"cannot write the mirror {folder}: {error.strerror}; nothing was lost or published, mend it and seal again"
            ) from error
        with home.store.transaction() as db:
            db.execute("DELETE FROM batches WHERE id=?", (number,))
        progress("mirror", entries)
    return home.journal.size


def _write(home: Home, folder: Path, number: int) -> None:
    first, count, sidecar = home.store.db.execute("SELECT first, count, sidecar FROM batches WHERE id=?", (number,)).fetchone()
    bodies = [body for part in home.journal.bodies(first, first + count) for body in part]
    path = batch_path(folder, number)
    if not path.exists():
        write_durably(path, _encode(home, number, first, bodies, sidecar))
        return
    # A run that was killed wrote it already, unless another history did.
    found = read_batch(path, home.keyring, home.settings.home_id)
    if (found.first, found.entries, found.rows) != (first, bodies, unpack_sidecar(sidecar)):
        raise HomeError(f"the mirror {folder} holds another history than this home: run careseal restore")
    sync_folder(folder)


def start_mirror(home: Home, folder: Path) -> None:
    """Make the empty `folder` the home's mirror: all that the home has is queued as new batches, which are a mirror by themselves.

    The next call of `mirror` writes them. HomeError where the folder cannot be used, or holds batches already.
    """
    prepare_folder(folder)
    # From here on the former mirror is not written to; killed before the batches are queued, the next run says that they are missing.
    home.settings = replace(home.settings, mirror=str(folder.resolve()))
    write_settings(home.path, home.settings, home.keyring)
    with home.store.transaction() as db:
        db.execute("DELETE FROM batches")
        number = start = int(home.store.meta("batch", "0") or 0) + 1
        for first, count, rows in _everything(home):
            db.execute("INSERT INTO batches VALUES (?,?,?,?)", (number, first, count, pack_sidecar(rows)))
            number += 1
        for name, value in ((MIRROR_START, start), ("batch", number - 1), ("mirrored_sid", home.subjects.highest())):
            home.store.set_meta(name, str(value))


def prepare_folder(folder: Path) -> None:
    """Make the folder of a new mirror. HomeError where it cannot be made, or holds batches already."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise HomeError(f"cannot use the mirror {folder}: {error.strerror}") from error
    if holds_batches(folder):
        raise HomeError(f"the mirror {folder} holds a home already: choose an empty folder")


def holds_batches(folder: Path) -> bool:
    """Whether there is anything to restore from in a mirror's folder; HomeError where it cannot be read."""
    return bool(_names(folder))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name))
    except OSError as error:
        raise HomeError(
            f"cannot read the mirror {folder}: {error.strerror}; name its place with --mirror, or an empty folder for a new one"
        ) from error


def _everything(home: Home) -> Iterator[tuple[int, int, Rows]]:
    """(first entry, number of entries, derived rows) of batches that together make up the home."""
    size, highest = home.journal.size, home.subjects.highest()
    for first in range(0, size, _CHUNK):
        yield first, min(_CHUNK, size - first), {}
    for sid in range(1, highest + 1, _CHUNK):
        yield size, 0, {"subjects": home.subjects.rows(range(sid, min(sid + _CHUNK, highest + 1)))}
    for name, rows in derived_rows(home.store):
        yield size, 0, {name: rows}


def _encode(home: Home, number: int, first: int, bodies: list[bytes], sidecar: bytes) -> bytes:
    digest = sha256(b"".join(bodies)).hexdigest()
    rest = sum(2 + len(body) for body in bodies) + _NONCE + len(sidecar) + _TAG + _CHECKSUM
    about = {"home": home.settings.home_id, "number": number, "first": first, "count": len(bodies), "entries": digest, "rest": rest}
    header = json.dumps(about).encode() + b"\n"
    nonce = os.urandom(_NONCE)
    box = nonce + AESGCM(home.keyring.mirror).encrypt(nonce, sidecar, header)
    parts = [_MAGIC, header, *(len(body).to_bytes(2, "big") + body for body in bodies), box]
    content = b"".join(parts)
    return content + sha256(content).digest()


def read_batch(path: Path, keyring: Keyring, home_id: str) -> MirrorBatch:
    """A batch file, checked whole. HomeError where it is damaged or of another home, KeyUnavailable where the key is wrong."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise WireError("too large")
        content = path.read_bytes()
    except OSError as error:
        raise HomeError(f"cannot read the mirror file {path}: {error.strerror}") from error
    try:
        return _decode(content, keyring, home_id)
    except (WireError, ValueError, KeyError, TypeError) as error:
        raise HomeError(f"the mirror file {path} is damaged or belongs to another home: take it from another copy of the mirror") from error


def _decode(content: bytes, keyring: Keyring, home_id: str) -> MirrorBatch:
    body, digest = content[:-_CHECKSUM], content[-_CHECKSUM:]
    header = header_of(content[:HEAD_BYTES])
    if len(content) != header.size or sha256(body).digest() != digest:
        raise WireError("not a whole mirror batch")
    if header.home != home_id:
        raise WireError("a batch of another home")
    end = len(_MAGIC) + len(header.line)
    entries, at = [], end
    for _ in range(header.count):
        length = int.from_bytes(body[at : at + 2], "big")
        if not 0 < length <= MAX_ENTRY_BYTES or at + 2 + length > len(body):
            raise WireError("an entry is cut off")
        entries.append(body[at + 2 : at + 2 + length])
        at += 2 + length
    try:
        sidecar = AESGCM(keyring.mirror).decrypt(body[at : at + _NONCE], body[at + _NONCE :], header.line)
    except InvalidTag as error:
        raise KeyUnavailable("the recovery kit does not belong to this mirror") from error
    return MirrorBatch(header.number, header.first, entries, unpack_sidecar(sidecar))


def header_of(head: bytes) -> Header:
    """The header in a file's first HEAD_BYTES bytes. WireError where there is none."""
    end = head.find(b"\n", len(_MAGIC)) + 1
    if not head.startswith(_MAGIC) or not end:
        raise WireError("not a mirror batch")
    line = head[len(_MAGIC) : end]
    try:
        values = read_json(line)
        number, first, count, rest = (int(values[name]) for name in ("number", "first", "count", "rest"))
        return Header(str(values["home"]), number, first, count, end + rest, line)
    except (ValueError, KeyError, TypeError) as error:
        raise WireError("not a mirror batch") from error


def batches(folder: Path, keyring: Keyring, home_id: str, after: int) -> Iterator[MirrorBatch]:
    """The batches numbered above `after`, in order; all of them, from the mirror's start, after 0. HomeError where one is missing."""
    for name in _names(folder):
        number = int(name[:12])
        if number <= after:
            continue
        batch = read_batch(folder / name, keyring, home_id)
        if number != batch.number or (number != after + 1 and (after or batch.first)):
            raise HomeError(f"the mirror {folder} lacks batch {after + 1}: take it from another copy of the mirror")
        yield batch
        after = number


def take_in(home: Home, batch: MirrorBatch) -> set[int]:
    """Append a mirrored batch to the home, in one transaction; returns the subjects whose keys in it the keyring does not open.

    HomeError where it contradicts what the home has.
    """
    size = home.journal.size
    have = min(max(size - batch.first, 0), len(batch.entries))
    known = [body for part in home.journal.bodies(batch.first, batch.first + have) for body in part]
    if batch.first > size or known != batch.entries[:have]:
        raise HomeError("the mirror and the home have different histories: restore with --kit, from the mirror alone")
    foreign = home.subjects.put([(int(row[0] or 0), _bytes(row[1]), _bytes(row[2]) or None) for row in batch.rows.get("subjects", [])])
    before = int(home.store.meta("batch", "0") or 0)
    with home.store.transaction() as db:
        replay(home.store, batch.rows)
        if have < len(batch.entries):
            home.journal.append(batch.entries[have:])
        db.execute("DELETE FROM batches")
        if not before or (size and not batch.first):
            # The mirror begins here: what it was before this batch, if anything, is not in it.
            home.store.set_meta(MIRROR_START, str(batch.number))
        home.store.set_meta("batch", str(batch.number))
        home.store.set_meta("mirrored_sid", str(home.subjects.highest()))
    return foreign


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""
