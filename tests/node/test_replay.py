"""Exported chains are re-executed: two real ones of QBFT, one of our own, and everything that may be wrong with one."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from pathlib import Path

import forked
import pytest

from node import qbft, strict_rlp
from node.errors import ExportInvalid, SealInvalid
from node.exported import read_exported
from node.header import from_rpc
from node.replay import Replayed, replay

FIXTURES = Path(__file__).parents[1] / "vectors" / "qbft"


def exported(name: str):
    return json.loads(gzip.decompress((FIXTURES / f"chain-{name}.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def votes():
    return exported("votes")


@pytest.fixture
def short(votes):
    """Up to the blocks with the first transactions and votes."""
    return votes | {"blocks": deepcopy(votes["blocks"][:19])}


def wrong(chain, block: int, words: str) -> Replayed:
    made = replay(chain)
    assert made.wrong == block and words in made.reason, made
    return made


@pytest.mark.parametrize(("name", "blocks", "transactions"), [("4", 268, 602), ("votes", 43, 202)])
def test_real_chains_hold(name, blocks, transactions):
    chain = read_exported(FIXTURES / f"chain-{name}.json.gz")
    made = replay(chain)
    assert (made.wrong, made.blocks, made.transactions) == (None, blocks, transactions), made
    assert "0x" + made.head.hex() == chain["blocks"][-1]["hash"]
    assert set(made.sealers) == set(qbft.parse_extra(from_rpc(chain["blocks"][-1])).validators)


def resealed(block: dict, **changes: object) -> dict:
    """A block whose hash is right again after a change; its seals are those of before."""
    made = {**block, **changes}
    return made | {"hash": "0x" + qbft.block_hash(from_rpc(made)).hex()}


FIELDS = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "gasLimit", "gasUsed",
          "timestamp", "extraData", "mixHash", "nonce", "difficulty", "number", "hash")  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_is_found_in_its_block(short, field):
    place = next(number for number, block in enumerate(short["blocks"]) if block["transactions"])
    value = short["blocks"][place][field]
    short["blocks"][place][field] = value[:-1] + ("1" if value[-1] != "1" else "2")
    made = replay(short)
    assert (made.wrong, made.blocks) == (place, place) and made.reason
    # The same with a hash that fits: then the seals, or what comes of the transactions, tell.
    if field != "hash":
        try:
            short["blocks"][place] = resealed(short["blocks"][place])
        except SealInvalid:
            return
        assert replay(short).wrong == place


@pytest.mark.parametrize("field", ["nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s", "hash", "from"])
def test_a_changed_transaction_is_found(short, field):
    place = next(number for number, block in enumerate(short["blocks"]) if block["transactions"])
    sent = short["blocks"][place]["transactions"][0]
    value = sent[field]
    sent[field] = "0x" + "11" * 20 if value is None else value[:-1] + ("1" if value[-1] != "1" else "2")
    wrong(short, place, "its transaction 0")


def test_blocks_left_out_repeated_or_in_another_order_are_found(short):
    blocks = short["blocks"]
    turned = [*blocks[:5], blocks[6], blocks[5]]
    for listed, place in ((blocks[:5] + blocks[6:], 5), (blocks[:5] + blocks[4:], 5), (turned, 5), (blocks[1:], 0)):
        assert replay(short | {"blocks": listed}).wrong == place
    place = next(number for number, block in enumerate(blocks) if block["transactions"])
    del blocks[place]["transactions"][0]
    wrong(short, place, "gives another transactions_root")


def test_seals_are_of_the_validators_that_votes_made(short):
    """The block after the change must list the new ones: with the old list, though they sealed it, it does not hold."""
    place = 16
    extra = qbft.parse_extra(from_rpc(short["blocks"][place]))
    before = qbft.parse_extra(from_rpc(short["blocks"][place - 1])).validators
    parts = [extra.vanity, list(before), extra.vote, extra.round, list(extra.seals)]
    short["blocks"][place] = resealed(short["blocks"][place], extraData="0x" + strict_rlp.encode(parts).hex())
    wrong(short, place, "lists other validators")


def test_votes_are_counted_as_the_real_validators_counted_them(votes):
    followed = qbft.Sealers(set(qbft.parse_extra(from_rpc(votes["blocks"][0])).validators), 30_000)
    sizes = []
    for block in votes["blocks"][1:]:
        sizes.append(len(followed.current))
        kept = followed.copy()
        followed.take_in(from_rpc(block))
        assert kept.current == set(qbft.parse_extra(from_rpc(block)).validators)
    assert (sizes[:15], sizes[15:30], sizes[30:]) == ([5] * 15, [4] * 15, [5] * 12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda chain: chain.pop("genesis"), "needs engine, genesis and blocks"),
        (lambda chain: chain.update(blocks={}), "needs engine, genesis and blocks"),
        (lambda chain: chain.update(blocks=[]), "has no block"),
        (lambda chain: chain.update(engine="ethash"), "only chains of the engines"),
        (lambda chain: chain["genesis"].update(config=None), "only chains of the engines"),
        (lambda chain: chain["genesis"]["config"].pop("qbft"), "no settings for qbft"),
        (lambda chain: chain["genesis"]["config"].update(londonBlock=5), "only the rules of Berlin or London"),
        (lambda chain: chain["genesis"]["config"].update(cancunTime=0, shanghaiBlock=5), "only the rules of Berlin or London"),
        (lambda chain: chain["genesis"]["config"].update(berlinBlock=7), "only the rules of Berlin or London"),
        (lambda chain: chain["genesis"]["config"].pop("berlinBlock"), "only the rules of Berlin or London"),
        (lambda chain: chain["genesis"]["config"].update(ecCurve="secp256r1"), "sets eccurve"),
        (lambda chain: chain["genesis"]["config"]["qbft"].update(blockReward="5"), "sets blockreward"),
        (lambda chain: chain["genesis"]["config"].update(chainId="x"), "a number in it cannot be read"),
        (lambda chain: chain["genesis"]["config"]["qbft"].update(epochLength=0), "an epoch or a chain id"),
    ],
)
def test_what_cannot_be_replayed_is_refused(votes, change, words):
    chain = {**votes, "genesis": deepcopy(votes["genesis"])}
    change(chain)
    with pytest.raises(ExportInvalid, match=words):
        replay(chain)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alloc": {}}, "another state_root"), ({"gasLimit": "0x1"}, "another gas_limit"), ({"timestamp": "0x1"}, "another timestamp"),
        ({"extraData": "0x"}, "extra data of block 0 is malformed"), ({"alloc": {"zz": {}}}, "not the hexadecimal"),
        ({"alloc": []}, "allots nothing that can be read"), ({"alloc": {"11" * 20: 7}}, "no account"),
        ({"difficulty": "0x2"}, "another difficulty"), ({"nonce": "0x7"}, "another nonce"),
    ],
)  # fmt: skip
def test_a_foreign_genesis_is_told(short, change, words):
    wrong(short | {"genesis": short["genesis"] | change}, 0, words)


def test_another_chain_id_refuses_every_transaction(short):
    short["genesis"] = deepcopy(short["genesis"])
    short["genesis"]["config"]["chainId"] = 1
    made = replay(short)
    assert made.wrong == next(number for number, block in enumerate(short["blocks"]) if block["transactions"])


def test_files_that_are_damaged_are_refused(tmp_path):
    whole = (FIXTURES / "chain-votes.json.gz").read_bytes()
    bent, half = whole[:500] + b"\0" * 50 + whole[550:], gzip.decompress(whole)[:-100]
    for name, content in (("cut", whole[:-100]), ("bent", bent), ("text", b"no json"), ("deep", b"[" * 100_000), ("half", half)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ExportInvalid):
            read_exported(tmp_path / name)
    with pytest.raises(ExportInvalid, match="cannot read"):
        read_exported(tmp_path / "missing")


def test_commands_export_the_embedded_chain_and_replay_it(tmp_path):
    from world import World

    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.init().attach()
    world.ok("seal")
    file, network = tmp_path / "chain.json.gz", world.home / "network.json"
    made = forked.here("node", "export", file, "--network", network, "--rpc", world.chain, "--json", environment={})
    assert made.code == 0, made
    told = forked.here("node", "replay", file, "--json", environment={})
    assert told.code == 0 and told.json["ok"] and told.json["error"] is None
    assert told.json["blocks"] == made.json["blocks"] > 3 and told.json["engine"] == "clique" and len(told.json["validators"]) == 1
    assert "exists already" in forked.here("node", "export", file, "--network", network, "--rpc", world.chain, environment={}).line()
    chain = read_exported(file)
    chain["blocks"][-1]["stateRoot"] = "0x" + "11" * 32
    (tmp_path / "bent.json").write_text(json.dumps(chain))
    told = forked.here("node", "replay", tmp_path / "bent.json", "--json", environment={})
    assert told.code == 1 and told.json["error"]["block"] == told.json["blocks"] == made.json["blocks"] - 1
    assert "does not hold" in forked.here("node", "replay", tmp_path / "bent.json", environment={}).out
    assert forked.here("node", "replay", network, environment={}).line().startswith("this is no exported chain")


