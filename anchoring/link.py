"""A home's link to its chain: who it is there, and what the chain has of its journal, proved from the home's root of trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.exceptions import Web3Exception

from anchoring.chain_state import ChainState, confirmed, raw_header
from anchoring.errors import AnchoringError
from anchoring.network import Network, decode_network
from anchoring.sender import Sender, first_line
from careseal import CaresealError
from contracts.artifacts import load
from contracts.calls import ChainCheckpoint, ChainHead, Consortium, Journals
from ledger.home import Settings
from ledger.journal import Checkpoint
from node.client import connect
from node.engines import ENGINES
from node.errors import Unconfirmed
from node.header import Header


class Link(Sender):
    """The chain as one institution uses it. `network` is what it trusts, `key` its sealing key, 32 bytes."""

    def __init__(self, w3: Web3, network: Network, institution: int, key: bytes) -> None:
        super().__init__(w3, key)
        self.network, self.institution = network, institution
        self.consortium = Consortium(w3, to_checksum_address(network.consortium))
        self.journals = Journals(w3, to_checksum_address(network.journals))
        self._is_trusted_chain = False

    def state(self) -> ChainState:
        """What the chain has of this institution at its latest block, proved. NodeNotBelieved where the node does not prove it."""
        return self._on_trusted_chain(ChainState(self.w3, self.network, self.institution))

    def confirmed(self) -> ChainState | None:
        """The same at the newest block that counts, None where none does yet. Errors as of `state`."""
        try:
            head = confirmed(self.w3, self.network)
        except Unconfirmed:
            return None
        return self._on_trusted_chain(ChainState(self.w3, self.network, self.institution, head))

    def _on_trusted_chain(self, state: ChainState) -> ChainState:
        if not self._is_trusted_chain:
            if self.block_hash(self.header(self.network.block)) != self.network.block_hash:
                raise AnchoringError("this home uses another chain than the network file's: nothing it says can be trusted")
            self._is_trusted_chain = True
        return state

    def head(self) -> ChainHead:
        """Where this institution's journal stands now, proved."""
        return self.state().head()

    def header(self, number: int) -> Header:
        """The header of a block as the node gives it: that it belongs to the chain is the node's word."""
        return raw_header(self.w3, number, self.network.engine)

    def block_hash(self, head: Header) -> bytes:
        """The 32-byte hash of a block of this chain."""
        return ENGINES[self.network.engine].block_hash(head)

    def check(self) -> None:
        """Raise AnchoringError unless the network file names this program's contracts, and the node says that this is its chain."""
        if (self.network.consortium_code, self.network.journals_code) != (load("Consortium").code_hash, load("Journals").code_hash):
            raise AnchoringError("the network file names other contracts than this program knows: use the version that its consortium uses")
        found = self.w3.eth.chain_id
        if found != self.network.chain_id:
            raise AnchoringError(
                f"the chain has id {found}, this home belongs to {self.network.chain_id}: check the address of the chain"
            )

    def anchored(self, checkpoint: Checkpoint, on_chain: ChainCheckpoint) -> Checkpoint:
        """The checkpoint with block, time and transaction as the chain has them."""
        head = self.header(on_chain.block)
        tx = None
        for digest in self.w3.eth.get_block(on_chain.block)["transactions"]:
            receipt = self.w3.eth.get_transaction_receipt(digest)  # type: ignore[arg-type]
            if self.journals.published(receipt) == on_chain:
                tx = Web3.to_hex(receipt["transactionHash"])
        return replace(
            checkpoint, tx=tx, block=on_chain.block, block_hash=Web3.to_hex(self.block_hash(head)), block_time=head.timestamp
        )  # fmt: skip


def trusted_network(settings: Settings) -> Network:
    """The root of trust that is bound into a home's settings."""
    return decode_network(settings.network.encode())


@contextmanager
def open_link(
    settings: Settings, key: bytes, sealer_key: Callable[[], bytes] | None, clock: Callable[[], float], network: Network | None = None
) -> Iterator[Link]:
    """Connect to the home's chain, under the home's root of trust or under another network file of the same consortium.

    Errors of any layer below come as one-line CaresealErrors; AnchoringError where the network file is of another chain.
    """
    if not settings.institution:
        raise AnchoringError("this home is no member of its consortium yet: run careseal init again, as the first time")
    mine = trusted_network(settings)
    if network is not None and consortium_of(network) != consortium_of(mine):
        raise AnchoringError("this home uses another chain than the network file's: nothing it says can be trusted")
    with connect(settings.chain, sealer_key, clock) as w3, one_line_errors():
        link = Link(w3, network or mine, settings.institution, key)
        link.check()
        yield link


def consortium_of(network: Network) -> tuple[object, ...]:
    """What all network files of one consortium have in common."""
    return network.chain_id, network.engine, network.consortium, network.consortium_code, network.journals, network.journals_code


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what web3.py raises for odd answers of a node into an AnchoringError."""
    try:
        yield
    except CaresealError:
        raise
    except Web3Exception as error:
        raise AnchoringError(f"the chain's node gives no usable answer: {first_line(error)}") from error
