"""Evidence: what is valid, and every way in which a file is not, with the link that is said to be broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World

from anchoring.errors import EvidenceInvalid, NetworkInvalid
from anchoring.evidence import _FORMAT, verify_evidence
from anchoring.network import decode_network, encode_network, read_network
from ledger import canonical

LINKS = {"container", "record", "journal", "configuration", "checkpoint", "storage", "institution", "header", "seal", "network"}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Two consortiums, each with a hospital of its own."""
    made = []
    for name in ("one", "two"):
        folder = tmp_path_factory.mktemp(name) / "world"
        folder.mkdir()
        world = World(folder).init().attach()
        world.ok("seal")
        world.change([("UPDATE visit SET note='as evidence shows' WHERE visit_id=3",)])
        world.ok("seal")
        world.ok("evidence export", "visit", "3", "-o", folder / "evidence.json")
        made.append(world)
    return made


@pytest.fixture(scope="module")
def evidence(worlds):
    return (worlds[0].folder / "evidence.json").read_bytes()


@pytest.fixture(scope="module")
def network(worlds):
    return read_network(worlds[0].home / "network.json")


@pytest.fixture(scope="module")
def parts(evidence):
    return json.loads(evidence)


def broken(data: bytes, network) -> str:
    """The link that the evidence breaks at; fails where it is taken for valid, or ends in another error."""
    with pytest.raises(EvidenceInvalid) as caught:
        verify_evidence(data, network)
    assert caught.value.link in LINKS
    assert str(caught.value).startswith(f"{caught.value.link}: ")
    assert "\n" not in str(caught.value)
    return caught.value.link


def encode(parts) -> bytes:
    return canonical.encode(parts) + b"\n"


def changed(parts, part: str, field: str, value) -> bytes:
    return encode(parts | {part: parts[part] | {field: value}})


FIELDS = [(part, field, kind) for part, fields in _FORMAT.items() for field, kind in fields.items()]


def test_the_exported_file_is_valid_and_says_what_it_proves(evidence, network):
    proved = verify_evidence(evidence, network)
    assert proved.values == {"visit_id": "3", "patient": "p1", "note": "as evidence shows"}
    assert (proved.table, proved.key, proved.version, proved.kind, proved.baseline) == ("visit", ("visit_id",), 2, "amended", False)
    assert (proved.institution, proved.name) == (1, "First Hospital")
    assert proved.block <= proved.header_block


def test_a_missing_or_unknown_part_is_refused(parts, network):
    for part in parts:
        assert broken(encode({key: value for key, value in parts.items() if key != part}), network) == "container"
        assert broken(encode(parts | {part: None}), network) == "container"
        assert broken(encode(parts | {part: []}), network) == "container"
    assert broken(encode(parts | {"more": 1}), network) == "container"
    for text in (b"", b"{}", b"[]", b"null", b"7", b"\xff", b"{" * 100_000, b'{"careseal":"evidence/2"}'):
        assert broken(text, network) == "container"


@pytest.mark.parametrize(("part", "field", "kind"), FIELDS, ids=lambda value: str(value))
def test_every_field_is_checked(parts, network, part, field, kind):
    value = parts[part][field]
    for data in mutations(parts, part, field, kind, value):
        assert data != encode(parts)
        broken(data, network)


def mutations(parts, part: str, field: str, kind: str, value):
    """The file with one field dropped, of another type, oversized, duplicated, reordered, or with other content."""
    yield encode(parts | {part: {name: item for name, item in parts[part].items() if name != field}})
    yield encode(parts | {part: parts[part] | {f"{field}2": value}})
    for other in (None, True, 1.5, "", "zz", {}, [], [None], [1], "0x00", -1, 2**53 - 1, "AB"):
        if other != value:
            yield changed(parts, part, field, other)
    text = encode(parts).decode()
    written = json.dumps(value, separators=(",", ":"))
    yield text.replace(f'"{field}":{written}', f'"{field}":{written},"{field}":{written}', 1).encode()
    if kind == "int":
        yield from (changed(parts, part, field, other) for other in (value + 1, value + 2**32) if other < 2**53)
        if value:
            yield from (changed(parts, part, field, other) for other in (value - 1, 0) if other != value)
    elif kind == "hex":
        yield from (changed(parts, part, field, other) for other in _hex_mutations(value))
    else:
        yield from (changed(parts, part, field, other) for other in _list_mutations(value))


