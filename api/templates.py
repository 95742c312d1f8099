"""Translates finished texts: a text that was made from a template is recognised, taken apart and made anew from the translation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter

JOINT = "; "
# Bounds on what one text may cost: how far texts are looked for within texts, and how long, in characters, a single one may be.
DEEPEST = 5
LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """A template and its translation, both with {names}; `texts` names the placeholders that hold texts to translate as well."""

    template: str
    translation: str
    texts: frozenset[str] = frozenset()


class Templates:
    """All templates of a language; each is compiled when a text may be made from it."""

    def __init__(self, entries: Iterable[Entry], joint: str) -> None:
        self._exact: dict[str, str] = {}
        self._others: list[tuple[int, bool, str, Entry]] = []
        self._compiled: dict[str, re.Pattern[str]] = {}
        self._joint = joint
        for entry in entries:
            parts = list(Formatter().parse(entry.template))
            literals = [literal for literal, _, _, _ in parts]
            if all(name is None for _, name, _, _ in parts):
                self._exact["".join(literals)] = entry.translation.format()
            else:
                literal = "".join(literals)
                self._others.append((len(literal), bool(re.search(r"\w", literal)), max(literals, key=len), entry))
        self._others.sort(key=lambda other: (-other[0], other[3].template))

    def translate(self, text: str) -> str:
        """The text's translation; the text itself where no template makes it. Several texts joined by "; " are each translated."""
        return self._best(text, DEEPEST)[1]

    def _best(self, text: str, deep: int) -> tuple[int, str]:
        """The translation that leaves least of the text as it is, and how many characters of the text it knows."""
        if text in self._exact:
            return len(text), self._exact[text]
        found = (0, text)
        if not deep:
            return found
        for literal, words, needle, entry in self._others if len(text) <= LONGEST else ():
            values = self._values(entry.template, text) if needle in text else None
            if values is not None:
                inner = {name: self._best(value, deep - 1) if name in entry.texts else (0, value) for name, value in values.items()}
                inside = sum(count for count, _ in inner.values())
                known = literal + inside
                # Marks alone, such as a colon, do not make a text known.
                if known > found[0] and (inside or words):
                    found = known, entry.translation.format(**{name: value for name, (_, value) in inner.items()})
        if JOINT in text:
            parts = [self._best(part, deep - 1) for part in text.split(JOINT)]
            known = sum(count for count, _ in parts)
            if known > found[0] and all(count for count, _ in parts):
                found = known, self._joint.join(part for _, part in parts)
        return found

    def _values(self, template: str, text: str) -> Mapping[str, str] | None:
        """What stands in the text for each {name} of the template; None where the text is not made from it."""
        if template not in self._compiled:
            self._compiled[template] = re.compile(pattern(template), re.DOTALL)
        found = self._compiled[template].fullmatch(text)
        return None if found is None else found.groupdict()


def pattern(template: str) -> str:
    """The regular expression of all texts made from a template; a {name} that stands twice has the same value twice."""
    made, seen = [], set()
    for literal, name, _, _ in Formatter().parse(template):
        made.append(re.escape(literal))
        if name is not None:
            made.append(f"(?P={name})" if name in seen else f"(?P<{name}>.*?)")
            seen.add(name)
    return "".join(made)
