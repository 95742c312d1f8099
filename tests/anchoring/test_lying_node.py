"""Nothing that a node says is believed: a lie about each link of the proof, and what is said then. It is never "intact"."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

import coincurve
import pytest
from lying_node import lying, truth
from world import World, served

import anchoring.sender
from anchoring.network import encode_network, read_network
from contracts.layout import checkpoint_slots, count_slot, generation_slot, institution_slots, key_count_slot, key_slots
from ledger.findings import FindingKind
from node import clique, header
from node.server import read_endpoint

STRANGER = coincurve.PrivateKey(b"\7" * 32).secret


def new_world(folder, **options) -> World:
    folder.mkdir()
    world = World(folder, **options).init().attach()
    world.ok("seal")
    return world


@contextmanager
def behind_a_node(world: World):
    """The world's home asks a lying node, in front of the one that serves its chain."""
    with served(world.chain, world.folder / "node.log"), lying(read_endpoint(world.chain)["url"]) as node:
        world.set("chain", node.url)
        yield node


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hospital with two checkpoints on the chain and a receipt of each, asking a lying node."""
    world = new_world(tmp_path_factory.mktemp("lies") / "world")
    world.change()
    world.ok("seal")
    with behind_a_node(world) as node:
        yield world, node


@pytest.fixture
def world(made):
    return made[0]


@pytest.fixture
def node(made):
    yield made[1]
    made[1].lie = truth


@pytest.fixture
def network(world):
    return read_network(world.home / "network.json")


def refused(world: World, *more: object) -> str:
    """The one line of a verify that ends with 2: nothing is said about the records."""
    before = world.count("SELECT count(*) FROM entries", "ledger.db")
    line = world.refused("verify", *more)
    assert world.count("SELECT count(*) FROM entries", "ledger.db") == before
    return line


def flipped(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def latest_block(change):
    """A lie about the latest block."""

    def lie(method, params, answer):
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            return answer | {"result": change(answer["result"])}
        return answer

    return lie


def sealed_again(block: dict, key: bytes | None = None) -> dict:
    """A block with the hash that fits its fields, and with `key` a seal that does."""
    made = header.from_rpc(block)
    if key is not None:
        made = clique.seal(made, key)
    return block | {"extraData": "0x" + made.extra_data.hex(), "hash": "0x" + header.block_hash(made).hex()}


def proof_of(slot: int, change, turn: int = 0):
    """A lie in the answer that proves `slot`, the `turn`-th time that it is asked for."""
    asked = 0

    def lie(method, params, answer):
        nonlocal asked
        if method == "eth_getProof" and slot in [int(key, 16) for key in params[1]]:
            asked += 1
            if asked > turn:
                answer = copy.deepcopy(answer)
                change(answer["result"], [int(key, 16) for key in params[1]].index(slot))
        return answer

    return lie


# The truth


def test_a_node_that_proves_what_it_says_is_believed(world, node):
    assert world.ok("verify", "--json").json["findings"] == []
    assert "eth_call" not in node.asked and "eth_getStorageAt" not in node.asked


def test_what_a_node_says_without_proof_makes_no_difference(world, node):
    node.lie = lambda method, params, answer: answer | {"result": "0x" + "11" * 160} if method in ("eth_call", "eth_getCode") else answer
    assert world.ok("verify", "--json").json["findings"] == []


# The latest block


FIELDS = {"stateRoot": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32, "timestamp": "0x1", "gasUsed": "0x1", "number": "0xffff"}


@pytest.mark.parametrize("field", FIELDS)
def test_an_edited_header(world, node, field):
    node.lie = latest_block(lambda block: block | {field: FIELDS[field]})
    assert "not believed: header: its hash is not that of block" in refused(world)
    node.lie = latest_block(lambda block: sealed_again(block | {field: FIELDS[field]}))
    assert "not believed: seal: Clique: block" in (line := refused(world)) and "which is not a sealer" in line


def test_a_header_sealed_by_a_foreign_sealer(world, node):
    node.lie = latest_block(lambda block: sealed_again(block | {"stateRoot": "0x" + "11" * 32}, STRANGER))
    line = refused(world)
    number = int(node.ask("eth_blockNumber", [])["result"], 16)
    assert f"seal: Clique: block {number} is sealed by 0x{clique.address_of(STRANGER).hex()}, which is not a sealer" in line
    assert "use another node" in line and "careseal node trust" in line


def test_another_chain_under_the_same_id(world, node, tmp_path):
    other = new_world(tmp_path / "other")
    with served(other.chain, tmp_path / "node.log"):
        true, node.upstream = node.upstream, read_endpoint(other.chain)["url"]
        try:
            chain_id = hex(world.setting("chain_id"))
            node.lie = lambda method, params, answer: answer | {"result": chain_id} if method == "eth_chainId" else answer
            assert "which is not a sealer" in refused(world)
        finally:
            node.upstream = true


def test_a_header_without_its_fields_or_of_a_later_fork(world, node):
    for change, words in (
        (lambda block: {name: value for name, value in block.items() if name != "stateRoot"}, "header: header: field stateRoot is missing"),
        (lambda block: block | {"withdrawalsRoot": "0x" + "00" * 32}, "header: header: base_fee_per_gas is missing"),
        (lambda block: block | {"baseFeePerGas": "0x0", "withdrawalsRoot": "0x" + "00" * 32}, "header: its hash is not that of block"),
        (lambda block: block | {"hash": None}, "header: its hash is not that of block"),
        (lambda block: block | {"number": 7}, "header: its hash"),
        (lambda block: block | {"extraData": "0x" + "00" * 97}, "header: its hash"),
    ):
        node.lie = latest_block(change)
        assert words in refused(world)
    node.lie = latest_block(lambda block: None)
    assert "does not give its latest block" in refused(world)


def test_a_block_older_than_the_trusted_one(world, node, network):
    old = node.ask("eth_getBlockByNumber", [hex(network.block - 1), False])["result"]
    node.lie = latest_block(lambda block: old)
    assert f"not believed: network: block {network.block - 1} is older than the trusted block {network.block}" in refused(world)


def test_a_node_that_does_not_have_the_trusted_block(world, node, network):
    def lie(method, params, answer):
        other = method == "eth_getBlockByNumber" and params[0] == hex(network.block)
        return node.ask(method, [hex(network.block + 1), False]) if other else answer

    node.lie = lie
    assert "another chain than the network file's" in refused(world)


def test_an_older_block_with_all_its_proofs_is_a_rollback(world, node):
    """What it shows was true then: no lie can be told from a chain that was put back. Neither is intact."""
    (block,) = world.rows("SELECT block FROM checkpoints ORDER BY size LIMIT 1", "ledger.db")[0]
    old = node.ask("eth_getBlockByNumber", [hex(block), False])["result"]
    node.lie = latest_block(lambda _block: old)
    outcome = world.run("verify", "--json")
    assert outcome.code == 1 and outcome.json["ok"] is False
    assert [finding["kind"] for finding in outcome.json["findings"]] == [FindingKind.ROLLED_BACK]
    assert "or its node shows an old block" in outcome.json["findings"][0]["detail"]


def test_an_older_block_that_only_lacks_later_blocks_is_noticed_too(tmp_path):
    """The home saw its checkpoint in a later block than the one that is shown: that is enough, whatever the sizes."""
    world = new_world(tmp_path / "world")
    with behind_a_node(world):
        with world.opened() as home, home.store.transaction() as db:
            db.execute("UPDATE checkpoints SET block=block + 1")
        outcome = world.run("verify", "--json")
        assert outcome.code == 1 and [finding["kind"] for finding in outcome.json["findings"]] == [FindingKind.ROLLED_BACK]


# The contracts' state


def drop_last(result, index):
    result["storageProof"][index]["proof"].pop()


def flip_leaf(result, index):
    result["storageProof"][index]["proof"][-1] = flipped(result["storageProof"][index]["proof"][-1])


def flip_root(result, index):
    result["storageProof"][index]["proof"][0] = flipped(result["storageProof"][index]["proof"][0])


def more(result, index):
    result["storageProof"][index]["proof"].append("0x80")


def empty(result, index):
    result["storageProof"][index]["proof"] = []


def account(result, index):
    result["accountProof"][-1] = flipped(result["accountProof"][-1])


def no_account(result, index):
    result["accountProof"] = []


LIES = [drop_last, flip_leaf, flip_root, more, empty, account, no_account]


def questions(world: World):
    last = world.count("SELECT count(*) FROM checkpoints WHERE block IS NOT NULL", "ledger.db") - 1
    meta, root = checkpoint_slots(1, 0, last)
    return {"generation": generation_slot(1), "count": count_slot(1, 0), "size and block": meta, "root": root}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("question", ["generation", "count", "size and block", "root"])
def test_a_proof_that_does_not_hold(world, node, question, lie):
    node.lie = proof_of(questions(world)[question], lie)
    assert "the chain's node is not believed: storage: proof: " in refused(world)


def test_values_beside_the_proof_are_not_looked_at(world, node):
    def lie(result, index):
        result["storageProof"][index]["value"] = "0x7"
        result |= {"storageHash": "0x" + "11" * 32, "codeHash": "0x" + "11" * 32}

    node.lie = proof_of(questions(world)["generation"], lie)
    assert world.ok("verify", "--json").json["findings"] == []


def test_the_proof_of_another_slot_account_or_block(world, node, network):
    slot = questions(world)["count"]

    def another(params):
        def lie(method, asked, answer):
            mine = method == "eth_getProof" and [int(key, 16) for key in asked[1]] == [slot]
            return node.ask(method, params(asked)) if mine else answer

        return lie

    old = node.ask("eth_getBlockByNumber", ["0x5", False])["result"]
    for params in (
        lambda asked: [asked[0], [hex(slot + 1)], asked[2]],
        lambda asked: ["0x" + network.consortium.hex(), *asked[1:]],
        lambda asked: [*asked[:2], {"blockHash": old["hash"]}],
    ):
        node.lie = another(params)
        assert "not believed: storage: proof: " in refused(world)


def test_a_contract_of_another_code(world, node, network):
    """The home's own network file is bound into its settings; one from elsewhere may expect another code."""
    for name in ("journals_code", "consortium_code"):
        path = world.folder / "other.json"
        path.write_bytes(encode_network(replace(network, **{name: b"\1" * 32})))
        assert "another chain than the network file's" in refused(world, "--network", path)


