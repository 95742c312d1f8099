"""The certificate of an evidence file: one or two pages for people, with the file inside.

It is a reading aid. Anybody can print such a page; what proves is the attached file, and the page says how to check it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from anchoring.evidence_main import iso
from anchoring.opening import Record, Report, Version
from api.language import _, language
from api.pdf import Attachment, Block, Document, Facts, Heading, Paragraph, QrCode, Table, render
from api.printable import Printable, lines
from api.receipts import precise
from api.statements import change, kind, origin, proved_sentences, unproved_sentences

if TYPE_CHECKING:
    from anchoring.evidence import Anchored, Proved
    from anchoring.journal_scan import Later
    from anchoring.timestamp import Stamp

ATTACHED = "evidence.json"  # the original's name may say who the patient is
_NAME, _VALUE, _LIST = 80, 300, 240  # letters that are printed of a name, a value, and a list of names
_ROOM = (44, 32, 22, 12, 4)  # lines of the tables about the record or the audit: the most that two pages hold beside all else
_PAGES = 2
_SEALERS = 6


@dataclass(frozen=True, slots=True)
class Verified:
    """An evidence file that was verified, and what it was verified under."""

    data: bytes
    proved: Proved
    later: Later | None
    network: bytes  # SHA-256 of the network file, 32 bytes
    stamp: Stamp | None = None  # of the file's time stamp, where it was checked


def certificate(verified: Verified, when: datetime) -> bytes:
    """The PDF, in the chosen language, made at `when`. The same input, font and language make the same bytes. PdfError as it comes."""
    content = b""
    for room in _ROOM:
        content = render(certificate_document(verified, when, room), when)
        if _pages(content) <= _PAGES:
            break
    return content


def _pages(content: bytes) -> int:
    """How many pages a PDF of ours has: its first object says so."""
    found = re.search(rb"/Type/Pages/Count (\d+)", content)
    return int(found[1]) if found else 0


def certificate_document(verified: Verified, when: datetime, room: int = _ROOM[0]) -> Document:
    """The certificate's texts, with tables of at most so many lines about the record or the audit."""
    shown = Printable()
    proved, anchored = verified.proved, verified.proved.anchored
    digest, name = sha256(verified.data).hexdigest(), shown(anchored.name, _NAME)
    hidden = _listed(shown, proved.subject.hidden) if isinstance(proved.subject, Record) else ""
    about = [(_("Institution"), _("{name} (institution {number} of chain {chain})").format(
        name=name, number=anchored.institution, chain=anchored.chain_id))]  # fmt: skip
    if isinstance(proved.subject, Record):
        content = _record(shown, proved.subject, room)
        about += _about_record(shown, proved, proved.subject)
    else:
        content = _report(shown, proved.subject, room)
        about += _about_report(proved, proved.subject)
    stamp = None if verified.stamp is None else _("{time} by {tsa}").format(
        time=precise(verified.stamp.time), tsa=shown(verified.stamp.tsa, _NAME))  # fmt: skip
    if stamp is not None:
        about.append((_("Stamped at"), stamp))
    about += [
        (_("Anchored on the chain"), _("in block {block}; proved by block {proof} of {time} (its sealers' word)").format(
            block=anchored.block, proof=anchored.header_block, time=iso(anchored.header_time))),
        (_("SHA-256 of the evidence"), digest),
    ]  # fmt: skip
    blocks: list[Block] = [
        Facts(about),
        QrCode(
            f"careseal:evidence:{digest}:{anchored.chain_id}:{anchored.institution}:{anchored.block}",
            _("SHA-256 of the evidence file, chain, institution and block. This page is a reading aid, made at {time} by the clock of the "
              "machine that made it: anybody can print such a page. Only the attached file proves, once it is checked.")
            .format(time=_time(when)),
        ),
        Heading(_("Proved")), _numbered(proved_sentences(proved, name, verified.later, stamp)),
        Heading(_("Not proved")), _numbered(unproved_sentences(proved, hidden, verified.later, stamp)),
        *content,
    ]  # fmt: skip
    if shown.cut:
        blocks.append(Paragraph(_("Where … stands, more is in the attached file, which holds everything."), small=True))
    if shown.coded:
        coded = _("[U+…] stands for a character that cannot be shown; ↵ for the end of a line. The attached file is exact.")
        blocks.append(Paragraph(coded, small=True))
    blocks += [
        Heading(_("What it rests on")), _foundation(anchored, verified.network),
        Heading(_("How to check it yourself")), _numbered(_steps(anchored)),
    ]  # fmt: skip
    attached = Attachment(ATTACHED, verified.data, description=_("The evidence file"))
    footer = _("Careseal: certificate of evidence, SHA-256 {digest}").format(digest=digest[:16] + "…")
    return Document(_("Certificate of evidence"), blocks, [attached], name, footer, language())


