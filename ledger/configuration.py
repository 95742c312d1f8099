"""What the journal tells of tables: which are attached and how, and how earlier attachments ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger import canonical
from ledger.errors import LedgerError
from ledger.findings import FindingKind, Spot
from ledger.journal import Ledger
from ledger.journal_pass import JournalReport
from ledger.tables import Attached


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier attachment, under the name `table`, of a table: journal entry `entry` ended it.

    `findings` counts by kind what the audit before that found, None where none was made.
    """

    table: str
    source_table: str
    entry: int
    findings: Mapping[str, int] | None

    def may_be(self, table: Attached) -> bool:
        """Whether an attached table has its name, here or in its database: which database it was in, the journal does not tell."""
        return self.table.casefold() == table.name.casefold() or self.source_table.casefold() == table.shape.table.casefold()


def configuration(home: Ledger, tables: Iterable[Attached], journal: JournalReport) -> tuple[list[Spot], list[Former]]:
    """The list of attached tables against the configuration entries: a table cannot be dropped from audits by hiding it."""
    wanted: dict[int, dict[str, Any]] = {}
    ended: list[Former] = []
    try:
        for index in journal.configurations:
            ((what, about),) = canonical.decode(home.journal.document(index)[1]).items()
            if what not in ("attach", "baseline", "detach"):
                continue  # it is about no table
            number = about["id"]  # type: ignore[index, call-overload]
            if what == "attach":
                wanted[number] = {what: about, "baselines": 0, "entry": index}  # type: ignore[index]
            elif what == "baseline":
                wanted[number]["baselines"] += 1  # type: ignore[index]
            elif what != "retention":
                ended.append(_ended(wanted.pop(number)["attach"], index, about))  # type: ignore[arg-type]
        attached: dict[int, dict[str, Any]] = {
            table.id: table.document() | {"baselines": int(table.sealed), "entry": table.entry} for table in tables
        }
    except (LedgerError, KeyError, TypeError, ValueError, AttributeError) as error:
        return [Spot(FindingKind.JOURNAL_ALTERED, None, detail=f"a configuration entry cannot be read: {error}")], []
    spots = [
        Spot(FindingKind.JOURNAL_ALTERED, None, detail=f"the home's record of table {number} is not the one that was journalled")
        for number in sorted(wanted.keys() | attached.keys())
        if canonical.encode(wanted.get(number)) != canonical.encode(attached.get(number))
    ]
    spots += [
        Spot(FindingKind.JOURNAL_ALTERED, number, entry=index, detail=f"entry {index} tells of a deletion that the table does not allow")
        for number, index in journal.deletions.items()
        if number in attached and not attached[number]["attach"]["options"]["deletable"]
    ]
    return spots, ended


def _ended(attached: Mapping[str, Any], entry: int, detached: Mapping[str, Any]) -> Former:
    counts = detached["findings"]
    known = None if counts is None else {str(kind): int(count) for kind, count in counts.items()}
    return Former(attached["table"], attached["source_table"], entry, known)
