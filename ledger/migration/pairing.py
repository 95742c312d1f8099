"""Which column became which, and by what rule their values are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import LedgerError
from ledger.intake.mapping import read_object
from ledger.json_text import Json
from ledger.migration.values import Rule, rule
from ledger.shape import Shape

_FIELDS = {"columns", "added"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One column of the old table and the one it became, by name, the rule's name, and what it does to values of either side."""

    old: str
    new: str
    rule: str
    of_old: Rule
    of_new: Rule


@dataclass(frozen=True, slots=True)
class Pairing:
    """All pairs, key columns of the old table first. `dropped` columns of the old table and `added` ones of the new are not compared."""

    pairs: tuple[Pair, ...]
    keys: int
    dropped: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def new_key(self) -> tuple[str, ...]:
        return tuple(pair.new for pair in self.pairs[: self.keys])


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """A migration's map as the operator wrote it; columns that it does not name keep their names."""

    columns: Mapping[str, Json]
    added: tuple[str, ...]

    def names(self, old: Shape) -> Pairing:
        """The pairing that follows for the old table. Raises LedgerError."""
        unknown = self.columns.keys() - set(old.names)
        if unknown:
            raise LedgerError(f"the map names column {min(unknown)}, which table {old.table} does not have")
        pairs, dropped = [], []
        for place, name in enumerate(old.names):
            stated = self.columns.get(name, name)
            if stated is not None:
                pairs.append(_pair(name, stated))
            elif place < len(old.key):
                raise LedgerError(f"column {name} is part of the key: by it rows are found again, so the map must say what it became")
            else:
                dropped.append(name)
        if len({pair.new for pair in pairs}) != len(pairs):
            raise LedgerError("the map gives two columns the same new name")
        return Pairing(tuple(pairs), len(old.key), tuple(dropped), self.added)


def read_column_map(path: Path | None) -> ColumnMap:
    """The map in a JSON file; without one every column keeps its name and its value. Raises LedgerError."""
    if path is None:
        return ColumnMap({}, ())
    value = read_object(path)
    columns, added = value.get("columns", {}), value.get("added", [])
    plain = isinstance(columns, dict) and isinstance(added, list) and all(type(name) is str for name in added)
    if not plain or not value.keys() <= _FIELDS:
        raise LedgerError(f'{path} is no map of a migration: write {{"columns": {{"old": "new"}}, "added": ["column"]}}')
    return ColumnMap(columns, tuple(map(str, added)))  # type: ignore[arg-type]


def check_new(pairing: Pairing, new: Shape) -> None:
    """Raise LedgerError unless every column of the new table is paired or declared as added."""
    paired = {pair.new for pair in pairing.pairs}
    for name in sorted((paired | set(pairing.added)) - set(new.names)):
        raise LedgerError(f"table {new.table} has no column {name}, which the map names or the old table has")
    for name in sorted(set(new.names) - paired - set(pairing.added)):
        raise LedgerError(f'column {name} of table {new.table} comes from no old one: name it in the map under "added"')


def places(names: Sequence[str], shape: Shape) -> list[int]:
    """Where in a row of `shape` the named columns stand."""
    where = {name: place for place, name in enumerate(shape.names)}
    return [where[name] for name in names]


def _pair(name: str, stated: Json) -> Pair:
    value = {"column": name} | dict(stated) if isinstance(stated, dict) else {"column": stated}
    new, kind = value.pop("column"), value.pop("rule", "exact")
    if type(new) is not str or type(kind) is not str:
        raise LedgerError(f'column {name}: write "new name", null, or {{"column": "new name", "rule": "decimal"}}')
    return Pair(name, new, kind, rule(kind, value, new=False), rule(kind, value, new=True))
