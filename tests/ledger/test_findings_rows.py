"""Altered, deleted and inserted rows, on both engines and in both captures."""

from __future__ import annotations

from typing import Any

import pytest
from audit_world import World, one, visits

from ledger.errors import LedgerError
from ledger.findings import FindingKind

SQLITE_CHANGES = [
    ("INTEGER", 5, 6),
    ("INTEGER", 0, None),
    ("INTEGER", 2**62, 2**62 + 1),
    ("REAL", 1.5, 1.5000000000000002),
    ("TEXT", "", None),
    ("TEXT", "高血压", "高血糖"),
    ("TEXT", "a", "a "),
    ("TEXT", "a", "A"),
    ("TEXT COLLATE NOCASE", "a", "A"),
    ("TEXT", "1.10", "1.1"),
    ("TEXT", "e\u0301", "\u00e9"),
    ("BLOB", b"", None),
    ("BLOB", b"\x00\x01", b"\x00\x02"),
    ("BLOB", b"x", "x"),
    ("BLOB", 1, 1.0),
    ("BLOB", 1, "1"),
    ("BLOB", 1.0, "1.0"),
    ("NUMERIC(10,2)", 1.1, 1.11),
    ("NUMERIC(10,2)", None, 0),
    ("JSON", '{"a":1}', '{"a": 1}'),
    ("DATE", "2024-02-29", "2024-03-01"),
    ("BOOLEAN", 1, 0),
    ("", "7", 7),
    ("INTEGER", 1, "one"),
]
POSTGRES_CHANGES = [
    ("smallint", 5, 6),
    ("integer", 0, None),
    ("bigint", 2**62, 2**62 + 1),
    ("double precision", "1.5", "1.5000000000000002"),
    ("double precision", "0", "-0"),
    ("double precision", "1", "NaN"),
    ("real", "1.5", "1.5000001"),
    ("numeric", "1.10", "1.1"),
    ("numeric(10,2)", "1.10", "1.11"),
    ("numeric", "1", "1.0"),
    ("text", "", None),
    ("text", "\\N", None),
    ("text", "高血压", "高血糖"),
    ("text", "a\tb", "a b"),
    ("text", "a", "A"),
    ("varchar(20)", "a", "a "),
    ("char(5)", "a", "b"),
    ("boolean", True, False),
    ("date", "2024-02-29", "2024-03-01"),
    ("date", "infinity", "2024-03-01"),
    ("time", "10:00", "10:00:00.000001"),
    ("timestamp", "2024-01-01 10:00", "2024-01-01 10:00:00.000001"),
    ("timestamptz", "2024-01-01 10:00+00", "2024-01-01 10:00+01"),
    ("interval", "1 day", "24 hours"),
    ("bytea", b"\x00\x01", b"\x00\x02"),
    ("bytea", b"", None),
    ("uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
    ("json", '{"a":1}', '{"a": 1}'),
    ("jsonb", '{"a":1}', '{"a":1.0}'),
    ("text[]", "{a,NULL}", '{a,"NULL"}'),
    ("integer[]", "{}", "{{1}}"),
]


def _typed(world: World, changes: list[tuple[str, Any, Any]], chosen: int) -> None:
    """One table with a column for each case and two rows; then one column of one row is changed behind capture."""
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(changes))
    world.hospital.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
    marks = ", ".join("?" for _ in changes)
    for row in (1, 2):
        world.hospital.run(f"INSERT INTO t VALUES ({row}, {marks})", *(value for _, value, _ in changes))


