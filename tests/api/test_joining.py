"""Founding and joining a consortium from the command line: by path, by URL, at the same time, and by vote."""

from __future__ import annotations

import os
import re

import forked
from world import PASSPHRASE, World, served

from node.server import read_endpoint


def member(place, name: str, *more: object) -> World:
    (place / name).mkdir()
    world = World(place / name, name=f"{name.capitalize()} Hospital")
    world.chain, world.more = place / "chain", (*(more or ("--chain", place / "chain")), "--mirror", world.mirror)
    return world


def by_url(founder: World) -> tuple[object, ...]:
    return "--chain", read_endpoint(founder.chain)["url"], "--network", founder.home / "network.json"


def test_a_second_home_joins_by_path_and_a_third_by_url(place):
    first, second = member(place, "first").init(), member(place, "second").init()
    with served(first.chain, place / "node.log"):
        third = member(place, "third", *by_url(first)).init()
        fourth = member(place, "fourth").init()
        for number, world in enumerate((first, second, third, fourth), 1):
            status = world.ok("status", "--json").json
            assert (status["institution"], status["founding"], status["size"]) == (number, True, 0)
            assert (world.home / "network.json").read_bytes() == (first.home / "network.json").read_bytes()
        members = third.ok("node members", "--json").json["members"]
        assert [(m["id"], m["active"]) for m in members] == [(1, True), (2, True), (3, True), (4, True)]
    assert "cannot be reached" in third.refused("status")
    assert second.ok("status", "--json").json["institution"] == 2


def test_homes_that_found_one_chain_at_the_same_time_end_up_on_one(place):
    worlds = [member(place, name) for name in ("first", "second", "third")]
    with (place / "out").open("w+b") as out:
        children = [
            forked.start("init", "--home", world.home, "--name", world.name, "--kit", world.kit, *world.more, out=out, err=out,
                         environment={"CARESEAL_PASSPHRASE": PASSPHRASE})
            for world in worlds
        ]  # fmt: skip
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (place / "out").read_text()
    assert sorted(world.ok("status", "--json").json["institution"] for world in worlds) == [1, 2, 3]
    assert len({(world.home / "network.json").read_bytes() for world in worlds}) == 1
    for world in worlds:
        world.attach().settle()


def test_after_founding_a_member_is_admitted_by_vote(place):
    first, second = member(place, "first").init(), member(place, "second").init()
    first.ok("node close-founding")
    assert first.ok("status", "--json").json["founding"] is False
    third = member(place, "third")
    init = ("--name", "Third Hospital", "--kit", third.kit, *third.more)
    line = third.refused("init", *init)
    account, name = re.search(r"careseal node admit --account (0x[0-9a-fA-F]{40}) --name '([^']+)'", line).groups()
    assert name == "Third Hospital" and "run init again" in line
    for command in ("seal", "verify", "status"):
        assert "run careseal init again" in third.refused(command)
    vote = ("--account", account, "--name", name)
    assert "1 votes and waits" in first.ok("node admit", *vote).out
    assert third.refused("init", *init) == line
    assert "has its majority" in second.ok("node admit", *vote).out
    third.ok("init", *init)
    third.attach().settle()
    assert third.setting("institution") == 3
    assert "is a home already" in third.refused("init", *init)


def taken(line: str, name: str) -> bool:
    return f"knows another institution by the name {name!r}: run init again with another --name" in line


def test_a_name_that_is_taken_begins_no_home_and_another_name_makes_one(place):
    first, second = member(place, "first").init(), member(place, "second")
    init = ("--kit", second.kit, *second.more)
    assert taken(second.refused("init", "--name", first.name, *init), first.name)
    assert list(second.folder.iterdir()) == []
    assert first.ok("status", "--json").json["founding"] is True
    assert len(first.ok("node members", "--json").json["members"]) == 1
    second.ok("init", "--name", second.name, *init)
    second.attach().settle()
    assert (second.setting("institution"), second.setting("name")) == (2, second.name)


