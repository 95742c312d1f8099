"""A machine that does lawful and unlawful things to a table at random, and a model that knows which keys must be reported.

The model knows what the application and the administrator did; it is told in terms of rows, and shares no code with the ledger.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from audit_world import World, make_world
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from ledger.findings import FindingKind
from ledger.wire import RecordEntry

COLUMNS = ("a", "b", "c")
Row = tuple[Any, ...]
LOST: Row = ("lost",)  # the content of a version whose row was gone when it was sealed


def differing(one: Row, other: Row) -> set[str]:
    return {name for name, x, y in zip(COLUMNS, one, other, strict=True) if x != y}


@dataclass
class Record:
    """What the ledger may know of one row's life."""

    live: bool = False
    sealed: Row | None = None  # as it was last sealed
    # Since the last seal: the row before its last change, the columns that changed, and whether capture knows them exactly: not after
    # a REPLACE, and less so (None) on PostgreSQL.
    sight: tuple[Row, set[str], bool | None] | None = None
    unseen: bool = False  # since the last seal it was inserted, and capture keeps no image of that
    changes: int = 0

    def contradicted_by(self, row: Row) -> bool:
        """Whether a row cannot be what its last change since the last seal made of it."""
        if self.sight is None:
            return False
        before, changed, exact = self.sight
        met = differing(before, row)
        return not met <= changed if exact is None or (met and not exact) else met != changed

    marked: bool = False  # for ever
    marking: bool = False  # from the next seal on
    noted: int = 0  # the key under which it was marked last


