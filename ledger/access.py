"""What outside auditors are given: the secrets of chosen tables' records, until a day, each giving journalled.

A secret that was read cannot be taken back: the end of a grant keeps this program from using it, and the institution from giving more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ledger.access_file import Header, Secret, move_into_place, write_access
from ledger.books import books_of
from ledger.errors import HomeError, LedgerError
from ledger.home import Home
from ledger.journal import Ledger
from ledger.persons import MAX_REASON, Person, Registration, check_text, registrations
from ledger.record_secrets import RecordSecrets
from ledger.tables import find_table
from ledger.wire import Flag, Kind, RecordEntry, decode_entry

ROLE = "auditor"
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Issue:
    """A giving of secrets, of the journal's first `size` entries; `digest` is that of the file."""

    entry: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant; its number counts from 1. `tables` are numbers of tables, times in milliseconds since 1970 UTC."""

    number: int
    entry: int
    time: int
    person: Person
    tables: tuple[int, ...]
    until: int
    issues: tuple[Issue, ...] = ()
    revoked: int | None = None  # the entry, of this grant or of the person's key

    def check_stands(self, now: int) -> None:
        """Raise LedgerError where it was revoked, or has expired by `now`."""
        if self.revoked is not None:
            raise LedgerError(f"audit access {self.number}, of {self.person.name}, was revoked in journal entry {self.revoked}")
        if now >= self.until:
            raise LedgerError(f"audit access {self.number}, of {self.person.name}, has expired: ask the institution for a new grant")


def grant_access(home: Home, auditor: Person, tables: Sequence[str], until: int, now: int) -> int:
    """Grant a registered auditor the secrets of tables until a time, in milliseconds; returns the grant's number."""
    if auditor.role != ROLE:
        raise LedgerError(f"{auditor.name} is registered as {auditor.role}: audit access is for people registered with --role {ROLE}")
    if until <= now:
        raise LedgerError("--until lies in the past: give a later day")
    numbers = sorted({find_table(home, name).id for name in tables})
    with home.batch() as batch:
        batch.add_event(Kind.GRANT, {"grant": {"person": auditor.id, "tables": numbers, "until": until}}, now)
    return len(grants(home))


def revoke_access(home: Home, number: int, reason: str, now: int) -> Grant:
    """Revoke a grant; what was given remains known to whom it was given. LedgerError where there is none that stands."""
    check_text("--reason", reason, MAX_REASON)
    grant = find_grant(home, number)
    if grant.revoked is not None:
        raise LedgerError(f"audit access {number} is revoked already")
    with home.batch() as batch:
        batch.add_event(Kind.GRANT, {"withdrawal": {"grant": grant.entry, "reason": reason}}, now)
    return grant


def issue_access(home: Home, number: int, path: Path, now: int) -> tuple[Grant, int]:
    """Write the secrets of a grant's tables, as the journal stands, to a file that only the auditor opens, and journal that.

    Returns the grant and how many entries the secrets are of. LedgerError where the grant does not stand, or the file cannot be written.
    """
    grant = find_grant(home, number)
    grant.check_stands(now)
    settings, books = home.settings, books_of(home)
    commitment = decode_entry(home.journal.entry(grant.entry)).commitment  # type: ignore[union-attr]  # grants are events
    header = Header(
        settings.home_id, settings.institution, settings.name, settings.chain_id, grant.entry, commitment, home.journal.size,
        grant.person.signing, grant.person.encryption,
    )  # fmt: skip
    try:
        with home.store.reading() as db:
            secrets = _secrets(db, books.secrets, grant.tables)
            part, digest = write_access(path, header, home.subjects.states_key, secrets, books.secrets.erased)
        try:
            with home.batch() as batch:
                issue = {"grant": grant.entry, "size": header.size, "sha256": digest.hex()}
                batch.add_event(Kind.GRANT, {"issue": issue}, now)
            move_into_place(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise LedgerError(f"cannot write {path}: {error.strerror}") from error
    return grant, header.size


def _secrets(db: sqlite3.Connection, secrets: RecordSecrets, tables: Sequence[int]) -> Iterator[Secret]:
    """The secret of the last entry of each record of these tables that commits to a row, in the order of the entries."""
    marks = ",".join("?" * len(tables))
    query = f"SELECT s.sid, s.entry, e.body FROM state s JOIN entries e ON e.idx=s.entry WHERE s.tbl IN ({marks}) ORDER BY s.entry"  # noqa: S608
    cursor = db.execute(query, tuple(tables))
    while rows := cursor.fetchmany(_CHUNK):
        for sid, index, body in rows:
            entry = decode_entry(body)
            if isinstance(entry, RecordEntry) and entry.flags & Flag.CONTENT:
                secret = secrets.one(sid, index, entry)
                if secret is not None:
                    yield index, secret


def find_grant(ledger: Ledger, number: int) -> Grant:
    """The grant of this number. LedgerError where there is none."""
    found = grants(ledger)
    if not 1 <= number <= len(found):
        raise LedgerError(f"there is no audit access {number}: see careseal audit-access list")
    return found[number - 1]


def grants(ledger: Ledger) -> list[Grant]:
    """Every grant there ever was, in order. LedgerError where what the journal tells of them does not fit together."""
    found: list[Grant] = []
    registered = registrations(ledger)
    for index, time, document in ledger.journal.documents_of(Kind.GRANT):
        try:
            ((what, about),) = document.items()
            _follow(found, registered, index, time, what, about)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, StopIteration) as error:
            raise HomeError(f"entry {index} tells of no lawful audit access: restore the home from its mirror") from error
    ended = {registration.person.id: registration.revoked for registration in registered}
    return [grant if grant.revoked is not None else replace(grant, revoked=ended[grant.person.id]) for grant in found]


def _follow(found: list[Grant], registered: Sequence[Registration], index: int, time: int, what: str, about: Mapping[str, Any]) -> None:
    """Take in one event. KeyError, TypeError, ValueError, IndexError, AttributeError or StopIteration where it is none that may be."""
    if what == "grant":
        person, until = registered[about["person"] - 1], about["until"]
        if about["person"] < 1 or not person.stands_at(index) or person.person.role != ROLE or type(until) is not int:
            raise ValueError
        found.append(Grant(len(found) + 1, index, time, person.person, tuple(map(int, about["tables"])), until))
        return
    place = next(place for place, grant in enumerate(found) if grant.entry == about["grant"])
    if found[place].revoked is not None:
        raise ValueError
    if what == "issue":
        issue = Issue(index, int(about["size"]), bytes.fromhex(about["sha256"]))
        found[place] = replace(found[place], issues=(*found[place].issues, issue))
    elif what == "withdrawal":
        found[place] = replace(found[place], revoked=index)
    else:
        raise ValueError
