"""JSON Schemas of users, their sessions, and administrators."""

from __future__ import annotations

from baas.http.schema_parts import (
    MOMENT,
    TEXT,
    TIME,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
)

_EMAIL: Schema = {"type": "string", "examples": ["ada@example.com"], "maxLength": 320}
_PASSWORD: Schema = {"type": "string", "examples": ["correct horse battery staple"]}

ACCOUNTS: dict[str, Schema] = {
    "Credentials": object_of({"email": _EMAIL, "password": _PASSWORD}),
    "RefreshBody": object_of({"refresh_token": TEXT}),
    "User": object_of(
        {
            "uid": TEXT,
            "email": or_null(_EMAIL),
            "email_verified": {"type": "boolean"},
            "disabled": {"type": "boolean"},
            "created": TIME,
            "last_sign_in": MOMENT,
            "claims": {"type": "object"},
        }
    ),
    "UserChange": object_of(
        {},
        {
            "disabled": {"type": "boolean"},
            "email_verified": {"type": "boolean"},
            "password": _PASSWORD,
            "claims": {"type": "object", "description": "the app's own, at most 1,000 bytes"},
        },
        description="what is left out stays",
    ),
    "UserList": object_of({"users": list_of(ref("User"))}, {"next_page_token": TEXT}),
    "Session": object_of(
        {
            "user": ref("User"),
            "id_token": {**TEXT, "description": "for `Authorization: Bearer`"},
            "refresh_token": {**TEXT, "description": "good once"},
            "expires_in": {"type": "integer", "description": "seconds until the id token ends"},
        }
    ),
    "Jwks": object_of({"keys": list_of({"type": "object"})}),
    "SetupBody": object_of({"token": TEXT, "email": _EMAIL, "password": _PASSWORD}),
    "Admin": object_of({"id": TEXT, "email": or_null(_EMAIL), "created": MOMENT}),
    "AdminList": object_of({"admins": list_of(ref("Admin"))}),
    "AdminSession": object_of({"token": TEXT, "expires_at": TIME, "admin": ref("Admin")}),
}