def test_a_lie_about_the_checkpoint_of_intact_at_after_the_audit(tmp_path):
    world = new_world(tmp_path / "world")
    world.change()
    world.ok("seal")
    with closing(sqlite3.connect(world.database)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='visit'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE visit SET note='behind the triggers' WHERE visit_id=3")
    with behind_a_node(world) as node:
        outcome = world.run("verify", "--json")
        (altered,) = [finding for finding in outcome.json["findings"] if finding["kind"] == FindingKind.ALTERED]
        assert outcome.code == 1 and altered["intact_at"] is not None
        # Asked the first time for the head, the second time for the checkpoint that confirms `intact_at`.
        node.lie = proof_of(count_slot(1, 0), flip_leaf, turn=1)
        assert "not believed: storage: " in world.refused("verify")


def test_lies_about_the_keys_that_sign_receipts(world, node):
    receipt = sorted((world.home / "receipts").iterdir())[0]
    assert world.ok("verify", "--since", receipt, "--json").json["externally_anchored"] is True
    for slot in (key_count_slot(1, 1), key_slots(1, 1, 0).value):
        for lie in LIES:
            node.lie = proof_of(slot, lie)
            assert "the chain's node is not believed: institution: proof: " in refused(world, "--since", receipt)


def test_a_lie_about_the_block_of_a_receipt_shows_no_rolled_back_chain_as_intact(tmp_path):
    """Home and chain are put back and go on differently; the node still shows the receipt's old block, which is real."""
    world = new_world(tmp_path / "world")
    kept = world.save()
    world.change([("UPDATE visit SET note='as the receipt knows' WHERE visit_id=1",)])
    world.ok("seal", "--receipt", tmp_path / "receipt.json")
    said = json.loads((tmp_path / "receipt.json").read_bytes())
    with served(world.chain, tmp_path / "first.log"), lying(read_endpoint(world.chain)["url"]) as old:
        block = old.ask("eth_getBlockByNumber", [hex(said["block"]), False])["result"]
    world.put_back(kept)
    for number in range(3):
        world.change([(f"UPDATE visit SET note='otherwise {number}' WHERE visit_id=1",)])
        world.ok("seal")
    with behind_a_node(world) as node:
        node.lie = lambda method, params, answer: answer | {"result": block} if params[:1] == [hex(said["block"])] else answer
        outcome = world.run("verify", "--since", tmp_path / "receipt.json", "--json")
        assert outcome.code == 1
        details = [finding["detail"] for finding in outcome.json["findings"] if finding["kind"] == FindingKind.ROLLED_BACK]
        assert any("no longer has the receipt's checkpoint" in detail for detail in details), details


def test_home_rolled_back_and_a_node_that_hides_the_chains_head(tmp_path):
    world = new_world(tmp_path / "world", mirror=False)
    shutil.copytree(world.home, tmp_path / "old")
    world.change()
    world.ok("seal")
    shutil.rmtree(world.home)
    (tmp_path / "old").rename(world.home)
    with behind_a_node(world) as node:
        node.lie = lambda method, params, answer: answer | {"result": "0x" + "00" * 160} if method == "eth_call" else answer
        outcome = world.run("verify", "--json")
        assert outcome.code == 1 and "rolled_back" in {finding["kind"] for finding in outcome.json["findings"]}
        for lie in LIES:
            node.lie = proof_of(count_slot(1, 0), lie)
            refused(world)


# Nodes that cannot prove


def test_a_node_without_eth_getproof_says_what_to_do(world, node):
    missing = {"jsonrpc": "2.0", "error": {"code": -32601, "message": "the method eth_getProof does not exist"}}
    for answer in (missing, {"result": None}, {"result": {"accountProof": []}}, {"result": {"accountProof": [], "storageProof": []}},
                   {"result": {"accountProof": ["zz"], "storageProof": [{"proof": []}]}}, {"result": [7]}):  # fmt: skip
        node.lie = lambda method, params, true, answer=answer: answer if method == "eth_getProof" else true
        assert "gives no storage proof: use one that serves eth_getProof" in refused(world)


def test_a_node_with_another_engine_says_what_to_do(world, node, network):
    for change in ({"mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"}, {"difficulty": "0x0"}):
        node.lie = latest_block(lambda block, change=change: sealed_again(block | change))
        assert "engine: the chain's node is not one of a Clique chain, as the network file says it is" in refused(world)
    other = world.folder / "qbft.json"
    other.write_text((world.home / "network.json").read_text().replace('"clique"', '"ibft"'))
    assert "a chain with the engine ibft: only clique and qbft chains can be verified" in refused(world, "--network", other)
    other.write_text((world.home / "network.json").read_text().replace('"clique"', '"qbft"'))
    assert "this home uses another chain than the network file's" in refused(world, "--network", other)


# Other commands


def test_seal_makes_entries_and_publishes_nothing_while_the_node_is_not_believed(tmp_path):
    world = new_world(tmp_path / "world")
    with behind_a_node(world) as node:
        node.lie = proof_of(count_slot(1, 0), flip_leaf)
        world.change([("UPDATE visit SET note='while it lies' WHERE visit_id=1",)])
        line = world.refused("seal")
        assert "not believed: storage: " in line and "1 entries were added and wait for their anchor" in line
        assert "eth_sendRawTransaction" not in node.asked
        node.lie = truth
        world.ok("seal")
        assert world.ok("verify", "--json").json["findings"] == []


def test_a_publication_that_is_only_said_to_have_happened_is_not_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 2.0)
    world = new_world(tmp_path / "world")
    with behind_a_node(world) as node:
        said = node.ask("eth_getBlockByNumber", ["latest", False])["result"]
        digest = said["transactions"][0]

        def lie(method, params, answer):
            if method == "eth_sendRawTransaction":
                return answer
            if method == "eth_getTransactionReceipt":
                return node.ask(method, [digest])
            return latest_block(lambda block: said)(method, params, answer)

        node.lie = lie
        world.change([("UPDATE visit SET note='swallowed' WHERE visit_id=1",)])
        world.refused("seal")
        assert world.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 1
        node.lie = truth
        world.ok("seal")
        assert world.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 0
        assert world.ok("verify", "--json").json["findings"] == []