def test_a_name_that_is_taken_is_refused_over_a_url_and_to_a_home_that_was_begun(place, monkeypatch):
    first, second = member(place, "first").init(), member(place, "second")
    with served(first.chain, place / "node.log"):
        third = member(place, "third", *by_url(first))
        assert taken(third.refused("init", "--name", first.name, "--kit", third.kit, *third.more), first.name)
        assert list(third.folder.iterdir()) == []
    # Two that begin at the same time: neither sees the other's name before its own home is begun.
    monkeypatch.setattr("anchoring.founding._check_name", lambda *arguments: None)
    init = ("--kit", second.kit, *second.more)
    assert taken(second.refused("init", "--name", first.name, *init), first.name)
    assert "run careseal init again" in second.refused("status")
    second.ok("init", "--name", second.name, *init)
    assert (second.setting("institution"), second.setting("name")) == (2, second.name)
    assert second.ok("node members", "--json").json["members"][1]["name"] == second.name


def test_a_home_that_joined_and_could_not_write_its_kit_goes_on_under_its_own_name_only(place):
    first, second = member(place, "first").init(), member(place, "second")
    assert "cannot write" in second.refused("init", "--name", second.name, "--kit", place / "nowhere" / "kit.json", *second.more)
    assert len(first.ok("node members", "--json").json["members"]) == 2
    init = ("--kit", second.kit, *second.more)
    assert "institution 2 already, not under the name 'Another'" in second.refused("init", "--name", "Another", *init)
    assert taken(second.refused("init", "--name", first.name, *init), first.name)
    second.ok("init", "--name", second.name, *init)
    assert (second.setting("institution"), second.setting("name")) == (2, second.name)


def test_a_name_that_is_taken_is_admitted_by_no_vote(place):
    first, second = member(place, "first").init(), member(place, "second").init()
    first.ok("node close-founding")
    third = member(place, "third")
    assert taken(third.refused("init", "--name", second.name, "--kit", third.kit, *third.more), second.name)
    assert list(third.folder.iterdir()) == []
    vote = ("--account", "0x" + "11" * 20, "--name", second.name)
    first.ok("node admit", *vote)
    assert "the contract refused: name already used" in second.refused("node admit", *vote)


def test_a_member_is_suspended_by_vote_and_can_publish_no_more(place):
    worlds = [member(place, name).init() for name in ("first", "second", "third")]
    worlds[2].attach().settle()
    for world in worlds[:2]:
        world.ok("node suspend", "--institution", "3")
    worlds[2].change()
    assert "the contract refused" in worlds[2].refused("seal")
    assert worlds[2].count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 1


def test_an_account_that_is_none_is_refused(place):
    first = member(place, "first").init()
    for account in ("nonsense", "0x12", "0x" + "zz" * 20, ""):
        assert "is no account" in first.refused("node admit", "--account", account, "--name", "X")
        assert "is no account" in first.refused("node replace-key", "--account", account, "--institution", "1")


def test_another_passphrase_joins_only_while_the_founder_serves_the_chain(place):
    first = member(place, "first").init()
    second = member(place, "second")
    other = place / "other-passphrase"
    other.write_text("another passphrase")
    init = ("--name", "Second", "--kit", second.kit, *second.more, "--passphrase-file", other)
    assert "let the founder serve it with careseal node run" in second.refused("init", *init)
    with served(first.chain, place / "node.log"):
        second.ok("init", *init)
        second.ok("status", "--passphrase-file", other)
    assert "let the founder serve it" in second.refused("status", "--passphrase-file", other)


def test_what_init_refuses(place):
    first = member(place, "first").init().attach()
    first.ok("seal")
    init = ("--name", "Second", "--kit", place / "kit.json", "--chain", first.chain)
    (place / "full").mkdir()
    (place / "full" / "file").write_text("content")
    assert "is not empty" in first.refused_at(place / "full", "init", *init)
    assert "exists already" in first.refused_at(place / "second", "init", "--name", "Second", "--kit", first.kit, "--chain", first.chain)
    assert "holds a home already" in first.refused_at(place / "second", "init", *init, "--mirror", first.mirror)
    for arguments, words in (
        (("--chain", "http://127.0.0.1:9"), "needs --network"),
        (("--chain", "http://127.0.0.1:9", "--network", first.home / "network.json"), "cannot be reached"),
        (("--chain", "ftp://example.org", "--network", first.home / "network.json"), "http://host:port"),
        (("--chain", first.chain, "--network", first.kit), "not a Careseal network file"),
        (("--chain", first.chain, "--network", place / "nowhere"), "cannot read the network file"),
        (("--chain", first.kit), "cannot write"),
        (("--chain", "/proc/nowhere"), "cannot write"),
    ):
        line = first.refused_at(place / "third", "init", "--name", "Third", "--kit", place / "kit3.json", *arguments)
        assert words in line, (arguments, line)
    assert not (place / "kit3.json").exists()
