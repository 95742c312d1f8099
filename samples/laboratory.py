"""Reference ranges and results: laboratory, vital signs, scores of questionnaires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from samples.bundles import Observation
from samples.draw import chance, draw
from samples.glossary import chinese
from samples.people import Staff
from samples.row import Row
from samples.site import END, Site, Visit, age_at, capped

# LOINC code, sex (A: any), from which age in years, low, high, critical low, critical high; "-" is none.
# Usual adult limits in the units Synthea reports in; they make the samples plausible and are not for treating anyone.
_RANGES = """
    2345-7  A 0 70 99 40 450        2339-0  A 0 70 99 40 450
    3094-0  A 0 7 20 - 100          6299-2  A 0 7 20 - 100
    2160-0  A 0 0.3 0.7 - 4.0       38483-4 A 0 0.3 0.7 - 4.0
    2160-0  F 14 0.59 1.04 - 7.4    38483-4 F 14 0.59 1.04 - 7.4
    2160-0  M 14 0.74 1.35 - 7.4    38483-4 M 14 0.74 1.35 - 7.4
    17861-6 A 0 8.6 10.3 6.0 13.0   49765-1 A 0 8.6 10.3 6.0 13.0
    2951-2  A 0 136 145 120 160     2947-0  A 0 136 145 120 160
    2823-3  A 0 3.5 5.1 2.8 6.2     6298-4  A 0 3.5 5.1 2.8 6.2
    2075-0  A 0 98 107 80 120       2069-3  A 0 98 107 80 120
    2028-9  A 0 22 29 10 40         20565-8 A 0 22 29 10 40
    4548-4  A 0 4.0 5.6 - -         33914-3 A 0 60 - - -
    2093-3  A 0 - 200 - -           2571-8  A 0 - 150 - -
    18262-6 A 0 - 100 - -           14959-1 A 0 - 30 - -
    2085-9  F 0 50 - - -            2085-9  M 0 40 - - -
    2885-2  A 0 6.0 8.3 - -         1751-7  A 0 3.5 5.0 1.5 -
    1975-2  A 0 0.1 1.2 - 15        6768-6  A 0 44 147 - -
    1742-6  A 0 7 56 - 1000         1920-8  A 0 10 40 - 1000
    6690-2  A 0 4.0 10.0 1.5 30     777-3   A 0 125 350 20 1000
    789-8   F 0 3.8 5.1 - -         789-8   M 0 4.3 5.8 - -
    718-7   F 0 11.5 15.0 6.0 20    718-7   M 0 13.0 17.5 6.0 20
    4544-3  F 0 35 45 - -           4544-3  M 0 40 50 - -
    787-2   A 0 82 100 - -          785-6   A 0 27 34 - -
    786-4   A 0 31.6 35.4 - -       2708-6  A 0 95 100 75 -
    2744-1  A 0 7.35 7.45 7.20 7.60 2703-7  A 0 80 100 40 -
    6301-6  A 0 0.8 1.2 - 5.0       3173-2  A 0 25 37 - 70
    5902-2  A 0 11.0 13.5 - 30      89579-7 A 0 - 26.2 - 100
    5811-5  A 0 1.005 1.030 - -     5803-2  A 0 4.6 8.0 - -
    8310-5  A 0 36.0 37.3 35.0 41.0 39156-5 A 18 18.5 23.9 - -
    8867-4  A 0 120 160 80 200      8867-4  A 0.08 100 150 60 190
    8867-4  A 1 80 130 50 180       8867-4  A 6 60 110 40 160
    8867-4  A 14 60 100 40 150
    9279-1  A 0 30 60 - -           9279-1  A 1 20 30 - -
    9279-1  A 6 12 25 - -           9279-1  A 14 12 20 8 35
    8480-6  A 14 90 139 70 220      8462-4  A 14 60 89 40 130
