"""Capture by triggers, on both engines: what is queued, in which order, with what the table holds now."""

from __future__ import annotations

import time

import pytest
from clinic import Clinic, attach, changes_of, faults_of, plain_key, plain_row, rows_of, shape_of, told, touched_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import SourceError
from ledger.shape import Shape
from ledger.sources import open_source

TABLE = "CREATE TABLE visit (id int PRIMARY KEY, patient int, status text, note text)"


def values(clinic: Clinic, *row: object) -> tuple[object, ...]:
    """A row as its source shows it."""
    return row if clinic.engine == "sqlite" else tuple(None if value is None else str(value) for value in row)


def test_insert_update_delete(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 7, 'open', 'a'), (2, 7, 'open', NULL)")
    source, shape = attach(clinic, "visit")
    start = time.time()
    clinic.run("INSERT INTO visit VALUES (3, 8, 'open', 'c')", "UPDATE visit SET note = 'b' WHERE id = 1", "DELETE FROM visit WHERE id = 2")
    changes = changes_of(source, shape)
    assert told(shape, changes) == [
        ("I", None, (3,), None, values(clinic, 3, 8, "open", "c")),
        ("U", (1,), (1,), values(clinic, 1, 7, "open", "a"), values(clinic, 1, 7, "open", "b")),
        ("D", (2,), None, values(clinic, 2, 7, "open", None), None),
    ]
    assert [change.changed for change in changes] == [(), ("note",), ()]
    assert [change.author for change in changes] == ([None] * 3 if clinic.engine == "sqlite" else ["doctor"] * 3)
    assert all(start - 2 < change.at < time.time() + 2 for change in changes)
    assert len({change.uid[:8] for change in changes}) == len({change.uid for change in changes}) == 3
    assert touched_of(source, shape) == [(1,), (2,), (3,)]
    assert source.knows_authors == (clinic.engine == "postgresql")


def test_only_the_last_change_of_a_row_carries_the_present_row(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 7, 'open', 'a')")
    source, shape = attach(clinic, "visit")
    clinic.run(
        "UPDATE visit SET note = 'b'", "UPDATE visit SET note = 'c'", "DELETE FROM visit", "INSERT INTO visit VALUES (1, 7, 'new', 'd')",
        "UPDATE visit SET status = 'closed'",
    )  # fmt: skip
    assert told(shape, changes_of(source, shape)) == [
        ("U", (1,), (1,), values(clinic, 1, 7, "open", "a"), None),
        ("U", (1,), (1,), values(clinic, 1, 7, "open", "b"), None),
        ("D", (1,), None, values(clinic, 1, 7, "open", "c"), None),
        ("I", None, (1,), None, None),
        ("U", (1,), (1,), values(clinic, 1, 7, "new", "d"), values(clinic, 1, 7, "closed", "d")),
    ]  # fmt: skip


def test_a_key_that_changes_leaves_its_old_place_and_takes_the_new_one(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 7, 'open', 'a'), (2, 8, 'open', 'b')")
    source, shape = attach(clinic, "visit")
    clinic.run("UPDATE visit SET id = 9 WHERE id = 1", "UPDATE visit SET id = 1 WHERE id = 2", "UPDATE visit SET note = 'z' WHERE id = 9")
    changes = changes_of(source, shape)
    assert told(shape, changes) == [
        ("U", (1,), (9,), values(clinic, 1, 7, "open", "a"), None),
        ("U", (2,), (1,), values(clinic, 2, 8, "open", "b"), values(clinic, 1, 8, "open", "b")),
        ("U", (9,), (9,), values(clinic, 9, 7, "open", "a"), values(clinic, 9, 7, "open", "z")),
    ]
    assert [change.changed for change in changes] == [("id",), ("id",), ("note",)]
    assert touched_of(source, shape) == [(1,), (2,), (9,)]


