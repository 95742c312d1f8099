"""Backups of a home, and the recovery kit: what brings a lost home back."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import HomeError, KeyUnavailable
from ledger.files import sync_folder, write_durably
from ledger.home import (
    CONFIG,
    KEYRING,
    LEDGER,
    SUBJECTS,
    Home,
    Settings,
    keyring_content,
    keyring_from,
    read_settings,
    write_settings,
)
from ledger.keys import Keyring, open_box, seal_box
from ledger.mirror import batches, take_in

KIT_PURPOSE = "recovery kit"
_MAGIC = b"careseal backup 1\n"
_CHUNK = 1 << 20
_FILES = (LEDGER, SUBJECTS, KEYRING, CONFIG)


def write_kit(path: Path, settings: Settings, keyring: Keyring, passphrase: bytes) -> None:
    """Write the recovery kit: all keys and settings of the home, opened by `passphrase` alone. OSError as it comes."""
    write_durably(path, seal_box(passphrase, KIT_PURPOSE, {**keyring_content(keyring), "settings": json.dumps(asdict(settings))}))


def read_kit(path: Path, passphrase: bytes) -> tuple[Settings, Keyring]:
    """Settings and keys of a recovery kit. KeyUnavailable where the passphrase is wrong."""
    content = open_box(path, passphrase, KIT_PURPOSE)
    try:
        return Settings(**json.loads(content["settings"])), keyring_from(content)
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(f"the recovery kit {path} is damaged: use another copy") from error


def backup(home: Home, path: Path) -> int:
    """Write an encrypted backup of the home to a new file and return its size in bytes; the file is whole or not there."""
    if path.exists():
        raise HomeError(f"{path} exists: name a new file for the backup")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with tempfile.TemporaryDirectory(dir=home.path) as folder:
            snapshot = Path(folder)
            copy = sqlite3.connect(snapshot / LEDGER)
            home.store.db.backup(copy)
            copy.close()
            home.subjects.snapshot(snapshot / SUBJECTS)
            for name in (KEYRING, CONFIG):
                shutil.copyfile(home.path / name, snapshot / name)
            with tempfile.TemporaryFile(dir=home.path) as plain, part.open("wb") as target:
                with tarfile.open(fileobj=plain, mode="w") as tar:
                    for name in _FILES:
                        tar.add(snapshot / name, arcname=name)
                plain.seek(0)
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
    target: Path, settings: Settings, keyring: Keyring, passphrase: bytes, archive: Path | None, taken: Callable[[int], None]
) -> None:
    """Build a home in the new folder `target` from a backup and the mirror, or from the mirror alone.

    `taken` is told the number of entries as batches are taken in. The folder appears whole or not at all: the work is done beside it.
    """
    work = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True, mode=0o700)
        if archive is None:
            Home.create(work, settings, keyring, passphrase)
        else:
            _unpack(archive, keyring, work)
            write_durably(work / KEYRING, seal_box(passphrase, "keyring", keyring_content(keyring)))
            write_settings(work, replace(read_settings(work, keyring), mirror=settings.mirror, chain=settings.chain), keyring)
        catch_up(work, keyring, taken)
        work.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise HomeError(f"cannot restore to {target}: {error.strerror}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def catch_up(path: Path, keyring: Keyring, taken: Callable[[int], None]) -> int:
    """Take in what the mirror has and the home lacks; returns the number of entries taken in."""
    home = Home(path, read_settings(path, keyring), keyring)
    try:
        before = home.journal.size
        if home.settings.mirror is not None:
            last = int(home.store.meta("batch", "0") or 0)
            for batch in batches(Path(home.settings.mirror), keyring, home.settings.home_id, last):
                take_in(home, batch)
                taken(home.journal.size)
        return home.journal.size - before
    finally:
        home.close()


def _unpack(archive: Path, keyring: Keyring, folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as plain:
            _decrypt(archive, keyring.mirror, plain)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r") as tar:
                for name in _FILES:
                    content = tar.extractfile(name)
                    if content is None:
                        raise HomeError(f"the backup {archive} lacks {name}")
                    with (folder / name).open("wb") as target:
                        shutil.copyfileobj(content, target)
    except (tarfile.TarError, KeyError) as error:
        raise HomeError(f"the backup {archive} is damaged: use another one") from error
