"""Chains, journals and evidence made from fixed keys, without a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import coincurve
from eth_hash.auto import keccak
from trie import HexaryTrie

from anchoring.container import KINDS, VERSION, plain
from anchoring.network import Network, institution_name
from contracts.layout import checkpoint_slots, institution_slots
from ledger import canonical, rowcodec
from ledger.commitment import SALT_BYTES, blinded_subject, commit, field_digests, record_secret, salts
from ledger.tree import Tree, append, leaf_hashes
from ledger.wire import EventEntry, Flag, Kind, encode_event, encode_record
from node import clique, header, mpt, qbft, strict_rlp
from node.header import EMPTY_UNCLES_HASH, Header
from node.mpt import EMPTY_CODE_HASH, EMPTY_ROOT

TIME = 1767225600
CHAIN_ID, INSTITUTION, GENERATION, PLACE, TAKEN = 1000001, 3, 0, 2, 7  # PLACE of the checkpoint, TAKEN in by a block
NAME = "第一医院 First Hospital"
JOURNALS, CONSORTIUM = b"\x33" * 20, b"\x22" * 20


def seed(text: str) -> bytes:
    """32 bytes that follow from a text."""
    return sha256(b"careseal vectors " + text.encode()).digest()


JOURNALS_CODE, CONSORTIUM_CODE = seed("code of journals"), seed("code of consortium")
KEYS = {clique.address_of(seed(f"sealer {number}")): seed(f"sealer {number}") for number in range(8)}
SEALERS = sorted(KEYS)  # in turn


# A journal


class Tiles(dict):  # type: ignore[type-arg]
    def read(self, level: int, index: int) -> bytes:
        return self.get((level, index), b"")

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self[level, index] = hashes


def table_document(number: int, name: str, encoding: str, columns: Sequence[str], keys: int, algorithm: str) -> dict[str, object]:
    options = {"algorithm": algorithm, "capture": "triggers", "copies": True, "deletable": True, "final": None, "grace": 86400,
               "immutable": [], "policy": "adopt", "subject": None, "time": None, "writers": []}  # fmt: skip
    listed = [{"name": column, "type": "TEXT"} for column in columns]
    kinds = ["any"] * keys
    names = {"source_table": f"main.{name}", "table": name}
    return {"attach": {"columns": listed, "encoding": encoding, "id": number, "key_kinds": kinds, "options": options, **names}}


@dataclass
class Journal:
    """Entries with what opens them."""

    entries: list[bytes] = field(default_factory=list)
    salts: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    contents: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)  # secret and row
    fields: dict[int, list[dict[str, bytes]]] = field(default_factory=dict)

    def event(self, kind: Kind, document: object) -> int:
        index = len(self.entries)
        salt, body = seed(f"salt {index}"), canonical.encode(document)
        self.salts[index] = salt, body
        self.entries.append(encode_event(EventEntry(kind, (TIME + index) * 1000, canonical.commitment(salt, body))))
        return index

    def record(self, name: str, kind: Kind, table: int, version: int, previous: int | None, row: bytes | None, encoding: str,
               algorithm: int = 1, flags: Flag = Flag.CAPTURED) -> int:  # fmt: skip
        index, record, subject = len(self.entries), seed(f"record {name}")[:16], seed("subject")
        secret = record_secret(subject, record, version)
        digest, root, tags, count = bytes(32), bytes(32), b"", 0
        if row is not None:
            fields = rowcodec.fields(encoding, row)
            (digest, root, tags), count, flags = commit(algorithm, secret, row, fields), len(fields), flags | Flag.CONTENT
            salt, digests = salts(algorithm, secret, count), field_digests(algorithm, secret, fields)
            self.contents[index] = secret, row
            self.fields[index] = [{"salt": salt[SALT_BYTES * i : SALT_BYTES * (i + 1)], "value": value, "digest": digests[i]}
                                  for i, value in enumerate(fields)]  # fmt: skip
        self.entries.append(encode_record(
            kind, (TIME + index) * 1000, table, flags, record, version, previous, blinded_subject(subject, record), seed("author")[:8],
            algorithm, digest, root, count, tags,
        ))  # fmt: skip
        return index

    def tree(self) -> Tree:
        tiles = Tiles()
        append(tiles, 0, leaf_hashes(self.entries))
        return Tree(tiles)

    def included(self, index: int) -> dict[str, Any]:
        proof = self.tree().inclusion_proof(index, len(self.entries))
        return {"entry": self.entries[index], "index": index, "proof": proof}

    def document(self, index: int) -> dict[str, Any]:
        salt, body = self.salts[index]
        return self.included(index) | {"document": body, "salt": salt}

    def version(self, index: int, *, content: bool = True) -> dict[str, Any]:
        secret, row = self.contents[index] if content and index in self.contents else (None, None)
        return self.included(index) | {"row": row, "secret": secret}

    def opened(self, index: int, columns: Sequence[int]) -> dict[str, Any]:
        shown = [{name: part[name] for name in (("salt", "value") if i in columns else ("digest",))}
                 for i, part in enumerate(self.fields[index])]  # fmt: skip
        return self.included(index) | {"fields": shown}


SQLITE_ROW = (3, "p1", "as evidence shows 中文", 1.5, None, b"\x00\xff", 2**40)
WIDE = tuple(f"v{number}" for number in range(70))


def journal() -> Journal:
    """Two tables; a record amended twice, one deleted, one whose content has no copy; two audits."""
    made = Journal()
    made.event(Kind.CONFIGURATION, table_document(1, "visit", rowcodec.SQLITE, ("id", "patient", "note", "a", "b", "c", "d"), 1, "sha256"))
    made.event(Kind.CONFIGURATION, table_document(2, "检验", rowcodec.PGTEXT, ("编号", "项目", "结果"), 2, "sha256"))
    made.event(Kind.CONFIGURATION, table_document(3, "wide", rowcodec.SQLITE, [f"c{n}" for n in range(70)], 1, "sm3"))
    made.event(Kind.AUDIT, {"audit": {"at": TIME * 1000, "findings": 0, "findings_sha256": sha256(b"[]").hexdigest(), "journal": True,
                                      "root": sha256(b"").hexdigest(), "size": 0, "tables": []}})  # fmt: skip
    for number in range(6):
        row = rowcodec.encode_sqlite((number, "p2", "filler", None, None, None, None))
        made.record(f"filler {number}", Kind.WRITTEN, 1, 1, None, row, rowcodec.SQLITE, flags=Flag.BASELINE)
    first = rowcodec.encode_sqlite((3, "p1", "first", 1.5, None, b"", 7))
    a = made.record("visit", Kind.WRITTEN, 1, 1, None, first, rowcodec.SQLITE, flags=Flag.BASELINE)
    b = made.record("visit", Kind.AMENDED, 1, 2, a, None, rowcodec.SQLITE)
    marked = Flag.CAPTURED | Flag.UNAUTHORISED
    made.record("visit", Kind.AMENDED, 1, 3, b, rowcodec.encode_sqlite(SQLITE_ROW), rowcodec.SQLITE, flags=marked)
    made.record("lab", Kind.WRITTEN, 2, 1, None, b"E03\tna\\\\x\t140.50", rowcodec.PGTEXT)
    made.record("wide", Kind.WRITTEN, 3, 1, None, rowcodec.encode_sqlite(WIDE), rowcodec.SQLITE, 2)
    gone = made.record("gone", Kind.WRITTEN, 1, 1, None, rowcodec.encode_sqlite((9, "p9", "x", 0.0, None, b"", 1)), rowcodec.SQLITE)
    lost = made.record("lost", Kind.WRITTEN, 1, 1, None, rowcodec.encode_sqlite((8, "p8", "x", 0.0, None, b"", 1)), rowcodec.SQLITE)
    made.record("gone", Kind.DELETED, 1, 2, gone, None, rowcodec.SQLITE)
    made.record("lost", Kind.AMENDED, 1, 2, lost, rowcodec.encode_sqlite((8, "p8", "y", 0.0, None, b"", 1)), rowcodec.SQLITE)
    size = len(made.entries)
    listed = [{"findings": 1, "pending": 0, "rows": 8, "table": "visit"}, {"findings": 0, "pending": 0, "rows": 1, "table": "检验"}]
    made.event(Kind.AUDIT, {"audit": {"at": (TIME + 60) * 1000, "findings": 1, "findings_sha256": sha256(b"one").hexdigest(),
                                      "journal": True, "root": made.tree().root(size).hex(), "size": size, "tables": listed}})  # fmt: skip
    made.record("lab", Kind.AMENDED, 2, 2, 13, b"E03\tna\\\\x\t139", rowcodec.PGTEXT)
    return made


# A chain's state and headers


def trie_of(values: dict[bytes, bytes]) -> tuple[bytes, Callable[[bytes], list[bytes]]]:
    """Root of a trie over keccak of the keys, and what proves each key."""
    trie = HexaryTrie({})
    for key, value in values.items():
        trie[bytes(keccak(key))] = value

    def prove(key: bytes) -> list[bytes]:
        nodes: list[bytes] = []

        def fetch(reference: bytes) -> bytes:
            nodes.append(bytes(trie.db[reference]))
            return nodes[-1]

        mpt.find(bytes(trie.root_hash), keccak(key), fetch)
        return nodes

    return bytes(trie.root_hash), prove


@dataclass
class State:
    """The contracts' storage with one checkpoint, and what proves it."""

    size: int
    root: bytes
    taken: int = TAKEN

    def __post_init__(self) -> None:
        meta, root = checkpoint_slots(INSTITUTION, GENERATION, PLACE)
        name = institution_slots(INSTITUTION).name
        words = {meta: self.taken << 64 | self.size, root: int.from_bytes(self.root, "big")}
        words |= dict.fromkeys(range(40), 5)
        journals_root, prove_journals = trie_of({slot.to_bytes(32, "big"): _rlp_number(word) for slot, word in words.items()})
        names = {name: int.from_bytes(institution_name(NAME), "big")} | dict.fromkeys(range(20), 9)
        consortium_root, prove_consortium = trie_of({slot.to_bytes(32, "big"): _rlp_number(word) for slot, word in names.items()})
        accounts = {bytes([n]) * 20: _account(EMPTY_ROOT, EMPTY_CODE_HASH) for n in range(1, 30)}
        accounts[JOURNALS] = _account(journals_root, JOURNALS_CODE)
        accounts[CONSORTIUM] = _account(consortium_root, CONSORTIUM_CODE)
        self.state_root, prove = trie_of(accounts)
        self.storage = {"account": prove(JOURNALS), "meta": prove_journals(meta.to_bytes(32, "big")),
                        "root": prove_journals(root.to_bytes(32, "big"))}  # fmt: skip
        self.institution = {"account": prove(CONSORTIUM), "name": NAME.encode(), "proof": prove_consortium(name.to_bytes(32, "big"))}
        self.prove_account, self.prove_slot = prove, {JOURNALS: prove_journals, CONSORTIUM: prove_consortium}


