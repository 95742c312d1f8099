"""Provisional receipts: what is handed out of a checkpoint while the chain stands still. The receipt takes their place by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anchoring.receipt import make_provisional, make_receipt
from ledger.errors import LedgerError
from ledger.files import write_durably
from ledger.home import Home
from ledger.journal import Checkpoint

_PROMISED = "promised_receipts"  # in the ledger's settings: the places of provisional receipts, each with generation and size


@dataclass(frozen=True, slots=True)
class Completed:
    """Places of provisional receipts where the receipt is now, and those where it could not be written, with the reason."""

    written: list[Path]
    failed: list[LedgerError]


def promise(home: Home, place: Callable[[Checkpoint], Path]) -> Path | None:
    """Write a provisional receipt of the latest checkpoint, where that is not anchored, and remember its place.

    None where everything is anchored. LedgerError where it cannot be written.
    """
    checkpoint = home.journal.latest()
    if checkpoint is None or checkpoint.block is not None:
        return None
    path = place(checkpoint).absolute()
    with home.store.transaction():
        home.store.set_meta(_PROMISED, json.dumps(_promised(home) | {str(path): [checkpoint.generation, checkpoint.size]}))
    _write(path, make_provisional(home.settings, checkpoint, home.keyring.sealing))
    return path


def complete(home: Home) -> Completed:
    """Put the receipt in the place of every provisional one whose checkpoint is anchored by now; others wait on."""
    promised, done = _promised(home), Completed([], [])
    for name, (generation, size) in list(promised.items()):
        checkpoint = home.journal.checkpoint_of(generation, size)
        if checkpoint is not None and checkpoint.block is None:
            continue
        try:
            if checkpoint is not None:  # else it went with its generation
                _write(Path(name), make_receipt(home.settings, checkpoint, home.keyring.sealing))
                done.written.append(Path(name))
        except LedgerError as error:
            done.failed.append(error)
            continue
        del promised[name]
    if promised != _promised(home):
        with home.store.transaction():
            home.store.set_meta(_PROMISED, json.dumps(promised))
    return done


def _promised(home: Home) -> dict[str, list[int]]:
    return dict(json.loads(home.store.meta(_PROMISED, "{}") or "{}"))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, content)
    except OSError as error:
        raise LedgerError(f"cannot write the receipt {path}: {error.strerror}; the checkpoint itself is safe") from error
