"""Transactions as they arrive: decoding, and the checks that need neither pool nor execution."""

from __future__ import annotations

from eth.abc import SignedTransactionAPI
from eth.constants import SECPK1_N
from eth.exceptions import UnrecognizedTransactionType
from eth.vm.forks.berlin.transactions import BerlinTransactionBuilder
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node import strict_rlp
from node.errors import RlpInvalid, TransactionRejected

MAX_TRANSACTION = 128 * 1024
MAX_NONCE = (1 << 64) - 1  # EIP-2681


def decode(raw: bytes, chain_id: int, gas_limit: int) -> SignedTransactionAPI:
    """Return the signed transaction in `raw`: legacy with replay protection (EIP-155), or with an access list (EIP-2930).

    Checked: size, canonical encoding, chain id, signature with low s, gas between the intrinsic cost and the block's limit.
    Errors: TransactionRejected.
    """
    if not 0 < len(raw) <= MAX_TRANSACTION:
        raise TransactionRejected(f"a transaction has 1 to {MAX_TRANSACTION} bytes, not {len(raw)}")
    typed = raw[0] < 0xC0
    if typed and raw[0] != 1:
        raise TransactionRejected("transaction type not supported: send a legacy or an access-list transaction with a gas price")
    try:
        strict_rlp.decode_list(raw[1:] if typed else raw, max_depth=4)
        transaction = BerlinTransactionBuilder.decode(raw)
        numbers = (transaction.gas_price, transaction.value, transaction.r, transaction.s)
        if transaction.nonce >= MAX_NONCE or transaction.gas >= 1 << 64 or max(numbers) >= 1 << 256:
            raise TransactionRejected("invalid transaction: a number is out of range")
        if not 0 < transaction.s <= SECPK1_N // 2:
            raise TransactionRejected("invalid transaction: the signature's s is not in the lower half")
        if transaction.chain_id is None:
            raise TransactionRejected("only replay-protected (EIP-155) transactions are accepted")
        if transaction.chain_id != chain_id:
            raise TransactionRejected(f"invalid chain id for signer: have {transaction.chain_id}, want {chain_id}")
        if transaction.gas > gas_limit:
            raise TransactionRejected(f"exceeds block gas limit: {transaction.gas} of {gas_limit}")
        if transaction.gas < transaction.intrinsic_gas:
            raise TransactionRejected(f"intrinsic gas too low: have {transaction.gas}, want {transaction.intrinsic_gas}")
        transaction.validate()
        assert len(transaction.sender) == 20  # noqa: S101 -- recovers and caches it
    except (RlpInvalid, RLPException, ValidationError, BadSignature, UnrecognizedTransactionType) as error:
        raise TransactionRejected(f"invalid transaction: {str(error).splitlines()[0]}") from error
    return transaction


def fits(transaction: SignedTransactionAPI, nonce: int, balance: int) -> bool:
    """Whether a sender with this nonce and balance (wei) can send the transaction now."""
    return transaction.nonce == nonce and cost(transaction) <= balance


def cost(transaction: SignedTransactionAPI) -> int:
    """Return what the sender must own, in wei."""
    return transaction.value + transaction.gas * transaction.max_fee_per_gas
