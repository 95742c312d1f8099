"""Files to import, read within bounds: as lines, or whole; gzip is recognised by its first bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ledger.errors import Rejected

MAX_LINE = 1 << 24  # bytes of a line, and of a resource
MAX_DOCUMENT = 1 << 28  # bytes of a file that is read whole
MAX_RATIO = 100  # bytes that one byte of gzip may become; clinical JSON becomes 10 to 20
_FREE = 1 << 20  # bytes for which the ratio is not asked: small files of equal rows shrink more
_CHUNK = 1 << 16
_BOMS = (b"\xff\xfe", b"\xfe\xff")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, each with its newline; a byte order mark is left out.

    Raises Rejected where the file breaks off, inflates beyond measure, has a line over 16 MiB, or is UTF-16. OSError as it comes.
    """
    number, held = 0, bytearray()
    for chunk in _chunks(path):
        begun = len(held)
        held += chunk
        done = 0
        while (at := held.find(b"\n", max(done, begun))) >= 0:
            number += 1
            yield number, bytes(held[done : at + 1])
            done = at + 1
        del held[:done]
        if len(held) > MAX_LINE:
            raise Rejected(f"line {number + 1} is longer than {MAX_LINE} bytes")
    if held:
        yield number + 1, bytes(held)


def whole(path: Path) -> str:
    """All of a file's text. Raises Rejected as `lines` does, and where it is over 256 MiB or not UTF-8. OSError as it comes."""
    data = bytearray()
    for chunk in _chunks(path):
        data += chunk
        if len(data) > MAX_DOCUMENT:
            raise Rejected(f"the file is larger than {MAX_DOCUMENT} bytes: write it as NDJSON, a resource on each line")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected(f"byte {error.start + 1} is not UTF-8: convert the file") from None


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, 2)
        file.seek(0)
        first = True
        for chunk in _inflated(file, size) if packed else iter(lambda: file.read(_CHUNK), b""):
            if first and chunk.startswith(_BOMS):
                raise Rejected("the file is UTF-16: convert it to UTF-8")
            yield chunk.removeprefix(b"\xef\xbb\xbf") if first else chunk
            first = False


def _inflated(file: BinaryIO, size: int) -> Iterator[bytes]:
    given = 0
    try:
        with gzip.GzipFile(fileobj=file) as source:
            while chunk := source.read(_CHUNK):
                given += len(chunk)
                if given > _FREE + MAX_RATIO * size:
                    raise Rejected(f"the file inflates to more than {MAX_RATIO} times its size: unpack it first if you trust it")
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Rejected("the gzip data is damaged or breaks off: get the file again") from None
