"""The list of a hold (封存清单) as a PDF for both sides to sign; always Chinese, as the regulation asks for it in China."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.language import _, spoken_in
from api.pdf import Attachment, Block, Document, Facts, Heading, Paragraph, QrCode, Signatures, Table, render
from ledger import canonical


def hold_list(listed: Mapping[str, Any]) -> bytes:
    """The PDF of a list, with the list's JSON attached; the same list makes the same bytes."""
    with spoken_in("zh"):
        return render(_document(listed), datetime.fromisoformat(listed["made_at"]))


def _document(listed: Mapping[str, Any]) -> Document:
    checkpoint = listed["checkpoint"] or {"size": "", "root": "", "block": ""}
    rows = [
        (str(number), one["table"], ", ".join(f"{name}={value}" for name, value in one["key"].items()), str(one["version"]),
         one["sealed_at"], one["digest"])
        for number, one in enumerate(listed["records"], 1)
    ]  # fmt: skip
    blocks: list[Block] = [
        Facts((
            (_("Institution"), listed["name"]),
            (_("Hold, part"), f"{listed['hold']}, {listed['part']}"),
            (_("Put under hold at"), listed["made_at"]),
            (_("Held at least until"), listed["until"]),
            (_("Reason"), listed["reason"]),
            (_("Can be opened by"), ", ".join(map(_custodian, listed["custody"]))),
            (_("File of the hold"), listed["file"]),
            (_("Its SHA-256"), listed["sha256"]),
            (_("Checkpoint"), _("{size} entries, block {block}").format(size=checkpoint["size"], block=checkpoint["block"])),
            (_("Its root"), checkpoint["root"]),
        )),
        Heading(_("Records under hold")),
        Table((_("No."), _("Table"), _("Key"), _("Version"), _("Sealed at"), _("Digest")), rows, (0.5, 1.4, 2, 0.8, 2, 3.4)),
        Paragraph(_(
            "The copies are those of the versions listed here; the originals stay in use. Both sides were present, each keeps one copy of "
            "this list. Parts that are finished later are put under hold by further lists."
        )),
        Paragraph(_(
            "The hold ends when both sides release it, when the dispute is settled, or when the patient's side made no further demand for "
            "three years (Regulations on Prevention and Handling of Medical Disputes, article 24)."
        )),
        Signatures((_("Institution: "), _("Patient's side: ")), (_("signature"), _("name"), _("date"))),
        QrCode(
            f"careseal:hold:{listed['home']}:{listed['hold']}:{listed['part']}:{listed['sha256']}",
            _("Home, hold, part and SHA-256 of the sealed file. careseal hold verify checks every copy; this list is attached as JSON."),
        ),
    ]  # fmt: skip
    data = canonical.encode(dict(listed)) + b"\n"
    name = f"list-{listed['part']:04d}.json"
    footer = _("Careseal: list of hold {hold}, part {part}").format(hold=listed["hold"], part=listed["part"])
    return Document(_("List of records under hold"), blocks, [Attachment(name, data)], listed["name"], footer, "zh")


def _custodian(name: str) -> str:
    kind, _space, number = name.partition(" ")
    return _("person {number}").format(number=number) if kind == "person" else _("whoever knows the hold's passphrase")
