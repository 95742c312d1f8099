"""A node's pool that forgets, holds back, refuses and has gaps: every checkpoint ends on the chain once, and no wait is for ever."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
import rlp
from eth_account import Account
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from lying_node import lying
from world import World, served

import anchoring.sender
from anchoring.link import open_link
from node.server import read_endpoint

CHANGE = [("UPDATE visit SET note='while the pool is faulty' WHERE visit_id=1",)]


class FaultyPool:
    """The pool of a node, as `instead` of a LyingNode: it forgets the next `forgets` transactions, and keeps others waiting while `holds`.

    `refusal` is said to every transaction, `ahead` is added to what the node counts as pending.
    """

    def __init__(self, node) -> None:
        self.node, self.sent, self.waiting = node, [], {}
        self.forgets, self.holds, self.refusal, self.ahead = 0, False, None, 0
        node.instead = self.instead

    def instead(self, method, params):
        if method == "eth_getTransactionCount" and params[1] == "pending" and self.ahead:
            answer = self.node.ask(method, params)
            return answer | {"result": hex(int(answer["result"], 16) + self.ahead)}
        return self._take(params[0]) if method == "eth_sendRawTransaction" else None

    def _take(self, raw: str):
        self.sent.append(raw)
        number, accepted = number_of(raw), {"result": "0x" + keccak(bytes.fromhex(raw[2:])).hex()}
        if self.refusal:
            return error(self.refusal)
        if self.forgets:
            self.forgets -= 1
            return accepted
        if number in self.waiting:
            return error("already known" if self.waiting[number] == raw else "replacement transaction underpriced")
        self.waiting[number] = raw
        if not self.holds:
            self.release()
        return accepted

    def release(self) -> None:
        """Let the node mine what waits and fits."""
        for number in sorted(self.waiting):
            if "error" not in self.node.ask("eth_sendRawTransaction", [self.waiting[number]]):
                del self.waiting[number]


def error(message: str) -> dict:
    return {"error": {"code": -32000, "message": message}}


def number_of(raw: str) -> int:
    return int.from_bytes(rlp.decode(bytes.fromhex(raw[2:]))[0], "big")


@pytest.fixture
def pool(sealed: World, monkeypatch):
    """The pool of the node that the sealed world asks, with a change that waits to be sealed."""
    monkeypatch.setattr(anchoring.sender, "_AGAIN_SECONDS", 0.2)
    with served(sealed.chain, sealed.folder / "node.log"), lying(read_endpoint(sealed.chain)["url"]) as node:
        sealed.set("chain", node.url)
        sealed.change(CHANGE)
        yield FaultyPool(node)
    sealed.set("chain", str(sealed.chain))
    sealed.settle()


@contextmanager
def later(act, seconds: float = 1.5):
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def signed(world: World, ahead: int = 0, **other) -> str:
    """A transaction of the institution to itself, `ahead` of its next number."""
    with world.opened() as home, open_link(home.settings, home.keyring.sealing, None, time.time) as link:
        made = {"to": link.account, "value": 0, "gas": 50_000, "gasPrice": 0, "chainId": link.w3.eth.chain_id} | other
        return "0x" + Account.sign_transaction(made | {"nonce": link.nonce() + ahead}, home.keyring.sealing).raw_transaction.hex()


def test_a_transaction_that_a_node_forgets_is_sent_again_byte_for_byte(sealed, pool):
    pool.forgets = 2
    sealed.ok("seal")
    assert len(pool.sent) == 3 and len(set(pool.sent)) == 1


def test_that_is_long_before_the_wait_ends():
    assert anchoring.sender._AGAIN_SECONDS * 10 <= anchoring.sender.MINED_SECONDS


def test_a_pool_that_is_empty_after_a_restart_gets_it_again(sealed, pool):
    pool.holds = True

    def restart() -> None:
        pool.waiting.clear()
        pool.holds = False

    with later(restart):
        sealed.ok("seal")
    assert len(set(pool.sent)) == 1


def test_what_a_killed_process_sent_is_awaited(sealed, pool, monkeypatch):
    pool.holds = True
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 0.5)
    sealed.refused("seal")
    monkeypatch.undo()
    assert len(pool.waiting) == 1
    with later(pool.release):
        sealed.ok("seal")
    assert len(set(pool.sent)) == 1


def test_another_transaction_with_the_same_number_is_awaited_and_the_checkpoint_sent_after_it(sealed, pool):
    other = signed(sealed)
    pool.waiting = {number_of(other): other}
    with later(pool.release):
        sealed.ok("seal")
    assert number_of(pool.sent[0]) == number_of(other) and number_of(pool.sent[-1]) == number_of(other) + 1


def test_the_same_checkpoint_in_another_transaction_with_the_same_number_counts(sealed, pool, monkeypatch):
    pool.holds = True
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 0.5)
    sealed.refused("seal")
    monkeypatch.undo()
    fields = rlp.decode(bytes.fromhex(pool.sent[0][2:]))
    other = signed(sealed, to=to_checksum_address(fields[3]), data="0x" + fields[5].hex(), gas=310_000)
    pool.waiting = {number_of(other): other}
    with later(pool.release):
        sealed.ok("seal")
    assert {number_of(raw) for raw in pool.sent} == {number_of(other)}


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_gap_below_a_transaction_that_waits_is_filled(sealed, pool, ahead):
    future = signed(sealed, 1)
    pool.ahead, pool.waiting = ahead, {number_of(future): future}
    sealed.ok("seal")
    assert not pool.waiting and number_of(pool.sent[0]) == number_of(future) - 1


def test_a_transaction_that_is_never_mined_at_price_zero_ends_in_time_and_the_next_run_goes_on(sealed, pool, monkeypatch):
    monkeypatch.setattr(anchoring.sender, "MINED_SECONDS", 1.0)
    pool.holds = True
    begun = time.monotonic()
    grows = {"eth_blockNumber": lambda: {"result": hex(int(10 * time.monotonic()))}}
    pool.node.lie = lambda method, params, answer: answer | grows.get(method, dict)()
    line = sealed.refused("seal")
    assert "goes on, but the transaction was not mined" in line and "set the node's least gas price to 0" in line
    assert time.monotonic() - begun < 15
    assert sealed.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 1
    pool.holds = False
    pool.release()
    sealed.ok("seal")


@pytest.mark.parametrize("words", [
    "transaction underpriced: gas tip cap 0, minimum needed 1000000000", "max fee per gas less than block base fee",
    "Gas price below configured minimum gas price",
])  # fmt: skip
def test_a_node_that_refuses_price_zero_says_what_to_do(sealed, pool, words):
    pool.refusal = words
    line = sealed.refused("seal")
    assert words in line and "set the node's least gas price to 0" in line
    pool.refusal = None


def test_any_other_refusal_leaves_the_checkpoint_in_the_outbox(sealed, pool):
    pool.refusal = "txpool is full"
    assert "did not take the transaction" in (line := sealed.refused("seal")) and "gas price" not in line
    assert sealed.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 1
    pool.refusal = None


def test_a_number_that_another_process_used_for_the_same_checkpoint_is_success(sealed, pool):
    take = pool._take

    def another_was_first(raw: str):
        take(raw)
        return error("nonce too low: next nonce 9, tx nonce 8")

    pool._take = another_was_first
    sealed.ok("seal")
    assert len(pool.sent) == 1


def test_numbers_that_are_taken_again_and_again_end_in_an_error(sealed, pool):
    numbers = iter(range(100, 1000))
    pool.node.instead = lambda method, params: {"result": hex(next(numbers))} if method == "eth_getTransactionCount" else None
    assert "mined again and again" in sealed.refused("seal")
    pool.node.instead = lambda method, params: None


def test_the_next_node_gets_what_the_first_forgot_before_it_went_away(sealed, pool):
    with lying(pool.node.upstream) as first:
        sealed.set("chain", f"{first.url},{pool.node.url}")

        def forget(method, params):
            if method == "eth_sendRawTransaction":
                first.instead = gone
                return {"result": "0x" + keccak(bytes.fromhex(params[0][2:])).hex()}
            return None

        def gone(method, params):
            raise ConnectionError

        first.instead = forget
        sealed.ok("seal")
    assert len(pool.sent) == 1
