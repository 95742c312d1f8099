"""FHIR resources into a store: what is taken in, what is refused, where references lead; on either engine."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time

import pytest
from audit_world import ENGINES, KEYRING, SETTINGS, PostgresHospital, SqliteHospital
from intake_world import OBSERVATION, PATIENT, Place, bundle, told

from ledger.attach import attach
from ledger.errors import LedgerError, SourceError
from ledger.home import Home
from ledger.intake import bundles
from ledger.intake.load import STORE
from ledger.tables import Options, attached_tables


@pytest.fixture(params=ENGINES)
def place(request, tmp_path):
    made = SqliteHospital(tmp_path / "x.db") if request.param == "sqlite" else PostgresHospital(request.getfixturevalue("postgres"))
    yield Place(made, tmp_path)
    made.close()


@pytest.fixture
def lite(tmp_path):
    made = SqliteHospital(tmp_path / "x.db")
    yield Place(made, tmp_path)
    made.close()


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    Home.create(tmp_path / "home", SETTINGS, KEYRING, b"x")
    with Home.open(tmp_path / "home", lambda: b"x") as made:
        yield made


def test_a_bundle_is_stored_as_it_was_written(place):
    exact = '{"resourceType":"Observation", "id":"o2",\n "status":"final","code":{"text":"钠 \\u00e9"},"valueQuantity":{"value":1.10}}'
    text = json.dumps(bundle(PATIENT, OBSERVATION), ensure_ascii=False)[:-2] + ', {"resource": ' + exact + "}]}"
    report = place.load(place.file("b.json", text))
    assert (report.accepted, report.rejected, report.created, report.loaded, report.clean) == (3, 0, True, True, True)
    assert report.types == {"Patient": 1, "Observation": 2}
    rows = place.stored("resource_type, id, version_id, last_updated, patient, body")
    assert rows[1] == ("Observation", "o2", None, None, None, exact)
    assert [row[:5] for row in rows[::2]] == [
        ("Observation", "o1", None, None, "p1"), ("Patient", "p1", "3", "2026-01-02T03:04:05Z", "p1"),
    ]  # fmt: skip


def test_one_resource_and_packed_lines_are_read_too(place):
    assert place.load(place.file("p.json", PATIENT)).accepted == 1
    data = gzip.compress(b"\xef\xbb\xbf" + json.dumps(OBSERVATION).encode() + b"\n\n  \n")
    assert place.load(place.file("o.ndjson.gz", data)).accepted == 1
    assert place.stored() == [("Observation", "o1"), ("Patient", "p1")]


def test_the_same_again_changes_nothing(place):
    first = place.resources(PATIENT, OBSERVATION, PATIENT)
    assert (first.accepted, first.duplicates) == (2, 1)
    rows = place.stored("*")
    again = place.load(place.file("again.json", bundle(PATIENT, OBSERVATION)))
    assert (again.accepted, again.duplicates, again.conflicts, again.created, again.clean) == (0, 2, 0, False, True)
    assert place.stored("*") == rows


def test_other_content_under_one_id_is_a_conflict_and_nothing_is_loaded(place):
    place.resources('{"resourceType":"Observation","id":"o","status":"final","code":{},"valueQuantity":{"value":1.1}}')
    rows = place.stored("*")
    changed = '{"resourceType":"Observation","id":"o","status":"final","code":{},"valueQuantity":{"value":1.10}}'
    report = place.resources(PATIENT, changed)
    assert (report.accepted, report.conflicts, report.loaded, report.clean) == (1, 1, False, False)
    assert told(report) == [("conflict", 2, None, "Observation", "a resource of this type and id is there with another content")]
    assert place.stored("*") == rows


REJECTED = [
    ('{"resourceType": "Patient", "id": "a", "id": "a"}', None, "a name occurs twice in one JSON object"),
    ('{"resourceType": "Patient", "id": "a"', None, "this is not JSON, or it breaks off"),
    ("[]", None, "a resource is a JSON object"),
    ("{}", None, "its resourceType is none of FHIR R4"),
    ('{"resourceType": "张三", "id": "a"}', None, "its resourceType is none of FHIR R4"),
    ('{"resourceType": "HumanName", "id": "a"}', None, "its resourceType is none of FHIR R4"),
    ('{"resourceType": "DomainResource", "id": "a"}', None, "its resourceType is none of FHIR R4"),
    ('{"resourceType": "Patient"}', "Patient", "its id is missing or is none"),
    ('{"resourceType": "Patient", "id": "a b"}', "Patient", "its id is missing or is none"),
    ('{"resourceType": "Patient", "id": 5}', "Patient", "not valid FHIR R4: id (string_type)"),
    ('{"resourceType": "Patient", "id": "' + "a" * 65 + '"}', "Patient", "its id is missing or is none"),
    ('{"resourceType": "Observation", "id": "a", "status": "final"}', "Observation", "not valid FHIR R4: code (missing)"),
    ('{"resourceType": "Patient", "id": "a", "Zhang San": 1}', "Patient", "not valid FHIR R4: resource (extra_forbidden)"),
    ('{"resourceType": "Patient", "id": "a", "birthDate": "soon"}', "Patient", "not valid FHIR R4: birthDate"),
    ('{"resourceType": "Patient", "id": "a", "generalPractitioner": [{"reference": "Dr Li"}]}', "Patient", "a reference is malformed"),
    ('{"resourceType": "Patient", "id": "a", "generalPractitioner": [{"reference": "Doctor/1"}]}', "Patient", "a reference is malformed"),
    ('{"resourceType": "Patient", "id": "a", "generalPractitioner": [{"reference": "#p"}]}', "Patient", "contained resource that is not"),
    ('{"resourceType": "Patient", "id": "a", "multipleBirthInteger": NaN}', None, "NaN is no JSON number"),
    ('{"resourceType": "Patient", "id": "a", "extension": ' + "[" * 80 + "]" * 80 + "}", None, "nested deeper than 64 levels"),
]


@pytest.mark.parametrize(("text", "kind", "reason"), REJECTED, ids=[str(n) for n in range(len(REJECTED))])
def test_a_resource_that_is_not_valid_is_rejected_with_its_line(lite, text, kind, reason):
    report = lite.resources(PATIENT, "", text, OBSERVATION)
    assert (report.accepted, report.rejected, report.loaded) == (2, 1, False)
    ((problem, line, entry, found, why),) = told(report)
    assert (problem, line, entry, found) == ("rejected", 3, None, kind)
    assert why.startswith(reason) or reason in why
    assert "Zhang" not in why and "张" not in why and "Li" not in why and "soon" not in why
    assert not lite.has_store()


def test_lines_that_are_not_utf8_are_rejected_one_by_one(lite):
    data = json.dumps(PATIENT).encode() + b"\n" + json.dumps(OBSERVATION, ensure_ascii=False).replace("Na", "钠").encode("gbk") + b"\n"
    report = lite.load(lite.file("x.ndjson", data))
    assert told(report) == [("rejected", 2, None, None, "the line is not UTF-8")]
    assert lite.load(lite.file("x.ndjson", data), partial=True).loaded
    assert lite.stored() == [("Patient", "p1")]


@pytest.mark.parametrize(("entry", "reason"), [
    ({"request": {"method": "DELETE", "url": "Patient/p1"}}, "the entry deletes or patches a resource: only whole resources are imported"),
    ({"fullUrl": "urn:uuid:x"}, "the entry holds no resource"),
    ([], "the entry is no JSON object"),
    ({"resource": {"resourceType": "Patient", "id": "a", "gender": 5}}, "not valid FHIR R4: gender (string_type)"),
])  # fmt: skip
def test_a_bundle_tells_line_and_entry_of_what_it_rejects(lite, entry, reason):
    made = bundle(PATIENT)
    made["entry"].append(entry)
    text = json.dumps(made, indent=1)
    report = lite.load(lite.file("b.json", text))
    ((problem, line, number, _, why),) = told(report)
    assert (problem, number) == ("rejected", 1) and why == reason
    assert text.splitlines()[line - 1].startswith("  {" if isinstance(entry, dict) else "  []")


@pytest.mark.parametrize(("content", "reason"), [
    ('{"resourceType": "Bundle", "entry": [', "this is not JSON, or it breaks off"),
    ('{"entry": [], "resourceType": "Bundle"} x', "something follows the JSON value"),
    (b"\xff\xfe{", "the file is UTF-16: convert it to UTF-8"),
    (gzip.compress(b'{"resourceType": "Bundle"}', mtime=0)[:-5], "the gzip data is damaged or breaks off: get the file again"),
    (gzip.compress(b"[" * (8 << 20), mtime=0), "the file inflates to more than 100 times its size: unpack it first if you trust it"),
    ("[]", "this is not JSON, or it breaks off"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_keeps_all_others_out(lite, content, reason):
    report = lite.load(lite.file("good.json", bundle(PATIENT)), lite.file("bad.json", content))
    assert (report.accepted, report.rejected, report.loaded) == (1, 1, False)
    assert report.told[0].place.file == 2 and report.told[0].reason == reason
    assert not lite.has_store()


def test_a_bundle_may_say_at_its_end_that_it_is_one(lite):
    text = json.dumps({"entry": bundle(PATIENT)["entry"], "type": "transaction", "resourceType": "Bundle"})
    assert lite.load(lite.file("b.json", text)).accepted == 1


def test_an_entry_over_the_bound_is_rejected(lite, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_LINE", 200)
    report = lite.load(lite.file("b.json", bundle({**PATIENT, "name": [{"text": "x" * 300}]}, OBSERVATION)))
    assert told(report)[0] == ("rejected", 5, 0, None, "the resource is longer than 200 characters")


def test_partial_import_loads_the_rest_and_a_dry_run_nothing(place):
    files = [place.file("x.ndjson", json.dumps(PATIENT) + "\n{}\n")]
    dry = place.load(*files, partial=True, dry_run=True)
    assert (dry.accepted, dry.rejected, dry.loaded, dry.created) == (1, 1, False, False) and not place.has_store()
    done = place.load(*files, partial=True)
    assert (done.accepted, done.rejected, done.loaded, done.clean) == (1, 1, True, False)
    assert place.stored() == [("Patient", "p1")]


def observation(number: int, reference: str) -> dict:
    return {**OBSERVATION, "id": f"o{number}", "subject": {"reference": reference}}


def test_references_are_resolved_in_bundle_import_and_table(place):
    place.resources(PATIENT)
    local, versioned = observation(1, "Patient/p1"), observation(2, "Patient/p1/_history/3")
    by_search, by_url = observation(3, "Patient?identifier=urn:mrn%7C7"), observation(4, "urn:uuid:p2")
    elsewhere, by_full_url = observation(5, "https://other/fhir/Patient/9"), observation(6, "https://mine/fhir/Patient/p2")
    made = bundle(local, versioned, by_search, by_url, elsewhere, by_full_url)
    made["entry"].append({"fullUrl": "urn:uuid:p2", "resource": {"resourceType": "Patient", "id": "second"}})
    made["entry"].append({"fullUrl": "https://mine/fhir/Patient/p2", "resource": {"resourceType": "Patient", "id": "third"}})
    report = place.load(place.file("b.json", made))
    assert (report.accepted, report.dangling, report.external, report.clean) == (8, 0, 1, True)
    patients = dict(place.stored("id, patient"))
    assert patients == {"o1": "p1", "o2": "p1", "o3": "p1", "o4": "second", "o5": None, "o6": "third", "p1": "p1", "second": "second",
                        "third": "third"}  # fmt: skip


def test_references_that_lead_nowhere_are_counted_and_placed(place):
    second = {**PATIENT, "id": "p9"}
    report = place.resources(
        PATIENT, second, observation(1, "Patient/none"), observation(2, "Patient/none"), observation(3, "urn:uuid:none"),
        observation(4, "Patient?identifier=urn:mrn|8"), observation(5, "Patient?identifier=7"), observation(6, "Patient?name=张三"),
    )  # fmt: skip
    nowhere = "the resource is neither in the table nor in the import"
    assert (report.dangling, report.loaded, report.clean) == (6, True, True)
    assert [(line, why) for _, line, _, _, why in told(report)] == [
        (3, nowhere), (5, nowhere), (6, "no resource has this identifier"), (7, "several resources have this identifier"),
        (8, "a conditional reference by something else than one identifier is not followed"),
    ]  # fmt: skip
    assert dict(place.stored("id, patient"))["o5"] is None


def test_the_patient_is_found_where_each_type_names_it(lite):
    actor = {"actor": {"reference": "Patient/p1"}, "status": "accepted"}
    appointment = {"resourceType": "Appointment", "id": "a1", "status": "booked", "participant": [actor]}
    other = {"actor": {"reference": "Patient/p2"}, "status": "accepted"}
    for_two = {"resourceType": "Appointment", "id": "a2", "status": "booked", "participant": [actor, other]}
    allergy = {"resourceType": "AllergyIntolerance", "id": "x1", "patient": {"reference": "Patient/p1"}}
    ward = {"resourceType": "Organization", "id": "w1", "name": "内科"}
    lite.resources(PATIENT, {**PATIENT, "id": "p2"}, appointment, for_two, allergy, ward)
    assert dict(lite.stored("id, patient")) == {"p1": "p1", "p2": "p2", "a1": "p1", "a2": None, "x1": "p1", "w1": None}


def test_a_resource_without_id_takes_the_uuid_of_its_entry(lite):
    uuid = "069b5064-ff05-2225-3995-f32685518bc6"
    entry = {"fullUrl": f"urn:uuid:{uuid}", "resource": {"resourceType": "Patient"}}
    report = lite.load(lite.file("b.json", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}))
    assert (report.accepted, lite.stored("id, patient")) == (1, [(uuid, uuid)])


def test_a_table_that_is_no_store_is_left_alone(place):
    place.hospital.run(f"CREATE TABLE {STORE} (id TEXT PRIMARY KEY)")
    with pytest.raises(LedgerError, match=f"table {STORE} is no FHIR store: name another one with --table"):
        place.resources(PATIENT)
    assert place.hospital.rows(f"SELECT * FROM {STORE}") == []


def test_files_of_other_kinds_are_refused_before_anything_is_read(lite):
    for name in ("x.csv", "x.xml", "x"):
        with pytest.raises(LedgerError, match="resources come as .json, .ndjson or .jsonl"):
            lite.load(lite.file("good.json", PATIENT), lite.file(name, "x"))
    with pytest.raises(LedgerError, match="is no file: check its name"):
        lite.load(lite.folder / "absent.json")
    assert not lite.has_store()


def test_a_store_is_attached_once_and_later_imports_are_captured(place, home):
    first = place.load(place.file("p.json", PATIENT), home=home)
    (table,) = attached_tables(home)
    assert first.attached and (table.name, table.options.subject, table.options.copies) == (STORE, "patient", True)
    assert table.options.json_columns == ("body",) and table.shape.key == ("resource_type", "id")
    again = place.load(place.file("o.json", OBSERVATION), home=home)
    assert (again.accepted, again.attached, len(attached_tables(home))) == (1, False, 1)


def test_a_store_that_was_loaded_and_not_attached_is_attached_by_the_next_run(lite, home):
    lite.load(lite.file("p.json", PATIENT))
    again = lite.load(lite.file("p.json", PATIENT), home=home)
    assert (again.accepted, again.duplicates, again.attached, len(attached_tables(home))) == (0, 1, True, 1)


@pytest.mark.parametrize("how", ["dry_run", "rejected"])
def test_nothing_is_attached_where_nothing_is_loaded(lite, home, how):
    good = lite.file("p.json", PATIENT)
    if how == "dry_run":
        lite.load(good, home=home, dry_run=True)
    else:
        lite.load(good, lite.file("bad.ndjson", "{}\n"), home=home)
    assert attached_tables(home) == [] and not lite.has_store()


def test_a_store_of_another_database_keeps_its_name(lite, home, tmp_path):
    other = SqliteHospital(tmp_path / "other.db")
    other.run(f"CREATE TABLE {STORE} (id TEXT PRIMARY KEY)")
    attach(home, other.url, [STORE], (), Options(), 1)
    with pytest.raises(LedgerError, match="of another database is attached to this home"):
        lite.load(lite.file("p.json", PATIENT), home=home)
    other.close()


def test_a_locked_database_is_told_and_nothing_is_lost(lite):
    blocker = lite.hospital.connect()
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(SourceError, match="locked by another connection"):
            lite.resources(PATIENT)
    finally:
        blocker.close()
    assert lite.resources(PATIENT).accepted == 1


SLOW = """
import sys, time
from pathlib import Path
from ledger.intake.load import import_files
met = 0
def progress(table, rows):
    global met
    met += rows
    if met == {stop}:
        print("there", flush=True)
        time.sleep(60)
import_files(None, sys.argv[1], "fhir_resource", [Path(sys.argv[2])], None, 1, partial=False, dry_run=False, progress=progress)
"""


def test_an_import_that_is_killed_leaves_nothing_and_can_be_run_again(place):
    path = place.file("x.ndjson", "".join(json.dumps({**PATIENT, "id": f"p{n}"}) + "\n" for n in range(50)))
    killed = subprocess.Popen([sys.executable, "-c", SLOW.format(stop=40), place.url, str(path)], stdout=subprocess.PIPE)
    assert killed.stdout is not None and killed.stdout.readline() == b"there\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    deadline = time.monotonic() + 10
    while place.hospital.engine != "sqlite" and time.monotonic() < deadline:
        busy = place.hospital.rows("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        if busy == [(0,)]:
            break
        time.sleep(0.05)
    assert not place.has_store()
    assert place.load(path).accepted == 50
    assert place.load(path).duplicates == 50
