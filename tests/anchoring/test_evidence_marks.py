"""What evidence says of how a version came into the journal, and the ways of writing a trust file that are refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from world import World

from anchoring import opening
from anchoring.errors import AnchoringError, EvidenceInvalid, NetworkInvalid
from anchoring.evidence import verify_evidence
from anchoring.network import decode_network, read_network
from anchoring.receipt import Receipt, read_receipt
from anchoring.verify import _lost_checkpoint
from contracts.calls import ChainCheckpoint
from ledger import canonical


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A hospital with evidence of a baseline row, an insert, an amendment, and a row that was changed outside capture first."""
    folder = tmp_path_factory.mktemp("marks") / "world"
    folder.mkdir()
    made = World(folder).init().attach()
    made.ok("seal")
    made.change([("INSERT INTO visit VALUES (10, 'p3', 'new')",), ("UPDATE visit SET note='more' WHERE visit_id=3",)])
    made.ok("seal", "--receipt", folder / "receipt.json")
    triggers = made.rows("SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name='visit'")
    made.change([tuple(f"DROP TRIGGER {name}" for name, _ in triggers)])
    made.change([("UPDATE visit SET note='outside' WHERE visit_id=2",)])
    made.change([tuple(sql for _, sql in triggers)])
    made.change([("UPDATE visit SET note='inside' WHERE visit_id=2",)])
    made.run("seal")
    for key in ("1", "10", "3", "2"):
        made.ok("evidence export", "visit", key, "-o", folder / f"{key}.json")
    return made


def read(world, key):
    return (world.folder / f"{key}.json").read_bytes(), read_network(world.home / "network.json")


@pytest.mark.parametrize(
    ("key", "captured", "marks", "said", "not_said"),
    [
        ("1", False, [], "baseline at attach", "sealed when written"),
        ("10", True, [], "sealed when written", "warning"),
        ("3", True, [], "an amendment; earlier versions are not shown", "sealed when written"),
        ("2", True, ["altered_before"], "warning: marked when it was sealed: altered_before", "sealed when written"),
    ],
)
def test_it_says_no_more_than_the_entry(world, key, captured, marks, said, not_said):
    arguments = (world.folder / f"{key}.json", "--network", world.home / "network.json")
    shown = world.ok("evidence verify", *arguments, "--json").json
    assert (shown["captured"], shown["marks"]) == (captured, marks)
    text = world.ok("evidence verify", *arguments).out
    assert said in text and not_said not in text and "sealed, as it states, at" in text


@pytest.mark.parametrize("space", [" ", "\t", "\n"])
def test_white_space_in_hex_is_refused(world, space):
    data, network = read(world, "10")
    parts = json.loads(data)
    for part, field in (("record", "row"), ("record", "proof"), ("chain", "header")):
        value = parts[part][field]
        spaced = [value[0][:2] + space + value[0][2:], *value[1:]] if isinstance(value, list) else value[:2] + space + value[2:]
        with pytest.raises(EvidenceInvalid, match=r"^container: "):
            verify_evidence(canonical.encode(parts | {part: parts[part] | {field: spaced}}), network)


def test_the_network_file_has_one_writing_of_each_value_and_each_once(world):
    data = (world.home / "network.json").read_bytes()
    values = json.loads(data)
    account = values["journals"]
    for other in (account[:-2] + "  ", account[:4] + " " + account[5:], account[:-2], account + "00", account.upper()):
        with pytest.raises(NetworkInvalid):
            decode_network(json.dumps(values | {"journals": other}).encode())
    with pytest.raises(NetworkInvalid):
        decode_network(json.dumps(values | {"sealers": dict.fromkeys(values["sealers"], 1)}).encode())
    with pytest.raises(NetworkInvalid):
        decode_network(re.sub(rb'("block": \d+,)', rb"\1 \1", data))


def test_a_receipts_signature_has_one_writing(world, tmp_path):
    kept = world.folder / "receipt.json"
    read_receipt(kept)
    values = json.loads(kept.read_bytes())
    for name in ("signature", "root"):
        for other in (values[name][:2] + " " + values[name][2:], values[name].upper() + "A", values[name] + "00"):
            (tmp_path / "other.json").write_bytes(canonical.encode(values | {name: other}))
            with pytest.raises(AnchoringError, match="is not a Careseal receipt"):
                read_receipt(tmp_path / "other.json")


def test_a_row_that_cannot_be_read_breaks_the_record():
    for encoding, field in (("sqlite/1", b"i\0"), ("sqlite/1", b"f\x031.0"), ("pgtext/1", b"\\q"), ("other/1", b"")):
        with pytest.raises(EvidenceInvalid, match=r"^record: "):
            opening._displayed(opening.Table(1, "t", "t", encoding, ("a",), 1, 0), {0: field})


def test_the_configuration_is_older_than_the_record(world, monkeypatch):
    data, network = read(world, "10")
    parts = json.loads(data)
    monkeypatch.setattr(opening, "_inclusion", lambda *arguments: None)
    for index in (parts["record"]["index"], parts["record"]["index"] + 1):
        edited = parts | {"configuration": parts["configuration"] | {"index": index}}
        with pytest.raises(EvidenceInvalid, match=r"^configuration: .*not older"):
            verify_evidence(canonical.encode(edited), network)


def test_a_row_too_large_for_evidence_is_refused_before_building(world, monkeypatch):
    monkeypatch.setattr("anchoring.export.MAX_ROW_BYTES", 10)
    line = world.refused("evidence export", "visit", "10", "-o", world.folder / "large.json")
    assert "an evidence file takes at most 10" in line and not (world.folder / "large.json").exists()


class OldGeneration:
    """A chain that has one checkpoint, of generation 0."""

    def __init__(self, receipt: Receipt) -> None:
        self._kept = ChainCheckpoint(1, 0, 0, receipt.size, bytes.fromhex(receipt.root), receipt.block)

    def find(self, generation: int, size: int) -> ChainCheckpoint | None:
        return self._kept if (generation, size) == (0, self._kept.size) else None


def test_a_receipt_of_another_generation_is_held_against_that_generation(world, tmp_path):
    receipt = read_receipt(world.folder / "receipt.json").receipt
    state = OldGeneration(receipt)
    assert _lost_checkpoint(receipt, state) == []
    for other in ({"root": "ab" * 32}, {"size": receipt.size + 1}, {"generation": 1}, {"block": receipt.block + 1}):
        (finding,) = _lost_checkpoint(replace(receipt, **other), state)
        assert finding.kind.value == "rolled_back"
