"""Timestamps: RFC 3339 in, one canonical form out, whole microseconds in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baas.errors import InvalidValue
from baas.model.timestamps import MICROSECONDS_MAX, MICROSECONDS_MIN, Timestamp
from tests.baas.model.strategies import characters, timestamps


@given(timestamps)
def test_text_and_datetime_round_trip(time: Timestamp) -> None:
    assert Timestamp.parse(time.isoformat()) == time
    assert Timestamp.from_datetime(time.to_datetime()) == time
    assert len(time.isoformat()) == 27
    assert str(time) == time.isoformat()


@given(timestamps, timestamps)
def test_text_order_is_time_order(a: Timestamp, b: Timestamp) -> None:
    assert (a < b) == (a.isoformat() < b.isoformat())


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439))
def test_offsets_name_the_same_instant(moment: datetime, minutes: int) -> None:
    try:
        shifted = moment.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:
        return
    assert Timestamp.parse(shifted.isoformat()) == Timestamp.from_datetime(moment)


@given(st.text(st.one_of(st.sampled_from("0123456789-:.TZW+ "), characters), max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        time = Timestamp.parse(text)
    except InvalidValue:
        return
    assert MICROSECONDS_MIN <= time.microseconds <= MICROSECONDS_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.1Z", 100_000),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.123456789Z", 123_456),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00-00:30", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01 00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", MICROSECONDS_MIN),
        ("9999-12-31T23:59:59.999999Z", MICROSECONDS_MAX),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert Timestamp.parse(text).microseconds == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00.1234567890Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T24:00:00.000000Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "1970-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2023-02-29T00:00:00.000000Z",
        "0000-01-01T00:00:00Z",
        "0000-01-01T00:00:00.000000Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+0100",
        "2026-W47-7T17:00:00.123456Z",
        "2026-11-22T17:00:00.1+0100Z",
        "2026-11-22T17:00:00.12345６Z",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z\n",
        "１970-01-01T00:00:00Z",
        "-1970-01-01T00:00:00Z",
        "\ud800",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Timestamp.parse(text)
    assert caught.value.reason == "InvalidTimestamp"
    caught.value.message.encode()


def test_canonical_form_always_has_six_digits() -> None:
    assert Timestamp(0).isoformat() == "1970-01-01T00:00:00.000000Z"
    assert Timestamp(MICROSECONDS_MIN).isoformat() == "0001-01-01T00:00:00.000000Z"
    assert Timestamp(-1).isoformat() == "1969-12-31T23:59:59.999999Z"


def test_a_datetime_without_time_zone_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no time zone"):
        Timestamp.from_datetime(datetime(2026, 1, 1))


def test_to_milliseconds_cuts() -> None:
    assert Timestamp(1_999).to_milliseconds() == Timestamp(1_000)
    assert Timestamp(-1).to_milliseconds() == Timestamp(-1_000)
