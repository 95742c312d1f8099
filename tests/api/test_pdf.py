"""PDFs show every text of a document or say that they cannot, and are the same bytes for the same input."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from world import needs_font

from api import pdf_font
from api.pdf import MOST_ATTACHED, Attachment, Document, Facts, Heading, Paragraph, QrCode, Signatures, Table, render
from api.pdf_font import FONT_VARIABLE, PdfError

WHEN = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
DIGEST = "a7e8186a2367fb6225e71fbff074ec68465f6c7e21209609a70258119897a878"
SHEET = Document(
    "封存清单",
    [
        Facts((("封存编号", "7"), ("digest", DIGEST))), Heading("记录"), Table(("表", "主键"), (("visit", "visit_id=1"),), (1, 2)),
        Paragraph("依据第二十四条。"), QrCode("https://example.org/" + DIGEST, "扫描核对"),
        Signatures(("医疗机构：", "患方："), ("签名", "日期")),
    ],
    [Attachment("list.json", b'{"a":1}', description="the list")],
    subtitle="First Hospital", footer="Careseal", language="zh",
)  # fmt: skip


pytestmark = needs_font
poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no poppler-utils")


def read_back(content: bytes, folder: Path, *command: str) -> str:
    (folder / "sheet.pdf").write_bytes(content)
    return subprocess.run([command[0], *command[1:], "sheet.pdf"], cwd=folder, check=True, capture_output=True, text=True).stdout


def shown(content: bytes, folder: Path) -> str:
    (folder / "sheet.pdf").write_bytes(content)
    return subprocess.run(["pdftotext", "-layout", "sheet.pdf", "-"], cwd=folder, check=True, capture_output=True, text=True).stdout


@poppler
def test_every_text_is_shown_and_the_file_is_inside(tmp_path):
    content = render(SHEET, WHEN)
    text = shown(content, tmp_path)
    for word in ("封存清单", "封存编号", DIGEST, "visit_id=1", "依据第二十四条", "扫描核对", "医疗机构：签名", "日期",
                 "First Hospital", "1/1"):  # fmt: skip
        assert word in text, word
    information = read_back(content, tmp_path, "pdfinfo", "-isodates")
    assert "2026-11-25T01:02:03Z" in information
    assert "封存清单" in information
    assert b"pdfaid:part>3<" in content
    read_back(content, tmp_path, "pdfdetach", "-save", "1", "-o", "list.json")
    assert (tmp_path / "list.json").read_bytes() == b'{"a":1}'


def test_the_same_input_makes_the_same_bytes_and_another_makes_others():
    first = render(SHEET, WHEN)
    assert render(SHEET, WHEN) == first
    assert render(SHEET, WHEN.replace(second=4)) != first
    assert render(replace(SHEET, footer="x"), WHEN) != first
    assert render(replace(SHEET, attachments=[Attachment("list.json", b"{}")]), WHEN) != first


@poppler
def test_what_the_font_has_not_and_what_turns_writing_round_is_shown_as_code_points(tmp_path):
    text = shown(render(replace(SHEET, blocks=[Paragraph("张𠮷 a\u202eb c\x01 🜀")]), WHEN), tmp_path)
    assert "张[U+20BB7] a[U+202E]b c[U+0001] [U+1F700]" in text


@poppler
def test_texts_are_no_markup_and_long_words_stay_on_the_page(tmp_path):
    path = "/very/long" * 60
    text = shown(render(replace(SHEET, blocks=[Paragraph("#panic() *b* $x$ <b>"), Facts((("p", path),))]), WHEN), tmp_path)
    assert "#panic() *b* $x$ <b>" in text
    assert path in "".join(text.split())
    assert max(map(len, text.splitlines())) < 200


@poppler
def test_a_table_goes_on_over_pages_under_its_head(tmp_path):
    rows = [("visit", f"visit_id={number}") for number in range(120)]
    text = shown(render(replace(SHEET, blocks=[Table(("表名", "主键"), rows)]), WHEN), tmp_path)
    assert text.count("表名") == text.count("\f") > 2
    assert all(f"visit_id={number}" in text for number in range(120))


@poppler
def test_a_heading_is_not_left_alone_at_the_end_of_a_page(tmp_path):
    for count in range(46, 52):
        blocks = [Facts([(str(number), "x") for number in range(count)]), Heading("Title"), Paragraph("after it")]
        pages = shown(render(replace(SHEET, blocks=blocks), WHEN), tmp_path).split("\f")
        assert [("Title" in page) == ("after it" in page) for page in pages] == [True] * len(pages), count


def test_a_font_file_that_is_damaged_or_none_is_refused_in_one_line(tmp_path, monkeypatch):
    path = pdf_font.font_file()
    raw = path.read_bytes()
    middle = len(raw) // 2
    broken = tmp_path / "broken.ttf"
    monkeypatch.setenv(FONT_VARIABLE, str(broken))
    flipped = raw[:middle] + bytes(b ^ 255 for b in raw[middle : middle + 4]) + raw[middle + 4 :]
    for content in (b"", raw[:middle], raw[:8], b"no font at all", flipped):
        broken.write_bytes(content)
        with pytest.raises(PdfError, match=rf"^the font {broken} is damaged: install it anew or let CARESEAL_PDF_FONT name another one$"):
            render(SHEET, WHEN)
    broken.write_bytes(raw)
    assert render(SHEET, WHEN)
    broken.unlink()
    with pytest.raises(PdfError, match="No such file"):
        render(SHEET, WHEN)


def test_without_a_chinese_font_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delenv(FONT_VARIABLE, raising=False)
    monkeypatch.setattr(pdf_font, "FOLDERS", (str(tmp_path),))
    with pytest.raises(PdfError, match="no font with Chinese characters is installed: install fonts-wqy-microhei or fonts-noto-cjk"):
        pdf_font.font_file()


def test_a_font_without_chinese_is_refused(monkeypatch):
    latin = next(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"), None)
    if latin is None:
        pytest.skip("no DejaVu Sans")
    monkeypatch.setenv(FONT_VARIABLE, str(latin))
    with pytest.raises(PdfError, match="the font DejaVu Sans has no Chinese characters: install fonts-wqy-microhei"):
        render(SHEET, WHEN)
    assert render(Document("Certificate", [Paragraph("plain")]), WHEN)


def test_too_much_is_refused():
    with pytest.raises(PdfError, match="larger than 64 MB together"):
        render(replace(SHEET, attachments=[Attachment("a", bytes(MOST_ATTACHED + 1))]), WHEN)
    with pytest.raises(PdfError, match="at most 1,200 bytes"):
        render(replace(SHEET, blocks=[QrCode("x" * 1201, "")]), WHEN)
