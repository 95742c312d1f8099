"""What certifies an erasure: its entry, what that commits to, and its proof in a checkpoint. It names nobody but by blinded labels."""

from __future__ import annotations

from typing import Any

from ledger import canonical
from ledger.home import Home
from ledger.wire import decode_entry

VERSION = "erasure-certificate/1"


def certificate(home: Home, index: int) -> dict[str, Any]:
    """The certificate of the erasure that is entry `index`; the checkpoint is None where none is anchored that holds it."""
    salt, document = home.journal.document(index)
    latest, settings = home.journal.latest(anchored=True), home.settings
    anchor = latest if latest is not None and latest.size > index else None
    about = canonical.decode(document)["erasure"]
    proof = None if anchor is None else [node.hex() for node in home.journal.tree.inclusion_proof(index, anchor.size)]
    return {
        "careseal": VERSION, "home": settings.home_id, "name": settings.name, "institution": settings.institution,
        "chain_id": settings.chain_id, "at": decode_entry(home.journal.entry(index)).time, "erasure": about,
        "proof": {
            "entry": home.journal.entry(index).hex(), "index": index, "inclusion": proof, "salt": salt.hex(), "document": document.hex(),
        },
        "checkpoint": None if anchor is None else {
            "generation": anchor.generation, "size": anchor.size, "root": anchor.root.hex(), "block": anchor.block,
        },
    }  # fmt: skip
