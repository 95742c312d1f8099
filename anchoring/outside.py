"""An outside auditor's audit: what an institution shows of its ledger and databases, against the chain, by a node of the auditor's own.

Everything is as of one block, the newest that counts or an earlier one that did: whoever audits the same ledger and databases at the same
block comes to the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from web3 import Web3

from anchoring.chain_state import ChainState, confirmed, confirmed_at, raw_header
from anchoring.errors import AnchoringError
from anchoring.network import Network, institution_name
from anchoring.verify import completed, earlier_generations, lag_of, on_chain_only
from contracts.calls import ChainHead
from ledger.audit import Anchors, AuditResult, Scope, examine
from ledger.auditor import Outside
from ledger.findings import Finding, FindingKind
from ledger.wire import KIND_AT, Kind
from node.engines import ENGINES
from node.errors import Unconfirmed
from node.header import Header

Progress = Callable[[str, int], None]
_WITHOUT_EFFECT = frozenset(bytes([kind]) for kind in (Kind.AUDIT, Kind.GRANT, Kind.EXPORT))  # on what an audit finds


@dataclass(frozen=True, slots=True)
class OutsideAudit:
    """The result, the block as of which it holds, and where the journal stood on the chain then. `root` is of the ledger's journal.

    `unanchored` are entries after those that are anchored and that could make a difference: they are the institution's word alone, which
    it could show to one auditor and never anchor.
    """

    audit: AuditResult
    header: Header
    block_hash: bytes
    on_chain: ChainHead
    generation: int
    root: bytes
    unanchored: int

    @property
    def whole(self) -> bool:
        """Whether all rows were held against what is anchored."""
        return not self.unchecked and not self.unanchored

    @property
    def unchecked(self) -> int:
        """How many rows could not be checked, for they were sealed after the auditor was given secrets."""
        return sum(table.unchecked for table in self.audit.tables)


def chain_at(w3: Web3, network: Network, institution: int, block: int | None) -> tuple[Header, ChainState]:
    """The header of the newest block that counts, or of an earlier one that did, and the state now.

    AnchoringError where the node is of another chain or no such block counts, NodeNotBelieved where it does not prove what it says.
    """
    if ENGINES[network.engine].block_hash(raw_header(w3, network.block, network.engine)) != network.block_hash:
        raise AnchoringError("the node is of another chain than the network file: check --rpc and --network")
    try:
        now = confirmed(w3, network)
    except Unconfirmed as error:
        raise AnchoringError(f"nothing on the chain counts now: {error}") from error
    header = now if block is None or block == now.number else confirmed_at(w3, network, block)
    return header, ChainState(w3, network, institution, now)


def verify_outside(
    outside: Outside, w3: Web3, network: Network, *, block: int | None = None, max_lag: float | None = None, processes: int = 1,
    values: bool = False, progress: Progress = lambda table, rows: None,
) -> OutsideAudit:  # fmt: skip
    """Audit an institution from outside, as of `block` or the newest block that counts; `max_lag` in seconds. Nothing is written.

    AnchoringError where the chain does not know the institution, or cannot be read; LedgerError where the grant has expired by the
    chain's time; SourceError where a database cannot be read.
    """
    books, header = outside.books, outside.header
    if header.chain_id != network.chain_id:
        raise AnchoringError(f"the audit access is of chain {header.chain_id}, the network file of {network.chain_id}: check --network")
    head, state = chain_at(w3, network, header.institution, block)
    if not state.is_named(institution_name(header.name)):
        raise AnchoringError(f"the consortium does not know institution {header.institution} as {header.name}: ask the institution")
    outside.grant.check_stands(state.header.timestamp * 1000)
    on_chain = state.head_at(head.number)
    extra: list[Finding] = []
    if on_chain.generation != books.journal.generation:
        detail = f"the chain is at generation {on_chain.generation} of this journal, the ledger at {books.journal.generation}"
        extra.append(Finding(FindingKind.ROLLED_BACK, None, detail=detail))
    last = on_chain.last
    size, roots = (0, {}) if last is None else (last.size, {last.size: last.root})
    earlier = earlier_generations(state, on_chain.generation)
    anchors = Anchors(size, roots, lag_of(books, size, head.timestamp, max_lag))
    result = examine(books, Scope(outside.tables), anchors, processes=processes, values=values, progress=progress)
    # Nodes keep the state of their latest blocks only, and an audit may take long: this is asked of the chain as it is now.
    _, state = chain_at(w3, network, header.institution, None)
    result = completed(books, on_chain_only(result, state, head.number), extra, earlier)
    root = books.journal.tree.root(result.size)
    tail = sum(body[KIND_AT : KIND_AT + 1] not in _WITHOUT_EFFECT for run in books.journal.bodies(size, result.size) for body in run)
    return OutsideAudit(result, head, ENGINES[network.engine].block_hash(head), on_chain, books.journal.generation, root, tail)
