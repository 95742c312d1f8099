"""A second verifier of Careseal's evidence files, written from docs/spec.md alone. It imports nothing of the program.

`python tests/docs/stranger.py FILE --network network.json` prints the record and exits with 0, 1 (not valid) or 2 (unreadable).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coincurve

HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2


class Broken(Exception):
    """The first broken link of the evidence."""

    def __init__(self, link: str, reason: str) -> None:
        super().__init__(f"{link}: {reason}")
        self.link = link


class Malformed(ValueError):
    """Bytes that are no encoding of what they should be."""


@dataclass(frozen=True)
class Proof:
    """What the evidence proves."""

    name: str
    institution: int
    table: str
    values: dict[str, str | None]
    version: int
    baseline: bool
    size: int
    block: int
    header_block: int


# Keccak-256, with the padding that Ethereum uses.

_MASK = 2**64 - 1
_ROTATIONS = [[0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61], [28, 55, 25, 21, 56], [27, 20, 39, 8, 14]]


def _round_constants() -> list[int]:
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << (2**j - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


_ROUNDS = _round_constants()


def _turned(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK


def _permuted(a: list[list[int]]) -> list[list[int]]:
    for constant in _ROUNDS:
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[x - 1] ^ _turned(c[(x + 1) % 5], 1) for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                b[y][(2 * x + 3 * y) % 5] = _turned(a[x][y] ^ d[x], _ROTATIONS[x][y])
        a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y] & _MASK) for y in range(5)] for x in range(5)]
        a[0][0] ^= constant
    return a


def keccak(data: bytes) -> bytes:
    rate, state = 136, [[0] * 5 for _ in range(5)]
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % rate)
    padded[-1] |= 0x80
    for start in range(0, len(padded), rate):
        for i in range(rate // 8):
            state[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        state = _permuted(state)
    return b"".join(state[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


# RLP

Item = Any  # bytes, or a list of items


def rlp(data: bytes) -> Item:
    item, end = _rlp_item(data, 0, 32)
    if end != len(data):
        raise Malformed("bytes after the RLP item")
    return item


def _rlp_item(data: bytes, at: int, depth: int) -> tuple[Item, int]:
    if at >= len(data) or not depth:
        raise Malformed("RLP ends early or is too deep")
    first, base = data[at], 0xC0 if data[at] >= 0xC0 else 0x80
    if first < 0x80:
        return data[at : at + 1], at + 1
    start, length = at + 1, first - base
    if length > 55:
        width = length - 55
        start, digits = at + 1 + width, data[at + 1 : at + 1 + width]
        length = int.from_bytes(digits, "big")
        if len(digits) != width or digits[0] == 0 or length < 56:
            raise Malformed("an RLP length that is not minimal")
    end = start + length
    if end > len(data):
        raise Malformed("an RLP item is cut off")
    if base == 0x80:
        if length == 1 and data[start] < 0x80:
            raise Malformed("an RLP byte with a needless prefix")
        return data[start:end], end
    items, at = [], start
    while at < end:
        item, at = _rlp_item(data, at, depth - 1)
        items.append(item)
    if at != end:
        raise Malformed("an RLP item overruns its list")
    return items, end


def to_rlp(item: Item) -> bytes:
    if isinstance(item, list):
        body, base = b"".join(map(to_rlp, item)), 0xC0
    else:
        body, base = item, 0x80
        if len(body) == 1 and body[0] < 0x80:
            return bytes(body)
    if len(body) < 56:
        return bytes([base + len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(length)]) + length + body


def number(item: Item, bits: int) -> int:
    if not isinstance(item, bytes) or item[:1] == b"\0" or 8 * len(item) > bits:
        raise Malformed("not a number of this size")
    return int.from_bytes(item, "big")


# Rows and their fields


def fields_of(encoding: str, row: bytes) -> list[bytes]:
    if encoding == "pgtext/1":
        return row.split(b"\t")
    if encoding != "sqlite/1" or row[:1] != b"(" or len(row) < 5:
        raise Malformed("no row of a known encoding")
    parts, at = [], 5
    for _ in range(int.from_bytes(row[1:5], "little")):
        end = at + _value_size(row[at : at + 5])
        if end > len(row):
            raise Malformed("the row is cut off")
        parts.append(row[at:end])
        at = end
    if at != len(row) or not 1 <= len(parts) <= 256:
        raise Malformed("bytes after the row, or too many columns")
    return parts


def _value_size(head: bytes) -> int:
    tag, size = head[:1], int.from_bytes(head[1:5], "little")
    if tag == b"N":
        return 1
    if len(head) == 5 and tag == b"i":
        return 5
    if len(head) == 5 and tag == b"l":
        return 5 + 2 * abs(int.from_bytes(head[1:5], "little", signed=True))
    if len(head) == 5 and tag in (b"s", b"u"):
        return 5 + size
    if len(head) >= 2 and tag == b"f":
        return 2 + head[1]
    raise Malformed("an unknown value")


def shown(encoding: str, field: bytes) -> str | None:
    """A field for people; Malformed unless it is the one encoding of its value."""
    if encoding == "pgtext/1":
        return None if field == b"\\N" else _unescaped(field).decode("utf-8", "backslashreplace")
    tag, body = field[:1], field[5:]
    if tag == b"N":
        return None
    if tag == b"i":
        return str(int.from_bytes(field[1:5], "little", signed=True))
    if tag == b"l":
        return _large(field)
    if tag == b"f":
        value = float(field[2:].decode("ascii"))
        if f"{value:.17g}".encode() != field[2:]:
            raise Malformed("a real in another form")
        return str(value)
    if tag == b"s":
        return body.hex()
    return _text(body).decode("utf-8", "backslashreplace")


def _large(field: bytes) -> str:
    count = int.from_bytes(field[1:5], "little", signed=True)
    digits = [int.from_bytes(field[at : at + 2], "little") for at in range(5, len(field), 2)]
    value = sum(digit << (15 * place) for place, digit in enumerate(digits)) * (1 if count > 0 else -1)
    if not digits or not digits[-1] or max(digits) >= 2**15 or -(2**31) <= value < 2**31 or not -(2**63) <= value < 2**63:
        raise Malformed("an integer in another form")
    return str(value)


_ESCAPED_BYTE = re.compile(rb"\xed([\xb2\xb3])([\x80-\xbf])")


def _text(body: bytes) -> bytes:
    """The bytes as they are stored: escaped bytes put back; Malformed where they should not have been escaped, or others should."""
    stored = _ESCAPED_BYTE.sub(lambda found: bytes([0x80 | (found[1][0] & 1) << 6 | found[2][0] & 0x3F]), body)
    again, at = bytearray(), 0
    while at < len(stored):
        length = next((size for size in (1, 2, 3, 4) if _well_formed(stored[at : at + size], size)), 0)
        again += stored[at : at + length] if length else bytes([0xED, 0xB0 | stored[at] >> 6, 0x80 | stored[at] & 0x3F])
        at += length or 1
    if bytes(again) != body:
        raise Malformed("a text in another form")
    return stored


def _well_formed(part: bytes, size: int) -> bool:
    try:
        return len(part) == size and len(part.decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False


_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}


def _unescaped(field: bytes) -> bytes:
    try:
        return re.sub(rb"\\(.?)", lambda found: _ESCAPES[found[1]], field, flags=re.DOTALL)
    except KeyError:
        raise Malformed("an escape that PostgreSQL does not write") from None


# Commitments and entries


def digest(algorithm: int, data: bytes) -> bytes:
    return hashlib.new({1: "sha256", 2: "sm3"}[algorithm], data).digest()


def tag_width(columns: int) -> int:
    return 4 if columns <= 64 else 256 // columns


def field_commitments(algorithm: int, secret: bytes, fields: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Tags and field root."""
    salts = hashlib.shake_256(b"careseal/v1/fields" + bytes([algorithm]) + secret).digest(16 * len(fields))
    digests = [digest(algorithm, salts[16 * i : 16 * i + 16] + field) for i, field in enumerate(fields)]
    return b"".join(d[: tag_width(len(fields))] for d in digests), digest(algorithm, b"careseal/v1/root" + b"".join(digests))


