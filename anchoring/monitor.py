"""One round of a monitor: the journals of all members, as they are shown to the public, against the chain.

The chain's words are proved from the monitor's own network file; of an institution nothing is believed. A round reads what came after
the round before it, however much that was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from web3 import Web3

from anchoring.alarms import Alarm, AlarmKind
from anchoring.chain_state import ChainState, confirmed, raw_header
from anchoring.errors import AnchoringError, EvidenceInvalid, JournalUnavailable
from anchoring.log_folder import ABOUT, MAX_ABOUT, decode_about, origin
from anchoring.log_source import Source
from anchoring.monitor_state import Edge, MonitorState, Read
from anchoring.network import Network
from anchoring.note import MAX_NOTE, open_checkpoint
from anchoring.record_heads import RecordHeads
from anchoring.tlog import CHECKPOINT, MAX_BUNDLE, bundle_path, decode_bundle, width_in
from contracts.calls import ChainCheckpoint
from ledger.errors import WireError
from ledger.tree import WIDTH, append, leaf_hashes
from node.engines import ENGINES
from node.errors import Unconfirmed

Progress = Callable[[int], None]
Place = tuple[int, int]  # an institution and a generation of its journal


@dataclass(frozen=True, slots=True)
class Journal:
    """What a round saw of a journal: entries on the chain, and how many of these were read and held against it by now."""

    institution: int
    generation: int
    size: int
    read: int
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Round:
    """What a round saw: the block that it read the chain at, the journals, and the alarms that stand, with when each was raised."""

    block: int
    journals: list[Journal]
    alarms: list[tuple[Alarm, int]]
    entries: int  # that were new


class Monitor:
    """`sources` tells where journals are shown: those of generation 0 and later; `max_lag` in seconds."""

    def __init__(
        self, w3: Web3, network: Network, state: MonitorState, sources: Mapping[Place, Source], max_lag: float,
        progress: Progress = lambda entries: None,
    ) -> None:  # fmt: skip
        self._w3, self._network, self._state, self._sources = w3, network, state, sources
        self._max_lag, self._progress = max_lag, progress
        self._present: list[Alarm] = []
        self._entries = self._now = 0

    def round(self, now: float) -> Round:
        """Read what is new. `now` in seconds since 1970 UTC.

        AnchoringError (NodeNotBelieved) where the chain cannot be read: then nothing is said about the journals.
        """
        self._present, self._entries, self._now = [], 0, int(now)
        network = self._network
        if ENGINES[network.engine].block_hash(raw_header(self._w3, network.block, network.engine)) != network.block_hash:
            raise AnchoringError("the node is of another chain than the network file: check --rpc and --network")
        try:
            head = confirmed(self._w3, network)
        except Unconfirmed as error:
            raise AnchoringError(f"nothing on the chain counts now: {error}") from error
        journals = []
        for institution, (_, until) in ChainState(self._w3, network, 0, head).terms().items():
            state = ChainState(self._w3, network, institution, head)
            current = state.generation()
            for generation in range(current + 1):
                if generation:
                    self._alarm(AlarmKind.NEW_GENERATION, (institution, generation), None, "its journal was begun anew")
                journals.append(self._journal(state, (institution, generation), ended=bool(until) or generation < current, now=now))
        with self._state.transaction():
            for alarm in self._present:
                self._state.raise_alarm(alarm, self._now)
            self._state.settle({alarm.id for alarm in self._present})
        return Round(head.number, journals, self._state.alarms(), self._entries)

    def _alarm(self, kind: AlarmKind, place: Place, entry: int | None, detail: str) -> None:
        self._present.append(Alarm(kind, *place, entry, detail))

    def _journal(self, state: ChainState, place: Place, *, ended: bool, now: float) -> Journal:
        (count,) = state.counts([place[1]])
        last = state.checkpoint(place[1], count - 1) if count else None
        size = 0 if last is None else last.size
        if last is not None and not ended:
            age = now - raw_header(self._w3, last.block, self._network.engine).timestamp
            if age > self._max_lag:
                self._alarm(AlarmKind.STALE, place, size, f"its last checkpoint, of {size} entries, is {age:.0f} s old")
        read = self._state.journal(*place)
        source = self._sources.get(place)
        if source is None and size and not ended:
            self._alarm(AlarmKind.UNAVAILABLE, place, None, "nothing tells where its journal is shown: give --journal")
        if source is not None and size:
            try:
                with self._state.transaction():
                    self._read_on(state, source, place, read, count)
            except JournalUnavailable as error:
                self._alarm(AlarmKind.UNAVAILABLE, place, None, str(error))
        return Journal(*place, size, read.size, read.checkpoints)

    def _read_on(self, state: ChainState, source: Source, place: Place, read: Read, count: int) -> None:
        """Read a journal up to the chain's last checkpoint, checkpoint by checkpoint; what fits is kept."""
        chain = state.checkpoints([(place[1], index) for index in range(max(read.checkpoints - 1, 0), count)])
        if read.checkpoints:
            first, *chain = chain
            if (first.size, first.root) != (read.size, read.root):
                raise AnchoringError("the monitor read another chain before: move its --state away, and find out which chain is right")
        shown = self._shown(source, place, read)
        edge, entries = Edge(read.edge), _Entries(source, shown, self._took)
        for checkpoint in chain:
            if shown < checkpoint.size:
                self._alarm(AlarmKind.BEHIND, place, checkpoint.size, f"{shown} entries are shown, the chain has {checkpoint.size}")
                break
            self._state.db.execute("SAVEPOINT checkpoint")
            try:
                fits = self._reads(checkpoint, place, read, edge, entries)
            except JournalUnavailable as error:
                self._alarm(AlarmKind.UNAVAILABLE, place, None, str(error))
                fits = False
            if not fits:
                self._state.db.execute("ROLLBACK TO checkpoint")
                break
            self._state.db.execute("RELEASE checkpoint")
        self._state.keep(read)

    def _reads(self, checkpoint: ChainCheckpoint, place: Place, read: Read, edge: Edge, entries: _Entries) -> bool:
        """Read up to a checkpoint; whether the entries give its root. Only then what they tell of the records is the institution's word."""
        found: list[Alarm] = []
        notes, size = self._state.notes(read.id), read.size
        with RecordHeads(self._state.db, read.id, lambda kind, entry, detail: found.append(Alarm(kind, *place, entry, detail))) as heads:
            for stop in sorted({size for size in notes if read.size < size < checkpoint.size} | {checkpoint.size}):
                for run in entries.between(size, stop):
                    size = append(edge, size, leaf_hashes(run))
                    heads.take(size - len(run), run)
                root = edge.root(size)
                if any(signed != root for signed in notes.get(stop, [])):
                    found.append(_forked(place, stop))
            heads.flush()
        if root != checkpoint.root:
            self._alarm(AlarmKind.ALTERED, place, size, f"its first {size} entries do not give the root that the chain has for them")
            return False
        for alarm in found:
            # With how far the journal was read, in one transaction: it is not read again.
            self._state.raise_alarm(alarm, self._now)
        self._state.drop_notes(read.id, size)
        read.size, read.root, read.edge, read.checkpoints = size, root, edge.kept(), read.checkpoints + 1
        return True

    def _shown(self, source: Source, place: Place, read: Read) -> int:
        """How many entries a journal is shown with; its signature is checked, and what it signs is remembered."""
        network = self._network
        name = origin(network.chain_id, "0x" + network.journals.hex(), *place)
        about, note = source.read(ABOUT, MAX_ABOUT), source.read(CHECKPOINT, MAX_NOTE)
        if about is None or note is None:
            raise JournalUnavailable(f"{ABOUT} or {CHECKPOINT} is missing")
        try:
            verifier = decode_about(about).verifier
            if verifier.name != name:
                raise EvidenceInvalid("description", "it is another journal")
            if read.verifier not in (None, str(verifier)):
                raise EvidenceInvalid("key", "it is signed by another key than before")
            signed = open_checkpoint(note, verifier)
        except EvidenceInvalid as error:
            raise JournalUnavailable(f"what is shown is not this journal: {error}") from error
        read.verifier = str(verifier)
        if signed.size > read.size:
            self._state.note(read.id, signed.size, signed.root)
        elif signed.size == read.size and signed.root != read.root:
            self._state.raise_alarm(_forked(place, signed.size), self._now)
        return signed.size

    def _took(self, entries: int) -> None:
        self._entries += entries
        self._progress(entries)


