"""Every error that the chain raises on purpose, in one tree under `NodeError`."""

from __future__ import annotations

from careseal import CaresealError


class NodeError(CaresealError):
    """Root of the chain's errors."""


class RlpInvalid(NodeError):
    """Bytes are not canonical RLP, or exceed a bound."""


class HeaderInvalid(NodeError):
    """A block header cannot be read."""


class ExportInvalid(NodeError):
    """An exported chain, or a block of one, that does not hold or cannot be read."""


class SealInvalid(NodeError):
    """A block header is not sealed by one of the expected sealers."""


class Unconfirmed(NodeError):
    """Headers do not make a block count: too few of those who seal stand behind it, or they do not follow each other."""


class ProofInvalid(NodeError):
    """A state proof does not lead from its root to the value it claims."""


class TransactionRejected(NodeError):
    """A transaction cannot enter the pool. It was not stored and can be sent again once the reason is gone."""


class CallReverted(NodeError):
    """A call ended in a revert. `data` is what the contract returned."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class CallFailed(NodeError):
    """A call could not be executed, or ended in an error other than a revert."""


class ChainError(NodeError):
    """Something is wrong with the chain's directory."""


class ChainMissing(ChainError):
    """There is no chain in this directory."""


class ChainExists(ChainError):
    """There already is a chain in this directory."""


class ChainLocked(ChainError):
    """Another process has the chain open."""


class ChainCorrupt(ChainError):
    """What is stored contradicts itself. Nothing was changed."""


class ChainUnwritable(ChainError):
    """The block could not be stored: disk full, read-only or failing. Nothing was lost; the chain stands where it stood."""


class ClockBehind(ChainError):
    """The clock lies too far behind the last block to seal another one."""


class WrongSealer(ChainError):
    """This process has no key, or not the key, that seals this chain."""


class NodeUnreachable(NodeError):
    """No node answered, or what answered is not the expected chain."""


class WebFailed(NodeError):
    """A web server gave no answer that can be read, in time."""


class PeerFailed(NodeError):
    """A peer gave no answer that can be used. That proves nothing against it."""


class PeerLied(PeerFailed):
    """A peer gave a block that cannot be one of its chain."""


class RpcError(NodeError):
    """A JSON-RPC request that is answered with an error. Source: JSON-RPC 2.0, section 5.1; EIP-1474."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code, self.data = code, data


class NetworkPlanInvalid(NodeError):
    """A network cannot be made as asked, or its plan cannot be read."""


class KeystoreUnreadable(NodeError):
    """A keystore file is none, or does not open under the passphrase."""


class EngineFailed(NodeError):
    """A node of a real engine cannot be started, or has ended."""