def _time(when: datetime) -> str:
    return iso(int(when.timestamp()))


def _numbered(sentences: Sequence[str]) -> Facts:
    return Facts([(f"{number}.", sentence) for number, sentence in enumerate(sentences, 1)], 0.03)


def _listed(shown: Printable, names: Sequence[str]) -> str:
    return shown(", ".join(name[:_NAME] for name in names), _LIST)


def _about_record(shown: Printable, proved: Proved, record: Record) -> list[tuple[str, str]]:
    source = shown(record.source_table, _NAME)
    table = shown(record.table, _NAME)
    last = record.last
    facts = [
        (_("Evidence of"), kind(proved)),
        (_("Table"), table if record.table == record.source_table else _("{table}; in its database: {source}").format(
            table=table, source=source)),
        (_("Key columns"), _listed(shown, record.key)),
        (_("Record number in the journal"), record.id.hex()),
    ]  # fmt: skip
    if len(record.versions) == 1:
        facts += [
            (_("Version"), _("{version}, {change}, journal entry {entry}").format(
                version=last.number, change=change(last), entry=last.index)),
            (_("How it was sealed"), origin(last)),
            (_("Sealed at"), _("{time} (the institution's word)").format(time=iso(last.sealed_at))),
        ]  # fmt: skip
    else:
        facts += [(_("Versions"), _("1 to {version}").format(version=last.number)), (_("How it began"), origin(record.versions[0]))]
    return facts


