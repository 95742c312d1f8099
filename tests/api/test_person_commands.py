"""`careseal person`: key files under their own passphrase, and the list of who is registered."""

from __future__ import annotations

import stat

import forked
import pytest

OWN = {"CARESEAL_KEY_PASSPHRASE": "a person's own"}


def person(*arguments: object, **environment: str) -> forked.Outcome:
    return forked.here("person", *arguments, environment=OWN | environment)


def test_a_person_is_created_registered_and_revoked(sealed):
    made = person("create", sealed.folder / "li.key", "--name", "李娜", "--json").json
    assert made["name"] == "李娜" and stat.S_IMODE((sealed.folder / "li.key").stat().st_mode) == 0o600
    public = person("public", sealed.folder / "li.key", "-o", sealed.folder / "li.pub", "--json").json
    added = sealed.ok("person add", sealed.folder / "li.pub", "--role", "staff", "--json").json
    assert public["fingerprint"] == made["fingerprint"] == added["fingerprint"]
    (listed,) = sealed.ok("person list", "--json").json["persons"]
    assert (listed["id"], listed["name"], listed["role"], listed["revoked"]) == (1, "李娜", "staff", None)
    assert "1  李娜, staff, since 2" in sealed.ok("person list").out
    assert sealed.ok("person revoke", "李娜", "--reason", "left the hospital").out == "the key of 李娜 (person 1) is revoked\n"
    assert sealed.ok("person list", "--json").json["persons"][0]["revoked"] is not None
    assert ", revoked 2" in sealed.ok("person list").out
    assert sealed.run("verify", "--json").json["findings"] == []


def test_nobody_is_registered_at_first(sealed):
    assert sealed.ok("person list").out == "nobody is registered\n"


@pytest.mark.parametrize(("arguments", "words"), [
    (("add", "nothing.key", "--role", "staff"), "cannot read nothing.key: No such file or directory"),
    (("add", "{home}/keyring.json", "--role", "staff"), "is no person's key file"),
    (("add", "{folder}/li.key", "--role", "boss"), "--role boss: use staff, auditor, party"),
    (("revoke", "Wang", "--reason", "x"), "no registered person Wang; registered are: none"),
    (("revoke", "Wang", "--reason", ""), "--reason: give one line of 1 to 1000 characters"),
])  # fmt: skip
def test_bad_input_is_one_line(sealed, arguments, words):
    person("create", sealed.folder / "li.key", "--name", "Li")
    name, *rest = (argument.format(home=sealed.home, folder=sealed.folder) for argument in arguments)
    assert words in sealed.refused(f"person {name}", *rest)


def test_no_key_file_is_overwritten_and_no_short_passphrase_taken(tmp_path):
    assert person("create", tmp_path / "li.key", "--name", "Li").code == 0
    before = (tmp_path / "li.key").read_bytes()
    assert "exists already" in person("create", tmp_path / "li.key", "--name", "Li").line()
    assert (tmp_path / "li.key").read_bytes() == before
    assert "at least 8 characters" in person("create", tmp_path / "new", "--name", "Li", CARESEAL_KEY_PASSPHRASE="short").line()
    assert not (tmp_path / "new").exists()


def test_the_homes_passphrase_opens_no_key_file_by_itself(tmp_path):
    outcome = forked.here("person", "create", tmp_path / "li.key", "--name", "Li", environment={"CARESEAL_PASSPHRASE": "of the home"})
    assert outcome.code == 2 and "give --key-passphrase-file, or run it in a terminal to be asked" in outcome.line()


def test_a_terminal_is_asked_twice(tmp_path, monkeypatch):
    answers = iter(["long enough", "long enough", "long enough", "something else"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    assert forked.here("person", "create", tmp_path / "li.key", "--name", "Li", environment={}).code == 0
    outcome = forked.here("person", "create", tmp_path / "wang.key", "--name", "Wang", environment={})
    assert outcome.code == 2 and outcome.line() == "the two passphrases differ: run it again"


def test_killed_at_any_step_a_registration_is_whole_or_not_there(sealed):
    from world import kill_everywhere

    person("create", sealed.folder / "li.key", "--name", "Li")

    def check():
        assert len(sealed.ok("person list", "--json").json["persons"]) <= 1
        assert sealed.run("verify", "--json").json["findings"] == []

    assert kill_everywhere(sealed, "person add", sealed.folder / "li.key", "--role", "staff", check=check) > 1
