"""Files that a home writes are read here by code that follows docs/spec.md and imports nothing of the program."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
import zlib
from pathlib import Path
from typing import Any

import coincurve
import pytest
import stranger
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from trials import Trial, recovery_passphrase


def opened(path: Path, passphrase: bytes, purpose: str) -> dict[str, str]:
    """The content of a box."""
    outer = json.loads(path.read_bytes())
    assert outer.keys() == {"careseal", "kdf", "salt", "nonce", "box"}
    assert (outer["careseal"], outer["kdf"]) == (purpose, "scrypt-32768-8-1")
    salt, nonce, box = (bytes.fromhex(outer[name]) for name in ("salt", "nonce", "box"))
    key = hashlib.scrypt(passphrase, salt=salt, n=32768, r=8, p=1, dklen=32, maxmem=1 << 26)
    return dict(json.loads(AESGCM(key).decrypt(nonce, box, purpose.encode())))


@pytest.fixture(scope="module")
def keys(trial: Trial) -> dict[str, bytes]:
    """The keyring of the trial's home, read from its box."""
    content = opened(trial.home / "keyring.json", (trial.folder / "config" / "careseal" / "unlock").read_bytes(), "keyring")
    assert content.keys() == {"wrapping", "labels", "mirror", "sealing"}
    return {name: bytes.fromhex(value) for name, value in content.items()}


def journal(trial: Trial) -> list[bytes]:
    connection = sqlite3.connect(trial.home / "ledger.db")
    bodies = [row[0] for row in connection.execute("SELECT body FROM entries ORDER BY idx")]
    connection.close()
    return bodies


def test_recovery_kit_and_sealer_key(trial: Trial, keys: dict[str, bytes]) -> None:
    kit = opened(trial.folder / "H-recovery-kit.json", recovery_passphrase(trial).encode(), "recovery kit")
    assert {name: bytes.fromhex(kit[name]) for name in keys} == keys
    assert kit.keys() == keys.keys() | {"settings", "sealer"}
    home = json.loads((trial.home / "home.json").read_bytes())
    assert json.loads(kit["settings"]) == {name: value for name, value in home.items() if name not in ("careseal", "code")}
    assert home["network"] == (trial.home / "network.json").read_text()
    sealer = opened(trial.home / "chain" / "sealer.json", (trial.folder / "config" / "careseal" / "unlock").read_bytes(), "sealer key")
    assert len(bytes.fromhex(sealer["key"])) == 32
    assert kit["sealer"] == sealer["key"]


