"""Keys at rest: boxes that only their passphrase opens, and one key per subject that can be destroyed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.errors import HomeError, KeyUnavailable
from ledger.keys import Keyring, SubjectKeys, open_box, seal_box

KEYRING = Keyring.generate()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SubjectKeys]:
    made = SubjectKeys(tmp_path / "subjects.db", KEYRING, create=True)
    yield made
    made.close()


def again(tmp_path: Path, keyring: Keyring = KEYRING, **options: bool) -> SubjectKeys:
    return SubjectKeys(tmp_path / "subjects.db", keyring, **options)


# Boxes


def test_a_box_opens_under_its_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "box.json"
    path.write_bytes(seal_box("通行 phrase".encode(), "test", {"a": "1"}))
    assert open_box(path, "通行 phrase".encode(), "test") == {"a": "1"}
    with pytest.raises(KeyUnavailable, match="wrong passphrase"):
        open_box(path, b"other", "test")
    with pytest.raises(HomeError, match="not a Careseal other file"):
        open_box(path, "通行 phrase".encode(), "other")
    assert b"1" not in bytes.fromhex(json.loads(path.read_bytes())["box"])[:3]


@pytest.mark.parametrize("name", ["careseal", "kdf", "salt", "nonce", "box"])
def test_a_box_that_was_changed_does_not_open(tmp_path: Path, name: str) -> None:
    path, outer = tmp_path / "box.json", json.loads(seal_box(b"p", "test", {"a": "1"}))
    for bent in (outer[name][:-2] + ("00" if outer[name][-2:] != "00" else "01"), "zz", 7, None):
        path.write_text(json.dumps({**outer, name: bent}))
        with pytest.raises((HomeError, KeyUnavailable)):
            open_box(path, b"p", "test")
    path.write_text(json.dumps({key: value for key, value in outer.items() if key != name}))
    with pytest.raises(HomeError, match="damaged"):
        open_box(path, b"p", "test")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"7", b"x" * (1 << 20 | 1)])
def test_a_file_that_is_no_box(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "box").write_bytes(content)
    with pytest.raises(HomeError, match="is not a Careseal test file"):
        open_box(tmp_path / "box", b"p", "test")
    with pytest.raises(HomeError, match="cannot read"):
        open_box(tmp_path / "missing", b"p", "test")


def test_a_keyring_shows_no_secret() -> None:
    assert KEYRING.wrapping.hex() not in repr(KEYRING) and str(KEYRING.wrapping) not in repr(KEYRING)


# Subjects


def test_a_subject_keeps_its_key(store: SubjectKeys, tmp_path: Path) -> None:
    sids = store.sids(["a", "b", "a", "患者"])
    assert sorted(sids.values()) == [1, 2, 3]
    keys = dict(store.keys(sids.values()))
    assert len({*keys.values()}) == 3 and all(len(key) == 32 for key in keys.values())
    assert store.sids(["b", "c"])["b"] == sids["b"]
    other = again(tmp_path, readonly=True)
    assert {sid: other.keys(sids.values())[sid] for sid in keys} == keys
    other.close()


def test_names_and_keys_are_not_in_the_file(store: SubjectKeys, tmp_path: Path) -> None:
    key = store.keys(store.sids(["subject:Wang Xiaoming"]).values())[1]
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Wang" not in content and key not in content


def test_labels_are_blinded_by_the_keyring(store: SubjectKeys, tmp_path: Path) -> None:
    other = SubjectKeys(tmp_path / "other.db", replace(KEYRING, labels=bytes(32)), create=True)
    assert store.blind("x") != other.blind("x") and len(store.blind("x")) == 16
    other.close()


def test_many_subjects_within_the_bound_of_the_cache(store: SubjectKeys) -> None:
    store._CACHE = 50  # type: ignore[misc]
    labels = [f"s{n}" for n in range(1200)]
    sids = store.sids(labels)
    assert len(set(sids.values())) == 1200
    for start in range(0, 1200, 60):
        part = [sids[label] for label in labels[start : start + 60]]
        found = store.keys(part)
        assert all(sid in found for sid in part) and len(found) <= 110
    assert store.sids(labels) == sids


def test_a_destroyed_key_is_gone_and_its_subject_stays_known(store: SubjectKeys, tmp_path: Path) -> None:
    sids = store.sids(["a", "b"])
    wrapped = store.rows([sids["a"]])[0][2]
    store.keys(sids.values())
    store.destroy(store.blind("a"))
    assert sids["a"] not in store.keys(sids.values()) and sids["b"] in store.keys(sids.values())
    assert store.sids(["a"]) == {"a": sids["a"]}
    assert store.rows([sids["a"]]) == [(sids["a"], store.blind("a"), None)]
    assert wrapped is not None and wrapped not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    store.put([(sids["a"], store.blind("a"), wrapped)])
    assert sids["a"] not in store.keys(sids.values())


def test_the_wrong_keyring_and_swapped_keys_are_noticed(store: SubjectKeys, tmp_path: Path) -> None:
    sids = store.sids(["a", "b"])
    wrong = again(tmp_path, replace(KEYRING, wrapping=bytes(32)))
    with pytest.raises(KeyUnavailable, match="does not belong to this home"):
        wrong.keys(sids.values())
    wrong.close()
    db = sqlite3.connect(tmp_path / "subjects.db")
    db.execute("UPDATE subject SET key=(SELECT key FROM subject WHERE sid=1)")
    db.commit()
    db.close()
    swapped = again(tmp_path)
    assert 1 in swapped.keys([1])
    with pytest.raises(KeyUnavailable):
        swapped.keys([2])
    swapped.close()


def test_a_store_that_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="cannot open"):
        again(tmp_path)
    (tmp_path / "subjects.db").write_bytes(b"not a database, and longer than a header would be" * 30)
    with pytest.raises(HomeError, match="restore"):
        again(tmp_path)


def test_rows_of_another_copy_are_taken_in(store: SubjectKeys, tmp_path: Path) -> None:
    sids = store.sids(["a", "b"])
    keys = dict(store.keys(sids.values()))
    copy = SubjectKeys(tmp_path / "copy.db", KEYRING, create=True)
    copy.put(store.rows(range(1, 3)))
    copy.put(store.rows(range(1, 3)))
    assert dict(copy.keys([1, 2])) == keys and copy.highest() == 2
    assert copy.sids(["a", "b"]) == sids
    copy.close()
    store.snapshot(tmp_path / "snapshot.db")
    third = SubjectKeys(tmp_path / "snapshot.db", KEYRING)
    assert dict(third.keys([1, 2])) == keys
    third.close()
