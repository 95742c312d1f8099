"""What an evidence file says of a record or an audit, held against the journal entries that commit to it.

Every function raises EvidenceInvalid that names the broken link: record, configuration, journal, history or audit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from anchoring.container import Part
from anchoring.errors import EvidenceInvalid
from anchoring.network import exact_hex
from ledger import canonical, rowcodec
from ledger.commitment import SALT_BYTES, digest_function, field_digests, field_root, verify_row
from ledger.errors import LedgerError, WireError
from ledger.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from ledger.wire import VIOLATIONS, EventEntry, Flag, Kind, RecordEntry, decode_entry, tag_width

T = TypeVar("T")
_BASELINE, _CAPTURED, _VIOLATIONS = int(Flag.BASELINE), int(Flag.CAPTURED), int(VIOLATIONS)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a record. `values` are by column, those that are shown; None where the evidence does not hold the content.

    `baseline`: the record was there when its table was first sealed, and nothing is proved about earlier times. `captured`: the change
    was taken from the capture queue. `marks` names the violations that were found when it was sealed, as `wire.Flag` does, in lower
    case. `sealed_at`, seconds since 1970 UTC, is the institution's own word.
    """

    number: int
    index: int  # of its entry in the journal
    kind: str  # written, amended or deleted
    baseline: bool
    captured: bool
    marks: tuple[str, ...]
    sealed_at: float
    values: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Record:
    """What is proved of a record. `table` is the name in the institution's home, `source_table` that in its database. `hidden` are the
    columns whose values are committed to and not shown.
    """

    table: str
    source_table: str
    id: bytes  # 16 bytes
    key: tuple[str, ...]  # columns
    hidden: tuple[str, ...]
    versions: tuple[Version, ...]

    @property
    def last(self) -> Version:
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class Report:
    """An audit as its institution journalled it. `sealed_at`, seconds since 1970 UTC, is the institution's own word."""

    index: int
    sealed_at: float
    audit: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its configuration entry describes it."""

    id: int
    name: str
    source: str  # its name in the institution's database
    encoding: str
    columns: tuple[str, ...]
    keys: int
    index: int


def open_subject(parts: Mapping[str, Any], table: Table | None = None, *, values: bool = True) -> Record | Report:
    """What evidence of any kind is about. A `table` that was opened already, of this checkpoint, is not opened again.

    Without `values` the rows are held against what commits to them, and not taken apart for people: who makes files needs no more.
    """
    kind, checkpoint = parts["kind"], parts["checkpoint"]
    if kind == "audit":
        return _report(parts["audit"], checkpoint)
    listed = parts["versions"] if kind == "history" else [parts["record"]]
    entries = [_record_entry(part) for part in listed]
    if not entries:
        raise EvidenceInvalid("history", "it has no version")
    if kind in ("record", "fields") and not entries[0].flags & Flag.CONTENT:
        raise EvidenceInvalid("record", "the journal entry commits to no row")
    table = table or open_table(parts["configuration"], checkpoint)
    if table.index >= listed[0]["index"]:
        raise EvidenceInvalid("configuration", "it is not older than the record's entry")
    if kind == "history":
        _check_history(entries, [part["index"] for part in listed])
    hidden: tuple[str, ...] = ()
    versions = []
    shown: Mapping[str, str | None] | None
    for part, entry in zip(listed, entries, strict=True):
        if kind == "fields":
            shown, hidden = _some_values(part["fields"], entry, table)
        else:
            shown = _values(part, entry, table, values)
        _inclusion("journal", part, checkpoint)
        versions.append(_version(part["index"], entry, shown))
    return Record(table.name, table.source, entries[0].record, table.columns[: table.keys], hidden, tuple(versions))


def _record_entry(part: Part) -> RecordEntry:
    entry = _checked("record", lambda: decode_entry(part["entry"]))
    if not isinstance(entry, RecordEntry):
        raise EvidenceInvalid("record", "its entry is not one of a record")
    return entry


def _check_history(entries: Sequence[RecordEntry], indexes: Sequence[int]) -> None:
    """All versions of one record from the first on, each naming the one before."""
    previous: int | None = None
    for number, (entry, index) in enumerate(zip(entries, indexes, strict=True), 1):
        if (entry.record, entry.version, entry.previous) != (entries[0].record, number, previous):
            raise EvidenceInvalid("history", f"version {number} does not follow the one before it")
        if previous is not None and index <= previous:
            raise EvidenceInvalid("history", f"version {number} stands before the one that it follows")
        previous = index


def _version(index: int, entry: RecordEntry, values: Mapping[str, str | None] | None) -> Version:
    flags = int(entry.flags)  # an operation on Flag takes ten times as long
    marks = tuple(str(flag.name).lower() for flag in entry.flags & VIOLATIONS) if flags & _VIOLATIONS else ()
    return Version(
        entry.version, index, entry.kind.name.lower(), bool(flags & _BASELINE), bool(flags & _CAPTURED), marks, entry.time / 1000, values
    )


def _values(part: Part, entry: RecordEntry, table: Table, wanted: bool) -> Mapping[str, str | None] | None:
    """The row for people, once it opens the entry's row digest, field root and tags; None where there is none, or it is not wanted."""
    row, secret = part["row"], part["secret"]
    if (row is None) != (secret is None) or (row is not None and not entry.flags & Flag.CONTENT):
        raise EvidenceInvalid("record", "a row without its secret, or where the entry commits to none")
    if row is None:
        _check_table(entry, table, None)
        return None

    def opened() -> list[bytes]:
        if len(secret) != 32:
            raise WireError("the secret does not have 32 bytes")
        verify_row(entry.algorithm, secret, row, entry.row_digest)
        fields = rowcodec.fields(table.encoding, row)
        if len(fields) != entry.columns:
            raise WireError("the row has more or fewer columns than were committed to")
        _check_fields(entry, field_digests(entry.algorithm, secret, fields))
        return fields

    fields = _checked("record", opened)
    _check_table(entry, table, len(fields))
    return _displayed(table, dict(enumerate(fields))) if wanted else None


