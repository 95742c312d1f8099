"""Reads the committed Synthea bundles into the few clinical facts the sample hospitals are made of.

The archive holds FHIR R4 batch bundles exactly as Synthea wrote them (origin and licence: `synthea/README.md`).
Numbers are read as decimals, digit for digit: FHIR decimals are significant (FHIR R4, datatypes, decimal).
"""

from __future__ import annotations

import base64
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import as_file, files
from typing import Any

SURVEY_CODE = "93025-5"  # LOINC: the PRAPARE questionnaire, one observation with 21 answers

Resource = dict[str, Any]  # one FHIR resource, as parsed


@dataclass(frozen=True, slots=True)
class Concept:
    """A code with its system's short name (`sct`, `loinc`, `rxnorm`, `cvx`, `other`) and its English display."""

    system: str
    code: str
    display: str


@dataclass(frozen=True, slots=True)
class Person:
    """One synthetic patient."""

    id: str
    given: str
    family: str
    sex: str  # "M" or "F"
    birth: date
    died: datetime | None
    phone: str | None
    marital: str
    address: str
    allergies: tuple[Concept, ...]


@dataclass(frozen=True, slots=True)
class Doctor:
    """One synthetic practitioner; `npi` is Synthea's number for it, in no real register."""

    npi: str
    given: str
    family: str
    sex: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One finding or disease, as recorded at an encounter; `abated` is None while it lasts."""

    concept: Concept
    active: bool
    onset: date
    abated: date | None
    recorded: datetime


@dataclass(frozen=True, slots=True)
class Observation:
    """One result: either `value` with `unit`, or `answer`. `report` tells results of one report from another's."""

    concept: Concept
    category: str
    at: datetime
    issued: datetime
    value: Decimal | None
    unit: str | None
    answer: Concept | None
    report: str
    report_name: str


@dataclass(frozen=True, slots=True)
class Procedure:
    """Something done to or for a patient; a vaccination begins and ends at once."""

    concept: Concept
    start: datetime
    end: datetime
    reason: Concept | None


@dataclass(frozen=True, slots=True)
class Order:
    """One medication request; `dosage` is FHIR's dosage instruction, unchanged."""

    concept: Concept
    at: datetime
    active: bool
    dosage: Resource | None
    reason: Concept | None


@dataclass(frozen=True, slots=True)
class Survey:
    """One filled-in questionnaire."""

    at: datetime
    answers: tuple[tuple[str, str], ...]  # question, answer


