"""What only an institution or a sealer could forge: odd rows, documents, names, network files and tries. Both verifiers judge it alike."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Verifier, browser
from eth_hash.auto import keccak
from evidence_world import SEALERS, CliqueChain, World, chain_part, journal, seed
from test_page import agree, as_page

from anchoring.container import encode, plain
from anchoring.errors import EvidenceInvalid, NetworkInvalid
from anchoring.evidence import verify_evidence
from anchoring.journal_scan import scan_journal
from anchoring.network import decode_network, encode_network
from anchoring.tlog import encode_bundle
from ledger import canonical, rowcodec
from ledger.commitment import commit, record_secret
from ledger.errors import LedgerError
from ledger.wire import EventEntry, Flag, Kind, RecordEntry, decode_entry, encode_event, encode_record
from node import strict_rlp

PLACE = 13  # of a record of PostgreSQL's, and of its configuration
TEXTS = ("", "中文", "\x00", "\U0001f600", "a\ufeffb", "\udc80", "x\udcff\udc80y", "\udce4\udcb8")
BODIES = ("61ff62", "c3", "e4b8", "eda080", "f4908080", "c0af", "edb280", "edb3bf", "edb27f", "edb380e4", "edb3a4edb2b8edb3ad", "efbbbf61")
REALS = (0.0, -0.0, 0.1, 1.0, -1.5, 1e16, 123456789012345678.0, 1e-5, 0.0001, 1e22, 5e-324, 1.7976931348623157e308, 1234567.00048828125,
         9007199254740993.0, 1e17, 99999999999999990.0, 2.5e-7, math.inf, -math.inf)  # fmt: skip
WRITTEN = (b"nan", b"1e5", b"1.50", b"+1", b"01", b" 1", b"1_0", b"Infinity", b"0x1p3", b"1e400", b"-inf", b"1.", b".5", b"", b"1e+16",
           b"0.10000000000000000555", b"1\xff")  # fmt: skip
LONGS = ((1, [5]), (2, [0, 1]), (-2, [0, 1]), (3, [0, 0, 2]), (3, [0, 0, 1]), (5, [0x7FFF] * 4 + [7]), (5, [0, 0, 0, 0, 8]), (-5, [0, 0, 0, 0, 8]),
         (5, [0, 0, 0, 0, 9]), (3, [0, 0, 0]), (0, []), (3, [0x8000, 0, 2]), (6, [0, 0, 0, 0, 0, 1]), (2, [0, 2]))  # fmt: skip
POSTGRES = (b"\\N", b"\\\\N", b"\\x", b"a\\", b"\\b\\f\\n\\r\\t\\v\\\\", b"\xff\xe4\xb8", b"", b"\\\xff", b"\xef\xbb\xbfa", b"N")


@pytest.fixture(scope="module")
def page() -> Iterator[Verifier]:
    with browser() as started:
        yield Verifier(started.new_page())


def fields_to_try() -> Iterator[bytes]:
    """Bytes that are, or look like, a value of SQLite."""
    chance = random.Random(7)
    yield from (rowcodec.encode_sqlite((value,))[5:] for value in (*TEXTS, *REALS, None, 0, -(2**31), 2**31, 2**63 - 1, -(2**63), b"\x00"))
    reals = (struct.unpack("<d", chance.randbytes(8))[0] for _ in range(300))
    ties = (chance.randrange(2**52) / 2**37 for _ in range(300))
    yield from (rowcodec.encode_sqlite((real,))[5:] for real in (*reals, *ties) if not math.isnan(real))
    yield from (b"u" + struct.pack("<I", len(body)) + body for body in map(bytes.fromhex, BODIES))
    yield from (b"f" + bytes([len(text)]) + text for text in WRITTEN)
    yield from (b"l" + struct.pack("<i", count) + struct.pack(f"<{len(digits)}H", *digits) for count, digits in LONGS)
    yield from (b"", b"N", b"NN", b"i\1\0\0", b"i\1\0\0\0\0", b"t", b"u\xff\xff\xff\xff", b"f", b"f\2a", b"l\0\0\0\x80", b"s\1\0\0\0")


class Forged:
    """A world whose journal has further entries that hold what no honest program writes."""

    def __init__(self) -> None:
        self.journal = journal()

    def row(self, table: int, row: bytes, fields: Sequence[bytes], algorithm: int = 1) -> int:
        """An entry that commits to these bytes as a row, and to these as its fields."""
        index, record = len(self.journal.entries), seed(f"forged {len(self.journal.entries)}")[:16]
        secret = record_secret(seed("subject"), record, 1)
        digest, root, tags = commit(algorithm, secret, row, fields)
        self.journal.contents[index] = secret, row
        self.journal.entries.append(encode_record(
            Kind.WRITTEN, 1000 * index, table, Flag.CONTENT, record, 1, None, bytes(16), bytes(8), algorithm, digest, root, len(fields), tags,
        ))  # fmt: skip
        return index

    def document(self, kind: Kind, body: bytes) -> int:
        index = len(self.journal.entries)
        self.journal.salts[index] = seed(f"salt {index}"), body
        self.journal.entries.append(encode_event(EventEntry(kind, 1000 * index, canonical.commitment(seed(f"salt {index}"), body))))
        return index

    def entry(self, data: bytes) -> int:
        self.journal.entries.append(data)
        return len(self.journal.entries) - 1

    def world(self) -> World:
        return World(self.journal)


def of_record(world: World, configuration: int, record: int) -> bytes:
    own = {"configuration": world.journal.document(configuration), "record": world.journal.version(record)}
    return encode(world.parts("record") | plain(own))  # type: ignore[operator]


def test_values_of_sqlite_are_read_and_refused_alike(page):
    forged, columns = Forged(), ["id", "patient", "note", "a", "b", "c", "d"]
    places = {}
    for number, field in enumerate(fields_to_try()):
        fields = [b"N"] * 6 + [field]
        places[f"{number}: {field.hex()}"] = forged.row(1, rowcodec.join(rowcodec.SQLITE, fields), fields, 1 + number % 2)
    world = forged.world()
    network = world.network()
    tried = {name: of_record(world, 0, place) for name, place in places.items()}
    links = agree(page, network, tried, next(iter(tried.values())))
    assert links.count(None) > 500 and links.count("record") > 30
    for name, link in zip(tried, links, strict=True):
        if link is None:
            proved = verify_evidence(tried[name], network)
            assert list(proved.record.last.values or {}) == columns
            assert page.one(tried[name], encode_network(network))["proved"] == as_page(proved)


def test_rows_of_other_shapes_are_refused_alike(page):
    forged = Forged()
    text = [f"v{n}".encode() for n in range(3)]
    rows = {
        "too many columns": (2, b"\t".join([b"x"] * 300), text), "one too many": (2, b"a\tb\tc\td", text), "one too few": (2, b"a\tb", text),
        "another table": (1, b"\t".join(text), text), "counts wrongly": (1, b"(\2\0\0\0N", [b"N"]), "no columns": (1, b"(\0\0\0\0", [b"N"]),
        "bytes after it": (1, b"(\1\0\0\0NN", [b"N"]), "no bracket": (1, b"[\1\0\0\0N", [b"N"]), "empty": (1, b"", [b"N"]),
        "more than 256": (1, b"(\1\1\0\0" + b"N" * 257, [b"N"] * 256), "truncated": (1, b"(\1\0\0\0u\5\0\0\0ab", [b"N"]),
        "of a vast size": (1, b"(\1\0\0\0s\xff\xff\xff\xffab", [b"N"]), "whole": (2, b"\t".join(text), text),
    }  # fmt: skip
    rows |= {f"COPY {field!r}": (2, b"a\tb\t" + field, [b"a", b"b", field]) for field in POSTGRES}
    places = {name: forged.row(*row) for name, row in rows.items()}
    world = forged.world()
    tried = {name: of_record(world, 1, place) for name, place in places.items()}
    links = dict(zip(tried, agree(page, world.network(), tried, tried["whole"]), strict=True))
    assert links["whole"] is None and links["too many columns"] == "record" and links["another table"] == "configuration"
    for name, link in links.items():
        if link is None:
            proved = verify_evidence(tried[name], world.network())
            assert page.one(tried[name], encode_network(world.network()))["proved"] == as_page(proved)


def test_documents_are_refused_alike(page):
    good = journal().salts[1][1]
    attach = json.loads(good)["attach"]
    edits = [{name: value} for name in attach for value in (None, True, 7, "ab", [], {}, ["x"], [1, 2, 3, 4], [{}], {"0": 1})]
    bodies = {f"{edit}": canonical.encode({"attach": attach | edit}) for edit in edits}
    bodies |= {f"without {name}": canonical.encode({"attach": {key: attach[key] for key in attach if key != name}}) for name in attach}
    bodies |= {f"nested {depth}": canonical.encode({"attach": attach, "x": _nested(depth)}) for depth in (31, 62, 63, 64, 900, 5000)}
    written = (
        b'{"x":1.0}', b'{"x":1e3}', b'{"x":-0}', b'{"x":-5}', b'{"x":9007199254740991}', b'{"x":9007199254740992}', b'{"x":0.5}', b'{"x":NaN}',
        b'{"x":"\\ud800"}', b'{"x":"\xed\xa0\x80"}', b'{"x":"\\u001f"}', b'{"x":"\\u001F"}', b'{"x":"\\/"}', b'{"x":"\\u0041"}',
        b'{"x":"\x7f"}', '{"x":"\u2028"}'.encode(), b'{"x":1,"x":1}', '{"\ufffd":1,"\U0001f600":2}'.encode(), '{"\U0001f600":2,"\ufffd":1}'.encode(),
        b'{"__proto__":{"a":1}}', b'{"10":1,"9":2}', b'{"9":2,"10":1}', b'[]', b'7', b"\xef\xbb\xbf{}", '{"x":1}'.encode("utf-16"), b'{"x":1} ',
        b'{"attach":null}', b'{"attach":[]}', b'{"attach":"columns"}', b'{"constructor":1}', b"{" + b'"x":' + b"9" * 5000 + b"}", b"",
    )  # fmt: skip
    tail = b"," + good[1:]
    bodies |= {f"{text[:40]!r}, then": text[:-1] + tail for text in written if text.startswith(b"{") and text != b"{}"}
    bodies |= {f"{text[:40]!r}": text for text in written} | {"whole": good}
    forged = Forged()
    places = {name: forged.document(Kind.CONFIGURATION, body) for name, body in bodies.items()}
    audits = {name: forged.document(Kind.AUDIT, body) for name, body in _reports(forged).items()}
    record = forged.row(2, b"a\tb\tc", [b"a", b"b", b"c"])
    world = forged.world()
    tried = {name: of_record(world, place, record) for name, place in places.items()}
    links = dict(zip(tried, agree(page, world.network(), tried, tried["whole"]), strict=True))
    assert links["whole"] is None and links["nested 900"] == links["nested 64"] == "configuration" and links["nested 63"] is None
    tree, size = world.journal.tree(), len(world.journal.entries)
    reports = {
        f"audit {name}, {proved}": encode(world.parts("audit") | plain({"audit": world.journal.document(place) | {"consistency": proof}}))  # type: ignore[operator]
        for name, place in audits.items()
        for proved, proof in (("proved", tree.consistency_proof(16, size)), ("not proved", []))
    }
    assert {None, "audit"} == set(agree(page, world.network(), reports, encode(world.parts("audit"))))


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def _reports(forged: Forged) -> dict[str, bytes]:
    report: dict[str, object] = {"at": 1, "findings": 0, "root": forged.journal.tree().root(16).hex(), "size": 16, "tables": []}
    edits = [{name: value} for name in report for value in (None, True, -1, 0, "AB", "zz", 2**53 - 1, [], {}, "ab" * 32)]
    whole = {"whole": canonical.encode({"audit": report}), "list": canonical.encode({"audit": [report]}), "none": canonical.encode({"x": report})}
    return whole | {f"{edit}": canonical.encode({"audit": report | edit}) for edit in edits}


def test_entries_are_refused_alike(page):
    forged, chance = Forged(), random.Random(11)
    whole = forged.journal.entries[PLACE]
    entries = {f"{what} at {at}": whole[:at] + bytes([value]) + whole[at + 1 :]
               for at in range(129) for what, value in (("0", 0), ("255", 255), ("bit", whole[at] ^ 1 << chance.randrange(8)))}  # fmt: skip
    entries |= {f"cut {n}": whole[:n] for n in (0, 1, 2, 40, 128, 129, len(whole) - 1)} | {"longer": whole + b"\0"}
    decoded = decode_entry(whole)
    assert isinstance(decoded, RecordEntry)
    places = {name: forged.entry(entry) for name, entry in entries.items()}
    world = forged.world()
    tried = {}
    for name, place in places.items():
        own = {"record": world.journal.included(place) | {"row": None, "secret": None}, "configuration": world.journal.document(1)}
        tried[name] = encode(world.parts("latest") | plain(own))  # type: ignore[operator]
    links = agree(page, world.network(), tried, encode(world.parts("latest")))
    assert {None, "record", "configuration"} == set(links)


@pytest.mark.parametrize("flag", list(Flag))
def test_flags_are_read_alike(page, flag):
    forged, whole = Forged(), journal().entries[PLACE]
    place = forged.entry(whole[:10] + (Flag.CONTENT | flag).to_bytes(2, "big") + whole[12:])
    forged.journal.contents[place] = forged.journal.contents[PLACE]
    world = forged.world()
    data, network = of_record(world, 1, place), world.network()
    assert page.one(data, encode_network(network))["proved"] == as_page(verify_evidence(data, network))


@pytest.mark.parametrize("kind", [0, *range(4, 32), 255])
def test_events_that_look_like_the_record_are_judged_alike(page, kind, tmp_path):
    forged = Forged()
    record = forged.journal.entries[PLACE][12:28]
    forged.entry(bytes([1, kind]) + bytes(10) + record + bytes(12))
    forged.entry(b"short")
    world = forged.world()
    _exported(world.journal.entries, tmp_path)
    data, network = encode(world.parts("record-pgtext")), world.network()
    found = page.one(data, encode_network(network), tmp_path)
    try:
        index = scan_journal(tmp_path, verify_evidence(data, network)).index
    except EvidenceInvalid as error:
        assert found == {"link": error.link} and kind not in set(Kind)
    else:
        assert found["later"]["index"] == index and kind in set(Kind)


@pytest.mark.parametrize("what", ["whole", "longer export", "cut", "added", "other entry", "swapped", "twice", "second history", "nothing"])
def test_exported_journals_are_judged_alike(page, what, tmp_path):
    forged = Forged()
    if what in ("second history", "twice"):
        entry = forged.journal.entries[PLACE]
        forged.entry(entry if what == "twice" else entry[:28] + b"\0\0\0\5" + entry[32:37] + b"\7" + entry[38:])
    for number in range(600):
        forged.entry(bytes([1, Kind.AUDIT]) + bytes(6) + seed(f"event {number}"))
    world = forged.world()
    data, network = encode(world.parts("record-pgtext")), world.network()
    entries = list(world.journal.entries)
    entries[3:5] = reversed(entries[3:5]) if what == "swapped" else entries[3:5]
    entries[40] = entries[41] if what == "other entry" else entries[40]
    _exported(entries + [b"later"] * 20 if what == "longer export" else entries, tmp_path)
    bundle = tmp_path / "tile" / "entries" / "001"
    if what in ("cut", "added"):
        bundle.write_bytes(bundle.read_bytes()[:-1] if what == "cut" else bundle.read_bytes() + b"\0")
    if what == "nothing":
        bundle.unlink()
    found = page.one(data, encode_network(network), tmp_path)
    try:
        later = scan_journal(tmp_path, verify_evidence(data, network))
        assert found["later"] == {"version": later.version, "index": later.index, "isLast": later.index == PLACE, "size": later.size}
        assert what in ("whole", "longer export")
    except EvidenceInvalid as error:
        assert found == {"link": error.link} == {"link": "journal"}
    except LedgerError:
        assert what == "nothing" and str(found["link"]).startswith("JournalUnreadable: ")


def _exported(entries: Sequence[bytes], folder: Path) -> None:
    for number in range(-(-len(entries) // 256)):
        run = entries[256 * number : 256 * (number + 1)]
        path = folder / "tile" / "entries" / (f"{number:03d}" if len(run) == 256 else f"{number:03d}.p/{len(run)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_bundle(run))
    (folder / "checkpoint").write_bytes(b"")


def test_network_files_are_read_and_refused_alike(page):
    world = World()
    evidence, written = encode(world.parts("record")), encode_network(world.network())
    values = json.loads(written)
    odd = (None, True, -1, 0, 1.0, 2**53, 2**63 - 1, 2**63, 10**400, "", "0x", [], {}, "0X" + "ab" * 20, "0x" + "AB" * 20, "0x" + "ab" * 20, "0x" + "ab" * 32)
    files = {f"{name}: {str(value)[:50]}": json.dumps(values | {name: value}).encode() for name in values for value in odd}
    files |= {f"sealers {n}": json.dumps(values | {"sealers": sealers}).encode() for n, sealers in enumerate((
        values["sealers"] * 2, [f"0x{n:040x}" for n in range(1000)], [f"0x{n:040x}" for n in range(1001)], [None], [7]))}  # fmt: skip
    files |= {f"without {name}": json.dumps({key: values[key] for key in values if key != name}).encode() for name in values}
    files |= {
        "whole": written, "another field": json.dumps(values | {"x": 1}).encode(), "twice": written.replace(b"{", b'{"epoch": 1,', 1),
        "mark": b"\xef\xbb\xbf" + written, "utf-16": written.decode().encode("utf-16"), "spaced": written.replace(b",", b" \t\r\n,"),
        "form feed": written.replace(b",", b"\f,"), "after it": written + b"x", "real": written.replace(b'"period": 1', b'"period": 1.0'),
        "minus zero": written.replace(b'"period": 1', b'"period": -0'), "leading zero": written.replace(b'"period": 1', b'"period": 01'),
        "exponent": written.replace(b'"period": 1', b'"period": 1e0'), "comma": written.replace(b"]", b",]"), "nothing": b"", "list": b"[]",
        "deep": b"[" * 100_000, "NaN": written.replace(b'"period": 1', b'"period": NaN'), "not UTF-8": written + b"\xff",
        "escaped": written.replace(b"clique", b"cl\\u0069que"), "large": written + b" " * (1 << 20),
    }  # fmt: skip
    ours, theirs = {}, {}
    for name, data in files.items():
        try:
            network = decode_network(data)
            ours[name] = agree(page, network, {name: evidence}, evidence)[0]
        except NetworkInvalid:
            ours[name] = "NetworkInvalid"
        theirs[name] = str(page.links(evidence, data, [evidence])[0] or "None").partition(":")[0]
    ours["large"] = "NetworkInvalid"  # what reads the file bounds its size
    assert {name: (str(ours[name]), theirs[name]) for name in files if str(ours[name]) != theirs[name]} == {}
    assert ours["whole"] is ours["escaped"] is None and ours["mark"] == ours["utf-16"] == "NetworkInvalid"


def rerooted(nodes: Sequence[bytes], last: bytes) -> tuple[bytes, list[bytes]]:
    """A proof with another last node, and the root that it then leads to: each node names the new one below it."""
    made = [last]
    for node, below in zip(reversed(nodes[:-1]), reversed(nodes[1:]), strict=True):
        made.insert(0, node.replace(bytes(keccak(below)), bytes(keccak(made[0]))))
    return bytes(keccak(made[0])), made


def odd_nodes(node: bytes) -> Iterator[bytes]:
    path, value = strict_rlp.decode_list(node, max_depth=4)
    assert isinstance(path, bytes) and isinstance(value, bytes)
    for item in (path[:-1], path + b"\0", bytes([path[0] ^ 0x10]) + path[1:], bytes([path[0] ^ 0x20]) + path[1:], b"\x40" + path[1:], b"", b"\x20", []):
        yield strict_rlp.encode([item, value])
    for item in (b"", b"\0", b"\x80", value[:-1], value + b"\0", [], [b"x"], [b"\x20", b"x"], bytes(32), bytes(33), [[[b"\x20", b"x"]]]):
        yield strict_rlp.encode([path, item])
    yield from (strict_rlp.encode([path]), strict_rlp.encode([path, value, b""]), strict_rlp.encode(b"x"), node + b"\0", node[:-1], b"\xc0", b"")
    yield strict_rlp.encode([b""] * 16 + [value])
    for child in (b"", b"x", bytes(32), [path[:3], b"x"], [b"\x20", b"x" * 40], [b"\x00", b""], [b"\x10", []], [b""] * 17, []):
        yield strict_rlp.encode([child] * 16 + [b""])
    account = strict_rlp.decode(value, max_depth=1)
    if isinstance(account, list):
        for at in range(4):
            for part in (b"", b"\0", b"\0\1", bytes([1] * 9), bytes([1] * 33), bytes(32), bytes(31), []):
                yield strict_rlp.encode([path, strict_rlp.encode([*account[:at], part, *account[at + 1 :]])])
        yield strict_rlp.encode([path, strict_rlp.encode([*account, b""])])


def test_forged_states_are_refused_alike(page):
    world = World()
    parts = world.parts("record")
    account = world.state.storage["account"]
    tried, networks = {}, set()
    for number, node in enumerate(odd_nodes(account[-1])):
        root, proof = rerooted(account, node)
        chain = CliqueChain((SEALERS[0],), world.state.state_root)
        chain.seal(SEALERS[0]), chain.seal(SEALERS[0], state_root=root)
        storage = parts["storage"] | {"account": [part.hex() for part in proof]}
        tried[f"{number}: {node.hex()}"] = encode(parts | {"storage": storage, "chain": plain(chain_part((), chain.headers[1], ()))})
        networks.add(chain.network())
    assert set(agree(page, networks.pop(), tried, encode(parts))) == {None, "storage", "institution"} and not networks


def test_forged_storage_is_refused_alike(page):
    """The contract's own storage has the odd node: the account above it names the new root."""
    world = World()
    parts, account, words = world.parts("record"), world.state.storage["account"], world.state.storage["meta"]
    path, value = strict_rlp.decode_list(account[-1])
    tried, network = {}, None
    values = [b"", b"\x80", b"\0", b"\x81\1", b"\1", b"\x82\0\1", b"\xc0", b"\xa1" + b"\1" * 33, b"\xa0" + b"\xff" * 32]
    word_path = strict_rlp.decode_list(words[-1])[0]
    for number, node in enumerate([*odd_nodes(words[-1]), *(strict_rlp.encode([word_path, value]) for value in values)]):
        storage_root, word_proof = rerooted(words, node)
        fields = strict_rlp.decode_list(value)  # type: ignore[arg-type]
        leaf = strict_rlp.encode([path, strict_rlp.encode([*fields[:2], storage_root, fields[3]])])
        root, proof = rerooted(account, leaf)
        chain = CliqueChain((SEALERS[0],), world.state.state_root)
        chain.seal(SEALERS[0]), chain.seal(SEALERS[0], state_root=root)
        storage = {"account": proof, "meta": word_proof, "root": word_proof}
        tried[f"{number}: {node.hex()}"] = encode(parts | plain({"storage": storage, "chain": chain_part((), chain.headers[1], ())}))  # type: ignore[operator]
        network = chain.network()
    assert network is not None and set(agree(page, network, tried, encode(parts))) <= {"storage", "checkpoint", "institution"}


