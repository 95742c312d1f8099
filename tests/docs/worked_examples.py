"""The worked examples of docs/spec.md, computed by the program itself from the inputs that the page names."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from coincurve import PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_hash.auto import keccak
from web3 import Web3

from anchoring.journal_export import note_key
from anchoring.log_folder import origin
from anchoring.network import institution_name
from anchoring.note import LogCheckpoint, sign, verifier_of
from anchoring.receipt import make_receipt, stamped_digest
from anchoring.tlog import encode_bundle
from anchoring.token import encode_request
from contracts.artifacts import load
from contracts.layout import checkpoint_slots, institution_slots
from ledger import canonical, rowcodec, sortkey
from ledger.batch import Batch
from ledger.commitment import blinded_subject, commit, copy_key, field_digests, record_secret, salts
from ledger.home import Settings
from ledger.journal import Checkpoint, Journal
from ledger.keys import Keyring, SubjectKeys, seal_box
from ledger.merkle import leaf_hash, node_hash
from ledger.persons import action_digest, make_key_file, open_key_file, public_file
from ledger.store import Store
from ledger.wire import Algorithm, EventEntry, Flag, Kind, encode_event, encode_record

SUBJECT_KEY, LABEL_KEY, WRAPPING_KEY, MIRROR_KEY, SEALING_KEY = (bytes(range(start, start + 32)) for start in range(0, 160, 32))
RECORD, SALT = bytes(range(0xA0, 0xB0)), bytes(range(0xC0, 0xE0))
TIME = 1767225600000
ROW = (7, "中文", 1.5, None, b"\x00\xff", 2**40)
DOCUMENT = {
    "attach": {
        "id": 1,
        "table": "lab",
        "source_table": "lab",
        "encoding": rowcodec.SQLITE,
        "columns": [
            {"name": name, "type": kind}
            for name, kind in zip(
                ("id", "note", "value", "flag", "raw", "big"), ("INTEGER", "TEXT", "REAL", "INTEGER", "BLOB", "INTEGER"), strict=True
            )
        ],
        "key_kinds": ["int"],
        "options": {
            "capture": "triggers", "writers": [], "immutable": [], "final": None, "deletable": False, "time": None, "grace": 86400,
            "subject": None, "policy": "adopt", "copies": False, "algorithm": "sha256",
        },
    }
}  # fmt: skip


def examples() -> dict[str, str]:
    """Every worked example by the name that docs/spec.md gives it."""
    return {
        "rows": _block(_rows()),
        "sort-keys": _block(_sort_keys()),
        "commitment": _block(_commitment()),
        "names": _block(_names()),
        "entries": _block(_entries()),
        "tree": _block(_tree()),
        "chain": _block(_chain()),
        "receipt": _block(_receipt()),
        "export": _block(_export()),
        "box": _block(_box()),
        "people": _block(_people()),
    }


def _block(lines: Iterable[tuple[str, object]]) -> str:
    shown = ((name, value.hex() if isinstance(value, bytes) else str(value)) for name, value in lines)
    return "```text\n" + "\n".join(f"{name}: {value}" for name, value in shown) + "\n```"


def _rows() -> Iterable[tuple[str, object]]:
    row = rowcodec.encode_sqlite(ROW)
    yield "sqlite/1 row", row
    for number, field in enumerate(rowcodec.fields(rowcodec.SQLITE, row)):
        yield f"field {number}", field
    yield "TEXT of the bytes 61 ff 62", rowcodec.encode_sqlite((b"a\xffb".decode("utf-8", "surrogateescape"),))
    yield "integer -2147483649", rowcodec.encode_sqlite((-(2**31) - 1,))
    yield "real 0.1", rowcodec.encode_sqlite((0.1,))
    line = "7\t中文\t1.50\t\\N\t\\\\x00ff\ttab\\there".encode()
    yield "pgtext/1 row", line
    for number, field in enumerate(rowcodec.fields(rowcodec.PGTEXT, line)):
        yield f"pgtext/1 field {number}", field


def _sort_keys() -> Iterable[tuple[str, object]]:
    yield "int (7)", sortkey.encode(["int"], [7])
    yield "int (-1)", sortkey.encode(["int"], [-1])
    yield "text ('E03')", sortkey.encode(["text"], ["E03"])
    yield "text, int ('E03', 7)", sortkey.encode(["text", "int"], ["E03", 7])
    yield "any (1)", sortkey.encode(["any"], [1])
    yield "any (1.5)", sortkey.encode(["any"], [1.5])
    yield "any (2**53 + 1)", sortkey.encode(["any"], [2**53 + 1])
    yield "any, any ('a', x'00ff')", sortkey.encode(["any", "any"], ["a", b"\x00\xff"])
    yield "any, any (1, NULL)", sortkey.encode(["any", "any"], [1, None])


def _secret() -> bytes:
    return record_secret(SUBJECT_KEY, RECORD, 1)


def _fields() -> list[bytes]:
    return rowcodec.fields(rowcodec.SQLITE, rowcodec.encode_sqlite(ROW))


def _commitment() -> Iterable[tuple[str, object]]:
    secret, row, fields = _secret(), rowcodec.encode_sqlite(ROW), _fields()
    made = commit(Algorithm.SHA256, secret, row, fields)
    yield "subject key", SUBJECT_KEY
    yield "record id", RECORD
    yield "secret of version 1", secret
    yield "row digest", made.row_digest
    yield "salts", salts(Algorithm.SHA256, secret, len(fields))
    for number, digest in enumerate(field_digests(Algorithm.SHA256, secret, fields)):
        yield f"field digest {number}", digest
    yield "tags", made.tags
    yield "field root", made.field_root
    sm3 = commit(Algorithm.SM3, secret, row, fields)
    yield "row digest, SM3", sm3.row_digest
    yield "field root, SM3", sm3.field_root
    yield "blinded subject", blinded_subject(SUBJECT_KEY, RECORD)
    key = copy_key(secret)
    yield "copy key", key
    yield "copy", AESGCM(key).encrypt(bytes(12), row, None)


def _names() -> Iterable[tuple[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subjects = SubjectKeys(place / "subjects.db", Keyring(WRAPPING_KEY, LABEL_KEY, MIRROR_KEY, SEALING_KEY), create=True)
        store = Store(place / "ledger.db", create=True)
        blind = subjects.blind("subject:P001")
        wrapped = bytes(12) + AESGCM(WRAPPING_KEY).encrypt(bytes(12), SUBJECT_KEY, blind)
        subjects.put([(1, blind, wrapped)])
        assert subjects.keys([1])[1] == SUBJECT_KEY
        yield "label key", LABEL_KEY
        yield "wrapping key", WRAPPING_KEY
        yield "label of subject P001", blind
        yield "its key, wrapped with a nonce of zeros", wrapped
        yield "author dr_li", Batch(store, Journal(store, bytes(32)), subjects, mirrored=False).author("dr_li")
        subjects.close()
        store.close()
    yield "institution First Hospital", institution_name("First Hospital")


def _record_entry() -> bytes:
    fields = _fields()
    made = commit(Algorithm.SHA256, _secret(), rowcodec.encode_sqlite(ROW), fields)
    return encode_record(
        Kind.WRITTEN, TIME, 1, Flag.CONTENT | Flag.BASELINE, RECORD, 1, None, blinded_subject(SUBJECT_KEY, RECORD), bytes(8),
        Algorithm.SHA256, made.row_digest, made.field_root, len(fields), made.tags,
    )  # fmt: skip


def _event_entry() -> bytes:
    return encode_event(EventEntry(Kind.CONFIGURATION, TIME, canonical.commitment(SALT, canonical.encode(DOCUMENT))))


def _deletion() -> bytes:
    return encode_record(
        Kind.DELETED, TIME + 1000, 1, Flag.CAPTURED | Flag.DELETION, RECORD, 2, 1, blinded_subject(SUBJECT_KEY, RECORD), bytes(8),
        Algorithm.SHA256, bytes(32), bytes(32), 0, b"",
    )  # fmt: skip


def _entries() -> Iterable[tuple[str, object]]:
    yield "document", canonical.encode(DOCUMENT).decode()
    yield "salt", SALT
    yield "its commitment", canonical.commitment(SALT, canonical.encode(DOCUMENT))
    yield "entry 0, configuration", _event_entry()
    yield "entry 1, record written", _record_entry()
    yield "entry 2, record deleted", _deletion()


def _tree() -> Iterable[tuple[str, object]]:
    leaves = [leaf_hash(entry) for entry in (_event_entry(), _record_entry(), _deletion())]
    for number, leaf in enumerate(leaves):
        yield f"leaf {number}", leaf
    yield "root of 1 entry", leaves[0]
    yield "root of 2 entries", node_hash(leaves[0], leaves[1])
    yield "root of 3 entries", node_hash(node_hash(leaves[0], leaves[1]), leaves[2])


def _root(size: int) -> bytes:
    return bytes.fromhex(dict(_tree_roots())[size])


def _tree_roots() -> Iterable[tuple[int, str]]:
    for name, value in _tree():
        if name.startswith("root of "):
            yield int(name.split()[2]), value.hex() if isinstance(value, bytes) else ""


def _chain() -> Iterable[tuple[str, object]]:
    abi = load("Journals").abi
    first_proof = [leaf_hash(_deletion())]
    call = Web3().eth.contract(abi=abi).encode_abi("publish", [0, 2, 3, _root(3), first_proof])
    yield "publish(0, 2, 3, root of 3 entries, [leaf 2])", call.removeprefix("0x")
    meta, root = checkpoint_slots(1, 0, 5)
    yield "slot of checkpoint 5 of institution 1, generation 0", meta.to_bytes(32, "big")
    yield "slot of its root", root.to_bytes(32, "big")
    yield "meta word of 3 entries in block 9", (9 << 64 | 3).to_bytes(32, "big")
    yield "path of the first slot in the storage trie", keccak(meta.to_bytes(32, "big"))
    yield "slot of the name of institution 1", institution_slots(1).name.to_bytes(32, "big")


def _receipt() -> Iterable[tuple[str, object]]:
    settings = Settings("First Hospital", "00" * 16, "chain", 1000001, "0x" + "22" * 20, "0x" + "33" * 20, 1)
    checkpoint = Checkpoint(0, 3, _root(3), TIME, "0x" + "44" * 32, 9, "0x" + "55" * 32, 1767225601)
    yield "sealing key", SEALING_KEY
    yield "its account", keccak(PrivateKey(SEALING_KEY).public_key.format(compressed=False)[1:])[12:]
    receipt = make_receipt(settings, checkpoint, SEALING_KEY)
    yield "receipt", receipt.decode().rstrip("\n")
    yield "digest that a time stamp of it covers", stamped_digest(receipt)
    yield "request for that, with nonce 258", encode_request(stamped_digest(receipt), 258)


def _export() -> Iterable[tuple[str, object]]:
    seed = note_key(Keyring(WRAPPING_KEY, LABEL_KEY, MIRROR_KEY, SEALING_KEY))
    name = origin(1000001, "0x" + "33" * 20, 1, 0)
    yield "seed of the key", seed
    yield "verifier key", str(verifier_of(name, seed))
    yield "checkpoint, its lines one after the other", sign(LogCheckpoint(name, 3, _root(3)), seed).decode().replace("\n", "↵")
    yield "bundle of the three entries", encode_bundle([_event_entry(), _record_entry(), _deletion()])


def _people() -> Iterable[tuple[str, object]]:
    seeds = iter([SUBJECT_KEY, LABEL_KEY, bytes(16), bytes(12)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "li.key"
        path.write_bytes(make_key_file("李娜", b"correct horse", lambda count: next(seeds)))
        key = open_key_file(path, b"correct horse")
    action = {"about": "an example", "home": "00" * 16, "person": 1}
    yield "private signing key", SUBJECT_KEY
    yield "private encryption key", LABEL_KEY
    yield "public part", canonical.encode(json.loads(public_file(key.public))).decode()
    yield "fingerprint", key.public.fingerprint.replace(" ", "")
    yield "signed action", canonical.encode(action | {"signature": key.sign(action_digest(action)).hex()}).decode()


def _box() -> Iterable[tuple[str, object]]:
    def random(count: int) -> bytes:
        return bytes(range(count))

    box = seal_box(b"correct horse", "sealer key", {"key": "11" * 32}, random)
    yield "passphrase", b"correct horse".decode()
    yield "box", box.decode()
    yield "SHA-256 of the box file", sha256(box).digest()
