"""`careseal backup` and `careseal restore`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import Timer, audit_json, print_audit, print_json, progress, say
from api.language import _
from api.options import HomeOption, JsonOption, PassphraseOption
from api.passphrase import passphrase
from ledger.errors import HomeError

if TYPE_CHECKING:
    from ledger.backup import Kit


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("The backup file to write."))],
    home: HomeOption,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an encrypted backup of the home; the recovery kit opens it."""
    from anchoring.restore import still_files
    from ledger.backup import backup
    from ledger.home import Home, chain_is_inside

    secret = passphrase(passphrase_file, home)
    with Home.open(home, lambda: secret) as opened, still_files(opened, time.time) as more:
        size, entries = backup(opened, file, more), opened.journal.size
    if as_json:
        return print_json({"file": str(file), "bytes": size, "size": entries, "chain": chain_is_inside(home, opened.settings)})
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
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a lost or rolled-back home back, verify all of it against the chain, and go on."""
    from anchoring.publish import publish
    from anchoring.restore import bring_back, catch_up_in_place, finish_restore
    from api.commands import linked
    from ledger.home import Home
    from ledger.mirror import holds_batches, start_mirror

    timer, secret = Timer(), passphrase(passphrase_file, create=kit is not None)
    lost = _known(home, secret, kit, passphrase(kit_passphrase_file) if kit_passphrase_file else secret)
    # An empty folder becomes a new mirror once the home is back.
    new_mirror = mirror if mirror is not None and not (mirror.exists() and holds_batches(mirror)) else None
    if mirror is not None:
        lost = replace(lost, settings=replace(lost.settings, mirror=None if new_mirror else str(mirror.resolve())))
    if chain is not None:
        lost = replace(lost, settings=replace(lost.settings, chain=chain if "://" in chain else str(Path(chain).resolve())))
    aside = None
    with progress(not as_json) as rows:
        if kit is None and archive is None:
            catch_up_in_place(home, lost.keyring, rows, lost.settings)
        else:
            aside = bring_back(home, lost, secret, archive, rows)
        with Home.open(home, lambda: secret) as opened, linked(opened, secret) as link:
            verified = finish_restore(opened, link, time.time(), rows, new_generation=new_generation)
            if new_mirror is not None:
                start_mirror(opened, new_mirror)
            publish(opened, link)
            checkpoint = opened.journal.latest()
    if as_json:
        print_json(
            audit_json(verified, timer.seconds)
            | {"restored": True, "entries": checkpoint.size if checkpoint else 0, "aside": str(aside) if aside else None}
        )
    else:
        say(
            "restored: {size} entries, anchored in block {block}",
            size=checkpoint.size if checkpoint else 0,
            block=checkpoint.block if checkpoint else None,
        )
        if aside is not None:
            say("the former files are in {folder}", folder=aside)
        print_audit(verified, timer.seconds)
    raise typer.Exit(0 if verified.audit.ok else 1)


def _known(home: Path, secret: bytes, kit: Path | None, kit_secret: bytes) -> Kit:
    """Settings and keys of the home to restore: of the kit, else of the home itself."""
    from ledger.backup import Kit, read_kit
    from ledger.home import CONFIG, read_keyring, read_settings

    if kit is not None:
        return read_kit(kit, home, kit_secret)
    if not (home / CONFIG).exists():
        raise HomeError(f"{home} is lost: give --kit, the recovery kit that init wrote")
    keyring = read_keyring(home, secret)
    return Kit(read_settings(home, keyring), keyring)
