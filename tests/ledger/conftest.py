"""Worlds for the tests of the ledger: every engine, every capture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from audit_world import ENGINES, World, make_world


def _world(request: pytest.FixtureRequest, tmp_path: Path, engine: str, capture: str) -> Iterator[World]:
    made = make_world(engine, capture, tmp_path, lambda: request.getfixturevalue("postgres"))
    yield made
    made.close()


@pytest.fixture(params=[(engine, capture) for engine in ENGINES for capture in ("triggers", "scan")], ids="-".join)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On either engine, in either capture."""
    yield from _world(request, tmp_path, *request.param)


@pytest.fixture(params=ENGINES)
def captured(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On either engine, captured by triggers."""
    yield from _world(request, tmp_path, request.param, "triggers")


@pytest.fixture(params=ENGINES)
def scanned(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On either engine, captured by scan."""
    yield from _world(request, tmp_path, request.param, "scan")


@pytest.fixture
def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On SQLite, captured by triggers."""
    yield from _world(request, tmp_path, "sqlite", "triggers")


@pytest.fixture
def pg(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On PostgreSQL, captured by triggers."""
    yield from _world(request, tmp_path, "postgresql", "triggers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No contract runs here: titanoboa need not keep a chain state for each fixture and example."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ignore_isolation)
