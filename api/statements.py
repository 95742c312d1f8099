"""What evidence proves and what it does not, in sentences for people; the verifier's page in a browser says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anchoring.opening import Record, Version
from api.language import _

if TYPE_CHECKING:
    from anchoring.evidence import Anchored, Proved
    from anchoring.journal_scan import Later


def kind(proved: Proved) -> str:
    """What the evidence is of."""
    return {
        "record": _("a whole record, at one version"), "fields": _("chosen fields of a record, at one version"),
        "history": _("the history of a record"), "latest": _("the last version of a record"), "audit": _("the report of an audit"),
    }[proved.kind]  # fmt: skip


def change(version: Version) -> str:
    """What happened to the record in a version."""
    return {"written": _("written"), "amended": _("amended")}.get(version.kind, _("deleted"))


def origin(version: Version) -> str:
    """How the version came into the journal, no more than its entry says."""
    if version.baseline:
        return _("baseline at attach: nothing proved earlier")
    if version.marks:
        return _("sealed with doubts: {marks}").format(marks=_marks([version]))
    if not version.captured:
        return _("found by a scan: nothing proved before it was sealed")
    return _("sealed when written") if version.kind == "written" else _("sealed when changed")


def proved_sentences(proved: Proved, name: str, later: Later | None, stamp: str | None) -> list[str]:
    """What is proved. As they are to be printed: `name` the institution's, `stamp` when and by whom the evidence was stamped."""
    anchored, subject = proved.anchored, proved.subject
    about = {"name": name, "number": anchored.institution, "block": anchored.block}
    if not isinstance(subject, Record):
        first = _("{name} (institution {number}) has had this report in its journal, anchored on the chain, since block {block}.")
        made = [first.format(**about), _("What was audited is the beginning of this very journal.")]
        return [*made, *_stamped(stamp), _firmly(anchored)]
    about["version"] = subject.last.number
    if proved.kind == "history":
        first = _("{name} (institution {number}) has had versions 1 to {version} of this record in its journal, anchored on the chain, "
                  "since block {block}.")  # fmt: skip
    else:
        first = _("{name} (institution {number}) has had version {version} of this record in its journal, anchored on the chain, since "
                  "block {block}.")  # fmt: skip
    made = [first.format(**about)]
    if any(version.values is not None for version in subject.versions):
        made.append(_("The values shown are those that were sealed then, unchanged since."))
    earliest = subject.versions[0]
    if earliest.captured and not earliest.baseline and not earliest.marks:
        made.append(
            _("Sealed when written: the version was captured as it was written, and nothing was wrong with it when it was sealed.")
            if earliest.kind == "written"
            else _("Sealed when changed: the change was captured as it was made, and nothing was wrong with it when it was sealed.")
        )
    if later is not None and later.excluded(proved):
        made.append(_("No later version: all {size} entries up to the checkpoint were looked through.").format(size=later.size))
    return [*made, *_stamped(stamp), _firmly(anchored)]


def unproved_sentences(proved: Proved, hidden: str, later: Later | None, stamp: str | None) -> list[str]:
    """What is not proved; `hidden` are the names of the columns that are not shown, as they are to be printed."""
    made = []
    if isinstance(proved.subject, Record):
        made += _unproved_of_record(proved, proved.subject, hidden, later)
    else:
        made.append(_("The findings themselves, of which the report holds the digest, and that the audit was made as it says."))
    if not proved.anchored.final and proved.anchored.sealers:
        made.append(_("That block {block} stands for ever: on a Clique chain a fork of equal weight can take its place.")
                    .format(block=proved.anchored.header_block))  # fmt: skip
    if isinstance(proved.subject, Record):
        made.append(_("Who wrote it, as a person: the entry names its author by a code that only the institution can resolve."))
    if proved.stamped is not None and stamp is None:
        made.append(_("What the file's time stamp says: it was not checked."))
    return [
        *made,
        _("The exact time: that of sealing is the institution's word, that of the block its sealers'."),
        _("That what was written is true: a false record by its authorised author is kept as it was written."),
    ]


def _unproved_of_record(proved: Proved, record: Record, hidden: str, later: Later | None) -> list[str]:
    made, first = [], record.versions[0]
    if first.baseline:
        made.append(_("Anything earlier: the record was there when its table was attached (baseline at attach)."))
    elif first.kind == "amended":
        made.append(_("Earlier versions: this is an amendment, and they are not shown here."))
    elif first.kind == "written" and not first.captured:
        made.append(_("Anything before it was sealed: it was found by a scan, not captured as it was written."))
    if any(version.marks for version in record.versions):
        made.append(_("That the change was allowed. Marked when it was sealed: {marks}.").format(marks=_marks(record.versions)))
    if later is None:
        made.append(_("That there is no later version: later versions are not excluded."))
    elif not later.excluded(proved):
        made.append(_("That this is the last version: there IS a later one, version {version}, in entry {index} of the journal.")
                    .format(version=later.version, index=later.index))  # fmt: skip
    if record.hidden:
        made.append(_("What is in the {count} hidden columns: {columns}.").format(count=len(record.hidden), columns=hidden))
    if any(version.values is None and version.kind != "deleted" for version in record.versions):
        made.append(_("Why content is not shown: whoever holds evidence can leave content out."))
    return made


def _stamped(stamp: str | None) -> list[str]:
    return [] if stamp is None else [_("It all existed at the time of its time stamp: {stamp}.").format(stamp=stamp)]


def _firmly(anchored: Anchored) -> str:
    stands = {"count": len(anchored.sealers), "of": anchored.sealers_of, "block": anchored.header_block}
    if anchored.final:
        return _("Final: {count} of {of} validators sealed block {block}; no other can take its place while fewer than a third of them "
                 "cheat.").format(**stands)  # fmt: skip
    if anchored.sealers:
        return _("Confirmed, not final: {count} of {of} sealers stand behind block {block}.").format(**stands)
    return _("Block {block} is the one that the network file itself names as trusted.").format(**stands)


def _marks(versions: Sequence[Version]) -> str:
    names = {
        "altered_before": _("changed outside capture before it was sealed"), "inserted_before": _("appeared outside capture"),
        "unauthorised": _("by a writer who is not declared"), "final": _("changes an immutable column or a closed row"),
        "back_dated": _("back-dated"), "deletion": _("deletion not allowed, or not captured"),
        "uncompared": _("what it had been could not be compared: the subject's key is gone"),
        "time_unreadable": _("its declared time cannot be read"),
    }  # fmt: skip
    return _("; ").join(dict.fromkeys(names[mark] for version in versions for mark in version.marks))
