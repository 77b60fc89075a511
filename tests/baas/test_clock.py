import time

from baas.clock import (
    CLOCKS_DIFFER_SECONDS_MAX,
    ID_ALPHABET,
    SystemClock,
    VirtualClock,
    is_claimed,
    milliseconds_only,
    new_document_id,
)


def test_system_clock_counts_microseconds_since_1970() -> None:
    before = time.time_ns() // 1000
    now = SystemClock().now_microseconds()
    assert before <= now <= time.time_ns() // 1000


def test_virtual_clock_moves_only_when_told() -> None:
    clock = VirtualClock(1_000_000)
    clock.advance(2.5)
    clock.advance(-1.0)
    assert (clock.now_microseconds(), clock.monotonic_seconds()) == (2_500_000, 2.5)


def test_automatic_ids_are_20_letters_or_digits_and_differ() -> None:
    ids = {new_document_id(SystemClock()) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert {len(name) for name in ids} == {20}
    assert set("".join(ids)) <= set(ID_ALPHABET)


def test_automatic_ids_do_not_favour_letters() -> None:
    """Bytes from 248 up are redrawn: 256 % 62 would favour the first eight letters by a quarter."""
    text = "".join(new_document_id(SystemClock()) for _ in range(5_000))
    first = sum(text.count(letter) for letter in ID_ALPHABET[:8]) / 8
    rest = sum(text.count(letter) for letter in ID_ALPHABET[8:]) / 54
    assert 0.93 < first / rest < 1.07


def test_request_time_has_milliseconds() -> None:
    assert milliseconds_only(1_234_567) == 1_234_000


def test_a_claim_that_no_clock_near_ours_can_have_made_is_none() -> None:
    now, second = 1_000_000_000, 1_000_000
    most = 30 + CLOCKS_DIFFER_SECONDS_MAX
    assert not is_claimed(now, now, 30)
    assert is_claimed(now + 1, now, 30)
    assert is_claimed(now + most * second, now, 30)
    assert not is_claimed(now + most * second + 1, now, 30)
