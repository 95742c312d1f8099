"""`careseal findings` and `careseal change-window`: two people answer what an audit found, and everything says who and when."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import forked
import pytest
from world import PASSPHRASE, World, kill_everywhere

OWN = "a person's own"
WHY = ("--reason", "restored a value by hand", "--ticket", "IT-7")


def key(world: World, name: str, role: str = "staff"):
    """A registered person's key file."""
    path = world.folder / f"{name}.key"
    made = forked.here("person", "create", path, "--name", name, environment={"CARESEAL_KEY_PASSPHRASE": OWN})
    assert made.code == 0, made
    world.ok("person add", path, "--role", role)
    return path


def say(world: World, command: str, *arguments: object, by, home=None) -> forked.Outcome:
    environment = {"CARESEAL_PASSPHRASE": PASSPHRASE, "CARESEAL_KEY_PASSPHRASE": OWN}
    return forked.here(*command.split(), *arguments, *WHY, "--by", by, "--home", home or world.home, environment=environment)


def behind(world: World, statement: str) -> None:
    """What an administrator does, with the triggers off for that moment."""
    with closing(sqlite3.connect(world.database)) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(statement)
        for _, text in triggers:
            connection.execute(text)


@pytest.fixture
def altered(sealed: World):
    """A visit was altered; Li and Wang are registered."""
    behind(sealed, "UPDATE visit SET note='forged' WHERE visit_id=1")
    return sealed, key(sealed, "Li"), key(sealed, "Wang")


def first_id(world: World) -> str:
    return world.ok("findings list", "--json").json["findings"][0]["id"][:12]


def test_a_finding_from_list_to_resolved_and_open_again(altered):
    world, li, wang = altered
    listed = world.ok("findings list").out
    named = re.search(r"^ {4}([0-9a-f]{12})$", listed, re.MULTILINE)[1]
    assert "ALTERED  visit [visit_id=1]  columns: note" in listed and "1 open findings" in listed
    assert "before: first  after: forged" in world.ok("findings show", named, "--values").out
    assert say(world, "findings accept", named, by=li).out.startswith("proposed; a second person confirms it")
    assert "Li proposed to accept it at 2" in world.ok("findings list").out
    assert world.run("verify").code == 1
    assert say(world, "findings accept", named[:6], by=wang).out == (
        f"{named} is resolved: 1 findings\n1 rows are taken in as they are; careseal seal anchors that\n")  # fmt: skip
    verified = world.ok("verify")
    assert "resolved by two people: 1 accepted, 0 dismissed" in verified.out and "INTACT" in verified.out
    (resolved,) = world.ok("verify", "--json").json["resolved"]
    assert (resolved["proposed"]["by"], resolved["confirmed"]["by"], resolved["reason"], resolved["ticket"], resolved["met"]) == (
        "Li", "Wang", "restored a value by hand", "IT-7", 1)  # fmt: skip
    shown = world.ok("findings show", named).out
    for words in ("not open", f"{named}  resolved: ALTERED  visit  1 findings, accepted", "proposed by Li at 2", "confirmed by Wang at 2"):
        assert words in shown
    assert say(world, "findings reopen", named, by=li).out == f"{named} is open again\n"
    again = world.run("verify", "--json")
    assert again.code == 1 and again.json["findings"][0]["id"].startswith(named)
    assert "reopened by Li at 2" in world.ok("findings show", named).out


def test_programs_get_everything(altered):
    world, li, wang = altered
    found = world.ok("findings list", "--json").json
    assert found.keys() == {"findings", "groups", "resolved", "answers", "invalid"}
    (finding,) = found["findings"]
    assert re.fullmatch("[0-9a-f]{40}", finding["id"]) and (found["groups"], found["answers"], found["invalid"]) == ([], [], [])
    proposed = say(world, "findings dismiss", finding["id"], "--json", by=li).json
    assert (proposed["state"], proposed["do"], proposed["confirmed"], proposed["id"]) == ("proposed", "dismiss", None, finding["id"])
    done = say(world, "findings dismiss", finding["id"], "--json", by=wang).json
    assert (done["state"], done["taken_in"], done["changed"]) == ("resolved", 0, 0)
    shown = world.ok("findings show", finding["id"], "--json").json
    assert shown["open"] is None and [answer["state"] for answer in shown["answers"]] == ["resolved"]
    assert say(world, "findings reopen", finding["id"], "--json", by=li).json["state"] == "reopened"


def test_sealing_goes_on_from_an_accepted_row(altered):
    world, li, wang = altered
    named = first_id(world)
    for who in (li, wang):
        assert say(world, "findings accept", named, by=who).code == 0
    world.change([("UPDATE visit SET note='lawful' WHERE visit_id=1",)])
    world.settle(counted=False)


