"""The time that a row declares for itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def declared_time(text: str | None) -> float | None:
    """Seconds since 1970 UTC of a declared time: ISO 8601, or a number of seconds or milliseconds.

    A day without time of day counts as its last second, a time without zone as UTC; None where the text is no time.
    """
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return _from_iso(text.strip())
    return number / 1000 if abs(number) >= 1e11 else number


def _from_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text) <= 10:
        moment += timedelta(days=1, seconds=-1)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None
