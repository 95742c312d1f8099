"""`python -m bench`: measure, print every figure with its target, and leave nothing behind."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import sys
import time
from importlib import import_module
from pathlib import Path

from bench.figure import Figure
from bench.workspace import QUICK, Sizes, Workspace, workspace

# Modules are imported when they are needed: a process that an audit starts imports this one, as it would the command line.
MEASUREMENTS = {
    "audit-sqlite": "audits.audit_sqlite",
    "audit-postgres": "audits.audit_postgres",
    "processes": "audits.processes",
    "memory": "memory.memory",
    "seal": "sealing.sealing",
    "proofs": "proofs.proofs",
    "evidence": "evidence.evidence",
    "monitor": "monitoring.monitoring",
    "follower": "following.following",
    "publishing": "publishing.publishing",
    "insert": "inserts.inserts",
    "gas": "gas.gas",
    "bytes": "sealing.kept_bytes",
}


def measure(name: str, space: Workspace) -> list[Figure]:
    """Run one measurement by its name."""
    module, _, function = MEASUREMENTS[name].partition(".")
    figures: list[Figure] = getattr(import_module(f"bench.{module}"), function)(space)
    return figures


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
    if os.getloadavg()[0] > 0.5:
        print(f"something else is running here (load {os.getloadavg()[0]:.1f}): these are no figures to quote")
    print("median of the runs, worst of them, target; below it what the figure is relative to\n")
    # Ended from outside, it cleans up as well.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    figures: list[Figure] = []
    start = time.monotonic()
    with workspace(QUICK if chosen.quick else Sizes()) as space:
        for name in chosen.only or MEASUREMENTS:
            print(f"{name}:")
            for figure in measure(name, space):
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
