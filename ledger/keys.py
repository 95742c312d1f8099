"""Keys at rest: the home's keyring under a passphrase, and one key per subject in a store apart from the database."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from careseal import read_json
from ledger.errors import HomeError, KeyUnavailable
from ledger.files import private_file
from ledger.store import one_line

KEY_BYTES = 32
_STATES = b"careseal/v1/states"
_SCRYPT = {"n": 2**15, "r": 8, "p": 1}
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The home's secrets, 32 bytes each.

    `wrapping` encrypts subject keys, `labels` blinds patient and author names, `mirror` encrypts what leaves the home,
    `sealing` is the institution's secp256k1 account.
    """

    wrapping: bytes
    labels: bytes
    mirror: bytes
    sealing: bytes

    @staticmethod
    def generate(random: Callable[[int], bytes] = os.urandom) -> Keyring:
        return Keyring(*(random(KEY_BYTES) for _ in range(4)))


def seal_box(passphrase: bytes, purpose: str, content: dict[str, str], random: Callable[[int], bytes] = os.urandom) -> bytes:
    """A JSON file that only `passphrase` opens: scrypt (RFC 7914) and AES-256-GCM, bound to `purpose`."""
    salt, nonce = random(16), random(12)
    box = AESGCM(_stretch(passphrase, salt)).encrypt(nonce, json.dumps(content).encode(), purpose.encode())
    return json.dumps({"careseal": purpose, "kdf": "scrypt-32768-8-1", "salt": salt.hex(), "nonce": nonce.hex(), "box": box.hex()}).encode()


def open_box(path: Path, passphrase: bytes, purpose: str) -> dict[str, str]:
    """The content of a file made by `seal_box`. KeyUnavailable when the passphrase is wrong, HomeError when it is no such file."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise ValueError
        outer = read_json(path.read_bytes())
        if outer["careseal"] != purpose or outer["kdf"] != "scrypt-32768-8-1":
            raise ValueError
        salt, nonce, box = (bytes.fromhex(outer[name]) for name in ("salt", "nonce", "box"))
    except OSError as error:
        raise HomeError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(f"{path} is not a Careseal {purpose} file, or it is damaged") from error
    try:
        content = json.loads(AESGCM(_stretch(passphrase, salt)).decrypt(nonce, box, purpose.encode()))
    except (InvalidTag, ValueError) as error:
        raise KeyUnavailable(f"wrong passphrase for {path}, or the file was changed") from error
    return {str(name): str(value) for name, value in content.items()}


def _stretch(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, **_SCRYPT).derive(passphrase)


def blinded_state(key: bytes, what: bytes) -> bytes:
    """The 20 bytes that stand for what a row is, under a home's `states_key`."""
    return blake2s(what, key=key, digest_size=20).digest()


