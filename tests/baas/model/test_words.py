"""Words are the same on every machine: what is stored by them has to be found again."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from baas.model.paths import FieldPath
from baas.model.search import (
    CHARACTERS_MAX,
    WORDS_MAX,
    Corpus,
    Scorer,
    Search,
    Term,
    count_terms,
    count_words,
    has_terms,
    round_length,
)
from baas.model.values import Fields
from baas.model.words import TOKENIZER, WORD_CHARACTERS_MAX, asked_words, words_of
from tests.effort import examples

TEXT = FieldPath(("t",))


def terms(text: str) -> list[str]:
    return [str(term) for term in Search(text, (TEXT,)).terms]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red apples, don't!", ["red", "apples", "don", "t"]),
        ("Crème BRÛLÉE, Ώρα", ["creme", "brulee", "ωρα"]),
        ("straße ÅNGSTRÖM", ["strasse", "angstrom"]),
        ("мой мои", ["мой", "мои"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ＡＢＣ１２ ﬁre ½", ["abc12", "fire", "1", "2"]),
        ("snake_case a-b c.d", ["snake", "case", "a", "b", "c", "d"]),
        ("東京都 x", ["東", "東京", "京", "京都", "都", "x"]),
        ("iPhone手机", ["iphone", "手", "手机", "机"]),
        ("ｶﾞｷ", ["ガ", "ガキ", "キ"]),
        ("ไทย", ["ไ", "ไท", "ท", "ทย", "ย"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("\x00!?\u200b—", []),
    ],
)
def test_a_text_falls_into_words(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words
    assert list(words_of(text + " " * 2_100)) == words  # one that is not kept


@pytest.mark.parametrize(
    "text", ["a" + "\u0301\u0316" * 50_000, "a" + "\uff9e\u0301" * 50_000, "\ufdfa" * 100_000]
)
def test_a_text_that_was_written_to_take_long_does_not(text: str) -> None:
    """Marks in a row took five seconds."""
    started = time.process_time()
    words_of(text)
    assert time.process_time() - started < 0.5


def test_marks_are_kept_as_far_as_anybody_needs_them() -> None:
    marks = "\u0301" * 20 + "\u05b0" * 10
    assert words_of("x\u05b0" + marks + "y") == words_of("x\u05b0" + marks + "\u0301" * 40 + "y")
    assert words_of("a\ufdfab") == ("a", "b")


def test_words_of_scripts_without_spaces_are_asked_for_by_pairs() -> None:
    assert asked_words("東京都 x") == ("東京", "京都", "x")
    assert asked_words("京") == ("京",)
    for asked in ("京", "東京", "京都", "東京都"):
        assert set(asked_words(asked)) <= set(words_of("東京都へ行く"))
    assert not set(asked_words("都京")) <= set(words_of("東京都へ行く"))


def test_long_words_are_cut_on_both_sides() -> None:
    long = "a" * WORD_CHARACTERS_MAX
    assert words_of(long + "b") == asked_words(long + "c") == (long,)
    assert words_of(long) == (long,)


@given(st.text(max_size=30))
@example("ß\u0301İ")
@settings(max_examples=examples(200))
def test_a_text_is_found_by_itself_however_it_is_written(text: str) -> None:
    for written in (text, unicodedata.normalize("NFD", text), unicodedata.normalize("NFKC", text)):
        assert set(asked_words(written)) <= set(words_of(text))
    if asked_words(text):
        assert has_terms({"t": text}, Search(text.replace("*", " "), (TEXT,)))


def test_plain_texts_take_a_shorter_way_to_the_same() -> None:
    plain = "".join(map(chr, range(128)))
    assert words_of(plain) == words_of(plain + "—")


def test_the_tokenizer_has_a_name_that_changes_with_unicode() -> None:
    """Whoever changes what words are raises its number: indexes are filled anew then."""
    assert f"3/{unicodedata.unidata_version}" == TOKENIZER


def test_a_star_asks_for_all_that_begins_so() -> None:
    assert terms("red app*") == ["red", "app*"]
    assert terms("app* red") == ["app*", "red"]
    assert terms("app * red*s *") == ["app", "red*", "s"]
    assert terms("don't*") == ["don", "t*"]
    assert terms("Été*") == ["ete*"]
    assert terms("red RED red* réd") == ["red", "red*"]
    assert terms("東京*") == ["東京"]
    assert Search("app*", (TEXT,)).terms == (Term("app", is_prefix=True),)


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ('"new york"', True),
        ('"New-York!" taxi', True),
        ('"york new"', False),
        ('"york taxi"', False),  # in two strings
        ('"new yor"', False),
        ('"new york city"', True),
        ('"new city"', False),
        ('"taxi" york', True),
        ('"new* york"', True),  # a star is no sign within quotes
        ('"new york" "city of"', True),
        ('"new york" "of city"', False),
        ('york "city new', True),  # not closed: words as all others
        ('""york', True),
        ('"東京"', True),
        ('"東京都"', True),
        ('"京東"', False),
        ('"都 no"', True),
        ('"cafe no"', False),
    ],
)
def test_words_between_quotes_stand_one_after_the_other_in_one_string(
    text: str, is_found: bool
) -> None:
    fields: Fields = {"t": ["The city of New York, or New York City", "taxi", "東京都 no café"]}
    assert has_terms(fields, Search(text, (TEXT,))) == is_found


def test_phrases_are_looked_for_as_far_as_words_are() -> None:
    phrase = Search('"new york"', (TEXT,))
    for over, is_found in ((0, True), (1, False)):
        text = "." * (CHARACTERS_MAX - 8 + over) + "new york"
        assert has_terms({"t": text}, phrase) == is_found


def test_strings_and_arrays_of_strings_are_searched() -> None:
    fields: Fields = {"t": ["a b", 1, ["c"], {"d": "d"}, "e"], "m": {"k": "f f"}, "n": 5, "z": None}
    paths = (FieldPath(("m", "k")), FieldPath(("n",)), TEXT, FieldPath(("z", "z")))
    counts, length = count_words(fields, paths)
    assert counts == {"a": 1, "b": 1, "e": 1, "f": 2}
    assert length == 5
    wanted = (Term("f"), Term("x"), Term("e", is_prefix=True))
    assert count_terms(counts, wanted) == (2, 0, 1)


@pytest.mark.parametrize("over", [0, 1])
def test_no_more_words_are_counted_than_an_entry_can_tell(over: int) -> None:
    fields: Fields = {"t": "a " * (WORDS_MAX + over - 1) + "last"}
    counts, length = count_words(fields, (TEXT,))
    assert length == round_length(WORDS_MAX) <= WORDS_MAX
    assert sum(counts.values()) == WORDS_MAX
    assert ("last" in counts) == (not over)
    assert WORDS_MAX < 1 << 16


def test_lengths_are_rounded_as_entries_of_words_tell_them() -> None:
    """Else every word added would write the entries of all others anew."""
    assert [round_length(number) for number in range(17)] == list(range(17))
    assert {round_length(number) for number in range(32, 36)} == {32}
    assert [round_length(number) for number in (17, 36, 63, 64, 9_999)] == [16, 36, 60, 64, 9_216]
    for number in range(1, WORDS_MAX):
        assert 0.875 * number < round_length(number) <= number


@pytest.mark.parametrize("over", [0, 1])
def test_no_more_characters_are_looked_at_than_take_a_moment(over: int) -> None:
    """However they are spread over the fields: a MiB of what has to be normalised takes long."""
    fields: Fields = {
        "a": "é" * 1_000,
        "t": "." * (CHARACTERS_MAX + over - 1_004) + "last",
        "u": "x",
    }
    paths = tuple(FieldPath((name,)) for name in "atu")
    counts, _ = count_words(fields, paths)
    assert counts == {"e" * WORD_CHARACTERS_MAX: 1, "last"[: 4 - over]: 1}


def test_scores_are_bm25() -> None:
    """By hand, of three documents of 2, 4 and 6 words, two of which have the word."""
    scorer = Scorer(Corpus(3, 12, (2,)))
    assert scorer.score((1,), 2) == pytest.approx(0.590861705)
    assert scorer.score((1,), 4) == pytest.approx(0.470003629)
    assert scorer.score((3,), 6) == pytest.approx(0.667101925)
    assert Scorer(Corpus(0, 0, (0,))).score((0,), 0) == 0


@given(st.permutations([(1, 3), (2, 1), (3, 7), (5, 2), (9, 4)]))
def test_no_order_rests_on_how_numbers_are_added(terms: list[tuple[int, int]]) -> None:
    scorer = Scorer(Corpus(10, 177, tuple([frequency for frequency, _ in terms])))
    assert scorer.score([count for _, count in terms], 17) == 8.037286989
