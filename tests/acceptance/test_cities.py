"""What a new user would do, on real data, from an empty folder, over real sockets.

Every answer is compared with the same question answered by plain Python over the source.
"""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from baas_sdk import Client, FieldFilter, GeoPoint, PermissionDenied, Query

from demo.cities import cities
from tests.processes import ROOT, ServerProcess, write_command

RULES = ROOT / "demo" / "firestore.rules"
BATCH = 500
PASSWORD = "a-long-password"

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class World:
    """The server with its imported cities, two users, and the source that the import came from."""

    server: ServerProcess
    api_key: str
    ada: Client
    ben: Client
    source: dict[str, dict[str, Any]]


def command(server: ServerProcess, *arguments: str) -> str:
    """Runs the CLI as typed by hand, against the data folder; its output."""
    line = [write_command(server.data.parent), *arguments, "--data", str(server.data)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    flags: tuple[str, ...] = ()
    if request.param == "mongodb":
        uri = request.getfixturevalue("mongodb_uri")
        name = f"baas_cities_{uuid4().hex[:8]}"
        flags = ("--engine", "mongodb", "--mongodb-uri", uri, "--mongodb-database", name)
    server = ServerProcess(tmp_path_factory.mktemp("cities") / "data", *flags)
    try:
        server.start()
        yield server
    finally:
        status = server.stop()
    assert status == 0


@pytest.fixture(scope="module")
def world(server: ServerProcess) -> Iterator[World]:
    command(server, "project", "create", "world")
    command(server, "rules", "deploy", str(RULES), "--project", "world")
    api_key = command(server, "key", "create", "--project", "world", "--name", "app").strip()
    with (
        Client(server.url, project="world", api_key=api_key) as ada,
        Client(server.url, project="world", api_key=api_key) as ben,
    ):
        ada.auth.sign_up("ada@example.com", PASSWORD)
        ben.auth.sign_up("ben@example.com", PASSWORD)
        source = dict(cities(_uid(ada)))
        import_cities(ada, source)
        yield World(server, api_key, ada, ben, source)


def import_cities(client: Client, source: dict[str, dict[str, Any]]) -> None:
    items = list(source.items())
    for start in range(0, len(items), BATCH):
        batch = client.batch()
        for document_id, fields in items[start : start + BATCH]:
            batch.set(client.collection("cities").document(document_id), fields)
        batch.commit()


def test_all_cities_are_there_with_every_field(world: World) -> None:
    assert len(world.source) > 34_000
    found = {
        snapshot.id: snapshot.to_dict() for snapshot in world.ada.collection("cities").stream()
    }
    assert found == world.source


def test_count_agrees(world: World) -> None:
    assert world.ada.collection("cities").count().get()[0][0].value == len(world.source)


@pytest.mark.parametrize("country", ["CH", "IN", "NR", "XX"])
def test_cities_of_a_country_by_population(world: World, country: str) -> None:
    query = (
        world.ada.collection("cities")
        .where(filter=FieldFilter("country.code", "==", country))
        .order_by("population", direction=Query.DESCENDING)
        .limit(50)
    )
    matching = [(i, f) for i, f in world.source.items() if f["country"]["code"] == country]
    # A tie is broken by document id in the direction of the last order.
    expected = sorted(matching, key=lambda item: (item[1]["population"], item[0]), reverse=True)
    assert [(s.id, s.to_dict()) for s in query.get()] == expected[:50]


def test_pages_by_cursor_are_the_whole_range(world: World) -> None:
    def big(fields: dict[str, Any]) -> bool:
        return bool(200_000 <= fields["population"] < 400_000)

    expected = sorted(
        (i for i, f in world.source.items() if big(f)),
        key=lambda i: (world.source[i]["population"], i),
    )
    query = (
        world.ada.collection("cities")
        .where(filter=FieldFilter("population", ">=", 200_000))
        .where(filter=FieldFilter("population", "<", 400_000))
        .order_by("population")
        .limit(300)
    )
    found: list[str] = []
    page = query.get()
    while page:
        found += [snapshot.id for snapshot in page]
        page = query.start_after(page[-1]).get()
    assert found == expected
    assert len(found) > 900


def test_names_in_any_script_are_found(world: World) -> None:
    query = world.ada.collection("cities").where(
        filter=FieldFilter("names", "array_contains", "東京都")
    )
    expected = {i for i, f in world.source.items() if "東京都" in f["names"]}
    assert {snapshot.id for snapshot in query.get()} == expected
    zurich = world.ada.collection("cities").document("2657896").get()
    assert zurich.get("name") == "Zürich"
    assert zurich.get("location") == GeoPoint(47.36667, 8.55)


def test_in_query_is_the_union(world: World) -> None:
    query = (
        world.ada.collection("cities")
        .where(filter=FieldFilter("country.code", "in", ["CH", "AT", "LI"]))
        .order_by("population")
    )
    wanted = {"CH", "AT", "LI"}
    matching = [
        (f["population"], i) for i, f in world.source.items() if f["country"]["code"] in wanted
    ]
    assert [s.id for s in query.get()] == [i for _, i in sorted(matching)]


def test_rules_deny_what_they_deny(world: World) -> None:
    ben_cities = world.ben.collection("cities")
    with pytest.raises(PermissionDenied):
        ben_cities.document("2657896").update({"population": 1})
    with pytest.raises(PermissionDenied):
        ben_cities.document("2657896").delete()
    with pytest.raises(PermissionDenied):
        ben_cities.document("new").set(world.source["2657896"])
    with pytest.raises(PermissionDenied):
        world.ben.collection("elsewhere").document("x").get()
    anonymous = Client(world.server.url, project="world", api_key=world.api_key)
    with anonymous, pytest.raises(PermissionDenied):
        anonymous.collection("cities").get()
    assert world.ada.collection("cities").document("2657896").get().get("population") > 300_000


def test_lists_are_proved_not_filtered(world: World) -> None:
    """`messages` may be listed by their author only, so a list must ask for the caller's own."""
    for client, text in ((world.ada, "from ada"), (world.ben, "from ben")):
        assert client.auth.current_user is not None
        client.collection("messages").add({"author": client.auth.current_user.uid, "text": text})
    assert world.ben.auth.current_user is not None
    mine = FieldFilter("author", "==", world.ben.auth.current_user.uid)
    found = world.ben.collection("messages").where(filter=mine).get()
    assert [snapshot.get("text") for snapshot in found] == ["from ben"]
    with pytest.raises(PermissionDenied):
        world.ben.collection("messages").get()


def test_a_listener_lives_through_kill_and_restart(world: World) -> None:
    """Another client writes while the server is killed: nothing is missed or repeated."""
    notes = f"users/{_uid(world.ada)}/notes"
    seen: queue.Queue[tuple[str, Any]] = queue.Queue()

    def on_snapshot(documents: Any, changes: Any, read_time: Any) -> None:
        for change in changes:
            seen.put((change.type.name, change.document.get("number")))

    writer = Client(world.server.url, project="world", api_key=world.api_key)
    writer.auth.sign_in("ada@example.com", PASSWORD)
    watch = world.ada.collection(notes).on_snapshot(on_snapshot)
    try:
        for number in range(20):
            if number == 10:
                world.server.kill()
                world.server.start()
            writer.collection(notes).document(f"n{number}").set({"number": number})
        heard = [seen.get(timeout=60) for _ in range(20)]
    finally:
        watch.unsubscribe()
        writer.close()
    assert heard == [("ADDED", number) for number in range(20)]
    assert seen.empty()


def test_restart_finds_everything_again(world: World) -> None:
    assert world.server.stop() == 0
    world.server.start()
    assert world.ada.collection("cities").count().get()[0][0].value == len(world.source)


def _uid(client: Client) -> str:
    assert client.auth.current_user is not None
    return client.auth.current_user.uid