class Machine(RuleBasedStateMachine):
    """A table of six keys at most, on SQLite, or on PostgreSQL where a server is given."""

    keys = st.integers(0, 5)
    values = st.sampled_from(["x", "y", "", None, "1", "高", "closed"])
    fields = st.sampled_from(COLUMNS)

    def __init__(self, server: Any = None) -> None:
        super().__init__()
        self.server, self.sqlite = server, server is None

    @initialize(
        capture=st.sampled_from(["triggers", "triggers", "triggers", "scan"]),
        deletable=st.booleans(),
        immutable=st.sampled_from([(), ("b",), ("a", "b")]),
        final=st.sampled_from([None, "a = 'closed'"]),
        subject=st.sampled_from([None, "c", "@row"]),
        algorithm=st.sampled_from(["sha256", "sha256", "sm3"]),
        copies=st.booleans(),
        first=st.sets(keys),
        recursive=st.booleans(),
        unique=st.booleans(),
        key_type=st.sampled_from(["INTEGER", "TEXT", "TEXT WITHOUT ROWID"]),
    )
    def begin(  # type: ignore[no-untyped-def]
        self, capture, deletable, immutable, final, subject, algorithm, copies, first, recursive, unique, key_type
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="careseal-machine-"))
        self.world: World = make_world("sqlite" if self.sqlite else "postgresql", capture, self.folder, lambda: self.server)
        run, kind = self.world.hospital.run, "BLOB" if self.sqlite else "TEXT"
        if self.sqlite:
            run(f"PRAGMA recursive_triggers={int(recursive)}")
        key_type, _, option = key_type.partition(" ")
        option = option if self.sqlite else ""
        self.name = (lambda key: f"k{key}") if key_type == "TEXT" else (lambda key: key)
        self.unique = unique
        run(f"CREATE TABLE t (id {key_type} PRIMARY KEY, a {kind}, b {kind}, c {kind} {'UNIQUE' if unique else ''}) {option}")
        self.triggers = capture == "triggers"
        self.deletable, self.immutable, self.final = deletable, set(immutable), final
        judged = {"deletable": deletable, "immutable": immutable, "final": final} if self.triggers else {}
        self.now: dict[int, Row] = {}
        self.records: dict[int, Record] = {}
        self.gone: list[Record] = []  # records whose key another one took
        self.touched: set[int] = set()
        self.swept: set[int] = set()  # of these, the keys that only a TRUNCATE touched: what is there now came in unseen
        self.announced: set[int] = set()
        self.replaced: set[int] = set()  # keys of rows that a REPLACE removed since the last seal
        self.captured = 0
        for key in first:
            self.now[key] = ("x", "y", f"z{key}")
            run("INSERT INTO t VALUES (?,?,?,?)", self.name(key), *self.now[key])
            self.records[key] = Record(live=True, sealed=self.now[key])
        self.world.attach("t", subject=subject, algorithm=algorithm, copies=copies, **judged)
        self.world.seal()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
            shutil.rmtree(self.folder)

    # What capture sees

    def _touch(self, *keys: int) -> None:
        self.touched.update(keys)
        self.swept.difference_update(keys)

    def _judge(self, key: int, record: Record) -> None:
        """The row as it is now is the one before a captured change."""
        before = self.now[key]
        if not record.live:
            record.live, record.sealed, record.marking, record.noted = True, before, True, key
        elif record.sight is not None:
            if record.contradicted_by(before):
                record.marking, record.noted = True, key
        elif not record.unseen and before != record.sealed:
            record.marking, record.noted = True, key

    def _changed(self, key: int, new_key: int, after: Row, *, replaced: bool = False) -> None:
        """An update, or a replacement, of the row that is there."""
        changed = differing(self.now[key], after)
        if not self.sqlite and not changed and key == new_key:
            return  # PostgreSQL's capture leaves out updates that change nothing
        record, before = self.records.setdefault(key, Record()), self.now[key]
        self._judge(key, record)
        closed = self.final is not None and before[0] == "closed"
        if changed & self.immutable or (closed and (changed or new_key != key)):
            record.marking, record.noted = True, key
        record.sight, record.unseen = (before, changed, not replaced if self.sqlite else None), False
        record.changes += 1
        self.captured += 1
        self.announced.discard(key)
        self._touch(key, new_key)
        if record.marking:
            record.noted = new_key
        if new_key != key:
            other = self.records.get(new_key)
            if other is not None:
                if other.live:
                    other.marking, other.noted = True, new_key
                self.gone.append(other)
            self.records[new_key] = self.records.pop(key)
            del self.now[key]
        self.now[new_key] = after

    def _inserted(self, key: int, row: Row) -> None:
        record = self.records.setdefault(key, Record())
        if record.live:
            record.marking, record.noted = True, key  # it had been deleted outside capture
        record.live, record.sight, record.unseen = True, None, True
        record.changes += 1
        self.captured += 1
        self.announced.discard(key)
        self._touch(key)
        self.now[key] = row

    def _deleted(self, key: int) -> None:
        record = self.records.setdefault(key, Record())
        self._judge(key, record)
        if not self.deletable or (self.final is not None and self.now[key][0] == "closed"):
            record.marking = True
        if record.marking:
            record.noted = key
        record.live, record.sight, record.unseen = False, None, False
        record.changes += 1
        self.captured += 1
        self.announced.discard(key)
        self._touch(key)
        del self.now[key]

    def _replaced_away(self, key: int) -> None:
        """A REPLACE removed the row: a deletion that capture learns of one way or another."""
        if self.triggers:
            self._deleted(key)
            self.replaced.add(key)
        else:
            del self.now[key]

    def _collides(self, key: int, c: Any) -> list[int]:
        """The keys of other rows with this value in the unique column."""
        return [other for other, row in self.now.items() if self.unique and c is not None and row[2] == c and other != key]

    @rule(key=keys, a=values, b=values, c=values)
    def insert(self, key: int, a: Any, b: Any, c: Any) -> None:
        if key not in self.now and not self._collides(key, c):
            self.world.hospital.run("INSERT INTO t VALUES (?,?,?,?)", self.name(key), a, b, c)
            if self.triggers:
                self._inserted(key, (a, b, c))
            else:
                self.now[key] = (a, b, c)

    @rule(key=keys, field=fields, value=values)
    def update(self, key: int, field: str, value: Any) -> None:
        if field == "c" and self._collides(key, value):
            return
        self.world.hospital.run(f"UPDATE t SET {field}=? WHERE id=?", value, self.name(key))
        if key in self.now:
            row = tuple(value if name == field else old for name, old in zip(COLUMNS, self.now[key], strict=True))
            if self.triggers:
                self._changed(key, key, row)
            else:
                self.now[key] = row

    @rule(key=keys, a=values, b=values, c=values, upsert=st.booleans())
    def replace(self, key: int, a: Any, b: Any, c: Any, upsert: bool) -> None:
        upsert = upsert or not self.sqlite
        if upsert:
            statement = "INSERT INTO t VALUES (?,?,?,?) ON CONFLICT (id) DO UPDATE SET a=excluded.a, b=excluded.b, c=excluded.c"
        else:
            statement = "INSERT OR REPLACE INTO t VALUES (?,?,?,?)"
        victims = self._collides(key, c)
        if upsert and victims:
            return
        self.world.hospital.run(statement, self.name(key), a, b, c)
        for victim in victims:
            self._replaced_away(victim)
        if not self.triggers:
            self.now[key] = (a, b, c)
        elif key in self.now:
            self._changed(key, key, (a, b, c), replaced=not upsert)
        else:
            self._inserted(key, (a, b, c))

    @rule(key=keys)
    def insert_or_ignore(self, key: int) -> None:
        if key in self.now:
            self.world.hospital.run("INSERT INTO t VALUES (?, 'i', 'i', NULL) ON CONFLICT DO NOTHING", self.name(key))
            if self.triggers and self.sqlite:
                self.announced.add(key)

    @rule(key=keys, new_key=keys)
    def move(self, key: int, new_key: int) -> None:
        if key in self.now and new_key not in self.now and self.triggers:
            self.world.hospital.run("UPDATE t SET id=? WHERE id=?", self.name(new_key), self.name(key))
            self._changed(key, new_key, self.now[key])

    @rule(key=keys, new_key=keys)
    def move_replacing(self, key: int, new_key: int) -> None:
        if key in self.now and new_key in self.now and key != new_key and self.triggers and self.sqlite:
            self.world.hospital.run("UPDATE OR REPLACE t SET id=? WHERE id=?", self.name(new_key), self.name(key))
            self._replaced_away(new_key)
            self.replaced.discard(new_key)
            self._changed(key, new_key, self.now[key])

    @rule(key=keys)
    def delete(self, key: int) -> None:
        if key not in self.now or (key in self.announced and self.triggers):
            return
        self.world.hospital.run("DELETE FROM t WHERE id=?", self.name(key))
        if self.triggers:
            self._deleted(key)
        else:
            del self.now[key]

    @rule()
    def truncate(self) -> None:
        if self.sqlite or not self.triggers:
            return
        self.world.hospital.run("TRUNCATE t")
        for key, record in self.records.items():
            if record.live:
                record.marking |= not self.deletable
                record.noted = key if record.marking else record.noted
                record.live, record.sight, record.unseen = False, None, False
                record.changes += 1
                self.captured += 1
                if key not in self.touched:
                    self.swept.add(key)
                self.touched.add(key)
        self.now = {}

    # What capture does not see

    @rule(key=keys, field=fields, value=values)
    def alter_behind(self, key: int, field: str, value: Any) -> None:
        if field == "c" and self._collides(key, value):
            return
        self.world.hospital.behind(f"UPDATE t SET {field}=? WHERE id=?", value, self.name(key))
        if key in self.now:
            self.now[key] = tuple(value if name == field else old for name, old in zip(COLUMNS, self.now[key], strict=True))

    @rule(key=keys)
    def delete_behind(self, key: int) -> None:
        # A row that INSERT OR IGNORE met and that is gone at the seal was, for all that capture knows, removed by a REPLACE.
        if key not in self.announced:
            self.world.hospital.behind("DELETE FROM t WHERE id=?", self.name(key))
            self.now.pop(key, None)

    @rule(key=keys, a=values)
    def insert_behind(self, key: int, a: Any) -> None:
        # Where a REPLACE had removed the row, capture takes it for one that was met and left alone.
        if key not in self.now and key not in self.replaced:
            self.world.hospital.behind("INSERT INTO t VALUES (?,?,'y',NULL)", self.name(key), a)
            self.now[key] = (a, "y", None)

    @rule(key=keys, new_key=keys)
    def move_behind(self, key: int, new_key: int) -> None:
        if key in self.now and new_key not in self.now and key not in self.announced and new_key not in self.replaced:
            self.world.hospital.behind("UPDATE t SET id=? WHERE id=?", self.name(new_key), self.name(key))
            self.now[new_key] = self.now.pop(key)

    @rule(one=keys, other=keys)
    def swap_behind(self, one: int, other: int) -> None:
        if one in self.now and other in self.now and one != other:
            with self.world.hospital.blind():
                self.world.hospital.run("UPDATE t SET c=NULL WHERE id=?", self.name(one))
                for key, row in ((other, self.now[one]), (one, self.now[other])):
                    if key == other:
                        self.world.hospital.run("UPDATE t SET c=NULL WHERE id=?", self.name(other))
                    self.world.hospital.run("UPDATE t SET a=?, b=?, c=? WHERE id=?", *row, self.name(key))
            self.now[one], self.now[other] = self.now[other], self.now[one]

    # The ledger

    @rule()
    def seal(self) -> None:
        before = len(self.world.records())
        self.world.seal()
        if self.triggers:
            # Every captured change has one entry; a row that was there unseen gets one more, before its change.
            made = self.world.records()[before:]
            assert sum(1 for entry in made if entry.flags & 8) >= self.captured
        for key, record in [*self.records.items(), *((record.noted, record) for record in self.gone)]:
            if record.changes and record.live and record not in self.gone:
                row = self.now.get(key)
                if row is not None and record.contradicted_by(row):
                    record.marking, record.noted = True, key
                record.sealed = LOST if row is None else row
            record.marked |= record.marking
            record.sight, record.unseen, record.changes, record.marking = None, False, 0, False
        if not self.triggers:
            for key, row in self.now.items():
                self.records.setdefault(key, Record(live=True, sealed=row))
        self.touched, self.swept, self.announced, self.replaced, self.captured = set(), set(), set(), set(), 0
        self.sealed_keys = dict(self.records)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def exactly_these_keys_are_reported(self) -> None:
        result = self.world.audit(record=False)
        told = [int(str(finding.key["id"]).removeprefix("k")) for finding in result.findings]
        expected = set()
        for key in {*self.now, *self.records}:
            record, row = self.records.get(key), self.now.get(key)
            if key in self.touched and not (key in self.swept and key in self.now):
                continue
            if record is None or not record.live:
                if row is not None and self.triggers:
                    expected.add(key)
            elif row != record.sealed:
                expected.add(key)
        # Marks of earlier seals are told under the key that the index has: the one at the last seal.
        index = getattr(self, "sealed_keys", {})
        held = {id(record): key for key, record in index.items()}
        for record in [*self.records.values(), *self.gone]:
            if record.marked:
                expected.add(held.get(id(record), record.noted))
        assert set(told) == expected, (result.findings, self.now, self.records)
        assert result.ok == (not expected)
        assert FindingKind.FORKED not in {finding.kind for finding in result.findings}
        assert all(isinstance(entry, RecordEntry) for entry in self.world.records())


def _run(machine: Callable[[], Machine], examples: int, steps: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=quiet)
    )


@pytest.mark.slow
def test_nothing_is_missed_and_nothing_falsely_found_on_sqlite() -> None:
    _run(Machine, 80, 25)


@pytest.mark.slow
def test_nothing_is_missed_and_nothing_falsely_found_on_postgresql(postgres: Any) -> None:
    _run(lambda: Machine(postgres), 15, 20)
