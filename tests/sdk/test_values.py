from __future__ import annotations

import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from baas_sdk import SERVER_TIMESTAMP, Client, ForeignReference, GeoPoint, Increment, Vector
from baas_sdk._paths import DatabaseName
from baas_sdk._values import decode_value, dumps, encode_value, parse_time, split_reference
from baas_sdk.errors import Internal, InvalidValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HOME = DatabaseName("demo")
NOW = datetime(2026, 11, 22, 17, 0, 0, 123456, tzinfo=UTC)


class Colour(enum.StrEnum):
    RED = "red"


class Level(str, enum.Enum):  # noqa: UP042  the older idiom prints differently
    LOW = "low"


@pytest.fixture
def client() -> Client:
    return Client("http://127.0.0.1:9", project="demo")


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (2**53 - 1, 2**53 - 1),
        (2**53, {"$int": "9007199254740992"}),
        (-(2**63), {"$int": "-9223372036854775808"}),
        (1.5, 1.5),
        (1.0, {"$double": 1}),
        (-0.0, {"$double": "-0"}),
        (1e300, {"$double": 1e300}),
        (math.inf, {"$double": "Infinity"}),
        (-math.inf, {"$double": "-Infinity"}),
        ("text", "text"),
        (b"hi", {"$bytes": "aGk="}),
        (NOW, {"$timestamp": "2026-11-22T17:00:00.123456Z"}),
        (
            NOW.astimezone(timezone(timedelta(hours=2))),
            {"$timestamp": "2026-11-22T17:00:00.123456Z"},
        ),
        (GeoPoint(48.2, 16), {"$geo": [48.2, 16]}),
        (Vector([1, 0.5]), {"$vector": [1, 0.5]}),
        ([1, {"a": []}], [1, {"a": []}]),
        ({"$price": 1, "a": {"$$": 2}}, {"$$price": 1, "a": {"$$$": 2}}),
        (
            ForeignReference(DatabaseName("other", "main"), "users/ada"),
            {"$ref": "projects/other/databases/main/documents/users/ada"},
        ),
    ],
)
def test_values_have_one_form(value: Any, tree: Any) -> None:
    assert encode_value(value, HOME) == tree
    assert type(encode_value(value, HOME)) is type(tree)
    back = decode_value(orjson.loads(dumps(tree)), lambda text: _foreign(text))
    assert back == value
    assert type(back) is type(value)


def _foreign(text: str) -> ForeignReference:
    return ForeignReference(*split_reference(text, HOME))


def test_not_a_number_survives() -> None:
    assert encode_value(math.nan, HOME) == {"$double": "NaN"}
    assert math.isnan(decode_value({"$double": "NaN"}, _foreign))


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        ((1, 2), [1, 2]),
        (bytearray(b"hi"), {"$bytes": "aGk="}),
        (Colour.RED, "red"),
        (Level.LOW, "low"),
        (enum.IntEnum("N", "A").A, 1),  # type: ignore[attr-defined]
    ],
)
def test_relatives_of_plain_types_are_stored_as_these(value: object, tree: object) -> None:
    assert encode_value(value, HOME) == tree


def test_references_are_short_at_home(client: Client) -> None:
    ada = client.document("users/ada")

    assert encode_value(ada, HOME) == {"$ref": "users/ada"}
    assert client._decode({"$ref": "users/ada"}) == ada
    assert client._decode({"$ref": "projects/demo/databases/(default)/documents/users/ada"}) == ada
    assert client._decode(
        {"$ref": "projects/p/databases/d/documents/users/ada"}
    ) == ForeignReference(DatabaseName("p", "d"), "users/ada")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**63, "64 bits"),
        (datetime(2026, 1, 1), "no time zone"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=5))), "years 1 to 9999"),
        (date(2026, 1, 1), "use a datetime"),
        (timedelta(1), "number of seconds"),
        ({1}, "use a list"),
        (object(), "type object"),
        (SERVER_TIMESTAMP, "SERVER_TIMESTAMP"),
        ({5: 1}, "non-empty strings"),
        ({"": 1}, "non-empty strings"),
        ([[1]], "array directly"),
        ([Increment(1)], "can only stand"),
    ],
)
def test_what_cannot_be_stored_is_refused(value: object, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        encode_value(value, HOME, ("a",))


def test_an_error_names_the_place() -> None:
    with pytest.raises(InvalidValue) as caught:
        encode_value({"b c": [1, {"d": {2}}]}, HOME, ("a",))

    assert caught.value.details == {"field": "a.`b c`[1].d"}


def test_nesting_has_a_limit() -> None:
    def nested(depth: int) -> Any:
        return {"a": nested(depth - 1)} if depth else 1

    encode_value(nested(19), HOME, ("a",))
    with pytest.raises(InvalidValue, match="20 deep"):
        encode_value(nested(20), HOME, ("a",))
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(InvalidValue, match="20 deep"):
        encode_value(endless, HOME)


def test_lone_surrogates_are_refused_when_written() -> None:
    with pytest.raises(InvalidValue, match="surrogate"):
        dumps(encode_value({"a": "\ud800"}, HOME))


@pytest.mark.parametrize("numbers", [(91, 0), (0, -181), (math.nan, 0), ("1", 0), (True, 0)])
def test_geo_points_are_checked(numbers: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidValue):
        GeoPoint(*numbers)


def test_vectors_are_immutable_sequences_of_floats() -> None:
    vector = Vector([1, 2.5])

    assert list(vector) == [1.0, 2.5]
    assert len(vector) == 2
    assert vector == Vector([1.0, 2.5])
    assert hash(vector) == hash(Vector([1.0, 2.5]))
    assert repr(vector) == "Vector([1.0, 2.5])"
    with pytest.raises(InvalidValue):
        Vector([])
    with pytest.raises(InvalidValue):
        Vector(["1"])  # type: ignore[list-item]


def test_times_lose_what_is_finer_than_microseconds() -> None:
    assert parse_time("2026-11-22T17:00:00.123456789Z") == NOW
    assert parse_time("2026-11-22T17:00:00Z") == NOW.replace(microsecond=0)


@pytest.mark.parametrize(
    "tree",
    [
        {"$timestamp": "soon"},
        {"$timestamp": 5},
        {"$bytes": "?"},
        {"$geo": [1]},
        {"$int": "x"},
        {"$future": 1},
    ],
)
def test_what_no_server_sends_is_internal(tree: object) -> None:
    with pytest.raises(Internal):
        decode_value(tree, _foreign)


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(
        min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
    ),
    st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180)),
    st.builds(Vector, st.lists(st.floats(allow_nan=False), min_size=1, max_size=4)),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner.filter(lambda item: not isinstance(item, list)), max_size=4),
        st.dictionaries(st.text(min_size=1), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_values)
def test_values_survive_the_wire(value: Any) -> None:
    tree = orjson.loads(dumps(encode_value(value, HOME)))

    assert decode_value(tree, _foreign) == value
