"""How errors end a command: one line on standard error, and an exit code."""

from __future__ import annotations

from anchoring.errors import EvidenceInvalid
from careseal import CaresealError

FINDINGS = 1
FAILED = 2


def exit_code(error: CaresealError) -> int:
    """1 where something was examined and is not valid, 2 where it could not be examined or done."""
    return FINDINGS if isinstance(error, EvidenceInvalid) else FAILED
