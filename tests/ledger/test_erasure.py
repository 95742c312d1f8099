"""Erasure destroys a key for good: whatever lies in mirror, backup or an older kit, on the order of two people, whenever it is killed."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from audit_world import KEYRING, PARTY, SETTINGS, STAFF, World, erase, new_home, person_key, register, visits

from ledger import rotation
from ledger.backup import catch_up
from ledger.canonical import decode
from ledger.erasure import check_erasable, erase_subject, erased_subjects, erasure_of, ordered, unconfirmed
from ledger.errors import HomeError, KeyUnavailable, LedgerError, PersonError
from ledger.findings import FindingKind
from ledger.home import KEYRING_PURPOSE, Home, keyring_content, keyring_from, write_settings
from ledger.keys import SubjectKeys, open_box, seal_box
from ledger.mirror import mirror, prepare_folder
from ledger.wire import Kind

PASS = b"pass"


def mirrored(world: World, folder: Path) -> World:
    """The world with a mirror, and visits of three patients sealed in it."""
    prepare_folder(folder)
    world.home.settings = replace(SETTINGS, mirror=str(folder))
    write_settings(world.home.path, world.home.settings, KEYRING)
    visits(world, subject="patient")
    mirror(world.home)
    return world


def wrapped(home: Home) -> dict[bytes, bytes | None]:
    return {blind: key for _, blind, key in home.subjects.rows(range(1, home.subjects.highest() + 1))}


def document(world: World, index: int) -> dict:
    return decode(world.home.journal.document(index)[1])["erasure"]  # type: ignore[return-value]


def test_all_other_keys_are_wrapped_anew_and_open_as_before(captured: World) -> None:
    visits(captured, subject="patient")
    sids = range(1, captured.home.subjects.highest() + 1)
    before, keys = wrapped(captured.home), dict(captured.home.subjects.keys(sids))
    blind = captured.home.subjects.blind("subject:P1")
    index = erase(captured, "subject:P1")
    after = wrapped(captured.home)
    assert after[blind] is None and before[blind] is not None
    assert all(after[other] not in (None, before[other]) for other in after if other != blind)
    gone = captured.home.subjects.known([blind])[blind]
    assert captured.home.subjects.keys(sids) == {sid: key for sid, key in keys.items() if sid != gone}
    assert captured.home.keyring.wrapping != KEYRING.wrapping
    assert replace(captured.home.keyring, wrapping=KEYRING.wrapping) == KEYRING
    assert keyring_from(open_box(captured.home.path / "keyring.json", PASS, KEYRING_PURPOSE)) == captured.home.keyring
    assert not (captured.home.path / rotation.NEXT).exists()
    assert document(captured, index)["wrapping"] == rotation.wrapping_id(captured.home.keyring)
    assert document(captured, index)["records"] == [{"table": 1, "count": 4}]
    assert captured.found() == [("erased_present", (n,), ()) for n in (1, 4, 7, 10)]


def test_a_copy_of_the_store_from_before_opens_with_the_new_keyring_no_more(sqlite: World, tmp_path: Path) -> None:
    visits(sqlite, subject="patient")
    sqlite.home.subjects.snapshot(tmp_path / "old.db")
    erase(sqlite, "subject:P1")
    old = SubjectKeys(tmp_path / "old.db", sqlite.home.keyring)
    for sid in range(1, old.highest() + 1):
        with pytest.raises(KeyUnavailable):
            old.keys([sid])
    old.close()


def test_no_trace_of_the_destroyed_key_stays_in_the_store(sqlite: World) -> None:
    visits(sqlite, subject="patient")
    blind = sqlite.home.subjects.blind("subject:P1")
    before = wrapped(sqlite.home)[blind]
    assert before is not None
    erase(sqlite, "subject:P1")
    for file in sqlite.home.path.glob("subjects.db*"):
        assert before not in file.read_bytes()


def test_several_erasures_after_one_another(captured: World) -> None:
    visits(captured, subject="patient", deletable=True)
    for patient in ("P1", "P2"):
        captured.hospital.run(f"DELETE FROM visit WHERE patient = '{patient}'")
        captured.seal()
        erase(captured, f"subject:{patient}")
    captured.assert_intact()
    captured.hospital.behind("UPDATE visit SET note = 'x' WHERE id = 3")
    assert captured.found() == [("altered", (3,), ("note",))]


# Who may order it


def test_two_different_people_of_the_staff_order_it(sqlite: World) -> None:
    visits(sqlite, subject="patient")
    register(sqlite, *((key, "staff") for key in STAFF), (PARTY, "party"))
    for keys in ((), STAFF[:1], (STAFF[0], STAFF[0]), (*STAFF, STAFF[0])):
        with pytest.raises(PersonError, match="an erasure is ordered by two people: give --by twice"):
            ordered(sqlite.home, "subject:P1", "asked", keys)
    with pytest.raises(PersonError, match="Zhao is registered as party: this needs staff"):
        ordered(sqlite.home, "subject:P1", "asked", (STAFF[0], PARTY))
    with pytest.raises(PersonError, match="the key of He is not registered here"):
        ordered(sqlite.home, "subject:P1", "asked", (STAFF[0], person_key("He", 120)))


@pytest.mark.parametrize("change", [
    lambda d: d.update(confirmed=d["confirmed"][:1]), lambda d: d.update(confirmed=[d["confirmed"][0]] * 2),
    lambda d: d.update(reason="other"), lambda d: d.update(no_term=None), lambda d: d.update(confirmed=None),
    lambda d: d.update(subject="00" * 16), lambda d: d["confirmed"][0].update(signature="00" * 64), lambda d: d.pop("confirmed"),
    lambda d: d["confirmed"][0].update(home="x"), lambda d: d["confirmed"][1].update(person=1),
])  # fmt: skip
def test_an_erasure_that_two_people_did_not_order_is_a_finding(sqlite: World, change) -> None:
    visits(sqlite, subject="patient")
    index = erase(sqlite, "subject:P1")
    assert unconfirmed(sqlite.home) == []
    forged = json.loads(json.dumps(document(sqlite, index)))
    change(forged)
    with sqlite.home.batch() as batch:
        again = batch.add_event(Kind.ERASURE, {"erasure": forged}, sqlite.tick())
    (spot,) = unconfirmed(sqlite.home)
    assert spot.kind is FindingKind.JOURNAL_ALTERED
    assert spot.detail.startswith(f"entry {again} erases a subject without the order of two people")
    assert "journal_altered" in [kind for kind, _, _ in sqlite.found()]


def test_a_person_who_was_revoked_orders_nothing_but_what_was_ordered_stands(sqlite: World) -> None:
    from ledger.persons import revoke_person

    visits(sqlite, subject="patient")
    erase(sqlite, "subject:P1")
    revoke_person(sqlite.home, "Li", "left", sqlite.tick())
    assert unconfirmed(sqlite.home) == []
    with pytest.raises(PersonError, match="the key of Li was revoked"):
        ordered(sqlite.home, "subject:P2", "asked", STAFF)


def test_what_is_not_erasable_is_refused_and_nothing_is_done(sqlite: World) -> None:
    visits(sqlite, subject="patient")
    register(sqlite, *((key, "staff") for key in STAFF))
    before = (sqlite.home.journal.size, wrapped(sqlite.home))
    for label, no_term, words in (
        ("subject:nobody", "x", "no sealed record belongs to this subject"),
        ("subject:P1", None, "table visit has no term of keeping: declare it with careseal retention set"),
    ):
        order = ordered(sqlite.home, label, "asked", STAFF, no_term)
        with pytest.raises(LedgerError, match=words):
            erase_subject(sqlite.home, order, rotation.following(KEYRING), PASS, sqlite.tick())
    assert (sqlite.home.journal.size, wrapped(sqlite.home)) == before
    assert not (sqlite.home.path / rotation.NEXT).exists()


# Killed


def begun(world: World) -> tuple[bytes, object]:
    """An erasure killed just after it was journalled: its keyring is announced, and nothing else was done."""
    visits(world, subject="patient")
    register(world, *((key, "staff") for key in STAFF))
    order = ordered(world.home, "subject:P1", "asked", STAFF, "none")
    keyring = rotation.following(KEYRING)
    import ledger.erasure as erasure

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    real, erasure.finish = erasure.finish, die
    try:
        with pytest.raises(Killed):
            erase_subject(world.home, order, keyring, PASS, world.tick())
    finally:
        erasure.finish = real
    return world.home.subjects.blind("subject:P1"), keyring


@pytest.mark.parametrize("step", ["journalled", "destroyed", "rewrapped", "queued"])
def test_an_erasure_that_was_killed_is_finished_when_the_home_is_opened(sqlite: World, step: str) -> None:
    blind, keyring = begun(sqlite)
    if step != "journalled":
        sqlite.home.subjects.destroy(blind)
    if step in ("rewrapped", "queued"):
        sqlite.home.subjects.rewrap(keyring)  # type: ignore[arg-type]
    if step == "queued":
        rotation._queue(sqlite.home, keyring)  # type: ignore[arg-type]
    sqlite.home.close()
    for _ in range(2):
        with Home.open(sqlite.home.path, lambda: PASS) as home:
            assert home.keyring == keyring and wrapped(home)[blind] is None
            others = [sid for sid, label, _ in home.subjects.rows(range(1, 9)) if label != blind]
            assert set(home.subjects.keys(others)) == set(others)
            assert not (home.path / rotation.NEXT).exists()


def test_an_erasure_that_was_killed_before_it_was_journalled_never_was(sqlite: World) -> None:
    visits(sqlite, subject="patient")
    before = wrapped(sqlite.home)
    rotation.announce(sqlite.home, seal_box(PASS, KEYRING_PURPOSE, keyring_content(rotation.following(KEYRING))))
    sqlite.home.close()
    with Home.open(sqlite.home.path, lambda: PASS) as home:
        assert home.keyring == KEYRING and wrapped(home) == before and not (home.path / rotation.NEXT).exists()


# What comes back


def restored(world: World, path: Path, keyring) -> Home:
    """A home built from the world's mirror alone."""
    home = new_home(path)
    home.close()
    settings = replace(SETTINGS, mirror=world.home.settings.mirror)
    write_settings(path, settings, KEYRING)
    catch_up(path, settings, keyring)
    return Home(path, settings, keyring)