def _rlp_number(number: int) -> bytes:
    return strict_rlp.encode(strict_rlp.from_int(number))


def _account(storage: bytes, code: bytes) -> bytes:
    return strict_rlp.encode([b"\1", b"", storage, code])


def block(number: int, parent: bytes, state_root: bytes, **others: Any) -> Header:
    fields = {
        "parent_hash": parent, "uncles_hash": EMPTY_UNCLES_HASH, "coinbase": bytes(20), "state_root": state_root,
        "transactions_root": EMPTY_ROOT, "receipts_root": EMPTY_ROOT, "bloom": bytes(256), "difficulty": 1, "number": number,
        "gas_limit": 30_000_000, "gas_used": 0, "timestamp": TIME + number, "extra_data": b"", "mix_hash": bytes(32), "nonce": bytes(8),
    }  # fmt: skip
    return Header(**fields | others)


@dataclass
class CliqueChain:
    """Headers after a trusted block, each sealed by who is named; votes are (account, add)."""

    sealers: tuple[bytes, ...]
    state_root: bytes
    trusted: int = 40
    epoch: int = 30_000
    headers: list[Header] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = clique.Sealers(set(self.sealers), self.epoch)
        self.first = block(self.trusted, seed("before"), self.state_root)

    def seal(self, sealer: bytes, vote: tuple[bytes, bool] | None = None, state_root: bytes | None = None, **others: Any) -> Header:
        last = self.headers[-1] if self.headers else self.first
        number, ordered = last.number + 1, sorted(self.now.current)
        difficulty = clique.IN_TURN if sealer in ordered and ordered[number % len(ordered)] == sealer else clique.OUT_OF_TURN
        voted = {} if vote is None else {"coinbase": vote[0], "nonce": b"\xff" * 8 if vote[1] else bytes(8)}
        extra = clique.unsealed_extra(number, ordered, self.epoch)
        made = block(number, header.block_hash(last), state_root or seed(f"state {number}"), difficulty=difficulty, extra_data=extra,
                     **voted | others)  # fmt: skip
        made = clique.seal(made, KEYS[sealer])
        self.headers.append(made)
        try:
            self.now.take_in(made)
        except Exception:  # a test forges what no chain takes
            self.now.recent[number] = sealer
        return made

    def network(self) -> Network:
        return network("clique", self.trusted, header.block_hash(self.first), self.sealers, self.epoch)


