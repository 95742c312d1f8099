"""Kill -9 at durable steps all along erasing and putting under hold: nothing is half-done, and the same command goes on."""

from __future__ import annotations

import json

import pytest
from world import World, kill_everywhere, needs_font

pytestmark = [pytest.mark.slow, needs_font]
GONE = (
    ("DELETE FROM visit WHERE visit_id=1",), ("DELETE FROM visit WHERE visit_id=3",),
    ("DELETE FROM lab_result WHERE item='na'",), ("DELETE FROM lab_result WHERE item='k'",),
)  # fmt: skip


@pytest.fixture
def staffed(sealed: World) -> World:
    return sealed.staffed()


def keys(world: World) -> list[tuple]:
    return world.rows("SELECT sid, key IS NULL FROM subject ORDER BY sid", "subjects.db")


def test_erasing(staffed):
    world = staffed
    world.change(GONE)
    world.ok("seal")
    backup = world.folder / "backup"
    world.ok("backup", backup)
    order = ("p1", "--reason", "asked", "--no-term", "none here", *world.by("li", "wu"))

    def check():
        world.ok("erase", *order)
        world.settle()
        erased = [gone for _, gone in keys(world)]
        assert erased.count(1) == 1 and len(erased) > 1
        kits = sorted(world.folder.glob("home-recovery-kit-*.json"), key=lambda path: path.stat().st_mtime_ns)
        world.ok("restore", "--kit", kits[-1], "--backup", backup)
        world.settle()
        assert [gone for _, gone in keys(world)] == erased
        assert "the wrapping key was replaced" in world.refused("restore", "--kit", world.kit, "--backup", backup)

    assert kill_everywhere(world, "erase", *order, check=check, stride=7) > 30


def test_putting_under_hold(staffed):
    world, folder = staffed, staffed.folder / "held"
    what = ("--to", folder, "--subject", "p1", "--reason", "dispute", "--for", "zhao")

    def check():
        holds = world.ok("hold list", "--json").json["holds"]
        assert [hold["records"] for hold in holds] in ([], [4])
        if not holds:
            world.ok("hold create", *what)
        world.settle()
        checked = world.ok("hold verify", folder, *world.by("zhao"), "--json").json
        assert (checked["hold"], checked["parts"], checked["records"], checked["chain"]) == (1, 1, 4, True)
        assert world.refused("hold create", *what).endswith("holds another hold already: choose a new folder")

    assert kill_everywhere(world, "hold create", *what, check=check, stride=7) > 20


def test_extending_a_hold(staffed):
    world, folder = staffed, staffed.folder / "held"
    world.ok("hold create", "--to", folder, "--table", "visit", "--key", "1", "--reason", "dispute", "--for", "zhao")
    more = ("1", "--table", "visit", "--key", "3", "--reason", "finished later", "--for", "zhao")

    def check():
        (hold,) = world.ok("hold list", "--json").json["holds"]
        # What a killed run left behind is no part of the hold.
        assert world.ok("hold verify", folder, *world.by("zhao"), "--json").json["records"] == hold["records"]
        if hold["records"] == 1:
            world.ok("hold extend", *more)
        world.settle()
        assert world.ok("hold verify", folder, *world.by("zhao"), "--json").json["records"] == 2
        assert json.loads((folder / "list-0002.json").read_text())["records"][0]["key"] == {"visit_id": "3"}

    assert kill_everywhere(world, "hold extend", *more, check=check, stride=5) > 15
