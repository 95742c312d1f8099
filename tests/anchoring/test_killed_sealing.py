"""Kill -9 at durable steps all along sealing: nothing is lost, nothing is there twice, and the normal command goes on."""

from __future__ import annotations

import forked
import pytest
from world import CHANGES, PostgresWorld, World, kill_everywhere

pytestmark = pytest.mark.slow


def test_founding_and_joining_a_chain(place):
    folder = place / "world"
    folder.mkdir()
    world = World(folder)
    world.create_database()

    def check():
        if not (world.home / "network.json").exists() or world.run("status").code:
            world.init()
        world.ok("attach", *world.attachment)
        world.settle()

    init = ("--name", "First Hospital", "--kit", world.kit, *world.more)
    assert kill_everywhere(world, "init", *init, check=check, stride=4) > 25


def test_attaching(place):
    folder = place / "world"
    folder.mkdir()
    world = World(folder).init()
    world.create_database()

    def check():
        world.change()
        world.run("attach", *world.attachment)
        world.settle(counted=False)

    assert kill_everywhere(world, "attach", *world.attachment, check=check) > 5


def test_sealing_the_baseline(world):
    assert kill_everywhere(world, "seal", check=world.settle, stride=3) > 20


def test_sealing_changes(sealed):
    sealed.change()
    assert kill_everywhere(sealed, "seal", check=sealed.settle, stride=3) > 20


def test_verifying(sealed):
    assert kill_everywhere(sealed, "verify", check=sealed.settle) > 3


def test_detaching(sealed):
    sealed.change()

    def check():
        sealed.run("detach")
        assert sealed.rows("SELECT name FROM sqlite_master WHERE name LIKE 'careseal%'") == []
        sealed.ok("seal")
        sealed.check()

    assert kill_everywhere(sealed, "detach", check=check, stride=3) > 10


def test_capturing(sealed):
    """The hospital's application itself is killed: what it committed is captured, what it did not is not."""
    saved, step, killed = sealed.save(), 0, True
    while killed:
        step += 1
        sealed.put_back(saved)
        killed = forked.run(kill_at=step, then=lambda: sealed.change(CHANGES)).killed
        sealed.settle()
    assert step > 2 * len(CHANGES)


def test_sealing_changes_on_postgresql(place, postgres):
    folder = place / "world"
    folder.mkdir()
    world = PostgresWorld(folder, postgres).init().attach()
    world.ok("seal")
    step, killed = 1, True
    while killed:
        visit = 1000 + step
        world.change([
            (f"INSERT INTO visit VALUES ({visit}, 'p1', NULL)",),
            (f"UPDATE visit SET note='amended' WHERE visit_id={visit}",),
            (f"UPDATE visit SET visit_id=-{visit} WHERE visit_id={visit}",),
            (f"DELETE FROM visit WHERE visit_id=-{visit}", "UPDATE lab_result SET value=value+1 WHERE item='k'"),
        ])  # fmt: skip
        killed = world.run("seal", kill_at=step).killed
        world.settle()
        step += 5
    assert step > 60
