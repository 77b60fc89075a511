"""Lines in which servers wait for each other, kept on the replica set. For fairness only: what is
right does not rest on them, so they are written without waiting for a majority."""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo.errors import OperationFailure

from baas.storage.mongo_client import MongoConnection, is_duplicate
from baas.storage.mongo_wire import Document

PAUSE_SECONDS_MIN = 0.004
PAUSE_SECONDS_MAX = 0.02
_HERE: Document = {"w": 1}


class MongoLines:
    """Lines of one database. A row of `turns` is a line: its places in order, each with the time
    from which on it is taken for gone, by the clock of the primary."""

    def __init__(self, connection: MongoConnection, number: str) -> None:
        self._connection = connection
        self._number = number

    async def enter(self, line: str, place: str, seconds: float) -> None:
        pause = PAUSE_SECONDS_MIN
        while await self._ask(line, place, seconds) != place:
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def leave(self, line: str, place: str) -> None:
        update = {"q": {"_id": self._id(line)}, "u": {"$pull": {"line": {"place": place}}}}
        await self._connection.write({"update": "turns", "updates": [update]}, concern=_HERE)

    async def _ask(self, line: str, place: str, seconds: float) -> str:
        """Who is first, once `place` is in the line and seen to be there."""
        until = {"$add": ["$$NOW", int(seconds * 1_000)]}
        mine = {"place": place, "until": until}
        is_mine = {"$eq": ["$$this.place", place]}
        is_there = {"$or": [is_mine, {"$gt": ["$$this.until", "$$NOW"]}]}
        there = {"$filter": {"input": {"$ifNull": ["$line", []]}, "cond": is_there}}
        seen = {"$map": {"input": "$line", "in": {"$cond": [is_mine, mine, "$$this"]}}}
        entered = {"$concatArrays": ["$line", [mine]]}
        command = {
            "findAndModify": "turns",
            "query": {"_id": self._id(line)},
            "update": [
                {"$set": {"at": "$$NOW", "line": there}},
                {"$set": {"line": {"$cond": [{"$in": [place, "$line.place"]}, seen, entered]}}},
            ],
            "upsert": True,
            "new": True,
        }
        answer = await self._write(command)
        first: str = answer["value"]["line"][0]["place"]
        return first

    async def _write(self, command: Document) -> dict[str, Any]:
        async def write() -> Document:
            try:
                return await self._connection.write_once(command, concern=_HERE)
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
                # Another one began the line at the same time.
                return await self._connection.write_once(command, concern=_HERE)

        return await self._connection.repeat(write)

    def _id(self, line: str) -> str:
        return f"{self._number}/{line}"
