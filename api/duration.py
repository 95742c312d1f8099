"""Durations as people write them."""

from __future__ import annotations

import re

from careseal import CaresealError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class DurationError(CaresealError):
    """A duration that cannot be read."""


def seconds(text: str) -> float:
    """Seconds in 90, 90s, 30m, 24h or 2d."""
    found = re.fullmatch(r"(\d{1,9})\s*([smhd]?)", text.strip())
    if found is None:
        raise DurationError(f"{text} is no duration: write 90s, 30m, 24h or 2d")
    return int(found[1]) * _UNITS[found[2]]
