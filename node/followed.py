"""The chain that a follower verified: every block was re-executed here before it was stored."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from careseal import read_json
from node import header
from node.archive import Archive, ends, lock
from node.confirmation import Voted
from node.engines import ENGINES
from node.errors import ChainCorrupt, ChainMissing, ChainUnwritable, ExportInvalid, SealInvalid
from node.execution import NewNodes
from node.genesis import Rules, rules_of
from node.header import Header
from node.store import FILE, Block, HashOf, Settings, Store
from node.walk import ANCESTORS, Step, Walk, sealers_of

GENESIS = "genesis.json"
_KEPT = 256  # of so many last blocks it is remembered who sealed after them: a reorganisation seldom goes further back


class FollowedChain(Archive):
    """An open chain of which every block holds. What `append` took in is durable."""

    def __init__(self, directory: Path, store: Store, lock: int, rules: Rules) -> None:
        genesis, head = ends(store)
        super().__init__(directory, store, lock, genesis, head)
        self.rules = rules
        self._sealers: dict[int, Voted] = {}

    @classmethod
    def create(cls, directory: Path, engine: str, genesis: Mapping[str, Any]) -> FollowedChain:
        """A chain with block 0 alone, in a folder that is made where there is none. ExportInvalid where the genesis makes no block 0;
        otherwise errors as of `EmbeddedChain.create`."""
        rules = rules_of(engine, genesis)
        walk = Walk.begin(rules, genesis)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ChainUnwritable(f"cannot make the directory {directory} ({error.strerror}); choose another") from error
        descriptor = lock(directory)
        try:
            _write(directory / GENESIS, {"engine": engine, "genesis": genesis})
            settings = Settings(rules.chain_id, rules.period, rules.epoch, walk.hash, 0, walk.hash)
            first = Block(0, walk.hash, header.encode(walk.head), (), ())
            return cls(directory, Store.create(directory, settings, first, walk.nodes.kept, _hashing(engine)), descriptor, rules)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, directory: Path) -> FollowedChain:
        """The chain that is in a folder. Errors as of `EmbeddedChain.open`; ChainMissing also where it was not begun to its end."""
        if not (directory / FILE).is_file():
            raise ChainMissing(f"there is no chain in {directory}")
        descriptor = lock(directory)
        try:
            try:
                kept = read_json((directory / GENESIS).read_bytes())
                rules = rules_of(kept["engine"], kept["genesis"])
            except (OSError, ValueError, KeyError, TypeError, ExportInvalid) as error:
                raise ChainCorrupt(f"{directory / GENESIS} cannot be read: follow the chain anew, in another folder") from error
            store = Store.open(directory, _hashing(rules.engine))
            try:
                return cls(directory, store, descriptor, rules)
            except BaseException:
                store.close()
                raise
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> FollowedChain:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(self, steps: Sequence[Step]) -> None:
        """Take in blocks that hold, the first of which follows the head or a block before it: what came after that goes."""
        with self._state:
            self.store.replace([(_stored(step), [bytes(one.hash) for one in step.transactions], step.nodes) for step in steps])
            first, self.head = steps[0].header.number, steps[-1].header
            kept = {number: sealers for number, sealers in self._sealers.items() if self.head.number - _KEPT < number < first}
            self._sealers = kept | {step.header.number: step.sealers for step in steps}

    def walk_at(self, number: int) -> Walk:
        """A walk that stands at a stored block. What it goes over is not stored: its `nodes` are over those that are."""
        ancestors = deque(self.ancestors(number + 1), ANCESTORS)
        return Walk(self.rules, NewNodes(self.store), self.header(number), ancestors[0], self._sealers_after(number), ancestors)

    def _sealers_after(self, number: int) -> Voted:
        """Who may seal after a block, from the votes since the last multiple of the epoch, where none was pending."""
        if number in self._sealers:
            return self._sealers[number]
        begin = number - number % self.epoch
        try:
            sealers = sealers_of(self.header(begin), self.rules)
            sealers.remember([self.header(before) for before in range(max(1, begin - len(sealers.current)), begin)])
            for _, encoded in self.store.headers(max(1, begin), number):
                sealers.take_in(self.read_header(encoded))
        except SealInvalid as error:
            raise self.store.corrupt(str(error)) from error
        return sealers

    def fee_recipient(self, at: Header) -> bytes:
        return ENGINES[self.rules.engine].fee_recipient(at) if at.number else bytes(20)


def _stored(step: Step) -> Block:
    return Block(
        step.header.number,
        step.hash,
        header.encode(step.header),
        tuple(transaction.encode() for transaction in step.transactions),
        tuple(receipt.encode() for receipt in step.receipts),
    )


def _hashing(engine: str) -> HashOf:
    return lambda encoded: ENGINES[engine].block_hash(header.decode(encoded))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ChainUnwritable(f"cannot write {path} ({error.strerror}); free space or mend permissions") from error
