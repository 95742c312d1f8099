"""Odd rows, documents and entries, which only an institution could put into its journal: both verifiers judge and read them alike."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Iterator

import pytest
from evidence_world import journal
from page_trials import PLACE, Forged, agree, as_page, of_record

from anchoring.container import encode, plain
from anchoring.evidence import verify_evidence
from anchoring.network import encode_network
from ledger import canonical, rowcodec
from ledger.wire import Flag, Kind

TEXTS = ("", "中文", "\x00", "\U0001f600", "a\ufeffb", "\udc80", "x\udcff\udc80y", "\udce4\udcb8")
BODIES = ("61ff62", "c3", "e4b8", "eda080", "f4908080", "c0af", "edb280", "edb3bf", "edb27f", "edb380e4", "edb3a4edb2b8edb3ad", "efbbbf61")
REALS = (0.0, -0.0, 0.1, 1.0, -1.5, 1e16, 123456789012345678.0, 1e-5, 0.0001, 1e22, 5e-324, 1.7976931348623157e308, 1234567.00048828125,
         9007199254740993.0, 1e17, 99999999999999990.0, 2.5e-7, math.inf, -math.inf)  # fmt: skip
WRITTEN = (b"nan", b"1e5", b"1.50", b"+1", b"01", b" 1", b"1_0", b"Infinity", b"0x1p3", b"1e400", b"-inf", b"1.", b".5", b"", b"1e+16",
           b"0.10000000000000000555", b"1\xff")  # fmt: skip
LONGS = ((1, [5]), (2, [0, 1]), (-2, [0, 1]), (3, [0, 0, 2]), (3, [0, 0, 1]), (5, [0x7FFF] * 4 + [7]), (5, [0, 0, 0, 0, 8]),
         (-5, [0, 0, 0, 0, 8]), (5, [0, 0, 0, 0, 9]), (3, [0, 0, 0]), (0, []), (3, [0x8000, 0, 2]),
         (6, [0] * 5 + [1]), (2, [0, 2]))  # fmt: skip
POSTGRES = (b"\\N", b"\\\\N", b"\\x", b"a\\", b"\\b\\f\\n\\r\\t\\v\\\\", b"\xff\xe4\xb8", b"", b"\\\xff", b"\xef\xbb\xbfa", b"N")


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
        "too many columns": (2, b"\t".join([b"x"] * 300), text), "one too many": (2, b"a\tb\tc\td", text),
        "one too few": (2, b"a\tb", text),
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
        b'{"x":1.0}', b'{"x":1e3}', b'{"x":-0}', b'{"x":-5}', b'{"x":9007199254740991}', b'{"x":9007199254740992}', b'{"x":0.5}',
        b'{"x":NaN}',
        b'{"x":"\\ud800"}', b'{"x":"\xed\xa0\x80"}', b'{"x":"\\u001f"}', b'{"x":"\\u001F"}', b'{"x":"\\/"}', b'{"x":"\\u0041"}',
        b'{"x":"\x7f"}', '{"x":"\u2028"}'.encode(), b'{"x":1,"x":1}', '{"\ufffd":1,"\U0001f600":2}'.encode(),
        '{"\U0001f600":2,"\ufffd":1}'.encode(), b'{"__proto__":{"a":1}}', b'{"10":1,"9":2}', b'{"9":2,"10":1}', b'[]', b'7',
        b"\xef\xbb\xbf{}", '{"x":1}'.encode("utf-16"), b'{"x":1} ',
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
    whole = {
        "whole": canonical.encode({"audit": report}),
        "list": canonical.encode({"audit": [report]}),
        "none": canonical.encode({"x": report}),
    }
    return whole | {f"{edit}": canonical.encode({"audit": report | edit}) for edit in edits}


def test_entries_are_refused_alike(page):
    forged, chance = Forged(), random.Random(11)
    whole = forged.journal.entries[PLACE]
    entries = {f"{what} at {at}": whole[:at] + bytes([value]) + whole[at + 1 :]
               for at in range(129) for what, value in (("0", 0), ("255", 255), ("bit", whole[at] ^ 1 << chance.randrange(8)))}  # fmt: skip
    entries |= {f"cut {n}": whole[:n] for n in (0, 1, 2, 40, 128, 129, len(whole) - 1)} | {"longer": whole + b"\0"}
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
