"""The FHIR store: a table of resources as they were written, each one's exact JSON text in `body`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import LedgerError, Rejected, WireError
from ledger.intake.bundles import Found, Place, Refused, id_of, resources
from ledger.intake.fhir import Resource, Target, check, type_of
from ledger.intake.report import Report
from ledger.json_text import Json, parse
from ledger.shape import Loading

KEY = ("resource_type", "id")
BODY = "body"
PATIENT = "patient"
# Whether a column must have a value.
COLUMNS = {"resource_type": True, "id": True, "version_id": False, "last_updated": False, PATIENT: False, BODY: True}
Progress = Callable[[str, int], None]


@dataclass(slots=True)
class _Sought:
    """References to one target: how many, and where the first of them stands."""

    place: Place
    type: str
    count: int = 0


def load_resources(loading: Loading, table: str, files: Sequence[Path], progress: Progress) -> Report:
    """Put the resources of all files into the store `table`, which is made where there is none.

    All happens in the transaction of `loading`; whoever began it decides by the report whether to keep it. Memory: one file, and what
    references point to. Raises LedgerError where the table is something else, SourceError; OSError where a file cannot be read.
    """
    report = Report(table, created=loading.create(table, COLUMNS, KEY))
    if set(loading.columns(table)) != set(COLUMNS) or loading.primary_key(table) != KEY:
        raise LedgerError(f"table {table} is no FHIR store: name another one with --table")
    sought: dict[Target, _Sought] = {}
    waiting: list[tuple[dict[str, str], Target]] = []
    for number, path in enumerate(files, 1):
        for found in resources(path, number):
            progress(table, 1)
            if isinstance(found, Refused):
                report.reject(found.place, found.reason)
                continue
            try:
                resource = check(found)
                added = _put(loading, table, found, resource, report)
            except Rejected as error:
                report.reject(found.place, str(error), type_of(found), id_of(found.value, found.full_url) or None)
                continue
            report.external += resource.external
            for target in resource.references:
                sought.setdefault(target, _Sought(found.place, resource.type)).count += 1
            if added and resource.patient is not None and resource.patient.query:
                waiting.append(({"resource_type": resource.type, "id": resource.id}, resource.patient))
    answers = _search(loading, table, {target for target in sought if target.query})
    for key, target in waiting:
        if len(ids := answers.get(target, ())) == 1:
            loading.update(table, key, PATIENT, ids[0])
    for target, seen in sought.items():
        if reason := _missing(loading, table, target, answers):
            name = f"{target.type}?{target.query}" if target.query else f"{target.type}/{target.id}"
            report.dangle(seen.place, seen.count, reason, seen.type, name)
    return report


def _put(loading: Loading, table: str, found: Found, resource: Resource, report: Report) -> bool:
    """Insert a resource that is not there yet; tells whether it was inserted."""
    key = {"resource_type": resource.type, "id": resource.id}
    there = loading.lookup(table, key, BODY)
    if there is None:
        patient = resource.patient.id if resource.patient is not None and resource.patient.id else None
        meta = {"version_id": resource.version_id, "last_updated": resource.last_updated}
        loading.insert(table, {**key, **meta, PATIENT: patient, BODY: found.text})
        report.accepted += 1
        report.types[resource.type] += 1
    elif there == found.text or _parsed(there) == found.value:
        report.duplicates += 1
    else:
        reason = "a resource of this type and id is there with another content"
        report.conflict(found.place, reason, resource.type, f"{resource.type}/{resource.id}")
    return there is None


def _missing(loading: Loading, table: str, target: Target, answers: dict[Target, tuple[str, ...]]) -> str:
    """Why a reference leads nowhere; empty where it leads somewhere."""
    if target.query:
        count = len(answers.get(target, ()))
        if not _identifier(target.query):
            return "a conditional reference by something else than one identifier is not followed"
        return "" if count == 1 else "no resource has this identifier" if not count else "several resources have this identifier"
    key = {"id": target.id} | ({"resource_type": target.type} if target.type else {})
    return "" if loading.lookup(table, key, "id") is not None else "the resource is neither in the table nor in the import"


def _identifier(query: str) -> str | None:
    name, _, value = query.partition("=")
    return value if name == "identifier" and value and "&" not in value else None


def _search(loading: Loading, table: str, wanted: set[Target]) -> dict[Target, tuple[str, ...]]:
    """The ids of the resources that conditional references by identifier find: one walk over the resources of each type."""
    answers: dict[Target, tuple[str, ...]] = {}
    for kind in sorted({target.type for target in wanted}):
        asked = {identifier: target for target in wanted if target.type == kind and (identifier := _identifier(target.query))}
        if not asked:
            continue
        for own, body in loading.walk(table, {"resource_type": kind}, ("id", BODY)):
            for name in _identifiers(body):
                if name in asked:
                    answers[asked[name]] = (*answers.get(asked[name], ())[:1], own)
    return answers


def _identifiers(body: str) -> set[str]:
    """A resource's identifiers as a search gives them: the value alone, and behind its system and a bar."""
    value = _parsed(body)
    listed = value.get("identifier") if isinstance(value, dict) else None
    found = set()
    for identifier in listed if isinstance(listed, list) else [listed]:
        if isinstance(identifier, dict) and isinstance(number := identifier.get("value"), str):
            found |= {number, f"{identifier.get('system') or ''}|{number}"}
    return found


def _parsed(body: str) -> Json:
    """A stored body's value; None where somebody made it something else than JSON."""
    try:
        return parse(body)
    except WireError:
        return None
