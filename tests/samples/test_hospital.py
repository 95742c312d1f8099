"""A sample hospital is a whole relational database, the same each time, and never harms a file."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
import zlib
from contextlib import closing, contextmanager
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from hashlib import sha256

import pytest

from samples.hospital import SampleError, build
from samples.hospital import rows_of as rows_anew
from samples.schema import TABLES, postgres_ddl, sqlite_ddl
from samples.site import END

rows_of = cache(rows_anew)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "his.db"
    build(path, 1)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield connection


def one(connection, query):
    return connection.execute(query).fetchone()[0]


def names(directory):
    return [path.name for path in directory.iterdir()]


def test_row_counts_are_reported_and_within_bounds(tmp_path):
    heard = []
    counts = build(tmp_path / "his.db", 2, progress=lambda *news: heard.append(news))
    assert tuple(counts) == TABLES
    assert 5_000 <= sum(counts.values()) <= 20_000
    assert all(counts.values())
    assert [table for table, _, _ in heard] == list(TABLES)
    assert heard[-1][1:] == (sum(counts.values()), sum(counts.values()))
    with closing(sqlite3.connect(tmp_path / "his.db")) as connection:
        assert {t: one(connection, f"SELECT count(*) FROM {t}") for t in TABLES} == counts
    assert names(tmp_path) == ["his.db"]


def test_every_reference_holds(hospital):
    assert hospital.execute("PRAGMA foreign_key_check").fetchall() == []
    assert one(hospital, "PRAGMA integrity_check") == "ok"


def test_same_site_gives_the_same_bytes_in_another_process(tmp_path):
    code = "import sys; from samples.hospital import build; build(sys.argv[1], 5)"
    digests = set()
    for seed in ("0", "1"):
        path = tmp_path / f"{seed}.db"
        world = os.environ | {"PYTHONHASHSEED": seed, "TZ": f"UTC{seed}"}
        subprocess.run([sys.executable, "-c", code, path], check=True, env=world)
        digests.add(sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_sites_are_different_hospitals():
    first, second = rows_of(1), rows_of(2)
    by_nation = [{row["national_id"]: row for row in site["patient"]} for site in (first, second)]
    shared = by_nation[0].keys() & by_nation[1].keys()
    assert len(shared) >= 9
    for national_id in shared:
        here, there = by_nation[0][national_id], by_nation[1][national_id]
        assert here["patient_id"] != there["patient_id"]
        assert (here["name_zh"], here["birth_date"], here["sex"]) == (there["name_zh"], there["birth_date"], there["sex"])
    assert not {row["visit_id"] for row in first["visit"]} & {row["visit_id"] for row in second["visit"]}


def test_identity_numbers_can_be_nobodys():
    numbers = [row["national_id"] for site in (1, 2, 3) for row in rows_of(site)["patient"]]
    assert all(len(number) == 18 and number.startswith("999") and number.endswith("F") for number in numbers)
    assert len(set(numbers)) == 26


def test_many_types_are_present(hospital):
    types = dict(hospital.execute("SELECT typeof(value_num), count(*) FROM lab_result GROUP BY 1").fetchall())
    assert types["real"] > 1_000
    assert types["null"] > 100
    assert one(hospital, "SELECT count(*) FROM charge WHERE amount <> round(amount)") > 100
    assert one(hospital, "SELECT count(DISTINCT from_age) FROM reference_range WHERE typeof(from_age) = 'real'") >= 1
    assert one(hospital, "SELECT count(*) FROM bed_day WHERE day IS NOT date(day)") == 0
    assert one(hospital, "SELECT count(*) FROM lab_result WHERE datetime(reported_at) IS NULL") == 0
    assert one(hospital, "SELECT count(*) FROM signature WHERE typeof(digest) = 'blob' AND length(digest) = 32") > 10
    assert one(hospital, "SELECT count(*) FROM quality_event WHERE NOT json_valid(details)") == 0
    assert one(hospital, "SELECT count(*) FROM document WHERE structured IS NOT NULL AND NOT json_valid(structured)") == 0
    assert one(hospital, "SELECT count(*) FROM document WHERE structured IS NOT NULL") > 100
    assert one(hospital, "SELECT count(*) FROM document WHERE length(body) > 2000") > 20


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("patient", "phone"),
        ("visit", "reason"),
        ("visit", "ended_at"),
        ("appointment", "visit_id"),
        ("diagnosis", "abated_on"),
        ("lab_result", "abnormal_flag"),
        ("drug_order", "dosage"),
        ("dispensing", "checked_by"),
        ("document", "replaces"),
        ("quality_event", "raised_by"),
    ],
)
def test_column_is_sometimes_null(hospital, table, column):
    assert 0 < one(hospital, f"SELECT sum({column} IS NULL) FROM {table}") < one(hospital, f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("site", [1, 2, 3])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("visit", "closed_at"),
        ("document", "archived_at"),
        ("lab_result", "verified_at"),
        ("charge", "paid_at"),
        ("quality_event", "closed_at"),
    ],
)
def test_table_has_open_and_closed_rows(site, table, column):
    rows = rows_of(site)[table]
    if table == "lab_result":
        rows = [row for row in rows if row["category"] == "laboratory"]
    assert {row[column] is None for row in rows} == {True, False}


def test_texts_are_chinese(hospital):
    for query in ("SELECT name_zh FROM patient", "SELECT body FROM document", "SELECT item_name_zh FROM lab_result LIMIT 50"):
        assert all(any("一" <= sign <= "鿿" for sign in text) for (text,) in hospital.execute(query))


def test_document_contains_its_visit(hospital):
    body, name, patient_id = hospital.execute(
        "SELECT body, name_zh, patient_id FROM document JOIN patient USING (patient_id) WHERE doc_type = 'admission_record'"
    ).fetchone()
    assert name in body
    assert patient_id in body
    assert "【诊断】" in body
    assert "—— English note ——" in body


def test_a_later_version_replaces_a_superseded_one(hospital):
    pairs = hospital.execute(
        "SELECT a.status, a.version_no, b.version_no, a.visit_id = b.visit_id, a.body <> b.body, a.archived_at <= b.archived_at"
        " FROM document a JOIN document b ON b.replaces = a.document_id"
    ).fetchall()
    assert set(pairs) == {("superseded", 1, 2, 1, 1, 1)}


def test_charges_add_up_exactly():
    for row in rows_of(1)["charge"]:
        assert row["amount"] == (row["quantity"] * row["unit_price"]).quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert 0 <= row["insured_amount"] <= row["amount"]


def test_flags_agree_with_limits(hospital):
    wrong = (
        "abnormal_flag IN ('H', 'HH') AND value_num <= ref_high OR abnormal_flag IN ('L', 'LL') AND value_num >= ref_low"
        " OR abnormal_flag IS NULL AND (value_num > ref_high OR value_num < ref_low)"
    )
    assert one(hospital, f"SELECT count(*) FROM lab_result WHERE {wrong}") == 0
    assert one(hospital, "SELECT count(*) FROM lab_result WHERE abnormal_flag IS NOT NULL") > 100


def test_nothing_happens_after_the_end_and_order_is_kept():
    rows = rows_of(3)
    for table, table_rows in rows.items():
        for row in table_rows:
            late = {c: v for c, v in row.items() if c.endswith("_at") and v is not None and v > END}
            assert not late, (table, late)
    assert all(row["collected_at"] <= row["reported_at"] for row in rows["lab_result"])
    assert all(row["reported_at"] <= row["verified_at"] for row in rows["lab_result"] if row["verified_at"])
    assert all(row["booked_at"] < row["scheduled_at"] for row in rows["appointment"])
    assert all(row["created_at"] <= row["signed_at"] for row in rows["document"] if row["signed_at"])


def test_signatures_are_pictures(hospital):
    digest, image = hospital.execute("SELECT digest, image FROM signature").fetchone()
    assert sha256(image).digest() == digest
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    length, kind = struct.unpack(">I4s", image[8:16])
    assert (length, kind) == (13, b"IHDR")
    assert zlib.crc32(image[12:29]) == int.from_bytes(image[29:33])


def test_an_existing_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "his.db"
    path.write_bytes(b"precious")
    with pytest.raises(SampleError, match="never overwritten"):
        build(path, 1)
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["his.db"]


def test_a_dangling_link_is_not_followed(tmp_path):
    (tmp_path / "his.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SampleError, match="never overwritten"):
        build(tmp_path / "his.db", 1)


def test_a_file_that_appears_meanwhile_is_left_as_it_is(tmp_path):
    path = tmp_path / "his.db"
    with pytest.raises(SampleError, match="appeared meanwhile"):
        build(path, 1, progress=lambda *_: path.write_bytes(b"precious"))
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["his.db"]


def test_a_directory_that_is_missing_is_named(tmp_path):
    with pytest.raises(SampleError, match=r"Cannot write in .*No such file") as caught:
        build(tmp_path / "no" / "his.db", 1)
    assert "\n" not in str(caught.value)


@contextmanager
def without_root():
    """Permissions bind everyone but root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_an_unwritable_directory_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    with without_root(), pytest.raises(SampleError, match="Cannot write in"):
        build(tmp_path / "his.db", 1)
    assert names(tmp_path) == []


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SampleError, match="Cannot write in"):
        build(tmp_path / "file" / "his.db", 1)


