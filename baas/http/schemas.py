"""JSON Schemas of every body and answer, by name; tests hold them against real answers."""

from __future__ import annotations

from collections.abc import Mapping

from baas.http.schema_parts import Schema
from baas.http.schemas_accounts import ACCOUNTS
from baas.http.schemas_backups import BACKUPS
from baas.http.schemas_documents import DOCUMENTS
from baas.http.schemas_errors import ERRORS
from baas.http.schemas_history import HISTORY
from baas.http.schemas_indexes import INDEXES
from baas.http.schemas_jobs import JOBS
from baas.http.schemas_moves import MOVES
from baas.http.schemas_objects import OBJECTS
from baas.http.schemas_of_schemas import DEPLOYED
from baas.http.schemas_projects import PROJECTS
from baas.http.schemas_queries import QUERIES
from baas.http.schemas_rules import RULES
from baas.http.schemas_transfer import TRANSFER


def collect_schemas(*parts: Mapping[str, Schema]) -> dict[str, Schema]:
    """All of them. Two of one name would be described as one of them, so there may be none."""
    found: dict[str, Schema] = {}
    for part in parts:
        twice = found.keys() & part.keys()
        assert not twice, f"two schemas are called {', '.join(sorted(twice))}"
        found.update(part)
    return found


SCHEMAS: dict[str, Schema] = collect_schemas(
    DOCUMENTS,
    QUERIES,
    TRANSFER,
    ACCOUNTS,
    PROJECTS,
    INDEXES,
    JOBS,
    RULES,
    DEPLOYED,
    ERRORS,
    OBJECTS,
    BACKUPS,
    HISTORY,
    MOVES,
)
