"""Keys of nodes at rest: files of the Ethereum clients' keystore format, version 3, under a passphrase.

Source: Web3 Secret Storage Definition, version 3; scrypt as geth has it.
"""

from __future__ import annotations

import json
from pathlib import Path

from eth_account import Account

from careseal import read_json
from node.errors import KeystoreUnreadable

WORK = 1 << 18  # scrypt's n, as geth makes keystores
MAX_BYTES = 1 << 14


def encrypted(key: bytes, passphrase: bytes, work: int = WORK) -> bytes:
    """The keystore file of a 32-byte secp256k1 key."""
    return json.dumps(Account.encrypt(key, passphrase.decode(), kdf="scrypt", iterations=work)).encode() + b"\n"


def read_key(path: Path, passphrase: bytes) -> bytes:
    """The 32-byte key in a keystore file. KeystoreUnreadable where the file is none, or the passphrase is another."""
    try:
        with path.open("rb") as file:
            values = read_json(file.read(MAX_BYTES))
    except OSError as error:
        raise KeystoreUnreadable(f"cannot read the keystore {path}: {error.strerror}") from error
    except ValueError as error:
        raise KeystoreUnreadable(f"{path} is no keystore, or damaged: put back a copy of it") from error
    try:
        return bytes(Account.decrypt(values, passphrase.decode()))
    except (ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        raise KeystoreUnreadable(f"the keystore {path} does not open: wrong passphrase, or a damaged file") from error
