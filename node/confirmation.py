"""What it takes for a block to count, given one trusted block: the part that every consensus engine has in common.

An engine is a module, `node.clique` or `node.qbft`, that has the functions of `Engine`. All of them are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from node.errors import Unconfirmed
from node.header import Header

T = TypeVar("T")
MAX_HEADERS = 4096  # that lead from the trusted block to another, or confirm it


@dataclass(frozen=True, slots=True)
class Trust:
    """A trusted block and the 20-byte accounts that seal after it. On Clique no vote is pending there."""

    block: int
    block_hash: bytes
    sealers: tuple[bytes, ...]
    period: int  # seconds
    epoch: int  # blocks


@dataclass(frozen=True, slots=True)
class Confirmation:
    """That a block counts. `final`: no other can take its place while fewer than a third of the sealers cheat.

    `sealers` are those whose seals make it count, `of` is how many there are; nobody for the trusted block itself.
    """

    final: bool
    sealers: tuple[bytes, ...]
    of: int


@dataclass(frozen=True, slots=True)
class Headers:
    """A block's header with those that make it count: the ones before it that change the sealers, and descendants that confirm it."""

    before: tuple[Header, ...]
    header: Header
    after: tuple[Header, ...]


class Voted(Protocol):
    """Who may seal the next block, as votes in the headers that were taken in so far made it."""

    current: set[bytes]

    def copy(self) -> Self:
        """One that can be led on without this one."""

    def remember(self, headers: Sequence[Header]) -> None:
        """Know who sealed these last headers, which nobody takes in."""

    def take_in(self, header: Header) -> bytes:
        """Take in the next header, whose vote counts from then on. Who gets the fees of its block. Errors: SealInvalid."""


class Engine(Protocol):
    """How blocks of one consensus engine are hashed, sealed and confirmed."""

    NAME: str
    FINAL: bool  # no block of it ever takes another's place

    def block_hash(self, header: Header) -> bytes:
        """The 32 bytes by which the next header names this one. Errors: HeaderInvalid."""

    def is_of_engine(self, header: Header) -> bool:
        """Whether the header's constant fields are those of this engine."""

    def fee_recipient(self, header: Header) -> bytes:
        """The account that contracts see as the coinbase of a block after the genesis. Errors: SealInvalid."""

    def listed(self, header: Header) -> tuple[bytes, ...]:
        """The accounts that may seal, as a genesis lists them. Errors: SealInvalid."""

    def verify_sealed(self, header: Header, sealers: Collection[bytes], epoch: int) -> tuple[bytes, ...]:
        """The accounts that sealed one header, enough of them for a block. Errors: SealInvalid."""

    def confirm(self, headers: Headers, trust: Trust) -> Confirmation:
        """Why a block of the trusted number or later counts. Errors: SealInvalid; Unconfirmed for headers that do not suffice."""

    def voted(self, sealers: Collection[bytes], epoch: int) -> Voted:
        """Those who may seal after a block at which no vote is pending."""

    def renew(self, latest: Header, fetch: Callable[[int], Header], trust: Trust) -> Trust:
        """The newest block that counts by now and can be trusted in the place of an older one, proved from that one. `fetch` and errors
        as of `collect`, but that any number of headers may lie between.
        """

    def collect(self, latest: Header, fetch: Callable[[int], Header], trust: Trust) -> Headers:
        """The newest block that counts by now, out of a chain up to `latest`; `fetch` gives the header of a number.

        Errors: SealInvalid, and Unconfirmed where no block counts, or more than MAX_HEADERS headers are needed.
        """


def check_follows(parent_hash: bytes, number: int, header: Header) -> None:
    """Raise Unconfirmed unless `header` is the next block after the one with this hash and number."""
    if header.number != number + 1 or header.parent_hash != parent_hash:
        raise Unconfirmed(f"block {header.number} does not follow block {number}")


def at_trusted_block(headers: Headers, trust: Trust) -> bool:
    """Whether the block is the trusted one, which needs no confirmation and must have none."""
    if headers.header.number != trust.block:
        return False
    if headers.before or headers.after:
        raise Unconfirmed("the trusted block comes without other headers")
    return True


def bounded(headers: Sequence[T]) -> tuple[T, ...]:
    """The headers, or their numbers, unless there are too many. Errors: Unconfirmed."""
    if len(headers) > MAX_HEADERS:
        raise Unconfirmed(f"more than {MAX_HEADERS} headers lie between it and the trusted block: take a newer network file")
    return tuple(headers)
