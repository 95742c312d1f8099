"""Exported journals, whole and damaged: the page finds the last version, or the broken link, as the Python verifier does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from evidence_world import seed
from page_trials import PLACE, Forged

from anchoring.container import encode
from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from anchoring.journal_scan import scan_journal
from anchoring.network import encode_network
from anchoring.tlog import encode_bundle
from ledger.errors import LedgerError
from ledger.wire import Kind


@pytest.mark.parametrize("kind", [0, *range(4, 32), 255])
def test_events_that_look_like_the_record_are_judged_alike(page, kind, tmp_path):
    forged = Forged()
    record = forged.journal.entries[PLACE][12:28]
    forged.entry(bytes([1, kind]) + bytes(10) + record + bytes(12))
    forged.entry(b"short")
    world = forged.world()
    _exported(world.journal.entries, tmp_path)
    data, network = encode(world.parts("record-pgtext")), world.network()
    found = page.one(data, encode_network(network), tmp_path)
    try:
        index = scan_journal(tmp_path, verify_evidence(data, network)).index
    except EvidenceInvalid as error:
        assert found == {"link": error.link} and kind not in set(Kind)
    else:
        assert found["later"]["index"] == index and kind in set(Kind)


@pytest.mark.parametrize("what", ["whole", "longer export", "cut", "added", "other entry", "swapped", "twice", "second history", "nothing"])
def test_exported_journals_are_judged_alike(page, what, tmp_path):
    forged = Forged()
    if what in ("second history", "twice"):
        entry = forged.journal.entries[PLACE]
        forged.entry(entry if what == "twice" else entry[:28] + b"\0\0\0\5" + entry[32:37] + b"\7" + entry[38:])
    for number in range(600):
        forged.entry(bytes([1, Kind.AUDIT]) + bytes(6) + seed(f"event {number}"))
    world = forged.world()
    data, network = encode(world.parts("record-pgtext")), world.network()
    entries = list(world.journal.entries)
    entries[3:5] = reversed(entries[3:5]) if what == "swapped" else entries[3:5]
    entries[40] = entries[41] if what == "other entry" else entries[40]
    _exported(entries + [b"later"] * 20 if what == "longer export" else entries, tmp_path)
    bundle = tmp_path / "tile" / "entries" / "001"
    if what in ("cut", "added"):
        bundle.write_bytes(bundle.read_bytes()[:-1] if what == "cut" else bundle.read_bytes() + b"\0")
    if what == "nothing":
        bundle.unlink()
    found = page.one(data, encode_network(network), tmp_path)
    try:
        later = scan_journal(tmp_path, verify_evidence(data, network))
        assert found["later"] == {"version": later.version, "index": later.index, "isLast": later.index == PLACE, "size": later.size}
        assert what in ("whole", "longer export")
    except EvidenceInvalid as error:
        assert found == {"link": error.link} == {"link": "journal"}
    except LedgerError:
        assert what == "nothing" and str(found["link"]).startswith("JournalUnreadable: ")


def _exported(entries: Sequence[bytes], folder: Path) -> None:
    for number in range(-(-len(entries) // 256)):
        run = entries[256 * number : 256 * (number + 1)]
        path = folder / "tile" / "entries" / (f"{number:03d}" if len(run) == 256 else f"{number:03d}.p/{len(run)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_bundle(run))
    (folder / "checkpoint").write_bytes(b"")