def test_a_composite_text_key(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE dose (drug text, day text, mg int, PRIMARY KEY (day, drug))")
    clinic.run("INSERT INTO dose VALUES ('阿司匹林', '2024-01-02', 5)")
    source, shape = attach(clinic, "dose")
    clinic.run("INSERT INTO dose VALUES ('x', '', 1)", "UPDATE dose SET drug = 'y' WHERE mg = 5")
    day = "2024-01-02"
    assert told(shape, changes_of(source, shape)) == [
        ("I", None, ("", "x"), None, values(clinic, "", "x", 1)),
        ("U", (day, "阿司匹林"), (day, "y"), values(clinic, day, "阿司匹林", 5), values(clinic, day, "y", 5)),
    ]
    assert touched_of(source, shape) == [("", "x"), ("2024-01-02", "y"), ("2024-01-02", "阿司匹林")]


def test_a_declared_key(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE visit (note text, code text NOT NULL UNIQUE)", "INSERT INTO visit VALUES ('a', 'k1')")
    source, shape = attach(clinic, "visit", ["code"])
    clinic.run("UPDATE visit SET note = 'b'", "UPDATE visit SET code = 'k2'")
    assert told(shape, changes_of(source, shape)) == [
        ("U", ("k1",), ("k1",), ("k1", "a"), None), ("U", ("k1",), ("k2",), ("k1", "b"), ("k2", "b"))
    ]  # fmt: skip


def test_two_rows_of_one_unenforced_key_are_one_change_each(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE visit (code text, note text)")
    source, shape = attach(clinic, "visit", ["code"])
    clinic.run("INSERT INTO visit VALUES ('k', 'a')", "INSERT INTO visit VALUES ('k', 'b')", "INSERT INTO visit VALUES (NULL, 'c')")
    changes = changes_of(source, shape)
    assert [(change.op, change.row is not None) for change in changes][:2] == [("I", False), ("I", True)]
    assert len(changes) == 3
    assert touched_of(source, shape)[0 if clinic.engine == "sqlite" else -1] == (None,)


def test_rows_closed_to_change_are_told_by_their_old_content(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 7, 'open', 'a'), (2, 7, 'final', 'b'), (3, 7, NULL, 'c')")
    source, shape = attach(clinic, "visit")
    clinic.run("UPDATE visit SET status = 'final' WHERE id = 1", "UPDATE visit SET note = 'x' WHERE id > 1")
    clinic.run("DELETE FROM visit WHERE id = 1")
    clinic.run("INSERT INTO visit VALUES (5, 7, 'final', 'd')")
    changes = changes_of(source, shape, final="status = 'final'")
    closed = [(change.op, plain_key(shape, change.old_key), change.closed) for change in changes]
    assert closed == [("U", (1,), False), ("U", (2,), True), ("U", (3,), False), ("D", (1,), True), ("I", None, False)]
    with source.snapshot() as snapshot:
        snapshot.check_options(shape, subject=None, final="visit.status = 'final' and visit.note is not null")
    assert any(change.closed for change in changes_of(source, shape, final="visit.status = 'final' -- or so"))


def test_subjects_of_the_present_and_of_the_old_row(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE person (id int PRIMARY KEY, mrn text)", "INSERT INTO person VALUES (7, 'm7'), (8, 'm8')", TABLE)
    clinic.run("INSERT INTO visit VALUES (1, 7, 'open', 'a'), (2, 7, 'open', 'a'), (3, 99, 'open', 'a')")
    source, shape = attach(clinic, "visit")
    clinic.run("UPDATE visit SET patient = 8 WHERE id = 1", "DELETE FROM visit WHERE id = 2")
    clinic.run("INSERT INTO visit VALUES (4, NULL, 'open', '')")
    clinic.run("UPDATE visit SET note = '' WHERE id = 3")

    def labels(path: str) -> list[tuple[str | None, str | None]]:
        return [(change.subject, change.old_subject) for change in changes_of(source, shape, subject=path)]

    assert labels("patient") == [("8", "7"), (None, "7"), (None, None), ("99", "99")]
    assert labels("patient/person.id/mrn") == [("m8", "m7"), (None, "m7"), (None, None), (None, None)]


def test_a_subject_in_a_column_that_came_later(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 7, 'open', 'a')")
    source, shape = attach(clinic, "visit")
    clinic.run("ALTER TABLE visit ADD COLUMN person text DEFAULT 'm7'", "UPDATE visit SET note = 'b'")
    assert [(change.subject, change.old_subject) for change in changes_of(source, shape, subject="person")] == [("m7", None)]
    assert faults_of(source, shape) == []


def test_changes_are_consumed_by_their_ids_and_only_once(clinic: Clinic) -> None:
    clinic.run(TABLE)
    source, shape = attach(clinic, "visit")
    clinic.run(*[f"INSERT INTO visit VALUES ({n}, 0, '', '')" for n in range(6)])
    uids = [change.uid for change in changes_of(source, shape)]
    source.consume(shape, uids[1:3])
    source.consume(shape, uids[1:3])
    assert [plain_key(shape, change.new_key) for change in changes_of(source, shape)] == [(0,), (3,), (4,), (5,)]
    source.consume(shape, uids)
    assert changes_of(source, shape) == []
    clinic.run("INSERT INTO visit VALUES (9, 0, '', '')")
    source.consume(shape, uids)  # ids of another life of the queue touch nothing
    assert len(changes_of(source, shape)) == 1
    source.consume(shape, [])


def test_a_rolled_back_write_leaves_no_change(clinic: Clinic) -> None:
    clinic.run(TABLE)
    source, shape = attach(clinic, "visit")
    clinic.run("BEGIN", "INSERT INTO visit VALUES (1, 0, '', '')")
    clinic.run("SAVEPOINT s", "INSERT INTO visit VALUES (2, 0, '', '')", "ROLLBACK TO s")
    clinic.run("INSERT INTO visit VALUES (3, 0, '', '')", "COMMIT")
    clinic.run("BEGIN", "DELETE FROM visit", "ROLLBACK")
    assert told(shape, changes_of(source, shape)) == [
        ("I", None, (1,), None, values(clinic, 1, 0, "", "")), ("I", None, (3,), None, values(clinic, 3, 0, "", ""))
    ]  # fmt: skip


def test_capture_may_be_installed_again_and_keeps_what_is_queued(clinic: Clinic) -> None:
    clinic.run(TABLE)
    source, shape = attach(clinic, "visit")
    clinic.run("INSERT INTO visit VALUES (1, 0, '', '')")
    schema = clinic.schema()
    source.install_capture(shape)
    assert clinic.schema() == schema
    assert len(changes_of(source, shape)) == 1
    assert faults_of(source, shape) == []


def test_detach_restores_the_schema(clinic: Clinic) -> None:
    clinic.run(TABLE, "CREATE TABLE other (id int PRIMARY KEY)", "CREATE INDEX by_patient ON visit (patient)")
    before = clinic.schema()
    source, first = attach(clinic, "visit")
    _, second = attach(clinic, "other")
    clinic.run("INSERT INTO visit VALUES (1, 0, '', '')", "INSERT INTO other VALUES (1)")
    assert clinic.schema() != before
    source.remove_capture(first)
    assert faults_of(source, second) == []
    source.remove_capture(second)
    assert clinic.schema() == before
    source.remove_capture(second)
    assert clinic.schema() == before
    clinic.run("INSERT INTO visit VALUES (2, 0, '', '')")


def test_another_layout_never_throws_queued_changes_away(clinic: Clinic) -> None:
    clinic.run(TABLE)
    source, shape = attach(clinic, "visit")
    clinic.run("INSERT INTO visit VALUES (1, 0, '', '')", "ALTER TABLE visit ADD COLUMN more text")
    wider = shape_of(source, "visit")
    with pytest.raises(SourceError, match="holds changes: seal or detach"):
        source.install_capture(wider)
    changes = changes_of(source, shape)
    assert len(changes) == 1
    source.consume(shape, [change.uid for change in changes])
    source.install_capture(wider)
    clinic.run("UPDATE visit SET more = 'x'")
    assert changes_of(source, wider)[0].changed == ("more",)


def test_where_the_queue_is_gone_reading_goes_on_and_the_fault_is_told(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 0, '', '')")
    source, shape = attach(clinic, "visit")
    if clinic.engine == "sqlite":
        (name,) = clinic.all("SELECT name FROM sqlite_schema WHERE name LIKE 'careseal_queue%'")[0]
        clinic.run(f"DROP TABLE {name}")
    else:
        (name,) = clinic.all("SELECT relname FROM pg_class WHERE relname LIKE 'queue_visit%' AND relkind = 'r'")[0]
        clinic.run(f"DROP TABLE careseal.{name}")
    with source.snapshot() as snapshot:
        assert list(snapshot.touched(shape)) == []
        assert list(snapshot.changes(shape, subject=None, final=None)) == []
        assert snapshot.pending_count(shape) == 0
        assert snapshot.truncated(shape) is False
        assert "the capture queue is missing" in snapshot.capture_faults(shape)
    source.install_capture(shape)
    assert faults_of(source, shape) == []


def test_a_column_dropped_under_capture_is_told_as_a_fault_or_by_name(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 0, '', '')")
    source, shape = attach(clinic, "visit")
    if clinic.engine == "sqlite":
        source.remove_capture(shape)
    clinic.run("ALTER TABLE visit DROP COLUMN note", "UPDATE visit SET status = 'x'")
    with source.snapshot() as snapshot:
        assert snapshot.capture_faults(shape) != []
        assert "note" not in snapshot.describe("visit", shape.key).names
        assert snapshot.truncated(shape) is False
        assert list(snapshot.touched(shape)) == []


CHURN = st.lists(
    st.tuples(st.sampled_from(["insert", "update", "move", "delete"]), st.integers(0, 6), st.integers(0, 6), st.sampled_from("abc")),
    max_size=25,
)


def _replay(shape: Shape, before: dict[object, object], told_changes: list[tuple[object, ...]]) -> dict[object, object]:
    """The table after the changes, as far as they tell it; every old row must be the one that was there."""
    rows = dict(before)
    for op, old_key, new_key, old_row, row in told_changes:
        if op != "I":
            assert rows.pop(old_key) in (old_row, None)
        if op != "D":
            rows[new_key] = row  # None where a later change tells more
    return rows


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=CHURN)
def test_any_traffic_can_be_replayed(clinic: Clinic, steps: list[tuple[str, int, int, str]]) -> None:
    """Old rows chain, and the last change of every row carries what the table holds."""
    clinic.run("DROP TABLE IF EXISTS t")
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)", "INSERT INTO t VALUES (0, 'x'), (1, 'x'), (2, 'x')")
    source = open_source(clinic.url)
    shape = shape_of(source, "t")
    source.remove_capture(shape)
    source.install_capture(shape)
    before = {(row[0],): row for row in rows_of(source, shape) if row}
    if clinic.engine == "postgresql":
        before = {(int(str(key[0])),): row for key, row in before.items()}
    for verb, one, other, note in steps:
        clinic.run(
            {
                "insert": f"INSERT INTO t VALUES ({one}, '{note}') ON CONFLICT DO NOTHING",
                "update": f"UPDATE t SET note = '{note}' WHERE id IN ({one}, {other})",
                "move": f"UPDATE t SET id = {other} WHERE id = {one} AND NOT EXISTS (SELECT 1 FROM t WHERE id = {other})",
                "delete": f"DELETE FROM t WHERE id = {one}",
            }[verb]
        )
    queued = told(shape, changes_of(source, shape))
    changes = [change for change in queued if change[0] != "R"]
    after = _replay(shape, dict(before), changes)  # type: ignore[arg-type]
    present = {row[0]: row for row in rows_of(source, shape) if row}
    assert {key[0]: row for key, row in after.items()} == {int(str(key)): row for key, row in present.items()}  # type: ignore[index]
    assert set(touched_of(source, shape)) == {key for change in queued for key in (change[1], change[2]) if key}


def test_a_hundred_thousand_changes_are_read_in_linear_time(clinic: Clinic) -> None:
    clinic.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
    source, shape = attach(clinic, "t")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
    clinic.run(f"{numbers} INSERT INTO t SELECT i, 'x' FROM n", "UPDATE t SET note = 'y'")
    start = time.monotonic()
    runs = 0
    last: dict[bytes, bool] = {}
    with source.snapshot() as snapshot:
        for batch in snapshot.changes(shape, subject="note", final="note = 'x'"):
            runs += 1
            assert len(batch) <= 1020
            for change in batch:
                assert change.new_key is not None
                last[change.new_key] = change.row is not None and change.closed and change.subject == "y"
        touched = list(snapshot.touched(shape))
    assert time.monotonic() - start < 60
    assert len(last) == 50000
    assert all(last.values())
    assert runs >= 100
    assert touched == sorted(last)


def test_rows_are_shown_with_the_last_change_when_they_match(clinic: Clinic) -> None:
    clinic.run(TABLE, "INSERT INTO visit VALUES (1, 7, 'open', 'a')")
    source, shape = attach(clinic, "visit")
    clinic.run("UPDATE visit SET note = 'b'")
    (change,) = changes_of(source, shape)
    assert plain_row(shape, change.row) == rows_of(source, shape)[0]
