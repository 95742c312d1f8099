"""What every package of Careseal shares: the version, the root of the error tree, and a safe way to read JSON."""

from __future__ import annotations

import json
import re
from typing import Any

__version__ = "0.1.0"

MAX_JSON_DEPTH = 64
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^"\[\]{}]++', re.DOTALL)


class CaresealError(Exception):
    """Root of every error that Careseal raises on purpose.

    The text is one line, says what to do, and never carries patient data.
    """


def json_depth(text: str) -> int:
    """How deep brackets outside of strings nest."""
    depth = deepest = 0
    for mark in _MARKS.sub("", text):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def read_json(data: bytes | str, **hooks: Any) -> Any:
    """`json.loads` of a UTF-8 text that somebody else may have written; ValueError too where it nests deeper than MAX_JSON_DEPTH.

    Python's own parser counts on the recursion limit, which py-evm lifts beyond what the stack holds: it would end the process.
    """
    text = data if isinstance(data, str) else data.decode()
    if json_depth(text) > MAX_JSON_DEPTH:
        raise ValueError("JSON that is nested too deep")
    return json.loads(text, **hooks)
