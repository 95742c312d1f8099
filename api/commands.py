"""Every command of the program, its options and its help.

A command imports what it needs when it runs: web3.py and py-evm take a second, and help should not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import (
    access_commands,
    auditor_commands,
    erase_commands,
    evidence_commands,
    findings_commands,
    hold_commands,
    import_command,
    journal_commands,
    migrate_command,
    monitor_command,
    network_commands,
    node_commands,
    person_commands,
    recovery,
    retention_commands,
    window_commands,
    worker,
)
from api.auditor_commands import Asked, verify_outside_command
from api.console import (
    Timer,
    audit_json,
    last_audits_json,
    mirror_json,
    print_audit,
    print_json,
    print_last_audits,
    print_mirror_faults,
    progress,
    say,
)
from api.duration import seconds
from api.evidence_commands import read_trusted
from api.language import _, reported
from api.options import HomeOption, JsonOption, KeyPassphraseOption, PassphraseOption
from api.passphrase import given_passphrase, passphrase, recovery_passphrase
from api.receipts import precise, print_stamps, promising, stamp_json, stamps_json, tell_completed, tell_failed, write_receipt
from careseal import __version__
from ledger.errors import LedgerError, SourceError

if TYPE_CHECKING:
    from anchoring.link import Link
    from anchoring.network import Network
    from ledger.audit import AuditResult
    from ledger.home import Home
    from ledger.journal import Checkpoint
    from ledger.tables import Attached


def build() -> typer.Typer:
    """The command line, with help in the language chosen before."""
    app = typer.Typer(
        name="careseal", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
        help=_("Seals hospital records where they are, anchors them on a chain, and finds every alteration."),
        epilog=_("--lang en|zh chooses the language of every command."),
    )  # fmt: skip
    app.callback(invoke_without_command=True)(_version)
    for command in (init, attach_command, detach_command, seal_command, verify_command, status, worker.run, recovery.backup_command,
                    recovery.restore_command, import_command.import_command, migrate_command.migrate_check_command, erase_commands.erase,
                    monitor_command.monitor,
                    sample_hospital, demo):  # fmt: skip
        app.command(command.__name__.removesuffix("_command").replace("_", "-"), help=_(_doc(command)))(command)
    app.add_typer(evidence_commands.app(), name="evidence")
    app.add_typer(journal_commands.app(), name="journal")
    app.add_typer(node_commands.app(), name="node")
    app.add_typer(network_commands.app(), name="network")
    app.add_typer(person_commands.app(), name="person")
    app.add_typer(findings_commands.app(), name="findings")
    app.add_typer(window_commands.app(), name="change-window")
    app.add_typer(hold_commands.app(), name="hold")
    app.add_typer(retention_commands.app(), name="retention")
    app.add_typer(access_commands.app(), name="audit-access")
    app.add_typer(auditor_commands.app(), name="auditor")
    return app


def _doc(command: object) -> str:
    return (command.__doc__ or "").strip()


def _version(version: Annotated[bool, typer.Option("--version", help=_("Print the version."))] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit()


@contextmanager
def opened(path: Path, passphrase_file: Path | None, network: Network | None = None) -> Iterator[tuple[Home, Link]]:
    """A home for writing, and its chain, under its own root of trust or another."""
    from ledger.home import Home

    secret = passphrase(passphrase_file, path)
    with Home.open(path, lambda: secret) as home, linked(home, secret, network) as link:
        yield home, link


@contextmanager
def linked(home: Home, secret: bytes, network: Network | None = None) -> Iterator[Link]:
    """The chain of an opened home, under its own root of trust or another."""
    from anchoring.founding import sealer_key
    from anchoring.link import open_link

    chain = home.settings.chain
    key = None if "://" in chain else sealer_key(Path(chain), lambda: secret)
    with open_link(home.settings, home.keyring.sealing, key, time.time, network) as link:
        yield link


def init(
    home: HomeOption,
    name: Annotated[str, typer.Option("--name", help=_("The institution's name."))],
    chain: Annotated[
        str | None, typer.Option("--chain", help=_("The chain's folder, or its nodes' URLs with commas between; default: inside the home."))
    ] = None,
    network: Annotated[Path | None, typer.Option("--network", help=_("The consortium's network file, needed with a URL."))] = None,
    mirror: Annotated[
        Path | None, typer.Option("--mirror", help=_("Folder, best on another disk, that gets every entry before it is published."))
    ] = None,
    tsa: Annotated[
        list[str] | None,
        typer.Option("--tsa", metavar="URL", help=_("TSA to ask for time stamps; may be repeated, the first to answer counts.")),
    ] = None,
    kit: Annotated[Path | None, typer.Option("--kit", help=_("Where to write the recovery kit; default: beside the home."))] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a home, and found or join a chain."""
    from anchoring.founding import Plan, create_home
    from anchoring.network import NETWORK
    from ledger.home import chain_is_inside

    secret = passphrase(passphrase_file, create=True)
    spoken = None if given_passphrase(passphrase_file) else recovery_passphrase()
    place = home if home.name else home.resolve()
    kit = kit or place.with_name(f"{place.name}-recovery-kit.json")
    plan = Plan(home, name, kit, chain, network, mirror, tuple(tsa or ()))
    settings = create_home(plan, secret, spoken.encode() if spoken else secret, time.time)
    if as_json:
        values = {"home": str(home), "institution": settings.institution, "chain": settings.chain, "chain_id": settings.chain_id}
        values |= {"network": str(home / NETWORK), "kit": str(kit), "mirror": settings.mirror, "tsa": list(settings.tsa)}
        return print_json(values | ({"recovery_passphrase": spoken} if spoken else {}))
    say(
        "{name} is institution {number} of chain {chain_id} ({chain})",
        name=name,
        number=settings.institution,
        chain_id=settings.chain_id,
        chain=settings.chain,
    )
    say("recovery kit: {kit} - keep it away from this machine", kit=kit)
    if spoken:
        say("recovery passphrase, shown this once: {passphrase}", passphrase=spoken)
    if settings.mirror is None:
        say("no --mirror: if this disk is lost, so is the journal")
    if chain_is_inside(home, settings):
        _say_chain_is_inside()
    return None


