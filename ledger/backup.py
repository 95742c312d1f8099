"""Backups of a home, and the recovery kit: what brings a lost home back."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.erasure import honour_erasures
from ledger.errors import HomeError, KeyUnavailable
from ledger.files import private_file, sync_folder, write_durably
from ledger.home import (
    CONFIG,
    KEYRING,
    KEYRING_PURPOSE,
    LEDGER,
    SUBJECTS,
    Home,
    Settings,
    keyring_content,
    keyring_from,
    placed,
    portable,
    read_settings,
    settings_from,
    write_settings,
)
from ledger.keys import Keyring, open_box, seal_box
from ledger.mirror import batches, holds_batches, take_in

KIT_PURPOSE = "recovery kit"
_MAGIC = b"careseal backup 1\n"
_CHUNK = 1 << 20
_OWN = (LEDGER, SUBJECTS, KEYRING, CONFIG)


@dataclass(frozen=True, slots=True, repr=False)
class Kit:
    """What brings a lost home back besides its entries: settings, keys, and the sealer's key of a chain that it founded."""

    settings: Settings
    keyring: Keyring
    sealer: bytes | None = None


def write_kit(path: Path, home: Path, kit: Kit, passphrase: bytes) -> None:
    """Write the recovery kit of the home at `home`, opened by `passphrase` alone. OSError as it comes."""
    about = {"settings": json.dumps(asdict(portable(home, kit.settings)))}
    about |= {"sealer": kit.sealer.hex()} if kit.sealer else {}
    write_durably(path, seal_box(passphrase, KIT_PURPOSE, keyring_content(kit.keyring) | about))


def read_kit(path: Path, home: Path, passphrase: bytes) -> Kit:
    """The recovery kit, for a home at `home`. KeyUnavailable where the passphrase is wrong."""
    content = open_box(path, passphrase, KIT_PURPOSE)
    try:
        settings, sealer = placed(home, settings_from(json.loads(content["settings"]))), bytes.fromhex(content.get("sealer", ""))
        return Kit(settings, keyring_from(content), sealer or None)
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(f"the recovery kit {path} is damaged: use another copy") from error


