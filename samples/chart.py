"""The rows of the chart itself: visits, diagnoses, procedures, days in bed, and the appointments that led to visits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from samples.bundles import Condition, Encounter
from samples.draw import chance, draw, pick
from samples.glossary import chinese, icd10
from samples.people import Staff
from samples.row import Row
from samples.site import END, SETTINGS, Site, Visit

_WALK_IN = ("ER", "URG")
_CHANNELS = ("wechat", "phone", "kiosk", "window")
_BED_REMARKS = ("夜间疼痛，已处理", "禁食水", "家属陪护")
_BOOKING_NOTES = ("需空腹", "携带既往检查报告", "轮椅", "由家属代约")
_DEPOSITS = (Decimal("0.00"), Decimal("10.00"), Decimal("20.50"), Decimal("50.00"))


def visit_rows(site: Site, staff: Staff) -> list[Row]:
    """The visits, oldest first."""
    return [
        {
            "visit_id": visit.id,
            "patient_id": visit.patient_id,
            "dept_code": visit.dept,
            "attending_id": staff.doctors[visit.doctor.npi],
            "visit_class": SETTINGS[visit.encounter.setting],
            "visit_type": visit.encounter.concept.display,
            "visit_type_zh": chinese(visit.encounter.concept),
            "reason_code": visit.encounter.reason.code if visit.encounter.reason else None,
            "reason": visit.encounter.reason.display if visit.encounter.reason else None,
            "reason_zh": chinese(visit.encounter.reason),
            "status": "closed" if visit.closed else "open",
            "started_at": visit.encounter.start,
            "ended_at": visit.ended,
            "closed_at": visit.closed,
            "bed_no": bed_of(visit),
            "disposition": visit.encounter.disposition,
        }
        for visit in site.visits
    ]


def bed_of(visit: Visit) -> str | None:
    """The bed of an inpatient."""
    return f"{visit.dept}-{1 + draw(40, 'bed', visit.id):02d}" if visit.encounter.setting == "IMP" else None


def diagnosis_rows(site: Site, staff: Staff) -> list[Row]:
    """The diagnoses of every visit; the first is the principal one."""
    return [
        {
            "visit_id": visit.id,
            "seq": seq,
            "kind": "principal" if seq == 1 else "secondary",
            "code": condition.concept.code,
            "icd10": icd10(condition.concept),
            "display": condition.concept.display,
            "display_zh": chinese(condition.concept),
            "active": condition.active,
            "onset_date": condition.onset,
            "abated_on": condition.abated,
            "recorded_at": condition.recorded,
            "recorded_by": staff.doctors[visit.doctor.npi],
        }
        for visit in site.visits
        for seq, condition in enumerate(diagnoses_of(visit.encounter), start=1)
    ]


def diagnoses_of(encounter: Encounter) -> list[Condition]:
    """What was recorded, diseases before social findings; the reason of the visit first where it is another disease."""
    recorded = sorted(encounter.conditions, key=lambda c: icd10(c.concept) is None)
    reason = encounter.reason
    if reason and icd10(reason) and reason.code not in {c.concept.code for c in recorded}:
        recorded.insert(0, Condition(reason, True, encounter.start.date(), None, encounter.start))
    return recorded


def procedure_rows(site: Site, staff: Staff) -> list[Row]:
    """What was done at every visit, vaccinations included, in order of time."""
    return [
        {
            "visit_id": visit.id,
            "seq": seq,
            "code_system": procedure.concept.system,
            "code": procedure.concept.code,
            "display": procedure.concept.display,
            "display_zh": chinese(procedure.concept),
            "indication": procedure.reason.display if procedure.reason else None,
            "performed_by": staff.doctors[visit.doctor.npi],
            "started_at": procedure.start,
            "ended_at": procedure.end if procedure.end > procedure.start else None,
        }
        for visit in site.visits
        for seq, procedure in enumerate(visit.encounter.procedures, start=1)
    ]


def bed_day_rows(site: Site, staff: Staff) -> list[Row]:
    """One row per calendar day in hospital, the days of admission and discharge included."""
    rows: list[Row] = []
    for visit in site.visits:
        bed = bed_of(visit)
        if bed is None:
            continue
        day = visit.encounter.start.date()
        while day <= visit.encounter.end.date():
            about = (visit.id, day)
            rows.append(
                {
                    "visit_id": visit.id,
                    "day": day,
                    "bed_no": bed,
                    "nursing_level": 1 + draw(3, "nursing", *about),
                    "nurse_id": staff.on_duty("nurse", *about),
                    "temperature": Decimal(362 + draw(14, "temperature", *about)) / 10,
                    "remark": pick(_BED_REMARKS, "remark", *about) if chance(12, "note", *about) else None,
                }
            )
            day += timedelta(days=1)
    return rows


def appointment_rows(site: Site) -> list[Row]:
    """Most visits to a clinic were booked; a few bookings before them were cancelled or missed."""
    bookings = sorted(_bookings(site), key=lambda row: (str(row["booked_at"]), str(row["scheduled_at"]), str(row["visit_id"])))
    return [_numbered(number, row) for number, row in enumerate(bookings, start=1)]


def _bookings(site: Site) -> Iterator[Row]:
    for visit in site.visits:
        about = (site.number, visit.encounter.id)
        if visit.encounter.setting != "AMB" or visit.dept in _WALK_IN or not chance(88, "booked", *about):
            continue
        start = visit.encounter.start
        slot = start.replace(minute=start.minute // 30 * 30, second=0)
        yield _booking(visit, slot, "attended")
        if chance(12, "missed before", *about):
            earlier = slot - timedelta(days=7 + draw(21, "earlier", *about))
            yield _booking(visit, earlier, pick(("cancelled", "no_show"), "missed", *about))


def _numbered(number: int, row: Row) -> Row:
    return {"appointment_id": number, **row}


def _booking(visit: Visit, slot: datetime, status: str) -> Row:
    about = (visit.id, status)
    booked = slot - timedelta(days=1 + draw(20, "booked days", *about), minutes=draw(480, "booked minute", *about))
    return {
        "patient_id": visit.patient_id,
        "dept_code": visit.dept,
        "visit_id": visit.id if status == "attended" else None,
        "booked_at": booked,
        "scheduled_at": slot,
        "channel": pick(_CHANNELS if slot.year > END.year - 10 else ("phone", "window"), "channel", *about),
        "status": status,
        "deposit": pick(_DEPOSITS, "deposit", *about),
        "note": pick(_BOOKING_NOTES, "note", *about) if chance(25, "has note", *about) else None,
    }
