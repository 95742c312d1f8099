"""Bad input, as a user meets it: one line that says what to do, exit code 2, nothing lost, and the next run after mending works."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager, suppress

import forked
import pytest
from forked import real_time
from world import PASSPHRASE, World

pytestmark = pytest.mark.slow
KEY = {"CARESEAL_PASSPHRASE": PASSPHRASE}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad-input") / "world"
    folder.mkdir()
    with real_time():
        world = World(folder).init().attach()
        world.ok("seal")
        world.ok("evidence export", "visit", "1", "-o", world.folder / "evidence.json")
        yield world, world.save()


@pytest.fixture
def world(template):
    """A sealed hospital with changes that wait, in real time and with real keys."""
    made, saved = template
    made.put_back(saved)
    made.change()
    return made


def refused(world: World, command: str, *arguments: object, environment: dict[str, str] = KEY) -> str:
    """The one line of a command that a user's own process must end with code 2."""
    words = command.split()
    home = () if words[:2] == ["evidence", "verify"] else ("--home", world.home)
    outcome = forked.process(*words, *arguments, *home, environment=environment)
    assert (outcome.code, outcome.out) == (2, ""), (command, outcome)
    return outcome.line()


def nothing_is_lost(world: World) -> None:
    world.settle()


def test_a_wrong_url(world):
    for url, words in (
        ("nonsense", "cannot be read"),
        ("sqlite:///no/such/file.db", "no database file"),
        ("sqlite://", "names no file"),
        ("oracle://host/name", "not supported"),
        ("mysql://host/name", "not supported yet"),
        ("postgresql://user:topsecret@127.0.0.1:9/name", "127.0.0.1"),
        ("postgresql://user:topsecret@no-such-host.invalid/name", "no-such-host.invalid"),
    ):
        line = world.refused("attach", url, "--table", "truth")
        assert words in line and "topsecret" not in line
    assert "cannot be read" in refused(world, "attach", "nonsense", "--table", "truth")
    nothing_is_lost(world)


def test_a_file_that_is_no_database(world):
    junk = world.folder / "junk.db"
    junk.write_bytes(b"This is no database at all. " * 400)
    assert "not an SQLite database" in refused(world, "attach", f"sqlite:///{junk}", "--table", "truth")
    nothing_is_lost(world)