def _forked(place: Place, size: int) -> Alarm:
    return Alarm(AlarmKind.FORKED, *place, size, f"it signed another root for {size} entries than its entries give")


class _Entries:
    """The entries of a journal as a source shows them, with `shown` entries."""

    def __init__(self, source: Source, shown: int, took: Progress) -> None:
        self._source, self._shown, self._took = source, shown, took
        self._bundle: tuple[int, list[bytes]] = (-1, [])

    def between(self, start: int, stop: int) -> Iterator[list[bytes]]:
        """Entries `start` to `stop`-1, in runs that end where bundles do."""
        while start < stop:
            number, skip = divmod(start, WIDTH)
            run = self._entries_of(number)[skip : stop - number * WIDTH]
            start += len(run)
            self._took(len(run))
            yield run

    def _entries_of(self, number: int) -> list[bytes]:
        if self._bundle[0] != number:
            width = width_in(self._shown, 0, number)
            data = self._source.read(bundle_path(number, width), MAX_BUNDLE)
            if data is None and width < WIDTH:
                # The export went on since its checkpoint was read.
                data, width = self._source.read(bundle_path(number), MAX_BUNDLE), WIDTH
            if data is None:
                raise JournalUnavailable(f"{bundle_path(number, width)} is missing")
            try:
                self._bundle = number, decode_bundle(data, width)
            except WireError as error:
                raise JournalUnavailable(f"{bundle_path(number, width)}: {error}") from error
        return self._bundle[1]