class SubjectKeys:
    """One random key per subject, wrapped by the keyring, in `subjects.db`.

    The store knows subjects by a blinded label and a small number, the sid. A database backup alone revives no key, and
    a key destroyed here is gone. Keys are cached within a bound.
    """

    _CACHE = 65536

    def __init__(self, path: Path, keyring: Keyring, *, create: bool = False, readonly: bool = False) -> None:
        self._path, self._labels, self._wrap = path, keyring.labels, AESGCM(keyring.wrapping)
        self.states_key = blake2s(_STATES, key=keyring.labels).digest()
        self._keys: dict[int, bytes] = {}
        self._sids: dict[str, int] = {}
        mode = "ro" if readonly else "rwc" if create else "rw"
        with one_line(path):
            if create:
                private_file(path)
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10)
            if create:
                self._db.executescript(
                    "PRAGMA journal_mode=WAL; PRAGMA secure_delete=ON;"
                    "CREATE TABLE IF NOT EXISTS subject (sid INTEGER PRIMARY KEY AUTOINCREMENT, label BLOB NOT NULL UNIQUE, key BLOB);"
                )
            self._db.execute("SELECT 1 FROM subject LIMIT 1").fetchall()
            if not readonly:
                self._db.execute("PRAGMA synchronous=FULL")

    def blind(self, label: str) -> bytes:
        """The 16 bytes under which the store knows a subject."""
        return blake2s(label.encode(errors="surrogateescape"), key=self._labels, digest_size=16).digest()

    def blind_state(self, what: bytes) -> bytes:
        """The 20 bytes that stand for what a row is, to nobody but this home and whom it gives `states_key`."""
        return blinded_state(self.states_key, what)

    def sids(self, labels: Iterable[str]) -> dict[str, int]:
        """The sid of each label; unknown subjects get a fresh key, durable when this returns."""
        wanted = set(labels)
        known = {label: self._sids[label] for label in wanted if label in self._sids}
        missing = wanted - known.keys()
        if missing:
            known |= self._look_up(missing)
            if len(self._sids) > self._CACHE:
                self._sids.clear()
            self._sids |= known
        return known

    def _look_up(self, labels: set[str]) -> dict[str, int]:
        blinds = {self.blind(label): label for label in labels}
        with one_line(self._path):
            found = self.known(blinds)
            fresh = [blind for blind in blinds if blind not in found]
            if fresh:
                rows = [(blind, self._wrapped(os.urandom(KEY_BYTES), blind)) for blind in fresh]
                self._insert("INSERT OR IGNORE INTO subject (label, key) VALUES (?,?)", rows)
                found |= self.known(fresh)
        return {blinds[blind]: sid for blind, sid in found.items()}

    def known(self, blinds: Iterable[bytes]) -> dict[bytes, int]:
        """The sid of each blinded label that the store knows."""
        found: dict[bytes, int] = {}
        pending = list(blinds)
        for start in range(0, len(pending), 500):
            part = pending[start : start + 500]
            marks = ",".join("?" * len(part))
            found |= dict(self._db.execute(f"SELECT label, sid FROM subject WHERE label IN ({marks})", part))  # noqa: S608
        return found

    def _wrapped(self, key: bytes, blind: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._wrap.encrypt(nonce, key, blind)

    def keys(self, sids: Iterable[int]) -> dict[int, bytes]:
        """The key of each sid; a sid whose key is destroyed or missing is left out. KeyUnavailable if the keyring is the wrong one."""
        wanted = set(sids)
        missing = [sid for sid in wanted if sid not in self._keys]
        if missing:
            if len(self._keys) + len(missing) > self._CACHE:
                self._keys = {sid: self._keys[sid] for sid in wanted if sid in self._keys}
            for sid, blind, wrapped in self.rows(missing):
                if wrapped is not None:
                    self._keys[sid] = self._unwrapped(wrapped, blind)
        return self._keys

    def _unwrapped(self, wrapped: bytes | None, blind: bytes, box: AESGCM | None = None) -> bytes:
        wrapped = wrapped or b""
        try:
            return (box or self._wrap).decrypt(wrapped[:12], wrapped[12:], blind)
        except (InvalidTag, ValueError) as error:
            raise KeyUnavailable(
                f"{self._path} does not belong to this home's keyring, or it was changed: restore it from the backup"
            ) from error

    def _opens(self, wrapped: bytes | None, blind: bytes) -> bool:
        try:
            self._unwrapped(wrapped, blind)
        except KeyUnavailable:
            return False
        return True

    def all_among(self, foreign: set[int]) -> bool:
        """Whether every key that there is belongs to one of these subjects, or cannot be opened by this keyring."""
        with one_line(self._path):
            kept = self._db.execute("SELECT sid, label, key FROM subject WHERE key IS NOT NULL")
            return all(sid in foreign or not self._opens(wrapped, blind) for sid, blind, wrapped in kept)

    def rewrap(self, keyring: Keyring) -> None:
        """Wrap every key anew under another keyring's wrapping key, in one transaction, and go on with that. Done again it changes nothing.

        KeyUnavailable, with nothing changed, where a key opens under neither.
        """
        former, self._wrap = self._wrap, AESGCM(keyring.wrapping)
        try:
            with one_line(self._path):
                self._db.execute("PRAGMA secure_delete=ON")
                self._db.execute("BEGIN IMMEDIATE")
                highest = self.highest()
                for start in range(1, highest + 1, 5000):
                    kept = [row for row in self.rows(range(start, min(start + 5000, highest + 1))) if row[2] is not None]
                    keys = [(self._unwrapped(key, blind, former), blind, sid) for sid, blind, key in kept if not self._opens(key, blind)]
                    rows = [(self._wrapped(key, blind), sid) for key, blind, sid in keys]
                    self._db.executemany("UPDATE subject SET key=? WHERE sid=?", rows)
                self._db.execute("COMMIT")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except BaseException:
            self._wrap = former
            raise
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def rows(self, sids: Iterable[int]) -> list[tuple[int, bytes, bytes | None]]:
        """(sid, blinded label, wrapped key or None where destroyed), for the mirror and for look-ups."""
        pending, found = list(sids), []
        with one_line(self._path):
            for start in range(0, len(pending), 500):
                part = pending[start : start + 500]
                marks = ",".join("?" * len(part))
                found += self._db.execute(f"SELECT sid, label, key FROM subject WHERE sid IN ({marks})", part).fetchall()  # noqa: S608
        return found

    def put(self, rows: Iterable[tuple[int, bytes, bytes | None]]) -> set[int]:
        """Take in rows of another copy of this store, and tell whose keys this keyring does not open.

        A key that was destroyed here stays destroyed. Of two copies of a key the later one is kept that this keyring opens: after an
        erasure the others are wrapped under a key that is no more. HomeError where this store knows one of the subjects by another
        number: then the two copies went different ways.
        """
        taken = list(rows)
        opened = [(key, sid) for sid, blind, key in taken if self._opens(key, blind)]
        with one_line(self._path):
            self._insert("INSERT OR IGNORE INTO subject VALUES (?,?,?)", taken)
            self._insert("UPDATE subject SET key=? WHERE sid=? AND key IS NOT NULL", opened)
        known = {sid: label for sid, label, _ in self.rows([row[0] for row in taken])}
        if any(known.get(sid) != label for sid, label, _ in taken):
            raise HomeError(f"{self._path} and the mirror have different histories: restore with --kit, from the mirror alone")
        return {sid for sid, _, key in taken if key is not None} - {sid for _, sid in opened}

    def _insert(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def destroy(self, *blinds: bytes) -> None:
        """Destroy the keys of the subjects with these blinded labels, for good; the subjects stay known. HomeError if that fails."""
        try:
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.executemany("UPDATE subject SET key=NULL WHERE label=?", [(blind,) for blind in blinds])
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise HomeError(f"cannot destroy a key in {self._path}: run it again ({error})") from error
        self._keys.clear()

    def highest(self) -> int:
        """The highest sid given out so far."""
        with one_line(self._path):
            return int(self._db.execute("SELECT coalesce(max(sid), 0) FROM subject").fetchone()[0])

    def snapshot(self, target: Path) -> None:
        """Copy the store, consistently, to a new file."""
        with one_line(self._path), closing(sqlite3.connect(target)) as copy:
            self._db.backup(copy)

    def close(self) -> None:
        self._db.close()
