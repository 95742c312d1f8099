"""`careseal demo`: three hospitals, and what happens when somebody alters records behind the application's back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from anchoring.export import export_evidence
from anchoring.founding import Plan, create_home
from anchoring.link import Link
from anchoring.network import NETWORK, read_network
from anchoring.publish import publish
from anchoring.restore import catch_up_in_place, finish_restore
from anchoring.verify import Verified, verify
from api import console
from api.console import Timer, err, out, say
from api.language import _, reported
from contracts.calls import ContractRefused
from ledger.attach import attach
from ledger.audit import Scope
from ledger.findings import FindingKind
from ledger.home import Home
from ledger.journal import StoredTiles
from ledger.merkle import leaf_hash
from ledger.seal import seal
from ledger.tables import Options, attached_tables
from ledger.tree import append
from samples.hospital import build

HOSPITALS = ("First Hospital 第一医院", "Second Hospital 第二医院", "Third Hospital 第三医院")
PATIENTS = ("visit", "lab_result", "drug_order", "charge")
PASSPHRASE = "demo-only"  # noqa: S105 - homes of the demo hold synthetic records only


class Demo:
    """The demo's folder and its three hospitals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.secret = PASSPHRASE.encode()
        self.failed = 0

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

    def opened(self, number: int) -> AbstractContextManager[tuple[Home, Link]]:
        from api.commands import opened

        os.environ["CARESEAL_PASSPHRASE"] = PASSPHRASE
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
        for finding in result.findings:
            console.print_finding(finding)
        say("    {rows} rows audited in {seconds:.2f} s: {verdict}", rows=result.rows, seconds=timer.seconds,
            verdict=_("INTACT") if result.ok else _("{n} FINDINGS").format(n=len(result.findings)))  # fmt: skip
        return verified

    def expect(self, verified: Verified, *kinds: FindingKind) -> None:
        """The demo fails loudly where the program does not find what was done."""
        found = sorted(finding.kind for finding in verified.audit.findings)
        if found != sorted(kinds):
            self.failed += 1
            text = _("    the demo expected {expected} and found {found}").format(expected=sorted(kinds), found=found)
            err.print(text, markup=False, style="bold red")

    def step(self, number: int, text: str) -> None:
        out.print(f"\n({number}) {_(text)}", markup=False, style="bold")


def run_demo(folder: Path) -> int:
    """Run the demo in `folder`, which is emptied first; returns the exit code."""
    marker = folder / ".careseal-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        err.print(_("careseal: {folder} is not a folder of the demo: name another with --folder").format(folder=folder), markup=False)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()
    timer, demo = Timer(), Demo(folder)
    for part in (
        _three_hospitals,
        _amendment,
        _alteration,
        _deletion_and_insertion,
        _rewritten_journal,
        _old_backup,
        _evidence,
        _your_turn,
    ):
        part(demo)
    say("\nThe demo took {seconds:.0f} s.", seconds=timer.seconds)
    return 1 if demo.failed else 0


def _three_hospitals(demo: Demo) -> None:
    demo.step(1, "Three hospitals with their own databases seal their records and anchor them on one chain.")
    for number, name in enumerate(HOSPITALS, 1):
        counts = build(demo.database(number), number)
        plan = Plan(
            demo.home(number), name, demo.folder / f"kit-{number}.json", str(demo.folder / "chain"), mirror=demo.folder / f"mirror-{number}"
        )
        create_home(plan, demo.secret, demo.secret, time.time)
        url = f"sqlite:///{demo.database(number)}"
        with demo.opened(number) as (home, _link):
            now = int(time.time() * 1000)
            common = {"subject": "patient_id", "copies": True}
            attach(home, url, PATIENTS, (), Options(**common), now)  # type: ignore[arg-type]
            attach(home, url, ("document",), (), Options(final="archived_at is not null", **common), now)  # type: ignore[arg-type]
            attach(home, url, ("quality_event",), (), Options(time="raised_at", copies=True), now)
        say("  {name}: {rows} rows in {tables} tables", name=name, rows=sum(counts.values()), tables=len(counts))
        demo.seal(number)
        demo.expect(demo.audit(number))
    demo.seal(1)


