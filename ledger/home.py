"""A home: the folder in which one institution keeps its ledger, its keys and its settings; one writer at a time."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import blake2s
from pathlib import Path
from typing import Any

from careseal import read_json
from ledger import canonical, rotation
from ledger.batch import Batch, is_mirrored
from ledger.errors import HomeError
from ledger.files import private_file, write_durably
from ledger.journal import Checkpoint, Journal
from ledger.keys import Keyring, SubjectKeys, open_box, seal_box
from ledger.store import Store, one_line

CONFIG = "home.json"
KEYRING = "keyring.json"
LEDGER = "ledger.db"
SUBJECTS = "subjects.db"
LOCK = "lock"
UNFINISHED = ".unfinished"
KEYRING_PURPOSE = "keyring"
_CODE = b"careseal/v1/settings"
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What a home knows besides its ledger. Public: it holds no secret.

    `chain` is an absolute folder or a URL, `consortium` and `journals` are contract addresses in hex, `institution` is the id on
    the chain, 0 before it is a member. `network` is the network file's text, the root of trust, empty before it is a member.
    `tsa` lists the URLs of the time stamping authorities to ask, in this order.
    """

    name: str
    home_id: str
    chain: str
    chain_id: int
    consortium: str
    journals: str
    institution: int
    mirror: str | None = None
    network: str = ""
    tsa: tuple[str, ...] = ()


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings from their JSON. KeyError, TypeError or ValueError where it is not that."""
    return Settings(**{**values, "tsa": tuple(values["tsa"])})


def chain_is_inside(path: Path, settings: Settings) -> bool:
    """Whether the chain lies in the folder of the home at `path`, and is lost with it."""
    return "://" not in settings.chain and Path(settings.chain).is_relative_to(path.resolve())


def portable(path: Path, settings: Settings) -> Settings:
    """The settings as they are stored: a chain inside the home is named relative to it, so that the home can be moved."""
    inside = chain_is_inside(path, settings)
    return replace(settings, chain=str(Path(settings.chain).relative_to(path.resolve()))) if inside else settings


def placed(path: Path, stored: Settings) -> Settings:
    """Stored settings as those of a home at `path`."""
    return stored if "://" in stored.chain else replace(stored, chain=str(path.resolve() / stored.chain))


def write_settings(path: Path, settings: Settings, keyring: Keyring) -> None:
    """Write `home.json`, durably and whole, with a code that only the keyring can make."""
    stored = portable(path, settings)
    values = {"careseal": _VERSION, **asdict(stored), "code": _code(stored, keyring)}
    write_durably(path / CONFIG, json.dumps(values, indent=2, ensure_ascii=False).encode())


def _code(settings: Settings, keyring: Keyring) -> str:
    """Binds the settings to the keyring: whoever redirects a home to another chain or institution is noticed."""
    return blake2s(_CODE + canonical.encode(asdict(settings)), key=keyring.mirror).hexdigest()


def read_settings(path: Path, keyring: Keyring | None = None) -> Settings:
    """The settings of the home at `path`; HomeError where there is no home, or, given its keyring, where they were changed by hand."""
    try:
        values = read_json((path / CONFIG).read_bytes())
        version = values.pop("careseal")
        if type(version) is int and version != _VERSION:
            raise HomeError(f"{path} is a home of format {version}, this program reads {_VERSION}: use the version that made it")
        if type(version) is not int:
            raise ValueError
        code, stored = str(values.pop("code")), settings_from(values)
        settings = placed(path, stored)
    except FileNotFoundError:
        raise HomeError(f"{path} is not a Careseal home: create one with careseal init --home {path} --name NAME") from None
    except OSError as error:
        raise HomeError(f"cannot read {path / CONFIG}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HomeError(f"{path / CONFIG} is damaged: restore the home from its backup") from error
    if keyring is not None and not hmac.compare_digest(code, _code(stored, keyring)):
        raise HomeError(f"{path / CONFIG} was changed by hand: restore it from the backup or recovery kit")
    return settings


@contextmanager
def exclusive(path: Path, wait: float, name: str = LOCK) -> Iterator[None]:
    """Hold the lock file `name` of a folder, the home's; HomeError when another process keeps it for more than `wait` seconds."""
    try:
        handle = os.open(path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"cannot lock {path}: {error.strerror}") from error
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise HomeError(
                        f"another process is writing to {path}: wait for it to end and run the command again"
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
        self.journal = Journal(self.store, keyring.mirror)
        self.subjects = SubjectKeys(path / SUBJECTS, keyring, readonly=readonly)

    @staticmethod
    def create(path: Path, settings: Settings, keyring: Keyring, passphrase: bytes) -> None:
        """Create the files of a new home in the existing folder `path`; `home.json` comes last and makes it one.

        Until then a mark says that what is there may be deleted.
        """
        private_file(path / UNFINISHED)
        write_durably(path / KEYRING, seal_box(passphrase, KEYRING_PURPOSE, keyring_content(keyring)))
        Store(path / LEDGER, create=True).close()
        SubjectKeys(path / SUBJECTS, keyring, create=True).close()
        write_settings(path, settings, keyring)
        (path / UNFINISHED).unlink()

    @staticmethod
    @contextmanager
    def open(path: Path, passphrase: Callable[[], bytes], *, wait: float = 5.0) -> Iterator[Home]:
        """Open for writing, under the home's lock, which is kept until the context ends."""
        read_settings(path)
        keyring = read_keyring(path, passphrase())
        settings = read_settings(path, keyring)
        with exclusive(path, wait):
            home = Home(path, settings, keyring)
            try:
                with one_line(path / LEDGER):
                    if (path / rotation.NEXT).exists():
                        home.finish_rotation(keyring_from(open_box(path / rotation.NEXT, passphrase(), KEYRING_PURPOSE)))
                    yield home
            finally:
                home.close()

    @contextmanager
    def batch(self, checkpoint_time: int | None = None) -> Iterator[Batch]:
        """One durable transaction that appends to the journal; with `checkpoint_time` (ms) it ends in a checkpoint.

        HomeError where the mirror is ahead: a home that was rolled back must not take changes out of the queues.
        """
        if self.mirror_is_ahead():
            raise HomeError(f"this home was rolled back, its mirror {self.settings.mirror} has later entries: run careseal restore")
        with self.store.transaction():
            batch = Batch(self.store, self.journal, self.subjects, mirrored=self.settings.mirror is not None)
            yield batch
            batch.flush()
            if checkpoint_time is not None:
                self._checkpoint(batch, checkpoint_time)

    @property
    def home_id(self) -> str:
        """The name, in hex, that this home's signed actions are bound to."""
        return self.settings.home_id

    @property
    def keyring_path(self) -> Path:
        return self.path / KEYRING

    def finish_rotation(self, keyring: Keyring) -> None:
        """Take a keyring into use that a killed erasure announced, or throw it away where the journal does not name it."""
        from ledger.erasure import finish

        if self.journal.wrapping() == rotation.wrapping_id(keyring):
            finish(self, keyring)
        else:
            rotation.give_up(self)

    def mirror_is_ahead(self) -> bool:
        """Whether the mirror holds a batch that this home never wrote."""
        number = int(self.store.meta("batch", "0") or 0) + 1
        return self.settings.mirror is not None and is_mirrored(Path(self.settings.mirror), number)

    def _checkpoint(self, batch: Batch, now: int) -> Checkpoint | None:
        made = self.journal.checkpoint(now)
        if made is not None:
            batch.put("checkpoints", made.generation, made.size, made.root, made.time, self.journal.code_of(made))
            batch.flush()
        return made

    def close(self) -> None:
        self.store.close()
        self.subjects.close()


def read_keyring(path: Path, passphrase: bytes) -> Keyring:
    """The keyring of the home at `path`; KeyUnavailable where the passphrase is wrong."""
    return keyring_from(open_box(path / KEYRING, passphrase, KEYRING_PURPOSE))


def keyring_content(keyring: Keyring) -> dict[str, str]:
    """The keyring as the content of an encrypted box."""
    return {name: getattr(keyring, name).hex() for name in Keyring.__slots__}


def keyring_from(content: dict[str, str]) -> Keyring:
    """The keyring in the content of an opened box."""
    try:
        return Keyring(**{name: bytes.fromhex(content[name]) for name in Keyring.__slots__})
    except (KeyError, ValueError) as error:
        raise HomeError("the keyring is damaged: restore it from the recovery kit") from error
