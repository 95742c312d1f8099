"""`careseal erase`: destroy the key of a subject, with a certificate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console import iso, print_json, progress, say
from api.kit import say_kit, write_new_kit
from api.language import _
from api.options import HomeOption, JsonOption, PassphraseOption, ReasonOption
from api.passphrase import given_passphrase, key_passphrase, passphrase, recovery_passphrase
from careseal import CaresealError
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.home import Home
    from ledger.persons import PersonKey

ByOption = Annotated[list[Path] | None, typer.Option("--by", help=_("Key file of a person who signs; may be repeated."))]
KeyPassphrasesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--key-passphrase-file",
        help=_("File with the passphrase of a key file, in the order of --by; else CARESEAL_KEY_PASSPHRASE, else it is asked for."),
    ),
]


def erase(
    home: HomeOption,
    reason: ReasonOption,
    subject: Annotated[str | None, typer.Argument(metavar="SUBJECT", help=_("The patient, as the table's --subject gives it."))] = None,
    table: Annotated[str | None, typer.Option("--table", help=_("The table of a row with a key of its own (--subject @row)."))] = None,
    key: Annotated[list[str] | None, typer.Option("--key", help=_("That row's key, in the order of the key columns."))] = None,
    by: ByOption = None,
    key_passphrase_file: KeyPassphrasesOption = None,
    no_term: Annotated[str | None, typer.Option("--no-term", help=_("Why records of tables without a declared term may go."))] = None,
    kit: Annotated[Path | None, typer.Option("--kit", help=_("Where to write the new recovery kit; default: beside the home."))] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help=_("Where to write the certificate as JSON."))] = None,
    pdf: Annotated[Path | None, typer.Option("--pdf", help=_("Where to write the certificate as PDF."))] = None,
    note: Annotated[str, typer.Option("--print", help=_("A line to print on the PDF, such as a file number."))] = "",
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a subject: destroy its key and rotate the wrapping key, on the order of two people. It cannot be undone."""
    from anchoring.erasure_certificate import certificate as certified
    from anchoring.publish import publish
    from anchoring.sealing import sealed
    from api.commands import linked
    from api.pdf_font import font_file
    from ledger.erasure import check_erasable, erase_subject, erasure_of, ordered
    from ledger.home import Home
    from ledger.rotation import following

    secret, now = passphrase(passphrase_file), int(time.time() * 1000)
    signers = open_keys(by, key_passphrase_file)
    if pdf is not None:
        font_file()  # what cannot be undone does not begin where its certificate cannot be made
    for target in (certificate, pdf):
        if target is not None and target.exists():
            raise LedgerError(f"{target} exists already: choose another name")
    written = spoken = None
    with Home.open(home, lambda: secret) as opened, progress(not as_json) as rows:
        label = _label(opened, subject, table, key or ())
        with sealed(opened, linked(opened, secret), now, rows) as (link, _round):
            index = erasure_of(opened, label)
            if index is None:
                check_erasable(opened, label, now, no_term)
                order = ordered(opened, label, reason, signers, no_term)
                keyring = following(opened.keyring)
                spoken = None if given_passphrase(passphrase_file) else recovery_passphrase()
                written = write_new_kit(opened, opened.settings, keyring, kit, secret, spoken.encode() if spoken else secret)
                index = erase_subject(opened, order, keyring, secret, now)
            try:
                publish(opened, link)
                made = certified(opened, index)
            except CaresealError:
                # The new kit is in force already, and its passphrase is shown nowhere else.
                _say_kit(written, spoken)
                raise
    _write_certificate(made, certificate, pdf, note)
    if as_json:
        extra = {"kit": str(written) if written else None} | ({"recovery_passphrase": spoken} if spoken else {})
        return print_json({"erased": made["erasure"]["subject"], "entry": index, "checkpoint": made["checkpoint"], **extra})
    _say(made, written, spoken)
    return None


def open_keys(files: Sequence[Path] | None, passphrase_files: Sequence[Path] | None) -> list[PersonKey]:
    """The opened key files of the people who sign, each with its passphrase."""
    from ledger.persons import open_key_file

    given = list(passphrase_files or ())
    if len(given) > len(files or ()):
        raise LedgerError("--key-passphrase-file is given more often than --by")
    pairs = zip(files or (), [*given, *[None] * len(files or ())], strict=False)
    return [open_key_file(file, key_passphrase(secret, file)) for file, secret in pairs]


def _label(home: Home, subject: str | None, table: str | None, key: Sequence[str]) -> str:
    from anchoring.export import look_up
    from ledger.tables import find_table

    if (subject is None) == (table is None):
        raise LedgerError("name what to erase: SUBJECT, or --table and --key of a row with a key of its own")
    if table is None:
        return f"subject:{subject}"
    found = find_table(home, table)
    if found.options.subject != "@row":
        raise LedgerError(f"the rows of {table} share keys: erase a subject, or attach the table with --subject @row")
    return f"row:{table}:{look_up(home, found, key).key.hex()}"


def _write_certificate(made: Mapping[str, Any], certificate: Path | None, pdf: Path | None, note: str) -> None:
    from api.erasure_pdf import erasure_pdf
    from ledger import canonical
    from ledger.files import write_durably

    data = canonical.encode(dict(made)) + b"\n"
    files = {} if certificate is None else {certificate: data}
    if pdf is not None:
        files[pdf] = erasure_pdf(made, data, note)
    for path, content in files.items():
        try:
            write_durably(path, content)
        except OSError as error:
            raise LedgerError(f"cannot write {path}: {error.strerror}; the subject is erased: run it again for the certificate") from error


def _say(made: Mapping[str, Any], kit: Path | None, spoken: str | None) -> None:
    block = made["checkpoint"]["block"] if made["checkpoint"] else None
    say("erased at {time}: entry {entry}, block {block}", time=iso(made["at"] / 1000), entry=made["proof"]["index"], block=block)
    count = sum(record["count"] for record in made["erasure"]["records"])
    say("{count} records can be opened and linked by nobody any more; rows still in the database are findings until deleted", count=count)
    if kit is None:
        return say("it was erased before; only the certificate was made")
    return _say_kit(kit, spoken)


def _say_kit(kit: Path | None, spoken: str | None) -> None:
    if kit is not None:
        say_kit(kit, spoken)
        say("older backups open no keys any more, but with an older kit they would: make a new backup, and destroy the older kits")
