"""`careseal backup` and `careseal restore`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from anchoring.founding import NETWORK
from anchoring.publish import publish
from anchoring.restore import catch_up_in_place, finish_restore, rebuild_beside
from api import console
from api.console import Timer, print_json, progress, say
from api.language import _
from api.passphrase import passphrase
from ledger.backup import backup, read_kit
from ledger.errors import HomeError
from ledger.home import CONFIG, Home, Settings, exclusive, read_keyring, read_settings, write_settings
from ledger.keys import Keyring


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The backup file to write."))],
    home: Annotated[Path, typer.Option("--home", envvar="CARESEAL_HOME", help=_("The institution's home folder."))],
    passphrase_file: Annotated[Path | None, typer.Option("--passphrase-file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print JSON for programs."))] = False,
) -> None:
    """Write an encrypted backup of the home; the recovery kit opens it."""
    secret = passphrase(passphrase_file)
    with Home.open(home, lambda: secret) as opened:
        size, entries = backup(opened, file), opened.journal.size
    if as_json:
        return print_json({"file": str(file), "bytes": size, "size": entries})
    say("{file}: {bytes} bytes, {entries} entries", file=file, bytes=size, entries=entries)
    return None


def restore_command(
    home: Annotated[
        Path, typer.Option("--home", envvar="CARESEAL_HOME", help=_("The home to restore: a new folder, or one that was rolled back."))
    ],
    kit: Annotated[Path | None, typer.Option("--kit", help=_("The recovery kit; needed when the home is lost."))] = None,
    archive: Annotated[Path | None, typer.Option("--backup", help=_("A backup to start from; without it the mirror is enough."))] = None,
    mirror: Annotated[Path | None, typer.Option("--mirror", help=_("The mirror, where it is not at its old place."))] = None,
    chain: Annotated[str | None, typer.Option("--chain", help=_("The chain, where it is not at its old place."))] = None,
    kit_passphrase_file: Annotated[
        Path | None, typer.Option("--kit-passphrase-file", help=_("The kit's passphrase, where it is another one."))
    ] = None,
    new_generation: Annotated[
        bool, typer.Option("--new-generation", help=_("Entries are lost for good: begin a new generation, once the members voted for it."))
    ] = False,
    passphrase_file: Annotated[Path | None, typer.Option("--passphrase-file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print JSON for programs."))] = False,
) -> None:
    """Bring a lost or rolled-back home back, verify all of it against the chain, and go on."""
    from api.commands import linked

    timer, secret = Timer(), passphrase(passphrase_file, create=True)
    with progress(not as_json) as rows:
        if (home / CONFIG).exists() and kit is None:
            keyring = read_keyring(home, secret)
            settings = read_settings(home, keyring)
            if settings.mirror is None and archive is None and mirror is None and not new_generation:
                raise HomeError(f"{home} has no mirror: restore it with --kit and --backup")
        elif kit is None:
            raise HomeError(f"{home} is lost: give --kit, the recovery kit that init wrote")
        else:
            settings, keyring = read_kit(kit, passphrase(kit_passphrase_file) if kit_passphrase_file else secret)
        settings = replace(settings, mirror=str(mirror.resolve()) if mirror else settings.mirror, chain=chain or settings.chain)
        if kit is not None and settings.mirror is None and archive is None:
            raise HomeError("nothing to restore from: give --backup or --mirror")
        _bring_back(home, settings, keyring, secret, archive, fresh=kit is not None, rows=rows)
        with Home.open(home, lambda: secret) as opened, linked(opened, secret) as link:
            verified = finish_restore(opened, link, time.time(), rows, new_generation=new_generation)
            publish(opened, link)
            checkpoint = opened.journal.latest()
            _network_file(home, settings.chain)
    if as_json:
        print_json(
            console.audit_json(verified.audit, timer.seconds, verified.external)
            | {"restored": True, "entries": checkpoint.size if checkpoint else 0}
        )
    else:
        say(
            "restored: {size} entries, anchored in block {block}",
            size=checkpoint.size if checkpoint else 0,
            block=checkpoint.block if checkpoint else None,
        )
        console.print_audit(verified.audit, timer.seconds, verified.external)
    raise typer.Exit(0 if verified.audit.ok else 1)


def _bring_back(
    home: Path, settings: Settings, keyring: Keyring, secret: bytes, archive: Path | None, *, fresh: bool, rows: console.Rows
) -> None:
    exists = home.exists() and any(home.iterdir())
    if not fresh and archive is None:
        with exclusive(home, 5):
            write_settings(home, settings, keyring)
            catch_up_in_place(home, keyring, rows)
        return
    if exists and fresh and (home / CONFIG).exists():
        raise HomeError(f"{home} exists: restore to a new folder, or leave out --kit to bring this one up to its mirror")
    old = home.with_name(f"{home.name}.before-restore-{int(time.time())}") if exists else None
    rebuild_beside(home, settings, keyring, secret, archive, old, rows)


def _network_file(home: Path, chain: str) -> None:
    beside = Path(chain) / NETWORK
    if not (home / NETWORK).exists() and "://" not in chain and beside.exists():
        (home / NETWORK).write_bytes(beside.read_bytes())
