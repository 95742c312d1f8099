"""The errors of anchoring, all under `careseal.CaresealError`."""

from __future__ import annotations

from careseal import CaresealError


class AnchoringError(CaresealError):
    """The chain, or what is said about it, makes the operation impossible."""


class ChainStands(AnchoringError):
    """What was waited for did not come about on the chain in time."""


class Superseded(AnchoringError):
    """Another transaction of the same account and number was mined: this one never will be."""


class JournalDiverged(AnchoringError):
    """The chain holds another history than the journal; nothing may be published from it."""


class LinkBroken(AnchoringError):
    """A chain of proof that does not hold. `link` names its first broken link."""

    def __init__(self, link: str, message: str) -> None:
        super().__init__(f"{link}: {message}")
        self.link, self.message = link, message


class JournalUnavailable(AnchoringError):
    """Another institution's exported journal cannot be read where it should be."""


class MonitorStateInvalid(AnchoringError):
    """What a monitor kept of its earlier rounds is damaged, another network's, or in use."""


class EvidenceInvalid(LinkBroken):
    """Evidence that proves nothing."""


def damaged_state() -> MonitorStateInvalid:
    """What a monitor says of a state that does not fit itself."""
    return MonitorStateInvalid("the monitor's state is damaged: move its folder away and run it again, which reads all journals anew")


class NodeNotBelieved(AnchoringError):
    """The chain's node gave an answer that it does not prove, or no proof: nothing is known about the chain."""


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
