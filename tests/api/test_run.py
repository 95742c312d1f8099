"""`careseal run`: rounds that seal, publish and audit a part, so that everything is verified again within the given time."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from itertools import pairwise

import forked
import pytest
from world import PASSPHRASE, World, served

from anchoring.rolling import finish, next_part
from ledger.tables import attached_tables

ENVIRONMENT = {"CARESEAL_PASSPHRASE": PASSPHRASE}


@pytest.fixture
def larger(place):
    """Two tables of some hundred rows."""
    folder = place / "world"
    folder.mkdir()
    world = World(folder).init().attach()
    world.change([tuple(f"INSERT INTO visit VALUES ({n}, 'p{n % 9}', 'note')" for n in range(100, 400))])
    world.change([tuple(f"INSERT INTO lab_result VALUES ('b{n}', 'na', 'p1', {n})" for n in range(150))])
    world.ok("seal")
    return world


def behind_the_triggers(world: World, statement: str) -> None:
    behind(world.database, statement)


def behind(database, statement: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
        for name, _sql in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(statement)
        for _name, sql in triggers:
            connection.execute(sql)


def audited(outcome) -> int:
    return sum(int(line.split(" rows audited")[0].split()[-1]) for line in outcome.out.splitlines() if "rows audited" in line)


def test_all_rows_are_audited_within_the_time_and_each_once(larger):
    rounds = larger.ok("run", "--every", "1s", "--full-audit-every", "10s", "--cycles", "1")
    assert 0 < audited(rounds) < 200
    assert "0 findings" in rounds.out
    with larger.opened() as home:
        tables, now = [table.id for table in attached_tables(home)], 2e9
        for every, whole in ((1, 7), (60, 86_400), (3, 10)):
            now, ranges, journal = now + every, [], 0
            finish(home, next_part(home, 1, 1, now), now)
            rounds = 0
            while True:
                rounds += 1
                part = next_part(home, every, whole, now + every)
                assert part == next_part(home, every, whole, now + every)
                journal += part.scope.journal
                ranges += [(table.id, *part.scope.parts[table.id]) for table in part.scope.tables]
                now += every
                finish(home, part, now)
                if (part.table, part.key) == (0, None):
                    break
            assert rounds < whole / every + 2 and journal == 1
            for table in tables:
                mine = [(low, high) for number, low, high in ranges if number == table]
                assert mine[0][0] is None and mine[-1][1] is None
                assert all(left[1] == right[0] for left, right in pairwise(mine))


def test_a_round_that_comes_late_takes_more(larger):
    with larger.opened() as home:
        finish(home, next_part(home, 1, 1, 1e9), 1e9)
        total = home.store.db.execute("SELECT count(*) FROM state").fetchone()[0]

        def size(part) -> int:
            return sum(
                home.store.db.execute("SELECT count(*) FROM state WHERE tbl=? AND key>=? AND key<?",
                                      (table, low or b"", b"\xff" * 40 if high is None else high)).fetchone()[0]
                for table, (low, high) in part.scope.parts.items()
            )  # fmt: skip

        assert size(next_part(home, 1, 100, 1e9 + 1)) == size(next_part(home, 1, 100, 1e9 - 500)) == -(-total // 100)
        assert size(next_part(home, 1, 100, 1e9 + 20)) == -(-total * 20 // 100)
        assert next_part(home, 1, 100, 1e9 + 100).scope.parts == {}


@pytest.mark.parametrize("row", [("visit", "visit_id=1"), ("visit", "visit_id=399"), ("lab_result", "accession='b149'")], ids=str)
def test_an_alteration_anywhere_is_found_within_the_time(larger, row):
    table, where = row
    behind_the_triggers(larger, f"UPDATE {table} SET patient='p0' WHERE {where}")
    outcome = larger.run("run", "--every", "1s", "--full-audit-every", "4s", "--cycles", "6", before=no_waiting)
    assert outcome.code == 1 and f"ALTERED  {table}" in outcome.out


def test_a_finding_is_told_once_while_it_is_open_and_once_more_after_a_restart(larger):
    behind_the_triggers(larger, "UPDATE visit SET patient='p0' WHERE visit_id=120")
    behind_the_triggers(larger, "DELETE FROM lab_result WHERE accession='b7'")
    for whole in ("1s", "3s"):
        outcome = larger.run("run", "--every", "1s", "--full-audit-every", whole, "--cycles", "8", before=no_waiting)
        assert outcome.code == 1
        for line in ("NEW  ALTERED  visit [visit_id=120]", "NEW  DELETED  lab_result [accession=b7, item=na]"):
            assert outcome.out.count(line) == outcome.out.count(line.removeprefix("NEW  ")) == 1
        assert outcome.out.splitlines()[-1].endswith("2 findings: 0 new, 0 changed, 0 gone")


def test_programs_are_told_in_lines_what_came_and_went(larger):
    behind_the_triggers(larger, "UPDATE visit SET patient='p0' WHERE visit_id=120")
    outcome = larger.run("run", "--every", "1s", "--full-audit-every", "1s", "--cycles", "3", "--json", before=mending(larger.database))
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    rounds = [line for line in lines if line["event"] == "round"]
    assert [(line["findings"], line["new"], line["changed"], line["gone"]) for line in rounds] == [(1, 1, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)]
    assert [(line["event"], line["kind"], line["key"]) for line in lines if line["event"] != "round"] == [
        ("new", "altered", {"visit_id": 120}), ("gone", "altered", {"visit_id": 120})]  # fmt: skip
    assert rounds[0].keys() == {"event", "time", "added", "block", "rows", "mirror_faults", "findings", "new", "changed", "gone"}


def mending(database):
    """Between rounds the alteration is undone, behind the triggers as it was made."""

    def before() -> None:
        import threading

        def wait(self, timeout=None):
            behind(database, "UPDATE visit SET patient='p3' WHERE visit_id=120")

        threading.Event.wait = wait

    return before


def no_waiting() -> None:
    import threading

    threading.Event.wait = lambda self, timeout=None: False


def test_a_round_that_fails_is_told_and_the_next_one_takes_the_same_part(larger):
    away = larger.database.with_name("away.db")
    larger.database.rename(away)
    outcome = larger.run("run", "--every", "1s", "--full-audit-every", "9s", "--cycles", "2", before=no_waiting)
    assert outcome.code == 2 and outcome.out == "" and len(outcome.err.splitlines()) == 2 and "no database file" in outcome.err
    away.rename(larger.database)
    assert larger.ok("run", "--every", "1s", "--full-audit-every", "9s", "--cycles", "1").err == ""
    larger.settle()


def test_it_stops_when_it_is_asked_to(larger):
    with (larger.folder / "out").open("w+b") as out:
        child = forked.start("run", "--home", larger.home, "--every", "1s", out=out, err=out, environment=ENVIRONMENT)
        deadline = time.monotonic() + 20
        while "rows audited" not in (larger.folder / "out").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (larger.folder / "out").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("with_node", [False, True])
def test_killed_at_random_while_the_hospital_writes_it_loses_and_doubles_nothing(larger, with_node):
    random.seed(7 + with_node)
    with (larger.folder / "out").open("w+b") as out:
        for number in range(8):
            node = served(larger.chain, larger.folder / "node.log") if with_node else None
            process = node.__enter__() if node else None
            writer = start_writer(larger, number)
            worker = forked.start("run", "--home", larger.home, "--every", "1s", "--full-audit-every", "5s", out=out, err=out,
                                  before=no_waiting, environment=ENVIRONMENT)  # fmt: skip
            before, deadline = (larger.folder / "out").stat().st_size, time.monotonic() + 10
            while number % 4 == 3 and (larger.folder / "out").stat().st_size == before and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(random.uniform(0, 0.7))
            for child in random.sample([worker, writer, *([process] if process else [])], 2 + with_node):
                os.kill(child, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(child, 0)
            if node:
                node.__exit__(None, None, None)
    said = (larger.folder / "out").read_text()
    assert "Traceback" not in said and " 0 findings" in said and said.count("findings") == said.count(" 0 findings"), said
    larger.settle()


def start_writer(world: World, round_number: int) -> int:
    """A child that writes as fast as it can, each change with its note, until it is killed."""
    if child := os.fork():
        return child
    try:
        number = round_number * 1_000_000
        while True:
            number += 1
            visit = 10_000 + number
            world.change([
                (f"INSERT INTO visit VALUES ({visit}, 'p1', NULL)",),
                (f"UPDATE visit SET note='{number}' WHERE visit_id={visit}",),
                (f"UPDATE visit SET visit_id=-visit_id WHERE visit_id={visit}", f"DELETE FROM visit WHERE visit_id=-{visit}"),
                (f"UPDATE lab_result SET value={number} WHERE accession='b{number % 150}'",),
            ])
    finally:
        os._exit(1)
