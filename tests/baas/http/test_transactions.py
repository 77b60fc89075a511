"""Transactions over HTTP, on both engines: no anomaly, no oracle, nobody starves."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from baas.app import App
from baas.database import contention
from baas.database.names import DatabaseName
from baas.errors import TransactionConflict
from baas.model.paths import DocumentPath
from baas.services import transactions
from baas.services.caller import Caller, CallerKind
from baas.services.transaction_tokens import ID_BYTES, TransactionState, TransactionTokens
from baas.services.transactions import DocumentSeen, ReadsSeen
from baas.settings import Limits
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import BASE, World, open_world
from tests.baas.http.test_connection import Connection
from tests.baas.services.counting import count_up
from tests.effort import examples
from tests.mongo import engine_settings
from tests.waiting import until

HOUR = 3_600
SECRET = Caller(CallerKind.SECRET_KEY, project="demo")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One world for all tests of the module, each in collections of its own."""
    more = engine_settings(request, request.param)
    # Turns end when a test has them end, however long anything takes.
    limits = Limits(transaction_lease_seconds=HOUR, transaction_wait_seconds=HOUR)
    settings = make_settings(tmp_path_factory.mktemp("world") / "data", limits=limits, **more)
    async with started_app(settings) as app, open_world(app) as opened:
        yield opened


@pytest.fixture
def room() -> str:
    """A collection that no other test knows."""
    return f"r{secrets.token_hex(5)}"


@dataclass
class Transaction:
    """A transaction as a client drives it."""

    client: httpx.AsyncClient
    token: str = ""
    reads: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)

    async def begin(self, **members: Any) -> Transaction:
        answer = await self.client.post(f"{BASE}:begin-transaction", json=members)
        assert answer.is_success, answer.text
        self.token = answer.json()["transaction"]
        return self

    async def get(self, *paths: str) -> list[Any]:
        """The documents' fields, None for those that are missing."""
        body = {"documents": list(paths), "transaction": self.token}
        answer = await self.client.post(f"{BASE}:batch-get", json=body)
        assert answer.is_success, answer.text
        self.token = answer.json()["transaction"]
        found = [item["document"] for item in answer.json()["documents"]]
        for path, document in zip(paths, found, strict=True):
            time = document and document["update_time"]
            self.reads.append({"path": path, "update_time": time})
        return [document and document["fields"] for document in found]

    async def query(self, **query: Any) -> list[str]:
        """The ids of the documents in the answer."""
        answer = await self.send_query(query)
        assert answer.is_success, answer.text
        self.token = answer.json()["transaction"]
        self.queries.append({"query": query, "seen": answer.json()["seen"]})
        return [item["path"].rpartition("/")[2] for item in answer.json()["documents"]]

    async def send_query(self, query: dict[str, Any]) -> httpx.Response:
        body = {"query": query, "transaction": self.token}
        return await self.client.post(f"{BASE}:query", json=body)

    async def commit(self, *writes: dict[str, Any], **members: Any) -> httpx.Response:
        body = {
            "writes": list(writes),
            "transaction": self.token,
            "reads": self.reads,
            "queries": self.queries,
            **members,
        }
        return await self.client.post(f"{BASE}:commit", json=body)


def reason(answer: httpx.Response) -> str:
    assert not answer.is_success, answer.text
    return str(answer.json()["error"]["reason"])


async def put(world: World, path: str, **fields: Any) -> None:
    answer = await world.secret.put(f"{BASE}/{path}", json={"fields": fields})
    assert answer.is_success, answer.text


async def fields_of(world: World, path: str) -> Any:
    return (await world.secret.get(f"{BASE}/{path}")).json().get("fields")


def set_to(path: str, **fields: Any) -> dict[str, Any]:
    return {"set": path, "fields": fields}


# Anomalies ----------------------------------------------------------------------------------------


