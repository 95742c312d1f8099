"""Terms of keeping refuse an erasure until the end, counted from the latest sealed row, whatever was done to the rows since."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from audit_world import World, erase

from ledger.canonical import decode
from ledger.errors import LedgerError
from ledger.retention import CLASSES, check_ended, later, records_of, set_term, terms


def visited(world: World, **options) -> World:
    """Visits of P1 in 2001, 2003 and 2005, one of P2 in 2020, and one of P3 whose time nobody can read."""
    world.hospital.run("CREATE TABLE visit (id INTEGER PRIMARY KEY, patient TEXT, at TEXT)")
    rows = [(1, "P1", "2001-05-06"), (2, "P1", "2003-02-28 10:00:00"), (3, "P1", "2005-02-03"), (4, "P2", "2020-01-01"), (5, "P3", "soon")]
    world.hospital.many("INSERT INTO visit VALUES (?,?,?)", rows)
    world.attach("visit", subject="patient", **options)
    world.seal()
    return world


def check(world: World, patient: str, day: str, no_term: str | None = None) -> list:
    blind = world.home.subjects.blind(f"subject:{patient}")
    sid = world.home.subjects.known([blind])[blind]
    now = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
    return check_ended(world.home, records_of(world.home, sid), now, no_term)


def test_the_classes_are_those_of_the_regulations() -> None:
    assert CLASSES == {"outpatient": 15, "inpatient": 30}


@pytest.mark.parametrize(("kind", "until"), [("outpatient", "2020-02-03"), ("inpatient", "2035-02-03"), ("7", "2012-02-03")])
def test_a_term_runs_from_the_latest_record(world: World, kind: str, until: str) -> None:
    visited(world)
    term = set_term(world.home, "visit", kind, "at", world.tick())
    before = date.fromordinal(date.fromisoformat(until).toordinal() - 1).isoformat()
    words = f"of table visit are kept for {term.years} years from the last one, of 2005-02-03: erasure is refused until {until}$"
    with pytest.raises(LedgerError, match=words):
        check(world, "P1", before)
    (ended,) = check(world, "P1", until)
    assert ended == {"table": 1, "class": term.kind, "years": term.years, "last": "2005-02-03", "ended": until}


def test_the_longest_of_several_tables_counts(sqlite: World) -> None:
    visited(sqlite)
    sqlite.hospital.run("CREATE TABLE stay (id INTEGER PRIMARY KEY, patient TEXT, at TEXT)")
    sqlite.hospital.run("INSERT INTO stay VALUES (1, 'P1', '1999-01-01')")
    sqlite.attach("stay", subject="patient")
    sqlite.seal()
    set_term(sqlite.home, "visit", "outpatient", "at", sqlite.tick())
    with pytest.raises(LedgerError, match="table stay has no term of keeping"):
        check(sqlite, "P1", "2031-01-01")
    set_term(sqlite.home, "stay", "inpatient", "at", sqlite.tick())
    words = "of table stay are kept for 30 years from the last one, of 1999-01-01: erasure is refused until 2029-01-01"
    with pytest.raises(LedgerError, match=words):
        check(sqlite, "P1", "2010-01-01")
    assert len(check(sqlite, "P1", "2029-01-01")) == 2


def test_a_date_that_was_forged_does_not_shorten_the_term(world: World) -> None:
    visited(world, copies=True)
    set_term(world.home, "visit", "outpatient", "at", world.tick())
    world.hospital.behind("UPDATE visit SET at = '1970-01-01' WHERE id = 3")
    with pytest.raises(LedgerError, match="of 2005-02-03: erasure is refused until 2020-02-03"):
        check(world, "P1", "2019-01-01")


def test_where_no_row_tells_the_time_of_sealing_counts(world: World) -> None:
    visited(world)
    set_term(world.home, "visit", "outpatient", "at", world.tick())
    sealed = datetime.fromtimestamp(world.records()[0].time / 1000, UTC).date()
    with pytest.raises(LedgerError, match=f"from the last one, of {sealed}: erasure is refused until {later(sealed, 15)}"):
        check(world, "P3", "2021-01-01")
    world.hospital.behind("UPDATE visit SET at = '1970-01-01' WHERE id IN (1, 2, 3)")
    with pytest.raises(LedgerError, match=f"of {sealed}: erasure is refused until {later(sealed, 15)}"):
        check(world, "P1", "2021-01-01")


def test_a_deleted_record_counts_by_the_copy_that_its_deletion_kept(captured: World) -> None:
    visited(captured, deletable=True)
    set_term(captured.home, "visit", "outpatient", "at", captured.tick())
    captured.hospital.run("DELETE FROM visit WHERE patient = 'P2'")
    captured.seal()
    with pytest.raises(LedgerError, match="of 2020-01-01: erasure is refused until 2035-01-01"):
        check(captured, "P2", "2030-01-01")


def test_a_row_that_vanished_counts_by_its_sealing(world: World) -> None:
    visited(world)
    set_term(world.home, "visit", "outpatient", "at", world.tick())
    world.hospital.behind("DELETE FROM visit WHERE patient = 'P2'")
    sealed = datetime.fromtimestamp(world.records()[0].time / 1000, UTC).date()
    with pytest.raises(LedgerError, match=f"of {sealed}: erasure is refused until {later(sealed, 15)}"):
        check(world, "P2", "2035-06-01")


def test_an_amended_row_counts_by_its_last_version(captured: World) -> None:
    visited(captured)
    set_term(captured.home, "visit", "outpatient", "at", captured.tick())
    captured.hospital.run("UPDATE visit SET at = '2010-06-01' WHERE id = 1")
    captured.seal()
    with pytest.raises(LedgerError, match="of 2010-06-01: erasure is refused until 2025-06-01"):
        check(captured, "P1", "2024-01-01")


def test_an_erasure_before_the_end_is_refused_and_after_it_is_journalled_with_the_term(sqlite: World) -> None:
    visited(sqlite)
    set_term(sqlite.home, "visit", "outpatient", "at", sqlite.tick())
    with pytest.raises(LedgerError, match="erasure is refused until 2035-01-01"):
        erase(sqlite, "subject:P2")
    index = erase(sqlite, "subject:P1", None)
    about = decode(sqlite.home.journal.document(index)[1])["erasure"]
    assert about["terms"] == [{"table": 1, "class": "outpatient", "years": 15, "last": "2005-02-03", "ended": "2020-02-03"}]
    assert about["no_term"] is None


def test_a_later_declaration_takes_the_place_of_an_earlier_one_and_both_stay_journalled(sqlite: World) -> None:
    visited(sqlite)
    set_term(sqlite.home, "visit", "inpatient", "at", sqlite.tick())
    term = set_term(sqlite.home, "visit", "5", "at", sqlite.tick())
    assert terms(sqlite.home) == {1: term} and (term.kind, term.years) == ("years", 5)
    sqlite.assert_intact()


@pytest.mark.parametrize(("table", "kind", "since", "words"), [
    ("visit", "0", "at", "--class 0: use outpatient, inpatient or a number of years"), ("visit", "-3", "at", "--class -3: use"),
    ("visit", "forever", "at", "--class forever: use"), ("visit", "1000", "at", "--class 1000: use"), ("visit", "٣", "at", "--class"),
    ("visit", "5", "gone", "--since gone: table visit has no such column"), ("other", "5", "at", "table other is not attached"),
])  # fmt: skip
def test_a_term_that_is_none_is_refused(sqlite: World, table: str, kind: str, since: str, words: str) -> None:
    visited(sqlite)
    size = sqlite.home.journal.size
    with pytest.raises(LedgerError, match=words):
        set_term(sqlite.home, table, kind, since, sqlite.tick())
    assert sqlite.home.journal.size == size


def test_years_are_those_of_the_calendar() -> None:
    assert later(date(2004, 2, 29), 15) == date(2019, 3, 1)
    assert later(date(2004, 2, 29), 4) == date(2008, 2, 29)
    assert later(date(9000, 1, 1), 999) == date(9999, 1, 1)
    assert later(date(9500, 1, 1), 999) == date.max
