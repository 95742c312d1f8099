"""Reading files to import: gzip, byte order marks, and bounds on all that grows."""

from __future__ import annotations

import gzip

import pytest

from ledger.errors import Rejected
from ledger.intake import files
from ledger.intake.files import lines, whole


def test_lines_have_numbers_and_newlines(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"a\n\r\nc")
    assert list(lines(path)) == [(1, b"a\n"), (2, b"\r\n"), (3, b"c")]


def test_gzip_is_known_by_its_first_bytes_whatever_the_name(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(gzip.compress("病历\n二".encode()))
    assert whole(path) == "病历\n二"
    assert list(lines(path)) == [(1, "病历\n".encode()), (2, "二".encode())]


def test_a_byte_order_mark_is_left_out(tmp_path):
    path = tmp_path / "x.csv"
    for data in (b"\xef\xbb\xbfa\n", gzip.compress(b"\xef\xbb\xbfa\n")):
        path.write_bytes(data)
        assert (whole(path), list(lines(path))) == ("a\n", [(1, b"a\n")])


def test_an_empty_file_has_no_lines(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"")
    assert (whole(path), list(lines(path))) == ("", [])


@pytest.mark.parametrize(("data", "why"), [
    ("x".encode("utf-16"), "UTF-16: convert it to UTF-8"),
    (gzip.compress(b"x" * 1000, mtime=0)[:-9], "gzip data is damaged or breaks off"),
    (gzip.compress(b"x" * 1000, mtime=0)[:12] + b"\xff" * 20, "gzip data is damaged or breaks off"),
    (gzip.compress(b"x" * 100, mtime=0) + b"garbage", "gzip data is damaged or breaks off"),
    (gzip.compress(b"\n" * (8 << 20), mtime=0), "inflates to more than 100 times its size"),
])  # fmt: skip
def test_what_cannot_be_read_is_rejected(tmp_path, data, why):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(Rejected, match=why):
        whole(path)
    with pytest.raises(Rejected, match=why):
        list(lines(path))


def test_text_that_is_not_utf8_is_rejected_by_its_place(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes("病历".encode("gb18030"))
    with pytest.raises(Rejected, match="byte 1 is not UTF-8"):
        whole(path)


def test_long_lines_and_large_documents_are_rejected(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_bytes(b"a\n" + b"x" * 300_000)
    monkeypatch.setattr(files, "MAX_LINE", 200_000)
    monkeypatch.setattr(files, "MAX_DOCUMENT", 200_000)
    with pytest.raises(Rejected, match="line 2 is longer than 200000 bytes"):
        list(lines(path))
    with pytest.raises(Rejected, match="larger than 200000 bytes: write it as NDJSON"):
        whole(path)


def test_lines_that_span_chunks_are_whole(tmp_path):
    path = tmp_path / "x.ndjson"
    made = [bytes([65 + n % 26]) * (n * 977 % 150_000) + b"\n" for n in range(30)]
    path.write_bytes(b"".join(made))
    assert [line for _, line in lines(path)] == made
