"""Compile the contracts into the artifacts that are shipped; development only, needs the Vyper compiler.

`python -m contracts.compile` writes them, `python -m contracts.compile --check` compares and exits 1 when they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from eth_hash.auto import keccak

SOURCES = Path(__file__).parent
ARTIFACTS = SOURCES / "artifacts"
MODULES = {"Consortium": (), "Journals": ("consistency",), "Succession": ()}
EVM_VERSION = "london"


def compiled(name: str) -> str:
    """The artifact of one contract as canonical JSON text: the same sources and compiler give the same bytes everywhere.

    `bytecode` is the deployment code without constructor arguments and without the compiler's metadata; the contracts have
    no immutables, so `code_hash` (keccak-256 of the runtime code) is what every chain holds. Raises the compiler's own errors.
    """
    import vyper  # type: ignore[import-untyped]
    from vyper.compiler import compile_from_file_input  # type: ignore[import-untyped]
    from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]
    from vyper.compiler.settings import OptimizationLevel, Settings  # type: ignore[import-untyped]

    bundle = FilesystemInputBundle([SOURCES])
    output = compile_from_file_input(
        bundle.load_file(f"{name}.vy"),
        bundle,
        Settings(evm_version=EVM_VERSION, optimize=OptimizationLevel.GAS),
        output_formats=("abi", "bytecode", "bytecode_runtime", "layout"),
        no_bytecode_metadata=True,
    )
    layout = output["layout"]
    if "code_layout" in layout:
        raise ValueError(f"{name} has immutables: its code hash would differ between deployments; keep them in storage")
    runtime = output["bytecode_runtime"]
    files = [f"{stem}.vy" for stem in (name, *MODULES[name])]
    artifact = {
        "name": name,
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime_bytecode": runtime,
        "code_hash": "0x" + keccak(bytes.fromhex(runtime.removeprefix("0x"))).hex(),
        "storage_layout": layout["storage_layout"],
        "compiler": f"vyper {vyper.__version__}",
        "evm_version": EVM_VERSION,
        "sources": {file: hashlib.sha256((SOURCES / file).read_bytes()).hexdigest() for file in files},
    }
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def outdated() -> list[str]:
    """The names of the contracts whose shipped artifact is missing or differs from a fresh compilation."""
    return [name for name in MODULES if not _same(ARTIFACTS / f"{name}.json", compiled(name))]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str] | None = None) -> int:
    """Write or, with `--check`, compare the artifacts; the exit code is 1 when a compared one differs."""
    parser = argparse.ArgumentParser(prog="python -m contracts.compile", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when an artifact is out of date")
    if parser.parse_args(arguments).check:
        stale = outdated()
        for name in stale:
            print(f"contracts/artifacts/{name}.json is out of date: run python -m contracts.compile")
        return 1 if stale else 0
    ARTIFACTS.mkdir(exist_ok=True)
    for name in MODULES:
        (ARTIFACTS / f"{name}.json").write_text(compiled(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
