"""Two tables compared row by row: between engines, under other names, in other orders, with bounded listing."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from hashlib import sha256

import pytest
from audit_world import PostgresHospital, SqliteHospital

from ledger import canonical
from ledger.errors import LedgerError, SourceError
from ledger.migration import compare as module
from ledger.migration.compare import Change, Side, compare
from ledger.migration.pairing import check_new, read_column_map
from ledger.sources import open_source

OLD = "CREATE TABLE visit (no NUMERIC PRIMARY KEY, seen TEXT, cost REAL, open INTEGER, note TEXT)"
NEW = "CREATE TABLE encounter (note text, id numeric PRIMARY KEY, seen timestamptz, cost numeric, is_open boolean, extra text)"
COLUMNS = {
    "no": {"column": "id", "rule": "decimal"}, "seen": {"column": "seen", "rule": "time", "zone": "+08:00"},
    "cost": {"column": "cost", "rule": "decimal"}, "open": {"column": "is_open", "rule": "boolean"},
}  # fmt: skip
MAP = {"columns": COLUMNS, "added": ["extra"]}


@pytest.fixture
def old(tmp_path):
    made = SqliteHospital(tmp_path / "old.db")
    made.run(OLD)
    yield made
    made.close()


@pytest.fixture
def new(request):
    made = PostgresHospital(request.getfixturevalue("postgres"))
    made.run(NEW)
    yield made
    made.close()


def fill(old, new, count=120):
    """The same visits in both, whose keys the engines sort differently: by value, and by text."""
    for n in range(count):
        old.run("INSERT INTO visit VALUES (?,?,?,?,?)", n, f"2026-01-02 {n % 24:02d}:00", n / 4, n % 2, f"第{n}次" if n % 3 else None)
        new.run("INSERT INTO encounter VALUES (?,?,?,?,?,?)", f"第{n}次" if n % 3 else None, n, f"2026-01-02 {n % 24:02d}:00+08", n / 4,
                bool(n % 2), "x")  # fmt: skip


def run(old, new, tmp_path, mapped, *, old_table="visit", new_table="encounter", values=False):
    path = tmp_path / "map.json"
    path.write_text(json.dumps(mapped))
    with ExitStack() as stack:
        sides = []
        for hospital in (old, new):
            sides.append(stack.enter_context(stack.enter_context(closing(open_source(hospital.url))).snapshot()))
        shape = sides[0].describe(old_table, None)
        pairing = read_column_map(path).names(shape)
        there = sides[1].describe(new_table, pairing.new_key)
        check_new(pairing, there)
        secret = b"s" * 32
        return compare(Side(sides[0], shape), Side(sides[1], there), pairing, secret, values=values, progress=lambda *_: None)


def test_a_table_that_moved_to_another_engine_is_equal_by_its_rules(old, new, tmp_path):
    fill(old, new)
    made = run(old, new, tmp_path, MAP)
    assert (made.equal, made.old_rows, made.new_rows, made.differences) == (True, 120, 120, [])
    assert made.digest == sha256().digest()


def test_without_rules_the_engines_differ(old, new, tmp_path):
    fill(old, new, 5)
    made = run(old, new, tmp_path, {"columns": {**COLUMNS, "open": "is_open"}, "added": ["extra"]})
    assert (made.counts[Change.CHANGED], made.columns) == (5, {"open": 5})


def test_every_change_is_named_with_row_and_column(old, new, tmp_path):
    fill(old, new)
    new.run("UPDATE encounter SET cost = cost + 0.01 WHERE id = 7")
    new.run("UPDATE encounter SET note = NULL, is_open = NOT is_open WHERE id = 100")
    new.run("DELETE FROM encounter WHERE id = 20")
    new.run("INSERT INTO encounter VALUES ('new', 500, NULL, NULL, NULL, NULL)")
    made = run(old, new, tmp_path, MAP, values=True)
    assert not made.equal and made.counts == {Change.CHANGED: 2, Change.MISSING: 1, Change.ADDED: 1, Change.REPEATED: 0}
    assert made.columns == {"cost": 1, "open": 1, "note": 1}
    assert [(d.change, d.key, d.columns) for d in made.differences] == [
        (Change.CHANGED, {"no": "7"}, ("cost",)), (Change.MISSING, {"no": "20"}, ()), (Change.CHANGED, {"no": "100"}, ("open", "note")),
        (Change.ADDED, {"no": "500"}, ()),
    ]  # fmt: skip
    first, missing, second, added = made.differences
    assert (first.before, first.after) == ({"cost": "1.75"}, {"cost": "1.76"})
    assert (second.before, second.after) == ({"open": "0", "note": "第100次"}, {"open": "t", "note": None})
    assert missing.before["note"] == "第20次" and missing.after is None and added.after["note"] == "new"


def test_the_digest_is_over_all_differences_in_their_order(old, new, tmp_path, monkeypatch):
    fill(old, new, 30)
    new.run("UPDATE encounter SET note = 'x' WHERE id IN (3, 12)")
    new.run("DELETE FROM encounter WHERE id = 5")
    lines = [
        {"change": "changed", "columns": ["note"], "key": {"no": "3"}}, {"change": "missing", "columns": [], "key": {"no": "5"}},
        {"change": "changed", "columns": ["note"], "key": {"no": "12"}},
    ]  # fmt: skip
    whole = run(old, new, tmp_path, MAP)
    assert whole.digest == sha256(b"".join(canonical.encode(line) + b"\n" for line in lines)).digest()
    monkeypatch.setattr(module, "MOST_LISTED", 1)
    cut = run(old, new, tmp_path, MAP)
    assert (len(cut.differences), cut.counts, cut.digest) == (1, whole.counts, whole.digest)
    assert whole.differences[0].before is None and whole.differences[0].after is None


def test_a_second_row_under_one_key_is_a_difference(old, new, tmp_path):
    fill(old, new, 10)
    new.run("ALTER TABLE encounter DROP CONSTRAINT encounter_pkey")
    new.run("INSERT INTO encounter SELECT * FROM encounter WHERE id = 4")
    made = run(old, new, tmp_path, MAP)
    assert made.counts == {Change.CHANGED: 0, Change.MISSING: 0, Change.ADDED: 0, Change.REPEATED: 1}
    assert [(d.change, d.key) for d in made.differences] == [(Change.REPEATED, {"no": "4"})]


@pytest.mark.parametrize("statement", [
    "UPDATE copy SET a = 'X' WHERE b = 2", "UPDATE copy SET c = '1.10' WHERE b = 2", "UPDATE copy SET c = x'31' WHERE b = 2",
    "UPDATE copy SET d = NULL WHERE b = 1", "UPDATE copy SET d = 1.0 WHERE b = 1", "DELETE FROM copy WHERE b = 3",
    "INSERT INTO copy VALUES ('z', 9, NULL, NULL)", "UPDATE copy SET b = 22 WHERE b = 2",
])  # fmt: skip
def test_no_change_of_any_kind_goes_unnoticed(tmp_path, statement):
    hospital = SqliteHospital(tmp_path / "x.db")
    for table in ("orig", "copy"):
        hospital.run(f"CREATE TABLE {table} (a TEXT, b INTEGER, c TEXT, d, PRIMARY KEY (a, b))")
        hospital.many(f"INSERT INTO {table} VALUES (?,?,?,?)", [("x", 1, "1.1", 1), ("y", 2, "1.1", None), ("中", 3, None, b"\0")])
    assert run(hospital, hospital, tmp_path, {}, old_table="orig", new_table="copy").equal
    hospital.run(statement)
    assert not run(hospital, hospital, tmp_path, {}, old_table="orig", new_table="copy").equal
    hospital.close()


@pytest.mark.parametrize(("mapped", "why"), [
    ({"columns": {"absent": "x"}}, "the map names column absent, which table visit does not have"),
    ({"columns": {"no": None}}, "column no is part of the key"),
    ({"columns": {"cost": "note"}}, "the map gives two columns the same new name"),
    ({"columns": {"cost": 5}}, "column cost: write"),
    ({"columns": {"cost": {"column": "cost", "rule": "near"}}}, "no rule near"),
    ({"columns": COLUMNS}, "column extra of table encounter comes from no old one"),
    ({"columns": {**COLUMNS, "note": "gone"}, "added": ["extra"]}, "table encounter has no column gone"),
    ({"columns": COLUMNS, "added": ["extra", "absent"]}, "table encounter has no column absent"),
    ({"colums": {}}, "is no map of a migration"),
    ([], "holds no JSON object"),
])  # fmt: skip
def test_a_map_that_does_not_fit_is_refused(old, new, tmp_path, mapped, why):
    with pytest.raises(LedgerError, match=why):
        run(old, new, tmp_path, mapped)


def test_dropped_columns_are_not_compared(old, new, tmp_path):
    fill(old, new, 3)
    new.run("UPDATE encounter SET note = 'other'")
    made = run(old, new, tmp_path, {"columns": {**COLUMNS, "note": None}, "added": ["extra", "note"]})
    assert made.equal


def test_a_missing_table_is_told(old, new, tmp_path):
    with pytest.raises(SourceError, match="no table 'gone'"):
        run(old, new, tmp_path, MAP, new_table="gone")
