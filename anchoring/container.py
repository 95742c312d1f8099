"""The container of evidence: one canonical JSON file, its parts by kind, and their reading, bounded before anything is built.

`FORMAT` and `KINDS` are all that a file may hold; `anchoring/evidence.schema.json` is made from them, `docs/spec.md` describes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from anchoring.errors import EvidenceInvalid
from anchoring.network import exact_hex
from careseal import read_json
from node.confirmation import MAX_HEADERS

Part = Mapping[str, Any]  # one part of the container, typed field by field
Spec: TypeAlias = "str | Many | Either | dict[str, Spec]"

NAME, VERSION = "evidence/", "evidence/2"
MAX_BYTES = 1 << 25
MAX_NODES = 65  # of a proof
MAX_VERSIONS = 1024
MAX_COLUMNS = 256
MAX_NUMBER = 2**53 - 1
_MAX_PIECES = 1 << 18  # brackets and commas: what is built of a file is then a small multiple of its size
_PLAIN = b'0123456789abcdefghijklmnopqrstuvwxyz_/{}[]:,"'  # of what a file is made, and no escapes


@dataclass(frozen=True, slots=True)
class Many:
    """A list of at most so many elements of one form."""

    form: Spec
    limit: int


@dataclass(frozen=True, slots=True)
class Either:
    """An object of one of two forms, told apart by their fields."""

    forms: tuple[dict[str, Spec], dict[str, Spec]]


PROOF: Spec = Many("hex", MAX_NODES)
_HEADERS: Spec = Many("hex", MAX_HEADERS)
_INCLUDED: dict[str, Spec] = {"entry": "hex", "index": "int", "proof": PROOF}
CHAIN: dict[str, Spec] = {"after": _HEADERS, "before": _HEADERS, "header": "hex"}
_DOCUMENT: dict[str, Spec] = {**_INCLUDED, "document": "hex", "salt": "hex"}
_VERSION: dict[str, Spec] = {**_INCLUDED, "row": "hex or null", "secret": "hex or null"}
_FIELDS: Spec = Many(Either(({"digest": "hex"}, {"salt": "hex", "value": "hex"})), MAX_COLUMNS)

# What every kind has beside `careseal` and `kind`; then what each kind has of its own.
FORMAT: Mapping[str, Spec] = MappingProxyType({
    "chain": CHAIN,
    "checkpoint": {"chain_id": "int", "generation": "int", "index": "int", "institution": "int", "root": "hex", "size": "int"},
    "institution": {"account": PROOF, "name": "hex", "proof": PROOF},
    "storage": {"account": PROOF, "meta": PROOF, "root": PROOF},
})  # fmt: skip
KINDS: Mapping[str, Mapping[str, Spec]] = MappingProxyType({
    "record": {"configuration": _DOCUMENT, "record": {**_INCLUDED, "row": "hex", "secret": "hex"}},
    "fields": {"configuration": _DOCUMENT, "record": {**_INCLUDED, "fields": _FIELDS}},
    "history": {"configuration": _DOCUMENT, "versions": Many(_VERSION, MAX_VERSIONS)},
    "latest": {"configuration": _DOCUMENT, "record": _VERSION},
    "audit": {"audit": {**_DOCUMENT, "consistency": PROOF}},
})  # fmt: skip

# What a file of any kind may have besides.
OPTIONAL: Mapping[str, Spec] = MappingProxyType({"timestamp": {"consistency": PROOF, "receipt": "hex", "token": "hex"}})


def read_container(data: bytes) -> dict[str, Any]:
    """The parts of an evidence file, with bytes for hex, and its `kind`. EvidenceInvalid unless it is exactly the one encoding of them."""
    if len(data) > MAX_BYTES:
        raise EvidenceInvalid("container", f"larger than {MAX_BYTES} bytes")
    text = data[:-1] if data.endswith(b"\n") else data
    if not is_bounded(text):
        raise EvidenceInvalid("container", "no evidence, or edited: it has other letters or more parts than evidence has")
    try:
        values = read_json(text)
        whole = encode(values)
    except (ValueError, TypeError) as error:
        raise EvidenceInvalid("container", "edited, truncated, or no evidence: not JSON") from error
    version = values.get("careseal") if isinstance(values, dict) else None
    if not isinstance(version, str) or not version.startswith(NAME):
        raise EvidenceInvalid("container", "not Careseal evidence")
    if version != VERSION:
        raise EvidenceInvalid("container", f"{version[:40]}, this program reads {VERSION}: use the matching release")
    if whole != text + b"\n":
        raise EvidenceInvalid("container", "edited: it is not the one canonical writing of its content")
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise EvidenceInvalid("container", "evidence of a kind that this program does not know: use a newer release")
    given = {name: spec for name, spec in OPTIONAL.items() if name in values}
    form: dict[str, Spec] = {"careseal": "text", "kind": "text", **FORMAT, **KINDS[kind], **given}
    return dict(_object("evidence", form, values))


def is_bounded(text: bytes) -> bool:
    """Whether a file has only the letters of which such files are made, and so few parts that reading it takes little memory."""
    return not text.translate(None, _PLAIN) and sum(map(text.count, (b"[", b"{", b","))) <= _MAX_PIECES


def encode(values: Mapping[str, object]) -> bytes:
    """The bytes of an evidence file; ASCII keys and texts, and integers, are canonical (RFC 8785) in this form."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def plain(part: object) -> object:
    """A part as it is written: hex for bytes."""
    if isinstance(part, bytes):
        return part.hex()
    # Most of what there is to write is bytes: a call for each of them would be most of the time.
    if isinstance(part, Mapping):
        return {name: value.hex() if type(value) is bytes else plain(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [value.hex() if type(value) is bytes else plain(value) for value in part]
    return part


def read_form(name: str, form: Mapping[str, Spec], values: object) -> Part:
    """An object of a form, typed field by field. EvidenceInvalid naming the field that is not what it should be."""
    return _object(name, form, values)


def _object(name: str, form: Mapping[str, Spec], value: object) -> Part:
    if not isinstance(value, dict) or value.keys() != form.keys():
        raise EvidenceInvalid("container", f"{name}: a field is missing or unknown")
    return {field: _typed(field if name == "evidence" else f"{name}.{field}", spec, value[field]) for field, spec in form.items()}


def _typed(name: str, spec: Spec, value: object) -> Any:
    if isinstance(spec, dict):
        return _object(name, spec, value)
    if isinstance(spec, Many):
        if isinstance(value, list) and len(value) <= spec.limit:
            return [_typed(name, spec.form, item) for item in value]
    elif isinstance(spec, Either):
        first, second = spec.forms
        return _object(name, second if isinstance(value, dict) and value.keys() == second.keys() else first, value)
    elif spec == "int":
        if type(value) is int and 0 <= value <= MAX_NUMBER:
            return value
    elif spec == "text" or (spec == "hex or null" and value is None):
        return value
    else:
        try:
            return exact_hex(value)
        except ValueError:
            pass
    raise EvidenceInvalid("container", f"{name} is not what it should be")