@dataclass(frozen=True)
class Entry:
    """An entry of a record."""

    kind: int
    table: int
    flags: int
    version: int
    algorithm: int
    row_digest: bytes
    field_root: bytes
    columns: int
    tags: bytes


def record_entry(data: bytes) -> Entry:
    if len(data) < 129 or data[0] != 1 or data[1] not in (1, 2, 3):
        raise Malformed("not an entry of a record")
    entry = Entry(
        data[1], _u(data, 8, 10), _u(data, 10, 12), _u(data, 28, 32), data[62], data[63:95], data[95:127], _u(data, 127, 129), data[129:]
    )
    content = bool(entry.flags & 2)
    if entry.flags & ~0xFF0F or entry.algorithm not in (1, 2) or not entry.version or entry.columns > 256:
        raise Malformed("an unknown flag, algorithm or version")
    if content != (entry.columns > 0) or len(entry.tags) != (entry.columns and entry.columns * tag_width(entry.columns)):
        raise Malformed("tags that do not fit the columns")
    if not content and any(data[63:127]):
        raise Malformed("digests without content")
    if (content and entry.kind == 3) or (entry.version == 1) != (_u(data, 32, 38) == 0):
        raise Malformed("an entry that contradicts itself")
    return entry


def configuration_commitment(data: bytes) -> bytes:
    if len(data) != 40 or data[0] != 1 or data[1] != 16:
        raise Malformed("not a configuration entry")
    return data[8:]


