"""Which of Synthea's patients and encounters belong to a hospital, and what the hospital calls them.

Three hospitals make a region: sites 1 to 3, 4 to 6 and so on. In each region every encounter took place at exactly one hospital;
patients with much to treat go to all three, others to two or one, so that each hospital has 16 of the 26 patients and shares at
least nine with each neighbour. Every hospital gives its own numbers to patients and visits. Other regions are other distributions
of the same encounters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from samples.bundles import Archive, Doctor, Encounter, Person
from samples.draw import chance, draw, pick

END = datetime(2026, 1, 1, tzinfo=UTC)
"""The day the population ends. Nothing in a sample hospital happens later; only expiry dates of drugs may lie beyond."""

HOSPITALS = ("临江市第一人民医院", "临江市中心医院", "临江大学附属医院")
SETTINGS = {"AMB": "outpatient", "EMER": "emergency", "IMP": "inpatient", "HH": "home"}

_EVERYWHERE, _TWO = 6, 10  # of the patients, heaviest first: those of all three hospitals, those of two; the rest have one

_DEPARTMENT_WORDS = (
    ("OBG", ("prenatal", "gynecology", "obstetric", "postnatal", "pregnan", "contracept", "miscarriage", "uterine")),
    ("DEN", ("gingiv", "dental", "molar", "teeth", "tooth")),
    ("ONC", ("neoplasm", "cancer", "carcinoma", "malignant")),
    ("PAL", ("hospice", "skilled nursing", "domiciliary")),
    ("SUR", ("surg", "transplant", "append", "lacerat", "postoperative", "steriliz", "bypass")),
    ("PSY", ("drug abuse", "drug rehab", "anxiety", "alzheimer", "sleep")),
    ("CAR", ("heart", "hypertens", "infarct", "coronary", "lipid")),
    ("PED", ("well child", "childhood")),
    ("HEC", ("general examination", "reevaluation", "screening")),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """One encounter under this hospital's numbers.

    `ended` is None where nobody signed the patient out, `closed` while the chart is open.
    """

    id: int
    patient_id: str
    person: Person
    encounter: Encounter
    doctor: Doctor
    dept: str
    ended: datetime | None
    closed: datetime | None


@dataclass(frozen=True, slots=True)
class Site:
    """A hospital's own view: its patients by local number, and its visits, oldest first."""

    number: int
    name: str
    patients: dict[str, Person]
    visits: tuple[Visit, ...]


def site_of(archive: Archive, number: int) -> Site:
    """The hospital `number` (1 or more); always the same one for the same number."""
    registered = _hospitals_of(archive, (number - 1) // 3)
    here = (number - 1) % 3
    encounters = [e for e in archive.encounters if _place(e, registered[e.person], number) == here]
    seen = {e.person for e in encounters}
    persons = [person for person in archive.persons if person.id in seen]
    local = {person.id: (local_id, person) for local_id, person in _local_ids(persons, number)}
    visits = tuple(_visit(n, number, e, archive.doctors[e.npi], *local[e.person]) for n, e in enumerate(encounters, start=1))
    return Site(number, HOSPITALS[here], dict(local.values()), visits)


def capped(at: datetime) -> datetime:
    """The time, but not after `END`."""
    return min(at, END)


def age_at(person: Person, at: datetime) -> int:
    """Completed years."""
    return at.year - person.birth.year - ((at.month, at.day) < (person.birth.month, person.birth.day))


def _hospitals_of(archive: Archive, region: int) -> dict[str, tuple[int, ...]]:
    weight: Counter[str] = Counter()
    for e in archive.encounters:
        weight[e.person] += 1 + len(e.observations) + len(e.procedures)
    heaviest_first = sorted(weight, key=lambda person: (-weight[person], person))
    turn = draw(3, "region", region)
    hospitals: dict[str, tuple[int, ...]] = {}
    for rank, person in enumerate(heaviest_first):
        if rank < _EVERYWHERE:
            hospitals[person] = (0, 1, 2)
        elif rank < _EVERYWHERE + _TWO:
            hospitals[person] = tuple(h for h in range(3) if h != (rank - _EVERYWHERE + turn) % 3)
        else:
            hospitals[person] = ((rank - _EVERYWHERE - _TWO + turn) % 3,)
    return hospitals


def _place(encounter: Encounter, hospitals: tuple[int, ...], number: int) -> int:
    return pick(hospitals, "place", (number - 1) // 3, encounter.id)


def _local_ids(persons: list[Person], number: int) -> list[tuple[str, Person]]:
    """Numbers as a registration desk gives them: in an order of the hospital's own, with gaps."""
    ordered = sorted(persons, key=lambda person: draw(2**63, "registration", number, person.id))
    letter = chr(ord("A") + number % 26)
    return [
        (f"{letter}{100_000 + 137 * rank + draw(137, 'local number', number, person.id)}", person)
        for rank, person in enumerate(ordered, start=1)
    ]


def _visit(n: int, number: int, encounter: Encounter, doctor: Doctor, patient_id: str, person: Person) -> Visit:
    about = ("visit", number, encounter.id)
    days = 2 + draw(8, "closing", *about)
    forgotten = encounter.start.year >= END.year - 3 and chance(8, "forgotten", *about)
    closed = encounter.end + timedelta(days=days, minutes=draw(600, "closing minute", *about))
    return Visit(
        id=(1 + number % 900) * 1_000_000 + n,
        patient_id=patient_id,
        person=person,
        encounter=encounter,
        doctor=doctor,
        dept=_department(encounter, person),
        ended=None if chance(5, "sign-out", *about) else encounter.end,
        closed=None if forgotten or closed > END else closed,
    )


def _department(encounter: Encounter, person: Person) -> str:
    if encounter.setting == "EMER":
        return "ER"
    words = f"{encounter.concept.display} {encounter.reason.display if encounter.reason else ''}".lower()
    for dept, marks in _DEPARTMENT_WORDS:
        if any(mark in words for mark in marks):
            return "PED" if dept == "HEC" and age_at(person, encounter.start) < 14 else dept
    if "urgent" in words:
        return "URG"
    return "MED" if encounter.setting == "IMP" else "GEN"
