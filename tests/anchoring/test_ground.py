"""The chain's part of evidence, gathered from nodes of chains with several sealers, and with validators that were voted in and out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from evidence_world import GENERATION, INSTITUTION, NAME, PLACE, SEALERS, CliqueChain, World, qbft_header, seed

from anchoring.chain_state import confirmed
from anchoring.container import encode, plain
from anchoring.errors import AnchoringError, EvidenceInvalid, NodeNotBelieved
from anchoring.evidence import verify_evidence
from anchoring.ground import gather
from anchoring.network import Network
from anchoring.refresh import refresh_evidence
from node import header
from node.engines import ENGINES
from node.errors import Unconfirmed
from node.header import Header

WORLD = World()
STATE = WORLD.state


@dataclass
class Node:
    """Answers as a chain's node does, of the headers that it is given; the state is the same after each of them."""

    engine: str
    headers: list[Header]
    asked: list[str] = field(default_factory=list)

    @property
    def w3(self):
        return SimpleNamespace(provider=SimpleNamespace(make_request=self._answer))

    def _answer(self, method, params):
        self.asked.append(method)
        if method == "eth_getBlockByNumber":
            number = self.headers[-1].number if params[0] == "latest" else int(params[0], 16)
            return {"result": next((self._shown(made) for made in self.headers if made.number == number), None)}
        assert method == "eth_getProof"
        address, slots, _block = params
        account = bytes.fromhex(address[2:])
        proofs = [STATE.prove_slot[account](bytes.fromhex(slot[2:])) for slot in slots]
        return {"result": {"accountProof": list(map(hexed, STATE.prove_account(account))),
                           "storageProof": [{"proof": list(map(hexed, proof))} for proof in proofs]}}  # fmt: skip

    def _shown(self, made: Header):
        values = {rpc: getattr(made, name) for name, rpc in header._RPC_NAMES.items() if getattr(made, name) is not None}
        shown = {name: hex(value) if isinstance(value, int) else hexed(value) for name, value in values.items()}
        return shown | {"hash": hexed(ENGINES[self.engine].block_hash(made))}


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def evidence(node: Node, network: Network) -> bytes:
    parts, anchored = gather(node.w3, network, INSTITUTION, NAME.encode(), (GENERATION, PLACE))
    assert anchored.name == NAME
    return encode(WORLD.parts("record") | plain(parts))


def test_clique_with_three_sealers():
    chain = CliqueChain(tuple(SEALERS[:3]), STATE.state_root)
    for who in (0, 1, 2, 0, 1):
        chain.seal(SEALERS[who], state_root=STATE.state_root)
    proved = verify_evidence(evidence(Node("clique", chain.headers), chain.network()), chain.network())
    assert (proved.anchored.header_block, set(proved.anchored.sealers), proved.anchored.sealers_of) == (44, set(SEALERS[:2]), 3)
    with pytest.raises(AnchoringError, match="no evidence can be made now: no block is confirmed"):
        gather(Node("clique", chain.headers[:1]).w3, chain.network(), INSTITUTION, NAME.encode(), (GENERATION, PLACE))


def test_clique_whose_sealers_were_voted_on():
    chain = CliqueChain(tuple(SEALERS[:3]), STATE.state_root)
    for who, vote in ((0, (SEALERS[3], True)), (1, (SEALERS[3], True)), (2, None), (3, None), (0, None), (1, None)):
        chain.seal(SEALERS[who], vote, state_root=STATE.state_root)
    data = evidence(Node("clique", chain.headers), chain.network())
    proved = verify_evidence(data, chain.network())
    assert (proved.anchored.sealers_of, len(proved.anchored.sealers), proved.anchored.final) == (4, 3, False)


