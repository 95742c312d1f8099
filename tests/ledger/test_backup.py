"""Backups and the recovery kit: whole or not there, opened by the right key only, and put in place without losing what was there."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
from dataclasses import replace

import pytest

import ledger.backup
import ledger.keys
from ledger.backup import Kit, _encrypt, backup, install, read_kit, rebuild, write_kit
from ledger.errors import HomeError, KeyUnavailable
from ledger.home import Home, Settings, read_settings
from ledger.keys import Keyring, seal_box
from ledger.wire import Kind

PASSPHRASE = b"correct horse"
SETTINGS = Settings("医院", "ab" * 16, "http://127.0.0.1:1", 7, "0x01", "0x02", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setitem(ledger.keys._SCRYPT, "n", 16)


@pytest.fixture
def keyring():
    return Keyring.generate()


@pytest.fixture
def home(tmp_path, keyring):
    (tmp_path / "home").mkdir(mode=0o700)
    Home.create(tmp_path / "home", SETTINGS, keyring, PASSPHRASE)
    with Home.open(tmp_path / "home", lambda: PASSPHRASE) as home:
        with home.batch(checkpoint_time=1) as batch:
            for number in range(50):
                home.subjects.sids([str(number)])
                batch.add_event(Kind.AUDIT, {"number": number}, number)
        yield home


def restored(tmp_path, keyring, archive) -> Home:
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    rebuild(work, SETTINGS, keyring, b"new passphrase", archive, lambda size: None)
    return Home(work, read_settings(work, keyring), keyring)


def test_a_backup_holds_journal_keys_and_settings(tmp_path, home, keyring):
    size = backup(home, tmp_path / "backup")
    assert size == (tmp_path / "backup").stat().st_size
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    copy = restored(tmp_path, keyring, tmp_path / "backup")
    assert list(copy.journal.bodies(0, 50)) == list(home.journal.bodies(0, 50))
    assert copy.subjects.rows(range(51)) == home.subjects.rows(range(51))
    assert copy.settings == SETTINGS
    copy.close()
    with Home.open(tmp_path / "work", lambda: b"new passphrase") as again:
        assert again.journal.size == 50


def test_a_backup_of_several_chunks_comes_back(tmp_path, home, keyring, monkeypatch):
    for chunk in (1 << 12, 1 << 16, 999):
        monkeypatch.setattr("ledger.backup._CHUNK", chunk)
        backup(home, tmp_path / f"backup-{chunk}")
        copy = restored(tmp_path, keyring, tmp_path / f"backup-{chunk}")
        assert copy.journal.size == 50
        copy.close()


def test_every_part_of_a_backup_is_checked(tmp_path, home, keyring, monkeypatch):
    monkeypatch.setattr("ledger.backup._CHUNK", 1 << 14)
    backup(home, tmp_path / "backup")
    content = (tmp_path / "backup").read_bytes()
    chunks, at = [], 26
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "big")
        chunks.append(content[at:end])
        at = end
    head = content[:26]
    assert len(chunks) > 3
    bad = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in (*range(30), len(content) // 2, len(content) - 1)]
    bad += [content[:end] for end in (0, 10, 25, 26, 29, 100, len(content) // 2, len(content) - 1)]
    bad += [head + b"".join(chunks[:-1]), head + b"".join(chunks[1:]), head + b"".join([chunks[1], chunks[0], *chunks[2:]]),
            head + b"".join([chunks[0], chunks[0], *chunks[1:]]), head + chunks[-1]]  # fmt: skip
    for data in bad:
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises((HomeError, KeyUnavailable)) as caught:
            restored(tmp_path, keyring, tmp_path / "bad")
        assert str(tmp_path / "bad") in str(caught.value) and "\n" not in str(caught.value)


def test_another_kits_key_opens_nothing(tmp_path, home):
    backup(home, tmp_path / "backup")
    with pytest.raises(KeyUnavailable, match="does not belong to this recovery kit"):
        restored(tmp_path, Keyring.generate(), tmp_path / "backup")


def test_the_backup_of_another_home_of_the_same_keys_is_refused(tmp_path, home, keyring):
    backup(home, tmp_path / "backup")
    with pytest.raises(HomeError, match="is of another home"):
        rebuild(tmp_path / "w", replace(SETTINGS, home_id="00"), keyring, PASSPHRASE, tmp_path / "backup", lambda size: None)


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, keyring):
    for name, kind in (("../outside", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("/abs/../../x", tarfile.REGTYPE)):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(b""))
        plain.seek(0)
        with (tmp_path / "bad").open("wb") as target:
            _encrypt(plain, target, keyring.mirror)
        with pytest.raises(HomeError, match="is damaged"):
            restored(tmp_path, keyring, tmp_path / "bad")
        assert not (tmp_path / "outside").exists()


def test_a_backup_that_fails_leaves_no_trace(tmp_path, home, monkeypatch):
    with pytest.raises(HomeError, match="exists: name a new file"):
        backup(home, tmp_path / "home" / "home.json")
    before = sorted(path.name for path in home.path.iterdir())
    monkeypatch.setattr("ledger.backup._encrypt", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(HomeError, match="cannot write the backup"):
        backup(home, tmp_path / "backup")
    assert sorted(path.name for path in home.path.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_the_kit_holds_what_the_home_is_made_of(tmp_path, keyring):
    inside = replace(SETTINGS, chain=str(tmp_path / "home" / "chain"))
    kit = Kit(inside, keyring, b"\x05" * 32)
    write_kit(tmp_path / "kit", tmp_path / "home", kit, PASSPHRASE)
    assert read_kit(tmp_path / "kit", tmp_path / "home", PASSPHRASE) == kit
    elsewhere = read_kit(tmp_path / "kit", tmp_path / "elsewhere", PASSPHRASE)
    assert elsewhere.settings.chain == str(tmp_path / "elsewhere" / "chain")
    without = Kit(SETTINGS, keyring)
    write_kit(tmp_path / "kit", tmp_path / "home", without, PASSPHRASE)
    assert read_kit(tmp_path / "kit", tmp_path / "home", PASSPHRASE) == without
    assert keyring.wrapping.hex() not in (tmp_path / "kit").read_text() and keyring.wrapping.hex() not in repr(kit)
    with pytest.raises(KeyUnavailable, match="wrong passphrase"):
        read_kit(tmp_path / "kit", tmp_path / "home", b"nonsense")


@pytest.mark.parametrize("content", [{}, {"settings": "7"}, {"settings": "{}", "network": ""}, {"settings": "{", "network": ""}], ids=str)
def test_a_kit_without_all_of_it_is_damaged(tmp_path, content):
    (tmp_path / "kit").write_bytes(seal_box(PASSPHRASE, "recovery kit", content))
    with pytest.raises(HomeError, match="is damaged"):
        read_kit(tmp_path / "kit", tmp_path / "home", PASSPHRASE)


class TestInstalling:
    @pytest.fixture
    def work(self, tmp_path, home, keyring):
        backup(home, tmp_path / "backup")
        restored(tmp_path, keyring, tmp_path / "backup").close()
        (tmp_path / "work" / "chain").mkdir()
        (tmp_path / "work" / "chain" / "chain.db").write_text("from the backup")
        (tmp_path / "work" / "network.json").write_text("from the backup")
        return tmp_path / "work"

    def test_into_an_empty_folder_everything_goes_in(self, work, tmp_path, keyring):
        (tmp_path / "target").mkdir()
        names = sorted(path.name for path in work.iterdir())
        assert install(work, tmp_path / "target") is None
        assert sorted(path.name for path in (tmp_path / "target").iterdir()) == names and list(work.iterdir()) == []
        with Home.open(tmp_path / "target", lambda: b"new passphrase") as again:
            assert again.journal.size == 50

    def test_what_was_there_is_moved_aside_and_a_chain_and_a_network_file_stay(self, work, tmp_path):
        target = tmp_path / "target"
        (target / "chain").mkdir(parents=True)
        for name in ("ledger.db", "ledger.db-wal", "subjects.db", "home.json", "network.json", "chain/chain.db", "lock"):
            (target / name).write_text("mine")
        assert install(work, target) == target / "before-restore-1"
        assert sorted(path.name for path in (target / "before-restore-1").iterdir()) == ["ledger.db", "ledger.db-wal", "subjects.db"]
        for name in ("network.json", "chain/chain.db", "before-restore-1/ledger.db", "lock"):
            assert (target / name).read_text() == "mine"
        with Home.open(target, lambda: b"new passphrase") as again:
            assert again.journal.size == 50

    def test_no_folder_is_written_over(self, work, tmp_path):
        target = tmp_path / "target"
        (target / "before-restore-1").mkdir(parents=True)
        (target / "ledger.db").write_text("mine")
        assert install(work, target) == target / "before-restore-2"

    def test_what_cannot_be_moved_says_to_run_it_again(self, work, tmp_path, monkeypatch):
        (tmp_path / "target").mkdir()
        monkeypatch.setattr("pathlib.Path.replace", lambda *a: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
        with pytest.raises(HomeError, match="Read-only file system; run the same command again"):
            install(work, tmp_path / "target")


def test_a_home_cannot_be_made_of_nothing(tmp_path, keyring):
    (tmp_path / "mirror").mkdir()
    for settings in (SETTINGS, replace(SETTINGS, mirror=str(tmp_path / "mirror"))):
        with pytest.raises(HomeError, match="nothing to restore from"):
            restored_from(tmp_path, settings, keyring)
    with pytest.raises(HomeError, match="cannot read the mirror"):
        restored_from(tmp_path, replace(SETTINGS, mirror=str(tmp_path / "nowhere")), keyring)


def restored_from(tmp_path, settings, keyring) -> None:
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
    rebuild(tmp_path / "work", settings, keyring, PASSPHRASE, None, lambda size: None)


def test_settings_of_the_backup_give_way_to_those_that_are_asked_for(tmp_path, home, keyring):
    backup(home, tmp_path / "backup")
    wanted = replace(SETTINGS, chain="http://127.0.0.1:2")
    rebuild(tmp_path / "work", wanted, keyring, PASSPHRASE, tmp_path / "backup", lambda size: None)
    assert read_settings(tmp_path / "work", keyring) == wanted
    assert json.loads((tmp_path / "work" / "home.json").read_bytes())["chain"] == "http://127.0.0.1:2"
