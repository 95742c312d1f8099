"""`careseal evidence certificate`: a PDF for people, made of an evidence file that was verified first."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from api.console import print_json, say
from api.language import _
from api.options import ExportedJournalOption, JsonOption, NetworkOption, TsaCertOption
from ledger.errors import LedgerError


def add_certificate(made: typer.Typer) -> None:
    """Add the command to those of `careseal evidence`."""

    @made.command("certificate", help=_("Make a PDF for people of an evidence file, which is verified first and stays inside."))
    def certificate(
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The evidence file."))],
        output: Annotated[Path, typer.Option("--output", "-o", help=_("The PDF to write."))],
        network: NetworkOption,
        journal: ExportedJournalOption = None,
        tsa_cert: TsaCertOption = None,
        made_at: Annotated[
            str | None,
            typer.Option("--made-at", metavar="TIME", help=_("When it is made, as 2026-11-23T22:00:00Z, to make the same PDF again.")),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.chainpoint import is_receipts
        from anchoring.evidence import verify_evidence
        from anchoring.evidence_main import read_evidence
        from anchoring.journal_scan import scan_journal
        from api import certificate as pages
        from api.evidence_commands import checked_stamp, trusted_file
        from ledger.files import write_durably

        when = _moment(made_at)
        (trusted, trusted_bytes), data = trusted_file(network), read_evidence(file)
        if any(output.exists() and output.samefile(kept) for kept in (file, network)):
            raise LedgerError(f"{output} would be replaced by its certificate: give --output another name")
        if is_receipts(data):
            raise LedgerError("a certificate is made of evidence, not of Chainpoint receipts: export the record with --format evidence")
        proved = verify_evidence(data, trusted)
        later = None if journal is None else scan_journal(journal, proved)
        stamp = checked_stamp(proved, tsa_cert or [])
        content = pages.certificate(pages.Verified(data, proved, later, sha256(trusted_bytes).digest(), stamp), when)
        try:
            write_durably(output, content)
        except OSError as error:
            raise LedgerError(f"cannot write {output}: {error.strerror}") from error
        if as_json:
            return print_json({"file": str(output), "bytes": len(content), "evidence_sha256": sha256(data).hexdigest()})
        say("{file}: {bytes} bytes", file=output, bytes=len(content))
        return None


def _moment(text: str | None) -> datetime:
    """The time given, else the clock's, to the second. LedgerError where it is none."""
    from api.duration import moment

    seconds = int(time.time()) if text is None else moment("--made-at", text) // 1000
    if seconds < 0:
        raise LedgerError(f"--made-at {text}: write a time as 2026-11-23T22:00:00Z")
    return datetime.fromtimestamp(seconds, UTC)
