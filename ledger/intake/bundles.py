"""Files of FHIR resources taken apart: bundles, single resources, and NDJSON as bulk export writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ledger.errors import Rejected, WireError
from ledger.intake.files import MAX_LINE, lines, whole
from ledger.json_text import Json, Scanner, parse

BY_LINE = (".ndjson", ".jsonl")
_BUNDLE = "Bundle"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: the file's number on the command line, the line in it, both from 1, and the bundle's entry, from 0."""

    file: int
    line: int | None = None
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as it was found: its exact text, and the same parsed. `urls` are the fullUrls of its bundle, with type and id."""

    place: Place
    text: str
    value: dict[str, Json]
    full_url: str | None = None
    urls: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """Something in a file that is no resource, and why."""

    place: Place
    reason: str


def resources(path: Path, number: int) -> Iterator[Found | Refused]:
    """The resources of file `number`. What cannot be read is given as Refused; after damage the rest of a file is not read."""
    try:
        yield from _by_line(path, number) if plain_suffix(path) in BY_LINE else _document(path, number)
    except Rejected as error:
        yield Refused(Place(number), str(error))


def plain_suffix(path: Path) -> str:
    """The end of a file's name in lower case, that of what gzip packed where it did."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def id_of(value: Mapping[str, Json], full_url: str | None) -> str:
    """A resource's id; where it has none, the UUID that its fullUrl gives it; else empty."""
    own = value.get("id")
    if "id" not in value and full_url is not None and full_url.startswith("urn:uuid:"):
        return full_url.removeprefix("urn:uuid:")
    return own if isinstance(own, str) else ""


def _by_line(path: Path, number: int) -> Iterator[Found | Refused]:
    for line, data in lines(path):
        place = Place(number, line)
        if not data.strip():
            continue
        try:
            text = data.decode("utf-8").strip(" \t\r\n")
            yield Found(place, text, _object(parse(text)))
        except UnicodeDecodeError:
            yield Refused(place, str(Rejected("the line is not UTF-8")))
        except (WireError, Rejected) as error:
            yield Refused(place, str(error))


def _document(path: Path, number: int) -> Iterator[Found | Refused]:
    text = whole(path)
    kind = _type_of(text, number)
    if isinstance(kind, Refused):
        yield kind
    elif kind != _BUNDLE:
        scanner = Scanner(text)
        value = scanner.value()
        yield Found(Place(number, _line(text, scanner.start)), text[scanner.start : scanner.position], _object(value))
    else:
        urls = {}
        for entry in _entries(text, number):
            if isinstance(entry, Found) and entry.full_url is not None:
                name = str(entry.value.get("resourceType"))
                urls[entry.full_url] = (name, id_of(entry.value, entry.full_url))
        for entry in _entries(text, number):
            yield Found(entry.place, entry.text, entry.value, entry.full_url, urls) if isinstance(entry, Found) else entry


def _type_of(text: str, number: int) -> Json | Refused:
    """The resourceType of a document, which may stand behind all else; all of the text is read."""
    kind, at = None, 0
    try:
        scanner = Scanner(text)
        for name in scanner.members():
            if name == "entry" and scanner.text.startswith("[", scanner.position):
                for _ in scanner.items():
                    at = scanner.position
                    scanner.value()
            else:
                at = scanner.position
                value = scanner.value()
                kind = value if name == "resourceType" else kind
        scanner.end()
    except WireError as error:
        return Refused(Place(number, _line(text, at)), str(error))
    return kind


def _entries(text: str, number: int) -> Iterator[Found | Refused]:
    scanner = Scanner(text)
    line = seen = 0
    for name in scanner.members():
        if name != "entry":
            scanner.value()
            continue
        for entry in scanner.items():
            at = scanner.position
            made = _entry(scanner, number, entry)
            line, seen = line + text.count("\n", seen, at), at
            place = Place(number, line + 1, entry)
            yield Found(place, made.text, made.value, made.full_url) if isinstance(made, Found) else Refused(place, made.reason)


def _entry(scanner: Scanner, number: int, entry: int) -> Found | Refused:
    place, found, full_url, method = Place(number, None, entry), None, None, None
    if not scanner.text.startswith("{", scanner.position):
        scanner.value()
        return Refused(place, str(Rejected("the entry is no JSON object")))
    for name in scanner.members():
        value = scanner.value()
        if name == "resource" and isinstance(value, dict):
            found = (scanner.text[scanner.start : scanner.position], value)
        elif name == "fullUrl" and isinstance(value, str):
            full_url = value
        elif name == "request" and isinstance(value, dict):
            method = value.get("method")
    if method in ("DELETE", "PATCH"):
        return Refused(place, str(Rejected("the entry deletes or patches a resource: only whole resources are imported")))
    if found is None:
        return Refused(place, str(Rejected("the entry holds no resource")))
    if len(found[0]) > MAX_LINE:
        return Refused(place, str(Rejected(f"the resource is longer than {MAX_LINE} characters")))
    return Found(place, *found, full_url)


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise Rejected("a resource is a JSON object")
    return value


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
