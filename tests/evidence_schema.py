"""Makes anchoring/evidence.schema.json of the format that the verifier reads: `python -m tests.evidence_schema` writes it again."""

from __future__ import annotations

import json
from pathlib import Path

from anchoring.container import FORMAT, KINDS, MAX_NUMBER, OPTIONAL, VERSION, Either, Many, Spec

SCHEMA = Path(__file__).parents[1] / "anchoring" / "evidence.schema.json"
_HEX = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}


def schema() -> dict[str, object]:
    """JSON Schema, draft 2020-12: a file is one of the kinds."""
    kinds = {kind: _object({**FORMAT, **own}, {"careseal": {"const": VERSION}, "kind": {"const": kind}}) for kind, own in KINDS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Careseal evidence",
        "description": "Form only. docs/spec.md tells the one canonical writing, the bounds, and what is verified.",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "$defs": kinds,
    }


def _object(form: dict[str, Spec], more: dict[str, object] | None = None) -> dict[str, object]:
    properties = {**(more or {}), **{name: _form(spec) for name, spec in form.items()}}
    optional = {name: _form(spec) for name, spec in OPTIONAL.items()} if more else {}
    return {"type": "object", "properties": properties | optional, "required": sorted(properties), "additionalProperties": False}


def _form(spec: Spec) -> dict[str, object]:
    if isinstance(spec, Many):
        return {"type": "array", "items": _form(spec.form), "maxItems": spec.limit}
    if isinstance(spec, Either):
        return {"oneOf": [_object(form) for form in spec.forms]}
    if isinstance(spec, dict):
        return _object(spec)
    if spec == "int":
        return {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
    return {"oneOf": [_HEX, {"type": "null"}]} if spec == "hex or null" else _HEX


def written() -> bytes:
    return json.dumps(schema(), indent=1).encode() + b"\n"


if __name__ == "__main__":
    SCHEMA.write_bytes(written())
