"""JSON whose numbers and source texts are kept, and what is refused as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import WireError
from ledger.json_text import MAX_DEPTH, Number, Scanner, differing, elements, parse

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def plain(value):
    if isinstance(value, Number):
        return json.loads(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_what_json_writes_is_read_back(value, indent, ascii_only):
    assert plain(parse(json.dumps(value, indent=indent, ensure_ascii=ascii_only))) == value


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_elements_are_the_source_texts_of_the_members(value):
    text = json.dumps(value, indent=2, ensure_ascii=False)
    found = elements(text)
    assert found is not None and list(found) == list(value)
    assert all(part in text and plain(parse(part)) == value[name] for name, part in found.items())


def test_numbers_stay_as_they_were_written():
    assert parse('{"a": 1.10, "b": [1e2, -0]}') == {"a": "1.10", "b": ["1e2", "-0"]}
    assert parse("[1.10]") != parse("[1.1]") and parse("[1.10]") == parse("[ 1.10 ]")
    assert not isinstance(parse('"1.10"'), Number)


@pytest.mark.parametrize(("text", "why"), [
    ("", "not JSON, or it breaks off"),
    ('{"a": 1', "breaks off"),
    ('{"a": "b', "breaks off"),
    ('{"a": 1} {', "something follows the JSON value"),
    ('{"a": 1, "a": 1}', "a name occurs twice in one JSON object"),
    ('[{"b": {"a": 1, "\\u0061": 2}}]', "a name occurs twice in one JSON object"),
    ("[NaN]", "NaN is no JSON number"),
    ("[-Infinity]", "-Infinity is no JSON number"),
    ('["\t"]', "not JSON"),
    ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper than 64 levels"),
    ("[" * 100_000 + "]" * 100_000, "nested deeper than 64 levels"),
    ('{"a":' * 70 + "1" + "}" * 70, "nested deeper than 64 levels"),
])  # fmt: skip
def test_what_is_no_json_is_refused(text, why):
    with pytest.raises(WireError, match=why):
        parse(text)


def test_the_deepest_allowed_value_is_read():
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_a_number_of_any_length_is_read():
    assert parse("9" * 10_000) == "9" * 10_000


def test_a_scanner_walks_members_and_items_where_they_stand():
    scanner = Scanner(' {"a": [1, {"b": 2}], "c": null}')
    found = []
    for name in scanner.members():
        if name == "a":
            found += [(place, scanner.value(), scanner.text[scanner.start : scanner.position]) for place in scanner.items()]
        else:
            found.append((name, scanner.value(), ""))
    scanner.end()
    assert found == [(0, "1", "1"), (1, {"b": "2"}, '{"b": 2}'), ("c", None, "")]


@pytest.mark.parametrize("text", ['{"a" 1}', '{"a": 1 "b": 2}', "{1: 2}", '{"a": 1,}', '{"a": 1, "a": 2}', "[1]"])
def test_a_scanner_refuses_what_is_no_object(text):
    scanner = Scanner(text)
    with pytest.raises(WireError):
        for _ in scanner.members():
            scanner.value()


def test_differing_elements_are_named_by_their_source_text():
    one = '{"id": "x", "value": 1.10, "code": {"a": 1}, "gone": 1}'
    assert differing(one, '{"code": {"a": 1}, "value": 1.1, "id": "x", "new": 2}') == ("value", "gone", "new")
    assert differing(one, one.replace(", ", " , ")) == ()
    assert differing(one, "no JSON") == differing("[]", one) == ()
    assert elements("[1]") is elements('{"a": 1} x') is None
