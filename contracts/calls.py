"""Typed calls of the contracts over web3: views into frozen dataclasses, and unsigned transactions for the caller to sign.

Transactions are legacy ones at gas price zero with a constant gas limit: an estimate would run the call on a state that may
have moved by the time it is mined, and fails outright where the call is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import ChecksumAddress, HexStr
from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.exceptions import BadFunctionCallOutput, ContractLogicError, MismatchedABI
from web3.logs import DISCARD
from web3.types import BlockIdentifier, TxParams, TxReceipt, Wei

from careseal import CaresealError
from contracts.actions import ZERO_ADDRESS, Action, ActionKind, KeyKind, Role, contract_name
from contracts.artifacts import load

# Gas limits, in gas. Measured by `python -m pytest tests/contracts/test_gas.py -s`; each leaves half as much again
# or more, and all stay far below a block of 30,000,000.
PUBLISH_GAS = 300_000
GENERATION_GAS = 120_000
MEMBER_GAS = 400_000  # join, close_founding, rotate_key
VOTE_GAS = 8_000_000  # counting visits every voter: enough for the thousandth
DEPLOY_GAS = 3_000_000

ERROR_STRING = "0x08c379a0"  # selector of Error(string), which a revert with a reason carries
MISFIT = "an argument does not fit its type; hashes and commitments are 32 bytes"


class ContractRefused(CaresealError):
    """A contract refused a call; `reason` is its own text, for example `history rewritten`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the contract refused: {reason}")
        self.reason = reason


class ContractMismatchError(CaresealError):
    """There is no contract at an address, or another than was asked for."""


@dataclass(frozen=True, slots=True)
class ChainCheckpoint:
    """One checkpoint as `Journals` keeps it: entries, 32-byte root, and the number of the block that took it in."""

    institution: int
    generation: int
    index: int
    size: int
    root: bytes
    block: int


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where an institution's journal stands on chain. `last` is None in a generation without checkpoints."""

    institution: int
    generation: int
    count: int  # checkpoints in the generation
    last: ChainCheckpoint | None


@dataclass(frozen=True, slots=True)
class Institution:
    """An institution's record; blocks `from_block <= b < until_block`, where until_block 0 is open."""

    id: int
    name: bytes  # 32-byte commitment
    roles: Role
    from_block: int
    until_block: int

    @property
    def active(self) -> bool:
        return self.from_block != 0 and self.until_block == 0


@dataclass(frozen=True, slots=True)
class ChainKey:
    """One key of an institution's history: 32 bytes; a sealing key is its account, left-padded."""

    institution: int
    kind: KeyKind
    index: int
    value: bytes
    from_block: int
    until_block: int

    @property
    def account(self) -> ChecksumAddress:
        """The account of a sealing key."""
        return to_checksum_address(self.value[12:])


