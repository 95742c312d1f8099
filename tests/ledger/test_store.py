"""The home's database: transactions are whole, and every error of SQLite is one line that says what to do."""

from __future__ import annotations

import re
import sqlite3
import stat

import pytest

from ledger.errors import HomeError
from ledger.files import private_file, write_durably
from ledger.keys import Keyring, SubjectKeys
from ledger.store import SCHEMA_VERSION, Store, one_line


@pytest.fixture
def path(tmp_path):
    Store(tmp_path / "ledger.db", create=True).close()
    return tmp_path / "ledger.db"


def test_a_transaction_that_fails_keeps_nothing(path):
    store = Store(path)
    with pytest.raises(ZeroDivisionError), store.transaction() as db:
        db.execute("INSERT INTO meta VALUES ('a', '1')")
        raise ZeroDivisionError
    assert store.meta("a") is None and not store.db.in_transaction
    with store.transaction():
        store.set_meta("a", "2")
    store.close()
    assert Store(path).meta("a", "0") == "2"


def test_a_read_sees_one_state(path):
    reader, writer = Store(path, readonly=True), Store(path)
    with reader.reading() as db:
        before = db.execute("SELECT count(*) FROM meta").fetchone()
        writer.set_meta("a", "1")
        assert db.execute("SELECT count(*) FROM meta").fetchone() == before
    assert reader.meta("a") == "1"
    with pytest.raises(HomeError, match="cannot write"):
        reader.set_meta("a", "2")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "no space left for"),
        (sqlite3.SQLITE_IOERR_WRITE, "check the disk and its space"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "check the disk and its space"),
        (sqlite3.SQLITE_BUSY, "is locked by another program"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "is locked by another program"),
        (sqlite3.SQLITE_READONLY, "check its permissions"),
        (sqlite3.SQLITE_CANTOPEN, "cannot open"),
        (sqlite3.SQLITE_CORRUPT, "is damaged: restore the home"),
        (sqlite3.SQLITE_NOTADB, "is damaged: restore the home"),
        (None, "is damaged: restore the home"),
    ],
)
def test_every_error_is_one_line_with_a_remedy(tmp_path, code, words):
    error = sqlite3.OperationalError("what SQLite says")
    if code is not None:
        error.sqlite_errorcode = code
    with pytest.raises(HomeError) as caught, one_line(tmp_path / "ledger.db"):
        raise error
    assert words in str(caught.value) and str(tmp_path / "ledger.db") in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_file_of_another_format_or_none_is_refused(path, tmp_path):
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(HomeError, match="use the matching release"):
        Store(path)
    (tmp_path / "text.db").write_bytes(b"no database " * 1000)
    with pytest.raises(HomeError, match="is damaged"):
        Store(tmp_path / "text.db")
    with pytest.raises(HomeError, match="cannot open"):
        Store(tmp_path / "nowhere.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(HomeError, match="has format 0"):
        Store(tmp_path / "empty.db")


def test_a_lock_of_another_program_is_told(path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = Store(path)
    store.db.execute("PRAGMA busy_timeout=1")
    with pytest.raises(HomeError, match="is locked by another program"), store.transaction():
        pass
    other.execute("ROLLBACK")
    with store.transaction():
        store.set_meta("a", "1")


@pytest.mark.parametrize("change", ["DROP TABLE meta", "ALTER TABLE state ADD x", "CREATE TABLE more (x)", "CREATE VIEW v AS SELECT 1"])
def test_a_store_of_another_make_is_refused(path, change):
    with sqlite3.connect(path) as db:
        db.execute(change)
    with pytest.raises(HomeError, match="was rebuilt by hand"):
        Store(path)


def test_a_copy_is_whole_while_others_write(path, tmp_path):
    store = Store(path)
    store.set_meta("a", "1")
    store.snapshot(tmp_path / "copy.db")
    store.set_meta("a", "2")
    assert Store(tmp_path / "copy.db").meta("a") == "1"


class TestSubjectKeys:
    @pytest.fixture
    def keyring(self):
        return Keyring(*(bytes([number]) * 32 for number in range(4)))

    def test_keys_are_durable_when_they_are_given_out(self, tmp_path, keyring):
        keys = SubjectKeys(tmp_path / "subjects.db", keyring, create=True)
        sids = keys.sids(["a", "b", "a"])
        made = dict(keys.keys(sids.values()))
        again = SubjectKeys(tmp_path / "subjects.db", keyring)
        assert again.sids(["b", "a"]) == sids and again.keys(sids.values()) == made
        assert len(set(made.values())) == 2 and again.highest() == 2
        assert stat.S_IMODE((tmp_path / "subjects.db").stat().st_mode) == 0o600

    def test_another_copy_with_other_subjects_under_the_same_numbers_is_refused(self, tmp_path, keyring):
        mine = SubjectKeys(tmp_path / "mine.db", keyring, create=True)
        theirs = SubjectKeys(tmp_path / "theirs.db", keyring, create=True)
        mine.sids(["a"])
        theirs.sids(["b"])
        with pytest.raises(HomeError, match="different histories"):
            mine.put(theirs.rows([1]))
        mine.put(mine.rows([1]))
        assert mine.highest() == 1

    def test_a_destroyed_key_stays_destroyed(self, tmp_path, keyring):
        keys = SubjectKeys(tmp_path / "subjects.db", keyring, create=True)
        sid = keys.sids(["a"])["a"]
        kept = keys.rows([sid])
        with sqlite3.connect(tmp_path / "subjects.db") as db:
            db.execute("UPDATE subject SET key=NULL")
        keys = SubjectKeys(tmp_path / "subjects.db", keyring)
        keys.put(kept)
        assert sid not in keys.keys([sid])

    def test_damage_and_locks_are_one_line(self, tmp_path, keyring):
        path = tmp_path / "subjects.db"
        keys = SubjectKeys(path, keyring, create=True)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        keys._db.execute("PRAGMA busy_timeout=1")
        with pytest.raises(HomeError, match=re.escape(f"{path} is locked")):
            keys.sids(["a"])
        other.execute("ROLLBACK")
        assert keys.sids(["a"]) == {"a": 1}
        other.execute("DROP TABLE subject")
        for act in (lambda: keys.sids(["b"]), lambda: keys.rows([1]), keys.highest, lambda: keys.put([(9, b"x", b"y")])):
            with pytest.raises(HomeError, match="is damaged"):
                act()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_durably(path, b"old")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_private_file_keeps_what_is_there(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    private_file(tmp_path / "file")
    private_file(tmp_path / "new")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
