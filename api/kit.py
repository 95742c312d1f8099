"""Recovery kits that take the place of older ones, as commands write and show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from api.console import say
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.home import Home, Settings
    from ledger.keys import Keyring


def write_new_kit(home: Home, settings: Settings, keyring: Keyring, path: Path | None, secret: bytes, kit_secret: bytes) -> Path:
    """A recovery kit with the settings and the keyring that the home will have, durable before anything is changed.

    `secret` opens the home, `kit_secret` will open the kit. Without a `path` it lies beside the home, under a name not used before.
    """
    from anchoring.founding import SEALER, sealer_key
    from ledger.backup import Kit, write_kit

    chain = Path(settings.chain)
    founded = "://" not in settings.chain and settings.institution == 1 and (chain / SEALER).exists()
    place = home.path if home.path.name else home.path.resolve()
    names = (place.with_name(f"{place.name}-recovery-kit-{number}.json") for number in range(2, 1_000_000))
    target = path or next(name for name in names if not name.exists())
    if target.exists():
        raise LedgerError(f"{target} exists already: choose another name")
    try:
        write_kit(target, home.path, Kit(settings, keyring, sealer_key(chain, lambda: secret)() if founded else None), kit_secret)
    except OSError as error:
        raise LedgerError(f"cannot write {target}: {error.strerror}; nothing was changed") from error
    return target


def say_kit(kit: Path, spoken: str | None) -> None:
    """Tell where a new kit lies, and its passphrase where one was made up."""
    say("new recovery kit: {kit} - keep it away from this machine, and destroy every older one", kit=kit)
    if spoken:
        say("recovery passphrase, shown this once: {passphrase}", passphrase=spoken)
