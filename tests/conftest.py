"""Real parts for the tests: a throw-away PostgreSQL server, started once per test process."""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL

# CI judges a change by the same examples every time; elsewhere each run looks for new ones.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

SUPERUSER = "postgres"
START_SECONDS = 30.0


class PostgresServer:
    """One PostgreSQL cluster in a directory of its own, reachable by unix socket (trusted) and by loopback (password).

    `fsync=False` trades durability over a power cut, which no test makes, for speed.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self._programs = _programs()
        self._fsync = fsync
        self._account = _account()
        self.directory = Path(tempfile.mkdtemp(prefix="careseal-pg-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        if self._account:
            os.chown(self.directory, self._account.pw_uid, self._account.pw_gid)
        made = subprocess.run(
            [self.program("initdb"), "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "-A", "trust",
             "--no-sync"],
            capture_output=True, check=False, **self._as_account(),
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.decode(errors='replace')}")
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.data / "pg_hba.conf").write_text(hba)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def program(self, name: str) -> str:
        """The path of a program of the server's own version, such as `pg_dump`."""
        return str(self._programs / name)

    def start(self) -> None:
        """Start the server and return when it answers; another free port is taken when the first was taken meanwhile."""
        for attempt in range(5):
            self.port = self.port if self.port and attempt == 0 else _free_port()
            log = (self.directory / f"log-{attempt}").open("wb")
            self._process = subprocess.Popen(
                [self.program("postgres"), "-D", str(self.data), "-k", str(self.directory), "-p", str(self.port),
                 "-c", "listen_addresses=127.0.0.1", "-c", f"fsync={'on' if self._fsync else 'off'}",
                 "-c", "max_connections=60", "-c", "shared_buffers=64MB", "-c", "unix_socket_permissions=0777"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent, **self._as_account(),
            )  # fmt: skip
            log.close()
            deadline = time.monotonic() + START_SECONDS
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    psycopg.connect(self._conninfo("postgres")).close()
                    return
                except psycopg.OperationalError:
                    time.sleep(0.05)
            self.stop()
        raise RuntimeError(f"PostgreSQL does not start: see {self.directory}")

    def stop(self, *, at_once: bool = False) -> None:
        """End the server and every connection to it; `at_once` as after a crash (recovery on the next start)."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def database(self, name: str | None = None) -> str:
        """Create an empty database owned by the superuser and return its SQLAlchemy URL."""
        self._databases += 1
        name = name or f"careseal_{self._databases}_{secrets.token_hex(3)}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.url(name)

    def role(self, name: str, password: str | None = None) -> str:
        """Make sure the login role exists, without any privilege, and return its name; roles are shared by all databases."""
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
            verb = sql.SQL("ALTER" if known else "CREATE")
            connection.execute(sql.SQL("{} ROLE {} LOGIN").format(verb, sql.Identifier(name)))
            if password is not None:
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        return name

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """The URL of a database, by name or by another user's URL; with a password over loopback, else by unix socket."""
        name = database.partition("?")[0].rpartition("/")[2]
        if password is not None:
            made = URL.create("postgresql+psycopg", user, password, "127.0.0.1", self.port, name)
        else:
            query = {"host": str(self.directory), "port": str(self.port)}
            made = URL.create("postgresql+psycopg", user, database=name, query=query)
        return made.render_as_string(hide_password=False)

    def connect(self, database: str, user: str = SUPERUSER, *, autocommit: bool = True) -> psycopg.Connection:
        """A psycopg connection to a database given by name or URL; nothing is prepared, for tests alter tables between statements."""
        name = database.partition("?")[0].rpartition("/")[2]
        return psycopg.connect(self._conninfo(name, user), autocommit=autocommit, prepare_threshold=None)

    def _conninfo(self, database: str, user: str = SUPERUSER) -> str:
        return psycopg.conninfo.make_conninfo(host=str(self.directory), port=self.port, user=user, dbname=database)

    def _as_account(self) -> dict[str, object]:
        if self._account is None:
            return {"cwd": self.directory}
        return {"cwd": self.directory, "user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}


def _programs() -> Path:
    """The directory of the server programs: of the PATH, else the newest of Debian's layout."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3].partition(".")[0]))
    if not places:
        raise FileNotFoundError("postgres")
    return places[-1].parent


def _account() -> pwd.struct_passwd | None:
    """The account that runs the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` exists")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    # A killed test run runs no finalizer; the kernel ends the server for it (PR_SET_PDEATHSIG is 1).
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL; without its programs the test is skipped, or fails where the environment says CI."""
    try:
        server = PostgresServer()
    except FileNotFoundError:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's initdb and postgres are not installed, and CI must not skip them")
        pytest.skip("PostgreSQL's initdb and postgres are not installed")
    try:
        server.start()
        yield server
    finally:
        server.remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: at the end nobody waits for one of them alone."""
    longest = ("test_geth_network", "test_killed", "test_hold_commands", "test_bad_input", "test_demo_network")
    items.sort(key=lambda item: not item.path.stem.startswith(longest))
