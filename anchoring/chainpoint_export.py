"""Making Chainpoint-style receipts, through merkletools; the root is journalled and anchored before they are handed out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from anchoring.announce import announce
from anchoring.chainpoint import ANCHOR, CONTEXT, MAX_LEAVES, TYPE, VERSION, WARNING, Receipts, source_id, verify_receipts
from anchoring.errors import AnchoringError
from anchoring.export import look_up
from anchoring.link import Link
from ledger import canonical
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.merkle import leaf_hash
from ledger.tables import find_table
from ledger.wire import Kind


def export_receipts(home: Home, link: Link, table_name: str, keys: Sequence[str], now: int) -> tuple[bytes, Receipts]:
    """Receipts of the latest sealed versions of records, canonical JSON, and what they prove. `now` in milliseconds since 1970 UTC.

    `keys` are the records' keys in a row, each in the order of the table's key columns. LedgerError where a record is unknown, or where
    the keys do not come out even; AnchoringError where merkletools is not installed, or the root did not reach the chain.
    """
    tools = _merkle_tools()
    bodies = _entries(home, table_name, keys)
    tools.add_leaf([leaf_hash(body).hex() for body in bodies])
    tools.make_tree()
    root = str(tools.get_merkle_root())
    index = announce(home, link, Kind.EXPORT, {"chainpoint": {"leaves": len(bodies), "root": root}}, now)
    anchored = home.journal.latest(anchored=True)
    if anchored is None or anchored.size <= index or anchored.block is None:
        raise AnchoringError("the root of the receipts is not anchored yet: seal, then export again")
    salt, document = home.journal.document(index)
    checkpoint: dict[str, object] = {
        "chain_id": home.settings.chain_id, "journals": home.settings.journals.lower(), "institution": home.settings.institution,
        "generation": anchored.generation, "size": anchored.size, "root": anchored.root.hex(), "block": anchored.block,
    }  # fmt: skip
    receipts = [
        {
            "@context": CONTEXT, "type": TYPE, "targetHash": tools.get_leaf(leaf), "merkleRoot": root, "proof": tools.get_proof(leaf),
            "anchors": [{"type": ANCHOR, "sourceId": source_id(checkpoint, index)}],
            "careseal": {"entry": body.hex(), "leaf": leaf},
        }
        for leaf, body in enumerate(bodies)
    ]  # fmt: skip
    values = {
        "careseal": VERSION,
        "warning": WARNING,
        "root": {
            "entry": home.journal.entry(index).hex(),
            "index": index,
            "proof": [node.hex() for node in home.journal.tree.inclusion_proof(index, anchored.size)],
            "salt": salt.hex(),
            "document": document.hex(),
        },
        "checkpoint": checkpoint,
        "receipts": receipts,
    }
    data = canonical.encode(values) + b"\n"
    return data, verify_receipts(data, link.network)


def _entries(home: Home, table_name: str, keys: Sequence[str]) -> list[bytes]:
    """The last journal entries of the records with these keys."""
    table = find_table(home, table_name)
    width = len(table.shape.key)
    if len(keys) % width:
        raise LedgerError(f"table {table.name} has the key {', '.join(table.shape.key)}: give {width} values for each record")
    if len(keys) // width > MAX_LEAVES:
        raise LedgerError(f"one file takes the receipts of at most {MAX_LEAVES} records: export the others apart")
    indexes = [look_up(home, table, keys[at : at + width]).entry for at in range(0, len(keys), width)]
    if len(set(indexes)) != len(indexes):
        raise LedgerError("a record is named twice: give each key once")
    return [home.journal.entry(index) for index in indexes]


def _merkle_tools() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing pysha3, which SHA-256 does not need
            from merkletools import MerkleTools  # type: ignore[import-untyped]
    except ImportError as error:
        raise AnchoringError(
            "Chainpoint-style receipts need the package merkletools without what it depends on: pip install --no-deps merkletools"
        ) from error
    return MerkleTools("sha256")
