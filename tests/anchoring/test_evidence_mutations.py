"""Verification is total: whatever one thing is changed in evidence of any kind or chain, it is refused, and the link is named."""

from __future__ import annotations

import copy
import json
import tracemalloc
from dataclasses import replace

import jsonschema
import pytest
from evidence_schema import SCHEMA, written
from evidence_world import World
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutations

from anchoring.container import KINDS, MAX_BYTES, encode, read_container
from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from node import header

WORLD = World()
LINKS = {"container", "record", "configuration", "journal", "history", "audit", "network", "header", "storage", "checkpoint",
         "institution", "seal", "confirmation"}  # fmt: skip
COMMON = {"careseal", "kind", "chain", "checkpoint", "institution", "storage"}
# The one change of one value that leaves valid evidence: docs/spec.md says that the last versions of a history can be left out.
SHORTER = {subject: ("versions",) for subject in WORLD.subjects if subject.startswith("history")}


def broken(data: bytes, network) -> str | None:
    """The link at which evidence breaks, None where it is valid; fails where it ends in another error, or names no link."""
    try:
        verify_evidence(data, network)
    except EvidenceInvalid as error:
        assert error.link in LINKS and str(error).startswith(f"{error.link}: ") and "\n" not in str(error)
        return error.link
    return None


@pytest.mark.parametrize("subject", list(WORLD.subjects))
def test_every_change_of_evidence_of_every_kind_is_refused(subject):
    only = {"kind", *WORLD.subjects[subject][1]} | (COMMON if subject == "record" else set())
    parts, network, tried = WORLD.parts(subject), WORLD.network(), 0
    last = len(parts.get("versions", ())) - 1
    for place, what, data in mutations(parts, only=only):
        if place == SHORTER.get(subject) and what == f"without {last}":
            shorter = verify_evidence(data, network)
            assert shorter.record.last.number == last
            continue
        assert broken(data, network) is not None, (place, what)
        tried += 1
    assert tried > 400


@pytest.mark.parametrize("chain", list(WORLD.chains))
def test_every_change_of_the_chains_part_is_refused(chain):
    network = WORLD.network(chain)
    assert broken(encode(WORLD.parts("record", chain)), network) is None
    for place, what, data in mutations(WORLD.parts("record", chain), only={"chain"}, flips=60):
        assert broken(data, network) is not None, (place, what)


def test_parts_of_other_evidence_do_not_fit():
    chains = {name: WORLD.parts("record", name) for name in WORLD.chains}
    for name, parts in chains.items():
        for other, theirs in chains.items():
            if WORLD.network(other) != WORLD.network(name) and name != "clique-1":
                assert broken(encode(parts | {"chain": theirs["chain"]}), WORLD.network(name)) in ("network", "seal", "confirmation")
    mine, other = WORLD.parts("record"), WORLD.parts("record-pgtext")
    assert broken(encode(mine | {"configuration": other["configuration"]}), WORLD.network()) == "record"
    assert broken(encode(mine | {"record": other["record"]}), WORLD.network()) == "record"


def test_content_can_be_left_out_which_the_specification_says():
    history = WORLD.parts("history")
    history["versions"][0] |= {"row": None, "secret": None}
    assert [version.values is None for version in verify_evidence(encode(history), WORLD.network()).record.versions] == [True, True, False]
    fields = WORLD.parts("fields")
    digest = WORLD.journal.fields[12][2]["digest"].hex()
    fields["record"]["fields"][2] = {"digest": digest}
    assert verify_evidence(encode(fields), WORLD.network()).record.hidden == ("id", "patient", "note", "a", "c", "d")


def test_a_network_file_of_another_consortium_refuses_it():
    network, data = WORLD.network(), encode(WORLD.parts("record"))
    others = {"chain_id": 7, "journals": bytes(20), "journals_code": bytes(32), "consortium": bytes(20), "consortium_code": bytes(32),
              "sealers": (bytes(20),), "block": 2**40, "engine": "qbft", "epoch": 42}  # fmt: skip
    links = {name: broken(data, replace(network, **{name: value})) for name, value in others.items()}
    assert links == {
        "chain_id": "network", "journals": "storage", "journals_code": "storage", "consortium": "institution", "epoch": "seal",
        "consortium_code": "institution", "sealers": "seal", "block": "network", "engine": "seal",
    }  # fmt: skip


def test_the_trusted_block_itself_needs_no_seal_and_takes_no_other_header():
    parts = WORLD.parts("record", "clique-3")
    head = header.decode(bytes.fromhex(parts["chain"]["header"]))
    trusting = replace(WORLD.network("clique-3"), block=head.number, block_hash=header.block_hash(head))
    assert broken(encode(parts), trusting) == "confirmation"
    parts["chain"]["after"] = []
    assert verify_evidence(encode(parts), trusting).anchored.sealers == ()
    assert broken(encode(parts), replace(trusting, block_hash=bytes(32))) == "network"