def attach_command(
    home: HomeOption,
    source: Annotated[str, typer.Argument(metavar="URL", help=_("The database, as sqlite:///path or postgresql://user@host/name."))],
    table: Annotated[list[str], typer.Option("--table", help=_("A table to put under seal; may be repeated."))],
    alias: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help=_("Another name for the table in this home; with one --table only."))
    ] = None,
    capture: Annotated[str, typer.Option("--capture", help=_("triggers or scan."))] = "triggers",
    key: Annotated[list[str] | None, typer.Option("--key", help=_("Key column where there is no primary key; may be repeated."))] = None,
    writer: Annotated[
        list[str] | None, typer.Option("--writer", help=_("Database user who may write; may be repeated. Default: all."))
    ] = None,
    immutable: Annotated[list[str] | None, typer.Option("--immutable", help=_("Column that may never change; may be repeated."))] = None,
    final: Annotated[str | None, typer.Option("--final", help=_("SQL condition under which a row is closed to change."))] = None,
    deletable: Annotated[bool, typer.Option("--deletable", help=_("Rows may be deleted."))] = False,
    time_column: Annotated[str | None, typer.Option("--time", help=_("Column with the row's own time, to notice back-dating."))] = None,
    grace: Annotated[str, typer.Option("--grace", help=_("How late a row may be entered, as 30m, 24h or 2d."))] = "24h",
    subject: Annotated[
        str | None, typer.Option("--subject", help=_("Patient column, or path COL/TABLE.COL/COL; @row gives each row a key."))
    ] = None,
    policy: Annotated[str, typer.Option("--policy", help=_("New rows of a scanned table: adopt or pending."))] = "adopt",
    copies: Annotated[bool, typer.Option("--copies", help=_("Keep an encrypted copy of every sealed row, to show it as it was."))] = False,
    digest: Annotated[str, typer.Option("--digest", help=_("sha256 or sm3."))] = "sha256",
    json_column: Annotated[
        list[str] | None,
        typer.Option("--json-column", help=_("Column with JSON: findings name its top-level elements, with --copies; may be repeated.")),
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put tables of a database under seal."""
    from ledger.attach import attach
    from ledger.home import Home
    from ledger.sources import open_source
    from ledger.tables import Options

    options = Options(
        capture,  # type: ignore[arg-type]
        tuple(writer or ()),
        tuple(immutable or ()),
        final,
        deletable,
        time_column,
        int(seconds(grace)),
        subject,
        policy,
        copies,
        digest,
        tuple(json_column or ()),
    )
    secret = passphrase(passphrase_file, home)
    with Home.open(home, lambda: secret) as opened_home:
        tables = attach(opened_home, source, table, key or (), options, _now_ms(), alias=alias)
    with closing(open_source(source)) as database:
        remarks = database.remarks()
    if as_json:
        listed = [{"table": t.name, "key": list(t.shape.key), "columns": len(t.shape.columns)} for t in tables]
        return print_json({"attached": listed, "remarks": remarks})
    for t in tables:
        say("{table}: {columns} columns, key {key}", table=t.name, columns=len(t.shape.columns), key=", ".join(t.shape.key))
    for remark in remarks:
        say("note: {remark}", remark=reported(remark))
    return None


def detach_command(
    home: HomeOption,
    table: Annotated[list[str] | None, typer.Option("--table", help=_("The table to let go; may be repeated. Default: all."))] = None,
    gone: Annotated[bool, typer.Option("--gone", help=_("The database is gone for good: only take it off the list."))] = False,
    with_findings: Annotated[
        bool, typer.Option("--with-findings", help=_("Detach although findings are open; the journal keeps their number."))
    ] = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal what is captured, audit, restore the schema as it was, and end the sealing of tables. Exit 1: findings are open."""
    from anchoring.publish import check_head
    from anchoring.verify import verify
    from ledger.audit import Scope
    from ledger.detach import detach
    from ledger.home import Home
    from ledger.seal import tables_of

    secret = passphrase(passphrase_file, home)
    with Home.open(home, lambda: secret) as opened_home, ExitStack() as stack:
        tables = list(tables_of(opened_home, table or ()))
        audit = None
        if not gone:
            link, rows = stack.enter_context(linked(opened_home, secret)), stack.enter_context(progress(not as_json))
            check_head(opened_home, link)

            def audit(chosen: Sequence[Attached]) -> AuditResult:
                return verify(opened_home, link, Scope(chosen), time.time(), progress=rows).audit

        outcome = detach(opened_home, tables, _now_ms(), audit, with_findings=with_findings)
    detached = [t.name for t in tables] if outcome.done else []
    if as_json:
        print_json({"detached": detached, "audits": last_audits_json(outcome.audits)})
    else:
        print_last_audits(outcome.audits)
        for name in detached:
            say("{table} is detached; its entries stay in the journal", table=name)
        if not outcome.done:
            say("nothing is detached while findings are open: --with-findings does it all the same, and journals how many there are")
    raise typer.Exit(0 if outcome.done else 1)


def seal_command(
    home: HomeOption,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", help=_("Where to write the signed receipt; default: receipts/ in the home."))
    ] = None,
    new_mirror: Annotated[
        Path | None, typer.Option("--new-mirror", help=_("Start a mirror, or another one, in this empty folder, with all entries so far."))
    ] = None,
    tsa: Annotated[
        list[str] | None, typer.Option("--tsa", metavar="URL", help=_("From now on ask this TSA for time stamps; may be repeated."))
    ] = None,
    no_tsa: Annotated[bool, typer.Option("--no-tsa", help=_("From now on ask no TSA."))] = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal new and changed rows, and publish the checkpoint on the chain."""
    from anchoring.receipt import make_receipt
    from anchoring.sealing import sealed
    from anchoring.stamping import declare, stamp_receipt
    from ledger.home import Home
    from ledger.mirror import start_mirror

    if tsa and no_tsa:
        raise typer.BadParameter(_("--tsa and --no-tsa exclude each other"))
    timer = Timer()
    secret = passphrase(passphrase_file, home)
    with Home.open(home, lambda: secret) as opened_home, progress(not as_json) as rows:
        if new_mirror is not None:
            start_mirror(opened_home, new_mirror)
        if tsa or no_tsa:
            declare(opened_home, tsa or ())
        connection = linked(opened_home, secret)
        with promising(opened_home, receipt, as_json=as_json), sealed(opened_home, connection, _now_ms(), rows) as (_link, done):
            tell_completed(opened_home, as_json=as_json)
            checkpoint = done.latest
            signed = None if checkpoint is None else make_receipt(opened_home.settings, checkpoint, opened_home.keyring.sealing)
        # The chain is closed while a TSA is waited for: others may use it.
        stamping = written = None
        if checkpoint is not None and signed is not None:
            stamping = stamp_receipt(opened_home, checkpoint, signed)
            tell_failed(stamping)
            written = write_receipt(opened_home, checkpoint, stamping.receipt, receipt)
    stamp = stamping.stamp if stamping else None
    if as_json:
        return print_json(seal_json(done.added, checkpoint, written, timer.seconds) | {"timestamp": stamp_json(stamp)})
    say("{added} entries added in {seconds:.2f} s", added=done.added, seconds=timer.seconds)
    if checkpoint is not None:
        say(
            "anchored: {size} entries, root {root}, block {block}", size=checkpoint.size, root=checkpoint.root.hex(), block=checkpoint.block
        )
        if stamp is not None:
            say("time stamp: {time}, by {tsa}", time=precise(stamp.time), tsa=stamp.tsa)
        say("receipt: {path} - keep a copy outside this machine", path=written)
    return None


def seal_json(added: int, checkpoint: Checkpoint | None, receipt: Path | None, took: float) -> dict[str, object]:
    """The document of `seal --json`."""
    values: dict[str, object] = {"added": added, "seconds": round(took, 3), "receipt": str(receipt) if receipt else None}
    if checkpoint is None:
        return values | {"size": 0, "root": None, "block": None, "tx": None}
    return values | {"size": checkpoint.size, "root": checkpoint.root.hex(), "block": checkpoint.block, "tx": checkpoint.tx}


def verify_command(
    home: HomeOption,
    table: Annotated[list[str] | None, typer.Option("--table", help=_("Audit this table only; may be repeated."))] = None,
    since: Annotated[
        list[Path] | None, typer.Option("--since", help=_("A receipt kept elsewhere; finds a home rolled back as a whole."))
    ] = None,
    tsa_cert: Annotated[
        list[Path] | None,
        typer.Option("--tsa-cert", metavar="FILE", help=_("Root certificates (PEM) of trusted TSAs, to check the receipts' time stamps.")),
    ] = None,
    tsa_policy: Annotated[
        str | None, typer.Option("--tsa-policy", metavar="OID", help=_("The policy under which the time stamps must have been made."))
    ] = None,
    network: Annotated[
        Path | None, typer.Option("--network", help=_("A network file kept elsewhere, in place of the home's: the root of trust."))
    ] = None,
    max_lag: Annotated[str, typer.Option("--max-lag", help=_("Warn when entries wait longer than this for their anchor, as 10m."))] = "24h",
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help=_("How many processes share the work."))] = 1,
    values: Annotated[bool, typer.Option("--values", help=_("Show altered columns before and after, where a copy was kept."))] = False,
    groups: Annotated[
        bool, typer.Option("--groups", help=_("With --json: findings that are alike as their group only, not one by one."))
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="URL", help=_("Auditor: a database, by an account that only reads; may be repeated.")),
    ] = None,
    ledger: Annotated[
        str | None, typer.Option("--ledger", metavar="URL", help=_("Auditor: the institution's ledger.db, which is copied and only read."))
    ] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", metavar="URL", help=_("Auditor: address of a node of the auditor's own."))] = None,
    block: Annotated[
        int | None, typer.Option("--block", min=0, help=_("Auditor: as of this block, to make another auditor's report again."))
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help=_("Auditor: folder for the signed report; default: in reports/ of the home.")),
    ] = None,
    no_pdf: Annotated[bool, typer.Option("--no-pdf", help=_("Auditor: a report without its PDFs, which need a Chinese font."))] = False,
    passphrase_file: PassphraseOption = None,
    key_passphrase_file: KeyPassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Audit every row, entry and checkpoint against the chain, auditors from outside. Exit 0 intact, 1 findings, 2 could not verify."""
    from ledger.auditor import is_auditor

    if is_auditor(home):
        if since or tsa_cert or tsa_policy:
            raise typer.BadParameter(_("--since and --tsa-cert are for an institution's own home"))
        return verify_outside_command(home, Asked(
            source or (), ledger, network, rpc, table or (), block, report, not no_pdf, seconds(max_lag), processes, values, groups,
            key_passphrase_file, as_json,
        ))  # fmt: skip
    if source or ledger or rpc or block is not None or report or no_pdf:
        raise typer.BadParameter(_("--source, --ledger, --rpc, --block and --report are for an auditor's home: careseal auditor init"))
    from anchoring.timestamp import read_roots
    from anchoring.verify import Trust, verify
    from ledger.audit import Scope
    from ledger.seal import tables_of

    timer = Timer()
    lag = seconds(max_lag)
    if (tsa_cert and not since) or (tsa_policy and not tsa_cert):
        raise typer.BadParameter(_("--tsa-policy needs --tsa-cert, and --tsa-cert needs --since with a receipt"))
    trust = Trust(read_roots(tsa_cert), tsa_policy) if tsa_cert else None
    trusted = None if network is None else read_trusted(network)
    with opened(home, passphrase_file, trusted) as (opened_home, link), progress(not as_json) as rows:
        scope = Scope(list(tables_of(opened_home, table or ())))
        if not scope.tables:
            raise LedgerError("no table is attached, nothing was audited: attach tables first")
        verified = verify(
            opened_home, link, scope, time.time(), receipts=since or (), trust=trust, max_lag=lag, processes=processes, values=values,
            progress=rows,
        )
    if as_json:
        print_json(audit_json(verified, timer.seconds, groups_only=groups) | {"timestamps": stamps_json(verified.stamps)})
    else:
        print_stamps(verified.stamps)
        print_audit(verified, timer.seconds)
    raise typer.Exit(0 if verified.audit.ok else 1)


def status(home: HomeOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
    """Show the home's tables, journal, chain and mirror."""
    from anchoring.stamping import kept_receipt
    from ledger.home import Home, chain_is_inside
    from ledger.mirror_check import mirror_faults
    from ledger.tables import attached_tables

    secret = passphrase(passphrase_file, home)
    with Home.open(home, lambda: secret) as opened_home:
        tables = [
            {"table": t.name, "capture": t.options.capture, "key": list(t.shape.key), "sealed": t.sealed, "waiting": waiting(t)}
            for t in attached_tables(opened_home)
        ]
        journal, settings = opened_home.journal, opened_home.settings
        anchored, oldest = journal.latest(anchored=True), journal.unanchored()
        with linked(opened_home, secret) as link:
            head = link.head().last
            founding = link.consortium.founding()
        size, stamped = journal.size, anchored is not None and kept_receipt(opened_home, anchored.generation, anchored.size) is not None
        faults = mirror_faults(opened_home)
    chain_size, inside = 0 if head is None else head.size, chain_is_inside(home, settings)
    if as_json:
        return print_json({
            "name": settings.name, "institution": settings.institution, "chain": settings.chain, "chain_id": settings.chain_id,
            "size": size, "anchored": 0 if anchored is None else anchored.size, "chain_size": chain_size, "outbox": oldest is not None,
            "mirror": settings.mirror, "mirror_faults": mirror_json(faults), "tsa": list(settings.tsa), "stamped": stamped,
            "chain_inside": inside, "founding": founding, "tables": tables,
        })  # fmt: skip
    say(
        "{name}, institution {number} of chain {chain_id} ({chain})",
        name=settings.name,
        number=settings.institution,
        chain_id=settings.chain_id,
        chain=settings.chain,
    )
    say("journal: {size} entries, {anchored} of them on the chain", size=size, anchored=chain_size)
    say("mirror: {mirror}", mirror=settings.mirror or _("none"))
    print_mirror_faults(faults)
    if settings.tsa:
        say("time stamps by {tsa}: the latest checkpoint is {stamped}", tsa=", ".join(settings.tsa),
            stamped=_("stamped") if stamped else _("not stamped yet"))  # fmt: skip
    if inside:
        _say_chain_is_inside()
    if founding:
        say("the consortium is being founded: whoever reaches the chain can join; end it with careseal node close-founding")
    for t in tables:
        say(
            "table {table}: {capture}, {sealed}, {waiting} changes waiting",
            table=t["table"],
            capture=_("triggers") if t["capture"] == "triggers" else _("scan"),
            sealed=_("sealed") if t["sealed"] else _("not sealed yet"),
            waiting="?" if t["waiting"] is None else t["waiting"],
        )
    return None


def waiting(table: Attached) -> int | None:
    """How many captured changes wait to be sealed; None where the database cannot be reached."""
    from ledger.sources import open_source

    try:
        with closing(open_source(table.source)) as source, source.snapshot() as snapshot:
            return snapshot.pending_count(table.shape)
    except SourceError:
        return None


def sample_hospital(
    file: Annotated[Path, typer.Argument(metavar="FILE.db", help=_("The SQLite file to create."))],
    site: Annotated[int, typer.Option("--site", min=1, help=_("Which hospital of the region; 1 to 3 share patients."))] = 1,
    as_json: JsonOption = False,
) -> None:
    """Build a hospital's database from synthetic patients (Synthea)."""
    from samples.hospital import build as build_hospital

    with progress(not as_json) as rows:
        counts = build_hospital(file, site, progress=lambda table, done, total: rows(table, 0))
    if as_json:
        return print_json({"file": str(file), "site": site, "tables": counts})
    say("{file}: {rows} rows in {tables} tables", file=file, rows=sum(counts.values()), tables=len(counts))
    return None


def demo(
    folder: Annotated[Path, typer.Option("--folder", help=_("Where the demo's homes and databases are left; emptied first."))] = Path(
        "demo-homes"
    ),
    network: Annotated[
        bool, typer.Option("--network", help=_("The other demo: four institutions on real geth nodes (make engines builds geth)."))
    ] = False,
) -> None:
    """Watch records being sealed, altered behind the application's back, and found."""
    from api.demo import run_demo

    raise typer.Exit(run_demo(folder, network=network))


def _say_chain_is_inside() -> None:
    say("the chain lies inside the home and in no mirror: only careseal backup brings it back when this folder is lost")


def _now_ms() -> int:
    return int(time.time() * 1000)
