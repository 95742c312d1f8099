"""Evidence with a time stamp: made from the home's stamped receipt, checked with a root certificate, and told where it was not."""

from __future__ import annotations

import json

import pytest
from authority import Authority, replies, serving
from evidence_world import World as Made
from mutations import mutations
from world import World

from anchoring.container import encode
from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from anchoring.network import read_network
from anchoring.stamped import check_stamp
from anchoring.timestamp import read_roots

MADE = Made()


def test_the_parts_beside_the_token_are_checked_without_a_root():
    parts, network = MADE.parts("record") | {"timestamp": MADE.stamped()}, MADE.network()
    proved = verify_evidence(encode(parts), network)
    assert proved.stamped is not None and (proved.stamped.size, proved.stamped.token) == (20, b"not a token")
    with pytest.raises(EvidenceInvalid, match="^timestamp: token: "):
        check_stamp(proved.stamped, [])
    for _place, _what, data in mutations(parts, only={"timestamp"}, flips=400):
        try:
            changed = verify_evidence(data, network)
        except EvidenceInvalid as error:
            assert error.link in ("container", "timestamp")
            continue
        # docs/spec.md: without a root certificate the token is not proved, nor what only the token covers, nor that there is one.
        assert changed.stamped is None or (changed.stamped.token, changed.stamped.digest) != (proved.stamped.token, proved.stamped.digest)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    """A hospital with a stamped seal and a later one without, the root certificate, and another one."""
    folder, authority = tmp_path_factory.mktemp("stamped") / "world", Authority()
    folder.mkdir()
    world = World(folder).init().attach()
    with serving(replies(authority.answer)) as tsa:
        world.ok("seal", "--tsa", tsa.url)
    world.ok("seal", "--no-tsa")
    world.change([("UPDATE visit SET note='not stamped' WHERE visit_id=1",)])
    world.ok("seal")
    return world, authority.pem(folder / "root.pem"), Authority().pem(folder / "other.pem")


def test_evidence_carries_the_first_stamp_that_covers_it(stamped):
    world, root, other = stamped
    file, network = world.folder / "evidence.json", world.home / "network.json"
    world.ok("evidence export", "visit", "3", "-o", file)
    out = world.ok("evidence verify", file, "--network", network).out
    assert "time stamp not checked: give --tsa-cert" in out
    assert world.ok("evidence verify", file, "--network", network, "--json").json["timestamp"]["checked"] is False
    out = world.ok("evidence verify", file, "--network", network, "--tsa-cert", root).out
    assert "by CN=Test TSA: it all existed then" in out and "not checked" not in out
    shown = world.ok("evidence verify", file, "--network", network, "--tsa-cert", root, "--json").json["timestamp"]
    assert (shown["checked"], shown["tsa"]) == (True, "CN=Test TSA")
    outcome = world.run("evidence verify", file, "--network", network, "--tsa-cert", other)
    assert outcome.code == 1 and "timestamp: certificate: " in outcome.line()
    world.ok("evidence refresh", file, "-o", world.folder / "fresh.json")
    world.ok("evidence verify", world.folder / "fresh.json", "--network", network, "--tsa-cert", root)


def test_what_no_stamp_covers_has_none(stamped):
    world, root, _ = stamped
    file, network = world.folder / "later.json", world.home / "network.json"
    world.ok("evidence export", "visit", "1", "-o", file)
    assert "timestamp" not in json.loads(file.read_bytes())
    assert "has no time stamp" in world.run("evidence verify", file, "--network", network, "--tsa-cert", root).line()


def test_with_a_root_nothing_of_the_time_stamp_can_be_changed(stamped):
    world, root, _ = stamped
    file, roots = world.folder / "whole.json", read_roots([root])
    world.ok("evidence export", "visit", "3", "-o", file)
    network, parts = read_network(world.home / "network.json"), json.loads(file.read_bytes())
    told = check_stamp(verify_evidence(file.read_bytes(), network).stamped, roots)
    tried = 0
    for place, what, data in mutations(parts, only={"timestamp"}, flips=60):
        if place == ("timestamp",) and what == "dropped":
            assert verify_evidence(data, network).stamped is None
            continue
        try:
            # Version numbers in a token and the name of its signature's algorithm are not signed: they change nothing that is told.
            assert check_stamp(verify_evidence(data, network).stamped, roots) == told, (place, what)
        except EvidenceInvalid as error:
            assert error.link in ("container", "timestamp"), (place, what)
            tried += 1
    assert tried > 200
