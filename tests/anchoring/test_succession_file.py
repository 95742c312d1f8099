"""From one chain to another: two hospitals of an embedded pilot go on on a network of QBFT, and evidence crosses the link offline."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import forked
import pytest
from live_qbft import CHAIN_ID, LiveQbft
from world import World

from anchoring import proofs, succeeding
from anchoring.container import MAX_BYTES, encode
from anchoring.errors import AnchoringError, EvidenceInvalid, LinkBroken
from anchoring.link import Link
from anchoring.network import institution_name, read_network
from anchoring.succession import (
    Storage,
    check_successor,
    commitment,
    encode_succession,
    read_unfinished,
    verify_across,
    verify_predecessor,
    verify_succession,
)
from node.client import connect


class Moved:
    """A pilot of two hospitals, of which the second has its home elsewhere, and the QBFT network to which both moved."""

    def __init__(self, folder) -> None:
        self.first = World(folder / "a").init().attach()
        (folder / "b").mkdir()
        self.second = World(folder / "b", chain=self.first.chain, name="Second Hospital")
        self.second.init().attach()
        for each in (self.first, self.second):
            each.ok("seal")
            each.change()
            each.ok("seal")
        self.old = folder / "old.json"
        self.old.write_bytes((self.first.home / "network.json").read_bytes())
        self.evidence = folder / "before.json"
        self.first.ok("evidence export", "visit", "1", "-o", self.evidence)
        self.file = folder / "succession.json"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("succession")
    made = Moved(folder)
    chain = LiveQbft(folder / "qbft", forked.fast_time)
    with chain.running() as url:
        made.url, made.network = url, chain.found(url, folder)
        arguments = ("--network", made.network, "--chain", url)
        made.one = made.first.ok("network succeed", made.file, *arguments, "--json").json
        made.unfinished = made.file.read_bytes()
        made.two = made.second.ok("network succeed", made.file, *arguments, "--json").json
        made.first.chain = made.second.chain = url
        made.first.moved = made.second.moved = True
        yield made


def test_the_file_is_finished_when_the_last_institution_moved(moved):
    assert moved.one["missing"].endswith("the journal of institution 2 of the predecessor did not begin there yet") or (
        "dropped institution 2" in moved.one["missing"]
    )
    assert moved.two["missing"] is None and (moved.one["chain_id"], moved.two["institution"]) == (CHAIN_ID, 2)
    before = verify_succession(moved.file.read_bytes(), read_network(moved.network))
    assert before.network == read_network(moved.old)
    assert {head.institution for head in before.heads.values()} == {1, 2}


def test_journals_go_on_and_are_intact(moved):
    for each in (moved.first, moved.second):
        each.change((("INSERT INTO visit VALUES (71, 'p7', 'on the successor')",),))
        assert each.ok("seal", "--json").json["block"]
        each.check(counted=False)


def test_evidence_of_before_and_after_verifies_offline(moved, tmp_path):
    network = ("--network", moved.network)
    alone = forked.here("evidence", "verify", moved.evidence, *network, environment={})
    assert alone.code == 1 and "chain" in alone.err
    across = forked.here("evidence", "verify", moved.evidence, *network, "--succession", moved.file, "--json", environment={})
    assert across.code == 0 and across.json["valid"] and across.json["engine"] == "clique", across
    after = tmp_path / "after.json"
    moved.first.ok("evidence export", "visit", "1", "-o", after)
    shown = forked.here("evidence", "verify", after, *network, "--succession", moved.file, "--json", environment={}).json
    assert shown["engine"] == "qbft" and shown["final"] and shown["chain_id"] == CHAIN_ID
    command = [sys.executable, "-m", "anchoring.evidence_main", moved.evidence, *network, "--succession", moved.file]
    assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["engine"] == "clique"


def test_an_unfinished_file_proves_nothing(moved):
    with pytest.raises(EvidenceInvalid, match=r"successor: .*not finished"):
        verify_succession(moved.unfinished, read_network(moved.network))


def test_a_home_does_not_move_twice(moved):
    again = moved.first.run("network succeed", moved.file, "--network", moved.network, "--chain", moved.url)
    assert again.code == 2 and "moved already" in again.line()


def test_a_lost_home_comes_back_on_the_successor(moved, tmp_path):
    world = moved.second
    world.change((("INSERT INTO visit VALUES (72, 'p7', 'before the loss')",),))
    world.ok("seal")
    world.home.rename(tmp_path / "lost")
    world.ok("restore", "--kit", moved.two["kit"], "--mirror", world.mirror)
    world.change((("INSERT INTO visit VALUES (73, 'p7', 'after the loss')",),))
    assert world.ok("seal", "--json").json["block"]
    world.check(counted=False)


def crafted(url, network, part):
    """A succession file of a successor that does not hold what it should."""
    with connect(url, None, forked.fast_time) as w3:
        headers, state = succeeding._ground(w3, network)
        kept = []
        before = verify_predecessor(part)
        committed = commitment(part["network"], before.block, before.block_hash)
        with pytest.raises(LinkBroken):
            check_successor(Storage(headers.header, succeeding._recorded(state, kept)), network, committed, before.heads)
        return encode_succession({"predecessor": part, "successor": {"chain": proofs.chain_part(headers), "proofs": kept}})


def test_a_successor_that_drops_or_changes_a_head_is_refused_by_verification(moved, tmp_path):
    part = read_unfinished(moved.file.read_bytes())
    heads = {head.institution: head for head in verify_predecessor(part).heads.values()}
    chain = LiveQbft(tmp_path / "qbft", forked.fast_time)
    with chain.running() as url:
        network = read_network(chain.found(url, tmp_path))
        with connect(url, None, forked.fast_time) as w3:
            links = [Link(w3, network, 0, bytes([number]) * 32) for number in (91, 92)]
            for name, link in zip((b"First Hospital", b"Second Hospital"), links, strict=True):
                link.send(link.consortium.join(institution_name(name.decode()), 1, nonce=link.nonce()))
                if link is links[0]:
                    with pytest.raises(EvidenceInvalid, match="successor: its members named no predecessor"):
                        verify_succession(crafted(url, network, part), network)
                    before = verify_predecessor(part)
                    succeeding._commit(link, commitment(part["network"], before.block, before.block_hash))
                    succeeding._commit(link, commitment(part["network"], before.block, before.block_hash))
                    with pytest.raises(AnchoringError, match="named another predecessor"):
                        succeeding._commit(link, bytes(32))
                    link.send(link.journals.publish(0, 0, heads[1].size, heads[1].root, [], nonce=link.nonce()))
                    with pytest.raises(EvidenceInvalid, match="successor: it dropped institution 2 .*"):
                        verify_succession(crafted(url, network, part), network)
            with pytest.raises(EvidenceInvalid, match="did not begin there yet"):
                verify_succession(crafted(url, network, part), network)
            links[1].send(links[1].journals.publish(0, 0, heads[2].size, bytes(31) + b"x", [], nonce=links[1].nonce()))
            with pytest.raises(EvidenceInvalid, match="successor: it changed the head of institution 2 .*"):
                verify_succession(crafted(url, network, part), network)


def places(value, path=()):
    """Every place in a JSON value where something can be changed."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from places(below, (*path, name))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from places(below, (*path, index))
    else:
        yield path


