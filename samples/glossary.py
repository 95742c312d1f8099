"""Chinese names and ICD-10 codes of the concepts in the bundles."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from samples.bundles import Concept


def chinese(concept: Concept | None) -> str | None:
    """The concept's Chinese name, None where the glossary has none."""
    return _entry(concept)[0]


def icd10(concept: Concept) -> str | None:
    """The ICD-10 code of a diagnosis, None where it has none (social findings)."""
    return _entry(concept)[1]


def label(concept: Concept) -> str:
    """The Chinese name, else the English one."""
    return chinese(concept) or concept.display


def _entry(concept: Concept | None) -> tuple[str | None, str | None]:
    return (None, None) if concept is None else _glossary().get((concept.system, concept.code), (None, None))


@cache
def _glossary() -> dict[tuple[str, str], tuple[str | None, str | None]]:
    with (files("samples") / "synthea" / "terms-zh.tsv").open(encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(row["system"], row["code"]): (row["zh"], row["icd10"] or None) for row in rows}
