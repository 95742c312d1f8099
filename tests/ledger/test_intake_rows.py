"""Plain rows, of CSV and NDJSON, into a table that is there: the database checks them, and the report says where each stands."""

from __future__ import annotations

import gzip
import json

import pytest
from audit_world import ENGINES, KEYRING, SETTINGS, PostgresHospital, SqliteHospital
from intake_world import Place, told

from ledger.attach import attach
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.intake import rows
from ledger.intake.mapping import RowMap, read_map
from ledger.tables import Options

SCHEMA = {
    "sqlite": ("CREATE TABLE ward (code TEXT PRIMARY KEY)",
               "CREATE TABLE lab (no INTEGER PRIMARY KEY, ward TEXT REFERENCES ward, value DECIMAL(9,2), ok BOOLEAN,"
               " note TEXT NOT NULL UNIQUE, taken DATE, doc TEXT, twice INTEGER GENERATED ALWAYS AS (no * 2) STORED)"),
    "postgresql": ("CREATE TABLE ward (code text PRIMARY KEY)",
                   "CREATE TABLE lab (no integer PRIMARY KEY, ward varchar(3) REFERENCES ward, value numeric(9,2), ok boolean,"
                   " note text NOT NULL UNIQUE, taken date, doc jsonb, twice integer GENERATED ALWAYS AS (no * 2) STORED)"),
}  # fmt: skip
MAP = RowMap({name: name for name in ("no", "ward", "value", "ok", "note", "taken")})


@pytest.fixture(params=ENGINES)
def place(request, tmp_path):
    made = SqliteHospital(tmp_path / "x.db") if request.param == "sqlite" else PostgresHospital(request.getfixturevalue("postgres"))
    for statement in SCHEMA[made.engine]:
        made.run(statement)
    made.run("INSERT INTO ward VALUES ('W1')")
    yield Place(made, tmp_path)
    made.close()


def load(place, text, mapped=MAP, suffix=".csv", **options):
    return place.load(place.file(f"x{suffix}", text), table="lab", mapped=mapped, **options)


HEADER = "no,ward,value,ok,note,taken\n"


def test_rows_go_where_the_map_says(place):
    mapped = RowMap({"编号": "no", "病区": "ward", "结果": "value", "备注": "note", "姓名": None})
    text = '\ufeff编号,病区,结果,备注,姓名\r\n1,W1,1.10,"多行\n""文本"", 逗号",张三\r\n\r\n2,,,第二,李四\r\n'
    report = load(place, text, mapped)
    assert (report.accepted, report.rejected, report.loaded) == (2, 0, True)
    there = place.hospital.rows("SELECT no, ward, note, twice FROM lab ORDER BY no")
    assert there == [(1, "W1", '多行\n"文本", 逗号', 2), (2, None, "第二", 4)]
    value = place.hospital.rows("SELECT CAST(value AS TEXT) FROM lab WHERE no=1")
    assert value == [("1.1" if place.hospital.engine == "sqlite" else "1.10",)]


def test_packed_tables_with_other_delimiters_are_read(place):
    mapped = RowMap({"no": "no", "note": "note"}, delimiter=";")
    assert place.load(place.file("x.csv.gz", gzip.compress(b"no;note\n1;a,b\n")), table="lab", mapped=mapped).accepted == 1
    assert load(place, "no\tnote\n2\tc\n", RowMap({"no": "no", "note": "note"}), ".tsv").accepted == 1
    assert place.hospital.rows("SELECT no, note FROM lab ORDER BY no") == [(1, "a,b"), (2, "c")]


def test_an_empty_field_is_null_or_text_as_the_map_says(place):
    load(place, "no,note,ward\n1,x,\n", RowMap({"no": "no", "note": "note", "ward": "ward"}))
    load(place, "no,note\n2,\n", RowMap({"no": "no", "note": "note"}, empty_is_null=False))
    assert place.hospital.rows("SELECT no, ward, note FROM lab ORDER BY no") == [(1, None, "x"), (2, None, "")]


def test_rows_of_json_keep_their_digits_and_documents(place):
    mapped = RowMap({"no": "no", "note": "note", "ok": "ok", "value": "value", "doc": "doc", "extra": None})
    first = '{"no": 1, "note": "1.10", "ok": true, "value": 2.50, "doc": {"a": [1.10]}, "extra": 1}'
    text = first + '\n\n{"no": 2, "note": "钠", "ok": false}\n'
    assert load(place, text, mapped, ".jsonl").accepted == 2
    there = place.hospital.rows("SELECT no, note, ok, CAST(doc AS TEXT) FROM lab ORDER BY no")
    assert [row[1] for row in there] == ["1.10", "钠"] and [bool(row[2]) for row in there] == [True, False]
    assert (json.loads(there[0][3]), there[1][3]) == ({"a": [1.1]}, None) and "1.10" in there[0][3]


