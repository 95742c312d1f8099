"""Clique proof of authority: who sealed a header, how votes change the sealers, and when enough of them stand behind a block.

A confirmed block is never final: a fork of equal weight can take its place. Source: EIP-225; geth's consensus/clique.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import coincurve
from eth_hash.auto import keccak

from node import header as block_header
from node import strict_rlp
from node.confirmation import Confirmation, Headers, Trust, at_trusted_block, bounded, check_follows
from node.errors import SealInvalid, Unconfirmed
from node.header import EMPTY_UNCLES_HASH, Header, items
from node.signature import account_of, recover

NAME = "Clique"
FINAL = False
VANITY = 32
SEAL = 65
EPOCH = 30_000
IN_TURN, OUT_OF_TURN = 2, 1

_ZERO20, _ZERO32 = bytes(20), bytes(32)
_ADD = b"\xff" * 8
_NONCES = {bytes(8), _ADD}
_EXTRA = 12  # position of the extra data among the header's fields


@dataclass(frozen=True, slots=True)
class Extra:
    """A Clique header's extra data in its parts. `signers` is not empty on epoch blocks only."""

    vanity: bytes
    signers: tuple[bytes, ...]
    seal: bytes


def parse_extra(extra_data: bytes) -> Extra:
    """Return the 32 bytes of vanity, the 20-byte signers and the 65-byte seal. Errors: SealInvalid for other lengths."""
    middle = len(extra_data) - VANITY - SEAL
    if middle < 0 or middle % 20:
        raise SealInvalid(f"Clique: {len(extra_data)} bytes of extra data are not vanity, signers and seal")
    listed = extra_data[VANITY : VANITY + middle]
    return Extra(extra_data[:VANITY], tuple(listed[i : i + 20] for i in range(0, middle, 20)), extra_data[-SEAL:])


def unsealed_extra(number: int, signers: Collection[bytes], epoch: int = EPOCH) -> bytes:
    """Return the extra data of block `number` with an empty seal; blocks at a multiple of `epoch` list the signers."""
    listed = b"".join(sorted(signers)) if number % epoch == 0 else b""
    return bytes(VANITY) + listed + bytes(SEAL)


def seal_hash(header: Header) -> bytes:
    """Return the 32 bytes that a sealer signs: keccak-256 of the header's RLP without the 65 bytes of the seal."""
    parse_extra(header.extra_data)
    values = items(header)
    values[_EXTRA] = header.extra_data[:-SEAL]
    return bytes(keccak(strict_rlp.encode(values)))


def address_of(key: bytes) -> bytes:
    """Return the 20-byte address of a 32-byte private key. Errors: SealInvalid when it is no valid key."""
    try:
        public = coincurve.PrivateKey(key).public_key
    except ValueError as error:
        raise SealInvalid("the sealer's key is not a valid secp256k1 private key; check the key file") from error
    return account_of(public)


def seal(header: Header, key: bytes) -> Header:
    """Return `header` with its last 65 bytes of extra data replaced by the signature of `key` (32 bytes)."""
    address_of(key)
    signature = coincurve.PrivateKey(key).sign_recoverable(seal_hash(header), hasher=None)
    return replace(header, extra_data=header.extra_data[:-SEAL] + signature)


def recover_sealer(header: Header) -> bytes:
    """Return the 20-byte address whose key sealed `header`.

    Errors: SealInvalid for malformed signatures and for a high s, so that nobody can make a second valid seal of a block.
    """
    try:
        return recover(parse_extra(header.extra_data).seal, seal_hash(header))
    except ValueError as error:
        raise SealInvalid(f"Clique: the seal of block {header.number} is not a canonical signature") from error


def verify_seal(header: Header, signers: Collection[bytes], *, epoch: int = EPOCH) -> bytes:
    """Return the sealer of `header` after checking all that EIP-225 asks of one header, given the signers in force.

    That is: sealed by one of `signers` (20 bytes each), difficulty 2 in turn and 1 out of turn, the signers listed on
    multiples of `epoch` and nowhere else, no mix hash, no uncles, a nonce that is a vote or none. What needs the parent
    (period, not twice within n/2 blocks) is not checked here. Errors: SealInvalid.
    """
    def refuse(reason: str) -> SealInvalid:
        return SealInvalid(f"Clique: block {header.number} {reason}")

    if header.number == 0:
        raise refuse("is the genesis, which has no seal")
    if header.mix_hash != _ZERO32 or header.uncles_hash != EMPTY_UNCLES_HASH or header.nonce not in _NONCES:
        raise refuse("carries a mix hash, uncles or a nonce that Clique does not allow")
    ordered = sorted(set(signers))
    checkpoint = header.number % epoch == 0
    if checkpoint and (header.coinbase != _ZERO20 or header.nonce != bytes(8)):
        raise refuse("votes at an epoch")
    if parse_extra(header.extra_data).signers != (tuple(ordered) if checkpoint else ()):
        raise refuse("does not list the signers as it must")
    sealer = recover_sealer(header)
    if sealer not in ordered:
        raise refuse(f"is sealed by 0x{sealer.hex()}, which is not a sealer")
    in_turn = ordered[header.number % len(ordered)] == sealer
    if header.difficulty != (IN_TURN if in_turn else OUT_OF_TURN):
        raise refuse(f"claims difficulty {header.difficulty} out of its sealer's turn")
    return sealer


