"""The worked examples of docs/spec.md follow from its rules: computed again by the independent verifier's own functions."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise

import coincurve
import pytest
import stranger
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_hash.auto import keccak
from trials import ROOT

SPEC = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")


def part(name: str) -> dict[str, str]:
    """A worked example as the page shows it."""
    block = re.search(rf"<!-- generated: {name} -->\n```text\n(.*?)\n```", SPEC, re.DOTALL)
    assert block
    return dict(line.split(": ", 1) for line in block[1].splitlines())


def raw(name: str, key: str) -> bytes:
    return bytes.fromhex(part(name)[key])


def test_rows_split_into_the_fields_shown() -> None:
    for encoding, row, prefix in (("sqlite/1", "sqlite/1 row", "field"), ("pgtext/1", "pgtext/1 row", "pgtext/1 field")):
        fields = stranger.fields_of(encoding, raw("rows", row))
        assert [field.hex() for field in fields] == [part("rows")[f"{prefix} {i}"] for i in range(len(fields))]
    shown = [stranger.shown("sqlite/1", field) for field in stranger.fields_of("sqlite/1", raw("rows", "sqlite/1 row"))]
    assert shown == ["7", "中文", "1.5", None, "00ff", str(2**40)]
    (text,) = stranger.fields_of("sqlite/1", raw("rows", "TEXT of the bytes 61 ff 62"))
    assert stranger.shown("sqlite/1", text) == "a\\xffb"
    assert stranger.shown("pgtext/1", raw("rows", "pgtext/1 field 5")) == "tab\there"


def test_people() -> None:
    shown = part("people")
    public, action = (json.loads(shown[name]) for name in ("public part", "signed action"))
    key = Ed25519PrivateKey.from_private_bytes(raw("people", "private signing key")).public_key()
    encryption = X25519PrivateKey.from_private_bytes(raw("people", "private encryption key")).public_key()
    assert (public["signing"], public["encryption"]) == (key.public_bytes_raw().hex(), encryption.public_bytes_raw().hex())
    print_of = hashlib.sha256(b"careseal/v1/person" + key.public_bytes_raw() + encryption.public_bytes_raw())
    assert shown["fingerprint"] == print_of.hexdigest()[:40]
    signed = {name: public[name] for name in ("name", "signing", "encryption")}
    for domain, document, holder in ((b"careseal/v1/person", signed, public), (b"careseal/v1/action", action, action)):
        plain = {name: value for name, value in document.items() if name != "signature"}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        key.verify(bytes.fromhex(holder["signature"]), hashlib.sha256(domain + text).digest())


@pytest.mark.parametrize(
    "field", ["7502000000c3a9ff", "7506000000edb383edb2a9", "6603312e30", "6603302e31", "6c010000000100", "6c03000000000000000000"]
)
def test_other_forms_of_a_value_are_refused(field: str) -> None:
    with pytest.raises(ValueError):
        stranger.shown("sqlite/1", bytes.fromhex(field))


def test_commitments() -> None:
    shown = part("commitment")
    secret = hashlib.blake2s(raw("commitment", "record id") + (1).to_bytes(4, "big"), key=raw("commitment", "subject key")).digest()
    assert secret.hex() == shown["secret of version 1"]
    row = raw("rows", "sqlite/1 row")
    for algorithm, mark in ((1, ""), (2, ", SM3")):
        tags, root = stranger.field_commitments(algorithm, secret, stranger.fields_of("sqlite/1", row))
        assert root.hex() == shown[f"field root{mark}"]
        assert stranger.digest(algorithm, secret + row).hex() == shown[f"row digest{mark}"]
        assert mark or tags.hex() == shown["tags"]
    assert hashlib.shake_256(b"careseal/v1/copy" + secret).hexdigest(32) == shown["copy key"]
    blinded = hashlib.blake2s(b"careseal/v1/subject" + raw("commitment", "record id"), key=raw("commitment", "subject key"), digest_size=16)
    assert blinded.hexdigest() == shown["blinded subject"]


def test_names() -> None:
    shown = part("names")
    label = hashlib.blake2s(b"subject:P001", key=raw("names", "label key"), digest_size=16).hexdigest()
    author = hashlib.blake2s(b"author:dr_li", key=raw("names", "label key"), digest_size=16).digest()
    assert (label, hashlib.blake2s(author, digest_size=8).hexdigest()) == (shown["label of subject P001"], shown["author dr_li"])
    assert hashlib.sha256(b"careseal/v1/institutionFirst Hospital").hexdigest() == shown["institution First Hospital"]


def test_entries_tree_and_document() -> None:
    shown = part("entries")
    document = shown["document"].encode()
    assert stranger.canonical(document)["attach"]["id"] == 1
    committed = stranger.document_commitment(raw("entries", "salt"), document)
    assert committed.hex() == shown["its commitment"]
    entries = [bytes.fromhex(value) for name, value in shown.items() if name.startswith("entry ")]
    assert stranger.event_commitment(entries[0], 16) == committed
    written, deleted = stranger.record_entry(entries[1]), stranger.record_entry(entries[2])
    assert (written.kind, written.flags, written.columns, deleted.kind, deleted.flags, deleted.version) == (1, 3, 6, 3, 0x2008, 2)
    leaves = [stranger.leaf(entry) for entry in entries]
    assert [leaf.hex() for leaf in leaves] == [part("tree")[f"leaf {i}"] for i in range(3)]
    two = stranger.root_from([leaves[1]], 0, 2, leaves[0])
    assert two.hex() == part("tree")["root of 2 entries"]
    assert stranger.root_from([two], 2, 3, leaves[2]).hex() == part("tree")["root of 3 entries"]


def test_slots_and_call() -> None:
    shown = part("chain")
    at = stranger.slot(4, 1, 0, 5)
    assert f"{at:064x}" == shown["slot of checkpoint 5 of institution 1, generation 0"]
    assert f"{at + 1:064x}" == shown["slot of its root"]
    assert f"{stranger.slot(5, 1):064x}" == shown["slot of the name of institution 1"]
    assert stranger.keccak(at.to_bytes(32, "big")).hex() == shown["path of the first slot in the storage trie"]
    assert int(shown["meta word of 3 entries in block 9"], 16) == (9 << 64 | 3)
    call = next(bytes.fromhex(value) for name, value in shown.items() if name.startswith("publish("))
    assert call[:4] == stranger.keccak(b"publish(uint256,uint256,uint256,bytes32,bytes32[])")[:4]
    words = [call[start:end] for start, end in pairwise(range(4, len(call) + 1, 32))]
    tree = part("tree")
    assert [int.from_bytes(word, "big") for word in (*words[:3], *words[4:6])] == [0, 2, 3, 160, 1]
    assert (words[3].hex(), words[6].hex()) == (tree["root of 3 entries"], tree["leaf 2"])


def test_receipt_recovers_to_its_account() -> None:
    receipt = json.loads(part("receipt")["receipt"])
    signature = bytes.fromhex(receipt.pop("signature"))
    assert receipt.pop("careseal") == "receipt/1"
    signed = hashlib.sha256(b"careseal/v1/receipt" + json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()).digest()
    public = coincurve.PublicKey.from_signature_and_message(signature, signed, hasher=None)
    assert stranger.keccak(public.format(compressed=False)[1:])[12:].hex() == part("receipt")["its account"]


@pytest.mark.parametrize("size", [0, 1, 135, 136, 137, 500])
def test_own_keccak_is_keccak(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert stranger.keccak(data) == keccak(data)
