"""What a table's row is before a database has it."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

Json: TypeAlias = dict[str, Any] | list[Any]
Value: TypeAlias = bool | int | str | bytes | Decimal | date | datetime | UUID | Json | None
Row: TypeAlias = dict[str, Value]  # by column name; every row of a table names all its columns


def json_text(value: Json) -> str:
    """The value as JSON with sorted names and Chinese text unescaped."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_number)


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
