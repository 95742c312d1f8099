"""Findings as they are reported: key columns, version, author, since when, and values where they may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import identity, json_text, rowcodec, sortkey
from ledger.commitment import copy_key, digest_function
from ledger.errors import LedgerError, WireError
from ledger.findings import ORDER, Finding, FindingKind, Spot, fault_of, kind_of
from ledger.intact import Intactness
from ledger.journal import Ledger
from ledger.journal_pass import JournalReport
from ledger.merge import read_states
from ledger.record_secrets import RecordSecrets
from ledger.resolutions import Resolutions
from ledger.tables import Attached
from ledger.wire import RECORD, Flag, Kind, RecordEntry, decode_entry


class _Told(NamedTuple):
    """What is said of a marked entry beside it."""

    key: bytes
    columns: tuple[str, ...]
    author: str | None
    window: int | None


_UNTOLD = _Told(b"", (), None, None)


class PresentRows(Protocol):
    """Where the present row of a key can be looked up."""

    def row(self, table: Attached, key: bytes) -> bytes | None: ...


class Reporter:
    """Turns spots into findings. With `values`, altered and amended columns are shown before and after, where a copy exists."""

    def __init__(
        self, home: Ledger, secrets: RecordSecrets, tables: Mapping[int, Attached], values: bool, answers: Resolutions | None = None
    ) -> None:
        self._home, self._secrets, self._tables, self._values, self._answers = home, secrets, tables, values, answers or Resolutions()
        self._records: dict[int, tuple[int, bytes]] = {}
        self._intact = Intactness(home.store, home.journal, {number: table.name for number, table in tables.items()})
        self._authors = dict(home.store.db.execute("SELECT id, name FROM authors"))

    def findings(self, spots: Iterable[Spot], present: PresentRows) -> list[Finding]:
        """One finding per row, the first that applies, and all that are about no row."""
        rows: dict[object, list[Spot]] = {}
        for number, spot in enumerate(spots):
            rows.setdefault(self._row_of(spot) or number, []).append(spot)
        return [self._finding(found, present) for found in rows.values()]

    def _row_of(self, spot: Spot) -> tuple[object, ...] | None:
        """What a spot is about: a record, which the journal tells, else a key; None where it is about no row."""
        if spot.entry is not None and (spot.marked or spot.key is not None):
            record = self._records.get(spot.entry)
            entry = None if record else self._entry(spot.entry)
            if record or entry is not None:
                return record or (entry.table, entry.record)  # type: ignore[union-attr]
        return None if spot.key is None else (spot.table, spot.key)

    def marked(self, journal: JournalReport, tables: Set[int]) -> list[Spot]:
        """What was found when changes were sealed: those of the journal's marked entries that belong to `tables`."""
        # What is said of an entry is journalled after it.
        known = self._told([index for index in journal.marks if index > min(journal.violations, default=index)])
        marked: list[tuple[int, Flag]] = []
        for index in journal.violations:
            entry = self._entry(index)
            if entry is not None and entry.table in tables:
                marked.append((index, entry.flags))
                self._records[index] = entry.table, entry.record
        keys = self._keys_of({self._records[index]: known[index].key for index, _ in marked if index in known})
        spots = []
        for index, flags in marked:
            table, record = self._records[index]
            told = known.get(index, _UNTOLD)
            words = ["found when the change was sealed"]
            if flags & Flag.TIME_UNREADABLE:
                words.append("its declared time cannot be read")
            spots.append(Spot(
                kind_of(flags), table, keys.get((table, record)), told.columns, index, told.author, "; ".join(words), marked=True,
                window=told.window,
            ))  # fmt: skip
        return spots

    def _told(self, marks: Sequence[int]) -> dict[int, _Told]:
        """What is said of marked entries, from the journalled documents about them; a damaged one is a finding of its own."""
        told: dict[int, _Told] = {}
        for index in marks:
            try:
                for mark in self._home.journal.about(index)["marks"]["entries"]:
                    told[mark["entry"]] = _Told(bytes.fromhex(mark["key"]), tuple(mark["columns"]), mark["author"], mark["window"])
            except (LedgerError, KeyError, TypeError, ValueError):
                continue
        return told

    def _keys_of(self, noted: dict[tuple[int, bytes], bytes]) -> dict[tuple[int, bytes], bytes]:
        """The present key of each record; the noted one where no row of the index is the record's any more."""
        query = "SELECT e.body FROM state s JOIN entries e ON e.idx=s.entry WHERE s.tbl=? AND s.key=?"
        moved: dict[int, set[bytes]] = {}
        for (table, record), key in noted.items():
            found = self._home.store.db.execute(query, (table, key)).fetchone()
            if found is None or found[0][RECORD] != record:
                moved.setdefault(table, set()).add(record)
        present = dict(noted)
        for table, records in moved.items():
            for states in read_states(self._home.store.db, table, None, None):
                present |= {(table, body[RECORD]): k for k, body in zip(states.keys, states.bodies, strict=True) if body[RECORD] in records}
        return present

    def _finding(self, spots: Sequence[Spot], present: PresentRows) -> Finding:
        spot = min(spots, key=lambda spot: ORDER[spot.kind])
        table = None if spot.table is None else self._tables.get(spot.table)
        entry = None if spot.entry is None else self._entry(spot.entry)
        judged, until = spot.entry, None
        if spot.marked and entry is not None:
            judged, until = None if spot.kind is FindingKind.INSERTED else self._version_before(entry), spot.entry
        before = after = intact = None
        columns = spot.columns
        documents = set(columns) & set(table.options.json_columns) if table is not None else set()
        if table is not None and spot.key is not None and (self._values or documents):
            was, now = self._rows(spot, judged, table, present)
            columns = _with_elements(table, columns, documents, was, now)
            if self._values:
                named = columns or table.shape.names
                before, after = _shown(table, was, named), _shown(table, now, named)
        if table is not None:
            intact = self._intact.since(table.id, spot.key, judged, until)
        author = spot.author or (self._authors.get(entry.author) if entry is not None and spot.marked else None)
        others = dict.fromkeys(other.kind.value for other in spots if other.kind is not spot.kind)
        detail = "; ".join([*filter(None, [spot.detail]), *(f"also {kind}" for kind in others)])
        key = {} if table is None or spot.key is None else _key(table, spot.key)
        version = None if entry is None else entry.version
        faults = tuple(fault for fault in map(fault_of, spots) if fault is not None)
        if len(faults) < len(spots):
            faults = ()  # a part of it that nobody can answer
        windows = {other.window for other in spots}
        return Finding(
            spot.kind, table.name if table else None, key, columns, version, author, intact, detail, before, after, faults,
            identity.of_finding(map(self._answers.id_of, faults)) if faults else None, windows.pop() if len(windows) == 1 else None,
        )  # fmt: skip

    def _version_before(self, entry: RecordEntry) -> int | None:
        """The last entry with content before `entry` in the row's life; None where there is none."""
        while entry.kind is not Kind.WRITTEN and entry.previous is not None:
            index = entry.previous
            before = self._entry(index)
            if before is None or before.flags & Flag.CONTENT:
                return None if before is None else index
            entry = before
        return None

    def _rows(self, spot: Spot, judged: int | None, table: Attached, present: PresentRows) -> tuple[bytes | None, bytes | None]:
        """The row before and after, as far as copies and the table have them."""
        was = None if judged is None else self.kept_row(judged)
        now = None if spot.key is None else present.row(table, spot.key)
        if spot.marked and spot.entry is not None:
            now = self.kept_row(spot.entry) or self._if_sealed(spot.entry, now)
        return was, now

    def _if_sealed(self, index: int, row: bytes | None) -> bytes | None:
        """The row, if it is the one that an entry committed to."""
        entry = self._entry(index)
        if entry is None or row is None:
            return None
        sids = self._home.store.db.execute("SELECT sid FROM state WHERE tbl=? AND entry=?", (entry.table, index)).fetchall()
        secrets = [self._secrets.one(sid, index, entry) for (sid,) in sids]
        opened = any(s is not None and digest_function(entry.algorithm)(s + row) == entry.row_digest for s in secrets)
        return row if opened else None

    def kept_row(self, index: int) -> bytes | None:
        """The row of a sealed version, where a copy was kept and it is the one committed to; never a guess."""
        stored = self._home.store.db.execute("SELECT sid, body FROM copies WHERE entry=?", (index,)).fetchone()
        entry = self._entry(index)
        secret = None if stored is None or entry is None else self._secrets.one(stored[0], index, entry)
        if secret is None or entry is None:
            return None
        try:
            row = AESGCM(copy_key(secret)).decrypt(bytes(12), stored[1], None)
        except InvalidTag:
            return None
        return row if digest_function(entry.algorithm)(secret + row) == entry.row_digest else None

    def _entry(self, index: int) -> RecordEntry | None:
        try:
            entry = decode_entry(self._home.journal.entry(index))
        except LedgerError:
            return None
        return entry if isinstance(entry, RecordEntry) else None


