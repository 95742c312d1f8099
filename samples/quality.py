"""Quality events: what a quality office would have found in the chart. Each follows from rows of the same hospital."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from samples.documents import Document
from samples.draw import chance, draw
from samples.glossary import label
from samples.laboratory import Result
from samples.people import Staff
from samples.row import Json, Row
from samples.site import END, Site, Visit, capped

_NOTIFY = timedelta(minutes=30)  # a critical value must reach the ward within
_SIGN = timedelta(hours=24)  # a document must be signed within
_OVERDUE = timedelta(days=30)  # a chart must be closed within
_RETURN = timedelta(hours=72)
_READMISSION = timedelta(days=31)
_FALL_SCORE, _FALL_HIGH = "59460-6", 50  # LOINC: Morse fall scale


@dataclass(frozen=True, slots=True)
class _Event:
    at: datetime
    kind: str
    severity: int  # 1 note, 2 defect, 3 danger to the patient
    visit: Visit
    summary: str
    details: Json


def quality_rows(site: Site, results: list[Result], documents: list[Document], staff: Staff) -> list[Row]:
    """The events, oldest first, numbered within their day."""
    events = [*_results(results), *_returns(site), *_charts(site), *_signatures(documents)]
    numbers: Counter[object] = Counter()
    rows: list[Row] = []
    for event in sorted(events, key=lambda e: (e.at, e.visit.id, e.kind)):
        day = event.at.date()
        numbers[day] += 1
        rows.append({"event_date": day, "seq": numbers[day], **_event_row(event, staff)})
    return rows


def _event_row(event: _Event, staff: Staff) -> Row:
    about = (event.visit.id, event.kind, event.at)
    closed = event.at + timedelta(days=3 + draw(40, "closing", *about))
    is_closed = closed < END and not chance(20, "left open", *about)
    return {
        "kind": event.kind,
        "severity": event.severity,
        "visit_id": event.visit.id,
        "patient_id": event.visit.patient_id,
        "summary_zh": event.summary,
        "details": event.details,
        "raised_by": None if event.kind == "critical_value" else staff.on_duty("quality", *about),
        "raised_at": event.at,
        "closed_at": closed if is_closed else None,
        "conclusion": "已整改，科室已组织学习。" if is_closed else None,
    }


def _results(results: list[Result]) -> Iterator[_Event]:
    for result in results:
        observation = result.observation
        if result.flag in ("HH", "LL"):
            minutes = 4 + draw(50, "notified", result.accession, observation.concept.code)
            late = timedelta(minutes=minutes) > _NOTIFY
            what = f"{label(observation.concept)} {observation.value} {observation.unit}"
            yield _Event(
                at=capped(result.reported + timedelta(minutes=minutes)),
                kind="critical_value",
                severity=3 if late else 2,
                visit=result.visit,
                summary=f"危急值：{what}，{minutes}分钟后通知{'（超时）' if late else ''}",
                details={
                    "accession_no": result.accession,
                    "item_code": observation.concept.code,
                    "value": str(observation.value),
                    "minutes_to_notify": minutes,
                    "late": late,
                },
            )
        elif observation.concept.code == _FALL_SCORE and observation.value is not None and observation.value >= _FALL_HIGH:
            summary = f"跌倒高风险：Morse评分{observation.value}分"
            yield _Event(result.reported, "fall_risk", 2, result.visit, summary, {"score": observation.value, "bed_rails": None})


def _returns(site: Site) -> Iterator[_Event]:
    """Emergency visits soon after another visit, and admissions soon after a discharge."""
    last: dict[str, Visit] = {}
    discharged: dict[str, Visit] = {}
    for visit in site.visits:
        start, setting = visit.encounter.start, visit.encounter.setting
        before = last.get(visit.patient_id)
        if setting == "EMER" and before and timedelta(0) <= start - before.encounter.end <= _RETURN:
            details: Json = {"previous_visit": before.id, "hours": (start - before.encounter.end) // timedelta(hours=1)}
            yield _Event(start, "return_within_72h", 2, visit, "72小时内非计划再次急诊就诊", details)
        before = discharged.get(visit.patient_id)
        if setting == "IMP" and before and timedelta(0) <= start - before.encounter.end <= _READMISSION:
            planned = before.dept == visit.dept == "ONC"
            details = {"previous_visit": before.id, "days": (start - before.encounter.end).days, "planned": planned}
            yield _Event(start, "readmission_within_31d", 1 if planned else 2, visit, "31天内再次住院", details)
        last[visit.patient_id] = visit
        if setting == "IMP":
            discharged[visit.patient_id] = visit


def _charts(site: Site) -> Iterator[_Event]:
    for visit in site.visits:
        due = visit.encounter.end + _OVERDUE
        if visit.closed is None and due < END:
            details: Json = {"due": due.date().isoformat(), "reminders": [due.date().isoformat()]}
            yield _Event(due, "chart_overdue", 1, visit, "病历逾期未归档", details)


def _signatures(documents: list[Document]) -> Iterator[_Event]:
    for document in documents:
        if document.signed and document.signed - document.created > _SIGN:
            hours = (document.signed - document.created) // timedelta(hours=1)
            details: Json = {"document_id": str(document.id), "hours": hours, "doc_type": document.kind[0]}
            summary = f"{document.kind[2]}签名超时（{hours}小时）"
            yield _Event(document.signed, "late_signature", 1, document.visit, summary, details)
