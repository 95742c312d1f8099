"""The contracts' state at the chain's latest block. Nothing that the node says of it is believed.

A sealer of the network file sealed the block, and the block's state root proves every word. What a node can still do is to show an
older block; what it shows then was true once. Cost: one request for the block, a few for each question, and logarithmically many
to find a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from web3 import Web3
from web3.types import RPCEndpoint

from anchoring import proofs
from anchoring.errors import AnchoringError, LinkBroken, NodeNotBelieved
from anchoring.network import Network
from contracts.actions import KeyKind
from contracts.calls import ChainCheckpoint, ChainHead
from contracts.layout import (
    checkpoint_slots,
    count_slot,
    generation_slot,
    institution_count_slot,
    institution_slots,
    key_count_slot,
    key_slots,
)
from node import header
from node.confirmation import Headers
from node.engines import ENGINES
from node.errors import HeaderInvalid, SealInvalid, Unconfirmed

_LATER = 16  # blocks more than there are sealers, that may pass before one counts
_SLOTS = 64  # proved in one request, of which nodes take up to 1024


class ChainState:
    """What the contracts hold of one institution, at the block of `header`.

    Every question raises NodeNotBelieved where the answer is not proved, naming the first broken link, or where there is none.
    """

    def __init__(self, w3: Web3, network: Network, institution: int, confirmed: header.Header | None = None) -> None:
        """At the latest block, or at a `confirmed` one."""
        self._w3, self._network, self._institution = w3, network, institution
        self._known: dict[tuple[int, int], ChainCheckpoint] = {}
        self.header = confirmed or raw_header(w3, None, network.engine)
        if confirmed is None:
            with _proved():
                proofs.verify_sealed(self.header, network)

    def generation(self) -> int:
        """The institution's current generation, from 0."""
        (generation,) = self._journals([generation_slot(self._institution)])
        return generation

    def head(self) -> ChainHead:
        """Where the institution's journal stands."""
        generation = self.generation()
        (count,) = self.counts([generation])
        return ChainHead(self._institution, generation, count, self.checkpoint(generation, count - 1) if count else None)

    def counts(self, generations: Sequence[int]) -> list[int]:
        """How many checkpoints each of these generations has."""
        return self._journals([count_slot(self._institution, generation) for generation in generations])

    def checkpoint(self, generation: int, index: int) -> ChainCheckpoint:
        """One checkpoint of a generation, counted from 0."""
        return self.checkpoints([(generation, index)])[0]

    def checkpoints(self, places: Sequence[tuple[int, int]]) -> list[ChainCheckpoint]:
        """The checkpoints at these places, each a generation and an index from 0."""
        wanted = [place for place in dict.fromkeys(places) if place not in self._known]
        words = self._journals([slot for place in wanted for slot in checkpoint_slots(self._institution, *place)])
        with _proved():
            for (generation, index), meta, word in zip(wanted, words[::2], words[1::2], strict=True):
                size, root, block = proofs.read_checkpoint(meta, word)
                self._known[generation, index] = ChainCheckpoint(self._institution, generation, index, size, root, block)
        return [self._known[place] for place in places]

    def find(self, generation: int, size: int) -> ChainCheckpoint | None:
        """The checkpoint of exactly `size` entries, found in logarithmically many requests."""
        low, (high,) = 0, self.counts([generation])
        while low < high:
            middle = (low + high) // 2
            found = self.checkpoint(generation, middle)
            if found.size == size:
                return found
            low, high = (middle + 1, high) if found.size < size else (low, middle)
        return None

    def sealing_accounts(self) -> set[bytes]:
        """The accounts, 20 bytes each, of every sealing key that the institution has or had."""
        kind = KeyKind.SEALING
        (count,) = self._consortium([key_count_slot(self._institution, kind)])
        slots = [key_slots(self._institution, kind, index).value for index in range(count)]
        return {word.to_bytes(32, "big")[12:] for word in self._consortium(slots)}

    def is_named(self, name: bytes) -> bool:
        """Whether the consortium knows the institution under this commitment to a name, 32 bytes."""
        (word,) = self._consortium([institution_slots(self._institution).name])
        return word.to_bytes(32, "big") == name

    def head_at(self, block: int) -> ChainHead:
        """Where the journal stood at an earlier block, found in logarithmically many requests: of a generation with nothing in it yet,
        nothing is said."""
        for generation in range(self.generation(), -1, -1):
            low, (high,) = 0, self.counts([generation])
            middle = high - 1  # nearly always it is the last one
            while low < high:
                low, high = (middle + 1, high) if self.checkpoint(generation, middle).block <= block else (low, middle)
                middle = (low + high) // 2
            if low:
                return ChainHead(self._institution, generation, low, self.checkpoint(generation, low - 1))
        return ChainHead(self._institution, 0, 0, None)

    def terms(self) -> dict[int, tuple[int, int]]:
        """Of every institution ever admitted, by its id: from which block it was a member, and until which; 0 is open."""
        (count,) = self._consortium([institution_count_slot()])
        slots = [institution_slots(number) for number in range(1, count + 1)]
        words = self._consortium([slot for each in slots for slot in (each.from_block, each.until_block)])
        return dict(enumerate(zip(words[::2], words[1::2], strict=True), 1))

    def proof(self, address: bytes, slots: Sequence[int]) -> list[list[bytes]]:
        """The trie nodes that prove an account and then each of its slots at this block, as the node gives them."""
        block = {"blockHash": "0x" + ENGINES[self._network.engine].block_hash(self.header).hex()}
        asked = ["0x" + address.hex(), [f"0x{slot:064x}" for slot in slots], block]
        answer = self._w3.provider.make_request(RPCEndpoint("eth_getProof"), asked)
        try:
            listed = [answer["result"]["accountProof"], *(slot["proof"] for slot in answer["result"]["storageProof"])]
            proof = [[bytes.fromhex(node.removeprefix("0x")) for node in nodes] for nodes in listed]
            if len(proof) != 1 + len(slots):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NodeNotBelieved(
                "the chain's node gives no storage proof: use one that serves eth_getProof for its latest blocks"
            ) from error
        return proof

    def _journals(self, slots: Sequence[int]) -> list[int]:
        words: list[int] = []
        for part, (account, *nodes) in self._parts(self._network.journals, slots):
            with _proved():
                root = proofs.journals_storage(self.header, self._network, account)
                words += [proofs.read_word("storage", root, slot, proof) for slot, proof in zip(part, nodes, strict=True)]
        return words

    def _consortium(self, slots: Sequence[int]) -> list[int]:
        words: list[int] = []
        for part, (account, *nodes) in self._parts(self._network.consortium, slots):
            with _proved():
                root = proofs.consortium_storage(self.header, self._network, account)
                words += [proofs.read_word("institution", root, slot, proof) for slot, proof in zip(part, nodes, strict=True)]
        return words

    def _parts(self, address: bytes, slots: Sequence[int]) -> Iterator[tuple[Sequence[int], list[list[bytes]]]]:
        for first in range(0, len(slots), _SLOTS):
            part = slots[first : first + _SLOTS]
            yield part, self.proof(address, part)


