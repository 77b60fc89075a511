"""Lists, documents by their names, and updates by query over HTTP, held to the model."""

from __future__ import annotations

import asyncio
from typing import Any

from baas.model.paths import CollectionPath, DocumentPath, path_key
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import SetWrite, Write
from baas.wire.documents import time_text
from baas.wire.queries import encode_query
from baas.wire.writes import decode_time
from tests.baas.http.conftest import ADMIN, BASE
from tests.baas.http.random_run import RandomRun, Tree, check_same, tree_of, trees_of
from tests.model_based.generate import COLLECTIONS
from tests.model_based.oracle import State, answer, collection_ids

JOB_SECONDS_MAX = 60.0


async def check_lists(run: RandomRun) -> None:
    """Of a collection: its documents in pages, how many there are, and what only has something
    below; and the collections at a place."""
    collection, state = run.chance.choice(COLLECTIONS), run.oracle.now
    everything = Query(collection)
    wanted = trees_of(everything, state)
    size = run.chance.randint(1, 3)
    pages = await _read_pages(run, f"/{collection}", {"page_size": size, "total": "true"})
    check_same(
        f"list of {collection}", [one for page in pages for one in page["documents"]], wanted
    )
    assert {page["total"] for page in pages} == {len(wanted)}
    assert all(len(page["documents"]) <= size for page in pages)

    pages = await _read_pages(run, f"/{collection}", {"page_size": size, "show_missing": "true"})
    shown = [one for page in pages for one in page["documents"]]
    children = [
        tree_of(everything, state[path], state)
        if path in state
        else {"path": str(path), "missing": True}
        for path in _children(collection, state)
    ]
    check_same(f"children of {collection}", shown, children)

    parent = None if run.chance.random() < 0.3 else run.make.path()
    found: list[str] = []
    body: Tree = {"page_size": size} | ({} if parent is None else {"parent": str(parent)})
    while True:
        page = await run.ask_secret("list-collections", body)
        found += page["collections"]
        if "next_page_token" not in page:
            break
        body["page_token"] = page["next_page_token"]
    assert found == collection_ids(parent, state)


def _children(collection: CollectionPath, state: State) -> list[DocumentPath]:
    depth = len(collection.segments)
    names = {path.segments[depth] for path in state if path.segments[:depth] == collection.segments}
    return sorted(map(collection.document, names), key=lambda path: path_key(path.segments))


async def _read_pages(run: RandomRun, place: str, parameters: dict[str, Any]) -> list[Tree]:
    pages: list[Tree] = []
    asked = dict(parameters)
    while True:
        told = await run.world.secret.get(f"{BASE}{place}", params=asked)
        assert told.is_success, told.text
        pages.append(told.json())
        if "next_page_token" not in pages[-1]:
            return pages
        asked["page_token"] = pages[-1]["next_page_token"]


async def check_batch_get(run: RandomRun) -> None:
    """Now, and as they were."""
    paths = [run.make.path() for _ in range(run.chance.randint(1, 5))]
    version = run.chance.choice(run.oracle.versions[-4:])
    now, then = run.oracle.now, run.oracle.at(version)
    body: Tree = {"documents": [str(path) for path in paths]}
    for more, state in (({}, now), ({"read_time": time_text(version)}, then)):
        found = await run.ask_secret("batch-get", {**body, **more})
        wanted = [
            tree_of(Query(COLLECTIONS[0]), state[path], state) if path in state else None
            for path in paths
        ]
        check_same(f"{paths} {more}", [one["document"] for one in found["documents"]], wanted)


async def check_update_by_query(run: RandomRun) -> None:
    """Every document of the answer is changed once, and no other."""
    state = run.oracle.now
    asked = run.make.query(state)
    query = Query(asked.collection, asked.all_descendants, asked.parent, asked.where)
    found = [one.path for one in answer(query, state)]
    mark: Fields = {"marked": run.oracle.version}
    url = f"{ADMIN}/databases/(default)/documents:update-by-query"
    body = {"query": encode_query(query), "update": {"fields": mark}}
    told = await run.world.operator.post(url, json=body)
    assert told.is_success, told.text
    job = await _finished(run, told.json()["id"])
    progress = job["progress"]
    assert (job["state"], progress["written"], progress["failed"]) == ("done", len(found), 0), (
        f"{query} {job}"
    )
    if not found:
        return
    shown = await run.ask_secret("batch-get", {"documents": [str(path) for path in state]})
    times = {one["path"]: one["document"]["update_time"] for one in shown["documents"]}
    (time,) = {times[str(path)] for path in found}  # of one commit
    writes: list[Write] = [SetWrite(path, {**state[path].fields, **mark}) for path in found]
    evaluation = run.oracle.evaluate(writes, Timestamp(0), state)
    run.oracle.commit(evaluation, decode_time(time, "time").microseconds)
    later = run.oracle.now
    wanted = [tree_of(query, later[path], later) for path in state]
    check_same(f"update of {query}", [one["document"] for one in shown["documents"]], wanted)


async def _finished(run: RandomRun, identifier: str) -> Tree:
    async with asyncio.timeout(JOB_SECONDS_MAX):
        while True:
            told = await run.world.operator.get(f"{ADMIN}/jobs/{identifier}")
            job: Tree = told.json()
            if job["state"] != "running":
                return job
            await asyncio.sleep(0.01)
