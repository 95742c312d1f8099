"""The independent verifier and the program's own agree on evidence: real, edited, truncated, foreign."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stranger
from evidence_vectors import VECTORS
from evidence_world import World
from mutations import mutations
from trials import ROOT, Trial

from anchoring.errors import EvidenceInvalid
from anchoring.evidence import Proved, verify_evidence
from anchoring.journal_scan import scan_journal
from anchoring.network import decode_network, encode_network
from anchoring.opening import Report

Edit = Callable[[dict[str, Any]], object]
WORLD = World()
OURS = ("ledger", "anchoring", "contracts", "node", "api", "samples", "careseal")


def both(data: bytes, network: bytes) -> tuple[str | None, str | None]:
    """The broken link as each verifier names it, None where it finds none."""
    theirs = ours = None
    try:
        stranger.verify(data, stranger.network_of(network))
    except stranger.Broken as broken:
        theirs = broken.link
    try:
        verify_evidence(data, decode_network(network))
    except EvidenceInvalid as invalid:
        ours = invalid.link
    return ours, theirs


@pytest.fixture(scope="module")
def files(trial: Trial) -> tuple[bytes, bytes]:
    return (trial.folder / "result.json").read_bytes(), (trial.home / "network.json").read_bytes()


def test_it_imports_nothing_of_the_program() -> None:
    text = (ROOT / "tests" / "docs" / "stranger.py").read_text(encoding="utf-8")
    imported = {name.split(".")[0] for name in re.findall(r"^\s*(?:from|import) ([\w.]+)", text, re.MULTILINE)}
    assert not imported & set(OURS)
    assert imported - set(sys.stdlib_module_names) == {"coincurve"}


@pytest.mark.parametrize("name", ["visit.json", "result.json"])
def test_both_accept_what_was_exported_and_read_the_same(trial: Trial, name: str) -> None:
    network = (trial.home / "network.json").read_bytes()
    data = (trial.folder / name).read_bytes()
    assert both(data, network) == (None, None)
    theirs = stranger.verify(data, stranger.network_of(network))
    ours = verify_evidence(data, decode_network(network))
    same(theirs, ours)


def same(theirs: stranger.Proof, ours: Proved) -> None:
    """Both verifiers have read the same out of the evidence."""
    anchored = ours.anchored
    assert (theirs.kind, theirs.name, theirs.institution, theirs.size) == (ours.kind, anchored.name, anchored.institution, anchored.size)
    assert (theirs.block, theirs.header_block, theirs.sealed_by) == (anchored.block, anchored.header_block, list(anchored.sealers))
    if isinstance(ours.subject, Report):
        assert theirs.audit == ours.subject.audit
        return
    assert (theirs.table, theirs.record, tuple(theirs.hidden)) == (ours.record.table, ours.record.id, ours.record.hidden)
    for mine, other in zip(ours.record.versions, theirs.versions, strict=True):
        assert (other.number, other.index, bool(other.flags & 1), other.values) == (mine.number, mine.index, mine.baseline, mine.values)


def edited(data: bytes, edit: Edit) -> bytes:
    evidence = json.loads(data)
    edit(evidence)
    return json.dumps(evidence, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("vector", json.loads((VECTORS / "index.json").read_bytes()), ids=lambda vector: str(vector["file"]))
def test_both_say_the_same_of_every_vector(vector: dict[str, str | None]) -> None:
    data, network = (VECTORS / str(vector["file"])).read_bytes(), (VECTORS / str(vector["network"])).read_bytes()
    assert both(data, network) == (vector["link"], vector["link"])
    if vector["link"] is not None:
        return
    theirs, ours = stranger.verify(data, stranger.network_of(network)), verify_evidence(data, decode_network(network))
    same(theirs, ours)
    if vector.get("journal"):
        found: list[object] = []
        for scan in (lambda: scan_journal(VECTORS / "journal", ours).version, lambda: stranger.last_version(VECTORS / "journal", theirs)):
            try:
                found.append(scan())
            except (EvidenceInvalid, stranger.Broken) as broken:
                found.append(broken.link)
        assert found[0] == found[1] and (vector["journal_link"] is None or found[0] == vector["journal_link"])


@pytest.mark.parametrize("subject", ["record", "fields", "history", "latest", "audit", "clique-votes", "qbft-votes"])
def test_both_refuse_what_was_changed_at_the_same_link(subject: str) -> None:
    chain = subject if subject in WORLD.chains else "clique-1"
    parts, network = WORLD.parts(subject if subject in WORLD.subjects else "record", chain), WORLD.network(chain)
    tried, rest = 0, list(mutations(parts, only={"chain"} if chain == subject else None, flips=8))
    for place, what, data in rest[:: max(1, len(rest) // 150)]:
        ours, theirs = both(data, encode_network(network))
        assert ours == theirs, (place, what, ours, theirs)
        tried += 1
    assert tried > 60


def test_both_refuse_white_space_in_hex(files: tuple[bytes, bytes]) -> None:
    copy = re.sub(rb'("secret":"[0-9a-f]{2})', rb"\1 ", files[0])
    assert both(copy, files[1]) == ("container", "container")


@pytest.mark.parametrize("what", ["missing part", "unknown part", "missing field", "unknown field", "other version", "number as text"])
def test_both_refuse_another_container(files: tuple[bytes, bytes], what: str) -> None:
    edits: dict[str, Edit] = {
        "missing part": lambda e: e.pop("institution"),
        "unknown part": lambda e: e.update(remark={}),
        "missing field": lambda e: e["record"].pop("index"),
        "unknown field": lambda e: e["chain"].update(remark=""),
        "other version": lambda e: e.update(careseal="evidence/1"),
        "number as text": lambda e: e["checkpoint"].update(size=str(e["checkpoint"]["size"])),
    }
    assert both(edited(files[0], edits[what]), files[1]) == ("container", "container")


def test_both_refuse_other_bytes_for_the_same_values(files: tuple[bytes, bytes]) -> None:
    data, network = files
    evidence = json.loads(data)
    version = b'"careseal":"evidence/2",'
    copies = {
        "spaced": json.dumps(evidence).encode(),
        "a field twice": data.replace(version, 2 * version, 1),
        "byte order mark": b"\xef\xbb\xbf" + data,
        "another newline": data + b"\n",
        "half": data[: len(data) // 2],
        "nothing": b"",
        "a list": b"[]",
        "leading zero": data.replace(b'"index":', b'"index":0', 1),
        "as a real": re.sub(rb'("size":\d+)', rb"\1.0", data),
        "upper case": re.sub(rb'"secret":"[0-9a-f]+', lambda found: found[0].upper().replace(b"SECRET", b"secret"), data),
    }
    assert {name: both(copy, network) for name, copy in copies.items()} == dict.fromkeys(copies, ("container", "container"))
    assert both(data.rstrip(b"\n"), network) == (None, None)


def test_both_refuse_what_another_trust_root_does_not_cover(files: tuple[bytes, bytes]) -> None:
    data, network = files
    values = json.loads(network)
    others = {
        "chain_id": values["chain_id"] + 1, "block": 2**40, "sealers": ["0x" + "11" * 20], "journals": values["consortium"],
        "journals_code": values["consortium_code"], "consortium_code": values["journals_code"],
    }  # fmt: skip
    links = {name: both(data, json.dumps(values | {name: value}).encode()) for name, value in others.items()}
    assert links == {
        "chain_id": ("network",) * 2, "block": ("network",) * 2, "sealers": ("seal",) * 2, "journals": ("storage",) * 2,
        "journals_code": ("storage",) * 2, "consortium_code": ("institution",) * 2,
    }  # fmt: skip


def test_parts_of_two_evidence_files_do_not_mix(trial: Trial, files: tuple[bytes, bytes]) -> None:
    data, network = files
    other = json.loads((trial.folder / "visit.json").read_bytes())
    evidence = json.loads(data)
    for part in ("record", "configuration"):
        ours, theirs = both(edited(data, lambda e, part=part: e.update({part: other[part]})), network)  # type: ignore[misc]
        assert ours is not None and ours == theirs
    assert evidence["chain"] == other["chain"]


@pytest.mark.parametrize(("name", "code"), [("result.json", 0), ("broken.json", 1), ("nothing.json", 2)])
def test_its_command_line_exits_like_the_programs(trial: Trial, name: str, code: int) -> None:
    data = (trial.folder / "result.json").read_bytes()
    (trial.folder / "broken.json").write_bytes(data.replace(b'"row":"28', b'"row":"29', 1))
    script = Path(stranger.__file__)
    words = [sys.executable, str(script), name, "--network", "H/network.json"]
    theirs = subprocess.run(words, cwd=trial.folder, capture_output=True, check=False)
    ours = trial.command(["evidence", "verify", name, "--network", "H/network.json"])
    assert (theirs.returncode, ours.returncode) == (code, code)
