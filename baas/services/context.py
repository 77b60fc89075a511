"""What every use case works with: made once at start, by `app`, and passed downwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from baas.accounts.accounts import Accounts
from baas.accounts.sealing import ServerSecret
from baas.backups.backups import Backups
from baas.buckets.objects import Objects
from baas.buckets.signing import UrlSigner
from baas.buckets.thumbnails import Thumbnails
from baas.buckets.uploads import Uploads
from baas.clock import Clock
from baas.database.registry import Databases
from baas.errors import BaasError
from baas.moves.tasks import Moves
from baas.projects.erasures import Erasures
from baas.projects.jobs import Jobs
from baas.projects.projects import Projects
from baas.projects.retention import RetentionRules
from baas.projects.ttl import TtlPolicies
from baas.services.denial_traces import DenialTraces
from baas.services.proofs import Proofs
from baas.settings import Settings

READY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Context:
    """`operator_token` is made at every start and stands in `<data>/server.json` (mode 0600): who
    can read the data folder may administrate."""

    settings: Settings
    clock: Clock
    databases: Databases
    projects: Projects
    accounts: Accounts
    objects: Objects
    uploads: Uploads
    thumbnails: Thumbnails
    url_signer: UrlSigner
    secret: ServerSecret
    denials: DenialTraces
    jobs: Jobs
    backups: Backups
    moves: Moves
    erasures: Erasures
    ttl_policies: TtlPolicies
    retention: RetentionRules
    proofs: Proofs
    operator_token: str = field(repr=False)

    async def is_ready(self) -> bool:
        """Whether requests can be served: the server's own database answers, and soon."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await (await self.databases.system(None)).check_reachable()
        except (TimeoutError, BaasError):
            return False
        return True

    @property
    def degradations(self) -> list[str]:
        """What somebody should look after, in stable words. `ClockBehind`: the machine's clock is
        behind what was committed, so that times are made up. `BackupsFailing`: a schedule has no
        good backup."""
        found = []
        if any(database.is_clock_behind for database in self.databases.open_databases()):
            found.append("ClockBehind")
        if self.backups.problems:
            found.append("BackupsFailing")
        return found
