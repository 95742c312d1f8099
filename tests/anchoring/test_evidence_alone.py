"""The verifier of evidence by itself: an environment with rlp, a keccak, a secp256k1, cryptography and what these need, and no more."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from evidence_vectors import VECTORS
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("rlp", "eth-hash", "pycryptodome", "coincurve", "cryptography")
OURS = ("careseal.py", "ledger", "contracts", "node", "anchoring")
FORBIDDEN = {"sqlalchemy", "sqlite3", "psycopg", "web3", "eth", "eth_account", "requests", "typer", "rich", "rfc8785", "babel", "lmdb"}


def closure(names: tuple[str, ...]) -> set[str]:
    """The distributions with all that they need without extras."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name not in found:
            found.add(name)
            needs = map(Requirement, distribution(name).requires or [])
            pending += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the locked wheels of the needed packages, and this program's packages but its api."""
    place = tmp_path_factory.mktemp("alone") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    for name in closure(NEEDED):
        found = distribution(name)
        assert locked[name] == found.version, f"{name} is not the one in the lock file: run make .venv/dev.stamp"
        for file in found.files or ():
            if not str(file).startswith("..") and file.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), site / file)
    for name in OURS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, site / name)
    return place / "bin" / "python"


def verify(python: Path, *arguments: object) -> tuple[int, dict[str, object]]:
    words = [str(python), "-I", "-m", "anchoring.evidence_main", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert done.stderr == "", done.stderr
    return done.returncode, json.loads(done.stdout)


def test_it_verifies_with_nothing_else(python):
    for vector in json.loads((VECTORS / "index.json").read_bytes())[:30:3]:
        trust = ("--network", VECTORS / vector["network"])
        code, shown = verify(python, VECTORS / vector["file"], *trust)
        assert (code, shown.get("link")) == ((0, None) if vector["link"] is None else (1, vector["link"]))
    code, shown = verify(python, VECTORS / "valid-latest.json", "--network", VECTORS / "clique-1.network.json", "--journal",
                         VECTORS / "journal", "--values")  # fmt: skip
    assert (code, shown["later_versions_excluded"], shown["values"]["patient"]) == (0, True, "p1")
    code, shown = verify(python, VECTORS / "valid-qbft-votes.json", "--network", VECTORS / "qbft-votes.network.json")
    assert (code, shown["final"], shown["sealers_of"]) == (0, True, 4)
    code, shown = verify(python, VECTORS / "valid-latest-not.json", "--network", VECTORS / "clique-1.network.json", "--journal",
                         VECTORS / "journal")  # fmt: skip
    assert (code, shown["link"]) == (1, "latest")


def test_what_cannot_be_read_ends_with_2(python, tmp_path):
    network = VECTORS / "clique-1.network.json"
    for arguments in ((tmp_path / "none", "--network", network), (VECTORS / "valid-record.json", "--network", tmp_path / "none"),
                      (VECTORS / "valid-record.json", "--network", VECTORS / "valid-record.json"),
                      (VECTORS / "valid-record.json", "--network", network, "--journal", tmp_path)):  # fmt: skip
        code, shown = verify(python, *arguments)
        assert (code, shown["valid"]) == (2, None) and "\n" not in str(shown["reason"])


def test_it_loads_nothing_that_is_forbidden(python):
    program = "import sys, anchoring.evidence_main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([str(python), "-I", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert not FORBIDDEN & set(done.stdout.split())
