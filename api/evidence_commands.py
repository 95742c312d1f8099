"""`careseal evidence`: make evidence files, verify them offline, bring old ones up to date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anchoring.evidence_main import iso
from anchoring.opening import Record, Report, Version
from api import console
from api.certificate_command import add_certificate
from api.console import print_json, say
from api.errors import FINDINGS
from api.language import _
from api.options import ExportedJournalOption, HomeOption, JsonOption, NetworkOption, PassphraseOption, SuccessionOption, TsaCertOption
from api.receipts import precise, stamp_json
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from web3 import Web3

    from anchoring.chainpoint import Receipts
    from anchoring.evidence import Proved
    from anchoring.export import Wanted
    from anchoring.network import Network
    from anchoring.timestamp import Stamp

OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help=_("The evidence file to write, or the folder with --all or --where-keys."))
]


def app() -> typer.Typer:
    """`careseal evidence export|verify|refresh|certificate|page`."""
    made = typer.Typer(no_args_is_help=True, help=_("Make and verify evidence files."))

    @made.command("export", help=_("Write the evidence of a record, of many records, or of an audit."))
    def export(
        home: HomeOption,
        output: OutputOption,
        table: Annotated[str | None, typer.Argument(metavar="TABLE", help=_("The attached table."))] = None,
        key: Annotated[
            list[str] | None, typer.Argument(metavar="KEY...", help=_("The record's key, in the order of the key columns."))
        ] = None,
        kind: Annotated[str, typer.Option("--kind", help=_("record, history (all versions), or latest (no later version)."))] = "record",
        field: Annotated[
            list[str] | None, typer.Option("--field", metavar="COLUMN", help=_("Show this column and hide the others; may be repeated."))
        ] = None,
        version: Annotated[
            int | None, typer.Option("--version", metavar="N", min=1, help=_("This version of the record instead of the last."))
        ] = None,
        whole: Annotated[bool, typer.Option("--all", help=_("Every record of the table, a file each."))] = False,
        where_keys: Annotated[
            Path | None,
            typer.Option(
                "--where-keys", metavar="FILE", help=_("The records whose keys are in this file, a line each, columns parted by TAB.")
            ),
        ] = None,
        audit: Annotated[
            str | None, typer.Option("--audit", metavar="ENTRY", help=_("The report of the audit with this entry, or of the last one."))
        ] = None,
        form: Annotated[
            str, typer.Option("--format", help=_("evidence, or chainpoint: receipts of one or several records under a journalled root."))
        ] = "evidence",
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.bulk_export import export_many, read_keys
        from anchoring.chainpoint_export import export_receipts
        from anchoring.export import export_audit, export_evidence
        from api.commands import opened

        if form not in ("evidence", "chainpoint"):
            raise LedgerError(f"there is no format {form}: give evidence or chainpoint")
        if form == "chainpoint":
            if not table or not key or kind != "record" or field or version or whole or where_keys or audit:
                raise LedgerError("--format chainpoint takes a table and keys, and no other choice")
            with opened(home, passphrase_file) as (opened_home, link):
                data, receipts = export_receipts(opened_home, link, table, key, int(time.time() * 1000))
            return _written(output, data, receipts.size, receipts.block, as_json)
        if audit is not None:
            if table or whole or where_keys or field or version or not (audit == "last" or audit.isdecimal()):
                raise LedgerError("--audit takes the number of an entry, or last, and goes without a table")
            with opened(home, passphrase_file) as (opened_home, link):
                data, proved = export_audit(opened_home, link, None if audit == "last" else int(audit))
            return _written(output, data, proved.anchored.size, proved.anchored.block, as_json)
        wanted = _wanted(kind, field or [], version)
        if table is None or (bool(key) + whole + (where_keys is not None)) != 1:
            raise LedgerError("name a table and one record's key, or a table with --all or --where-keys FILE, or --audit last")
        if key:
            with opened(home, passphrase_file) as (opened_home, link):
                data, proved = export_evidence(opened_home, link, table, key, wanted)
            return _written(output, data, proved.anchored.size, proved.anchored.block, as_json)
        keys = None if where_keys is None else read_keys(where_keys)
        with opened(home, passphrase_file) as (opened_home, link):
            done = export_many(opened_home, link, table, keys, wanted, output)
        if as_json:
            print_json({"folder": str(output), "files": done.files, "bytes": done.bytes, "left_out": dict(done.left_out)})
        else:
            say("{folder}: {files} files, {bytes} bytes", folder=output, files=done.files, bytes=done.bytes)
            for reason, count in done.left_out.items():
                say("warning: {count} records were left out: {reason}", count=count, reason=reason)
        if done.left_out:
            raise typer.Exit(FINDINGS)
        return None

    words = _("Verify an evidence file offline. Exit 0 valid, 1 edited, truncated, foreign or no evidence, 2 a file cannot be read.")

    @made.command("verify", help=words)
    def verify_file(
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The evidence file."))],
        network: NetworkOption,
        journal: ExportedJournalOption = None,
        tsa_cert: TsaCertOption = None,
        succession: SuccessionOption = None,
        values: Annotated[bool, typer.Option("--values", help=_("Show the record."))] = False,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.chainpoint import is_receipts, verify_receipts
        from anchoring.evidence_main import read_evidence, shown
        from anchoring.journal_scan import scan_journal
        from anchoring.succession import verify_across

        trusted, data = read_trusted(network), read_evidence(file)
        if is_receipts(data):
            return _show_receipts(verify_receipts(data, trusted), as_json)
        proved = verify_across(data, trusted, [read_evidence(given) for given in succession or ()])
        later = None if journal is None else scan_journal(journal, proved)
        stamp = checked_stamp(proved, tsa_cert or [])
        if as_json:
            about = shown(proved, later, values=values)
            if stamp is not None and proved.stamped is not None:
                about["timestamp"] = {"size": proved.stamped.size, "checked": True, **(stamp_json(stamp) or {})}
            return print_json(about)
        _say_anchored(proved)
        if stamp is not None:
            say("stamped at {time} by {tsa}: it all existed then", time=precise(stamp.time), tsa=stamp.tsa)
        elif proved.stamped is not None:
            say("time stamp not checked: give --tsa-cert with the root certificate of its TSA")
        if isinstance(proved.subject, Report):
            _say_report(proved.subject)
            return None
        _say_record(proved.record, values)
        if later is None:
            say("later versions are not excluded")
        elif later.excluded(proved):
            say("no later version: all {size} entries up to the checkpoint were looked through", size=later.size)
        else:
            say("warning: there is a later version, {version}, in entry {index} of the journal", version=later.version, index=later.index)
        return None

    @made.command("refresh", help=_("Prove old evidence anew from the chain's present state."))
    def refresh(
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The evidence file."))],
        output: Annotated[Path, typer.Option("--output", "-o", help=_("The evidence file to write."))],
        network: Annotated[
            Path | None, typer.Option("--network", help=_("The network file to prove it under; default: the home's."))
        ] = None,
        home: Annotated[
            Path | None, typer.Option("--home", envvar="CARESEAL_HOME", help=_("A home whose chain is asked; else give --rpc."))
        ] = None,
        rpc: Annotated[str | None, typer.Option("--rpc", metavar="URL", help=_("A node of the chain, with --network."))] = None,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.evidence_main import read_evidence
        from anchoring.refresh import refresh_evidence

        data, trusted = read_evidence(file), None if network is None else read_trusted(network)
        with _node(rpc, home, trusted, passphrase_file) as (w3, known):
            fresh, proved = refresh_evidence(data, w3, known)
        return _written(output, fresh, proved.anchored.size, proved.anchored.block, as_json)

    add_certificate(made)
    made.command("page", help=_("Write the web page that verifies evidence in a browser, offline, and print its SHA-256."))(write_page)
    return made


def write_page(
    output: Annotated[Path, typer.Option("--output", "-o", help=_("The HTML file to write."))], as_json: JsonOption = False
) -> None:
    """`careseal evidence page`."""
    from anchoring.page import page
    from ledger.files import write_durably

    data = page()
    digest = sha256(data).hexdigest()
    try:
        write_durably(output, data)
    except OSError as error:
        raise LedgerError(f"cannot write {output}: {error.strerror}") from error
    if as_json:
        return print_json({"file": str(output), "bytes": len(data), "sha256": digest})
    say("{file}: {bytes} bytes", file=output, bytes=len(data))
    say("SHA-256 {digest}: every copy of this release's page has it", digest=digest)
    return None


def checked_stamp(proved: Proved, certificates: list[Path]) -> Stamp | None:
    """What the evidence's time stamp says, None where there is none or no root is trusted. LedgerError where one is missed."""
    if not certificates:
        return None
    from anchoring.stamped import check_stamp
    from anchoring.timestamp import read_roots

    roots = read_roots(certificates)
    if proved.stamped is None:
        raise LedgerError("this evidence has no time stamp: verify it without --tsa-cert")
    return check_stamp(proved.stamped, roots)


