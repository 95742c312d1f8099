"""The embedded chain: what it takes into its pool, what it seals, and when."""

from __future__ import annotations

import threading

import pytest
from assembled import (
    BURN,
    CHAIN_ID,
    RECURSE,
    SEALER_KEY,
    SPREAD,
    STORE,
    Clock,
    Sender,
    assemble,
    deployer,
    word,
)
from eth_account import Account
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node import clique, execution, mpt, pool, signature, strict_rlp
from node.clique import verify_seal
from node.embedded import GAS_LIMIT, EmbeddedChain
from node.errors import (
    CallFailed,
    CallReverted,
    ChainExists,
    ChainLocked,
    ChainMissing,
    ChainUnwritable,
    ClockBehind,
    TransactionRejected,
    WrongSealer,
)
from node.execution import Call
from node.header import EMPTY_UNCLES_HASH, block_hash

SEALER = clique.address_of(SEALER_KEY)
ANYONE = bytes(20)


def message(to, data=b"", gas=GAS_LIMIT, sender=ANYONE, value=0):
    return Call(sender, to, data, value, gas)


def rejected(chain, raw, reason):
    with pytest.raises(TransactionRejected, match=reason):
        chain.submit(raw)


# opening


def test_a_chain_is_created_once_and_opened_again(directory, clock):
    with EmbeddedChain.create(directory, 42, SEALER_KEY, clock, period=3, epoch=9) as chain:
        genesis = chain.genesis
        assert genesis == chain.head and genesis.timestamp == clock.now and genesis.difficulty == 1 and chain.sealer == SEALER
    with EmbeddedChain.open(directory, SEALER_KEY, clock) as chain:
        assert (chain.chain_id, chain.period, chain.epoch, chain.genesis, chain.sealer) == (42, 3, 9, genesis, SEALER)
    with pytest.raises(ChainExists, match="already holds a chain"):
        EmbeddedChain.create(directory, 42, SEALER_KEY, clock)
    EmbeddedChain.open(directory, None, clock).close()  # and the refusal released the lock


def test_two_chains_differ_though_created_alike(tmp_path):
    hashes = set()
    for key, now in ((SEALER_KEY, 1), (SEALER_KEY, 2), (b"\5" * 32, 1)):
        with EmbeddedChain.create(tmp_path / f"{len(hashes)}", 42, key, Clock(now)) as chain:
            hashes.add(block_hash(chain.genesis))
    assert len(hashes) == 3


@pytest.mark.parametrize("settings", [{"period": 0}, {"epoch": 0}, {"chain_id": 0}, {"chain_id": 1 << 53}])
def test_impossible_settings_are_refused(directory, clock, settings):
    with pytest.raises(ValueError, match="chain id 1 to"):
        EmbeddedChain.create(directory, **{"chain_id": 1, "sealer_key": SEALER_KEY, "clock": clock, **settings})
    assert not directory.exists()


def test_a_second_writer_is_told_who_the_first_is(chain, directory, clock):
    for attempt in (EmbeddedChain.open, lambda *rest: EmbeddedChain.create(directory, 1, SEALER_KEY, clock)):
        with pytest.raises(ChainLocked, match=r"process \d+ has the chain in .* open; wait, stop it, or use its RPC"):
            attempt(directory, SEALER_KEY, clock)
    chain.close()
    chain.close()
    EmbeddedChain.open(directory, SEALER_KEY, clock).close()


def test_another_key_does_not_open_the_chain(chain, directory, clock):
    chain.close()
    for key in (b"\5" * 32,):
        with pytest.raises(WrongSealer, match=f"give that of 0x{SEALER.hex()}"):
            EmbeddedChain.open(directory, key, clock)
    with pytest.raises(WrongSealer, match="check the key file"):
        EmbeddedChain.create(directory / "other", 1, bytes(32), clock)


def test_a_directory_without_a_chain_is_said_to_have_none(tmp_path, clock):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ChainMissing, match="create one with init"):
            EmbeddedChain.open(path, None, clock)
    (tmp_path / "file").write_text("")
    with pytest.raises(ChainUnwritable, match="cannot make the directory"):
        EmbeddedChain.create(tmp_path / "file" / "chain", 1, SEALER_KEY, clock)


def test_a_reader_takes_and_seals_nothing(chain, directory, clock, sender):
    chain.close()
    with EmbeddedChain.open(directory, None, clock) as reader:
        assert not reader.can_seal
        with pytest.raises(WrongSealer, match="without the sealer's key"):
            reader.submit(sender.sign())
        with pytest.raises(WrongSealer, match="without the sealer's key"):
            reader.seal()