def test_code_of_the_settings(trial: Trial, keys: dict[str, bytes]) -> None:
    home = json.loads((trial.home / "home.json").read_bytes())
    assert home.pop("careseal") == 2
    code = home.pop("code")
    document = json.dumps(home, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.blake2s(b"careseal/v1/settings" + document, key=keys["mirror"]).hexdigest() == code


def test_mirror_holds_the_journal_and_its_sidecars_open(trial: Trial, keys: dict[str, bytes]) -> None:
    entries: list[bytes] = []
    tables: set[str] = set()
    home_id = json.loads((trial.home / "home.json").read_bytes())["home_id"]
    for number, path in enumerate(sorted((trial.folder / "M").glob("*.batch")), 1):
        content = path.read_bytes()
        assert path.name == f"{number:012d}.batch" and hashlib.sha256(content[:-32]).digest() == content[-32:]
        first, header, rest = content[:-32].split(b"\n", 2)
        about = json.loads(header)
        assert first == b"careseal batch 1" and (about["home"], about["number"], about["first"]) == (home_id, number, len(entries))
        taken, rest = entries_of(rest, about["count"])
        assert hashlib.sha256(b"".join(taken)).hexdigest() == about["entries"]
        entries += taken
        sidecar = zlib.decompress(AESGCM(keys["mirror"]).decrypt(rest[:12], rest[12:], header + b"\n"))
        tables |= {table for table, _rows in json.loads(sidecar)}
    assert entries and entries == journal(trial)[: len(entries)]
    assert tables >= {"subjects", "state", "documents", "checkpoints", "tables", "copies"}


def entries_of(data: bytes, count: int) -> tuple[list[bytes], bytes]:
    taken = []
    for _ in range(count):
        length = int.from_bytes(data[:2], "big")
        taken.append(data[2 : 2 + length])
        data = data[2 + length :]
    return taken, data


def test_backup_opens_to_a_tar_of_the_home(trial: Trial, keys: dict[str, bytes]) -> None:
    trial.run("careseal backup --home H file.backup")
    data = (trial.folder / "file.backup").read_bytes()
    magic = b"careseal backup 1\n"
    assert data.startswith(magic)
    nonce, at, number, plain, last = data[len(magic) : len(magic) + 8], len(magic) + 8, 0, b"", False
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        sealed = data[at + 4 : at + 4 + length]
        at += 4 + length
        last = at == len(data)
        plain += AESGCM(keys["mirror"]).decrypt(nonce + number.to_bytes(4, "big"), sealed, magic + (b"last" if last else b""))
        number += 1
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        names = set(tar.getnames())
    assert names == {"ledger.db", "subjects.db", "home.json", "network.json"} | {
        f"chain/{name}" for name in ("chain.db", "sealer.json", "network.json")
    }


def test_subject_keys_open_rows_and_copies(trial: Trial, keys: dict[str, bytes]) -> None:
    patient, visit = trial.one("SELECT patient_id, visit_id FROM visit ORDER BY visit_id LIMIT 1")
    blind = hashlib.blake2s(f"subject:{patient}".encode(), key=keys["labels"], digest_size=16).digest()
    store = sqlite3.connect(trial.home / "subjects.db")
    ((sid, wrapped),) = store.execute("SELECT sid, key FROM subject WHERE label=?", (blind,)).fetchall()
    store.close()
    subject = AESGCM(keys["wrapping"]).decrypt(wrapped[:12], wrapped[12:], blind)
    ledger = sqlite3.connect(trial.home / "ledger.db")
    ((index,),) = ledger.execute(
        "SELECT entry FROM state WHERE sid=? AND tbl=1 AND key=?", (sid, (visit + 2**63).to_bytes(8, "big"))
    ).fetchall()
    ((copy,),) = ledger.execute("SELECT body FROM copies WHERE entry=?", (index,)).fetchall()
    ledger.close()
    body = journal(trial)[index]
    secret = hashlib.blake2s(body[12:32], key=subject).digest()
    row = AESGCM(hashlib.shake_256(b"careseal/v1/copy" + secret).digest(32)).decrypt(bytes(12), copy, None)
    assert hashlib.sha256(secret + row).digest() == body[63:95]
    fields = stranger.fields_of("sqlite/1", row)
    assert (stranger.shown("sqlite/1", fields[0]), stranger.shown("sqlite/1", fields[1])) == (str(visit), patient)
    assert stranger.field_commitments(1, secret, fields) == (body[129:], body[95:127])
    assert hashlib.blake2s(b"careseal/v1/subject" + body[12:28], key=subject, digest_size=16).digest() == body[38:54]


def test_tree_tiles_and_receipt(trial: Trial, keys: dict[str, bytes]) -> None:
    receipt: dict[str, Any] = json.loads(sorted((trial.home / "receipts").glob("*.json"))[0].read_bytes())
    signature = bytes.fromhex(receipt.pop("signature"))
    assert receipt.pop("careseal") == "receipt/1"
    document = json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()
    signed = hashlib.sha256(b"careseal/v1/receipt" + document).digest()
    signer = coincurve.PublicKey.from_signature_and_message(signature, signed, hasher=None)
    assert signer == coincurve.PrivateKey(keys["sealing"]).public_key
    leaves = [stranger.leaf(body) for body in journal(trial)[: receipt["size"]]]
    assert tree_root(leaves).hex() == receipt["root"]
    ledger = sqlite3.connect(trial.home / "ledger.db")
    ((tile,), (above,)) = ledger.execute("SELECT hashes FROM tiles WHERE id IN (1, ?) ORDER BY id", (2**48,)).fetchall()
    ledger.close()
    assert tile == b"".join(leaves[256:512])
    assert above[:64] == tree_root(leaves[:256]) + tree_root(leaves[256:512])


def tree_root(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()
