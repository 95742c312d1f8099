"""The report of an outside audit: canonical JSON and a PDF for people in Chinese and in English, which another auditor makes again byte
for byte from the same ledger, databases and block; and the auditor's signature over them, in a file of its own.

What is the auditor's own (the key, the grant, the time of signing) is with the signature.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from anchoring.errors import EvidenceInvalid
from api.console import finding_json, former_json, iso, tables_json
from api.findings_view import answer_json, group_json
from api.language import _, reported, spoken_in
from api.pdf import Attachment, Block, Document, Facts, Heading, Paragraph, QrCode, Table, render
from api.pdf_font import PdfError
from careseal import __version__, read_json
from ledger import canonical
from ledger.errors import LedgerError, PersonError
from ledger.persons import PublicKey, public_from, public_json

if TYPE_CHECKING:
    from anchoring.network import Network
    from anchoring.outside import OutsideAudit
    from ledger.auditor import Outside
    from ledger.persons import PersonKey

REPORT, SIGNATURE = "report.json", "signature.json"
PDFS = {"zh": "report.zh.pdf", "en": "report.en.pdf"}
_FORMAT = "audit-report/1"
_SIGNED = "audit-report-signature/1"
_DOMAIN = b"careseal/v1/report"
_MAX_SIGNATURE = 1 << 16
_SHOWN = 60  # findings and groups in the PDF
_MAX_NUMBER = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Signed:
    """A report that its auditor's signature is of: who signed, when as the auditor says, and the digests of the files by name."""

    auditor: PublicKey
    signed_at: str
    grant: Mapping[str, Any]
    digests: Mapping[str, str]


def report_of(made: OutsideAudit, outside: Outside, network: Network, network_sha256: str, *, values: bool) -> dict[str, Any]:
    """The report's JSON."""
    from ledger.groups import grouped

    result, last = made.audit, made.on_chain.last
    groups, rest = grouped(result.findings, result.windows)
    alone = set(map(id, rest))
    report: dict[str, Any] = _plain({
        "careseal": _FORMAT,
        "program": f"careseal {__version__}",
        "result": "findings" if not result.ok else "unchecked" if not made.whole else "intact",
        "institution": {"id": outside.header.institution, "name": outside.header.name},
        "chain": {
            "chain_id": network.chain_id, "engine": network.engine, "network_sha256": network_sha256, "block": made.header.number,
            "block_hash": made.block_hash.hex(), "time": iso(made.header.timestamp),
        },
        "journal": {
            "generation": made.generation, "size": result.size, "root": made.root.hex(), "unanchored": made.unanchored,
            "anchored": None if last is None else {
                "generation": last.generation, "size": last.size, "root": last.root.hex(), "block": last.block,
            },
        },
        "values": values,
        "tables": [{**shown, "unchecked": table.unchecked} for shown, table in zip(tables_json(result), result.tables, strict=True)],
        "findings": [finding_json(finding) for finding in result.findings],
        "groups": [group_json(group) for group in groups],
        "single": [place for place, finding in enumerate(result.findings) if id(finding) in alone],
        "resolved": [{**answer_json(answered.answer), "met": answered.count} for answered in result.resolved],
        "former": former_json(result),
    })  # fmt: skip
    return report