def collected(w3: Web3, network: Network) -> Headers:
    """The newest block that counts by now, with the headers that make it count, as the node gives them: `proofs.confirm` says whether so.

    Unconfirmed where none does; NodeNotBelieved where the node's headers are not sealed as they must be.
    """
    return _collected(w3, network, raw_header(w3, None, network.engine))


def _collected(w3: Web3, network: Network, latest: header.Header) -> Headers:
    engine = network.engine
    try:
        return ENGINES[engine].collect(latest, lambda number: raw_header(w3, number, engine), network.trust)
    except SealInvalid as error:
        raise NodeNotBelieved(f"the chain's node is not believed: seal: {error}; use another node, or a newer network file") from error


def confirmed(w3: Web3, network: Network) -> header.Header:
    """The newest block that counts by now, proved from the network file. Errors as of `collected`."""
    headers = collected(w3, network)
    with _proved():
        proofs.confirm(headers, network)
    return headers.header


def confirmed_at(w3: Web3, network: Network, block: int) -> header.Header:
    """A block that once was the newest that counts, proved from the network file. AnchoringError where it was not; NodeNotBelieved."""
    engine, newest = network.engine, raw_header(w3, None, network.engine).number
    for tip in range(block, min(newest, block + 2 * len(network.sealers) + _LATER) + 1):
        try:
            headers = _collected(w3, network, raw_header(w3, tip, engine))
        except Unconfirmed:
            continue
        if headers.header.number == block:
            with _proved():
                proofs.confirm(headers, network)
            return headers.header
    raise AnchoringError(f"block {block} is not there, or never was the newest that counted: give the number that a report names")


def raw_header(w3: Web3, number: int | None, engine: str) -> header.Header:
    """The header of a block, of the latest without a number, from the node's own JSON; the hash that the node gives is the header's.

    NodeNotBelieved where there is none, or none of this engine: its seal is not checked here.
    """
    answer = w3.provider.make_request(RPCEndpoint("eth_getBlockByNumber"), ["latest" if number is None else hex(number), False])
    found, chain = answer.get("result"), ENGINES[engine]
    if not isinstance(found, dict) and number is None:
        raise NodeNotBelieved("the chain's node does not give its latest block: look after the node, or use another one")
    if not isinstance(found, dict):
        raise NodeNotBelieved(f"the chain's node does not give block {number}: look after the node, or use another one")
    with _proved():
        try:
            made = header.from_rpc(found)
        except HeaderInvalid as error:
            raise LinkBroken("header", str(error)) from error
    if not chain.is_of_engine(made):
        raise NodeNotBelieved(
            f"engine: the chain's node is not one of a {chain.NAME} chain, as the network file says it is: "
            "connect to a node of the consortium"
        )
    with _proved():
        try:
            expected = "0x" + chain.block_hash(made).hex()
        except SealInvalid as error:
            raise LinkBroken("header", str(error)) from error
        if found.get("hash") != expected:
            raise LinkBroken("header", f"its hash is not that of block {made.number}")
    return made


@contextmanager
def _proved() -> Iterator[None]:
    """Whatever link breaks in an answer, the node is not believed."""
    try:
        yield
    except LinkBroken as error:
        raise NodeNotBelieved(
            f"the chain's node is not believed: {error}; use another node, or, where the consortium changed its sealers, "
            "take its new network file with careseal node trust"
        ) from error
