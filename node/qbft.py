"""QBFT: who sealed a header, whether they are a quorum, and how a change of the validators is followed.

A block that a quorum sealed is final while fewer than a third of the validators cheat. Extra data is RLP [vanity, validators, vote,
round, seals]. Sources: Besu's and GoQuorum's QBFT; arXiv 1909.10194 for the quorum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from node import header as block_header
from node import strict_rlp
from node.confirmation import MAX_HEADERS, Confirmation, Headers, Trust, at_trusted_block, bounded
from node.errors import RlpInvalid, SealInvalid, Unconfirmed
from node.header import EMPTY_UNCLES_HASH, Header
from node.signature import recover

NAME = "QBFT"
FINAL = True
MIX_HASH = bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365")
MAX_VALIDATORS = 1000


@dataclass(frozen=True, slots=True)
class Extra:
    """A header's extra data in its parts. `vote` is what stands there, a list; `round` is the number's bytes."""

    vanity: bytes
    validators: tuple[bytes, ...]
    vote: strict_rlp.Item
    round: bytes
    seals: tuple[bytes, ...]


def parse_extra(header: Header) -> Extra:
    """The parts of a header's extra data. Errors: SealInvalid."""
    try:
        parts = strict_rlp.decode_list(header.extra_data, max_depth=2)
        vanity, validators, vote, turn, seals = parts
        strict_rlp.to_int(turn, bits=32)
    except (RlpInvalid, ValueError) as error:
        raise SealInvalid(f"QBFT: the extra data of block {header.number} is malformed") from error
    listed = _strings(validators, 20)
    if len(vanity) != 32 or isinstance(vanity, list) or not 0 < len(listed) <= MAX_VALIDATORS or len(set(listed)) != len(listed):
        raise SealInvalid(f"QBFT: the extra data of block {header.number} lists no validators as it must")
    return Extra(vanity, listed, vote, turn, _strings(seals, 65))  # type: ignore[arg-type]


def _strings(items: strict_rlp.Item, size: int) -> tuple[bytes, ...]:
    if isinstance(items, bytes) or any(isinstance(item, list) or len(item) != size for item in items):
        raise SealInvalid(f"QBFT: the extra data has something else than {size} bytes in a list of them")
    return tuple(items)  # type: ignore[arg-type]


def block_hash(header: Header) -> bytes:
    """The block's hash, 32 bytes: round and seals are empty in what is hashed, for they are added when the block is agreed on."""
    return block_header.block_hash(_with_extra(header, parse_extra(header), b""))


def commit_hash(header: Header) -> bytes:
    """The 32 bytes that a commit seal signs: the round stays, the seals are empty."""
    extra = parse_extra(header)
    return block_header.block_hash(_with_extra(header, extra, extra.round))


def _with_extra(header: Header, extra: Extra, turn: bytes) -> Header:
    return replace(header, extra_data=strict_rlp.encode([extra.vanity, list(extra.validators), extra.vote, turn, []]))


