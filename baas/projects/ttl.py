"""Policies of expiry: which timestamp field says when documents of a collection group expire.

projects/{project}/ttl_policies/{id}    in the server's system database; the id is made of the
                                        database's and the collection's

A policy is carried out by the node whose claim has not run out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from baas.clock import Clock, is_claimed
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import AlreadyExists, NotFound, QuotaExceeded
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.records import (
    is_deleting,
    project_collection,
    project_document,
    project_not_found,
    project_path,
)

POLICIES = "ttl_policies"
CLAIM_SECONDS = 60


@dataclass(frozen=True, slots=True)
class TtlPolicy:
    """`deleted` documents so far, `failed` tries; `looked` is when the last ones were deleted.
    `owns_index`: the index was built for the policy and goes with it."""

    name: DatabaseName
    collection: str
    field: FieldPath
    created: Timestamp
    owns_index: bool = False
    deleted: int = 0
    looked: Timestamp | None = None
    error: str | None = None
    node: str = ""
    claimed_until: int = 0  # microseconds since 1970

    @property
    def path(self) -> DocumentPath:
        text = f"{self.name.database}\n{self.collection}".encode()
        digest = hashlib.blake2b(text, digest_size=12).hexdigest()
        return project_document(self.name.project, POLICIES, digest)

    def to_fields(self) -> Fields:
        return {
            "database": self.name.database,
            "collection": self.collection,
            "field": str(self.field),
            "created": self.created,
            "owns_index": self.owns_index,
            "deleted": self.deleted,
            "looked": self.looked,
            "error": self.error,
            "node": self.node,
            "claimed_until": self.claimed_until,
        }


class TtlPolicies:
    """The policies of all projects. `node` is this one's name."""

    def __init__(self, databases: Databases, clock: Clock, *, node: str, most: int) -> None:
        self._clock = clock
        self._node = node
        self._most = most
        self._store = SystemStore(databases, clock, lambda project, event: None)

    async def create(self, policy: TtlPolicy) -> TtlPolicy:
        """Raises AlreadyExists (`TtlPolicyExists`) where the collection has one, and QuotaExceeded
        (`TooManyTtlPolicies`); and NotFound (`ProjectNotFound`) if the project was deleted
        meanwhile: its policies would wait for the documents of the next one with the id."""
        project = policy.name.project
        query = Query(project_collection(project, POLICIES))

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([project_path(project)])
            if document is None or is_deleting(document):
                raise project_not_found(project)
            known = [_open(one) for one in (await transaction.run_query(query)).documents]
            there = [one for one in known if one.name == policy.name]
            if any(one.collection == policy.collection for one in there):
                raise AlreadyExists(
                    f"`{policy.collection}` has a policy; remove it first",
                    reason="TtlPolicyExists",
                )
            self.check_count(len(there) + 1)
            await transaction.write([SetWrite(policy.path, policy.to_fields())])

        await self._store.run(None, body)
        return policy

    async def replace(
        self, name: DatabaseName, wanted: Sequence[TtlPolicy]
    ) -> tuple[list[TtlPolicy], list[TtlPolicy]]:
        """Puts `wanted` in the place of all of a database's policies, in one commit; those of the
        same field stay as they are, and go on counting. Gives what there is now, and what is gone.
        Raises QuotaExceeded, NotFound as `create`."""
        query = Query(project_collection(name.project, POLICIES))
        self.check_count(len(wanted))

        async def body(transaction: Transaction) -> tuple[list[TtlPolicy], list[TtlPolicy]]:
            (document,) = await transaction.get_documents([project_path(name.project)])
            if document is None or is_deleting(document):
                raise project_not_found(name.project)
            known = [_open(one) for one in (await transaction.run_query(query)).documents]
            there = {one.collection: one for one in known if one.name == name}
            kept = [_same(there.get(one.collection), one) or one for one in wanted]
            gone = [one for one in there.values() if one not in kept]
            writes: list[Write] = [DeleteWrite(one.path) for one in gone]
            writes += [
                SetWrite(one.path, one.to_fields()) for one in kept if one not in there.values()
            ]
            # A policy of another field has the path of the one before.
            await transaction.write(list({write.path: write for write in writes}.values()))
            return kept, gone

        return await self._store.run(None, body)

    def check_count(self, count: int) -> None:
        """Raises QuotaExceeded (`TooManyTtlPolicies`) if a database may not have so many."""
        if count > self._most:
            raise QuotaExceeded(
                f"a database has at most {self._most} policies of expiry",
                reason="TooManyTtlPolicies",
                details={"ttl_policies_max": self._most},
            )

    async def list_all(self, name: DatabaseName) -> list[TtlPolicy]:
        """A database's policies, by collection."""
        database = await self._store.open(None)
        found = await database.run_query(Query(project_collection(name.project, POLICIES)))
        policies = [_open(document) for document in found.documents]
        return sorted(
            [policy for policy in policies if policy.name == name], key=lambda one: one.collection
        )

    async def list_everywhere(self) -> list[TtlPolicy]:
        """The policies of all projects."""
        database = await self._store.open(None)
        query = Query(CollectionPath((POLICIES,)), all_descendants=True)
        return [_open(document) for document in (await database.run_query(query)).documents]

    async def delete(self, name: DatabaseName, collection: str) -> TtlPolicy:
        """Raises NotFound (`TtlPolicyNotFound`)."""
        wanted = TtlPolicy(name, collection, FieldPath(("any",)), Timestamp(0))

        async def body(transaction: Transaction) -> TtlPolicy:
            policy = await _get(transaction, wanted)
            if policy is None:
                raise NotFound(
                    f"`{collection[:80]}` has no policy of expiry", reason="TtlPolicyNotFound"
                )
            await transaction.write([DeleteWrite(policy.path)])
            return policy

        return await self._store.run(None, body)

    async def has(self, policy: TtlPolicy) -> bool:
        """Whether it is in force still."""
        database = await self._store.open(None)
        (document,) = await database.get_documents([policy.path])
        return document is not None and _open(document).created == policy.created

    async def claim(self, policy: TtlPolicy) -> TtlPolicy | None:
        """The policy as it is, which this node carries out now. None: another node does, or it is
        gone."""
        return await self._change(policy, lambda known: known)

    async def note(self, policy: TtlPolicy, *, deleted: int, error: str | None) -> TtlPolicy | None:
        """Counts documents that were deleted, and renews the claim. None: as `claim`."""
        now = Timestamp(self._clock.now_microseconds())

        def count(known: TtlPolicy) -> TtlPolicy:
            return replace(known, deleted=known.deleted + deleted, looked=now, error=error)

        return await self._change(policy, count)

    async def _change(
        self, policy: TtlPolicy, change: Callable[[TtlPolicy], TtlPolicy]
    ) -> TtlPolicy | None:
        async def body(transaction: Transaction) -> TtlPolicy | None:
            known = await _get(transaction, policy)
            now = self._clock.now_microseconds()
            if known is None or known.created != policy.created:
                return None
            if known.node != self._node and is_claimed(known.claimed_until, now, CLAIM_SECONDS):
                return None
            until = now + CLAIM_SECONDS * 1_000_000
            known = replace(change(known), node=self._node, claimed_until=until)
            await transaction.write([SetWrite(known.path, known.to_fields())])
            return known

        return await self._store.run(None, body)


def _same(known: TtlPolicy | None, wanted: TtlPolicy) -> TtlPolicy | None:
    """What is known, if it says what is wanted."""
    return known if known is not None and known.field == wanted.field else None


async def _get(transaction: Transaction, policy: TtlPolicy) -> TtlPolicy | None:
    (document,) = await transaction.get_documents([policy.path])
    return None if document is None else _open(document)


def _open(document: DocumentLike) -> TtlPolicy:
    fields = cast("dict[str, Any]", document.fields)
    return TtlPolicy(
        DatabaseName(document.path.segments[1], fields["database"]),
        fields["collection"],
        FieldPath.parse(fields["field"]),
        fields["created"],
        fields["owns_index"],
        fields["deleted"],
        fields["looked"],
        fields["error"],
        fields["node"],
        fields["claimed_until"],
    )
