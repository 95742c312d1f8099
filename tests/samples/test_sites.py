"""Sites share patients under different local numbers, and no encounter happens twice in a region."""

from __future__ import annotations

from itertools import combinations

import pytest

from samples import bundles
from samples.site import END, site_of


@pytest.mark.parametrize("region", [0, 1, 40_000])
def test_hospitals_of_a_region_share_patients_but_no_encounter(region):
    archive = bundles.load()
    hospitals = [site_of(archive, 3 * region + number) for number in (1, 2, 3)]
    encounters = [visit.encounter.id for hospital in hospitals for visit in hospital.visits]
    assert sorted(encounters) == sorted(encounter.id for encounter in archive.encounters)
    for one, other in combinations(hospitals, 2):
        shared = {p.id for p in one.patients.values()} & {p.id for p in other.patients.values()}
        assert len(shared) >= 9
        assert not one.patients.keys() & other.patients.keys()
    assert [len(hospital.patients) for hospital in hospitals] == [16, 16, 16]


def test_regions_differ():
    archive = bundles.load()
    first, fourth = site_of(archive, 1), site_of(archive, 4)
    assert {v.encounter.id for v in first.visits} != {v.encounter.id for v in fourth.visits}


def test_every_patient_has_a_visit_and_every_visit_a_patient():
    hospital = site_of(bundles.load(), 2)
    assert {visit.patient_id for visit in hospital.visits} == set(hospital.patients)
    assert all(hospital.patients[visit.patient_id].id == visit.encounter.person for visit in hospital.visits)


def test_no_chart_is_closed_before_its_visit_ended_or_after_the_end():
    for visit in site_of(bundles.load(), 3).visits:
        assert visit.closed is None or visit.encounter.end < visit.closed <= END
