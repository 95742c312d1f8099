"""The README's commands, run once in a folder of their own; what they print and leave is what the documents are held against."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import typer.rich_utils  # noqa: F401 - imported here once, so that the children need not

import api.commands
import api.demo  # noqa: F401
from api.cli import main

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a Markdown text in this language."""
    return [found[2] for found in _FENCE.finditer(text) if found[1] == language]


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def _become(arguments: list[str], folder: Path, environment: dict[str, str], out: int, err: int) -> NoReturn:
    """Turn this process, a fresh child, into the program."""
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Trial:
    """A folder in which commands run as a newcomer would type them. `output` is what each block of the README printed."""

    folder: Path
    output: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "H"

    def run(self, line: str, *, expect: int | None = 0) -> str:
        """What one line prints on standard output; fails unless it exits with `expect` (None: any code)."""
        words = shlex.split(line, comments=True)
        if words[0] == "sqlite3":
            connection = sqlite3.connect(self.folder / words[1], isolation_level=None)
            connection.execute(words[2])
            connection.close()
            return ""
        assert words[0] == "careseal", f"the tests do not know how to run {line!r}"
        done = self.command(words[1:])
        self.codes[line] = done.returncode
        assert expect is None or done.returncode == expect, f"{line}: {done.returncode} {done.stderr}"
        return done.stdout

    def command(self, arguments: list[str], **environment: str) -> Outcome:
        """Run the program in the folder, in a child that has it imported already."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CARESEAL_") and name != "LC_ALL"}
        own = {"XDG_CONFIG_HOME": str(self.folder / "config"), "LANG": "C.UTF-8"}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                _become(arguments, self.folder, kept | own | environment, out.fileno(), err.fileno())
            _, status = os.waitpid(child, 0)
            out.seek(0)
            err.seek(0)
            return Outcome(os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())

    def json(self, line: str, *, expect: int | None = 0) -> dict[str, Any]:
        """The JSON document that a line prints."""
        return dict(json.loads(self.run(line, expect=expect)))

    def one(self, query: str) -> tuple[Any, ...]:
        connection = sqlite3.connect(self.folder / "his.db")
        row = connection.execute(query).fetchone()
        connection.close()
        return tuple(row)


def readme(number: int) -> list[str]:
    """The commands of one `sh` block of the README: sample, quick start, alteration, loss."""
    return [line for line in blocks((ROOT / "README.md").read_text(encoding="utf-8"), "sh")[number].splitlines() if line.strip()]


def quick_start(folder: Path) -> Trial:
    """A folder in which the README's sample and quick start were run."""
    made = Trial(folder.resolve())
    for number in (0, 1):
        made.output.append("".join(made.run(line) for line in readme(number)))
    return made


def recovery_passphrase(trial: Trial) -> str:
    """The passphrase that `init` printed once."""
    found = re.search(r"[a-z0-9]{4}(-[a-z0-9]{4}){5}", trial.output[1])
    assert found
    return found[0]
