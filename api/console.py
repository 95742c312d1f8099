"""What commands print: lines for people, JSON for programs, progress bars where a person waits."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from api.language import _, reported
from ledger.findings import Finding, FindingKind, IntactAt

if TYPE_CHECKING:
    from anchoring.verify import Verified
    from ledger.audit import AuditResult
    from ledger.configuration import Former
    from ledger.detach import LastAudit
    from ledger.mirror_check import MirrorFault

Rows = Callable[[str, int], None]
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
MOST_FINDINGS = 100


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_json_line(value: object) -> None:
    """One JSON document in one line on standard output, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str, **values: object) -> None:
    """A line for people; `text` is a message id with {names}."""
    out.print(_(text).format(**values), markup=False)


@contextmanager
def progress(shown: bool) -> Iterator[Rows]:
    """A Rows callback that draws what is being done, on standard error, when that is a terminal."""
    if not shown or not err.is_terminal:
        yield lambda table, rows: None
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
        console=err,
    )
    tasks: dict[str, object] = {}
    with bar:

        def advance(table: str, rows: int) -> None:
            if table not in tasks:
                own = {"journal": _("journal"), "mirror": _("mirror")}
                tasks[table] = bar.add_task(own.get(table, table), total=None)
            bar.advance(tasks[table], rows)  # type: ignore[arg-type]

        yield advance


def iso(seconds: float) -> str:
    """Seconds since 1970 UTC as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def finding_json(finding: Finding) -> dict[str, object]:
    """A finding as `verify --json` gives it."""
    shown: dict[str, object] = {
        "id": None if finding.id is None else finding.id.hex(),
        "kind": finding.kind.value,
        "table": finding.table,
        "key": finding.key,
        "columns": list(finding.columns),
        "version": finding.version,
        "author": finding.author,
        "intact_at": intact_json(finding.intact_at),
        "detail": finding.detail,
        "window": finding.window,
    }
    if finding.before is not None or finding.after is not None:
        shown |= {"before": finding.before, "after": finding.after}
    return shown


def intact_json(intact: IntactAt | None) -> dict[str, object] | None:
    """`intact_at` as JSON; the time is ISO 8601 UTC."""
    return None if intact is None else {"size": intact.size, "root": intact.root.hex(), "block": intact.block, "time": iso(intact.time)}


def audit_json(verified: Verified, seconds: float, *, groups_only: bool = False) -> dict[str, object]:
    """The document of `verify --json`; with `groups_only`, findings that are alike stand in it as their group only."""
    from api.findings_view import findings_json

    result = verified.audit
    return {
        "ok": result.ok,
        "rows": result.rows,
        "pending": result.pending,
        "seconds": round(seconds, 3),
        "size": result.size,
        "externally_anchored": verified.external,
        "mirror_faults": mirror_json(verified.mirror),
        "tables": tables_json(result),
        **findings_json(result, groups_only=groups_only),
        "former": former_json(result),
    }


def tables_json(result: AuditResult) -> list[dict[str, object]]:
    """An audit's tables as JSON."""
    return [
        {"table": t.name, "rows": t.rows, "pending": t.pending, "findings": t.findings, "standing": t.standing} for t in result.tables
    ]


def former_json(result: AuditResult) -> list[dict[str, object]]:
    """Earlier attachments of an audit's tables as JSON."""
    return [{"table": f.table, "source_table": f.source_table, "entry": f.entry, "findings": f.findings} for f in result.former]


def last_audits_json(audits: Mapping[str, LastAudit]) -> list[dict[str, object]]:
    """What the audits before a detachment found, as JSON."""
    return [
        {"table": name, "audit": last.entry, "findings": dict(last.counts), "findings_sha256": last.digest} for name, last in audits.items()
    ]


def print_last_audits(audits: Mapping[str, LastAudit]) -> None:
    """The open findings of tables that are to be detached, for people."""
    # What is about the journal is in the list of every table.
    found = {id(finding): finding for last in audits.values() for finding in last.findings}
    for finding in list(found.values())[:MOST_FINDINGS]:
        print_finding(finding)
    for name, last in audits.items():
        if last.findings:
            say("{table}: {n} open findings ({kinds}), SHA-256 {digest}",
                table=name, n=len(last.findings), kinds=_counted(last.counts), digest=last.digest)  # fmt: skip


