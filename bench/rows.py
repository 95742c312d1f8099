"""Generated clinical rows: ten columns, about 700 bytes, the same for the same number on every machine and engine."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import psycopg

Row: TypeAlias = tuple[int, str, str, str, int | None, float, str, str, str, str | None]

COLUMNS = ("id", "patient_no", "visit_date", "department", "status", "amount", "note", "details", "updated_at", "closed_at")
SUBJECT = "patient_no"
ROWS_PER_PATIENT = 50  # of one table; Synthea's patients have hundreds of resources, over ten tables or so

_SQLITE_TYPES = (
    "INTEGER PRIMARY KEY", "TEXT NOT NULL", "DATE NOT NULL", "TEXT NOT NULL", "INTEGER",
    "NUMERIC(12,2)", "TEXT", "TEXT", "TIMESTAMP", "DATE",
)  # fmt: skip
_POSTGRES_TYPES = (
    "bigint PRIMARY KEY", "text NOT NULL", "date NOT NULL", "text NOT NULL", "integer",
    "numeric(12,2)", "text", "jsonb", "timestamptz", "date",
)  # fmt: skip
_DEPARTMENTS = ("心血管内科", "神经外科", "Radiology", "儿科", "Emergency", "呼吸与危重症医学科", "General surgery", "肾内科")
_STATUS = (None, 1, 2, 3, 90000)
_SENTENCE = (
    "patient stable afebrile overnight no chest pain bilateral breath sounds clear abdomen soft continue present antibiotics review "
    "imaging tomorrow blood pressure within range discussed plan with family potassium replaced repeat electrolytes in the evening"
)
_PHRASES = ("患者今日神志清楚，", "未诉胸闷气促，", "双肺呼吸音清，", "继续当前抗感染治疗，", "明日复查血常规及电解质。")
_TEXTS = 1009  # different notes and details; a prime, so that they do not march in step with other columns


@cache
def _texts() -> list[tuple[str, str]]:
    """Notes of about 400 characters, some of them Chinese, and JSON documents of about 120."""
    random, words, made = Random(1), _SENTENCE.split(), []
    for _ in range(_TEXTS):
        note = " ".join(random.choices(words, k=50)) + " " + "".join(random.choices(_PHRASES, k=3))
        details = {
            "code": f"{random.randrange(10**5)}-{random.randrange(10)}",
            "value": random.randrange(10**4) / 100,
            "unit": random.choice(("mmol/L", "mg/dL", "g/L")),
            "range": {"low": 3.5, "high": 5.1},
            "flags": random.sample(("H", "L", "critical", "repeat", "verified"), 2),
        }
        made.append((note, json.dumps(details)))
    return made


def generate(first: int, count: int) -> Iterator[Row]:
    """Rows `first` to `first + count - 1`; a patient has fifty rows on average, at random places of the table."""
    texts, patients = _texts(), max(1, (first + count) // ROWS_PER_PATIENT)
    for number in range(first, first + count):
        mixed = number * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        mixed ^= mixed >> 29
        day = f"20{10 + mixed % 16}-{1 + mixed % 12:02d}-{1 + mixed % 28:02d}"
        note, details = texts[mixed % _TEXTS]
        yield (
            number,
            f"P{(mixed >> 8) % patients:08d}",
            day,
            _DEPARTMENTS[mixed % 8],
            _STATUS[mixed % 5],
            mixed % 10**7 / 100,
            note,
            details,
            f"{day} {mixed % 24:02d}:{mixed % 60:02d}:{mixed % 59:02d}",
            None if mixed % 3 else day,
        )


def definition(table: str, *, postgres: bool = False) -> str:
    """The CREATE TABLE statement."""
    types = _POSTGRES_TYPES if postgres else _SQLITE_TYPES
    return f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in zip(COLUMNS, types, strict=True))})"


def build_sqlite(path: Path, tables: dict[str, tuple[int, int]]) -> str:
    """Make a database whose tables hold rows (first, count), as a hospital would run it (WAL), and return its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for table, (first, count) in tables.items():
            connection.execute(definition(table))
            insert_sqlite(connection, table, first, count)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return f"sqlite:///{path}"


def insert_sqlite(connection: sqlite3.Connection, table: str, first: int, count: int) -> None:
    """Insert rows in one transaction."""
    with connection:
        connection.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(COLUMNS))})", generate(first, count))


def build_postgres(connection: psycopg.Connection, table: str, first: int, count: int) -> None:
    """Make a table with rows; analysed, so that the server plans as it would for an old table."""
    connection.execute(definition(table, postgres=True))
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row in generate(first, count):
            copy.write_row(row)
    connection.execute(f"VACUUM ANALYZE {table}")