async def test_no_update_is_lost(shared: World, room: str) -> None:
    await put(shared, f"{room}/n", n=1)
    one = await Transaction(shared.secret).begin()
    two = await Transaction(shared.secret).begin()
    for transaction in (one, two):
        assert await transaction.get(f"{room}/n") == [{"n": 1}]
    assert (await one.commit(set_to(f"{room}/n", n=2))).is_success
    assert reason(await two.commit(set_to(f"{room}/n", n=2))) == "TransactionConflict"
    assert await fields_of(shared, f"{room}/n") == {"n": 2}


async def test_a_plain_write_makes_a_transaction_stale(shared: World, room: str) -> None:
    await put(shared, f"{room}/n", n=1)
    one = await Transaction(shared.secret).begin()
    await one.get(f"{room}/n", f"{room}/missing")
    await put(shared, f"{room}/missing", n=1)
    assert reason(await one.commit(set_to(f"{room}/n", n=2))) == "TransactionConflict"


async def test_a_document_that_was_made_anew_is_another_one(shared: World, room: str) -> None:
    await put(shared, f"{room}/n", n=1)
    one = await Transaction(shared.secret).begin()
    await one.get(f"{room}/n")
    assert (await shared.secret.delete(f"{BASE}/{room}/n")).is_success
    await put(shared, f"{room}/n", n=1)
    assert reason(await one.commit(set_to(f"{room}/n", n=2))) == "TransactionConflict"


async def test_no_writes_skew(shared: World, room: str) -> None:
    """Two doctors on call, each of whom leaves only if the other one stays."""
    for name in ("ada", "eve"):
        await put(shared, f"{room}/{name}", on_call=True)
    both = [await Transaction(shared.secret).begin() for _ in range(2)]
    for transaction in both:
        assert await transaction.get(f"{room}/ada", f"{room}/eve") == [{"on_call": True}] * 2
    first = await both[0].commit(set_to(f"{room}/ada", on_call=False))
    second = await both[1].commit(set_to(f"{room}/eve", on_call=False))
    assert first.is_success
    assert reason(second) == "TransactionConflict"
    assert await fields_of(shared, f"{room}/eve") == {"on_call": True}


