"""The command line in forked children, quick to start, with a clock that runs ahead and a fuse that kills at a chosen step."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

# Commands import what they need when they run; the children get it from here.
import psycopg
import typer.rich_utils  # noqa: F401

import anchoring.export
import anchoring.restore
import anchoring.rolling
import anchoring.sealing  # noqa: F401
import api.cli
import api.commands
import api.demo
import ledger.keys
import node.embedded
import node.server

ROOT = Path(__file__).resolve().parents[1]
SPEED = 60.0
SCRYPT_N = 16
_BASE = time.time()
_hasty = True
_real_time, _real_sleep, _real_connect = time.time, time.sleep, sqlite3.connect
_HARMLESS = ("SELECT", "WITH", "PRAGMA", "ROLLBACK", "--")
_MOVES = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "link", "symlink")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `code` is minus the signal where it was killed."""

    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def json(self):
        return json.loads(self.out)

    def line(self) -> str:
        """The one line of an error: nothing on standard output, no traceback."""
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("careseal: "), self
        return lines[0].removeprefix("careseal: ")


def run(*arguments: object, kill_at: int | None = None, before=None, then=None, environment: dict[str, str] | None = None) -> Outcome:
    """Run a command in a child; with `kill_at` the child is killed by SIGKILL at its n-th durable step.

    `before` is called in the child first: what it patches stays there. `then` is called there instead of a command.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = start(*arguments, out=out, err=err, kill_at=kill_at, before=before, then=then, environment=environment)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return Outcome(os.waitstatus_to_exitcode(status), *texts)


def here(*arguments: object, environment: dict[str, str]) -> Outcome:
    """Run a command in this process, which costs half of a child; what it changes in the process is put back."""
    out, err, before = io.StringIO(), io.StringIO(), (dict(os.environ), os.umask(0o022))
    functions = {function: function.__kwdefaults__["sleep"] for function in _sleeping()}
    stretch, code = ledger.keys._SCRYPT["n"], 0
    try:
        os.environ.update(environment)
        hasten()
        with redirect_stdout(out), redirect_stderr(err):
            api.cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        time.time, ledger.keys._SCRYPT["n"] = _real_time, stretch
        for function, sleep in functions.items():
            function.__kwdefaults__["sleep"] = sleep
        os.environ.clear()
        os.environ.update(before[0])
        os.umask(before[1])
    return Outcome(code, out.getvalue(), err.getvalue())


def process(*arguments: object, environment: dict[str, str]) -> Outcome:
    """Run a command as its users do, in a process of its own."""
    command = [sys.executable, "-m", "api.cli", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def start(*arguments: object, out, err, kill_at: int | None = None, before=None, then=None,
          environment: dict[str, str] | None = None) -> int:
    """Start a command in a child of its own process group and return the child's id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        gc.disable()  # a collection would copy every page that parent and child share
        os.setpgid(0, 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        os.environ.update(environment or {})
        hasten()
        if before is not None:
            before()
        if kill_at is not None:
            _light(Fuse(kill_at))
        if then is not None:
            then()
        else:
            api.cli.main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return 0


def fast_time() -> float:
    """The children's clock, in seconds since 1970 UTC."""
    if not _hasty:
        return _real_time()
    return _BASE + (_real_time() - _BASE) * SPEED


@contextmanager
def real_time():
    """Within it, time runs as it does and keys are stretched as they are, so that real processes can open the same homes."""
    global _hasty
    _hasty = False
    try:
        yield
    finally:
        _hasty = True


def hasten() -> None:
    """In this process, let time run ahead, so that nobody waits for the next block, and keys be stretched less."""
    if not _hasty:
        return
    time.time = fast_time
    for function in _sleeping():
        function.__kwdefaults__["sleep"] = lambda seconds: _real_sleep(seconds / SPEED)
    ledger.keys._SCRYPT["n"] = SCRYPT_N


@contextmanager
def quick_keys():
    """Keys are stretched in this process as in the children."""
    before = ledger.keys._SCRYPT["n"]
    ledger.keys._SCRYPT["n"] = SCRYPT_N if _hasty else before
    try:
        yield
    finally:
        ledger.keys._SCRYPT["n"] = before


def _sleeping():
    chain = node.embedded.EmbeddedChain
    return chain.open.__func__, chain.create.__func__, node.server.serve.__wrapped__


class Fuse:
    """Counts durable steps, and kills this process at the n-th, before it is done.

    Steps are what other processes could see: a change of a folder, a forced write, the begin and the end of a transaction, and a
    statement outside of any, and every statement of PostgreSQL. What a transaction did before its end is gone with the process.
    """

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        def statement(sql: str) -> None:
            verb = sql.split(None, 1)[0].upper()
            if verb in ("BEGIN", "COMMIT") or (verb not in _HARMLESS and not connection.in_transaction):
                self.step()

        connection.set_trace_callback(statement)
        return connection


def _light(fuse: Fuse) -> None:
    sqlite3.connect = lambda *arguments, **options: fuse.watch(_real_connect(*arguments, **options))
    for kind in (psycopg.Connection, psycopg.Cursor):
        kind.execute = _stepping(fuse, kind.execute)
    for name in _MOVES:
        setattr(os, name, _stepping(fuse, getattr(os, name)))


def _stepping(fuse: Fuse, function):
    def step(*arguments, **options):
        fuse.step()
        return function(*arguments, **options)

    return step
