"""Terms of keeping: how long a table's records are kept after a subject's last one, before the subject may be erased.

Chinese law: outpatient records for at least 15 years from the last visit, inpatient records for at least 30 years from the last discharge
(电子病历应用管理规范（试行）, 国卫办医发〔2017〕8号, article 19; 医疗机构管理条例实施细则, article 53).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isfinite

from ledger import rowcodec
from ledger.canonical import Json
from ledger.clinical_time import declared_time
from ledger.commitment import digest_function, record_secret
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.record_secrets import KeyedSecrets
from ledger.reporting import Reporter
from ledger.shape import Snapshot
from ledger.sources import open_source
from ledger.tables import Attached, attached_tables, find_table
from ledger.wire import Flag, Kind, RecordEntry, decode_entry

CLASSES = {"outpatient": 15, "inpatient": 30}  # years
_MOST_YEARS = 999


@dataclass(frozen=True, slots=True)
class Term:
    """How long the records of a table are kept: `years` from the latest time in column `since` of a subject's rows."""

    table: int
    kind: str  # outpatient, inpatient or years
    years: int
    since: str
    entry: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a subject: where its row is, its last entry, and whether the row should exist."""

    table: Attached
    key: bytes
    entry: int
    sid: int
    live: bool


def set_term(home: Home, table_name: str, kind: str, since: str, now: int) -> Term:
    """Declare a table's term, in the journal; a later one takes its place. LedgerError where class or column is none."""
    table = find_table(home, table_name)
    years = CLASSES.get(kind) or (int(kind) if kind.isascii() and kind.isdigit() else 0)
    if not 0 < years <= _MOST_YEARS:
        raise LedgerError(f"--class {kind}: use outpatient, inpatient or a number of years")
    if since not in table.shape.names:
        raise LedgerError(f"--since {since}: table {table.name} has no such column")
    term = kind if kind in CLASSES else "years"
    about: dict[str, Json] = {"id": table.id, "table": table.name, "class": term, "years": years, "since": since}
    with home.batch() as batch:
        index = batch.add_event(Kind.CONFIGURATION, {"retention": about}, now)
    return Term(table.id, term, years, since, index)


def terms(home: Home) -> dict[int, Term]:
    """The declared term of each table that has one, by the table's number."""
    found: dict[int, Term] = {}
    for index, _, document in home.journal.documents_of(Kind.CONFIGURATION):
        about = document.get("retention")
        if isinstance(about, dict):
            try:
                number, years = int(str(about["id"])), int(str(about["years"]))
                found[number] = Term(number, str(about["class"]), years, str(about["since"]), index)
            except (KeyError, ValueError) as error:
                raise LedgerError(f"entry {index}: its document is damaged: restore the home from its mirror") from error
    return found


def records_of(home: Home, sid: int) -> list[Record]:
    """All records of a subject in the attached tables, deleted ones too."""
    tables = {table.id: table for table in attached_tables(home)}
    rows = home.store.db.execute("SELECT tbl, key, entry, live FROM state WHERE sid=? ORDER BY tbl, key", (sid,))
    return [Record(tables[tbl], key, entry, sid, bool(live)) for tbl, key, entry, live in rows if tbl in tables]


def check_ended(home: Home, records: Sequence[Record], now: int, no_term: str | None) -> list[Json]:
    """The ended terms, for the journal; `now` in milliseconds. LedgerError that says until when records must be kept.

    A table with no declared term needs `no_term`, the reason why none holds for it.
    """
    declared, today, ended = terms(home), datetime.fromtimestamp(now / 1000, UTC).date(), list[Json]()
    running: list[tuple[date, str, Term, date]] = []
    for table in {record.table.id: record.table for record in records}.values():
        term = declared.get(table.id)
        if term is None:
            if no_term is None:
                raise LedgerError(
                    f"table {table.name} has no term of keeping: declare it with careseal retention set, or give --no-term with the reason"
                )
            ended.append({"table": table.id, "class": None, "years": None, "last": None, "ended": None})
            continue
        last = _last(home, table, [record for record in records if record.table.id == table.id], term)
        end = later(last, term.years)
        if end > today:
            running.append((end, table.name, term, last))
        ended.append(
            {"table": table.id, "class": term.kind, "years": term.years, "last": last.isoformat(), "ended": end.isoformat()}
        )
    if running:
        end, name, term, last = max(running, key=lambda one: one[0])
        raise LedgerError(
            f"this subject's records of table {name} are kept for {term.years} years from the last one, of {last.isoformat()}: "
            f"erasure is refused until {end.isoformat()}"
        )
    return ended


def _last(home: Home, table: Attached, records: Iterable[Record], term: Term) -> date:
    """The day of the subject's latest record. What cannot be read from a sealed row counts from its sealing, which is no earlier."""
    column, reporter = table.shape.names.index(term.since), Reporter(home, KeyedSecrets(home.subjects), {}, values=True)
    latest = 0.0
    with closing(open_source(table.source)) as source, source.snapshot() as snapshot:
        for record in records:
            entry = _entry(home, record.entry)
            row = _sealed_row(home, table, record, entry, snapshot, reporter)
            shown = None if row is None else rowcodec.display(table.shape.encoding, rowcodec.fields(table.shape.encoding, row)[column])
            declared = declared_time(shown)
            latest = max(latest, entry.time / 1000 if declared is None or not isfinite(declared) else declared)
    try:
        return datetime.fromtimestamp(latest, UTC).date()
    except (OverflowError, ValueError, OSError):
        return date.max


def _sealed_row(
    home: Home, table: Attached, record: Record, entry: RecordEntry, snapshot: Snapshot, reporter: Reporter
) -> bytes | None:
    """A record's last sealed row: the present one while it is that, else a kept copy. An altered row tells no time."""
    index, subject_key = record.entry, home.subjects.keys([record.sid]).get(record.sid)
    while not entry.flags & Flag.CONTENT and entry.previous is not None:
        index = entry.previous
        entry = _entry(home, index)
    if subject_key is not None and record.live and index == record.entry:
        secret = record_secret(subject_key, entry.record, entry.version)
        for rows in snapshot.rows(table.shape, low=record.key, high=record.key + b"\0"):
            if digest_function(entry.algorithm)(secret + rows.rows[0]) == entry.row_digest:
                return rows.rows[0]
    return reporter.kept_row(index)


def _entry(home: Home, index: int) -> RecordEntry:
    entry = decode_entry(home.journal.entry(index))
    if not isinstance(entry, RecordEntry):
        raise LedgerError(f"the home's index names entry {index}, which is no record's: restore the home from its mirror or backup")
    return entry


def later(day: date, years: int) -> date:
    """The same day some years later; 29 February becomes 1 March where there is none."""
    if day.year + years > date.max.year:
        return date.max
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