def test_a_resolution_survives_the_loss_of_the_home(altered):
    world, li, wang = altered
    named = first_id(world)
    for who in (li, wang):
        assert say(world, "findings dismiss", named, by=who).code == 0
    world.ok("seal")
    world.ok("backup", world.folder / "file.backup")
    (world.folder / "pass").write_text(PASSPHRASE)
    old, world.home = world.home, world.folder / "new"
    restored = forked.here(
        "restore", "--home", world.home, "--kit", world.kit, "--kit-passphrase-file", world.folder / "pass", "--backup",
        world.folder / "file.backup", environment={"CARESEAL_PASSPHRASE": PASSPHRASE},
    )  # fmt: skip
    assert restored.code == 0 and old != world.home, restored
    assert "1 dismissed" in world.ok("verify").out


def test_a_generation_that_was_given_up_can_be_accepted_and_a_rollback_cannot(place):
    """Entries were lost for good, and the members voted for a new generation: two people may say that they know."""
    (place / "world").mkdir()
    world = World(place / "world", mirror=False).init().attach()
    people = key(world, "Li"), key(world, "Wang")
    world.ok("seal")
    world.ok("backup", world.folder / "old.backup")
    world.change()
    world.ok("seal")
    world.ok("node new-generation", "--institution", "1", "--generation", "1")
    (world.folder / "pass").write_text(PASSPHRASE)
    kit = ("--kit", world.kit, "--kit-passphrase-file", world.folder / "pass", "--backup", world.folder / "old.backup", "--new-generation")
    world.home = world.folder / "new"
    restored = forked.here("restore", "--home", world.home, *kit, environment={"CARESEAL_PASSPHRASE": PASSPHRASE})
    assert world.home.exists(), restored
    world.ok("seal")
    found = world.ok("findings list", "--json").json["findings"]
    (given_up,) = [finding for finding in found if finding["detail"].startswith("generation 0 of the journal ended with")]
    for who in people:
        assert say(world, "findings accept", given_up["id"], by=who).code == 0
    left = world.run("verify", "--json").json
    assert "rolled_back" not in [finding["kind"] for finding in left["findings"]]
    assert [answer["kind"] for answer in left["resolved"]] == ["rolled_back"]
    world.ok("seal")
    with closing(sqlite3.connect(world.home / "ledger.db")) as ledger, ledger:
        ledger.execute("DELETE FROM entries WHERE idx=(SELECT max(idx) FROM entries)")
    found = [finding for finding in world.run("findings list", "--json").json["findings"] if finding["kind"] == "rolled_back"]
    assert found and all(finding["id"] is None for finding in found)


@pytest.mark.parametrize("who", ["twice", "auditor", "revoked", "stranger", "home"])
def test_who_cannot_confirm(altered, who):
    world, li, wang = altered
    named = first_id(world)
    assert say(world, "findings accept", named, by=li).code == 0
    keys = {"twice": li, "home": world.home / "keyring.json"}
    if who == "auditor":
        keys[who] = key(world, "Zhao", "auditor")
    elif who == "revoked":
        world.ok("person revoke", "Wang", "--reason", "left")
        keys[who] = wang
    elif who == "stranger":
        keys[who] = world.folder / "stranger.key"
        forked.here("person", "create", keys[who], "--name", "Eve", environment={"CARESEAL_KEY_PASSPHRASE": OWN})
    outcome = say(world, "findings accept", named, by=keys[who])
    words = {"twice": "Li signed both: it takes two people", "auditor": "Zhao is registered as auditor", "revoked": "was revoked",
             "stranger": "is not registered here", "home": "is not a Careseal person key file"}[who]  # fmt: skip
    assert outcome.code == 2 and words in outcome.line()
    assert world.run("verify").code == 1


def test_bad_input_is_one_line(altered):
    world, li, wang = altered
    named = first_id(world)
    for command, arguments, words in (
        ("findings accept", ("zz",), "is no id of a finding"), ("findings accept", ("0000",), "no open finding 0000"),
        ("findings reopen", (named,), "nothing was answered to"), ("findings accept", (named, "--table", "nothing"), "is not attached"),
    ):  # fmt: skip
        outcome = say(world, command, *arguments, by=li)
        assert outcome.code == 2 and words in outcome.line(), command
    assert "no open finding 0000" in world.refused("findings show", "0000")
    assert say(world, "findings accept", named, by=li).code == 0
    assert "Li proposed to accept it: confirm that, or reopen it first" in say(world, "findings dismiss", named, by=wang).line()
    wrong = forked.here("findings", "accept", named, *WHY, "--by", wang, "--home", world.home,
                        environment={"CARESEAL_PASSPHRASE": PASSPHRASE, "CARESEAL_KEY_PASSPHRASE": "another one"})  # fmt: skip
    assert wrong.code == 2 and "wrong passphrase" in wrong.line()
    assert "give one line of 1 to" in forked.here(
        "findings", "accept", named, "--reason", "", "--ticket", "x", "--by", wang, "--home", world.home,
        environment={"CARESEAL_PASSPHRASE": PASSPHRASE, "CARESEAL_KEY_PASSPHRASE": OWN}).line()  # fmt: skip


