"""Makes mongods one replica set, and waits until it takes writes.

    python deploy/prepare.py --replica-set NAME HOST:PORT HOST:PORT HOST:PORT

May be repeated and run at any time: members that are one already stay as they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

ALREADY_INITIALIZED = 23
ANSWER_MILLISECONDS = 3_000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("members", nargs="+", metavar="HOST:PORT")
    parser.add_argument("--replica-set", required=True, metavar="NAME")
    parser.add_argument(
        "--election-milliseconds",
        type=int,
        default=10_000,
        help="silence of the primary after which the others elect a new one (default 10000)",
    )
    parser.add_argument("--timeout-seconds", type=float, default=120)
    options = parser.parse_args()
    deadline = time.monotonic() + options.timeout_seconds
    try:
        initiate(options.members, options.replica_set, options.election_milliseconds, deadline)
        primary = wait_primary(options.members, deadline)
    except (PyMongoError, TimeoutError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 1
    print(f"prepare: replica set `{options.replica_set}`, primary {primary}", flush=True)
    return 0


def initiate(members: list[str], name: str, election_milliseconds: int, deadline: float) -> None:
    """Asks the first member, which has to reach all others. Raises PyMongoError."""
    config = {
        "_id": name,
        "members": [{"_id": number, "host": member} for number, member in enumerate(members)],
        "settings": {
            "electionTimeoutMillis": election_milliseconds,
            "heartbeatIntervalMillis": min(2_000, max(200, election_milliseconds // 4)),
        },
    }
    while True:
        try:
            with _client(members[0]) as client:
                client.admin.command("replSetInitiate", config)
            return
        except OperationFailure as error:
            if error.code == ALREADY_INITIALIZED:
                return
            if time.monotonic() > deadline:
                raise
        except PyMongoError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def wait_primary(members: list[str], deadline: float) -> str:
    """The member that takes writes. Raises TimeoutError."""
    while time.monotonic() < deadline:
        for member in members:
            try:
                with _client(member) as client:
                    if client.admin.command("hello").get("isWritablePrimary"):
                        return member
            except PyMongoError:
                continue
        time.sleep(0.1)
    raise TimeoutError(f"none of {', '.join(members)} became primary")


def _client(member: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(
        f"mongodb://{member}/?directConnection=true",
        serverSelectionTimeoutMS=ANSWER_MILLISECONDS,
        connectTimeoutMS=ANSWER_MILLISECONDS,
        socketTimeoutMS=10 * ANSWER_MILLISECONDS,
    )


if __name__ == "__main__":
    sys.exit(main())
