"""The topology as `make cluster` starts it, one of each kind killed under the load."""

from pathlib import Path

import pytest

from cluster.check import PRIMARY, WITHOUT_STORE, Fault, check
from cluster.processes import Cluster
from tests.faults.seeds import new_seed
from tests.mongo import check_mongod
from tests.s3 import check_s3

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1_500)
async def test_a_load_survives_the_death_of_a_node_of_the_primary_and_of_the_store(
    tmp_path: Path,
) -> None:
    check_mongod()
    check_s3()
    cluster = Cluster(tmp_path / "cluster")
    faults = [Fault("node1"), Fault(PRIMARY), Fault("s3", WITHOUT_STORE)]
    try:
        cluster.start()
        assert await check(cluster, 1, seed=new_seed(), faults=faults) == []
    finally:
        cluster.remove()