def test_a_home_that_is_shown_an_old_block_forgets_nothing_of_what_it_saw_anchored(tmp_path):
    world = new_world(tmp_path / "world")
    with behind_a_node(world) as node:
        old = node.ask("eth_getBlockByNumber", ["latest", False])["result"]
        world.change([("UPDATE visit SET note='anchored' WHERE visit_id=1",)])
        world.ok("seal")
        noted = world.rows("SELECT size, block FROM checkpoints", "ledger.db")
        mined = node.ask("eth_getBlockByNumber", ["latest", False])["result"]["transactions"][0]
        node.lie = latest_block(lambda _block: old)
        assert "the contract refused" in world.refused("seal")

        def says_it_is_mined(method, params, answer):
            if method == "eth_sendRawTransaction":
                return {"jsonrpc": "2.0", "result": mined}
            if method == "eth_getTransactionReceipt":
                return node.ask(method, [mined])
            return latest_block(lambda _block: old)(method, params, answer)

        node.lie = says_it_is_mined
        assert "lacks what it says was mined" in world.refused("seal")
        assert world.rows("SELECT size, block FROM checkpoints WHERE block IS NOT NULL", "ledger.db") == noted
        assert world.run("verify").code == 1
        node.lie = truth
        world.ok("seal")
        assert world.ok("verify", "--json").json["findings"] == []


