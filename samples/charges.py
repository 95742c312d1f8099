"""Charges, which Synthea leaves out: what was done at a visit, priced."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from samples.chart import bed_of
from samples.draw import chance, draw
from samples.glossary import label
from samples.laboratory import Result
from samples.people import SELF_PAYING, insurance_of
from samples.pharmacy import Fill
from samples.row import Row
from samples.site import SETTINGS, Site, Visit, capped

_REGISTRATION = {
    "outpatient": Decimal("25.00"),
    "emergency": Decimal("40.00"),
    "inpatient": Decimal("100.00"),
    "home": Decimal("60.50"),
}
_BED = Decimal("86.5000")  # yuan a day
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class _Item:
    kind: str
    code: str
    name: str
    quantity: Decimal
    price: Decimal  # yuan per unit
    at: datetime


def charge_rows(site: Site, results: list[Result], fills: list[Fill]) -> list[Row]:
    """One bill per visit; its lines are registration, bed, procedures, laboratory reports and drugs, in this order."""
    results_at: defaultdict[int, list[Result]] = defaultdict(list)
    for result in results:
        results_at[result.visit.id].append(result)
    fills_at: defaultdict[int, list[Fill]] = defaultdict(list)
    for fill in fills:
        fills_at[fill.prescription.visit.id].append(fill)
    numbers: Counter[str] = Counter()
    rows: list[Row] = []
    for visit in site.visits:
        series = f"B{visit.encounter.start:%y%m%d}"
        numbers[series] += 1
        bill = f"{series}{numbers[series]:04d}"
        items = [*_services(visit), *_reports(results_at[visit.id]), *_drugs(fills_at[visit.id])]
        rows.extend(_charge_row(visit, bill, line, item) for line, item in enumerate(items, start=1))
    return rows


def _services(visit: Visit) -> Iterator[_Item]:
    encounter = visit.encounter
    setting = SETTINGS[encounter.setting]
    yield _Item("registration", f"REG-{setting}", "挂号诊察费", Decimal(1), _REGISTRATION[setting], encounter.start)
    if bed_of(visit):
        days = Decimal((encounter.end.date() - encounter.start.date()).days + 1)
        yield _Item("bed", f"BED-{visit.dept}", "床位费", days, _BED, capped(encounter.end))
    for procedure in encounter.procedures:
        price = Decimal(500 + draw(60_000, "procedure price", procedure.concept.code)) / 100
        yield _Item("procedure", procedure.concept.code, label(procedure.concept), Decimal(1), price, procedure.start)


def _reports(results: list[Result]) -> Iterator[_Item]:
    for report in {r.accession: r for r in results if r.observation.category == "laboratory"}.values():
        price = Decimal(800 + draw(12_000, "panel price", report.observation.report_name)) / 100
        yield _Item("laboratory", report.accession, report.observation.report_name, Decimal(1), price, report.observation.at)


def _drugs(fills: list[Fill]) -> Iterator[_Item]:
    for fill in fills:
        drug = fill.prescription.order.concept
        quantity = fill.prescription.quantity - (fill.returned or 0)
        yield _Item("drug", drug.code, label(drug), quantity, fill.price, fill.at)


def _charge_row(visit: Visit, bill: str, line: int, item: _Item) -> Row:
    amount = (item.quantity * item.price).quantize(_CENT, ROUND_HALF_UP)
    payer = insurance_of(visit.person)
    share = Decimal(0) if payer == SELF_PAYING else Decimal(50 + draw(5, "share", payer, item.kind) * 10) / 100
    paid = capped(max(visit.encounter.end, item.at) + timedelta(minutes=5 + draw(120, "paid", bill)))
    return {
        "bill_no": bill,
        "line_no": line,
        "visit_id": visit.id,
        "patient_id": visit.patient_id,
        "kind": item.kind,
        "item_code": item.code,
        "item_name": item.name,
        "quantity": item.quantity,
        "unit_price": item.price,
        "amount": amount,
        "insured_amount": (amount * share).quantize(_CENT, ROUND_HALF_UP),
        "charged_at": item.at,
        "paid_at": None if visit.closed is None or chance(3, "unpaid", bill) else paid,
    }