"""


@dataclass(frozen=True, slots=True)
class Range:
    """Limits of one item for one sex from one age on; None where there is no limit."""

    item: str
    sex: str
    from_age: Decimal
    low: Decimal | None
    high: Decimal | None
    critical_low: Decimal | None
    critical_high: Decimal | None

    def flag(self, value: Decimal) -> str | None:
        """LL, L, H, HH, or None inside the range."""
        for flag, beyond in (
            ("LL", self.critical_low is not None and value < self.critical_low),
            ("HH", self.critical_high is not None and value > self.critical_high),
            ("L", self.low is not None and value < self.low),
            ("H", self.high is not None and value > self.high),
        ):
            if beyond:
                return flag
        return None


def _ranges() -> Iterator[Range]:
    words = iter(_RANGES.split())
    for item, sex, age, *limits in zip(*[words] * 7, strict=True):
        yield Range(item, sex, Decimal(age), *(None if limit == "-" else Decimal(limit) for limit in limits))


RANGES = tuple(_ranges())


def range_rows() -> list[Row]:
    """The reference ranges, the same at every hospital."""
    return [
        {
            "item_code": r.item,
            "sex": r.sex,
            "from_age": r.from_age,
            "low": r.low,
            "high": r.high,
            "critical_low": r.critical_low,
            "critical_high": r.critical_high,
        }
        for r in RANGES
    ]


def range_for(item: str, sex: str, age: int) -> Range | None:
    """The range that counts for a patient: the one of the highest age reached, None where the item has none."""
    fitting = [r for r in RANGES if r.item == item and r.sex in ("A", sex) and r.from_age <= age]
    return max(fitting, key=lambda r: r.from_age, default=None)


@dataclass(frozen=True, slots=True)
class Result:
    """One observation as this hospital reported it. `verified` is None while a laboratory result waits for its release."""

    visit: Visit
    accession: str
    observation: Observation
    limits: Range | None
    flag: str | None
    reported: datetime
    verified: datetime | None


def results_of(site: Site) -> list[Result]:
    """Every result, in the order of visits; an accession number holds the results of one report."""
    results: list[Result] = []
    numbers: Counter[str] = Counter()
    for visit in site.visits:
        for report in _reports(visit.encounter.observations):
            series = report[0].category[0].upper() + f"{report[0].at:%y%m%d}"
            numbers[series] += 1
            accession = f"{series}{numbers[series]:04d}"
            results.extend(_result(visit, accession, observation) for observation in report)
    return results


def _reports(observations: tuple[Observation, ...]) -> list[list[Observation]]:
    """The results of each report; a second value of an item begins a new one."""
    reports: list[list[Observation]] = []
    for result in observations:
        last = reports[-1] if reports else []
        if not last or last[-1].report != result.report or result.concept.code in {r.concept.code for r in last}:
            reports.append([result])
        else:
            last.append(result)
    return reports


def _result(visit: Visit, accession: str, observation: Observation) -> Result:
    limits = range_for(observation.concept.code, visit.person.sex, age_at(visit.person, observation.at))
    flag = limits.flag(observation.value) if limits and observation.value is not None else None
    about = (visit.id, accession)
    if observation.category != "laboratory":
        entered = capped(observation.issued + timedelta(minutes=draw(5, "entry", *about)))
        return Result(visit, accession, observation, limits, flag, entered, None)
    reported = capped(observation.issued + timedelta(minutes=20 + draw(160, "turnaround", *about)))
    verified = None if _waits(visit, accession, reported) else capped(reported + timedelta(minutes=3 + draw(40, "check", *about)))
    return Result(visit, accession, observation, limits, flag, reported, verified)


def _waits(visit: Visit, accession: str, reported: datetime) -> bool:
    """Some laboratory reports are not released yet: of open charts, of the last weeks, a few of the last year."""
    pending = visit.closed is None or reported > END - timedelta(days=60)
    late = reported.year == END.year - 1
    return chance(40 if pending else 4 if late else 0, "unverified", visit.id, accession)


def result_rows(results: list[Result], staff: Staff) -> list[Row]:
    """The results as rows, in the same order."""
    return [_result_row(result, staff) for result in results]


def _result_row(result: Result, staff: Staff) -> Row:
    observation, limits, about = result.observation, result.limits, (result.visit.id, result.accession)
    return {
        "accession_no": result.accession,
        "item_code": observation.concept.code,
        "visit_id": result.visit.id,
        "patient_id": result.visit.patient_id,
        "category": observation.category,
        "panel": observation.report_name,
        "item_name": observation.concept.display,
        "item_name_zh": chinese(observation.concept),
        "value_num": observation.value,
        "value_text": observation.answer.display if observation.answer else None,
        "value_text_zh": chinese(observation.answer),
        "unit": observation.unit,
        "ref_low": limits.low if limits else None,
        "ref_high": limits.high if limits else None,
        "abnormal_flag": result.flag,
        "collected_at": observation.at,
        "reported_at": result.reported,
        "reported_by": staff.on_duty("technician" if observation.category == "laboratory" else "nurse", *about),
        "verified_at": result.verified,
        "verified_by": staff.on_duty("technician", "verifies", *about) if result.verified else None,
    }
