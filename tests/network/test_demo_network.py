"""The demo on four real geth nodes, as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from forked import ROOT
from geth_network import needs_geth

from node.networks.plan import read_plan
from node.networks.runs import runs

pytestmark = [pytest.mark.slow, needs_geth]


def test_the_demo_of_a_network_ends_well_and_leaves_no_node(tmp_path):
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "api.cli", "demo", "--network", "--folder", folder]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    for words in ("ALTERED  lab_result", "LIED about block 3", "confirmed, not final: 3 of 4 sealers", "INTACT"):
        assert words in ended.stdout + ended.stderr
    assert not any(runs(folder / "network" / member.folder) for member in read_plan(folder / "network").members)
