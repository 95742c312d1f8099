"""An exported journal as it lies in a folder: what describes it, and its check, which needs neither home nor chain nor network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anchoring.errors import EvidenceInvalid
from anchoring.network import exact_hex
from anchoring.note import MAX_NOTE, LogCheckpoint, Verifier, open_checkpoint, read_verifier
from anchoring.tlog import CHECKPOINT, ENTRIES, MAX_BUNDLE, bundle_path, decode_bundle, lay_out, tile_path, width_in
from careseal import read_json
from ledger import canonical
from ledger.errors import LedgerError, WireError
from ledger.tree import TILE_BYTES, WIDTH, Tree
from ledger.wire import EventEntry, Kind, decode_entry

VERSION = "journal-export/1"
ABOUT = "log.json"
MAX_ABOUT = 1 << 16
_NUMBERS = ("chain_id", "institution", "generation")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """The configuration entry by which the journal itself names the key: its number, and what opens it."""

    entry: int
    salt: bytes
    document: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last checkpoint in the export that is on the chain, to be compared with the chain. `time` is seconds since 1970 UTC."""

    size: int
    root: bytes
    block: int
    block_hash: str
    time: int


@dataclass(frozen=True, slots=True)
class About:
    """What `log.json` says of an exported journal. Hex without prefix, addresses with."""

    chain_id: int
    journals: str
    institution: int
    generation: int
    verifier: Verifier
    key: KeyEntry | None
    anchor: Anchor | None

    @property
    def origin(self) -> str:
        """The log's name: one journal of one institution, in one generation, under one contract of one chain."""
        return origin(self.chain_id, self.journals, self.institution, self.generation)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a whole export is: its checkpoint, and what is said of it, each part of which the check held against the entries."""

    checkpoint: LogCheckpoint
    about: About


def origin(chain_id: int, journals: str, institution: int, generation: int) -> str:
    """The origin line, which is the name of the key too."""
    return f"careseal/{chain_id}/{journals.lower()}/{institution}/{generation}"


def encode_about(about: About) -> bytes:
    """The bytes of `log.json`."""
    values: dict[str, object] = {"careseal": VERSION, "origin": about.origin, "verifier": str(about.verifier)}
    values |= {name: getattr(about, name) for name in (*_NUMBERS, "journals")}
    key, anchor = about.key, about.anchor
    values["key"] = None if key is None else {"entry": key.entry, "salt": key.salt.hex(), "document": key.document.hex()}
    values["anchor"] = None if anchor is None else {
        "size": anchor.size, "root": anchor.root.hex(), "block": anchor.block, "block_hash": anchor.block_hash, "time": anchor.time,
    }  # fmt: skip
    return json.dumps(values, indent=2).encode() + b"\n"


def decode_about(data: bytes) -> About:
    """What `log.json` says. EvidenceInvalid where it is none, or does not fit itself."""
    try:
        values = read_json(data)
        if values["careseal"] != VERSION or not isinstance(values["journals"], str):
            raise ValueError
        numbers = [_number(values, name) for name in _NUMBERS]
        key, anchor = values["key"], values["anchor"]
        about = About(
            numbers[0], values["journals"], numbers[1], numbers[2], read_verifier(str(values["verifier"])),
            None if key is None else KeyEntry(_number(key, "entry"), exact_hex(key["salt"]), exact_hex(key["document"])),
            None if anchor is None else Anchor(
                _number(anchor, "size"), exact_hex(anchor["root"]), _number(anchor, "block"), str(anchor["block_hash"]),
                _number(anchor, "time"),
            ),
        )  # fmt: skip
        if about.verifier.name != about.origin or encode_about(about) != data:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EvidenceInvalid("description", f"{ABOUT} is not that of an exported journal, or it was changed") from error
    return about


def read_about(folder: Path) -> About | None:
    """What the folder's `log.json` says, None where there is none. OSError as it comes."""
    path = folder / ABOUT
    return decode_about(_read(path, MAX_ABOUT, "description")) if path.exists() else None


