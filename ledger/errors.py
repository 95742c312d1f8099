"""The errors of the ledger, all under `careseal.CaresealError`."""

from __future__ import annotations

from careseal import CaresealError


class LedgerError(CaresealError):
    """Something in the home or the journal makes the operation impossible."""


class ProofError(LedgerError):
    """A Merkle proof does not prove what it is said to prove."""


class WireError(LedgerError):
    """Bytes are not the one valid encoding of what they should hold."""


class SourceError(LedgerError):
    """The hospital's database cannot be read, captured or committed to exactly."""


class Rejected(LedgerError):
    """A file, a resource or a row that cannot be imported; the text says why, without a word of what it holds."""


class KeyUnavailable(LedgerError):
    """A secret is missing or the passphrase is wrong."""


class HomeError(LedgerError):
    """The home is missing, in use by another process, or damaged."""


class PersonError(LedgerError):
    """A person's key cannot be used, or a signature does not hold."""
