"""Findings over rounds: told when they come, change and go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.findings import Finding, FindingKind, IntactAt
from ledger.watch import News, Watch

ROW = Finding(FindingKind.ALTERED, "visit", {"id": 1}, ("note",), 2, "dr_li", detail="why")
OTHER = replace(ROW, key={"id": 2})
JOURNAL = Finding(FindingKind.JOURNAL_ALTERED, None, detail="entry 5")
CAPTURE = Finding(FindingKind.CAPTURE_DISABLED, "visit", detail="trigger a is missing")
WAITING = Finding(FindingKind.UNANCHORED, None, detail="entries wait for their anchor for 60 s")


def whole(watch: Watch, *findings: Finding) -> News:
    return watch.take(findings, ends_cycle=True)


def part(watch: Watch, *findings: Finding) -> News:
    return watch.take(findings, ends_cycle=False)


def test_a_finding_is_new_once_and_gone_once() -> None:
    watch = Watch()
    assert whole(watch, ROW, OTHER) == News([ROW, OTHER], [], [], 2)
    assert whole(watch, ROW, OTHER) == News([], [], [], 2)
    assert whole(watch, OTHER) == News([], [], [ROW], 1)
    assert whole(watch, OTHER) == News([], [], [], 1)
    assert whole(watch, ROW, OTHER) == News([ROW], [], [], 2)


@pytest.mark.parametrize("change", [{"columns": ("ward",)}, {"version": 3}, {"author": None}], ids=str)
def test_a_finding_that_changed_is_told(change: dict[str, object]) -> None:
    watch = Watch()
    whole(watch, ROW)
    changed = replace(ROW, **change)  # type: ignore[arg-type]
    assert whole(watch, changed) == News([], [changed], [], 1)
    assert whole(watch, changed) == News([], [], [], 1)


@pytest.mark.parametrize("change", [{"intact_at": IntactAt(0, 9, b"r" * 32, 4, 1.0)}, {"detail": "also deleted"}], ids=str)
def test_what_may_differ_from_round_to_round_is_no_change(change: dict[str, object]) -> None:
    watch = Watch()
    whole(watch, ROW)
    assert whole(watch, replace(ROW, **change)) == News([], [], [], 1)  # type: ignore[arg-type]


def test_another_kind_of_the_same_row_is_another_finding() -> None:
    watch = Watch()
    whole(watch, ROW)
    gone = replace(ROW, kind=FindingKind.DELETED)
    assert whole(watch, gone) == News([gone], [], [ROW], 1)


def test_a_round_that_sees_a_part_ends_nothing() -> None:
    watch = Watch()
    assert part(watch, ROW) == News([ROW], [], [], 1)
    assert part(watch, OTHER) == News([OTHER], [], [], 2)
    assert whole(watch) == News([], [], [], 2)
    assert part(watch, ROW) == News([], [], [], 2)
    assert part(watch) == News([], [], [], 2)
    assert whole(watch) == News([], [], [OTHER], 1)


def test_findings_about_the_journal_go_by_their_words_and_those_about_a_table_change() -> None:
    watch = Watch()
    whole(watch, JOURNAL, CAPTURE)
    entry, trigger = replace(JOURNAL, detail="entry 6"), replace(CAPTURE, detail="trigger b is missing")
    assert whole(watch, JOURNAL, entry, trigger) == News([entry], [trigger], [], 3)


def test_the_age_of_entries_that_wait_is_no_news() -> None:
    watch = Watch()
    assert whole(watch, WAITING) == News([WAITING], [], [], 1)
    assert whole(watch, replace(WAITING, detail="entries wait for their anchor for 120 s")) == News([], [], [], 1)
    assert whole(watch) == News([], [], [replace(WAITING, detail="entries wait for their anchor for 120 s")], 0)
