"""The vectors of evidence: what is valid stays valid, and everything else breaks at the link that is named."""

from __future__ import annotations

import json

import pytest
from evidence_vectors import VECTORS, vectors

from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from anchoring.journal_scan import scan_journal
from anchoring.network import read_network

INDEX = json.loads((VECTORS / "index.json").read_bytes())


def test_the_files_are_what_their_makers_make():
    made = vectors()
    kept = {str(path.relative_to(VECTORS)): path.read_bytes() for path in VECTORS.rglob("*") if path.is_file()}
    assert kept.keys() == made.keys()
    assert [name for name in made if made[name] != kept[name]] == []


@pytest.mark.parametrize("vector", INDEX, ids=lambda vector: vector["file"])
def test_vector(vector):
    data, network = (VECTORS / vector["file"]).read_bytes(), read_network(VECTORS / vector["network"])
    if vector["link"] is None:
        proved = verify_evidence(data, network)
        if vector.get("journal_link", "") is None:
            assert scan_journal(VECTORS / vector["journal"], proved).index >= proved.record.last.index
        elif "journal_link" in vector:
            with pytest.raises(EvidenceInvalid) as caught:
                scan_journal(VECTORS / vector["journal"], proved)
            assert caught.value.link == vector["journal_link"]
        return
    with pytest.raises(EvidenceInvalid) as caught:
        verify_evidence(data, network)
    assert caught.value.link == vector["link"], caught.value


def test_every_link_and_every_kind_has_vectors():
    assert {vector["link"] for vector in INDEX} == {
        None, "container", "record", "configuration", "journal", "history", "audit", "network", "header", "storage", "checkpoint",
        "institution", "seal", "confirmation", "timestamp",
    }  # fmt: skip
