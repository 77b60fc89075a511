"""Use cases on projects, their API keys and their databases. All are for administrators."""

from __future__ import annotations

from baas.database.names import DatabaseName
from baas.projects.keys import check_kind
from baas.projects.records import ApiKey, Project, check_not_moving
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context


async def create_project(
    context: Context,
    caller: Caller,
    identifier: object,
    *,
    name: object = "",
    origins: object = (),
    engine: object = None,
) -> Project:
    """A new, empty project whose rules deny everything; at `engine`, if that is not to be the
    server's own. Raises AlreadyExists (`ProjectExists`), FailedPrecondition
    (`ProjectBeingDeleted`, `EngineNotConfigured`), InvalidArgument."""
    check_is_admin(caller)
    project = await context.projects.create_project(
        identifier, name=name, origins=origins, engine=engine
    )
    await context.accounts.open_project(project.id)
    return project


async def list_projects(context: Context, caller: Caller) -> tuple[Project, ...]:
    check_is_admin(caller)
    return await context.projects.list_projects()


async def get_project(context: Context, caller: Caller, identifier: str) -> Project:
    """As committed, on whichever node. Raises NotFound (`ProjectNotFound`)."""
    check_is_admin(caller)
    return await context.projects.read_project(identifier)


async def update_project(
    context: Context,
    caller: Caller,
    identifier: str,
    *,
    name: object = None,
    origins: object = None,
) -> Project:
    """Changes what is not None. Raises NotFound (`ProjectNotFound`), InvalidArgument."""
    check_is_admin(caller)
    return await context.projects.update_project(identifier, name=name, origins=origins)


async def delete_project(context: Context, caller: Caller, identifier: str) -> None:
    """Deletes the project with everything in it. Repeat it if it was cut off: it goes on."""
    check_is_admin(caller)
    # Forgotten before and after: what is asked for meanwhile must not be remembered.
    context.accounts.forget_project(identifier)
    try:
        await context.projects.delete_project(identifier)
    finally:
        context.accounts.forget_project(identifier)


async def create_key(
    context: Context, caller: Caller, project: str, *, kind: object, name: object = ""
) -> tuple[ApiKey, str]:
    """A new API key and its text; that of a secret key is never shown again."""
    check_is_admin(caller)
    return await context.projects.keys.create(project, check_kind(kind), name)


async def list_keys(context: Context, caller: Caller, project: str) -> tuple[ApiKey, ...]:
    """The project's keys, the newest first, revoked ones too."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.keys.list_all(project)


async def revoke_key(context: Context, caller: Caller, project: str, identifier: str) -> None:
    """Refused from the return on. Raises NotFound (`ApiKeyNotFound`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    await context.projects.keys.revoke(project, identifier)


async def list_databases(context: Context, caller: Caller, project: str) -> tuple[str, ...]:
    """The ids of the project's databases, `(default)` first."""
    check_is_admin(caller)
    return (await context.projects.get_project(project)).databases


async def start_incarnations(context: Context, caller: Caller) -> list[tuple[DatabaseName, str]]:
    """Makes all databases of all projects begin a new incarnation: resume tokens of before lead to
    a reset. To be done once, after data was copied back by other means than a restore, which does
    it by itself. Open listeners connect again; running jobs fail (`DatabaseReplaced`). Raises
    FailedPrecondition (`ProjectMoving`)."""
    check_is_admin(caller)
    found: list[tuple[DatabaseName, str]] = []
    known = await context.projects.list_projects()
    for project in known:
        check_not_moving(project)
    for project in known:
        for identifier in project.databases:
            name = DatabaseName(project.id, identifier)
            found.append((name, await context.databases.start_incarnation(name)))
    return found


async def create_database(
    context: Context, caller: Caller, project: str, identifier: object
) -> str:
    """A further database; its id. Raises AlreadyExists (`DatabaseExists`), InvalidArgument."""
    check_is_admin(caller)
    return await context.projects.create_database(project, identifier)
