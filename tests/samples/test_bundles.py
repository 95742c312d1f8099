"""The committed slice is complete and read digit for digit."""

from __future__ import annotations

import tarfile
from decimal import Decimal
from importlib.resources import as_file, files

from samples import bundles
from samples.glossary import chinese, icd10


def test_slice_is_small_and_carries_its_licence():
    folder = files("samples") / "synthea"
    with as_file(folder / "synthea-42.tar.xz") as path, tarfile.open(path) as archive:
        assert len(archive.getnames()) == 28
        assert path.stat().st_size < 1_000_000
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert "3.3.0" in (folder / "README.md").read_text()


def test_archive_holds_every_patient_and_encounter():
    archive = bundles.load()
    assert len(archive.persons) == 26
    assert len(archive.encounters) == 780
    assert sum(len(e.orders) for e in archive.encounters) == 1045
    assert sum(len(e.procedures) for e in archive.encounters) == 1987 + 89  # procedures and vaccinations
    assert sum(len(e.conditions) for e in archive.encounters) == 640
    assert {e.person for e in archive.encounters} == {person.id for person in archive.persons}
    assert {e.npi for e in archive.encounters} <= archive.doctors.keys()


def test_panels_become_their_components_and_surveys_stay_whole():
    results = [o for e in bundles.load().encounters for o in e.observations]
    codes = {o.concept.code for o in results}
    assert {"8480-6", "8462-4"} <= codes
    assert not {"85354-9", bundles.SURVEY_CODE} & codes
    assert all((o.value is None) != (o.answer is None) for o in results)
    surveys = [s for e in bundles.load().encounters for s in e.surveys]
    assert len(surveys) == 140
    assert {len(s.answers) for s in surveys} == {21}


def test_decimals_keep_their_digits():
    encounters = bundles.load().encounters
    assert all(isinstance(o.value, Decimal) for e in encounters for o in e.observations if o.value is not None)
    rates = [o.dosage["doseAndRate"][0] for e in encounters for o in e.orders if o.dosage and "doseAndRate" in o.dosage]
    assert {str(rate["doseQuantity"]["value"]) for rate in rates} >= {"1.0"}


def test_glossary_names_concepts_in_chinese():
    glucose = bundles.Concept("loinc", "2345-7", "Glucose")
    assert chinese(glucose) == "血清葡萄糖"
    assert icd10(bundles.Concept("sct", "59621000", "Essential hypertension (disorder)")) == "I10"
    assert chinese(bundles.Concept("loinc", "no such code", "")) is None
    assert chinese(None) is None


def test_most_concepts_have_a_chinese_name():
    concepts = {(o.concept.system, o.concept.code): chinese(o.concept) for e in bundles.load().encounters for o in e.observations}
    assert sum(name is not None for name in concepts.values()) > len(concepts) * Decimal("0.95")
