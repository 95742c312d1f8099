"""`careseal journal`: hand the whole journal out as a transparency log, and check one that was handed out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import iso, print_json, progress, say
from api.language import _
from api.options import HomeOption, JsonOption, PassphraseOption
from api.passphrase import passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from anchoring.note import Verifier


def app() -> typer.Typer:
    """`careseal journal export|check`."""
    made = typer.Typer(no_args_is_help=True, help=_("Export the journal as a transparency log, and check an export."))

    @made.command("export", help=_("Write the journal as a tiled transparency log (C2SP), or add to it what is new."))
    def export(
        home: HomeOption,
        folder: Annotated[Path, typer.Argument(metavar="DIR", help=_("The folder of the export; new, or one of an earlier export."))],
        unanchored: Annotated[bool, typer.Option("--unanchored", help=_("Export entries that are not anchored yet, too."))] = False,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.journal_export import export_journal
        from api.commands import linked
        from ledger.home import Home

        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home, progress(not as_json) as rows:
            done = export_journal(
                opened_home, linked(opened_home, secret), folder, int(time.time() * 1000), unanchored=unanchored,
                progress=lambda entries: rows("journal", entries),
            )  # fmt: skip
        size, anchor = done.checkpoint.size, done.about.anchor
        if as_json:
            anchored = None if anchor is None else {"size": anchor.size, "block": anchor.block}
            return print_json(
                {"folder": str(folder), "origin": done.checkpoint.origin, "size": size, "root": done.checkpoint.root.hex(),
                 "verifier": str(done.about.verifier), "anchored": anchored, "files_added": done.added}
            )  # fmt: skip
        say("{folder} holds {size} entries, root {root}; {files} files added", folder=folder, size=size, root=done.checkpoint.root.hex(),
            files=done.added)  # fmt: skip
        say("verifier key: {verifier}", verifier=done.about.verifier)
        if anchor is None or anchor.size < size:
            say("{waiting} of the entries are not anchored yet", waiting=size - (anchor.size if anchor else 0))
        return None

    @made.command("check", help=_("Check an exported journal offline. Exit 0 whole, 1 changed or incomplete, 2 unreadable."))
    def check(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help=_("The folder of the export."))],
        verifier: Annotated[
            Path | None, typer.Option("--verifier", help=_("File with the log's verifier key, got elsewhere than from the export."))
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        from anchoring.log_folder import check_folder

        trusted = None if verifier is None else _read_key(verifier)
        with progress(not as_json) as rows:
            try:
                checked = check_folder(folder, trusted, lambda entries: rows("journal", entries))
            except OSError as error:
                raise LedgerError(f"cannot read {folder}: {error.strerror}") from error
        checkpoint, about = checked.checkpoint, checked.about
        if as_json:
            return print_json(
                {"whole": True, "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
                 "verifier": str(about.verifier), "key_given": trusted is not None, "key_entry": about.key and about.key.entry,
                 "anchored": about.anchor and {"size": about.anchor.size, "root": about.anchor.root.hex(), "block": about.anchor.block,
                                               "block_hash": about.anchor.block_hash, "time": iso(about.anchor.time)}}
            )  # fmt: skip
        say("WHOLE: {size} entries of {origin}, root {root}", size=checkpoint.size, origin=checkpoint.origin, root=checkpoint.root.hex())
        if trusted is None:
            say("the key was taken from the export itself, give --verifier with one got elsewhere: {verifier}", verifier=about.verifier)
        if about.anchor is not None:
            say("as it states, {size} entries with root {root} are on the chain since block {block}: compare them with the chain",
                size=about.anchor.size, root=about.anchor.root.hex(), block=about.anchor.block)  # fmt: skip
        return None

    return made


def _read_key(path: Path) -> Verifier:
    from anchoring.errors import EvidenceInvalid
    from anchoring.note import read_verifier

    try:
        with path.open("rb") as file:
            return read_verifier(file.read(1 << 12).decode())
    except OSError as error:
        raise LedgerError(f"cannot read the verifier key {path}: {error.strerror}") from error
    except (UnicodeDecodeError, EvidenceInvalid) as error:
        raise LedgerError(f"{path} holds no verifier key: it is one line NAME+ID+KEY") from error