def _texts(table: Attached, row: bytes) -> dict[str, str | None]:
    encoding = table.shape.encoding
    shown = zip(table.shape.names, rowcodec.fields(encoding, row), strict=True)
    return {name: rowcodec.display(encoding, value) for name, value in shown}


def _shown(table: Attached, row: bytes | None, names: Sequence[str]) -> dict[str, str | None] | None:
    """The named columns, and elements of JSON columns, for people."""
    if row is None:
        return None
    texts = _texts(table, row)
    shown = {name: texts[name] for name in table.shape.names if name in names}
    for column in table.options.json_columns:
        parts = json_text.elements(texts[column] or "") or {}
        shown |= {name: parts.get(name.removeprefix(f"{column}.")) for name in names if name not in texts and name.startswith(f"{column}.")}
    return shown


def _with_elements(
    table: Attached, columns: tuple[str, ...], documents: Set[str], was: bytes | None, now: bytes | None
) -> tuple[str, ...]:
    """The columns, each of `documents` replaced by its top-level elements that differ, where both rows are there to tell."""
    if was is None or now is None or not documents:
        return columns
    before, after = _texts(table, was), _texts(table, now)
    named: list[str] = []
    for column in columns:
        parts = json_text.differing(before[column] or "", after[column] or "") if column in documents else ()
        named += [f"{column}.{part}" for part in parts] or [column]
    return tuple(named)


def _key(table: Attached, key: bytes) -> dict[str, str | int | float | None]:
    """A row's key by column; nothing where the home's index was edited so that it is no key of this table."""
    try:
        values = sortkey.decode(table.shape.key_kinds, key)
    except WireError:
        return {}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in zip(table.shape.key, values, strict=True)}