def qbft_header(number: int, state_root: bytes, validators: Sequence[bytes], seals: Sequence[bytes], turn: bytes = b"", parent: bytes = b"",
                **others: Any) -> Header:  # fmt: skip
    """A header that lists these validators and is sealed by the keys of these."""
    made = block(number, parent or seed(f"parent {number}"), state_root, mix_hash=qbft.MIX_HASH, **others)
    extra: list[Any] = [bytes(32), list(validators), [], turn]
    made = replace(made, extra_data=strict_rlp.encode([*extra, []]))
    digest = qbft.commit_hash(made)
    signed = [coincurve.PrivateKey(KEYS[who]).sign_recoverable(digest, hasher=None) for who in seals]
    return replace(made, extra_data=strict_rlp.encode([*extra, signed]))


def network(engine: str, number: int, digest: bytes, sealers: Sequence[bytes], epoch: int = 30_000) -> Network:
    return Network(
        CHAIN_ID, engine, 1, epoch, CONSORTIUM, CONSORTIUM_CODE, JOURNALS, JOURNALS_CODE, number, digest,
        tuple(sealers),
    )  # fmt: skip


# Evidence


def chain_part(before: Sequence[Header], head: Header, after: Sequence[Header]) -> dict[str, Any]:
    return {"after": list(map(header.encode, after)), "before": list(map(header.encode, before)), "header": header.encode(head)}