QUERIES: dict[str, dict[str, Any]] = {
    "a range": {"where": {"field": "n", "op": ">=", "value": 5}},
    "an equality": {"where": {"field": "k", "op": "==", "value": "x"}},
    "all": {},
    "the first": {"order_by": [{"field": "n"}], "limit": 2},
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("change", ["insert", "delete", "update"])
async def test_no_phantoms(shared: World, room: str, name: str, change: str) -> None:
    for n in (3, 5, 7):
        await put(shared, f"{room}/{n}", n=n, k="x")
    one = await Transaction(shared.secret).begin()
    found = await one.query(collection=room, **QUERIES[name])
    if change == "insert":
        await put(shared, f"{room}/0", n=6 if name == "a range" else 0, k="x")
    elif change == "delete":
        assert (await shared.secret.delete(f"{BASE}/{room}/{found[0]}")).is_success
    else:
        await put(shared, f"{room}/{found[0]}", n=50, k="y")
    assert reason(await one.commit(set_to(f"{room}/out/of/range", n=1))) == "TransactionConflict"


async def test_what_a_query_does_not_concern_leaves_it_alone(shared: World, room: str) -> None:
    for n in (3, 5, 7):
        await put(shared, f"{room}/{n}", n=n)
    one = await Transaction(shared.secret).begin()
    assert await one.query(collection=room, **QUERIES["a range"]) == ["5", "7"]
    await put(shared, f"{room}/3", n=4)
    await put(shared, f"{room}/1", n=1)
    assert (await one.commit(set_to(f"{room}/9", n=9))).is_success


async def test_a_transaction_reads_one_moment(shared: World, room: str) -> None:
    await put(shared, f"{room}/a", n=1)
    await put(shared, f"{room}/b", n=1)
    for read_only in (False, True):
        one = await Transaction(shared.secret).begin(read_only=read_only)
        assert await one.get(f"{room}/a") == [{"n": 1}]
        await put(shared, f"{room}/b", n=2)
        await put(shared, f"{room}/c", n=1)
        assert (await shared.secret.delete(f"{BASE}/{room}/a")).is_success
        assert await one.get(f"{room}/b", f"{room}/a", f"{room}/c") == [{"n": 1}, {"n": 1}, None]
        assert await one.query(collection=room) == ["a", "b"]
        ones = {"field": "n", "op": "==", "value": 1}
        assert await one.query(collection=room, where=ones) == ["a", "b"]
        for name in ("a", "b"):
            await put(shared, f"{room}/{name}", n=1)
        assert (await shared.secret.delete(f"{BASE}/{room}/c")).is_success


async def test_a_read_only_transaction_is_never_disturbed(shared: World, room: str) -> None:
    """Money moves between two accounts; whoever looks sees the same sum."""
    for name in ("a", "b"):
        await put(shared, f"{room}/{name}", n=50)
    is_done = False

    async def move() -> None:
        n = 0
        while not is_done:
            n += 1
            writes = [set_to(f"{room}/a", n=50 - n % 50), set_to(f"{room}/b", n=50 + n % 50)]
            assert (await shared.secret.post(f"{BASE}:commit", json={"writes": writes})).is_success

    mover = asyncio.create_task(move())
    try:
        for _ in range(15):
            one = await Transaction(shared.secret).begin(read_only=True)
            (a,) = await one.get(f"{room}/a")
            assert await one.query(collection=room) == ["a", "b"]
            (b,) = await one.get(f"{room}/b")
            assert a["n"] + b["n"] == 100
            assert (await one.commit(reads=[], queries=[])).is_success
    finally:
        is_done = True
        await mover


async def test_reads_of_an_earlier_time(shared: World, room: str) -> None:
    await put(shared, f"{room}/a", n=1)
    first = (await shared.secret.get(f"{BASE}/{room}/a")).json()["update_time"]
    await put(shared, f"{room}/a", n=2)
    await put(shared, f"{room}/b", n=2)
    one = await Transaction(shared.secret).begin(read_only=True, read_time=first)
    assert await one.get(f"{room}/a", f"{room}/b") == [{"n": 1}, None]
    assert await one.query(collection=room) == ["a"]
    for time, expected in (
        ("2999-01-01T00:00:00Z", "ReadTimeInFuture"),
        ("1980-01-01T00:00:00Z", None),  # history reaches back to the beginning
    ):
        body = {"read_only": True, "read_time": time}
        answer = await shared.secret.post(f"{BASE}:begin-transaction", json=body)
        assert answer.is_success if expected is None else reason(answer) == expected
    wrong = {"read_time": first}
    answer = await shared.secret.post(f"{BASE}:begin-transaction", json=wrong)
    assert reason(answer) == "InvalidBody"
    assert reason(await one.commit(set_to(f"{room}/a", n=3))) == "ReadOnlyTransaction"


async def test_a_commit_that_is_repeated_happens_once(shared: World, room: str) -> None:
    await put(shared, f"{room}/n", n=1)
    one = await Transaction(shared.secret).begin()
    await one.get(f"{room}/n")
    answers = [await one.commit(set_to(f"{room}/n", n=2), request_id=room) for _ in range(2)]
    assert answers[0].is_success
    assert answers[0].json() == answers[1].json()
    assert reason(await one.commit(set_to(f"{room}/n", n=2))) == "TransactionConflict"


# Fairness -----------------------------------------------------------------------------------------


async def test_fifty_clients_count_to_a_thousand(shared: World, room: str) -> None:
    """As the SDK does it: five attempts at most, each after the first with its turn. (Below HTTP,
    whose client would take most of the time; the SDK's own test goes over sockets.)"""
    path = DocumentPath.parse(f"{room}/n")
    await put(shared, f"{room}/n", n=0)
    attempts: list[int] = []
    # On MongoDB a commit takes milliseconds: `make fuzz` makes them all.
    engine = shared.app.context.settings.engine
    times = 20 if engine == "sqlite" else min(20, examples(4))

    async def client() -> None:
        attempts.extend([await count_up(shared.app.context, SECRET, path) for _ in range(times)])

    await asyncio.gather(*[client() for _ in range(50)])
    assert await fields_of(shared, f"{room}/n") == {"n": 50 * times}
    assert max(attempts) <= 3


async def test_who_begs_for_turns_and_uses_none_starves_nobody(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, name = shared.app.context, DatabaseName("demo")
    hostile = Caller(CallerKind.ADMIN, uid="hostile")
    who = (hostile.kind, hostile.uid)
    path = DocumentPath.parse(f"{room}/n")
    await put(shared, f"{room}/n", n=0)
    turns = (await context.databases.open(name)).contention
    monkeypatch.setattr(turns, "_slow_max", 2)
    monkeypatch.setattr(contention, "SLOW_SECONDS", 2 * HOUR)
    monkeypatch.setattr(contention, "SLOW_WINDOW_SECONDS", 9 * HOUR)
    wrong = ReadsSeen([DocumentSeen(path, None)])  # never so: always aborted, over this document
    taken = 0
    is_over = False

    def held() -> list[str]:
        return [one for one, place in turns._leases.items() if place.caller == who]

    def others_wait() -> bool:
        return any(place.caller != who for line in turns._lines.values() for place in line)

    async def beg() -> None:
        token = (await transactions.begin(context, hostile, name)).token
        while not is_over:
            with pytest.raises(TransactionConflict):
                await transactions.commit(context, hostile, name, [], wrong, token)
            token = (await transactions.begin(context, hostile, name, retry=token)).token
            await until(lambda: is_over or not held())
            await asyncio.sleep(0.005)

    async def end_turns() -> None:
        """As if so much time had gone by, and the lease were over."""
        nonlocal taken
        while not all(task.done() for task in beggars):
            for transaction in held():
                await until(lambda: is_over or others_wait())
                turns._leases[transaction].granted_at -= 3 * HOUR
                turns.release(transaction)
                taken += not is_over
            await asyncio.sleep(0.001)

    beggars = [asyncio.create_task(beg()) for _ in range(20)]
    ending = asyncio.create_task(end_turns())
    try:
        await until(held)
        attempts = [await count_up(shared.app.context, SECRET, path) for _ in range(20)]
    finally:
        is_over = True
        await asyncio.gather(ending, *beggars)
    assert taken == 2
    assert max(attempts) <= 3
    assert await fields_of(shared, f"{room}/n") == {"n": 20}


async def test_plain_writes_are_not_held_up_by_a_turn(shared: World, room: str) -> None:
    await put(shared, f"{room}/n", n=1)
    holder = await _with_a_lease(shared, room)
    other = await Transaction(shared.secret).begin()
    await other.get(f"{room}/n")
    assert reason(await other.commit(set_to(f"{room}/n", n=7))) == "TransactionConflict"
    reads_nothing = await Transaction(shared.secret).begin()
    assert (await reads_nothing.commit(set_to(f"{room}/m", n=7))).is_success
    await put(shared, f"{room}/n", n=3)
    await shared.secret.post(f"{BASE}:rollback", json={"transaction": holder.token})
    other = await Transaction(shared.secret).begin()
    await other.get(f"{room}/n")
    assert (await other.commit(set_to(f"{room}/n", n=7))).is_success


async def test_turns_go_by_in_order_and_end_with_a_rollback(shared: World, room: str) -> None:
    await put(shared, f"{room}/n", n=1)
    holder = await _with_a_lease(shared, room)
    waiting: list[asyncio.Task[Transaction]] = []
    for number in range(3):
        aborted = await Transaction(shared.secret).begin()
        await aborted.get(f"{room}/n")
        assert reason(await aborted.commit(set_to(f"{room}/n", n=0))) == "TransactionConflict"
        waiting.append(asyncio.create_task(Transaction(shared.secret).begin(retry=aborted.token)))
        await _until_in_line(shared, room, 2 + number)
    assert not any(task.done() for task in waiting)
    await shared.secret.post(f"{BASE}:rollback", json={"transaction": holder.token})
    for number, task in enumerate(waiting):
        begun = await task
        assert not any(later.done() for later in waiting[number + 1 :])
        await begun.get(f"{room}/n")
        assert (await begun.commit(set_to(f"{room}/n", n=number))).is_success


async def test_who_goes_while_it_waits_for_its_turn_does_not_hold_others_up(
    shared: World, room: str
) -> None:
    await put(shared, f"{room}/n", n=1)
    holder = await _with_a_lease(shared, room)
    aborted = await Transaction(shared.secret).begin()
    await aborted.get(f"{room}/n")
    assert reason(await aborted.commit(set_to(f"{room}/n", n=0))) == "TransactionConflict"
    connection = Connection(app=shared.app)
    body = orjson.dumps({"retry": aborted.token})
    head = f"POST {BASE}:begin-transaction HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    key = f"Authorization: Bearer {shared.secret_key}\r\n\r\n"
    await connection.feed((head + key).encode() + body)
    await _until_in_line(shared, room, 2)
    connection.protocol.connection_lost(None)
    await shared.secret.post(f"{BASE}:rollback", json={"transaction": holder.token})
    await _until_in_line(shared, room, 0)


async def _until_in_line(world: World, room: str, count: int) -> None:
    """Until so many have their turn at `n` or wait for it."""
    database = await world.app.context.databases.open(DatabaseName("demo"))
    lines = database.contention._lines
    await until(lambda: len(lines.get((room, "n"), ())) == count)


async def _with_a_lease(world: World, room: str) -> Transaction:
    """A transaction whose turn it is at `n`."""
    aborted = await Transaction(world.secret).begin()
    await aborted.get(f"{room}/n")
    await put(world, f"{room}/n", n=2)
    assert reason(await aborted.commit(set_to(f"{room}/n", n=3))) == "TransactionConflict"
    return await Transaction(world.secret).begin(retry=aborted.token)


# Tokens -------------------------------------------------------------------------------------------


async def test_a_token_that_was_tampered_with_is_refused(shared: World, room: str) -> None:
    one = await Transaction(shared.secret).begin()
    data = base64.urlsafe_b64decode(one.token + "=" * (-len(one.token) % 4))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        one.token = base64.urlsafe_b64encode(changed).decode().rstrip("=")
        assert reason(await one.commit(set_to(f"{room}/n", n=1))) == "InvalidTransaction"
    for token in ("", "x", "ä" * 10, "A" * 200):
        one.token = token
        assert reason(await one.send_query({"collection": room})) == "InvalidTransaction"
    one.token = "A" * 201
    assert reason(await one.send_query({"collection": room})) == "TooLong"


async def test_a_token_is_its_callers_own(shared: World, room: str) -> None:
    one = await Transaction(shared.secret).begin()
    two = await Transaction(shared.anonymous).begin()
    for client, token in ((shared.anonymous, one.token), (shared.secret, two.token)):
        stolen = Transaction(client, token)
        body = {"documents": [f"{room}/n"], "transaction": token}
        assert reason(await client.post(f"{BASE}:batch-get", json=body)) == "InvalidTransaction"
        assert reason(await stolen.send_query({"collection": room})) == "InvalidTransaction"
        assert reason(await stolen.commit()) == "InvalidTransaction"
        begun = await client.post(f"{BASE}:begin-transaction", json={"retry": token})
        assert reason(begun) == "InvalidTransaction"
        body = {"transaction": token}
        assert reason(await client.post(f"{BASE}:rollback", json=body)) == "InvalidTransaction"


async def test_a_token_of_another_database_is_refused(shared: World, room: str) -> None:
    admin = "/api/v1/admin/projects/demo/databases"
    assert (await shared.operator.post(admin, json={"id": room})).is_success
    elsewhere = f"/api/v1/projects/demo/databases/{room}/documents"
    answer = await shared.secret.post(f"{elsewhere}:begin-transaction", json={})
    one = Transaction(shared.secret, answer.json()["transaction"])
    assert reason(await one.commit(set_to(f"{room}/n", n=1))) == "InvalidTransaction"


@pytest.mark.parametrize(
    ("started", "used", "expected"),
    [(270, 60, None), (271, 1, "TransactionExpired"), (61, 61, "TransactionExpired")],
)
async def test_a_transaction_ends_with_its_time(
    shared: World,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
    started: int,
    used: int,
    expected: str | None,
) -> None:
    context = shared.app.context
    database = await context.databases.open(DatabaseName("demo"))
    key = context.secret.derive("transactions")
    tokens = TransactionTokens(key, incarnation=database.incarnation, caller=SECRET)
    now = context.clock.now_microseconds()
    monkeypatch.setattr(context.clock, "now_microseconds", lambda: now)  # it stands still
    times = (now - started * 1_000_000, now - used * 1_000_000)
    state = TransactionState(bytes(ID_BYTES), database.version, *times, False)
    one = Transaction(shared.secret, tokens.make(state))
    answers = [
        await one.send_query({"collection": room}),
        await one.client.post(
            f"{BASE}:batch-get", json={"documents": [f"{room}/n"], "transaction": one.token}
        ),
        await one.commit(set_to(f"{room}/n", n=1)),
    ]
    for answer in answers:
        assert answer.is_success if expected is None else reason(answer) == expected


async def test_a_step_renews_the_token(shared: World, room: str) -> None:
    one = await Transaction(shared.secret).begin()
    before = one.token
    await one.get(f"{room}/n")
    assert one.token != before
    before = one.token
    await one.query(collection=room)
    assert one.token != before


# Bounds -------------------------------------------------------------------------------------------


async def test_reads_without_a_transaction_are_refused(shared: World) -> None:
    for name in ("reads", "queries"):
        answer = await shared.secret.post(f"{BASE}:commit", json={"writes": [], name: []})
        assert reason(answer) == "InvalidBody"


async def test_the_read_set_is_bounded(shared: World, room: str) -> None:
    limits = shared.app.context.settings.limits
    one = await Transaction(shared.secret).begin()
    query = {"query": {"collection": room}, "seen": "0" * 32}
    for name, item, maximum in (
        ("reads", {"path": f"{room}/n", "update_time": None}, limits.transaction_documents_max),
        ("queries", query, limits.transaction_queries_max),
    ):
        answer = await one.commit(**{name: [item] * (maximum + 1)})
        assert reason(answer) == "TooManyReads"
    item = {"path": f"{room}/n", "update_time": None}
    assert (await one.commit(reads=[item] * limits.transaction_documents_max)).is_success


async def test_an_answer_is_whole_or_refused(shared: World, room: str) -> None:
    body = "x" * 900_000
    for number in range(38):
        await put(shared, f"{room}/{number:02}", body=body)
    one = await Transaction(shared.secret).begin()
    assert reason(await one.send_query({"collection": room})) == "AnswerTooLarge"
    assert len(await one.query(collection=room, limit=30)) == 30


# Rules --------------------------------------------------------------------------------------------


async def test_reads_take_the_rights_of_any_read(shared: World) -> None:
    await put(shared, "owned/x", owner="somebody else")
    one = await Transaction(shared.user).begin()
    body = {"documents": ["owned/x"], "transaction": one.token}
    answer = await shared.user.post(f"{BASE}:batch-get", json=body)
    assert reason(answer) == "PermissionDenied"
    assert reason(await one.send_query({"collection": "owned"})) == "PermissionDenied"
    mine = {"field": "owner", "op": "==", "value": shared.uid}
    assert await one.query(collection="owned", where=mine) == []


async def test_a_commit_tells_nothing_of_what_may_not_be_read(shared: World) -> None:
    """Neither whether a document exists, nor when it was changed, nor what a query would find."""
    await put(shared, "owned/secret", owner="somebody else")
    time = (await shared.secret.get(f"{BASE}/owned/secret")).json()["update_time"]
    empty = "cae66941d9efbd404e4d88758ea67670"
    for members in (
        {"reads": [{"path": "owned/secret", "update_time": None}]},
        {"reads": [{"path": "owned/secret", "update_time": time}]},
        {"reads": [{"path": "closed/missing", "update_time": None}]},
        {"queries": [{"query": {"collection": "owned"}, "seen": empty}]},
        {"queries": [{"query": {"collection": "closed"}, "seen": empty}]},
    ):
        one = await Transaction(shared.user).begin()
        write = set_to(f"users/{shared.uid}", n=1)
        assert reason(await one.commit(write, **members)) == "PermissionDenied"


async def test_what_was_private_then_is_private_now(shared: World, room: str) -> None:
    """And what is private now, though it was not then."""
    await put(shared, "owned/then", owner="somebody else", secret=1)
    await put(shared, "owned/now", owner=shared.uid)
    one = await Transaction(shared.user).begin()
    await put(shared, "owned/then", owner=shared.uid)
    await put(shared, "owned/now", owner="somebody else")
    for name in ("then", "now"):
        body = {"documents": [f"owned/{name}"], "transaction": one.token}
        answer = await shared.user.post(f"{BASE}:batch-get", json=body)
        assert reason(answer) == "PermissionDenied", name


async def test_rights_that_end_end_for_open_transactions(shared: World) -> None:
    await put(shared, f"members/{shared.uid}", since=1)
    await put(shared, "guarded/g", n=1)
    one = await Transaction(shared.user).begin()
    assert await one.get("guarded/g") == [{"n": 1}]
    assert (await shared.secret.delete(f"{BASE}/members/{shared.uid}")).is_success
    body = {"documents": ["guarded/g"], "transaction": one.token}
    answer = await shared.user.post(f"{BASE}:batch-get", json=body)
    assert reason(answer) == "PermissionDenied"
    write = set_to(f"users/{shared.uid}", n=2)
    assert reason(await one.commit(write)) == "PermissionDenied"


async def test_writes_take_the_rights_of_any_write(shared: World) -> None:
    one = await Transaction(shared.user).begin()
    assert reason(await one.commit(set_to("closed/x", n=1))) == "PermissionDenied"


async def test_transactions_outlive_a_restart(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    tokens: list[Transaction] = []

    async def start(app: App, key: str) -> None:
        one = Transaction(app_client(app, key))
        await one.begin()
        await one.get("a/n")
        tokens.append(one)

    async with started_app(settings) as app, open_world(app) as world:
        key = world.secret_key
        await put(world, "a/n", n=1)
        for _ in range(2):
            await start(app, key)
    async with started_app(settings) as app:
        client = app_client(app, key)
        for one, expected in zip(tokens, (None, "TransactionConflict"), strict=True):
            await one.client.aclose()
            one.client = client
            answer = await one.commit(set_to("a/n", n=2))
            assert answer.is_success if expected is None else reason(answer) == expected
        again = await Transaction(client).begin(retry=tokens[1].token)
        assert await again.get("a/n") == [{"n": 2}]
        await client.aclose()


async def test_a_commit_tells_nobody_how_large_an_aggregation_is_that_he_may_not_ask(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules are asked before it waits for a place: else the wait is what tells."""
    for number in range(12):
        answer = await shared.secret.put(f"{BASE}/closed/o{number}", json={"fields": {"n": 1}})
        assert answer.is_success, answer.text
    monkeypatch.setattr("baas.services.aggregations.COUNTED_AT_ONCE_MAX", 10)
    database = await shared.app.context.databases.open(DatabaseName("demo"))
    monkeypatch.setattr(database, "count_gate", asyncio.Semaphore(0))
    where = {"field": "n", "op": "==", "value": 1}
    asked = {
        "query": {"collection": "closed", "where": where},
        "aggregates": [{"op": "count"}],
        "seen": "0" * 32,
    }
    one = await Transaction(shared.user).begin()
    write = set_to(f"users/{shared.uid}", n=1)
    assert reason(await one.commit(write, aggregations=[asked])) == "PermissionDenied"