@contextmanager
def _node(rpc: str | None, home: Path | None, network: Network | None, passphrase_file: Path | None) -> Iterator[tuple[Web3, Network]]:
    """A node of the chain, and the root of trust: the one that is given, else the home's."""
    if rpc is not None:
        from anchoring.link import one_line_errors
        from node.client import connect

        if network is None:
            raise LedgerError("--rpc needs --network FILE, the root of trust")
        with connect(rpc, None, time.time) as w3, one_line_errors():
            yield w3, network
        return
    if home is None:
        raise LedgerError("name a node of the chain: --rpc URL with --network FILE, or --home")
    from api.commands import opened

    with opened(home, passphrase_file, network) as (_home, link):
        yield link.w3, link.network


def _wanted(kind: str, columns: list[str], version: int | None) -> Wanted:
    from anchoring.export import Wanted

    if kind not in ("record", "history", "latest"):
        raise LedgerError(f"--kind {kind}: use record, history or latest")
    if kind != "record" and (columns or version):
        raise LedgerError("--field and --version go with --kind record")
    return Wanted("fields" if columns else kind, tuple(columns), version)


def _written(output: Path, data: bytes, size: int, block: int, as_json: bool) -> None:
    from ledger.files import write_durably

    try:
        write_durably(output, data)
    except OSError as error:
        raise LedgerError(f"cannot write {output}: {error.strerror}") from error
    if as_json:
        return print_json({"file": str(output), "bytes": len(data), "size": size, "block": block})
    say("{file}: {bytes} bytes", file=output, bytes=len(data))
    return None