def test_restore_takes_nothing_from_a_node_that_is_not_believed(tmp_path):
    world = new_world(tmp_path / "world")
    with behind_a_node(world) as node:
        shutil.rmtree(world.home)
        restore = ("restore", "--kit", world.kit, "--chain", node.url)
        node.lie = proof_of(count_slot(1, 0), flip_leaf)
        assert "not believed: storage: " in world.refused(*restore)
        node.lie = truth
        world.ok(*restore)
        assert world.ok("verify", "--json").json["findings"] == []


def test_evidence_is_not_made_of_lies(world, node):
    out = world.folder / "evidence.json"
    node.lie = proof_of(institution_slots(1).name, no_account)
    line = world.refused("evidence export", "visit", "1", "-o", out)
    assert "no evidence can be made of what the chain's node gives, institution: " in line and not out.exists()


def test_joining_through_a_node_that_lies_makes_no_member(tmp_path):
    first = new_world(tmp_path / "first")
    with behind_a_node(first) as node:
        second = World(tmp_path / "second", name="Second Hospital")
        (tmp_path / "second").mkdir()
        init = ("init", "--name", "Second", "--kit", second.kit, "--chain", node.url, "--network", first.home / "network.json")
        node.lie = latest_block(lambda block: sealed_again(block, STRANGER))
        assert "which is not a sealer" in second.refused(*init)
        node.lie = _institution_one
        assert "institution 1 is not this one" in second.refused(*init)
        assert second.setting("institution") == 0
        node.lie = truth
        second.ok(*init)
        assert second.setting("institution") == 2


