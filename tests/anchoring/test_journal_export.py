"""`careseal journal export` and `check` on real homes: the key, its anchor, growth, restore, damage, lost chains, kills."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from world import World, kill_everywhere, served

from anchoring.journal_export import note_key
from ledger.store import Store
from node.server import read_endpoint


def export(world: World, *more: object) -> dict[str, object]:
    return world.ok("journal export", world.folder / "out", *more, "--json").json


def checked(world: World, *more: object) -> dict[str, object]:
    return world.ok("journal check", world.folder / "out", *more, "--json").json


def invalid(world: World) -> str:
    outcome = world.run("journal check", world.folder / "out")
    assert outcome.code == 1, outcome
    return outcome.line()


def key_entries(world: World) -> int:
    return world.count("""SELECT count(*) FROM documents WHERE CAST(body AS TEXT) LIKE '{"note_key"%'""", "ledger.db")


def test_a_home_is_exported_and_both_checkers_accept_it(sealed, fsck):
    out = sealed.folder / "out"
    done = export(sealed)
    assert fsck.accepts(out, out / "verifier-key.txt")
    found = checked(sealed, "--verifier", out / "verifier-key.txt")
    settings = json.loads((sealed.home / "home.json").read_bytes())
    assert found["origin"] == f"careseal/{settings['chain_id']}/{settings['journals'].lower()}/1/0"
    size = sealed.count("SELECT max(size) FROM checkpoints", "ledger.db")
    assert done["size"] == found["size"] == found["anchored"]["size"] == size
    assert (found["key_given"], found["key_entry"], found["root"]) == (True, size - 1, done["root"])
    assert (size, bytes.fromhex(done["root"])) == sealed.checkpoints()[-1]
    assert done["verifier"] in (out / "README.txt").read_text()
    sealed.settle()  # the entry of the key is no finding


def test_no_name_leaves_with_the_journal(sealed):
    export(sealed)
    whole = b"".join(path.read_bytes() for path in (sealed.folder / "out").rglob("*") if path.is_file())
    for name in (b"First Hospital", b"visit", b"lab_result", b"patient", str(sealed.folder).encode(), "第三".encode()):
        assert name not in whole.replace(b"to a patient", b"")


def test_the_key_is_journalled_and_anchored_once_and_needs_no_chain_later(sealed):
    first = export(sealed)
    assert key_entries(sealed) == 1
    shutil.move(sealed.chain, sealed.folder / "away")
    assert export(sealed) == first | {"files_added": 0}
    assert key_entries(sealed) == 1


def test_exports_grow_with_the_journal_up_to_what_is_anchored(sealed, fsck):
    first = export(sealed)
    sealed.change()
    sealed.settle()
    second = export(sealed)
    assert second["size"] > first["size"] and second["files_added"] > 0
    assert fsck.accepts(sealed.folder / "out", sealed.folder / "out" / "verifier-key.txt")
    assert checked(sealed)["size"] == second["size"]


def unserved(place: Path, world: World) -> None:
    """Have the home use a URL of its chain that nobody serves any more."""
    with served(world.chain, place / "node.log"):
        world.set("chain", read_endpoint(world.chain)["url"])


def test_entries_without_an_anchor_are_exported_on_request_only(place, sealed, fsck):
    anchored = export(sealed)["size"]
    unserved(place, sealed)
    sealed.change()
    assert "wait for their anchor" in sealed.refused("seal")
    assert export(sealed)["size"] == anchored
    whole = export(sealed, "--unanchored")
    assert whole["size"] > anchored == whole["anchored"]["size"]
    assert "of the entries are not anchored yet" in sealed.ok("journal export", sealed.folder / "out", "--unanchored").out
    assert fsck.accepts(sealed.folder / "out", sealed.folder / "out" / "verifier-key.txt")
    assert f"{anchored} are anchored: seal first, or give --unanchored" in sealed.refused("journal export", sealed.folder / "out")
    sealed.set("chain", str(sealed.chain))
    sealed.settle()
    export(sealed)


def test_without_the_chain_the_first_export_waits_or_goes_without_an_anchor(sealed):
    away = sealed.folder / "away"
    shutil.move(sealed.chain, away)
    line = sealed.refused("journal export", sealed.folder / "out")
    assert "there is no chain in" in line and "export again when the chain is back, or with --unanchored" in line
    assert not (sealed.folder / "out").exists() and key_entries(sealed) == 0
    whole = export(sealed, "--unanchored")
    assert key_entries(sealed) == 1 and whole["anchored"]["size"] < whole["size"]
    shutil.move(away, sealed.chain)
    sealed.settle()


def test_a_chain_that_is_not_served_keeps_the_key_without_an_anchor(place, sealed):
    out = sealed.folder / "out"
    unserved(place, sealed)
    assert "export again when the chain is back, or with --unanchored" in sealed.refused("journal export", out)
    assert key_entries(sealed) == 0
    whole = export(sealed, "--unanchored")
    assert key_entries(sealed) == 1 and whole["anchored"]["size"] < whole["size"]
    assert "export again when the chain is back, or with --unanchored" in sealed.refused("journal export", out)
    sealed.set("chain", str(sealed.chain))
    assert export(sealed)["anchored"]["size"] == whole["size"]
    assert key_entries(sealed) == 1


def test_a_restored_home_signs_with_the_same_key_and_goes_on(sealed, fsck):
    before = export(sealed)
    shutil.rmtree(sealed.home)
    sealed.ok("restore", "--kit", sealed.kit)
    sealed.change()
    sealed.settle()
    after = export(sealed)
    assert after["verifier"] == before["verifier"] and after["size"] > before["size"]
    assert key_entries(sealed) == 1
    assert fsck.accepts(sealed.folder / "out", sealed.folder / "out" / "verifier-key.txt")


def test_the_key_follows_from_the_sealing_key_and_is_another(sealed):
    with sealed.opened() as home:
        seed = note_key(home.keyring)
        assert len(seed) == 32
        assert seed not in {getattr(home.keyring, name) for name in home.keyring.__slots__}


def test_folders_of_anything_else_are_left_alone(place, sealed):
    out = sealed.folder / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert "is not empty and holds no exported journal" in sealed.refused("journal export", out)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"] and key_entries(sealed) == 0
    (place / "second").mkdir()
    other = World(place / "second", name="Second Hospital").init().attach()
    other.ok("seal")
    shutil.rmtree(out)
    export(other)
    shutil.copytree(other.folder / "out", out)
    assert "holds another log, careseal/" in sealed.refused("journal export", out)
    assert checked(other)["size"] == checked(sealed)["size"]
    (out / "log.json").write_text("{}")
    assert "is damaged (description: log.json" in sealed.refused("journal export", out)


def test_places_that_cannot_be_written_or_read_are_one_line(sealed):
    assert "cannot" in sealed.refused("journal export", "/proc/nowhere/out")
    assert "cannot" in sealed.refused("journal export", sealed.kit)
    assert "is no exported journal" in sealed.refused("journal check", sealed.folder)
    export(sealed)
    assert "holds no verifier key" in sealed.refused("journal check", sealed.folder / "out", "--verifier", sealed.kit)
    assert "cannot read the verifier key" in sealed.refused("journal check", sealed.folder / "out", "--verifier", sealed.folder / "none")


def test_a_damaged_export_ends_with_1_and_names_the_file(sealed):
    export(sealed)
    for name in ("tile/entries/000.p/*", "tile/0/000.p/*", "checkpoint"):
        (path,) = (sealed.folder / "out").glob(name)
        whole = path.read_bytes()
        path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
        assert ("signature" if name == "checkpoint" else "tile: tile/0/000.p/") in invalid(sealed)
        path.write_bytes(whole)
    assert "WHOLE" in sealed.ok("journal check", sealed.folder / "out").out


def test_an_altered_journal_is_not_signed(sealed):
    export(sealed)
    sealed.change()
    sealed.ok("seal")
    with closing(Store(sealed.home / "ledger.db")) as store, store.transaction() as db:
        db.execute("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE id = 0")
    before = (sealed.folder / "out" / "checkpoint").read_bytes()
    assert "run careseal verify" in sealed.refused("journal export", sealed.folder / "out")
    assert (sealed.folder / "out" / "checkpoint").read_bytes() == before


def test_a_home_that_was_rolled_back_exports_nothing_new(sealed):
    saved = sealed.folder / "saved"
    shutil.copytree(sealed.home, saved)
    sealed.change()
    sealed.settle()
    first = export(sealed)
    shutil.rmtree(sealed.home)
    shutil.move(saved, sealed.home)
    assert "rolled back" in sealed.refused("journal export", sealed.folder / "out")
    assert "rolled back" in sealed.refused("journal export", sealed.folder / "new")
    assert not (sealed.folder / "new").exists()
    sealed.ok("restore")
    assert export(sealed)["size"] >= first["size"]


def test_killed_at_any_step_an_export_is_completed_by_the_next(place):
    folder: Path = place / "world"
    folder.mkdir()
    world = World(folder).init().attach()
    world.ok("seal")
    with world.opened() as home, home.batch(1) as batch:
        for n in range(300):
            batch.add_event(17, {"audit": {"at": n}}, n)

    def check() -> None:
        export(world)
        checked(world)
        assert key_entries(world) == 1
        assert list((folder / "out").rglob("*.part")) == []

    assert kill_everywhere(world, "journal export", folder / "out", check=check, stride=3) > 20


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_people_read(sealed, lang):
    words = {"en": ("verifier key: ", "WHOLE: "), "zh": ("验证公钥：", "完整：")}[lang]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARESEAL_LANG", lang)
        assert words[0] in sealed.ok("journal export", sealed.folder / "out").out
        assert words[1] in sealed.ok("journal check", sealed.folder / "out").out
