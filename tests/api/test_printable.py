"""Texts of others are one line of bounded length in which nothing is unseen, steers or piles up."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.printable import MOST_RARE, Printable, lines


@pytest.mark.parametrize(("text", "expected"), [
    ("张三 mg/L ≤ 5 ℃", "张三 mg/L ≤ 5 ℃"), ("a\r\nb\nc\rd", "a↵b↵c↵d"), ("\u202eabc", "[U+202E]abc"), ("\u05d0", "[U+05D0]"),
    ("a\u00a0b\u2003c", "a[U+00A0]b[U+2003]c"), ("e\u0301\u0301\u0301", "e\u0301\u0301[U+0301]"), ("\ufe0f\u3164", "[U+FE0F][U+3164]"),
    ("", ""), ("\ud800", "[U+D800]"),
])  # fmt: skip
def test_printed_as(text, expected):
    assert Printable()(text, 100) == expected


def test_what_is_too_long_is_cut_and_remembered():
    shown = Printable()
    assert (shown("12345", 5), shown.cut) == ("12345", False)
    assert (shown("123456", 5), shown.cut) == ("12345 …", True)
    assert shown("a\x00bc", 8) == "a …"


def test_no_more_rare_characters_than_the_typesetter_takes():
    shown = Printable()
    text = shown("".join(map(chr, range(0x12000, 0x12100))), 10_000)
    assert sum(ord(character) >= 0x12000 for character in text) == MOST_RARE
    assert shown("\U00012000", 9) == "\U00012000" and shown("\U000120ff", 9) == "[U+120FF]"


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(0, 200))
def test_anything_is_made_printable(text, most):
    shown = Printable()
    made = shown(text, most)
    assert len(made) <= most + 2
    assert not any(unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp") for character in made)
    assert not any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in made)
    assert not shown.cut or made.endswith(" …")
    assert lines(made, 20) >= 1
