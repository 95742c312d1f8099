"""JSON as it was written: values with their numbers digit for digit, and where in the text each of them stands. Pure.

FHIR decimals are significant (1.10 is not 1.1), so a number stays the text that it was. Refused are names that occur twice in one
object, NaN and infinities, and values nested deeper than `MAX_DEPTH`: readers of JSON differ on all of these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from careseal import json_depth
from ledger.errors import WireError

MAX_DEPTH = 64


class Number(str):
    """A JSON number, as it was written."""

    __slots__ = ()


Json = Number | str | bool | None | list["Json"] | dict[str, "Json"]

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_AROUND = 3  # levels of a bundle around a resource


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise WireError("a name occurs twice in one JSON object")
    return made


def _no_constant(name: str) -> NoReturn:
    raise WireError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Number, parse_int=Number, parse_constant=_no_constant)


class Scanner:
    """Walks over a JSON text without keeping more of it than the value at hand. Raises WireError on anything that is not JSON.

    `start` and `position` are where the last value read begins and ends.
    """

    def __init__(self, text: str) -> None:
        # The parser in C counts on Python's recursion limit, which other libraries lift beyond what the stack holds.
        if json_depth(text) > MAX_DEPTH + _AROUND:
            raise WireError(f"JSON nested deeper than {MAX_DEPTH} levels")
        self.text = text
        self.start = self.position = 0
        self._skip()

    def value(self) -> Json:
        """The value that stands here."""
        self._skip()
        self.start = self.position
        try:
            made, self.position = _DECODER.raw_decode(self.text, self.position)
        except ValueError:
            raise WireError("this is not JSON, or it breaks off") from None
        if _deeper(made, MAX_DEPTH):
            raise WireError(f"JSON nested deeper than {MAX_DEPTH} levels")
        return made  # type: ignore[no-any-return]

    def members(self) -> Iterator[str]:
        """The names of the object that stands here; whoever gets a name reads its value before asking for the next."""
        self._expect("{")
        seen: set[str] = set()
        while not self._take("}"):
            if seen:
                self._expect(",")
            name = self._name()
            if name in seen:
                raise WireError("a name occurs twice in one JSON object")
            seen.add(name)
            self._expect(":")
            self._skip()
            yield name

    def items(self) -> Iterator[int]:
        """The numbers, from 0, of the elements of the array that stands here, to be read in the same way."""
        self._expect("[")
        count = 0
        while not self._take("]"):
            if count:
                self._expect(",")
            self._skip()
            yield count
            count += 1

    def end(self) -> None:
        """Raise WireError unless nothing but white space follows."""
        self._skip()
        if self.position != len(self.text):
            raise WireError("something follows the JSON value")

    def _name(self) -> str:
        self._skip()
        if self.text[self.position : self.position + 1] != '"':
            raise WireError("this is not JSON, or it breaks off")
        return str(self.value())

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def _take(self, mark: str) -> bool:
        self._skip()
        taken = self.text.startswith(mark, self.position)
        self.position += taken
        return taken

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise WireError("this is not JSON, or it breaks off")


def parse(text: str) -> Json:
    """The value that all of `text` is. Raises WireError."""
    scanner = Scanner(text)
    made = scanner.value()
    scanner.end()
    return made


def elements(text: str) -> dict[str, str] | None:
    """The source text of each top-level element of an object, by name; None where `text` is no JSON object."""
    found: dict[str, str] = {}
    try:
        scanner = Scanner(text)
        for name in scanner.members():
            scanner.value()
            found[name] = text[scanner.start : scanner.position]
        scanner.end()
    except WireError:
        return None
    return found


def differing(one: str, other: str) -> tuple[str, ...]:
    """The names of the top-level elements whose source texts differ; none where either text is no JSON object."""
    was, now = elements(one), elements(other)
    if was is None or now is None:
        return ()
    return tuple(name for name in {**was, **now} if was.get(name) != now.get(name))


def _deeper(value: Json, levels: int) -> bool:
    if isinstance(value, list):
        return levels == 0 or any(_deeper(item, levels - 1) for item in value if isinstance(item, list | dict))
    if isinstance(value, dict):
        return levels == 0 or any(_deeper(item, levels - 1) for item in value.values() if isinstance(item, list | dict))
    return False
