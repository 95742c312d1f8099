"""A real geth with the same genesis re-executes and accepts an embedded chain."""

from __future__ import annotations

from assembled import BURN, CHAIN_ID, RECURSE, SEALER_KEY, SPREAD, STORE, VANISH, WITNESS, Sender, word
from geth_network import heads_after_import, needs_geth
from test_clique import ACCEPTED_HASH

from node.embedded import EmbeddedChain

pytestmark = needs_geth


def test_geth_accepts_every_block_and_reaches_the_same_head(tmp_path, clock):
    sender, other = Sender(), Sender(key=bytes.fromhex("33" * 32))
    path = tmp_path / "chain"
    with EmbeddedChain.create(path, CHAIN_ID, SEALER_KEY, clock, period=2, epoch=4, sleep=clock.sleep) as chain:
        addresses = {}
        for name, code in {"store": STORE, "witness": WITNESS, "recurse": RECURSE, "burn": BURN, "vanish": VANISH,
                           "spread": SPREAD}.items():
            raw, addresses[name] = sender.deploy(code)
            chain.submit(raw)
        chain.seal()
        listed = [{"address": "0x" + addresses["store"].hex(), "storageKeys": ["0x" + word(1).hex()]}]
        for raw in (
            sender.sign(addresses["store"], word(1) + word(7)),
            sender.sign(addresses["store"]),  # reverts
            other.sign(addresses["witness"]),
            other.sign(addresses["burn"], gas=90_000),  # runs out of gas
            sender.sign(addresses["recurse"], gas=3_000_000),
            sender.sign(addresses["store"], word(1) + word(0), type=1, accessList=listed),  # clears a slot, with a refund
            sender.sign(addresses["spread"], word(1 << 200) + word(5)),
            sender.sign(bytes(19) + b"\x02", b"hash me"),  # a precompile
            sender.sign(bytes.fromhex("77" * 20)),  # touches an empty account
            sender.sign(b"", b"\xfe", gas=100_000),  # a creation that fails
        ):
            chain.submit(raw)
        chain.seal()
        for round_ in range(8):
            chain.submit(other.sign(addresses["witness"]))
            chain.submit(sender.sign(addresses["vanish"] if round_ == 3 else addresses["store"], word(round_ % 3) + word(round_)))
            chain.seal()
        assert chain.head.number == 10
        blocks = [chain.store.block(number) for number in range(11)]
        genesis = chain.genesis
    assert blocks[1].hash.hex() == ACCEPTED_HASH

    forks = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin")
    heads = heads_after_import(tmp_path, {
        "config": {"chainId": CHAIN_ID, **{f"{fork}Block": 0 for fork in forks}, "clique": {"period": 2, "epoch": 4}},
        "timestamp": hex(genesis.timestamp),
        "extraData": "0x" + genesis.extra_data.hex(),
        "gasLimit": hex(genesis.gas_limit),
        "difficulty": "0x1",
        "alloc": {},
    }, blocks)  # fmt: skip
    assert f"0x{blocks[0].hash.hex()}0x{blocks[-1].hash.hex()}" in heads
