"""The rows of people: departments, staff with their signatures, patients."""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from samples.bundles import Doctor, Person
from samples.draw import chance, draw, pick
from samples.glossary import label
from samples.names import chinese_address, chinese_name, fake_national_id
from samples.row import Row
from samples.site import END, Site, Visit

_DEPARTMENTS = (
    ("GEN", "General practice", "全科医学科", False, 1),
    ("URG", "Walk-in clinic", "速诊门诊", False, 1),
    ("ER", "Emergency", "急诊科", False, 1),
    ("HEC", "Health examination", "健康体检中心", False, 2),
    ("MED", "Internal medicine", "内科", True, 6),
    ("SUR", "Surgery", "外科", True, 7),
    ("CAR", "Cardiology", "心血管内科", True, 8),
    ("ONC", "Oncology", "肿瘤科", True, 9),
    ("OBG", "Obstetrics and gynaecology", "妇产科", True, 5),
    ("PED", "Paediatrics", "儿科", True, 4),
    ("PSY", "Mental health", "精神心理科", True, 10),
    ("PAL", "Palliative care", "安宁疗护科", True, 11),
    ("DEN", "Dentistry", "口腔科", False, 3),
    ("LAB", "Laboratory", "检验科", False, 2),
    ("PHA", "Pharmacy", "药剂科", False, 1),
    ("QUA", "Quality management", "质量管理科", False, 12),
)
# role, department, Chinese title, how many: staff that a hospital has and Synthea lacks
_ADDED_STAFF = (
    ("nurse", "GEN", "护师", 2),
    ("nurse", "ER", "主管护师", 2),
    ("nurse", "MED", "护师", 2),
    ("nurse", "ONC", "主管护师", 1),
    ("technician", "LAB", "主管检验师", 4),
    ("pharmacist", "PHA", "主管药师", 4),
    ("quality", "QUA", "副研究员", 1),
)
SELF_PAYING = "自费"
_DOCTOR_TITLES = ("主任医师", "副主任医师", "主治医师", "住院医师")
_RELATIONS = ("配偶", "子女", "父母", "朋友")
_REMARKS = ("听力障碍，请书面沟通", "本人要求短信通知", "外院转入")
_INSURANCE = ("城镇职工医保", "城镇职工医保", "城乡居民医保", "城乡居民医保", "商业保险", SELF_PAYING)


@dataclass(frozen=True, slots=True)
class Staff:
    """Staff numbers: of Synthea's practitioners by their npi, of the added staff by role."""

    doctors: dict[str, int]
    roles: dict[str, tuple[int, ...]]

    def on_duty(self, role: str, *about: object) -> int:
        """The staff number of the one who did it."""
        return pick(self.roles[role], "duty", role, *about)


def department_rows() -> list[Row]:
    """The departments, the same at every hospital."""
    return [
        {"dept_code": code, "name": name, "name_zh": zh, "inpatient": inpatient, "floor": floor}
        for code, name, zh, inpatient, floor in _DEPARTMENTS
    ]


def staff_rows(site: Site) -> tuple[Staff, list[Row]]:
    """Everyone who works at the hospital. Doctors work in the department of their first visit."""
    visits: defaultdict[str, list[Visit]] = defaultdict(list)
    for visit in site.visits:
        visits[visit.doctor.npi].append(visit)
    by_npi: dict[str, int] = {}
    rows: list[Row] = []
    for number, npi in enumerate(sorted(visits, key=lambda npi: draw(2**63, "staff", site.number, npi)), start=1001):
        by_npi[npi] = number
        rows.append(_doctor_row(site, number, visits[npi]))
    roles: defaultdict[str, tuple[int, ...]] = defaultdict(tuple)
    for role, dept, title, count in _ADDED_STAFF:
        for _ in range(count):
            number = 5001 + sum(map(len, roles.values()))
            roles[role] += (number,)
            rows.append(_added_row(site, number, role, dept, title))
    return Staff(by_npi, dict(roles)), rows


def doctor_name(doctor: Doctor) -> str:
    """The Chinese name of one of Synthea's practitioners, the same at every hospital."""
    return chinese_name(doctor.sex, "doctor", doctor.npi)[0]