@settings(max_examples=300, deadline=None)
@given(data=st.data(), subject=st.sampled_from(sorted(WORLD.subjects)))
def test_one_random_byte_edited_anywhere_is_refused(data, subject):
    evidence = encode(WORLD.parts(subject))
    at = data.draw(st.integers(0, len(evidence) - 2))  # the last byte is a line feed, which belongs to no field
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != evidence[at]))
    assert broken(evidence[:at] + bytes([byte]) + evidence[at + 1 :], WORLD.network()) is not None


@settings(max_examples=100, deadline=None)
@given(data=st.data(), subject=st.sampled_from(sorted(WORLD.subjects)))
def test_truncated_anywhere_it_is_refused(data, subject):
    evidence = encode(WORLD.parts(subject))
    assert broken(evidence[: data.draw(st.integers(0, len(evidence) - 2))], WORLD.network()) == "container"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_refused(data):
    assert broken(data, WORLD.network()) == "container"


@pytest.mark.parametrize(("data", "words"), [
    (b"", "not JSON"), (b"{}", "not Careseal evidence"), (b"[]", "not Careseal evidence"), (b"null", "not Careseal evidence"),
    (b"7", "not Careseal evidence"), (b"\xff", "other letters"), (b"[" * 100_000, "not JSON"), (b"{" * 100_000, "not JSON"),
    (b'{"careseal":"evidence/1"}', "evidence/1, this program reads evidence/2"), (b'{"careseal":"receipt/1"}', "not Careseal evidence"),
    (b'{"careseal":"evidence/2","kind":"consent"}', "a kind that this program does not know"),
    (b'{"careseal":"evidence/2","kind":"record"}', "a field is missing or unknown"), (b" " * (MAX_BYTES + 1), "larger than"),
    (b"[" + b'"",' * 300_000 + b'""]', "more parts than evidence has"), (b"1" * 100_000, "not JSON"),
])  # fmt: skip
def test_what_is_no_evidence_is_told(data, words):
    with pytest.raises(EvidenceInvalid, match="^container: ") as caught:
        verify_evidence(data, WORLD.network())
    assert words in str(caught.value)


@pytest.mark.parametrize("make", [
    lambda: b"[" + b"[]," * 130_000 + b"[]]", lambda: b'{"' + b"a" * ((1 << 25) - 100) + b'":"evidence/2"}',
    lambda: b'{"careseal":"evidence/2","kind":"record","x":"' + b"ab" * ((1 << 24) - 100) + b'"}',
    lambda: b"{" + b",".join(b'"%d":{}' % n for n in range(130_000)) + b"}",
    lambda: encode(WORLD.parts("record") | {"record": WORLD.parts("record")["record"] | {"row": "ab" * ((1 << 24) - 10_000)}}),
])  # fmt: skip
def test_memory_is_a_small_multiple_of_the_file(make):
    data = make()
    tracemalloc.start()
    try:
        assert broken(data, WORLD.network()) in ("container", "record")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * max(len(data), 1 << 22)


def test_the_schema_is_made_of_the_format():
    assert SCHEMA.read_bytes() == written()


def structural(data: bytes) -> bool:
    """Whether the verifier refuses the container, other than for how it is written."""
    try:
        read_container(data)
    except EvidenceInvalid:
        return True
    return False


@pytest.mark.parametrize("subject", [name for name in WORLD.subjects if name in KINDS])
def test_the_schema_accepts_every_kind_and_refuses_what_the_verifier_refuses(subject):
    schema = json.loads(SCHEMA.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    whole, own = jsonschema.Draft202012Validator(schema), {"$ref": f"#/$defs/{subject}", "$defs": schema["$defs"]}
    validator = jsonschema.Draft202012Validator(own)  # quicker than asking all kinds, which is done for what is accepted
    parts, refused = WORLD.parts(subject), 0
    assert whole.is_valid(parts)
    only = None if subject == "record" else {"kind", *KINDS[subject]}
    for place, what, data in mutations(parts, only=only, flips=3):
        if what == "twice" or what == "oversized" or "of another type: 'a b'" in what:
            continue
        values = json.loads(data)
        accepted = validator.is_valid(values)
        assert accepted is not structural(encode(values)), (place, what)
        assert not accepted or whole.is_valid(values)
        refused += not accepted
    assert refused > 100


@pytest.mark.parametrize("place", [("storage", "meta"), ("record", "proof"), ("chain", "before"), ("chain", "after")])
def test_schema_and_verifier_bound_lists_alike(place):
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    parts = copy.deepcopy(WORLD.parts("record"))
    limit = 4096 if place[0] == "chain" else 65
    parts[place[0]][place[1]] = ["00"] * limit
    assert validator.is_valid(parts) and not structural(encode(parts))
    parts[place[0]][place[1]].append("00")
    assert not validator.is_valid(parts) and structural(encode(parts))
