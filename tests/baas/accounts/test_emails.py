"""One spelling per mailbox."""

import pytest

from baas.accounts.emails import normalise_email
from baas.accounts.users import email_path
from baas.errors import InvalidArgument
from baas.model.paths import DocumentPath


@pytest.mark.parametrize(
    ("given", "email"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada@Example.COM", "ada@example.com"),
        ("ada+news@example.com", "ada+news@example.com"),
        ("e\u0301@example.com", "é@example.com"),
        ("\u212a@example.com", "k@example.com"),  # the Kelvin sign is canonically the letter
        ("ada@BÜCHER.example", "ada@bücher.example"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("ada@EXAMPLE\u3002com", "ada@example.com"),
        ("straße@straße.example", "straße@straße.example"),
        ("o'hara/x=1@example.com", "o'hara/x=1@example.com"),
        ("\u0130@example.com", "i\u0307@example.com"),
        ("ada@localhost", "ada@localhost"),
    ],
)
def test_normalise_email(given: str, email: str) -> None:
    assert normalise_email(given) == email
    assert normalise_email(email) == email


def test_different_mailboxes_stay_different() -> None:
    assert normalise_email("e@example.com") != normalise_email("é@example.com")
    assert normalise_email("ss@example.com") != normalise_email("ß@example.com")
    assert normalise_email("a.b@example.com") != normalise_email("ab@example.com")
    # The dotless i is no i: taking one for the other has given accounts away.
    assert normalise_email("m\u0131ke@example.com") != normalise_email("mike@example.com")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@.",
        "ada@example.com.",
        "ada@-x",
        "ada@ex ample.com",
        "ada@ex_ample.com",
        ".ada@example.com",
        "a..b@example.com",
        "a b@example.com",
        "a\x00@example.com",
        "a\n@example.com",
        "a\u200b@example.com",
        "a\u202e@example.com",
        "\ud800@example.com",
        '"a b"@example.com',
        "ada@[127.0.0.1]",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 300 + ".com",
        "é" * 40 + "@example.com",
        None,
        7,
        ["ada@example.com"],
        {"$ne": ""},
    ],
)
def test_what_is_no_address_is_refused(bad: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        normalise_email(bad)
    assert caught.value.reason == "InvalidEmail"


def test_an_address_with_a_slash_is_one_document_id() -> None:
    path = email_path("a/b%2Fc@example.com")
    assert path.segments == ("emails", "a%2Fb%252Fc@example.com")
    assert DocumentPath.parse(str(path)) == path
    assert email_path("a/b@x") != email_path("a%2Fb@x")
