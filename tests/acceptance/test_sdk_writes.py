"""Transactions and bulk writes of both clients against the real server, on both engines."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from baas_sdk import (
    Aborted,
    AsyncClient,
    AsyncTransaction,
    BulkWriterOptions,
    Client,
    FieldFilter,
    Increment,
    RetryPolicy,
    Transaction,
    async_transactional,
    errors,
    transactional,
)

from tests.effort import FACTOR
from tests.processes import ServerProcess
from tests.sdk.faces import Face

pytestmark = pytest.mark.slow
RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /rooms/{room}/{rest=**} { allow read, write: if true; }
  }
}
"""
FAST = RetryPolicy(pause_seconds_first=0.005, pause_seconds_max=0.1)


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, str]]:
    flags: tuple[str, ...] = ()
    if request.param == "mongodb":
        uri = request.getfixturevalue("mongodb_uri")
        name = f"t_{secrets.token_hex(6)}"
        flags = ("--engine", "mongodb", "--mongodb-uri", uri, "--mongodb-database", name)
    running = ServerProcess(tmp_path_factory.mktemp("server") / "data", *flags).start()
    try:
        yield running, running.create_project("demo", RULES, allow_open=True)
    finally:
        assert running.stop() == 0


@pytest.fixture
def room() -> str:
    return f"rooms/{secrets.token_hex(6)}"


@pytest.fixture(params=["blocking", "asyncio"])
async def face(
    server: tuple[ServerProcess, str], request: pytest.FixtureRequest
) -> AsyncIterator[Face]:
    made = Face(server[0].url, is_async=request.param == "asyncio", api_key=server[1])
    yield made
    await made.close()


