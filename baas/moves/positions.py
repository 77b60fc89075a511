"""How far a move has come, kept in it: for whoever goes on with it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from baas.database.past_scan import decode_place, encode_place
from baas.moves.copying import Position


def encode_positions(positions: Mapping[str, Position]) -> str:
    """By the ids of databases."""
    return orjson.dumps(
        {
            database: {
                "place": None if one.place is None else encode_place(one.place),
                "followed": one.followed,
                "requests": one.requests,
            }
            for database, one in positions.items()
        }
    ).decode()


def decode_positions(text: str) -> dict[str, Position]:
    """The inverse of `encode_positions`."""
    return {
        database: Position(
            None if tree["place"] is None else decode_place(tree["place"]),
            tree["followed"],
            tree["requests"],
        )
        for database, tree in orjson.loads(text).items()
    }
