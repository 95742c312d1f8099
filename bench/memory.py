"""How much memory an audit takes: the peak of a process of its own. Run as a program, this is that process."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from bench import homes
from bench.figure import Figure
from bench.workspace import Workspace, say


def memory(space: Workspace) -> list[Figure]:
    """Peak resident memory of a full audit in one process, of a large table against a small one."""
    small, large = space.hospital(space.sizes.small), space.hospital(space.sizes.large)
    say("auditing both in processes of their own")
    peaks = [(_peak(small.home), _peak(large.home)) for _ in range(space.sizes.few)]
    return [
        Figure(
            "audit, memory", tuple(b / a for a, b in peaks), "x",
            f"peak resident memory at {large.rows:,} rows against {small.rows:,}", "at most", 1.2,
        ),
        Figure("audit, memory", tuple(b / 2**20 for _, b in peaks), "MiB", f"peak resident memory at {large.rows:,} rows", "at most"),
    ]  # fmt: skip


def _peak(home: Path) -> int:
    done = subprocess.run([sys.executable, "-m", "bench.memory", str(home)], check=True, capture_output=True)
    return int(done.stdout)


def own_peak() -> int:
    """Bytes. Linux's VmHWM is this program's alone; ru_maxrss would count the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    with homes.opened(Path(sys.argv[1])) as opened:
        homes.full_audit(opened)
    print(own_peak())
