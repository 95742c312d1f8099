"""An outside auditor reads what was granted, and nothing else; comes to what the home's own audit comes to; and writes nothing there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from answers import answer, only, staff
from audit_world import STAFF, World, erase, person_key, register, visits

import ledger.access
import ledger.auditor
import ledger.keys
from ledger import canonical
from ledger.access import grant_access, grants, issue_access, revoke_access
from ledger.access_file import read_header
from ledger.audit import AuditResult, Scope, examine
from ledger.auditor import GRANTS, MARK, Outside, copy_ledger, create_auditor, ledger_path, outside_books, take_access
from ledger.errors import HomeError, LedgerError, PersonError, SourceError
from ledger.persons import PersonKey, find_person, persons, revoke_person
from ledger.wire import Kind

AUDITOR, OTHER = person_key("Zhou", 111), person_key("Sun", 113)
DAY = 86_400_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An auditor's home, without the key file, whose passphrase would take a while to stretch."""
    made = tmp_path / "auditor"
    (made / GRANTS).mkdir(parents=True)
    (made / MARK).touch()
    return made


def grant(world: World, folder: Path, *tables: str, to: PersonKey = AUDITOR, days: int = 30) -> int:
    """Grant tables, and take the file; returns the grant's number."""
    register(world, (AUDITOR, "auditor"), (OTHER, "auditor"))
    auditor = find_person(persons(world.home), to.public.name)
    number = grant_access(world.home, auditor, tables or ("visit",), world.now + days * DAY, world.tick())
    issue(world, folder, number, to)
    return number


def issue(world: World, folder: Path, number: int, to: PersonKey = AUDITOR) -> Path:
    file = folder.parent / f"{world.tick()}.access"
    issue_access(world.home, number, file, world.now)
    take_access(folder, file, to)
    return file


