"""The links from a trusted sealer to a word in a contract's storage: header, seal, account, slot.

`anchoring.evidence` follows them in a file, `anchoring.chain_state` in the answers of a node. Every function raises LinkBroken with
the name of the link that it was asked to follow, and nothing else. Pure: needs RLP, keccak and secp256k1 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from anchoring.errors import LinkBroken
from anchoring.network import Network
from contracts.layout import decode_meta
from node import header, mpt
from node.confirmation import Confirmation, Headers
from node.engines import ENGINES
from node.errors import NodeError, Unconfirmed

T = TypeVar("T")


def read_header(raw: bytes) -> header.Header:
    """The header that these bytes encode. Link: header."""
    return checked("header", lambda: header.decode(raw))


def read_chain(part: Mapping[str, Any]) -> Headers:
    """The headers in the part `chain` of a file: a block's, with those that make it count. Link: header."""
    before, after = (tuple(map(read_header, part[name])) for name in ("before", "after"))
    return Headers(before, read_header(part["header"]), after)


def chain_part(headers: Headers) -> dict[str, Any]:
    """The part `chain` of a file that holds these headers."""
    before, after = (list(map(header.encode, listed)) for listed in (headers.before, headers.after))
    return {"after": after, "before": before, "header": header.encode(headers.header)}


def verify_sealed(head: header.Header, network: Network) -> tuple[bytes, ...]:
    """Who sealed a header, 20 bytes each: sealers of the network file, enough for a block, which is the trusted one or later.

    Whether later blocks stand behind it is not asked. Links: network, seal.
    """
    _check_trusted(head, network, "take a later one")
    return checked("seal", lambda: ENGINES[network.engine].verify_sealed(head, network.sealers, network.epoch))


def confirm(headers: Headers, network: Network) -> Confirmation:
    """Why a block counts under the network file. Links: network, seal, confirmation."""
    _check_trusted(headers.header, network, "bring the evidence up to date with careseal evidence refresh")
    try:
        return checked("seal", lambda: ENGINES[network.engine].confirm(headers, network.trust))
    except LinkBroken as error:
        if isinstance(error.__cause__, Unconfirmed):
            raise LinkBroken("confirmation", error.message) from error
        raise


def hash_of(head: header.Header, network: Network) -> bytes:
    """The 32-byte hash of a block on the network's chain. Link: seal."""
    return checked("seal", lambda: ENGINES[network.engine].block_hash(head))


def _check_trusted(head: header.Header, network: Network, remedy: str) -> None:
    if head.number < network.block:
        raise LinkBroken("network", f"block {head.number} is older than the trusted block {network.block}: {remedy}")
    if head.number == network.block and hash_of(head, network) != network.block_hash:
        raise LinkBroken("network", "the header is not the trusted block")


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
