"""One FHIR resource: whether it is valid, what its references point to, and which patient it is about.

Structure is checked by the R4B models of fhir.resources, which take what is valid in R4 (R4 4.0.1 and R4B 4.3.0 differ in a few
resources that hospitals do not exchange). They are imported when the first resource comes: that takes a tenth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from ledger.errors import Rejected
from ledger.intake.bundles import Found, id_of
from ledger.json_text import Json

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR R4, datatypes, id
_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?([^\s\ud800-\udfff]+)")
_URN = re.compile(r"urn:(?:uuid|oid):([A-Za-z0-9\-.]{1,64})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_CONTAINED = re.compile(r"#[A-Za-z0-9\-.]{0,64}")
# Where a resource names its patient other than in `patient` or `subject`. Source: FHIR R4, compartment Patient.
_PATIENT_PATHS: Mapping[str, tuple[str, ...]] = {
    "Appointment": ("participant", "actor"),
    "AppointmentResponse": ("actor",),
    "Coverage": ("beneficiary",),
    "Provenance": ("target",),
    "ResearchSubject": ("individual",),
    "Schedule": ("actor",),
    "Task": ("for",),
}
_TOLD = 3  # problems of one resource that are told


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference points to. `type` is empty where only the id is known, `query` is given in place of the id where it is a search."""

    type: str
    id: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """A valid resource. `patient` is what names the one patient it is about; `external` counts references to other servers."""

    type: str
    id: str
    version_id: str | None
    last_updated: str | None
    patient: Target | None
    references: tuple[Target, ...]
    external: int


def check(found: Found) -> Resource:
    """The resource, if it is a valid one. Raises Rejected, which names elements and never what they hold."""
    kind = type_of(found)
    if kind is None:
        raise Rejected("its resourceType is none of FHIR R4")
    own = id_of(found.value, found.full_url)
    if not _ID.fullmatch(own):
        raise Rejected("its id is missing or is none: 1 to 64 letters, digits, - and .")
    _validate(_model(kind), found.text)
    meta = found.value.get("meta")
    stated = meta if isinstance(meta, dict) else {}
    version, updated = stated.get("versionId"), stated.get("lastUpdated")
    contained = found.value.get("contained")
    within = {part.get("id") for part in contained if isinstance(part, dict)} if isinstance(contained, list) else set()
    references, external = [], 0
    for text in _references(found.value):
        target = _target(text, found.urls)
        if target is not None:
            references.append(target)
        elif not text.startswith("#"):
            external += 1
        elif text != "#" and text[1:] not in within:
            raise Rejected("a reference names a contained resource that is not there")
    return Resource(
        kind, own, version if isinstance(version, str) else None, updated if isinstance(updated, str) else None,
        _patient(kind, own, found), tuple(references), external,
    )  # fmt: skip


def type_of(found: Found) -> str | None:
    """The resource's type, None where it is none of FHIR R4."""
    kind = found.value.get("resourceType")
    return kind if isinstance(kind, str) and _model(kind) is not None else None


@lru_cache(maxsize=1000)
def _model(kind: str) -> Any | None:
    from fhir.resources.R4B import fhirtypes, get_fhir_model_class
    from fhir.resources.R4B.resource import Resource as Base

    if kind in ("Resource", "DomainResource") or not kind.isascii() or not hasattr(fhirtypes, f"{kind}Type"):
        return None
    try:
        model = get_fhir_model_class(kind)
    except ValueError:
        return None
    return model if issubclass(model, Base) else None


def _validate(model: Any, text: str) -> None:
    from pydantic import ValidationError

    try:
        model.model_validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        told = ", ".join(dict.fromkeys(f"{_where(part['loc'], part['type'])} ({part['type']})" for part in found[:_TOLD]))
        raise Rejected(f"not valid FHIR R4: {told}") from None


def _where(path: tuple[int | str, ...], kind: str) -> str:
    # The name of an element that there is not comes from the file, and could be anything.
    known = path[:-1] if kind == "extra_forbidden" else path
    return ".".join(map(str, known)) or "resource"


def _references(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str):
            yield reference
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _target(text: str, urls: Mapping[str, tuple[str, str]]) -> Target | None:
    """What a reference points to; None for one to a contained resource or to another server. Raises Rejected where it is malformed."""
    if text in urls:
        return Target(*urls[text])
    if (match := _LOCAL.fullmatch(text)) and _model(match[1]):
        return Target(match[1], match[2])
    if (match := _CONDITIONAL.fullmatch(text)) and _model(match[1]):
        return Target(match[1], query=unquote(match[2]))
    if match := _URN.fullmatch(text):
        return Target("", match[1])
    if _CONTAINED.fullmatch(text) or _ABSOLUTE.fullmatch(text):
        return None
    raise Rejected("a reference is malformed: write Type/id, Type?search, urn:uuid:, #contained or a URL")


def _patient(kind: str, own: str, found: Found) -> Target | None:
    """The one patient that a resource is about; None where there is none, or more than one."""
    if kind == "Patient":
        return Target(kind, own)
    path = _PATIENT_PATHS.get(kind)
    places = (path,) if path else (("patient",), ("subject",))
    named = [target for place in places for text in _at(found.value, place) if (target := _target(text, found.urls)) is not None]
    patients = {target for target in named if target.type in ("Patient", "")}
    return patients.pop() if len(patients) == 1 else None


def _at(value: Json, path: tuple[str, ...]) -> Iterator[str]:
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, dict):
            continue
        if path:
            yield from _at(part.get(path[0]), path[1:])
        elif isinstance(reference := part.get("reference"), str):
            yield reference
