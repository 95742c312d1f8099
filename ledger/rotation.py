"""Rotation of the wrapping key: after it no older copy of the subjects' keys can be opened, wherever it lies.

Durable at every step, in this order, so that a crash at any moment is completed or undone when the home is opened again:

1. the following keyring, encrypted as the present one is, lies beside it;
2. the journal says that its wrapping key is in force (an erasure's entry names it): until then it is thrown away, from then on finished;
3. all keys are wrapped anew, in one transaction of the store;
4. the wrapped keys are queued for the mirror, in one transaction of the ledger;
5. the following keyring takes the place of the present one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2s
from typing import TYPE_CHECKING

from ledger.batch import pack_sidecar
from ledger.errors import HomeError
from ledger.files import sync_folder, write_durably
from ledger.keys import KEY_BYTES, Keyring

if TYPE_CHECKING:
    from ledger.home import Home

NEXT = "keyring.next.json"
_DOMAIN = b"careseal/v1/wrapping"
_QUEUED = "rewrapped"  # the wrapping key whose keys are queued for the mirror
_CHUNK = 5000


def wrapping_id(keyring: Keyring) -> str:
    """What the journal calls a wrapping key, 32 hex digits: BLAKE2s-16("careseal/v1/wrapping") under the key."""
    return blake2s(_DOMAIN, key=keyring.wrapping, digest_size=16).hexdigest()


def following(keyring: Keyring, random: Callable[[int], bytes] = os.urandom) -> Keyring:
    """The keyring with another wrapping key."""
    return replace(keyring, wrapping=random(KEY_BYTES))


def announce(home: Home, sealed: bytes) -> None:
    """Lay the following keyring, as an encrypted box, beside the present one."""
    try:
        write_durably(home.path / NEXT, sealed)
    except OSError as error:
        raise HomeError(f"cannot write {home.path / NEXT}: {error.strerror}") from error


def finish(home: Home, keyring: Keyring) -> None:
    """Take the announced keyring into use. Done again after a crash it completes.

    HomeError where keyring or store cannot be written.
    """
    home.subjects.rewrap(keyring)
    if home.settings.mirror is not None and home.store.meta(_QUEUED) != wrapping_id(keyring):
        _queue(home, keyring)
    try:
        (home.path / NEXT).replace(home.keyring_path)
        sync_folder(home.path)
    except OSError as error:
        raise HomeError(f"cannot write {home.keyring_path}: {error.strerror}; run the command again") from error
    home.keyring = keyring


def give_up(home: Home) -> None:
    """Throw an announced keyring away that the journal does not name."""
    (home.path / NEXT).unlink(missing_ok=True)


def _queue(home: Home, keyring: Keyring) -> None:
    """Batches with all wrapped keys, behind everything that waits for the mirror."""
    size, highest = home.journal.size, home.subjects.highest()
    with home.store.transaction() as db:
        number = int(home.store.meta("batch", "0") or 0)
        for sid in range(1, highest + 1, _CHUNK):
            number += 1
            rows = home.subjects.rows(range(sid, min(sid + _CHUNK, highest + 1)))
            db.execute("INSERT INTO batches VALUES (?,?,?,?)", (number, size, 0, pack_sidecar({"subjects": rows})))
        for name, value in (("batch", str(number)), ("mirrored_sid", str(highest)), (_QUEUED, wrapping_id(keyring))):
            home.store.set_meta(name, value)
