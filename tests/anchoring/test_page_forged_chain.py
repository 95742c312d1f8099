"""Odd receipts, network files, tries and names, which only those who are trusted could forge: both verifiers judge them alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from eth_hash.auto import keccak
from evidence_world import SEALERS, CliqueChain, World, chain_part
from mutations import mutations
from page_trials import agree

from anchoring.container import encode, plain
from anchoring.errors import NetworkInvalid
from anchoring.network import decode_network, encode_network
from ledger import canonical
from node import strict_rlp


def test_stamped_receipts_are_judged_alike(page):
    world = World()
    parts, part, network = world.parts("record"), world.stamped(), world.network()
    receipt = json.loads(bytes.fromhex(part["receipt"]))
    tried = {"whole": encode(parts | {"timestamp": part})}
    for place, what, data in mutations(parts | {"timestamp": part}, only={"timestamp"}):
        tried[f"{place}, {what}, {len(tried)}"] = data
    odd = (None, True, False, 0, 1, 3, 19, 21, 2**53 - 1, "", "0x" + "ab" * 20, "ab" * 32, [], {})
    edits = [{name: value} for name in (*receipt, "timestamp") for value in odd]
    bodies = {f"{edit}": canonical.encode(receipt | edit) for edit in edits}
    bodies |= {f"without {name}": canonical.encode({key: receipt[key] for key in receipt if key != name}) for name in receipt}
    bodies |= {"list": b"[]", "spaced": json.dumps(receipt).encode(), "nothing": b"", "text": b'"receipt/1"'}
    tried |= {name: encode(parts | {"timestamp": part | {"receipt": body.hex()}}) for name, body in bodies.items()}
    links = agree(page, network, tried, tried["whole"])
    assert links[0] is None and set(links) == {None, "container", "timestamp"}


def test_network_files_are_read_and_refused_alike(page):
    world = World()
    evidence, written = encode(world.parts("record")), encode_network(world.network())
    values = json.loads(written)
    odd = (
        None,
        True,
        -1,
        0,
        1.0,
        2**53,
        2**63 - 1,
        2**63,
        10**400,
        "",
        "0x",
        [],
        {},
        "0X" + "ab" * 20,
        "0x" + "AB" * 20,
        "0x" + "ab" * 20,
        "0x" + "ab" * 32,
    )
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
    for item in (
        path[:-1],
        path + b"\0",
        bytes([path[0] ^ 0x10]) + path[1:],
        bytes([path[0] ^ 0x20]) + path[1:],
        b"\x40" + path[1:],
        b"",
        b"\x20",
        [],
    ):
        yield strict_rlp.encode([item, value])
    for item in (b"", b"\0", b"\x80", value[:-1], value + b"\0", [], [b"x"], [b"\x20", b"x"], bytes(32), bytes(33), [[[b"\x20", b"x"]]]):
        yield strict_rlp.encode([path, item])
    yield from (
        strict_rlp.encode([path]),
        strict_rlp.encode([path, value, b""]),
        strict_rlp.encode(b"x"),
        node + b"\0",
        node[:-1],
        b"\xc0",
        b"",
    )
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
