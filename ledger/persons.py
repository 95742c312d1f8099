"""People with keys of their own, apart from the home's: who answers findings, holds records or audits, and what they signed.

A person's key file is a box under the person's own passphrase: Ed25519 for signatures (RFC 8032), X25519 for what is encrypted to the
person. Its public part is readable, and signed by the key itself. The journal says who is registered, as what, and until when.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ledger import canonical
from ledger.canonical import Json
from ledger.errors import LedgerError, PersonError
from ledger.home import Home
from ledger.journal import Ledger
from ledger.keys import KEY_BYTES, Keyring, open_box, seal_box
from ledger.wire import Kind

ROLES = ("staff", "auditor", "party")
KEY_PURPOSE = "person key"
PUBLIC = "person/1"
MAX_NAME = 100
MAX_REASON = 1000
_PERSON = b"careseal/v1/person"
_ACTION = b"careseal/v1/action"
_MAX_FILE = 1 << 16


@dataclass(frozen=True, slots=True)
class Person:
    """A registered person. `id` counts from 1 and is never reused; keys are 32 bytes each."""

    id: int
    name: str
    role: str
    signing: bytes  # Ed25519
    encryption: bytes  # X25519


@dataclass(frozen=True, slots=True)
class Registration:
    """A person and the journal entries that registered and, if so, revoked the key; times in milliseconds since 1970 UTC."""

    person: Person
    entry: int
    time: int
    revoked: int | None = None
    revoked_time: int | None = None

    def stands_at(self, entry: int) -> bool:
        """Whether the key was registered, and not revoked, when this entry was journalled."""
        return self.entry < entry and (self.revoked is None or entry < self.revoked)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public part of a person's key file, as the person made it."""

    name: str
    signing: bytes
    encryption: bytes
    signature: bytes

    def check(self) -> None:
        """Raise PersonError unless the signing key itself signed name and keys."""
        digest = _public_digest(self.name, self.signing, self.encryption)
        try:
            Ed25519PublicKey.from_public_bytes(self.signing).verify(self.signature, digest)
        except (InvalidSignature, ValueError):
            raise PersonError("the public key was changed: its own signature does not hold, ask the person for it again") from None

    @property
    def fingerprint(self) -> str:
        """What people read to each other: 20 bytes of the digest of both keys, in groups."""
        digest = sha256(_PERSON + self.signing + self.encryption).hexdigest()[:40]
        return " ".join(digest[i : i + 4] for i in range(0, len(digest), 4))


@dataclass(frozen=True, slots=True, repr=False)
class PersonKey:
    """An opened key file."""

    public: PublicKey
    ed25519: Ed25519PrivateKey
    x25519: X25519PrivateKey

    @property
    def signing(self) -> bytes:
        return self.public.signing

    @property
    def encryption(self) -> bytes:
        return self.public.encryption

    def sign(self, digest: bytes) -> bytes:
        """The 64 bytes of the person's signature over a digest."""
        return self.ed25519.sign(digest)


