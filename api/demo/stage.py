"""The demo's folder, its three hospitals, and what every step of it does: SQL, commands, seals, audits."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from collections import Counter
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from anchoring.link import Link
from anchoring.publish import publish
from anchoring.verify import Verified, verify
from api.console import Timer, err, out, say
from api.findings_view import print_findings
from api.language import _, reported, spoken
from ledger.audit import Scope
from ledger.findings import FindingKind
from ledger.home import Home
from ledger.seal import seal
from ledger.tables import attached_tables

PASSPHRASE = "demo-only"  # noqa: S105 - homes of the demo hold synthetic records only


class Demo:
    """The demo's folder and its three hospitals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.secret = PASSPHRASE.encode()
        self.failed = 0
        self.files: list[tuple[Path, str]] = []  # left for looking at, and what they are
        self.prints = _has_font()
        self._steps = 0
        for name in ("CARESEAL_PASSPHRASE", "CARESEAL_KEY_PASSPHRASE"):
            os.environ[name] = PASSPHRASE
            os.environ.pop(f"{name}_FILE", None)

    def home(self, number: int) -> Path:
        return self.folder / f"hospital-{number}"

    def database(self, number: int) -> Path:
        return self.folder / f"his-{number}.db"

    def sql(self, number: int, *statements: str) -> None:
        """Run statements on a hospital's database, as an application or an administrator would, and show them."""
        connection = sqlite3.connect(self.database(number), isolation_level=None)
        connection.execute("PRAGMA foreign_keys=ON")
        for statement in statements:
            out.print(f"    sql> {statement}", markup=False, style="cyan")
            connection.execute(statement)
        connection.close()

    def one(self, number: int, query: str) -> tuple[str, ...]:
        connection = sqlite3.connect(self.database(number))
        row = connection.execute(query).fetchone()
        connection.close()
        return tuple(row)

    def careseal(self, *words: str | Path, code: int = 0) -> None:
        """Run a command of the program, shown as one types it. The demo fails loudly where it does not end with `code`."""
        from api.cli import main

        typed = [str(shown(word)) if isinstance(word, Path) else word for word in words]
        out.print(f"    $ careseal {shlex.join(typed)}", markup=False, style="cyan")
        ended: object = None
        try:
            main(["--lang", spoken(), *typed])
        except SystemExit as left:
            ended = left.code or 0
        if ended != code:
            self.failed += 1
            err.print(_("    the demo expected exit code {expected} and got {found}").format(expected=code, found=ended), style="bold red")

    def opened(self, number: int) -> AbstractContextManager[tuple[Home, Link]]:
        from api.commands import opened

        return opened(self.home(number), None)

    def seal(self, number: int) -> None:
        timer = Timer()
        with self.opened(number) as (home, link):
            sealed = seal(home, int(time.time() * 1000))
            publish(home, link)
            checkpoint = home.journal.latest(anchored=True)
        if checkpoint is not None:
            say("    {added} entries sealed and anchored in {seconds:.1f} s: {size} entries, block {block}", added=sealed.added,
                seconds=timer.seconds, size=checkpoint.size, block=checkpoint.block)  # fmt: skip

    def audit(self, number: int) -> Verified:
        timer = Timer()
        with self.opened(number) as (home, link):
            verified = verify(home, link, Scope(attached_tables(home)), time.time(), values=True)
        result = verified.audit
        print_findings(result.findings, result.windows)
        say("    {rows} rows audited in {seconds:.2f} s: {verdict}", rows=result.rows, seconds=timer.seconds,
            verdict=_("INTACT") if result.ok else _("{n} FINDINGS").format(n=len(result.findings)))  # fmt: skip
        return verified

    def expect(self, verified: Verified, *kinds: FindingKind) -> None:
        """The demo fails loudly where the program does not find what was done."""
        found, expected = Counter(finding.kind.value for finding in verified.audit.findings), Counter(kind.value for kind in kinds)
        if found != expected:
            self.failed += 1
            text = _("    the demo expected {expected} and found {found}").format(expected=dict(expected), found=dict(found))
            err.print(text, markup=False, style="bold red")

    def step(self, text: str) -> None:
        self._steps += 1
        out.print(f"\n({self._steps}) {_(text)}", markup=False, style="bold")

    def leave(self, path: Path, text: str) -> Path:
        """A file that is left for looking at, listed at the end."""
        self.files.append((path, text))
        return path


def _has_font() -> bool:
    """Whether this machine has the font that PDFs are set in."""
    from api.pdf_font import PdfError, font_file

    try:
        font_file()
    except PdfError as error:
        err.print(_("careseal: {error}; the demo leaves the hold and every PDF out").format(error=reported(str(error))), markup=False)
        return False
    return True


def shown(path: Path) -> Path:
    """A path as one types it here."""
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path


def triggers(database: Path, table: str) -> list[tuple[str, str]]:
    """The names of a table's triggers in SQLite, and the statements that make them."""
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name=?", (table,)).fetchall()
    connection.close()
    return rows