def document_commitment(salt: bytes, document: bytes) -> bytes:
    return hashlib.sha256(b"careseal/v1/document" + salt + document).digest()


def _u(data: bytes, start: int, end: int) -> int:
    return int.from_bytes(data[start:end], "big")


# The tree


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def root_from(proof: Sequence[bytes], index: int, size: int, node: bytes) -> bytes:
    """The root that an inclusion proof leads to: RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size or any(len(sibling) != 32 for sibling in proof):
        raise Malformed("no such leaf, or no hashes")
    last = size - 1
    for sibling in proof:
        if last == 0:
            raise Malformed("the proof is too long")
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    if last:
        raise Malformed("the proof is too short")
    return node


# Storage of the contracts


def slot(base: int, *keys: int) -> int:
    for key in keys:
        base = int.from_bytes(keccak(base.to_bytes(32, "big") + key.to_bytes(32, "big")), "big")
    return base


def _nibbles(data: bytes) -> list[int]:
    return [nibble for byte in data for nibble in (byte >> 4, byte & 15)]


def trie_value(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    """What the trie under `root` holds at `key`, None for nothing."""
    if root == keccak(b"\x80"):
        if list(proof) not in ([], [b"\x80"]):
            raise Malformed("nodes of an empty trie")
        return None
    given, path = iter(proof), _nibbles(keccak(key))
    value = _descend(_resolved(root, given), path, given)
    if next(given, None) is not None:
        raise Malformed("a node that is not needed")
    return value


def _resolved(reference: Item, given: Iterator[bytes]) -> list[Item]:
    if isinstance(reference, list):
        if len(to_rlp(reference)) >= 32:
            raise Malformed("an embedded node that is too long")
        return reference
    raw = next(given, None)
    if raw is None or len(raw) > 1024 or keccak(raw) != reference:
        raise Malformed("a node that its parent does not name")
    node = rlp(raw)
    if not isinstance(node, list):
        raise Malformed("a node that is no list")
    return node


def _descend(node: list[Item], path: list[int], given: Iterator[bytes]) -> bytes | None:
    if len(node) == 17:
        if node[16] != b"" or not path:
            raise Malformed("a branch with a value or too deep")
        child = node[path[0]]
        return None if child == b"" else _descend(_resolved(child, given), path[1:], given)
    if len(node) != 2 or not isinstance(node[0], bytes) or not node[0]:
        raise Malformed("neither a branch nor a short node")
    prefix = _nibbles(node[0])
    if prefix[0] > 3 or (not prefix[0] & 1 and prefix[1]):
        raise Malformed("a path without a valid prefix")
    step, is_leaf = prefix[1 if prefix[0] & 1 else 2 :], bool(prefix[0] & 2)
    if is_leaf:
        if len(step) != len(path) or not isinstance(node[1], bytes) or not node[1]:
            raise Malformed("a leaf at a wrong depth or without value")
        return node[1] if step == path else None
    if not step or len(step) > len(path) or node[1] == b"":
        raise Malformed("an extension that leads nowhere")
    return _descend(_resolved(node[1], given), path[len(step) :], given) if path[: len(step)] == step else None


def account_of(state_root: bytes, address: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Storage root and code hash."""
    value = trie_value(state_root, address, proof)
    account = [b"", b"", keccak(b"\x80"), keccak(b"")] if value is None else rlp(value)
    if len(account) != 4 or not isinstance(account, list) or [len(part) for part in account[2:]] != [32, 32]:
        raise Malformed("not an account")
    number(account[0], 64), number(account[1], 256)
    return account[2], account[3]


