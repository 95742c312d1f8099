"""Which captured changes are lawful: writers, immutable columns, closed rows, deletions, declared times."""

from __future__ import annotations

import pytest
from audit_world import START, World, one, visits

from ledger.errors import LedgerError
from ledger.findings import FindingKind
from ledger.journal import Checkpoint
from ledger.tables import attached_tables
from ledger.wire import VIOLATIONS, Flag


def _after_seal(world: World) -> list[tuple[str, tuple[object, ...], tuple[str, ...]]]:
    world.seal()
    return world.found()


# Writers


def test_a_writer_who_is_not_declared_is_told_with_the_columns(pg: World) -> None:
    pg.hospital.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, patient TEXT, ward TEXT)")
    pg.hospital.many("INSERT INTO visit VALUES (?, 'P', 'east')", [(n,) for n in range(1, 6)])
    doctor, clerk = pg.hospital.role("dr_li", "visit"), pg.hospital.role("clerk_zhao", "visit")
    pg.attach("visit", writers=(doctor,), deletable=True)
    pg.seal()
    for user, key in ((doctor, 1), (clerk, 2)):
        pg.hospital.run("UPDATE visit SET ward = 'west' WHERE id = ?", key, user=user)
        pg.hospital.run("INSERT INTO visit VALUES (?, 'Q', 'x')", 10 + key, user=user)
        pg.hospital.run("DELETE FROM visit WHERE id = ?", 2 + key, user=user)
    pg.assert_intact(pending=6)
    pg.seal()
    found = pg.audit(record=False).findings
    assert sorted((f.kind.value, f.key["id"], f.columns, f.author, f.version) for f in found) == [
        ("unauthorised", 2, ("ward",), "clerk_zhao", 2),
        ("unauthorised", 4, (), "clerk_zhao", 2),
        ("unauthorised", 12, (), "clerk_zhao", 1),
    ]


def test_the_session_counts_and_not_the_role_that_was_set(pg: World) -> None:
    visits(pg, writers=("dr_li",))
    pg.hospital.role("dr_li", "visit")
    pg.hospital.run("SET ROLE dr_li")
    pg.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 1")
    pg.hospital.run("RESET ROLE")
    found = _after_seal(pg)
    assert found == [("unauthorised", (1,), ("ward",))]
    assert one(pg.audit(record=False).findings, FindingKind.UNAUTHORISED).author == "postgres"


def test_an_unauthorised_truncate_is_told_for_every_row(pg: World) -> None:
    visits(pg, writers=("dr_li",), deletable=True)
    pg.hospital.run("TRUNCATE visit")
    assert _after_seal(pg) == [("unauthorised", (n,), ()) for n in range(1, 11)]


def test_without_declared_writers_every_writer_is_authorised(pg: World) -> None:
    visits(pg)
    pg.hospital.role("anyone", "visit")
    pg.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 1", user="anyone")
    assert _after_seal(pg) == []
    assert pg.home.store.db.execute("SELECT name FROM authors").fetchall() == [("anyone",)]


def test_sqlite_cannot_tell_writers_apart_and_says_so(sqlite: World) -> None:
    visits(sqlite, writers=("dr_li",))
    sqlite.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 1")
    assert _after_seal(sqlite) == []
    [table] = sqlite.audit(record=False).tables
    assert not table.author_known


def test_postgres_tells_writers_apart(pg: World) -> None:
    visits(pg)
    [table] = pg.audit(record=False).tables
    assert table.author_known


# Immutable columns and closed rows


def test_a_change_of_an_immutable_column(captured: World) -> None:
    visits(captured, immutable=("patient", "at"))
    captured.hospital.run("UPDATE visit SET patient = 'P9', ward = 'x' WHERE id = 1")
    captured.hospital.run("UPDATE visit SET ward = 'x' WHERE id = 2")
    captured.hospital.run("UPDATE visit SET patient = patient, ward = 'x' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET at = NULL, patient = '' WHERE id = 4")
    captured.hospital.run("UPDATE visit SET patient = 'P9' WHERE id = 5")
    captured.hospital.run("UPDATE visit SET patient = 'P2', ward = 'y' WHERE id = 5")
    assert _after_seal(captured) == [
        ("amended_final", (1,), ("patient",)),
        ("amended_final", (4,), ("patient", "at")),
        ("amended_final", (5,), ("patient",)),
    ]
    assert one(captured.audit(record=False).findings[:1], FindingKind.AMENDED_FINAL).version == 2


