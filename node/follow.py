"""Following a chain through nodes that nobody vouches for: what they give is re-executed, and what they cannot prove is kept as proof
against them.

The network file's trusted block is the root of all: the genesis is the one from which that block's hash leads back. Nothing is ever
sealed here. What was verified is stored before anything else is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node import header
from node.confirmation import Trust
from node.engines import ENGINES
from node.errors import ChainError, ChainMissing, ExportInvalid, NodeError, PeerFailed, PeerLied
from node.exported import genesis_of
from node.followed import FollowedChain
from node.genesis import rules_of
from node.header import Header
from node.peer import Peer
from node.proof_files import ProofFiles
from node.rpc_views import SealedBlock
from node.walk import Step, Walk, check_first

BATCH = 32  # blocks that are asked for in one request, checked, and stored together
LINKS = 100  # headers in one request
MAX_BRANCH = 4096  # blocks of another branch that are looked at
FUTURE = 15.0  # seconds that a block may lie ahead of the clock
MAX_PAUSE = 60.0

Tell = Callable[["Event"], None]


@dataclass(frozen=True, slots=True)
class Event:
    """What a follower tells of: a peer that `failed` or `lied`, and why; blocks that were `reorganised`, for a heavier branch; a `fork`
    between blocks that are both final. `block` is the first one in question.
    """

    kind: str
    peer: str
    block: int
    reason: str = ""


@dataclass(slots=True)
class Followed:
    """A peer as it is known by now. Until `after` it is not asked; a peer that lied, or that is on a final fork, not any more.

    `state` is `new`, `agrees`, `lags`, `branch` (it is on one that weighs no more), `fork`, or why nothing could be had of it.
    """

    peer: Peer
    state: str = "new"
    head: int = -1
    failures: int = 0
    after: float = 0.0
    out: bool = False


@dataclass(slots=True)
class Follower:
    """`clock` gives UTC seconds."""

    chain: FollowedChain
    trust: Trust
    peers: list[Followed]
    proofs: ProofFiles
    clock: Callable[[], float]
    tell: Tell = field(default=lambda event: None)

    def round(self) -> bool:
        """Ask every peer once, and take in up to BATCH blocks of each; whether there were any. ChainError where they cannot be stored."""
        progress = [self._ask(one) for one in self.peers if not one.out and one.after <= self.clock()]
        return any(progress)

    @property
    def behind(self) -> bool:
        """Whether some peer that did not lie has more blocks than are stored, or none answered."""
        answering = [one for one in self.peers if not one.out and not one.failures]
        return not answering or any(one.head > self.chain.head.number for one in answering)

    def _ask(self, one: Followed) -> bool:
        before = self.chain.head
        try:
            one.state = self._sync(one)
            one.failures = 0
        except PeerFailed as error:
            one.failures += 1
            one.after = self.clock() + min(2.0**one.failures, MAX_PAUSE)
            if one.state != str(error) and not isinstance(error, PeerLied):
                self.tell(Event("failed", one.peer.url, self.chain.head.number, str(error)))
            one.state = str(error)
        return self.chain.head != before

    def _sync(self, one: Followed) -> str:
        one.head = one.peer.head()
        ours = self.chain.head.number
        at = self._common(one.peer, min(one.head, ours))
        if at < self.trust.block <= ours:
            raise PeerFailed("it is of another chain than the network file")
        if at < min(one.head, ours):
            return self._other_branch(one, at)
        if one.head > ours:
            self._extend(one, list(range(ours + 1, min(one.head, ours + BATCH) + 1)))
        return "agrees" if one.head >= ours else "lags"

    def _common(self, peer: Peer, top: int) -> int:
        """The number of the last block up to `top` that a peer has as it is stored here. Its chain may change while it is asked."""
        if self._has(peer, top):
            return top
        if not self._has(peer, 0):
            raise PeerFailed("it is of another chain")
        high, step = top, 1
        while not self._has(peer, low := max(high - step, 0)):
            if not low:
                raise _changed()
            high, step = low, 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._has(peer, middle) else (low, middle)
        return low

    def _has(self, peer: Peer, number: int) -> bool:
        found = peer.blocks([number], full=False)
        if not found:
            raise PeerFailed(f"it does not give block {number}, which it says it has")
        return found[0].get("hash") == "0x" + self.chain.store.block_hash(number).hex()

    def _extend(self, one: Followed, numbers: Sequence[int]) -> None:
        """Take in the next blocks. Those that hold are stored, whatever is wrong with a later one."""
        steps: list[Step] = []
        try:
            self._go(self.chain.walk_at(numbers[0] - 1), one, numbers, steps)
        finally:
            if steps:
                self._store(steps)

    def _go(self, walk: Walk, one: Followed, numbers: Sequence[int], steps: list[Step]) -> None:
        """Add what holds of these next blocks of a walk to `steps`."""
        found = one.peer.blocks(numbers)
        if not found:
            raise PeerFailed(f"it does not give block {numbers[0]}, which it says it has")
        for block in found:
            if block.get("parentHash") != "0x" + walk.hash.hex():
                raise _changed()
            steps.append(self._checked(walk, one, block))
            walk.go(steps[-1])

    def _checked(self, walk: Walk, one: Followed, block: Mapping[str, Any]) -> Step:
        number = walk.head.number + 1
        try:
            step = walk.check(block)
            if number == self.trust.block and step.hash != self.trust.block_hash:
                raise ExportInvalid("it is not the block that the network file trusts")
        except ChainError:
            raise  # ours is damaged, which proves nothing against the peer
        except NodeError as error:
            raise self._lied(one, number, str(error), block) from error
        self._not_from_the_future(step.header)
        return step

    def _not_from_the_future(self, own: Header) -> None:
        if own.timestamp > self.clock() + FUTURE:
            raise PeerFailed(f"its block {own.number} comes from the future: check the clocks")

    def _lied(self, one: Followed, number: int, reason: str, given: Mapping[str, Any]) -> PeerLied:
        """Keep what a peer gave as proof, and ask it no more."""
        one.out = True
        ours = SealedBlock(self.chain, number).view(True) if number <= self.chain.head.number else None
        self.proofs.lie(one.peer.url, self.clock(), number, reason, given, ours)
        self.tell(Event("lied", one.peer.url, number, reason))
        return PeerLied(f"it lied about block {number}: {reason}")

    def _store(self, steps: Sequence[Step]) -> None:
        self.chain.append(steps)
        for number in self.proofs.open_lies(steps[0].header.number, steps[-1].header.number):
            self.proofs.complete(number, SealedBlock(self.chain, number).view(True))

    def _other_branch(self, one: Followed, at: int) -> str:
        """Look at the blocks that a peer has after block `at` in the place of those that are stored."""
        if ENGINES[self.chain.rules.engine].FINAL:
            steps: list[Step] = []
            self._go(self.chain.walk_at(at), one, [at + 1], steps)
            one.out = True
            self._told("fork", one, at, [steps[0].header])
            return "fork"
        theirs = self._heavier(one, at)
        if not theirs:
            return "branch"
        steps, walk = [], self.chain.walk_at(at)
        while len(steps) < len(theirs):
            begin = at + 1 + len(steps)
            self._go(walk, one, list(range(begin, min(at + len(theirs), begin + BATCH - 1) + 1)), steps)
        if steps[-1].header != theirs[-1]:
            raise _changed()  # what it gave now may weigh less
        self._told("reorganised", one, at, theirs)
        self._store(steps)
        return "agrees"

    def _heavier(self, one: Followed, at: int) -> list[Header]:
        """The headers after block `at` with which a peer's branch becomes heavier than the stored one; none where it does not."""
        ours = sum(self.chain.header(number).difficulty for number in range(at + 1, self.chain.head.number + 1))
        walk, theirs = self.chain.walk_at(at), list[Header]()
        while (begin := walk.head.number + 1) <= min(one.head, at + MAX_BRANCH):
            found = one.peer.blocks(range(begin, min(one.head, begin + LINKS - 1) + 1), full=False)
            if not found:
                raise _changed()
            for given in found:
                try:
                    step, _ = walk.sealed(header.from_rpc(given))
                except NodeError as error:
                    raise self._lied(one, walk.head.number + 1, str(error), given) from error
                self._not_from_the_future(step.header)
                walk.go(step)
                theirs.append(step.header)
                ours -= step.header.difficulty
                if ours < 0:
                    return theirs
        return []

    def _told(self, kind: str, one: Followed, at: int, theirs: Sequence[Header]) -> None:
        ours = [self.chain.header(number) for number in range(at + 1, min(self.chain.head.number, at + MAX_BRANCH) + 1)]
        self.proofs.branches(kind, one.peer.url, self.clock(), at, ours, theirs)
        self.tell(Event(kind, one.peer.url, at + 1))


