"""Texts of others, made fit to stand on a printed page: they stay in their place, in their length, and steer nothing.

What a record or a name may hold - control characters, writing from right to left, marks piled on one letter, characters that nobody
sees - is shown as code points, [U+202E].
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

MOST_RARE = 40  # different characters that the font may lack; the typesetter takes no more than 64
_MARKS_ON_ONE = 2
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
_COMMON = re.compile("[ -~\u00a1-\u00ff\u0370-\u03ff\u0400-\u045f\u3000-\u3015\u4e00-\u9fa5\uff01-\uff5e]")
_LINE = re.compile("\r\n|[\r\n]")
_BEYOND = " …"


class Printable:
    """Makes the texts of one document printable. The same texts in the same order become the same.

    `cut` and `coded`: whether any text was cut, and whether any holds a character that may be shown as its code point.
    """

    def __init__(self) -> None:
        self.cut = False
        self.coded = False
        self._rare: set[str] = set()

    def __call__(self, text: str, most: int) -> str:
        """The text in one line of at most `most` characters, of the original or of a code point's name."""
        made: list[str] = []
        length = marks = 0
        for character in islice(_LINE.sub("↵", text[: 2 * most + 2]), most + 1):
            marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            shown = character if marks <= _MARKS_ON_ONE and self._fit(character) else f"[U+{ord(character):04X}]"
            length += len(shown)
            if length > most:
                self.cut = True
                return "".join(made) + _BEYOND
            made.append(shown)
        return "".join(made)

    def _fit(self, character: str) -> bool:
        """Whether the character may stand there itself."""
        category = unicodedata.category(character)
        steers = category[0] == "C" or category in ("Zl", "Zp") or unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
        if not steers and _COMMON.fullmatch(character):
            return True
        self.coded = True
        if steers or category == "Zs" or _UNSEEN.fullmatch(character):
            return False
        if len(self._rare) < MOST_RARE:
            self._rare.add(character)
        return character in self._rare


def lines(text: str, wide: float) -> int:
    """How many lines a text takes where `wide` Latin letters fit into one; generously, an ideograph counting two."""
    width = sum(2 if unicodedata.east_asian_width(character) in "WFA" else 1.1 for character in text)
    return max(1, -int(-width // wide))
