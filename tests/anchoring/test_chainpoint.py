"""Chainpoint-style receipts: made through merkletools, validated by a validator that shares no line with it, and every part changed."""

from __future__ import annotations

import copy
import json
import sys
import warnings
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from anchoring.chainpoint import ANCHOR, CONTEXT, TYPE, VERSION, WARNING, is_receipts, sides, source_id, verify_receipts
from anchoring.errors import EvidenceInvalid
from anchoring.network import Network, read_network
from ledger import canonical
from ledger.journal import event
from ledger.merkle import leaf_hash, node_hash
from ledger.wire import Kind, decode_entry, encode_event, encode_record

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from merkletools import MerkleTools

NETWORK = Network(1000001, "clique", 1, 30000, b"c" * 20, bytes(32), b"j" * 20, bytes(32), 0, bytes(32), (b"s" * 20,))
OTHER_ENTRY = leaf_hash(b"the entry before")


def entry(number: int) -> bytes:
    return encode_record(1, 5, 1, 2, number.to_bytes(16), 1, None, bytes(16), bytes(8), 1, bytes(32), bytes(32), 1, b"tags")


def tree(bodies: list[bytes]) -> MerkleTools:
    made = MerkleTools("sha256")
    made.add_leaf([leaf_hash(body).hex() for body in bodies])
    made.make_tree()
    return made


def container(bodies: list[bytes], *, leaves: int | None = None, kind: Kind = Kind.EXPORT) -> dict:
    """Receipts of all entries, under a root that entry 1 of a journal of two entries names."""
    made = tree(bodies)
    document = {"chainpoint": {"leaves": len(bodies) if leaves is None else leaves, "root": made.get_merkle_root()}}
    body, salt, text = event(kind, document, 7, lambda n: b"r" * n)
    checkpoint = {"chain_id": 1000001, "journals": "0x" + b"j".hex() * 20, "institution": 1, "generation": 0, "size": 2,
                  "root": node_hash(OTHER_ENTRY, leaf_hash(body)).hex(), "block": 9}  # fmt: skip
    root = {"entry": body.hex(), "index": 1, "proof": [OTHER_ENTRY.hex()], "salt": salt.hex(), "document": text.hex()}
    receipts = [
        {"@context": CONTEXT, "type": TYPE, "targetHash": made.get_leaf(n), "merkleRoot": made.get_merkle_root(),
         "proof": made.get_proof(n), "anchors": [{"type": ANCHOR, "sourceId": source_id(checkpoint, 1)}],
         "careseal": {"entry": body.hex(), "leaf": n}}
        for n, body in enumerate(bodies)
    ]  # fmt: skip
    return {"careseal": VERSION, "warning": WARNING, "root": root, "checkpoint": checkpoint, "receipts": receipts}


def refused(values: dict, words: str) -> None:
    with pytest.raises(EvidenceInvalid, match=words):
        verify_receipts(canonical.encode(values), NETWORK)


@pytest.mark.parametrize("count", [*range(1, 35), 64, 65, 127, 1000])
def test_receipts_of_merkletools_are_valid_for_the_own_validator(count: int) -> None:
    bodies = [entry(n) for n in range(count)]
    values = container(bodies)
    proved = verify_receipts(canonical.encode(values) + b"\n", NETWORK)
    assert (len(proved.entries), proved.index, proved.size, proved.block) == (count, 1, 2, 9)
    assert list(proved.entries) == [decode_entry(body) for body in bodies]
    made = tree(bodies)
    for leaf, receipt in enumerate(values["receipts"]):
        assert made.validate_proof(receipt["proof"], receipt["targetHash"], receipt["merkleRoot"])
        assert [next(iter(step)) for step in receipt["proof"]] == list(sides(leaf, count))


def test_some_of_the_receipts_are_enough() -> None:
    values = container([entry(n) for n in range(9)])
    values["receipts"] = [values["receipts"][8], values["receipts"][3]]
    assert [int.from_bytes(e.record) for e in verify_receipts(canonical.encode(values), NETWORK).entries] == [8, 3]
    values["receipts"] *= 2
    refused(values, "container: two receipts are of one leaf")


