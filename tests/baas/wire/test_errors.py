"""The error table: every code has a status and a close code, every error the one shape."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from baas import errors
from baas.errors import BaasError, Code, InvalidValue, NotFound, QuotaExceeded
from baas.wire.errors import close_code, encode_error, http_status


def _all_errors(root: type[BaasError] = BaasError) -> Iterator[type[BaasError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _all_errors(kind)


@pytest.mark.parametrize("kind", list(_all_errors()), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_a_close_code(kind: type[BaasError]) -> None:
    error = kind("text")
    assert 400 <= http_status(error) <= 599
    assert close_code(error) == 4000 + http_status(error)


@pytest.mark.parametrize("code", list(Code), ids=lambda code: str(code.value))
def test_every_code_is_in_the_table(code: Code) -> None:
    kind = type("Made", (BaasError,), {"code": code})
    assert http_status(kind("text")) >= 400


def test_too_large_a_request_has_a_status_of_its_own() -> None:
    assert http_status(QuotaExceeded("text", reason="RequestTooLarge")) == 413
    assert http_status(QuotaExceeded("text")) == 429


def test_an_error_names_code_reason_message_details_and_request() -> None:
    error = InvalidValue("`a.b` is wrong", details={"field": "a.b"})
    assert encode_error(error, "r1") == {
        "error": {
            "code": "INVALID_ARGUMENT",
            "reason": "InvalidValue",
            "message": "`a.b` is wrong",
            "details": {"field": "a.b"},
            "request_id": "r1",
        }
    }
    assert encode_error(NotFound("gone"), "r2")["error"]["details"] is None


def test_the_tree_of_errors_is_the_documented_one() -> None:
    assert errors.__doc__ is not None
    for kind in _all_errors():
        if kind.__module__ == "baas.errors":
            assert kind.__name__ in errors.__doc__