def test_killed_at_any_step_an_acceptance_is_whole_or_not_there(altered):
    """Entry, document and the row's new baseline are one transaction of the home."""
    world, li, wang = altered
    named = first_id(world)
    assert say(world, "findings accept", named, by=li).code == 0
    secret = world.folder / "own"
    secret.write_text(OWN)

    def check():
        verified = world.run("verify", "--json")
        resolved = [answer["state"] for answer in world.ok("findings list", "--json").json["answers"]]
        assert (verified.code, resolved) in ((1, ["proposed"]), (0, ["resolved"])), verified
        world.ok("seal")
        world.check_mirror()

    steps = kill_everywhere(world, "findings accept", named, *WHY, "--by", wang, "--key-passphrase-file", secret, check=check, stride=2)
    assert steps > 2
    assert world.ok("verify", "--json").json["resolved"][0]["met"] == 1


# Many at once


@pytest.fixture
def many(world: World):
    """Fifty visits whose note may never change, sealed; Li and Wang are registered."""
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.executemany("INSERT INTO visit VALUES (?, 'p', 'x')", [(n,) for n in range(100, 150)])
    world.ok("detach", "--gone")
    with closing(sqlite3.connect(world.database)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='trigger' AND name LIKE 'careseal%'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='table' AND name LIKE 'careseal%'").fetchall():
            connection.execute(f'DROP TABLE "{name}"')
    world.ok("attach", world.url, "--table", "visit", "--immutable", "note")
    world.ok("seal")
    return world, key(world, "Li"), key(world, "Wang")


def test_an_announced_migration_is_one_line_and_one_acceptance(many):
    world, li, wang = many
    about = ("--table", "visit", "--columns", "note", "--from", "2099-01-01", "--until", "2099-02-01T00:00:00Z")
    made = say(world, "change-window open", *about, by=li)
    assert made.code == 0 and "not in force: a second person has to confirm it" in made.out and "SQLite knows no users" in made.out
    opened = re.match(r"w\d+", made.out)[0]
    assert "in force from 2099-01-01T00:00:00Z to 2099-02-01T00:00:00Z" in say(world, "change-window confirm", opened, by=wang).out
    (window,) = world.ok("change-window list", "--json").json["windows"]
    assert (window["id"], window["role"], window["columns"], window["closed"]) == (opened, None, ["note"], None)
    assert "closed by Li at 2" in say(world, "change-window close", opened, by=li).out
    assert "it was never in force" in world.ok("change-window list").out


def test_what_is_alike_is_one_line(many):
    world, li, wang = many
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("UPDATE visit SET note='migrated' WHERE visit_id>=100")
        connection.execute("UPDATE visit SET note='migrated too' WHERE visit_id=1")
    world.ok("seal")
    shown = world.run("verify")
    assert shown.code == 1 and "51 FINDINGS" in shown.out
    line = re.search(r"^AMENDED_FINAL  visit  51 rows: visit_id=100; visit_id=101; visit_id=102; …  columns: note .* (g[0-9a-f]{12})$",
                     shown.out, re.MULTILINE)  # fmt: skip
    assert line, shown.out
    documents = world.run("verify", "--json").json, world.run("verify", "--json", "--groups").json
    assert [(len(document["findings"]), len(document["groups"])) for document in documents] == [(51, 1), (0, 1)]
    (group,) = documents[0]["groups"]
    assert (group["count"], group["id"][:13], group["first"]) == (51, line[1], [{"visit_id": n} for n in (100, 101, 102)])
    assert len(world.ok("findings show", line[1]).out.splitlines()) == 1
    for who in (li, wang):
        assert say(world, "findings accept", line[1], by=who).code == 0
    assert "51 accepted" in world.ok("verify").out


def test_bad_windows_are_one_line(many):
    world, li, _ = many
    plain = {"--table": "visit", "--columns": "note", "--from": "2099-01-01", "--until": "2099-02-01"}
    for change, words in (({"--table": "nothing"}, "is not attached"), ({"--columns": "nothing"}, "has no such column"),
                          ({"--from": "tomorrow"}, "--from tomorrow: write a time as"), ({"--from": "2001-01-01"}, "lies in the past"),
                          ({"--until": "2098-01-01"}, "must be later"), ({"--role": "vendor"}, "leave --role out")):  # fmt: skip
        outcome = say(world, "change-window open", *[word for pair in (plain | change).items() for word in pair], by=li)
        assert outcome.code == 2 and words in outcome.line(), change
    assert "no change window w1; there are: none" in say(world, "change-window confirm", "w1", by=li).line()
    assert world.ok("change-window list").out == "no change window was announced\n"