def test_an_immutable_key_column(captured: World) -> None:
    visits(captured, immutable=("id",))
    captured.hospital.run("UPDATE visit SET id = 20 WHERE id = 1")
    assert _after_seal(captured) == [("amended_final", (20,), ("id",))]


def test_a_new_row_fills_its_immutable_columns_once(captured: World) -> None:
    visits(captured, immutable=("patient",))
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (99, 'P1')")
    assert _after_seal(captured) == []
    captured.hospital.run("INSERT INTO visit (id, patient) VALUES (98, 'P1')")
    captured.hospital.run("UPDATE visit SET patient = 'P2' WHERE id = 98")
    assert _after_seal(captured) == [("amended_final", (98,), ("patient",))]


def test_a_change_of_a_closed_row(captured: World) -> None:
    visits(captured, final="ward = 'archive' and note is not null")
    captured.hospital.run("UPDATE visit SET ward = 'archive' WHERE id IN (1, 2, 3)")
    captured.hospital.run("UPDATE visit SET note = 'closing' WHERE id IN (1, 2)")
    captured.hospital.run("INSERT INTO visit (id, ward, note) VALUES (99, 'archive', 'born closed')")
    assert _after_seal(captured) == []
    captured.hospital.run("UPDATE visit SET note = note WHERE id = 2")
    captured.hospital.run("UPDATE visit SET patient = 'P9', price = 1 WHERE id = 1")
    captured.hospital.run("UPDATE visit SET note = 'open still' WHERE id = 4")
    captured.hospital.run("UPDATE visit SET ward = 'opened' WHERE id = 99")
    assert _after_seal(captured) == [("amended_final", (1,), ("patient", "price")), ("amended_final", (99,), ("ward",))]


def test_a_row_closed_opened_changed_and_closed_again_before_a_seal(captured: World) -> None:
    visits(captured, final="ward = 'archive'")
    for ward in ("archive", "east", "archive"):
        captured.hospital.run("UPDATE visit SET ward = ?, price = price + 1 WHERE id = 1", ward)
    assert _after_seal(captured) == [("amended_final", (1,), ("ward", "price"))]


def test_a_predicate_that_is_null_closes_nothing(captured: World) -> None:
    visits(captured, final="note <> 'x'")
    captured.hospital.run("UPDATE visit SET ward = 'west'")
    assert _after_seal(captured) == []


def test_deletions_where_they_are_not_allowed_and_where_they_are(captured: World) -> None:
    visits(captured)
    captured.hospital.run("DELETE FROM visit WHERE id = 1")
    captured.assert_intact(pending=1)
    assert _after_seal(captured) == [("deleted", (1,), ())]
    captured.hospital.run("CREATE TABLE cart (id INTEGER PRIMARY KEY, closed INTEGER)")
    captured.hospital.many("INSERT INTO cart VALUES (?, ?)", [(1, 0), (2, 1), (3, 0)])
    captured.attach("cart", deletable=True, final="closed = 1")
    captured.seal()
    captured.hospital.run("DELETE FROM cart WHERE id < 3")
    captured.seal()
    assert captured.found(tables=["cart"])[-1:] == [("amended_final", (2,), ())]


def test_options_that_judge_captured_changes_need_capture(scanned: World) -> None:
    scanned.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    for option in ({"writers": ("a",)}, {"immutable": ("v",)}, {"final": "v = 'x'"}, {"deletable": True}):
        with pytest.raises(LedgerError, match="use --capture triggers"):
            scanned.attach("t", **option)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"immutable": ("nope",)}, "no such column"),
        ({"time": "nope"}, "no such column"),
        ({"policy": "maybe"}, "adopt or pending"),
        ({"algorithm": "md5"}, "sha256 or sm3"),
        ({"final": "nope = 1"}, "final"),
        ({"subject": "nope"}, "no column"),
        ({"subject": "v/other"}, "TABLE.COL"),
    ],
)
def test_options_that_cannot_work_are_refused(world: World, option: dict[str, object], text: str) -> None:
    if "immutable" in option and world.capture == "scan":
        pytest.skip("judges captured changes")
    if "final" in option and world.capture == "scan":
        pytest.skip("judges captured changes")
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    with pytest.raises(LedgerError, match=text):
        world.attach("t", **option)
    assert world.home.journal.size == 0


# Declared times

TEXTS = [  # what is inserted, milliseconds before START that it declares at the latest
    ("2023-11-14 22:13:20", 0),
    ("2023-11-14T22:13:20Z", 0),
    ("2023-11-15 06:13:20+08:00", 0),
    ("2023-11-14 22:13:20.123456", 0),
    ("1700000000", 0),
    ("1700000000000", 0),
    ("20231114221320", 0),
    ("20231114", 0),
    ("2023-11-14", 0),
]