@contextmanager
def locked(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_database(world):
    with closing(sqlite3.connect(world.database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with locked(world.database):
        assert "locked by another connection" in refused(world, "seal")
        assert "locked by another connection" in world.refused("verify", before=impatient)
    nothing_is_lost(world)


def test_a_locked_ledger(world):
    with locked(world.home / "ledger.db"):
        assert "ledger.db is locked by another program" in world.refused("seal", before=impatient)
    nothing_is_lost(world)


def impatient() -> None:
    """Wait for a lock no longer than a moment."""
    real = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: real(*arguments, **options | {"timeout": 0.1})


def test_a_missing_table(world):
    assert "nowhere" in refused(world, "attach", f"sqlite:///{world.database}", "--table", "nowhere")
    assert "nowhere is not attached; attached are: visit, lab_result" in world.refused("verify", "--table", "nowhere")
    assert "nowhere is not attached" in world.refused("detach", "--table", "nowhere")
    assert "nowhere is not attached" in world.refused("evidence export", "nowhere", "1", "-o", world.folder / "e")
    nothing_is_lost(world)


def test_a_database_that_is_gone(world):
    away = world.database.rename(world.database.with_name("away.db"))
    for command in ("seal", "verify"):
        assert "no database file" in world.refused(command)
    away.rename(world.database)
    nothing_is_lost(world)


def test_a_table_that_lost_a_column_after_it_was_attached(world):
    with closing(sqlite3.connect(world.database)) as connection:
        connection.execute("ALTER TABLE lab_result RENAME COLUMN value TO worth")
    assert "value" in refused(world, "seal")
    outcome = world.run("verify", "--json")
    assert outcome.code == 1 and "schema_changed" in {finding["kind"] for finding in outcome.json["findings"]}
    with closing(sqlite3.connect(world.database)) as connection:
        connection.execute("ALTER TABLE lab_result RENAME COLUMN worth TO value")
    nothing_is_lost(world)


def test_a_table_that_was_dropped_after_it_was_attached(world):
    with closing(sqlite3.connect(world.database)) as connection:
        connection.executescript("CREATE TABLE kept AS SELECT * FROM visit; DROP TABLE visit")
    refused(world, "seal")
    outcome = forked.process("verify", "--home", world.home, "--json", environment=KEY)
    assert outcome.code in (1, 2) and "Traceback" not in outcome.err
    assert outcome.code == 2 or "schema_changed" in {finding["kind"] for finding in outcome.json["findings"]}


def test_wrong_evidence_and_network_files(world, template):
    evidence, network = world.folder / "evidence.json", world.home / "network.json"
    content = evidence.read_bytes()
    truncated, edited = world.folder / "truncated.json", world.folder / "edited.json"
    truncated.write_bytes(content[:-9])
    edited.write_bytes(content.replace(b'"secret":"', b'"secret":"00', 1))
    foreign = world.folder / "foreign.json"
    foreign.write_bytes(network.read_bytes().replace(b'"chain_id": ', b'"chain_id": 1', 1))
    for file, trusted, code, words in (
        (truncated, network, 1, "container: "),
        (edited, network, 1, "record: "),
        (evidence, foreign, 1, "network: "),
        (evidence, evidence, 2, "not a Careseal network file"),
        (world.folder / "nowhere", network, 2, "cannot read"),
        (evidence, world.folder, 2, "cannot read"),
    ):
        outcome = forked.process("evidence", "verify", file, "--network", trusted, environment={})
        assert (outcome.code, outcome.out) == (code, "") and words in outcome.line()


@pytest.mark.parametrize("content", [
    b"", b"{", b"{}", b"[]", b"null", b'{"careseal": "receipt/1"}',
    b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 9,
    b"PK\3\4" + bytes(200),
    b"%PDF-1.7\n", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":NaN}', b'{"a":1,"a":2}', "{}".encode("utf-16"),
], ids=["empty", "cut", "object", "list", "null", "receipt", "jpeg", "zip", "pdf", "bom", "deep", "nan", "twice", "utf-16"])  # fmt: skip
def test_a_file_that_is_no_evidence_was_examined_and_is_not_valid(world, content):
    file = world.folder / "none"
    file.write_bytes(content)
    outcome = forked.here("evidence", "verify", file, "--network", world.home / "network.json", environment={})
    assert (outcome.code, outcome.out) == (1, "") and "container: " in outcome.line()


@pytest.mark.parametrize("damage", ["middle", "head", "short", "empty"])
def test_a_corrupted_embedded_chain(world, damage):
    path = world.chain / "chain.db"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes({
        "middle": content[:middle - 20_000] + b"\xaa" * 40_000 + content[middle + 20_000:],
        "head": b"\0" * 100 + content[100:],
        "short": content[: middle // 4096 * 4096],
        "empty": b"",
    }[damage])  # fmt: skip
    for command in ("seal", "verify"):
        line = refused(world, command) if damage == "middle" else world.refused(command)
        assert str(world.chain) in line and ("damaged" in line or "is empty" in line), line
    path.write_bytes(content)
    nothing_is_lost(world)


def test_a_chain_that_is_gone(world):
    away = world.chain.rename(world.folder / "away")
    for command in ("seal", "verify", "status"):
        assert "there is no chain" in world.refused(command)
    away.rename(world.chain)
    nothing_is_lost(world)


def test_a_second_writer(world):
    with world.opened():
        started = time.monotonic()
        assert "another process is writing" in refused(world, "seal")
        assert time.monotonic() - started < 60  # it does not wait for ever
    nothing_is_lost(world)


def test_a_wrong_or_missing_passphrase(world, tmp_path):
    assert "wrong passphrase" in refused(world, "seal", environment={"CARESEAL_PASSPHRASE": "nonsense"})
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert "is empty" in world.refused("seal", "--passphrase-file", empty)
    assert "cannot read the passphrase file" in world.refused("seal", "--passphrase-file", tmp_path / "nowhere")
    assert "no passphrase" in refused(world, "seal", environment={"CARESEAL_PASSPHRASE": "", "XDG_CONFIG_HOME": str(tmp_path)})
    nothing_is_lost(world)


@contextmanager
def small_disk(path, size: str = "2m", options: str = ""):
    """A file system of `size` at `path`, with what was there; skipped where this account may mount none."""
    saved = path.with_name(f"{path.name}.saved")
    path.rename(saved)
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        path.rmdir()
        saved.rename(path)
        pytest.skip("this account may mount no tmpfs")
    try:
        shutil.copytree(saved, path, dirs_exist_ok=True)
        yield
        shutil.rmtree(saved)
        shutil.copytree(path, saved)
    finally:
        subprocess.run(["umount", path], check=True)
        path.rmdir()
        saved.rename(path)


def fill(path) -> None:
    with (path / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def remount(path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)


def test_a_full_disk_under_the_home_while_sealing(world):
    with small_disk(world.home, "8m"):
        world.change([tuple(f"INSERT INTO visit VALUES ({n}, 'p{n}', '{'x' * 500}')" for n in range(1000, 3000))])
        fill(world.home)
        assert "space" in (line := refused(world, "seal")) and "nothing was lost" in line
        for free in (8_000, 50_000, 250_000, 600_000, 1_200_000):
            os.truncate(world.home / "ballast", (world.home / "ballast").stat().st_size - free)
            outcome = world.run("seal")
            assert outcome.code in (0, 2) and (outcome.code == 0 or "space" in outcome.line())
            fill(world.home)
        (world.home / "ballast").unlink()
        remount(world.home, "size=50m")
        nothing_is_lost(world)


def test_a_full_disk_under_the_chain_while_publishing(world):
    with small_disk(world.chain, "8m"):
        fill(world.chain)
        assert "free space" in refused(world, "seal")
        (world.chain / "ballast").unlink()
        nothing_is_lost(world)


def test_a_mirror_that_is_full(world):
    with small_disk(world.mirror, "8m"):
        fill(world.mirror)
        line = refused(world, "seal")
        assert "cannot write the mirror" in line and "nothing was lost or published" in line
        assert world.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 1
        (world.mirror / "ballast").unlink()
        nothing_is_lost(world)


def test_a_mirror_that_is_read_only(world):
    with small_disk(world.mirror):
        remount(world.mirror, "ro")
        assert "cannot write the mirror" in refused(world, "seal")
        remount(world.mirror, "rw")
        nothing_is_lost(world)


def test_a_mirror_that_is_not_mounted(world):
    away = world.mirror.rename(world.folder / "away")
    assert "the mirror" in (line := refused(world, "seal")) and "--new-mirror" in line
    world.mirror.mkdir()
    assert "lacks batch" in world.refused("seal")
    world.mirror.rmdir()
    away.rename(world.mirror)
    nothing_is_lost(world)


def test_a_mirror_that_is_lost_is_started_anew(world):
    shutil.rmtree(world.mirror)
    world.refused("seal")
    world.mirror = world.folder / "other"
    world.ok("seal", "--new-mirror", world.mirror)
    nothing_is_lost(world)
    assert "holds a home already" in world.refused("seal", "--new-mirror", world.mirror)


def test_a_backup_that_cannot_be_written(world):
    assert "exists" in world.refused("backup", world.kit)
    assert "cannot write the backup" in refused(world, "backup", world.folder / "no" / "such" / "folder")
    assert sorted(path.name for path in world.home.iterdir() if path.name.startswith(".")) == []
    nothing_is_lost(world)


def test_a_network_file_that_is_missing(world):
    (world.home / "network.json").unlink()
    world.ok("evidence export", "visit", "1", "-o", world.folder / "e")  # the home has its own in its settings
    assert "cannot read the network file" in world.refused("node trust", world.folder / "nowhere")
    assert "cannot read the network file" in world.refused("verify", "--network", world.folder / "nowhere")


def test_settings_changed_by_hand(world):
    path = world.home / "home.json"
    content = path.read_text()
    path.write_text(content.replace('"institution": 1', '"institution": 2'))
    assert "was changed by hand" in refused(world, "seal")
    path.write_text(content[:-20])
    assert "damaged" in world.refused("seal")
    path.write_text(content)
    nothing_is_lost(world)


def test_wrong_options(world):
    for arguments in (("verify", "--max-lag", "soon"), ("verify", "--processes", "0"), ("run", "--every", "0s"), ("run", "--every", "2d"),
                      ("attach", f"sqlite:///{world.database}"), ("evidence export", "visit", "-o", "x"), ("nonsense",)):  # fmt: skip
        world.refused(*arguments)
    refused(world, "nonsense")


def test_a_pipe_that_nobody_reads_ends_quietly(world):
    command = [os.sys.executable, "-m", "api.cli", "status", "--home", world.home, "--json"]
    child = subprocess.Popen(command, env=os.environ | KEY, cwd=forked.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    error = child.stderr.read().decode()
    child.stderr.close()
    assert "Traceback" not in error
    child.wait()
