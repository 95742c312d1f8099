"""`careseal migrate-check` from the command line: what it says, how it ends, and what both journals hold afterwards."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from forked import quick_keys
from world import PASSPHRASE, World

from ledger import canonical
from ledger.home import Home
from ledger.wire import Kind, decode_entry

LAB = "CREATE TABLE result (accession text, item text, who text, value numeric, PRIMARY KEY (accession, item))"
MAP = {"columns": {"patient": "who", "value": {"column": "value", "rule": "decimal"}}}


def documents(home) -> list[dict]:
    """The migrations that a home's journal tells of."""
    with quick_keys(), Home.open(home, PASSPHRASE.encode) as opened:
        found = []
        for index in range(opened.journal.size):
            entry = decode_entry(opened.journal.entry(index))
            if entry.kind is Kind.AUDIT and "migration" in (document := canonical.decode(opened.journal.document(index)[1])):
                found.append(document["migration"] | {"index": index})
        return found


def head(home) -> tuple[int, str]:
    with quick_keys(), Home.open(home, PASSPHRASE.encode) as opened:
        return opened.journal.size, opened.journal.tree.root(opened.journal.size).hex()


@pytest.fixture
def moved(sealed, postgres):
    """The laboratory's results, moved to PostgreSQL under other names, and the map that says so."""
    url = postgres.database()
    with postgres.connect(url) as connection:
        connection.execute(LAB)
        for row in sealed.rows("SELECT accession, item, patient, CAST(value AS TEXT) FROM lab_result"):
            connection.execute("INSERT INTO result VALUES (%s,%s,%s,%s)", row)
    (sealed.folder / "map.json").write_text(json.dumps(MAP))
    sealed.new_url = url
    return sealed


def check(world, *options):
    return world.run("migrate-check lab_result result", "--map", world.folder / "map.json", "--into", world.new_url, *options)


def test_a_moved_table_is_proven_unchanged_and_journalled(moved):
    before = head(moved.home)
    done = check(moved, "--json")
    assert (done.code, done.json["proven"], done.json["equal"], done.json["doubts"]) == (0, True, True, [])
    assert (done.json["old_rows"], done.json["new_rows"], done.json["new_entry"]) == (2, 2, None)
    (document,) = documents(moved.home)
    assert document["index"] == done.json["entry"] and document["intact"] is True
    assert document["old"]["table"] == "lab_result" and document["new"] == {"table": "result"}
    # The audit before the comparison is an entry of its own.
    assert document["old"]["size"] == before[0] + 1 and document["differences_sha256"] == done.json["differences_sha256"]
    assert ["value", "value", "decimal"] in document["columns"] and ["patient", "who", "exact"] in document["columns"]
    moved.ok("seal")
    assert moved.ok("verify", "--json").json["ok"]


def test_differences_are_listed_with_values_only_where_asked(moved, postgres):
    with postgres.connect(moved.new_url) as connection:
        connection.execute("UPDATE result SET value = 141 WHERE item = 'na'")
    done = check(moved)
    assert done.code == 1 and "changed  lab_result [accession=a1, item=na]  columns: value" in done.out
    assert "DIFFERENT: 1 changed, 0 missing, 0 added, 0 repeated" in done.out and "140.5" not in done.out
    shown = check(moved, "--values")
    assert "    value: before: 140.5  after: 141" in shown.out
    assert [d["counts"]["changed"] for d in documents(moved.home)] == [1, 1]
    assert "不一致：改变 1，缺失 0，多出 0，重复 0" in check(moved, "--lang", "zh").out


