"""The audit: the journal against the chain, every row against the journal, and what is found, assembled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import sha256

from ledger import canonical
from ledger.audit_workers import Range, Workers, run_ranges
from ledger.books import Books, books_of
from ledger.configuration import Former, configuration
from ledger.erasure import unconfirmed
from ledger.findings import JOURNAL_KINDS, WARNINGS, Finding, FindingKind, Spot, fault_of
from ledger.holds import held_spots
from ledger.home import Home
from ledger.reporting import Reporter
from ledger.resolutions import Resolution, Resolutions, read_resolutions
from ledger.seal import quiet
from ledger.store import Store
from ledger.table_pass import TableReport
from ledger.tables import Attached
from ledger.windows import Window
from ledger.wire import Kind

Progress = Callable[[str, int], None]
RANGE_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Anchors:
    """What the outside says of this journal: `head_size` entries are on the chain; `roots` maps sizes to the roots they must have.

    `lag` is the age, in seconds, of the oldest entry that is not on the chain, where it exceeds what the operator allows.
    """

    head_size: int
    roots: Mapping[int, bytes]
    lag: float | None = None


@dataclass(frozen=True, slots=True)
class TableResult:
    """One table's part of an audit."""

    name: str
    rows: int
    pending: int
    findings: int
    author_known: bool
    standing: int = 0  # rows that contradict the journal still, as two people let it be
    unchecked: int = 0  # rows whose secrets an outside auditor was not given, for they were sealed later


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of two people, and to how much of what this audit met it is one."""

    answer: Resolution
    count: int


@dataclass(frozen=True, slots=True)
class AuditResult:
    """An audit's outcome; `entry` is its own journal entry, None where the journal was not fit to take one.

    `findings` are the open ones; `resolved` tells which answers keep others from being among them; `windows` announced some of them.
    `former` are earlier attachments of its tables.
    """

    size: int
    rows: int
    pending: int
    tables: list[TableResult]
    findings: list[Finding]
    entry: int | None = None
    former: list[Former] = field(default_factory=list)
    resolved: list[Answered] = field(default_factory=list)
    windows: Mapping[int, Window] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return all(finding.kind in WARNINGS for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Scope:
    """What to audit: all of the `tables`, or of each only the keys of `parts`; `journal` walks all entries."""

    tables: Sequence[Attached]
    parts: Mapping[int, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    journal: bool = True


def audit(
    home: Home,
    scope: Scope,
    anchors: Anchors,
    now: float,
    *,
    processes: int = 1,
    values: bool = False,
    record: bool = True,
    progress: Progress = quiet,
) -> AuditResult:
    """Audit and journal the result. `now` in seconds since 1970 UTC. Streams: memory does not grow with tables or journal rows.

    The journal's head is taken first, then rows and queue of each database in one snapshot. SourceError where a database cannot be
    read and KeyUnavailable where a secret store cannot be opened: then nothing is said about the rows.
    """
    with home.store.reading():
        if scope.journal:
            home.store.check_sound()
        result = examine(books_of(home), scope, anchors, processes=processes, values=values, progress=progress)
    if not record or any(finding.kind in JOURNAL_KINDS for finding in result.findings):
        return result
    return _journalled(home, scope, result, now)


def examine(
    books: Books, scope: Scope, anchors: Anchors, *, processes: int = 1, values: bool = False, progress: Progress = quiet
) -> AuditResult:
    """Audit, within one consistent read of a sound store. Nothing is written. Errors as of `audit`."""
    size, attached = books.journal.size, books.attached
    with ExitStack() as stack:
        spots = _rolled_back(size, anchors)
        workers = stack.enter_context(Workers(books, scope.tables, processes))
        ranges = _ranges(books.store, scope, workers, processes)
        journal, ranged = run_ranges(workers, size, anchors.roots if scope.journal else None, ranges, progress)
        reports = _joined(scope, ranged)
        wrong, ended = configuration(books, attached, journal) if scope.journal else ([], [])
        spots += journal.spots + wrong + (unconfirmed(books) if scope.journal else [])
        spots += workers.schema_spots({report.table: report.unread for report in reports})
        # A rolling audit walks the journal in one of its rounds only, for all tables.
        told = {table.id for table in (attached if scope.parts else scope.tables)}
        answers = read_resolutions(books)
        reporter = Reporter(books, books.secrets, {table.id: table for table in books.tables}, values, answers)
        spots += [spot for report in reports for spot in report.spots]
        spots += held_spots(books, frozenset(told)) if scope.journal else []
        resolved: Counter[int] = Counter()
        spots, standing = _unanswered(answers, spots, resolved)
        journal.violations = [entry for entry in journal.violations if not _answered(answers, entry, resolved)]
        found = reporter.findings([*spots, *reporter.marked(journal, told)], workers)
    if anchors.lag is not None:
        found.append(Finding(FindingKind.UNANCHORED, None, detail=f"entries wait for their anchor for {anchors.lag:.0f} s"))
    names = {table.id: table.name for table in scope.tables}
    counts = {name: sum(1 for finding in found if finding.table == name) for name in names.values()}
    tables = [
        TableResult(
            names[r.table], r.rows, r.pending, counts[names[r.table]], workers.knows_authors(r.table), standing[r.table], r.unchecked
        )
        for r in reports
    ]
    former = [end for end in ended if any(map(end.may_be, scope.tables))]
    here = {table.name for table in attached if table.id in told}
    met = [Answered(answers.answers[entry], count) for entry, count in sorted(resolved.items())]
    met = [answered for answered in met if answered.answer.table in here]
    rows, pending = sum(t.rows for t in tables), sum(t.pending for t in tables)
    return AuditResult(size, rows, pending, tables, found, former=former, resolved=met, windows=answers.windows)


def _answered(answers: Resolutions, fault: bytes | int | None, resolved: Counter[int]) -> bool:
    """Whether two people answered a fault; `resolved` counts how many faults each answer met."""
    answer = None if fault is None else answers.resolved(fault)
    if answer is not None:
        resolved[answer.proposed.entry] += 1
    return answer is not None


def _unanswered(answers: Resolutions, spots: Sequence[Spot], resolved: Counter[int]) -> tuple[list[Spot], Counter[int | None]]:
    """The spots that nobody answered, and how many in each table stand as they are because two people said so."""
    standing: Counter[int | None] = Counter()
    left = []
    for spot in spots:
        if _answered(answers, fault_of(spot), resolved):
            standing[spot.table] += 1
        else:
            left.append(spot)
    return left, standing


def _rolled_back(size: int, anchors: Anchors) -> list[Spot]:
    highest = max([anchors.head_size, *anchors.roots])
    if highest <= size:
        return []
    return [
        Spot(
            FindingKind.ROLLED_BACK,
            None,
            detail=f"the journal has {size} entries, {highest} are known outside: restore it from the mirror",
        )
    ]


def _ranges(store: Store, scope: Scope, workers: Workers, processes: int) -> list[Range]:
    """What to read of each table: all at once, or ranges of keys of so many records each, so that processes share the work."""
    ranges = []
    for table in scope.tables:
        low, high = scope.parts.get(table.id, (None, None))
        rows = _range_rows(store, table, low, high, workers, processes)
        while processes > 1:
            bound = _key_after(store, table, low, rows)
            if bound is None or (high is not None and bound >= high):
                break
            ranges.append(Range(table.id, low, bound))
            low = bound
        ranges.append(Range(table.id, low, high))
    return ranges


def _range_rows(store: Store, table: Attached, low: bytes | None, high: bytes | None, workers: Workers, processes: int) -> int:
    """About RANGE_ROWS records for each range; where each costs a reading of the whole table, one range for each process and no more."""
    bound = _key_after(store, table, low, RANGE_ROWS)
    if processes < 2 or bound is None or workers.seeks(table, bound):
        return RANGE_ROWS
    within = "tbl=? AND key>=? AND (? IS NULL OR key<?)"
    (count,) = store.db.execute(f"SELECT count(*) FROM state WHERE {within}", (table.id, low or b"", high, high)).fetchone()  # noqa: S608
    return max(RANGE_ROWS, -(-int(count) // processes))


def _key_after(store: Store, table: Attached, low: bytes | None, rows: int) -> bytes | None:
    """The key so many records after `low`."""
    query = "SELECT key FROM state WHERE tbl=? AND key>=? ORDER BY key LIMIT 1 OFFSET ?"
    found = store.db.execute(query, (table.id, low or b"", rows)).fetchone()
    return None if found is None else found[0]


def _joined(scope: Scope, reports: Sequence[TableReport]) -> list[TableReport]:
    joined = {table.id: TableReport(table.id) for table in scope.tables}
    for report in reports:
        whole = joined[report.table]
        whole.rows, whole.pending = whole.rows + report.rows, whole.pending + report.pending
        whole.unchecked += report.unchecked
        whole.spots += report.spots
        whole.unread = whole.unread or report.unread
    return list(joined.values())


def _texts(key: Mapping[str, object]) -> dict[str, str]:
    """A key as canonical JSON can hold it: numbers beyond its range and texts that are no Unicode too."""
    return {name: str(value).encode(errors="backslashreplace").decode() for name, value in key.items()}


def _hex(key: bytes | None) -> str | None:
    return None if key is None else key.hex()


def findings_sha256(findings: Sequence[Finding]) -> str:
    """SHA-256, in hex, of the canonical JSON of findings, as documents of audits and detachments have it."""
    listed = [
        {"kind": f.kind.value, "table": f.table, "key": _texts(f.key), "columns": list(f.columns), "version": f.version} for f in findings
    ]
    return sha256(canonical.encode(listed)).hexdigest()


def _journalled(home: Home, scope: Scope, result: AuditResult, now: float) -> AuditResult:
    ranges = [scope.parts.get(table.id, (None, None)) for table in scope.tables]
    document = {
        "audit": {
            "at": int(now * 1000),
            "size": result.size,
            "root": home.journal.tree.root(result.size).hex(),
            "journal": scope.journal,
            "tables": [
                {"table": t.name, "rows": t.rows, "pending": t.pending, "findings": t.findings, "standing": t.standing,
                 "from": _hex(low), "to": _hex(high)}
                for t, (low, high) in zip(result.tables, ranges, strict=True)
            ],
            "findings": len(result.findings),
            "resolved": sum(answered.count for answered in result.resolved),
            "findings_sha256": findings_sha256(result.findings),
        }
    }
    clean = {table.name: table.findings + table.standing == 0 for table in result.tables}
    with home.batch() as batch:
        index = batch.add_event(Kind.AUDIT, document, int(now * 1000))
        for table, (low, high) in zip(scope.tables, ranges, strict=True):
            batch.put("audits", index, table.id, low, high, result.size, int(clean[table.name]))
    return replace(result, entry=index)
