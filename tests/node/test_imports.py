"""The verifiers load neither an EVM nor web3 nor a database; the package knows nothing of records."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABOVE = {"ledger", "contracts", "anchoring", "consent", "api", "samples"}


@pytest.mark.parametrize("module", ["node.mpt", "node.clique", "node.header", "node.errors"])
def test_a_verifier_is_light(module):
    script = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    assert "node" in loaded
    assert not {"eth", "web3", "lmdb", "sqlite3", "trie", "eth_account", "requests"} & set(loaded)


def test_the_package_imports_nothing_above_it():
    for path in (ROOT / "node").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert not {name.split(".")[0] for name in names} & ABOVE, path