def test_a_restore_from_the_mirror_gives_the_erased_key_back_to_nobody(sqlite: World, tmp_path: Path) -> None:
    mirrored(sqlite, tmp_path / "mirror")
    erase(sqlite, "subject:P1")
    sqlite.hospital.run("INSERT INTO visit (id, patient) VALUES (40, 'P7')")
    sqlite.seal()
    mirror(sqlite.home)
    home = restored(sqlite, tmp_path / "new", sqlite.home.keyring)
    assert wrapped(home) == wrapped(sqlite.home)
    assert erased_subjects(home) == erased_subjects(sqlite.home) and erasure_of(home, "subject:P1") is not None
    home.close()


def test_an_older_kit_is_refused_once_the_mirror_holds_the_keys_under_the_new_one(sqlite: World, tmp_path: Path) -> None:
    mirrored(sqlite, tmp_path / "mirror")
    erase(sqlite, "subject:P1")
    mirror(sqlite.home)
    with pytest.raises(HomeError, match="the wrapping key was replaced when a subject was erased: restore with --kit and the recovery kit"):
        restored(sqlite, tmp_path / "new", KEYRING)
    db = sqlite3.connect(tmp_path / "new" / "subjects.db")
    blind = sqlite.home.subjects.blind("subject:P1")
    assert db.execute("SELECT key FROM subject WHERE label=?", (blind,)).fetchone() == (None,)
    db.close()


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_mirror_that_ends_before_the_keys_under_the_new_one_still_opens_with_the_older_kit(
    sqlite: World, tmp_path: Path, lost: int
) -> None:
    mirrored(sqlite, tmp_path / "mirror")
    erase(sqlite, "subject:P1")
    mirror(sqlite.home)
    for batch in sorted((tmp_path / "mirror").iterdir())[-lost:]:
        batch.unlink()
    home = restored(sqlite, tmp_path / "new", KEYRING)
    blind = sqlite.home.subjects.blind("subject:P1")
    others = [sid for sid, label, _ in home.subjects.rows(range(1, 9)) if label != blind]
    assert set(home.subjects.keys(others)) == set(others)
    # Its erasure is honoured as soon as the mirror tells of it.
    assert (wrapped(home)[blind] is None) == (erasure_of(home, "subject:P1") is not None) == (lost < 3)
    home.close()


def test_a_home_that_was_rolled_back_to_before_an_erasure_needs_the_new_kit(sqlite: World, tmp_path: Path) -> None:
    mirrored(sqlite, tmp_path / "mirror")
    import shutil

    sqlite.home.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(sqlite.home.path, tmp_path / "snapshot")
    erase(sqlite, "subject:P1")
    mirror(sqlite.home)
    with pytest.raises(HomeError, match="the wrapping key was replaced"):
        catch_up(tmp_path / "snapshot", sqlite.home.settings, KEYRING)


def test_checks_alone_change_nothing(sqlite: World) -> None:
    visits(sqlite, subject="patient")
    size = sqlite.home.journal.size
    assert check_erasable(sqlite.home, "subject:P1", sqlite.tick(), "none") == [
        {"table": 1, "class": None, "years": None, "last": None, "ended": None}
    ]
    assert sqlite.home.journal.size == size