def _amendment(demo: Demo) -> None:
    demo.step(2, "A doctor amends an open record through the application: an amendment, no alarm.")
    (document,) = demo.one(1, "SELECT document_id FROM document WHERE archived_at IS NULL AND status='draft' ORDER BY 1")
    demo.sql(1, f"UPDATE document SET title='Discharge note, corrected', version_no=version_no+1 WHERE document_id='{document}'")
    demo.seal(1)
    with demo.opened(1) as (home, _link):
        row = home.store.db.execute("SELECT count(*) FROM entries WHERE substr(body,2,1)=x'02'").fetchone()
    say("    amendments in the journal: {n}, the version before is kept, encrypted", n=row[0])
    demo.expect(demo.audit(1))
    demo.seal(1)


def _alteration(demo: Demo) -> None:
    demo.step(3, "An administrator changes a result with the triggers off.")
    accession, item = demo.one(1, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1, 2")
    triggers = _triggers(demo.database(1), "lab_result")
    demo.sql(1, *(f'DROP TRIGGER "{name}"' for name, _sql in triggers))
    demo.sql(1, f"UPDATE lab_result SET value_num=value_num+4 WHERE accession_no='{accession}' AND item_code='{item}'")
    _recreate(demo.database(1), triggers)
    say("    sql> -- and puts the triggers back")
    demo.expect(demo.audit(1), FindingKind.ALTERED)


def _triggers(database: Path, table: str) -> list[tuple[str, str]]:
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name=?", (table,)).fetchall()
    connection.close()
    return rows


def _recreate(database: Path, triggers: list[tuple[str, str]]) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    for _name, sql in triggers:
        connection.execute(sql)
    connection.close()


def _deletion_and_insertion(demo: Demo) -> None:
    demo.step(4, "The administrator deletes a charge and inserts an old-dated quality event, and leaves the triggers off.")
    bill, line = demo.one(1, "SELECT bill_no, line_no FROM charge ORDER BY 1 DESC, 2 DESC")
    drops = [f'DROP TRIGGER "{name}"' for table in ("charge", "quality_event") for name, _sql in _triggers(demo.database(1), table)]
    demo.sql(1, *drops)
    demo.sql(1, f"DELETE FROM charge WHERE bill_no='{bill}' AND line_no={line}")
    demo.sql(
        1,
        "INSERT INTO quality_event (event_date, seq, kind, severity, summary_zh, details, raised_at)"
        " VALUES ('2024-03-01', 99, 'critical_value', 2, '危急值已按时报告', '{\"minutes\": 9}', '2024-03-01T08:00:00+00:00')",
    )
    verified = demo.audit(1)
    kinds = FindingKind
    demo.expect(verified, kinds.ALTERED, kinds.DELETED, kinds.INSERTED, kinds.CAPTURE_DISABLED, kinds.CAPTURE_DISABLED)


def _rewritten_journal(demo: Demo) -> None:
    demo.step(5, "With the hospital's key, the journal and all its roots are rewritten to fit, and published.")
    with demo.opened(2) as (home, link):
        forged = _forge(home)
        say("    entry 5 rewritten, every tile above it recomputed, new root {root}", root=forged[1].hex())
        try:
            _publish_forged(home, link, *forged)
        except ContractRefused as refused:
            text = _("    the contract reverts: {reason}").format(reason=reported(refused.reason))
            out.print(text, markup=False, style="bold green")
        else:
            demo.failed += 1
    demo.expect(demo.audit(2))


class _Forged(StoredTiles):
    """The forger's copy of the tree, in memory."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[int, int], bytes] = {}

    def read(self, level: int, index: int) -> bytes:
        return self._hashes.get((level, index), b"")

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self._hashes[level, index] = hashes


def _forge(home: Home) -> tuple[int, bytes, list[bytes]]:
    """Size, root and consistency proof of a journal that differs in one entry and has one more."""
    from ledger.tree import Tree

    bodies = [body for part in home.journal.bodies(0, home.journal.size) for body in part]
    bodies[5] = bodies[5][:-1] + bytes([bodies[5][-1] ^ 1])
    tiles = _Forged()
    size = append(tiles, 0, [leaf_hash(body) for body in [*bodies, bodies[5]]])
    tree = Tree(tiles)
    anchored = home.journal.latest(anchored=True)
    start = 0 if anchored is None else anchored.size
    return size, tree.root(size), tree.consistency_proof(start, size)


def _publish_forged(home: Home, link: Link, size: int, root: bytes, proof: list[bytes]) -> None:
    last = link.head().last
    start = 0 if last is None else last.size
    link.send(link.journals.publish(home.journal.generation, start, size, root, proof, nonce=link.nonce()))


def _old_backup(demo: Demo) -> None:
    demo.step(6, "An operator puts an old copy of the third hospital's home back.")
    kept = demo.folder / "old-copy"
    shutil.copytree(demo.home(3), kept)
    demo.sql(3, "UPDATE visit SET disposition='transferred' WHERE visit_id=(SELECT max(visit_id) FROM visit)")
    demo.seal(3)
    shutil.rmtree(demo.home(3))
    kept.rename(demo.home(3))
    say("    $ the folder of the day before is copied over the home")
    say("    (the visit changed since then looks altered to a journal that does not know it)")
    demo.expect(demo.audit(3), FindingKind.ROLLED_BACK, FindingKind.ALTERED)
    with demo.opened(3) as (home, _link):
        keyring = home.keyring
    catch_up_in_place(demo.home(3), keyring, lambda table, rows: None)
    with demo.opened(3) as (home, link):
        restored = finish_restore(home, link, time.time(), lambda table, rows: None)
        publish(home, link)
    say("    restored from the mirror")
    demo.expect(restored)
    demo.expect(demo.audit(3))


def _evidence(demo: Demo) -> None:
    demo.step(7, "Evidence of one result is exported; then the databases are gone.")
    accession, item = demo.one(2, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1 DESC, 2 DESC")
    network = read_network(demo.home(2) / NETWORK)
    with demo.opened(2) as (home, link):
        data, _proved = export_evidence(home, link, "lab_result", (accession, item))
    path = demo.folder / "evidence.json"
    path.write_bytes(data)
    away = demo.folder / "away"
    away.mkdir()
    for number in (1, 2, 3):
        demo.database(number).rename(away / demo.database(number).name)
    timer = Timer()
    proved = verify_evidence(path.read_bytes(), network)
    record = proved.record
    say("    {bytes} bytes, verified in {ms:.0f} ms without any database: {table} {key}, version {version}, block {block}: VALID",
        bytes=len(data), ms=timer.seconds * 1000, table=record.table, key="/".join(str((record.last.values or {})[k]) for k in record.key),
        version=record.last.number, block=proved.anchored.block)  # fmt: skip
    edited = bytearray(data)
    at = data.index(b'"row":"') + 80
    edited[at] = ord("0") if edited[at] != ord("0") else ord("1")
    try:
        verify_evidence(bytes(edited), network)
        demo.failed += 1
    except EvidenceInvalid as invalid:
        say("    one byte edited: INVALID, broken link: {link}", link=reported(invalid.link))
    for number in (1, 2, 3):
        (away / demo.database(number).name).rename(demo.database(number))
    away.rmdir()


def _your_turn(demo: Demo) -> None:
    demo.step(8, "Your turn: alter a record of the second hospital, then let the audit find it.")
    with suppress(ValueError):
        demo.folder = demo.folder.relative_to(Path.cwd())
    program = Path(sys.executable).with_name("careseal")
    with suppress(ValueError):
        program = program.relative_to(Path.cwd())
    accession, item = demo.one(2, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1, 2")
    trigger = next(name for name, _sql in _triggers(demo.database(2), "lab_result") if name.endswith("_update"))
    sql = f"DROP TRIGGER {trigger}; UPDATE lab_result SET value_num=1 WHERE accession_no='{accession}' AND item_code='{item}'"
    out.print(f'    sqlite3 {demo.database(2)} "{sql}"', markup=False, style="cyan")
    out.print(f"    CARESEAL_PASSPHRASE={PASSPHRASE} {program} verify --home {demo.home(2)} --values", markup=False, style="cyan")
    say("  Without the DROP TRIGGER the change would be captured: an amendment with its before and after, once it is sealed.")
