"""Provisional receipts while the chain stands still, and the receipts that take their place."""

from __future__ import annotations

import json
from dataclasses import replace

import forked
import pytest
from live_qbft import LiveQbft
from world import World

import anchoring.sender
from anchoring.errors import AnchoringError
from anchoring.receipt import Provisional, Receipt, make_provisional, read_receipt
from ledger import canonical


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("provisional")
    made = LiveQbft(folder / "chain", forked.fast_time)
    with made.running() as url:
        yield made, url, made.found(url, folder)


@pytest.fixture
def world(chain, tmp_path, request, monkeypatch):
    made, url, network = chain
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 0.5)
    place = World(tmp_path, chain=None, name=request.node.name)
    place.chain = url
    place.more = ("--chain", url, "--network", network, "--mirror", place.mirror)
    place.init().attach().ok("seal")
    made.paused = False
    yield place
    made.paused = False


def stalled(chain, world, *arguments):
    """A seal while no block comes; its outcome."""
    chain[0].paused = True
    outcome = world.run("seal", *arguments)
    chain[0].paused = False
    assert outcome.code == 2 and "did not go on" in outcome.line()
    return outcome


def test_while_no_block_comes_a_provisional_receipt_is_left_and_completed_by_the_next_seal(chain, world, tmp_path):
    world.change()
    outside = tmp_path / "usb" / "receipt.json"
    shown = stalled(chain, world, "--receipt", outside).out
    assert f"provisional receipt: {outside}" in shown
    provisional = read_receipt(outside).receipt
    assert isinstance(provisional, Provisional)
    assert "not externally anchored" in world.ok("verify", "--since", outside).out  # what it says holds, but no block does
    world.change((("INSERT INTO visit VALUES (71, 'p7', 'later')",),))
    assert f"{outside} is no longer provisional" in world.ok("seal").out
    receipt = read_receipt(outside).receipt
    assert isinstance(receipt, Receipt) and (receipt.size, receipt.root) == (provisional.size, provisional.root)
    assert "no longer" not in world.ok("seal").out
    world.check(counted=False)
    assert "not externally anchored" not in world.ok("verify", "--since", outside).out


def test_the_worker_leaves_and_completes_them_too(chain, world):
    world.change()
    chain[0].paused = True
    assert world.run("run", "--cycles", "1", "--every", "1s").code == 2
    (waiting,) = [path for path in (world.home / "receipts").iterdir() if isinstance(read_receipt(path).receipt, Provisional)]
    chain[0].paused = False
    assert world.run("run", "--cycles", "1", "--every", "1s").code == 0
    assert isinstance(read_receipt(waiting).receipt, Receipt)


def test_json_names_it_and_a_place_that_cannot_be_written_is_tried_again(chain, world, tmp_path):
    world.change()
    place = tmp_path / "stick" / "r.json"
    shown = json.loads(stalled(chain, world, "--json", "--receipt", place).out)
    assert shown == {"provisional_receipt": str(place)}
    place.unlink()
    place.parent.rmdir()
    place.parent.write_text("unmounted")
    told = world.run("seal")
    assert told.code == 0 and "warning: cannot write the receipt" in told.err
    place.parent.unlink()
    assert "is no longer provisional" in world.ok("seal").out and isinstance(read_receipt(place).receipt, Receipt)


def test_another_journal_than_the_provisional_receipts_is_found(chain, world, tmp_path):
    world.change()
    stalled(chain, world, "--receipt", tmp_path / "r.json")
    other = replace(read_receipt(tmp_path / "r.json").receipt, root="ab" * 32)
    with world.opened() as home:
        checkpoint = replace(home.journal.latest(), root=bytes.fromhex(other.root))
        (tmp_path / "other.json").write_bytes(make_provisional(home.settings, checkpoint, home.keyring.sealing))
    assert read_receipt(tmp_path / "other.json").receipt == other
    found = world.run("verify", "--since", tmp_path / "other.json", "--json")
    assert found.code == 1 and found.json["findings"][0]["kind"] == "journal_altered"
    world.ok("seal")
    again = world.run("verify", "--since", tmp_path / "other.json", "--json")
    assert again.code == 1 and any("provisional receipt" in str(finding) for finding in again.json["findings"])


@pytest.mark.parametrize("field", ["chain_id", "generation", "institution", "journals", "root", "sealed", "size", "signature", "careseal"])
def test_every_field_is_signed_and_checked(chain, world, tmp_path, field):
    world.change()
    stalled(chain, world, "--receipt", tmp_path / "r.json")
    values = json.loads((tmp_path / "r.json").read_bytes())
    old = values[field]
    values[field] = old + 1 if isinstance(old, int) else old[:-1] + ("0" if old[-1] != "0" else "1")
    (tmp_path / "r.json").write_bytes(canonical.encode(values) + b"\n")
    refused = world.run("verify", "--since", tmp_path / "r.json")
    assert refused.code == 2 and "receipt" in refused.line()
    for name in (field, "timestamp"):
        other = {**values, field: old}
        other = {**other, name: "00"} if name == "timestamp" else {key: value for key, value in other.items() if key != name}
        (tmp_path / "s.json").write_bytes(canonical.encode(other) + b"\n")
        with pytest.raises(AnchoringError, match="not a Careseal receipt"):
            read_receipt(tmp_path / "s.json")
    world.ok("seal")
