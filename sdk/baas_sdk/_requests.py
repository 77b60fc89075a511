"""Every call of the API: how it is asked and what its answer means. Pure: nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import uuid4

import orjson

from baas_sdk._paths import DatabaseName, url_path
from baas_sdk._session import SignedIn, User, parse_signed_in, parse_user
from baas_sdk._values import Tree, dumps, parse_time, past_time
from baas_sdk._writes import CommitResult, WriteResult, parse_commit, parse_write_result
from baas_sdk.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    SdkError,
    error_from_status,
    error_from_wire,
)

JSON = "application/json"
JSON_LINES = "application/x-ndjson"
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, but for the server's address and who asks."""

    method: str
    path: str  # percent-encoded
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON  # of the body; "" if nothing is said about it
    accept: str = JSON
    is_idempotent: bool = False  # sent twice it does no more than once, so it may be retried
    is_authorized: bool = True  # carries the id token of who is signed in


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    request_id: str | None = None
    retry_after_seconds: float | None = None

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def tree(self) -> Any:
        """The body's JSON. Raises Internal if it is none."""
        if not self.body:
            return {}
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise Internal(
                f"the server's answer is not JSON: `{self.body[:80]!r}`",
                reason="UnexpectedAnswer",
                request_id=self.request_id,
            ) from error

    def error(self) -> SdkError:
        """The error that the answer is."""
        try:
            body = orjson.loads(self.body)["error"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            text = self.body.decode("utf-8", "replace")
            return error_from_status(self.status, text, request_id=self.request_id)
        return error_from_wire(body, request_id=self.request_id)


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer."""

    status: int
    headers: Mapping[str, str]  # names in any case


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request and the meaning of its answer. `recover` may turn an error into a result."""

    request: Request
    parse: Callable[[Any], T]
    recover: Callable[[SdkError], T] | None = None

    def result(self, answer: Answer) -> T:
        """What the caller gets. Raises Internal for an answer of another form."""
        tree = answer.tree()
        try:
            return self.parse(tree)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, SdkError):
                raise
            raise Internal(
                f"the server's answer is of no known form: {error!r}",
                reason="UnexpectedAnswer",
                request_id=answer.request_id,
            ) from error

    def then(self, change: Callable[[T], U]) -> Call[U]:
        """The same call with a further step."""
        parse, recover = self.parse, self.recover
        return Call(
            self.request,
            lambda tree: change(parse(tree)),
            None if recover is None else lambda error: change(recover(error)),
        )


@dataclass(frozen=True, slots=True)
class QueryLine:
    """One line of a query's answer: a document, or the end with its time."""

    document: Tree | None
    read_time: datetime | None


@dataclass(frozen=True, slots=True)
class StreamCall(Generic[T]):
    """A request whose answer is JSON lines, each of a document until the one that ends it."""

    request: Request
    parse: Callable[[Tree], T]

    def parse_line(self, line: bytes) -> QueryLine:
        """Raises the error that the line is, or Internal for a line of no known form."""
        return parse_query_line(line)

    def then(self, change: Callable[[T], U]) -> StreamCall[U]:
        """The same call with a further step for every document."""
        parse = self.parse
        return StreamCall(self.request, lambda tree: change(parse(tree)))


# --- documents ------------------------------------------------------------------------------------


def get_document(
    home: DatabaseName,
    path: str,
    read_time: datetime | None = None,
    select: Sequence[str] | None = None,
) -> Call[Tree | None]:
    """The document's tree; None if it does not exist, or did not at `read_time`."""
    params = []
    if read_time is not None:
        params.append(("read_time", past_time(read_time)))
    if select is not None:
        params.append(("select", ",".join(select)))
    url = f"{home.documents_url}/{url_path(path)}"
    request = Request("GET", url, params=tuple(params), is_idempotent=True)
    return Call(request, _document, _missing_document)