def word_of(storage_root: bytes, at: int, proof: Sequence[bytes]) -> int:
    value = trie_value(storage_root, at.to_bytes(32, "big"), proof)
    found = 0 if value is None else number(rlp(value), 256)
    if value is not None and not found:
        raise Malformed("a trie that stores zero")
    return found


# Headers

_SIZES = {0: 32, 1: 32, 2: 20, 3: 32, 4: 32, 5: 32, 6: 256, 13: 32, 14: 8}
_BITS = {7: 256, 8: 64, 9: 64, 10: 64, 11: 64, 15: 256}


def header_of(raw: bytes) -> list[bytes]:
    parts = rlp(raw)
    if not isinstance(parts, list) or len(parts) not in (15, 16) or not all(isinstance(part, bytes) for part in parts):
        raise Malformed("not a header")
    if any(len(parts[i]) != size for i, size in _SIZES.items()) or len(parts[12]) > 65536:
        raise Malformed("a header field of another size")
    for i, bits in _BITS.items():
        if i < len(parts):
            number(parts[i], bits)
    return parts


def sealer_of(parts: list[bytes], sealers: Sequence[bytes], epoch: int) -> bytes:
    """The sealer of a header, once all is as EIP-225 demands."""
    at, extra, ordered = number(parts[8], 64), parts[12], sorted(sealers)
    epoch_block = at % epoch == 0
    if at == 0 or any(parts[13]) or parts[1] != keccak(b"\xc0") or parts[14] not in (bytes(8), b"\xff" * 8):
        raise Malformed("a genesis, or fields that Clique does not allow")
    if epoch_block and (any(parts[2]) or any(parts[14])):
        raise Malformed("a vote at an epoch")
    if len(extra) < 97 or extra[32:-65] != (b"".join(ordered) if epoch_block else b""):
        raise Malformed("the sealers are not listed as they must be")
    signature = extra[-65:]
    r, s = _u(signature, 0, 32), _u(signature, 32, 64)
    if signature[64] > 1 or r == 0 or not 0 < s <= HALF_ORDER:
        raise Malformed("no canonical signature")
    signed = keccak(to_rlp([*parts[:12], extra[:-65], *parts[13:]]))
    public = coincurve.PublicKey.from_signature_and_message(signature, signed, hasher=None)
    sealer = keccak(public.format(compressed=False)[1:])[12:]
    if sealer not in ordered:
        raise Malformed("sealed by a stranger")
    if number(parts[7], 256) != (2 if ordered[at % len(ordered)] == sealer else 1):
        raise Malformed("a difficulty out of turn")
    return sealer


