"""The secrets of chosen records in one file that one auditor's key opens, and nobody else's.

An SQLite file. The secrets lie in blocks of 256 entries of the journal, encrypted under a key of this file; that key is encrypted to the
auditor (HPKE, RFC 9180). The journal has the digest of all of it. A secret opens one version of one record: not the row itself, nor what
the record was before or becomes later.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from ledger import canonical
from ledger.errors import LedgerError, WireError
from ledger.files import sync_folder
from ledger.keys import KEY_BYTES, blinded_state
from ledger.store import layout, layout_of, one_line
from ledger.wire import RecordEntry

FORMAT = "audit-access/1"
BLOCK = 256
_DOMAIN = b"careseal/v1/access"
_MAX_HEADER = 1 << 16
_MAX_BOX = BLOCK * (1 + KEY_BYTES) + 16
_CACHED = 1024  # blocks
_SCHEMA = """
CREATE TABLE header (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE erased (sid INTEGER PRIMARY KEY);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, box BLOB NOT NULL);
"""
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

Secret = tuple[int, bytes]  # the entry, and its 32 bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What an access file is of: institution and grant, the journal's size when the secrets were taken, and whose key opens it."""

    home: str
    institution: int
    name: str
    chain_id: int
    grant: int  # its entry
    commitment: bytes  # of that entry's document
    size: int
    signing: bytes
    encryption: bytes