def block_hash(header: Header) -> bytes:
    """The block's hash, 32 bytes, over all fields of its header."""
    return block_header.block_hash(header)


def is_of_engine(header: Header) -> bool:
    """Whether mix hash and difficulty are such as Clique's headers have."""
    return header.mix_hash == _ZERO32 and header.difficulty in (IN_TURN, OUT_OF_TURN)


def fee_recipient(header: Header) -> bytes:
    """Who gets the fees of a block: its sealer. Errors: SealInvalid."""
    return recover_sealer(header)


def listed(header: Header) -> tuple[bytes, ...]:
    """The sealers that a block at a multiple of the epoch lists. Errors: SealInvalid."""
    return parse_extra(header.extra_data).signers


def verify_sealed(header: Header, sealers: Collection[bytes], epoch: int) -> tuple[bytes, ...]:
    """The sealer of one header, alone in a tuple. Errors: SealInvalid."""
    return (verify_seal(header, sealers, epoch=epoch),)


@dataclass(slots=True)
class Sealers:
    """Who may seal the next block: `current`, as votes in the headers that were taken in so far made it.

    Source: EIP-225, "Authorizing"; geth's snapshot.
    """

    current: set[bytes]
    epoch: int
    votes: dict[bytes, set[bytes]] = field(default_factory=dict)  # account in question -> who votes to add or to remove it
    recent: dict[int, bytes] = field(default_factory=dict)  # number -> who sealed it, of the last len(current) // 2 + 1 blocks

    def copy(self) -> Sealers:
        """One that can be led on without this one."""
        votes = {account: set(voters) for account, voters in self.votes.items()}
        return Sealers(set(self.current), self.epoch, votes, dict(self.recent))

    def remember(self, headers: Sequence[Header]) -> None:
        """Know who sealed these last headers, which nobody takes in."""
        self.recent |= {header.number: recover_sealer(header) for header in headers}

    def take_in(self, header: Header) -> bytes:
        """The sealer of the next header, whose vote counts from then on. Errors: SealInvalid, also for who sealed too recently."""
        number = header.number
        sealer = verify_seal(header, self.current, epoch=self.epoch)
        limit = len(self.current) // 2 + 1
        if any(who == sealer and at > number - limit for at, who in self.recent.items()):
            raise SealInvalid(f"Clique: block {number} is sealed by 0x{sealer.hex()} again too soon")
        if number % self.epoch == 0:
            self.votes.clear()
        self._vote(sealer, header.coinbase, header.nonce == _ADD)
        self.recent[number] = sealer
        self.recent = {at: who for at, who in self.recent.items() if at > number - len(self.current) // 2 - 1}
        return sealer

    def _vote(self, sealer: bytes, account: bytes, add: bool) -> None:
        voters = self.votes.setdefault(account, set())
        voters.discard(sealer)
        if (account in self.current) != add:
            voters.add(sealer)
        if not voters:
            del self.votes[account]
        elif len(voters) > len(self.current) // 2:
            self._change(account, add)

    def _change(self, account: bytes, add: bool) -> None:
        del self.votes[account]
        if add:
            self.current.add(account)
            return
        self.current.remove(account)
        for voters in self.votes.values():
            voters.discard(account)
        self.votes = {target: voters for target, voters in self.votes.items() if voters}


def voted(sealers: Collection[bytes], epoch: int) -> Sealers:
    """Those who may seal after a block at which no vote is pending."""
    return Sealers(set(sealers), epoch)


def confirm(headers: Headers, trust: Trust) -> Confirmation:
    """Why a block of the trusted number or later is confirmed: more than half of the sealers sealed it and its descendants.

    The last descendant is the one that makes it more than half. Where headers come before it, they are all from the trusted block on,
    and their votes count; else the sealers are the trusted ones. Errors: SealInvalid, Unconfirmed.
    """
    if at_trusted_block(headers, trust):
        return Confirmation(False, (), len(trust.sealers))
    chain = bounded((*headers.before, headers.header, *headers.after))
    if headers.before:
        check_follows(trust.block_hash, trust.block, chain[0])
    sealers = Sealers(set(trust.sealers), trust.epoch)
    steps = _sealed_by(sealers, chain, trust.period)
    for _ in headers.before:
        next(steps)
    in_force, behind, enough = frozenset(sealers.current), dict[bytes, None](), -1
    for at, (_, sealer) in enumerate(steps):
        if sealer in in_force:
            behind[sealer] = None
        if enough < 0 and 2 * len(behind) > len(in_force):
            enough = at
    if enough < 0:
        raise Unconfirmed(f"{len(behind)} of {len(in_force)} sealers stand behind block {headers.header.number}, more than half are needed")
    if enough != len(headers.after):
        raise Unconfirmed(f"block {headers.header.number} comes with more descendants than it needs")
    return Confirmation(False, tuple(behind), len(in_force))


def _sealed_by(sealers: Sealers, chain: Iterable[Header], period: int) -> Iterator[tuple[Header, bytes]]:
    """Each header of a chain with its sealer, once it is taken in."""
    previous: Header | None = None
    for header in chain:
        if previous is not None:
            check_follows(block_hash(previous), previous.number, header)
            if header.timestamp < previous.timestamp + period:
                raise Unconfirmed(f"block {header.number} comes before its time")
        yield header, sealers.take_in(header)
        previous = header


def renew(latest: Header, fetch: Callable[[int], Header], trust: Trust) -> Trust:
    """The newest block that counts and at which no vote was pending; all headers are read. Errors: SealInvalid, Unconfirmed."""
    sealers, best = Sealers(set(trust.sealers), trust.epoch), trust
    waiting: list[tuple[Trust, set[bytes]]] = []  # blocks that do not count yet, and who stands behind each
    chain = (latest if number == latest.number else fetch(number) for number in range(trust.block + 1, latest.number + 1))
    for header, sealer in _sealed_by(sealers, chain, trust.period):
        if header.number == trust.block + 1:
            check_follows(trust.block_hash, trust.block, header)
        if not sealers.votes:
            made = replace(trust, block=header.number, block_hash=block_hash(header), sealers=tuple(sorted(sealers.current)))
            waiting.append((made, set()))
        for place, (candidate, behind) in reversed(list(enumerate(waiting))):
            behind |= {sealer}.intersection(candidate.sealers)
            if 2 * len(behind) > len(candidate.sealers):
                best, waiting = candidate, waiting[place + 1 :]
                break
    return best


def collect(latest: Header, fetch: Callable[[int], Header], trust: Trust) -> Headers:
    """The newest block that is confirmed by the chain up to `latest`, with all headers from the trusted block on only where votes
    changed the sealers since. Errors: SealInvalid; Unconfirmed where no block is, or where the trusted block lies too far back.
    """
    if latest.number == trust.block:
        return Headers((), latest, ())
    chain, sealed_by = [latest], [recover_sealer(latest)]
    while chain[0].number > trust.block + 1 and 2 * len(set(sealed_by)) <= len(trust.sealers):
        chain.insert(0, fetch(chain[0].number - 1))
        sealed_by.insert(0, recover_sealer(chain[0]))
    with suppress(SealInvalid, Unconfirmed):
        headers = _cut(chain, 0, sealed_by, trust.sealers)
        confirm(headers, trust)
        return headers
    bounded(range(trust.block, latest.number))
    chain = [fetch(number) for number in range(trust.block + 1, chain[0].number)] + chain
    sealers, in_force, sealed_by = Sealers(set(trust.sealers), trust.epoch), [], []
    steps = _sealed_by(sealers, chain, trust.period)
    for _ in chain:
        in_force.append(frozenset(sealers.current))
        sealed_by.append(next(steps)[1])
    for place in reversed(range(len(chain))):
        if 2 * len(in_force[place].intersection(sealed_by[place:])) > len(in_force[place]):
            return _cut(chain, place, sealed_by[place:], in_force[place])
    raise _too_early()


def _cut(chain: Sequence[Header], place: int, sealed_by: Sequence[bytes], in_force: Collection[bytes]) -> Headers:
    """The block at this place of a chain, sealed from there on by these, with as many descendants as it needs. Errors: Unconfirmed."""
    behind: set[bytes] = set()
    for more, sealer in enumerate(sealed_by):
        behind |= {sealer} & set(in_force)
        if 2 * len(behind) > len(in_force):
            return Headers(tuple(chain[:place]), chain[place], tuple(chain[place + 1 : place + more + 1]))
    raise _too_early()


def _too_early() -> Unconfirmed:
    return Unconfirmed("no block is confirmed by enough sealers yet: wait for further blocks")