def _show_receipts(proved: Receipts, as_json: bool) -> None:
    shown = {
        "valid": True, "institution": proved.institution, "chain_id": proved.chain_id, "journals": proved.journals,
        "generation": proved.generation, "records": len(proved.entries), "root_entry": proved.index, "size": proved.size,
        "root": proved.root.hex(), "block": proved.block,
    }  # fmt: skip
    if as_json:
        return print_json(shown)
    say("VALID: {n} journal entries under one root, which is in entry {entry} of institution {institution}", n=len(proved.entries),
        entry=proved.index, institution=proved.institution)  # fmt: skip
    say("as it states, {size} entries with root {root} are on the chain since block {block}: compare them with the chain",
        size=proved.size, root=proved.root.hex(), block=proved.block)  # fmt: skip
    say("what the entries commit to is not shown; an evidence file shows a record")
    return None


def _say_anchored(proved: Proved) -> None:
    """What is proved, by whom, and how firmly the chain holds it."""
    anchored = proved.anchored
    about = {"name": anchored.name, "number": anchored.institution, "block": anchored.block}
    if isinstance(proved.subject, Report):
        say("VALID: report of an audit by {name} (institution {number}), anchored in block {block}", **about)
    elif proved.kind == "history":
        say("VALID: versions 1 to {version} of a record of {table} of {name} (institution {number}), anchored in block {block}",
            version=proved.record.last.number, table=proved.record.table, **about)  # fmt: skip
    else:
        say("VALID: version {version} of a record of {table} of {name} (institution {number}), anchored in block {block}",
            version=proved.record.last.number, table=proved.record.table, **about)  # fmt: skip
    stands = {"block": anchored.header_block, "count": len(anchored.sealers), "of": anchored.sealers_of}
    if anchored.final:
        say("final: block {block} is sealed by {count} of {of} validators", **stands)
    elif anchored.sealers:
        say("confirmed, not final: {count} of {of} sealers stand behind block {block}", **stands)
    else:
        say("proved at the trusted block of the network file, {block}", **stands)


def _say_report(report: Report) -> None:
    audit = report.audit
    say(
        "audited, as it states, at {time}: {size} entries, {findings} findings",
        time=iso(audit["at"] / 1000),
        size=audit["size"],
        findings=audit["findings"],
    )
    for table in audit["tables"]:
        console.out.print(f"  {table}", markup=False)


def _say_record(record: Record, values: bool) -> None:
    if record.source_table != record.table:
        say("in its database the table is called {table}", table=record.source_table)
    for version in record.versions:
        if len(record.versions) > 1:
            change = {"written": _("written"), "amended": _("amended")}.get(version.kind, _("deleted"))
            say("version {version}: {change}", version=version.number, change=change)
        say("sealed, as it states, at {time}", time=iso(version.sealed_at))
        _say_origin(version, alone=len(record.versions) == 1)
        for name, value in (version.values or {}).items() if values else ():
            console.out.print(f"  {name} = {value}", markup=False)
    if record.hidden:
        say("hidden: {columns}", columns=", ".join(record.hidden))


def _say_origin(version: Version, *, alone: bool) -> None:
    """How the version came into the journal, no more than the entry says."""
    if version.kind == "deleted":
        say("the record was deleted")
    elif version.values is None:
        say("its content is not shown")
    if version.baseline:
        say("baseline at attach: nothing is proved about earlier times")
    elif version.kind == "amended" and alone:
        say("an amendment; earlier versions are not shown")
    elif version.captured and not version.marks and version.kind == "written":
        say("sealed when written")
    if version.marks:
        say("warning: marked when it was sealed: {marks}", marks=", ".join(version.marks))


def read_trusted(path: Path) -> Network:
    """The network file at `path`. LedgerError where it cannot be read, NetworkInvalid where it is none."""
    return trusted_file(path)[0]


def trusted_file(path: Path) -> tuple[Network, bytes]:
    """The same, and its bytes."""
    from anchoring.network import decode_network, network_bytes

    try:
        data = network_bytes(path)
    except OSError as error:
        raise LedgerError(f"cannot read the network file {path}: {error.strerror}") from error
    return decode_network(data), data
