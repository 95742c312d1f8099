"""`careseal auditor`, and `verify` in an auditor's home: audits from outside, by accounts that only read, and their signed reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console import Timer, iso, print_json, progress, say
from api.errors import FAILED, FINDINGS
from api.language import _
from api.options import JsonOption, KeyPassphraseOption
from api.passphrase import key_passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from anchoring.outside import OutsideAudit
    from api.audit_report import Signed
    from ledger.auditor import Outside

AuditorOption = Annotated[Path, typer.Option("--home", help=_("The auditor's home folder."))]


def app() -> typer.Typer:
    """`careseal auditor init|take|check`."""
    made = typer.Typer(no_args_is_help=True, help=_("An outside auditor's own home, what it was granted, and signed reports."))

    @made.command("init", help=_("Make an auditor's home, with a key under the auditor's own passphrase."))
    def init(
        home: AuditorOption,
        name: Annotated[str, typer.Option("--name", help=_("The auditor's name, as others will see it."))],
        key_passphrase_file: KeyPassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.auditor import KEY, PUBLIC, create_auditor
        from ledger.persons import read_public

        create_auditor(home, name, key_passphrase(key_passphrase_file, home / KEY, create=True))
        fingerprint, public = read_public(home / PUBLIC).fingerprint, str(home / PUBLIC)
        if as_json:
            return print_json({"home": str(home), "name": name, "public": public, "fingerprint": fingerprint})
        say("{home}: the home of {name}, fingerprint {fingerprint}", home=home, name=name, fingerprint=fingerprint)
        say("hand {file} to the institution: careseal person add {file} --role auditor, then careseal audit-access grant", file=public)
        return None

    @made.command("take", help=_("Keep a file of careseal audit-access in the auditor's home."))
    def take(
        home: AuditorOption,
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The file that the institution gave."))],
        key_passphrase_file: KeyPassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.auditor import KEY, auditor_key, check_auditor, take_access

        check_auditor(home)
        header = take_access(home, file, auditor_key(home, key_passphrase(key_passphrase_file, home / KEY)))
        values = {"institution": header.institution, "name": header.name, "chain_id": header.chain_id, "size": header.size}
        if as_json:
            return print_json(values)
        say("audit access to {name}, institution {institution} of chain {chain_id}: secrets of {size} entries", **values)
        return None

    @made.command("check", help=_("Check the signatures of reports, and whether several are the same. Exit 1 where they are not."))
    def check(
        folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help=_("The report's folder; several are compared."))],
        as_json: JsonOption = False,
    ) -> None:
        from api.audit_report import check_report

        found = [(folder, check_report(folder)) for folder in folders]
        same = all(signed.digests == found[0][1].digests for _folder, signed in found)
        if as_json:
            print_json({"same": same, "reports": [{"folder": str(folder), **_signed_json(signed)} for folder, signed in found]})
        else:
            for folder, signed in found:
                say("{folder}: signed by {name}, fingerprint {fingerprint}, at {time}", folder=folder, name=signed.auditor.name,
                    fingerprint=signed.auditor.fingerprint, time=signed.signed_at)  # fmt: skip
            if len(found) > 1:
                say("the reports are the same, byte for byte" if same else "the reports differ")
        raise typer.Exit(0 if same else FINDINGS)

    return made


@dataclass(frozen=True, slots=True)
class Asked:
    """What an auditor asks for: the options of `verify` in an auditor's home."""

    source: Sequence[str]
    ledger: str | None
    network: Path | None
    rpc: str | None
    table: Sequence[str]
    block: int | None
    report: Path | None
    pdf: bool
    max_lag: float
    processes: int
    values: bool
    groups: bool
    key_passphrase_file: Path | None
    as_json: bool


def verify_outside_command(home: Path, asked: Asked) -> None:
    """Audit from outside, and write the signed report. Exit 0 intact, 1 findings, 2 could not verify, or not all rows."""
    from anchoring.link import one_line_errors
    from anchoring.outside import verify_outside
    from api.audit_report import report_of, write_report
    from api.evidence_commands import trusted_file
    from ledger.auditor import KEY, REPORTS, auditor_key, outside_books
    from node.client import connect

    if not asked.source or asked.ledger is None or asked.network is None or asked.rpc is None:
        raise LedgerError("an auditor gives --source, --ledger, --network and --rpc: the auditor's own network file and node")
    timer, now = Timer(), time.time()
    network, data = trusted_file(asked.network)
    key = auditor_key(home, key_passphrase(asked.key_passphrase_file, home / KEY))
    with outside_books(home, key, asked.ledger, asked.source, asked.table, int(now * 1000)) as outside:
        with connect(asked.rpc, None, time.time) as w3, one_line_errors(), progress(not asked.as_json) as rows:
            made = verify_outside(outside, w3, network, block=asked.block, max_lag=asked.max_lag, processes=asked.processes,
                                  values=asked.values, progress=rows)  # fmt: skip
        took = timer.seconds
        report = report_of(made, outside, network, sha256(data).hexdigest(), values=asked.values)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        folder = asked.report or home / REPORTS / f"{outside.header.institution}-{made.header.number}-{stamp}"
        signed, without = write_report(folder, report, key, _grant(outside), iso(now), pdf=asked.pdf)
    if asked.as_json:
        shown = {**report, "findings": [report["findings"][place] for place in report["single"]]} if asked.groups else report
        print_json({**shown, "seconds": round(took, 3), "report": str(folder), **_signed_json(signed)})
    else:
        _print(made, took, folder)
    if without is not None:
        raise without
    raise typer.Exit(FINDINGS if not made.audit.ok else 0 if made.whole else FAILED)


def _grant(outside: Outside) -> Mapping[str, Any]:
    grant = outside.grant
    return {
        "entry": grant.entry, "commitment": outside.header.commitment.hex(), "secrets_of": outside.header.size,
        "until": iso(grant.until / 1000),
    }  # fmt: skip


def _signed_json(signed: Signed) -> dict[str, object]:
    return {
        "auditor": signed.auditor.name, "fingerprint": signed.auditor.fingerprint, "signed_at": signed.signed_at,
        "grant": dict(signed.grant), "files": dict(signed.digests),
    }  # fmt: skip


def _print(made: OutsideAudit, seconds: float, folder: Path) -> None:
    from api.console import print_audited, print_outcome

    result = made.audit
    print_audited(result, seconds)
    size = 0 if made.on_chain.last is None else made.on_chain.last.size
    say("as of block {block}, {time}: {size} of the ledger's {all} entries are anchored", block=made.header.number,
        time=iso(made.header.timestamp), size=size, all=result.size)  # fmt: skip
    if made.unchecked:
        say("{n} rows were sealed after the secrets were given: ask the institution for careseal audit-access issue", n=made.unchecked)
    say("report: {folder}", folder=folder)
    if made.unanchored:
        say("{n} entries are not anchored and the institution's word alone: ask it for careseal seal, and for its ledger after that",
            n=made.unanchored)  # fmt: skip
    if result.ok and not made.whole:
        say("NOT ALL ROWS COULD BE CHECKED")
    else:
        print_outcome(result)
