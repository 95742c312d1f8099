"""Durations, times and days as people write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from careseal import CaresealError
from ledger.errors import LedgerError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class DurationError(CaresealError):
    """A duration that cannot be read."""


def seconds(text: str) -> float:
    """Seconds in 90, 90s, 30m, 24h or 2d."""
    found = re.fullmatch(r"(\d{1,9})\s*([smhd]?)", text.strip())
    if found is None:
        raise DurationError(f"{text} is no duration: write 90s, 30m, 24h or 2d")
    return int(found[1]) * _UNITS[found[2]]


def moment(option: str, text: str) -> int:
    """A time as milliseconds since 1970 UTC; without an offset it is UTC. LedgerError where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise LedgerError(f"{option} {text}: write a time as 2026-11-23T22:00:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def end_of_day(text: str) -> int:
    """The end of the day that --until gives, in milliseconds since 1970 UTC. LedgerError where it is none."""
    try:
        return int(datetime.fromisoformat(date.fromisoformat(text).isoformat() + "T23:59:59+00:00").timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise LedgerError(f"--until {text}: write YYYY-MM-DD") from error
