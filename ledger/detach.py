"""Letting tables go: they are audited first, and what is open is journalled with it, so that attaching anew forgets nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ledger.audit import AuditResult, findings_sha256
from ledger.errors import LedgerError, SourceError
from ledger.findings import WARNINGS, Finding, FindingKind
from ledger.home import Home
from ledger.seal import seal, seal_last
from ledger.shape import Source
from ledger.sources import open_source
from ledger.tables import Attached
from ledger.wire import VIOLATIONS, Kind, RecordEntry, decode_entry

Audit = Callable[[Sequence[Attached]], AuditResult]


@dataclass(frozen=True, slots=True)
class LastAudit:
    """What the audit before its detachment found of a table: its entry, None where the journal was not fit to take one, and findings."""

    entry: int | None
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many findings there are of each kind."""
        return Counter(sorted(finding.kind.value for finding in self.findings))

    @property
    def digest(self) -> str:
        return findings_sha256(self.findings)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`done`: the tables were let go. `audits` has the last audit of each by name; empty where none was wanted."""

    done: bool
    audits: Mapping[str, LastAudit]


def detach(home: Home, tables: Sequence[Attached], now: int, audit: Audit | None, *, with_findings: bool = False) -> Outcome:
    """Seal what is captured, audit, remove capture so that the schema is as before, and journal it; the entries stay.

    Where the audit finds something nothing is removed or journalled, unless `with_findings`. Without an `audit` databases are left
    alone, for those that are gone for good; the journal then says that none was made.
    """
    if audit is None:
        for table in tables:
            _journal(home, table, None, now)
        return Outcome(True, {})
    if not tables:
        return Outcome(True, {})
    try:
        seal(home, now, tables=tables)
    except SourceError as error:
        raise SourceError(f"{error}; where it is gone for good: careseal detach --gone") from error
    result = audit(tables)
    audits = {table.name: _last_audit(home, table, result) for table in tables}
    if not with_findings and any(last.findings for last in audits.values()):
        return Outcome(False, audits)
    audited = home.journal.size
    for table in tables:
        if table.options.capture == "triggers":
            with closing(open_source(table.source)) as source:
                _remove_capture(home, table, source, now, audited)
        _journal(home, table, audits[table.name], now)
    return Outcome(True, audits)


def _last_audit(home: Home, table: Attached, result: AuditResult) -> LastAudit:
    """What an audit says of one table. Capture that an earlier run removed before it was killed is no finding."""
    found = [f for f in result.findings if f.table in (table.name, None) and f.kind not in WARNINGS]
    if home.store.meta(_removing(table)):
        found = [f for f in found if f.kind is not FindingKind.CAPTURE_DISABLED]
    return LastAudit(result.entry, tuple(found))


def _removing(table: Attached) -> str:
    return f"removing capture of {table.id}"


def _remove_capture(home: Home, table: Attached, source: Source, now: int, audited: int) -> None:
    """What comes in after the audit is sealed while nobody can write to the table, so that none of it goes with the queue."""

    def last() -> None:
        seal_last(home, table, source, now)
        sealed = (decode_entry(body) for part in home.journal.bodies(audited, home.journal.size) for body in part)
        if any(isinstance(entry, RecordEntry) and entry.table == table.id and entry.flags & VIOLATIONS for entry in sealed):
            raise LedgerError(f"{table.name} was changed against its rules while it was audited, and stays attached: run the command again")
        with home.store.transaction():
            home.store.set_meta(_removing(table), "1")

    source.remove_capture(table.shape, last)


def _journal(home: Home, table: Attached, audit: LastAudit | None, now: int) -> None:
    about: dict[str, object] = {"id": table.id, "table": table.name, "audit": None, "findings": None, "findings_sha256": None}
    if audit is not None:
        about |= {"audit": audit.entry, "findings": dict(audit.counts), "findings_sha256": audit.digest}
    # Its queue is gone, and with it what remained to be deleted from it.
    with home.store.transaction() as db:
        db.execute("DELETE FROM to_consume WHERE tbl=?", (table.id,))
    with home.batch() as batch:
        batch.add_event(Kind.CONFIGURATION, {"detach": about}, now)
        batch.put("emptied", table.id)
        replace(table, sealed=True, detached=True).put(batch, home.keyring)
