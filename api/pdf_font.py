"""The font that PDFs are set in: found on the machine, checked whole before it is used.

A damaged font would print wrong signs, or let the typesetter run out of memory: the checksums that an OpenType file carries for each
of its tables are compared first (OpenType 1.9, "Organization of an OpenType font"), and no other font of the machine is looked at.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from struct import error as StructError  # noqa: N812 - an error is named as one
from struct import unpack_from
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from careseal import CaresealError

if TYPE_CHECKING:
    import typst

FONT_VARIABLE = "CARESEAL_PDF_FONT"
# Font files with simplified Chinese; the first that there is serves. The first is the one that the README asks for.
NAMES = (
    "wqy-microhei.ttc", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.ttf",
    "SourceHanSansSC-Regular.otf", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf",
)  # fmt: skip
FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_LARGEST = 128 << 20  # bytes
_COLLECTION = b"ttcf"
_HEAD_MAGIC = bytes.fromhex("5f0f3cf5")


class PdfError(CaresealError):
    """A PDF cannot be made: no font, a broken one, or a document that is too large."""


@contextmanager
def chinese_font() -> Iterator[tuple[str, typst.Fonts]]:
    """A family with Chinese characters, and the fonts to compile with; digests take the monospaced one that typst brings.

    CARESEAL_PDF_FONT names the font's file; without it the machine's folders are searched. PdfError where there is none or it is damaged.
    """
    import typst

    path = font_file()
    with TemporaryDirectory(prefix="careseal-font-") as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[folder])
        families = [font.family for font in sorted(fonts.fonts(), key=lambda font: font.index) if font.path]
        if not families:
            raise _damaged(path)
        yield next((family for family in families if family.endswith(" SC")), families[0]), fonts


def font_file() -> Path:
    """The font's file, checked whole. PdfError where there is none or it is damaged."""
    chosen = os.environ.get(FONT_VARIABLE)
    if chosen:
        path = Path(chosen)
    else:
        there = {file.name: file for folder in reversed(FOLDERS) for file in Path(folder).expanduser().rglob("*.[ot]t[cf]")}
        found = next((there[name] for name in NAMES if name in there), None)
        if found is None:
            raise PdfError("no font with Chinese characters is installed: install fonts-wqy-microhei or fonts-noto-cjk")
        path = found
    try:
        status = path.stat()
        _check(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise PdfError(f"{path}: {error.strerror}") from error
    return path


def _damaged(path: Path) -> PdfError:
    return PdfError(f"the font {path} is damaged: install it anew or let CARESEAL_PDF_FONT name another one")


@lru_cache(maxsize=4)
def _check(path: Path, size: int, _modified: int) -> None:
    if size > _LARGEST:
        raise PdfError(f"{path} is larger than {_LARGEST >> 20} MB: let CARESEAL_PDF_FONT name another font")
    data = path.read_bytes()
    try:
        tables = set(_tables(data))
        whole = bool(tables) and all(_intact(data, *table) for table in tables)
    except StructError:
        whole = False
    if not whole:
        raise _damaged(path)


def _tables(data: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Tag, checksum, offset and length of every table of every font in the file."""
    starts = unpack_from(f">{min(unpack_from('>I', data, 8)[0], 256)}I", data, 12) if data[:4] == _COLLECTION else (0,)
    for start in starts:
        for number in range(unpack_from(">H", data, start + 4)[0]):
            yield unpack_from(">4sIII", data, start + 12 + 16 * number)


def _intact(data: bytes, tag: bytes, checksum: int, offset: int, length: int) -> bool:
    """Whether a table is the one its checksum was made of: the sum of its big-endian words."""
    table = data[offset : offset + length]
    if len(table) != length:
        return False
    if tag == b"head":  # well-known fonts have a wrong checksum here, which nothing reads
        return table[12:16] == _HEAD_MAGIC
    words = array("I", table + bytes(-length % 4))
    if sys.byteorder == "little":
        words.byteswap()
    return sum(words) & 0xFFFFFFFF == checksum
