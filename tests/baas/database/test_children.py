from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.database.children import list_children
from baas.database.indexes import Indexes
from baas.model.paths import CollectionPath, DocumentPath, path_key
from tests.baas.database.arbitrary import stored
from tests.baas.database.memory import MemorySnapshot
from tests.effort import examples

COLLECTION = CollectionPath(("c",))
IDS = ("a", "a-b", "a!", "a0", "ab", "-", "!", "__id7__", "__id-3__", "__id70__", "__idx", "é",
       "a\x00", "\x01", "..a", "z")  # fmt: skip

names = st.sampled_from(IDS)
places = st.one_of(
    names.map(lambda name: DocumentPath(("c", name))),
    st.tuples(names, names).map(lambda two: DocumentPath(("c", two[0], "x", two[1]))),
    st.tuples(names, names).map(lambda two: DocumentPath(("c", two[0], "x", "m", "y", two[1]))),
    st.sampled_from([DocumentPath(("b", "a", "c", "a")), DocumentPath(("c0", "a")),
                     DocumentPath(("d", "c"))]),
)  # fmt: skip


@pytest.mark.slow
@given(paths=st.sets(places, max_size=25), size=st.integers(1, 5))
@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
async def test_children_come_in_the_order_of_names_page_by_page(
    paths: set[DocumentPath], size: int
) -> None:
    snapshot = MemorySnapshot([stored(path, {}) for path in paths], Indexes())
    wanted = sorted({path.segments[:2] for path in paths if path.segments[0] == "c"}, key=path_key)
    found: list[tuple[str, ...]] = []
    after = None
    while page := await list_children(snapshot, COLLECTION, after=after, limit=size):
        for path, document in page:
            assert (document is not None) == (path in paths)
            found.append(path.segments)
        after = page[-1][0]
    assert found == wanted
