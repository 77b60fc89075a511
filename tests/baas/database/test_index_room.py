"""Indexes are made for whoever asks, but nobody can take all places for what only he needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.database import index_room
from baas.database.index_demand import TRUSTED, Asker
from baas.database.indexes import Index, IndexDefinition, IndexField
from baas.errors import QuotaExceeded
from baas.model.paths import CollectionPath, FieldPath
from tests.baas.database.store import Store

CITIES = CollectionPath(("cities",))
PLACES = 16  # twelve for those who answer to rules, six for each
SETTLED = index_room.SETTLED_SECONDS + 1


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path, indexes_max=PLACES)
    await made.commit({CITIES.document("a"): {"size": 1}})
    yield made
    await made.close()


def shape(name: str) -> IndexDefinition:
    return IndexDefinition("cities", False, (IndexField(FieldPath((name,))),))


async def ask(
    store: Store, name: str, asker: Asker, *, times: int = 2, documents: int = 200
) -> bool:
    """Whether there is such an index afterwards."""
    for _ in range(times):
        store.builder.want([shape(name)], documents, asker)
        await store.builder.wait_idle()
    return store.indexes.find(shape(name)) is not None


async def ask_all(store: Store, start: str, asker: Asker, number: int = PLACES) -> int:
    return sum([await ask(store, f"{start}{place}", asker) for place in range(number)])


def found(store: Store, name: str) -> Index:
    index = store.indexes.find(shape(name))
    assert index is not None
    return index


async def test_nobody_has_more_than_his_share_of_what_only_he_asks_for(store: Store) -> None:
    assert await ask_all(store, "mine", "eve") == 6
    assert await ask(store, "ours", "ada")
    assert not await ask(store, "mine9", "eve", times=10)
    assert await ask(store, "mine9", "bob", times=1)  # now it is not only hers


async def test_whatever_callers_ask_for_leaves_room_for_the_servers_own(store: Store) -> None:
    made = [await ask_all(store, caller, caller) for caller in ("eve", "mallory", "trent")]
    assert made == [6, 6, 0]
    assert await ask_all(store, "own", TRUSTED) == 4
    assert not await ask(store, "own4", TRUSTED)  # as long as all are new


async def test_an_administrators_wish_makes_room_for_itself(store: Store) -> None:
    await ask_all(store, "eve", "eve")
    await ask_all(store, "own", TRUSTED)
    for place in range(PLACES):
        await store.keeper.build(shape(f"pinned{place}"))
        await store.builder.wait_idle()
    assert all(index.is_pinned for index in store.indexes)
    with pytest.raises(QuotaExceeded) as caught:
        await store.keeper.build(shape("one more"))
    assert caught.value.reason == "TooManyIndexes"


async def test_what_several_ask_for_takes_the_place_of_one_callers_wish(store: Store) -> None:
    """He keeps all of his busy, which helps him nothing."""
    for caller in ("eve", "mallory"):
        await ask_all(store, caller, caller)
    store.clock.advance(SETTLED)
    for index in store.indexes:
        index.uses += 1_000_000
    assert not await ask(store, "popular", "ada")
    assert await ask(store, "popular", "bob", times=1)
    assert len(list(store.indexes)) == 12


async def test_what_spares_more_takes_the_place_of_what_spares_less(store: Store) -> None:
    for caller in ("eve", "mallory"):
        await ask_all(store, caller, caller)
    store.clock.advance(SETTLED)
    for index in store.indexes:
        index.uses += 10_000
    found(store, "eve3").uses = 100  # of 200 documents, within ten minutes
    assert not await ask(store, "seldom", "ada", times=3)
    assert found(store, "eve3")
    assert await ask(store, "often", "ada", times=12, documents=5_000)
    assert store.indexes.find(shape("eve3")) is None


async def test_a_new_index_stays_long_enough_to_show_what_it_is_worth(store: Store) -> None:
    for caller in ("eve", "mallory"):
        await ask_all(store, caller, caller)
    for caller in ("ada", "bob", "carol"):
        assert not await ask(store, "popular", caller, times=5)
    store.clock.advance(SETTLED)
    assert await ask(store, "popular", "ada", times=1)


async def test_indexes_are_not_made_and_dropped_in_turns(store: Store) -> None:
    """Each costs a pass over the collection."""
    for caller in ("eve", "mallory"):
        await ask_all(store, caller, caller)
    store.clock.advance(SETTLED)
    for caller in ("ada", "bob"):
        await ask(store, "one", caller)
        await ask(store, "two", caller)
    assert store.indexes.find(shape("one")) is not None
    assert store.indexes.find(shape("two")) is None
    store.clock.advance(index_room.OUTRANKED_SECONDS)
    assert await ask(store, "two", "ada", times=1)
    assert found(store, "one"), "it is new"