def _changed() -> PeerFailed:
    return PeerFailed("its chain changed while it was read")


def opened(
    folder: Path, engine: str, chain_id: int, trust: Trust, peers: Sequence[Peer], genesis: Mapping[str, Any] | None
) -> FollowedChain:
    """The chain that is followed in a folder, begun there from the network file's trust where there is none.

    PeerFailed where no peer gives the headers that lead from the trusted block to the genesis; ExportInvalid for a genesis, or a stored
    chain, that is another one; errors of `FollowedChain.open` and `create`.
    """
    try:
        chain = FollowedChain.open(folder)
    except ChainMissing:
        chain = _begun(folder, engine, chain_id, trust, peers, genesis)
    try:
        rules = chain.rules
        if (rules.engine, rules.chain_id, rules.period, rules.epoch) != (engine, chain_id, trust.period, trust.epoch):
            raise ExportInvalid(f"{folder} holds a chain of other rules than the network file's: give another --state, or check --network")
        if trust.block <= chain.head.number and chain.store.block_hash(trust.block) != trust.block_hash:
            raise ExportInvalid(f"{folder} holds another chain than the network file's: give another --state, or check --network")
    except BaseException:
        chain.close()
        raise
    return chain


def _begun(
    folder: Path, engine: str, chain_id: int, trust: Trust, peers: Sequence[Peer], genesis: Mapping[str, Any] | None
) -> FollowedChain:
    reasons = []
    for peer in peers:
        try:
            first = _first(peer, engine, trust)
        except PeerFailed as error:
            reasons.append(f"{peer.url}: {error}")
            continue
        made = genesis or genesis_of(first, engine, chain_id, trust.period, trust.epoch)
        check_first(first, Walk.begin(rules_of(engine, made), made).head)
        return FollowedChain.create(folder, engine, made)
    raise PeerFailed(f"no peer leads from the network file's block {trust.block} to its genesis ({'; '.join(reasons)})")


def _first(peer: Peer, engine: str, trust: Trust) -> Header:
    """Block 0, to which the trusted block's hash leads back, header by header."""
    wanted = trust.block_hash
    for begin in range(trust.block, -1, -LINKS):
        numbers = range(begin, max(begin - LINKS, -1), -1)
        found = peer.blocks(numbers, full=False)
        if len(found) < len(numbers):
            raise PeerFailed(f"it does not give all blocks up to block {trust.block}, which the network file trusts")
        for number, given in zip(numbers, found, strict=True):
            try:
                own = header.from_rpc(given)
                good = own.number == number and ENGINES[engine].block_hash(own) == wanted
            except NodeError:
                good = False
            if not good:
                raise PeerFailed("it is of another chain than the network file")
            wanted = own.parent_hash
    return own
