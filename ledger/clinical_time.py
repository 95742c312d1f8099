"""The time that a row declares for itself."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

# The basic form of ISO 8601 as hospital systems write it, by its number of digits.
_COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_FAR = re.compile(r"[0-9]{5,7}-[0-9]{2}-[0-9]{2}\b")  # PostgreSQL's years go on where Python's end
_YEARS = range(1800, 2200)


def declared_time(text: str | None) -> float | None:
    """Seconds since 1970 UTC of a declared time: ISO 8601, its compact forms, or a number of seconds or milliseconds.

    Eight, twelve or fourteen digits are YYYYMMDD, with HHMM or HHMMSS, where they are such a time in the years 1800 to 2199. A day
    without time of day counts as its last second, a time without zone as UTC; infinite outside the years 1 to 9999. None where the
    text is no time.
    """
    if text is None:
        return None
    text = text.strip()
    moment = _compact(text)
    if moment is not None:
        return _seconds(moment, whole_day=len(text) == 8)
    try:
        number = float(text)
    except ValueError:
        return _from_iso(text)
    if math.isnan(number):
        return None
    return number / 1000 if abs(number) >= 1e11 else number


def _compact(text: str) -> datetime | None:
    form = _COMPACT.get(len(text))
    if form is None or not re.fullmatch(r"[0-9]+", text) or int(text[:4]) not in _YEARS:
        return None
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None


def _from_iso(text: str) -> float | None:
    if text.endswith(" BC"):
        return -math.inf
    if _FAR.match(text):
        return math.inf
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _seconds(moment, whole_day=len(text) <= 10)


def _seconds(moment: datetime, *, whole_day: bool) -> float | None:
    try:
        if whole_day:
            moment += timedelta(days=1, seconds=-1)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None
