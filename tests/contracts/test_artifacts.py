"""What is shipped is what the sources compile to, and it runs on chains older than London."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import boa
import pytest
from contract_world import World
from eth_hash.auto import keccak

from contracts import artifacts, compile

NAMES = ("Consortium", "Journals", "Succession")
ROOT = Path(artifacts.__file__).parents[1]
PUSH1, PUSH32 = 0x60, 0x7F
TOO_NEW = {0x48: "BASEFEE", 0x49: "BLOBHASH", 0x4A: "BLOBBASEFEE", 0x5C: "TLOAD", 0x5D: "TSTORE", 0x5E: "MCOPY", 0x5F: "PUSH0"}


def test_shipped_artifacts_equal_a_fresh_compilation(capsys: pytest.CaptureFixture[str]) -> None:
    assert compile.main(["--check"]) == 0, "run python -m contracts.compile"
    assert capsys.readouterr().out == ""


def test_compilation_does_not_depend_on_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in compile.SOURCES.glob("*.vy"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(compile, "SOURCES", tmp_path)
    for name in NAMES:
        assert compile.compiled(name) == (compile.ARTIFACTS / f"{name}.json").read_text(encoding="utf-8")


def test_stale_artifact_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Journals", "Succession"):
        (tmp_path / f"{name}.json").write_bytes((compile.ARTIFACTS / f"{name}.json").read_bytes())
    monkeypatch.setattr(compile, "ARTIFACTS", tmp_path)
    assert compile.main(["--check"]) == 1
    assert capsys.readouterr().out == "contracts/artifacts/Consortium.json is out of date: run python -m contracts.compile\n"
    assert compile.main([]) == 0
    assert compile.main(["--check"]) == 0


@pytest.mark.parametrize("name", NAMES[:2])
def test_deployed_code_is_the_shipped_runtime(world: World, name: str) -> None:
    artifact = artifacts.load(name)
    contract = {"Consortium": world.consortium, "Journals": world.journals}[name]
    code = bytes(boa.env.get_code(contract.address))
    assert code == artifact.runtime_bytecode
    assert keccak(code) == artifact.code_hash


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["bytecode", "runtime_bytecode"])
def test_no_opcode_is_newer_than_berlin(name: str, part: str) -> None:
    code: bytes = getattr(artifacts.load(name), part)
    # A table of jump targets follows the code's last block (it reverts) and may look like anything.
    end = code.rindex(bytes.fromhex("5b600080fd"))
    assert len(code) - end < 100
    place = 0
    while place < end:
        opcode = code[place]
        assert opcode not in TOO_NEW, f"{TOO_NEW[opcode]} at {place}"
        place += 1 + (opcode - PUSH1 + 1 if PUSH1 <= opcode <= PUSH32 else 0)


def test_abi_and_layout_are_complete() -> None:
    for name in NAMES:
        raw = json.loads((compile.ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))
        assert raw["compiler"] == "vyper 0.4.3"
        assert raw["evm_version"] == "london"
        assert set(artifacts.load(name).slots) == set(raw["storage_layout"])


def test_missing_artifact_says_what_to_do() -> None:
    with pytest.raises(artifacts.ArtifactError, match=r"^contract artifact Consents\.json is missing: reinstall Careseal$"):
        artifacts.load("Consents")


@pytest.mark.parametrize("module", ["contracts.artifacts", "contracts.layout", "contracts.actions"])
def test_evidence_needs_neither_web3_nor_a_compiler(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'web3', 'vyper', 'boa', 'eth', 'sqlalchemy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0