def test_a_closed_chain_says_that_it_is_closed(chain):
    chain.close()
    with pytest.raises(ChainMissing, match="was closed; open it again"):
        chain.store.block(0)


# sealing


def test_a_block_holds_what_was_sent_under_a_header_that_clique_accepts(chain, sender, clock):
    raw, address = sender.deploy(STORE)
    sent = [chain.submit(raw), chain.submit(sender.sign(address, word(1) + word(2)))]
    assert chain.pooled() == 2 and chain.next_nonce(sender.address) == 2
    head = chain.seal()
    assert chain.head == head and chain.pooled() == 0
    assert (head.number, head.parent_hash, head.difficulty) == (1, block_hash(chain.genesis), 2)
    assert (head.coinbase, head.mix_hash, head.nonce, head.uncles_hash) == (bytes(20), bytes(32), bytes(8), EMPTY_UNCLES_HASH)
    assert head.gas_limit == GAS_LIMIT == 30_000_000 and 0 < head.gas_used < GAS_LIMIT
    assert verify_seal(head, [SEALER]) == SEALER
    assert [chain.store.sent(item) for item in sent] == [(1, 0), (1, 1)]
    assert chain.code(address, head) == STORE and chain.storage(address, word(1), head) == 2
    assert chain.account(sender.address, head).nonce == 2
    assert chain.account(sender.address, chain.genesis) == mpt.NO_ACCOUNT
    chain.check()


def test_without_transactions_there_is_no_block(chain):
    assert chain.seal() is None and chain.head.number == 0


def test_reverted_and_failing_transactions_are_sealed_with_status_zero(chain, sender, contract):
    burner_code, burner = sender.deploy(BURN)
    for raw in (burner_code, sender.sign(contract), sender.sign(burner, gas=50_000), sender.sign(b"", b"\xfe", gas=60_000)):
        chain.submit(raw)
    head = chain.seal()
    receipts = [strict_rlp.decode_list(raw, max_depth=4) for raw in chain.store.block(head.number).receipts]
    assert [receipt[0] for receipt in receipts] == [b"\1", b"", b"", b""]
    assert chain.account(sender.address, head).nonce == 5
    chain.check()


def test_a_block_is_full_at_its_gas_limit_and_the_rest_waits_in_order(chain, sender):
    other = Sender(key=b"\x66" * 32)
    burner_code, burner = sender.deploy(b"\xfe")  # an invalid instruction takes all gas at once
    chain.submit(burner_code)
    chain.seal()
    first = [chain.submit(sender.sign(burner, gas=14_000_000)) for _ in range(3)]
    second = chain.submit(other.sign(ANYONE, gas=21_000))
    sealed = [chain.seal().number for _ in range(2)]
    assert sealed == [2, 3] and chain.seal() is None
    assert [chain.store.sent(item) for item in (*first, second)] == [(2, 0), (2, 1), (3, 0), (2, 2)]


def test_what_became_invalid_is_refused_with_its_successors_and_the_rest_is_executed(chain, sender):
    other = Sender(key=b"\x66" * 32)
    raws = [sender.sign(nonce=5), sender.sign(nonce=6), other.sign(ANYONE)]
    decoded = [execution.BerlinTransactionBuilder.decode(raw) for raw in raws]
    around = execution.Surroundings(CHAIN_ID, 1, 1, 2, GAS_LIMIT, SEALER, lambda: ())
    outcome = execution.execute(chain.store, chain.head.state_root, around, decoded)
    assert (outcome.transactions, outcome.refused) == ((decoded[2],), (decoded[0],))


def test_what_is_refused_while_sealing_leaves_the_pool(chain, sender, monkeypatch):
    chain.submit(sender.sign())
    monkeypatch.setattr(execution, "fits", lambda *arguments: False)
    assert chain.seal() is None and chain.pooled() == 0 and chain.next_nonce(sender.address) == 0


def test_time_moves_by_a_period_and_never_runs_ahead_by_more_than_a_second(directory, sender):
    clock = Clock(1000.4)
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, clock, sleep=clock.sleep) as chain:
        stamps = []
        for _ in range(5):
            chain.submit(sender.sign(ANYONE))
            stamps.append(chain.seal().timestamp)
            assert stamps[-1] <= clock.now + 1
        assert stamps == [1001, 1002, 1003, 1004, 1005] and clock.slept == pytest.approx(3.6)
        clock.now = 2000.9
        chain.submit(sender.sign(ANYONE))
        assert chain.seal().timestamp == 2000 and clock.slept == pytest.approx(3.6)


