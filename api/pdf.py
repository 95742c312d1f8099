"""Documents for people as PDF/A-3: one layout, Chinese and English, files attached.

    pdf = render(Document("封存清单", [Facts((("编号", "7"),)), QrCode("https://...", "..."), ...], language="zh"), when)

The same document, time, font file and version of typst make the same bytes. All texts come finished, in the reader's language.
What the font cannot show stands there as its code point, [U+20BB7]; nothing is left out silently. Nothing is fetched.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from api.pdf_font import PdfError, chinese_font

if TYPE_CHECKING:
    import typst

MOST_ATTACHED = 64 << 20  # bytes
MOST_UNSHOWN = 64  # different characters that the font does not have
_UNSHOWN = re.compile(r'the text `"(.*)"` could not be displayed', re.DOTALL)
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}|\\(.)")


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    small: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values side by side; `share` is the part of the width that the names take."""

    rows: Sequence[tuple[str, str]]
    share: float = 0.28


@dataclass(frozen=True, slots=True)
class Table:
    """`shares` are the columns' parts of the width; equal ones when empty. Its head is repeated on each page."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    shares: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class QrCode:
    """At most 1,200 bytes, with a text beside it."""

    content: str
    caption: str


@dataclass(frozen=True, slots=True)
class Signatures:
    """Lines to sign on, a column for each party: `lines` are what is asked for (signature, date)."""

    parties: Sequence[str]
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside the PDF, byte for byte; names differ."""

    name: str
    content: bytes
    mime: str = "application/json"
    description: str = ""


Block = Heading | Paragraph | Facts | Table | QrCode | Signatures


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    blocks: Sequence[Block]
    attachments: Sequence[Attachment] = ()
    subtitle: str = ""
    footer: str = ""  # begins each page's last line; the page's number ends it
    language: str = "en"


def render(document: Document, when: datetime) -> bytes:
    """The document as PDF/A-3b, dated `when`. PdfError where no Chinese font can be used or a file is too large."""
    if sum(len(file.content) for file in document.attachments) > MOST_ATTACHED:
        raise PdfError(f"the files to attach are larger than {MOST_ATTACHED >> 20} MB together: attach less")
    # In a process of its own: its threads do not survive a fork, and what a bad font does to it is done to nothing else.
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, document, when), daemon=True)
    with mine:
        process.start()
        theirs.close()
        try:
            made = mine.recv()
        except EOFError as error:
            raise PdfError("the typesetter broke down: install the font anew, or let CARESEAL_PDF_FONT name another one") from error
        finally:
            process.join()
    if isinstance(made, PdfError):
        raise made
    return bytes(made)


def _answer(pipe: Connection, document: Document, when: datetime) -> None:
    """What the other process does."""
    try:
        with chinese_font() as (family, fonts):
            made: bytes | PdfError = _typeset(document, when, family, fonts)
    except PdfError as error:
        made = error
    pipe.send(made)


def _typeset(document: Document, when: datetime, family: str, fonts: typst.Fonts) -> bytes:
    import typst

    template = files("api").joinpath("pdf.typ").read_bytes()
    unshown: set[str] = set()
    while True:
        try:
            sources = {"main.typ": template, **_sources(document, when, family, unshown)}
            return typst.compile(  # type: ignore[no-any-return, call-overload]  # its annotations do not know of several sources
                sources, font_paths=fonts, format="pdf", pdf_standards="a-3b", timestamp=int(when.timestamp())
            )
        except typst.TypstError as error:
            found = _unshown(str(error)) - unshown
            if any("\u4e00" <= character <= "\u9fa5" for character in found):  # the ideographs that every Chinese font has
                raise PdfError(f"the font {family} has no Chinese characters: install fonts-wqy-microhei or fonts-noto-cjk") from error
            if not found or len(unshown) > MOST_UNSHOWN:
                raise PdfError(f"the font {family} cannot show this document: install fonts-wqy-microhei or fonts-noto-cjk") from error
            unshown |= found


def _sources(document: Document, when: datetime, family: str, unshown: set[str]) -> dict[str, bytes]:
    """The files that the layout reads."""
    sources: dict[str, bytes] = {}

    def told(text: str) -> str:
        return _shown(text, unshown)

    def rows(given: Sequence[Sequence[str]]) -> list[list[str]]:
        return [list(map(told, row)) for row in given]

    def part(block: Block) -> dict[str, object]:
        match block:
            case Heading(text):
                return {"kind": "heading", "text": told(text)}
            case Paragraph(text, small):
                return {"kind": "paragraph", "text": told(text), "small": small}
            case Facts(facts, share):
                return {"kind": "facts", "rows": rows(facts), "share": share}
            case Table(header, body, shares):
                return {"kind": "table", "header": list(map(told, header)), "rows": rows(body), "shares": list(shares or [1] * len(header))}
            case Signatures(parties, lines):
                return {"kind": "signatures", "parties": list(map(told, parties)), "lines": list(map(told, lines))}
            case QrCode(content, caption):
                name = f"code{len(sources)}.svg"
                sources[name] = _qr(content)
                return {"kind": "code", "file": name, "caption": told(caption)}

    blocks = [part(block) for block in document.blocks]
    attachments = []
    for number, file in enumerate(document.attachments):
        sources[f"attached{number}"] = file.content
        attachments.append({"name": file.name, "file": f"attached{number}", "mime": file.mime, "description": file.description})
    at = when.astimezone(UTC)
    sources["document.json"] = json.dumps({
        "title": told(document.title), "subtitle": told(document.subtitle), "footer": told(document.footer), "author": "Careseal",
        "lang": document.language, "font": family, "blocks": blocks, "attachments": attachments,
        "date": {name: getattr(at, name) for name in ("year", "month", "day", "hour", "minute", "second")},
    }).encode()  # fmt: skip
    return sources


def _qr(content: str) -> bytes:
    import segno

    if len(content.encode()) > 1200:
        raise PdfError("a QR code holds at most 1,200 bytes")
    drawn = io.BytesIO()
    segno.make_qr(content, error="m").save(drawn, kind="svg", border=2, xmldecl=False, svgns=True)
    return drawn.getvalue()


def _shown(text: str, unshown: set[str]) -> str:
    """The text with what has no glyph, or steers the direction of writing, as code points."""
    return "".join(_named(c) if c in unshown or (unicodedata.category(c)[0] == "C" and c != "\n") else c for c in text)


def _named(character: str) -> str:
    return f"[U+{ord(character):04X}]"


def _unshown(message: str) -> set[str]:
    """The characters that typst says the font does not have."""
    found = _UNSHOWN.search(message)
    return set(_ESCAPE.sub(lambda e: chr(int(e[1], 16)) if e[1] else e[2], found[1])) if found else set()
