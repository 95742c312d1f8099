"""One network for all tests of a process."""

from __future__ import annotations

import shutil

import pytest
from geth_network import GethNetwork


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    made = GethNetwork(tmp_path_factory.mktemp("network") / "n")
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.folder, ignore_errors=True)
