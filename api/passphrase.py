"""Where the passphrase comes from: a file, the environment, or the unlock file that init makes outside every home."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from careseal import CaresealError
from ledger.home import read_settings

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class PassphraseError(CaresealError):
    """No usable passphrase was given."""


def given_passphrase(file: Path | None) -> bytes | None:
    """The passphrase from --passphrase-file, CARESEAL_PASSPHRASE_FILE or CARESEAL_PASSPHRASE; None where none is given."""
    named = file or (Path(os.environ["CARESEAL_PASSPHRASE_FILE"]) if os.environ.get("CARESEAL_PASSPHRASE_FILE") else None)
    if named is not None:
        try:
            text = named.read_bytes()[:4096].strip()
        except OSError as error:
            raise PassphraseError(f"cannot read the passphrase file {named}: {error.strerror}") from error
        if not text:
            raise PassphraseError(f"the passphrase file {named} is empty")
        return text
    return os.environ["CARESEAL_PASSPHRASE"].encode() if os.environ.get("CARESEAL_PASSPHRASE") else None


def unlock_file() -> Path:
    """The user's unlock file, apart from every home: a copied or stolen home does not hold what opens it."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "careseal" / "unlock"


def passphrase(file: Path | None, home: Path | None = None, *, create: bool = False) -> bytes:
    """The passphrase of the user's homes; `create` makes the unlock file where there is none yet.

    Nobody is asked for the passphrase of a folder that is no home: with `home`, HomeError where it is none.
    """
    if home is not None:
        read_settings(home)
    found = given_passphrase(file)
    if found is not None:
        return found
    path = unlock_file()
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as target:
                target.write(secrets.token_hex(32))
        return path.read_bytes().strip()
    except FileNotFoundError:
        raise PassphraseError(f"no passphrase: give --passphrase-file or CARESEAL_PASSPHRASE ({path} does not exist)") from None
    except OSError as error:
        raise PassphraseError(f"cannot use the unlock file {path}: {error.strerror}; give --passphrase-file") from error


def recovery_passphrase() -> str:
    """A passphrase for people to write down: 24 characters, about 119 bits."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(6))
