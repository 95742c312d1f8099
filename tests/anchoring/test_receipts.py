"""Receipts kept elsewhere: they find a home that was rolled back together with its chain; edited or foreign ones are refused."""

from __future__ import annotations

import json
import shutil

import pytest
from world import World

from anchoring.errors import AnchoringError
from anchoring.receipt import read_receipt
from ledger import canonical


@pytest.fixture
def kept(sealed):
    """A receipt outside the machine, of the second checkpoint."""
    sealed.change()
    path = sealed.folder / "receipt.json"
    sealed.ok("seal", "--receipt", path)
    return path


def test_home_and_chain_rolled_back_together_are_found_by_a_receipt_only(sealed):
    before = sealed.save()
    sealed.change()
    sealed.ok("seal", "--receipt", sealed.folder.with_name("receipt.json"))
    sealed.put_back(before)
    outcome = sealed.run("verify", "--json")
    assert outcome.code == 0 and outcome.json["externally_anchored"] is False
    assert "not externally anchored" in sealed.ok("verify").out
    sealed.ok("seal")
    for forked_off in (False, True):
        if forked_off:
            # The same machine goes on from the old state, and is longer than the receipt in the end.
            for number in range(8):
                sealed.change([(f"UPDATE visit SET note='other {number}' WHERE visit_id=1",)])
                sealed.ok("seal")
        outcome = sealed.run("verify", "--since", sealed.folder.with_name("receipt.json"), "--json")
        kinds = {finding["kind"] for finding in outcome.json["findings"]}
        assert outcome.code == 1 and "rolled_back" in kinds and outcome.json["externally_anchored"] is True


def test_a_receipt_of_the_present_history_makes_it_externally_anchored(sealed, kept):
    for _ in range(2):
        outcome = sealed.run("verify", "--since", kept, "--json")
        assert (outcome.code, outcome.json["externally_anchored"], outcome.json["findings"]) == (0, True, [])
        sealed.change([("UPDATE visit SET note='after the receipt' WHERE visit_id=1",)])
        sealed.ok("seal")
    assert "not externally" not in sealed.ok("verify", "--since", kept).out


def test_seal_writes_a_receipt_for_each_checkpoint_into_the_home(sealed, kept):
    sealed.ok("seal")
    receipts = sorted((sealed.home / "receipts").iterdir())
    assert [path.name for path in receipts] == [f"{size:012d}.json" for size, _root in sealed.checkpoints()]
    assert receipts[1].read_bytes() == kept.read_bytes()
    said = json.loads(kept.read_bytes())
    assert said["careseal"] == "receipt/1" and said["size"] == sealed.checkpoints()[-1][0]
    assert sealed.ok("verify", "--since", receipts[0], "--since", receipts[1], "--json").json["findings"] == []


def mutations(values):
    for name, value in values.items():
        yield {key: item for key, item in values.items() if key != name}
        yield values | {name: None}
        yield values | {name: [value]}
        if isinstance(value, int):
            yield from (values | {name: other} for other in (value + 1, -1, str(value), True, 2**64))
        else:
            turned = value[:-1] + ("0" if value[-1] != "0" else "1")
            yield from (values | {name: other} for other in (value[:-1], value + "00", turned, 7, ""))
    yield values | {"more": 1}


def test_an_edited_receipt_is_refused_whatever_was_edited(sealed, kept):
    values = json.loads(kept.read_bytes())
    edited = sealed.folder / "edited.json"
    refused = 0
    for changed in mutations(values):
        edited.write_bytes(canonical.encode(changed) if 2**64 not in changed.values() else json.dumps(changed).encode())
        try:
            read_receipt(edited)
        except AnchoringError as error:
            assert "\n" not in str(error) and "edited.json" in str(error)
        else:
            # A signature that reads recovers to some key: only the home's own is believed.
            line = sealed.refused("verify", "--since", edited)
            assert "was not signed by this institution" in line or "belongs to another" in line
        refused += 1
    assert refused > 60
    for content in (b"", b"{}", b"\xff" * 100, kept.read_bytes()[:-20], kept.read_bytes() * 2, b"[" * 60_000, bytes(1 << 17)):
        edited.write_bytes(content)
        assert "is not a Careseal receipt, or it was changed" in sealed.refused("verify", "--since", edited)
    assert "cannot read the receipt" in sealed.refused("verify", "--since", sealed.folder / "nowhere.json")
    assert "cannot read the receipt" in sealed.refused("verify", "--since", sealed.folder)


def test_a_receipt_of_another_institution_is_refused(sealed, kept, place):
    (place / "other").mkdir()
    other = World(place / "other", name="Other Hospital")
    other.chain = sealed.chain
    other.more = ("--chain", sealed.chain)
    other.init().attach()
    other.ok("seal", "--receipt", other.folder / "receipt.json")
    assert "belongs to another institution" in sealed.refused("verify", "--since", other.folder / "receipt.json")
    assert "belongs to another institution" in other.refused("verify", "--since", kept)
    (place / "third").mkdir()
    third = World(place / "third").init().attach()
    third.ok("seal")
    assert "belongs to another institution or chain" in third.refused("verify", "--since", kept)


def test_a_receipt_that_cannot_be_written_says_so_and_the_checkpoint_is_anchored(sealed):
    sealed.change()
    line = sealed.refused("seal", "--receipt", sealed.folder / "no" / "such" / "folder.json")
    assert "cannot write the receipt" in line and "anchored all the same" in line
    shutil.rmtree(sealed.home / "receipts")
    sealed.settle()
