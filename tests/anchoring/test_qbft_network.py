"""A hospital on a chain of QBFT that runs: founding, sealing, evidence that says final, validators voted out and in, a follower."""

from __future__ import annotations

import json

import forked
import pytest
from live_qbft import CHAIN_ID, KEYS, LiveQbft
from world import PASSPHRASE, World

from anchoring.network import read_network
from node import clique


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qbft")
    made = LiveQbft(folder / "chain", forked.fast_time)
    with made.running() as url:
        made.found(url, folder)
        yield made, url, folder


@pytest.fixture(scope="module")
def hospital(chain):
    _, url, folder = chain
    place = folder / "first"
    place.mkdir()
    made = World(place, chain=None)
    made.chain = url
    made.more = ("--chain", url, "--network", folder / "network.json", "--mirror", made.mirror)
    made.init().attach()
    made.ok("seal")
    return made


def test_the_network_file_is_of_the_running_chain(chain):
    made, _, folder = chain
    network = read_network(folder / "network.json")
    assert (network.engine, network.chain_id, set(network.sealers)) == ("qbft", CHAIN_ID, set(made.validators))
    assert 2 <= network.block <= made.chain.head.number


def test_a_hospital_seals_audits_and_its_evidence_is_final(chain, hospital, tmp_path):
    hospital.change()
    hospital.ok("seal")
    hospital.check(counted=False)
    hospital.ok("evidence export", "visit", "1", "-o", tmp_path / "e.json")
    shown = hospital.ok("evidence verify", tmp_path / "e.json", "--network", chain[2] / "network.json").out
    assert "VALID" in shown and "final" in shown and "not final" not in shown


def test_after_validators_changed_a_newer_network_file_is_proved_from_the_older(chain, hospital, tmp_path):
    made, url, folder = chain
    out, in_ = made.validators[0], clique.address_of(KEYS[4])
    made.change(out, add=False)
    made.change(in_, add=True)
    made.seal()  # the first block that lists it
    arguments = ("--network", folder / "network.json", "--rpc", url)
    renewed = forked.here("network", "renew", tmp_path / "new.json", *arguments, "--json", environment={})
    assert renewed.code == 0 and set(renewed.json["sealers"]) == {"0x" + who.hex() for who in made.validators} and in_ in made.validators
    again = forked.here("network", "renew", tmp_path / "new.json", *arguments, environment={})
    assert again.code == 2 and "exists already" in again.line()
    hospital.ok("node trust", tmp_path / "new.json")
    hospital.change((("INSERT INTO visit VALUES (77, 'p7', 'after the vote')",),))
    hospital.ok("seal")
    hospital.check(counted=False)


def test_an_auditor_follows_it_and_verifies_at_the_own_node(chain, hospital, tmp_path):
    _, url, folder = chain
    files = ("--network", folder / "network.json", "--genesis", folder / "genesis.json", "--state", tmp_path / "f")
    followed = forked.here("node", "follow", *files, "--peer", url, "--once", "--json", environment={})
    assert followed.code == 0 and followed.json["ok"] and followed.json["block"] == chain[0].chain.head.number


def test_one_command_admits_an_institution_and_its_node(chain, hospital, tmp_path):
    made, url, folder = chain
    account, sealer = "0x" + "77" * 20, clique.address_of(KEYS[0])
    before = set(made.validators)
    made.change(sealer, add=False) if sealer in before else None
    words = ("node admit", "--account", account, "--name", "Fifth Hospital")
    assert "give --node with --sealer" in hospital.refused(*words, "--sealer", "0x" + sealer.hex())
    assert "give --node with --sealer" in hospital.refused(*words, "--node", url)
    assert "is no account" in hospital.refused(*words, "--sealer", "0x1", "--node", url)
    assert "no node runs in" in hospital.refused(*words, "--sealer", "0x" + sealer.hex(), "--node", tmp_path)
    forked.here("network", "renew", tmp_path / "a.json", "--network", folder / "network.json", "--rpc", url, environment={})
    hospital.ok("node trust", tmp_path / "a.json")
    assert "carried out" in hospital.ok(*words, "--sealer", "0x" + sealer.hex(), "--node", url).out and sealer in made.validators
    made.seal()
    renewed = forked.here("network", "renew", tmp_path / "b.json", "--network", tmp_path / "a.json", "--rpc", url, environment={})
    assert renewed.code == 0
    hospital.ok("node trust", tmp_path / "b.json")
    members = hospital.ok("node members", "--json").json["members"]
    assert len(members) == 2
    hospital.ok("node suspend", "--institution", "2", "--sealer", "0x" + sealer.hex(), "--node", url)
    assert sealer not in made.validators


@pytest.mark.parametrize(
    ("genesis", "words"),
    [
        ({"config": {"chainId": 5, "qbft": {}}}, "another chain than the genesis file"), ({"config": {}}, "for none of the engines"),
        ({"config": {"qbft": {}, "clique": {}}}, "or for both"), ([], "holds no genesis"), ({"extraData": "0x11"}, "another chain"),
    ],
)  # fmt: skip
def test_founding_with_a_wrong_genesis_ends_with_one_line(chain, tmp_path, genesis, words):
    made, url, _ = chain
    (tmp_path / "g.json").write_text(json.dumps(genesis if isinstance(genesis, list) else made.genesis | genesis))
    arguments = ("--genesis", tmp_path / "g.json", "--rpc", url)
    outcome = forked.here("network", "found", tmp_path / "n.json", *arguments, environment={"CARESEAL_PASSPHRASE": PASSPHRASE})
    assert outcome.code == 2 and words in outcome.line() and not (tmp_path / "n.json").exists()
