"""The errors of anchoring, all under `careseal.CaresealError`."""

from __future__ import annotations

from careseal import CaresealError


class AnchoringError(CaresealError):
    """The chain, or what is said about it, makes the operation impossible."""


class JournalDiverged(AnchoringError):
    """The chain holds another history than the journal; nothing may be published from it."""


class EvidenceInvalid(AnchoringError):
    """Evidence that proves nothing. `link` names the first broken link of the chain of proof."""

    def __init__(self, link: str, message: str) -> None:
        super().__init__(f"{link}: {message}")
        self.link = link


class NetworkInvalid(AnchoringError):
    """A network file that is damaged, or of another kind."""


class TimestampInvalid(AnchoringError):
    """A time stamp that proves nothing. `link` names what is broken: token, status, imprint, nonce, policy, signature, usage, validity
    or certificate.
    """

    def __init__(self, link: str, message: str) -> None:
        super().__init__(f"{link}: {message}")
        self.link = link


class TsaUnavailable(AnchoringError):
    """A TSA gave no answer that can be read, in time and in bounds."""
