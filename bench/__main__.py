"""`python -m bench`: measure, print every figure with its target, and leave nothing behind."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.audits import audit_postgres, audit_sqlite, processes
from bench.figure import Figure
from bench.gas import gas
from bench.inserts import inserts
from bench.memory import memory
from bench.proofs import proofs
from bench.sealing import kept_bytes, sealing
from bench.workspace import QUICK, Sizes, Workspace, workspace

MEASUREMENTS: dict[str, Callable[[Workspace], list[Figure]]] = {
    "audit-sqlite": audit_sqlite,
    "audit-postgres": audit_postgres,
    "processes": processes,
    "memory": memory,
    "seal": sealing,
    "proofs": proofs,
    "insert": inserts,
    "gas": gas,
    "bytes": kept_bytes,
}


def main() -> int:
    """Exit 0 when every target of the chosen measurements holds, 1 when one is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Careseal's own speed, measured on this machine.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repeats: a look, not a figure to quote")
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, with every run, to FILE")
    chosen = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    print(f"Careseal bench{' (quick)' if chosen.quick else ''}: {machine}")
    print("median of the runs, worst of them, target; below it what the figure is relative to\n")
    figures: list[Figure] = []
    start = time.monotonic()
    with workspace(QUICK if chosen.quick else Sizes()) as space:
        for name in chosen.only or MEASUREMENTS:
            print(f"{name}:")
            for figure in MEASUREMENTS[name](space):
                print(figure.line())
                figures.append(figure)
            print()
    missed = [figure.name for figure in figures if figure.holds is False]
    if chosen.json:
        document = {"machine": machine, "quick": chosen.quick, "figures": [figure.document() for figure in figures]}
        chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{sum(1 for f in figures if f.holds)} targets hold, {len(missed)} missed; {time.monotonic() - start:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
