"""What people do: two answer a batch correction, records are put under hold, a patient is erased."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from anchoring.network import NETWORK
from anchoring.verify import Verified
from api.console import say
from api.demo.stage import Demo
from api.language import _
from ledger.findings import FindingKind
from ledger.groups import Group, grouped

STAFF = (("chen", "陈静 Chen Jing"), ("li", "李伟 Li Wei"))
AUDITOR = "周敏 Zhou Min"
TICKET = "IT-2026-118"
KEPT_SINCE = {"visit": "started_at", "lab_result": "reported_at", "drug_order": "ordered_at", "charge": "charged_at",
              "document": "created_at"}  # fmt: skip


def batch_correction(demo: Demo) -> None:
    demo.step("A vendor renames archived documents in an announced change window, and smuggles a change of another column into it.")
    for file, name in STAFF:
        key = demo.leave(demo.folder / "people" / f"{file}.key", _("key of a person of the staff"))
        key.parent.mkdir(exist_ok=True)
        demo.careseal("person", "create", key, "--name", name)
        demo.careseal("person", "add", "--home", demo.home(3), key, "--role", "staff")
    begin = datetime.now(UTC) + timedelta(seconds=2)
    _announce(demo, begin)
    time.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds()) + 0.1)
    (smuggled,) = demo.one(3, "SELECT document_id FROM document WHERE archived_at IS NOT NULL ORDER BY 1")
    renamed = "title_zh=title_zh || '（2026版）'"
    demo.sql(3, f"UPDATE document SET {renamed}, signed_at='2001-01-01T08:00:00+00:00' WHERE document_id='{smuggled}'",
             f"UPDATE document SET {renamed} WHERE archived_at IS NOT NULL AND document_id<>'{smuggled}'")  # fmt: skip
    demo.seal(3)
    (archived,) = demo.one(3, "SELECT count(*) FROM document WHERE archived_at IS NOT NULL")
    verified = demo.audit(3)
    demo.expect(verified, *[FindingKind.AMENDED_FINAL] * int(archived))
    say("    two people accept what was announced; what was smuggled in stays open")
    for group in _groups(verified):
        for file, _name in STAFF:
            _as(demo, file, "findings", "accept", "--home", demo.home(3), group.shown, "--reason", _("vendor's correction, checked"))
    demo.seal(3)
    demo.expect(demo.audit(3), FindingKind.AMENDED_FINAL)


def _announce(demo: Demo, begin: datetime) -> None:
    span = "--from", begin.isoformat(), "--until", (begin + timedelta(hours=1)).isoformat()
    reason = _("new names of forms")
    _as(demo, "chen", "change-window", "open", "--home", demo.home(3), "--table", "document", "--columns", "title_zh", *span,
        "--reason", reason)  # fmt: skip
    with demo.opened(3) as (home, _link):
        from ledger.resolutions import read_resolutions

        (window,) = read_resolutions(home).windows.values()
    _as(demo, "li", "change-window", "confirm", "--home", demo.home(3), window.id, "--reason", reason)


def _groups(verified: Verified) -> list[Group]:
    return grouped(verified.audit.findings, verified.audit.windows)[0]


def _as(demo: Demo, file: str, *words: object) -> None:
    """Run a command in the name of a person of the staff."""
    demo.careseal(*words, "--ticket", TICKET, "--by", demo.folder / "people" / f"{file}.key")  # type: ignore[arg-type]


def outside_audit(demo: Demo) -> None:
    demo.step("An outside auditor, who may only read and was granted one table, finds the same by a node of their own, and signs a report.")
    home, auditor = ("--home", demo.home(3)), demo.leave(demo.folder / "auditor", _("home of the outside auditor"))
    access = demo.folder / "auditor.access"
    demo.careseal("auditor", "init", "--home", auditor, "--name", AUDITOR)
    demo.careseal("person", "add", *home, auditor / "public.json", "--role", "auditor")
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    demo.careseal("audit-access", "grant", *home, "--to", AUDITOR, "--tables", "document", "--until", until, "-o", access)
    demo.careseal("auditor", "take", "--home", auditor, access)
    demo.seal(3)
    report = demo.leave(demo.folder / "report", _("signed report of the outside audit"))
    demo.careseal("verify", "--home", auditor, "--source", f"sqlite:///{demo.database(3)}?mode=ro", "--ledger",
                  demo.home(3) / "ledger.db", "--network", demo.home(3) / NETWORK, "--rpc", demo.folder / "chain", "--report", report,
                  *([] if demo.prints else ["--no-pdf"]), code=1)  # fmt: skip
    demo.careseal("auditor", "check", report)


def hold(demo: Demo) -> None:
    demo.step("A patient complains: the records are put under hold, copied to a second place, with a list for both sides to sign.")
    if not demo.prints:
        return say("    left out: there is no font to print the list in")
    patient = _held(demo)
    folder, home = demo.leave(demo.folder / "hold", _("records under hold, encrypted")), ("--home", demo.home(3))
    reason = ("--reason", _("complaint"))
    demo.careseal("hold", "create", *home, "--to", folder, "--subject", patient, "--for", STAFF[0][1], *reason)
    demo.leave(folder / "list-0001.pdf", _("list of the hold (封存清单)"))
    demo.careseal("hold", "verify", folder, *home, "--by", demo.folder / "people" / "chen.key")
    say("    while they are under hold, nobody can erase this patient:")
    _erase(demo, patient, code=2)
    return None


def _held(demo: Demo) -> str:
    (patient,) = demo.one(3, "SELECT patient_id FROM visit GROUP BY 1 ORDER BY count(*), 1")
    return patient


def erasure(demo: Demo) -> None:
    demo.step("A patient is erased, once the terms of keeping have ended and two people order it.")
    home = ("--home", demo.home(3))
    for table, since in KEPT_SINCE.items():
        demo.careseal("retention", "set", *home, "--table", table, "--class", "outpatient", "--since", since)
    say("    a patient who was here lately is refused:")
    _erase(demo, demo.one(3, "SELECT patient_id FROM visit ORDER BY started_at DESC")[0], code=2)
    say("    one whose last visit lies longer back than the term is not:")
    (patient,) = demo.one(3, "SELECT patient_id FROM visit GROUP BY 1 ORDER BY max(started_at)")
    made = ["--certificate", demo.leave(demo.folder / "erasure.json", _("certificate of the erasure"))]
    if demo.prints:
        made += ["--pdf", demo.leave(demo.folder / "erasure.pdf", _("the same, for people"))]
    kit = demo.leave(demo.folder / "kit-3-after-erasure.json", _("recovery kit that took the place of kit-3.json"))
    _erase(demo, patient, *made, "--kit", kit)
    say("    nobody can open or link these commitments any more; the rows are findings until the hospital deletes them:")
    present = sum(int(demo.one(3, f"SELECT count(*) FROM {table} WHERE patient_id='{patient}'")[0]) for table in KEPT_SINCE)
    demo.expect(demo.audit(3), FindingKind.AMENDED_FINAL, *[FindingKind.ERASED_PRESENT] * present)


def _erase(demo: Demo, patient: str, *words: object, code: int = 0) -> None:
    keys = [word for file, _name in STAFF for word in ("--by", demo.folder / "people" / f"{file}.key")]
    demo.careseal("erase", "--home", demo.home(3), patient, "--reason", _("at the patient's request"), *keys, *words, code=code)  # type: ignore[arg-type]
