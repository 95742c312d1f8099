"""Receipts: signed statements of what was anchored, kept outside the machine. They show when home and chain were rolled back together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import coincurve
from eth_hash.auto import keccak

from anchoring.errors import AnchoringError
from anchoring.link import Link
from anchoring.network import exact_hex
from ledger import canonical
from ledger.errors import WireError
from ledger.home import Settings
from ledger.journal import Checkpoint

_DOMAIN = b"careseal/v1/receipt"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Receipt:
    """One anchored checkpoint as its institution signed it. Hashes and addresses are hex, `time` is the block's, seconds UTC."""

    chain_id: int
    journals: str
    institution: int
    generation: int
    size: int
    root: str
    block: int
    block_hash: str
    time: int


def make_receipt(settings: Settings, checkpoint: Checkpoint, link: Link) -> bytes:
    """The receipt of an anchored checkpoint: canonical JSON with the signature of the sealing key."""
    if checkpoint.block is None or checkpoint.block_hash is None or checkpoint.block_time is None:
        raise AnchoringError("a checkpoint that is not anchored has no receipt")
    receipt = Receipt(
        settings.chain_id, settings.journals.lower(), settings.institution, checkpoint.generation, checkpoint.size,
        checkpoint.root.hex(), checkpoint.block, checkpoint.block_hash, checkpoint.block_time,
    )  # fmt: skip
    signature = link.sign(_digest(receipt))
    return canonical.encode({"careseal": "receipt/1", **asdict(receipt), "signature": signature.hex()}) + b"\n"


def read_receipt(path: Path) -> tuple[Receipt, bytes]:
    """A receipt and the 20-byte address whose key signed it. AnchoringError where it is no receipt, or was changed."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
        values = canonical.decode(data.strip())
        if values.pop("careseal") != "receipt/1":
            raise ValueError
        signature = exact_hex(values.pop("signature"))
        receipt = Receipt(**values)  # type: ignore[arg-type]
        for name, kind in Receipt.__annotations__.items():
            if type(getattr(receipt, name)).__name__ != kind:
                raise ValueError
        if min(receipt.chain_id, receipt.institution, receipt.generation, receipt.size, receipt.block) < 0:
            raise ValueError
        if len(signature) != 65 or len(exact_hex(receipt.root)) != 32:
            raise ValueError
        public = coincurve.PublicKey.from_signature_and_message(signature, _digest(receipt), hasher=None)
    except OSError as error:
        raise AnchoringError(f"cannot read the receipt {path}: {error.strerror}") from error
    except (WireError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise AnchoringError(f"{path} is not a Careseal receipt, or it was changed: take another copy") from error
    return receipt, keccak(public.format(compressed=False)[1:])[12:]


def _digest(receipt: Receipt) -> bytes:
    return sha256(_DOMAIN + canonical.encode(asdict(receipt))).digest()