def _timed(world: World, **options: object) -> World:
    """Sealed a few minutes after START; rows of the baseline are ancient."""
    world.hospital.run("CREATE TABLE note (id INTEGER PRIMARY KEY, at TEXT, v TEXT)")
    world.hospital.many("INSERT INTO note VALUES (?, '1999-01-01', 'x')", [(n,) for n in range(3)])
    world.attach("note", time="at", **options)
    world.seal()
    world.assert_intact()
    return world


def test_late_entries_and_back_dated_ones(world: World) -> None:
    _timed(world, grace=3 * 86400)
    late = {1: "2023-11-12 22:13:20", 2: "2023-11-11 22:30:00", 3: "2024-01-01 00:00:00", 4: None}
    back = {6: "2023-11-11 22:00:00", 7: "2023-11-10", 8: "1999-12-31T23:59:59Z", 9: "20231101", 10: "1699000000", 11: "yesterday"}
    for key, text in {**late, **back}.items():
        world.hospital.run("INSERT INTO note VALUES (?, ?, 'x')", 100 + key, text)
    world.seal()
    assert world.found() == [("back_dated", (100 + key,), ("at",)) for key in back]


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "14.11.2023", "2023-11-31 10:00:00"])
def test_a_declared_time_that_cannot_be_read_does_not_escape(world: World, text: str) -> None:
    _timed(world)
    world.hospital.run("INSERT INTO note VALUES (100, ?, 'x')", text)
    world.seal()
    [found] = world.audit().findings
    assert (found.kind, found.key, found.columns) == (FindingKind.BACK_DATED, {"id": 100}, ("at",))
    assert found.detail == "found when the change was sealed; its declared time cannot be read"
    assert world.records()[-1].flags & VIOLATIONS == Flag.TIME_UNREADABLE


def test_an_amendment_to_a_time_that_cannot_be_read_does_not_escape(captured: World) -> None:
    _timed(captured)
    captured.hospital.run("UPDATE note SET at = '1st of May' WHERE id = 1")
    captured.hospital.run("UPDATE note SET at = NULL WHERE id = 2")
    assert _after_seal(captured) == [("back_dated", (1,), ("at",))]
    captured.hospital.run("UPDATE note SET at = '2024-05-01' WHERE id = 1")
    assert _after_seal(captured) == [("back_dated", (1,), ("at",))]
    assert captured.records()[-1].flags & VIOLATIONS == 0


@pytest.mark.parametrize("place", [0, 2500])
def test_a_table_whose_times_cannot_be_read_is_not_attached(world: World, place: int) -> None:
    world.hospital.run("CREATE TABLE note (id INTEGER PRIMARY KEY, v TEXT, at TEXT)")
    world.hospital.many("INSERT INTO note VALUES (?, 'x', ?)", [(n, "soon" if n == place else "2023-11-14") for n in range(2600)])
    with pytest.raises(LedgerError, match="--time at: table note has rows whose at cannot be read as a time: correct them") as error:
        world.attach("note", time="at")
    assert "soon" not in str(error.value)
    assert attached_tables(world.home) == [] and world.home.journal.size == 0
    world.hospital.run("UPDATE note SET at = NULL WHERE v = 'x' AND at = 'soon'")
    world.attach("note", time="at")
    world.seal()
    world.assert_intact()


def test_a_time_may_be_the_key(world: World) -> None:
    world.hospital.run("CREATE TABLE beat (at TEXT, n INTEGER, v TEXT, PRIMARY KEY (n, at))")
    world.hospital.run("INSERT INTO beat VALUES ('noon', 1, 'x')")
    with pytest.raises(LedgerError, match="--time at: table beat"):
        world.attach("beat", time="at")
    world.hospital.run("UPDATE beat SET at = '2023-11-14 12:00:00'")
    world.attach("beat", time="at")


def _move_checkpoints(world: World, time: int) -> None:
    """As if every checkpoint had been made at another time by this home."""
    journal, db = world.home.journal, world.home.store.db
    for generation, size, root in db.execute("SELECT generation, size, root FROM checkpoints").fetchall():
        code = journal.code_of(Checkpoint(generation, size, root, time))
        db.execute("UPDATE checkpoints SET time=?, code=? WHERE generation=? AND size=?", (time, code, generation, size))