@pytest.mark.parametrize("capture", ["triggers", "scan"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_change_of_any_type_is_named_with_its_column(
    engine: str, capture: str, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    from audit_world import make_world

    world = make_world(engine, capture, tmp_path, lambda: request.getfixturevalue("postgres"))
    changes = SQLITE_CHANGES if engine == "sqlite" else POSTGRES_CHANGES
    _typed(world, changes, 0)
    world.attach("t")
    world.seal()
    world.assert_intact()
    for n, (kind, before, after) in enumerate(changes):
        world.hospital.behind(f"UPDATE t SET c{n} = ? WHERE id = 2", after)
        assert world.found() == [("altered", (2,), (f"c{n}",))], f"{kind}: {before!r} became {after!r}"
        world.hospital.behind(f"UPDATE t SET c{n} = ? WHERE id = 2", before)
    world.assert_intact()
    world.close()


def test_every_changed_column_is_named_and_no_other(world: World) -> None:
    visits(world)
    world.hospital.behind("UPDATE visit SET ward = 'west', note = '', patient = 'P9' WHERE id IN (4, 7)")
    assert world.found() == [("altered", (4,), ("patient", "ward", "note")), ("altered", (7,), ("patient", "ward", "note"))]


@pytest.mark.parametrize("count", [64, 65, 127, 256])
def test_columns_are_named_in_wide_tables(world: World, count: int) -> None:
    columns = ", ".join(f"c{n} INTEGER" for n in range(1, count))
    world.hospital.run(f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {columns})")
    world.hospital.run(f"INSERT INTO wide VALUES ({', '.join('1' * count)})")
    world.attach("wide")
    world.seal()
    world.assert_intact()
    named = ("c1", f"c{count // 2}", f"c{count - 1}")
    world.hospital.behind(f"UPDATE wide SET {', '.join(f'{name} = 2' for name in named)} WHERE id = 1")
    [(kind, key, columns_found)] = world.found()
    assert (kind, key) == ("altered", (1,))
    # With 256 columns a tag is one byte: a changed field can go unnamed, though the row never does, and no intact one is named.
    assert set(columns_found) <= set(named)
    assert count > 127 or columns_found == named


def test_a_wider_table_than_can_be_committed_to_is_refused(world: World) -> None:
    world.hospital.run(f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {', '.join(f'c{n} INTEGER' for n in range(256))})")
    with pytest.raises(LedgerError, match="256 can be committed to"):
        world.attach("wide")


def test_a_deleted_row_is_found(world: World) -> None:
    visits(world)
    world.hospital.behind("DELETE FROM visit WHERE id IN (1, 10)")
    assert world.found() == [("deleted", (1,), ()), ("deleted", (10,), ())]
    assert world.audit(record=False).rows == 8


def test_all_rows_deleted_are_found(world: World) -> None:
    visits(world)
    world.hospital.behind("DELETE FROM visit")
    assert world.found() == [("deleted", (n,), ()) for n in range(1, 11)]


def test_a_row_inserted_behind_the_triggers_is_found(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("INSERT INTO visit (id, patient) VALUES (0, 'x'), (99, 'x')")
    assert captured.found() == [("inserted", (0,), ()), ("inserted", (99,), ())]
    captured.seal()
    assert captured.found() == [("inserted", (0,), ()), ("inserted", (99,), ())]


def test_a_new_row_of_a_scanned_table_is_refused_by_policy(scanned: World) -> None:
    visits(scanned, policy="pending")
    scanned.hospital.run("INSERT INTO visit (id, patient) VALUES (99, 'x')")
    for _ in range(2):
        assert scanned.found() == [("inserted", (99,), ())]
        scanned.seal()


def test_a_new_row_of_a_scanned_table_is_pending_then_sealed(scanned: World) -> None:
    visits(scanned, policy="adopt")
    scanned.hospital.run("INSERT INTO visit (id, patient) VALUES (0, 'x'), (99, 'x')")
    scanned.assert_intact(pending=2)
    assert scanned.seal() == 2
    scanned.assert_intact()
    scanned.hospital.behind("UPDATE visit SET patient = 'y' WHERE id = 99")
    assert scanned.found() == [("altered", (99,), ("patient",))]


def test_a_scan_takes_up_neither_changed_nor_missing_rows(scanned: World) -> None:
    visits(scanned)
    scanned.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 2")
    scanned.hospital.run("DELETE FROM visit WHERE id = 3")
    for _ in range(3):
        assert scanned.found() == [("altered", (2,), ("ward",)), ("deleted", (3,), ())]
        scanned.seal()


def test_two_rows_that_swap_their_contents_are_both_altered(world: World) -> None:
    visits(world)
    world.hospital.behind("UPDATE visit SET patient = CASE id WHEN 1 THEN 'P2' ELSE 'P1' END WHERE id IN (1, 2)")
    assert world.found() == [("altered", (1,), ("patient",)), ("altered", (2,), ("patient",))]
    world.hospital.behind("UPDATE visit SET patient = CASE id WHEN 1 THEN 'P1' ELSE 'P2' END WHERE id IN (1, 2)")
    world.hospital.behind("UPDATE visit SET id = -1 WHERE id = 1")
    world.hospital.behind("UPDATE visit SET id = 1 WHERE id = 2")
    world.hospital.behind("UPDATE visit SET id = 2 WHERE id = -1")
    assert [(kind, key) for kind, key, _ in world.found()] == [("altered", (1,)), ("altered", (2,))]


def test_a_row_under_another_key_is_a_deleted_and_an_inserted_one(captured: World) -> None:
    visits(captured)
    captured.hospital.behind("UPDATE visit SET id = 50 WHERE id = 5")
    assert captured.found() == [("deleted", (5,), ()), ("inserted", (50,), ())]


def test_an_older_sealed_version_put_back_is_found(captured: World) -> None:
    visits(captured)
    captured.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 5")
    captured.seal()
    captured.assert_intact()
    captured.hospital.behind("UPDATE visit SET ward = 'east' WHERE id = 5")
    found = one(captured.audit(record=False).findings, FindingKind.ALTERED)
    assert (found.key, found.columns, found.version) == ({"id": 5}, ("ward",), 2)


def test_a_change_undone_is_no_finding(world: World) -> None:
    visits(world)
    world.hospital.behind("UPDATE visit SET ward = 'west'")
    assert len(world.found()) == 10
    world.hospital.behind("UPDATE visit SET ward = 'east'")
    world.assert_intact()


KEYS = {
    "sqlite": [
        ("k TEXT PRIMARY KEY", ["a", "B", "", "高", "a\0b", "z" * 300]),
        ("k REAL PRIMARY KEY", [1.5, -2.25, 0.0, 1e300, float("inf")]),
        ("k DECIMAL(10,2) PRIMARY KEY", [1, 1.5, -7, 2**53]),
        ("k BLOB PRIMARY KEY", [b"", b"\0", b"\xff\xff", b"abc"]),
        ("k DATE PRIMARY KEY", ["2024-01-01", "1900-12-31"]),
        ("k PRIMARY KEY", [1, 1.5, "1", b"1"]),
    ],
    "postgresql": [
        ("k text PRIMARY KEY", ["a", "B", "", "高", "a b", "z" * 300]),
        ("k bigint PRIMARY KEY", [-(2**63), -1, 0, 1, 2**63 - 1]),
        ("k numeric(10,2) PRIMARY KEY", ["1.50", "-7.00", "10.00", "2.00"]),
        ("k numeric PRIMARY KEY", ["1.5", "-7", "10", "2.0"]),
        ("k bytea PRIMARY KEY", ["\\x", "\\x00", "\\xffff", "\\x616263"]),
        ("k date PRIMARY KEY", ["2024-01-01", "1900-12-31", "infinity"]),
        ("k uuid PRIMARY KEY", ["00000000-0000-0000-0000-000000000001", "f0000000-0000-0000-0000-000000000002"]),
        ("k timestamptz PRIMARY KEY", ["2024-01-01 10:00:00+00", "1999-01-01 10:00:00.5+00"]),
        ("k boolean PRIMARY KEY", ["t", "f"]),
    ],
}


def test_keys_of_every_type_are_told_as_they_are(world: World) -> None:
    for number, (declared, keys) in enumerate(KEYS[world.hospital.engine]):
        table = f"t{number}"
        world.hospital.run(f"CREATE TABLE {table} ({declared}, v INTEGER)")
        world.hospital.many(f"INSERT INTO {table} VALUES (?, 1)", [(key,) for key in keys])
        world.attach(table)
    world.seal()
    world.assert_intact()
    for number, (_, keys) in enumerate(KEYS[world.hospital.engine]):
        for key in keys:
            world.hospital.behind(f"UPDATE t{number} SET v = 2 WHERE k = ?", key)
            found = one(world.audit(record=False, tables=[f"t{number}"]).findings, FindingKind.ALTERED)
            told = found.key["k"]
            assert found.columns == ("v",)
            assert told == (key.hex() if isinstance(key, bytes) else key) or told == f"\\x{key}", (number, key, told)
            world.hospital.behind(f"DELETE FROM t{number} WHERE k = ?", key)
            gone = one(world.audit(record=False, tables=[f"t{number}"]).findings, FindingKind.DELETED)
            assert gone.key == found.key
            world.hospital.behind(f"INSERT INTO t{number} VALUES (?, 1)", key)
            assert world.found(tables=[f"t{number}"]) == []


def test_composite_keys_are_told_by_column(world: World) -> None:
    world.hospital.run("CREATE TABLE item (visit INTEGER, code VARCHAR(9), n INTEGER, v TEXT, PRIMARY KEY (visit, code, n))")
    world.hospital.many("INSERT INTO item VALUES (?,?,?,'x')", [(v, c, n) for v in (1, 2, 11) for c in ("a", "ab", "b") for n in (1, 2)])
    world.attach("item")
    world.seal()
    world.assert_intact()
    world.hospital.behind("UPDATE item SET v = 'y' WHERE visit = 11 AND code = 'ab' AND n = 2")
    world.hospital.behind("DELETE FROM item WHERE visit = 1 AND code = 'a' AND n = 1")
    found = world.audit(record=False).findings
    assert [(f.kind, f.key) for f in found] == [
        (FindingKind.DELETED, {"visit": 1, "code": "a", "n": 1}),
        (FindingKind.ALTERED, {"visit": 11, "code": "ab", "n": 2}),
    ]


def test_a_declared_key_identifies_rows(world: World) -> None:
    world.hospital.run("CREATE TABLE bed (ward TEXT NOT NULL, number INTEGER NOT NULL, patient TEXT)")
    world.hospital.many("INSERT INTO bed VALUES (?,?,'P')", [(w, n) for w in "ab" for n in range(3)])
    world.attach("bed", key=("ward", "number"))
    world.seal()
    world.assert_intact()
    world.hospital.behind("UPDATE bed SET patient = 'Q' WHERE ward = 'b' AND number = 1")
    assert world.found() == [("altered", ("b", 1), ("patient",))]


def test_a_second_row_under_a_declared_key_is_found_and_never_sealed(world: World) -> None:
    world.hospital.run("CREATE TABLE bed (ward TEXT NOT NULL, number INTEGER NOT NULL, patient TEXT)")
    world.hospital.many("INSERT INTO bed VALUES (?,?,'P')", [(w, n) for w in "ab" for n in range(3)])
    world.attach("bed", key=("ward", "number"))
    world.seal()
    world.hospital.behind("INSERT INTO bed VALUES ('b', 1, 'Q')")
    for _ in range(2):
        [(kind, key, _)] = world.found()
        assert (kind in ("altered", "inserted"), key) == (True, ("b", 1))
        assert world.seal() == 0
    world.hospital.behind("DELETE FROM bed WHERE patient = 'Q'")
    world.assert_intact()


def test_an_empty_table_is_intact_until_a_row_appears(captured: World) -> None:
    captured.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    captured.attach("t")
    captured.seal()
    captured.assert_intact()
    captured.hospital.behind("INSERT INTO t VALUES (1, 'x')")
    assert captured.found() == [("inserted", (1,), ())]


def test_only_the_tables_in_scope_are_audited(world: World) -> None:
    visits(world)
    world.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT)")
    world.hospital.run("INSERT INTO other VALUES (1, 'x')")
    world.attach("other")
    world.seal()
    world.hospital.behind("UPDATE other SET v = 'y'")
    world.hospital.behind("DELETE FROM visit WHERE id = 1")
    assert world.found(tables=["visit"]) == [("deleted", (1,), ())]
    assert world.found(tables=["other"]) == [("altered", (1,), ("v",))]
    assert len(world.found()) == 2
