"""Time stamps of a home's checkpoints: obtained for the latest one after it is anchored, and kept with its receipt.

A checkpoint commits to all entries before it, so its stamp proves them too. Therefore only the latest anchored checkpoint is stamped:
what an outage left without a stamp is covered by the next one, no later than if it were stamped then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from anchoring.errors import AnchoringError, TimestampInvalid, TsaUnavailable
from anchoring.receipt import stamped_digest, timestamp_of, with_timestamp
from anchoring.timestamp import Stamp, accept_answer, read_stamp
from anchoring.token import encode_request
from anchoring.tsa import ask, check_url
from ledger.errors import WireError
from ledger.home import Home, write_settings
from ledger.journal import Checkpoint
from ledger.mirror import mirror

MOST_TSAS = 4


@dataclass(frozen=True, slots=True)
class Stamping:
    """A receipt, with its time stamp where there is one; what the stamp says; the TSAs that failed."""

    receipt: bytes
    stamp: Stamp | None = None
    failed: tuple[AnchoringError, ...] = ()


def declare(home: Home, tsas: Sequence[str]) -> None:
    """Set the addresses of the TSAs that the home asks, in this order; none: no time stamps. AnchoringError where one is no address."""
    check_tsas(tsas)
    home.settings = replace(home.settings, tsa=tuple(tsas))
    write_settings(home.path, home.settings, home.keyring)


def check_tsas(tsas: Sequence[str]) -> None:
    """Raise AnchoringError unless these can be declared."""
    for url in tsas:
        check_url(url)
    if len(tsas) > MOST_TSAS:
        raise AnchoringError(f"at most {MOST_TSAS} TSAs can be named: the first one that answers is used")


def stamp_receipt(home: Home, checkpoint: Checkpoint, receipt: bytes, *, random: Callable[[int], bytes] = os.urandom) -> Stamping:
    """Have the receipt of an anchored checkpoint stamped by the first TSA that does it well, unless the home has a stamp of it.

    A TSA that fails is told and never raised: the checkpoint is anchored all the same, and the next seal asks again. HomeError where
    home or mirror cannot be written.
    """
    digest = stamped_digest(receipt)
    kept = kept_receipt(home, checkpoint.generation, checkpoint.size)
    if kept is not None:
        # What is damaged, or belongs to an anchor that the chain has lost since, is stamped anew.
        with suppress(TimestampInvalid, WireError, ValueError):
            return Stamping(kept, read_stamp(timestamp_of(kept) or b"", digest))
    failed: list[AnchoringError] = []
    for url in home.settings.tsa:
        nonce = int.from_bytes(random(8), "big")
        try:
            token, stamp = accept_answer(ask(url, encode_request(digest, nonce)), digest, nonce)
        except (TsaUnavailable, TimestampInvalid) as error:
            failed.append(AnchoringError(f"no time stamp from {url}: {error}; nothing is lost, the next seal asks again"))
            continue
        stamped = with_timestamp(receipt, token)
        with home.batch() as batch:
            batch.put("timestamps", checkpoint.generation, checkpoint.size, stamped)
        mirror(home)
        return Stamping(stamped, stamp, tuple(failed))
    return Stamping(receipt, failed=tuple(failed))


def is_due(home: Home, now: float, every: float) -> bool:
    """Whether the latest checkpoint with a stamp was anchored `every` seconds ago or more. `now` in seconds since 1970 UTC."""
    query = "SELECT max(c.block_time) FROM timestamps t JOIN checkpoints c USING (generation, size)"
    last = home.store.db.execute(query).fetchone()[0]
    return last is None or now - last >= every


def kept_receipt(home: Home, generation: int, size: int) -> bytes | None:
    """The stamped receipt of a checkpoint, as a receipt file holds it, where the home has one."""
    row = home.store.db.execute("SELECT receipt FROM timestamps WHERE generation=? AND size=?", (generation, size)).fetchone()
    return None if row is None else bytes(row[0])


def first_covering(home: Home, index: int) -> bytes | None:
    """The stamped receipt of the smallest checkpoint of the present generation that covers an entry; the entry is proved to be as old."""
    row = home.store.db.execute(
        "SELECT receipt FROM timestamps WHERE generation=? AND size>? ORDER BY size LIMIT 1", (home.journal.generation, index)
    ).fetchone()
    return None if row is None else bytes(row[0])
