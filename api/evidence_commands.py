"""`careseal evidence`: make evidence files, and verify them offline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import console
from api.console import print_json, say
from api.language import _
from api.options import HomeOption, JsonOption, PassphraseOption
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from anchoring.chainpoint import Receipts
    from anchoring.evidence import Proved
    from anchoring.network import Network


def app() -> typer.Typer:
    """`careseal evidence export|verify`."""
    made = typer.Typer(no_args_is_help=True, help=_("Make and verify evidence files."))

    @made.command("export", help=_("Write the evidence of a record's sealed version."))
    def export(
        home: HomeOption,
        table: Annotated[str, typer.Argument(metavar="TABLE")],
        key: Annotated[list[str], typer.Argument(metavar="KEY...", help=_("The record's key, in the order of the key columns."))],
        output: Annotated[Path, typer.Option("--output", "-o", help=_("The evidence file to write."))],
        form: Annotated[
            str, typer.Option("--format", help=_("evidence, or chainpoint: receipts of one or several records under a journalled root."))
        ] = "evidence",
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.chainpoint_export import export_receipts
        from anchoring.export import export_evidence
        from api.commands import opened
        from ledger.files import write_durably
        from ledger.tables import find_table

        if form not in ("evidence", "chainpoint"):
            raise LedgerError(f"there is no format {form}: give evidence or chainpoint")
        with opened(home, passphrase_file) as (opened_home, link):
            find_table(opened_home, table)
            proved: Proved | Receipts
            if form == "chainpoint":
                data, proved = export_receipts(opened_home, link, table, key, int(time.time() * 1000))
            else:
                data, proved = export_evidence(opened_home, link, table, key)
        try:
            write_durably(output, data)
        except OSError as error:
            raise LedgerError(f"cannot write {output}: {error.strerror}") from error
        if as_json:
            return print_json({"file": str(output), "bytes": len(data), "size": proved.size, "block": proved.block})
        say("{file}: {bytes} bytes", file=output, bytes=len(data))
        return None

    @made.command("verify", help=_("Verify an evidence file offline. Exit 0 valid, 1 edited, truncated or foreign, 2 unreadable."))
    def verify_file(
        file: Annotated[Path, typer.Argument(metavar="FILE")],
        network: Annotated[Path, typer.Option("--network", help=_("The network file, the root of trust."))],
        values: Annotated[bool, typer.Option("--values", help=_("Show the record."))] = False,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.chainpoint import is_receipts, verify_receipts
        from anchoring.evidence import verify_evidence

        trusted = read_trusted(network)
        try:
            with file.open("rb") as source:
                data = source.read((1 << 25) + 1)
        except OSError as error:
            raise LedgerError(f"cannot read {file}: {error.strerror}") from error
        if is_receipts(data):
            return _show_receipts(verify_receipts(data, trusted), as_json)
        proved = verify_evidence(data, trusted)
        shown = {
            "valid": True, "institution": proved.institution, "name": proved.name, "chain_id": proved.chain_id, "table": proved.table,
            "source_table": proved.source_table, "version": proved.version, "proved_at": console.iso(proved.header_time),
            "kind": proved.kind, "baseline": proved.baseline, "captured": proved.captured,
            "marks": list(proved.marks), "sealed_at": console.iso(proved.sealed_at), "size": proved.size,
            "root": proved.root.hex(), "block": proved.block, "proved_at_block": proved.header_block, "sealer": "0x" + proved.sealer.hex(),
            "later_versions_excluded": False,
        } | ({"values": proved.values} if values else {})  # fmt: skip
        if as_json:
            return print_json(shown)
        say(
            "VALID: version {version} of a record of {table} of {name} (institution {number}), anchored in block {block}",
            version=proved.version, table=proved.table, name=proved.name, number=proved.institution, block=proved.block,
        )  # fmt: skip
        if proved.source_table != proved.table:
            say("in its database the table is called {table}", table=proved.source_table)
        say("sealed, as it states, at {time}", time=console.iso(proved.sealed_at))
        _say_origin(proved)
        say("later versions are not excluded")
        for name, value in proved.values.items() if values else ():
            console.out.print(f"  {name} = {value}", markup=False)
        return None

    return made


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


def _say_origin(proved: Proved) -> None:
    """How the version came into the journal, no more than the entry says."""
    if proved.baseline:
        say("baseline at attach: nothing is proved about earlier times")
    elif proved.kind == "amended":
        say("an amendment; earlier versions are not shown")
    elif proved.captured and not proved.marks:
        say("sealed when written")
    if proved.marks:
        say("warning: marked when it was sealed: {marks}", marks=", ".join(proved.marks))


def read_trusted(path: Path) -> Network:
    """The network file at `path`. LedgerError where it cannot be read, NetworkInvalid where it is none."""
    from anchoring.network import read_network

    try:
        return read_network(path)
    except OSError as error:
        raise LedgerError(f"cannot read the network file {path}: {error.strerror}") from error
