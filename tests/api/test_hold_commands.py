"""`careseal hold`: copies that verify without the home years later, a list that both sides sign, and nothing half-done."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import subprocess
from hashlib import sha256

import forked
import pytest
from world import PASSPHRASE, PostgresWorld, World, needs_font

import ledger.files
from ledger import canonical
from ledger.wire import Kind

pytestmark = needs_font


@pytest.fixture
def staffed(sealed: World) -> World:
    return sealed.staffed()


@pytest.fixture
def held(staffed: World) -> World:
    """Two records under hold in `held`, which Zhao and whoever knows the passphrase in `custody` can open."""
    (staffed.folder / "custody").write_text("between us")
    staffed.ok("hold create", *of(staffed))
    return staffed


def of(world: World) -> tuple[object, ...]:
    return (
        "--to", world.folder / "held", "--table", "visit", "--key", "1", "--key", "2", "--reason", "dispute 17", "--for", "zhao",
        "--custody-passphrase-file", world.folder / "custody",
    )  # fmt: skip


def offline(world: World) -> tuple[object, ...]:
    return (world.folder / "held", "--network", world.home / "network.json", "--custody-passphrase-file", world.folder / "custody")


def holds(world: World) -> list[dict]:
    return world.ok("hold list", "--json").json["holds"]


def entries(world: World, kind: Kind) -> int:
    return world.count(f"SELECT count(*) FROM entries WHERE substr(body, 2, 1) = x'{kind:02x}'", "ledger.db")


def test_a_hold_from_its_list_to_its_release(held):
    (hold,) = holds(held)
    assert (hold["hold"], hold["records"], hold["parts"], hold["stands"]) == (1, 2, 1, True)
    assert hold["custody"] == ["person 3", "passphrase"] and hold["folder"] == str(held.folder / "held")
    listed = json.loads((held.folder / "held" / "list-0001.json").read_text())
    assert [(one["table"], one["key"], one["version"]) for one in listed["records"]] == [
        ("visit", {"visit_id": "1"}, 1), ("visit", {"visit_id": "2"}, 1),
    ]  # fmt: skip
    assert listed["until"][:4] == str(int(listed["made_at"][:4]) + 3)
    held.change([("UPDATE visit SET note='finished' WHERE visit_id=1",)])
    more = ("--table", "visit", "--key", "1", "--subject", "p2", "--reason", "finished", "--for", "li", "--for", "zhao")
    assert held.ok("hold extend", "1", *more, "--json").json["records"] == 2
    shown = held.ok("hold show", "1", "--json").json
    assert [len(part["records"]) for part in shown["parts"]] == [2, 2]
    checked = held.ok("hold verify", held.folder / "held", *held.by("zhao"), "--json")
    assert checked.json["records"] == 4
    assert "both sides release a hold" in held.refused("hold release", "1", *held.by("li"))
    held.ok("hold release", "1", *held.by("li", "zhao"))
    assert (holds(held)[0]["stands"], holds(held)[0]["ground"]) == (False, "both")


def test_parts_have_their_own_custody(held):
    more = ("1", "--subject", "p9", "--table", "visit")
    assert "no sealed record belongs to this subject" in held.refused("hold extend", *more, "--reason", "x", "--for", "li")
    held.ok("hold extend", "1", "--table", "visit", "--key", "3", "--reason", "more", "--for", "li")
    assert "the key of zhao has no custody of" in held.refused("hold verify", held.folder / "held", *held.by("zhao"))
    assert "cannot read" in held.refused("hold verify", *offline(held))


def test_a_copy_verifies_offline_against_the_journal_and_against_the_chain(held):
    assert held.ok("hold verify", *offline(held), "--json").json == {
        "valid": True, "hold": 1, "parts": 1, "records": 2, "offline": True, "journal": True, "chain": True,
    }  # fmt: skip
    held.change([("UPDATE visit SET note='later' WHERE visit_id=1",), ("DELETE FROM visit WHERE visit_id=2",)])
    held.ok("seal")
    assert held.ok("hold verify", held.folder / "held", *held.by("zhao")).out.splitlines() == [
        "INTACT: hold 1, 1 parts, 2 records", "parts, lists and entries are those of the journal", "every checkpoint is on the chain",
    ]  # fmt: skip
    found = held.run("verify", "--json")
    assert [(finding["kind"], finding["detail"]) for finding in found.json["findings"]] == [("deleted", "it is under hold 1")]


def test_without_the_home_the_network_file_is_enough(held):
    arguments = [str(word) for word in offline(held)]
    outcome = forked.here("hold", "verify", *arguments, environment={"CARESEAL_PASSPHRASE": PASSPHRASE})
    assert (outcome.code, outcome.out.splitlines()) == (
        0, ["INTACT: hold 1, 1 parts, 2 records", "every copy is evidence under the network file"],
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no poppler-utils")
def test_the_list_is_chinese_with_lines_to_sign_and_its_json_inside(held):
    folder = held.folder / "held"
    text = subprocess.run(["pdftotext", "-layout", "list-0001.pdf", "-"], cwd=folder, check=True, capture_output=True, text=True).stdout
    listed = json.loads((folder / "list-0001.json").read_text())
    for word in ("封存清单", "visit_id=1", listed["sha256"], listed["checkpoint"]["root"], "医疗机构：签名", "患方：签名", "日期",
                 "第二十四条", "dispute 17"):  # fmt: skip
        assert word in text, word
    assert all(one["digest"] in "".join(text.split()) for one in listed["records"])
    subprocess.run(["pdfdetach", "-save", "1", "-o", "inside.json", "list-0001.pdf"], cwd=folder, check=True)
    assert (folder / "inside.json").read_bytes() == (folder / "list-0001.json").read_bytes()


def test_nothing_in_the_folder_is_readable_without_a_key_but_the_lists(held):
    for path in (held.folder / "held").iterdir():
        assert path.stat().st_mode & 0o77 == 0
        if not path.name.startswith("list-"):
            assert b"first" not in path.read_bytes() and b"visit" not in path.read_bytes()


@pytest.mark.parametrize(("arguments", "words"), [
    (("--table", "visit", "--key", "99"), "table visit has no sealed record with this key"),
    (("--table", "nothing", "--key", "1"), "table nothing is not attached"),
    (("--table", "lab_result", "--key", "a1"), "table lab_result has the key accession, item: give 2 values"),
    (("--key", "1"), "--key needs --table"), (("--subject", "nobody"), "no sealed record belongs to this subject"),
    ((), "name the records to put under hold"),
    (("--table", "visit", "--key", "1", "--until", "soon"), "--until soon: write YYYY-MM-DD"),
    (("--table", "visit", "--key", "1", "--reason", ""), "--reason: give one line"),
    (("--table", "visit", "--key", "1", "--for", "nobody"), "no registered person nobody"),
    (("--table", "visit", "--key", "1", "--to", "{home}"), "is not empty: choose a new folder for the hold"),
    (("--table", "visit", "--key", "1", "--to", "{home}/lock/x"), "Not a directory; nothing was put under hold"),
])  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_under_hold(staffed, arguments, words):
    given = ("--to", staffed.folder / "held", "--reason", "x", "--for", "li", *(word.format(home=staffed.home) for word in arguments))
    assert words in staffed.refused("hold create", *given)
    assert holds(staffed) == [] and not (staffed.folder / "held").exists()


def test_somebody_must_have_custody(staffed):
    words = staffed.refused("hold create", "--to", staffed.folder / "held", "--subject", "p1", "--reason", "x")
    assert words.startswith("somebody must be able to open the hold")


@pytest.mark.parametrize("file", ["part-0001.hold", "part-0001.key.json", "list-0001.json", "list-0001.pdf"])
def test_a_folder_that_is_full_leaves_nothing_half_done(staffed, file):
    (staffed.folder / "custody").write_text("between us")
    write = ledger.files.write_durably

    def full(path, content):
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    def patch():
        import anchoring.hold_folder

        anchoring.hold_folder.write_durably = full

    words = staffed.refused("hold create", *of(staffed), before=patch)
    assert words.endswith("No space left on device; nothing was put under hold")
    assert holds(staffed) == [] and [path.name for path in (staffed.folder / "held").iterdir()] == [".unfinished"]
    staffed.ok("hold create", *of(staffed))
    assert len(holds(staffed)) == 1


def test_a_broken_font_is_told_before_anything_is_under_hold(staffed, monkeypatch):
    (staffed.folder / "custody").write_text("between us")
    (staffed.folder / "font.ttf").write_bytes(b"no font")
    monkeypatch.setenv("CARESEAL_PDF_FONT", str(staffed.folder / "font.ttf"))
    assert "font.ttf is damaged: install it anew" in staffed.refused("hold create", *of(staffed))
    assert holds(staffed) == [] and entries(staffed, Kind.HOLD) == 0


def test_wrong_keys_open_nothing(held):
    folder = held.folder / "held"
    (held.folder / "wrong").write_text("something else")
    assert "the key of li has no custody" in held.refused("hold verify", folder, *held.by("li"))
    assert "wrong passphrase for" in held.refused("hold verify", folder, "--custody-passphrase-file", held.folder / "wrong")
    assert "give --by with a person's key file, or" in held.refused("hold verify", folder)
    assert "is no hold's folder" in held.refused("hold verify", held.home, *held.by("zhao"))
    assert "No such file" in held.refused("hold verify", held.folder / "nowhere", *held.by("zhao"))


def test_a_record_that_changed_since_its_sealing_is_held_by_its_copy(staffed):
    """The table keeps copies: what is put under hold is what was sealed."""
    connection = sqlite3.connect(staffed.database)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("UPDATE visit SET note='forged' WHERE visit_id=1")
    for _, text in triggers:
        connection.execute(text)
    connection.commit()
    connection.close()
    (staffed.folder / "custody").write_text("between us")
    staffed.ok("hold create", *of(staffed))
    assert staffed.ok("hold verify", *offline(staffed), "--json").json["records"] == 2


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(("file", "at", "code", "words"), [
    ("part-0001.hold", -1, 1, "part-0001.hold is not the file that its list names"),
    ("part-0001.hold", 3, 1, "part-0001.hold is not the file that its list names"),
    ("part-0001.key.json", -20, 2, "part-0001.key.json"), ("list-0001.json", 30, 1, "list"),
    ("list-0001.json", -2, 1, "list-0001.json was changed"),
])  # fmt: skip
def test_what_was_changed_in_the_folder_is_told(held, file, at, code, words):
    path = held.folder / "held" / file
    data = path.read_bytes()
    path.write_bytes(flipped(data, at % len(data)))
    outcome = held.run("hold verify", *offline(held))
    assert (outcome.code, words in outcome.line()) == (code, True), outcome


@pytest.mark.parametrize("change", [
    lambda told: told["records"].pop(), lambda told: told["records"].reverse(), lambda told: told["records"][0].update(entry=0),
    lambda told: told["records"][0].update(digest="00" * 32), lambda told: told.update(hold=2), lambda told: told.update(part=2),
    lambda told: told.update(careseal="x"), lambda told: told.update(sha256="00" * 32), lambda told: told.pop("records"),
    lambda told: told.update(reason="another"), lambda told: told.update(home="x"),
])  # fmt: skip
def test_a_list_that_was_written_anew_is_refused(held, change):
    path = held.folder / "held" / "list-0001.json"
    listed = json.loads(path.read_text())
    change(listed)
    path.write_bytes(canonical.encode(listed) + b"\n")
    outcome = held.run("hold verify", *offline(held))
    assert outcome.code == 1 and outcome.line().startswith("hold: "), outcome


def test_a_part_that_was_made_anew_by_who_knows_the_key_is_refused(held):
    """Another record's evidence in a part with a true key, listed truly: the journal names other digests."""
    other = held.folder / "other"
    custody = ("--custody-passphrase-file", held.folder / "custody")
    held.ok("hold create", "--to", other, "--table", "visit", "--key", "3", "--reason", "x", *custody)
    for name in ("part-0001.hold", "part-0001.key.json", "list-0001.json"):
        shutil.copy(other / name, held.folder / "held" / name)
    listed = json.loads((other / "list-0001.json").read_text()) | {"hold": 1}
    (held.folder / "held" / "list-0001.json").write_bytes(canonical.encode(listed) + b"\n")
    outcome = held.run("hold verify", *offline(held))
    assert outcome.code == 1 and "are not those that were journalled" in outcome.line()


