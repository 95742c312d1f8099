"""What every package of Careseal shares: the version and the root of the error tree."""

from __future__ import annotations

__version__ = "0.1.0"


class CaresealError(Exception):
    """Root of every error that Careseal raises on purpose.

    The text is one line, says what to do, and never carries patient data.
    """
