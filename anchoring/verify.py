"""Verification of a home: what chain and receipts say of its journal, then the ledger's audit against that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.x509 import Certificate
from web3 import Web3

from anchoring.chain_state import ChainState
from anchoring.errors import AnchoringError, TimestampInvalid
from anchoring.link import Link
from anchoring.receipt import Provisional, Receipt, SignedReceipt, read_receipt
from anchoring.timestamp import Stamp, verify_timestamp
from contracts.calls import ChainHead
from ledger import identity
from ledger.audit import Anchors, Answered, AuditResult, Scope, audit
from ledger.findings import Finding, FindingKind
from ledger.home import Home, Settings
from ledger.journal import Ledger
from ledger.mirror_check import MirrorFault, mirror_faults
from ledger.resolutions import read_resolutions
from ledger.wire import decode_entry

Progress = Callable[[str, int], None]
EARLIER_GENERATION = "generation"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom an auditor trusts to say when a receipt existed: root certificates, and the policy to demand of a stamp, as a dotted OID."""

    roots: tuple[Certificate, ...]
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Stamped:
    """The time stamp of a receipt that was given: what it proves, or None where no certificates were given to check it against."""

    receipt: Path
    stamp: Stamp | None


@dataclass(frozen=True, slots=True)
class Verified:
    """An audit's result; `external` tells whether it was held against something kept outside this machine.

    `mirror` is what is wrong with the mirror's files: it was looked at where all entries were walked.
    """

    audit: AuditResult
    external: bool
    stamps: tuple[Stamped, ...] = ()
    mirror: Sequence[MirrorFault] = ()


def verify(
    home: Home, link: Link, scope: Scope, now: float, *, receipts: Sequence[Path] = (), trust: Trust | None = None,
    max_lag: float | None = None, processes: int = 1, values: bool = False, record: bool = True,
    progress: Progress = lambda table, rows: None,
) -> Verified:  # fmt: skip
    """Audit the home against the chain and against receipts kept elsewhere. `now` in seconds since 1970 UTC, `max_lag` in seconds.

    What the chain has is proved from the link's network file. With `trust` every receipt must carry a time stamp that holds. Raises
    AnchoringError (NodeNotBelieved where a proof breaks), NodeUnreachable, SourceError or KeyUnavailable where nothing can be verified.
    """
    roots: dict[int, bytes] = {}
    state, latest = link.state(), home.journal.latest()
    on_chain = state.head()
    head = on_chain.last
    if latest is not None:
        roots[latest.size] = latest.root
    extra: list[Finding] = []
    if on_chain.generation != home.journal.generation:
        detail = f"the chain is at generation {on_chain.generation} of this journal, the home at {home.journal.generation}"
        extra.append(Finding(FindingKind.ROLLED_BACK, None, detail=detail))
    extra += _behind(home, on_chain, state.header.number)
    stamps: list[Stamped] = []
    external = _is_elsewhere(home.settings.chain)
    for path in receipts:
        signed = read_receipt(path)
        receipt = signed.receipt
        _belongs(home.settings, receipt, signed.signer, state, link, path)
        stamps += _stamped(signed, trust, path)
        if isinstance(receipt, Provisional):
            extra += _other_checkpoint(receipt, state)
        else:
            external = True
            extra += _lost_block(receipt, state, link) or _lost_checkpoint(receipt, state)
        if receipt.generation == home.journal.generation:
            _expect(roots, receipt.size, bytes.fromhex(receipt.root), extra)
    if head is not None:
        _expect(roots, head.size, head.root, extra)
    size = 0 if head is None else head.size
    earlier = earlier_generations(state, on_chain.generation)
    result = audit(
        home, scope, Anchors(size, roots, lag_of(home, size, now, max_lag)), now, processes=processes, values=values,
        record=record and not extra, progress=progress,
    )  # fmt: skip
    # Nodes keep the state of their latest blocks only, and an audit may take long: this is asked of the chain as it is now.
    result = completed(home, on_chain_only(result, link.state()), extra, earlier)
    faults = mirror_faults(home) if scope.journal else ()
    return Verified(result, external, tuple(stamps), faults)


def _stamped(signed: SignedReceipt, trust: Trust | None, path: Path) -> list[Stamped]:
    """The time stamp of a receipt, checked where somebody is trusted; none where it has none and none is demanded."""
    if trust is None:
        return [] if signed.token is None else [Stamped(path, None)]
    if signed.token is None:
        raise AnchoringError(f"the receipt {path} has no time stamp: give one that has, or leave out --tsa-cert")
    try:
        return [Stamped(path, verify_timestamp(signed.token, signed.digest, trust.roots, policy=trust.policy))]
    except TimestampInvalid as error:
        raise AnchoringError(f"the time stamp of the receipt {path} proves nothing: {error}") from error


def _is_elsewhere(chain: str) -> bool:
    """Whether a chain is reached over a network: one that this machine serves to itself is rolled back with it."""
    host = urlsplit(chain).hostname if "://" in chain else None
    return host is not None and host != "localhost" and not host.startswith("127.") and host != "::1"


