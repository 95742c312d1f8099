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
class Version:
    """A version of a record as far as it is shown; `values` is None where its content is not."""

    number: int
    index: int
    flags: int
    values: dict[str, str | None] | None


@dataclass(frozen=True)
class Proof:
    """What the evidence proves, of a record or of an audit."""

    kind: str
    name: str
    institution: int
    table: str
    record: bytes
    versions: list[Version]
    hidden: list[str]
    audit: dict[str, Any] | None
    size: int
    root: bytes
    block: int
    header_block: int
    sealed_by: list[bytes]


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


def rlp(data: bytes, depth: int = 32) -> Item:
    item, end = _rlp_item(data, 0, depth)
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
    return combined(algorithm, [digest(algorithm, salts[16 * i : 16 * i + 16] + field) for i, field in enumerate(fields)])


def combined(algorithm: int, digests: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Tags and field root over field digests."""
    return b"".join(d[: tag_width(len(digests))] for d in digests), digest(algorithm, b"careseal/v1/root" + b"".join(digests))


@dataclass(frozen=True)
class Entry:
    """An entry of a record."""

    kind: int
    table: int
    flags: int
    record: bytes
    version: int
    previous: int | None
    algorithm: int
    row_digest: bytes
    field_root: bytes
    columns: int
    tags: bytes


def record_entry(data: bytes) -> Entry:
    if len(data) < 129 or data[0] != 1 or data[1] not in (1, 2, 3):
        raise Malformed("not an entry of a record")
    entry = Entry(
        data[1], _u(data, 8, 10), _u(data, 10, 12), data[12:28], _u(data, 28, 32), _u(data, 32, 38) - 1 if _u(data, 32, 38) else None,
        data[62], data[63:95], data[95:127], _u(data, 127, 129), data[129:],
    )  # fmt: skip
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


def event_commitment(data: bytes, kind: int) -> bytes:
    if len(data) != 40 or data[0] != 1 or data[1] != kind:
        raise Malformed("not an event of this kind")
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


def consistent(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the second tree extends the first: RFC 9162, section 2.1.4.2."""
    if not 0 < size1 <= size2 or any(len(node) != 32 for node in [root1, root2, *proof]):
        return False
    if size1 == size2:
        return not proof and root1 == root2
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not proof:
        return False
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = hashlib.sha256(b"\1" + node + first).digest(), hashlib.sha256(b"\1" + node + second).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = hashlib.sha256(b"\1" + second + node).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and (first, second) == (root1, root2)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


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

_SIZES = {0: 32, 1: 32, 2: 20, 3: 32, 4: 32, 5: 32, 6: 256, 13: 32, 14: 8, 16: 32, 19: 32, 20: 32}
_BITS = {7: 256, 8: 64, 9: 64, 10: 64, 11: 64, 15: 256, 17: 64, 18: 64}


def header_of(raw: bytes) -> list[bytes]:
    parts = rlp(raw)
    if len(raw) > 66560 or not isinstance(parts, list) or not 15 <= len(parts) <= 21 or not all(isinstance(part, bytes) for part in parts):
        raise Malformed("not a header")
    if any(len(parts[i]) != size for i, size in _SIZES.items() if i < len(parts)) or len(parts[12]) > 65536:
        raise Malformed("a header field of another size")
    for i, bits in _BITS.items():
        if i < len(parts):
            number(parts[i], bits)
    return parts


def account_behind(signature: bytes, signed: bytes) -> bytes:
    r, s = _u(signature, 0, 32), _u(signature, 32, 64)
    if len(signature) != 65 or signature[64] > 1 or r == 0 or not 0 < s <= HALF_ORDER:
        raise Malformed("no canonical signature")
    public = coincurve.PublicKey.from_signature_and_message(signature, signed, hasher=None)
    return keccak(public.format(compressed=False)[1:])[12:]


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
    sealer = account_behind(extra[-65:], keccak(to_rlp([*parts[:12], extra[:-65], *parts[13:]])))
    if sealer not in ordered:
        raise Malformed("sealed by a stranger")
    if number(parts[7], 256) != (2 if ordered[at % len(ordered)] == sealer else 1):
        raise Malformed("a difficulty out of turn")
    return sealer


class Votes:
    """The sealers of Clique in force, as votes change them."""

    def __init__(self, sealers: Sequence[bytes], epoch: int) -> None:
        self.sealers, self.epoch = set(sealers), epoch
        self.votes: dict[tuple[bytes, bytes], bool] = {}  # sealer, account: whether to add it
        self.before: list[bytes] = []  # who sealed the headers before

    def take(self, parts: list[bytes]) -> bytes:
        sealer = sealer_of(parts, list(self.sealers), self.epoch)
        if sealer in self.before[len(self.before) - len(self.sealers) // 2 :]:
            raise Malformed("sealed too soon again")
        self.before.append(sealer)
        if number(parts[8], 64) % self.epoch == 0:
            self.votes.clear()
        account, add = parts[2], parts[14] == b"\xff" * 8
        self.votes.pop((sealer, account), None)
        if (account in self.sealers) != add:
            self.votes[sealer, account] = add
        if 2 * sum(1 for _, about in self.votes if about == account) > len(self.sealers):
            self.sealers ^= {account}
            gone = set() if add else {account}
            self.votes = {(who, about): vote for (who, about), vote in self.votes.items() if about != account and who not in gone}
        return sealer


def clique_confirmed(before: Sequence[bytes], head: bytes, after: Sequence[bytes], network: dict[str, Any]) -> list[bytes]:
    """Who stands behind the header."""
    in_force, behind, enough = Votes(network["sealers"], network["epoch"]), list[bytes](), -1
    parent, height, time = (network["block_hash"], network["block"], None) if before else (None, None, None)
    quorum: set[bytes] = set()
    with _Link("confirmation") as check:
        check(len(before) + 1 + len(after) <= 4096, "too many headers")
    for place, raw in enumerate([*before, head, *after]):
        parts = header_of(raw)
        with _Link("confirmation") as check:
            check(parent is None or (parts[0] == parent and number(parts[8], 64) == height + 1), "headers that do not follow each other")
            check(time is None or number(parts[11], 64) >= time + network["period"], "a header before its time")
        parent, height, time = keccak(raw), number(parts[8], 64), number(parts[11], 64)
        if place == len(before):
            quorum = set(in_force.sealers)
        with _Link("seal"):
            sealer = in_force.take(parts)
        if place >= len(before):
            behind += [sealer] if sealer in quorum and sealer not in behind else []
            enough = place if enough < 0 and 2 * len(behind) > len(quorum) else enough
    with _Link("confirmation") as check:
        check(enough == len(before) + len(after), "too few sealers, or more headers than needed")
    return behind


_MIX = bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365")


def qbft_extra(parts: list[bytes]) -> list[Item]:
    extra = rlp(parts[12], 3)
    if not isinstance(extra, list) or len(extra) != 5 or not isinstance(extra[0], bytes) or len(extra[0]) != 32:
        raise Malformed("no extra data of QBFT")
    number(extra[3], 32)
    for listed, size in ((extra[1], 20), (extra[4], 65)):
        if not isinstance(listed, list) or any(not isinstance(item, bytes) or len(item) != size for item in listed):
            raise Malformed("a list of other things")
    if not 1 <= len(set(extra[1])) == len(extra[1]) <= 1000:
        raise Malformed("validators that are not different")
    return extra


def qbft_hash(parts: list[bytes], turn: bytes = b"") -> bytes:
    vanity, validators, vote, _, _ = qbft_extra(parts)
    return keccak(to_rlp([*parts[:12], to_rlp([vanity, validators, vote, turn, []]), *parts[13:]]))


def qbft_sealed(parts: list[bytes]) -> list[bytes]:
    """The validators of the header that sealed it, a quorum of them."""
    if number(parts[8], 64) == 0 or (parts[13], parts[1], number(parts[7], 256), parts[14]) != (_MIX, keccak(b"\xc0"), 1, bytes(8)):
        raise Malformed("not a header of QBFT")
    _, validators, _, turn, seals = qbft_extra(parts)
    signed = qbft_hash(parts, turn)
    sealed = [account_behind(seal, signed) for seal in seals]
    if len(set(sealed)) != len(sealed) or not set(sealed) <= set(validators) or 3 * len(sealed) < 2 * len(validators):
        raise Malformed("too few, repeated or foreign seals")
    return sealed


def qbft_confirmed(before: Sequence[bytes], head: bytes, after: Sequence[bytes], network: dict[str, Any]) -> list[bytes]:
    with _Link("confirmation") as check:
        check(not after, "descendants")
    in_force, height, sealed = set(network["sealers"]), network["block"], list[bytes]()
    for place, raw in enumerate([*before, head]):
        parts = header_of(raw)
        with _Link("confirmation") as check:
            check(number(parts[8], 64) > height, "not in order")
        with _Link("seal"):
            sealed, listed = qbft_sealed(parts), set(qbft_extra(parts)[1])
        with _Link("confirmation") as check:
            check(place == len(before) or listed != in_force, "a header that changes nothing")
            check(listed == in_force or 3 * len(in_force & set(sealed)) > len(in_force), "other validators")
        in_force, height = listed, number(parts[8], 64)
    return sealed


# The evidence file

_INCLUDED: dict[str, Any] = {"entry": bytes, "index": int, "proof": [bytes, 65]}
_DOCUMENT: dict[str, Any] = {**_INCLUDED, "document": bytes, "salt": bytes}
_VERSION: dict[str, Any] = {**_INCLUDED, "row": None, "secret": None}
_FIELD = ({"digest": bytes}, {"salt": bytes, "value": bytes})
_FORMAT: dict[str, Any] = {
    "careseal": str,
    "kind": str,
    "checkpoint": {"chain_id": int, "generation": int, "index": int, "institution": int, "root": bytes, "size": int},
    "storage": {"account": [bytes, 65], "meta": [bytes, 65], "root": [bytes, 65]},
    "institution": {"account": [bytes, 65], "name": bytes, "proof": [bytes, 65]},
    "chain": {"after": [bytes, 4096], "before": [bytes, 4096], "header": bytes},
}
_STAMPED = {"timestamp": {"consistency": [bytes, 65], "receipt": bytes, "token": bytes}}
_KINDS: dict[str, dict[str, Any]] = {
    "record": {"configuration": _DOCUMENT, "record": {**_INCLUDED, "row": bytes, "secret": bytes}},
    "fields": {"configuration": _DOCUMENT, "record": {**_INCLUDED, "fields": [_FIELD, 256]}},
    "history": {"configuration": _DOCUMENT, "versions": [_VERSION, 1024]},
    "latest": {"configuration": _DOCUMENT, "record": _VERSION},
    "audit": {"audit": {**_DOCUMENT, "consistency": [bytes, 65]}},
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


def _part(form: Any, value: Any) -> Any:
    if isinstance(form, dict):
        if not isinstance(value, dict) or value.keys() != form.keys():
            raise Malformed("fields missing or unknown")
        return {name: _part(inner, value[name]) for name, inner in form.items()}
    if isinstance(form, list):
        if not isinstance(value, list) or len(value) > form[1]:
            raise Malformed("no list, or too long")
        return [_part(form[0], item) for item in value]
    if isinstance(form, tuple):
        return _part(form[isinstance(value, dict) and "value" in value], value)
    if form is int and type(value) is int and 0 <= value < 2**53:
        return value
    if form is str or (form is None and value is None):
        return value
    if form in (bytes, None):
        return _hex(value)
    raise Malformed("a field of another type")


def container(data: bytes) -> dict[str, Any]:
    text = data[:-1] if data.endswith(b"\n") else data
    if len(data) > 1 << 25 or re.search(rb'[^0-9a-z_/{}\[\]:,"]', text) or len(re.findall(rb"[\[{,]", text)) > 262144:
        raise Malformed("too large, or other letters")
    values = canonical(text)
    if not isinstance(values, dict) or values.get("careseal") != "evidence/2" or values.get("kind") not in _KINDS:
        raise Malformed("no evidence of a known version and kind")
    stamped = _STAMPED if "timestamp" in values else {}
    return dict(_part(_FORMAT | _KINDS[values["kind"]] | stamped, values))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Malformed("a field twice")
    return dict(pairs)


def network_of(data: bytes) -> dict[str, Any]:
    values = json.loads(data, object_pairs_hook=_once)
    if values["careseal"] != "network/1" or values["engine"] not in ("clique", "qbft"):
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
    kind, checkpoint = parts["kind"], parts["checkpoint"]
    table, record, versions, hidden, audit = "", b"", list[Version](), list[str](), None
    if kind == "audit":
        audit = _audit(parts["audit"], checkpoint)
    else:
        table, record, versions, hidden = _record(parts)
    block, height, sealed_by = _chain(parts, network)
    if "timestamp" in parts:
        _stamped_receipt(parts, versions[-1].index if versions else parts["audit"]["index"], network)
    return Proof(
        kind, parts["institution"]["name"].decode(), checkpoint["institution"], table, record, versions, hidden, audit, checkpoint["size"],
        checkpoint["root"], block, height, sealed_by,
    )  # fmt: skip


def _document(link: str, part: dict[str, Any], kind: int, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The document of an event that is in the journal."""
    with _Link(link) as check:
        check(len(part["salt"]) == 32, "another salt")
        check(document_commitment(part["salt"], part["document"]) == event_commitment(part["entry"], kind), "another document")
        document = canonical(part["document"])
        check(isinstance(document, dict), "no object")
        check(_is_included(part, checkpoint), "not in the journal")
    return dict(document)


def _is_included(part: dict[str, Any], checkpoint: dict[str, Any]) -> bool:
    return root_from(part["proof"], part["index"], checkpoint["size"], leaf(part["entry"])) == checkpoint["root"]


def _audit(part: dict[str, Any], checkpoint: dict[str, Any]) -> dict[str, Any]:
    document = _document("audit", part, 17, checkpoint)
    with _Link("audit") as check:
        audit = document["audit"]
        check(all(type(audit[name]) is int for name in ("at", "size", "findings")) and isinstance(audit["tables"], list), "no report")
        size, root = audit["size"], _hex(audit["root"])
        check(0 <= size <= part["index"], "older than what was audited")
        if size:
            check(consistent(size, checkpoint["size"], root, checkpoint["root"], part["consistency"]), "of another journal")
        else:
            check(root == tree_root([]) and not part["consistency"], "of another journal")
    return dict(audit)


def _record(parts: dict[str, Any]) -> tuple[str, bytes, list[Version], list[str]]:
    kind, checkpoint = parts["kind"], parts["checkpoint"]
    listed = parts["versions"] if kind == "history" else [parts["record"]]
    with _Link("history") as check:
        check(bool(listed), "no version")
    with _Link("record") as check:
        entries = [record_entry(part["entry"]) for part in listed]
        check(kind in ("history", "latest") or bool(entries[0].flags & 2), "no content")
    document = _document("configuration", parts["configuration"], 16, checkpoint)
    with _Link("configuration") as check:
        table = document["attach"]
        names, keys = [column["name"] for column in table["columns"]], table["key_kinds"]
        check(all(isinstance(name, str) for name in names) and isinstance(keys, list) and 0 < len(keys) <= len(names), "no table")
        texts = (table["encoding"], table["table"], table["source_table"])
        check(all(isinstance(text, str) for text in texts) and type(table["id"]) is int, "no table")
        check(parts["configuration"]["index"] < listed[0]["index"], "younger than the record's entry")
    if kind == "history":
        with _Link("history") as check:
            for place, entry in enumerate(entries):
                before = listed[place - 1]["index"] if place else None
                check((entry.record, entry.version, entry.previous) == (entries[0].record, place + 1, before), "another version")
                check(before is None or before < listed[place]["index"], "before its predecessor")
    versions, hidden = [], list[str]()
    for part, entry in zip(listed, entries, strict=True):
        with _Link("record") as check:
            fields, count = _some_fields(part, entry) if kind == "fields" else _all_fields(part, entry, table["encoding"])
        with _Link("configuration") as check:
            check(table["id"] == entry.table and count in (None, len(names)), "another table")
        with _Link("record") as check:
            values = None if fields is None else {names[i]: shown(table["encoding"], field) for i, field in fields.items()}
        with _Link("journal") as check:
            check(_is_included(part, checkpoint), "not in the journal")
        versions.append(Version(entry.version, part["index"], entry.flags, values))
        hidden = [name for i, name in enumerate(names) if fields is not None and i not in fields]
    return table["table"], entries[0].record, versions, hidden


def _all_fields(part: dict[str, Any], entry: Entry, encoding: str) -> tuple[dict[int, bytes] | None, int | None]:
    row, secret = part["row"], part["secret"]
    if (row is None) != (secret is None) or (row is not None and not entry.flags & 2):
        raise Malformed("half of a content, or one too many")
    if row is None:
        return None, None
    if len(secret) != 32 or digest(entry.algorithm, secret + row) != entry.row_digest:
        raise Malformed("another row")
    fields = fields_of(encoding, row)
    if len(fields) != entry.columns or field_commitments(entry.algorithm, secret, fields) != (entry.tags, entry.field_root):
        raise Malformed("other fields")
    return dict(enumerate(fields)), len(fields)


def _some_fields(part: dict[str, Any], entry: Entry) -> tuple[dict[int, bytes], int]:
    digests, opened = [], {}
    for place, field in enumerate(part["fields"]):
        if "value" in field:
            opened[place] = field["value"]
        digests.append(digest(entry.algorithm, field["salt"] + field["value"]) if "value" in field else field["digest"])
        if len(digests[-1]) != 32 or len(field.get("salt", bytes(16))) != 16:
            raise Malformed("a salt or a digest of another length")
    if not opened or len(digests) != entry.columns or combined(entry.algorithm, digests) != (entry.tags, entry.field_root):
        raise Malformed("other fields, or none")
    return opened, len(digests)


def _chain(parts: dict[str, Any], network: dict[str, Any]) -> tuple[int, int, list[bytes]]:
    checkpoint, storage, member, chain = parts["checkpoint"], parts["storage"], parts["institution"], parts["chain"]
    with _Link("network") as check:
        check(checkpoint["chain_id"] == network["chain_id"], "another chain")
    with _Link("header"):
        for raw in [*chain["before"], chain["header"], *chain["after"]]:
            header = header_of(raw)
        header = header_of(chain["header"])
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
    height, sealed_by = number(header[8], 64), list[bytes]()
    with _Link("network") as check:
        check(height >= network["block"], "older than the trusted block")
    is_qbft = network["engine"] == "qbft"
    if height == network["block"]:
        with _Link("seal"):
            found = qbft_hash(header) if is_qbft else keccak(chain["header"])
        with _Link("network") as check:
            check(found == network["block_hash"], "not the trusted block")
        with _Link("confirmation") as check:
            check(not chain["before"] and not chain["after"], "headers that are not needed")
    else:
        confirmed = qbft_confirmed if is_qbft else clique_confirmed
        sealed_by = confirmed(chain["before"], chain["header"], chain["after"], network)
    with _Link("checkpoint") as check:
        check(block <= height, "later than the header")
    return block, height, sealed_by


_RECEIPT = {"careseal", "chain_id", "journals", "institution", "generation", "size", "root", "block", "block_hash", "time", "signature"}


def _stamped_receipt(parts: dict[str, Any], last: int, network: dict[str, Any]) -> None:
    """The token itself is for a verifier of RFC 3161."""
    checkpoint, part = parts["checkpoint"], parts["timestamp"]
    with _Link("timestamp") as check:
        receipt = canonical(part["receipt"])
        check(receipt.keys() == _RECEIPT and receipt["careseal"] == "receipt/1" and type(receipt["size"]) is int, "no receipt")
        place = [receipt[name] for name in ("chain_id", "journals", "institution", "generation")]
        mine = [network["chain_id"], "0x" + network["journals"].hex(), checkpoint["institution"], checkpoint["generation"]]
        check(place == mine and bool not in map(type, place) and receipt["size"] > last, "of another journal, or too old")
        held = consistent(receipt["size"], checkpoint["size"], _hex(receipt["root"]), checkpoint["root"], part["consistency"])
        check(held, "of another history")


def last_version(folder: Path, proof: Proof) -> int:
    """The last version of the proof's record in an exported journal, up to the checkpoint. Broken where it is another journal."""
    found, leaves = [], []
    with _Link("journal") as check:
        for index in range(-(-proof.size // 256)):
            name = "".join(f"x{part}/" for part in re.findall("...", f"{index:09d}")[:-1] if index >= 1000) + f"{index % 1000:03d}"
            path = folder / "tile" / "entries" / name
            widest = path if path.is_file() else max((path.parent / f"{path.name}.p").iterdir(), key=lambda file: int(file.name))
            data = widest.read_bytes()
            at = 0
            while at < len(data) and len(leaves) < proof.size:
                entry = data[at + 2 : at + 2 + _u(data, at, at + 2)]
                if entry[12:28] == proof.record and entry[1] <= 3:
                    found.append(record_entry(entry).version)
                leaves.append(leaf(entry))
                at += 2 + len(entry)
        check(tree_root(leaves) == proof.root, "another journal")
        check(found == list(range(1, len(found) + 1)), "two histories")
    with _Link("latest") as check:
        check(proof.kind != "latest" or found[-1] == proof.versions[-1].number, "a later version")
    return found[-1]


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
    sys.stdout.write(f"VALID: {proof.kind} of {proof.table or 'an audit'}, {proof.name}, block {proof.block} of {proof.header_block}\n")
    for version in proof.versions:
        sys.stdout.write(f"version {version.number}\n")
        sys.stdout.writelines(f"  {name} = {value}\n" for name, value in (version.values or {}).items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