# The evidence file

_FORMAT = {
    "record": {"entry": bytes, "index": int, "proof": list, "row": bytes, "secret": bytes},
    "configuration": {"document": bytes, "entry": bytes, "index": int, "proof": list, "salt": bytes},
    "checkpoint": {"chain_id": int, "generation": int, "index": int, "institution": int, "root": bytes, "size": int},
    "storage": {"account": list, "meta": list, "root": list},
    "institution": {"account": list, "name": bytes, "proof": list},
    "chain": {"header": bytes},
}


def canonical(data: bytes) -> Any:
    """The value of canonical JSON without reals."""
    value = json.loads(data.decode("utf-8"))
    if json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() != data:
        raise Malformed("not canonical JSON")
    return value


def _hex(text: Any) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("([0-9a-f]{2})*", text):
        raise Malformed("not hex")
    return bytes.fromhex(text)


def _part(kind: type, value: Any) -> Any:
    if kind is bytes:
        return _hex(value)
    if kind is list and isinstance(value, list) and len(value) <= 65:
        return [_hex(item) for item in value]
    if kind is int and type(value) is int and 0 <= value < 2**53:
        return value
    raise Malformed("a field of another type")


def container(data: bytes) -> dict[str, dict[str, Any]]:
    if len(data) > 1 << 25:
        raise Malformed("too large")
    values = canonical(data[:-1] if data.endswith(b"\n") else data)
    if not isinstance(values, dict) or values.pop("careseal", None) != "evidence/1" or values.keys() != _FORMAT.keys():
        raise Malformed("no evidence, or parts missing or unknown")
    for part, names in _FORMAT.items():
        if not isinstance(values[part], dict) or values[part].keys() != names.keys():
            raise Malformed(f"{part}: fields missing or unknown")
        values[part] = {name: _part(kind, values[part][name]) for name, kind in names.items()}
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Malformed("a field twice")
    return dict(pairs)


def network_of(data: bytes) -> dict[str, Any]:
    values = json.loads(data, object_pairs_hook=_once)
    if values["careseal"] != "network/1" or values["engine"] != "clique":
        raise Malformed("no network file")
    for name, size in {"consortium": 20, "journals": 20, "consortium_code": 32, "journals_code": 32, "block_hash": 32}.items():
        values[name] = _prefixed(values[name], size)
    values["sealers"] = [_prefixed(sealer, 20) for sealer in values["sealers"]]
    return dict(values)


def _prefixed(text: str, size: int) -> bytes:
    if not isinstance(text, str) or not re.fullmatch(f"0x[0-9a-f]{{{2 * size}}}", text):
        raise Malformed("not 0x and hex")
    return bytes.fromhex(text[2:])


