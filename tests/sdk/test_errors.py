from __future__ import annotations

from typing import TypeVar

import pytest
from baas_sdk import errors
from baas_sdk.errors import error_from_status, error_from_wire

import baas.errors

E = TypeVar("E", bound=Exception)


def _tree(root: type[E]) -> set[type[E]]:
    return {root}.union(*(_tree(child) for child in root.__subclasses__()))


def _by_name(root: type[E]) -> list[type[E]]:
    return sorted(_tree(root), key=lambda kind: str(kind))


def test_the_tree_has_the_names_and_codes_of_the_servers() -> None:
    server = {(kind.__name__, kind.code.value) for kind in _tree(baas.errors.BaasError)}
    client = {(kind.__name__, kind.code.value) for kind in _tree(errors.SdkError)}

    assert client - {("SdkError", "UNKNOWN")} == server - {("BaasError", "UNKNOWN")}


def test_the_codes_are_the_servers() -> None:
    assert [code.value for code in errors.Code] == [code.value for code in baas.errors.Code]


@pytest.mark.parametrize("kind", _by_name(baas.errors.BaasError))
def test_every_error_of_the_server_arrives_as_its_namesake(
    kind: type[baas.errors.BaasError],
) -> None:
    sent = kind("some words", details={"field": "a.b"})
    body = {
        "code": sent.code.value,
        "reason": sent.reason,
        "message": sent.message,
        "details": sent.details,
        "request_id": "r1",
    }

    found = error_from_wire(body)

    expected = "SdkError" if kind is baas.errors.BaasError else kind.__name__
    assert type(found).__name__ == expected
    assert (found.reason, found.message) == (sent.reason, "some words")
    assert found.details == {"field": "a.b"}
    assert found.request_id == "r1"
    assert found.retryable == sent.retryable


def test_a_finer_reason_keeps_the_class_of_its_code() -> None:
    found = error_from_wire({"code": "NOT_FOUND", "reason": "DocumentNotFound", "message": "m"})

    assert type(found) is errors.NotFound
    assert found.reason == "DocumentNotFound"


def test_a_reason_that_names_a_class_of_another_code_is_not_believed() -> None:
    found = error_from_wire({"code": "NOT_FOUND", "reason": "TokenExpired", "message": "m"})

    assert type(found) is errors.NotFound


@pytest.mark.parametrize("body", [None, [], "x", {}, {"code": 5}])
def test_an_error_of_no_known_form_is_internal(body: object) -> None:
    assert type(error_from_wire(body)) is errors.Internal


def test_an_unknown_code_is_the_root() -> None:
    found = error_from_wire({"code": "FUTURE", "reason": "X", "message": "m"})

    assert type(found) is errors.SdkError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidArgument),
        (401, errors.Unauthenticated),
        (403, errors.PermissionDenied),
        (404, errors.NotFound),
        (413, errors.QuotaExceeded),
        (418, errors.SdkError),
        (429, errors.ResourceExhausted),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (599, errors.Internal),
    ],
)
def test_an_answer_of_a_proxy_is_judged_by_its_status(
    status: int, kind: type[errors.SdkError]
) -> None:
    found = error_from_status(status, "<html>", request_id=None)

    assert type(found) is kind
    assert found.reason == "UnexpectedAnswer"
    assert "<html>" in found.message


def test_bad_input_is_also_a_value_error() -> None:
    with pytest.raises(ValueError, match="nope"):
        raise errors.InvalidPath("nope")