def _plain(value: Any) -> Any:
    """The value with what canonical JSON of integers does not hold as text: other numbers, and texts that are no Unicode."""
    if isinstance(value, Mapping):
        return {_plain(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > _MAX_NUMBER):
        return str(value)
    return value


def write_report(
    folder: Path, report: Mapping[str, Any], key: PersonKey, grant: Mapping[str, Any], signed_at: str, *, pdf: bool = True
) -> tuple[Signed, PdfError | None]:
    """Write the report, its PDFs and the auditor's signature into a new folder. LedgerError where there is one, or it cannot be written.

    Returned is also why there are no PDFs, where no Chinese font can be used: all the rest is there then.
    """
    from ledger.files import sync_folder, write_whole

    data = canonical.encode(report) + b"\n"
    files, without = {REPORT: data}, None
    try:
        files |= {name: report_pdf(report, data, language) for language, name in PDFS.items() if pdf}
    except PdfError as error:
        without = PdfError(f"{folder} has the signed report, but not as PDF: {error}")
    signed = _statement(key.public, grant, {name: sha256(content).hexdigest() for name, content in files.items()}, signed_at)
    signed["signature"] = key.sign(_digest(signed)).hex()
    files[SIGNATURE] = json.dumps(signed, indent=2, ensure_ascii=False).encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=False, mode=0o700)
        for name, content in files.items():
            write_whole(folder / name, content)
        sync_folder(folder)
    except FileExistsError as error:
        raise LedgerError(f"{folder} exists already: give --report with another folder") from error
    except OSError as error:
        raise LedgerError(f"cannot write {folder}: {error.strerror}") from error
    return Signed(key.public, signed_at, grant, signed["files"]), without


def check_report(folder: Path) -> Signed:
    """Whose signature is on a report, with all its files as they were signed.

    LedgerError where a file cannot be read, EvidenceInvalid where one was changed.
    """
    try:
        with (folder / SIGNATURE).open("rb") as file:
            values = read_json(file.read(_MAX_SIGNATURE))
        public, signature = public_from(values["auditor"]), bytes.fromhex(values["signature"])
        told = {name: str(values["files"][name]) for name in (REPORT, *PDFS.values()) if name == REPORT or name in values["files"]}
        wanted = _statement(public, dict(values["grant"]), told, str(values["signed_at"]))
        Ed25519PublicKey.from_public_bytes(public.signing).verify(signature, _digest(wanted))
        if {**wanted, "signature": signature.hex()} != values:
            raise ValueError
        for name, digest in told.items():
            with (folder / name).open("rb") as file:
                if not hmac.compare_digest(file_digest(file, "sha256").hexdigest(), digest):
                    raise EvidenceInvalid("report", f"{folder / name} is not what was signed: get the report from the auditor again")
    except OSError as error:
        raise LedgerError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature, PersonError) as error:
        words = f"{folder / SIGNATURE} is no auditor's signature, or it was changed: get the report from the auditor again"
        raise EvidenceInvalid("signature", words) from error
    return Signed(public, wanted["signed_at"], wanted["grant"], told)


def _statement(public: PublicKey, grant: Mapping[str, Any], digests: Mapping[str, str], signed_at: str) -> dict[str, Any]:
    return {"careseal": _SIGNED, "auditor": public_json(public), "grant": grant, "files": dict(digests), "signed_at": signed_at}


def _digest(statement: Mapping[str, Any]) -> bytes:
    """SHA-256("careseal/v1/report" ‖ canonical JSON of the statement without its signature)."""
    return sha256(_DOMAIN + canonical.encode({name: value for name, value in statement.items() if name != "signature"})).digest()


def report_pdf(report: Mapping[str, Any], data: bytes, language: str) -> bytes:
    """The PDF of a report whose file is `data`, dated by its block."""
    with spoken_in(language):
        return render(_document(report, data, language), datetime.fromisoformat(report["chain"]["time"]))


