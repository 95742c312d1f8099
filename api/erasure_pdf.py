"""The certificate of an erasure as a PDF, in the chosen language, with its JSON attached."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from api.console import iso
from api.language import _, language
from api.pdf import Attachment, Block, Document, Facts, Heading, Paragraph, QrCode, Table, render


def erasure_pdf(made: Mapping[str, Any], data: bytes, note: str) -> bytes:
    """The PDF of a certificate whose file is `data`; `note` is the operator's own line."""
    about, checkpoint, proof = made["erasure"], made["checkpoint"] or {}, made["proof"]
    facts = [
        (_("Institution"), made["name"]),
        (_("Erased at"), iso(made["at"] / 1000)),
        (_("Subject, blinded"), about["subject"]),
        (_("Reason"), about["reason"]),
        (_("Ordered by"), ", ".join(_("person {number}").format(number=action["person"]) for action in about["confirmed"])),
        (_("Journal entry"), str(proof["index"])),
        (_("Its bytes"), proof["entry"]),
        (_("Checkpoint"), _("{size} entries, block {block}").format(size=checkpoint.get("size"), block=checkpoint.get("block"))),
        (_("Its root"), str(checkpoint.get("root", ""))),
    ]
    if note:
        facts.insert(1, (_("Note"), note))
    if about["no_term"]:
        facts.append((_("Why no term of keeping held"), about["no_term"]))
    counts = {one["table"]: one["count"] for one in about["records"]}
    rows = [
        (str(term["table"]), str(counts.get(term["table"], 0)), str(term["years"] or "-"), term["last"] or "-", term["ended"] or "-")
        for term in about["terms"]
    ]
    blocks: list[Block] = [
        Facts(facts),
        Heading(_("Records and terms of keeping")),
        Table((_("Table"), _("Records"), _("Years"), _("Last record"), _("Ended")), rows),
        Paragraph(_(
            "The key of this subject was destroyed and the wrapping key replaced. Nobody can open the commitments of its records or link "
            "them to the subject any more. Rows, journal entries and blocks were not deleted, and every other proof still holds."
        )),
        Paragraph(_(
            "What left the home before is not reached: evidence that was handed out, copies of released holds, and older recovery kits, "
            "which must be destroyed."
        )),
        QrCode(
            f"careseal:erasure:{made['home']}:{proof['index']}:{proof['entry']}",
            _("Home and journal entry. The certificate is attached as JSON, with the entry's proof in the checkpoint."),
        ),
    ]  # fmt: skip
    footer = _("Careseal: certificate of erasure, entry {entry}").format(entry=proof["index"])
    when = datetime.fromtimestamp(made["at"] / 1000, UTC)
    document = Document(_("Certificate of erasure"), blocks, [Attachment("erasure.json", data)], made["name"], footer, language())
    return render(document, when)
