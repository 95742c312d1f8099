"""Erasure: a subject's key is destroyed, so that its commitments can be linked to nobody and opened by nobody any more.

It unlinks; it deletes no row, and no entry. Two people of the staff order it with keys of their own, no record of the subject is under
hold, and the terms of keeping have ended. Then the wrapping key is rotated: what backups and mirror of earlier days hold of the key
opens with no recovery kit but older ones, which must be destroyed. The journal's entry tells every later audit and restore of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import rotation
from ledger.canonical import Json
from ledger.errors import HomeError, LedgerError, PersonError
from ledger.findings import FindingKind, Spot
from ledger.holds import refuse_held
from ledger.home import KEYRING_PURPOSE, Home, keyring_content
from ledger.journal import Ledger
from ledger.keys import Keyring, seal_box
from ledger.persons import MAX_REASON, PersonKey, check_action, check_text, registrations, signed_action
from ledger.retention import check_ended, records_of
from ledger.wire import Kind

STAFF = ("staff",)


@dataclass(frozen=True, slots=True)
class Order:
    """An erasure as two people ordered it: `confirmed` are their signed actions, of `ordered`. `no_term`: why a term may be lacking."""

    label: str
    reason: str
    confirmed: Sequence[dict[str, Json]]
    no_term: str | None = None


def ordered(home: Home, label: str, reason: str, keys: Sequence[PersonKey], no_term: str | None = None) -> Order:
    """The order to erase a subject, signed by two people of the staff. PersonError where that is not what the keys are."""
    check_text("--reason", reason, MAX_REASON)
    if no_term is not None:
        check_text("--no-term", no_term, MAX_REASON)
    action: dict[str, Json] = {"action": "erase", "subject": home.subjects.blind(label).hex(), "reason": reason, "no_term": no_term}
    if len({key.signing for key in keys}) != len(keys) or len(keys) != 2:
        raise PersonError("an erasure is ordered by two people: give --by twice, with the keys of two")
    return Order(label, reason, [signed_action(home, key, STAFF, action) for key in keys], no_term)


def check_erasable(home: Home, label: str, now: int, no_term: str | None) -> list[Json]:
    """The ended terms of a subject's records, as the journal will tell of them; `now` in milliseconds.

    `label` is `subject:` and the subject as --subject gives it, or another label of `docs/spec.md`. LedgerError where no record has it,
    where one is under hold, or is to be kept for longer.
    """
    blind = home.subjects.blind(label)
    known = home.subjects.known([blind])
    if not known:
        raise LedgerError("no sealed record belongs to this subject: check its name")
    refuse_held(home, blind)
    return check_ended(home, records_of(home, known[blind]), now, no_term)


def erase_subject(home: Home, order: Order, keyring: Keyring, passphrase: bytes, now: int) -> int:
    """Erase a subject and take `keyring`, of `rotation.following`, into use; returns the entry. `now` in milliseconds.

    A recovery kit with that keyring must be durable before. Killed at any moment, it is undone or finished when the home is opened next.
    LedgerError as for `check_erasable`, with nothing done.
    """
    blind, terms = home.subjects.blind(order.label), check_erasable(home, order.label, now, order.no_term)
    (sid,) = home.subjects.known([blind]).values()
    if sid in erased_subjects(home):
        raise LedgerError("this subject is erased already")
    counted = Counter(record.table.id for record in records_of(home, sid))
    rotation.announce(home, seal_box(passphrase, KEYRING_PURPOSE, keyring_content(keyring)))
    document: dict[str, Json] = {
        "subject": blind.hex(), "wrapping": rotation.wrapping_id(keyring), "reason": order.reason, "no_term": order.no_term,
        "records": [{"table": table, "count": count} for table, count in sorted(counted.items())],
        "terms": terms, "confirmed": list(order.confirmed),
    }  # fmt: skip
    with home.batch(checkpoint_time=now) as batch:
        index = batch.add_event(Kind.ERASURE, {"erasure": document}, now)
    finish(home, keyring)
    return index


def finish(home: Home, keyring: Keyring) -> None:
    """Destroy the keys of all erased subjects, and take the keyring that the last erasure named into use."""
    home.subjects.destroy(*_erased(home))
    rotation.finish(home, keyring)


def honour_erasures(home: Home, foreign: set[int]) -> None:
    """Destroy in a restored home what the journal says was erased. `foreign` are subjects whose keys in the mirror do not open.

    HomeError where all later keys are wrapped under another wrapping key: then a newer kit took the place of the one at hand.
    """
    home.subjects.destroy(*_erased(home))
    named = home.journal.wrapping()
    if named is not None and named != rotation.wrapping_id(home.keyring) and home.subjects.all_among(foreign):
        raise HomeError(
            "the wrapping key was replaced when a subject was erased: restore with --kit and the recovery kit that was written then, and "
            "destroy every older one"
        )


def erasure_of(home: Home, label: str) -> int | None:
    """The entry that erased a subject; None where it is not erased."""
    blind = home.subjects.blind(label).hex()
    return next((index for index, about in _erasures(home) if about["subject"] == blind), None)


def erased_subjects(home: Home) -> set[int]:
    """The numbers of the subjects whose erasure is journalled."""
    return set(home.subjects.known(_erased(home)).values())


def unconfirmed(home: Ledger) -> list[Spot]:
    """Findings about erasures that two people of the staff did not order."""
    spots: list[Spot] = []
    try:
        registered = registrations(home)
    except LedgerError:
        registered = []  # a damaged document about persons is a finding of its own; nobody's order counts then
    for index, about in _erasures(home):
        try:
            actions = about["confirmed"]
            told = [{"action": "erase", **{name: about[name] for name in ("subject", "reason", "no_term")}}] * 2
            own = [{name: value for name, value in action.items() if name not in ("home", "person", "signature")} for action in actions]
            people = {check_action(home.home_id, registered, STAFF, action, index).id for action in actions}
            if own != told or len(people) != 2:
                raise PersonError("the signatures are not those of two people for this erasure")
        except (PersonError, KeyError, TypeError, AttributeError) as error:
            detail = f"entry {index} erases a subject without the order of two people"
            spots.append(Spot(FindingKind.JOURNAL_ALTERED, None, detail=f"{detail}: {error}" if isinstance(error, PersonError) else detail))
    return spots


def _erased(home: Ledger) -> list[bytes]:
    return [bytes.fromhex(about["subject"]) for _, about in _erasures(home)]


def _erasures(home: Ledger) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, _, document in home.journal.documents_of(Kind.ERASURE):
        try:
            about = document["erasure"]
            bytes.fromhex(about["subject"])
            yield index, about
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"entry {index}: its document is damaged: restore the home from its mirror") from error
