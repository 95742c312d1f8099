"""Translates finished texts: a text that was made from a template is recognised, taken apart and made anew from the translation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter

JOINT = "; "


@dataclass(frozen=True, slots=True)
class Entry:
    """A template and its translation, both with {names}; `texts` names the placeholders that hold texts to translate as well."""

    template: str
    translation: str
    texts: frozenset[str] = frozenset()


class Templates:
    """All templates of a language. Those with the most literal text are tried first, and compiled when a text may be theirs."""

    def __init__(self, entries: Iterable[Entry], joint: str) -> None:
        self._exact: dict[str, str] = {}
        self._others: list[tuple[int, str, Entry]] = []
        self._compiled: dict[str, re.Pattern[str]] = {}
        self._joint = joint
        for entry in entries:
            parts = list(Formatter().parse(entry.template))
            literals = [literal for literal, _, _, _ in parts]
            if all(name is None for _, name, _, _ in parts):
                self._exact["".join(literals)] = entry.translation.format()
            else:
                self._others.append((sum(map(len, literals)), max(literals, key=len), entry))
        self._others.sort(key=lambda other: (-other[0], other[2].template))

    def translate(self, text: str) -> str:
        """The text's translation; the text itself where no template makes it. Several texts joined by "; " are each translated."""
        found = self._whole(text)
        if found is None and JOINT in text:
            parts = [self._whole(part) for part in text.split(JOINT)]
            if None not in parts:
                found = self._joint.join(map(str, parts))
        return text if found is None else found

    def _whole(self, text: str) -> str | None:
        if text in self._exact:
            return self._exact[text]
        for _, needle, entry in self._others:
            if needle in text:
                values = self._values(entry.template, text)
                if values is not None:
                    shown = {name: self.translate(value) if name in entry.texts else value for name, value in values.items()}
                    return entry.translation.format(**shown)
        return None

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
