r"""Ordered bytes: keys of documents, and keys of values for indexes.

**Document keys** are the path as text, with `//` in front of the document's own id:

    users/ada                users//ada
    users/ada/orders/7       users/ada/orders//7

No id is empty, so `//` occurs once as a mark, and three spans are contiguous: the documents of a
collection (`users//…`), all that lies below a document (`users/ada/…`), and all that lies below
a collection, its documents included (`users/…`). Within a collection keys are in `__name__`
order: ids by UTF-8 bytes, after the numeric ones (`__id7__`), whose id part is \x00 and eight
bytes. An id that itself starts with \x00 or \x01 gets \x01 in front.

**Value keys** start with a byte for the type, are in value order, and none is a prefix of another,
so they may be joined: the first difference of two joined keys is decided by the first differing
value. Descending keys are the same with every bit turned over. A key longer than KEY_BYTES_MAX is
cut there: order is then kept weakly (never reversed), and whoever finds `is_cut` must look at the
value itself.

    null 10 · bool 18 00|01 · number 20 double [remainder] · timestamp 28 · string 30 · bytes 38
    reference 40 · geo point 48 · array 50 · vector 58 · map 60

    text        bytes with 00 as 00 FF, ended by 00 01
    double      eight bytes, sign turned over (all bits, if negative); NaN is eight zeros
    remainder   from ±2^53 on, two bytes: what the integer has above its nearest double
    array       its elements, ended by 01; map: 02 key value for each, ended by 01
    vector      dimension in four bytes, then numbers; reference: database text, segments, 01
    segment     02 and eight bytes if numeric, else 03 and text
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from baas.model.paths import CollectionPath, DocumentPath, numeric_id
from baas.model.sampling import LEVEL_MAX, SAMPLE_BYTES
from baas.model.timestamps import Timestamp
from baas.model.values import GeoPoint, Reference, Value, Vector

KEY_BYTES_MAX = 1_500

_END = b"\x01"
_ENTRY = b"\x02"
_TEXT_END = b"\x00\x01"
_NAN = bytes(8)
_EXACT = 2.0**53  # below it every integer is a double
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_DOUBLE = struct.Struct(">d")
_WORD = struct.Struct(">Q")
_INVERTED = bytes(range(255, -1, -1))

_TAGS: dict[type, int] = {
    type(None): 0x10,
    bool: 0x18,
    int: 0x20,
    float: 0x20,
    Timestamp: 0x28,
    str: 0x30,
    bytes: 0x38,
    Reference: 0x40,
    GeoPoint: 0x48,
    list: 0x50,
    Vector: 0x58,
    dict: 0x60,
}


# Documents ---------------------------------------------------------------------------------------


def document_key(path: DocumentPath) -> bytes:
    """The key under which a document is stored."""
    segments = path.segments
    last = segments[-1]
    if last[0] > "\x01" and not last.startswith("__id"):
        if len(segments) == 2:
            return f"{segments[0]}//{last}".encode()
        return f"{'/'.join(segments[:-1])}//{last}".encode()
    return f"{'/'.join(segments[:-1])}//".encode() + _encode_id(last)


def decode_document_key(key: bytes) -> DocumentPath:
    """The inverse of `document_key`."""
    above, _, last = key.partition(b"//")
    if last[0] == 0:
        document_id = f"__id{_WORD.unpack(last[1:])[0] - _SIGN}__"
    else:
        document_id = (last[1:] if last[0] == 1 else last).decode()
    return DocumentPath((*above.decode().split("/"), document_id))


def collection_span(path: CollectionPath) -> tuple[bytes, bytes]:
    """The keys, start included and end not, of the documents directly in a collection."""
    return _span(f"{path}//".encode())


def subtree_span(path: CollectionPath | DocumentPath) -> tuple[bytes, bytes]:
    """The keys of everything below: of a collection with its own documents, of a document without
    itself."""
    return _span(f"{path}/".encode())


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest bytes above everything that starts with `prefix`; None if there are none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))


def _span(prefix: bytes) -> tuple[bytes, bytes]:
    return prefix, prefix[:-1] + b"0"  # "0" follows "/"


def _encode_id(document_id: str) -> bytes:
    number = numeric_id(document_id)
    if number is not None:
        return b"\x00" + _WORD.pack(number + _SIGN)
    if document_id[0] <= "\x01":
        return b"\x01" + document_id.encode()
    return document_id.encode()


# Words of documents ------------------------------------------------------------------------------

_POSTING = struct.Struct(">HH")


def word_key(word: str) -> bytes:
    """What the entries of a word go on with, and those of no other. Words have no NUL."""
    return word.encode() + _TEXT_END


def word_prefix(word: str) -> bytes:
    """What the entries of all words go on with that begin with this one."""
    return word.encode()


def place_key(document_key: bytes) -> bytes:
    """A document among the entries of a word: none begins with another, so that they are in the
    same order whatever follows."""
    return _escape(document_key)


def document_key_at(place: bytes) -> bytes:
    """The inverse of `place_key`."""
    return place[: -len(_TEXT_END)].replace(b"\x00\xff", b"\x00")


def sample_key(document_key: bytes) -> bytes:
    """A number that a document has for good, as if drawn at random: see `model.sampling`."""
    return blake2b(document_key, digest_size=SAMPLE_BYTES).digest()


def sample_end(level: int) -> bytes:
    """Above the numbers of all documents at a level, which is not 0."""
    return (1 << LEVEL_MAX - level).to_bytes(SAMPLE_BYTES)


def word_keys(head: bytes, counts: Mapping[str, int], place: bytes, length: int) -> list[bytes]:
    """The entries of a document's words: `head` and the word, and how often the document at `place`
    has it, of how many words."""
    start = _TEXT_END + place
    ends = {count: start + _POSTING.pack(count, length) for count in set(counts.values())}
    return [head + word.encode() + ends[count] for word, count in counts.items()]


def decode_postings(found: Sequence[bytes], start: int) -> dict[bytes, tuple[int, int]]:
    """By the places of documents: how often each has a word, whose key ends at `start`, and how
    many words it has."""
    unpack, size = _POSTING.unpack, _POSTING.size
    return {key[start:-size]: unpack(key[-size:]) for key in found}


def sum_lengths(found: Sequence[bytes]) -> int:
    """How many words the documents of these entries have together."""
    ends = b"".join([key[-2:] for key in found])
    return sum(struct.unpack(f">{len(found)}H", ends))


def add_postings(found: Sequence[bytes], start: int, known: dict[bytes, tuple[int, int]]) -> None:
    """As `decode_postings`, of several words that begin at `start`: what a document has of them is
    added up."""
    unpack, size = _POSTING.unpack, _POSTING.size
    for key in found:
        place = key[key.index(_TEXT_END, start) + len(_TEXT_END) : -size]
        count, length = unpack(key[-size:])
        before = known.get(place)
        known[place] = (count if before is None else count + before[0], length)


# Values ------------------------------------------------------------------------------------------


def encode_value(value: Value, descending: bool = False) -> bytes:
    """The value's key, of at most KEY_BYTES_MAX bytes; equal values have equal keys."""
    kind = type(value)
    if kind is str:
        key = b"\x30" + _encode_text(value)  # type: ignore[arg-type]
    elif kind is int or kind is float:
        key = b"\x20" + _encode_number(value)  # type: ignore[arg-type]
    else:
        parts: list[bytes] = []
        _append(parts, value, 0)
        key = b"".join(parts)
    if len(key) >= KEY_BYTES_MAX:
        key = key[:KEY_BYTES_MAX]
    return key.translate(_INVERTED) if descending else key


