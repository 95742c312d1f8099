"""The home's own database against the journal's root: whoever edits it shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audit_world import World, make_world, one, open_home, visits

from ledger.audit import Anchors, Scope
from ledger.errors import CaresealError, HomeError, KeyUnavailable
from ledger.findings import FindingKind
from ledger.keys import SubjectKeys
from ledger.merkle import leaf_hash
from ledger.store import Store
from ledger.tables import attached_tables
from ledger.tree import append
from ledger.wire import NO_DIGEST, Flag, Kind, RecordEntry, decode_entry, encode_record


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[World]:
    """Three hundred visits, of which one was amended and one deleted."""
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    visits(world, deletable=True)
    world.hospital.many("INSERT INTO visit (id, patient, ward) VALUES (?, 'P', 'east')", [(n,) for n in range(11, 301)])
    world.seal()
    world.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 5")
    world.hospital.run("DELETE FROM visit WHERE id = 7")
    world.seal()
    world.audit()
    world.assert_intact()
    yield world
    world.close()


def edit(world: World, statement: str, *values: Any) -> None:
    """An edit of `ledger.db`, which must have hit something."""
    assert world.home.store.db.execute(statement, values).rowcount


def kinds(world: World, **options: Any) -> set[FindingKind]:
    result = world.audit(record=False, **options)
    assert not result.ok
    return {finding.kind for finding in result.findings}


def state_of(world: World, key: int) -> tuple[bytes, int]:
    """Sort key and last entry of a visit."""
    sort_key = (key + 2**63).to_bytes(8, "big")
    [(entry,)] = world.home.store.db.execute("SELECT entry FROM state WHERE key=?", (sort_key,)).fetchall()
    return sort_key, entry


def forge(world: World, entry: RecordEntry) -> int:
    """Append an entry as a correct journal would have it."""
    body = encode_record(*(getattr(entry, name) for name in RecordEntry.__slots__))
    return world.home.journal.append([body])


# Entries and tiles


@pytest.mark.parametrize("at", [0, 1, 150, 255, 256, 300])
@pytest.mark.parametrize("anchored", [True, False])
def test_an_edited_entry(sealed: World, at: int, anchored: bool) -> None:
    [(body,)] = sealed.home.store.db.execute("SELECT body FROM entries WHERE idx=?", (at,)).fetchall()
    changed = bytearray(body)
    changed[-1] ^= 1
    edit(sealed, "UPDATE entries SET body=? WHERE idx=?", bytes(changed), at)
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed, **({} if anchored else {"anchors": Anchors(0, {})}))


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x02\x01", bytes(39), bytes(128), "text", 7, 1.5, b"\x01\x03" + bytes(126)])
def test_an_entry_that_is_none(sealed: World, body: Any) -> None:
    edit(sealed, "UPDATE entries SET body=? WHERE idx=?", body, 100)
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed)


def test_an_entry_rewritten_with_its_tiles_contradicts_the_anchored_root(sealed: World) -> None:
    db, bodies = sealed.home.store.db, [body for part in sealed.home.journal.bodies(0, 400) for body in part]
    entry = decode_entry(bodies[100])
    assert isinstance(entry, RecordEntry)
    edit(sealed, "UPDATE entries SET body=? WHERE idx=100", bodies[101])
    db.execute("DELETE FROM tiles")
    append(sealed.home.journal.tiles, 0, [leaf_hash(b) for b in [*bodies[:100], bodies[101], *bodies[101:]]])
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed)


def test_a_flag_of_violation_taken_out(sealed: World) -> None:
    sealed.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 9")
    sealed.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 9")
    sealed.seal()
    assert kinds(sealed) == {FindingKind.ALTERED}
    _, at = state_of(sealed, 9)
    body = bytearray(sealed.home.journal.entry(at))
    body[10] = 0
    edit(sealed, "UPDATE entries SET body=? WHERE idx=?", bytes(body), at)
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed)


@pytest.mark.parametrize("tile", [0, 1, 1 << 48])
@pytest.mark.parametrize("change", ["zeroblob(length(hashes))", "CAST(hashes||x'00' AS BLOB)", "x''"])
def test_an_edited_tile(sealed: World, tile: int, change: str) -> None:
    edit(sealed, f"UPDATE tiles SET hashes={change} WHERE id=?", tile)
    assert kinds(sealed, anchors=Anchors(0, {})) == {FindingKind.JOURNAL_ALTERED}


def test_a_missing_tile(sealed: World) -> None:
    edit(sealed, "DELETE FROM tiles WHERE id=0")
    assert kinds(sealed, anchors=Anchors(0, {})) == {FindingKind.JOURNAL_ALTERED}


@pytest.mark.parametrize("at", [0, 100, 200])
def test_an_entry_taken_out(sealed: World, at: int) -> None:
    edit(sealed, "DELETE FROM entries WHERE idx=?", at)
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed)


@pytest.mark.parametrize("to", [-1, 10**6])
def test_an_entry_under_another_number(sealed: World, to: int) -> None:
    edit(sealed, "UPDATE entries SET idx=? WHERE idx=?", to, 0 if to < 0 else sealed.home.journal.size - 1)
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed)


def test_a_forged_deletion_that_the_table_does_not_allow(tmp_path: Path) -> None:
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    visits(world)
    key, at = state_of(world, 3)
    last = decode_entry(world.home.journal.entry(at))
    assert isinstance(last, RecordEntry)
    nothing = {"row_digest": NO_DIGEST, "field_root": NO_DIGEST, "columns": 0, "tags": b""}
    index = forge(world, replace(last, kind=Kind.DELETED, flags=Flag.CAPTURED, version=2, previous=at, **nothing))
    edit(world, "UPDATE state SET entry=?, live=0 WHERE key=?", index, key)
    world.hospital.behind("DELETE FROM visit WHERE id = 3")
    world.seal()
    found = one(world.audit(record=False).findings, FindingKind.JOURNAL_ALTERED)
    assert "deletion that the table does not allow" in found.detail
    world.close()


# The index of records


def test_the_index_names_an_older_version(sealed: World) -> None:
    key, at = state_of(sealed, 5)
    before = decode_entry(sealed.home.journal.entry(at))
    assert isinstance(before, RecordEntry)
    edit(sealed, "UPDATE state SET entry=? WHERE key=?", before.previous, key)
    sealed.hospital.behind("UPDATE visit SET ward = 'east' WHERE id = 5")
    assert kinds(sealed) == {FindingKind.JOURNAL_ALTERED}


def test_the_index_hides_a_record_and_its_row_is_deleted(sealed: World) -> None:
    key, _ = state_of(sealed, 6)
    edit(sealed, "DELETE FROM state WHERE key=?", key)
    sealed.hospital.behind("DELETE FROM visit WHERE id = 6")
    assert kinds(sealed) == {FindingKind.JOURNAL_ALTERED}
    assert kinds(sealed, tables=["visit"]) == {FindingKind.JOURNAL_ALTERED}


def test_the_index_hides_a_record_and_its_row_is_altered(sealed: World) -> None:
    key, _ = state_of(sealed, 6)
    edit(sealed, "DELETE FROM state WHERE key=?", key)
    sealed.hospital.behind("UPDATE visit SET ward = 'x' WHERE id = 6")
    assert kinds(sealed) == {FindingKind.JOURNAL_ALTERED, FindingKind.INSERTED}


def test_a_hidden_record_stays_a_finding_after_a_lawful_update(sealed: World) -> None:
    key, _ = state_of(sealed, 6)
    edit(sealed, "DELETE FROM state WHERE key=?", key)
    sealed.hospital.run("UPDATE visit SET ward = 'x' WHERE id = 6")
    sealed.seal()
    assert kinds(sealed) == {FindingKind.JOURNAL_ALTERED, FindingKind.INSERTED}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE state SET live=0 WHERE key=?", "journal_altered"),
        ("UPDATE state SET live='x' WHERE key=?", "journal_altered"),
        ("UPDATE state SET entry=entry+1 WHERE key=?", "journal_altered"),
        ("UPDATE state SET entry=1000000 WHERE key=?", "journal_altered"),
        ("UPDATE state SET entry='x' WHERE key=?", "journal_altered"),
        ("UPDATE state SET entry=-1 WHERE key=?", "journal_altered"),
        ("UPDATE state SET entry=0 WHERE key=?", "journal_altered"),
        ("UPDATE state SET key=CAST(key AS TEXT) WHERE key=?", "journal_altered"),
        ("UPDATE state SET key=CAST(key||x'00' AS BLOB) WHERE key=?", "deleted"),
        ("UPDATE state SET key=x'00' WHERE key=?", "deleted"),
        ("UPDATE state SET tbl=99 WHERE key=?", "journal_altered"),
        ("UPDATE state SET sid=99 WHERE key=?", "secret_missing"),
        ("UPDATE state SET sid='x' WHERE key=?", "secret_missing"),
        ("INSERT INTO state SELECT tbl, x'80000000000003e7', entry, sid, live FROM state WHERE key=?", "journal_altered"),
    ],
)
def test_an_edited_index(sealed: World, statement: str, expected: str) -> None:
    key, _ = state_of(sealed, 6)
    edit(sealed, statement, key)
    assert FindingKind(expected) in kinds(sealed)
    sealed.hospital.behind("DELETE FROM visit WHERE id = 6")
    assert kinds(sealed) - {FindingKind.SECRET_MISSING}


def test_the_index_revives_a_deleted_record(sealed: World) -> None:
    key, _ = state_of(sealed, 7)
    edit(sealed, "UPDATE state SET live=1 WHERE key=?", key)
    assert kinds(sealed) == {FindingKind.JOURNAL_ALTERED}


def test_the_index_names_another_subject(tmp_path: Path) -> None:
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    visits(world, subject="patient")
    key, _ = state_of(world, 4)
    edit(world, "UPDATE state SET sid=sid%3+1 WHERE key=?", key)
    assert kinds(world) == {FindingKind.JOURNAL_ALTERED}
    world.close()


def test_an_index_that_is_wholly_gone_is_told_in_a_few_lines(sealed: World) -> None:
    edit(sealed, "DELETE FROM state")
    result = sealed.audit(record=False)
    told = [finding for finding in result.findings if finding.kind is FindingKind.JOURNAL_ALTERED]
    assert len(told) == 65
    assert "235 more" in told[-1].detail
    assert sum(finding.kind is FindingKind.INSERTED for finding in result.findings) == 299


# Tables, documents and notes


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tables",
        "UPDATE tables SET detached=1",
        "UPDATE tables SET sealed=0",
        "UPDATE tables SET options=replace(options, 'false', 'true')",
        "UPDATE tables SET options=replace(options, 'triggers', 'scan')",
        "UPDATE tables SET options=replace(options, '\"deletable\": true', '\"deletable\": false')",
        "UPDATE tables SET shape=replace(shape, '{\"name\": \"note\", \"type\": \"TEXT\"}, ', '')",
        "UPDATE tables SET shape=replace(shape, 'visit', 'visit2')",
        "UPDATE tables SET id=9",
    ],
)
def test_an_edited_list_of_tables_never_looks_intact(sealed: World, statement: str) -> None:
    sealed.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 9")
    sealed.hospital.run("UPDATE visit SET ward = 'west' WHERE id = 9")
    sealed.seal()
    edit(sealed, statement)
    try:
        found = kinds(sealed)
    except CaresealError:
        return  # could not verify: exit code 2, and nothing said
    assert FindingKind.JOURNAL_ALTERED in found


def test_a_row_inserted_while_the_list_of_tables_says_unsealed(tmp_path: Path) -> None:
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    world.hospital.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    world.attach("t")
    world.seal()
    world.hospital.behind("INSERT INTO t VALUES (1)")
    edit(world, "UPDATE tables SET sealed=0")
    for act in (world.seal, lambda: kinds(world)):
        with pytest.raises(HomeError, match="list of tables was changed"):
            act()
    world.close()


def test_options_that_are_edited_for_one_seal_only(sealed: World) -> None:
    edit(sealed, "UPDATE tables SET options=replace(options, 'triggers', 'scan')")
    with pytest.raises(HomeError, match="list of tables was changed"):
        sealed.seal()


def test_a_journal_whose_table_was_rebuilt_without_its_key(sealed: World) -> None:
    path = sealed.home.store.path
    sealed.home.store.db.executescript(
        "ALTER TABLE entries RENAME TO old; CREATE TABLE entries (idx, body); INSERT INTO entries SELECT * FROM old; DROP TABLE old"
    )
    with pytest.raises(HomeError, match="rebuilt by hand"):
        Store(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE documents SET body=replace(body, '\"deletable\":true', '\"deletable\":false') WHERE entry=0",
        "UPDATE documents SET salt=zeroblob(32) WHERE entry=0",
        "UPDATE documents SET body=replace(body, '\"findings\":0', '\"findings\":1') WHERE entry=(SELECT max(entry) FROM documents)",
        "UPDATE documents SET body=7 WHERE entry=(SELECT max(entry) FROM documents)",
        "DELETE FROM documents WHERE entry=(SELECT max(entry) FROM documents)",
        "DELETE FROM documents",
    ],
)
def test_an_edited_document(sealed: World, statement: str) -> None:
    edit(sealed, statement)
    assert kinds(sealed) == {FindingKind.JOURNAL_ALTERED}


def test_edited_words_about_a_violation_hide_none_and_are_found(sealed: World) -> None:
    sealed.hospital.behind("UPDATE visit SET note = 'forged' WHERE id IN (8, 9)")
    sealed.hospital.run("UPDATE visit SET ward = 'west' WHERE id IN (8, 9)")
    sealed.seal()
    expected = [("altered", (8,), ("note",)), ("altered", (9,), ("note",))]
    assert sealed.found() == expected
    at = max(index for index, entry in enumerate(sealed.entries()) if entry.kind is Kind.MARKS)
    edit(sealed, "UPDATE documents SET body=replace(body, 'note', 'ward') WHERE entry=?", at)
    found = sealed.found()
    assert sorted(kind for kind, _, _ in found) == ["altered", "altered", "journal_altered"]


def test_a_made_up_note_of_a_clean_audit_moves_no_intact_at(sealed: World) -> None:
    sealed.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 8")
    sealed.audit()
    sealed.seal()
    before = one(sealed.audit(record=False).findings, FindingKind.ALTERED).intact_at
    edit(sealed, "UPDATE audits SET clean=1")
    edit(sealed, "INSERT INTO audits SELECT entry+1, tbl, low, high, size, 1 FROM audits ORDER BY entry DESC LIMIT 1")
    assert before is not None
    assert one(sealed.audit(record=False).findings, FindingKind.ALTERED).intact_at == before


def test_a_forged_copy_is_never_shown(tmp_path: Path) -> None:
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    visits(world, copies=True)
    world.hospital.behind("UPDATE visit SET note = 'forged' WHERE id = 8")
    shown = one(world.audit(record=False, values=True).findings, FindingKind.ALTERED)
    assert (shown.before, shown.after) == ({"note": None}, {"note": "forged"})
    _, at = state_of(world, 8)
    edit(world, "UPDATE copies SET body=(SELECT body FROM copies WHERE entry=?) WHERE entry=?", at - 1, at)
    assert one(world.audit(record=False, values=True).findings, FindingKind.ALTERED).before is None
    world.close()


def test_a_change_marked_as_consumed_is_an_altered_row(sealed: World) -> None:
    sealed.hospital.run("UPDATE visit SET note = 'x' WHERE id = 8")
    [(queue,)] = sealed.hospital.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'careseal_queue%' AND type='table'")
    [(uid, seq)] = sealed.hospital.rows(f"SELECT uid, seq FROM {queue}")
    edit(sealed, "INSERT INTO consumed VALUES (?)", uid + seq.to_bytes(8, "big"))
    sealed.seal()
    assert sealed.found() == [("altered", (8,), ("note",))]


# Forked and rolled back


def test_two_versions_of_one_record_are_a_fork(sealed: World) -> None:
    _, at = state_of(sealed, 5)
    last = decode_entry(sealed.home.journal.entry(at))
    assert isinstance(last, RecordEntry)
    forge(sealed, last)
    assert FindingKind.FORKED in kinds(sealed)


@pytest.mark.parametrize(
    "change",
    [{"version": 9}, {"record": bytes(16)}, {"table": 2}, {"previous": 0}, {"previous": 10**6}, {"kind": Kind.WRITTEN}],
    ids=str,
)
def test_an_entry_that_follows_none(sealed: World, change: dict[str, Any]) -> None:
    _, at = state_of(sealed, 5)
    last = decode_entry(sealed.home.journal.entry(at))
    assert isinstance(last, RecordEntry)
    index = forge(sealed, replace(last, **{"version": last.version + 1, "previous": at, **change}))
    edit(sealed, "UPDATE state SET entry=? WHERE entry=?", index, at)
    assert FindingKind.JOURNAL_ALTERED in kinds(sealed)


def test_an_older_home_is_rolled_back(sealed: World, tmp_path: Path) -> None:
    path = tmp_path / "older"
    shutil.copytree(sealed.home.path, path)
    sealed.hospital.run("UPDATE visit SET ward = 'x' WHERE id = 5")
    sealed.seal()
    sealed.home.close()
    sealed.home = open_home(path)
    result = sealed.audit()
    assert [finding.kind for finding in result.findings] == [FindingKind.ROLLED_BACK, FindingKind.ALTERED]
    assert result.entry is None  # a journal that is not fit takes no entry
    assert one(result.findings[1:], FindingKind.ALTERED).columns == ("ward",)


def test_a_root_known_outside_for_a_later_size_is_a_roll_back(sealed: World) -> None:
    size = sealed.home.journal.size
    assert kinds(sealed, anchors=Anchors(0, {size + 1: bytes(32)})) == {FindingKind.ROLLED_BACK}
    assert kinds(sealed, anchors=Anchors(size + 1, {})) == {FindingKind.ROLLED_BACK}


def test_any_wrong_root_is_found(sealed: World) -> None:
    for size in (1, 2, 255, 256, 257, sealed.home.journal.size):
        good = {size: sealed.home.journal.tree.root(size)}
        assert sealed.audit(record=False, anchors=Anchors(0, good)).ok
        assert kinds(sealed, anchors=Anchors(0, {size: bytes(32)})) == {FindingKind.JOURNAL_ALTERED}


# The unanchored, and secrets


def test_an_old_entry_without_an_anchor_is_a_warning(sealed: World) -> None:
    result = sealed.audit(anchors=replace(sealed.anchors, lag=7200.0), record=False)
    found = one(result.findings, FindingKind.UNANCHORED)
    assert result.ok and found.table is None and "7200 s" in found.detail


def test_a_key_store_of_another_home_is_no_verdict(sealed: World, tmp_path: Path) -> None:
    sealed.home.subjects.close()
    keyring = replace(sealed.home.keyring, wrapping=bytes(32))
    sealed.home.subjects = SubjectKeys(sealed.home.path / "subjects.db", keyring)
    with pytest.raises(KeyUnavailable):
        sealed.audit(record=False)


def test_an_audit_without_the_journal_looks_at_rows_only(sealed: World) -> None:
    sealed.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 8")
    edit(sealed, "UPDATE tiles SET hashes=zeroblob(length(hashes))")
    scope = Scope(attached_tables(sealed.home), journal=False)
    assert kinds(sealed, scope=scope) == {FindingKind.ALTERED}


def test_only_a_clean_journal_takes_the_audit_entry(sealed: World) -> None:
    size = sealed.home.journal.size
    result = sealed.audit()
    assert result.entry == size == sealed.home.journal.size - 1
    assert sealed.entries()[-1].kind is Kind.AUDIT
    edit(sealed, "DELETE FROM documents WHERE entry=?", result.entry)
    assert sealed.audit().entry is None
    assert sealed.home.journal.size == size + 1
