"""Attached tables: what the operator declared for each, and the record of it in the home."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import canonical
from ledger.batch import Batch
from ledger.errors import HomeError, LedgerError, WireError
from ledger.home import Home
from ledger.keys import Keyring
from ledger.shape import Capture, Column, Shape
from ledger.store import Store
from ledger.wire import Algorithm

_SOURCE = b"careseal/v1/source"


@dataclass(frozen=True, slots=True)
class Options:
    """The operator's declarations for one table; `grace` is in seconds."""

    capture: Capture = "triggers"
    writers: tuple[str, ...] = ()  # empty: every writer is authorised
    immutable: tuple[str, ...] = ()
    final: str | None = None
    deletable: bool = False
    time: str | None = None
    grace: int = 86400
    subject: str | None = None
    policy: str = "adopt"
    copies: bool = False
    algorithm: str = "sha256"
    json_columns: tuple[str, ...] = ()  # texts that are JSON documents: findings name their top-level elements

    def check(self, shape: Shape) -> None:
        """Raise LedgerError where an option names a column that is not committed, or a value nobody defined."""
        for option, columns in self._named():
            for name in columns:
                if name not in shape.names:
                    raise LedgerError(f"{option} {name}: table {shape.table} has no such column")
        if self.policy not in ("adopt", "pending"):
            raise LedgerError(f"--policy {self.policy}: use adopt or pending")
        if self.capture not in ("triggers", "scan"):
            raise LedgerError(f"--capture {self.capture}: use triggers or scan")
        if self.capture == "scan" and (self.writers or self.immutable or self.final or self.deletable):
            raise LedgerError("--writer, --immutable, --final and --deletable judge captured changes: use --capture triggers")
        if self.algorithm not in ("sha256", "sm3"):
            raise LedgerError(f"--digest {self.algorithm}: use sha256 or sm3")

    def _named(self) -> list[tuple[str, tuple[str, ...]]]:
        return [("--immutable", self.immutable), ("--time", (self.time,) if self.time else ()), ("--json-column", self.json_columns)]

    @property
    def algorithm_code(self) -> Algorithm:
        return Algorithm[self.algorithm.upper()]


@dataclass(frozen=True, slots=True)
class Attached:
    """A table under seal. `sealed`: its baseline is in the journal. `entry` is its configuration entry.

    `name` is its name in this home, which no other attached table has in any case of letters.
    """

    id: int
    name: str
    source: str  # SQLAlchemy URL
    shape: Shape
    options: Options
    entry: int
    sealed: bool = False
    detached: bool = False

    def document(self) -> dict[str, object]:
        """What the journal commits to about this table; it names no server and no person."""
        names = {"table": self.name, "source_table": self.shape.table}
        return {"attach": {"id": self.id, **_shape_document(self.shape), **names, "options": _plain(asdict(self.options))}}

    def put(self, batch: Batch, keyring: Keyring) -> None:
        """Write the table's record with this batch; the URL, which may hold a password, is encrypted."""
        shape, options = json.dumps(_shape_document(self.shape)), json.dumps(asdict(self.options))
        nonce = os.urandom(12)
        rest = (self.name, shape, options, self.entry, int(self.sealed), int(self.detached))
        source = nonce + AESGCM(keyring.mirror).encrypt(nonce, self.source.encode(), _bound(self.id, *rest))
        batch.put("tables", self.id, self.name, source, *rest[1:])


def _bound(*record: int | str) -> bytes:
    """What the encryption of a table's URL binds: nobody without the keyring changes an option, not even for the time of one seal."""
    return _SOURCE + canonical.encode(list(record))


def attached_tables(home: Home, *, detached: bool = False) -> list[Attached]:
    """The tables under seal, in the order in which they were attached; with `detached`, the former ones too."""
    box = AESGCM(home.keyring.mirror)

    def source_of(row: tuple[Any, ...]) -> str:
        return box.decrypt(row[1][:12], row[1][12:], _bound(row[0], *row[2:])).decode()

    return [table for table in listed_tables(home.store, source_of) if detached or not table.detached]


def listed_tables(store: Store, source_of: Callable[[tuple[Any, ...]], str]) -> list[Attached]:
    """All tables that a store lists, the former ones too. HomeError where one cannot be read, or `source_of` does not give its URL."""
    rows = store.db.execute("SELECT id, source, name, shape, options, entry, sealed, detached FROM tables ORDER BY id").fetchall()
    try:
        return [
            Attached(row[0], row[2], source_of(row), shape_from(json.loads(row[3])), _options(json.loads(row[4])), row[5], bool(row[6]),
                     bool(row[7]))
            for row in rows
        ]  # fmt: skip
    except (InvalidTag, WireError, ValueError, TypeError, AttributeError) as error:
        raise HomeError("the home's list of tables was changed or is damaged: restore the home from its backup or mirror") from error


def find_table(home: Home, name: str) -> Attached:
    """The attached table of this name; LedgerError that lists the others where there is none."""
    tables = attached_tables(home)
    for table in tables:
        if table.name == name:
            return table
    raise LedgerError(f"table {name} is not attached; attached are: {', '.join(t.name for t in tables) or 'none'}")


def shape_from(document: dict[str, object]) -> Shape:
    """The Shape in a table's configuration document; LedgerError if it is none."""
    try:
        columns = tuple(Column(str(c["name"]), str(c["type"])) for c in document["columns"])  # type: ignore[attr-defined]
        return Shape(str(document["table"]), str(document["encoding"]), columns, tuple(document["key_kinds"]))  # type: ignore[arg-type]
    except (KeyError, TypeError) as error:
        raise LedgerError("the description of a table is damaged") from error


def _shape_document(shape: Shape) -> dict[str, object]:
    return {
        "table": shape.table,
        "encoding": shape.encoding,
        "columns": [{"name": c.name, "type": c.type} for c in shape.columns],
        "key_kinds": list(shape.key_kinds),
    }


def _options(values: dict[str, object]) -> Options:
    return Options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})  # type: ignore[arg-type]


def _plain(values: dict[str, object]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
