"""Tessera's fsck, a checker of transparency logs that knows nothing of Careseal."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = "github.com/transparency-dev/tessera/cmd/fsck@latest"
SECONDS = 60.0


class Fsck:
    """The program, found or built. It ends with 0 on failure too, and may hang: what it says within `SECONDS` counts."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def accepts(self, folder: Path, key: Path) -> bool:
        """Whether it says that the log is whole."""
        command = [self.program, "-N", "3", "-ui=false", "-public_key", key, "-storage_url", f"file://{folder.resolve()}/"]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                said, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
        assert "checking log of size" in said or "fsck failed" in said, said
        return "Successfully fsck'd log" in said and "fsck failed" not in said


def find() -> Path | None:
    """The program on the PATH or where Go puts it; the system's own fsck, which checks file systems, is another one."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), str(Path.home() / "go" / "bin")]
    for place in places:
        program = Path(place) / "fsck"
        if os.access(program, os.X_OK) and b"tlog-tiles" in program.read_bytes():
            return program
    return None


@pytest.fixture(scope="session")
def fsck() -> Fsck:
    """Tessera's fsck; without it and without Go the test is skipped, or fails where the environment says CI."""
    program = find()
    if program is None and shutil.which("go"):
        done = subprocess.run(["go", "install", MODULE], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        program = find()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Tessera's fsck is not installed, and CI must not skip it")
        pytest.skip("Tessera's fsck is not installed, and there is no Go to build it")
    return Fsck(program)