def test_an_inner_node_is_no_leaf_whatever_merkletools_says() -> None:
    values = container([entry(n) for n in range(8)])
    receipt = values["receipts"][0]
    sibling = values["receipts"][1]["targetHash"]
    inner = sha256(bytes.fromhex(receipt["targetHash"]) + bytes.fromhex(sibling)).hexdigest()
    receipt["targetHash"], receipt["proof"] = inner, receipt["proof"][1:]
    assert tree([entry(n) for n in range(8)]).validate_proof(receipt["proof"], inner, receipt["merkleRoot"])
    refused(values, "leaf: receipt 0: the target is not the leaf hash of a record's entry")
    receipt["careseal"]["entry"] = receipt["targetHash"] + sibling
    refused(values, "leaf: receipt 0: ")
    # Even where the right entry comes with it, a shorter proof is that of no leaf.
    receipt["careseal"]["entry"], receipt["targetHash"] = entry(0).hex(), leaf_hash(entry(0)).hex()
    refused(values, "tree: receipt 0: the proof has not the shape of leaf 0 of 8")


def test_a_tree_of_another_number_of_leaves_is_not_the_journalled_one() -> None:
    bodies = [entry(n) for n in range(8)]
    refused(container(bodies, leaves=4), "container: there are more receipts than leaves")
    values = container(bodies, leaves=4)
    values["receipts"] = values["receipts"][:1]
    refused(values, "tree: receipt 0: the proof has not the shape of leaf 0 of 4")
    for leaves in (0, 10_001):
        refused(container(bodies, leaves=leaves), "root: the journal entry does not open: it names no root")


def test_only_entries_of_records_are_leaves_and_only_an_export_names_the_root() -> None:
    audit = encode_event(decode_entry(event(Kind.AUDIT, {"audit": {}}, 1)[0]))
    refused(container([audit]), "leaf: receipt 0: the target is not the leaf hash of a record's entry")
    refused(container([entry(1)], kind=Kind.AUDIT), "root: the journal entry does not open: it is of another kind")


