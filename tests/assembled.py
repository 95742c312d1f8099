"""Hand-assembled contracts, an account that signs, and clocks: what the chain's tests send and wait with."""

from __future__ import annotations

from dataclasses import dataclass, field

from eth.vm import opcode_values
from eth_account import Account
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from node import strict_rlp

CHAIN_ID = 7777
SEALER_KEY = bytes.fromhex("11" * 32)
TOPIC = keccak(b"Stored(uint256,uint256)")


def assemble(source: str) -> bytes:
    """Opcode names as py-evm spells them, hexadecimal operands, and @name / :name for one-byte jump targets."""
    code, targets, holes = bytearray(), {}, []
    for word in source.split():
        if word.startswith(":"):
            targets[word[1:]] = len(code)
            code.append(opcode_values.JUMPDEST)
        elif word.startswith("@"):
            code += bytes([opcode_values.PUSH1, 0])
            holes.append((len(code) - 1, word[1:]))
        elif hasattr(opcode_values, word):
            code.append(getattr(opcode_values, word))
        else:
            operand = bytes.fromhex(word)
            code += bytes([opcode_values.PUSH1 - 1 + len(operand)]) + operand
    for position, name in holes:
        code[position] = targets[name]
    return bytes(code)


def deployer(runtime: bytes) -> bytes:
    """Init code that returns `runtime`."""
    size = len(runtime).to_bytes(2, "big").hex()
    head = assemble(f"{size} 0010 00 CODECOPY {size} 00 RETURN STOP")
    assert len(head) == 0x10
    return head + runtime


# store(key, value): keeps it, logs Stored(key) with the value, returns the value; without arguments reverts with a reason
STORE = assemble(f"""
    CALLDATASIZE ISZERO @refuse JUMPI
    20 CALLDATALOAD 00 CALLDATALOAD DUP2 DUP2 SSTORE
    SWAP1 00 MSTORE {TOPIC.hex()} 20 00 LOG2
    20 00 RETURN
    :refuse 08c379a0 e0 SHL 00 MSTORE 20 04 MSTORE 07 24 MSTORE {b"refused".ljust(32, bytes(1)).hex()} 44 MSTORE 64 00 REVERT
""")
# keeps what it can learn of the block, so that another engine's state root agrees only when the surroundings agree
WITNESS = assemble("""
    COINBASE 00 SSTORE  TIMESTAMP 01 SSTORE  NUMBER 02 SSTORE  DIFFICULTY 03 SSTORE  GASLIMIT 04 SSTORE
    CHAINID 05 SSTORE  01 NUMBER SUB BLOCKHASH 06 SSTORE  SELFBALANCE 07 SSTORE  GASPRICE 08 SSTORE  STOP
""")
RECURSE = assemble("00 00 00 00 00 ADDRESS GAS CALL STOP")
BURN = assemble(":loop @loop JUMP")
VANISH = assemble("00 SELFDESTRUCT")
SPREAD = assemble("00 CALLDATALOAD " + " ".join(f"20 CALLDATALOAD DUP2 {i:02x} ADD SSTORE" for i in range(10)) + " STOP")


@dataclass
class Sender:
    """An account and its next nonce."""

    key: bytes = bytes.fromhex("22" * 32)
    nonce: int = 0
    chain_id: int = CHAIN_ID
    account: object = field(init=False)

    def __post_init__(self):
        self.account = Account.from_key(self.key)

    @property
    def address(self) -> bytes:
        return bytes.fromhex(self.account.address[2:])

    def sign(self, to: bytes = b"", data: bytes = b"", gas: int = 1_000_000, **overrides) -> bytes:
        fields = {"nonce": self.nonce, "gas": gas, "gasPrice": 0, "value": 0, "data": data, "chainId": self.chain_id, **overrides}
        fields["to"] = to_checksum_address(to) if to else ""
        self.nonce = fields["nonce"] + 1
        return bytes(self.account.sign_transaction(fields).raw_transaction)

    def deploy(self, runtime: bytes, **overrides) -> tuple[bytes, bytes]:
        """The signed creation of a contract, and the contract's address."""
        address = keccak(strict_rlp.encode([self.address, strict_rlp.from_int(self.nonce)]))[12:]
        return self.sign(b"", deployer(runtime), **overrides), address


class Clock:
    """A clock that moves only when someone sleeps, or is told to."""

    def __init__(self, now: float = 1_700_000_000.0):
        self.now = now
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


class Hurried:
    """A clock that runs two seconds ahead whenever it is read, so that nobody has to wait for a period."""

    def __init__(self, now: float = 1_700_000_000.0):
        self.now = now

    def __call__(self) -> float:
        self.now += 2
        return self.now


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")
