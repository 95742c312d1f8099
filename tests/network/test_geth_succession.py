"""From the embedded pilot to a network of real geth nodes: the journal goes on there, and evidence of before crosses the link."""

from __future__ import annotations

import forked
import pytest
from geth_network import GethNetwork, needs_geth
from world import World

from anchoring.network import NETWORK

pytestmark = [pytest.mark.slow, needs_geth]


def test_a_pilot_moves_to_four_geth_nodes(tmp_path):
    pilot = World(tmp_path / "pilot").init().attach()
    pilot.ok("seal")
    pilot.change()
    pilot.ok("seal")
    pilot.ok("evidence export", "visit", "1", "-o", tmp_path / "before.json")
    network = GethNetwork(tmp_path / "n")
    try:
        network.start()
        file, trusted = tmp_path / "succession.json", ("--network", network.folder / NETWORK)
        moved = pilot.ok("network succeed", file, *trusted, "--chain", network.url(1), "--json").json
        assert moved["missing"] is None and moved["institution"] == 1
        pilot.chain, pilot.moved = network.url(1), True
        pilot.change((("INSERT INTO visit VALUES (71, 'p7', 'on the network')",),))
        pilot.ok("seal")
        pilot.check(counted=False)
        pilot.ok("evidence export", "visit", "71", "-o", tmp_path / "after.json")
        again = forked.here("network", "succession", file, *trusted, "--rpc", network.url(2), "--json", environment={})
        assert again.code == 0 and again.json["finished"]
    finally:
        network.stop()
    across = (*trusted, "--succession", file, "--json")
    for name, sealers in (("before", 1), ("after", 4)):
        shown = forked.here("evidence", "verify", tmp_path / f"{name}.json", *across, environment={})
        assert shown.code == 0 and shown.json["valid"] and shown.json["engine"] == "clique", shown
        assert sealers in (shown.json["sealers_of"], shown.json["sealers_of"] + 1), shown