def _print_former(former: Sequence[Former]) -> None:
    for ended in former:
        if ended.findings is None:
            say("an earlier attachment of {table} ended at journal entry {entry} without an audit", table=ended.table, entry=ended.entry)
        elif not ended.findings:
            say("an earlier attachment of {table} ended at journal entry {entry} without open findings",
                table=ended.table, entry=ended.entry)  # fmt: skip
        else:
            say("an earlier attachment of {table} ended at journal entry {entry} with {n} open findings ({kinds})",
                table=ended.table, entry=ended.entry, n=sum(ended.findings.values()), kinds=_counted(ended.findings))  # fmt: skip


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_(kind.upper())} {count}" for kind, count in counts.items())


def mirror_json(faults: Sequence[MirrorFault]) -> list[dict[str, object]]:
    """What is wrong with the mirror, as JSON."""
    return [{"fault": fault.fault.value, "first": fault.first, "last": fault.last} for fault in faults]


def print_mirror_faults(faults: Sequence[MirrorFault]) -> None:
    """What is wrong with the mirror, and what to do, for people."""
    for fault in faults[:MOST_FINDINGS]:
        say("warning: batches {first} to {last} of the mirror: {fault}", first=fault.first, last=fault.last, fault=_(fault.fault.value))
    if faults:
        say("a restore would fail there: copy these files back from another copy of the mirror, or start another mirror with "
            "careseal seal --new-mirror DIR")  # fmt: skip


def print_audit(verified: Verified, seconds: float) -> None:
    """An audit for people."""
    print_audited(verified.audit, seconds)
    print_mirror_faults(verified.mirror)
    if not verified.external:
        say("not externally anchored: give --since a receipt that was kept elsewhere to notice a rollback of home and chain together")
    print_outcome(verified.audit)


def print_audited(result: AuditResult, seconds: float) -> None:
    """What was audited, and the findings."""
    from api.findings_view import print_findings, print_resolved

    print_findings(result.findings, result.windows)
    rate = result.rows / seconds if seconds else 0
    say("{rows} rows in {tables} tables audited in {seconds:.2f} s ({rate:,.0f} rows/s), {pending} pending",
        rows=result.rows, tables=len(result.tables), seconds=seconds, rate=rate, pending=result.pending)  # fmt: skip
    if any(not table.author_known for table in result.tables):
        say("SQLite knows no users: writers cannot be told apart there")
    print_resolved(result.resolved)
    _print_former(result.former)


def print_outcome(result: AuditResult) -> None:
    """The last line: intact, or how many findings."""
    if result.ok:
        say("INTACT")
    else:
        say("{n} FINDINGS", n=sum(1 for f in result.findings if f.kind is not FindingKind.UNANCHORED))


def print_finding(finding: Finding, mark: str = "") -> None:
    """One finding, after a mark: kind, table, key, columns, and since when."""
    key = ", ".join(f"{name}={value}" for name, value in finding.key.items())
    parts = [mark] if mark else []
    parts += [f"{_(finding.kind.value.upper())}  {finding.table or _('journal')}" + (f" [{key}]" if key else "")]
    if finding.columns:
        parts.append(_("columns: {names}").format(names=", ".join(finding.columns)))
    if finding.author:
        parts.append(_("by {author}").format(author=finding.author))
    if finding.intact_at is not None:
        parts.append(_("intact until {time} (block {block})").format(time=iso(finding.intact_at.time), block=finding.intact_at.block))
    if finding.detail:
        parts.append(reported(finding.detail))
    out.print("  ".join(parts), markup=False, style="bold red" if finding.kind is not FindingKind.UNANCHORED else "yellow")
    for name in finding.columns:
        if finding.before is not None or finding.after is not None:
            before = _value(finding.before, name, _("no copy was kept"))
            after = _value(finding.after, name, _("gone"))
            say("    {name}: before: {before}  after: {after}", name=name, before=before, after=after)


def _value(row: dict[str, str | None] | None, name: str, absent: str) -> str:
    value = None if row is None else row.get(name)
    return absent if row is None else "NULL" if value is None else value


class Timer:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start
