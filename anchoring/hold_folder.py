"""The folder of a hold: parts, encrypted for those who have custody of them, and the lists that both sides sign.

    part-0001.hold       "careseal hold 1" LF, a line of JSON, 12-byte nonce, AES-256-GCM of deflated JSON under the part's own key
    part-0001.key.json   that key under a passphrase, where one has custody
    list-0001.json, .pdf the list (封存清单): which records, with their digests

The header's line names home, hold and part, and holds the part's key encrypted to each person who has custody (HPKE, RFC 9180). A record's
copy is a whole evidence file: what the copies have in common is stored once.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from ledger import canonical
from ledger.errors import HomeError, KeyUnavailable, LedgerError, WireError
from ledger.files import write_durably
from ledger.keys import KEY_BYTES, open_box, seal_box
from ledger.persons import Person, PersonKey

KEY_PURPOSE = "hold key"
LIST = "hold-list/1"
UNFINISHED = ".unfinished"
MOST_BYTES = 1 << 28  # of a part's JSON
_MAGIC = b"careseal hold 1\n"
_INFO = b"careseal/v1/hold"
_MAX_HEADER = 1 << 20
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Custody:
    """Who can open a part: registered persons, and whoever knows the passphrase."""

    persons: tuple[Person, ...] = ()
    passphrase: bytes | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (*(f"person {person.id}" for person in self.persons), *(["passphrase"] if self.passphrase else []))


def part_name(number: int) -> str:
    return f"part-{number:04d}.hold"


def key_name(number: int) -> str:
    return f"part-{number:04d}.key.json"


def list_name(number: int, ending: str = "json") -> str:
    return f"list-{number:04d}.{ending}"


def prepare(folder: Path, taken: Callable[[Path], bool]) -> None:
    """Make the empty folder of a new hold. LedgerError where it cannot be written, is not empty, or is another hold's.

    What a hold left that was killed before it was journalled is taken away.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if taken(folder.resolve()):
            raise LedgerError(f"{folder} holds another hold already: choose a new folder")
        left = sorted(folder.iterdir(), key=lambda entry: entry.name == UNFINISHED)
        if (folder / UNFINISHED).exists() or all(entry.name.startswith(f".{UNFINISHED}.") for entry in left):
            for entry in left:
                entry.unlink()
        if any(folder.iterdir()):
            raise LedgerError(f"{folder} is not empty: choose a new folder for the hold")
        write_durably(folder / UNFINISHED, b"")
    except OSError as error:
        raise LedgerError(f"cannot write {folder}: {error.strerror}; nothing was put under hold") from error


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a part's files, each durable. LedgerError, with none of them left that was not there before, where they do not fit."""
    try:
        for name, content in files.items():
            write_durably(folder / name, content)
    except OSError as error:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        raise LedgerError(f"cannot write {folder}: {error.strerror}; nothing was put under hold") from error


def finished(folder: Path) -> None:
    """The hold is journalled: what lies in the folder stays."""
    (folder / UNFINISHED).unlink(missing_ok=True)


def sealed_part(
    home_id: str, hold: int, number: int, records: Sequence[bytes], custody: Custody, random: Callable[[int], bytes] = os.urandom
) -> dict[str, bytes]:
    """The files of a part, by name: copies of records, each the bytes of its evidence. LedgerError where they are too large together."""
    key, nonce = random(KEY_BYTES), random(12)
    boxes = [
        {"person": person.id, "box": _SUITE.encrypt(key, X25519PublicKey.from_public_bytes(person.encryption), _INFO).hex()}
        for person in custody.persons
    ]
    header = canonical.encode({"custody": boxes, "hold": hold, "home": home_id, "part": number}) + b"\n"
    text = _packed(records)
    if len(text) > MOST_BYTES:
        raise LedgerError(f"these records take more than {MOST_BYTES >> 20} MB: put fewer of them under hold, then extend it")
    files = {part_name(number): _MAGIC + header + nonce + AESGCM(key).encrypt(nonce, zlib.compress(text), header)}
    if custody.passphrase is not None:
        files[key_name(number)] = seal_box(custody.passphrase, KEY_PURPOSE, {"key": key.hex()}, random)
    return files


