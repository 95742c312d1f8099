"""Erasure: a subject's key is destroyed, so that its commitments can be linked to nobody and opened by nobody any more.

It unlinks; it deletes no row, and no entry. Backups and mirror of earlier days still hold the wrapped key: the journal's entry tells
every later audit that the subject is erased, whatever is restored.
"""

from __future__ import annotations

from ledger.errors import LedgerError
from ledger.home import Home
from ledger.wire import Kind


def erase_subject(home: Home, label: str, now: int) -> None:
    """Journal that a subject is erased, then destroy its key; done again after a crash it completes. `now` in milliseconds.

    `label` is `subject:` and the subject as --subject gives it, or another label of `docs/spec.md`. LedgerError where no record has it.
    """
    blind = home.subjects.blind(label)
    known = home.subjects.known([blind])
    if not known:
        raise LedgerError("no sealed record belongs to this subject: check its name")
    if known[blind] not in erased_subjects(home):
        with home.batch() as batch:
            batch.add_event(Kind.ERASURE, {"erasure": {"subject": blind.hex()}}, now)
    home.subjects.destroy(blind)


def erased_subjects(home: Home) -> set[int]:
    """The numbers of the subjects whose erasure is journalled."""
    blinds = []
    for index, _, document in home.journal.documents_of(Kind.ERASURE):
        try:
            blinds.append(bytes.fromhex(str(document["erasure"]["subject"])))
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"entry {index}: its document is damaged: restore the home from its mirror") from error
    return set(home.subjects.known(blinds).values())
