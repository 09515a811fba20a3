"""
Listens to a channel of a Redis server, over connections that may break.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from apimodels_async._io.redis import in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

logger: logging.Logger = logging.getLogger("apimodels_async.redis")

PAUSE_S: Final = 0.5
"""Between two tries to reach a server that is away."""
SILENCE_S: Final = 15.0
STOP_S: Final = 1.0
STOPS_MAX: Final = 5


async def listen(
    client: Redis,
    channel: str,
    take: Callable[[bytes], Awaitable[None]],
    opened: Callable[[], None],
    silence_s: float = SILENCE_S,
) -> None:
    """
    Call *take* for each message of *channel*, until cancelled.

    A connection that breaks or is refused is made again, for as long as that takes;
    what was published in between is lost.

    Args:
        opened: Called each time it listens, the first time and after each cut.

        silence_s: After so long without a message the server is asked for a sign of
            life, and after as long again the connection counts as broken.
    """
    deaf = False

    def hears() -> None:
        nonlocal deaf
        if deaf:
            logger.info("Redis is heard again")
        deaf = False
        opened()

    while True:
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(channel)
            await _hear(pubsub, take, hears, silence_s)
        except (exceptions.RedisError, OSError) as error:
            if not deaf:
                logger.warning("nothing is heard from Redis: %s", in_words(error))
            deaf = True
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
        await asyncio.sleep(PAUSE_S)


async def stop(hearing: asyncio.Task[None]) -> None:
    """Cancel what ``listen`` does, and return once it has ended."""
    for _ in range(STOPS_MAX):  # the client may take a cancellation for a time limit
        hearing.cancel()
        await asyncio.wait([hearing], timeout=STOP_S)
        if hearing.done():
            return


async def _hear(
    pubsub: Any,
    take: Callable[[bytes], Awaitable[None]],
    opened: Callable[[], None],
    silence_s: float,
) -> None:
    asked = False
    while True:
        message = await pubsub.get_message(timeout=silence_s)
        if message is None:
            if asked:
                msg = "no answer"
                raise exceptions.TimeoutError(msg)
            await pubsub.ping()
            asked = True
            continue
        asked = False
        if message["type"] == "subscribe":
            opened()
        elif message["type"] == "message":
            await take(message["data"])
