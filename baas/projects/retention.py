"""How long databases keep history and log, where that is not what the server's settings say.

projects/{project}/retention/{database}    in the server's system database: seconds, bytes; null:
                                           as the settings say
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

from baas.clock import Clock
from baas.database.log import CommitEvent
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.retention import Reach
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import InvalidArgument, NotFound
from baas.model.paths import CollectionPath
from baas.model.queries import Query
from baas.model.writes import DeleteWrite, SetWrite
from baas.projects.records import (
    is_deleting,
    open_project,
    project_collection,
    project_not_found,
    project_path,
)
from baas.settings import Settings

RETENTION = "retention"
SECONDS_MIN, SECONDS_MAX = 300, 10 * 366 * 86_400  # transactions of clients read that far back
BYTES_MIN, BYTES_MAX = 1024 * 1024, 2**50


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What was said for one database; None: nothing."""

    seconds: int | None = None
    bytes: int | None = None


class RetentionRules:
    """Of all databases, in memory, which follows the server's system database."""

    def __init__(self, databases: Databases, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._rules: dict[DatabaseName, RetentionRule] | None = None
        self._epoch = 0
        self._store = SystemStore(databases, clock, self._observe, lambda project: self._forget())

    async def get(self, name: DatabaseName) -> RetentionRule:
        rules = self._rules
        if rules is None:
            rules = await self._load()
        return rules.get(name, RetentionRule())

    async def reach(self, name: DatabaseName) -> Reach:
        """What holds for a database."""
        rule = await self.get(name)
        usual = Reach.of(self._settings)
        return Reach(
            usual.seconds if rule.seconds is None else rule.seconds,
            usual.bytes if rule.bytes is None else rule.bytes,
        )

    async def set(self, name: DatabaseName, rule: RetentionRule) -> None:
        """Raises NotFound (`ProjectNotFound`, `DatabaseNotFound`), InvalidArgument
        (`InvalidRetention`)."""
        _check("seconds", rule.seconds, SECONDS_MIN, SECONDS_MAX)
        _check("bytes", rule.bytes, BYTES_MIN, BYTES_MAX)
        path = project_collection(name.project, RETENTION).document(name.database)

        async def body(transaction: Transaction) -> None:
            (project,) = await transaction.get_documents([project_path(name.project)])
            if project is None or is_deleting(project):
                raise project_not_found(name.project)
            if name.database not in open_project(project).databases:
                raise NotFound(
                    f"project `{name.project}` has no database `{name.database[:80]}`",
                    reason="DatabaseNotFound",
                )
            is_said = rule != RetentionRule()
            await transaction.write(
                [SetWrite(path, asdict(rule)) if is_said else DeleteWrite(path)]
            )

        await self._store.run(None, body)

    async def _load(self) -> dict[DatabaseName, RetentionRule]:
        epoch = self._epoch
        database = await self._store.open(None)
        found = await database.run_query(Query(CollectionPath((RETENTION,)), all_descendants=True))
        rules: dict[DatabaseName, RetentionRule] = {}
        for document in found.documents:
            name = DatabaseName(document.path.segments[1], document.path.id)
            fields = cast("dict[str, Any]", document.fields)
            rules[name] = RetentionRule(fields["seconds"], fields["bytes"])
        if epoch == self._epoch:
            self._rules = rules
        return rules

    def _observe(self, project: str | None, event: CommitEvent) -> None:
        if any(change.path.segments[-2] == RETENTION for change in event.changes):
            self._forget()

    def _forget(self) -> None:
        self._rules = None
        self._epoch += 1


def _check(field: str, value: int | None, minimum: int, maximum: int) -> None:
    if value is not None and not minimum <= value <= maximum:
        raise InvalidArgument(
            f"`{field}` is from {minimum} to {maximum}, or null for what the server is set to",
            reason="InvalidRetention",
            details={"field": field, "minimum": minimum, "maximum": maximum},
        )