def _institution_one(method, params, answer):
    """Every account is said to be institution 1."""
    return answer | {"result": "0x" + (1).to_bytes(32, "big").hex()} if method == "eth_call" else answer


# The root of trust


def test_the_root_of_trust_is_bound_into_the_settings(tmp_path):
    world = new_world(tmp_path / "world")
    path, text = world.home / "home.json", (world.home / "home.json").read_text()
    network = read_network(world.home / "network.json")
    assert world.setting("network") == encode_network(network).decode()
    forged = encode_network(replace(network, sealers=(clique.address_of(STRANGER),))).decode()
    path.write_text(json.dumps(json.loads(text) | {"network": forged}))
    assert "was changed by hand" in world.refused("verify")
    path.write_text(text)
    # The file beside it is a copy to hand out: the home does not read it.
    (world.home / "network.json").write_text(forged)
    assert world.ok("verify", "--json").json["findings"] == []


def test_members_that_join_later_leave_the_root_of_trust_as_it_is(tmp_path):
    first = new_world(tmp_path / "first")
    (tmp_path / "second").mkdir()
    second = World(tmp_path / "second", name="Second Hospital")
    second.chain, second.more = first.chain, ("--chain", first.chain)
    second.init().attach()
    second.ok("seal")
    assert first.setting("network") == second.setting("network")
    for world in (first, second):
        world.change([("UPDATE visit SET note='both go on' WHERE visit_id=1",)])
        world.ok("seal")
        assert world.ok("verify", "--json").json["findings"] == []


