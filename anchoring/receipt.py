"""Receipts: signed statements of what was anchored, kept outside the machine. They show when home and chain were rolled back together.

A receipt may carry a time stamp of a TSA, over the digest of all the rest of it. A provisional one is of a checkpoint that is sealed
and not anchored yet: it has no block and no time stamp, and proves no more than that the institution sealed these entries.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

import coincurve
from eth_hash.auto import keccak

from anchoring.errors import AnchoringError
from anchoring.network import exact_hex
from ledger import canonical
from ledger.errors import WireError
from ledger.home import Settings
from ledger.journal import Checkpoint

_DOMAIN, _PROVISIONAL_DOMAIN = b"careseal/v1/receipt", b"careseal/v1/provisional-receipt"
_FORMAT, _PROVISIONAL_FORMAT = "receipt/1", "provisional-receipt/1"
_MAX_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class _Statement:
    """What every receipt says of its checkpoint. Root and address are hex."""

    chain_id: int
    journals: str
    institution: int
    generation: int
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Receipt(_Statement):
    """One anchored checkpoint as its institution signed it. `block_hash` is hex, `time` is the block's, seconds UTC."""

    block: int
    block_hash: str
    time: int


@dataclass(frozen=True, slots=True)
class Provisional(_Statement):
    """One sealed checkpoint that waits for its anchor, as its institution signed it. `sealed` in milliseconds since 1970 UTC."""

    sealed: int


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt, the 20-byte address whose key signed it, the digest that a time stamp of it covers, and the token, not checked yet."""

    receipt: Receipt | Provisional
    signer: bytes
    digest: bytes
    token: bytes | None


def make_receipt(settings: Settings, checkpoint: Checkpoint, key: bytes) -> bytes:
    """The receipt of an anchored checkpoint: canonical JSON with the signature of the sealing key, 32 bytes."""
    if checkpoint.block is None or checkpoint.block_hash is None or checkpoint.block_time is None:
        raise AnchoringError("a checkpoint that is not anchored has no receipt")
    anchor = checkpoint.block, checkpoint.block_hash, checkpoint.block_time
    return _signed(_FORMAT, Receipt(*_stated(settings, checkpoint), *anchor), key)


def make_provisional(settings: Settings, checkpoint: Checkpoint, key: bytes) -> bytes:
    """The provisional receipt of a sealed checkpoint, likewise."""
    return _signed(_PROVISIONAL_FORMAT, Provisional(*_stated(settings, checkpoint), checkpoint.time), key)


def _stated(settings: Settings, checkpoint: Checkpoint) -> tuple[int, str, int, int, int, str]:
    """The fields of a `_Statement`."""
    journals, root = settings.journals.lower(), checkpoint.root.hex()
    return settings.chain_id, journals, settings.institution, checkpoint.generation, checkpoint.size, root


def _signed(form: str, receipt: Receipt | Provisional, key: bytes) -> bytes:
    signature = coincurve.PrivateKey(key).sign_recoverable(_digest(receipt), hasher=None)
    return canonical.encode({"careseal": form, **asdict(receipt), "signature": signature.hex()}) + b"\n"


def with_timestamp(receipt: bytes, token: bytes) -> bytes:
    """A receipt as `make_receipt` gave it, with the time stamp of it."""
    return canonical.encode({**canonical.decode(receipt.strip()), "timestamp": token.hex()}) + b"\n"


def timestamp_of(receipt: bytes) -> bytes | None:
    """The token of a stamped receipt, None of another. WireError or ValueError where it is damaged."""
    values = canonical.decode(receipt.strip())
    return exact_hex(values["timestamp"]) if "timestamp" in values else None


def stamped_digest(receipt: bytes) -> bytes:
    """What a time stamp of a receipt covers: SHA-256 of its canonical JSON, signature included, without time stamp and newline."""
    values = canonical.decode(receipt.strip())
    values.pop("timestamp", None)
    return sha256(canonical.encode(values)).digest()


def read_receipt(path: Path) -> SignedReceipt:
    """A receipt from a file. AnchoringError where it is no receipt, or was changed."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
        return _parsed(data)
    except OSError as error:
        raise AnchoringError(f"cannot read the receipt {path}: {error.strerror}") from error
    except (WireError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise AnchoringError(f"{path} is not a Careseal receipt, or it was changed: take another copy") from error


def _parsed(data: bytes) -> SignedReceipt:
    values = canonical.decode(data.strip())
    digest, token = stamped_digest(data), timestamp_of(data)
    kind = {_FORMAT: Receipt, _PROVISIONAL_FORMAT: Provisional}[str(values.pop("careseal"))]
    if values.pop("timestamp", None) is not None and kind is Provisional:
        raise ValueError
    signature = exact_hex(values.pop("signature"))
    receipt = kind(**values)
    for field in fields(kind):
        if type(getattr(receipt, field.name)).__name__ != field.type:
            raise ValueError
    numbers = (value for value in asdict(receipt).values() if isinstance(value, int))
    if min(numbers) < 0:
        raise ValueError
    if len(signature) != 65 or len(exact_hex(receipt.root)) != 32:
        raise ValueError
    public = coincurve.PublicKey.from_signature_and_message(signature, _digest(receipt), hasher=None)
    return SignedReceipt(receipt, keccak(public.format(compressed=False)[1:])[12:], digest, token)


def _digest(receipt: Receipt | Provisional) -> bytes:
    domain = _DOMAIN if isinstance(receipt, Receipt) else _PROVISIONAL_DOMAIN
    return sha256(domain + canonical.encode(asdict(receipt))).digest()