@pytest.mark.parametrize("moves", [0, 3])
def test_qbft_with_and_without_changes_of_the_validators(moves):
    sets = [SEALERS[at : at + 4] for at in range(moves + 1)]
    trusted = qbft_header(40, STATE.state_root, sets[0], sets[0])
    headers = [trusted]
    for number in range(41, 80):
        now = sets[min((number - 41) // 8, moves)]
        headers.append(qbft_header(number, STATE.state_root, now, now[:3], parent=seed(f"parent {number}")))
    network = WORLD.network("qbft-4")
    node = Node("qbft", headers)
    proved = verify_evidence(evidence(node, network), network)
    assert (proved.anchored.final, proved.anchored.header_block, proved.anchored.sealers_of) == (True, 79, 4)
    assert set(proved.anchored.sealers) == set(sets[-1][:3])


def test_refreshed_evidence_is_of_another_block_and_the_same_entries():
    chain = CliqueChain((SEALERS[0],), STATE.state_root)
    for _ in range(30):
        chain.seal(SEALERS[0], state_root=STATE.state_root)
    old = encode(WORLD.parts("history"))
    fresh, proved = refresh_evidence(old, Node("clique", chain.headers).w3, chain.network())
    before = verify_evidence(old, WORLD.network())
    assert (proved.subject, proved.anchored.header_block, before.anchored.header_block) == (before.subject, 70, 42)
    assert verify_evidence(fresh, chain.network()) == proved


def test_a_node_that_shows_strangers_blocks_is_not_believed():
    chain, network = CliqueChain((SEALERS[5],), STATE.state_root), WORLD.network("clique-1")
    chain.seal(SEALERS[5], state_root=STATE.state_root)
    with pytest.raises(NodeNotBelieved, match="seal: Clique: block 41 is sealed by"):
        evidence(Node("clique", chain.headers), network)
    with pytest.raises(NodeNotBelieved, match="engine: "):
        evidence(Node("qbft", [qbft_header(50, STATE.state_root, SEALERS[:1], SEALERS[:1])]), network)


def test_what_counts_is_proved_before_it_is_used():
    chain, forged = CliqueChain((SEALERS[0],), STATE.state_root), seed("another state")
    chain.seal(SEALERS[0], state_root=STATE.state_root)
    network = chain.network()
    assert confirmed(Node("clique", chain.headers).w3, network) == chain.headers[-1]
    trusted = replace(chain.headers[0], number=network.block, state_root=forged)
    with pytest.raises(NodeNotBelieved, match="network: the header is not the trusted block"):
        confirmed(Node("clique", [trusted]).w3, network)
    older = CliqueChain((SEALERS[0],), STATE.state_root, trusted=30)
    older.seal(SEALERS[0], state_root=STATE.state_root)
    with pytest.raises(NodeNotBelieved, match="network: block 31 is older than the trusted block 40"):
        confirmed(Node("clique", older.headers).w3, network)


def test_a_quorum_seals_what_counts_on_qbft():
    network, four = WORLD.network("qbft-4"), SEALERS[:4]
    genuine = [qbft_header(number, STATE.state_root, four, four[:3], parent=seed(f"parent {number}")) for number in (40, 41)]
    assert confirmed(Node("qbft", genuine).w3, network) == genuine[1]
    for seals in ([], four[:2], [four[0]] * 3):
        few = qbft_header(41, seed("another state"), four, seals, parent=seed("parent 41"))
        with pytest.raises(Unconfirmed, match="cannot be followed from the trusted block"):
            confirmed(Node("qbft", [genuine[0], few]).w3, network)
    forged = qbft_header(40, seed("another state"), four, four[:3])
    with pytest.raises(NodeNotBelieved, match="network: the header is not the trusted block"):
        confirmed(Node("qbft", [forged]).w3, network)


def test_a_checkpoint_that_the_chain_does_not_hold_is_not_refreshed():
    chain = CliqueChain((SEALERS[0],), STATE.state_root)
    chain.seal(SEALERS[0], state_root=STATE.state_root)
    for field_name, value in (("index", 9), ("generation", 1)):
        parts = WORLD.parts("record")
        parts["checkpoint"][field_name] = value
        with pytest.raises((AnchoringError, EvidenceInvalid)):
            refresh_evidence(encode(parts), Node("clique", chain.headers).w3, chain.network())