def as_auditor(world: World) -> str:
    """The URL of the hospital's database for an account that may only read."""
    if world.hospital.engine == "sqlite":
        return world.hospital.url
    server = world.hospital.server  # type: ignore[union-attr]
    server.role("auditor_ro")
    schemas = [name for (name,) in world.hospital.rows("SELECT nspname FROM pg_namespace WHERE nspname IN ('public', 'careseal')")]
    for schema in schemas:
        world.hospital.run(f"GRANT USAGE ON SCHEMA {schema} TO auditor_ro")
        world.hospital.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO auditor_ro")
        world.hospital.run(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO auditor_ro")
    return str(server.url(world.hospital.url, "auditor_ro"))


@contextmanager
def shown(
    world: World, folder: Path, names: Sequence[str] = (), *, key: PersonKey = AUDITOR, sources: Sequence[str] = ()
) -> Iterator[Outside]:
    ledger = str(world.home.path / "ledger.db")
    with outside_books(folder, key, ledger, sources or [as_auditor(world)], names, world.now) as outside:
        yield outside


def outside(world: World, folder: Path, **options) -> AuditResult:
    values, processes = options.pop("values", False), options.pop("processes", 1)
    with shown(world, folder, **options) as seen:
        return examine(seen.books, Scope(seen.tables), world.anchors, values=values, processes=processes)


def spoil(world: World) -> None:
    """One row altered, one deleted, one inserted, all behind the application's back."""
    world.hospital.behind("UPDATE visit SET note='forged' WHERE id=1")
    world.hospital.behind("DELETE FROM visit WHERE id=2")
    world.hospital.behind("INSERT INTO visit (id, patient, note) VALUES (77, 'P7', 'new')")


@pytest.mark.parametrize("processes", [1, 2])
def test_what_an_auditor_finds_is_what_the_home_finds(world: World, folder: Path, processes: int) -> None:
    visits(world, subject="patient", copies=True)
    grant(world, folder)
    world.anchor()
    assert outside(world, folder, processes=processes).ok
    spoil(world)
    mine = world.audit(record=False, values=True)
    theirs = outside(world, folder, processes=processes, values=True)
    assert len(mine.findings) >= 2 and theirs.findings == mine.findings
    assert theirs.tables == mine.tables and (theirs.rows, theirs.size) == (mine.rows, mine.size)
    assert theirs.entry is None and [f.before for f in theirs.findings if f.kind.value == "altered"] == [{"note": None}]


def test_nothing_is_written_at_the_hospital(captured: World, folder: Path) -> None:
    visits(captured, subject="patient")
    grant(captured, folder)
    captured.hospital.run("UPDATE visit SET note='waits' WHERE id=1")
    queued, url = captured.queue("visit"), as_auditor(captured)
    before = {path: sha256(path.read_bytes()).digest() for path in captured.home.path.iterdir() if path.is_file()}
    assert outside(captured, folder, sources=[url]).pending == 1
    assert {path: sha256(path.read_bytes()).digest() for path in captured.home.path.iterdir() if path.is_file()} == before
    assert captured.queue("visit") == queued == 1
    assert sorted(path.name for path in folder.iterdir()) == [GRANTS, MARK]  # and the copy of the ledger is gone


def test_an_account_that_may_write_is_not_made_to(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    with shown(sqlite, folder) as seen:
        assert [table.source.endswith("?mode=ro") for table in seen.tables] == [True]


def test_a_file_holds_the_secrets_of_the_granted_tables_alone(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    sqlite.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY, patient TEXT)")
    sqlite.hospital.run("INSERT INTO other VALUES (1, 'P1'), (2, 'P2')")
    sqlite.attach("other", subject="patient")
    sqlite.seal()
    grant(sqlite, folder, "other")
    rows = sqlite.home.store.db.execute("SELECT entry, tbl FROM state").fetchall()
    with shown(sqlite, folder) as seen:
        assert [table.name for table in seen.tables] == ["other"]
        for entry, table in rows:
            assert (seen.books.secrets.many([0], [entry], []) is not None) == (table == 2)
    with pytest.raises(LedgerError, match="table visit is not among the granted ones: other"), shown(sqlite, folder, ["visit"]):
        pass


def test_rows_sealed_after_the_giving_are_told_as_unchecked(captured: World, folder: Path) -> None:
    visits(captured, subject="patient")
    number = grant(captured, folder)
    captured.hospital.run("UPDATE visit SET note='amended' WHERE id=1")
    captured.hospital.run("INSERT INTO visit (id, patient, note) VALUES (50, 'P1', 'later')")
    captured.seal()
    result = outside(captured, folder)
    assert (result.findings, [table.unchecked for table in result.tables]) == ([], [2])
    issue(captured, folder, number)
    result = outside(captured, folder)
    assert (result.findings, [table.unchecked for table in result.tables]) == ([], [0])
    assert [one.size for one in grants(captured.home)[0].issues] == sorted({one.size for one in grants(captured.home)[0].issues})


def test_a_withheld_secret_is_a_finding(sqlite: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hospital cannot let an altered row pass by leaving its secret out."""
    visits(sqlite, subject="patient")
    sqlite.hospital.behind("UPDATE visit SET note='forged' WHERE id=1")
    whole = ledger.access._secrets
    monkeypatch.setattr(ledger.access, "_secrets", lambda *given: list(whole(*given))[1:])
    grant(sqlite, folder)
    assert [finding.kind.value for finding in outside(sqlite, folder).findings] == ["secret_missing"]


def test_an_erased_subjects_row_is_found(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    erase(sqlite, "subject:P1")
    grant(sqlite, folder)
    assert {finding.kind.value for finding in outside(sqlite, folder).findings} == {"erased_present"}


def test_answers_of_two_people_are_seen(altered_and_answered: World, folder: Path) -> None:
    grant(altered_and_answered, folder)
    mine = altered_and_answered.audit(record=False)
    theirs = outside(altered_and_answered, folder)
    assert mine.resolved and theirs.resolved == mine.resolved and theirs.findings == mine.findings == []


@pytest.fixture
def altered_and_answered(sqlite: World) -> World:
    visits(sqlite, subject="patient")
    sqlite.hospital.behind("UPDATE visit SET note='forged' WHERE id=1")
    answer(sqlite, staff(sqlite), "dismiss", only(sqlite))
    return sqlite


# What is refused


def test_a_grant_ends(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    number = grant(sqlite, folder, days=1)
    assert outside(sqlite, folder).ok
    sqlite.tick(2 * 86400)
    with pytest.raises(LedgerError, match="audit access 1, of Zhou, has expired: ask the institution for a new grant"):
        outside(sqlite, folder)
    with pytest.raises(LedgerError, match="has expired"):
        issue(sqlite, folder, number)


def test_a_revoked_grant_opens_nothing_more(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    number = grant(sqlite, folder)
    revoke_access(sqlite.home, number, "the audit is over", sqlite.tick())
    for refused in (lambda: outside(sqlite, folder), lambda: issue(sqlite, folder, number)):
        with pytest.raises(LedgerError, match="audit access 1, of Zhou, was revoked in journal entry"):
            refused()
    with pytest.raises(LedgerError, match="revoked already"):
        revoke_access(sqlite.home, number, "again", sqlite.tick())
    grant(sqlite, folder)  # a new one stands beside it
    assert outside(sqlite, folder).ok


def test_with_a_key_its_grants_are_revoked(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    revoke_person(sqlite.home, "Zhou", "left", sqlite.tick())
    with pytest.raises(LedgerError, match="was revoked"):
        outside(sqlite, folder)


def test_another_auditor_has_nothing_of_it(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    with pytest.raises(LedgerError, match="was granted to another key than this auditor's"):
        outside(sqlite, folder, key=OTHER)
    (file,) = (folder / GRANTS).iterdir()
    with pytest.raises(LedgerError, match="was made for another key than this auditor's"):
        take_access(folder, file, OTHER)


def test_only_registered_auditors_are_granted_anything(sqlite: World) -> None:
    visits(sqlite, subject="patient")
    register(sqlite, (STAFF[0], "staff"), (AUDITOR, "auditor"))
    staff, auditor = persons(sqlite.home)
    for who, tables, until, words in (
        (staff, ["visit"], DAY, "Li is registered as staff"),
        (auditor, ["nothing"], DAY, "table nothing is not attached"),
        (auditor, ["visit"], -DAY, "--until lies in the past"),
    ):
        with pytest.raises(LedgerError, match=words):
            grant_access(sqlite.home, who, tables, sqlite.now + until, sqlite.now)
    assert grants(sqlite.home) == []


def test_a_ledger_without_the_grant_is_refused(sqlite: World, folder: Path, tmp_path: Path) -> None:
    visits(sqlite, subject="patient")
    with pytest.raises(LedgerError, match="no audit access in this home is of this ledger"):
        outside(sqlite, folder)
    earlier = copy_ledger(sqlite.home.path / "ledger.db", tmp_path)
    grant(sqlite, folder)
    with pytest.raises(LedgerError, match="no audit access in this home is of this ledger"):
        with outside_books(folder, AUDITOR, str(earlier), [sqlite.hospital.url], [], sqlite.now):
            pass


def damaged(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE blocks SET box=CAST(substr(box, 1, length(box) - 1) || x'00' AS BLOB)", "the journal does not tell of"),
        ("DELETE FROM blocks", "the journal does not tell of"),
        ("INSERT INTO erased VALUES (1)", "the journal does not tell of"),
        ("UPDATE header SET body=replace(body, '\"size\":', '\"size\": ')", "is no file of careseal audit-access"),
        ("UPDATE header SET body=zeroblob(100000)", "is no file of careseal audit-access"),
        ("DELETE FROM header", "is no file of careseal audit-access"),
        ("INSERT INTO blocks VALUES (-1, x'00')", "is no file of careseal audit-access"),
        ("UPDATE blocks SET box=zeroblob(100000)", "is no file of careseal audit-access"),
        ("CREATE TABLE more (a)", "is no file of careseal audit-access"),
        ("CREATE VIEW v AS SELECT 1", "is no file of careseal audit-access"),
    ],
)
def test_a_changed_file_is_refused(sqlite: World, folder: Path, statement: str, words: str) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    (file,) = (folder / GRANTS).iterdir()
    damaged(file, statement)
    with pytest.raises(LedgerError, match=words):
        outside(sqlite, folder)


HEAD = ["home", "institution", "name", "chain_id", "grant", "commitment", "size", "signing", "encryption", "key"]


@pytest.mark.parametrize("field", HEAD)
def test_every_field_of_the_head_is_bound(sqlite: World, folder: Path, field: str) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    (file,) = (folder / GRANTS).iterdir()
    with closing(sqlite3.connect(file)) as db, db:
        ((body,),) = db.execute("SELECT body FROM header").fetchall()
        values = canonical.decode(body)
        was = values[field]
        values[field] = was + 1 if isinstance(was, int) else ("0" if was[0] != "0" else "1") + was[1:]
        db.execute("UPDATE header SET body=?", (canonical.encode(values),))
    with pytest.raises(LedgerError):
        outside(sqlite, folder)
    with pytest.raises(LedgerError, match="made for another key|no file of"):
        take_access(folder, file, AUDITOR)


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\0" * 200])
def test_what_is_no_access_file_is_refused(folder: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "some.access"
    file.write_bytes(content)
    with pytest.raises(LedgerError, match="is no file of careseal audit-access, or it is damaged"):
        read_header(file)
    with pytest.raises(LedgerError):
        take_access(folder, tmp_path / "missing", AUDITOR)


def test_the_journal_tells_of_grants_or_is_damaged(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    number = grant(sqlite, folder)
    assert [(one.number, one.person.name, one.revoked) for one in grants(sqlite.home)] == [(number, "Zhou", None)]
    entry = grants(sqlite.home)[0].entry
    for wrong in (
        {"grant": {"person": 9, "tables": [1], "until": 5}}, {"grant": {"person": 0, "tables": [1], "until": 5}},
        {"grant": {"person": 1, "tables": [1], "until": "5"}}, {"issue": {"grant": 1, "size": 3, "sha256": "00"}},
        {"withdrawal": {"grant": entry}, "more": 1}, {"other": {"grant": entry}}, {"issue": {"grant": entry, "size": 3, "sha256": "xx"}},
    ):  # fmt: skip
        with pytest.raises(_Undone), sqlite.home.batch() as batch:
            batch.add_event(Kind.GRANT, wrong, sqlite.now)
            batch.flush()
            with pytest.raises(HomeError, match="tells of no lawful audit access"):
                grants(sqlite.home)
            raise _Undone
    assert [one.number for one in grants(sqlite.home)] == [number]


class _Undone(Exception):
    """Nothing of the batch is kept."""


# The ledger, the databases and the home


def test_a_ledger_is_copied_as_it_stood_while_it_is_written(sqlite: World, tmp_path: Path) -> None:
    """What lies in the write-ahead log beside the file is part of it."""
    visits(sqlite, subject="patient")
    sqlite.hospital.run("UPDATE visit SET note='amended' WHERE id=1")
    sqlite.seal()
    assert (sqlite.home.path / "ledger.db-wal").stat().st_size
    folder = tmp_path / "copy"
    folder.mkdir()
    with closing(sqlite3.connect(copy_ledger(sqlite.home.path / "ledger.db", folder))) as copied:
        assert copied.execute("SELECT count(*) FROM entries").fetchone() == (sqlite.home.journal.size,)
        assert copied.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_ledger_that_changes_meanwhile_is_copied_anew(sqlite: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visits(sqlite, subject="patient")
    path, folder, copied = sqlite.home.path / "ledger.db", tmp_path / "copy", []
    folder.mkdir()
    whole = ledger.auditor.shutil.copyfile

    def copying(source: Path, target: Path) -> None:
        whole(source, target)
        copied.append(source.name)
        if copied.count("ledger.db") < stop and source == path:
            sqlite.home.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sqlite.hospital.run(f"INSERT INTO visit (id, patient) VALUES ({100 + len(copied)}, 'P9')")
            sqlite.seal()

    monkeypatch.setattr(ledger.auditor.shutil, "copyfile", copying)
    monkeypatch.setattr(ledger.auditor.time, "sleep", lambda seconds: None)
    stop = 3
    with closing(sqlite3.connect(copy_ledger(path, folder))) as made:
        assert made.execute("SELECT count(*) FROM entries").fetchone() == (sqlite.home.journal.size,)
    assert copied.count("ledger.db") == 3
    stop = 99
    with pytest.raises(LedgerError, match="changes while it is copied: try again"):
        copy_ledger(path, folder)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://host/db", "--ledger names no file"),
        ("sqlite://", "--ledger names no file"),
        ("http://[", "--ledger names no file"),
        ("sqlite:////nowhere/ledger.db", "there is no ledger /nowhere/ledger.db"),
        ("/nowhere", "there is no ledger /nowhere"),
    ],
)
def test_a_ledgers_url_names_a_file(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        copy_ledger(ledger_path(url), tmp_path)


def test_what_is_no_ledger_is_refused(sqlite: World, folder: Path, tmp_path: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    rebuilt = copy_ledger(sqlite.home.path / "ledger.db", tmp_path)
    damaged(rebuilt, "CREATE VIEW hidden AS SELECT 1")
    (tmp_path / "text").write_bytes(b"no database" * 100)
    for place in (rebuilt, tmp_path / "text"):
        with pytest.raises(LedgerError, match="is no ledger of a home, or it was rebuilt or damaged"):
            with outside_books(folder, AUDITOR, str(place), [sqlite.hospital.url], [], sqlite.now):
                pass


def test_a_table_is_looked_for_in_several_databases(sqlite: World, folder: Path, tmp_path: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    empty, twin = tmp_path / "empty.db", tmp_path / "twin.db"
    with closing(sqlite3.connect(empty)) as db:
        db.execute("CREATE TABLE unrelated (id INTEGER PRIMARY KEY)")
    sqlite.hospital.run(f"VACUUM INTO '{twin}'")
    assert outside(sqlite, folder, sources=[f"sqlite:///{empty}", sqlite.hospital.url]).ok
    with pytest.raises(SourceError, match="table visit is in more than one of the databases"):
        outside(sqlite, folder, sources=[f"sqlite:///{twin}", sqlite.hospital.url])
    with pytest.raises(SourceError, match="table visit is in none of the databases"):
        outside(sqlite, folder, sources=[f"sqlite:///{empty}", f"sqlite:///{empty}?mode=ro"])


def test_a_tampered_list_of_tables_is_found(sqlite: World, folder: Path, tmp_path: Path) -> None:
    """What makes a table look as if it took new rows in by itself would hide inserted ones."""
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    place = copy_ledger(sqlite.home.path / "ledger.db", tmp_path)
    for change in ("options=replace(options, 'triggers', 'scan')", "sealed=0", "entry=entry+1", "name='visits'"):
        damaged(place, f"UPDATE tables SET {change}")
        with outside_books(folder, AUDITOR, str(place), [sqlite.hospital.url], [], sqlite.now) as seen:
            found = examine(seen.books, Scope(seen.tables), sqlite.anchors).findings
        assert "the home's record of table 1 is not the one that was journalled" in [finding.detail for finding in found], change
        place = copy_ledger(sqlite.home.path / "ledger.db", tmp_path)


def test_a_table_that_changed_is_found_alike_by_another_account(captured: World, folder: Path) -> None:
    """No finding tells the address of a database, or whose account it was."""
    visits(captured, subject="patient")
    grant(captured, folder)
    url = as_auditor(captured)
    captured.hospital.run("ALTER TABLE visit RENAME COLUMN note TO noted")
    mine, theirs = captured.audit(record=False), outside(captured, folder, sources=[url])
    assert theirs.findings == mine.findings and "schema_changed" in [finding.kind.value for finding in theirs.findings]
    assert not any("://" in finding.detail or str(folder.parent) in finding.detail for finding in theirs.findings)


def test_a_granted_table_that_is_shown_as_detached_is_told(sqlite: World, folder: Path, tmp_path: Path) -> None:
    visits(sqlite, subject="patient")
    sqlite.hospital.run("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    sqlite.attach("other")
    sqlite.seal()
    grant(sqlite, folder, "visit", "other")
    place = copy_ledger(sqlite.home.path / "ledger.db", tmp_path)
    damaged(place, "UPDATE tables SET detached=1 WHERE name='visit'")
    with pytest.raises(LedgerError, match="table visit was granted, and the ledger has it as detached"):
        with outside_books(folder, AUDITOR, str(place), [sqlite.hospital.url], [], sqlite.now):
            pass
    with outside_books(folder, AUDITOR, str(place), [sqlite.hospital.url], ["other"], sqlite.now) as seen:
        found = examine(seen.books, Scope(seen.tables), sqlite.anchors).findings
    assert "the home's record of table 1 is not the one that was journalled" in [finding.detail for finding in found]


def test_what_a_killed_audit_left_is_taken_away(sqlite: World, folder: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    left, used = folder / f"{ledger.auditor._WORK}4999999-x", folder / f"{ledger.auditor._WORK}1-x"
    for path in (left, used):
        path.mkdir()
        (path / "ledger.db").touch()
    assert outside(sqlite, folder).ok
    assert not left.exists() and used.exists()


def test_a_rewritten_journal_is_found(sqlite: World, folder: Path, tmp_path: Path) -> None:
    visits(sqlite, subject="patient")
    grant(sqlite, folder)
    place = copy_ledger(sqlite.home.path / "ledger.db", tmp_path)
    damaged(place, "UPDATE entries SET body=CAST(substr(body, 1, 2) || x'000000000001' || substr(body, 9) AS BLOB) WHERE idx=2")
    with outside_books(folder, AUDITOR, str(place), [sqlite.hospital.url], [], sqlite.now) as seen:
        found = examine(seen.books, Scope(seen.tables), sqlite.anchors).findings
    assert any("do not give the root anchored for them" in finding.detail for finding in found)


def test_an_auditors_home_is_made_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ledger.keys._SCRYPT, "n", 16)
    create_auditor(tmp_path / "home", "Wang", b"their own")
    assert (tmp_path / "home" / MARK).exists() and (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    with pytest.raises(LedgerError, match="is not empty: choose another folder"):
        create_auditor(tmp_path / "home", "Wang", b"their own")
    with pytest.raises(PersonError, match="--name"):
        create_auditor(tmp_path / "other", " ", b"their own")
    assert not (tmp_path / "other").exists()
    with pytest.raises(HomeError, match="is no auditor's home: create one with careseal auditor init"):
        ledger.auditor.check_auditor(tmp_path)


