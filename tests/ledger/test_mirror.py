"""The mirror: every batch once, whole and in order; another history is never written over; a lost one is started anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import ledger.keys
import ledger.mirror
from ledger.backup import catch_up, rebuild
from ledger.batch import batch_path
from ledger.errors import HomeError, KeyUnavailable
from ledger.home import Home, Settings
from ledger.journal import StoredTiles
from ledger.keys import Keyring
from ledger.mirror import batches, holds_batches, mirror, read_batch, start_mirror, take_in
from ledger.mirror_check import Fault, MirrorFault, mirror_faults
from ledger.wire import Kind

HOME_ID = "cd" * 16
PASSPHRASE = b"correct horse"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setitem(ledger.keys._SCRYPT, "n", 16)


@pytest.fixture
def keyring():
    return Keyring.generate()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


@pytest.fixture
def home(tmp_path, folder, keyring):
    yield from opened(tmp_path / "home", folder, keyring)


def opened(path, folder, keyring, home_id: str = HOME_ID):
    path.mkdir()
    settings = Settings("H", home_id, "http://127.0.0.1:1", 1, "", "", 1, None if folder is None else str(folder))
    Home.create(path, settings, keyring, PASSPHRASE)
    with Home.open(path, lambda: PASSPHRASE) as home:
        yield home


def write(home, *numbers: int, checkpoint: bool = True) -> None:
    """A batch of events with rows of derived tables beside them, and new subjects."""
    with home.batch(checkpoint_time=numbers[0] if checkpoint and numbers else None) as batch:
        for number in numbers:
            sid = home.subjects.sids([f"subject {number % 7}"])[f"subject {number % 7}"]
            index = batch.add_event(Kind.AUDIT, {"number": number}, number)
            batch.put("state", 1, number.to_bytes(8, "big"), index, sid, 1)
            batch.put("copies", index, sid, bytes(20))
            batch.put("consumed", number.to_bytes(8, "big"))
            batch.put("audits", index, 1, None, None, 0, 1)
            batch.author(f"author {number}")


def dump(home) -> dict[str, list[tuple]]:
    queries = {name: f"SELECT * FROM {name} ORDER BY 1, 2" for name in
               ("entries", "tiles", "state", "documents", "authors", "copies", "audits", "tables")}  # fmt: skip
    queries |= {"consumed": "SELECT uid FROM consumed ORDER BY 1", "checkpoints": "SELECT size, generation, root, time FROM checkpoints"}
    found = {name: home.store.db.execute(query).fetchall() for name, query in queries.items()}
    return found | {"subjects": home.subjects.rows(range(home.subjects.highest() + 1))}


def rebuilt(tmp_path, home, folder=None) -> dict[str, list[tuple]]:
    work = tmp_path / "rebuilt"
    shutil.rmtree(work, ignore_errors=True)
    settings = home.settings
    rebuild(work, settings, home.keyring, PASSPHRASE, None, lambda size: None)
    with closing(Home(work, settings, home.keyring)) as copy:
        return dump(copy)


def test_a_mirror_makes_the_same_home(tmp_path, home):
    write(home, *range(1, 40))
    write(home, *range(40, 45))
    assert mirror(home) == 44
    write(home, 50, checkpoint=False)
    mirror(home)
    assert rebuilt(tmp_path, home) == dump(home)
    assert home.store.db.execute("SELECT count(*) FROM batches").fetchone()[0] == 0


def test_a_large_batch_becomes_several_files_of_bounded_size(tmp_path, home, folder, monkeypatch):
    monkeypatch.setattr("ledger.batch._FLUSH_ROWS", 10)
    monkeypatch.setattr("ledger.batch._FLUSH_BYTES", 100)
    with home.batch(checkpoint_time=1) as batch:
        for number in range(100):
            index = batch.add_event(Kind.AUDIT, {"number": number}, number)
            batch.put("copies", index, 1, bytes(9 if number < 50 else 90))
            batch.flush_if_full()
    mirror(home)
    counts = [len(batch.entries) for batch in batches(folder, home.keyring, HOME_ID, 0)]
    assert sum(counts) == 100 and max(counts) <= 10 and len(counts) > 20
    assert rebuilt(tmp_path, home) == dump(home)


def test_a_run_that_was_killed_after_writing_a_file_goes_on(tmp_path, home, folder, monkeypatch):
    write(home, 1)
    real = ledger.mirror.write_durably

    def killed(path, content):
        real(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr("ledger.mirror.write_durably", killed)
    with pytest.raises(KeyboardInterrupt):
        mirror(home)
    monkeypatch.setattr("ledger.mirror.write_durably", real)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    mirror(home)
    assert {path: path.read_bytes() for path in before} == before
    assert rebuilt(tmp_path, home) == dump(home)


@pytest.mark.parametrize("what", ["entry", "state", "number of entries"])
def test_another_history_in_the_mirror_is_never_written_over(tmp_path, home, folder, keyring, what):
    write(home, 1)
    mirror(home)
    path = home.path
    home.close()
    shutil.copytree(path, tmp_path / "other")
    with Home.open(tmp_path / "other", lambda: PASSPHRASE) as other:
        write(other, 2)
        mirror(other)
    kept = {file: file.read_bytes() for file in folder.iterdir()}
    with closing(Home(path, home.settings, keyring)) as mine:
        # As if the mirror had not been looked at when the batch began.
        mine.settings = Settings(**{name: getattr(home.settings, name) for name in Settings.__slots__} | {"mirror": str(tmp_path / "no")})
        if what == "entry":
            write(mine, 3)
        elif what == "state":
            theirs = next(batches(folder, keyring, HOME_ID, 2))
            with mine.batch() as batch:
                for body in theirs.entries:
                    batch.add(body)
                batch.put("state", 1, b"other", 1, 1, 1)
        else:
            write(mine, 2, 3)
        mine.settings = home.settings
        with pytest.raises(HomeError, match="holds another history"):
            mirror(mine)
        assert mine.store.db.execute("SELECT count(*) FROM batches").fetchone()[0] > 0
    assert {file: file.read_bytes() for file in folder.iterdir()} == kept


def test_the_mirror_of_another_home_is_left_alone(tmp_path, home, folder, keyring):
    for other in opened(tmp_path / "other", folder, keyring, "ef" * 16):
        write(other, 1)
        mirror(other)
    with pytest.raises(HomeError, match="rolled back"):
        write(home, 1)
    with pytest.raises(HomeError, match="another home"):
        list(batches(folder, keyring, HOME_ID, 0))


def test_a_batch_is_not_written_without_its_predecessor(tmp_path, home, folder):
    write(home, 1)
    mirror(home)
    batch_path(folder, 2).unlink()
    write(home, 2)
    with pytest.raises(HomeError, match="lacks batch 2"):
        mirror(home)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(HomeError, match=r"seal --new-mirror DIR"):
        mirror(home)
    assert list(folder.iterdir()) == []


def test_a_mirror_that_is_started_later_is_one_by_itself(tmp_path, home, folder, monkeypatch):
    monkeypatch.setattr("ledger.mirror._CHUNK", 7)
    monkeypatch.setattr("ledger.batch._FLUSH_ROWS", 5)
    write(home, *range(1, 30))
    mirror(home)
    write(home, 31, 32)
    start_mirror(home, tmp_path / "new" / "mirror")
    assert home.settings.mirror == str(tmp_path / "new" / "mirror")
    mirror(home)
    write(home, 33)
    mirror(home)
    shutil.rmtree(folder)
    assert rebuilt(tmp_path, home) == dump(home)
    first = min(path.name for path in (tmp_path / "new" / "mirror").iterdir())
    assert first > "000000000001.batch"
    (tmp_path / "new" / "mirror" / first).unlink()
    with pytest.raises(HomeError, match="lacks batch"):
        rebuilt(tmp_path, home)


def test_a_home_without_a_mirror_can_be_given_one(tmp_path, keyring):
    for home in opened(tmp_path / "home", None, keyring):
        write(home, *range(1, 12))
        assert mirror(home) == 11
        start_mirror(home, tmp_path / "mirror")
        mirror(home)
        write(home, 20)
        mirror(home)
        assert rebuilt(tmp_path, home) == dump(home)
    with Home.open(tmp_path / "home", lambda: PASSPHRASE) as again:
        assert again.settings.mirror == str(tmp_path / "mirror")


def test_a_folder_that_cannot_be_a_mirror_is_refused(tmp_path, home, folder):
    write(home, 1)
    mirror(home)
    with pytest.raises(HomeError, match="holds a home already"):
        start_mirror(home, folder)
    (tmp_path / "file").touch()
    with pytest.raises(HomeError, match="cannot use the mirror"):
        start_mirror(home, tmp_path / "file")
    assert home.settings.mirror == str(folder) and holds_batches(folder)


def test_every_byte_of_a_batch_is_checked(home, folder, keyring):
    write(home, 1, 2)
    mirror(home)
    path = batch_path(folder, 1)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(HomeError, match=r"000000000001\.batch is damaged or belongs to another home"):
            read_batch(path, keyring, HOME_ID)
    for end in (*range(0, len(content), 7), len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(HomeError, match="damaged"):
            read_batch(path, keyring, HOME_ID)
    path.write_bytes(content)
    read_batch(path, keyring, HOME_ID)
    with pytest.raises(KeyUnavailable, match="does not belong to this mirror"):
        read_batch(path, Keyring.generate(), HOME_ID)


def test_what_the_mirror_holds_in_clear_is_commitments_only(home, folder):
    write(home, 1)
    mirror(home)
    content = batch_path(folder, 1).read_bytes()
    for secret in (b"author 1", b"subject 1", b'{"number":', (1).to_bytes(8, "big") + b"\0"):
        assert secret not in content


def test_taking_in_what_contradicts_the_home_is_refused_and_changes_nothing(tmp_path, home, folder, keyring):
    write(home, 1)
    write(home, 2)
    mirror(home)
    found = list(batches(folder, keyring, HOME_ID, 0))
    before = dump(home)
    for batch in found:
        take_in(home, batch)
    assert dump(home) == before
    body = home.journal.entry(0)
    with home.store.transaction() as db:
        db.execute("UPDATE entries SET body=? WHERE idx=0", (body[:-1] + bytes([body[-1] ^ 1]),))
        StoredTiles(db)
    with pytest.raises(HomeError, match="different histories"):
        take_in(home, found[0])
    (tmp_path / "young").mkdir()
    for young in opened(tmp_path / "young" / "home", folder, keyring):
        with pytest.raises(HomeError, match="different histories"):
            take_in(young, found[-1])
        assert young.journal.size == 0


def test_a_full_disk_leaves_the_batches_in_the_home(home, folder, monkeypatch):
    write(home, 1)
    monkeypatch.setattr("ledger.mirror.write_durably", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(HomeError, match=r"cannot write the mirror .*No space left on device; nothing was lost or published"):
        mirror(home)
    monkeypatch.undo()
    assert mirror(home) == 1 and len(list(folder.iterdir())) >= 1


def test_a_name_that_is_no_batch_is_passed_over(home, folder, keyring):
    write(home, 1)
    mirror(home)
    for name in ("notes.txt", "1.batch", ".000000000001.batch.17.part", "000000000009.batch.bak"):
        (folder / name).write_text("something else")
    assert [batch.number for batch in batches(folder, keyring, HOME_ID, 0)] == list(range(1, 1 + len(list(folder.glob("0*.batch")))))


def test_sqlite_sees_no_half_of_a_batch_that_was_taken_in(tmp_path, home, folder, keyring, monkeypatch):
    write(home, 1)
    mirror(home)
    for young in opened(tmp_path / "young", folder, keyring):
        monkeypatch.setattr("ledger.mirror.replay", lambda *a: (_ for _ in ()).throw(sqlite3.OperationalError("disk I/O error")))
        with pytest.raises(HomeError):
            take_in(young, next(batches(folder, keyring, HOME_ID, 0)))
        assert young.journal.size == 0 and young.store.meta("batch") is None


# Looking at it without reading it through


@pytest.fixture
def mirrored(home):
    for number in range(1, 9):
        write(home, number)
    mirror(home)
    assert last_of(home) == 16
    return home


def last_of(home) -> int:
    return int(home.store.meta("batch"))


def header_changed(path, **changes) -> None:
    magic, header, rest = path.read_bytes().split(b"\n", 2)
    values = json.loads(header) | changes
    path.write_bytes(b"\n".join([magic, json.dumps(values).encode(), rest]))


def test_a_whole_mirror_has_no_fault_nor_has_a_home_without_one(mirrored, tmp_path, keyring):
    assert mirror_faults(mirrored) == []
    write(mirrored, 20)
    assert mirror_faults(mirrored) == []  # what waits to be written is no hole
    for other in opened(tmp_path / "other", None, keyring):
        write(other, 1)
        assert mirror_faults(other) == []


def test_a_seal_looks_at_no_more_of_a_mirror_of_very_many_batches(mirrored, folder, monkeypatch):
    for number in range(2, 16):
        batch_path(folder, number).unlink()  # whoever looked would miss them
    looked, known = [], Path.exists
    monkeypatch.setattr(Path, "iterdir", lambda path: pytest.fail(f"{path} is listed"))
    monkeypatch.setattr(Path, "exists", lambda path, **how: looked.append(path.name) or known(path, **how))
    told: list[tuple[str, int]] = []
    write(mirrored, 20, 21)
    write(mirrored, 22)
    mirror(mirrored, lambda what, entries: told.append((what, entries)))
    assert {what for what, _ in told} == {"mirror"} and sum(entries for _, entries in told) == 3
    assert len(told) == last_of(mirrored) - 16
    assert min(looked) == batch_path(folder, 16).name and len(looked) <= 3 * len(told)


def test_missing_files_are_told_as_ranges_wherever_they_are(mirrored, folder):
    for number in (1, 4, 5, 6, 16):
        batch_path(folder, number).unlink()
    assert mirror_faults(mirrored) == [MirrorFault(Fault.MISSING, first, last) for first, last in ((1, 1), (4, 6), (16, 16))]


def test_a_mirror_that_is_not_there_is_missing_as_a_whole(mirrored, folder):
    shutil.rmtree(folder)
    assert mirror_faults(mirrored) == [MirrorFault(Fault.MISSING, 1, 16)]
    folder.write_text("a file where the folder was")
    assert mirror_faults(mirrored) == [MirrorFault(Fault.UNREADABLE, 1, 16)]


@pytest.mark.parametrize(("keep", "fault"), [(-1, Fault.TRUNCATED), (300, Fault.TRUNCATED), (100, Fault.DAMAGED), (0, Fault.DAMAGED)])
def test_a_truncated_file_is_told(mirrored, folder, keep, fault):
    path = batch_path(folder, 3)
    path.write_bytes(path.read_bytes()[:keep])
    assert mirror_faults(mirrored) == [MirrorFault(fault, 3, 3)]


def test_a_file_that_grew_is_damaged(mirrored, folder):
    with batch_path(folder, 3).open("ab") as file:
        file.write(b"x")
    assert mirror_faults(mirrored) == [MirrorFault(Fault.DAMAGED, 3, 3)]


@pytest.mark.parametrize("change", [{"home": "ef" * 16}, {"number": 4}, {"first": 0}, {"first": 3}], ids=str)
def test_a_file_of_another_home_batch_or_history_is_foreign(mirrored, folder, change):
    header_changed(batch_path(folder, 5), **change)
    assert mirror_faults(mirrored)[0] == MirrorFault(Fault.FOREIGN, 5, 5)


@pytest.mark.parametrize("change", [{"rest": "many"}, {"number": None}, {"first": [[]]}], ids=str)
def test_a_header_that_is_none_is_damaged(mirrored, folder, change):
    header_changed(batch_path(folder, 5), **change)
    assert mirror_faults(mirrored) == [MirrorFault(Fault.DAMAGED, 5, 5)]


def test_the_same_batch_of_another_history_is_told_by_its_place(mirrored, folder):
    """A batch that does not begin where the one before ends, though number and home are right."""
    header_changed(batch_path(folder, 7), count=40)
    assert mirror_faults(mirrored) == [MirrorFault(Fault.FOREIGN, 8, 8)]


def test_no_more_than_the_head_of_a_file_is_read(mirrored, folder):
    """What only a restore can see costs nothing here, and is not claimed to be checked."""
    path = batch_path(folder, 3)
    content = path.read_bytes()
    path.write_bytes(content[:-40] + bytes(40))
    assert mirror_faults(mirrored) == []


def test_a_mirror_that_was_started_later_begins_there_also_after_a_restore(mirrored, folder, tmp_path, keyring):
    start_mirror(mirrored, tmp_path / "new")
    mirror(mirrored)
    write(mirrored, 30)
    mirror(mirrored)
    shutil.rmtree(folder)
    assert mirror_faults(mirrored) == []
    rebuild(tmp_path / "again", mirrored.settings, keyring, PASSPHRASE, None, lambda size: None)
    with closing(Home(tmp_path / "again", mirrored.settings, keyring)) as again:
        assert mirror_faults(again) == []
        first = min(int(path.name[:12]) for path in (tmp_path / "new").iterdir())
        batch_path(tmp_path / "new", first).unlink()
        assert mirror_faults(again) == mirror_faults(mirrored) == [MirrorFault(Fault.MISSING, first, first)]


def test_a_backup_from_before_the_present_mirror_knows_where_that_begins(mirrored, folder, tmp_path, keyring):
    path = mirrored.path
    start_mirror(mirrored, tmp_path / "new")
    shutil.copytree(path, tmp_path / "before")
    mirror(mirrored)
    with closing(Home(tmp_path / "before", mirrored.settings, keyring)) as before:
        before.store.db.execute("DELETE FROM batches")
        before.store.set_meta("batch", "16")
        before.store.set_meta("mirror_start", "1")
    catch_up(tmp_path / "before", mirrored.settings, keyring)
    with closing(Home(tmp_path / "before", mirrored.settings, keyring)) as before:
        assert mirror_faults(before) == []
