"""Sizes that are told of documents: exactly of few, nearly of many, and never less than there are
certainly."""

from __future__ import annotations

import pytest

from baas.encoding import keys
from baas.model import sampling
from baas.model.paths import CollectionPath
from baas.model.sampling import Size, Tally, is_exact, level_of, levels

NOTES = CollectionPath(("notes",))


def level(number: int) -> int:
    return level_of(keys.sample_key(keys.document_key(NOTES.document(f"n{number}"))))


def test_a_level_is_how_many_binary_zeros_a_number_begins_with() -> None:
    found = [level_of(bytes.fromhex(drawn)) for drawn in ("ffffffff", "0fffffff", "00000001")]
    assert found == [0, 4, 31]
    assert level_of(bytes(4)) == sampling.LEVEL_MAX == 32
    assert list(levels()) == [0, *range(4, 33)]


def test_the_numbers_of_a_level_end_where_those_of_the_next_lower_one_begin() -> None:
    for at in range(1, sampling.LEVEL_MAX + 1):
        end = keys.sample_end(at)
        assert level_of(end) == at - 1
        assert level_of((int.from_bytes(end) - 1).to_bytes(4)) >= at


def test_up_to_so_many_documents_are_counted_themselves() -> None:
    tally = Tally()
    for number in range(sampling.EXACT_MAX):
        tally.add(level(number), 3)
    assert tally.size == Size(2_000, 6_000)
    assert is_exact(tally.size.documents)
    tally.add(level(2_000), 3)
    assert tally.count == 2_001
    assert not is_exact(tally.size.documents)
    assert tally.size.documents % 16 == 0 or tally.size.documents == 2_001


def test_of_many_documents_a_few_tell_nearly_how_many_there_are() -> None:
    """Within three times what chance does to them."""
    tally = Tally()
    told: dict[int, Size] = {}
    for number in range(60_000):
        tally.add(level(number), number % 8)
        if number + 1 in (2_500, 10_000, 30_000, 60_000):
            told[number + 1] = tally.size
    for documents, size in told.items():
        assert size.documents == pytest.approx(documents, rel=3 * (16 / documents) ** 0.5)
        assert size.length / size.documents == pytest.approx(3.5, rel=0.15)


@pytest.mark.parametrize(
    ("highest", "told"),
    [
        ([0, 0, 0, 3], Size(3, 0)),  # of which none is in the sample
        ([0, 0, 0, 4], Size(16, 80)),
        ([4, 5, 6], Size(64, 320)),  # two are at level 5
        ([32, 32, 32], Size(3 << 32, 15 << 32)),  # that nobody draws
    ],
)
def test_what_is_told_of_more_documents_than_that(
    highest: list[int], told: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "EXACT_MAX", 2)
    tally = Tally()
    for at in highest:
        tally.add(at, 5)
    assert tally.size == told