def make_key_file(name: str, passphrase: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """The content of a new person's key file, which only `passphrase` opens. PersonError where the name cannot be one."""
    _check_name(name)
    seeds = random(KEY_BYTES), random(KEY_BYTES)
    key = _key_from(name, *seeds)
    box = seal_box(passphrase, KEY_PURPOSE, {"name": name, "signing": seeds[0].hex(), "encryption": seeds[1].hex()}, random)
    return json.dumps(json.loads(box) | {"public": public_json(key.public)}, ensure_ascii=False).encode()


def public_file(public: PublicKey) -> bytes:
    """The public part as a file of its own, to hand to who registers the person."""
    return json.dumps(public_json(public), ensure_ascii=False).encode() + b"\n"


def open_key_file(path: Path, passphrase: bytes) -> PersonKey:
    """A person's keys. KeyUnavailable where the passphrase is wrong, HomeError or PersonError where it is no such file."""
    content = open_box(path, passphrase, KEY_PURPOSE)
    try:
        return _key_from(content["name"], *(bytes.fromhex(content[name]) for name in ("signing", "encryption")))
    except (KeyError, ValueError) as error:
        raise PersonError(f"{path} is damaged: make a new key with careseal person create") from error


def read_public(path: Path) -> PublicKey:
    """The public part of a key file, or a public file, checked. PersonError where it is neither."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise ValueError
        outer = json.loads(path.read_bytes())
        return public_from(outer["public"] if outer["careseal"] == KEY_PURPOSE else outer)
    except OSError as error:
        raise PersonError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PersonError(f"{path} is no person's key file and no public file of one") from error


def add_person(home: Home, public: PublicKey, role: str, now: int) -> Person:
    """Register a person; `now` in milliseconds. PersonError where the key is the home's own, or known, or the role is none."""
    public.check()
    _check_name(public.name)
    if role not in ROLES:
        raise PersonError(f"--role {role}: use {', '.join(ROLES)}")
    if _is_the_homes(home.keyring, public):
        raise PersonError("this key is made of the home's own secrets: a person needs a key of their own")
    known = registrations(home)
    for other in known:
        if public.signing == other.person.signing or public.encryption == other.person.encryption:
            raise PersonError(f"this key is registered already, or was, as person {other.person.id}: make a new one")
        if other.revoked is None and other.person.name == public.name:
            raise PersonError(f"a person named {public.name} is registered already: revoke that key first, or choose another name")
    person = Person(len(known) + 1, public.name, role, public.signing, public.encryption)
    with home.batch() as batch:
        document = {"id": person.id, "role": role, **public_json(public)}
        batch.add_event(Kind.PERSON, {"person": document}, now)
    return person


def revoke_person(home: Home, who: str, reason: str, now: int) -> Person:
    """Revoke a person's key, for good; `who` is an id or a name, `now` in milliseconds. What was signed before stays valid."""
    check_text("--reason", reason, MAX_REASON)
    person = find_person(persons(home), who)
    with home.batch() as batch:
        batch.add_event(Kind.PERSON, {"revoke": {"id": person.id, "reason": reason}}, now)
    return person


def find_person(among: Sequence[Person], who: str) -> Person:
    """The person of this id or name; PersonError that lists the others where there is none."""
    for person in among:
        if who in (str(person.id), person.name):
            return person
    raise PersonError(f"no registered person {who}; registered are: {', '.join(p.name for p in among) or 'none'}")


def persons(home: Ledger) -> list[Person]:
    """The registered persons whose keys are not revoked."""
    return [registration.person for registration in registrations(home) if registration.revoked is None]


def registrations(home: Ledger) -> list[Registration]:
    """Everybody who ever was registered, in order. LedgerError where the journal's documents about persons are damaged."""
    found: list[Registration] = []
    for index, time, document in home.journal.documents_of(Kind.PERSON):
        try:
            _follow(found, index, time, document)
        except (ValueError, KeyError, TypeError, PersonError) as error:
            raise LedgerError(f"entry {index}: its document is damaged: restore the home from its mirror") from error
    return found


def _follow(found: list[Registration], index: int, time: int, document: Mapping[str, Any]) -> None:
    """Take in one event about a person. ValueError, KeyError, TypeError or PersonError where its document is none."""
    ((what, about),) = document.items()
    number = about["id"]
    if what == "person":
        public = public_from(about)
        if number != len(found) + 1 or about["role"] not in ROLES:
            raise ValueError
        found.append(Registration(Person(number, public.name, about["role"], public.signing, public.encryption), index, time))
    elif what == "revoke" and 1 <= number <= len(found) and found[number - 1].revoked is None:
        found[number - 1] = replace(found[number - 1], revoked=index, revoked_time=time)
    else:
        raise ValueError


def action_digest(action: Mapping[str, Json]) -> bytes:
    """What is signed of an action: SHA-256("careseal/v1/action" ‖ canonical JSON of the action without its signature)."""
    return sha256(_ACTION + canonical.encode({name: value for name, value in action.items() if name != "signature"})).digest()


def signed_action(home: Home, key: PersonKey, roles: Iterable[str], action: Mapping[str, Json]) -> dict[str, Json]:
    """The action, signed by a registered person: with `home`, `person` and `signature`. PersonError where the key may not sign it."""
    registered = next((r for r in registrations(home) if r.person.signing == key.signing), None)
    if registered is None:
        raise PersonError(f"the key of {key.public.name} is not registered here: careseal person add")
    if registered.revoked is not None:
        raise PersonError(f"the key of {registered.person.name} was revoked: use another person's")
    if registered.person.role not in roles:
        raise PersonError(f"{registered.person.name} is registered as {registered.person.role}: this needs {' or '.join(roles)}")
    whole: dict[str, Json] = {**action, "home": home.home_id, "person": registered.person.id}
    return whole | {"signature": key.sign(action_digest(whole)).hex()}


def check_action(
    home_id: str, registered: Sequence[Registration], roles: Iterable[str], action: Mapping[str, Json], entry: int
) -> Person:
    """The person who signed an action that was journalled as `entry`. PersonError unless the signature holds, is for this home, and its
    key was registered in one of the roles, and not revoked, at that entry."""
    number, signature = action.get("person"), action.get("signature")
    if action.get("home") != home_id:
        raise PersonError("the action was signed for another home")
    if type(number) is not int or not 1 <= number <= len(registered) or not isinstance(signature, str):
        raise PersonError("the action names no registered person")
    found = registered[number - 1]
    if not found.stands_at(entry) or found.person.role not in roles:
        raise PersonError(f"person {number} could not sign then: not registered, revoked, or in another role")
    try:
        Ed25519PublicKey.from_public_bytes(found.person.signing).verify(bytes.fromhex(signature), action_digest(action))
    except (InvalidSignature, ValueError):
        raise PersonError(f"the signature of person {number} does not hold") from None
    return found.person


def check_text(option: str, text: str, limit: int) -> None:
    """Raise PersonError unless a text that is to be journalled is one line, not empty, and no longer than `limit` characters."""
    if not text.strip() or len(text) > limit or not text.isprintable():
        raise PersonError(f"{option}: give one line of 1 to {limit} characters")


def _check_name(name: str) -> None:
    check_text("--name", name, MAX_NAME)
    if name != name.strip() or name.isdigit():
        raise PersonError("--name: begin and end with a letter, and do not use a number")


def _key_from(name: str, signing: bytes, encryption: bytes) -> PersonKey:
    ed25519, x25519 = Ed25519PrivateKey.from_private_bytes(signing), X25519PrivateKey.from_private_bytes(encryption)
    keys = ed25519.public_key().public_bytes_raw(), x25519.public_key().public_bytes_raw()
    return PersonKey(PublicKey(name, *keys, ed25519.sign(_public_digest(name, *keys))), ed25519, x25519)


def _public_digest(name: str, signing: bytes, encryption: bytes) -> bytes:
    return sha256(_PERSON + canonical.encode({"name": name, "signing": signing.hex(), "encryption": encryption.hex()})).digest()


def public_json(public: PublicKey) -> dict[str, Json]:
    """The public part as JSON."""
    keys: dict[str, Json] = {name: getattr(public, name).hex() for name in ("signing", "encryption", "signature")}
    return {"careseal": PUBLIC, "name": public.name, **keys}


def public_from(values: object) -> PublicKey:
    """The public part in JSON. ValueError, KeyError, TypeError or PersonError where it is no public key that its owner signed."""
    if not isinstance(values, dict) or values["careseal"] != PUBLIC or not isinstance(values["name"], str):
        raise ValueError
    made = PublicKey(values["name"], *(bytes.fromhex(values[name]) for name in ("signing", "encryption", "signature")))
    if len(made.encryption) != KEY_BYTES:
        raise ValueError
    made.check()
    return made


def _is_the_homes(keyring: Keyring, public: PublicKey) -> bool:
    """Whether a key was made of one of the home's secrets: two people would then be one, whoever holds the home."""
    secrets = [getattr(keyring, name) for name in Keyring.__slots__]
    made = [(_key_from("-", secret, secret).public) for secret in secrets]
    return any(public.signing == own.signing or public.encryption == own.encryption for own in made)