@dataclass(frozen=True, slots=True)
class ContractTerm:
    """One contract that was in use under a name."""

    address: ChecksumAddress
    from_block: int
    until_block: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal; until_block is the block that executed it and 0 while it is open."""

    number: int
    action: Action
    from_block: int
    until_block: int
    votes: int


class _Deployed:
    """A shipped contract at an address. Every call raises ValueError where an argument does not fit its type."""

    _name: str

    def __init__(self, w3: Web3, address: str) -> None:
        self._w3 = w3
        self.address = to_checksum_address(address)
        self._contract = w3.eth.contract(address=self.address, abi=load(self._name).abi)
        self._chain_id: int | None = None

    def _read(self, function: str, *arguments: object, block: BlockIdentifier) -> Any:
        try:
            return self._contract.functions[function](*arguments).call(block_identifier=block)
        except MismatchedABI as error:
            raise ValueError(f"{function}: {MISFIT}") from error
        except ContractLogicError as error:
            raise ContractRefused(_reason(error)) from error
        except BadFunctionCallOutput as error:
            raise ContractMismatchError(f"there is no {self._name} contract at {self.address}: check the network file") from error

    def _write(self, function: str, *arguments: object, gas: int, nonce: int) -> TxParams:
        if self._chain_id is None:
            self._chain_id = self._w3.eth.chain_id
        try:
            data = self._contract.encode_abi(function, list(arguments))
        except MismatchedABI as error:
            raise ValueError(f"{function}: {MISFIT}") from error
        return {**_transaction(data, gas, nonce, self._chain_id), "to": self.address}


class Journals(_Deployed):
    """Calls of `Journals.vy`. Reading takes a block, the latest unless given; writing returns a transaction to be signed."""

    _name = "Journals"

    def consortium(self, block: BlockIdentifier = "latest") -> ChecksumAddress:
        """The consortium contract that it obeys."""
        return to_checksum_address(self._read("consortium", block=block))

    def generation(self, institution: int, block: BlockIdentifier = "latest") -> int:
        """The current generation; the first is 0."""
        return int(self._read("generation", institution, block=block))

    def count(self, institution: int, generation: int, block: BlockIdentifier = "latest") -> int:
        """The number of checkpoints in a generation."""
        return int(self._read("count", institution, generation, block=block))

    def checkpoint(self, institution: int, generation: int, index: int, block: BlockIdentifier = "latest") -> ChainCheckpoint:
        """Checkpoint `index`, from 0. Raises ContractRefused("no such checkpoint")."""
        size, root, number = self._read("checkpoint", institution, generation, index, block=block)
        return ChainCheckpoint(institution, generation, index, size, bytes(root), number)

    def head(self, institution: int, block: BlockIdentifier = "latest") -> ChainHead:
        """The current generation and its last checkpoint, read in one call."""
        generation, count, size, root, number = self._read("head", institution, block=block)
        last = ChainCheckpoint(institution, generation, count - 1, size, bytes(root), number) if count else None
        return ChainHead(institution, generation, count, last)

    def verify_consistency(self, size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
        """Raise ContractRefused unless tree 1 is a prefix of tree 2. RFC 9162, section 2.1.4.2; sizes below 2**63."""
        self._read("verify_consistency", size1, size2, root1, root2, list(proof), block="latest")

    def publish(
        self, generation: int, from_size: int, size: int, root: bytes, proof: Sequence[bytes], *, nonce: int
    ) -> TxParams:
        """Append a checkpoint to the sender's journal; `from_size` is the head's size and `proof` starts from there."""
        return self._write("publish", generation, from_size, size, root, list(proof), gas=PUBLISH_GAS, nonce=nonce)

    def open_generation(self, generation: int, *, nonce: int) -> TxParams:
        """Begin the sender's next generation, once it was approved by vote."""
        return self._write("open_generation", generation, gas=GENERATION_GAS, nonce=nonce)

    def published(self, receipt: TxReceipt) -> ChainCheckpoint | None:
        """The checkpoint that this transaction added, or None when it added none here."""
        for log in self._contract.events.CheckpointPublished().process_receipt(receipt, errors=DISCARD):
            if log["address"] == self.address:
                said = log["args"]
                return ChainCheckpoint(
                    said["institution"], said["generation"], said["index"], said["size"], bytes(said["root"]), log["blockNumber"]
                )
        return None


class Consortium(_Deployed):
    """Calls of `Consortium.vy`. Reading takes a block, the latest unless given; writing returns a transaction to be signed."""

    _name = "Consortium"

    def founding(self, block: BlockIdentifier = "latest") -> bool:
        """Whether anybody may still join without a vote."""
        return bool(self._read("founding", block=block))

    def member_count(self, block: BlockIdentifier = "latest") -> int:
        """The number of active institutions."""
        return int(self._read("member_count", block=block))

    def institution_count(self, block: BlockIdentifier = "latest") -> int:
        """The number of institutions ever admitted; their ids are 1 to this."""
        return int(self._read("institution_count", block=block))

    def institution_of(self, account: str, block: BlockIdentifier = "latest") -> int:
        """The active institution whose current sealing key is `account`, or 0."""
        return int(self._read("institution_of", to_checksum_address(account), block=block))

    def named(self, name: bytes, block: BlockIdentifier = "latest") -> int:
        """The institution that was admitted under this name, 32 bytes, or 0. No other can ever be."""
        return int(self._read("named", name, block=block))

    def institution(self, institution: int, block: BlockIdentifier = "latest") -> Institution:
        """An institution's record; all zero when there is none with this id."""
        name, roles, from_block, until_block = self._read("institution", institution, block=block)
        return Institution(institution, bytes(name), Role(roles), from_block, until_block)

    def keys(self, institution: int, kind: KeyKind, block: BlockIdentifier = "latest") -> tuple[ChainKey, ...]:
        """Every key of this kind that the institution has had, oldest first; the last is the current one."""
        count = self._read("key_count", institution, int(kind), block=block)
        return tuple(self.key_at(institution, kind, index, block) for index in range(count))

    def key_at(self, institution: int, kind: KeyKind, index: int, block: BlockIdentifier = "latest") -> ChainKey:
        """Key `index`, from 0; all zero when there is none."""
        value, from_block, until_block = self._read("key_at", institution, int(kind), index, block=block)
        return ChainKey(institution, kind, index, bytes(value), from_block, until_block)

    def contract_at(self, name: str, block: BlockIdentifier = "latest") -> ChecksumAddress | None:
        """The contract in use under this name."""
        address = to_checksum_address(self._read("contract_at", contract_name(name), block=block))
        return None if address == ZERO_ADDRESS else address

    def contracts(self, name: str, block: BlockIdentifier = "latest") -> tuple[ContractTerm, ...]:
        """Every contract that was in use under this name, oldest first."""
        word = contract_name(name)
        count = self._read("contract_count", word, block=block)
        terms = (self._read("contract_term", word, index, block=block) for index in range(count))
        return tuple(ContractTerm(to_checksum_address(address), *blocks) for address, *blocks in terms)

    def approved_generation(self, journals: str, institution: int, block: BlockIdentifier = "latest") -> int:
        """The last generation in this `Journals` contract that the members have approved for the institution."""
        return int(self._read("approved_generation", to_checksum_address(journals), institution, block=block))

    def proposal_count(self, block: BlockIdentifier = "latest") -> int:
        """The number of proposals ever made; they are numbered 1 to this."""
        return int(self._read("proposal_count", block=block))

    def proposal(self, number: int, block: BlockIdentifier = "latest") -> Proposal:
        """A proposal. Raises ContractRefused when there is none with this number."""
        action, from_block, until_block, votes = self._read("proposal", number, block=block)
        if not from_block:
            raise ContractRefused("no such proposal")
        kind, institution, account, word, amount = action
        typed = Action(ActionKind(kind), institution, to_checksum_address(account), bytes(word), amount)
        return Proposal(number, typed, from_block, until_block, votes)

    def has_voted(self, proposal: int, institution: int, block: BlockIdentifier = "latest") -> bool:
        """Whether the institution has voted for the proposal."""
        return bool(self._read("voted", proposal, institution, block=block))

    def join(self, name: bytes, roles: Role, *, nonce: int) -> TxParams:
        """Become a member while the consortium is being founded; the sender is the sealing key."""
        return self._write("join", name, int(roles), gas=MEMBER_GAS, nonce=nonce)

    def close_founding(self, *, nonce: int) -> TxParams:
        """End the founding, for good."""
        return self._write("close_founding", gas=MEMBER_GAS, nonce=nonce)

    def rotate_key(self, kind: KeyKind, key: bytes, *, nonce: int) -> TxParams:
        """Replace the sender's own key: 32 bytes, or the 20 of an account never used before for the sealing key."""
        return self._write("rotate_key", int(kind), key.rjust(32, b"\0"), gas=MEMBER_GAS, nonce=nonce)

    def propose(self, action: Action, *, nonce: int) -> TxParams:
        """Put an action to the vote and vote for it; a lone member's proposal is executed at once."""
        fields = (int(action.kind), action.institution, action.account, action.word, action.number)
        return self._write("propose", fields, gas=VOTE_GAS, nonce=nonce)

    def vote(self, proposal: int, *, nonce: int) -> TxParams:
        """Vote for a proposal; the vote that makes a majority executes it."""
        return self._write("vote", proposal, gas=VOTE_GAS, nonce=nonce)

    def proposed(self, receipt: TxReceipt) -> int | None:
        """The number of the proposal that this transaction made, or None when it made none here."""
        for log in self._contract.events.Proposed().process_receipt(receipt, errors=DISCARD):
            if log["address"] == self.address:
                return int(log["args"]["proposal"])
        return None


