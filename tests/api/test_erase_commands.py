"""`careseal erase`: on the order of two people, with a certificate; nothing that lies elsewhere brings the key back."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess

import pytest
from world import PASSPHRASE, PostgresWorld, World, needs_font

from api.language import set_language
from ledger import canonical
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.wire import decode_entry


@pytest.fixture
def staffed(sealed: World) -> World:
    return sealed.staffed()


def order(world: World, *more: object, no_term: bool = True) -> tuple[object, ...]:
    return ("--reason", "asked by the patient", *world.by("li", "wu"), *(("--no-term", "a test") if no_term else ()), *more)


def kits(world: World) -> list:
    return sorted(world.folder.glob("home-recovery-kit-*.json"))


def test_an_erased_subject_is_told_and_everything_else_still_verifies(staffed):
    files = [staffed.folder / name for name in ("before.json", "erased.json", "after.json")]
    network = ("--network", staffed.home / "network.json")
    staffed.ok("evidence export", "visit", "2", "-o", files[0])
    staffed.ok("evidence export", "visit", "1", "-o", files[1])
    done = staffed.ok("erase", "p1", *order(staffed), "--json").json
    assert done["checkpoint"]["block"] and done["kit"] == str(kits(staffed)[0])
    staffed.ok("evidence export", "visit", "2", "-o", files[2])
    for file in files:
        assert staffed.ok("evidence verify", file, *network, "--json").json["valid"]
    assert "the key of this record's subject is gone" in staffed.refused("evidence export", "visit", "1", "-o", staffed.folder / "no.json")
    found = staffed.run("verify", "--json")
    assert (found.code, {finding["kind"] for finding in found.json["findings"]}) == (1, {"erased_present"})
    assert len(found.json["findings"]) == 4
    staffed.change([
        ("DELETE FROM visit WHERE visit_id=1",), ("DELETE FROM visit WHERE visit_id=3",),
        ("DELETE FROM lab_result WHERE item='na'",), ("DELETE FROM lab_result WHERE item='k'",),
    ])  # fmt: skip
    staffed.settle()


def test_the_certificate_is_proved_by_the_checkpoint_and_names_nobody(staffed):
    file = staffed.folder / "certificate.json"
    staffed.ok("erase", "p1", *order(staffed), "--certificate", file)
    made = canonical.decode(file.read_bytes().strip())
    proof, checkpoint = made["proof"], made["checkpoint"]
    body = bytes.fromhex(proof["entry"])
    document = canonical.check(bytes.fromhex(proof["salt"]), bytes.fromhex(proof["document"]), decode_entry(body).commitment)
    assert document == {"erasure": made["erasure"]} and len(made["erasure"]["confirmed"]) == 2
    nodes = [bytes.fromhex(node) for node in proof["inclusion"]]
    verify_inclusion(leaf_hash(body), proof["index"], checkpoint["size"], nodes, bytes.fromhex(checkpoint["root"]))
    assert (checkpoint["size"], bytes.fromhex(checkpoint["root"])) in staffed.checkpoints()
    text = file.read_text() + bytes.fromhex(proof["document"]).decode()
    assert not any(word in text for word in ("p1", "first", "li\"", "wu\"", "secret"))


@needs_font
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no poppler-utils")
@pytest.mark.parametrize(("language", "words"), [
    ("en", ("Certificate of erasure", "asked by the patient", "File 12-7", "person 1, person 2", "a test")),
    ("zh", ("关联销毁证明", "asked by the patient", "File 12-7", "人员 1, 人员 2", "其他一切证明依然成立")),
])  # fmt: skip
def test_the_certificate_is_printed_in_both_languages(staffed, language, words):
    files = staffed.folder / "certificate.json", staffed.folder / "certificate.pdf"
    try:
        staffed.ok("erase", "p1", *order(staffed, "--certificate", files[0], "--pdf", files[1], "--print", "File 12-7", "--lang", language))
    finally:
        set_language("en")
    text = subprocess.run(["pdftotext", "-layout", files[1], "-"], check=True, capture_output=True, text=True).stdout
    made = json.loads(files[0].read_text())
    for word in (*words, made["erasure"]["subject"], made["checkpoint"]["root"]):
        assert word in text, word
    subprocess.run(["pdfdetach", "-save", "1", "-o", "inside.json", files[1]], cwd=staffed.folder, check=True)
    assert (staffed.folder / "inside.json").read_bytes() == files[0].read_bytes()


def test_done_again_it_only_makes_the_certificate(staffed):
    staffed.ok("erase", "p1", *order(staffed))
    size, keyring = staffed.count("SELECT count(*) FROM entries", "ledger.db"), (staffed.home / "keyring.json").read_bytes()
    again = staffed.ok("erase", "p1", "--reason", "asked", "--certificate", staffed.folder / "again.json")
    assert "it was erased before; only the certificate was made" in again.out and (staffed.folder / "again.json").exists()
    assert (staffed.count("SELECT count(*) FROM entries", "ledger.db"), (staffed.home / "keyring.json").read_bytes()) == (size, keyring)
    assert len(kits(staffed)) == 1


def test_what_is_to_be_destroyed_is_said(staffed):
    lines = staffed.ok("erase", "p1", *order(staffed)).out.splitlines()
    assert lines[0].startswith("erased at 2") and lines[1].startswith("4 records can be opened and linked by nobody any more")
    assert lines[2] == f"new recovery kit: {kits(staffed)[0]} - keep it away from this machine, and destroy every older one"
    assert lines[-1].startswith("older backups open no keys any more")


@pytest.mark.parametrize(("arguments", "words"), [
    (("nobody",), "no sealed record belongs to this subject"), ((), "name what to erase: SUBJECT, or --table and --key"),
    (("p1", "--table", "visit", "--key", "1"), "name what to erase"), (("--table", "visit", "--key", "1"), "the rows of visit share keys"),
    (("p1", "--kit", "{home}/home.json"), "exists already: choose another name"),
    (("p1", "--certificate", "{home}/home.json"), "exists already: choose another name"),
    (("p1", "--kit", "{home}/none/kit"), "cannot write"),
])  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_erased(staffed, arguments, words):
    assert words in staffed.refused("erase", *(word.format(home=staffed.home) for word in arguments), *order(staffed))
    assert staffed.count("SELECT count(*) FROM subject WHERE key IS NULL", "subjects.db") == 0
    staffed.settle()


def test_the_order_of_one_person_or_of_the_other_side_is_not_enough(staffed):
    for names, words in ((("li",), "an erasure is ordered by two people"), (("li", "li"), "an erasure is ordered by two people"),
                         (("li", "zhao"), "zhao is registered as party"), ((), "an erasure is ordered by two people")):  # fmt: skip
        assert words in staffed.refused("erase", "p1", "--reason", "x", "--no-term", "x", *staffed.by(*names))
    assert not kits(staffed)
    staffed.settle()


@needs_font
def test_a_broken_font_is_told_before_anything_is_erased(staffed, monkeypatch):
    (staffed.folder / "font.ttf").write_bytes(b"no font")
    monkeypatch.setenv("CARESEAL_PDF_FONT", str(staffed.folder / "font.ttf"))
    assert "font.ttf is damaged" in staffed.refused("erase", "p1", *order(staffed), "--pdf", staffed.folder / "c.pdf")
    assert staffed.count("SELECT count(*) FROM subject WHERE key IS NULL", "subjects.db") == 0


def test_a_term_refuses_the_erasure_with_reason_and_date(staffed):
    staffed.ok("retention set", "--table", "visit", "--class", "outpatient", "--since", "note")
    staffed.ok("retention set", "--table", "lab_result", "--class", "inpatient", "--since", "item")
    (visit, _) = staffed.ok("retention list", "--json").json["terms"]
    assert (visit["table"], visit["class"], visit["years"], visit["since"]) == ("visit", "outpatient", 15, "note")
    assert staffed.ok("retention list").out.splitlines()[0] == "visit: kept for 15 years from a subject's latest note"
    words = staffed.refused("erase", "p1", *order(staffed))
    assert words.startswith("this subject's records of table lab_result are kept for 30 years from the last one, of 20")
    assert "--class soon: use outpatient" in staffed.refused("retention set", "--table", "visit", "--class", "soon", "--since", "note")
    staffed.settle()


def test_a_row_with_a_key_of_its_own_is_erased_alone(world):
    with sqlite3.connect(world.database) as connection:
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("INSERT INTO note VALUES (1, 'a'), (2, 'b')")
    world.ok("attach", world.url, "--table", "note", "--subject", "@row")
    world.ok("seal")
    world.staffed()
    assert "table note has no sealed record with this key" in world.refused("erase", "--table", "note", "--key", "3", *order(world))
    world.ok("erase", "--table", "note", "--key", "1", *order(world))
    found = world.run("verify", "--json").json["findings"]
    assert [(finding["kind"], finding["table"], finding["key"]) for finding in found] == [("erased_present", "note", {"id": 1})]


def test_neither_backup_nor_mirror_nor_an_older_kit_brings_the_key_back(staffed):
    backup = staffed.folder / "backup"
    staffed.ok("backup", backup)
    staffed.ok("erase", "p1", *order(staffed))
    shutil.rmtree(staffed.home)
    new = kits(staffed)[0]
    for more in ((), ("--backup", backup)):
        assert "the wrapping key was replaced when a subject was erased" in staffed.refused("restore", "--kit", staffed.kit, *more)
        outcome = staffed.run("restore", "--kit", new, *more, "--json")
        assert (outcome.code, {finding["kind"] for finding in outcome.json["findings"]}) == (1, {"erased_present"}), outcome
        assert staffed.count("SELECT count(*) FROM subject WHERE key IS NULL", "subjects.db") == 1
        shutil.rmtree(staffed.home)
    # A backup of before the erasure holds no keyring: with the passphrase and the new kit it opens no key.
    shutil.move(staffed.mirror, staffed.folder / "away")
    outcome = staffed.run("restore", "--kit", new, "--backup", backup, "--mirror", staffed.folder / "fresh")
    assert outcome.code == 2, outcome
    data = backup.read_bytes()
    assert PASSPHRASE.encode() not in data


def test_an_erasure_on_postgresql(place, postgres):
    folder = place / "pg"
    folder.mkdir()
    world = PostgresWorld(folder, postgres).init().attach()
    world.ok("seal")
    world.staffed()
    world.ok("retention set", "--table", "visit", "--class", "1", "--since", "note")
    words = world.refused("erase", "p2", *order(world, no_term=False))
    assert "records of table visit are kept for 1 years" in words
    world.change([("INSERT INTO lab_result VALUES ('z', 'na', 'p7', 1.0)",)])
    world.ok("seal")
    world.ok("erase", "p7", *order(world))
    found = world.run("verify", "--json").json["findings"]
    assert [(finding["kind"], finding["key"]) for finding in found] == [("erased_present", {"accession": "z", "item": "na"})]
