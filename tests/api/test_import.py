"""`careseal import` from the command line: real bundles sealed and audited, what is printed, and what never is."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import forked
import pytest
from world import World

ROOT = Path(__file__).resolve().parents[2]
TYPES = {
    "AllergyIntolerance": 28, "CarePlan": 69, "Condition": 640, "DiagnosticReport": 1757, "DocumentReference": 780, "Encounter": 780,
    "Immunization": 89, "Location": 85, "Medication": 344, "MedicationRequest": 1045, "Observation": 8375, "Organization": 84,
    "Patient": 26, "Practitioner": 84, "PractitionerRole": 84, "Procedure": 1987, "Provenance": 26,
}  # fmt: skip
PATIENT = '{"resourceType": "Patient", "id": "zhang-san", "name": [{"text": "张三"}]}'
OTHER = '{"resourceType": "Patient", "id": "zhang-san", "name": [{"text": "李四"}]}'


@pytest.fixture
def clinic(place):
    """A home, and an empty database for a FHIR store."""
    folder = place / "world"
    folder.mkdir()
    world = World(folder).init()
    with closing(sqlite3.connect(world.database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return world


def bundles(folder: Path) -> list[Path]:
    """All bundles of the committed archive."""
    with tarfile.open(ROOT / "samples" / "synthea" / "synthea-42.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return sorted(path for path in folder.rglob("*") if path.name.endswith((".json", ".json.gz")))


def behind(world: World, statement: str, *values: object) -> None:
    """What an administrator does with the triggers out of the way, which are then as before."""
    with closing(sqlite3.connect(world.database, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(statement, values)
        for _, text in triggers:
            connection.execute(text)


@pytest.mark.slow
def test_real_bundles_are_imported_sealed_and_found_altered_by_element(clinic):
    files = bundles(clinic.folder / "bundles")
    assert len(files) == 28
    made = clinic.ok("import", *files, "--into", clinic.url, "--json").json
    assert (made["accepted"], made["rejected"], made["dangling"], made["types"]) == (16283, 0, 0, TYPES)
    assert made["loaded"] and made["created"] and made["attached"] and made["problems"] == []
    assert clinic.ok("seal", "--json").json["added"] == 16283
    assert clinic.ok("verify", "--json").json["rows"] == 16283
    again = clinic.ok("import", *files, "--into", clinic.url, "--json").json
    assert (again["accepted"], again["duplicates"], again["attached"]) == (0, 16283, False)
    query = "SELECT id, body FROM fhir_resource WHERE resource_type = 'Observation' AND body LIKE '%\"valueQuantity\"%' ORDER BY id LIMIT 1"
    ((own, body),) = clinic.rows(query)
    number = body.partition('"value": ')[2].partition(",")[0]
    changed = body.replace(f'"value": {number},', f'"value": {number}0,', 1).replace('"status": "final"', '"status": "amended"')
    behind(clinic, "UPDATE fhir_resource SET body = ? WHERE resource_type = 'Observation' AND id = ?", changed, own)
    report = clinic.run("verify", "--values", "--json")
    (finding,) = report.json["findings"]
    assert (report.code, finding["kind"], finding["key"]) == (1, "altered", {"resource_type": "Observation", "id": own})
    assert finding["columns"] == ["body.status", "body.valueQuantity"]
    assert (finding["before"]["body.status"], finding["after"]["body.status"]) == ('"final"', '"amended"')
    assert f'"value": {number}0,' in finding["after"]["body.valueQuantity"]


def test_elements_are_named_without_values_and_white_space_is_the_body(clinic):
    path = clinic.folder / "p.json"
    path.write_text('{"resourceType": "Patient", "id": "a", "active": true}')
    clinic.ok("import", path, "--into", clinic.url)
    clinic.ok("seal")
    behind(clinic, "UPDATE fhir_resource SET body = replace(body, '\"active\": true', '\"gender\": \"male\"')")
    (finding,) = clinic.run("verify", "--json").json["findings"]
    assert finding["columns"] == ["body.active", "body.gender"] and "before" not in finding
    behind(clinic, "UPDATE fhir_resource SET body = '{ ' || substr(?, 2)", path.read_text())
    assert clinic.run("verify", "--json").json["findings"][0]["columns"] == ["body"]
    behind(clinic, "UPDATE fhir_resource SET body = 'no JSON', patient = 'b'")
    assert clinic.run("verify", "--json").json["findings"][0]["columns"] == ["patient", "body"]


def test_a_marked_change_names_its_elements_too(clinic):
    path = clinic.folder / "p.json"
    path.write_text('{"resourceType": "Patient", "id": "a", "active": true}')
    clinic.ok("import", path, "--into", clinic.url)
    clinic.ok("seal")
    behind(clinic, "UPDATE fhir_resource SET body = replace(body, 'true', 'false')")
    with closing(sqlite3.connect(clinic.database)) as connection, connection:
        connection.execute("UPDATE fhir_resource SET body = replace(body, 'false', 'true ')")
    clinic.ok("seal")
    (finding,) = clinic.run("verify", "--json").json["findings"]
    assert (finding["kind"], finding["columns"]) == ("altered", ["body"])


def test_columns_of_json_can_be_declared_for_any_table(clinic):
    with closing(sqlite3.connect(clinic.database)) as connection:
        connection.execute("CREATE TABLE form (id INTEGER PRIMARY KEY, answers TEXT)")
        connection.execute("INSERT INTO form VALUES (1, '{\"q1\": 1.10, \"q2\": \"不\"}')")
        connection.commit()
    clinic.ok("attach", clinic.url, "--table", "form", "--copies", "--json-column", "answers")
    clinic.ok("seal")
    behind(clinic, "UPDATE form SET answers = replace(answers, '1.10', '1.1')")
    report = clinic.run("verify", "--values")
    assert report.code == 1 and "answers.q1" in report.out and "before: 1.10  after: 1.1\n" in report.out


def test_a_json_column_that_there_is_not_is_refused(clinic):
    with closing(sqlite3.connect(clinic.database)) as connection:
        connection.execute("CREATE TABLE form (id INTEGER PRIMARY KEY)")
    line = clinic.refused("attach", clinic.url, "--table", "form", "--json-column", "answers")
    assert line == "--json-column answers: table form has no such column"


def write(world: World, name: str, text: str) -> Path:
    path = world.folder / name
    path.write_text(text)
    return path


def test_nothing_is_loaded_where_something_is_rejected_and_the_report_names_nobody(clinic):
    good, bad = write(clinic, "李四.ndjson", f"{PATIENT}\n\n{OTHER}\n"), write(clinic, "张三.ndjson", '{"resourceType": "Patient"}\n')
    target = clinic.folder / "report.json"
    told = clinic.run("import", good, bad, "--into", clinic.url, "--report", target)
    assert told.code == 1 and told.err == ""
    assert "conflict: file 1, line 3: Patient a resource of this type and id is there with another content" in told.out
    assert "rejected: file 2, line 1: Patient its id is missing or is none" in told.out
    assert "1 accepted, 0 duplicates, 1 conflicts, 1 rejected" in told.out
    assert "nothing was loaded: mend the files, or load the rest with --accept-partial" in told.out
    written = target.read_text()
    for secret in ("张三", "李四", "zhang", json.dumps("张三")[1:-1]):
        assert secret not in told.out + written
    document = json.loads(written)
    assert document["problems"][0] == {
        "kind": "conflict", "file": 1, "line": 3, "entry": None, "type": "Patient",
        "reason": "a resource of this type and id is there with another content",
    }  # fmt: skip
    assert clinic.ok("status", "--json").json["tables"] == []
    named = clinic.run("import", good, bad, "--into", clinic.url, "--values", "--json").json["problems"]
    assert [(p["path"], p["name"]) for p in named] == [(str(good), "Patient/zhang-san"), (str(bad), None)]


def test_partial_import_and_dry_run(clinic):
    path = write(clinic, "x.ndjson", f"{PATIENT}\n[]\n")
    dry = clinic.run("import", path, "--into", clinic.url, "--accept-partial", "--dry-run")
    assert dry.code == 1 and "dry run: nothing was loaded" in dry.out
    done = clinic.run("import", path, "--into", clinic.url, "--accept-partial")
    assert done.code == 1 and "loaded into table fhir_resource" in done.out
    assert "table fhir_resource is attached: seal it with careseal seal" in done.out
    assert clinic.count("SELECT count(*) FROM fhir_resource") == 1
    assert clinic.ok("import", write(clinic, "y.json", PATIENT), "--into", clinic.url, "--dry-run", "--json").json["duplicates"] == 1


def test_rows_are_imported_into_an_attached_table_as_captured_changes(sealed):
    path = sealed.folder / "x.csv"
    path.write_text("id,patient,note\n100,p8,\"两\n行\"\n101,p8,\n")
    columns = write(sealed, "map.json", '{"columns": {"id": "visit_id", "patient": "patient", "note": "note"}}')
    done = sealed.ok("import", path, "--into", sealed.url, "--table", "visit", "--map", columns, "--json").json
    assert (done["accepted"], done["attached"], done["types"]) == (2, False, {})
    assert sealed.queued() == 2
    assert sealed.ok("seal", "--json").json["added"] == 2
    assert sealed.ok("verify", "--json").json["ok"]


def test_without_home_resources_are_loaded_and_nothing_is_attached(clinic):
    path = write(clinic, "x.json", PATIENT)
    done = forked.here("import", path, "--into", clinic.url, "--json", environment={})
    assert done.code == 0 and done.json["loaded"] and not done.json["attached"]


@pytest.mark.parametrize(("name", "text", "options", "line"), [
    ("x.csv", "a\n1\n", (), "resources come as .json, .ndjson or .jsonl"),
    ("x.csv", "a\n1\n", ("--map", "map.json"), "name the --table that the rows go to"),
    ("x.csv", "a\n1\n", ("--map", "map.json", "--table", "gone"), "the database has no table 'gone'"),
    ("x.csv", "a\n1\n", ("--map", "absent.json", "--table", "gone"), "cannot read absent.json: No such file or directory"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_line(clinic, monkeypatch, name, text, options, line):
    monkeypatch.chdir(clinic.folder)
    write(clinic, "map.json", '{"columns": {"a": "a"}}')
    assert line in clinic.refused("import", write(clinic, name, text), "--into", clinic.url, *options)


def test_a_report_that_cannot_be_written_is_told(clinic):
    path = write(clinic, "x.json", PATIENT)
    line = clinic.refused("import", path, "--into", clinic.url, "--report", clinic.folder / "no" / "r.json")
    assert "cannot write the report" in line


def test_the_report_is_told_in_chinese(clinic):
    dangling = '{"resourceType": "Patient", "id": "a", "managingOrganization": {"reference": "Organization/x"}}'
    path = write(clinic, "x.ndjson", dangling + "\n{}\n")
    told = clinic.run("import", path, "--into", clinic.url, "--lang", "zh")
    assert "拒收：文件 1，第 2 行" in told.out and "悬空引用：文件 1，第 1 行" in told.out
    assert "接收 1，重复 0，冲突 0，拒收 1" in told.out and "未写入任何内容" in told.out