def _record(shown: Printable, record: Record, room: int) -> list[Block]:
    """The versions of a history, and the values of the last version that shows any."""
    blocks: list[Block] = []
    if len(record.versions) > 1:
        table, used = _history(shown, record.versions, room // 2)
        blocks += [Heading(_("Versions")), table]
        room -= used
    last = next((version for version in reversed(record.versions) if version.values is not None), None)
    if last is None or last.values is None:
        said = _("The record was deleted.") if record.last.kind == "deleted" else _("Its content is not shown.")
        return [*blocks, Heading(_("Content")), Paragraph(said)]
    return [*blocks, Heading(_("Content of version {version}").format(version=last.number)), *_values(shown, last.values, room)]


def _values(shown: Printable, values: Mapping[str, str | None], room: int) -> list[Block]:
    """A row for each column, as many as there is room for."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        row = shown(name, _NAME), _("empty (NULL)") if value is None else shown(value, _VALUE)
        room -= max(lines(row[0], 27), lines(row[1], 70))
        if room < 0 and rows:
            break
        rows.append(row)
    left = len(values) - len(rows)
    table = Table((_("Column"), _("Value")), rows, (0.28, 0.72))
    if not left:
        return [table]
    return [table, Paragraph(_("{count} more columns are in the attached file.").format(count=left))]


def _history(shown: Printable, versions: Sequence[Version], room: int) -> tuple[Table, int]:
    """A row for each version, the first and as many of the last as there is room for; and the lines that it takes."""
    rows: list[tuple[str, ...]] = []
    for number in (0, *range(len(versions) - 1, 0, -1)):
        version = versions[number]
        changed = shown(_changed(versions[number - 1] if number else None, version), _NAME)
        row = str(version.number), change(version), iso(version.sealed_at), str(version.index), origin(version), changed
        room -= max(lines(row[4], 26), lines(changed, 20))
        if room < 0 and len(rows) > 1:
            shown.cut = True
            rows[-1] = (f"… {rows[-1][0]}", *rows[-1][1:])
            break
        rows.append(row)
    header = (_("Version"), _("Change"), _("Sealed at"), _("Entry"), _("How it was sealed"), _("Columns changed"))
    used = 2 + sum(max(lines(row[4], 26), lines(row[5], 20)) for row in rows)
    return Table(header, [rows[0], *reversed(rows[1:])], (0.8, 0.9, 1.9, 0.7, 2.6, 2)), used


def _changed(before: Version | None, version: Version) -> str:
    """The columns whose value is another than in the version before."""
    if before is None or version.kind == "deleted":
        return "-"
    if before.values is None or version.values is None:
        return _("not shown")
    return ", ".join(name[:_NAME] for name, value in version.values.items() if before.values.get(name, "") != value) or "-"


def _about_report(proved: Proved, report: Report) -> list[tuple[str, str]]:
    audit = report.audit
    return [
        (_("Evidence of"), kind(proved)),
        (_("Journal entry"), str(report.index)),
        (_("Audited at"), _("{time} (the institution's word)").format(time=iso(audit["at"] / 1000))),
        (_("Entries audited"), str(audit["size"])),
        (_("Findings"), str(audit["findings"])),
    ]


def _report(shown: Printable, report: Report, room: int) -> list[Block]:
    """What the report says of each table; as JSON what is not of the known form."""
    tables = report.audit["tables"]
    if not tables:
        return [Heading(_("Tables audited")), Paragraph(_("none"))]
    rows: list[tuple[str, ...]] = []
    for table in tables:
        known = table if isinstance(table, dict) and isinstance(table.get("table"), str) else {}
        name = known.get("table", "") or json.dumps(table, ensure_ascii=False)
        row = (shown(name, _NAME), *(str(known[key]) if type(known.get(key)) is int else "-" for key in ("rows", "pending", "findings")))
        room -= lines(row[0], 44)
        if room < 0 and rows:
            break
        rows.append(row)
    blocks: list[Block] = [
        Heading(_("Tables audited")),
        Table((_("Table"), _("Rows"), _("Pending"), _("Findings")), rows, (2.5, 1, 1, 1)),
    ]
    if len(rows) < len(tables):
        blocks.append(Paragraph(_("{count} more tables are in the attached file.").format(count=len(tables) - len(rows))))
    return blocks


def _foundation(anchored: Anchored, network: bytes) -> Facts:
    sealers = ["0x" + sealer.hex() for sealer in anchored.sealers[:_SEALERS]] or [_("none beside the network file")]
    if len(anchored.sealers) > _SEALERS:
        sealers.append(_("and {count} more").format(count=len(anchored.sealers) - _SEALERS))
    return Facts([
        (_("Chain"), f"{anchored.chain_id} ({anchored.engine})"),
        (_("Checkpoint"), _("{size} entries, generation {generation}, root").format(size=anchored.size, generation=anchored.generation)),
        ("", anchored.root.hex()),
        *zip([_("Validators behind it"), *[""] * _SEALERS], sealers, strict=False),
        (_("SHA-256 of the network file"), network.hex()),
    ])  # fmt: skip


def _steps(anchored: Anchored) -> list[str]:
    return [
        _("Take the attached file out of this PDF: {command}, or the attachments of a PDF reader. Its SHA-256 is the one above.").format(
            command="pdfdetach -saveall CERTIFICATE.pdf"),
        _("Get the network file of chain {chain} from the consortium itself: one that comes with the evidence proves nothing. If its "
          "SHA-256 is not the one above, it is another edition, or this certificate was made under a wrong file.").format(
            chain=anchored.chain_id),
        _("Run {command}; with {option} it looks for later versions, too.").format(
            command=f"careseal evidence verify {ATTACHED} --network NETWORK.json", option="--journal DIR"),
        _("Or, without installing anything, open the page that {command} writes in a browser, offline, and choose both files.").format(
            command="careseal evidence page"),
    ]  # fmt: skip
