"""A search gives the same by an index of words, by reading, and by the definition of BM25."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Literal

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from baas.database import corpora, postings, search
from baas.database.corpora import Corpora
from baas.database.executor import QueryExecutor
from baas.database.indexes import Indexes
from baas.database.planner import CollectionScan, WordScan, plan_query
from baas.encoding.documents import StoredDocument
from baas.errors import QuotaExceeded
from baas.model import sampling
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import And, FieldFilter, Filter, Operator, Or, Query
from baas.model.query_checks import check_query
from baas.model.query_matching import matches
from baas.model.search import Search
from baas.model.values import Fields, Value
from baas.model.words import TOKENIZER
from baas.settings import Limits
from tests.baas.database import search_oracle
from tests.baas.database.acts import doc
from tests.baas.database.arbitrary import stored
from tests.baas.database.memory import MemorySnapshot
from tests.baas.database.test_executor import add_ready, indexes_for
from tests.effort import examples
from tests.waiting import until

WORDS = ("a", "ab", "abc", "b", "ba", "c")
TEXT, OTHER = FieldPath(("t",)), FieldPath(("u",))
LONG = "l" * 1_600  # its key is cut
PATHS = tuple(
    CollectionPath.parse(collection).document(name)
    for collection in ("c", "c", "c", "c/x/c", "d")
    for name in ("a", "b", "ab", "a\x00", "x", "__id7__", "__id-3__", "é", "n" * 1_490 + "1")
)


def some_text(random: Random) -> Value:
    words = random.choices(WORDS, weights=(8, 4, 2, 4, 2, 1), k=random.randrange(1, 9))
    if random.random() < 0.2:
        return [" ".join(words), 7, "b"]
    return " ".join(words)


def some_documents(random: Random) -> list[StoredDocument]:
    found: dict[DocumentPath, Fields] = {}
    for _ in range(random.randrange(25)):
        fields: Fields = {"a": random.choice([1, 2, None]), "b": random.choice([1, 1.0, 2, LONG])}
        for name, often in (("t", 0.9), ("u", 0.5)):
            if random.random() < often:
                fields[name] = some_text(random)
        if random.random() < 0.2:
            fields.pop(random.choice(list(fields)))
        found[random.choice(PATHS)] = fields
    return [stored(path, fields) for path, fields in found.items()]


leaves = st.builds(
    FieldFilter,
    st.sampled_from([FieldPath(("a",)), FieldPath(("b",))]),
    st.sampled_from([Operator.EQUAL] * 6 + [Operator.GREATER, Operator.NOT_EQUAL]),
    st.sampled_from([1, 1, 2, 1.0, LONG]),
)
filters: st.SearchStrategy[Filter] = st.one_of(
    leaves,
    st.builds(And, st.lists(leaves, min_size=1, max_size=3).map(tuple)),
    st.builds(Or, st.lists(leaves, min_size=1, max_size=2).map(tuple)),
)
asked_words = st.sampled_from(
    (*WORDS, *WORDS, "a*", "b*", "ab*", "x", '"a b"', '"a"', '"b a a"', '"ab a"')
)


@st.composite
def searches(draw: st.DrawFn) -> Query:
    collection = CollectionPath.parse(draw(st.sampled_from(("c", "c", "c/x/c"))))
    group = draw(st.booleans())
    query = Query(
        collection,
        all_descendants=group,
        parent=collection.parent if group else None,
        where=draw(st.one_of(st.none(), st.none(), filters)),
        offset=draw(st.sampled_from((0, 0, 1, 3))),
        limit=draw(st.one_of(st.none(), st.integers(1, 5))),
        search=Search(
            " ".join(draw(st.lists(asked_words, min_size=1, max_size=3))),
            draw(st.sampled_from(((TEXT,), (OTHER, TEXT)))),
            is_narrow=draw(st.sampled_from((False, False, True))),
        ),
    )
    check_query(query, Limits())
    return query


@pytest.mark.slow
@given(
    query=searches(),
    documents=st.randoms().map(some_documents),
    seeks=st.booleans(),
    exact_max=st.sampled_from((0, 1, 3, 2_000)),
)
@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_search_is_what_bm25_says_by_an_index_and_without(
    query: Query, documents: list[StoredDocument], seeks: bool, exact_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "EXACT_MAX", exact_max)
        patch.setattr(sampling, "FIRST_LEVEL", 1)
        patch.setattr(corpora, "SLACK", 1)
        patch.setattr(corpora, "RARE_MAX", 1)
        patch.setattr(postings, "BATCH", 2)
        patch.setattr(postings, "SEEK_RATIO", 0 if seeks else 8)
        patch.setattr(search, "BATCH", 1)
        patch.setattr(search, "DOCUMENTS_MAX", 2)
        patch.setattr(search, "PLACES_MAX", 3)
        wanted = search_oracle.search(query, documents)
        event(f"{min(len(wanted), 3)} found")
        for indexes in (Indexes(), indexes_for(query)):
            plan = plan_query(query, indexes, indexes.generation)
            event(f"by words: {plan != () and isinstance(plan, tuple)}")
            executor = QueryExecutor(
                MemorySnapshot(documents, indexes), indexes, indexes.generation
            )
            found = await executor.run_query(query)
            assert [one.path for one in found] == [one.path for one in wanted]
            assert await executor.count(query) == len(wanted)
            assert await executor.count(query, up_to=1) == min(1, len(wanted))


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(("text", "entries"), [("a* nowhere", 9), ("a* b* nowhere", 12)])
async def test_prefixes_that_stand_for_too_much_are_refused(
    indexed: bool, text: str, entries: int
) -> None:
    """However they would be answered, and whatever else is asked for; all of a text together, since
    all are held at once."""
    documents = [stored(PATHS[at], {"t": "aa ab ac b"}) for at in range(3)]
    query = Query(CollectionPath(("c",)), search=Search(text, (TEXT,)))
    indexes = indexes_for(query) if indexed else Indexes()
    snapshot = MemorySnapshot(documents, indexes)
    for most in (entries, entries - 1):
        limits = Limits(search_prefix_entries_max=most)
        counted = Corpora(indexes, lambda: snapshot.version, limits)
        executor = QueryExecutor(snapshot, indexes, indexes.generation, corpora=counted)
        if most == entries:
            assert await executor.run_query(query) == []
            continue
        with pytest.raises(QuotaExceeded) as caught:
            await executor.run_query(query)
        assert caught.value.reason == "SearchTooBroad"


def test_an_index_of_another_tokenizer_is_not_used() -> None:
    query = Query(CollectionPath(("c",)), search=Search("a", (OTHER, TEXT)))
    (index,) = indexes_for(query)
    assert index.definition.tokenizer == TOKENIZER
    indexes = Indexes()
    add_ready(indexes, 1, replace(index.definition, tokenizer="0/1.1"))
    plan = plan_query(query, indexes, indexes.generation)
    assert isinstance(plan, CollectionScan)
    assert plan.missing == (index.definition,)


def test_equalities_of_an_index_of_words_stand_in_any_order() -> None:
    where = And(tuple(FieldFilter(FieldPath((name,)), Operator.EQUAL, 1) for name in "ba"))
    query = Query(CollectionPath(("c",)), where=where, search=Search("a", (TEXT,)))
    (index,) = indexes_for(query)
    first, second, words = index.definition.fields
    indexes = Indexes()
    add_ready(indexes, 1, replace(index.definition, fields=(second, first, words)))
    (scan,) = plan_query(query, indexes, indexes.generation)  # type: ignore[misc]
    assert isinstance(scan, WordScan)


class Gate(asyncio.Semaphore):
    is_asked = False

    async def acquire(self) -> Literal[True]:
        self.is_asked = True
        return await super().acquire()


@pytest.mark.parametrize("indexed", [False, True])
async def test_who_reads_much_waits_for_a_place(
    indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postings, "LARGE", 9)
    monkeypatch.setattr(search, "READ_AT_ONCE_MAX", 9)
    for count in (9, 10):
        documents = [stored(doc(f"c/{number}"), {"t": "a"}) for number in range(count)]
        query = Query(CollectionPath(("c",)), search=Search("a", (TEXT,)))
        indexes = indexes_for(query) if indexed else Indexes()
        gate = Gate(0)
        executor = QueryExecutor(
            MemorySnapshot(documents, indexes), indexes, indexes.generation, scan_gate=gate
        )
        running = asyncio.create_task(executor.run_query(query))
        await until(lambda: running.done() or gate.is_asked)  # noqa: B023
        assert running.done() == (count == 9)
        gate.release()
        assert len(await running) == count
        await gate.acquire()  # it was given back


@pytest.mark.parametrize("is_narrow", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
async def test_a_field_that_one_side_of_an_or_is_about_need_not_be_there(
    indexed: bool, is_narrow: bool
) -> None:
    """Queries in an order by that field leave out who lacks it; a search is in another order."""
    documents = [stored(PATHS[0], {"t": "a", "b": 1}), stored(PATHS[1], {"t": "a", "a": 9, "b": 2})]
    a, b = FieldPath(("a",)), FieldPath(("b",))
    sides = (FieldFilter(a, Operator.GREATER, 5), FieldFilter(b, Operator.EQUAL, 1))
    query = Query(
        CollectionPath(("c",)), where=Or(sides), search=Search("a", (TEXT,), is_narrow=is_narrow)
    )
    indexes = indexes_for(query) if indexed else Indexes()
    executor = QueryExecutor(MemorySnapshot(documents, indexes), indexes, indexes.generation)
    assert [one.path.id for one in await executor.run_query(query)] == ["a", "b"]
    assert await executor.count(query) == 2
    assert all(matches(query, one) for one in documents)