def changed(value, path, act):
    if not path:
        return act(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], act)
    return copy


def edited(leaf):
    if isinstance(leaf, int):
        return leaf + 1
    middle = len(leaf) // 2
    return leaf[:middle] + ("0" if leaf[middle : middle + 1] != "0" else "1") + leaf[middle + 1 :]


def test_whatever_is_changed_is_refused(moved):
    values, network = json.loads(moved.file.read_bytes()), read_network(moved.network)
    paths = list(places(values))
    assert len(paths) > 60
    for path in paths:
        with pytest.raises(EvidenceInvalid):
            verify_succession(encode(changed(values, path, edited)), network)
    for part in ("predecessor", "successor"):
        listed = values[part]["proofs"]
        for other in (listed[:-1], [*listed, listed[0]], listed[::-1], [*listed[1:], listed[0]]):
            with pytest.raises(EvidenceInvalid):
                verify_succession(encode(changed(values, (part, "proofs"), lambda _, other=other: other)), network)
    for data in (b"", b"[]", b"{}", moved.file.read_bytes()[:-9], b" " * (MAX_BYTES + 1), moved.evidence.read_bytes()):
        with pytest.raises(EvidenceInvalid):
            verify_succession(data, network)


def test_a_file_of_another_successor_is_refused(moved):
    network = read_network(moved.network)
    for change in ({"consortium": bytes(20)}, {"journals": bytes(20)}, {"consortium_code": bytes(32)}):
        with pytest.raises(EvidenceInvalid, match="successor"):
            verify_succession(moved.file.read_bytes(), replace(network, **change))
    with pytest.raises(EvidenceInvalid):
        verify_across(moved.evidence.read_bytes(), read_network(moved.old), [moved.file.read_bytes()])


def test_new_contracts_on_the_same_chain_succeed_the_old_ones(tmp_path):
    chain = LiveQbft(tmp_path / "qbft", forked.fast_time)
    with chain.running() as url:
        old, new = (chain.found(url, tmp_path, f"{name}.json") for name in ("old", "new"))
        world = World(tmp_path / "w", chain=None)
        world.folder.mkdir()
        world.chain, world.more = url, ("--chain", url, "--network", old, "--mirror", world.mirror)
        world.init().attach().ok("seal")
        world.ok("evidence export", "visit", "1", "-o", tmp_path / "before.json")
        file, trusted = tmp_path / "succession.json", ("--network", new)
        assert world.ok("network succeed", file, *trusted, "--chain", url, "--json").json["missing"] is None
        world.moved = True
        world.change((("INSERT INTO visit VALUES (71, 'p7', 'under new contracts')",),))
        world.ok("seal")
        world.check(counted=False)
        world.ok("evidence export", "visit", "71", "-o", tmp_path / "after.json")
        for name, files in (("before", ("--succession", file)), ("after", ("--succession", file)), ("after", ())):
            shown = forked.here("evidence", "verify", tmp_path / f"{name}.json", *trusted, *files, "--json", environment={})
            assert shown.code == 0 and shown.json["valid"], shown
        assert forked.here("evidence", "verify", tmp_path / "before.json", *trusted, environment={}).code == 1