def test_a_given_network_file_is_used_in_place_of_the_homes(world, network):
    other = world.folder / "given.json"
    other.write_bytes(encode_network(replace(network, sealers=(clique.address_of(STRANGER),))))
    assert "which is not a sealer" in refused(world, "--network", other)
    other.write_bytes(encode_network(network))
    world.ok("verify", "--network", other)
    other.write_bytes(encode_network(replace(network, block_hash=bytes(32))))
    assert "another chain than the network file's" in refused(world, "--network", other)
    other.write_bytes(encode_network(replace(network, chain_id=network.chain_id + 1)))
    assert "another chain than the network file's" in refused(world, "--network", other)


def test_a_home_takes_the_network_file_of_its_consortium_and_no_other(tmp_path):
    world = new_world(tmp_path / "world")
    network = read_network(world.home / "network.json")
    with behind_a_node(world) as node:
        latest = header.from_rpc(node.ask("eth_getBlockByNumber", ["latest", False])["result"])
        newer, path = replace(network, block=latest.number, block_hash=header.block_hash(latest)), tmp_path / "new.json"
        for wrong, words in (
            (replace(newer, sealers=(clique.address_of(STRANGER),)), "which is not a sealer"),
            (replace(newer, journals=bytes(20)), "another chain than the network file's"),
            (replace(newer, block_hash=bytes(32)), "the header is not the trusted block"),
        ):
            path.write_bytes(encode_network(wrong))
            assert words in world.refused("node trust", path)
            assert world.setting("network") == encode_network(network).decode()
        path.write_bytes(encode_network(newer))
        assert f"block {latest.number} and 1 sealers" in world.ok("node trust", path).out
        assert world.setting("network") == encode_network(newer).decode() == (world.home / "network.json").read_text()
        assert world.ok("verify", "--json").json["findings"] == []
        path.write_bytes(encode_network(network))
        assert f"the home trusts {latest.number} already" in world.refused("node trust", path)


# Cost


def test_the_number_of_requests_does_not_grow_with_the_journal(tmp_path):
    world = new_world(tmp_path / "world")

    def cost() -> int:
        with behind_a_node(world) as node:
            assert world.ok("verify", "--json").json["findings"] == []
        world.set("chain", str(world.chain))
        return node.asked.total()

    before = cost()
    for number in range(12):
        world.change([(f"UPDATE visit SET note='{number}' WHERE visit_id=1",)])
        world.ok("seal")
    assert cost() == before <= 10