def backup(home: Home, path: Path, more: Sequence[str] = ()) -> int:
    """Write an encrypted backup of the home to a new file and return its size in bytes; the file is whole or not there.

    `more` names further files inside the home, which the caller holds still.
    """
    if path.exists():
        raise HomeError(f"{path} exists: name a new file for the backup")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with tempfile.TemporaryDirectory(dir=home.path, prefix=".backup-") as folder, tempfile.TemporaryFile(dir=home.path) as plain:
            home.store.snapshot(Path(folder) / LEDGER)
            home.subjects.snapshot(Path(folder) / SUBJECTS)
            with tarfile.open(fileobj=plain, mode="w") as tar:
                for name in (LEDGER, SUBJECTS):
                    tar.add(Path(folder) / name, arcname=name)
                # Not the keyring: with the passphrase alone a backup must not give back keys that an erasure destroyed later.
                for name in (CONFIG, *more):
                    tar.add(home.path / name, arcname=name)
            plain.seek(0)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as target:
                _encrypt(plain, target, home.keyring.mirror)
                target.flush()
                os.fsync(target.fileno())
        part.replace(path)
        sync_folder(path.parent)
        return path.stat().st_size
    except OSError as error:
        raise HomeError(f"cannot write the backup {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _encrypt(source: IO[bytes], target: IO[bytes], key: bytes) -> None:
    box, nonce = AESGCM(key), os.urandom(8)
    target.write(_MAGIC + nonce)
    index, chunk = 0, source.read(_CHUNK)
    while True:
        following = source.read(_CHUNK)
        last = b"" if following else b"last"
        sealed = box.encrypt(nonce + index.to_bytes(4, "big"), chunk, _MAGIC + last)
        target.write(len(sealed).to_bytes(4, "big") + sealed)
        if last:
            return
        index, chunk = index + 1, following


def _decrypt(path: Path, key: bytes, target: IO[bytes]) -> None:
    box = AESGCM(key)
    with path.open("rb") as source:
        if source.read(len(_MAGIC)) != _MAGIC:
            raise HomeError(f"{path} is not a Careseal backup")
        nonce, index, done = source.read(8), 0, False
        while not done:
            length = int.from_bytes(source.read(4), "big")
            if not 16 <= length <= _CHUNK + 16:
                raise HomeError(f"the backup {path} is cut off or damaged: use another one")
            sealed, here = source.read(length), nonce + index.to_bytes(4, "big")
            try:
                chunk = box.decrypt(here, sealed, _MAGIC)
            except InvalidTag:
                try:
                    chunk, done = box.decrypt(here, sealed, _MAGIC + b"last"), True
                except InvalidTag:
                    raise KeyUnavailable(f"the backup {path} does not belong to this recovery kit, or it is damaged") from None
            target.write(chunk)
            index += 1


def rebuild(
    work: Path, settings: Settings, keyring: Keyring, passphrase: bytes, archive: Path | None, taken: Callable[[int], None]
) -> None:
    """Build a home in the new folder `work` from a backup and the mirror, or from the mirror alone; `install` puts it in its place.

    `taken` is told the number of entries as batches are taken in.
    """
    try:
        work.mkdir(parents=True, mode=0o700)
        if archive is None:
            if settings.mirror is None or not holds_batches(Path(settings.mirror)):
                raise HomeError("nothing to restore from: give --backup, or name the mirror's place with --mirror")
            Home.create(work, settings, keyring, passphrase)
        else:
            _unpack(archive, keyring, work)
            write_durably(work / KEYRING, seal_box(passphrase, KEYRING_PURPOSE, keyring_content(keyring)))
            stored = read_settings(work, keyring)
            if stored.home_id != settings.home_id:
                raise HomeError(f"the backup {archive} is of another home: use one of {settings.name}")
            write_settings(work, replace(settings, tsa=stored.tsa), keyring)  # those may have been named after the kit was written
        catch_up(work, settings, keyring, taken)
    except OSError as error:
        raise HomeError(f"cannot restore in {work}: {error.strerror}") from error


def install(work: Path, target: Path) -> Path | None:
    """Put a rebuilt home into the folder `target` and return the new folder, inside it, that what was there moved to; None if nothing.

    Nothing is deleted or written over but keyring and settings; a chain and a network file that are there stay. Killed at any
    moment, `rebuild` and this, done again, complete it.
    """
    try:
        aside = None
        former = sorted(entry for name in (LEDGER, SUBJECTS) for entry in target.glob(f"{name}*"))
        if former:
            aside = _free_name(target, "before-restore")
            aside.mkdir(mode=0o700)
            for entry in former:
                entry.rename(aside / entry.name)
        # With `ledger.db` it is a home that can be opened, with `home.json` one that was told so: they come last.
        names = sorted(work.iterdir(), key=lambda entry: (entry.name == CONFIG, entry.name == LEDGER, entry.name))
        for entry in names:
            if entry.name in _OWN or not (target / entry.name).exists():
                entry.replace(target / entry.name)
        sync_folder(target)
        return aside
    except OSError as error:
        raise HomeError(f"cannot restore to {target}: {error.strerror}; run the same command again") from error


def _free_name(folder: Path, name: str) -> Path:
    return next(path for number in count(1) if not (path := folder / f"{name}-{number}").exists())


def catch_up(path: Path, settings: Settings, keyring: Keyring, taken: Callable[[int], None] = lambda size: None) -> None:
    """Take in what the mirror has and the home lacks, one transaction for each batch."""
    home, foreign = Home(path, settings, keyring), set[int]()
    try:
        if settings.mirror is not None:
            last = int(home.store.meta("batch", "0") or 0)
            for batch in batches(Path(settings.mirror), keyring, settings.home_id, last):
                foreign |= take_in(home, batch)
                taken(home.journal.size)
        honour_erasures(home, foreign)
    finally:
        home.close()


def _unpack(archive: Path, keyring: Keyring, folder: Path) -> None:
    try:
        archive.open("rb").close()
    except OSError as error:
        raise HomeError(f"cannot read the backup {archive}: {error.strerror}") from error
    try:
        with tempfile.TemporaryFile(dir=folder) as plain:
            _decrypt(archive, keyring.mirror, plain)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r") as tar:
                for member in tar:
                    path = folder / member.name
                    content = tar.extractfile(member) if member.isfile() else None
                    if content is None or ".." in path.parts or not path.is_relative_to(folder):
                        raise tarfile.TarError
                    path.parent.mkdir(mode=0o700, exist_ok=True)
                    private_file(path)
                    with path.open("wb") as target:
                        shutil.copyfileobj(content, target)
    except tarfile.TarError as error:
        raise HomeError(f"the backup {archive} is damaged: use another one") from error