def batch_get(
    home: DatabaseName,
    paths: Sequence[str],
    select: Sequence[str] | None = None,
    read_time: datetime | None = None,
) -> Call[tuple[list[tuple[str, Tree | None]], datetime]]:
    """(path, tree or None) in the order asked, all of one moment, and that moment: `read_time`, or
    now."""

    def parse(tree: Any) -> tuple[list[tuple[str, Tree | None]], datetime]:
        found = {item["path"]: item["document"] for item in tree["documents"]}
        return [(path, found[path]) for path in paths], parse_time(tree["read_time"])

    body = _batch_get(paths, select) | _at(read_time)
    return Call(_post(home, "batch-get", body, is_idempotent=True), parse)


def _batch_get(paths: Sequence[str], select: Sequence[str] | None) -> dict[str, Tree]:
    body: dict[str, Tree] = {"documents": list(paths)}
    if select is not None:
        body["select"] = list(select)
    return body


def list_documents(
    home: DatabaseName,
    collection: str,
    *,
    page_size: int,
    page_token: str | None,
    show_missing: bool = False,
) -> Call[tuple[list[Tree], str | None]]:
    """A page of a collection by name, and the token of the next page."""
    params = [("page_size", str(page_size))]
    if show_missing:
        params.append(("show_missing", "true"))
    if page_token is not None:
        params.append(("page_token", page_token))
    request = Request(
        "GET",
        f"{home.documents_url}/{url_path(collection)}",
        params=tuple(params),
        is_idempotent=True,
    )
    return Call(
        request,
        lambda tree: (
            [item if item.get("missing") else _document(item) for item in tree["documents"]],
            tree.get("next_page_token") or None,
        ),
    )


def commit(
    home: DatabaseName,
    writes: Iterable[Tree],
    decode: Callable[[Tree], Any],
    *,
    request_id: str | None = None,
    transaction: Mapping[str, Tree] | None = None,
) -> Call[CommitResult]:
    """All writes or none. The request id, a fresh one by default, lets the server apply it once,
    however often it has to be sent. `transaction` has the members of the one that it ends."""
    body = {"writes": list(writes), "request_id": request_id or uuid4().hex, **(transaction or {})}
    return Call(
        _post(home, "commit", body, is_idempotent=True), lambda tree: parse_commit(tree, decode)
    )


def bulk_write(
    home: DatabaseName,
    writes: Iterable[Tree],
    decode: Callable[[Tree], Any],
    *,
    request_id: str,
) -> Call[list[WriteResult | SdkError]]:
    """Writes, each of which succeeds or fails alone: what became of each. With the request id the
    server applies them once, however often this has to be sent."""

    def parse(tree: Any) -> list[WriteResult | SdkError]:
        return [
            error_from_wire(item["error"]) if "error" in item else parse_write_result(item, decode)
            for item in tree["results"]
        ]

    body = {"writes": list(writes), "request_id": request_id}
    return Call(_post(home, "bulk-write", body, is_idempotent=True), parse)


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction, and the moment that it reads."""

    token: str
    read_time: datetime


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What a transaction has read; `token` is to be used from now on."""

    found: T
    token: str
    time: datetime


def begin(home: DatabaseName, members: Mapping[str, Tree]) -> Call[Begun]:
    """A transaction. Sent twice it begins two, and one of them is never heard of again."""
    return Call(
        _post(home, "begin-transaction", dict(members), is_idempotent=True),
        lambda tree: Begun(_text(tree["transaction"]), parse_time(tree["read_time"])),
    )


def read_documents(
    home: DatabaseName, paths: Sequence[str], token: str, select: Sequence[str] | None = None
) -> Call[Read[dict[str, Tree | None]]]:
    """Documents in a transaction, by path; None for those that are missing."""
    body = {**_batch_get(paths, select), "transaction": token}

    def parse(tree: Any) -> dict[str, Tree | None]:
        found = {item["path"]: item["document"] for item in tree["documents"]}
        return {path: found[path] and _document(found[path]) for path in paths}

    return _read(_post(home, "batch-get", body, is_idempotent=True), parse)


