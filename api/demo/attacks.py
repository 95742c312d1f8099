"""Three hospitals, and what happens when somebody alters records, journal or home behind the application's back."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

from anchoring.founding import Plan, create_home
from anchoring.link import Link
from anchoring.publish import publish
from anchoring.restore import catch_up_in_place, finish_restore
from api.console import out, say
from api.demo.stage import Demo, triggers
from api.language import _, reported
from contracts.calls import ContractRefused
from ledger.attach import attach
from ledger.findings import FindingKind
from ledger.home import Home
from ledger.journal import StoredTiles
from ledger.merkle import leaf_hash
from ledger.tables import Options
from ledger.tree import append
from samples.hospital import build

HOSPITALS = ("First Hospital 第一医院", "Second Hospital 第二医院", "Third Hospital 第三医院")
PATIENTS = ("visit", "lab_result", "drug_order", "charge")


def three_hospitals(demo: Demo) -> None:
    demo.step("Three hospitals with their own databases seal their records and anchor them on one chain.")
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


def amendment(demo: Demo) -> None:
    demo.step("A doctor amends an open record through the application: an amendment, no alarm.")
    (document,) = demo.one(1, "SELECT document_id FROM document WHERE archived_at IS NULL AND status='draft' ORDER BY 1")
    demo.sql(1, f"UPDATE document SET title='Discharge note, corrected', version_no=version_no+1 WHERE document_id='{document}'")
    demo.seal(1)
    with demo.opened(1) as (home, _link):
        row = home.store.db.execute("SELECT count(*) FROM entries WHERE substr(body,2,1)=x'02'").fetchone()
    say("    amendments in the journal: {n}, the version before is kept, encrypted", n=row[0])
    demo.expect(demo.audit(1))
    demo.seal(1)


def alteration(demo: Demo) -> None:
    demo.step("An administrator changes a result with the triggers off.")
    accession, item = demo.one(1, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1, 2")
    kept = triggers(demo.database(1), "lab_result")
    demo.sql(1, *(f'DROP TRIGGER "{name}"' for name, _sql in kept))
    demo.sql(1, f"UPDATE lab_result SET value_num=value_num+4 WHERE accession_no='{accession}' AND item_code='{item}'")
    _recreate(demo.database(1), kept)
    say("    sql> -- and puts the triggers back")
    demo.expect(demo.audit(1), FindingKind.ALTERED)


def _recreate(database: Path, kept: list[tuple[str, str]]) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    for _name, sql in kept:
        connection.execute(sql)
    connection.close()


def deletion_and_insertion(demo: Demo) -> None:
    demo.step("The administrator deletes a charge and inserts an old-dated quality event, and leaves the triggers off.")
    bill, line = demo.one(1, "SELECT bill_no, line_no FROM charge ORDER BY 1 DESC, 2 DESC")
    drops = [f'DROP TRIGGER "{name}"' for table in ("charge", "quality_event") for name, _sql in triggers(demo.database(1), table)]
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


def rewritten_journal(demo: Demo) -> None:
    demo.step("With the hospital's key, the journal and all its roots are rewritten to fit, and published.")
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


def old_backup(demo: Demo) -> None:
    demo.step("An operator puts an old copy of the third hospital's home back.")
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
