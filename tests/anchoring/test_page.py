"""The page in Chromium and the Python verifier say the same of every vector and of every mutation."""

from __future__ import annotations

import json
import random

import pytest
from evidence_vectors import VECTORS
from evidence_world import World
from mutations import mutations
from page_trials import agree, as_page

from anchoring.container import encode
from anchoring.evidence import verify_evidence
from anchoring.journal_scan import scan_journal
from anchoring.network import decode_network

WORLD = World()
COMMON = {"careseal", "kind", "chain", "checkpoint", "institution", "storage"}
INDEX = json.loads((VECTORS / "index.json").read_bytes())


@pytest.mark.parametrize("vector", INDEX, ids=lambda vector: str(vector["file"]))
def test_both_say_the_same_of_every_vector_and_read_the_same(page, vector):
    data, network = (VECTORS / vector["file"]).read_bytes(), (VECTORS / vector["network"]).read_bytes()
    journal = VECTORS / "journal" if vector.get("journal") else None
    found = page.one(data, network, journal)
    if vector["link"] is not None:
        assert found == {"link": vector["link"]}
        return
    proved = verify_evidence(data, decode_network(network))
    if vector.get("journal_link"):
        assert found == {"link": vector["journal_link"]}
        found = page.one(data, network)
        assert found["later"] is None
    elif journal is not None:
        later = scan_journal(journal, proved)
        last = {"version": later.version, "index": later.index, "isLast": later.excluded(proved), "size": later.size}
        assert found["later"] == last
    assert found["link"] is None and found["proved"] == as_page(proved)


@pytest.mark.parametrize("subject", list(WORLD.subjects))
def test_both_refuse_every_change_of_evidence_of_every_kind_at_the_same_link(page, subject):
    only = {"kind", *WORLD.subjects[subject][1]} | (COMMON if subject == "record" else set())
    parts = WORLD.parts(subject)
    tried = {f"{place}, {what}, {n}": data for n, (place, what, data) in enumerate(mutations(parts, only=only))}
    assert len(tried) > 400 and set(agree(page, WORLD.network(), tried, encode(parts))) >= {
        "container",
        "audit" if "audit" in parts else "record",
    }


@pytest.mark.parametrize("chain", list(WORLD.chains))
def test_both_refuse_every_change_of_the_chains_part_at_the_same_link(page, chain):
    parts = WORLD.parts("record", chain)
    tried = {f"{place}, {what}, {n}": data for n, (place, what, data) in enumerate(mutations(parts, only={"chain"}, flips=60))}
    links = agree(page, WORLD.network(chain), tried, encode(parts))
    assert len(tried) > 200 and None not in links and {"container", "header", "seal"} <= set(links)


@pytest.mark.parametrize("subject", [*WORLD.subjects, *WORLD.chains])
def test_both_say_the_same_of_random_edits_and_of_truncated_files(page, subject):
    chain = subject if subject in WORLD.chains else "clique-1"
    evidence = encode(WORLD.parts("record" if subject in WORLD.chains else subject, chain))
    chance, tried = random.Random(subject), {"whole": evidence}
    for _ in range(150):
        at, byte = chance.randrange(len(evidence)), chance.choice([*b'0123456789abcdef,:"[]{}', chance.randrange(256)])
        tried[f"{byte} at {at}"] = evidence[:at] + bytes([byte]) + evidence[at + 1 :]
        tried[f"until {at}"] = evidence[:at]
        tried[f"without {at}"] = evidence[:at] + evidence[at + 1 :]
    assert agree(page, WORLD.network(chain), tried, evidence)[0] is None
