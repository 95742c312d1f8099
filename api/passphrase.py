"""Where passphrases come from: a file, the environment, the unlock file that init makes outside every home, or the person who is asked."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from pathlib import Path

from api.language import _
from careseal import CaresealError
from ledger.home import read_settings

SHORTEST = 8
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class PassphraseError(CaresealError):
    """No usable passphrase was given."""


def given_passphrase(file: Path | None) -> bytes | None:
    """The passphrase from --passphrase-file, CARESEAL_PASSPHRASE_FILE or CARESEAL_PASSPHRASE; None where none is given."""
    return _given(file, os.environ.get("CARESEAL_PASSPHRASE_FILE"), os.environ.get("CARESEAL_PASSPHRASE"))


def key_passphrase(file: Path | None, key: Path, *, create: bool = False) -> bytes:
    """The passphrase of a person's key file `key`, apart from that of the home: given like it, else asked for, twice to `create`."""
    found = _given(file, os.environ.get("CARESEAL_KEY_PASSPHRASE_FILE"), os.environ.get("CARESEAL_KEY_PASSPHRASE"))
    if found is None:
        if not sys.stdin.isatty():
            raise PassphraseError(f"no passphrase for {key}: give --key-passphrase-file, or run it in a terminal to be asked")
        found = getpass.getpass(_("Passphrase of {key}: ").format(key=key)).encode()
        if create and getpass.getpass(_("Once more: ")).encode() != found:
            raise PassphraseError("the two passphrases differ: run it again")
    if create and len(found) < SHORTEST:
        raise PassphraseError(f"a key's passphrase has at least {SHORTEST} characters")
    return found


def _given(file: Path | None, named_file: str | None, spoken: str | None) -> bytes | None:
    named = file or (Path(named_file) if named_file else None)
    if named is not None:
        try:
            text = named.read_bytes()[:4096].strip()
        except OSError as error:
            raise PassphraseError(f"cannot read the passphrase file {named}: {error.strerror}") from error
        if not text:
            raise PassphraseError(f"the passphrase file {named} is empty")
        return text
    return spoken.encode() if spoken else None


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
