"""Evidence: a record without its database, one field with the others hidden, and what the demo leaves for looking at."""

from __future__ import annotations

import sys
from pathlib import Path

from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from anchoring.export import export_evidence
from anchoring.network import NETWORK, read_network
from api.console import Timer, out, say
from api.demo.stage import PASSPHRASE, Demo, shown, triggers
from api.language import _, reported


def evidence(demo: Demo) -> None:
    demo.step("Evidence of one result is exported; then the databases are gone.")
    accession, item = demo.one(2, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1 DESC, 2 DESC")
    network = read_network(demo.home(2) / NETWORK)
    with demo.opened(2) as (home, link):
        data, _proved = export_evidence(home, link, "lab_result", (accession, item))
    path = demo.leave(demo.folder / "evidence.json", _("evidence of one result"))
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


def disclosed_field(demo: Demo) -> None:
    demo.step("One field of a result is disclosed, the others stay hidden: the file proves the shown value, and that the rest is there.")
    accession, item = demo.one(2, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1 DESC, 2 DESC")
    file = demo.leave(demo.folder / "field.json", _("evidence that shows one field"))
    network = demo.leave(demo.home(2) / NETWORK, _("network file, under which all evidence is verified"))
    demo.careseal("evidence", "export", "--home", demo.home(2), "-o", file, "--field", "value_num", "lab_result", accession, item)
    demo.careseal("evidence", "verify", file, "--network", network, "--values")
    if demo.prints:
        pdf = demo.leave(demo.folder / "field.pdf", _("certificate of it, for people"))
        demo.careseal("evidence", "certificate", file, "--network", network, "-o", pdf)
    page = demo.leave(demo.folder / "verify.html", _("page that verifies evidence in a browser, offline"))
    demo.careseal("evidence", "page", "-o", page)


def files_left(demo: Demo) -> None:
    """Every file that is left, with its path."""
    demo.step("Files left for looking at:")
    for path, text in demo.files:
        out.print(f"    {shown(path)}  {text}", markup=False)
        if not path.exists():
            demo.failed += 1


def your_turn(demo: Demo) -> None:
    demo.step("Your turn: alter a record of the second hospital, then let the audit find it.")
    program = shown(Path(sys.executable).with_name("careseal"))
    accession, item = demo.one(2, "SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1, 2")
    trigger = next(name for name, _sql in triggers(demo.database(2), "lab_result") if name.endswith("_update"))
    sql = f"DROP TRIGGER {trigger}; UPDATE lab_result SET value_num=1 WHERE accession_no='{accession}' AND item_code='{item}'"
    out.print(f'    sqlite3 {shown(demo.database(2))} "{sql}"', markup=False, style="cyan")
    out.print(f"    CARESEAL_PASSPHRASE={PASSPHRASE} {program} verify --home {shown(demo.home(2))} --values", markup=False, style="cyan")
    say("  Without the DROP TRIGGER the change would be captured: an amendment with its before and after, once it is sealed.")