def test_a_longer_period_is_kept(directory, clock, sender):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, clock, period=15, sleep=clock.sleep) as chain:
        for _ in range(2):
            chain.submit(sender.sign(ANYONE))
            chain.seal()
        assert chain.head.timestamp == chain.genesis.timestamp + 30 and clock.slept == 29


def test_a_clock_set_back_is_an_error_and_not_a_long_wait(chain, clock, sender):
    clock.now -= 3600
    chain.submit(sender.sign(ANYONE))
    with pytest.raises(ClockBehind, match="the clock is 3600 s behind the last block"):
        chain.seal()
    assert clock.slept == 0 and chain.pooled() == 1
    clock.now += 3599
    assert chain.seal().number == 1


def test_epoch_blocks_list_the_sealer(directory, clock, sender):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, clock, epoch=3, sleep=clock.sleep) as chain:
        for number in range(1, 8):
            chain.submit(sender.sign(ANYONE))
            listed = clique.parse_extra(chain.seal().extra_data).signers
            assert listed == ((SEALER,) if number % 3 == 0 else ())
        chain.check()


def test_transactions_may_arrive_while_a_block_is_sealed(chain):
    senders = [Sender(key=bytes([n]) * 32) for n in range(1, 5)]

    def send(sender):
        for _ in range(15):
            chain.submit(sender.sign(ANYONE))

    threads = [threading.Thread(target=send, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or chain.pooled():
        chain.seal()
    assert [chain.account(sender.address, chain.head).nonce for sender in senders] == [15] * 4
    chain.check()


# the pool


def test_nonces_come_one_after_the_other(chain, sender):
    rejected(chain, sender.sign(nonce=1), "nonce too high: next nonce 0, tx nonce 1")
    raw = sender.sign(nonce=0)
    chain.submit(raw)
    rejected(chain, raw, "already known")
    rejected(chain, sender.sign(nonce=0, gas=90_000), "replacement transaction underpriced")
    rejected(chain, sender.sign(nonce=2), "nonce too high: next nonce 1, tx nonce 2")
    chain.seal()
    rejected(chain, raw, "nonce too low: next nonce 1, tx nonce 0")
    chain.forget()
    chain.submit(sender.sign(nonce=1))


@pytest.mark.parametrize(("overrides", "reason"), [
    ({"chainId": 1}, f"invalid chain id for signer: have 1, want {CHAIN_ID}"),
    ({"gas": 20_999}, "intrinsic gas too low: have 20999, want 21000"),
    ({"gas": 30_000_001}, "exceeds block gas limit"),
    ({"gasPrice": 1}, "insufficient funds.*use gas price 0 and value 0"),
    ({"value": 1}, "insufficient funds"),
    ({"data": bytes(131_072)}, "has 1 to 131072 bytes"),
])
def test_transactions_are_refused_with_a_reason(chain, sender, overrides, reason):
    rejected(chain, sender.sign(ANYONE, **overrides), reason)
    assert chain.pooled() == 0


def test_only_legacy_and_access_list_transactions_are_taken(chain, sender):
    fields = {"nonce": 0, "gas": 90_000, "value": 0, "data": b"", "to": "0x" + "00" * 20, "chainId": CHAIN_ID}
    dynamic = Account.sign_transaction({**fields, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "type": 2}, sender.key)
    rejected(chain, bytes(dynamic.raw_transaction), "transaction type not supported")
    listed = Account.sign_transaction({**fields, "gasPrice": 0, "accessList": [], "type": 1}, sender.key)
    chain.submit(bytes(listed.raw_transaction))
    assert chain.seal().number == 1
    del fields["chainId"]
    unprotected = Account.sign_transaction({**fields, "gasPrice": 0, "nonce": 1}, sender.key)
    rejected(chain, bytes(unprotected.raw_transaction), "replay-protected|invalid chain id")


def test_signatures_have_one_form(chain, sender):
    raw = sender.sign(ANYONE)
    parts = strict_rlp.decode_list(raw)
    v, s = int.from_bytes(parts[6], "big"), int.from_bytes(parts[8], "big")
    flipped = strict_rlp.from_int(2 * (2 * CHAIN_ID + 35) + 1 - v), strict_rlp.from_int(signature.ORDER - s)
    rejected(chain, strict_rlp.encode([*parts[:6], flipped[0], parts[7], flipped[1]]), "lower half")
    rejected(chain, strict_rlp.encode([*parts[:7], b"", parts[8]]), "invalid transaction")
    rejected(chain, strict_rlp.encode([*parts[:8], b""]), "lower half")
    rejected(chain, strict_rlp.encode([*parts[:1], b"\1" * 33, *parts[2:]]), "out of range")
    rejected(chain, raw + b"\0", "invalid transaction: RLP: 1 bytes after")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"\1" + tail))
