"""The links from a trusted sealer to a word in a contract's storage: header, seal, account, slot.

`anchoring.evidence` follows them in a file, `anchoring.chain_state` in the answers of a node. Every function raises LinkBroken with
the name of the link that it was asked to follow, and nothing else. Pure: needs RLP, keccak and secp256k1 only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from anchoring.errors import LinkBroken
from anchoring.network import Network
from contracts.layout import decode_meta
from node import clique, header, mpt
from node.errors import NodeError

T = TypeVar("T")


def read_header(raw: bytes) -> header.Header:
    """The header that these bytes encode. Link: header."""
    return checked("header", lambda: header.decode(raw))


def verify_sealed(head: header.Header, network: Network) -> bytes:
    """The 20-byte sealer of a header that a sealer of the network file sealed, the trusted block or later. Links: network, seal."""
    if head.number < network.block:
        raise LinkBroken("network", f"block {head.number} is older than the trusted block {network.block}: take a later one")
    if head.number == network.block and header.block_hash(head) != network.block_hash:
        raise LinkBroken("network", "the header is not the trusted block")
    return checked("seal", lambda: clique.verify_seal(head, network.sealers, epoch=network.epoch))


def journals_storage(head: header.Header, network: Network, proof: Sequence[bytes]) -> bytes:
    """The 32-byte storage root of the journals contract after a block. Link: storage."""
    account = checked("storage", lambda: mpt.verify_account(head.state_root, network.journals, proof))
    if account.code_hash != network.journals_code:
        raise LinkBroken("storage", "there is another contract at the address of the journals")
    return account.storage_root


def consortium_storage(head: header.Header, network: Network, proof: Sequence[bytes]) -> bytes:
    """The 32-byte storage root of the consortium contract after a block. Link: institution."""
    account = checked("institution", lambda: mpt.verify_account(head.state_root, network.consortium, proof))
    if account.code_hash != network.consortium_code:
        raise LinkBroken("institution", "there is another contract at the address of the consortium")
    return account.storage_root


def read_word(link: str, storage_root: bytes, slot: int, proof: Sequence[bytes]) -> int:
    """The word in a slot under a storage root, 0 where nothing is stored."""
    return checked(link, lambda: mpt.verify_storage(storage_root, slot.to_bytes(32, "big"), proof))


def read_checkpoint(meta: int, root: int) -> tuple[int, bytes, int]:
    """Size in entries, 32-byte root and block of a checkpoint, out of its two words. Link: checkpoint, where there is none."""
    size, block = decode_meta(meta)
    if not size:
        raise LinkBroken("checkpoint", "the chain holds no checkpoint under this number")
    return size, root.to_bytes(32, "big"), block


def checked(link: str, act: Callable[[], T]) -> T:
    """What `act` returns; what it refuses breaks the link."""
    try:
        return act()
    except NodeError as error:
        raise LinkBroken(link, str(error)) from error
