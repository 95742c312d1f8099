"""A home: the folder in which one institution keeps its ledger, its keys and its settings; one writer at a time."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.batch import Batch
from ledger.errors import HomeError
from ledger.files import write_durably
from ledger.journal import Checkpoint, Journal
from ledger.keys import Keyring, SubjectKeys, open_box, seal_box
from ledger.store import Store

CONFIG = "home.json"
KEYRING = "keyring.json"
LEDGER = "ledger.db"
SUBJECTS = "subjects.db"
LOCK = "lock"
KEYRING_PURPOSE = "keyring"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a home knows besides its ledger. Public: it holds no secret.

    `chain` is a folder or URL, `consortium` and `journals` are contract addresses in hex, `institution` the id on the chain.
    """

    name: str
    home_id: str
    chain: str
    chain_id: int
    consortium: str
    journals: str
    institution: int
    mirror: str | None = None


def write_settings(path: Path, settings: Settings) -> None:
    """Write `home.json`, durably and whole."""
    values = {name: getattr(settings, name) for name in Settings.__slots__}
    write_durably(path / CONFIG, json.dumps({"careseal": 1, **values}, indent=2, ensure_ascii=False).encode())


def read_settings(path: Path) -> Settings:
    """The settings of the home at `path`; HomeError where there is no home."""
    try:
        values = json.loads((path / CONFIG).read_bytes())
        if values.pop("careseal") != 1:
            raise ValueError
        return Settings(**values)
    except FileNotFoundError:
        raise HomeError(f"{path} is not a Careseal home: create one with careseal init --home {path} --name NAME") from None
    except OSError as error:
        raise HomeError(f"cannot read {path / CONFIG}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HomeError(f"{path / CONFIG} is damaged: restore the home from its backup") from error


@contextmanager
def exclusive(path: Path, wait: float) -> Iterator[None]:
    """Hold the home's lock; HomeError when another process keeps it for more than `wait` seconds."""
    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"cannot lock the home {path}: {error.strerror}") from error
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise HomeError(
                        f"another process is writing to the home {path}: wait for it to end and run the command again"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


class Home:
    """An opened home. `batch()` is the only way in which its journal grows."""

    def __init__(self, path: Path, settings: Settings, keyring: Keyring, *, readonly: bool = False) -> None:
        self.path, self.settings, self.keyring = path, settings, keyring
        self.store = Store(path / LEDGER, readonly=readonly)
        self.journal = Journal(self.store)
        self.subjects = SubjectKeys(path / SUBJECTS, keyring, readonly=readonly)

    @staticmethod
    def create(path: Path, settings: Settings, keyring: Keyring, passphrase: bytes) -> None:
        """Create the files of a new home in the existing folder `path`; `home.json` comes last and makes it one."""
        write_durably(path / KEYRING, seal_box(passphrase, KEYRING_PURPOSE, keyring_content(keyring)))
        Store(path / LEDGER, create=True).close()
        SubjectKeys(path / SUBJECTS, keyring, create=True).close()
        write_settings(path, settings)

    @staticmethod
    @contextmanager
    def open(path: Path, passphrase: Callable[[], bytes], *, wait: float = 5.0) -> Iterator[Home]:
        """Open for writing, under the home's lock, which is kept until the context ends."""
        settings = read_settings(path)
        keyring = keyring_from(open_box(path / KEYRING, passphrase(), KEYRING_PURPOSE))
        with exclusive(path, wait):
            home = Home(path, settings, keyring)
            try:
                yield home
            finally:
                home.close()

    @contextmanager
    def batch(self, checkpoint_time: int | None = None) -> Iterator[Batch]:
        """One durable transaction that appends to the journal; with `checkpoint_time` (ms) it ends in a checkpoint."""
        with self.store.transaction():
            batch = Batch(self.store, self.journal, self.subjects, mirrored=self.settings.mirror is not None)
            yield batch
            batch.flush()
            if checkpoint_time is not None:
                self._checkpoint(batch, checkpoint_time)

    def _checkpoint(self, batch: Batch, now: int) -> Checkpoint | None:
        made = self.journal.checkpoint(now)
        if made is not None:
            batch.put("checkpoints", made.generation, made.size, made.root, made.time)
            batch.flush()
        return made

    def close(self) -> None:
        self.store.close()
        self.subjects.close()


def keyring_content(keyring: Keyring) -> dict[str, str]:
    """The keyring as the content of an encrypted box."""
    return {name: getattr(keyring, name).hex() for name in Keyring.__slots__}


def keyring_from(content: dict[str, str]) -> Keyring:
    """The keyring in the content of an opened box."""
    try:
        return Keyring(**{name: bytes.fromhex(content[name]) for name in Keyring.__slots__})
    except (KeyError, ValueError) as error:
        raise HomeError("the keyring is damaged: restore it from the recovery kit") from error
