"""Audits as a whole: since when a row was intact, what is pending, ranges, processes, memory, and traffic meanwhile."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from audit_world import START, PostgresHospital, SqliteHospital, World, make_world, one, shown, visits

import ledger.audit
from ledger import canonical
from ledger.audit import Scope
from ledger.findings import FindingKind
from ledger.tables import attached_tables
from ledger.wire import Flag, Kind, RecordEntry


def _intact(world: World, index: int = 0) -> tuple[int, float] | None:
    at = world.audit(record=False).findings[index].intact_at
    if at is None:
        return None
    assert at.root == world.anchored[at.size] and at.block == list(world.anchored).index(at.size) + 1
    return at.size, at.time


# Since when


def test_without_an_audit_a_row_was_intact_when_its_sealing_was_anchored(world: World) -> None:
    visits(world)
    sealed = world.home.journal.size
    world.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 3")
    world.seal()
    assert _intact(world) == (sealed, START / 1000 + 120)


def test_without_an_anchor_nothing_is_claimed(world: World) -> None:
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    world.hospital.run("INSERT INTO t VALUES (1, 'x')")
    world.attach("t")
    world.seal(anchor=False)
    world.audit()
    world.hospital.behind("UPDATE t SET v = 'y'")
    assert _intact(world) is None


def test_the_last_anchored_clean_audit_counts(world: World) -> None:
    visits(world)
    for _ in range(3):
        audited = world.tick() / 1000
        world.now -= 60_000
        world.audit()
        world.seal()
    size = world.home.journal.size
    world.audit()  # not anchored yet
    world.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 3")
    assert _intact(world) == (size, audited)
    world.audit()  # not clean
    world.seal()
    [finding] = world.audit(record=False).findings
    assert finding.intact_at is not None and finding.intact_at.time == world.audit_times[3]


def test_a_clean_audit_of_other_rows_does_not_count(world: World) -> None:
    visits(world)
    table = attached_tables(world.home)[0]
    middle = (5 + 2**63).to_bytes(8, "big")
    sealed = world.home.journal.size
    world.audit(scope=Scope([table], {table.id: (None, middle)}))
    world.seal()
    covering = world.home.journal.size
    world.hospital.behind("UPDATE visit SET note = 'x' WHERE id IN (4, 5)")
    assert [_intact(world, n) for n in (0, 1)] == [(covering, world.audit_times[0]), (sealed, START / 1000 + 120)]


def test_a_row_sealed_after_the_audit_is_held_against_its_own_sealing(captured: World) -> None:
    visits(captured)
    captured.audit()
    captured.hospital.run("UPDATE visit SET ward = 'w' WHERE id = 3")
    captured.seal()
    sealed = captured.home.journal.size
    captured.hospital.behind("UPDATE visit SET note = 'x' WHERE id IN (3, 4)")
    first, second = (_intact(captured, n) for n in (0, 1))
    assert first is not None and first[0] == sealed and first[1] > captured.audit_times[0]
    assert second == (sealed, captured.audit_times[0])


def test_an_audit_after_the_violation_never_counts(captured: World) -> None:
    visits(captured)
    captured.audit()
    captured.seal()
    covering = captured.home.journal.size
    captured.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET ward = 'w' WHERE id = 3")
    captured.audit()  # clean, but the row's change is pending
    captured.seal()
    captured.audit()
    captured.seal()
    found = one(captured.audit(record=False).findings, FindingKind.ALTERED)
    assert found.intact_at is not None
    assert (found.intact_at.size, found.intact_at.time) == (covering, captured.audit_times[0])


def test_an_audit_that_saw_the_row_before_its_change_counts_on_a_busy_table(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET ward = 'w' WHERE id = 9")
    captured.audit()  # pending elsewhere
    captured.seal()
    covering = captured.home.journal.size
    captured.hospital.run("UPDATE visit SET ward = 'v' WHERE id = 9")
    captured.seal()
    captured.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 3")
    captured.hospital.run("UPDATE visit SET ward = 'w' WHERE id = 3")
    captured.seal()
    assert _intact(captured) == (covering, captured.audit_times[0])


def test_a_row_that_was_inserted_was_absent_at_the_last_clean_audit(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("INSERT INTO visit (id) VALUES (99)")
    assert _intact(captured) is None
    captured.hospital.behind("DELETE FROM visit WHERE id = 99")
    captured.audit()
    captured.seal()
    covering = captured.home.journal.size
    captured.hospital.behind("INSERT INTO visit (id) VALUES (99)")
    assert _intact(captured) == (covering, captured.audit_times[0])
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id = 99")
    captured.seal()
    assert _intact(captured) == (covering, captured.audit_times[0])


def test_disabled_capture_tells_the_last_clean_audit_too(captured: World) -> None:
    visits(captured)
    captured.audit()
    captured.seal()
    captured.hospital.drop_capture()
    assert _intact(captured) == (captured.home.journal.size, captured.audit_times[0])


# What an audit says of itself


def test_an_audit_is_journalled_with_scope_and_result_and_without_personal_data(world: World) -> None:
    visits(world)
    world.hospital.behind("UPDATE visit SET patient = 'Li Lei' WHERE id = 3")
    result = world.audit()
    assert result.entry is not None
    document = canonical.decode(world.home.journal.document(result.entry)[1])["audit"]
    assert isinstance(document, dict)
    assert document["size"] == result.size and document["root"] == world.home.journal.tree.root(result.size).hex()
    about = {"table": "visit", "rows": 10, "pending": 0, "findings": 1, "standing": 0, "from": None, "to": None}
    assert document["tables"] == [about] and document["resolved"] == 0
    assert document["findings"] == 1 and "Li Lei" not in str(document)
    world.seal()
    assert [shown(finding) for finding in world.audit().findings] == [("altered", (3,), ("patient",))]


def test_pending_changes_are_counted_and_are_no_findings(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.run("UPDATE visit SET ward = 'w' WHERE id IN (1, 2)")
    captured.hospital.run("UPDATE visit SET ward = 'v' WHERE id = 2")
    captured.hospital.run("DELETE FROM visit WHERE id = 3")
    captured.hospital.run("INSERT INTO visit (id) VALUES (50), (51)")
    captured.hospital.run("UPDATE visit SET id = 60 WHERE id = 4")
    captured.assert_intact(pending=2 + 1 + 2 + 2)
    assert captured.seal() == 7
    captured.assert_intact()
    assert captured.queue("visit") == 0
    assert captured.seal() == 0


def test_rows_before_the_first_seal_are_pending(world: World) -> None:
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    world.hospital.run("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    world.attach("t")
    world.assert_intact(pending=2)
    world.seal()
    assert all(entry.flags & Flag.BASELINE for entry in world.records())


def test_nothing_attached_is_intact(world: World) -> None:
    world.assert_intact()
    assert world.seal() == 0


# Ranges and processes


def _large(world: World, rows: int = 2500) -> World:
    """Tables whose runs of rows and states break at every kind of border, tampered with at many of them."""
    run, many = world.hospital.run, world.hospital.many
    run("CREATE TABLE one (id INTEGER PRIMARY KEY, v TEXT)")
    run("CREATE TABLE two (a VARCHAR(10), b INTEGER, v TEXT, PRIMARY KEY (a, b))")
    run("CREATE TABLE three (id INTEGER PRIMARY KEY, v TEXT)")
    many("INSERT INTO one VALUES (?,?)", [(n, f"v{n}") for n in range(rows)])
    many("INSERT INTO two VALUES (?,?,?)", [(f"w{n % 7}", n, f"v{n}") for n in range(rows)])
    world.attach("one", copies=True)
    world.attach("two", subject="a", algorithm="sm3")
    world.attach("three")
    world.seal()
    return world


def _tampered(world: World) -> set[tuple[str, str, tuple[Any, ...]]]:
    gone = {0, 1, 127, 128, 511, 512, 999, 1000, 1001, 1023, 1024, 2047, 2048, 2499}
    with world.hospital.blind():
        for n in gone:
            world.hospital.run("DELETE FROM one WHERE id = ?", n)
        world.hospital.run("UPDATE one SET v = 'x' WHERE id IN (2, 998, 1002, 2498)")
        world.hospital.run("UPDATE two SET v = 'x' WHERE b IN (0, 999, 1000, 2499)")
        world.hospital.run("INSERT INTO two VALUES ('', 0, 'x'), ('w3', -1, 'x'), ('z', 9, 'x')")
    expected = {("deleted", "one", (n,)) for n in gone} | {("altered", "one", (n,)) for n in (2, 998, 1002, 2498)}
    expected |= {("altered", "two", (f"w{n % 7}", n)) for n in (0, 999, 1000, 2499)}
    if world.capture == "triggers":
        expected |= {("inserted", "two", key) for key in (("", 0), ("w3", -1), ("z", 9))}
    return expected


def test_tampering_at_the_borders_of_runs(world: World) -> None:
    _large(world)
    world.assert_intact()
    expected = _tampered(world)
    result = world.audit(record=False)
    assert {(f.kind.value, f.table, tuple(f.key.values())) for f in result.findings} == expected
    assert len(result.findings) == len(expected)
    assert result.rows == 2500 - 14 + 2500 + 3


@pytest.mark.parametrize("range_rows", [1, 700, 40_000])
def test_the_size_of_ranges_changes_nothing(captured: World, monkeypatch: pytest.MonkeyPatch, range_rows: int) -> None:
    _large(captured, 2500 if range_rows > 1 else 60)
    if range_rows > 1:
        _tampered(captured)
    whole = captured.audit(record=False)
    monkeypatch.setattr("ledger.audit.RANGE_ROWS", range_rows)
    parts = captured.audit(record=False)
    assert [(f.kind, f.table, f.key, f.columns) for f in parts.findings] == [(f.kind, f.table, f.key, f.columns) for f in whole.findings]
    assert (parts.rows, parts.pending, parts.tables) == (whole.rows, whole.pending, whole.tables)


@pytest.mark.slow
def test_two_processes_find_exactly_what_one_finds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.audit.RANGE_ROWS", 300)
    _large(world)
    assert world.audit(record=False, processes=2) == world.audit(record=False, processes=1)
    _tampered(world)
    if world.capture == "triggers":
        world.hospital.run("UPDATE one SET v = 'lawful' WHERE id = 7")
        world.hospital.run("UPDATE one SET v = 'lawful' WHERE id = 2")
    for _ in range(2):
        single = world.audit(record=False, processes=1, values=True)
        double = world.audit(record=False, processes=2, values=True)
        assert double == single and len(single.findings) > 20
        world.seal()


def test_a_key_without_an_index_in_its_order_is_read_once_by_each_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every range of such a table reads and sorts all of it: the cost must not grow with the number of rows twice."""
    sqlite = world.hospital.engine == "sqlite"
    if not sqlite and not world.hospital.rows("SELECT FROM pg_collation WHERE collname = 'und-x-icu'"):
        pytest.skip("this PostgreSQL knows no ICU collations")
    other, bytewise = ("NOCASE", "BINARY") if sqlite else ('"und-x-icu"', '"C"')
    world.hospital.run(f"CREATE TABLE doc (k VARCHAR(20) COLLATE {other} PRIMARY KEY, v TEXT)")
    world.hospital.many("INSERT INTO doc VALUES (?, 'x')", [(f"{'aB'[n % 2]}{n}",) for n in range(2000)])
    world.attach("doc")
    world.seal()
    world.hospital.behind("UPDATE doc SET v = 'forged' WHERE k = 'B1999'")
    monkeypatch.setattr("ledger.audit.RANGE_ROWS", 300)
    counted: list[int] = []
    running = ledger.audit.run_ranges

    def counting(workers: Any, size: int, roots: Any, ranges: Any, progress: Any) -> Any:
        counted.append(len(ranges))
        return running(workers, size, roots, ranges, progress)

    monkeypatch.setattr("ledger.audit.run_ranges", counting)
    single = world.audit(record=False)
    assert world.audit(record=False, processes=2) == single and [shown(f) for f in single.findings] == [("altered", ("B1999",), ("v",))]
    world.hospital.run(f"CREATE INDEX by_bytes ON doc (k COLLATE {bytewise})")
    assert world.audit(record=False, processes=2) == single
    # Rows are read out of the table and out of no index, whatever indexes there are.
    assert counted == [1, 2, 2]