def test_the_same_rows_again_are_duplicates_and_others_conflicts(place):
    text = HEADER + "1,W1,1.10,1,a,2026-01-02\n2,,,,b,\n"
    assert load(place, text).accepted == 2
    there = place.hospital.rows("SELECT * FROM lab ORDER BY no")
    again = load(place, text + "2,,,,b,\n")
    assert (again.accepted, again.duplicates, again.clean) == (0, 3, True)
    for changed in ("1,W1,1.11,1,a,2026-01-02", "1,W1,1.10,0,a,2026-01-02", "2,W1,,,b,", "1,,1.10,1,a,2026-01-02"):
        report = load(place, f"{HEADER}{changed}\n3,,,,c,\n")
        assert (report.conflicts, report.accepted, report.loaded) == (1, 1, False)
        assert told(report) == [("conflict", 2, None, None, "a row of this key is there with other values")]
    assert place.hospital.rows("SELECT * FROM lab ORDER BY no") == there


BAD = [  # a line, and what the database has against it: on SQLite, on PostgreSQL
    ("x,W1,1,1,张三,2026-01-02", "column no: the value is no INTEGER", "column no: the value is no integer"),
    ("1.5,W1,1,1,张三,2026-01-02", "column no: the value is no INTEGER", "column no: the value is no integer"),
    ("1,W1,a lot,1,张三,2026-01-02", "column value: the value is no DECIMAL", "column value: the value is no numeric(9,2)"),
    ("1,W9,1,1,张三,2026-01-02", "FOREIGN KEY constraint failed", "a row that it refers to is not there"),
    ("1,W1,1,1,,2026-01-02", "NOT NULL constraint failed: lab.note", "a column that must have a value has none (note)"),
    ("1,W1,1,1,taken,2026-01-02", "UNIQUE constraint failed: lab.note", "another row has a value that must be unique (lab_note_key)"),
    (",W1,1,1,张三,2026-01-02", "the row has no key", "the row has no key"),
    ("1,W1,1,1,张三", "the row has 5 fields and the header 6", "the row has 5 fields and the header 6"),
    ("1,W1,1,maybe,张三,2026-01-02", None, "column ok: the value is no boolean"),
    ("1,W1,1,1,张三,soon", None, "column taken: the value is no date"),
]