def test_a_failed_build_leaves_nothing(tmp_path):
    def interrupt(table, done, total):
        if table == "lab_result":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "his.db", 1, progress=interrupt)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path):
    code = (
        "import sys, resource; from samples.hospital import build, SampleError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try: build(sys.argv[1], 1)\n"
        "except SampleError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "his.db"], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert names(tmp_path) == []


def test_a_connection_gets_the_tables_once():
    with closing(sqlite3.connect(":memory:")) as connection:
        counts = build(connection, 1)
        assert one(connection, "SELECT count(*) FROM visit") == counts["visit"]
        with pytest.raises(SampleError, match="already exists"):
            build(connection, 1)
        assert one(connection, "SELECT count(*) FROM visit") == counts["visit"]


@pytest.mark.parametrize("site", [0, -3])
def test_a_site_is_a_positive_number(tmp_path, site):
    with pytest.raises(SampleError, match="positive number"):
        build(tmp_path / "his.db", site)
    assert names(tmp_path) == []


def test_any_positive_number_is_a_site():
    assert 5_000 <= sum(map(len, rows_of(10**30).values())) <= 20_000


def test_both_engines_have_the_same_tables_and_columns():
    words = [[line.split()[0] for line in ddl.splitlines() if line.startswith("    ")] for ddl in (sqlite_ddl(), postgres_ddl())]
    assert words[0] == words[1]
    assert "jsonb" not in sqlite_ddl()


def test_json_is_readable_as_text(hospital):
    text = one(hospital, "SELECT details FROM quality_event LIMIT 1")
    assert isinstance(json.loads(text), dict)


def test_nobody_works_before_being_hired_or_after_leaving():
    rows = rows_of(2)
    staff = {row["practitioner_id"]: row for row in rows["practitioner"]}
    deeds = [(row["attending_id"], row["started_at"]) for row in rows["visit"]]
    deeds += [(row["reported_by"], row["reported_at"]) for row in rows["lab_result"]]
    deeds += [(row["author_id"], row["signed_at"]) for row in rows["document"] if row["signed_at"]]
    deeds += [(row["dispensed_by"], row["dispensed_at"]) for row in rows["dispensing"]]
    for who, at in deeds:
        assert staff[who]["hired_on"] <= at.date() <= (staff[who]["left_on"] or END.date())


def test_bills_and_drugs_follow_from_the_visit():
    rows = rows_of(2)
    orders = {row["order_no"]: row for row in rows["drug_order"]}
    assert all(row["dispensed_at"] > orders[row["order_no"]]["ordered_at"] for row in rows["dispensing"])
    procedures = sorted((row["visit_id"], row["code"]) for row in rows["procedure_record"])
    charged = sorted((row["visit_id"], row["item_code"]) for row in rows["charge"] if row["kind"] == "procedure")
    assert charged == procedures
    assert {row["visit_id"] for row in rows["charge"]} == {row["visit_id"] for row in rows["visit"]}
