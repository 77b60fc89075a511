"""Words of texts, as full-text search knows them: the same on every machine and for good.

A text is brought into one form (NFKC, case folded, Latin and Greek letters without their accents)
and falls into words: runs of letters, digits and the marks on them. Scripts that put no spaces
between words (Chinese, Japanese, Thai and their like) fall into characters and pairs of neighbours
instead, so that a run of them is found wherever its pairs are. Nothing is stemmed, no word is left
out for being common.

Entries that were made one way must be found, and taken away again, the same way. So `TOKENIZER`
names the way: it changes with this module, and with the Unicode tables of Python.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

TOKENIZER = f"3/{unicodedata.unidata_version}"
WORD_CHARACTERS_MAX = 64  # of a word: what is behind is left off, of what is searched, too
_PLAIN = re.compile(f"([0-9a-z]{{1,{WORD_CHARACTERS_MAX}}})[0-9a-z]*")
_ACCENTS = re.compile("([A-Za-z\u0080-\u03ff])[\u0300-\u036f]+")
_CHARACTERS_KEPT_MAX = 0x20000  # of which it is known for good whether they are of words
_TEXT_KEPT_MAX = 2_000
_MARKS_MAX = 30  # in a row, as in Unicode's stream-safe form: what is behind is left off
_PLAIN_CHARACTERS_MAX = 6  # of one character: those that stand for more are of no word
# Of scripts without spaces: Thai and Lao, Myanmar, Khmer, radicals to kana, ideographs, half-width.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in their order, as often as they occur. Of a run without spaces: each
    character, and behind it the pair that it begins."""
    return _kept_words(text) if len(text) <= _TEXT_KEPT_MAX else _find_words(text)


def asked_words(text: str) -> tuple[str, ...]:
    """The words that a text must hold to be found by this one. Of a run without spaces its pairs
    say it all."""
    found: list[str] = []
    for part, is_unspaced in _stretches(text):
        if is_unspaced and len(part) > 1:
            found += map("".join, pairwise(part))
        else:
            found.append(part)
    return tuple(found)


def sequence_of(text: str) -> tuple[str, ...]:
    """What of a text has to stand one after the other where it is asked for as a phrase: words, and
    of a run without spaces each character."""
    found: list[str] = []
    for part, is_unspaced in _stretches(text):
        found += part if is_unspaced else [part]
    return tuple(found)


@lru_cache(maxsize=512)
def _kept_words(text: str) -> tuple[str, ...]:
    """One commit asks for the words of one text several times."""
    return _find_words(text)


def _find_words(text: str) -> tuple[str, ...]:
    if text.isascii():
        return tuple(_PLAIN.findall(text.lower()))
    found: list[str] = []
    for part, is_unspaced in _stretches(text):
        if not is_unspaced:
            found.append(part)
            continue
        for place, character in enumerate(part):
            found.append(character)
            if place + 1 < len(part):
                found.append(part[place : place + 2])
    return tuple(found)


def _runs(text: str) -> list[str]:
    if text.isascii():
        return _PLAIN.findall(text.lower())
    return _normalize(text).translate(_SEPARATORS).split()


def _normalize(text: str) -> str:
    folded = unicodedata.normalize("NFKC", _tame(text)).casefold()
    bare = _ACCENTS.sub(r"\1", unicodedata.normalize("NFKD", folded))
    return unicodedata.normalize("NFKC", bare)


def _tame(text: str) -> str:
    """The text as it is, if it was written to be read. Marks in a row are put into an order, which
    takes time by the square of their number; and there are signs that stand for a sentence."""
    odd = {character: kind for character in set(text) if (kind := _oddness(character))}
    if not odd:
        return text
    for character, kind in odd.items():
        if kind > 1:
            text = text.replace(character, " ")
    marks = sorted([character for character, kind in odd.items() if kind == 1])
    if sum(map(text.count, marks)) <= _MARKS_MAX:
        return text
    any_mark = f"[{re.escape(''.join(marks))}]"
    return re.sub(f"({any_mark}{{{_MARKS_MAX}}}){any_mark}+", r"\1", text)


@lru_cache(maxsize=8_192)
def _oddness(character: str) -> int:
    """1 for a mark, 2 for a sign that stands for more than a word, else 0."""
    plain = unicodedata.normalize("NFKD", character)
    if len(plain) > _PLAIN_CHARACTERS_MAX:
        return 2
    return int(unicodedata.combining(plain[0]) > 0)


def _stretches(text: str) -> Iterator[tuple[str, bool]]:
    """Words, and runs without spaces, which are told from them."""
    for word in _runs(text):
        if _UNSPACED.search(word) is None:
            yield word[:WORD_CHARACTERS_MAX], False
            continue
        for part, is_unspaced in _parts(word):
            yield (part if is_unspaced else part[:WORD_CHARACTERS_MAX]), is_unspaced


def _parts(word: str) -> Iterator[tuple[str, bool]]:
    """The stretches of a word by whether their script has spaces."""
    at = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > at:
            yield word[at : run.start()], False
        yield run.group(), True
        at = run.end()
    if at < len(word):
        yield word[at:], False


class _Separators(dict[int, str | int]):
    """For `str.translate`: a space in place of every character that is of no word."""

    def __missing__(self, code: int) -> str | int:
        is_of_word = unicodedata.category(chr(code))[0] in "LMN"
        put: str | int = code if is_of_word else " "
        if code < _CHARACTERS_KEPT_MAX:
            self[code] = put
        return put


_SEPARATORS = _Separators()
