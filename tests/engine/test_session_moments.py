"""Dates of sessions: which texts are moments, and that the widened ranges of texts lose none."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiondb.errors import UsageError
from sessiondb.sessions.moments import DAY, Moment, day_of, moment_of, texts_between, wanted_moment

UTC = datetime.UTC
NOON = moment_of("2025-06-23T12:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-23T12:00:00.000Z", "2025-06-23T12:00:00", "2025-06-23 12:00", "2025-06-23t12:00:00z",
        "2025-06-23T12:00:00+00:00", "2025-06-23T12:00:00-00:00", "2025-06-23T14:30:00+02:30", "2025-06-23T14:30+0230",
        "2025-06-22T12:01:00-23:59", "2025-06-24T11:59:00+23:59", "2025-06-23T12:00:00,0Z",
        "2025-06-23T11:59:60Z", "2025-06-23T12:00:00.0000000000000000Z",
    ],
)  # fmt: skip
def test_one_moment_has_many_texts(text):
    assert moment_of(text) == NOON


@pytest.mark.parametrize(
    "value",
    [
        "", "now", "2025", "2025-06", "2025-6-23", "25-06-23", "2025-06-31", "2025-13-01", "0000-01-01", "2025-W26-1",
        "20250623", "2025-06-23T", "2025-06-23T12", "2025-06-23T24:00:00Z", "2025-06-23T12:60Z", "2025-06-23T12:00:61Z",
        "2025-06-23T12:00:00.Z", "2025-06-23T12:00:00+24:00", "2025-06-23T12:00:00+02", "2025-06-23Z", "+2025-06-23",
        " 2025-06-23", "2025-06-23 ", "2025-06-23\n", "2025-06-23T12:00:00Z\n", "２０２５-06-23", "1750680000",
        "Mon Jun 23 2025", None, 1750680000, ["2025-06-23"], True, b"2025-06-23",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_date_is_no_moment(value):
    assert moment_of(value) is None
    if value is not None:
        with pytest.raises(UsageError, match=r"created_after is .* must be a date"):
            wanted_moment("created_after", value)


def test_moments_are_compared_to_the_last_digit():
    texts = [f"2025-06-23T12:00:00{fraction}Z" for fraction in (".0000000001", ".00000000010000001", ".1", ".12", ".9")]
    moments = [NOON, *map(moment_of, texts)]
    assert moments == sorted(moments)
    assert len(set(moments)) == 6


def test_a_moment_may_be_asked_for_as_a_datetime_with_a_time_zone():
    zone = datetime.timezone(datetime.timedelta(hours=-5))
    assert wanted_moment("x", datetime.datetime(2025, 6, 23, 7, tzinfo=zone)) == NOON
    assert wanted_moment("x", datetime.datetime.max.replace(tzinfo=zone)) == moment_of(
        "9999-12-31T23:59:59.999999-05:00"
    )
    assert wanted_moment("x", None) is None
    for bad in (datetime.datetime(2025, 6, 23), datetime.date(2025, 6, 23)):  # of no place in the world
        with pytest.raises(UsageError, match="time zone"):
            wanted_moment("x", bad)


def test_the_day_that_a_text_begins_with_is_in_its_own_time():
    assert day_of("2025-06-23T00:30:00+02:00") == day_of("2025-06-23 nonsense") == NOON.seconds // DAY
    assert day_of("2025-06-31T") is day_of("yesterday") is day_of("2025-W26-1") is day_of(5) is None


offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59)
instants = st.datetimes(datetime.datetime(1, 1, 3), datetime.datetime(9999, 12, 28))


@st.composite
def texts(draw):
    """A date and the moment that it stands for, made the other way round."""
    instant, offset = draw(instants), draw(offsets)
    local = instant + datetime.timedelta(minutes=offset)
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return local.isoformat(draw(st.sampled_from("T "))) + (
        draw(st.sampled_from(["", "Z"])) if offset == 0 else zone
    ), instant


@given(texts(), texts())
def test_moments_are_in_the_order_of_time(one, other):
    (first, first_instant), (second, second_instant) = one, other
    assert (moment_of(first) < moment_of(second)) == (first_instant < second_instant)
    assert (moment_of(first) == moment_of(second)) == (first_instant == second_instant)


@given(texts(), texts(), texts())
def test_no_text_of_a_range_is_outside_the_range_of_texts(one, low, high):
    text, instant = one
    first, last = texts_between(moment_of(low[0]), moment_of(high[0]))
    if low[1] <= instant <= high[1]:
        assert first is None or first <= text
        assert last is None or text <= last


def test_the_range_of_texts_is_open_where_the_calendar_ends():
    assert texts_between(Moment(DAY, ""), None) == (None, None)
    assert texts_between(moment_of("0001-01-02"), moment_of("9999-12-29T23:59:59Z")) == ("0001-01-01", "9999-12-31")
    assert texts_between(None, moment_of("9999-12-30")) == (None, None)
