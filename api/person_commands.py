"""`careseal person`: keys of people, and who is registered with a home."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from api import console
from api.console import print_json, say
from api.language import _
from api.options import HomeOption, JsonOption, KeyPassphraseOption, PassphraseOption, ReasonOption
from api.passphrase import key_passphrase, passphrase
from ledger.errors import LedgerError


def app() -> typer.Typer:
    """`careseal person create|public|add|list|revoke`."""
    made = typer.Typer(no_args_is_help=True, help=_("People with keys of their own: who answers findings, holds records, audits."))

    @made.command("create", help=_("Make a person's key file, under the person's own passphrase; it belongs to no home."))
    def create(
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The key file to make; keep it with the person alone."))],
        name: Annotated[str, typer.Option("--name", help=_("The person's name, as others will see it."))],
        key_passphrase_file: KeyPassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.persons import make_key_file, read_public

        content = make_key_file(name, key_passphrase(key_passphrase_file, file, create=True))
        _write_new(file, content)
        fingerprint = read_public(file).fingerprint
        if as_json:
            return print_json({"file": str(file), "name": name, "fingerprint": fingerprint})
        say("{file}: the key of {name}, fingerprint {fingerprint}", file=file, name=name, fingerprint=fingerprint)
        return None

    @made.command("public", help=_("Write the public part of a key file, to hand to who registers the person."))
    def public(
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The person's key file."))],
        output: Annotated[Path, typer.Option("--output", "-o", help=_("The public file to write."))],
        as_json: JsonOption = False,
    ) -> None:
        from ledger.persons import public_file, read_public

        found = read_public(file)
        _write_new(output, public_file(found))
        if as_json:
            return print_json({"file": str(output), "name": found.name, "fingerprint": found.fingerprint})
        say("{file}: the public key of {name}, fingerprint {fingerprint}", file=output, name=found.name, fingerprint=found.fingerprint)
        return None

    @made.command("add", help=_("Register a person with a home, by key file or public file; the registration is journalled."))
    def add(
        home: HomeOption,
        file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The person's key file, or its public part."))],
        role: Annotated[str, typer.Option("--role", help=_("staff, auditor or party."))],
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.home import Home
        from ledger.persons import add_person, read_public

        found, secret = read_public(file), passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home:
            person = add_person(opened_home, found, role, int(time.time() * 1000))
        if as_json:
            return print_json({"id": person.id, "name": person.name, "role": person.role, "fingerprint": found.fingerprint})
        say("{name} is person {number}, {role}", name=person.name, number=person.id, role=_(person.role))
        say("compare the fingerprint with the person: {fingerprint}", fingerprint=found.fingerprint)
        return None

    @made.command("list", help=_("List everybody who is, or was, registered."))
    def listed(home: HomeOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
        from ledger.home import Home
        from ledger.persons import registrations

        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home:
            found = registrations(opened_home)
        if as_json:
            return print_json({"persons": [
                {"id": r.person.id, "name": r.person.name, "role": r.person.role, "signing": r.person.signing.hex(),
                 "encryption": r.person.encryption.hex(), "since": console.iso(r.time / 1000),
                 "revoked": None if r.revoked_time is None else console.iso(r.revoked_time / 1000)}
                for r in found
            ]})  # fmt: skip
        for r in found:
            values = {"number": r.person.id, "name": r.person.name, "role": _(r.person.role), "since": console.iso(r.time / 1000)}
            if r.revoked_time is None:
                say("{number}  {name}, {role}, since {since}", **values)
            else:
                say("{number}  {name}, {role}, since {since}, revoked {until}", **values, until=console.iso(r.revoked_time / 1000))
        if not found:
            say("nobody is registered")
        return None

    @made.command("revoke", help=_("Revoke a person's key, for good; what it signed before stays valid."))
    def revoke(
        home: HomeOption,
        who: Annotated[str, typer.Argument(metavar="PERSON", help=_("The person's number or name."))],
        reason: ReasonOption,
        passphrase_file: PassphraseOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from ledger.home import Home
        from ledger.persons import revoke_person

        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened_home:
            person = revoke_person(opened_home, who, reason, int(time.time() * 1000))
        if as_json:
            return print_json({"id": person.id, "name": person.name, "revoked": True})
        say("the key of {name} (person {number}) is revoked", name=person.name, number=person.id)
        return None

    return made


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet; a key that is overwritten is lost."""
    from ledger.files import write_durably

    try:
        if os.path.lexists(path):
            raise LedgerError(f"{path} exists already: choose another name")
        write_durably(path, content)
    except OSError as error:
        raise LedgerError(f"cannot write {path}: {error.strerror}") from error
