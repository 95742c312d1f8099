"""Evidence made of a home's records and audits, and verified by command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import forked
import pytest
from world import World, served

from anchoring.chain_state import raw_header
from anchoring.errors import NetworkInvalid
from anchoring.evidence import verify_evidence
from anchoring.network import decode_network, encode_network, read_network
from anchoring.tlog import bundle_path, encode_bundle
from node import header
from node.client import connect
from node.server import read_endpoint


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Two consortiums, each with a hospital of its own."""
    made = []
    for name in ("one", "two"):
        folder = tmp_path_factory.mktemp(name) / "world"
        folder.mkdir()
        world = World(folder).init().attach()
        world.ok("seal")
        world.change([("UPDATE visit SET note='as evidence shows' WHERE visit_id=3",)])
        world.change([("DELETE FROM lab_result WHERE accession='a1' AND item='na'",)])
        world.ok("seal")
        world.ok("verify")
        world.ok("seal")
        world.ok("evidence export", "visit", "3", "-o", folder / "evidence.json")
        made.append(world)
    return made


@pytest.fixture(scope="module")
def evidence(worlds):
    return (worlds[0].folder / "evidence.json").read_bytes()


@pytest.fixture(scope="module")
def network(worlds):
    return read_network(worlds[0].home / "network.json")


def test_the_exported_file_is_valid_and_says_what_it_proves(evidence, network):
    proved = verify_evidence(evidence, network)
    record, last = proved.record, proved.record.last
    assert last.values == {"visit_id": "3", "patient": "p1", "note": "as evidence shows"}
    assert (record.table, record.key, last.number, last.kind, last.baseline) == ("visit", ("visit_id",), 2, "amended", False)
    assert (proved.kind, proved.anchored.institution, proved.anchored.name) == ("record", 1, "First Hospital")
    assert proved.anchored.block <= proved.anchored.header_block
    assert (proved.anchored.final, len(proved.anchored.sealers), proved.anchored.sealers_of) == (False, 1, 1)


def test_fields_are_opened_and_the_others_stay_hidden(worlds, network):
    world = worlds[0]
    file = world.folder / "fields.json"
    world.ok("evidence export", "visit", "3", "--field", "note", "-o", file)
    assert b"p1".hex().encode() + b'"' not in file.read_bytes()
    proved = verify_evidence(file.read_bytes(), network)
    assert (proved.kind, proved.record.last.values) == ("fields", {"note": "as evidence shows"})
    assert proved.record.hidden == ("visit_id", "patient")
    shown = world.ok("evidence verify", file, "--network", world.home / "network.json", "--values").out
    assert "note = as evidence shows" in shown and "hidden: visit_id, patient" in shown and "p1" not in shown
    (record,) = [json.loads(file.read_bytes())["record"]]
    assert [sorted(field) for field in record["fields"]] == [["digest"], ["digest"], ["salt", "value"]]
    assert world.refused("evidence export", "visit", "3", "--field", "age", "-o", file).endswith("its columns are visit_id, patient, note")


def test_a_history_shows_every_version_in_order(worlds, network):
    world = worlds[0]
    file = world.folder / "history.json"
    world.ok("evidence export", "visit", "3", "--kind", "history", "-o", file)
    first, second = verify_evidence(file.read_bytes(), network).record.versions
    assert (first.number, first.baseline, first.values["note"]) == (1, True, "第三")
    assert (second.number, second.kind, second.values["note"]) == (2, "amended", "as evidence shows")
    out = world.ok("evidence verify", file, "--network", world.home / "network.json").out
    assert "versions 1 to 2" in out and "version 1: written" in out and "later versions are not excluded" in out


def test_an_earlier_version_is_exported_from_its_copy(worlds, network):
    world = worlds[0]
    file = world.folder / "first.json"
    world.ok("evidence export", "visit", "3", "--version", "1", "-o", file)
    last = verify_evidence(file.read_bytes(), network).record.last
    assert (last.number, last.values["note"]) == (1, "第三")
    assert "has no version 7: its last one is 2" in world.refused("evidence export", "visit", "3", "--version", "7", "-o", file)


def test_a_deleted_record_has_a_history_and_a_last_version(worlds, network):
    world = worlds[0]
    for kind in ("history", "latest"):
        file = world.folder / "deleted.json"
        world.ok("evidence export", "lab_result", "a1", "na", "--kind", kind, "-o", file)
        record = verify_evidence(file.read_bytes(), network).record
        assert (record.last.number, record.last.kind, record.last.values) == (2, "deleted", None)
        assert len(record.versions) == (2 if kind == "history" else 1)
        assert "the record was deleted" in world.ok("evidence verify", file, "--network", world.home / "network.json").out
    assert "this record was deleted" in world.refused("evidence export", "lab_result", "a1", "na", "-o", file)


