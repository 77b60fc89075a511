"""E-mail addresses: one spelling per mailbox, so that an address is one account and never two.

An address is brought to Unicode NFC and lower case; its domain to the form that IDNA 2008 gives
it (non-ASCII domains keep their Unicode spelling). Nothing more is folded: `ada+x@` and `ada@`,
`é` and `e` are different mailboxes, and taking one for the other has given accounts away elsewhere.
"""

from __future__ import annotations

import unicodedata

import idna

from baas.errors import InvalidArgument

EMAIL_BYTES_MAX = 254  # RFC 5321's limit on a path
LOCAL_BYTES_MAX = 64
_PUNCTUATION = frozenset("!#$%&'*+-/=?^_`{|}~.")  # RFC 5322 atext, and the dot


def normalise_email(text: object) -> str:
    """The one spelling of an address. Raises InvalidArgument (reason `InvalidEmail`)."""
    if not isinstance(text, str):
        raise _invalid("must be a string")
    if len(text) > EMAIL_BYTES_MAX:
        raise _invalid(f"is longer than {EMAIL_BYTES_MAX} bytes")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _invalid("is no valid Unicode") from error
    local, at, domain = unicodedata.normalize("NFC", text).rpartition("@")
    if not at:
        raise _invalid("must have the form `name@domain`")
    email = f"{_normalise_local(local)}@{_normalise_domain(domain)}"
    if len(email.encode()) > EMAIL_BYTES_MAX:
        raise _invalid(f"is longer than {EMAIL_BYTES_MAX} bytes")
    return email


def _normalise_local(local: str) -> str:
    if not local or local[0] == "." or local[-1] == "." or ".." in local:
        raise _invalid("must have a name before the `@`, without a dot at its ends or two in a row")
    for character in local:
        if character in _PUNCTUATION:
            continue
        if not (character.isalnum() or (character > "\x7f" and unicodedata.combining(character))):
            raise _invalid("has a character before the `@` that stands in no address")
    # Lower-casing can leave NFC (İ becomes two code points), so it is composed once more.
    lowered = unicodedata.normalize("NFC", local.lower())
    if len(lowered.encode()) > LOCAL_BYTES_MAX:
        raise _invalid(f"has more than {LOCAL_BYTES_MAX} bytes before the `@`")
    return lowered


def _normalise_domain(domain: str) -> str:
    try:
        normalised = idna.decode(idna.encode(domain, uts46=True, std3_rules=True))
    except (idna.IDNAError, UnicodeError) as error:
        raise _invalid("has no valid domain after the `@`") from error
    if normalised.endswith("."):  # valid for DNS, and a second spelling of the same domain
        raise _invalid("has no valid domain after the `@`")
    return normalised


def _invalid(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"the e-mail address {what}", reason="InvalidEmail", details={"field": "email"}
    )