@pytest.mark.parametrize(("line", "lite", "pg"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_what_the_database_refuses_is_rejected_with_its_line(place, line, lite, pg):
    reason = lite if place.hospital.engine == "sqlite" else pg
    text = HEADER + '7,W1,1,1,"a\nb\nc",2026-01-02\n8,W1,,,taken,\n' + line + "\n9,,,,last,\n"
    report = load(place, text)
    if reason is None:
        assert report.clean  # SQLite has neither booleans nor dates to hold it against
        return
    assert (report.accepted, report.rejected, report.loaded) == (3, 1, False)
    ((problem, at, _, _, why),) = told(report)
    assert (problem, at) == ("rejected", 6) and reason in why and "张" not in why
    assert place.hospital.rows("SELECT count(*) FROM lab") == [(0,)]
    partial = load(place, text, partial=True)
    assert (partial.accepted, partial.rejected, partial.loaded) == (3, 1, True)
    assert place.hospital.rows("SELECT no FROM lab ORDER BY no") == [(7,), (8,), (9,)]


@pytest.mark.parametrize(("text", "line", "reason"), [
    ("", None, "the file is empty: its first line names the columns"),
    ("no,note,no\n", None, "the header names a column twice"),
    ("no,note,Zhang\n", None, "the map does not name column 3 of the file"),
    ("no\n1\n", None, "the header lacks the column note that the map names"),
    ('no,note\n1,a\n2,"b\n3,c\n', 3, "quotes or line ends are wrong here: the rest of the file was not read"),
    ('no,note\n1,"a"b\n', 2, "quotes or line ends are wrong here: the rest of the file was not read"),
    (b"no,note\n1,\xff\n", 2, "the line is not UTF-8"),
])  # fmt: skip
def test_files_that_are_no_table_are_rejected(place, text, line, reason):
    report = load(place, text, RowMap({"no": "no", "note": "note"}))
    last = told(report)[-1]
    assert last[:2] == ("rejected", line) and reason in last[4]
    assert not report.loaded and "Zhang" not in last[4]


def test_a_nul_is_kept_where_the_database_can(place):
    report = load(place, b"no,note\n1,a\x00b\n", RowMap({"no": "no", "note": "note"}))
    if place.hospital.engine == "sqlite":
        assert place.hospital.rows("SELECT hex(note) FROM lab") == [("610062",)]
    else:
        assert told(report) == [("rejected", 2, None, None, "column note: the value is no text")]


@pytest.mark.parametrize(("line", "reason"), [
    ('{"no": 1, "note": "a", "name": "张三"}', "the row has a member that the map does not name"),
    ('{"no": 1, "note": "\\ud800"}', "a text holds half of a surrogate pair"),
    ('{"no": 1, "no": 2}', "a name occurs twice in one JSON object"),
    ("[1]", "this is not JSON, or it breaks off"),
    (b"\xff", "the line is not UTF-8"),
    ('{"no": "x", "note": "a"}', "column no: the value is no"),
    ('{"note": "a"}', "the row has no key"),
])  # fmt: skip
def test_lines_of_json_that_are_no_rows_are_rejected(place, line, reason):
    data = b'{"no": 5, "note": "good"}\n' + (line if isinstance(line, bytes) else line.encode()) + b"\n"
    report = load(place, data, RowMap({"no": "no", "note": "note"}), ".ndjson")
    ((_, at, _, _, why),) = told(report)
    assert at == 2 and why.startswith(reason) and report.accepted == 1 and not report.loaded


def test_a_field_over_the_bound_ends_the_file(place, monkeypatch):
    monkeypatch.setattr(rows, "MAX_LINE", 1000)
    report = load(place, "no,note\n1," + "x" * 2000 + "\n", RowMap({"no": "no", "note": "note"}))
    assert told(report) == [("rejected", 2, None, None, "quotes or line ends are wrong here: the rest of the file was not read")]
    assert not report.loaded


@pytest.mark.parametrize(("columns", "why"), [
    ({"no": "no", "note": "absent"}, "the map names column absent, which table lab does not have"),
    ({"no": "no", "note": "no"}, "the map must name one column of the table or more, each once"),
    ({"no": None}, "the map must name one column of the table or more, each once"),
    ({"note": "note"}, "the map must give the key of table lab"),
    ({"no": "no", "note": "twice"}, "the map names column twice, which table lab does not have"),
])  # fmt: skip
def test_a_map_that_does_not_fit_the_table_is_refused(place, columns, why):
    with pytest.raises(LedgerError, match=why):
        load(place, "no,note\n1,a\n", RowMap(columns))


def test_a_table_without_primary_key_is_known_by_the_key_it_is_attached_with(tmp_path):
    hospital = SqliteHospital(tmp_path / "x.db")
    hospital.run("CREATE TABLE plain (a TEXT NOT NULL, b TEXT)")
    place, mapped = Place(hospital, tmp_path), RowMap({"a": "a", "b": "b"})
    text = place.file("x.csv", "a,b\n1,x\n")
    with pytest.raises(LedgerError, match="the map must give the key of table plain"):
        place.load(text, table="plain", mapped=mapped)
    (tmp_path / "home").mkdir()
    Home.create(tmp_path / "home", SETTINGS, KEYRING, b"x")
    with Home.open(tmp_path / "home", lambda: b"x") as home:
        attach(home, hospital.url, ["plain"], ["a"], Options(), 1)
        assert place.load(text, table="plain", mapped=mapped, home=home).accepted == 1
        assert place.load(text, table="plain", mapped=mapped, home=home).duplicates == 1
    hospital.close()


def test_a_view_is_refused(place):
    place.hospital.run("CREATE VIEW seen AS SELECT * FROM lab")
    with pytest.raises(LedgerError, match="is a view"):
        place.load(place.file("x.csv", "no\n1\n"), table="seen", mapped=MAP)


@pytest.mark.parametrize("text", [
    "[]", "{}", '{"columns": []}', '{"columns": {"a": 1}}', '{"columns": {"a": "b"}, "empty": "no"}', '{"columns": {}, "delimiter": "x"}',
    '{"columns": {"a": "b"}, "more": 1}', '{"columns": {"a": "b", "a": "c"}}', '{"columns"', b"\xff",
])  # fmt: skip
def test_a_file_that_is_no_map_is_refused(tmp_path, text):
    path = tmp_path / "map.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LedgerError):
        read_map(path)


def test_a_map_is_read(tmp_path):
    path = tmp_path / "map.json"
    path.write_text('{"columns": {"a": "b", "c": null}, "empty": "text", "delimiter": "\\t"}')
    assert read_map(path) == RowMap({"a": "b", "c": None}, False, "\t")
    with pytest.raises(LedgerError, match="cannot read"):
        read_map(tmp_path / "absent.json")