class _Link:
    """Errors within its context are the break of this link."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> Callable[[bool, str], None]:
        def check(holds: bool, reason: str) -> None:
            if not holds:
                raise Broken(self._name, reason)

        return check

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError | KeyError | TypeError | IndexError | AttributeError | RecursionError):
            raise Broken(self._name, str(error)) from error


def verify(data: bytes, network: dict[str, Any]) -> Proof:
    """What the evidence proves. Broken names the first broken link, in the order of the specification."""
    with _Link("container"):
        parts = container(data)
    record, configuration, checkpoint = parts["record"], parts["configuration"], parts["checkpoint"]
    with _Link("record") as check:
        entry = record_entry(record["entry"])
        check(bool(entry.flags & 2), "no content")
    with _Link("configuration") as check:
        check(len(configuration["salt"]) == 32, "another salt")
        expected = configuration_commitment(configuration["entry"])
        check(document_commitment(configuration["salt"], configuration["document"]) == expected, "another document")
        table = canonical(configuration["document"])["attach"]
        names = [column["name"] for column in table["columns"]]
        check(all(isinstance(name, str) for name in names) and 0 < len(table["key_kinds"]) <= len(names), "no table")
        texts = (table["encoding"], table["table"], table["source_table"])
        check(all(isinstance(text, str) for text in texts) and type(table["id"]) is int, "no table")
        found = root_from(configuration["proof"], configuration["index"], checkpoint["size"], leaf(configuration["entry"]))
        check(found == checkpoint["root"], "not in the journal")
        check(configuration["index"] < record["index"], "younger than the record's entry")
    with _Link("record") as check:
        check(len(record["secret"]) == 32, "another secret")
        check(digest(entry.algorithm, record["secret"] + record["row"]) == entry.row_digest, "another row")
        fields = fields_of(table["encoding"], record["row"])
        check(len(fields) == entry.columns, "another number of columns")
        check(field_commitments(entry.algorithm, record["secret"], fields) == (entry.tags, entry.field_root), "other fields")
    with _Link("configuration") as check:
        check(table["id"] == entry.table and len(names) == len(fields), "another table")
    with _Link("journal") as check:
        found = root_from(record["proof"], record["index"], checkpoint["size"], leaf(record["entry"]))
        check(found == checkpoint["root"], "not in the journal")
    block, header = _chain(parts, network)
    with _Link("record"):
        values = {name: shown(table["encoding"], field) for name, field in zip(names, fields, strict=True)}
    return Proof(
        parts["institution"]["name"].decode(), checkpoint["institution"], table["table"], values, entry.version, bool(entry.flags & 1),
        checkpoint["size"], block, number(header[8], 64),
    )  # fmt: skip


def _chain(parts: dict[str, dict[str, Any]], network: dict[str, Any]) -> tuple[int, list[bytes]]:
    checkpoint, storage, member = parts["checkpoint"], parts["storage"], parts["institution"]
    with _Link("network") as check:
        check(checkpoint["chain_id"] == network["chain_id"], "another chain")
    with _Link("header"):
        header = header_of(parts["chain"]["header"])
    with _Link("storage") as check:
        storage_root, code = account_of(header[3], network["journals"], storage["account"])
        check(code == network["journals_code"], "another contract")
        at = slot(4, checkpoint["institution"], checkpoint["generation"], checkpoint["index"])
        meta, root = word_of(storage_root, at, storage["meta"]), word_of(storage_root, at + 1, storage["root"])
    with _Link("checkpoint") as check:
        size, block = meta & (2**64 - 1), meta >> 64
        check(size == checkpoint["size"] > 0 and root.to_bytes(32, "big") == checkpoint["root"], "another checkpoint")
    with _Link("institution") as check:
        storage_root, code = account_of(header[3], network["consortium"], member["account"])
        check(code == network["consortium_code"], "another contract")
        word = word_of(storage_root, slot(5, checkpoint["institution"]), member["proof"])
        member["name"].decode("utf-8")
        check(word.to_bytes(32, "big") == hashlib.sha256(b"careseal/v1/institution" + member["name"]).digest(), "another name")
    with _Link("network") as check:
        height = number(header[8], 64)
        check(height >= network["block"], "older than the trusted block")
        check(height != network["block"] or keccak(parts["chain"]["header"]) == network["block_hash"], "not the trusted block")
    with _Link("seal"):
        sealer_of(header, network["sealers"], network["epoch"])
    with _Link("checkpoint") as check:
        check(block <= height, "later than the header")
    return block, header


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify Careseal evidence, independently of Careseal.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--network", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        data, network = arguments.file.read_bytes(), network_of(arguments.network.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"cannot be examined: {error}\n")
        return 2
    try:
        proof = verify(data, network)
    except Broken as broken:
        sys.stdout.write(f"INVALID, broken link {broken}\n")
        return 1
    sys.stdout.write(f"VALID: version {proof.version} in {proof.table}, {proof.name}, block {proof.block} of {proof.header_block}\n")
    sys.stdout.writelines(f"  {name} = {value}\n" for name, value in proof.values.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