def is_cut(key: bytes) -> bool:
    """Whether the key of one value may stand for several values, because it was cut."""
    return len(key) >= KEY_BYTES_MAX


def type_prefix(value: Value, descending: bool = False) -> bytes:
    """What the keys of all values of the same type start with, and no others."""
    tag = _TAGS[type(value)]
    return bytes((255 - tag if descending else tag,))


def _append(parts: list[bytes], value: Any, size: int) -> int:
    """Adds the key of one value; the size so far. Stops early once the key will be cut anyway."""
    kind = type(value)
    parts.append(bytes((_TAGS[kind],)))
    size += 1
    if kind is list:
        for item in value:
            size = _append(parts, item, size)
            if size >= KEY_BYTES_MAX:
                return size
        parts.append(_END)
        return size + 1
    if kind is dict:
        for name in sorted(value):
            text = _ENTRY + _encode_text(name)
            parts.append(text)
            size = _append(parts, value[name], size + len(text))
            if size >= KEY_BYTES_MAX:
                return size
        parts.append(_END)
        return size + 1
    encoded = _encode_scalar(value)
    parts.append(encoded)
    return size + len(encoded)


def _encode_scalar(value: Any) -> bytes:
    match value:
        case None:
            return b""
        case bool():
            return b"\x01" if value else b"\x00"
        case int() | float():
            return _encode_number(value)
        case Timestamp():
            return _WORD.pack(value.microseconds + _SIGN)
        case str():
            return _encode_text(value)
        case bytes():
            return _escape(value[:KEY_BYTES_MAX])
        case Reference():
            segments = [_encode_segment(segment) for segment in value.path.segments]
            return b"".join((_encode_text(value.database), *segments, _END))
        case GeoPoint():
            return _encode_number(value.latitude) + _encode_number(value.longitude)
        case Vector():
            # The dimension comes first, so the rest may be dropped where it will be cut.
            numbers = [_encode_number(item) for item in value.values[: KEY_BYTES_MAX // 8]]
            return len(value.values).to_bytes(4, "big") + b"".join(numbers)
        case _:
            raise TypeError(f"{type(value).__name__} is no value")


def _encode_number(number: int | float) -> bytes:
    """Order of doubles and integers alike: rounding to a double never reverses an order, and where
    it makes two integers equal, the remainder tells them apart."""
    double = float(number)
    if double != double:
        return _NAN
    if double >= 0.0:
        encoded = _DOUBLE.pack(-abs(double))  # its bits with the sign turned over, of -0.0 too
    else:
        (bits,) = _WORD.unpack(_DOUBLE.pack(double))
        encoded = _WORD.pack(bits ^ _ALL)
    if -_EXACT < double < _EXACT:
        return encoded
    remainder = 0 if type(number) is float or double in _INFINITE else number - int(double)
    return encoded + int(remainder + 0x8000).to_bytes(2, "big")


def encode_double(number: float) -> bytes:
    """Eight bytes, as those of numbers begin; for doubles that are small enough to end there."""
    return _encode_number(float(number))


def decode_double(key: bytes) -> float:
    """The inverse of `encode_double`, of a number that is not NaN; -0.0 is 0.0."""
    (bits,) = _WORD.unpack(key)
    if bits & _SIGN:
        return -float(_DOUBLE.unpack(key)[0])
    return float(_DOUBLE.unpack(_WORD.pack(bits ^ _ALL))[0])


_INFINITE = (float("inf"), float("-inf"))


def _encode_text(text: str) -> bytes:
    # Every character takes at least a byte: what is behind can never be in the key.
    if len(text) > KEY_BYTES_MAX:
        text = text[:KEY_BYTES_MAX]
    return _escape(text.encode())


def _escape(data: bytes) -> bytes:
    if b"\x00" in data:
        data = data.replace(b"\x00", b"\x00\xff")
    return data + _TEXT_END


def _encode_segment(segment: str) -> bytes:
    number = numeric_id(segment)
    if number is not None:
        return b"\x02" + _WORD.pack(number + _SIGN)
    return b"\x03" + _encode_text(segment)
