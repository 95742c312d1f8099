"""A chain whose file was altered: every answer is right or a typed error, and the full check finds what was altered."""

from __future__ import annotations

import random
import shutil
import sqlite3

import pytest
from assembled import CHAIN_ID, SEALER_KEY, SPREAD, STORE, Clock, Sender, word

from node.embedded import EmbeddedChain
from node.errors import ChainCorrupt, ChainError, ChainMissing, NodeError
from node.rpc import Rpc
from node.store import FILE

BLOCKS = 12


def ask(chain, method, *params):
    return Rpc(chain, lambda: None).handle({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A chain's directory, the questions to ask, and the right answers."""
    directory, clock, sender = tmp_path_factory.mktemp("damage") / "chain", Clock(), Sender()
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, clock, sleep=clock.sleep) as chain:
        contracts = []
        for code in (STORE, SPREAD):
            raw, address = sender.deploy(code)
            contracts.append(address)
            chain.submit(raw)
        chain.seal()
        for number in range(2, BLOCKS + 1):
            chain.submit(sender.sign(contracts[0], word(number % 5) + word(number)))
            chain.submit(sender.sign(contracts[1], word(number << 50) + word(number)))
            chain.seal()
        store, spread = ("0x" + address.hex() for address in contracts)
        hashes = [chain.store.block_hash(number).hex() for number in range(BLOCKS + 1)]
        questions = [("eth_getBlockByNumber", hex(number), True) for number in range(BLOCKS + 1)]
        questions += [("eth_getBlockByHash", "0x" + block_hash, False) for block_hash in hashes]
        questions += [("eth_getBlockReceipts", hex(number)) for number in range(BLOCKS + 1)]
        questions += [("eth_getProof", store, ["0x1", "0x2"], hex(number)) for number in range(1, BLOCKS + 1)]
        questions += [("eth_getStorageAt", spread, hex(number << 50), "latest") for number in range(2, BLOCKS + 1)]
        questions += [("eth_getLogs", {"fromBlock": "0x0", "address": store}), ("eth_getCode", spread), ("eth_blockNumber",)]
        questions += [("eth_call", {"to": store, "data": "0x" + (word(1) + word(2)).hex()})]
        for number in range(1, BLOCKS + 1):
            for transaction in ask(chain, "eth_getBlockByNumber", hex(number), False)["result"]["transactions"]:
                questions.append(("eth_getTransactionReceipt", transaction))
        answers = [ask(chain, *question) for question in questions]
        assert not any("error" in answer for answer in answers)
    return directory, questions, answers


def alter(path, chooser, kind):
    size = path.stat().st_size
    at = chooser.randrange(size) if chooser.random() < 0.8 else chooser.randrange(4096)
    if kind == "truncated":
        with path.open("r+b") as file:
            file.truncate(at)
        return
    content = bytearray(path.read_bytes())
    if kind == "a bit":
        content[at] ^= 1 << chooser.randrange(8)
    elif kind == "a line":
        end = min(at + chooser.randrange(1, 600), size)
        content[at:end] = chooser.randbytes(end - at)
    elif kind == "a page":
        content[at - at % 4096 : at - at % 4096 + 4096] = bytes(4096)
    elif kind == "swapped":
        other = chooser.randrange(size // 4096) * 4096
        page = at - at % 4096
        content[page : page + 4096], content[other : other + 4096] = content[other : other + 4096], content[page : page + 4096]
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["a bit", "a line", "a page", "swapped", "truncated"])
def test_after_random_damage_every_answer_is_right_or_a_typed_error(original, tmp_path, kind):
    directory, questions, answers = original
    chooser = random.Random(kind)
    found = 0
    for attempt in range(16):
        copy = tmp_path / str(attempt)
        shutil.copytree(directory, copy)
        alter(copy / FILE, chooser, kind)
        unknown = 0
        try:
            with EmbeddedChain.open(copy, SEALER_KEY, Clock(1_900_000_000)) as chain:
                for question, right in zip(questions, answers, strict=True):
                    answer = ask(chain, *question)
                    if "error" in answer:
                        assert "put back a backup" in answer["error"]["message"], answer
                        found += 1
                    elif answer["result"] is None and question[0] in ("eth_getTransactionReceipt", "eth_getBlockByHash"):
                        unknown += 1
                    else:
                        assert answer == right
                try:
                    chain.check()
                except ChainCorrupt:
                    found += 1
                else:
                    assert unknown == 0, "a damaged index is found by the check"
                    chain.submit(Sender(nonce=2 * BLOCKS).sign(bytes(20)))
                    chain.seal()
                    chain.check()
        except (ChainError, NodeError) as error:
            found += 1
            assert "\n" not in str(error) and str(copy) in str(error)
        shutil.rmtree(copy)
    assert found


@pytest.mark.parametrize("content", [b"garbage", b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 5000, bytes(range(256)) * 64])
def test_a_file_that_is_something_else_is_named(original, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(original[0], copy)
    (copy / FILE).write_bytes(content)
    with pytest.raises((ChainCorrupt, ChainMissing), match=r"put back a backup of that directory|create it again"):
        EmbeddedChain.open(copy, SEALER_KEY, Clock())


ALTERATIONS = {
    "a block in the middle is gone": ("DELETE FROM block WHERE number = 5", "block 5"),
    "the newest block is gone": (f"DELETE FROM block WHERE number = {BLOCKS}", f"block {BLOCKS} is missing"),
    "the genesis is gone": ("DELETE FROM block WHERE number = 0", "block 0 is missing"),
    "a header is another's": ("UPDATE block SET header = (SELECT header FROM block WHERE number = 4) WHERE number = 5", "block 5"),
    "receipts are another's": ("UPDATE block SET receipts = (SELECT receipts FROM block WHERE number = 4) WHERE number = 5", "block 5"),
    "a block has the wrong type": ("UPDATE block SET receipts = 'text' WHERE number = 5", "block 5"),
    "the settings are gone": ("DELETE FROM chain", "settings are missing"),
    "the chain id differs": ("UPDATE chain SET chain_id = 1", "settings contradict"),
    "the head was set back": (f"UPDATE chain SET head = {BLOCKS - 1}", "settings contradict"),
    "there are blocks above": (f"INSERT INTO block SELECT {BLOCKS + 1}, x'00', header, transactions, receipts, digest FROM block "
                               "WHERE number = 1", "blocks above the head"),
    "a transaction is not indexed": ("DELETE FROM sent WHERE number = 5 AND position = 1", "omits one of block 5"),
    "a transaction is indexed elsewhere": ("UPDATE sent SET number = 4 WHERE number = 5", "omits one of block 5"),
    "an unknown transaction is indexed": ("INSERT INTO sent VALUES (x'00', 3, 0)", "names some that no block has"),
    "a state node is altered": ("UPDATE node SET body = body || x'00' WHERE born = 5", "altered"),
    "a state node is gone": ("DELETE FROM node WHERE born = 5", "missing"),
    "a state node claims to be new": ("UPDATE node SET born = 99 WHERE born = 5", "missing at block"),
    "a table is gone": ("DROP TABLE sent", "no such table"),
    "it is of another version": ("PRAGMA user_version = 9", "not a chain of this version"),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "message"), ALTERATIONS.values(), ids=ALTERATIONS)
def test_every_alteration_of_a_row_is_found(original, tmp_path, statement, message):
    copy = tmp_path / "copy"
    shutil.copytree(original[0], copy)
    connection = sqlite3.connect(copy / FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()

    def open_and_check():
        with EmbeddedChain.open(copy, SEALER_KEY, Clock()) as chain:
            chain.check()

    with pytest.raises(ChainCorrupt, match=message) as caught:
        open_and_check()
    assert "put back a backup of that directory" in str(caught.value) and "\n" not in str(caught.value)


def test_a_block_resealed_by_another_key_is_found(original, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(original[0], copy)
    with EmbeddedChain.open(copy, SEALER_KEY, Clock(1_900_000_000)) as chain:
        chain._key = bytes.fromhex("55" * 32)
        chain.submit(Sender(nonce=2 * BLOCKS).sign(bytes(20)))
        with pytest.raises(NodeError, match="is not a sealer"):
            chain.seal()
        chain.check()


def test_the_check_reports_its_progress(original):
    with EmbeddedChain.open(original[0], None, Clock()) as chain:
        steps = []
        chain.check(lambda done, total: steps.append((done, total)))
    assert steps == [(number, BLOCKS + 1) for number in range(1, BLOCKS + 2)]