def check_folder(folder: Path, verifier: Verifier | None, progress: Callable[[int], None] = lambda entries: None) -> Checked:
    """Check every file of an exported journal that its checkpoint covers, and that nothing is missing.

    `verifier` is the key as it was got elsewhere; without it the export's own word is taken for it. EvidenceInvalid names what is not
    in order; LedgerError where it is no export. OSError as it comes.
    """
    about = read_about(folder)
    if about is None:
        raise LedgerError(f"{folder} is no exported journal: it has no {ABOUT}")
    if verifier is not None and verifier != about.verifier:
        raise EvidenceInvalid("key", "the export names another key than the one given")
    checkpoint = open_checkpoint(_read(folder / CHECKPOINT, MAX_NOTE, "checkpoint"), about.verifier)

    def runs() -> Iterator[list[bytes]]:
        for index in range(-(-checkpoint.size // WIDTH)):
            yield _bundle(folder, index, checkpoint.size)
            progress(width_in(checkpoint.size, 0, index))

    root = lay_out(runs(), lambda path, content: _same(folder, path, content))
    if root != checkpoint.root:
        raise EvidenceInvalid("root", f"the entries give {root.hex()}, the checkpoint says {checkpoint.root.hex()}")
    if about.anchor is not None and (
        about.anchor.size > checkpoint.size or Tree(_Tiles(folder, checkpoint.size)).root(about.anchor.size) != about.anchor.root
    ):
        raise EvidenceInvalid("anchor", "the entries do not give the root that is said to be on the chain")
    if about.key is None:
        raise EvidenceInvalid("key", f"{ABOUT} does not say which entry names it")
    _check_key(folder, about.key, about.verifier, checkpoint.size)
    return Checked(checkpoint, about)


class _Tiles:
    """The tiles of a folder, as the tree of `size` leaves has them."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size

    def read(self, level: int, index: int) -> bytes:
        width = width_in(self._size, level, index)
        return _read(self._folder / tile_path(level, index, width), TILE_BYTES, "tile") if width else b""


def _check_key(folder: Path, key: KeyEntry, verifier: Verifier, size: int) -> None:
    """The entry that is said to name the key is in the journal and does."""
    try:
        if key.entry >= size:
            raise WireError("it lies beyond the export")
        entry = decode_entry(_bundle(folder, key.entry // WIDTH, size)[key.entry % WIDTH])
        if not isinstance(entry, EventEntry) or entry.kind is not Kind.CONFIGURATION:
            raise WireError("it is of another kind")
        if canonical.check(key.salt, key.document, entry.commitment) != key_document(verifier.public):
            raise WireError("it names another key")
    except WireError as error:
        raise EvidenceInvalid("key", f"entry {key.entry} does not name it: {error}") from error


def key_document(public: bytes) -> Mapping[str, canonical.Json]:
    """The document of the configuration entry that names the key of a journal's exports, 32 bytes of Ed25519."""
    return {"note_key": {"algorithm": "ed25519", "public_key": public.hex()}}


def _bundle(folder: Path, index: int, size: int) -> list[bytes]:
    width = width_in(size, 0, index)
    path = bundle_path(index, width)
    try:
        return decode_bundle(_read(folder / path, MAX_BUNDLE, "entries"), width)
    except WireError as error:
        raise EvidenceInvalid("entries", f"{path}: {error}") from error


def _same(folder: Path, path: str, content: bytes) -> None:
    if not path.startswith(ENTRIES) and _read(folder / path, TILE_BYTES, "tile") != content:
        raise EvidenceInvalid("tile", f"{path} does not fit the entries")


def _read(path: Path, limit: int, link: str) -> bytes:
    """A file of at most `limit` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise EvidenceInvalid(link, f"{path.name} is missing in {path.parent}") from error
    if len(data) > limit:
        raise EvidenceInvalid(link, f"{path} is too large")
    return data


def _number(values: dict[str, object], name: str) -> int:
    value = values[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(name)
    return value
