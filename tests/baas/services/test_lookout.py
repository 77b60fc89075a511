"""Looking after work in the background, to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from baas.services.lookout import Lookout


async def test_a_look_that_loses_its_cancellation_is_the_last_one() -> None:
    """The server waited for it for ever, and did not end."""
    begun = asyncio.Event()
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        begun.set()
        with suppress(asyncio.CancelledError):  # as the driver may
            await asyncio.Event().wait()

    lookout = Lookout("test", look, lambda: 3_600.0)
    lookout.start()
    await begun.wait()
    await lookout.close()
    assert looks == 1
