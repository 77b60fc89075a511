"""The OpenAPI 3.1 description of the HTTP API, made from the table of routes and the schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from baas import __version__
from baas.http.authentication import Access
from baas.http.route import BYTES, Route
from baas.http.schemas import SCHEMAS

DOCUMENTS_FORMS = (
    "/api/v1/projects/{project}/documents",
    "/api/v1/projects/{project}/databases/{database}/documents",
)

_TAGS = {
    "documents": "Documents and queries, under the project's rules. A collection may lie below a "
    "document: its path then has slashes, and so `{collection}` stands for several segments. "
    "Live queries are a WebSocket at `/api/v1/projects/{project}/documents:listen`.",
    "accounts": "Users of a project: sign up, sign in, refresh, sign out.",
    "objects": "Files: objects in buckets, under the project's rules of the service "
    "`firebase.storage`. An object's name may have slashes in it, as they are or as `%2F`; a colon "
    "in it is `%3A`. Headers of an upload: `Content-Type`, `X-Baas-Meta` (custom metadata as a "
    "JSON object), `Content-MD5` and `X-Baas-Sha256` (verified), `If-Match`, `If-None-Match: *`. "
    "Of a download: `Range`, `If-None-Match`, `If-Modified-Since`, `If-Match`, `If-Range`.",
    "administration": "For administrators and the operator.",
    "server": "Health, this description, the console.",
}
_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "project": ("the project's id", {"type": "string", "examples": ["demo"]}),
    "database": ("the database's id; `(default)` for the default one", {"type": "string"}),
    "collection": ("a collection's path", {"type": "string", "examples": ["users"]}),
    "id": ("an id", {"type": "string", "examples": ["ada"]}),
    "uid": ("a user's id", {"type": "string"}),
    "asset": ("a file", {"type": "string"}),
    "page_size": ("most items on a page", {"type": "integer", "minimum": 1}),
    "email": ("only whoever has this address, in place of pages", {"type": "string"}),
    "page_token": ("`next_page_token` of the page before", {"type": "string"}),
    "exists": ("delete only if the document exists (or not)", {"type": "boolean"}),
    "update_time": ("delete only if last changed then", {"type": "string", "format": "date-time"}),
    "skip_lines": ("lines of the body to leave out", {"type": "integer", "minimum": 0}),
    "version": (
        "go on with an export of this version, as the header `X-Baas-Version` of its answer says",
        {"type": "integer", "minimum": 0},
    ),
    "after": ("behind this document, the last one that is known", {"type": "string"}),
    "end": ("a last line that tells count and checksum of the lines before", {"type": "boolean"}),
    "bucket": ("the bucket's id", {"type": "string", "examples": ["default"]}),
    "name": ("an object's name", {"type": "string", "examples": ["photos/ada.png"]}),
    "upload": ("the upload's id", {"type": "string"}),
    "prefix": ("what the names begin with", {"type": "string", "examples": ["photos/"]}),
    "delimiter": ("`/` shows folders in place of what is in them", {"enum": ["/"]}),
    "download": ("save under this name, never show", {"type": "string", "maxLength": 255}),
    "thumbnail": (
        "in place of the image, one of at most so many pixels a side, as WebP",
        {"type": "integer", "enum": [64, 128, 256, 512, 1024]},
    ),
    "signature": ("of a signed URL, in place of a token", {"type": "string"}),
    "recursive": ("with all objects in it", {"type": "boolean"}),
    "select": (
        "no more than these fields: their paths between commas",
        {"type": "string", "examples": ["name,address.city"]},
    ),
    "read_time": ("show the document as it was at this time", {"type": "string"}),
    "show_missing": (
        "list documents too that do not exist and have some below; not for users",
        {"type": "boolean"},
    ),
    "total": ("say also how many there are in all", {"type": "boolean"}),
    "parent": ("a document's path; none for the root", {"type": "string"}),
    "request_id": ("the request id that a caller was told", {"type": "string"}),
    "path": (
        "a path; of denials, what is below it counts",
        {"type": "string", "examples": ["users/ada"]},
    ),
    "method": ("what was asked", {"enum": ["get", "list", "create", "update", "delete"]}),
    "sample": (
        "most documents of a collection, and objects of a folder, that are looked at",
        {"type": "integer", "minimum": 1, "maximum": 500},
    ),
    "from": ("the id of the older release", {"type": "string"}),
    "to": ("the id of the newer release; none for what is in force", {"type": "string"}),
}
_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.CALLER: [{}, {"bearer": []}, {"apiKey": []}],
    Access.API_KEY: [{"apiKey": []}],
    Access.USER: [{"bearer": []}],
    Access.ADMIN: [{"bearer": []}],
}
_IDEMPOTENT = {"Written", "Deleted", "CommitAnswer", "BulkWriteAnswer"}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "drawn at random; a repetition is answered as the first request was, for 24 "
    "hours at least, and writes nothing; with another body it is refused",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_STARTED_ONCE = {"DeleteRecursiveBody", "UpdateByQueryBody"}
_JOB_KEY = {
    **_IDEMPOTENCY_KEY,
    "description": "drawn at random; a repetition is answered with the job that the first request "
    "began, as long as that is kept, and begins none; with another body it is refused",
}
_ERROR = {
    "description": "an error; `code`, `reason` and the HTTP status say which",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The description as a JSON tree."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for form, path in enumerate(expand(route.path)):
            operation = _operation(route, path, "InDatabase" if form else "")
            paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "baas",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Documents with live queries, security rules and accounts, self-hosted. "
            "Callers show an id token, a project's secret key or an administrator's token as "
            "`Authorization: Bearer`; a call without is anonymous. Every error has one shape.",
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def expand(path: str) -> list[str]:
    """A route's path in OpenAPI's words; two for those below a database's documents."""
    path = path.replace(":path}", "}")
    return [path.replace("{documents}", form) for form in DOCUMENTS_FORMS][
        : 2 if "{documents}" in path else 1
    ]


