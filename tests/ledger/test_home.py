"""A home's folder: settings bound to the keyring, one writer, and batches that a rolled-back home refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

import ledger.keys
from ledger.batch import batch_path, pack_sidecar, unpack_sidecar
from ledger.errors import HomeError, KeyUnavailable, WireError
from ledger.home import (
    UNFINISHED,
    Home,
    Settings,
    chain_is_inside,
    exclusive,
    placed,
    portable,
    read_keyring,
    read_settings,
    write_settings,
)
from ledger.keys import Keyring, open_box, seal_box
from ledger.mirror import mirror
from ledger.wire import Kind

PASSPHRASE = b"correct horse"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setitem(ledger.keys._SCRYPT, "n", 16)


@pytest.fixture
def keyring():
    return Keyring.generate()


@pytest.fixture
def path(tmp_path, keyring):
    (tmp_path / "home").mkdir()
    (tmp_path / "mirror").mkdir()
    settings = Settings("医院", "ab" * 16, str(tmp_path / "chain"), 7, "0x01", "0x02", 1, str(tmp_path / "mirror"), "{}")
    Home.create(tmp_path / "home", settings, keyring, PASSPHRASE)
    return tmp_path / "home"


def event(home, number: int = 1) -> None:
    with home.batch(checkpoint_time=number) as batch:
        batch.add_event(Kind.AUDIT, {"number": number}, number)


def test_settings_come_back_as_they_were_written(path, keyring):
    settings = read_settings(path, keyring)
    assert (settings.name, settings.institution) == ("医院", 1)
    write_settings(path, replace(settings, name="another"), keyring)
    assert read_settings(path, keyring).name == "another"


def test_settings_that_were_changed_or_damaged_are_refused(path, keyring):
    values = json.loads((path / "home.json").read_bytes())
    for name, value in values.items():
        changed = {"careseal": 1}.get(name, "0" if isinstance(value, str) else 99)
        (path / "home.json").write_text(json.dumps(values | {name: changed}))
        with pytest.raises(HomeError, match=r"changed by hand|damaged|of format 1, this program reads 2"):
            read_settings(path, keyring)
        (path / "home.json").write_text(json.dumps({key: item for key, item in values.items() if key != name}))
        with pytest.raises(HomeError, match=r"changed by hand|damaged|of format 1, this program reads 2"):
            read_settings(path, keyring)
    for content in (b"", b"{}", b"[]", b"7", b"\xff", json.dumps(values | {"more": 1}).encode()):
        (path / "home.json").write_bytes(content)
        with pytest.raises(HomeError, match="damaged"):
            read_settings(path)
    (path / "home.json").unlink()
    with pytest.raises(HomeError, match="is not a Careseal home"):
        read_settings(path)


def test_settings_under_another_keyring_are_refused(path):
    with pytest.raises(HomeError, match="changed by hand"):
        read_settings(path, Keyring.generate())


def test_a_chain_inside_the_home_is_named_relative_to_it(path, tmp_path, keyring):
    inside = replace(read_settings(path), chain=str(path / "chain"))
    assert chain_is_inside(path, inside) and portable(path, inside).chain == "chain"
    write_settings(path, inside, keyring)
    moved = path.rename(tmp_path / "moved")
    assert read_settings(moved, keyring).chain == str(moved / "chain")
    for chain in ("http://127.0.0.1:8545", str(tmp_path / "chain"), str(path) + "-beside"):
        outside = replace(inside, chain=chain)
        assert not chain_is_inside(path, outside)
        assert placed(path, portable(path, outside)) == outside


def test_the_passphrase_opens_the_keyring_and_another_does_not(path, keyring):
    assert read_keyring(path, PASSPHRASE) == keyring
    with pytest.raises(KeyUnavailable, match="wrong passphrase"):
        read_keyring(path, b"nonsense")
    assert "sealing" not in repr(keyring) and keyring.sealing.hex() not in repr(keyring)


def test_a_box_that_was_changed_or_serves_another_purpose_is_refused(path, tmp_path):
    box = json.loads((path / "keyring.json").read_bytes())
    file = tmp_path / "box"
    for name in box:
        file.write_text(json.dumps({key: value for key, value in box.items() if key != name}))
        with pytest.raises(HomeError, match="or it is damaged"):
            open_box(file, PASSPHRASE, "keyring")
    for name in ("salt", "nonce", "box"):
        for value in (box[name][:-2] + ("00" if box[name][-2:] != "00" else "01"), "", "zz", 7, None):
            file.write_text(json.dumps(box | {name: value}))
            with pytest.raises((HomeError, KeyUnavailable)):
                open_box(file, PASSPHRASE, "keyring")
    file.write_bytes(seal_box(PASSPHRASE, "keyring", {"wrapping": "00"}))
    with pytest.raises(HomeError, match="is not a Careseal recovery kit"):
        open_box(file, PASSPHRASE, "recovery kit")
    with pytest.raises(HomeError, match="the keyring is damaged"):
        shutil.copy(file, path / "keyring.json")
        read_keyring(path, PASSPHRASE)
    for content in (b"", b"[]", b"7", b"\xff", b"{}" * (1 << 19)):
        file.write_bytes(content)
        with pytest.raises(HomeError):
            open_box(file, PASSPHRASE, "keyring")


def test_one_writer_at_a_time(path):
    with (
        Home.open(path, lambda: PASSPHRASE),
        pytest.raises(HomeError, match="another process is writing"),
        Home.open(path, lambda: PASSPHRASE, wait=0.1),
    ):
        pass
    with Home.open(path, lambda: PASSPHRASE), exclusive(path, 0.1, "another-lock"):
        pass


def test_a_batch_is_kept_whole_or_not_at_all(path):
    with Home.open(path, lambda: PASSPHRASE) as home:
        event(home)
        with pytest.raises(ZeroDivisionError), home.batch() as batch:
            for number in range(6000):
                batch.add_event(Kind.AUDIT, {"number": number}, number)
                batch.flush_if_full()
            raise ZeroDivisionError
        assert home.journal.size == 1
        assert home.store.db.execute("SELECT count(*) FROM batches").fetchone()[0] == 2


def test_a_home_whose_mirror_is_ahead_takes_no_batch(path, tmp_path):
    with Home.open(path, lambda: PASSPHRASE) as home:
        event(home, 1)
        mirror(home)
    shutil.copytree(path, tmp_path / "old")
    with Home.open(path, lambda: PASSPHRASE) as home:
        event(home, 2)
        mirror(home)
        assert not home.mirror_is_ahead()
    with Home.open(tmp_path / "old", lambda: PASSPHRASE) as home:
        assert home.mirror_is_ahead()
        with pytest.raises(HomeError, match="rolled back"):
            event(home, 3)
        assert home.journal.size == 1


def test_a_mirror_that_cannot_be_looked_at_stops_no_batch(path, tmp_path):
    (tmp_path / "mirror").rmdir()
    with Home.open(path, lambda: PASSPHRASE) as home:
        event(home)
        assert home.journal.size == 1
        assert batch_path(tmp_path / "mirror", 12).name == "000000000012.batch"


def test_an_unfinished_home_is_marked_until_its_settings_are_there(tmp_path, keyring, monkeypatch):
    (tmp_path / "home").mkdir()
    settings = Settings("H", "00", "http://127.0.0.1:1", 1, "", "", 0)
    monkeypatch.setattr("ledger.home.write_settings", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Home.create(tmp_path / "home", settings, keyring, PASSPHRASE)
    assert (tmp_path / "home" / UNFINISHED).exists() and not (tmp_path / "home" / "home.json").exists()


class TestSidecars:
    ROWS = {"state": [[1, b"\x00\xff", 7, 3, 1]], "authors": [[b"id", "医生"]], "subjects": [[1, b"label", None]]}  # noqa: RUF012

    def test_rows_come_back(self):
        assert unpack_sidecar(pack_sidecar(self.ROWS)) == self.ROWS

    @pytest.mark.parametrize("rows", [{"entries": [[1]]}, {"meta": []}])
    def test_unknown_tables_are_refused(self, rows):
        with pytest.raises(WireError, match="unknown tables"):
            unpack_sidecar(pack_sidecar(rows))

    def test_damage_is_refused(self):
        data = pack_sidecar(self.ROWS)
        for end in range(len(data)):
            with pytest.raises(WireError):
                unpack_sidecar(data[:end])
        with pytest.raises(WireError):
            unpack_sidecar(data + b"\0")

    def test_too_much_is_refused_when_it_is_written_and_when_it_is_read(self, monkeypatch):
        data = pack_sidecar({"copies": [[1, 1, bytes(5000)]]})
        monkeypatch.setattr("ledger.batch._MAX_SIDECAR", 4000)
        with pytest.raises(WireError, match="too large"):
            pack_sidecar({"copies": [[1, 1, bytes(5000)]]})
        with pytest.raises(WireError, match="damaged or too large"):
            unpack_sidecar(data)