def quorum(validators: int) -> int:
    """How many of so many validators must seal a block: two thirds, rounded up."""
    return -(-2 * validators // 3)


def is_of_engine(header: Header) -> bool:
    """Whether the constant fields are those of QBFT."""
    return (header.mix_hash, header.uncles_hash, header.difficulty, header.nonce) == (MIX_HASH, EMPTY_UNCLES_HASH, 1, bytes(8))


def verify_quorum(header: Header) -> tuple[bytes, ...]:
    """The validators whose commit seals are on a header, a quorum of those that it lists, in the order of the seals.

    Errors: SealInvalid for too few seals, and for one that is malformed, repeated, or of somebody else.
    """
    def refuse(reason: str) -> SealInvalid:
        return SealInvalid(f"QBFT: block {header.number} {reason}")

    if header.number == 0 or not is_of_engine(header):
        raise refuse("is the genesis, or not of this engine")
    extra, signed = parse_extra(header), commit_hash(header)
    if len(extra.seals) > len(extra.validators):
        raise refuse("has more seals than validators")
    sealed: list[bytes] = []
    for seal in extra.seals:
        try:
            validator = recover(seal, signed)
        except ValueError as error:
            raise refuse("has a commit seal that is no canonical signature") from error
        if validator not in extra.validators:
            raise refuse(f"is sealed by 0x{validator.hex()}, which is not a validator")
        if validator in sealed:
            raise refuse(f"is sealed by 0x{validator.hex()} twice")
        sealed.append(validator)
    if len(sealed) < quorum(len(extra.validators)):
        raise refuse(f"has {len(sealed)} seals of {len(extra.validators)} validators, {quorum(len(extra.validators))} are needed")
    return tuple(sealed)


def fee_recipient(header: Header) -> bytes:
    """Who gets the fees of a block: the proposer that it names."""
    return header.coinbase


def listed(header: Header) -> tuple[bytes, ...]:
    """The validators that every block lists: those that seal it. Errors: SealInvalid."""
    return parse_extra(header).validators


def verify_sealed(header: Header, sealers: Collection[bytes], epoch: int) -> tuple[bytes, ...]:
    """The validators that sealed a header, a quorum of `sealers`, which it lists. Errors: SealInvalid."""
    if set(parse_extra(header).validators) != set(sealers):
        raise SealInvalid(f"QBFT: block {header.number} lists other validators")
    return verify_quorum(header)


@dataclass(slots=True)
class Sealers:
    """The validators of the next block: `current`, as votes in the headers that were taken in so far made it.

    A vote stands in the header of its proposer; it counts with more than half of the validators, from the next block on, until the next
    multiple of `epoch`. Source: GoQuorum's and Besu's votes by block headers.
    """

    current: set[bytes]
    epoch: int
    votes: dict[bytes, set[bytes]] = field(default_factory=dict)  # account in question -> who votes to add or to remove it

    def copy(self) -> Sealers:
        """One that can be led on without this one."""
        return Sealers(set(self.current), self.epoch, {account: set(voters) for account, voters in self.votes.items()})

    def remember(self, headers: Sequence[Header]) -> None:
        """Here who sealed before does not matter."""

    def take_in(self, header: Header) -> bytes:
        """The proposer of the next header, whose vote counts from then on. Errors: SealInvalid."""
        verify_sealed(header, self.current, self.epoch)
        if header.coinbase not in self.current:
            raise SealInvalid(f"QBFT: block {header.number} is proposed by 0x{header.coinbase.hex()}, which is not a validator")
        if header.number % self.epoch == 0:
            self.votes.clear()
        vote = parse_extra(header).vote
        match vote:
            case [bytes(account), b"" | b"\xff" as wish] if len(account) == 20:
                self._vote(header.coinbase, account, wish != b"")
            case []:
                pass
            case _:
                raise SealInvalid(f"QBFT: block {header.number} has a vote that is none")
        return header.coinbase

    def _vote(self, proposer: bytes, account: bytes, add: bool) -> None:
        voters = self.votes.setdefault(account, set())
        voters.discard(proposer)
        if (account in self.current) != add:
            voters.add(proposer)
        if len(voters) > len(self.current) // 2:
            (self.current.add if add else self.current.discard)(account)
            del self.votes[account]
            if not add:
                self.votes = {target: those - {account} for target, those in self.votes.items()}


def voted(sealers: Collection[bytes], epoch: int) -> Sealers:
    """Those who may seal after a block at which no vote is pending."""
    return Sealers(set(sealers), epoch)


def confirm(headers: Headers, trust: Trust) -> Confirmation:
    """Why a block of the trusted number or later is final.

    A quorum of the validators in force sealed it. Each header before it lists other validators than were in force, a quorum of its own
    sealed it, and among them more than a third of those in force: at least one honest one. The block may be such a header itself.
    Errors: SealInvalid, Unconfirmed.
    """
    if at_trusted_block(headers, trust):
        return Confirmation(True, (), len(trust.sealers))
    if headers.after:
        raise Unconfirmed("a block of QBFT needs no descendants")
    known, number = set(trust.sealers), trust.block
    chain = (*bounded(headers.before), headers.header)
    for place, header in enumerate(chain, 1):
        if header.number <= number:
            raise Unconfirmed(f"block {header.number} does not come after block {number}")
        sealed, listed = verify_quorum(header), set(parse_extra(header).validators)
        if listed == known and place < len(chain):
            raise Unconfirmed(f"block {header.number} does not change the validators")
        if listed != known and 3 * len(known.intersection(sealed)) <= len(known):
            raise Unconfirmed(f"block {header.number} has other validators, and seals of no more than a third of those before")
        known, number = listed, header.number
    return Confirmation(True, sealed, len(listed))


def renew(latest: Header, fetch: Callable[[int], Header], trust: Trust) -> Trust:
    """The latest block, with the validators that it lists. Errors: SealInvalid, Unconfirmed."""
    confirm(collect(latest, fetch, trust), trust)
    return replace(trust, block=latest.number, block_hash=block_hash(latest), sealers=tuple(sorted(listed(latest))))


def collect(latest: Header, fetch: Callable[[int], Header], trust: Trust) -> Headers:
    """The latest block, with as few headers before it as lead from the trusted validators to those of its own. Errors: Unconfirmed."""
    if latest.number == trust.block:
        return Headers((), latest, ())
    before: list[Header] = []
    low, known = trust.block, trust.sealers
    while not _reaches(latest, low, known, trust):
        # As far as the validators known so far lead; a change of one or two of them always is reached.
        far, near = latest.number, low
        while far - near > 1:
            middle = (far + near) // 2
            near, far = (middle, far) if _reaches(fetch(middle), low, known, trust) else (near, middle)
        if near == low or len(before) == MAX_HEADERS:
            raise Unconfirmed("its validators cannot be followed from the trusted block: take a newer network file")
        before.append(fetch(near))
        low, known = near, parse_extra(before[-1]).validators
    return Headers(tuple(before), latest, ())


def _reaches(header: Header, low: int, known: tuple[bytes, ...], trust: Trust) -> bool:
    start = replace(trust, block=low, sealers=known)
    try:
        confirm(Headers((), header, ()), start)
    except (SealInvalid, Unconfirmed):
        return False
    return True