def _hex_mutations(value: str):
    data = bytes.fromhex(value)
    for at in range(len(data)):
        for bit in (1, 128):
            yield (data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]).hex()
    yield from (data[:end].hex() for end in {0, len(data) // 2, len(data) - 1})
    yield (data + b"\0").hex()
    yield (b"\0" + data).hex()
    yield (data * 2).hex()
    yield (data + bytes(100_000)).hex()
    yield data[::-1].hex() if data[::-1] != data else "00"


def _list_mutations(nodes: list[str]):
    yield [*nodes, "00"]
    yield [*nodes, *nodes] if nodes else ["ab"]
    yield ["00" * 32, *nodes]
    yield ["ab" * 32] * 1000
    for at, node in enumerate(nodes):
        yield nodes[:at] + nodes[at + 1 :]
        yield [*nodes[:at], node, *nodes[at:]]
        for other in list(_hex_mutations(node))[:: max(1, len(node) // 40)]:
            yield [*nodes[:at], other, *nodes[at + 1 :]]
    if len(nodes) > 1 and nodes[::-1] != nodes:
        yield nodes[::-1]


def test_the_first_broken_link_is_named(parts, network, evidence):
    def flipped(part, field, at=-1):
        value = parts[part][field]
        if isinstance(value, list):
            return changed(parts, part, field, [*value[:-1], value[-1][:-1] + ("0" if value[-1][-1] != "0" else "1")])
        return changed(parts, part, field, value[:-1] + ("0" if value[-1] != "0" else "1"))

    assert broken(evidence[:-2], network) == "container"
    assert broken(flipped("record", "row"), network) == "record"
    assert broken(flipped("record", "secret"), network) == "record"
    assert broken(flipped("record", "proof"), network) == "journal"
    assert broken(flipped("configuration", "document"), network) == "configuration"
    assert broken(flipped("configuration", "proof"), network) == "configuration"
    assert broken(changed(parts, "checkpoint", "root", "ab" * 32), network) in ("journal", "configuration")
    assert broken(changed(parts, "checkpoint", "index", 0), network) in ("storage", "checkpoint")
    assert broken(flipped("storage", "account"), network) == "storage"
    assert broken(flipped("storage", "root"), network) == "storage"
    assert broken(flipped("institution", "name"), network) == "institution"
    assert broken(flipped("institution", "proof"), network) == "institution"


def test_a_network_file_of_another_consortium_refuses_it(worlds, evidence, network):
    other = read_network(worlds[1].home / "network.json")
    assert broken(evidence, other) == "network"
    theirs = (worlds[1].folder / "evidence.json").read_bytes()
    assert broken(theirs, network) == "network"
    # Another chain that was given the same id still has other contracts, blocks and sealers.
    assert broken(evidence, replace(other, chain_id=network.chain_id)) in LINKS - {"container"}
    for name, value in (("journals", bytes(20)), ("journals_code", bytes(32)), ("consortium", bytes(20)), ("consortium_code", bytes(32)),
                        ("sealers", other.sealers)):  # fmt: skip
        assert broken(evidence, replace(network, **{name: value})) in {"storage", "institution", "seal"}
    assert broken(evidence, replace(network, block=2**40)) == "network"


def test_parts_of_another_evidence_do_not_fit(worlds, parts, network):
    theirs = json.loads((worlds[1].folder / "evidence.json").read_bytes())
    for part in _FORMAT:
        broken(encode(parts | {part: theirs[part]}), network)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_one_random_byte_edited_anywhere_is_refused(evidence, network, data):
    at = data.draw(st.integers(0, len(evidence) - 2))  # the last byte is a line feed, which belongs to no field
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != evidence[at]))
    broken(evidence[:at] + bytes([byte]) + evidence[at + 1 :], network)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_truncated_anywhere_it_is_refused(evidence, network, data):
    broken(evidence[: data.draw(st.integers(0, len(evidence) - 2))], network)


def test_larger_than_the_bound_it_is_refused_unread(network):
    assert broken(b" " * ((1 << 25) + 1), network) == "container"


def test_the_network_file_survives_its_own_encoding_and_nothing_else(worlds, network):
    data = encode_network(network)
    assert decode_network(data) == network
    values = json.loads(data)
    for name in values:
        for other in (None, -1, 1.5, "", "0x", [], {}, True, 2**64, "0X00"):
            with pytest.raises(NetworkInvalid):
                decode_network(json.dumps(values | {name: other}).encode())
        with pytest.raises(NetworkInvalid):
            decode_network(json.dumps({key: value for key, value in values.items() if key != name}).encode())
    for text in (b"", b"{}", b"[]", b"\xff", json.dumps(values | {"more": 1}).encode(), b"[" * 100_000):
        with pytest.raises(NetworkInvalid):
            decode_network(text)


def test_the_command_says_valid_invalid_or_unreadable_by_its_exit_code(worlds, evidence):
    world = worlds[0]
    file, network = world.folder / "evidence.json", world.home / "network.json"
    edited, short = world.folder / "edited.json", world.folder / "short.json"
    edited.write_bytes(evidence.replace(b'"row":"', b'"row":"00', 1))
    short.write_bytes(evidence[:-100])
    assert world.run("evidence verify", file, "--network", network).code == 0
    shown = world.run("evidence verify", file, "--network", network, "--json", "--values").json
    assert (shown["valid"], shown["values"]["note"], shown["later_versions_excluded"]) == (True, "as evidence shows", False)
    for wrong in (edited, short, world.kit, network):
        outcome = world.run("evidence verify", wrong, "--network", network)
        assert (outcome.code, outcome.out) == (1, "") and ": " in outcome.line()
    assert world.run("evidence verify", file, "--network", worlds[1].home / "network.json").code == 1
    for missing in (("nowhere.json", network), (file, "nowhere.json"), (file, world.kit), (world.folder, network), (file, world.folder)):
        assert world.run("evidence verify", missing[0], "--network", missing[1]).code == 2


def test_the_verifier_needs_no_database_no_web3_and_no_evm(worlds, tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from anchoring.evidence import verify_evidence; from anchoring.network import read_network\n"
        "proved = verify_evidence(Path(sys.argv[1]).read_bytes(), read_network(Path(sys.argv[2])))\n"
        "heavy = {'sqlalchemy', 'sqlite3', 'psycopg', 'web3', 'eth', 'eth_account', 'requests', 'typer'} & set(sys.modules)\n"
        "assert proved.version == 2 and not heavy, heavy\n"
    )
    world = worlds[0]
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", program, world.folder / "evidence.json", world.home / "network.json"]
    done = subprocess.run(arguments, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
