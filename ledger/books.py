"""What an audit reads of an institution's ledger: a home has all of it, an outside auditor what was granted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ledger.erasure import erased_subjects
from ledger.home import LEDGER, SUBJECTS, Home
from ledger.journal import Journal
from ledger.keys import Keyring, SubjectKeys
from ledger.record_secrets import KeyedSecrets, RecordSecrets
from ledger.store import Store
from ledger.tables import Attached, attached_tables

Reopen = Callable[[], tuple[Store, RecordSecrets]]


@dataclass(frozen=True, slots=True)
class Books:
    """A ledger with what opens it. `tables` has the detached ones too; `reopen`, which can be sent to another process, opens it there."""

    home_id: str
    store: Store
    journal: Journal
    tables: Sequence[Attached]
    secrets: RecordSecrets
    reopen: Reopen

    @property
    def attached(self) -> list[Attached]:
        """The tables under seal."""
        return [table for table in self.tables if not table.detached]


def books_of(home: Home) -> Books:
    """A home's books. LedgerError where its journal's documents about erasures are damaged, HomeError where its list of tables is."""
    erased = frozenset(erased_subjects(home))
    reopen = partial(_reopened, home.path, home.keyring, erased)
    tables = attached_tables(home, detached=True)
    return Books(home.home_id, home.store, home.journal, tables, KeyedSecrets(home.subjects, erased), reopen)


def _reopened(path: Path, keyring: Keyring, erased: frozenset[int]) -> tuple[Store, RecordSecrets]:
    secrets = KeyedSecrets(SubjectKeys(path / SUBJECTS, keyring, readonly=True), erased)
    return Store(path / LEDGER, readonly=True), secrets