def blind(world, statement):
    with closing(sqlite3.connect(world.database, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(statement)
        for _, text in triggers:
            connection.execute(text)


def test_an_old_table_that_was_tampered_with_proves_nothing(moved, postgres):
    blind(moved, "UPDATE lab_result SET value = 141 WHERE item = 'na'")
    with postgres.connect(moved.new_url) as connection:
        connection.execute("UPDATE result SET value = 141 WHERE item = 'na'")
    done = check(moved)
    assert done.code == 1 and "UNCHANGED" not in done.out
    assert "not proven: the audit of table lab_result has findings: careseal verify tells which" in done.out
    assert "not proven: table lab_result contradicts its journal: careseal verify tells where" in done.out
    assert "the tables are equal, and that proves nothing about what was sealed" in done.out
    assert [d["intact"] for d in documents(moved.home)] == [False]


def test_changes_that_wait_to_be_sealed_prove_nothing(moved, postgres):
    with closing(sqlite3.connect(moved.database)) as connection, connection:
        connection.execute("UPDATE lab_result SET value = 141 WHERE item = 'na'")
    with postgres.connect(moved.new_url) as connection:
        connection.execute("UPDATE result SET value = 141 WHERE item = 'na'")
    done = check(moved, "--json")
    assert (done.code, done.json["equal"], done.json["doubts"]) == (1, True, ["1 rows of table lab_result wait to be sealed: seal first"])
    moved.ok("seal")
    assert check(moved, "--json").code == 0


def test_an_unsealed_table_proves_nothing(world, postgres):
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("CREATE TABLE visit_copy AS SELECT * FROM visit")
    done = world.run("migrate-check visit visit_copy", "--into", world.url, "--json")
    assert (done.code, done.json["equal"]) == (1, True)
    assert done.json["doubts"] == ["table visit is not sealed yet: seal it first"]


def test_both_journals_name_each_others_head(moved):
    other = World(moved.folder / "other", chain=None, mirror=False)
    other.folder.mkdir()
    other.init()
    other.ok("attach", moved.new_url, "--table", "result")
    other.ok("seal")
    there, here = head(other.home), head(moved.home)
    options = ("--map", moved.folder / "map.json", "--new-home", other.home)
    done = moved.run("migrate-check lab_result result", *options, "--json")
    assert (done.code, done.json["proven"]) == (0, True)
    (mine,), (theirs,) = documents(moved.home), documents(other.home)
    assert (mine["index"], theirs["index"]) == (done.json["entry"], done.json["new_entry"])
    assert {**mine, "index": 0} == {**theirs, "index": 0}
    assert (mine["new"]["size"], mine["new"]["root"]) == there and mine["old"]["size"] == here[0] + 1
    assert mine["new"]["home"] != mine["old"]["home"]
    for world in (moved, other):
        world.ok("seal")
        assert world.ok("verify", "--json").json["ok"]


def test_a_new_table_that_contradicts_its_own_journal_proves_nothing(moved):
    with closing(sqlite3.connect(moved.database)) as connection, connection:
        connection.execute("CREATE TABLE lab_copy (accession TEXT, item TEXT, patient TEXT, value REAL, PRIMARY KEY (accession, item))")
        connection.execute("INSERT INTO lab_copy SELECT * FROM lab_result")
        connection.execute("UPDATE lab_copy SET value = 0")
    moved.ok("attach", moved.url, "--table", "lab_copy")
    moved.ok("seal")
    blind(moved, "UPDATE lab_copy SET value = (SELECT value FROM lab_result r WHERE r.item = lab_copy.item)")
    done = moved.run("migrate-check lab_result lab_copy", "--json")
    assert (done.code, done.json["equal"]) == (1, True)
    assert done.json["doubts"] == ["table lab_copy contradicts its journal: careseal verify tells where"]


@pytest.mark.parametrize(("words", "options", "line"), [
    ("gone result", (), "table gone is not attached"),
    ("lab_result gone", (), "table gone is not attached"),
    ("lab_result lab_result", (), "the old and the new table are the same"),
    ("lab_result visit", (), "table visit has no column accession"),
    ("lab_result visit", ("--into", "sqlite:////nowhere.db"), "no database file /nowhere.db"),
    ("lab_result visit", ("--map", "absent.json"), "cannot read absent.json"),
])  # fmt: skip
def test_what_cannot_be_compared_ends_with_2_and_is_not_journalled(sealed, monkeypatch, words, options, line):
    monkeypatch.chdir(sealed.folder)
    assert line in sealed.refused(f"migrate-check {words}", *options)
    assert documents(sealed.home) == []


def test_one_home_is_not_two(sealed):
    assert "--new-home is the same as --home: leave it out" in sealed.refused("migrate-check visit visit", "--new-home", sealed.home)
