"""Clinics on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clinic import Clinic, PostgresClinic, SqliteClinic


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteClinic]:
    """An SQLite clinic."""
    made = SqliteClinic(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def clinic_url(postgres: Any) -> str:
    """The one database of this process's PostgreSQL clinics."""
    url: str = postgres.database()
    return url


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[PostgresClinic]:
    """A PostgreSQL clinic."""
    made = PostgresClinic(request.getfixturevalue("postgres"), request.getfixturevalue("clinic_url"))
    yield made
    made.close()


@pytest.fixture(params=["file", "server"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """A clinic on each engine in turn."""
    made: Clinic = request.getfixturevalue(request.param)
    return made