def places(value: object, path: tuple = ()):
    """Every place in a document that holds something."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*path, name))


def changes(value: object):
    yield from (None, True, {}, [], "", "00", -1, 2**53 - 1)
    if isinstance(value, int):
        yield from (value + 1, str(value))
    if isinstance(value, str):
        yield from (value[:-1], value + "00", value.upper(), value[1:], "0" + value[1:] if value[:1] != "0" else "1" + value[1:])
    if isinstance(value, list):
        yield from (value + value[:1], value[1:], value[::-1], [value])
    if isinstance(value, dict):
        yield from (value | {"more": 1}, dict(list(value.items())[1:]))


def test_every_part_counts() -> None:
    whole = container([entry(n) for n in range(5)])
    tried = 0
    for path in places(whole):
        if path == ("checkpoint", "block"):
            continue  # the institution's word, to be compared with the chain
        parent = whole
        for name in path[:-1]:
            parent = parent[name]
        for changed in changes(parent[path[-1]]):
            values = copy.deepcopy(whole)
            place = values
            for name in path[:-1]:
                place = place[name]
            if place[path[-1]] == changed and type(place[path[-1]]) is type(changed):
                continue
            if path == ("receipts",) and changed in (whole["receipts"][1:], whole["receipts"][::-1]):
                continue  # each receipt stands for itself
            place[path[-1]] = changed
            with pytest.raises(EvidenceInvalid, match="^(container|network|root|journal|receipt|leaf|tree): "):
                verify_receipts(canonical.encode(values), NETWORK)
            tried += 1
    assert tried > 1000


@given(st.data())
def test_no_flipped_or_cut_byte_passes(data: st.DataObject) -> None:
    whole = canonical.encode(container([entry(n) for n in range(3)]))
    at = data.draw(st.integers(0, len(whole) - 1))
    block = whole.index(b'"block":9') + 8
    if at != block:
        with pytest.raises(EvidenceInvalid):
            verify_receipts(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :], NETWORK)
    with pytest.raises(EvidenceInvalid, match="container: "):
        verify_receipts(whole[:at], NETWORK)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"[" * 100_000, b"\xff", b'{"careseal":"chainpoint/2"}', b" " * ((1 << 25) + 1)])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceInvalid, match="container: "):
        verify_receipts(data, NETWORK)


def test_receipts_of_another_chain_or_contract_are_refused() -> None:
    data = canonical.encode(container([entry(1)]))
    for other in (replace(NETWORK, chain_id=2), replace(NETWORK, journals=b"k" * 20)):
        with pytest.raises(EvidenceInvalid, match="network: the receipts are of another chain or contract"):
            verify_receipts(data, other)


# On a real home

KEYS = ("a1", "na", "a1", "k")


def export(world: World, table: str, *keys: str) -> bytes:
    world.ok("evidence export", table, *keys, "--format", "chainpoint", "-o", world.folder / "receipts.json")
    return (world.folder / "receipts.json").read_bytes()


def test_receipts_of_a_home_are_valid_and_their_root_is_anchored(sealed):
    data = export(sealed, "lab_result", *KEYS)
    network = sealed.home / "network.json"
    shown = sealed.ok("evidence verify", sealed.folder / "receipts.json", "--network", network, "--json").json
    assert (shown["valid"], shown["records"], shown["institution"]) == (True, 2, 1)
    assert (shown["size"], bytes.fromhex(shown["root"])) == sealed.checkpoints()[-1] and shown["root_entry"] == shown["size"] - 1
    proved = verify_receipts(data, read_network(network))
    with sealed.opened() as home:
        sealed_entries = [decode_entry(body) for part in home.journal.bodies(0, home.journal.size) for body in part]
        about = canonical.decode(home.journal.document(shown["root_entry"])[1])
    assert set(proved.entries) <= set(sealed_entries)
    assert about == {"chainpoint": {"leaves": 2, "root": json.loads(data)["receipts"][0]["merkleRoot"]}}
    assert "VALID: 2 journal entries" in sealed.ok("evidence verify", sealed.folder / "receipts.json", "--network", network).out
    sealed.settle()  # the entry of the root is no finding


def test_receipts_hold_nothing_of_the_records(sealed):
    data = export(sealed, "visit", "1", "3")
    for word in (b"First Hospital", b"visit", b"first", b"p1", "第三".encode()):
        assert word not in data


def test_an_edited_receipt_ends_with_1(sealed):
    data = export(sealed, "visit", "1", "2", "3")
    file, network = sealed.folder / "receipts.json", sealed.home / "network.json"
    leaf = data.index(b'"targetHash":"') + 20
    file.write_bytes(data[:leaf] + (b"0" if data[leaf : leaf + 1] != b"0" else b"1") + data[leaf + 1 :])
    outcome = sealed.run("evidence verify", file, "--network", network)
    assert outcome.code == 1 and "leaf: receipt 0" in outcome.line()


def test_what_cannot_be_exported_is_one_line_and_journals_nothing(sealed):
    before = sealed.count("SELECT count(*) FROM documents", "ledger.db")

    def line(table: str, *keys: str, form: str = "chainpoint") -> str:
        return sealed.refused("evidence export", table, *keys, "--format", form, "-o", sealed.folder / "r.json")

    assert "give 2 values for each record" in line("lab_result", "a1", "na", "a1")
    assert "has no sealed record with this key" in line("visit", "1", "99")
    assert "a record is named twice" in line("visit", "1", "2", "1")
    assert "there is no format pdf: give evidence or chainpoint" in line("visit", "1", form="pdf")
    assert "is not attached" in line("nothing", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "merkletools", None)
        assert "pip install --no-deps merkletools" in line("visit", "1")
    assert not (sealed.folder / "r.json").exists()
    assert sealed.count("SELECT count(*) FROM documents", "ledger.db") == before


def test_only_receipts_are_taken_for_receipts(sealed):
    assert is_receipts(export(sealed, "visit", "1"))
    sealed.ok("evidence export", "visit", "1", "-o", sealed.folder / "e.json")
    assert not is_receipts((sealed.folder / "e.json").read_bytes())
