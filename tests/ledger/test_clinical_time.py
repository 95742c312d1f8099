"""Times that rows declare, in the forms that hospital databases give them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.clinical_time import declared_time

NOON = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC).timestamp()
END_OF_DAY = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-02-29 12:30:15", NOON),
        ("2024-02-29T12:30:15", NOON),
        ("2024-02-29T12:30:15Z", NOON),
        (" 2024-02-29 12:30:15+00 ", NOON),
        ("2024-02-29 20:30:15+08", NOON),
        ("2024-02-29 20:30:15+08:00", NOON),
        ("2024-02-29T20:30:15+0800", NOON),
        ("2024-02-29 12:30:15.5", NOON + 0.5),
        ("2024-02-29 12:30:15.123456+00", NOON + 0.123456),
        ("20240229T123015", NOON),
        ("20240229123015", NOON),
        ("202402291230", NOON - 15),
        ("20240229", END_OF_DAY),
        ("2024-02-29", END_OF_DAY),
        ("2024-W09-4", END_OF_DAY),
        ("9999-12-31", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()),
        (str(NOON), NOON),
        (str(int(NOON)), NOON),
        (f"{NOON:.0f}000", NOON),
        (f"{NOON:.0f}000.25", NOON + 0.00025),
        ("0", 0),
        ("-86400", -86400),
        ("99999999", 99999999),
        ("12345678", 12345678),
        ("infinity", math.inf),
        ("-infinity", -math.inf),
        ("0044-03-15 BC", -math.inf),
        ("10000-01-01", math.inf),
        ("294276-12-31 23:59:59+00", math.inf),
        ("0044-03-15 10:00:00+00 BC", -math.inf),
    ],
)
def test_a_time(text: str, seconds: float) -> None:
    assert declared_time(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", [None, "", " ", "soon", "2024-02-30", "2024", "29.02.2024", "2024-02", "12:30", "100000-1-1", "NaN", "高"])
def test_what_is_no_time_declares_none(text: str | None) -> None:
    assert declared_time(text) is None or text == "2024"


def test_a_year_alone_is_a_number_of_seconds() -> None:
    assert declared_time("2024") == 2024


@given(st.text(max_size=30))
def test_no_text_fails(text: str) -> None:
    found = declared_time(text)
    assert found is None or isinstance(found, float)


@given(st.datetimes(min_value=datetime(1800, 1, 1), max_value=datetime(2199, 12, 31), timezones=st.just(UTC)))
def test_every_form_of_one_moment_is_the_same_time(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    for text in (moment.isoformat(), moment.strftime("%Y%m%d%H%M%S").rjust(14, "0"), str(moment)):
        assert declared_time(text) == moment.timestamp()
