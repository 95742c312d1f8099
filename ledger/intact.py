"""Since when a row is known to have been intact: what anchored audits and checkpoints say, read once for all findings of an audit."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ledger.errors import LedgerError
from ledger.findings import IntactAt
from ledger.journal import Checkpoint, Journal
from ledger.store import Store
from ledger.wire import Kind, decode_entry


class Intactness:
    """Answers for the tables of these names, by number; all of it is read when it is first asked for."""

    def __init__(self, store: Store, journal: Journal, names: Mapping[int, str]) -> None:
        self._db, self._journal, self._names = store.db, journal, names
        self._documents: dict[int, dict[str, dict[str, Any]]] = {}
        self._checkpoints: dict[int, Checkpoint | None] = {}
        self._times: dict[int, float] = {}
        self._before: dict[int, int] = {}

    def since(self, table: int, key: bytes | None, entry: int | None, until: int | None) -> IntactAt | None:
        """The last anchored clean audit that covered the row, else the checkpoint that sealed it; None where neither is anchored.

        `entry` is the entry the row is held against, `until` the entry that marked a change: later audits do not count, nor such as
        may have met the row while that change waited to be sealed.
        """
        audit = self._covering(table, key, entry, until)
        if audit is None and entry is None:
            return None
        checkpoint = self._anchor_of(entry if audit is None else audit)  # type: ignore[arg-type]
        if checkpoint is None or checkpoint.block is None:
            return None
        time = float(checkpoint.block_time or 0) if audit is None else self._time_of(audit)
        return IntactAt(checkpoint.generation, checkpoint.size, checkpoint.root, checkpoint.block, time)

    def _covering(self, table: int, key: bytes | None, entry: int | None, until: int | None) -> int | None:
        before = self._anchored if until is None else min(self._anchored, until)
        rows = self._db.execute(
            "SELECT entry FROM audits WHERE tbl=? AND clean=1 AND entry<? AND size>?"
            " AND (low IS NULL OR low<=?) AND (high IS NULL OR high>?) ORDER BY entry DESC",
            (table, before, -1 if entry is None else entry, key, key),
        )
        sealed = None if until is None else self._seal_before(until)
        return next((audit for (audit,) in rows if self._was_clean(audit, table, key, sealed)), None)

    @cached_property
    def _anchored(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(size), 0) FROM checkpoints WHERE block IS NOT NULL").fetchone()[0])

    @cached_property
    def _anchors(self) -> tuple[array[int], array[int], array[int]]:
        """Sizes of anchored checkpoints, ascending, and for each generation and size of the earliest that is as large or larger."""
        query = "SELECT size, generation, block FROM checkpoints WHERE block IS NOT NULL ORDER BY size DESC, block"
        sizes, generations, earliest, first = array("q"), array("q"), array("q"), None
        for size, generation, block in self._db.execute(query):
            if first is None or block < first[2]:
                first = generation, size, block
            for column, value in zip((sizes, generations, earliest), (size, *first[:2]), strict=True):
                column.append(value)
        for column in (sizes, generations, earliest):
            column.reverse()
        return sizes, generations, earliest

    def _anchor_of(self, entry: int) -> Checkpoint | None:
        """The earliest anchored checkpoint, of whatever generation, that covers an entry."""
        sizes, generations, earliest = self._anchors
        place = bisect_right(sizes, entry)
        if place == len(sizes):
            return None
        if place not in self._checkpoints:
            self._checkpoints[place] = self._journal.checkpoint_of(generations[place], earliest[place])
        return self._checkpoints[place]

    @cached_property
    def _seals(self) -> array[int]:
        return array("q", (size for (size,) in self._db.execute("SELECT DISTINCT size FROM checkpoints ORDER BY size")))

    def _seal_before(self, entry: int) -> int:
        """The size of the journal after the last seal before the one that made `entry`: all that waited then was sealed."""
        last = bisect_right(self._seals, entry) - 1
        if last not in self._before:
            sizes = (self._seals[place] for place in range(last, -1, -1))
            self._before[last] = next((s for s in sizes if decode_entry(self._journal.entry(s - 1)).kind is not Kind.RESTORE), 0)
        return self._before[last]

    def _time_of(self, audit: int) -> float:
        if audit not in self._times:
            self._times[audit] = decode_entry(self._journal.entry(audit)).time / 1000
        return self._times[audit]

    def _was_clean(self, audit: int, table: int, key: bytes | None, sealed: int | None) -> bool:
        """Whether the journalled document of an audit says that it found nothing in a part of a table that has this key.

        The home's own note only says where to look. With `sealed`, it must be older than that, or have met no row whose change was
        waiting to be sealed.
        """
        if audit not in self._documents:
            try:
                self._documents[audit] = {part["table"]: part for part in self._journal.about(audit)["audit"]["tables"]}
            except (LedgerError, KeyError, TypeError):
                self._documents[audit] = {}
        part = self._documents[audit].get(self._names[table])
        if part is None or part["findings"] or part["standing"] or (sealed is not None and audit >= sealed and part["pending"]):
            return False
        bare = "" if key is None else key.hex()
        return (part["from"] is None or part["from"] <= bare) and (part["to"] is None or bare < part["to"])
