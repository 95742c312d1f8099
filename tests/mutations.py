"""Every way of changing one thing in an evidence file: each value dropped, doubled, reordered, extended, oversized, or of other content."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from anchoring.container import encode

Path = tuple[str | int, ...]
ODD: tuple[Any, ...] = (None, True, 1.5, "", "zz", {}, [], [None], [1], "0x00", -1, 2**53 - 1, 2**53, "AB", "a b")


def mutations(parts: dict[str, Any], *, only: set[str] | None = None, flips: int = 24) -> Iterator[tuple[Path, str, bytes]]:
    """Where, what was done, and the file. `only` these members of the file; `flips` bits in each byte string."""
    for name in parts:
        if only is None or name in only:
            yield from _member(parts, (), name, flips)
    yield (), "another member", encode(parts | {"remark": {}})


def _member(parts: dict[str, Any], at: Path, name: str, flips: int) -> Iterator[tuple[Path, str, bytes]]:
    """What can be done to one member of an object."""
    place = (*at, name)
    value = _get(parts, place)
    yield place, "dropped", encode(_changed(parts, at, {key: item for key, item in _get(parts, at).items() if key != name}))
    yield place, "twice", _twice(parts, place)
    yield from _value(parts, place, value, flips)


def _value(parts: dict[str, Any], place: Path, value: Any, flips: int) -> Iterator[tuple[Path, str, bytes]]:
    for other in ODD:
        if other != value or type(other) is not type(value):
            yield place, f"of another type: {other!r}", encode(_changed(parts, place, other))
    if isinstance(value, dict):
        yield place, "another field", encode(_changed(parts, place, value | {"remark": ""}))
        for name in value:
            yield from _member(parts, place, name, flips)
    elif isinstance(value, list):
        yield from _list(parts, place, value, flips)
    elif isinstance(value, bool) or value is None:
        yield place, "given", encode(_changed(parts, place, "ab" * 32))
    elif isinstance(value, int):
        for number in {value + 1, max(value - 1, 0), 0, value + 2**32} - {value}:
            yield place, f"{number}", encode(_changed(parts, place, number))
    else:
        for what, other in _texts(value, flips):
            if other != value:
                yield place, what, encode(_changed(parts, place, other))


def _list(parts: dict[str, Any], place: Path, value: list[Any], flips: int) -> Iterator[tuple[Path, str, bytes]]:
    def put(what: str, items: list[Any]) -> Iterator[tuple[Path, str, bytes]]:
        if items != value:
            yield place, what, encode(_changed(parts, place, items))

    yield from put("emptied", [])
    yield from put("reversed", value[::-1])
    yield from put("extended", [*value, value[-1] if value else "00"])
    yield from put("extended", [*value, "00" * 32])
    yield from put("oversized", (value or ["00" * 32]) * (5000 // max(len(value), 1)))
    for at in _spread(len(value), 6):
        yield from put(f"without {at}", value[:at] + value[at + 1 :])
        yield from put(f"{at} twice", [*value[: at + 1], *value[at:]])
        if at:
            yield from put(f"{at} first", [value[at], *value[:at], *value[at + 1 :]])
        yield from _value(parts, (*place, at), value[at], max(flips // 4, 3))


def _texts(value: str, flips: int) -> Iterator[tuple[str, str]]:
    try:
        data = bytes.fromhex(value)
    except ValueError:
        yield from (("longer", value + "x"), ("oversized", value * 100_000), ("shorter", value[:-1]))
        return
    for at in _spread(len(data), flips):
        for bit in (1, 128):
            yield f"bit {bit} of byte {at}", (data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]).hex()
    yield from (("empty", ""), ("half", data[: len(data) // 2].hex()), ("cut", data[:-1].hex()), ("longer", (data + b"\0").hex()))
    yield from (("shifted", (b"\0" + data).hex()), ("doubled", (data * 2).hex()), ("reversed", data[::-1].hex()))
    yield from (("oversized", (data + bytes(100_000)).hex()), ("spaced", value[:2] + " " + value[2:]), ("upper case", value.upper()))


def _spread(count: int, wanted: int) -> list[int]:
    """At most so many places, first and last among them."""
    return sorted({round(step * (count - 1) / max(min(count, wanted) - 1, 1)) for step in range(min(count, wanted))})


def _get(parts: Any, place: Path) -> Any:
    for step in place:
        parts = parts[step]
    return parts


def _changed(parts: dict[str, Any], place: Path, value: Any) -> dict[str, Any]:
    if not place:
        return dict(value)
    changed = copy.deepcopy(parts) if len(place) < 3 else dict(parts)
    at: Any = changed
    for step in place[:-1]:
        at[step] = copy.copy(at[step])
        at = at[step]
    at[place[-1]] = value
    return changed


def _twice(parts: dict[str, Any], place: Path) -> bytes:
    """The file with one member written twice."""
    mark = "twice"
    marked = encode(_changed(parts, place, mark)).decode()
    value = json.dumps(_get(parts, place), sort_keys=True, separators=(",", ":"))
    written = f'"{place[-1]}":"{mark}"'
    assert marked.count(written) == 1
    return marked.replace(written, f'"{place[-1]}":{value},"{place[-1]}":{value}').encode()
