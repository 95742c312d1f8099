"""Homes without a chain, for measuring the ledger alone: created, attached and sealed in a temporary folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.rows import SUBJECT
from ledger.attach import attach
from ledger.audit import Anchors, AuditResult, Scope, audit
from ledger.home import Home, Settings
from ledger.keys import Keyring
from ledger.seal import seal
from ledger.shape import Capture
from ledger.tables import Options, attached_tables

_PASSPHRASE = b"bench"


def create(path: Path) -> Path:
    """A new home, with no mirror and no chain."""
    path.mkdir()
    Home.create(path, Settings("Bench", "00" * 16, "", 0, "", "", 1), Keyring.generate(), _PASSPHRASE)
    return path


@contextmanager
def opened(path: Path) -> Iterator[Home]:
    with Home.open(path, lambda: _PASSPHRASE) as home:
        yield home


def attach_to(path: Path, url: str, tables: Sequence[str], *, capture: Capture = "triggers", immutable: tuple[str, ...] = ()) -> None:
    """Attach tables of generated rows; every patient has a key of its own."""
    with opened(path) as home:
        attach(home, url, tables, (), Options(capture=capture, subject=SUBJECT, immutable=immutable), _now())


def seal_all(path: Path) -> tuple[int, float]:
    """Seal the home; returns entries added, and seconds from the opened home to the checkpoint on disk."""
    with opened(path) as home:
        start = time.perf_counter()
        added = seal(home, _now()).added
        return added, time.perf_counter() - start


def full_audit(home: Home, processes: int = 1) -> AuditResult:
    """The audit that `verify` runs, every check on, against the journal's last root; its own entry is not kept, so it can be repeated."""
    latest = home.journal.latest()
    assert latest is not None
    result = audit(
        home, Scope(attached_tables(home)), Anchors(latest.size, {latest.size: latest.root}), time.time(), processes=processes, record=False
    )
    assert result.ok and result.rows and not result.pending, result.findings[:3]
    return result


def bytes_kept(path: Path) -> int:
    """Bytes of all files of the home."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _now() -> int:
    return int(time.time() * 1000)