def test_an_audits_report_is_exported(worlds, network):
    world = worlds[0]
    file = world.folder / "audit.json"
    world.ok("evidence export", "--audit", "last", "-o", file)
    proved = verify_evidence(file.read_bytes(), network)
    assert (proved.kind, proved.subject.audit["findings"], len(proved.subject.audit["tables"])) == ("audit", 0, 2)
    shown = world.ok("evidence verify", file, "--network", world.home / "network.json", "--json").json
    assert (shown["entry"], shown["audit"]["size"]) == (proved.subject.index, proved.subject.audit["size"])
    world.ok("evidence export", "--audit", str(proved.subject.index), "-o", file)
    assert "is no audit" in world.refused("evidence export", "--audit", "0", "-o", file)
    assert "is not anchored yet" in world.refused("evidence export", "--audit", "999999", "-o", file)
    for wrong in (("visit", "--audit", "last"), ("--audit", "first"), ("visit",), ("visit", "3", "--all"),
                  ("visit", "3", "--kind", "audit"),
                  ("visit", "3", "--kind", "history", "--field", "note")):  # fmt: skip
        world.refused("evidence export", *wrong, "-o", file)


def test_many_records_are_exported_in_one_pass(worlds, network, tmp_path):
    world = worlds[0]
    shown = world.ok("evidence export", "visit", "--all", "-o", tmp_path / "all", "--json").json
    index = json.loads((tmp_path / "all" / "index.json").read_bytes())
    assert (shown["files"], shown["left_out"], sorted(index.values())) == (3, {}, [["1"], ["2"], ["3"]])
    for name, key in index.items():
        record = verify_evidence((tmp_path / "all" / name).read_bytes(), network).record
        assert record.last.values["visit_id"] == key[0]
        world.ok("evidence export", "visit", key[0], "-o", tmp_path / "single.json")
        assert (tmp_path / "single.json").read_bytes() == (tmp_path / "all" / name).read_bytes()
    (tmp_path / "keys").write_text("3\n1\n")
    world.ok("evidence export", "visit", "--where-keys", tmp_path / "keys", "-o", tmp_path / "two", "--field", "note")
    assert sorted(json.loads((tmp_path / "two" / "index.json").read_bytes()).values()) == [["1"], ["3"]]
    assert "is not empty" in world.refused("evidence export", "visit", "--all", "-o", tmp_path / "all")
    (tmp_path / "keys").write_text("77\n")
    assert "no sealed record" in world.refused("evidence export", "visit", "--where-keys", tmp_path / "keys", "-o", tmp_path / "none")


def test_records_without_evidence_are_left_out_and_counted(worlds, network, tmp_path):
    world = worlds[1]
    world.change([("INSERT INTO visit VALUES (50, 'p5', 'not sealed')",), ("UPDATE visit SET note='not sealed' WHERE visit_id=2",)])
    outcome = world.run("evidence export", "visit", "--all", "-o", tmp_path / "all", "--json")
    assert (outcome.code, outcome.json["files"]) == (0, 3)  # the copy of what was sealed serves
    with world.opened() as home:
        home.store.db.execute("DELETE FROM copies")
    outcome = world.run("evidence export", "visit", "--all", "-o", tmp_path / "rest", "--json")
    assert (outcome.code, outcome.json["files"], sum(outcome.json["left_out"].values())) == (1, 2, 1)
    assert "no copy was kept" in next(iter(outcome.json["left_out"]))


def test_evidence_older_than_the_trust_root_is_refreshed(worlds, evidence, network, tmp_path):
    world = worlds[0]
    world.change([("UPDATE visit SET note='later' WHERE visit_id=1",)])
    world.ok("seal")
    with connect(world.chain, None, forked.fast_time) as w3:
        head = raw_header(w3, None, "clique")
    newer = replace(network, block=head.number, block_hash=header.block_hash(head))
    trusted = tmp_path / "newer.json"
    trusted.write_bytes(encode_network(newer))
    old = world.folder / "evidence.json"
    outcome = world.run("evidence verify", old, "--network", trusted)
    assert outcome.code == 1 and "network: block" in outcome.line() and "careseal evidence refresh" in outcome.line()
    world.ok("evidence refresh", old, "-o", tmp_path / "fresh.json", "--network", trusted)
    fresh = verify_evidence((tmp_path / "fresh.json").read_bytes(), newer)
    before = verify_evidence(evidence, network)
    assert (fresh.subject, fresh.anchored.root, fresh.anchored.block) == (before.subject, before.anchored.root, before.anchored.block)
    assert fresh.anchored.header_block == head.number
    with served(world.chain, world.folder / "log"):
        url = read_endpoint(world.chain)["url"]
        here = forked.here("evidence", "refresh", old, "-o", tmp_path / "rpc.json", "--rpc", url, "--network", trusted, environment={})
        assert here.code == 0, here
        assert (tmp_path / "rpc.json").read_bytes() == (tmp_path / "fresh.json").read_bytes()
        assert "--rpc needs --network" in forked.here("evidence", "refresh", old, "-o", tmp_path / "x", "--rpc", url, environment={}).line()
        theirs = worlds[1].folder / "evidence.json"
        outcome = forked.here("evidence", "refresh", theirs, "-o", tmp_path / "x", "--rpc", url, "--network", trusted, environment={})
        assert outcome.code == 1 and "network: the evidence is of chain" in outcome.line()
    edited = tmp_path / "edited.json"
    edited.write_bytes(evidence.replace(b'"row":"', b'"row":"00', 1))
    assert world.run("evidence refresh", edited, "-o", tmp_path / "x").code == 1