def _document(report: Mapping[str, Any], data: bytes, language: str) -> Document:
    institution, chain, journal = report["institution"], report["chain"], report["journal"]
    anchored = journal["anchored"] or {"size": 0, "root": "-", "block": "-"}
    results = {"intact": _("INTACT"), "findings": _("{n} FINDINGS").format(n=len(report["findings"])),
               "unchecked": _("NOT ALL ROWS COULD BE CHECKED")}  # fmt: skip
    facts = [
        (_("Result"), results[report["result"]]),
        (_("Institution"), _("{name}, institution {number}").format(name=institution["name"], number=institution["id"])),
        (_("Chain"), f"{chain['chain_id']} ({chain['engine']})"),
        (_("As of block"), _("{block}, {time}").format(block=chain["block"], time=chain["time"])),
        (_("Its hash"), chain["block_hash"]),
        (_("Anchored"), _("{size} entries, block {block}").format(size=anchored["size"], block=anchored["block"])),
        (_("Its root"), anchored["root"]),
        (_("Journal audited"), _("{size} entries, generation {generation}, root").format(
            size=journal["size"], generation=journal["generation"])),
        ("", journal["root"]),
        *([(_("Not anchored yet"), _("{n} entries, the institution's word alone").format(n=journal["unanchored"]))]
          if journal["unanchored"] else []),
        (_("SHA-256 of the network file"), chain["network_sha256"]),
        (_("Program"), report["program"]),
    ]  # fmt: skip
    names = ("table", "rows", "pending", "findings", "standing", "unchecked")
    rows = [tuple(str(table[name]) for name in names) for table in report["tables"]]
    header = (_("Table"), _("Rows"), _("Pending"), _("Findings"), _("Let be"), _("Not checked"))
    blocks: list[Block] = [Facts(facts), Heading(_("Tables audited")), Table(header, rows, (2.5, 1, 1, 1, 1, 1)), *_findings(report)]
    blocks += [
        Paragraph(_(
            "Every row that the databases' accounts showed was held against the last journal entry of its record, and the journal's "
            "entries against the root that the contract has. The anchored entries cannot be rewritten; entries after them, and the times "
            "of sealing, are the institution's word. Whether these are all of its databases, the accounts do not tell."
        )),
        Paragraph(_(
            "Another auditor who audits the same ledger and databases as of the same block, with the same version of the program, makes "
            "the same bytes. The auditor's signature is in signature.json: careseal auditor check tells whose it is."
        )),
        QrCode(
            f"careseal:audit-report:{sha256(data).hexdigest()}",
            _("SHA-256 of the report, which is attached as JSON."),
        ),
    ]  # fmt: skip
    footer = _("Careseal: report of an outside audit of {name}").format(name=institution["name"])
    return Document(_("Report of an outside audit"), blocks, [Attachment(REPORT, data)], institution["name"], footer, language)


def _findings(report: Mapping[str, Any]) -> list[Block]:
    """Groups, then findings that are in none, as many as are shown; and what people answered."""
    rows: list[tuple[str, ...]] = [
        (_(group["kind"].upper()), group["table"] or _("journal"), _("{n} rows").format(n=group["count"]), ", ".join(group["columns"]),
         reported(group["detail"]))
        for group in report["groups"]
    ]  # fmt: skip
    for finding in (report["findings"][place] for place in report["single"]):
        key = ", ".join(f"{name}={value}" for name, value in finding["key"].items())
        intact = finding["intact_at"]
        since = [_("intact until {time} (block {block})").format(time=intact["time"], block=intact["block"])] if intact else []
        said = [*since, *([_("by {author}").format(author=finding["author"])] if finding["author"] else [])]
        said += [reported(finding["detail"])] if finding["detail"] else []
        rows.append((_(finding["kind"].upper()), finding["table"] or _("journal"), key, ", ".join(finding["columns"]), "; ".join(said)))
    blocks: list[Block] = [Heading(_("Findings"))]
    if rows:
        header = (_("Finding"), _("Table"), _("Key"), _("Columns"), _("What is known"))
        blocks.append(Table(header, rows[:_SHOWN], (1.6, 1.6, 1.8, 1.8, 3.2)))
    else:
        blocks.append(Paragraph(_("none")))
    if len(rows) > _SHOWN:
        blocks.append(Paragraph(_("{count} more are in the attached file.").format(count=len(rows) - _SHOWN)))
    met = sum(answered["met"] for answered in report["resolved"])
    if met:
        words = _("{count} findings were answered by two people of the institution each: the attached file names them.")
        blocks.append(Paragraph(words.format(count=met)))
    for ended in report["former"]:
        blocks.append(Paragraph(_("An earlier attachment of {table} ended at journal entry {entry}.").format(
            table=ended["table"], entry=ended["entry"])))  # fmt: skip
    return blocks