@pytest.mark.slow
def test_several_processes_see_one_state_while_the_hospital_writes(captured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.audit.RANGE_ROWS", 200)
    _large(captured)
    with _traffic(captured, "one", writers=1):
        for _ in range(3):
            result = captured.audit(record=False, processes=2)
            assert [shown(finding) for finding in result.findings] == []
            captured.seal()


# Traffic meanwhile


class _traffic:  # noqa: N801 - reads as a verb where it is used
    """Lawful writers in threads of their own, each on its own connection, until the block ends; `made` counts their changes."""

    def __init__(self, world: World, table: str, writers: int = 2) -> None:
        self._world, self._table, self._stop = world, table, threading.Event()
        self.made: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]

    def __enter__(self) -> _traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.failed, self.failed

    def _write(self, number: int) -> None:
        try:
            connection = self._world.hospital.connect()
            sqlite = isinstance(connection, sqlite3.Connection)
            rng, next_key, mark = random.Random(number), 1_000_000 * (number + 1), "?" if sqlite else "%s"
            while not self._stop.is_set():
                connection.execute("BEGIN IMMEDIATE" if sqlite else "BEGIN")
                try:
                    done = self._transaction(connection, rng, next_key, mark)
                    connection.execute("COMMIT")
                except (sqlite3.OperationalError, psycopg.OperationalError):
                    connection.execute("ROLLBACK")
                    continue
                with self._lock:
                    self.made.update(done)
                next_key += 10
                time.sleep(0.002)
            connection.close()
        except BaseException as error:
            self.failed.append(error)

    def _transaction(self, connection: Any, rng: random.Random, key: int, mark: str) -> Counter[str]:
        """A few changes in one transaction; on SQLite and PostgreSQL alike every one is captured once."""
        table, done = self._table, Counter[str]()
        for offset in range(rng.randint(1, 4)):
            connection.execute(f"INSERT INTO {table} (id, v) VALUES ({mark}, 'new')", (key + offset,))
            done["I"] += 1
        connection.execute(f"UPDATE {table} SET v = v || 'x' WHERE id = {mark}", (key,))
        old = rng.randrange(2000)
        changed = connection.execute(f"UPDATE {table} SET v = {mark} WHERE id = {mark}", (f"r{rng.random()}", old)).rowcount
        done["U"] += 1 + changed
        if rng.random() < 0.2:
            connection.execute(f"UPDATE {table} SET id = {mark} WHERE id = {mark}", (key + 9, key))
            done["U"] += 1
        return done


