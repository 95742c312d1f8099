"""Documents of the medical record: long texts in Chinese, followed by Synthea's own note in English."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from samples.bundles import Survey
from samples.chart import bed_of, diagnoses_of
from samples.draw import chance, draw, draw_uuid
from samples.glossary import icd10, label
from samples.laboratory import Result
from samples.names import chinese_name
from samples.people import Staff, doctor_name
from samples.pharmacy import Prescription
from samples.row import Json, Row
from samples.site import SETTINGS, Site, Visit, age_at, capped

_RECORDS = {
    "outpatient": ("outpatient_record", "Outpatient record", "门诊病历"),
    "emergency": ("emergency_record", "Emergency record", "急诊病历"),
    "inpatient": ("admission_record", "Admission record", "入院记录"),
    "home": ("home_care_record", "Home care record", "居家医疗病历"),
}
_DISCHARGE = ("discharge_summary", "Discharge summary", "出院小结")
_SURVEY = ("social_survey", "Social needs survey", "社会需求评估表")
_ARROWS = {"H": " ↑", "L": " ↓", "HH": " ↑↑（危急值）", "LL": " ↓↓（危急值）"}
_STRUCTURED_SINCE = 2015  # earlier documents were typed from paper and have no structured part


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document. `signed` is None while it is a draft, `archived` while it may still change."""

    id: UUID
    visit: Visit
    kind: tuple[str, str, str]  # type, English title, Chinese title
    version: int
    replaces: UUID | None
    status: str
    body: str
    structured: Json | None
    created: datetime
    signed: datetime | None
    archived: datetime | None


def documents_of(site: Site, results: list[Result], prescriptions: list[Prescription]) -> list[Document]:
    """Every version of every document, in the order of visits; an earlier version comes before the one that replaces it."""
    results_at: defaultdict[int, list[Result]] = defaultdict(list)
    for result in results:
        results_at[result.visit.id].append(result)
    prescribed: defaultdict[int, list[Prescription]] = defaultdict(list)
    for prescription in prescriptions:
        prescribed[prescription.visit.id].append(prescription)
    documents: list[Document] = []
    for visit in site.visits:
        encounter = visit.encounter
        kind = _RECORDS[SETTINGS[encounter.setting]]
        body = _record(site, visit, kind[2], results_at[visit.id], prescribed[visit.id])
        structured = _structured(visit, results_at[visit.id]) if encounter.start.year >= _STRUCTURED_SINCE else None
        inpatient = encounter.setting == "IMP"
        documents += _versions(visit, kind, body, structured, encounter.start if inpatient else encounter.end)
        if inpatient:
            documents += _versions(visit, _DISCHARGE, _discharge(site, visit, prescribed[visit.id]), None, encounter.end)
        for survey in encounter.surveys:
            answers: Json = [{"question": question, "answer": answer} for question, answer in survey.answers]
            documents += _versions(visit, _SURVEY, _survey(site, visit, survey), answers, survey.at)
    return documents


def _versions(visit: Visit, kind: tuple[str, str, str], body: str, structured: Json | None, at: datetime) -> Iterator[Document]:
    """One version, or two where the author completed the text after signing."""
    about = (visit.id, kind[0])
    created = capped(at + timedelta(minutes=5 + draw(180, "written", *about)))
    hours = 30 + draw(60, "late", *about) if chance(4, "is late", *about) else draw(20, "signing", *about)
    signed = capped(created + timedelta(hours=hours))
    first = draw_uuid("document", *about, 1)
    if visit.closed is None:
        draft = chance(40, "draft", *about)
        status = "draft" if draft else "signed"
        yield Document(first, visit, kind, 1, None, status, body, structured, created, None if draft else signed, None)
        return
    archived = max(signed, visit.closed)
    if not chance(6, "revised", *about):
        yield Document(first, visit, kind, 1, None, "archived", body, structured, created, signed, archived)
        return
    revised = signed + (archived - signed) / 2
    revised = revised.replace(microsecond=0)
    yield Document(first, visit, kind, 1, None, "superseded", body, structured, created, signed, revised)
    completed = f"{body}\n\n【补充记录】{revised:%Y-%m-%d %H:%M} 患者补充既往用药情况，已核对，余同前。"
    second = draw_uuid("document", *about, 2)
    yield Document(second, visit, kind, 2, first, "archived", completed, structured, revised, revised, archived)


def document_rows(documents: list[Document], staff: Staff, signatures: dict[str, bytes]) -> list[Row]:
    """The documents as rows, in the same order; a signed one names its signature by digest."""
    return [
        {
            "document_id": document.id,
            "visit_id": document.visit.id,
            "patient_id": document.visit.patient_id,
            "doc_type": document.kind[0],
            "title": document.kind[1],
            "title_zh": document.kind[2],
            "version_no": document.version,
            "replaces": document.replaces,
            "status": document.status,
            "author_id": staff.doctors[document.visit.doctor.npi],
            "body": document.body,
            "structured": document.structured,
            "created_at": document.created,
            "signed_at": document.signed,
            "signature": sha256(signatures[document.visit.doctor.npi]).digest() if document.signed else None,
            "archived_at": document.archived,
        }
        for document in documents
    ]


