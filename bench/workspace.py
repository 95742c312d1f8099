"""What the measurements share: sizes, sealed homes and a PostgreSQL server, all made once in a folder that goes away at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import homes, rows

if TYPE_CHECKING:
    from tests.conftest import PostgresServer


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows and repeats of the measurements."""

    small: int = 100_000
    large: int = 1_000_000
    sealed: int = 50_000  # rows of one measured seal
    repeats: int = 7
    few: int = 3  # repeats of what takes long
    inserts: int = 400
    proofs: int = 4_000
    evidence: int = 10_000  # records


QUICK = Sizes(20_000, 100_000, 10_000, 3, 2, 100, 1_000, 2_000)


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital's database with table `lab` under seal, and the home beside it."""

    url: str
    database: Path
    home: Path
    rows: int


@dataclass(slots=True)
class Workspace:
    """Makes things when they are first asked for."""

    folder: Path
    sizes: Sizes
    _stack: ExitStack
    _hospitals: dict[int, Hospital] = field(default_factory=dict)
    _postgres: PostgresServer | None = None
    _copies: int = 0

    def hospital(self, count: int) -> Hospital:
        """A hospital on SQLite with `count` rows, all sealed."""
        if count not in self._hospitals:
            say(f"building a hospital of {count:,} rows and sealing it")
            place = self.folder / f"hospital-{count}"
            place.mkdir()
            url = rows.build_sqlite(place / "his.db", {"lab": (1, count)})
            home = homes.create(place / "home")
            homes.attach_to(home, url, ["lab"])
            added, _ = homes.seal_all(home)
            assert added == count
            self._hospitals[count] = Hospital(url, place / "his.db", home, count)
        return self._hospitals[count]

    def postgres(self) -> PostgresServer:
        """A running server with default durability; PostgreSQL's programs must be installed."""
        from tests.conftest import PostgresServer

        if self._postgres is None:
            say("starting a PostgreSQL server")
            server = PostgresServer(fsync=True)
            self._stack.callback(server.remove)
            server.start()
            self._postgres = server
        return self._postgres

    @contextmanager
    def copy(self, home: Path) -> Iterator[Path]:
        """A copy of a home, to be changed and thrown away."""
        self._copies += 1
        target = self.folder / f"copy-{self._copies}"
        shutil.copytree(home, target)
        try:
            yield target
        finally:
            shutil.rmtree(target)


@contextmanager
def workspace(sizes: Sizes) -> Iterator[Workspace]:
    """A workspace in a temporary folder, removed with all that runs in it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="careseal-bench-")))
        yield Workspace(folder, sizes, stack)


def say(text: str) -> None:
    """Tell what takes time now."""
    print(f"  ... {text}", flush=True)
