"""`make run`: starts the server in dev mode, and on first start fills the demo project.

The import goes the way an app would go: a signed-in user writes through the SDK under deployed
rules. Started again, the server finds its data again and nothing is imported twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from baas_sdk import AlreadyExists, AsyncClient

from demo.cities import cities

RULES = Path(__file__).with_name("firestore.rules")
PROJECT = "demo"
EMAIL, PASSWORD = "ada@example.com", "difference-engine"
BATCH = 500
START_SECONDS = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder")
    parser.add_argument("--port", type=int, default=8080, help="TCP port; 0 takes a free one")
    parser.add_argument(
        "--min-city-population", type=int, default=15_000, choices=(500, 1000, 5000, 15_000)
    )
    parser.add_argument(
        "--mongodb-uri", help="keep documents in this replica set, instead of in the data folder"
    )
    parser.add_argument("--fill-only", action="store_true", help="fill the project, then stop")
    options = parser.parse_args()
    command = [sys.executable, "-m", "baas", "serve", "--dev"]
    command += ["--data", str(options.data), "--port", str(options.port)]
    if options.mongodb_uri:
        command += ["--engine", "mongodb", "--mongodb-uri", options.mongodb_uri]
    server = subprocess.Popen(command)
    try:
        running = wait_until_running(options.data, server)
        asyncio.run(fill(running["url"], running["token"], options.min_city_population))
        if options.fill_only:
            server.terminate()
        return server.wait()
    except KeyboardInterrupt:
        server.send_signal(signal.SIGTERM)
        return server.wait()
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        server.terminate()
        return server.wait() or 1


class DemoFailed(Exception):
    """The demo could not be set up; the text says why."""


def wait_until_running(data: Path, server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the server wrote about itself, once it answers. Raises DemoFailed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoFailed(f"the server ended with {server.returncode}; its own message is above")
        try:
            running: dict[str, Any] = json.loads((data / "server.json").read_text(encoding="utf-8"))
            if running["pid"] == server.pid and httpx.get(running["url"] + "/readyz").is_success:
                return running
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            pass
        time.sleep(0.05)
    raise DemoFailed(f"the server did not answer within {START_SECONDS:.0f} s")


async def fill(url: str, token: str, min_city_population: int) -> None:
    """Creates the project with its rules and user where they are missing, then imports the cities.

    Safe to interrupt: the next start imports what is missing.
    """
    admin = httpx.AsyncClient(
        base_url=f"{url}/api/v1/admin", headers={"Authorization": f"Bearer {token}"}
    )
    async with admin:
        api_key = await prepare_project(admin)
        async with AsyncClient(url, project=PROJECT, api_key=api_key) as client:
            try:
                await client.auth.sign_up(EMAIL, PASSWORD)
            except AlreadyExists:
                await client.auth.sign_in(EMAIL, PASSWORD)
            user = client.auth.current_user
            assert user is not None
            await import_cities(client, user.uid, min_city_population)
    print(
        f"demo: project `{PROJECT}`, user {EMAIL} with password `{PASSWORD}`, API key {api_key}",
        flush=True,
    )


async def prepare_project(admin: httpx.AsyncClient) -> str:
    """Project, rules and a publishable key; the key's text."""
    found = await admin.get(f"/projects/{PROJECT}")
    if found.status_code == 404:
        check(await admin.post("/projects", json={"id": PROJECT, "name": "Cities of the world"}))
        check(
            await admin.put(
                f"/projects/{PROJECT}/rules", json={"source": RULES.read_text(encoding="utf-8")}
            )
        )
    keys = check(await admin.get(f"/projects/{PROJECT}/keys"))["keys"]
    known = [key["key"] for key in keys if key["kind"] == "publishable" and not key.get("revoked")]
    if known:
        return str(known[0])
    created = check(
        await admin.post(f"/projects/{PROJECT}/keys", json={"kind": "publishable", "name": "demo"})
    )
    return str(created["key"])


def check(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise DemoFailed(f"{answer.request.method} {answer.request.url.path}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body


async def import_cities(client: AsyncClient, owner: str, min_city_population: int) -> None:
    everything = list(cities(owner, min_city_population=min_city_population))
    collection = client.collection("cities")
    present = (await collection.count().get())[0][0].value
    if present >= len(everything):
        return
    print(f"demo: importing {len(everything):,} cities through the SDK", flush=True)
    began = time.monotonic()
    for start in range(0, len(everything), BATCH):
        batch = client.batch()
        for document_id, fields in everything[start : start + BATCH]:
            batch.set(collection.document(document_id), fields)
        await batch.commit()
        done = min(start + BATCH, len(everything))
        if done % 5_000 < BATCH or done == len(everything):
            print(f"demo: {done:,} of {len(everything):,}", flush=True)
    print(f"demo: imported in {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