def _packed(records: Sequence[bytes]) -> bytes:
    """Evidence files as one text: what stands at the top of several is stored once, under its digest."""
    pool: dict[str, Any] = {}
    packed = []
    for record in records:
        members = {}
        for name, value in json.loads(record).items():
            digest = sha256(canonical.encode(value)).hexdigest()
            pool[digest] = value
            members[name] = digest
        packed.append(members)
    return canonical.encode({"pool": pool, "records": packed})


def read_part(folder: Path, number: int, opener: PersonKey | bytes) -> Iterator[bytes]:
    """The evidence files in a part, with a person's key or a passphrase. KeyUnavailable where that has no custody of it, HomeError where
    the part is damaged or no part at all."""
    path = folder / part_name(number)
    data = read_bounded(path, MOST_BYTES * 2)
    end = data.find(b"\n", len(_MAGIC), len(_MAGIC) + _MAX_HEADER) + 1
    if not data.startswith(_MAGIC) or not end:
        raise HomeError(f"{path} is no part of a hold")
    header = data[len(_MAGIC) : end]
    key = _key(folder, number, header, opener)
    try:
        packed = AESGCM(key).decrypt(data[end : end + 12], data[end + 12 :], header)
    except (InvalidTag, ValueError) as error:
        raise HomeError(f"{path} was changed: take it from another copy") from error
    try:
        inflate = zlib.decompressobj()
        text = inflate.decompress(packed, MOST_BYTES)
        if not inflate.eof:
            raise ValueError
        content = json.loads(text)
        for members in content["records"]:
            yield canonical.encode({name: content["pool"][digest] for name, digest in members.items()}) + b"\n"
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError, WireError) as error:
        raise HomeError(f"{path} is damaged: take it from another copy") from error


def _key(folder: Path, number: int, header: bytes, opener: PersonKey | bytes) -> bytes:
    if isinstance(opener, bytes):
        try:
            return bytes.fromhex(open_box(folder / key_name(number), opener, KEY_PURPOSE)["key"])
        except (ValueError, KeyError) as error:
            raise HomeError(f"{folder / key_name(number)} is damaged: take it from another copy") from error
    try:
        boxes = [bytes.fromhex(str(box["box"])) for box in canonical.decode(header.strip())["custody"]]  # type: ignore[index, union-attr, call-overload]
    except (WireError, ValueError, KeyError, TypeError) as error:
        raise HomeError(f"{folder / part_name(number)} is damaged: take it from another copy") from error
    for box in boxes:
        try:
            return _SUITE.decrypt(box, X25519PrivateKey.from_private_bytes(opener.x25519.private_bytes_raw()), _INFO)
        except (InvalidTag, ValueError):
            continue
    raise KeyUnavailable(f"the key of {opener.public.name} has no custody of {folder / part_name(number)}: use another one")


def read_bounded(path: Path, most: int) -> bytes:
    """A file's content; HomeError where it cannot be read or is larger than `most` bytes."""
    try:
        with path.open("rb") as source:
            data = source.read(most + 1)
    except OSError as error:
        raise HomeError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > most:
        raise HomeError(f"{path} is larger than a hold's file can be")
    return data


def parts_in(folder: Path) -> list[int]:
    """The numbers of the parts in a hold's folder, from 1 without gap. HomeError where there is none, or one is missing."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise HomeError(f"cannot read {folder}: {error.strerror}") from error
    numbers = sorted(int(name[5:9]) for name in names if name == part_name(int(name[5:9]) if name[5:9].isdigit() else 0))
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise HomeError(f"{folder} is no hold's folder, or a part of it is missing: take it from another copy")
    return numbers