def read_query(home: DatabaseName, spec: Tree, token: str) -> Call[Read[tuple[list[Tree], str]]]:
    """A query in a transaction: the documents' trees, and what stands for the answer."""
    body = {"query": spec, "transaction": token}
    return _read(
        _post(home, "query", body, is_idempotent=True),
        lambda tree: ([_document(item) for item in tree["documents"]], _text(tree["seen"])),
    )


def roll_back(home: DatabaseName, token: str) -> Call[None]:
    """Gives up a transaction."""
    request = _post(home, "rollback", {"transaction": token}, is_idempotent=True)
    return Call(request, lambda tree: None)


def query(home: DatabaseName, spec: Tree) -> StreamCall[Tree]:
    """The documents' trees, of one snapshot, in the query's order."""
    request = _post(home, "query", {"query": spec}, is_idempotent=True)
    return StreamCall(replace(request, accept=JSON_LINES), lambda tree: tree)


def query_at(
    home: DatabaseName, spec: Tree, read_time: datetime
) -> Call[tuple[list[Tree], datetime]]:
    """The documents' trees as of a moment, and that moment."""
    body = {"query": spec, **_at(read_time)}
    return Call(
        _post(home, "query", body, is_idempotent=True),
        lambda tree: (
            [_document(item) for item in tree["documents"]],
            parse_time(tree["read_time"]),
        ),
    )


def parse_query_line(line: bytes) -> QueryLine:
    """Raises the error that the line is, or Internal for a line of no known form."""
    try:
        tree = orjson.loads(line)
        if "document" in tree:
            return QueryLine(_document(tree["document"]), None)
        if "error" in tree:
            raise error_from_wire(tree["error"])
        if tree.get("done"):
            return QueryLine(None, parse_time(tree["read_time"]))
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise Internal(f"a line of the query's answer cannot be read: {error!r}") from error
    raise Internal(f"a line of the query's answer is of no known form: `{line[:80]!r}`")


def explain(home: DatabaseName, spec: Tree) -> Call[Tree]:
    """The first page of documents, and how they were found."""
    body = {"query": spec, "explain": True}
    return Call(_post(home, "query", body, is_idempotent=True), lambda tree: tree)


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of a query's answer: values by field and results by alias of each. Of an aggregation
    that groups by nothing one, without values."""

    groups: list[tuple[dict[str, Any], dict[str, Any]]]
    time: datetime
    next_page_token: str | None


def aggregate(
    home: DatabaseName,
    spec: Tree,
    wanted: Mapping[str, Tree],
    decode: Callable[[Tree], Any],
    page_token: str | None = None,
    read_time: datetime | None = None,
) -> Call[Groups]:
    """An aggregation, or a page of its groups; of a moment, all of them. `wanted` has the members
    beside the query."""
    body = {"query": spec, **wanted, **_at(read_time)}
    if page_token is not None:
        body["page_token"] = page_token
    return Call(
        _post(home, "aggregate", body, is_idempotent=True), lambda tree: _groups(tree, decode)
    )


def read_aggregation(
    home: DatabaseName,
    spec: Tree,
    wanted: Mapping[str, Tree],
    decode: Callable[[Tree], Any],
    token: str,
) -> Call[Read[tuple[Groups, str]]]:
    """An aggregation in a transaction, and what stands for its answer."""
    body = {"query": spec, **wanted, "transaction": token}
    return _read(
        _post(home, "aggregate", body, is_idempotent=True),
        lambda tree: (_groups(tree, decode), _text(tree["seen"])),
    )


def explain_aggregation(home: DatabaseName, spec: Tree, wanted: Mapping[str, Tree]) -> Call[Tree]:
    """How an aggregation is answered."""
    body = {"query": spec, **wanted, "explain": True}
    return Call(_post(home, "aggregate", body, is_idempotent=True), lambda tree: tree["explain"])


def _groups(tree: Any, decode: Callable[[Tree], Any]) -> Groups:
    found = tree["groups"] if "groups" in tree else [{"group": {}, "results": tree["results"]}]
    return Groups(
        [
            (
                {name: decode(value) for name, value in item["group"].items()},
                {alias: decode(value) for alias, value in item["results"].items()},
            )
            for item in found
        ],
        parse_time(tree["read_time"]),
        tree.get("next_page_token"),
    )


def list_collections(
    home: DatabaseName, parent: str | None, *, page_size: int, page_token: str | None
) -> Call[tuple[list[str], str | None]]:
    """A page of the ids of collections below a document or at the root, and the next token."""
    body: dict[str, Tree] = {"page_size": page_size}
    if parent is not None:
        body["parent"] = parent
    if page_token is not None:
        body["page_token"] = page_token
    return Call(
        _post(home, "list-collections", body, is_idempotent=True),
        lambda tree: (
            [str(item) for item in tree["collections"]],
            tree.get("next_page_token") or None,
        ),
    )


def listen_url(base_url: str, home: DatabaseName) -> str:
    """The WebSocket's address."""
    return "ws" + base_url.removeprefix("http") + home.documents_url + ":listen"


