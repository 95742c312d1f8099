"""Journals of many sizes as tiled logs: laid out, grown, accepted by Tessera's fsck, and damage noticed by it and by the own check."""

from __future__ import annotations

import json
import os
import tracemalloc
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from anchoring.errors import AnchoringError, EvidenceInvalid
from anchoring.journal_export import write_log
from anchoring.log_folder import About, Anchor, KeyEntry, check_folder, decode_about, encode_about, key_document, origin
from anchoring.note import LogCheckpoint, open_checkpoint, verifier_of
from ledger.journal import Journal, event
from ledger.merkle import verify_consistency
from ledger.store import Store
from ledger.wire import EventEntry, Kind, encode_event

SEED = b"s" * 32
JOURNALS = "0x" + "33" * 20
NAME = origin(1000001, JOURNALS, 7, 2)
VERIFIER = verifier_of(NAME, SEED)
KEY_ENTRY, SALT, DOCUMENT = event(Kind.CONFIGURATION, key_document(VERIFIER.public), 5, lambda n: b"r" * n)


class Log:
    """A journal of cheap entries, the first of which names the key, and a folder that it is exported into."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "ledger.db", create=True)
        self.journal = Journal(self.store, bytes(32))
        self.folder = folder / "export"

    def grow(self, size: int) -> Log:
        first = self.journal.size
        bodies = [encode_event(EventEntry(Kind.AUDIT, n, sha256(n.to_bytes(8)).digest())) for n in range(first, size)]
        with self.store.transaction():
            self.journal.append(bodies if first else [KEY_ENTRY, *bodies[1:]])
        return self

    def about(self, size: int) -> About:
        anchor = Anchor(size, self.journal.tree.root(size), 9, "0x" + "55" * 32, 1767225601)
        return About(1000001, JOURNALS, 7, 2, VERIFIER, KeyEntry(0, SALT, DOCUMENT), anchor)

    def write(self, size: int | None = None) -> int:
        size = self.journal.size if size is None else size
        checkpoint = LogCheckpoint(NAME, size, self.journal.tree.root(size))
        return write_log(self.journal, checkpoint, self.about(size), SEED, self.folder, lambda entries: None)

    @property
    def key(self) -> Path:
        return self.folder / "verifier-key.txt"

    def files(self) -> dict[str, bytes]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}

    def tiles(self) -> dict[str, bytes]:
        return {name: content for name, content in self.files().items() if name.startswith("tile/")}


@pytest.fixture
def log(place):
    made = Log(place)
    with closing(made.store):
        yield made


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 512, 70000])
def test_fsck_and_the_own_check_accept_journals_of_every_shape(log: Log, fsck, size: int) -> None:
    log.grow(size).write()
    assert fsck.accepts(log.folder, log.key)
    checked = check_folder(log.folder, VERIFIER)
    assert checked.checkpoint == LogCheckpoint(NAME, size, log.journal.tree.root(size))
    assert checked.about == log.about(size)


def test_fsck_refuses_a_checkpoint_that_another_key_signed(log: Log, fsck) -> None:
    log.grow(300).write()
    other = log.folder.with_name("other-key")
    other.write_text(f"{verifier_of(NAME, b'o' * 32)}\n")
    assert not fsck.accepts(log.folder, other)
    with pytest.raises(EvidenceInvalid, match="key: the export names another key than the one given"):
        check_folder(log.folder, verifier_of(NAME, b"o" * 32))


@pytest.mark.parametrize("size", [257, 70000])
@pytest.mark.parametrize(
    ("name", "at", "told"),
    [
        ("tile/entries/000", 1000, "tile: tile/0/000 does not fit the entries"),
        ("tile/entries/000", 0, "entries: tile/entries/000: it ends too early"),
        ("tile/0/000", 8191, "tile: tile/0/000 does not fit"),
        ("edge of entries", -1, "tile: tile/0/"),
        ("edge of 0", 0, "tile: tile/0/"),
        ("edge of 1", 31, "tile: tile/1/"),
    ],
)
def test_a_flipped_bit_is_noticed_by_fsck_and_by_the_own_check(log: Log, fsck, size: int, name: str, at: int, told: str) -> None:
    log.grow(size).write()
    if name.startswith("edge of "):
        (name,) = (path for path in log.tiles() if path.startswith(f"tile/{name[8:]}/") and ".p/" in path)
    flip(log.folder / name, at)
    assert not fsck.accepts(log.folder, log.key)
    with pytest.raises(EvidenceInvalid, match=told):
        check_folder(log.folder, VERIFIER)
    before = log.files()
    with pytest.raises(AnchoringError, match="contradicts the journal, nothing there was overwritten"):
        log.write()
    assert log.files() == before


def test_the_own_check_notices_every_flipped_cut_and_missing_file(log: Log) -> None:
    log.grow(600).write()
    whole = log.files()
    assert len(whole) == 4 + 3 + 3 + 1
    for name, content in whole.items():
        if name in ("README.txt", "verifier-key.txt", "log.json"):
            continue  # for people; and what the last one says has a test of its own
        path = log.folder / name
        changes = [content[:-1], content + b"\0", b"", None]
        step = max(1, len(content) // 40)
        changes += [bytes([*content[:at], content[at] ^ 4, *content[at + 1 :]]) for at in range(0, len(content), step)]
        for changed in changes:
            path.unlink() if changed is None else path.write_bytes(changed)
            with pytest.raises(EvidenceInvalid, match="^(checkpoint|signature|entries|tile|root): "):
                check_folder(log.folder, VERIFIER)
            path.write_bytes(content)
    check_folder(log.folder, VERIFIER)


def test_an_export_grows_by_new_files_only(log: Log, fsck) -> None:
    tiles: dict[str, bytes] = {}
    last = None
    for size in (1, 3, 255, 256, 257, 700, 65536, 66000):
        added = log.grow(size).write()
        assert fsck.accepts(log.folder, log.key)
        checkpoint = check_folder(log.folder, VERIFIER).checkpoint
        now = log.tiles()
        assert added == len(now) - len(tiles)
        assert tiles.items() <= now.items()
        if last is not None:
            verify_consistency(last.size, size, last.root, checkpoint.root, log.journal.tree.consistency_proof(last.size, size))
        tiles, last = now, checkpoint
    assert log.write() == 0


def test_a_bounded_export_leaves_later_entries_out(log: Log, fsck) -> None:
    log.grow(1000).write(300)
    assert fsck.accepts(log.folder, log.key)
    assert check_folder(log.folder, None).checkpoint.size == 300
    log.write(1000)
    assert check_folder(log.folder, None).checkpoint.size == 1000
    with pytest.raises(AnchoringError, match="has 1000 entries, 300 are anchored: seal first, or give --unanchored"):
        log.write(300)
    assert check_folder(log.folder, None).checkpoint.size == 1000


def test_another_history_is_neither_overwritten_nor_mixed(log: Log, place) -> None:
    log.grow(300).write()
    before = log.files()
    (place / "other").mkdir()
    other = Log(place / "other")
    other.folder = log.folder
    with closing(other.store):
        forged = [KEY_ENTRY, *(encode_event(EventEntry(Kind.AUDIT, n, bytes(32))) for n in range(1, 400))]
        with other.store.transaction():
            other.journal.append(forged)
        with pytest.raises(AnchoringError, match="holds another history than this journal"):
            other.write()
        (log.folder / "checkpoint").unlink()  # as after an export that was killed
        with pytest.raises(AnchoringError, match="contradicts the journal"):
            other.write()
    assert log.tiles() == {name: content for name, content in before.items() if name.startswith("tile/")}


def test_entries_that_do_not_give_the_root_are_not_signed(log: Log) -> None:
    log.grow(300)
    checkpoint = LogCheckpoint(NAME, 300, bytes(32))
    with pytest.raises(AnchoringError, match="no checkpoint was signed: run careseal verify"):
        write_log(log.journal, checkpoint, log.about(300), SEED, log.folder, lambda entries: None)
    assert not (log.folder / "checkpoint").exists()


def test_what_is_said_of_the_log_is_held_against_its_entries(log: Log) -> None:
    log.grow(300).write()
    about, place = log.about(300), log.folder / "log.json"
    other = event(Kind.CONFIGURATION, key_document(b"o" * 32), 5, lambda n: b"r" * n)
    said = {
        "key: log.json does not say which entry names it": replace(about, key=None),
        "key: entry 300 does not name it: it lies beyond": replace(about, key=KeyEntry(300, SALT, DOCUMENT)),
        "key: entry 1 does not name it: it is of another kind": replace(about, key=KeyEntry(1, SALT, DOCUMENT)),
        "key: entry 0 does not name it: the document is not": replace(about, key=KeyEntry(0, SALT, other[2])),
        "key: entry 0 does not name it: the document": replace(about, key=KeyEntry(0, b"x" * 32, DOCUMENT)),
        "anchor: the entries do not give the root that is said": replace(about, anchor=replace(about.anchor, root=bytes(32))),
        "anchor: the entries do not give": replace(about, anchor=replace(about.anchor, size=301)),
        "anchor: the entries": replace(about, anchor=replace(about.anchor, size=299)),
        "key: the export names another key": replace(about, generation=3, verifier=verifier_of(origin(1000001, JOURNALS, 7, 3), SEED)),
    }
    for words, wrong in said.items():
        place.write_bytes(encode_about(wrong))
        with pytest.raises(EvidenceInvalid, match=words):
            check_folder(log.folder, VERIFIER)
    place.write_bytes(encode_about(replace(about, anchor=Anchor(299, log.journal.tree.root(299), 9, "0x", 1))))
    assert check_folder(log.folder, VERIFIER).about.anchor.size == 299
    place.write_bytes(encode_about(replace(about, anchor=None)))
    assert check_folder(log.folder, VERIFIER).about.anchor is None


def test_descriptions_have_one_encoding(log: Log) -> None:
    log.grow(2)
    data = encode_about(log.about(2))
    assert decode_about(data) == log.about(2)
    values = json.loads(data)
    for name in values:
        for wrong in (None, 1, "x", [], {}, -1, 2**63):
            if wrong is None and name in ("key", "anchor"):
                continue
            changed = json.dumps(values | {name: wrong}, indent=2).encode() + b"\n"
            if changed != data and (name, wrong) not in (("chain_id", 1), ("institution", 1), ("generation", 1)):
                with pytest.raises(EvidenceInvalid, match=r"^(description|key): "):
                    decode_about(changed)
        with pytest.raises(EvidenceInvalid):
            decode_about(json.dumps({n: v for n, v in values.items() if n != name}, indent=2).encode() + b"\n")
    for odd in (b"", b"[]", b"{", data + b" ", data[:-1], b"[" * 100_000):
        with pytest.raises(EvidenceInvalid, match=r"^description: "):
            decode_about(odd)


def test_files_of_any_size_are_read_within_bounds(log: Log) -> None:
    log.grow(300).write()
    for name in ("tile/entries/000", "tile/0/000", "checkpoint", "log.json"):
        path, content = log.folder / name, log.files()[name]
        os.truncate(path, 1 << 34)  # a hole: no disk is used
        with pytest.raises(EvidenceInvalid, match=r"too large|does not fit"):
            check_folder(log.folder, VERIFIER)
        path.write_bytes(content)
    check_folder(log.folder, VERIFIER)


def test_memory_does_not_grow_with_the_journal(log: Log, place) -> None:
    peaks = []
    for size in (5_000, 50_000):
        log.grow(size)
        log.folder = place / str(size)
        tracemalloc.start()
        log.write()
        check_folder(log.folder, VERIFIER)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_a_note_of_the_export_is_what_the_specification_says(log: Log) -> None:
    log.grow(300).write()
    note = (log.folder / "checkpoint").read_bytes()
    assert open_checkpoint(note, VERIFIER) == LogCheckpoint(NAME, 300, log.journal.tree.root(300))
    assert note.decode().startswith(f"careseal/1000001/{JOURNALS}/7/2\n300\n")