@pytest.mark.parametrize(("text", "age"), TEXTS)
def test_declared_times_in_many_forms(sqlite: World, text: str, age: int) -> None:
    _timed(sqlite, grace=0)
    sqlite.now = START + 10 * 60_000 - age
    _move_checkpoints(sqlite, START - 1000 - age)
    sqlite.hospital.run("INSERT INTO note VALUES (100, ?, 'x')", text)
    sqlite.seal()
    sqlite.assert_intact()
    _move_checkpoints(sqlite, START + 86_400_000 + 1000)
    sqlite.hospital.run("INSERT INTO note VALUES (101, ?, 'x')", text)
    sqlite.seal()
    assert sqlite.found() == [("back_dated", (101,), ("at",))]


def test_times_of_numbers_and_dates_by_type(pg: World) -> None:
    pg.hospital.run("CREATE TABLE n (id INTEGER PRIMARY KEY, at timestamptz, d date, e bigint, m numeric)")
    pg.hospital.run("CREATE TABLE probe (id INTEGER PRIMARY KEY)")
    ok = ("2023-11-14 22:13:20+00", "2023-11-14", 1_700_000_000, "1700000000000.5")
    old = ("2023-11-01 22:13:20+08", "2023-11-01", 1_699_000_000, "1699000000.25")
    for place, column in enumerate(("at", "d", "e", "m")):
        pg.hospital.run(f"CREATE TABLE t_{column} (LIKE n INCLUDING ALL)")
        pg.attach(f"t_{column}", time=column, grace=86400)
        pg.seal()
        pg.hospital.run(f"INSERT INTO t_{column} (id, {column}) VALUES (1, ?), (2, ?), (3, NULL)", ok[place], old[place])
        if column in ("at", "d"):
            pg.hospital.run(f"INSERT INTO t_{column} (id, {column}) VALUES (4, 'infinity'), (5, '-infinity'), (6, '0044-03-15 BC')")
        pg.seal()
        expected = [2, 5, 6] if column in ("at", "d") else [2]
        assert pg.found(tables=[f"t_{column}"]) == [("back_dated", (key,), (column,)) for key in expected]


def test_back_dating_by_a_change_before_or_after_the_seal(captured: World) -> None:
    _timed(captured, grace=86400)
    captured.hospital.run("INSERT INTO note VALUES (100, '2023-11-14 22:13:20', 'x')")
    captured.hospital.run("UPDATE note SET at = '2023-10-01' WHERE id = 100")
    captured.hospital.run("UPDATE note SET v = 'y' WHERE id = 100")
    captured.hospital.run("INSERT INTO note VALUES (101, '2023-11-14 22:13:20', 'x')")
    captured.hospital.run("INSERT INTO note VALUES (102, NULL, 'x')")
    captured.hospital.run("INSERT INTO note VALUES (103, '2023-11-14 22:13:20', 'x')")
    assert _after_seal(captured) == [("back_dated", (100,), ("at",))]
    captured.hospital.run("UPDATE note SET at = '2023-10-01' WHERE id = 101")
    captured.hospital.run("UPDATE note SET v = 'y' WHERE id = 101")
    captured.hospital.run("UPDATE note SET at = '2023-10-01' WHERE id = 102")
    captured.hospital.run("UPDATE note SET at = '2023-11-14 12:00:00' WHERE id = 103")
    assert _after_seal(captured) == [("back_dated", (key,), ("at",)) for key in (100, 101, 102)]


def test_amending_an_old_record_is_not_back_dating(captured: World) -> None:
    _timed(captured, grace=86400)
    captured.hospital.run("UPDATE note SET v = 'y' WHERE id = 1")
    captured.hospital.run("UPDATE note SET at = '1999-01-01 12:00:00' WHERE id = 2")
    captured.hospital.run("UPDATE note SET v = 'z' WHERE id = 1")
    assert _after_seal(captured) == []


def test_the_first_of_several_violations_is_told_and_the_others_are_named(captured: World) -> None:
    visits(captured, immutable=("patient",))
    captured.hospital.run("UPDATE visit SET patient = 'P9' WHERE id = 1")
    captured.seal()
    captured.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 1")
    captured.hospital.run("UPDATE visit SET patient = 'P8' WHERE id = 1")
    captured.hospital.run("DELETE FROM visit WHERE id = 1")
    captured.seal()
    found = one(captured.audit(record=False).findings, FindingKind.ALTERED)
    assert (found.key, found.columns) == ({"id": 1}, ("note",))
    assert "also deleted" in found.detail and "also amended_final" in found.detail
