"""Answering findings: one person proposes, a second one with another key confirms, anybody of the staff reopens; all is journalled.

To accept an altered, inserted or deleted row makes what is there now the record's content: with the confirmation it gets an entry,
marked with what was found, and the next change of the row is held against that. To dismiss leaves the journal's content as it is and
hides the finding as long as the row is exactly as it was when that was proposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.acceptance import states_of, take_in
from ledger.canonical import Json
from ledger.errors import LedgerError, PersonError
from ledger.findings import Finding
from ledger.groups import Group
from ledger.home import Home
from ledger.persons import PersonKey, check_text, signed_action
from ledger.resolutions import (
    MAX_FAULTS,
    ROLES,
    Resolution,
    Resolutions,
    digest,
    entries_sha256,
    faults_of,
    packed,
    read_resolutions,
    runs_of,
)
from ledger.wire import Kind

MAX_REASON, MAX_TICKET = 1000, 100


@dataclass(frozen=True, slots=True)
class Why:
    """What every answer gives: a reason and the ticket under which it was looked into."""

    reason: str
    ticket: str

    def check(self) -> None:
        check_text("--reason", self.reason, MAX_REASON)
        check_text("--ticket", self.ticket, MAX_TICKET)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a confirmation did: `taken` rows were sealed as they are, `changed` ones are no longer what was accepted, and stay open."""

    answer: Resolution
    taken: int
    changed: int


def propose(home: Home, key: PersonKey, do: str, found: Finding | Group, why: Why, now: int) -> Resolution:
    """Journal that a person would accept or dismiss a finding, or all of a group; `now` in milliseconds.

    LedgerError where nobody can answer it, PersonError where this person may not.
    """
    why.check()
    members = found.members if isinstance(found, Group) else (found,)
    if found.id is None or not all(member.faults for member in members):
        raise LedgerError(f"a finding of kind {found.kind.value} cannot be accepted or dismissed: mend what it tells of")
    faults = faults_of([fault for member in members for fault in member.faults])
    if faults.count > MAX_FAULTS:
        raise LedgerError(f"{faults.count} rows are more than one answer can take ({MAX_FAULTS}): audit one table after another")
    listed = faults.document()
    action = signed(home, key, home.journal.size, {
        "do": do, "id": found.id.hex(), "group": isinstance(found, Group), "findings": len(members), "faults_sha256": digest(listed),
        "kind": found.kind.value, "table": found.table, "columns": list(found.columns), "window": found.window,
        "reason": why.reason, "ticket": why.ticket,
    })  # fmt: skip
    place = home.journal.size
    return journalled(home, {"proposal": {"action": action, "faults": listed}}, now).answers[place]


def confirm(home: Home, key: PersonKey, answer: Resolution, why: Why, now: int) -> Confirmed:
    """Confirm a proposal; rows that it accepts as they are get their entries in the same transaction.

    PersonError where this person may not; LedgerError where nothing is any more as it was accepted; SourceError where the table cannot
    be read.
    """
    why.check()
    size, wanted = home.journal.size, set(answer.faults.states) if answer.do == "accept" and answer.table is not None else set()
    with states_of(home, answer.table or "", wanted) as rows:
        left = len(wanted) - len(rows.there)
        if wanted and not rows.there and not answer.faults.entries:
            raise LedgerError("what was to be accepted is no longer as it was proposed: see careseal findings list")
        with home.batch() as batch:
            taken = take_in(home, batch, rows, now)
            batch.flush()
            states, runs = packed([state for _, state in taken]), runs_of([entry for entry, _ in taken])
            entries: list[Json] = [list(run) for run in runs]
            action = signed(home, key, size, {
                "do": "confirm", "proposal": answer.proposed.entry, "proposal_sha256": signed_part(home, answer.proposed.entry),
                "reason": why.reason, "ticket": why.ticket, "entries": entries, "entries_sha256": entries_sha256(home.journal, runs),
                "states_sha256": digest(states),
            })  # fmt: skip
            index = batch.add_event(Kind.FINDING, {"confirmation": {"action": action, "states": states}}, now)
            batch.flush()
            done = believed(read_resolutions(home), index).answers[answer.proposed.entry]
    return Confirmed(done, len(taken), left)


def reopen(home: Home, key: PersonKey, answer: Resolution, why: Why, now: int) -> Resolution:
    """Withdraw a proposal, or open again what two people answered; one person is enough."""
    why.check()
    about: dict[str, Json] = {"do": "reopen", "proposal": answer.proposed.entry, "reason": why.reason, "ticket": why.ticket}
    action = signed(home, key, home.journal.size, about)
    return journalled(home, {"reopening": {"action": action}}, now).answers[answer.proposed.entry]


def signed(home: Home, key: PersonKey, size: int, action: Mapping[str, Json]) -> dict[str, Json]:
    """An action of the staff, signed for this journal as it was at `size` entries, so that it counts in no other."""
    return signed_action(home, key, ROLES, {**action, "size": size, "root": home.journal.tree.root(size).hex()})


def signed_part(home: Home, place: int) -> str:
    """What a second person signs of what the first one did in entry `place`."""
    ((_, about),) = home.journal.about(place).items()
    return digest(about["action"])


def journalled(home: Home, document: Mapping[str, object], now: int) -> Resolutions:
    """Journal an event about findings, and read them all again: what an audit would not believe is not left behind."""
    with home.batch() as batch:
        index = batch.add_event(Kind.FINDING, document, now)
        batch.flush()
        return believed(read_resolutions(home), index)


def believed(found: Resolutions, index: int) -> Resolutions:
    """The answers, unless the one journalled as `index` does not verify: then PersonError, which undoes the transaction."""
    for entry, why in found.invalid:
        if entry >= index:
            raise PersonError(why)
    return found
