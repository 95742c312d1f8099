"""Drug orders, and the dispensing that Synthea leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from samples.bundles import Order
from samples.draw import chance, draw
from samples.glossary import chinese
from samples.people import Staff
from samples.row import Row
from samples.site import END, Site, Visit, capped

_ROUTES = (
    ("injection", ("injection", "injectable", "injector")),
    ("inhalation", ("inhal", "actuat")),
    ("topical", ("gel", "cream")),
    ("device", ("system",)),
)
_MONTH = 30  # days that one fill of a lasting treatment supplies


@dataclass(frozen=True, slots=True)
class Prescription:
    """A drug order under this hospital's number. `daily` is in units of the drug, None where the order does not say."""

    number: str
    visit: Visit
    order: Order
    daily: Decimal | None
    days: int | None
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Fill:
    """One time the pharmacy gave out what a prescription orders; of it `returned` units came back."""

    prescription: Prescription
    number: int
    at: datetime
    price: Decimal  # per unit, in yuan, four places
    returned: Decimal | None


def prescriptions_of(site: Site) -> list[Prescription]:
    """Every drug order of the hospital, in the order of visits."""
    numbers: Counter[str] = Counter()
    prescriptions: list[Prescription] = []
    for visit in site.visits:
        for order in visit.encounter.orders:
            series = f"RX{order.at:%y%m%d}"
            numbers[series] += 1
            prescriptions.append(_prescription(visit, order, f"{series}{numbers[series]:04d}"))
    return prescriptions


def _prescription(visit: Visit, order: Order, number: str) -> Prescription:
    daily = _daily_dose(order)
    if daily is None:
        return Prescription(number, visit, order, None, None, Decimal(1 + draw(3, "quantity", number)))
    lasting = order.active or draw(3, "lasting", order.concept.code) > 0
    days = _MONTH if lasting else 7
    return Prescription(number, visit, order, daily, days, daily * days)


def _daily_dose(order: Order) -> Decimal | None:
    if order.dosage is None or "doseAndRate" not in order.dosage or "timing" not in order.dosage:
        return None
    repeat = order.dosage["timing"]["repeat"]
    dose = Decimal(order.dosage["doseAndRate"][0]["doseQuantity"]["value"])
    return Decimal(dose * repeat["frequency"] / repeat["period"]) if repeat["periodUnit"] == "d" else None


def fills_of(prescriptions: list[Prescription]) -> list[Fill]:
    """What the pharmacy gave out: refills for lasting treatments, one fill for others, none for a few."""
    return [fill for prescription in prescriptions for fill in _fills(prescription)]


def _fills(prescription: Prescription) -> Iterator[Fill]:
    number = prescription.number
    if chance(4, "not collected", number):
        return
    refills = draw(4, "refills", number) if prescription.days == _MONTH else 0
    until = prescription.visit.person.died or END
    for fill in range(1, refills + 2):
        at = prescription.order.at + timedelta(days=_MONTH * (fill - 1), minutes=10 + draw(300, "minute", number, fill))
        if fill == 1 or at < until:
            returned = Decimal(1) if chance(3, "returned", number, fill) else None
            yield Fill(prescription, fill, at, _price(prescription.order), returned)


def _price(order: Order) -> Decimal:
    return Decimal(1_000 + draw(400_000, "drug price", order.concept.code)) / 10_000


def order_rows(prescriptions: list[Prescription], staff: Staff) -> list[Row]:
    """The prescriptions as rows, in the same order."""
    return [
        {
            "order_no": p.number,
            "visit_id": p.visit.id,
            "patient_id": p.visit.patient_id,
            "drug_code": p.order.concept.code,
            "drug_name": p.order.concept.display,
            "drug_name_zh": chinese(p.order.concept),
            "route": _route(p.order.concept.display.lower()),
            "daily_dose": p.daily,
            "as_needed": bool(p.order.dosage and p.order.dosage["asNeededBoolean"]),
            "days_supply": p.days,
            "quantity": p.quantity,
            "indication": p.order.reason.display if p.order.reason else None,
            "dosage": p.order.dosage,
            "status": "active" if p.order.active else "stopped",
            "ordered_at": p.order.at,
            "ordered_by": staff.doctors[p.visit.doctor.npi],
            "stopped_at": None if p.order.active else capped(p.order.at + timedelta(days=p.days or 1)),
        }
        for p in prescriptions
    ]


def _route(drug: str) -> str:
    return next((route for route, marks in _ROUTES if any(mark in drug for mark in marks)), "oral")


def dispensing_rows(fills: list[Fill], staff: Staff) -> list[Row]:
    """The fills as rows, in the same order, with the batch they came from."""
    return [_dispensing_row(fill, staff) for fill in fills]


def _dispensing_row(fill: Fill, staff: Staff) -> Row:
    drug, about = fill.prescription.order.concept.code, (fill.prescription.number, fill.number)
    batch = f"{fill.at:%y%m}{chr(65 + draw(26, 'batch', drug))}{draw(1000, 'batch', drug, fill.at.year, fill.at.month):03d}"
    return {
        "order_no": fill.prescription.number,
        "fill_no": fill.number,
        "quantity": fill.prescription.quantity,
        "returned": fill.returned,
        "unit_price": fill.price,
        "batch_no": batch,
        "expires_on": (fill.at + timedelta(days=180 + draw(720, "expiry", batch))).date(),
        "dispensed_at": fill.at,
        "dispensed_by": staff.on_duty("pharmacist", *about),
        "checked_by": None if chance(10, "unchecked", *about) else staff.on_duty("pharmacist", "checks", *about),
    }