class Steps:
    """A function that runs in a transaction, for either client: each step is a call to make."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.runs = 0

    async def run(self, work: Any, **settings: Any) -> Any:
        """Runs `work(steps, transaction)`, a coroutine function, in a transaction."""
        face = self.face
        if face.is_async:

            @async_transactional
            async def run_async(transaction: AsyncTransaction) -> Any:
                self.runs += 1
                return await work(self, transaction)

            return await run_async(face.client.transaction(**settings))

        @transactional
        def run_blocking(transaction: Transaction) -> Any:
            self.runs += 1
            return asyncio.run(work(self, transaction))

        return await asyncio.to_thread(run_blocking, face.client.transaction(**settings))

    async def call(self, method: Any, *args: Any, **rest: Any) -> Any:
        found = method(*args, **rest)
        return await found if self.face.is_async else found

    async def list(self, found: Any) -> list[Any]:
        return [item async for item in found] if self.face.is_async else list(found)


async def test_a_transaction_reads_and_writes(face: Face, room: str) -> None:
    client = face.client
    ada, eve = client.document(f"{room}/a/ada"), client.document(f"{room}/a/eve")
    await face.call(ada.set, {"balance": 10})
    await face.call(eve.set, {"balance": 0})

    async def move(steps: Steps, transaction: Any) -> int:
        one = await steps.call(ada.get, transaction=transaction)
        (two,) = await steps.list(transaction.get(eve))
        assert [s.id for s in await steps.list(transaction.get_all([ada, eve]))] == ["ada", "eve"]
        everybody = client.collection(f"{room}/a")
        assert len(await steps.call(everybody.get, transaction=transaction)) == 2
        assert transaction.in_progress
        transaction.update(ada, {"balance": one.get("balance") - 3})
        transaction.update(eve, {"balance": two.get("balance") + 3})
        transaction.create(client.document(f"{room}/a/log"), {"moved": 3})
        return 3

    steps = Steps(face)
    assert await steps.run(move) == 3
    assert steps.runs == 1
    assert (await face.call(ada.get)).to_dict() == {"balance": 7}
    assert (await face.call(eve.get)).to_dict() == {"balance": 3}


async def test_it_runs_again_when_it_was_overtaken(face: Face, room: str) -> None:
    counter = face.client.document(f"{room}/a/n")
    await face.call(counter.set, {"n": 0})

    async def add(steps: Steps, transaction: Any) -> None:
        n = (await steps.call(counter.get, transaction=transaction)).get("n")
        if steps.runs == 1:
            await steps.call(counter.set, {"n": 10})
        transaction.set(counter, {"n": n + 1})

    steps = Steps(face)
    await steps.run(add)
    assert steps.runs == 2
    assert (await face.call(counter.get)).get("n") == 11


async def test_a_phantom_is_noticed(face: Face, room: str) -> None:
    people = face.client.collection(f"{room}/people")
    adults = people.where(filter=FieldFilter("age", ">=", 18))
    await face.call(people.document("ada").set, {"age": 36})

    async def count(steps: Steps, transaction: Any) -> None:
        found = await steps.call(adults.get, transaction=transaction)
        if steps.runs == 1:
            await steps.call(people.document("eve").set, {"age": 18})
        transaction.set(face.client.document(f"{room}/a/adults"), {"n": len(found)})

    steps = Steps(face)
    await steps.run(count)
    assert steps.runs == 2
    assert (await face.call(face.client.document(f"{room}/a/adults").get)).get("n") == 2


async def test_the_last_attempt_raises(face: Face, room: str) -> None:
    counter = face.client.document(f"{room}/a/n")

    async def add(steps: Steps, transaction: Any) -> None:
        await steps.call(counter.get, transaction=transaction)
        await steps.call(counter.set, {"n": steps.runs})
        transaction.set(counter, {"n": -1})

    steps = Steps(face)
    with pytest.raises(Aborted) as caught:
        await steps.run(add, max_attempts=3)
    assert caught.value.reason == "TransactionConflict"
    assert steps.runs == 3
    assert (await face.call(counter.get)).get("n") == 3


async def test_what_the_function_raises_ends_it(face: Face, room: str) -> None:
    counter = face.client.document(f"{room}/a/n")

    async def fail(steps: Steps, transaction: Any) -> None:
        await steps.call(counter.get, transaction=transaction)
        transaction.set(counter, {"n": 1})
        raise KeyError("mine")

    steps = Steps(face)
    with pytest.raises(KeyError, match="mine"):
        await steps.run(fail)
    assert steps.runs == 1
    assert not (await face.call(counter.get)).exists


async def test_reads_come_first(face: Face, room: str) -> None:
    counter = face.client.document(f"{room}/a/n")

    async def wrong(steps: Steps, transaction: Any) -> None:
        transaction.set(counter, {"n": 1})
        await steps.call(counter.get, transaction=transaction)

    with pytest.raises(errors.FailedPrecondition) as caught:
        await Steps(face).run(wrong)
    assert caught.value.reason == "ReadAfterWrite"


async def test_a_read_only_transaction_sees_one_moment(face: Face, room: str) -> None:
    counter = face.client.document(f"{room}/a/n")
    other = face.client.document(f"{room}/a/m")
    for reference in (counter, other):
        await face.call(reference.set, {"n": 1})
    before = (await face.call(counter.get)).update_time

    async def look(steps: Steps, transaction: Any) -> list[Any]:
        first = await steps.call(counter.get, transaction=transaction)
        await steps.call(other.set, {"n": 2})
        second = await steps.call(other.get, transaction=transaction)
        return [first.get("n"), second.to_dict()]

    steps = Steps(face)
    assert await steps.run(look, read_only=True) == [1, {"n": 1}]
    assert await steps.run(look, read_only=True, read_time=before) == [1, None]

    async def write(steps: Steps, transaction: Any) -> None:
        transaction.set(counter, {"n": 5})

    with pytest.raises(errors.FailedPrecondition) as caught:
        await steps.run(write, read_only=True)
    assert caught.value.reason == "ReadOnlyTransaction"


async def test_run_transaction_gives_back_what_the_function_gives(face: Face, room: str) -> None:
    counter = face.client.document(f"{room}/a/n")
    if face.is_async:

        async def add_async(transaction: AsyncTransaction) -> str:
            await counter.get(transaction=transaction)
            transaction.set(counter, {"n": 1})
            return "done"

        assert await face.client.run_transaction(add_async) == "done"
        return

    def add(transaction: Transaction) -> str:
        counter.get(transaction=transaction)
        transaction.set(counter, {"n": 1})
        return "done"

    assert await face.call(face.client.run_transaction, add) == "done"


# In `make test` fewer rounds than in `make fuzz`: 6,000 requests of Python clients take long.
ROUNDS = 20 if FACTOR > 1 else 2


async def test_fifty_tasks_count_with_one_counter(
    server: tuple[ServerProcess, str], room: str
) -> None:
    clients = [
        AsyncClient(server[0].url, project="demo", api_key=server[1], retry=FAST) for _ in range(5)
    ]

    @async_transactional
    async def add(transaction: AsyncTransaction, client: AsyncClient) -> None:
        counter = client.document(f"{room}/a/n")
        found = await counter.get(transaction=transaction)
        transaction.set(counter, {"n": (found.get("n") or 0) + 1})

    async def count(client: AsyncClient) -> None:
        for _ in range(ROUNDS):
            await add(client.transaction(), client)

    await asyncio.gather(*[count(clients[number % 5]) for number in range(50)])
    counted = (await clients[0].document(f"{room}/a/n").get()).get("n")
    await asyncio.gather(*[client.close() for client in clients])
    assert counted == 50 * ROUNDS


def test_threads_count_with_one_counter(server: tuple[ServerProcess, str], room: str) -> None:
    threads, rounds = 8, 4

    @transactional
    def add(transaction: Transaction, client: Client) -> None:
        counter = client.document(f"{room}/a/n")
        found = counter.get(transaction=transaction)
        transaction.set(counter, {"n": (found.get("n") or 0) + 1})

    with Client(server[0].url, project="demo", api_key=server[1], retry=FAST) as client:

        def count(_: int) -> None:
            for _ in range(rounds):
                add(client.transaction(), client)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(count, range(threads)))
        assert client.document(f"{room}/a/n").get().get("n") == threads * rounds


SMALL = BulkWriterOptions(batch_writes_max=20, requests_max=3, waiting_max=50)


async def test_bulk_writes_are_all_done(face: Face, room: str) -> None:
    people, counters = face.client.collection(f"{room}/p"), face.client.collection(f"{room}/c")
    done: list[str] = []
    writer = face.client.bulk_writer(SMALL)
    writer.on_write_result(lambda reference, result, bulk_writer: done.append(reference.id))
    for number in range(300):
        await face.call(writer.set, people.document(f"{number:03}"), {"n": number})
        await face.call(writer.set, counters.document(f"{number % 7}"), {"n": Increment(1)}, True)
    await face.call(writer.flush)
    assert len(done) == 600
    found = {item.id: item.get("n") for item in await face.call(counters.get)}
    assert found == {f"{number}": 43 if number < 6 else 42 for number in range(7)}
    await face.call(writer.delete, people.document("000"))
    await face.call(writer.update, people.document("001"), {"n": -1})
    await face.call(writer.close)
    left = await face.call(people.get)
    assert [item.get("n") for item in left] == [-1, *range(2, 300)]
    with pytest.raises(errors.FailedPrecondition):
        await face.call(writer.set, people.document("x"), {})


async def test_writes_to_one_document_keep_their_order(face: Face, room: str) -> None:
    one = face.client.document(f"{room}/a/n")
    writer = face.client.bulk_writer(SMALL)
    for number in range(50):
        await face.call(writer.set, one, {"n": number})
        await face.call(writer.create, face.client.document(f"{room}/b/{number}"), {})
    await face.call(writer.close)
    assert (await face.call(one.get)).get("n") == 49


async def test_what_fails_is_told(face: Face, room: str) -> None:
    client = face.client
    wrong, right = client.document("closed/x"), client.document(f"{room}/a/x")
    writer = client.bulk_writer()
    await face.call(writer.set, wrong, {"n": 1})
    await face.call(writer.set, right, {"n": 1})
    with pytest.raises(errors.PermissionDenied) as caught:
        await face.call(writer.close)
    assert caught.value.details == {"failed": 1, "paths": ["closed/x"]}
    assert (await face.call(right.get)).exists

    failures: list[tuple[str, int]] = []

    def told(failure: Any, bulk_writer: Any) -> bool:
        failures.append((failure.code, failure.attempts))
        return bool(failure.attempts < 3)

    writer = client.bulk_writer()
    writer.on_write_error(told)
    await face.call(writer.create, right, {"n": 2})
    await face.call(writer.close)
    assert failures == [("ALREADY_EXISTS", 1), ("ALREADY_EXISTS", 2), ("ALREADY_EXISTS", 3)]


async def test_numbers_of_a_transaction_admit_no_phantom(
    server: tuple[ServerProcess, str], room: str
) -> None:
    """Of two that may both be the last one in, one is aborted and looks again; in groups too."""
    async with AsyncClient(server[0].url, project="demo", api_key=server[1], retry=FAST) as client:
        seats = client.collection(f"{room}/seats")
        runs = 0

        @async_transactional
        async def sit(transaction: AsyncTransaction, name: str) -> object:
            nonlocal runs
            runs += 1
            ((taken,),) = await seats.count().get(transaction=transaction)
            groups = await seats.distinct("row").get(transaction=transaction)
            assert isinstance(taken.value, int)
            assert len(groups) == min(taken.value, 1)
            if runs == 1:  # somebody else sits down meanwhile
                await seats.document("other").set({"row": 1})
            transaction.create(seats.document(name), {"row": 1})
            return taken.value

        assert await sit(client.transaction(), "mine") == 1
        assert runs == 2
        (row,) = await seats.group_by("row").count("n").minimum("row", "least").get()
        assert (row.values, row.results) == ({"row": 1}, {"n": 2, "least": 1})


async def test_everything_below_is_deleted_and_a_query_updated_by_jobs(
    server: tuple[ServerProcess, str], room: str, face: Face
) -> None:
    with server[0].admin() as admin:
        key = admin.post("/projects/demo/keys", json={"kind": "secret"}).json()["key"]
    above = Face(server[0].url, is_async=face.is_async, api_key=key)
    try:
        client, call = above.client, above.call
        for path in ("a/1", "a/2", "a/2/b/x", "c/1"):
            await call(client.document(f"{room}/{path}").set, {"n": int(path[2])})
        everybody = client.collection(f"{room}/a")
        job = await call(
            client.start_update_by_query, everybody.where("n", ">", 1), {"n": Increment(5)}
        )
        again = await call(client.get_job, job.id)
        assert (await call(again.wait)).progress.written == 1
        assert (await call(client.document(f"{room}/a/2").get)).get("n") == 7
        assert await call(client.recursive_delete, everybody) == 3
        assert not (await call(client.document(f"{room}/a/2/b/x").get)).exists
        assert (await call(client.document(f"{room}/c/1").get)).exists
        assert await call(client.recursive_delete, client.document(room)) == 1
        assert {one.id for one in await call(client.list_jobs)} >= {job.id}
        with pytest.raises(errors.FailedPrecondition) as caught:
            await call(job.cancel)
        assert caught.value.reason == "JobIsOver"
        with pytest.raises(errors.PermissionDenied):
            await face.call(face.client.recursive_delete, face.client.document(room))
    finally:
        await above.close()
