"""Worlds for the tests of durability and publication; a browser for those of the verifier page."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from browser import Verifier, browser
from tessera import fsck  # noqa: F401 - a fixture
from world import World

MEMORY = Path("/dev/shm")  # noqa: S108 - kill -9 takes no file with it, so a disk would only make the tests slow


@pytest.fixture
def place():
    """An empty folder, in memory where there is one."""
    base = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base, prefix="careseal-") as folder:
        yield Path(folder)


@pytest.fixture
def world(place):
    """A hospital with tables attached and nothing sealed yet."""
    folder = place / "world"
    folder.mkdir()
    return World(folder).init().attach()


@pytest.fixture
def sealed(world):
    """The same with the baseline sealed and anchored."""
    world.ok("seal")
    return world


@pytest.fixture(scope="module")
def chromium():
    """Headless Chromium; not for longer, for Playwright keeps an event loop running that other tests cannot do with."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(chromium):
    """The verifier page, called as programs call it."""
    opened = chromium.new_page()
    yield Verifier(opened)
    opened.close()
