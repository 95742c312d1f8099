"""Choices that look random and are the same on every machine, at every time, in every process."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")


def draw(bound: int, *about: object) -> int:
    """A number in [0, bound), fixed by what it is about. Not for secrets."""
    return int.from_bytes(_digest(about)[:8]) % bound


def chance(percent: int, *about: object) -> bool:
    """True for about `percent` of all subjects."""
    return draw(100, *about) < percent


def pick(options: Sequence[T], *about: object) -> T:
    """One of the options."""
    return options[draw(len(options), *about)]


def draw_uuid(*about: object) -> UUID:
    """A UUID in the form of a random one (RFC 9562, version 4)."""
    return UUID(bytes=_digest(about)[:16], version=4)


def _digest(about: tuple[object, ...]) -> bytes:
    return sha256("\x1f".join(map(str, about)).encode()).digest()