def write_access(
    path: Path, header: Header, states_key: bytes, secrets: Iterable[Secret], erased: Iterable[int],
    random: Callable[[int], bytes] = os.urandom,
) -> tuple[Path, bytes]:  # fmt: skip
    """Write an access file beside `path`, durably; returns its place, from where the caller moves it to `path`, and its digest.

    `secrets` come in the order of their entries. OSError as it comes, HomeError where the disk is full.
    """
    key = random(KEY_BYTES)
    bound = canonical.encode(_public(header))
    sealed = _SUITE.encrypt(key + states_key, X25519PublicKey.from_public_bytes(header.encryption), _DOMAIN + bound)
    body = canonical.encode(_public(header) | {"key": sealed.hex()})
    part, box = path.with_name(f".{path.name}.{os.getpid()}.part"), AESGCM(key)
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with one_line(path), closing(sqlite3.connect(part, isolation_level=None)) as db:
            db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN; {_SCHEMA}")
            db.execute("INSERT INTO header VALUES (1,?)", (body,))
            db.executemany("INSERT INTO erased VALUES (?)", ((sid,) for sid in sorted(set(erased))))
            for number, run in groupby(secrets, key=lambda secret: secret[0] // BLOCK):
                plain = b"".join(bytes([entry % BLOCK]) + secret for entry, secret in run)
                db.execute("INSERT INTO blocks VALUES (?,?)", (number, box.encrypt(_nonce(number), plain, _DOMAIN)))
            db.execute("COMMIT")
            digest = _digest(db)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part, digest


def move_into_place(part: Path, path: Path) -> None:
    """Give a written file its name, for good. OSError as it comes."""
    part.replace(path)
    sync_folder(path.parent)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, which nothing writes any more. LedgerError where it is no access file, or is damaged."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)) as db:
            if layout(db) != layout_of(_SCHEMA):
                raise ValueError
            yield db
    except (sqlite3.Error, ValueError, WireError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _no_file(path) from error


def _no_file(path: Path) -> LedgerError:
    return LedgerError(f"{path} is no file of careseal audit-access, or it is damaged: ask the institution for it again")


def read_header(path: Path) -> Header:
    """What an access file says it is of. LedgerError where it cannot be read or is none."""
    with _opened(path) as db:
        return _header(db)[0]


def digest_of(path: Path) -> bytes:
    """The digest of an access file, which the journal has. LedgerError where it cannot be read or is none."""
    with _opened(path) as db:
        return _digest(db)


def open_key(path: Path, header: Header, key: X25519PrivateKey) -> tuple[bytes, bytes]:
    """The file's own key and the institution's key for states. LedgerError where this auditor's key does not open it."""
    with _opened(path) as db:
        sealed = _header(db)[1]
    try:
        plain = _SUITE.decrypt(sealed, key, _DOMAIN + canonical.encode(_public(header)))
    except (InvalidTag, ValueError):
        plain = b""
    if len(plain) != 2 * KEY_BYTES:
        raise LedgerError(f"{path} was made for another key than this auditor's, or it was changed: ask the institution for it again")
    return plain[:KEY_BYTES], plain[KEY_BYTES:]


class GrantedSecrets:
    """The secrets in an access file. An entry of the journal's first `size` that is not here was left out by the institution."""

    def __init__(self, path: Path, key: bytes, states_key: bytes, size: int) -> None:
        self._box, self._states_key, self._size, self._path = AESGCM(key), states_key, size, path
        self._blocks: dict[int, dict[int, bytes]] = {}
        self._stack = ExitStack()
        self._db = self._stack.enter_context(_opened(path))
        self.erased: Set[int] = frozenset(sid for (sid,) in self._db.execute("SELECT sid FROM erased") if type(sid) is int)

    def many(self, sids: Sequence[int], entries: Sequence[int], bodies: Sequence[bytes]) -> list[bytes] | None:
        numbers = {entry // BLOCK for entry in entries}
        missing = [number for number in numbers if number not in self._blocks]
        if missing:
            self._load(numbers, missing)
        blocks = self._blocks
        try:
            return [blocks[entry // BLOCK][entry] for entry in entries]
        except KeyError:
            return None

    def _load(self, wanted: Set[int], missing: Iterable[int]) -> None:
        if len(self._blocks) > _CACHED:
            self._blocks = {number: block for number, block in self._blocks.items() if number in wanted}
        for number in missing:
            self._blocks[number] = self._block(number)

    def _block(self, number: int) -> dict[int, bytes]:
        try:
            row = self._db.execute("SELECT box FROM blocks WHERE id=?", (number,)).fetchone()
            if row is None:
                return {}
            plain = self._box.decrypt(_nonce(number), row[0], _DOMAIN)
        except (sqlite3.Error, InvalidTag, TypeError) as error:
            raise _no_file(self._path) from error
        step = 1 + KEY_BYTES
        return {number * BLOCK + plain[at]: plain[at + 1 : at + step] for at in range(0, len(plain), step)}

    def close(self) -> None:
        self._stack.close()

    def one(self, sid: int, index: int, entry: RecordEntry) -> bytes | None:
        found = self.many([sid], [index], [])
        return None if found is None else found[0]

    def covers(self, index: int) -> bool:
        return index < self._size

    def is_subject(self, sid: int, entry: RecordEntry) -> bool:
        return True  # only the subject's key, which no auditor has, tells

    def blind_state(self, what: bytes) -> bytes:
        return blinded_state(self._states_key, what)


def _nonce(block: int) -> bytes:
    return block.to_bytes(12, "big")


def _public(header: Header) -> dict[str, Any]:
    return {
        "careseal": FORMAT, "home": header.home, "institution": header.institution, "name": header.name, "chain_id": header.chain_id,
        "grant": header.grant, "commitment": header.commitment.hex(), "size": header.size,
        "signing": header.signing.hex(), "encryption": header.encryption.hex(),
    }  # fmt: skip


def _header(db: sqlite3.Connection) -> tuple[Header, bytes]:
    """ValueError, KeyError, TypeError, WireError or sqlite3.Error where there is none."""
    ((length,),) = db.execute("SELECT length(body) FROM header").fetchall()
    if length > _MAX_HEADER:
        raise ValueError
    ((body,),) = db.execute("SELECT body FROM header").fetchall()
    values: Mapping[str, Any] = canonical.decode(body)
    commitment, signing, encryption = (bytes.fromhex(values[name]) for name in ("commitment", "signing", "encryption"))
    made = Header(
        values["home"], values["institution"], values["name"], values["chain_id"], values["grant"], commitment, values["size"], signing,
        encryption,
    )  # fmt: skip
    sealed = bytes.fromhex(values["key"])
    numbers = (made.institution, made.chain_id, made.grant, made.size)
    if values != _public(made) | {"key": sealed.hex()} or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError
    if not isinstance(made.name, str) or not isinstance(made.home, str):
        raise ValueError
    return made, sealed


def _digest(db: sqlite3.Connection) -> bytes:
    """SHA-256 over all that the file holds. ValueError or sqlite3.Error where it holds something else."""
    made = sha256(_DOMAIN)
    ((body,),) = db.execute("SELECT body FROM header").fetchall()
    made.update(len(body).to_bytes(8, "big") + body)
    for (sid,) in db.execute("SELECT sid FROM erased ORDER BY sid"):
        made.update(b"\1" + sid.to_bytes(8, "big"))
    for number, length, box in db.execute("SELECT id, length(box), box FROM blocks ORDER BY id"):
        if length > _MAX_BOX or not isinstance(box, bytes):
            raise ValueError
        made.update(b"\2" + number.to_bytes(8, "big") + length.to_bytes(4, "big") + box)
    return made.digest()