def test_a_missing_or_foreign_part_is_told(held):
    held.ok("hold extend", "1", "--table", "visit", "--key", "3", "--reason", "x", "--custody-passphrase-file", held.folder / "custody")
    (held.folder / "held" / "part-0002.hold").unlink()
    outcome = held.run("hold verify", *offline(held))
    assert outcome.code == 1 and "or one is missing" in outcome.line()
    (held.folder / "held" / "part-0001.hold").unlink()
    assert "is no hold's folder, or a part of it is missing" in held.refused("hold verify", *offline(held))


def test_release_by_a_settlement_that_is_a_file(held):
    (held.folder / "settlement.pdf").write_bytes(b"agreed")
    assert "No such file" in held.refused("hold release", "1", "--settlement", held.folder / "nothing", *held.by("li"))
    assert "give one ground" in held.refused("hold release", "1", "--settlement", "x", "--term-ended", *held.by("li"))
    done = held.ok("hold release", "1", "--settlement", held.folder / "settlement.pdf", *held.by("li"), "--json").json
    assert (done["ground"], done["settlement"]) == ("settlement", sha256(b"agreed").hexdigest())
    assert holds(held)[0]["ground"] == "settlement"
    assert "hold 1 was released already" in held.refused("hold release", "1", "--term-ended", *held.by("li"))
    assert held.ok("hold verify", *offline(held), "--json").json["valid"]


def test_a_hold_on_postgresql(place, postgres):
    folder = place / "pg"
    folder.mkdir()
    world = PostgresWorld(folder, postgres).init().attach()
    world.ok("seal")
    world.staffed()
    (world.folder / "custody").write_text("between us")
    world.ok("hold create", "--to", folder / "held", "--subject", "p1", "--reason", "x", "--custody-passphrase-file", folder / "custody")
    assert world.ok("hold verify", *offline(world), "--json").json["records"] == 4
    world.change([("DELETE FROM visit WHERE visit_id=1",)])
    world.ok("seal")
    assert [finding["detail"] for finding in world.run("verify", "--json").json["findings"]] == ["it is under hold 1"]