def _some_values(parts: Sequence[Part], entry: RecordEntry, table: Table) -> tuple[Mapping[str, str | None], tuple[str, ...]]:
    """The opened fields for people and the names of the others, once they all give the entry's field root and tags."""
    hash_ = digest_function(entry.algorithm)
    opened = {place: part["value"] for place, part in enumerate(parts) if "value" in part}
    for part in parts:
        if len(part["salt"]) != SALT_BYTES if "value" in part else len(part["digest"]) != 32:
            raise EvidenceInvalid("record", "a salt or a digest of another length")
    if not opened:
        raise EvidenceInvalid("record", "no field is opened")
    _checked("record", lambda: _check_fields(entry, [hash_(p["salt"] + p["value"]) if "value" in p else p["digest"] for p in parts]))
    _check_table(entry, table, len(parts))
    hidden = tuple(name for place, name in enumerate(table.columns) if place not in opened)
    return _displayed(table, opened), hidden


def _check_fields(entry: RecordEntry, digests: Sequence[bytes]) -> None:
    width = tag_width(len(digests)) if digests else 0
    tags = b"".join(digest[:width] for digest in digests)
    if (len(digests), tags, field_root(entry.algorithm, digests)) != (entry.columns, entry.tags, entry.field_root):
        raise WireError("the fields are not the ones that were committed to")


def _check_table(entry: RecordEntry, table: Table, columns: int | None) -> None:
    if entry.table != table.id or columns not in (None, len(table.columns)):
        raise EvidenceInvalid("configuration", "it describes another table")


def _displayed(table: Table, fields: Mapping[int, bytes]) -> Mapping[str, str | None]:
    return _checked("record", lambda: {table.columns[i]: rowcodec.display(table.encoding, field) for i, field in fields.items()})


def open_table(part: Part, checkpoint: Part) -> Table:
    """The description of the table, once it opens its configuration entry and that is in the journal."""
    document = _document("configuration", part, Kind.CONFIGURATION, checkpoint)
    try:
        attach: Any = document["attach"]
        columns, kinds = tuple(column["name"] for column in attach["columns"]), attach["key_kinds"]
        texts = [attach["encoding"], attach["table"], attach["source_table"], *columns]
        if not all(isinstance(text, str) for text in texts) or type(attach["id"]) is not int:
            raise TypeError
        if not isinstance(kinds, list) or not 0 < len(kinds) <= len(columns):
            raise TypeError
    except (KeyError, TypeError) as error:
        raise EvidenceInvalid("configuration", "it does not describe a table") from error
    return Table(attach["id"], attach["table"], attach["source_table"], attach["encoding"], columns, len(kinds), part["index"])


def _report(part: Part, checkpoint: Part) -> Report:
    """An audit's report, once it opens its entry, that is in the journal, and what was audited is the journal's beginning."""
    document = _document("audit", part, Kind.AUDIT, checkpoint)
    try:
        audit: Any = document["audit"]
        size, root = audit["size"], exact_hex(audit["root"])
        if any(type(audit[name]) is not int for name in ("at", "size", "findings")) or not isinstance(audit["tables"], list) or size < 0:
            raise TypeError
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceInvalid("audit", "it is not the report of an audit") from error
    if size > part["index"]:
        raise EvidenceInvalid("audit", "its entry is older than what was audited")
    if size:
        _checked("audit", lambda: verify_consistency(size, checkpoint["size"], root, checkpoint["root"], part["consistency"]))
    elif root != EMPTY_ROOT or part["consistency"]:
        raise EvidenceInvalid("audit", "an audit of no entries has another root")
    return Report(part["index"], decode_entry(part["entry"]).time / 1000, audit)


def _document(link: str, part: Part, kind: Kind, checkpoint: Part) -> Mapping[str, canonical.Json]:
    """The document of an event, once it opens its entry and that is in the journal."""

    def opened() -> Mapping[str, canonical.Json]:
        entry = decode_entry(part["entry"])
        if not isinstance(entry, EventEntry) or entry.kind is not kind:
            raise WireError("its entry is of another kind")
        return canonical.check(part["salt"], part["document"], entry.commitment)

    document = _checked(link, opened)
    _inclusion(link, part, checkpoint)
    return document


def _inclusion(link: str, part: Part, checkpoint: Part) -> None:
    _checked(
        link, lambda: verify_inclusion(leaf_hash(part["entry"]), part["index"], checkpoint["size"], part["proof"], checkpoint["root"])
    )


def _checked(link: str, act: Callable[[], T]) -> T:
    """What `act` returns; what it refuses breaks the link."""
    try:
        return act()
    except LedgerError as error:
        raise EvidenceInvalid(link, str(error)) from error