@dataclass(frozen=True, slots=True)
class Encounter:
    """One meeting of a patient with a hospital, and all that was recorded during it, oldest first."""

    id: str
    person: str
    setting: str  # HL7 v3 ActCode: AMB, EMER, IMP or HH
    concept: Concept
    reason: Concept | None
    start: datetime
    end: datetime
    npi: str
    disposition: str | None
    note: str
    conditions: tuple[Condition, ...]
    observations: tuple[Observation, ...]
    procedures: tuple[Procedure, ...]
    orders: tuple[Order, ...]
    surveys: tuple[Survey, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """All that the bundles hold; persons and encounters in a fixed order (by id, by start and id)."""

    persons: tuple[Person, ...]
    doctors: dict[str, Doctor]  # by npi
    encounters: tuple[Encounter, ...]


@cache
def load() -> Archive:
    """Return the whole archive. The result is the same at every call and must not be changed.

    Source: the bundles of `synthea/synthea-42.tar.xz`.
    """
    persons: list[Person] = []
    encounters: list[Encounter] = []
    doctors: dict[str, Doctor] = {}
    for resources in _bundles():
        if "Practitioner" in resources:
            doctors = {doctor.npi: doctor for doctor in map(_doctor, resources["Practitioner"])}
        elif "Patient" in resources:
            persons.append(_person(resources["Patient"][0], resources["AllergyIntolerance"]))
            encounters.extend(_encounters(persons[-1].id, resources))
    persons.sort(key=lambda person: person.id)
    encounters.sort(key=lambda encounter: (encounter.start, encounter.id))
    return Archive(tuple(persons), doctors, tuple(encounters))


def _bundles() -> Iterator[defaultdict[str, list[Resource]]]:
    """Each bundle's resources by their type."""
    with as_file(files("samples") / "synthea" / "synthea-42.tar.xz") as path, tarfile.open(path, "r:xz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None:
                continue
            grouped: defaultdict[str, list[Resource]] = defaultdict(list)
            for entry in json.loads(stream.read(), parse_float=Decimal)["entry"]:
                grouped[entry["resource"]["resourceType"]].append(entry["resource"])
            yield grouped


def _encounters(person: str, resources: defaultdict[str, list[Resource]]) -> Iterator[Encounter]:
    conditions = {r["id"]: _concept(r["code"]) for r in resources["Condition"]}
    medications = {r["id"]: _concept(r["code"]) for r in resources["Medication"]}
    reports = {
        _target(result): (report["id"], report["code"]["text"])
        for report in resources["DiagnosticReport"]
        for result in report.get("result", ())
    }
    notes = {
        _target(report["encounter"]): base64.b64decode(report["presentedForm"][0]["data"]).decode("utf-8")
        for report in resources["DiagnosticReport"]
        if "presentedForm" in report
    }
    of_type = {kind: _by_encounter(resources[kind]) for kind in ("Condition", "Observation", "Procedure", "MedicationRequest")}
    vaccinations = _by_encounter(resources["Immunization"])
    for r in resources["Encounter"]:
        key = r["id"]
        observations = of_type["Observation"][key]
        procedures = [_procedure(p, conditions) for p in of_type["Procedure"][key]]
        procedures += [_vaccination(v) for v in vaccinations[key]]
        yield Encounter(
            id=key,
            person=person,
            setting=r["class"]["code"],
            concept=_concept(r["type"][0]),
            reason=_concept(r["reasonCode"][0]) if "reasonCode" in r else None,
            start=_time(r["period"]["start"]),
            end=_time(r["period"]["end"]),
            npi=r["participant"][0]["individual"]["reference"].rpartition("|")[2],
            disposition=r["hospitalization"]["dischargeDisposition"]["text"] if "hospitalization" in r else None,
            note=notes[key].strip(),
            conditions=tuple(_condition(c) for c in of_type["Condition"][key]),
            observations=tuple(_sorted_results(o for r in observations for o in _observations(r, reports))),
            procedures=tuple(sorted(procedures, key=lambda p: p.start)),
            orders=tuple(_order(o, conditions, medications) for o in of_type["MedicationRequest"][key]),
            surveys=tuple(_survey(o) for o in observations if o["code"]["coding"][0]["code"] == SURVEY_CODE),
        )


def _by_encounter(resources: Iterable[Resource]) -> defaultdict[str, list[Resource]]:
    grouped: defaultdict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        grouped[_target(resource["encounter"])].append(resource)
    return grouped


def _sorted_results(results: Iterable[Observation]) -> list[Observation]:
    return sorted(results, key=lambda o: (o.at, o.report))


def _target(reference: Resource) -> str:
    return str(reference["reference"]).removeprefix("urn:uuid:")


_SYSTEMS = {
    "http://snomed.info/sct": "sct",
    "http://loinc.org": "loinc",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "rxnorm",
    "http://hl7.org/fhir/sid/cvx": "cvx",
}


def _concept(codeable: Resource) -> Concept:
    coding = codeable["coding"][0]
    return Concept(_SYSTEMS.get(coding["system"], "other"), coding["code"], coding["display"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(microsecond=0)


def _sex(resource: Resource) -> str:
    return "F" if resource["gender"] == "female" else "M"


def _person(r: Resource, allergies: list[Resource]) -> Person:
    name, address = r["name"][0], r["address"][0]
    phones = [t["value"] for t in r.get("telecom", ()) if t["system"] == "phone"]
    return Person(
        id=r["id"],
        given=" ".join(name["given"]),
        family=name["family"],
        sex=_sex(r),
        birth=date.fromisoformat(r["birthDate"]),
        died=_time(r["deceasedDateTime"]) if "deceasedDateTime" in r else None,
        phone=phones[0] if phones else None,
        marital=r["maritalStatus"]["text"],
        address=f"{address['line'][0]}, {address['city']}, {address['state']}",
        allergies=tuple(_concept(a["code"]) for a in allergies),
    )


def _doctor(r: Resource) -> Doctor:
    return Doctor(r["identifier"][0]["value"], " ".join(r["name"][0]["given"]), r["name"][0]["family"], _sex(r))


def _condition(r: Resource) -> Condition:
    active = r["clinicalStatus"]["coding"][0]["code"] == "active"
    onset = _time(r["onsetDateTime"]).date()
    abated = _time(r["abatementDateTime"]).date() if "abatementDateTime" in r else None
    return Condition(_concept(r["code"]), active, onset, abated, _time(r["recordedDate"]))


def _observations(r: Resource, reports: dict[str, tuple[str, str]]) -> Iterator[Observation]:
    """The results of one observation: itself, or its components where only these have values."""
    concept = _concept(r["code"])
    if concept.code == SURVEY_CODE:
        return
    at, category = _time(r["effectiveDateTime"]), r["category"][0]["coding"][0]
    report = reports.get(r["id"], (f"{category['code']} {at.isoformat()}", category["display"]))
    for part in r.get("component", [r]):
        quantity = part.get("valueQuantity")
        answer = _concept(part["valueCodeableConcept"]) if "valueCodeableConcept" in part else None
        if "valueString" in part:
            answer = Concept("other", "", part["valueString"])
        yield Observation(
            concept=_concept(part["code"]),
            category=category["code"],
            at=at,
            issued=_time(r["issued"]),
            value=Decimal(quantity["value"]) if quantity else None,
            unit=quantity["unit"] if quantity else None,
            answer=answer,
            report=report[0],
            report_name=report[1],
        )


def _survey(r: Resource) -> Survey:
    return Survey(_time(r["effectiveDateTime"]), tuple((c["code"]["text"], _answer(c)) for c in r["component"]))


def _answer(component: Resource) -> str:
    if "valueQuantity" in component:
        return f"{component['valueQuantity']['value']} {component['valueQuantity']['unit']}"
    if "valueCodeableConcept" in component:
        return str(component["valueCodeableConcept"]["text"])
    return str(component["valueString"])


def _procedure(r: Resource, conditions: dict[str, Concept]) -> Procedure:
    period = r["performedPeriod"]
    return Procedure(_concept(r["code"]), _time(period["start"]), _time(period["end"]), _reason(r, conditions))


def _vaccination(r: Resource) -> Procedure:
    at = _time(r["occurrenceDateTime"])
    return Procedure(_concept(r["vaccineCode"]), at, at, None)


def _order(r: Resource, conditions: dict[str, Concept], medications: dict[str, Concept]) -> Order:
    if "medicationReference" in r:
        drug = medications[_target(r["medicationReference"])]
    else:
        drug = _concept(r["medicationCodeableConcept"])
    dosage = r["dosageInstruction"][0] if "dosageInstruction" in r else None
    return Order(drug, _time(r["authoredOn"]), r["status"] == "active", dosage, _reason(r, conditions))


def _reason(r: Resource, conditions: dict[str, Concept]) -> Concept | None:
    if "reasonReference" in r:
        return conditions.get(_target(r["reasonReference"][0]))
    return _concept(r["reasonCode"][0]) if "reasonCode" in r else None