def _record(site: Site, visit: Visit, title: str, results: list[Result], prescribed: list[Prescription]) -> str:
    encounter, person = visit.encounter, visit.person
    allergies = "、".join(label(allergy) for allergy in person.allergies)
    reason = label(encounter.reason) if encounter.reason else label(encounter.concept)
    sections = (
        _head(site, visit, title),
        [f"【主诉】{reason}。"],
        [f"【现病史】患者{age_at(person, encounter.start)}岁，因“{reason}”于{encounter.start:%Y年%m月%d日%H时%M分}就诊。"],
        [f"【过敏史】{allergies or '否认药物及食物过敏史'}。"],
        ["【检查结果】", *map(_result, results)] if results else ["【检查结果】本次未查。"],
        ["【诊断】", *_diagnoses(visit)],
        ["【处置】", *_numbered(label(procedure.concept) for procedure in encounter.procedures)],
        ["【医嘱】", *_numbered(map(_drug, prescribed))],
        _sign(visit),
        ["", "—— English note ——", encounter.note],
    )
    return "\n".join(line for section in sections for line in section)


def _discharge(site: Site, visit: Visit, prescribed: list[Prescription]) -> str:
    encounter = visit.encounter
    days = (encounter.end.date() - encounter.start.date()).days
    stay = f"【住院经过】{encounter.start:%Y-%m-%d}入院，{encounter.end:%Y-%m-%d}出院，住院{days}天，床号{bed_of(visit)}。"
    advice = "【出院医嘱】按时服药，一周后门诊复查，如有不适随时就诊。"
    diagnoses, drugs = _diagnoses(visit), _numbered(map(_drug, prescribed))
    head = _head(site, visit, _DISCHARGE[2])
    return "\n".join([*head, stay, "【出院诊断】", *diagnoses, "【带药】", *drugs, advice, *_sign(visit)])


def _survey(site: Site, visit: Visit, survey: Survey) -> str:
    answers = [f"{number}. {question}\n   {answer}" for number, (question, answer) in enumerate(survey.answers, start=1)]
    return "\n".join([*_head(site, visit, _SURVEY[2]), *answers, *_sign(visit)])


def _head(site: Site, visit: Visit, title: str) -> list[str]:
    person, encounter = visit.person, visit.encounter
    name, sex = chinese_name(person.sex, person.id)[0], "女" if person.sex == "F" else "男"
    return [
        site.name,
        title,
        f"姓名：{name}　性别：{sex}　出生日期：{person.birth:%Y-%m-%d}　病案号：{visit.patient_id}　就诊号：{visit.id}",
        f"就诊类型：{label(encounter.concept)}　就诊时间：{encounter.start:%Y-%m-%d %H:%M}（UTC）",
    ]


def _sign(visit: Visit) -> list[str]:
    return [f"记录医师：{doctor_name(visit.doctor)}"]


def _diagnoses(visit: Visit) -> list[str]:
    names = (f"{label(c.concept)}（{icd10(c.concept) or '未编码'}）" for c in diagnoses_of(visit.encounter))
    return _numbered(names)


def _numbered(texts: Iterable[str]) -> list[str]:
    return [f"{number}. {text}" for number, text in enumerate(texts, start=1)] or ["无。"]


def _result(result: Result) -> str:
    observation, limits = result.observation, result.limits
    answer = label(observation.answer) if observation.answer else "—"
    value = answer if observation.value is None else f"{observation.value} {observation.unit}"
    normal = f"（参考值 {limits.low or ''}–{limits.high or ''}）" if limits else ""
    return f"{label(observation.concept)}：{value}{_ARROWS.get(result.flag or '', '')}{normal}"


def _drug(prescription: Prescription) -> str:
    daily = f"，每日{prescription.daily.normalize():f}单位，{prescription.days}天" if prescription.daily is not None else ""
    return f"{label(prescription.order.concept)}，共{prescription.quantity.normalize():f}单位{daily}"


def _structured(visit: Visit, results: list[Result]) -> Json:
    return {
        "template": "EMR-2.1",
        "setting": SETTINGS[visit.encounter.setting],
        "diagnoses": [c.concept.code for c in diagnoses_of(visit.encounter)],
        "vital_signs": {
            r.observation.concept.code: r.observation.value
            for r in results
            if r.observation.category == "vital-signs" and r.observation.value is not None
        },
        "allergic": bool(visit.person.allergies),
        "disposition": visit.encounter.disposition,
    }
