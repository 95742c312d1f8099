"""The time stamp in evidence: a stamped receipt of a checkpoint that commits to the entries, and that the evidence's own extends.

Here the receipt is read and its checkpoint led to that of the evidence. That a TSA stamped it is for `anchoring.timestamp` to say, with
root certificates that are trusted, which needs more than the verifier of evidence has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from anchoring.container import Part
from anchoring.errors import EvidenceInvalid
from anchoring.network import Network, exact_hex
from ledger import canonical
from ledger.errors import LedgerError
from ledger.merkle import verify_consistency

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from anchoring.timestamp import Stamp

_FIELDS = {"careseal", "chain_id", "journals", "institution", "generation", "size", "root", "block", "block_hash", "time", "signature"}


@dataclass(frozen=True, slots=True)
class Stamped:
    """A receipt of a checkpoint of `size` entries, among them all that the evidence shows, and a token that is not checked yet."""

    size: int
    digest: bytes  # that the token must stamp
    token: bytes


def open_stamped(part: Part, last: int, checkpoint: Part, network: Network) -> Stamped:
    """The stamped receipt in evidence whose last entry is `last`. Raises EvidenceInvalid, link timestamp."""
    try:
        receipt: Any = canonical.decode(part["receipt"])
        if receipt.keys() != _FIELDS or receipt["careseal"] != "receipt/1" or type(receipt["size"]) is not int:
            raise ValueError
        size, root = receipt["size"], exact_hex(receipt["root"])
        place = receipt["chain_id"], receipt["journals"], receipt["institution"], receipt["generation"]
        expected = network.chain_id, "0x" + network.journals.hex(), checkpoint["institution"], checkpoint["generation"]
        if place != expected or any(isinstance(part, bool) for part in place):
            raise EvidenceInvalid("timestamp", "the stamped receipt is of another journal")
        if size <= last:
            raise EvidenceInvalid("timestamp", "the stamped receipt is older than what the evidence shows")
        verify_consistency(size, checkpoint["size"], root, checkpoint["root"], part["consistency"])
    except (LedgerError, ValueError) as error:
        raise EvidenceInvalid("timestamp", "its receipt is none, or of another history of the journal") from error
    return Stamped(size, sha256(part["receipt"]).digest(), part["token"])


def check_stamp(stamped: Stamped, roots: Sequence[Certificate]) -> Stamp:
    """What the TSA says, where its certificate leads to one of the roots. Raises EvidenceInvalid, link timestamp."""
    from anchoring.errors import TimestampInvalid
    from anchoring.timestamp import verify_timestamp

    try:
        return verify_timestamp(stamped.token, stamped.digest, roots)
    except TimestampInvalid as error:
        raise EvidenceInvalid("timestamp", str(error)) from error