def _sealing(world: World, seconds: float) -> None:
    """Audit and seal in turn; nothing is ever a finding."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert [shown(finding) for finding in world.audit(record=False).findings] == []
        world.seal()


def _every_change_has_one_entry(world: World) -> None:
    """Entries of captured changes chain without gap, and the queue is empty."""
    world.seal()
    world.assert_intact()
    assert world.queue("one") == 0
    records = [entry for entry in world.records() if entry.flags & Flag.CAPTURED]
    assert len({(entry.record, entry.version) for entry in records}) == len(records)


@pytest.mark.slow
def test_lawful_traffic_is_never_a_finding_and_all_of_it_is_journalled(captured: World) -> None:
    _large(captured, 2000)
    before = len(captured.records())
    with _traffic(captured, "one") as traffic:
        _sealing(captured, 4)
    _every_change_has_one_entry(captured)
    made = captured.records()[before:]
    assert Counter("I" if entry.kind is Kind.WRITTEN else "U" for entry in made) == traffic.made
    assert traffic.made["I"] > 100


@pytest.mark.slow
def test_tampering_is_found_in_the_midst_of_lawful_traffic(captured: World) -> None:
    _large(captured, 2000)
    captured.hospital.run("CREATE TABLE away (id INTEGER PRIMARY KEY, v TEXT)")
    captured.hospital.many("INSERT INTO away VALUES (?, 'x')", [(n,) for n in range(50)])
    captured.attach("away")
    captured.seal()
    with _traffic(captured, "one"):
        _sealing(captured, 1)
        with captured.hospital.blind_of("away"):
            captured.hospital.run("UPDATE away SET v = 'y' WHERE id = 7")
            captured.hospital.run("DELETE FROM away WHERE id = 8")
        for _ in range(3):
            assert captured.found() == [("altered", (7,), ("v",)), ("deleted", (8,), ())]
            captured.seal()
    captured.seal()
    assert captured.found() == [("altered", (7,), ("v",)), ("deleted", (8,), ())]


@pytest.mark.slow
def test_lawful_traffic_of_other_processes(sqlite: World) -> None:
    _large(sqlite, 500)
    assert isinstance(sqlite.hospital, SqliteHospital)
    script = (
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "first = int(sys.argv[2])\n"
        "for n in range(150):\n"
        "    c.execute('INSERT INTO one VALUES (?, ?)', (first + n, 'new'))\n"
        "    c.execute('UPDATE one SET v = ? WHERE id = ?', (str(n), n))\n"
        "    c.execute('INSERT OR REPLACE INTO one VALUES (?, ?)', (200 + n, 'replaced'))\n"
        "    time.sleep(0.003)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(sqlite.hospital.path), str(10_000 * n)]) for n in (1, 2)]
    while any(writer.poll() is None for writer in writers):
        _sealing(sqlite, 0.2)
    assert [writer.returncode for writer in writers] == [0, 0]
    before = [entry for entry in sqlite.records() if entry.table == 1]
    _every_change_has_one_entry(sqlite)
    made = [entry for entry in sqlite.records() if entry.table == 1 and entry.flags & Flag.CAPTURED]
    assert len(made) == 2 * 150 * 3 and len(before) >= 500


@pytest.mark.slow
def test_changes_of_many_sessions_on_the_same_rows(pg: World) -> None:
    _large(pg, 50)
    assert isinstance(pg.hospital, PostgresHospital)
    stop = threading.Event()
    failed: list[BaseException] = []

    def write(number: int) -> None:
        rng = random.Random(number)
        try:
            with pg.hospital.connect() as connection:
                while not stop.is_set():
                    connection.execute("UPDATE one SET v = %s WHERE id = %s", (str(rng.random()), rng.randrange(50)))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    _sealing(pg, 2)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    _every_change_has_one_entry(pg)


# Memory

_MEMORY = """
import resource, sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from audit_world import World, SqliteHospital, new_home
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
world = World(SqliteHospital(folder / "h.db"), new_home(folder / "home"))
world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT, v TEXT)")
world.hospital.many("INSERT INTO t VALUES (?,?,?)", ((n, str(n % 500), "v" * 100) for n in range(rows)))
world.attach("t", subject="p")
world.seal()
result = world.audit()
assert result.ok and result.rows == rows
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    script, sizes = _MEMORY.format(here=str(Path(__file__).parent)), []
    for rows in (20_000, 100_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", script, str(folder), str(rows)], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        sizes.append(int(done.stdout))
    assert sizes[1] < 1.2 * sizes[0]


@pytest.fixture
def rolling(tmp_path: Path) -> Iterator[World]:
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    yield _large(world, 300)
    world.close()


def test_a_range_of_keys_finds_what_lies_in_it(rolling: World) -> None:
    table = attached_tables(rolling.home)[0]
    bound = (100 + 2**63).to_bytes(8, "big")
    rolling.hospital.behind("DELETE FROM one WHERE id IN (99, 100, 150)")
    low = rolling.audit(record=False, scope=Scope([table], {table.id: (None, bound)}, journal=False))
    high = rolling.audit(record=False, scope=Scope([table], {table.id: (bound, None)}, journal=False))
    assert [f.key["id"] for f in low.findings] == [99] and low.rows == 99
    assert [f.key["id"] for f in high.findings] == [100, 150] and high.rows == 198


def test_a_range_with_the_journal_tells_of_the_marks_of_all_tables(rolling: World) -> None:
    rolling.hospital.behind("UPDATE two SET v = 'forged' WHERE b = 7")
    rolling.hospital.run("UPDATE two SET v = 'later' WHERE b = 7")
    rolling.seal()
    table = attached_tables(rolling.home)[0]
    bound = (100 + 2**63).to_bytes(8, "big")
    part = rolling.audit(record=False, scope=Scope([table], {table.id: (None, bound)}))
    assert [shown(finding) for finding in part.findings] == [("altered", ("w0", 7), ("v",))]
    assert part.ok is False


def test_records_of_detached_tables_are_left_alone(rolling: World) -> None:
    rolling.hospital.behind("UPDATE two SET v = 'forged' WHERE b = 7")
    assert rolling.detach("two", with_findings=True).done
    rolling.seal()
    rolling.assert_intact()
    assert sum(isinstance(entry, RecordEntry) for entry in rolling.entries()) == 600