def test_arbitrary_bytes_are_refused(chain, raw):
    with pytest.raises(TransactionRejected):
        chain.submit(raw)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_transaction_is_refused_or_is_anothers(chain, data):
    sender = Sender()
    raw = bytearray(sender.sign(ANYONE, b"payload", **data.draw(st.sampled_from([{}, {"type": 1, "accessList": []}]))))
    raw[data.draw(st.integers(min_value=0, max_value=len(raw) - 1))] ^= data.draw(st.integers(min_value=1, max_value=255))
    try:
        sent = chain.submit(bytes(raw))
    except TransactionRejected:
        return
    assert chain.waiting(sent).sender != sender.address
    chain.forget()


def test_the_pool_is_bounded(chain, sender, monkeypatch):
    monkeypatch.setattr(pool, "MAX_TRANSACTIONS", 3)
    for _ in range(3):
        chain.submit(sender.sign(ANYONE))
    rejected(chain, sender.sign(ANYONE), "txpool is full: wait for the next block")
    chain.seal()
    monkeypatch.setattr(pool, "MAX_BYTES", 1000)
    sender.nonce = 3
    rejected(chain, sender.sign(ANYONE, bytes(1000)), "txpool is full")


# calls


def test_calls_see_the_block_they_are_made_at_and_change_nothing(chain, sender, contract):
    before = chain.head
    for value in (7, 8):
        chain.submit(sender.sign(contract, word(1) + word(value)))
        chain.seal()
    assert [chain.storage(contract, word(1), chain.header(number)) for number in range(4)] == [0, 0, 7, 8]
    assert chain.call(message(contract, word(1) + word(9)), before) == word(9)
    assert chain.storage(contract, word(1), chain.head) == 8
    context = assemble("NUMBER 00 MSTORE TIMESTAMP 20 MSTORE COINBASE 40 MSTORE CALLER 60 MSTORE 80 00 RETURN")
    raw, address = sender.deploy(context)
    chain.submit(raw)
    chain.seal()
    head = chain.head
    seen = chain.call(message(address, sender=b"\7" * 20), head)
    assert seen == word(head.number) + word(head.timestamp) + SEALER.rjust(32, b"\0") + (b"\7" * 20).rjust(32, b"\0")


def test_calls_fail_with_their_reason(chain, sender, contract):
    with pytest.raises(CallReverted, match="execution reverted: refused") as caught:
        chain.call(message(contract), chain.head)
    assert caught.value.data[:4].hex() == "08c379a0"
    burner_code, burner = sender.deploy(BURN)
    chain.submit(burner_code)
    chain.seal()
    with pytest.raises(CallFailed, match="out of gas"):
        chain.call(message(burner, gas=100_000), chain.head)
    with pytest.raises(CallFailed, match="intrinsic gas too low: have 5, want 21000"):
        chain.call(message(burner, gas=5), chain.head)
    with pytest.raises(CallFailed, match="insufficient funds"):
        chain.call(message(burner, value=1), chain.head)
    with pytest.raises(CallFailed, match="InvalidInstruction"):
        chain.call(message(b"", b"\xfe"), chain.head)


def test_the_estimate_of_gas_suffices_and_is_tight(chain, sender, contract):
    raw, spread = sender.deploy(SPREAD)
    chain.submit(raw)
    chain.seal()
    calls = [
        message(contract, word(3) + word(4)),
        message(spread, word(1 << 100) + word(1)),
        message(b"", deployer(STORE)),
        message(ANYONE),
    ]
    for call in calls:
        estimate = chain.estimate_gas(call, chain.head)
        chain.call(message(call.to, call.data, gas=estimate), chain.head)
        chain.submit(sender.sign(call.to, call.data, gas=estimate))
        head = chain.seal()
        receipt = strict_rlp.decode_list(chain.store.block(head.number).receipts[0], max_depth=4)
        assert receipt[0] == b"\1" and head.gas_used <= estimate <= head.gas_used * 1.1
    with pytest.raises(CallReverted):
        chain.estimate_gas(message(contract), chain.head)


def test_a_contract_may_call_itself_as_deep_as_gas_allows_in_any_thread(chain, sender):
    raw, address = sender.deploy(RECURSE)
    chain.submit(raw)
    chain.submit(sender.sign(address, gas=29_000_000))
    sealed = []
    thread = threading.Thread(target=lambda: sealed.append(chain.seal()))
    thread.start()
    thread.join()
    receipt = strict_rlp.decode_list(chain.store.block(1).receipts[1], max_depth=4)
    assert sealed[0].number == 1 and receipt[0] == b"\1"