def _operation(route: Route, path: str, suffix: str) -> dict[str, Any]:
    name = "".join(word.title() for word in route.handler.__name__.split("_"))
    operation: dict[str, Any] = {
        "operationId": name[0].lower() + name[1:] + suffix,
        "summary": route.summary,
        "tags": [_tag(path)],
        "security": _SECURITY[route.access],
        "parameters": [_parameter(word, "path") for word in re.findall(r"{([a-z_]+)}", path)]
        + [_parameter(word, "query") for word in route.parameters]
        + ([_IDEMPOTENCY_KEY] if route.answer in _IDEMPOTENT else [])
        + ([_JOB_KEY] if route.body in _STARTED_ONCE else []),
        "responses": {str(route.status): _response(route), "default": _ERROR},
    }
    if route.body == BYTES:
        operation["requestBody"] = {"required": True, "content": {"*/*": {}}}
    elif route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    elif route.handler.__name__ == "import_documents":
        operation["requestBody"] = {
            "required": True,
            "content": {"application/x-ndjson": {"schema": _ref("ImportLine")}},
        }
    return operation


def _response(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.answer == BYTES:
        content["*/*"] = {}
    elif route.answer is not None:
        content["application/json"] = {"schema": _ref(route.answer)}
    if route.handler.__name__ == "run_query":
        content["application/x-ndjson"] = {"schema": _ref("QueryLine")}
    if route.handler.__name__ == "export_documents":
        content["application/x-ndjson"] = {"schema": _ref("ExportLine")}
    if route.handler.__name__ == "audit_rules":
        content["application/x-ndjson"] = {"schema": _ref("AuditLine")}
    response: dict[str, Any] = {"description": "done"}
    if content:
        response["content"] = content
    return response


def _parameter(name: str, place: str) -> dict[str, Any]:
    text, schema = _PARAMETERS[name]
    return {
        "name": name,
        "in": place,
        "description": text,
        "required": place == "path",
        "schema": schema,
    }


def _tag(path: str) -> str:
    if path.startswith("/api/v1/admin"):
        return "administration"
    if "/buckets/" in path:
        return "objects"
    if "/accounts" in path:
        return "accounts"
    return "documents" if path.startswith("/api/") else "server"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