def deploy_consortium(w3: Web3, *, nonce: int) -> TxParams:
    """The transaction that deploys a consortium, open for founding; its sender becomes no member by it."""
    return _transaction(HexStr("0x" + load("Consortium").bytecode.hex()), DEPLOY_GAS, nonce, w3.eth.chain_id)


def deploy_journals(w3: Web3, consortium: str, *, nonce: int) -> TxParams:
    """The transaction that deploys the journals of a consortium."""
    argument = bytes.fromhex(to_checksum_address(consortium)[2:]).rjust(32, b"\0")
    return _transaction(HexStr("0x" + (load("Journals").bytecode + argument).hex()), DEPLOY_GAS, nonce, w3.eth.chain_id)


def deploy_succession(w3: Web3, predecessor: bytes, *, nonce: int) -> TxParams:
    """The transaction that deploys a commitment, 32 bytes, to what a consortium followed."""
    return _transaction(HexStr("0x" + (load("Succession").bytecode + predecessor).hex()), DEPLOY_GAS, nonce, w3.eth.chain_id)


def dry_run(w3: Web3, transaction: TxParams, sender: str, block: BlockIdentifier = "latest") -> None:
    """Run a transaction on a block's state without sending it. Raises ContractRefused with the reason it would fail for."""
    try:
        w3.eth.call({**transaction, "from": to_checksum_address(sender)}, block)
    except ContractLogicError as error:
        raise ContractRefused(_reason(error)) from error


def _transaction(data: HexStr, gas: int, nonce: int, chain_id: int) -> TxParams:
    return {"data": data, "gas": gas, "gasPrice": Wei(0), "nonce": nonce, "chainId": chain_id, "value": Wei(0)}  # type: ignore[typeddict-item]


def _reason(error: ContractLogicError) -> str:
    # Engines word their messages differently, some leave the reason out; the data is the contract's own.
    data = error.data if isinstance(error.data, str) else ""
    if data.startswith(ERROR_STRING):
        try:
            (reason,) = decode(["string"], bytes.fromhex(data.removeprefix(ERROR_STRING)))
            return str(reason)
        except (DecodingError, ValueError):
            return "unreadable reason"
    return (error.message or "").lower().removeprefix("execution reverted").removeprefix(": ") or "no reason given"
