"""A full walk over a stored chain: every byte that was ever sealed is read and checked."""

from __future__ import annotations

from collections.abc import Callable

from eth.vm.forks.london.receipts import LondonReceiptBuilder
from eth_hash.auto import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node import clique, header, mpt
from node.errors import HeaderInvalid, ProofInvalid, SealInvalid
from node.execution import ordered_root
from node.header import Header
from node.store import Block, Settings, Store
from node.strict_rlp import Item


def check(store: Store, sealer: bytes, progress: Callable[[int, int], None]) -> None:
    """Raise ChainCorrupt unless the stored chain is whole.

    That is: SQLite's structure; every block's links, seal, time, roots and gas; the index of transactions; every state node
    under its hash, with all it refers to. Transactions are not executed again.
    """
    store.structure_is_sound()
    settings = store.settings()
    parent: Header | None = None
    sent = 0
    for number in range(settings.head + 1):
        block = store.block(number)
        try:
            parent = _block(store, settings, block, parent, sealer)
            _state(store, parent)
        except (HeaderInvalid, SealInvalid, ProofInvalid, RLPException, ValidationError) as error:
            raise store.corrupt(f"block {number}: {error}") from error
        for position, transaction in enumerate(block.transactions):
            if store.sent(keccak(transaction)) != (number, position):
                raise store.corrupt(f"the index of transactions omits one of block {number}")
        sent += len(block.transactions)
        progress(number + 1, settings.head + 1)
    if store.block_hash(settings.head) != settings.head_hash or store.blocks_above(settings.head):
        raise store.corrupt("the head is not the one it had")
    if store.sent_count() != sent:
        raise store.corrupt("the index of transactions names some that no block has")


def _block(store: Store, settings: Settings, block: Block, parent: Header | None, sealer: bytes) -> Header:
    """Return the block's header after checking it against its parent and its content."""
    own = header.decode(block.header)
    receipts = [LondonReceiptBuilder.decode(receipt) for receipt in block.receipts]
    bloom = 0
    for receipt in receipts:
        bloom |= receipt.bloom
    if parent is None:
        linked = block.hash == settings.genesis
    else:
        clique.verify_seal(own, [sealer], epoch=settings.epoch)
        linked = own.parent_hash == header.block_hash(parent) and own.timestamp >= parent.timestamp + settings.period
    if not linked or own.number != block.number or store.number_of(block.hash) != block.number:
        raise store.corrupt(f"block {block.number} does not follow its parent")
    if (
        own.transactions_root != ordered_root(block.transactions)
        or own.receipts_root != ordered_root(block.receipts)
        or len(receipts) != len(block.transactions)
        or own.bloom != bloom.to_bytes(256, "big")
        or own.gas_used != (receipts[-1].gas_used if receipts else 0)
    ):
        raise store.corrupt(f"block {block.number} contradicts its roots")
    return own


def _state(store: Store, at: Header) -> None:
    """Check the nodes that block `at` was the first to store, and that all they refer to is stored.

    What an earlier block stored was checked with that block, so that memory and time follow the new nodes only.
    """
    seen: set[bytes] = set()
    ahead: list[tuple[bytes | list[Item], bool]] = [(at.state_root, True)]
    while ahead:
        reference, of_accounts = ahead.pop()
        if isinstance(reference, bytes):
            if reference == mpt.EMPTY_ROOT or reference in seen or not _is_new(store, reference, at.number):
                continue
            seen.add(reference)
            node = mpt.decode_node(_stored(store, reference))
        else:
            node = reference
        ahead.extend((child, of_accounts) for child in mpt.children(node))
        value = mpt.leaf_value(node)
        if value is None:
            continue
        if not of_accounts:
            mpt.decode_storage(value)
            continue
        account = mpt.decode_account(value)
        ahead.append((account.storage_root, False))
        if account.code_hash != mpt.EMPTY_CODE_HASH:
            _stored(store, account.code_hash)


def _is_new(store: Store, node_hash: bytes, number: int) -> bool:
    born = store.born(node_hash)
    if born is None or born > number:
        raise store.corrupt(f"state node 0x{node_hash.hex()} is missing at block {number}")
    return born == number


def _stored(store: Store, node_hash: bytes) -> bytes:
    if (body := store.stored_node(node_hash)) is None:
        raise store.corrupt(f"state node 0x{node_hash.hex()} is missing")
    return body
