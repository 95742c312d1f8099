"""People's keys: files under their own passphrase, registration and revocation in the journal, signatures for one home and time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from audit_world import KEYRING, new_home

import ledger.keys
from ledger import canonical
from ledger.errors import HomeError, KeyUnavailable, LedgerError, PersonError
from ledger.home import Home
from ledger.persons import (
    PersonKey,
    action_digest,
    add_person,
    check_action,
    find_person,
    make_key_file,
    open_key_file,
    persons,
    public_file,
    read_public,
    registrations,
    revoke_person,
    signed_action,
)
from ledger.wire import Kind

NOW = 1_700_000_000_000
ACTION: dict[str, canonical.Json] = {"what": "test", "about": "a1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ledger.keys._SCRYPT, "n", 16)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = new_home(tmp_path / "home")
    yield made
    made.close()


def key_of(folder: Path, name: str) -> PersonKey:
    path = folder / f"{name}.key"
    path.write_bytes(make_key_file(name, b"their own"))
    return open_key_file(path, b"their own")


# Key files


def test_a_key_file_opens_under_its_passphrase_alone(tmp_path: Path) -> None:
    key = key_of(tmp_path, "Dr. 李")
    path = tmp_path / "Dr. 李.key"
    assert read_public(path) == key.public and key.public.name == "Dr. 李"
    assert len(key.signing) == len(key.encryption) == 32 and key.signing != key.encryption
    assert key.x25519.public_key().public_bytes_raw() == key.encryption
    with pytest.raises(KeyUnavailable, match="wrong passphrase"):
        open_key_file(path, b"another")
    secrets = key.ed25519.private_bytes_raw().hex(), key.x25519.private_bytes_raw().hex()
    assert not any(secret in path.read_text() for secret in secrets)


def test_two_keys_of_one_name_are_different(tmp_path: Path) -> None:
    one, other = key_of(tmp_path, "Li"), key_of(tmp_path, "Li")
    assert {one.signing, one.encryption}.isdisjoint({other.signing, other.encryption})
    assert one.public.fingerprint != other.public.fingerprint


def test_the_public_file_is_the_public_part_and_no_more(tmp_path: Path) -> None:
    key = key_of(tmp_path, "Li")
    (tmp_path / "li.pub").write_bytes(public_file(key.public))
    assert read_public(tmp_path / "li.pub") == key.public
    assert json.loads(public_file(key.public)).keys() == {"careseal", "name", "signing", "encryption", "signature"}


@pytest.mark.parametrize("field", ["careseal", "name", "signing", "encryption", "signature"])
def test_a_public_part_that_was_changed_is_refused(tmp_path: Path, field: str) -> None:
    values, other = (json.loads(public_file(key_of(tmp_path, name).public)) for name in ("Li", "Wang"))
    path = tmp_path / "bent"
    for bent in (other[field] if field != "careseal" else "person/2", "zz", "", 7, None, ["x"]):
        path.write_text(json.dumps({**values, field: bent}))
        with pytest.raises(PersonError, match=r"its own signature does not hold|is no person's key file"):
            read_public(path)
    path.write_text(json.dumps({name: value for name, value in values.items() if name != field}))
    with pytest.raises(PersonError, match="is no person's key file"):
        read_public(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"{", b"\xff", b'{"careseal": "person key"}', b"[" * 5000, b" " * 70000])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(PersonError, match="is no person's key file"):
        read_public(tmp_path / "file")
    with pytest.raises(PersonError, match="cannot read"):
        read_public(tmp_path / "nothing")


def test_the_homes_keyring_is_no_persons_key_file(home: Home) -> None:
    with pytest.raises(PersonError, match="is no person's key file"):
        read_public(home.path / "keyring.json")
    with pytest.raises(HomeError, match="is not a Careseal person key file"):
        open_key_file(home.path / "keyring.json", b"pass")


@pytest.mark.parametrize("name", ["", " ", " Li", "Li ", "7", "L\ni", "x" * 101, "L\x1b[31mi"])
def test_names_that_cannot_be_one(name: str) -> None:
    with pytest.raises(PersonError, match="--name"):
        make_key_file(name, b"p")


# Registration


def test_registration_is_journalled_and_lists_in_order(home: Home, tmp_path: Path) -> None:
    li, wang = key_of(tmp_path, "Li"), key_of(tmp_path, "Wang")
    assert add_person(home, li.public, "staff", NOW).id == 1 and add_person(home, wang.public, "auditor", NOW + 1).id == 2
    assert [(p.id, p.name, p.role, p.signing, p.encryption) for p in persons(home)] == [
        (1, "Li", "staff", li.signing, li.encryption), (2, "Wang", "auditor", wang.signing, wang.encryption)]  # fmt: skip
    documents = list(home.journal.documents_of(Kind.PERSON))
    assert [(index, time) for index, time, _ in documents] == [(0, NOW), (1, NOW + 1)]
    assert documents[0][2]["person"]["role"] == "staff"  # type: ignore[index, call-overload]


def test_revocation_is_for_good(home: Home, tmp_path: Path) -> None:
    li = key_of(tmp_path, "Li")
    add_person(home, li.public, "staff", NOW)
    revoke_person(home, "Li", "left", NOW + 5)
    assert persons(home) == []
    (found,) = registrations(home)
    assert (found.revoked, found.revoked_time) == (1, NOW + 5) and not any(map(found.stands_at, range(3)))
    with pytest.raises(PersonError, match="registered already, or was, as person 1"):
        add_person(home, li.public, "staff", NOW)
    with pytest.raises(PersonError, match="no registered person Li; registered are: none"):
        revoke_person(home, "Li", "again", NOW)
    assert add_person(home, key_of(tmp_path, "Li").public, "staff", NOW).id == 2


def test_what_cannot_be_registered(home: Home, tmp_path: Path) -> None:
    li = key_of(tmp_path, "Li")
    with pytest.raises(PersonError, match="--role boss: use staff, auditor, party"):
        add_person(home, li.public, "boss", NOW)
    add_person(home, li.public, "staff", NOW)
    with pytest.raises(PersonError, match="a person named Li is registered already"):
        add_person(home, key_of(tmp_path, "Li").public, "staff", NOW)
    made = iter([li.ed25519.private_bytes_raw(), bytes(32), bytes(16), bytes(12)])
    mixed = make_key_file("Mixed", b"p", lambda n: next(made))
    (tmp_path / "mixed").write_bytes(mixed)
    with pytest.raises(PersonError, match="registered already, or was, as person 1"):
        add_person(home, read_public(tmp_path / "mixed"), "staff", NOW)
    with pytest.raises(PersonError, match="its own signature does not hold"):
        add_person(home, replace(key_of(tmp_path, "Wang").public, name="Zhao"), "staff", NOW)
    assert len(registrations(home)) == 1


@pytest.mark.parametrize("name", ["wrapping", "labels", "mirror", "sealing"])
@pytest.mark.parametrize("place", [0, 1])
def test_no_secret_of_the_home_is_a_persons_key(home: Home, tmp_path: Path, name: str, place: int) -> None:
    seeds = [b"\x09" * 32, b"\x0a" * 32]
    seeds[place] = getattr(KEYRING, name)
    made = iter([*seeds, bytes(16), bytes(12)])
    (tmp_path / "file").write_bytes(make_key_file("Eve", b"p", lambda n: next(made)))
    with pytest.raises(PersonError, match="made of the home's own secrets"):
        add_person(home, read_public(tmp_path / "file"), "staff", NOW)


def test_people_are_found_by_number_and_name(home: Home, tmp_path: Path) -> None:
    add_person(home, key_of(tmp_path, "Li").public, "staff", NOW)
    assert find_person(persons(home), "1") == find_person(persons(home), "Li")
    with pytest.raises(PersonError, match="no registered person Wang; registered are: Li"):
        find_person(persons(home), "Wang")


@pytest.mark.parametrize("document", [
    {"person": {"id": 3}}, {"revoke": {"id": 0, "reason": "x"}}, {"revoke": {"id": 9, "reason": "x"}}, {"revoke": {"id": 1}, "x": {}},
    {"other": {"id": 1}}, {"revoke": 7},
])  # fmt: skip
def test_damaged_documents_stop_every_use(home: Home, tmp_path: Path, document: object) -> None:
    add_person(home, key_of(tmp_path, "Li").public, "staff", NOW)
    with home.batch() as batch:
        batch.add_event(Kind.PERSON, document, NOW)
    with pytest.raises(LedgerError, match="entry 1: its document is damaged"):
        persons(home)


def test_an_edited_registration_is_refused(home: Home, tmp_path: Path) -> None:
    add_person(home, key_of(tmp_path, "Li").public, "auditor", NOW)
    home.store.db.execute("UPDATE documents SET body=CAST(replace(CAST(body AS TEXT), 'auditor', 'staff') AS BLOB)")
    with pytest.raises(LedgerError, match="not the one that was committed to"):
        persons(home)


# Signatures


@pytest.fixture
def signed(home: Home, tmp_path: Path) -> tuple[Home, PersonKey, dict[str, canonical.Json]]:
    key = key_of(tmp_path, "Li")
    add_person(home, key.public, "staff", NOW)
    return home, key, signed_action(home, key, ["staff"], ACTION)


Signed = tuple[Home, PersonKey, dict[str, canonical.Json]]


def test_a_signature_holds_from_registration_to_revocation(signed: Signed) -> None:
    home, key, action = signed
    assert action == {**ACTION, "home": "test", "person": 1, "signature": key.sign(action_digest(action)).hex()}
    with home.batch() as batch:
        batch.add_event(Kind.RESTORE, {"stands": "for the action"}, NOW)
    revoke_person(home, "1", "left", NOW)
    known = registrations(home)
    assert check_action("test", known, ["staff"], action, 1).name == "Li"
    for entry in (0, 2, 3):
        with pytest.raises(PersonError, match="not registered, revoked, or in another role"):
            check_action("test", known, ["staff"], action, entry)
    with pytest.raises(PersonError, match="the key of Li was revoked"):
        signed_action(home, key, ["staff"], ACTION)


@pytest.mark.parametrize(("field", "value", "words"), [
    ("home", "another", "for another home"), ("home", None, "for another home"), ("person", 2, "names no registered person"),
    ("person", 0, "names no registered person"), ("person", True, "names no registered person"), ("person", "1", "names no registered"),
    ("what", "other", "signature of person 1 does not hold"), ("about", "a2", "signature of person 1 does not hold"),
    ("more", 1, "signature of person 1 does not hold"), ("signature", "00" * 64, "signature of person 1 does not hold"),
    ("signature", "zz", "signature of person 1 does not hold"), ("signature", "", "signature of person 1 does not hold"),
    ("signature", None, "names no registered person"),
])  # fmt: skip
def test_every_change_of_a_signed_action_breaks_it(signed: Signed, field: str, value: canonical.Json, words: str) -> None:
    home, _, action = signed
    with pytest.raises(PersonError, match=words):
        check_action("test", registrations(home), ["staff"], {**action, field: value}, 1)


def test_only_the_roles_asked_for_may_sign(signed: Signed) -> None:
    home, key, action = signed
    with pytest.raises(PersonError, match="in another role"):
        check_action("test", registrations(home), ["auditor"], action, 1)
    with pytest.raises(PersonError, match="Li is registered as staff: this needs auditor or party"):
        signed_action(home, key, ["auditor", "party"], ACTION)


def test_strangers_cannot_sign(home: Home, tmp_path: Path) -> None:
    with pytest.raises(PersonError, match="the key of Li is not registered here"):
        signed_action(home, key_of(tmp_path, "Li"), ["staff"], ACTION)


def test_another_persons_signature_is_not_ones_own(signed: Signed, tmp_path: Path) -> None:
    home, _, action = signed
    wang = key_of(tmp_path, "Wang")
    add_person(home, wang.public, "staff", NOW)
    bent = {**action, "person": 2}
    with pytest.raises(PersonError, match="signature of person 2 does not hold"):
        check_action("test", registrations(home), ["staff"], bent, 2)
