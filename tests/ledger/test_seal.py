"""Sealing: one entry for each captured change, the last with content, whatever is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from audit_world import START, World, visits

from ledger.batch import Batch
from ledger.errors import HomeError, SourceError
from ledger.home import Home
from ledger.merkle import verify_consistency
from ledger.seal import Sealed, seal
from ledger.wire import NO_AUTHOR, Flag, Kind


class Stopped(BaseException):
    """Stands for the process being killed."""


def _chains(world: World) -> dict[bytes, list[int]]:
    """The versions of each record, in the order of the journal."""
    chains: dict[bytes, list[int]] = {}
    for entry in world.records():
        chains.setdefault(entry.record, []).append(entry.version)
    return chains


def test_the_baseline_has_one_entry_for_each_row(world: World) -> None:
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    world.hospital.many("INSERT INTO t VALUES (?, 'x')", [(n,) for n in range(5)])
    world.attach("t")
    sealed = seal(world.home, START)
    assert (sealed.added, len(world.records())) == (5, 5)
    for entry in world.records():
        assert entry.flags == Flag.BASELINE | Flag.CONTENT and entry.kind is Kind.WRITTEN
        assert (entry.version, entry.previous, entry.table, entry.author, entry.time) == (1, None, 1, NO_AUTHOR, START)
    assert len({entry.record for entry in world.records()}) == 5
    assert len({entry.row_digest for entry in world.records()}) == 5


def test_every_change_of_a_row_is_an_entry_and_the_last_has_content(captured: World) -> None:
    visits(captured, deletable=True)
    before = len(captured.records())
    for n in range(3):
        captured.hospital.run("UPDATE visit SET note = ? WHERE id = 3", f"v{n}")
    captured.hospital.run("INSERT INTO visit (id) VALUES (50)")
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id = 50")
    captured.hospital.run("DELETE FROM visit WHERE id = 4")
    captured.hospital.run("UPDATE visit SET id = 60 WHERE id = 5")
    assert captured.seal() == 7
    made = captured.records()[before:]
    assert [(entry.kind.name, entry.version, bool(entry.flags & Flag.CONTENT), bool(entry.flags & Flag.MOVED)) for entry in made] == [
        ("AMENDED", 2, False, False),
        ("AMENDED", 3, False, False),
        ("AMENDED", 4, True, False),
        ("WRITTEN", 1, False, False),
        ("AMENDED", 2, True, False),
        ("DELETED", 2, False, False),
        ("AMENDED", 2, True, True),
    ]
    assert all(entry.flags & Flag.CAPTURED for entry in made)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in _chains(captured).values())


def test_a_row_deleted_and_inserted_again_goes_on_in_its_record(captured: World) -> None:
    visits(captured, deletable=True)
    captured.hospital.run("DELETE FROM visit WHERE id = 3")
    captured.seal()
    captured.hospital.run("INSERT INTO visit (id, note) VALUES (3, 'again')")
    captured.seal()
    captured.assert_intact()
    assert [entry.kind.name for entry in captured.records()[-2:]] == ["DELETED", "WRITTEN"]
    assert captured.records()[-1].version == 3 and captured.records()[-1].record == captured.records()[-2].record


def test_nothing_new_is_no_entry_and_no_checkpoint(world: World) -> None:
    visits(world)
    size = world.home.journal.size
    before = world.home.journal.latest()
    assert seal(world.home, world.tick()) == Sealed(0, before)
    assert world.home.journal.size == size


def test_every_checkpoint_extends_the_one_before(captured: World) -> None:
    visits(captured)
    for n in range(4):
        captured.hospital.run("UPDATE visit SET note = ? WHERE id <= ?", str(n), n + 1)
        captured.seal()
    sizes = sorted(captured.anchored)
    for one, two in pairwise(sizes):
        proof = captured.home.journal.tree.consistency_proof(one, two)
        verify_consistency(one, two, captured.anchored[one], captured.anchored[two], proof)


def test_a_key_that_is_not_unique_is_refused_by_name(scanned: World) -> None:
    scanned.hospital.run("CREATE TABLE bed (ward TEXT NOT NULL, patient TEXT)")
    scanned.attach("bed", key=("ward",))
    scanned.hospital.run("INSERT INTO bed VALUES ('a', 'P'), ('a', 'Q')")
    with pytest.raises(SourceError, match=r"its key \(ward\) is not unique"):
        scanned.seal()
    assert scanned.records() == []


def test_a_key_that_repeats_at_the_border_of_runs_is_refused(scanned: World) -> None:
    scanned.hospital.run("CREATE TABLE bed (ward TEXT NOT NULL, patient TEXT)")
    scanned.attach("bed", key=("ward",))
    for border in (1000, 2000):
        scanned.hospital.run("DELETE FROM bed")
        keys = [f"{n:05}" for n in range(2500)]
        keys[border] = keys[border - 1]
        scanned.hospital.many("INSERT INTO bed VALUES (?, 'P')", [(key,) for key in keys])
        with pytest.raises(SourceError, match="is not unique"):
            scanned.seal()


# Interruptions


def _interrupted(world: World, monkeypatch: pytest.MonkeyPatch, target: Any, name: str, after: bool, nth: int = 1) -> None:
    """One seal that is killed before or after the nth call of a function did its work."""
    real: Callable[..., Any] = getattr(target, name)
    calls = 0

    def replaced(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            raise Stopped
        result = real(*arguments, **options)
        if calls == nth:
            raise Stopped
        return result

    with monkeypatch.context() as patch:
        patch.setattr(target, name, replaced)
        with pytest.raises(Stopped):
            world.seal()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["consume1", "consume2", "consume3", "flush1", "flush2", "author1"])
def test_a_seal_killed_at_any_step_loses_and_doubles_nothing(
    captured: World, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    import ledger.seal

    captured.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT)")
    visits(captured, deletable=True)
    captured.attach("other")
    captured.seal()
    before = len(captured.records())
    captured.hospital.run("UPDATE visit SET note = 'a' WHERE id < 4")
    captured.hospital.run("DELETE FROM visit WHERE id = 7")
    captured.hospital.run("INSERT INTO other VALUES (1, 'x')")
    target = ledger.seal if step.startswith("consume") else Batch
    _interrupted(captured, monkeypatch, target, step[:-1], after, int(step[-1]))
    assert captured.found() == []
    captured.hospital.run("UPDATE visit SET note = 'b' WHERE id = 1")
    captured.hospital.run("INSERT INTO other VALUES (2, 'x')")
    captured.seal()
    captured.assert_intact()
    assert captured.queue("visit") == captured.queue("other") == 0
    made = captured.records()[before:]
    assert len(made) == 3 + 1 + 1 + 1 + 1
    assert all(versions == list(range(1, len(versions) + 1)) for versions in _chains(captured).values())
    assert captured.home.store.db.execute("SELECT count(*) FROM to_consume").fetchone() == (0,)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_first_seal_killed_leaves_all_of_the_baseline(world: World, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    world.hospital.many("INSERT INTO t VALUES (?, 'x')", [(n,) for n in range(50)])
    world.attach("t")
    _interrupted(world, monkeypatch, Batch, "flush", False, nth)
    world.assert_intact(pending=50)
    assert world.seal() == 50
    world.assert_intact()


def test_a_database_that_fails_leaves_the_tables_before_it_sealed(captured: World) -> None:
    visits(captured)
    captured.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT)")
    captured.attach("other")
    captured.seal()
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id = 1")
    captured.hospital.run("DROP TABLE other")
    with pytest.raises(SourceError):
        captured.seal()
    assert captured.queue("visit") == 0
    assert {kind for kind, _, _ in captured.found()} == {"schema_changed"}


def test_a_home_that_cannot_be_written_loses_nothing(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET note = 'x' WHERE id < 4")
    db = captured.home.store.db
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}")
    captured.hospital.many("UPDATE visit SET note = ? WHERE id = 9", [(str(n),) for n in range(2000)])
    with pytest.raises(HomeError, match="no space left"):
        captured.seal()
    assert captured.queue("visit") == 2003
    db.execute("PRAGMA max_page_count=1000000")
    assert captured.seal() == 2003
    captured.assert_intact()


def test_a_home_is_written_by_one_process_at_a_time(world: World) -> None:
    visits(world)
    with Home.open(world.home.path, lambda: b"pass") as home:
        assert home.journal.size == world.home.journal.size
        with pytest.raises(HomeError, match="another process"), Home.open(world.home.path, lambda: b"pass", wait=0.1):
            pass


def test_a_large_queue_is_sealed_in_bounded_runs(captured: World) -> None:
    visits(captured)
    captured.hospital.many("INSERT INTO visit (id, note) VALUES (?, 'n')", [(n,) for n in range(100, 6200)])
    captured.hospital.run("UPDATE visit SET note = 'm' WHERE id >= 100")
    assert captured.seal() == 12_200
    captured.assert_intact()
    assert captured.queue("visit") == 0