# --- accounts -------------------------------------------------------------------------------------


def sign_up(home: DatabaseName, email: str, password: str, now: float) -> Call[SignedIn]:
    """A new account, and its first session."""
    return _account(home, "sign-up", _credentials(email, password), now)


def sign_in(home: DatabaseName, email: str, password: str, now: float) -> Call[SignedIn]:
    """A new session."""
    return _account(home, "sign-in", _credentials(email, password), now)


def refresh(home: DatabaseName, refresh_token: str, now: float) -> Call[SignedIn]:
    """Fresh tokens; the given one is used up."""
    return _account(home, "refresh", {"refresh_token": refresh_token}, now)


def sign_out(home: DatabaseName, refresh_token: str) -> Call[None]:
    """Ends the session on the server."""
    body = dumps({"refresh_token": refresh_token})
    request = Request(
        "POST",
        _accounts_url(home) + ":sign-out",
        body=body,
        is_idempotent=True,
        is_authorized=False,
    )
    return Call(request, lambda tree: None)


def get_me(home: DatabaseName) -> Call[User]:
    """The signed-in user as the server knows it now."""
    request = Request("GET", _accounts_url(home) + "/me", is_idempotent=True)
    return Call(request, lambda tree: parse_user(tree.get("user", tree)))


# --- small steps ----------------------------------------------------------------------------------


def _post(home: DatabaseName, verb: str, body: Tree, *, is_idempotent: bool) -> Request:
    return Request(
        "POST", f"{home.documents_url}:{verb}", body=dumps(body), is_idempotent=is_idempotent
    )


def _account(home: DatabaseName, verb: str, body: Tree, now: float) -> Call[SignedIn]:
    request = Request(
        "POST", f"{_accounts_url(home)}:{verb}", body=dumps(body), is_authorized=False
    )
    return Call(request, lambda tree: parse_signed_in(tree, now))


def _accounts_url(home: DatabaseName) -> str:
    return f"/api/v1/projects/{url_path(home.project)}/accounts"


def _credentials(email: str, password: str) -> dict[str, str]:
    for name, value in (("email", email), ("password", password)):
        if not isinstance(value, str) or not value:
            raise InvalidArgument(f"`{name}` is a non-empty string")
    return {"email": email, "password": password}


def _at(read_time: datetime | None) -> dict[str, Tree]:
    return {} if read_time is None else {"read_time": past_time(read_time)}


def _read(request: Request, parse: Callable[[Any], T]) -> Call[Read[T]]:
    return Call(
        request,
        lambda tree: Read(parse(tree), _text(tree["transaction"]), parse_time(tree["read_time"])),
    )


def _text(tree: Any) -> str:
    if not isinstance(tree, str):
        raise TypeError(f"`{tree!r}` is no string")
    return tree


def _document(tree: Any) -> Tree:
    if not isinstance(tree["path"], str) or not isinstance(tree["fields"], Mapping):
        raise TypeError("a document has a path and fields")
    tree["create_time"], tree["update_time"]
    return tree


def _missing_document(error: SdkError) -> None:
    if isinstance(error, NotFound) and error.reason == "DocumentNotFound":
        return None
    raise error