def test_names_that_are_no_text_are_refused_alike(page):
    world = World()
    parts, network = world.parts("record"), world.network()
    names = (b"\xff", b"", b"\xed\xa0\x80", b"\xef\xbb\xbf", parts["institution"]["name"].encode())
    tried = {name.hex(): encode(parts | {"institution": parts["institution"] | {"name": name.hex()}}) for name in names}
    assert set(agree(page, network, tried, encode(parts))) == {"institution"}


@pytest.mark.parametrize("name", ["block", "epoch", "period", "sealers", "engine", "chain_id", "block_hash"])
def test_other_roots_of_trust_are_judged_alike(page, name):
    for chain in World().chains:
        world = World()
        network, evidence = world.network(chain), encode(world.parts("record", chain))
        values = {"block": (0, 41, 42, 43, 60, 2**62), "epoch": (1, 2, 41, 42, 2**62), "period": (0, 2, 2**62),
                  "sealers": (SEALERS[:1], SEALERS[:5], SEALERS[::-1], SEALERS[4:]), "engine": ("clique", "qbft"), "chain_id": (1,),
                  "block_hash": (bytes(32),)}[name]  # fmt: skip
        for value in values:
            other = replace(network, **{name: tuple(value) if name == "sealers" else value})
            agree(page, other, {f"{chain}: {value}": evidence}, evidence)