def test_a_journal_looked_through_excludes_later_versions(worlds, network, tmp_path):
    world = worlds[0]
    files = {}
    for kind in ("record", "latest"):
        files[kind] = world.folder / f"{kind}-3.json"
        world.ok("evidence export", "visit", "3", "--kind", kind, "-o", files[kind])
    world.change([("UPDATE visit SET note='later again' WHERE visit_id=3",)])
    world.ok("seal")
    world.ok("evidence export", "visit", "3", "--version", "2", "-o", files["record"])
    with world.opened() as home:
        entries = [body for run in home.journal.bodies(0, home.journal.size) for body in run]
    folder = tmp_path / "journal"
    export_entries(folder, entries)
    trust = ("--network", world.home / "network.json", "--journal", folder)
    assert "no later version: all" in world.ok("evidence verify", files["latest"], *trust).out
    assert world.ok("evidence verify", files["latest"], *trust, "--json").json["later_versions_excluded"] is True
    out = world.ok("evidence verify", files["record"], *trust)
    assert "there is a later version, 3" in out.out
    shown = world.ok("evidence verify", files["record"], *trust, "--json").json
    assert (shown["later_versions_excluded"], shown["last_version"]) == (False, 3)
    for at in (0, len(entries) // 2):
        other = tmp_path / f"other-{at}"
        export_entries(other, [*entries[:at], entries[at][:-1] + bytes([entries[at][-1] ^ 1]), *entries[at + 1 :]])
        outcome = world.run("evidence verify", files["latest"], *trust[:3], other)
        assert outcome.code == 1 and "journal: " in outcome.line()
    assert "is no exported journal" in world.run("evidence verify", files["latest"], *trust[:3], world.folder).line()
    export_entries(tmp_path / "short", entries[:3])
    (tmp_path / "short" / "checkpoint").touch()
    assert "ends too early" in world.run("evidence verify", files["latest"], *trust[:3], tmp_path / "short").line()
    assert world.run("evidence verify", files["latest"], *trust[:3], tmp_path / "nowhere").code == 2
    world.ok("evidence export", "--audit", "last", "-o", tmp_path / "audit.json")
    assert world.run("evidence verify", tmp_path / "audit.json", *trust).code == 2


def export_entries(folder: Path, entries: list[bytes]) -> None:
    """What `careseal journal export` writes of the entries."""
    runs = [entries[at : at + 256] for at in range(0, len(entries), 256)]
    for at, run in enumerate(runs):
        path = folder / bundle_path(at, len(run))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_bundle(run))


def test_the_network_file_survives_its_own_encoding_and_nothing_else(worlds, network):
    data = encode_network(network)
    assert decode_network(data) == network
    values = json.loads(data)
    for name in values:
        for other in (None, -1, 1.5, "", "0x", [], {}, True, 2**64, "0X00"):
            with pytest.raises(NetworkInvalid):
                decode_network(json.dumps(values | {name: other}).encode())
        with pytest.raises(NetworkInvalid):
            decode_network(json.dumps({key: value for key, value in values.items() if key != name}).encode())
    for text in (b"", b"{}", b"[]", b"\xff", json.dumps(values | {"more": 1}).encode(), b"[" * 100_000):
        with pytest.raises(NetworkInvalid):
            decode_network(text)


def test_the_command_says_valid_invalid_or_unreadable_by_its_exit_code(worlds, evidence):
    world = worlds[0]
    file, network = world.folder / "evidence.json", world.home / "network.json"
    edited, short = world.folder / "edited.json", world.folder / "short.json"
    edited.write_bytes(evidence.replace(b'"row":"', b'"row":"00', 1))
    short.write_bytes(evidence[:-100])
    assert world.run("evidence verify", file, "--network", network).code == 0
    shown = world.run("evidence verify", file, "--network", network, "--json", "--values").json
    assert (shown["valid"], shown["values"]["note"], shown["later_versions_excluded"]) == (True, "as evidence shows", False)
    for wrong in (edited, short, world.kit, network):
        outcome = world.run("evidence verify", wrong, "--network", network)
        assert (outcome.code, outcome.out) == (1, "") and ": " in outcome.line()
    assert world.run("evidence verify", file, "--network", worlds[1].home / "network.json").code == 1
    for missing in (("nowhere.json", network), (file, "nowhere.json"), (file, world.kit), (world.folder, network), (file, world.folder)):
        assert world.run("evidence verify", missing[0], "--network", missing[1]).code == 2
