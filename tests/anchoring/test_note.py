"""Signed notes and log checkpoints: the specification's own examples, and every part changed."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchoring.errors import EvidenceInvalid
from anchoring.note import LogCheckpoint, Verifier, open_checkpoint, read_checkpoint, read_verifier, sign, verifier_of

SEED, NAME = bytes(range(32)), "careseal/1000001/0x" + "33" * 20 + "/1/0"
CHECKPOINT = LogCheckpoint(NAME, 20852163, bytes(range(32)))
VERIFIER = verifier_of(NAME, SEED)
NOTE = sign(CHECKPOINT, SEED)
# The example of Go's golang.org/x/mod/sumdb/note: a note and its key that this program did not make.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_that_another_program_signed_is_read_with_its_key() -> None:
    verifier = read_verifier(GO_KEY + "\n")
    assert (verifier.name, verifier.id.hex(), str(verifier)) == ("PeterNeumann", "c74f20a3", GO_KEY)
    with pytest.raises(EvidenceInvalid, match="not a log's checkpoint"):
        open_checkpoint(GO_NOTE.encode(), verifier)  # its signature holds
    with pytest.raises(EvidenceInvalid, match="not as this key signed it"):
        open_checkpoint(GO_NOTE.replace("problem is", "problem was").encode(), verifier)


def test_a_checkpoint_is_read_back_as_it_was_signed() -> None:
    assert open_checkpoint(NOTE, VERIFIER) == read_checkpoint(NOTE) == CHECKPOINT
    assert NOTE.decode().split("\n")[:3] == [NAME, "20852163", b64encode(bytes(range(32))).decode()]
    assert read_verifier(str(VERIFIER)) == VERIFIER


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_survives(size: int, root: bytes, seed: bytes) -> None:
    checkpoint = LogCheckpoint(NAME, size, root)
    assert open_checkpoint(sign(checkpoint, seed), verifier_of(NAME, seed)) == checkpoint


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NOTE) - 1))
    changed = bytearray(NOTE)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EvidenceInvalid):
        open_checkpoint(bytes(changed), VERIFIER)


@given(st.integers(0, len(NOTE) - 1))
def test_no_part_of_a_note_passes(end: int) -> None:
    with pytest.raises(EvidenceInvalid):
        open_checkpoint(NOTE[:end], VERIFIER)


def test_signatures_of_others_are_passed_over_and_mine_must_hold() -> None:
    other = sign(CHECKPOINT, b"o" * 32).decode().split("\n")[-2] + "\n"
    assert open_checkpoint(NOTE + other.encode(), VERIFIER) == CHECKPOINT
    assert open_checkpoint(NOTE + other.encode() * 15, VERIFIER) == CHECKPOINT
    with pytest.raises(EvidenceInvalid, match="signature: the checkpoint is not signed by this key"):
        open_checkpoint(sign(CHECKPOINT, b"o" * 32), VERIFIER)
    with pytest.raises(EvidenceInvalid, match="not a signed note"):
        open_checkpoint(NOTE + other.encode() * 16, VERIFIER)
    broken = NOTE + f"— {NAME} {b64encode(VERIFIER.id + bytes(64)).decode()}\n".encode()
    with pytest.raises(EvidenceInvalid, match="not as this key signed it"):
        open_checkpoint(broken, VERIFIER)


def test_a_checkpoint_of_another_log_is_refused_even_where_the_key_signed_it() -> None:
    text = LogCheckpoint("another/log", 1, bytes(32)).text()
    signature = b64decode(sign(LogCheckpoint(NAME, 1, bytes(32)), SEED).split(b" ")[-1])
    with pytest.raises(EvidenceInvalid, match="not as this key signed it"):
        open_checkpoint(f"{text}\n— {NAME} {b64encode(signature).decode()}\n".encode(), VERIFIER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20852163", "020852163"), ("20852163", ""), ("20852163", "-1"), ("20852163", "+1"), ("20852163", str(2**63)), ("20852163", "１"),
        ("20852163\n", "20852163\n\n"), ("20852163", " 20852163"), (NAME, ""), (NAME, NAME + " "), (NAME + "\n", NAME + "\t\n"),
        ("AAECAw", "AAECA"), ("AAECAw", "-AECAw"), ("Hh8=\n", "Hh8=\nmore\n"),
        ("Hh8=", "Hh9="), ("Hh8=", "Hh8"), ("— ", "- "), ("\n\n", "\n"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused_whoever_signed_it(old: str, new: str) -> None:
    assert old in NOTE.decode()
    with pytest.raises(EvidenceInvalid, match="^checkpoint: "):
        read_checkpoint(NOTE.decode().replace(old, new, 1).encode())


@pytest.mark.parametrize(
    "text",
    ["", NAME, f"{NAME}+00000000+{b64encode(b'1' + bytes(32)).decode()}", str(VERIFIER)[:-1], str(VERIFIER) + "=", str(VERIFIER) + "\n\n",
     str(VERIFIER).replace(VERIFIER.id.hex(), "00000000"), str(VERIFIER).replace("careseal", "Careseal"), " " + str(VERIFIER),
     str(Verifier(NAME, bytes(31))), "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"],
)  # fmt: skip
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(EvidenceInvalid, match="^key: "):
        read_verifier(text)