def _doctor_row(site: Site, number: int, visits: list[Visit]) -> Row:
    doctor = visits[0].doctor
    first, last = visits[0].encounter.start, visits[-1].encounter.end
    return {
        "practitioner_id": number,
        "dept_code": visits[0].dept,
        "name": f"{doctor.given} {doctor.family}",
        "name_zh": doctor_name(doctor),
        "sex": doctor.sex,
        "role": "doctor",
        "title_zh": pick(_DOCTOR_TITLES, "title", doctor.npi),
        "licence_no": f"TEST-{doctor.npi}",
        "hired_on": (first - timedelta(days=30 + draw(3000, "hired", site.number, doctor.npi))).date(),
        "left_on": (last + timedelta(days=90)).date() if last.year < END.year - 6 else None,
    }


def _added_row(site: Site, number: int, role: str, dept: str, title: str) -> Row:
    about = (role, site.number, number)
    sex = "M" if chance(30, "sex", *about) else "F"
    name_zh, name = chinese_name(sex, *about)
    return {
        "practitioner_id": number,
        "dept_code": dept,
        "name": name,
        "name_zh": name_zh,
        "sex": sex,
        "role": role,
        "title_zh": title,
        "licence_no": None,
        "hired_on": (site.visits[0].encounter.start - timedelta(days=30 + draw(3000, "hired", *about))).date(),
        "left_on": None,
    }


def signatures_of(site: Site, staff: Staff) -> dict[str, bytes]:
    """The PNG of each doctor's signature, by npi."""
    return {npi: _scribble(site.number, npi) for npi in staff.doctors}


def signature_rows(site: Site, staff: Staff, signatures: dict[str, bytes]) -> list[Row]:
    """The signatures, each under the SHA-256 of its image; a doctor who left long ago has a revoked one."""
    last = {visit.doctor.npi: visit.encounter for visit in site.visits}
    first = {visit.doctor.npi: visit.encounter for visit in reversed(site.visits)}
    return [
        {
            "digest": sha256(image).digest(),
            "practitioner_id": staff.doctors[npi],
            "image": image,
            "valid_from": first[npi].start.date(),
            "revoked_at": last[npi].end + timedelta(days=91) if last[npi].end.year < END.year - 6 else None,
        }
        for npi, image in signatures.items()
    ]


def patient_rows(site: Site) -> list[Row]:
    """The patients under their local numbers, registered when they first came."""
    first = {visit.patient_id: visit.encounter.start for visit in reversed(site.visits)}
    return [_patient_row(site, local_id, person, first[local_id]) for local_id, person in site.patients.items()]


def insurance_of(person: Person) -> str:
    """Who pays, by its Chinese name; the same at every hospital."""
    return pick(_INSURANCE, "insurance", person.id)


def _patient_row(site: Site, local_id: str, person: Person, registered: datetime) -> Row:
    about = ("patient", site.number, person.id)
    contact_zh, _ = chinese_name(pick("FM", "contact sex", person.id), "contact", person.id)
    contact = {"name": contact_zh, "relation": pick(_RELATIONS, "relation", person.id), "phone": person.phone}
    return {
        "patient_id": local_id,
        "national_id": fake_national_id(person.birth, person.id),
        "name_zh": chinese_name(person.sex, person.id)[0],
        "name_latin": f"{person.given} {person.family}",
        "sex": person.sex,
        "birth_date": person.birth,
        "deceased_at": person.died,
        "phone": None if chance(30, "phone", *about) else person.phone,
        "address": None if chance(15, "address", *about) else f"{chinese_address(person.id)}（{person.address}）",
        "marital_status": person.marital,
        "insurance": insurance_of(person),
        "allergies": [{"code": a.code, "name": a.display, "name_zh": label(a)} for a in person.allergies] or None,
        "emergency_contact": None if chance(40, "contact", *about) else contact,
        "registered_at": registered,
        "remark": pick(_REMARKS, "remark", *about) if chance(20, "has remark", *about) else None,
    }


def _scribble(*about: object) -> bytes:
    """A small black-and-white PNG (ISO/IEC 15948) of a pen stroke."""
    width, height = 96, 24
    pixels = [bytearray(b"\xff" * (width // 8)) for _ in range(height)]
    y = height // 2
    for x in range(4, width - 4):
        y = min(height - 2, max(1, y + draw(5, "pen", x, *about) - 2))
        for thickness in (0, 1):
            pixels[y + thickness][x // 8] &= 0xFF ^ (0x80 >> x % 8)
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([1, 0, 0, 0, 0])
    # Level 0 stores: every zlib writes the same bytes.
    scanlines = zlib.compress(b"".join(b"\x00" + line for line in pixels), 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", scanlines) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
