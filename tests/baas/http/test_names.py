"""Collections below a place, and documents that only have something below."""

from __future__ import annotations

from tests.baas.http.conftest import BASE, World

PLACES = ("a/1", "a/2/b/x", "a/2/c/y", "a/3", "a/30/b/x", "d/1/b/z")


async def fill(world: World) -> None:
    writes = [{"set": place, "fields": {}} for place in PLACES]
    assert (await world.secret.post(f"{BASE}:commit", json={"writes": writes})).is_success


async def test_collections_are_listed_page_by_page(world: World) -> None:
    await fill(world)
    for parent, wanted in ((None, ["a", "d"]), ("a/2", ["b", "c"]), ("a/1", []), ("x/y", [])):
        found: list[str] = []
        body: dict[str, object] = {"page_size": 1} | ({"parent": parent} if parent else {})
        while True:
            page = (await world.secret.post(f"{BASE}:list-collections", json=body)).json()
            found += page["collections"]
            if "next_page_token" not in page:
                break
            body["page_token"] = page["next_page_token"]
        assert found == wanted


async def test_missing_documents_are_listed_among_the_others(world: World) -> None:
    await fill(world)
    found: list[tuple[str, bool]] = []
    params = {"show_missing": "true", "page_size": "2"}
    while True:
        page = (await world.secret.get(f"{BASE}/a", params=params)).json()
        found += [(one["path"], one.get("missing", False)) for one in page["documents"]]
        if "next_page_token" not in page:
            break
        params["page_token"] = page["next_page_token"]
    assert found == [("a/1", False), ("a/2", True), ("a/3", False), ("a/30", True)]
    plain = (await world.secret.get(f"{BASE}/a")).json()["documents"]
    assert [one["path"] for one in plain] == ["a/1", "a/3"]


async def test_names_are_for_those_above_the_rules(world: World) -> None:
    await fill(world)
    for client in (world.user, world.anonymous):
        refused = await client.post(f"{BASE}:list-collections", json={})
        assert refused.json()["error"]["code"] == "PERMISSION_DENIED"
        refused = await client.get(f"{BASE}/public?show_missing=true")
        assert refused.json()["error"]["code"] == "PERMISSION_DENIED"


async def test_what_is_no_list_of_names(world: World) -> None:
    for body, reason in (
        ({"parent": "a"}, "InvalidPath"),
        ({"page_size": 0}, "OutOfBounds"),
        ({"page_token": "/"}, "InvalidPageToken"),
        ({"page_token": "Li4"}, "InvalidPageToken"),  # ".."
        ({"where": 1}, "UnknownField"),
    ):
        refused = await world.secret.post(f"{BASE}:list-collections", json=body)
        assert refused.json()["error"]["reason"] == reason
    refused = await world.secret.get(f"{BASE}/a?show_missing=true&total=true")
    assert refused.json()["error"]["reason"] == "InvalidParameter"
    refused = await world.secret.get(f"{BASE}/a?show_missing=true&page_token=é")
    assert refused.json()["error"]["reason"] == "InvalidPageToken"