@dataclass
class World:
    """A journal, its checkpoint on the chain, chains that hold it, and evidence of everything."""

    journal: Journal = field(default_factory=journal)

    def __post_init__(self) -> None:
        size = len(self.journal.entries)
        root = self.journal.tree().root(size)
        self.state = State(size, root)
        self.checkpoint = {"chain_id": CHAIN_ID, "generation": GENERATION, "index": PLACE, "institution": INSTITUTION, "root": root,
                           "size": size}  # fmt: skip
        self.subjects: dict[str, tuple[str, dict[str, Any]]] = {
            "record": ("record", {"configuration": self.journal.document(0), "record": self.journal.version(12)}),
            "record-pgtext": ("record", {"configuration": self.journal.document(1), "record": self.journal.version(13)}),
            "record-sm3": ("record", {"configuration": self.journal.document(2), "record": self.journal.version(14)}),
            "fields": ("fields", {"configuration": self.journal.document(0), "record": self.journal.opened(12, [2, 4])}),
            "fields-sm3": ("fields", {"configuration": self.journal.document(2), "record": self.journal.opened(14, [0, 69])}),
            "history": ("history", {"configuration": self.journal.document(0), "versions": list(map(self.journal.version, (10, 11, 12)))}),
            "history-deleted": ("history", {"configuration": self.journal.document(0),
                                            "versions": list(map(self.journal.version, (15, 17)))}),
            "history-no-copy": ("history", {"configuration": self.journal.document(0),
                                            "versions": [self.journal.version(16, content=False), self.journal.version(18)]}),
            "latest": ("latest", {"configuration": self.journal.document(0), "record": self.journal.version(12)}),
            "latest-deleted": ("latest", {"configuration": self.journal.document(0), "record": self.journal.version(17)}),
            "latest-not": ("latest", {"configuration": self.journal.document(1), "record": self.journal.version(13)}),
            "audit": ("audit", {"audit": self.journal.document(19) | {"consistency": self.journal.tree().consistency_proof(19, size)}}),
            "audit-empty": ("audit", {"audit": self.journal.document(3) | {"consistency": []}}),
        }  # fmt: skip
        state = self.state.state_root
        self.chains: dict[str, tuple[Network, dict[str, Any]]] = {}
        one = CliqueChain((SEALERS[0],), state)
        one.seal(SEALERS[0]), one.seal(SEALERS[0], state_root=state)
        self.chains["clique-1"] = one.network(), chain_part((), one.headers[1], ())
        three = CliqueChain(tuple(SEALERS[:3]), state)
        three.seal(SEALERS[1]), three.seal(SEALERS[2], state_root=state), three.seal(SEALERS[0])
        self.chains["clique-3"] = three.network(), chain_part((), three.headers[1], three.headers[2:])
        self.votes = self._votes(state)
        headers = self.votes.headers
        self.chains["clique-votes"] = self.votes.network(), chain_part(headers[:6], headers[6], headers[7:])
        four = SEALERS[:4]
        trusted = qbft_header(40, state, four, four[:3])
        final = qbft_header(60, state, four, (four[3], four[0], four[2]), turn=b"\2", base_fee_per_gas=0)
        self.chains["qbft-4"] = network("qbft", 40, qbft.block_hash(trusted), four), chain_part((), final, ())
        sets = [SEALERS[2:6], SEALERS[4:8], (*SEALERS[6:8], *SEALERS[:2])]
        steps = [qbft_header(50 + n, seed("state"), sets[n], sets[n][:3]) for n in (0, 1)]
        moved = qbft_header(60, state, sets[2], sets[2][:3])
        self.chains["qbft-votes"] = network("qbft", 40, qbft.block_hash(trusted), four), chain_part(steps, moved, ())

    @staticmethod
    def _votes(state: bytes) -> CliqueChain:
        """Sealers 0, 1, 2; two votes add 3, of which one is first taken back; then three of the four remove 0."""
        s = SEALERS
        made = CliqueChain(tuple(s[:3]), state)
        made.seal(s[0], (s[3], True))
        made.seal(s[1], (s[3], True))
        made.seal(s[2], (s[0], False))
        made.seal(s[3], (s[0], False))
        made.seal(s[0])
        made.seal(s[1], (s[0], False))
        made.seal(s[3], state_root=state)
        made.seal(s[2])
        return made

    def parts(self, subject: str, chain: str = "clique-1") -> dict[str, Any]:
        """The parts of an evidence file, with hex for bytes."""
        kind, own = self.subjects[subject]
        whole = {"careseal": VERSION, "kind": kind, "chain": self.chains[chain][1], "checkpoint": self.checkpoint,
                 "institution": self.state.institution, "storage": self.state.storage, **own}  # fmt: skip
        assert own.keys() == KINDS[kind].keys()
        made = plain(whole)
        assert isinstance(made, dict)
        return made

    def network(self, chain: str = "clique-1") -> Network:
        return self.chains[chain][0]

    def stamped(self, token: bytes = b"not a token", size: int = 20) -> dict[str, Any]:
        """The part `timestamp`: a receipt of an earlier checkpoint, and a token, of which only a verifier of RFC 3161 tells what it is."""
        checkpoint, tree = self.checkpoint, self.journal.tree()
        receipt = {name: checkpoint[name] for name in ("chain_id", "generation", "institution")}
        receipt |= {"block": TAKEN - 1, "block_hash": "0x" + seed("block").hex(), "careseal": "receipt/1",
                    "journals": "0x" + JOURNALS.hex(), "root": tree.root(size).hex(), "signature": "00" * 65, "size": size,
                    "time": TIME}  # fmt: skip
        consistency = tree.consistency_proof(size, checkpoint["size"])
        made = plain({"consistency": consistency, "receipt": canonical.encode(receipt), "token": token})
        assert isinstance(made, dict)
        return made
