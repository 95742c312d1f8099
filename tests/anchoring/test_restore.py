"""Restoring: what brings a home back, what is refused in one line, and that the journal goes on afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from forked import quick_keys
from world import World

from ledger.backup import read_kit
from ledger.errors import HomeError
from ledger.mirror import batches

MORE = (("UPDATE visit SET note='later' WHERE visit_id=3",), ("INSERT INTO visit VALUES (30, 'p7', 'later')",))
RESTORE_ENTRIES = "SELECT count(*) FROM entries WHERE substr(body, 2, 1) = x'18'"


def new_world(folder, **options) -> World:
    folder.mkdir()
    world = World(folder, **options).init().attach()
    world.ok("seal")
    return world


def goes_on(world: World) -> None:
    """Further changes are sealed, anchored and mirrored as before."""
    world.settle()
    world.change(MORE)
    world.settle()


def test_a_lost_home_comes_back_from_mirror_and_kit(sealed):
    sealed.change()
    sealed.ok("seal")
    before = sealed.rows("SELECT idx, body FROM entries", "ledger.db")
    shutil.rmtree(sealed.home)
    outcome = sealed.ok("restore", "--kit", sealed.kit, "--json")
    assert outcome.json["ok"] and outcome.json["restored"] and outcome.json["aside"] is None
    after = sealed.rows("SELECT idx, body FROM entries", "ledger.db")
    assert after[: len(before)] == before and len(after) == len(before) + 1
    goes_on(sealed)


def test_a_lost_home_comes_back_in_another_folder(sealed):
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    sealed.home = sealed.folder / "deeper" / "new-home"
    sealed.ok("restore", "--kit", sealed.kit)
    assert (sealed.home / "network.json").exists()
    goes_on(sealed)


def test_changes_captured_while_the_home_was_lost_are_sealed_afterwards(sealed):
    shutil.rmtree(sealed.home)
    sealed.change()
    assert sealed.ok("restore", "--kit", sealed.kit, "--json").json["pending"] > 0
    goes_on(sealed)


def test_entries_that_were_sealed_but_not_anchored_come_back_from_the_mirror(sealed):
    sealed.change()
    unreachable(sealed)
    assert "wait for their anchor" in sealed.refused("seal")
    entries = sealed.count("SELECT count(*) FROM entries", "ledger.db")
    shutil.rmtree(sealed.home)
    sealed.ok("restore", "--kit", sealed.kit)
    assert sealed.count("SELECT count(*) FROM entries", "ledger.db") > entries
    goes_on(sealed)


def test_backup_and_mirror_bring_it_back_whatever_came_after_the_backup(sealed):
    sealed.ok("backup", sealed.folder / "backup")
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    sealed.ok("restore", "--kit", sealed.kit, "--backup", sealed.folder / "backup")
    goes_on(sealed)


def test_a_backup_as_new_as_the_chain_needs_no_mirror(place):
    world = new_world(place / "world", mirror=False)
    world.change()
    world.ok("seal")
    world.ok("backup", world.folder / "backup")
    shutil.rmtree(world.home)
    world.ok("restore", "--kit", world.kit, "--backup", world.folder / "backup")
    world.ok("seal")
    assert world.ok("verify", "--json").json["findings"] == []


def test_a_backup_older_than_the_chain_is_refused_without_a_mirror(place):
    world = new_world(place / "world", mirror=False)
    world.ok("backup", world.folder / "backup")
    world.change()
    world.ok("seal")
    shutil.rmtree(world.home)
    line = world.refused("restore", "--kit", world.kit, "--backup", world.folder / "backup")
    assert "not the one on the chain" in line and "newer backup" in line
    assert "rolled back" in world.refused("seal")
    assert world.run("verify").code == 1


def test_a_lost_mirror_is_started_anew_where_a_backup_was_restored(sealed):
    sealed.change()
    sealed.ok("seal")
    sealed.ok("backup", sealed.folder / "backup")
    shutil.rmtree(sealed.home)
    shutil.rmtree(sealed.mirror)
    restore = ("restore", "--kit", sealed.kit, "--backup", sealed.folder / "backup")
    assert "name its place with --mirror" in sealed.refused(*restore)
    sealed.ok(*restore, "--mirror", sealed.folder / "new-mirror")
    goes_on(sealed)
    shutil.rmtree(sealed.home)
    sealed.ok("restore", "--kit", sealed.kit, "--mirror", sealed.folder / "new-mirror")
    sealed.settle()


def test_a_mirror_that_moved_is_named(sealed):
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    moved = sealed.mirror.rename(sealed.folder / "moved")
    assert "cannot read the mirror" in sealed.refused("restore", "--kit", sealed.kit)
    sealed.ok("restore", "--kit", sealed.kit, "--mirror", moved)
    goes_on(sealed)


def test_a_chain_that_moved_is_named(sealed):
    shutil.rmtree(sealed.home)
    sealed.chain = sealed.chain.rename(sealed.folder / "moved")
    assert "there is no chain in" in sealed.refused("restore", "--kit", sealed.kit)
    sealed.ok("restore", "--kit", sealed.kit, "--chain", sealed.chain)
    goes_on(sealed)


def rolled_back(world: World) -> None:
    """An operator puts a copy of the home back that lacks the last changes."""
    old = world.folder / "old"
    shutil.copytree(world.home, old)
    world.change()
    world.ok("seal")
    shutil.rmtree(world.home)
    old.rename(world.home)


def test_a_home_that_was_rolled_back_says_so_seals_nothing_and_is_brought_up_in_place(sealed):
    rolled_back(sealed)
    sealed.change(MORE)
    queued = sealed.rows("SELECT count(*) FROM truth")
    assert "rolled back" in sealed.refused("seal")
    assert sealed.rows("SELECT count(*) FROM truth") == queued
    outcome = sealed.run("verify", "--json")
    assert outcome.code == 1 and "rolled_back" in {finding["kind"] for finding in outcome.json["findings"]}
    sealed.ok("restore")
    assert sealed.count(RESTORE_ENTRIES, "ledger.db") == 1
    sealed.settle()


def test_a_rolled_back_home_seals_nothing_either_while_the_chain_is_away(sealed):
    rolled_back(sealed)
    sealed.change(MORE)
    entries = sealed.count("SELECT count(*) FROM entries", "ledger.db")
    unreachable(sealed)
    assert "its mirror" in sealed.refused("seal")
    assert sealed.count("SELECT count(*) FROM entries", "ledger.db") == entries
    reachable(sealed)
    sealed.ok("restore")
    sealed.settle()


def test_a_home_that_lacks_only_unanchored_entries_is_found_by_its_mirror(sealed):
    old = sealed.folder / "old"
    shutil.copytree(sealed.home, old)
    sealed.change()
    unreachable(sealed)
    sealed.refused("seal")
    reachable(sealed)
    shutil.rmtree(sealed.home)
    old.rename(sealed.home)
    outcome = sealed.run("verify", "--json")
    assert outcome.code == 1 and outcome.json["findings"][0]["kind"] == "rolled_back"
    assert "rolled back" in sealed.refused("seal")
    sealed.ok("restore")
    sealed.settle()


def unreachable(world: World) -> None:
    """Have the home look for its chain where nobody listens."""
    world.set("chain", "http://127.0.0.1:9")


def reachable(world: World) -> None:
    world.set("chain", str(world.chain))


def test_a_damaged_ledger_is_rebuilt_and_the_former_files_are_kept(sealed):
    sealed.change()
    sealed.ok("seal")
    data = bytearray((sealed.home / "ledger.db").read_bytes())
    data[8192:16384] = b"\xaa" * 8192
    (sealed.home / "ledger.db").write_bytes(data)
    for command in ("seal", "verify", "status", "restore"):
        assert "ledger.db" in sealed.refused(command)
    aside = sealed.ok("restore", "--kit", sealed.kit, "--json").json["aside"]
    assert (sealed.home / "before-restore-1" / "ledger.db").read_bytes() == bytes(data)
    assert aside == str(sealed.home / "before-restore-1")
    goes_on(sealed)


@pytest.mark.parametrize("name", ["home.json", "keyring.json", "ledger.db", "subjects.db"])
def test_a_home_that_lost_one_file_is_rebuilt(sealed, name):
    (sealed.home / name).unlink()
    sealed.refused("seal")
    sealed.refused("restore")
    sealed.ok("restore", "--kit", sealed.kit)
    goes_on(sealed)


def test_another_homes_folder_is_left_alone(sealed, place):
    other = new_world(place / "other")
    line = sealed.refused_at(other.home, "restore", "--kit", sealed.kit)
    assert "holds another home" in line
    other.settle()


def test_the_wrong_kit_passphrase_mirror_or_backup_is_refused_and_nothing_is_left(sealed, place):
    other = new_world(place / "other")
    other.ok("backup", other.folder / "backup")
    sealed.ok("backup", sealed.folder / "backup")
    shutil.rmtree(sealed.home)
    wrong = sealed.folder / "wrong"
    wrong.write_text("wrong passphrase")
    for arguments, words in (
        (("--kit", sealed.kit, "--kit-passphrase-file", wrong), "wrong passphrase"),
        (("--kit", sealed.folder / "nowhere"), "cannot read"),
        (("--kit", sealed.mirror / "000000000001.batch"), "not a Careseal recovery kit"),
        (("--kit", other.kit, "--mirror", sealed.mirror), "another home"),
        (("--kit", sealed.kit, "--mirror", other.mirror), "another home"),
        (("--kit", sealed.kit, "--backup", other.folder / "backup"), "does not belong to this recovery kit"),
        (("--kit", sealed.kit, "--backup", sealed.kit), "not a Careseal backup"),
        (("--kit", sealed.kit, "--backup", sealed.folder / "nowhere"), "nowhere"),
        (("--kit", sealed.kit, "--mirror", sealed.folder / "empty"), "nothing to restore from"),
        ((), "give --kit"),
    ):
        assert words in sealed.refused("restore", *arguments), arguments
        assert not (sealed.home / "home.json").exists()
    sealed.ok("restore", "--kit", sealed.kit)
    goes_on(sealed)


def test_a_damaged_or_missing_batch_is_named(sealed):
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    names = sorted(path.name for path in sealed.mirror.iterdir())
    for name in names:
        path = sealed.mirror / name
        content = path.read_bytes()
        bent = content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]
        for damaged in (b"", content[:-1], content[:40], bent, content[::-1], content * 2):
            path.write_bytes(damaged)
            assert name in sealed.refused("restore", "--kit", sealed.kit)
        path.unlink()
        if name != names[-1]:
            assert "lacks batch" in sealed.refused("restore", "--kit", sealed.kit) or name == names[0]
        path.write_bytes(content)
    sealed.ok("restore", "--kit", sealed.kit)
    goes_on(sealed)


def test_a_mirror_without_its_last_batches_is_not_taken_for_whole(sealed):
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    for path in sorted(sealed.mirror.iterdir())[-2:]:
        path.unlink()
    assert "not the one on the chain" in sealed.refused("restore", "--kit", sealed.kit)


def test_a_batch_with_another_number_in_its_name_is_refused(sealed):
    with quick_keys():
        kit = read_kit(sealed.kit, sealed.home, b"correct horse")
        names = sorted(path.name for path in sealed.mirror.iterdir())
        (sealed.mirror / names[1]).write_bytes((sealed.mirror / names[0]).read_bytes())
        with pytest.raises(HomeError, match="lacks batch 2"):
            list(batches(sealed.mirror, kit.keyring, kit.settings.home_id, 0))


def test_restoring_again_does_no_harm(sealed):
    sealed.change()
    sealed.ok("seal")
    for _ in range(2):
        sealed.ok("restore")
        sealed.ok("restore", "--kit", sealed.kit)
    assert len(list(sealed.home.glob("before-restore-*"))) == 2
    goes_on(sealed)


def test_restoring_journals_itself_and_holds_every_row_against_the_journal(sealed):
    sealed.ok("backup", sealed.folder / "backup")
    shutil.rmtree(sealed.home)
    with closing(sqlite3.connect(sealed.database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='visit'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE visit SET note='behind the triggers' WHERE visit_id=1")
        connection.commit()
    outcome = sealed.run("restore", "--kit", sealed.kit, "--json")
    assert outcome.code == 1
    assert {finding["kind"] for finding in outcome.json["findings"]} == {"altered", "capture_disabled"}
    assert sealed.count(RESTORE_ENTRIES, "ledger.db") == 1


class TestChainInsideTheHome:
    @pytest.fixture
    def inside(self, place):
        return new_world(place / "world", chain=None)

    def test_init_and_status_say_so(self, place):
        folder = place / "world"
        folder.mkdir()
        world = World(folder, chain=None)
        said = world.ok("init", "--name", "First Hospital", "--kit", world.kit, *world.more).out
        assert "the chain lies inside the home" in said
        assert "the chain lies inside the home" in world.ok("status").out
        assert world.ok("status", "--json").json["chain_inside"] is True

    def test_elsewhere_nothing_is_said(self, sealed):
        assert "inside the home" not in sealed.ok("status").out
        assert sealed.ok("status", "--json").json["chain_inside"] is False

    def test_the_mirror_alone_cannot_bring_it_back(self, inside):
        shutil.rmtree(inside.home)
        assert "the chain lay inside the home" in inside.refused("restore", "--kit", inside.kit)
        assert not (inside.home / "home.json").exists()

    def test_a_backup_brings_home_and_chain_back(self, inside):
        inside.change()
        inside.ok("seal")
        assert inside.ok("backup", inside.folder / "backup", "--json").json["chain"] is True
        shutil.rmtree(inside.home)
        inside.ok("restore", "--kit", inside.kit, "--backup", inside.folder / "backup")
        goes_on(inside)

    def test_an_older_backup_brings_it_back_and_what_the_chain_lost_is_published_again(self, inside):
        inside.ok("backup", inside.folder / "backup")
        inside.change()
        inside.ok("seal")
        inside.ok("seal", "--receipt", inside.folder / "receipt")
        shutil.rmtree(inside.home)
        inside.ok("restore", "--kit", inside.kit, "--backup", inside.folder / "backup")
        goes_on(inside)
        outcome = inside.run("verify", "--since", inside.folder / "receipt", "--json")
        assert outcome.code == 1 and [finding["kind"] for finding in outcome.json["findings"]] == ["rolled_back"]

    def test_a_chain_that_is_there_stays(self, inside):
        inside.ok("backup", inside.folder / "backup")
        inside.change()
        inside.ok("seal")
        before = inside.checkpoints()
        inside.ok("restore", "--backup", inside.folder / "backup")
        assert inside.checkpoints()[: len(before)] == before
        goes_on(inside)

    def test_the_home_can_be_moved(self, inside):
        moved = inside.home.rename(inside.folder / "moved")
        inside.home, inside.chain = moved, moved / "chain"
        goes_on(inside)