def _behind(home: Home, on_chain: ChainHead, block: int) -> list[Finding]:
    """What the home's own notes and its mirror say of the chain and the home: that one of them was rolled back."""
    size = 0 if on_chain.last is None else on_chain.last.size
    noted = home.journal.latest(anchored=True)
    if noted is not None and noted.generation == on_chain.generation and (size < noted.size or block < (noted.block or 0)):
        detail = (
            f"block {block} of the chain has {size} entries, this home saw {noted.size} anchored in block {noted.block}: the chain was "
            "rolled back, or its node shows an old block; seal publishes them again"
        )
        return [Finding(FindingKind.ROLLED_BACK, None, detail=detail)]
    if home.mirror_is_ahead() and size <= home.journal.size:
        return [Finding(FindingKind.ROLLED_BACK, None, detail="the mirror holds entries that the home lacks: run careseal restore")]
    return []


def earlier_generations(state: ChainState, generation: int) -> list[Finding]:
    """A generation that was given up stays a finding for ever: its entries cannot be audited any more."""
    counts = state.counts(range(generation))
    last = iter(state.checkpoints([(number, count - 1) for number, count in enumerate(counts) if count]))
    sizes = [next(last).size if count else 0 for count in counts]
    return [
        Finding(
            FindingKind.ROLLED_BACK, None,
            detail=f"{EARLIER_GENERATION} {number} of the journal ended with {size} entries by a vote of the members",
            faults=(identity.earlier_generation(number, size),), id=identity.earlier_generation(number, size),
        )
        for number, size in enumerate(sizes)
    ]  # fmt: skip


def _expect(roots: dict[int, bytes], size: int, root: bytes, extra: list[Finding]) -> None:
    if roots.setdefault(size, root) != root:
        extra.append(
            Finding(FindingKind.JOURNAL_ALTERED, None, detail=f"the home's root for {size} entries is not the one that was anchored")
        )
        roots[size] = root


def _belongs(settings: Settings, receipt: Receipt | Provisional, signer: bytes, state: ChainState, link: Link, path: Path) -> None:
    mine = (settings.chain_id, settings.journals.lower(), settings.institution)
    if (receipt.chain_id, receipt.journals, receipt.institution) != mine:
        raise AnchoringError(f"the receipt {path} belongs to another institution or chain: give one of this home")
    if signer not in state.sealing_accounts() and signer != bytes.fromhex(link.account[2:]):
        raise AnchoringError(f"the receipt {path} was not signed by this institution, or it was changed: take another copy")


def _lost_checkpoint(receipt: Receipt, state: ChainState) -> list[Finding]:
    """Whether the receipt's checkpoint is on the chain, of whatever generation, is proved."""
    found = state.find(receipt.generation, receipt.size)
    if found is not None and (found.root.hex(), found.block) == (receipt.root, receipt.block):
        return []
    words = f"the chain no longer has the receipt's checkpoint of {receipt.size} entries in generation {receipt.generation}"
    return [Finding(FindingKind.ROLLED_BACK, None, detail=words)]


def _other_checkpoint(receipt: Provisional, state: ChainState) -> list[Finding]:
    """Whether the chain has other entries than those that were sealed, by a provisional receipt; it may have none of them yet."""
    found = state.find(receipt.generation, receipt.size)
    if found is None or found.root.hex() == receipt.root:
        return []
    words = f"the chain has another root than the provisional receipt for {receipt.size} entries in generation {receipt.generation}"
    return [Finding(FindingKind.JOURNAL_ALTERED, None, detail=words)]


def _lost_block(receipt: Receipt, state: ChainState, link: Link) -> list[Finding]:
    """That a block is the receipt's is the node's word; where it says no, the chain was made anew with the same checkpoint."""
    if receipt.block <= state.header.number and Web3.to_hex(link.block_hash(link.header(receipt.block))) == receipt.block_hash:
        return []
    words = f"the chain no longer has block {receipt.block} of the receipt: chain and home were rolled back or rewritten together"
    return [Finding(FindingKind.ROLLED_BACK, None, detail=words)]


def lag_of(home: Ledger, anchored: int, now: float, max_lag: float | None) -> float | None:
    """Age of the oldest entry that is not on the chain, where it is over the limit."""
    if max_lag is None or home.journal.size <= anchored:
        return None
    age = now - decode_entry(home.journal.entry(anchored)).time / 1000
    return age if age > max_lag else None


def completed(ledger: Ledger, result: AuditResult, extra: Sequence[Finding], earlier: Sequence[Finding]) -> AuditResult:
    """The result with what else was found, and with those earlier generations that two people did not answer for."""
    answers = read_resolutions(ledger)
    given_up = [(finding, answers.resolved(finding.id or b"")) for finding in earlier]
    open_ = [finding for finding, answer in given_up if answer is None]
    answered = [Answered(answer, 1) for _, answer in given_up if answer is not None]
    return replace(result, findings=[*extra, *open_, *result.findings], resolved=[*answered, *result.resolved])


def on_chain_only(result: AuditResult, state: ChainState, block: int | None = None) -> AuditResult:
    """Drop every `intact_at` that the chain did not confirm, by `block`: the ledger's own notes prove nothing."""
    confirmed: dict[tuple[int, int], tuple[bytes, int] | None] = {}
    findings = []
    for finding in result.findings:
        at = finding.intact_at
        if at is not None:
            place = (at.generation, at.size)
            if place not in confirmed:
                found = state.find(*place)
                confirmed[place] = None if found is None else (found.root, found.block)
            if confirmed[place] != (at.root, at.block) or (block is not None and at.block > block):
                finding = finding.without_intact_at()
        findings.append(finding)
    return replace(result, findings=findings)
