"""Holds (封存): records of which a copy lies sealed in a second place, as the journal tells of them. The originals stay in use.

While a hold stands its subjects are not erased, and a record of it that was deleted is a finding, whatever its table allows. It ends when
both sides release it, by a settlement, or after its term. The law is 医疗纠纷预防和处理条例, article 24: both sides are present; what is
finished later is added; a list is signed by both; the institution may open it when the dispute is settled, or after three years without
a further demand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ledger.canonical import Json
from ledger.errors import LedgerError, PersonError
from ledger.findings import FindingKind, Spot
from ledger.home import Home
from ledger.journal import Ledger
from ledger.merge import read_states
from ledger.persons import PersonKey, Registration, check_action, registrations, signed_action
from ledger.wire import KIND_AT, RECORD, Kind

GROUNDS = ("both", "settlement", "term")
TERM_YEARS = 3
SIDES = ("staff", "party")


@dataclass(frozen=True, slots=True)
class Held:
    """A record in a hold: where its row was, and the entry of the version that was copied."""

    table: int
    key: bytes
    entry: int


@dataclass(frozen=True, slots=True)
class Part:
    """What was put under hold at one time. `file` lies in the hold's folder; digests are SHA-256 in hex, `time` in milliseconds."""

    number: int
    file: str
    sha256: str
    list_sha256: str
    records: tuple[Held, ...]
    subjects: frozenset[str]  # blinded labels in hex
    entry: int = -1
    time: int = 0

    def document(self) -> dict[str, Json]:
        return {
            "number": self.number, "file": self.file, "sha256": self.sha256, "list_sha256": self.list_sha256,
            "records": [{"table": held.table, "key": held.key.hex(), "entry": held.entry} for held in self.records],
            "subjects": list[Json](sorted(self.subjects)),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold: `place` is its folder, `until` the end of its term in milliseconds, `custody` who can open it."""

    id: int
    place: str
    until: int
    reason: str
    custody: tuple[str, ...]
    parts: tuple[Part, ...] = field(default=())
    released: int | None = None  # the entry
    ground: str | None = None

    @property
    def stands(self) -> bool:
        return self.released is None


def next_id(home: Ledger) -> int:
    """The number that the next hold gets."""
    return len(holds(home)) + 1


def create_hold(home: Home, hold: Hold, now: int) -> int:
    """Journal a hold whose first part lies durable in its place; returns the entry."""
    (part,) = hold.parts
    about: dict[str, Json] = {
        "hold": hold.id, "place": hold.place, "until": hold.until, "reason": hold.reason, "custody": list[Json](hold.custody),
        "part": part.document(),
    }  # fmt: skip
    return _journal(home, {"create": about}, now)


def extend_hold(home: Home, hold: Hold, part: Part | None, until: int, reason: str, now: int) -> int:
    """Journal a further part, or a later end; returns the entry."""
    about: dict[str, Json] = {
        "hold": hold.id, "until": until, "reason": reason, "part": None if part is None else part.document(),
    }  # fmt: skip
    return _journal(home, {"extend": about}, now)


def release_hold(home: Home, number: int, ground: str, settlement: str | None, keys: Sequence[PersonKey], now: int) -> int:
    """Journal the release of a hold, signed by a person of the staff and, on the ground `both`, by the other side's; returns the entry.

    `settlement` is the SHA-256 of the settlement in hex. LedgerError where the hold does not stand or the term has not ended, PersonError
    where the keys are not those that are needed.
    """
    hold = find_hold(home, number)
    if ground == "term" and now < hold.until:
        raise LedgerError(f"hold {hold.id} stands until {day(hold.until)}: release it by both sides' keys, or by a settlement")
    if ground == "settlement" and not (settlement and re.fullmatch("[0-9a-f]{64}", settlement)):
        raise LedgerError("a settlement is named by the SHA-256 of its document, 64 hex digits")
    action: dict[str, Json] = {"action": "release", "hold": hold.id, "ground": ground, "settlement": settlement}
    actions = [signed_action(home, key, SIDES, action) for key in keys]
    known = {registration.person.id: registration.person.role for registration in registrations(home)}
    roles = sorted(known[int(str(signed["person"]))] for signed in actions)
    if ground == "both" and roles != ["party", "staff"]:
        raise PersonError("both sides release a hold: give --by twice, with the key of a person of the staff and of one of the other side")
    if ground != "both" and "staff" not in roles:
        raise PersonError("a hold is released by a person of the staff: give --by with that key")
    return _journal(home, {"release": {"hold": hold.id, "ground": ground, "settlement": settlement, "signed": list[Json](actions)}}, now)


def _journal(home: Home, document: dict[str, dict[str, Json]], now: int) -> int:
    with home.batch(checkpoint_time=now) as batch:
        return batch.add_event(Kind.HOLD, document, now)


def holds(home: Ledger) -> list[Hold]:
    """Every hold there ever was, in order. LedgerError where what the journal tells of them does not fit together."""
    found: list[Hold] = []
    registered = registrations(home)
    for index, time, document in home.journal.documents_of(Kind.HOLD):
        try:
            ((what, about),) = document.items()
            _follow(home, found, registered, index, time, what, about)
        except (KeyError, TypeError, ValueError, PersonError) as error:
            raise LedgerError(f"entry {index} tells of no lawful hold, extension or release: restore the home from its mirror") from error
    return found


def find_hold(home: Ledger, number: int) -> Hold:
    """The hold of this number that stands; LedgerError where there is none."""
    for hold in holds(home):
        if hold.id == number and hold.stands:
            return hold
        if hold.id == number:
            raise LedgerError(f"hold {number} was released already")
    raise LedgerError(f"there is no hold {number}: see careseal hold list")


def refuse_held(home: Ledger, blind: bytes) -> None:
    """Raise LedgerError where a record of the subject with this blinded label is under hold."""
    for hold in holds(home):
        if hold.stands and any(blind.hex() in part.subjects for part in hold.parts):
            raise LedgerError(f"records of this subject are under hold {hold.id}, until {day(hold.until)} at least: release it first")


def held_spots(home: Ledger, tables: frozenset[int]) -> list[Spot]:
    """Findings about records under hold that were deleted since, and about holds that the journal tells of wrongly."""
    try:
        standing = [hold for hold in holds(home) if hold.stands]
    except LedgerError as error:
        return [Spot(FindingKind.JOURNAL_ALTERED, None, detail=str(error))]
    numbers: dict[tuple[int, bytes], int] = {}
    keys: dict[int, dict[bytes, bytes]] = {}  # of each table, each record's key when it was put under hold
    for hold in standing:
        for held in (held for part in hold.parts for held in part.records if held.table in tables):
            record = home.journal.entry(held.entry)[RECORD]
            numbers.setdefault((held.table, record), hold.id)
            keys.setdefault(held.table, {})[record] = held.key
    return [
        Spot(FindingKind.DELETED, table, key, entry=index, detail=f"it is under hold {numbers[table, record]}")
        for table, records in keys.items()
        for record, key, index in _deleted(home, table, records)
    ]


def _deleted(home: Ledger, table: int, keys: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes, int]]:
    """Record, key and last entry of those that were deleted; a record may have another key by now."""
    query, moved = "SELECT s.entry, e.body FROM state s JOIN entries e ON e.idx=s.entry WHERE s.tbl=? AND s.key=?", set[bytes]()
    for record, key in keys.items():
        found = home.store.db.execute(query, (table, key)).fetchone()
        if found is None or found[1][RECORD] != record:
            moved.add(record)
        elif found[1][KIND_AT] == Kind.DELETED:
            yield record, key, found[0]
    for states in read_states(home.store.db, table, None, None) if moved else ():
        for key, index, body in zip(states.keys, states.entries, states.bodies, strict=True):
            if body[RECORD] in moved and body[KIND_AT] == Kind.DELETED:
                yield body[RECORD], key, index


def day(time: int) -> str:
    """The day, in UTC, of a time in milliseconds."""
    return datetime.fromtimestamp(time / 1000, UTC).date().isoformat()


def _follow(
    home: Ledger, found: list[Hold], registered: Sequence[Registration], index: int, time: int, what: str, about: Mapping[str, Any]
) -> None:
    """Take in one event. KeyError, TypeError, ValueError or PersonError where it is none that may be."""
    number = about["hold"]
    if what == "create":
        if number != len(found) + 1:
            raise ValueError
        part = _part(about["part"], index, time)
        custody = tuple(map(str, about["custody"]))
        found.append(Hold(number, str(about["place"]), int(about["until"]), str(about["reason"]), custody, (part,)))
        return
    hold = found[number - 1] if 1 <= number <= len(found) else None
    if hold is None or not hold.stands:
        raise ValueError
    if what == "extend":
        if int(about["until"]) < hold.until:
            raise ValueError
        more = () if about["part"] is None else (_part(about["part"], index, time),)
        found[number - 1] = replace(hold, until=int(about["until"]), parts=(*hold.parts, *more))
    elif what == "release":
        _check_release(home, registered, hold, about, index, time)
        found[number - 1] = replace(hold, released=index, ground=about["ground"])
    else:
        raise ValueError


def _check_release(home: Ledger, registered: Sequence[Registration], hold: Hold, about: Mapping[str, Any], index: int, time: int) -> None:
    wanted = {"action": "release", **{name: about[name] for name in ("hold", "ground", "settlement")}}
    roles = []
    for action in about["signed"]:
        if {name: action.get(name) for name in wanted} != wanted:
            raise ValueError
        roles.append(check_action(home.home_id, registered, SIDES, action, index).role)
    lawful = {
        "both": sorted(roles) == ["party", "staff"],
        "settlement": "staff" in roles and len(bytes.fromhex(about["settlement"] or "")) == 32,
        "term": "staff" in roles and time >= hold.until,
    }
    if not lawful[about["ground"]]:
        raise ValueError


def _part(about: Mapping[str, Any], index: int, time: int) -> Part:
    records = tuple(Held(int(one["table"]), bytes.fromhex(one["key"]), int(one["entry"])) for one in about["records"])
    file, digest, listed = (str(about[name]) for name in ("file", "sha256", "list_sha256"))
    return Part(int(about["number"]), file, digest, listed, records, frozenset(map(str, about["subjects"])), index, time)

