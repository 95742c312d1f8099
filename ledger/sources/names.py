"""Names of the hospital's objects in SQL, and names of Careseal's own objects beside them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

# Seconds since 1970: a change of a later time than the year 9999 was not made by a trigger of ours.
LATEST = 253402300800


def quote(name: str) -> str:
    """The identifier `name`, whatever characters or reserved word it is, for both engines (SQL-92 delimited identifier)."""
    return '"' + name.replace('"', '""') + '"'


def quoted_list(names: Iterable[str], prefix: str = "") -> str:
    """The identifiers, quoted, each after `prefix`, parted by commas."""
    return ", ".join(prefix + quote(name) for name in names)


def slug(table: str) -> str:
    """A short ASCII name that is the table's alone: readable as far as it goes, then a part of its SHA-256."""
    readable = re.sub(r"[^a-z0-9]+", "_", table.lower()).strip("_")[:30]
    return f"{readable}_{hashlib.sha256(table.encode()).hexdigest()[:10]}".lstrip("_")


def numbered(prefix: str, count: int) -> list[str]:
    """`prefix_1` to `prefix_count`: queue columns, free of the hospital's names, which may collide or be odd."""
    return [f"{prefix}_{number}" for number in range(1, count + 1)]
