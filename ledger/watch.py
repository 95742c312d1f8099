"""Findings over the rounds of a rolling audit: each is news when it is new or changed, and once more when it is gone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from ledger.findings import WARNINGS, Finding


@dataclass(frozen=True, slots=True)
class News:
    """What a round brought; `open` findings are known after it."""

    new: list[Finding]
    changed: list[Finding]
    gone: list[Finding]
    open: int


class Watch:
    """The findings that are open, as far as they were met since it was made: what it does not know is new to it."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Finding] = {}
        self._met: set[Hashable] = set()

    def take(self, findings: Iterable[Finding], *, ends_cycle: bool) -> News:
        """Take in the findings of a round. `ends_cycle`: with it, all rows and entries were audited since the last such round.

        A round sees a part of all rows, so a finding is gone when a whole cycle did not meet it. Rows with several findings may
        show one of them in one round and another in the next: these are findings of their own.
        """
        new, changed = [], []
        for finding in findings:
            name = _identity(finding)
            known = self._open.get(name)
            if known is None:
                new.append(finding)
            elif _content(known) != _content(finding):
                changed.append(finding)
            self._open[name] = finding
            self._met.add(name)
        gone = []
        if ends_cycle:
            gone = [finding for name, finding in self._open.items() if name not in self._met]
            self._open = {name: finding for name, finding in self._open.items() if name in self._met}
            self._met = set()
        return News(new, changed, gone, len(self._open))


def _identity(finding: Finding) -> Hashable:
    """What makes two findings the same: kind and row; those about the journal, of which there may be many, go by their words."""
    about_journal = finding.table is None and finding.kind not in WARNINGS
    return finding.kind, finding.table, tuple(finding.key.items()), finding.detail if about_journal else ""


def _content(finding: Finding) -> Hashable:
    """What is told of a finding anew where it differs; the age of entries that wait, in words, always does."""
    about_table = finding.table is not None and not finding.key
    return finding.columns, finding.version, finding.author, finding.detail if about_table else ""
