"""Signed notes with Ed25519, and the checkpoints of transparency logs that are written in them. Pure.

Source: C2SP signed-note v1.0.0 and C2SP tlog-checkpoint v1.0.0.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from anchoring.errors import EvidenceInvalid

MAX_NOTE = 1 << 16
_MAX_SIGNATURES = 16
_ED25519 = b"\1"
_NAME = re.compile(r"[!-*,-~]{1,200}")  # printable ASCII without space and plus
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """The public half of a note's key: its name, which is the log's origin, and 32 bytes of Ed25519."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that tell the signatures of this key."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The verifier key as Go's note package and its kin write it: name+id+key."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """A log as it stood at `size` entries."""

    origin: str
    size: int
    root: bytes  # RFC 9162 tree head, 32 bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def verifier_of(name: str, seed: bytes) -> Verifier:
    """The verifier of the Ed25519 key with this 32-byte seed (RFC 8032)."""
    return Verifier(name, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def read_verifier(text: str) -> Verifier:
    """The verifier in its text form, with or without a newline. EvidenceInvalid unless it is exactly that of an Ed25519 key."""
    name, _, rest = text.removesuffix("\n").partition("+")
    key = _base64(rest.partition("+")[2])
    if not _NAME.fullmatch(name) or key[:1] != _ED25519 or len(key) != 33:
        raise EvidenceInvalid("key", "not the verifier key of an Ed25519 note: give one line NAME+ID+KEY")
    verifier = Verifier(name, key[1:])
    if str(verifier) != text.removesuffix("\n"):
        raise EvidenceInvalid("key", "the verifier key was copied incompletely, or changed")
    return verifier


def sign(checkpoint: LogCheckpoint, seed: bytes) -> bytes:
    """The checkpoint as a note signed by the log's key, whose name is the origin."""
    text, verifier = checkpoint.text(), verifier_of(checkpoint.origin, seed)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return f"{text}\n— {verifier.name} {b64encode(verifier.id + signature).decode()}\n".encode()


def read_checkpoint(note: bytes) -> LogCheckpoint:
    """The checkpoint in a note, whoever signed it. EvidenceInvalid where it is none."""
    return _checkpoint(_split(note)[0])


def open_checkpoint(note: bytes, verifier: Verifier) -> LogCheckpoint:
    """The checkpoint in a note that this key signed. EvidenceInvalid where it is none, or another key's, or was changed."""
    text, signatures = _split(note)
    mine = [signature for name, signature in signatures if name == verifier.name and signature[:4] == verifier.id]
    if not mine:
        raise EvidenceInvalid("signature", "the checkpoint is not signed by this key")
    for signature in mine:
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public).verify(signature[4:], text.encode())
        except InvalidSignature as error:
            raise EvidenceInvalid("signature", "the checkpoint is not as this key signed it") from error
    checkpoint = _checkpoint(text)
    if checkpoint.origin != verifier.name:
        raise EvidenceInvalid("checkpoint", "it is of another log than the key")
    return checkpoint


def _split(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text and the signatures of a note."""
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise EvidenceInvalid("checkpoint", "not a signed note: it is not UTF-8") from error
    text, blank, lines = whole.rpartition("\n\n")
    listed = lines.split("\n")
    if len(note) > MAX_NOTE or not blank or listed.pop() or not 0 < len(listed) <= _MAX_SIGNATURES:
        raise EvidenceInvalid("checkpoint", "not a signed note, or it was cut off")
    if any(character < " " and character != "\n" for character in whole):
        raise EvidenceInvalid("checkpoint", "not a signed note: it has control characters")
    signatures = []
    for line in listed:
        dash, name, signature = [*line.split(" "), "", ""][:3]
        decoded = _base64(signature)
        if dash != "—" or line.count(" ") != 2 or not name or len(decoded) < 5:
            raise EvidenceInvalid("checkpoint", "a signature line is not as a signed note has it")
        signatures.append((name, decoded))
    return text + "\n", signatures


def _checkpoint(text: str) -> LogCheckpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise EvidenceInvalid("checkpoint", "not a log's checkpoint: it has three lines")
    origin, size, root = lines[0], lines[1], _base64(lines[2])
    if not _NAME.fullmatch(origin) or not _SIZE.fullmatch(size) or int(size) >= 2**63 or len(root) != 32:
        raise EvidenceInvalid("checkpoint", "not a log's checkpoint: origin, size or root is malformed")
    return LogCheckpoint(origin, int(size), root)


def _base64(text: str) -> bytes:
    """The bytes whose one base64 writing is `text`; b"" for anything else."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if b64encode(data).decode() == text else b""
