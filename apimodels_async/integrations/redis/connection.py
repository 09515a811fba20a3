"""
Connections to a Redis server: what may pass, what does not, and how one listens.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio as redis
from attrs import define, field
from redis import exceptions
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apimodels_async._secret import Secret
from apimodels_async._text import printable
from apimodels_async.errors import ConfigurationError
from apimodels_async.stores.redis.address import SCHEMES, as_redis_has_it

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger: logging.Logger = logging.getLogger("apimodels_async.redis")

ANSWER_S: Final = 5.0
PAUSE_S: Final = 0.5
"""Between two tries to reach a server that is away."""
SILENCE_S: Final = 15.0
STOP_S: Final = 1.0
STOPS_MAX: Final = 5
REFUSED: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Of the kind below by their class, and yet for good."""
PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
    exceptions.TryAgainError,
    OSError,
)
"""What a server that fails over, starts or is cut off answers with, or does not."""


def is_passing(error: Exception) -> bool:
    """Return whether the server may answer a later call better."""
    # What is refused while connecting is given as a connection that failed.
    cause = error.__cause__
    found = cause if isinstance(cause, exceptions.RedisError) else error
    return isinstance(found, PASSING) and not isinstance(found, REFUSED)


def in_words(error: Exception) -> str:
    """Return what the server, or the way to it, said."""
    return printable(str(error) or type(error).__name__, 200)


@define(eq=False)
class Server:
    """Where a Redis server is, and how it is named; the address may hold a password."""

    _url: Secret = field(converter=Secret)
    name: str
    """Before all keys and channels; its part in braces keeps them in one place."""
    db: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        options = self._options()
        # Outside of any except block: what parsing says may hold a part of a password.
        if options is None:
            known = ", ".join(f"{each}://" for each in SCHEMES)
            msg = f"that is no address of a Redis server ({known})"
            raise ConfigurationError(msg)
        self.db = int(options.get("db") or 0)

    @property
    def url(self) -> str:
        """The address as redis-py has it; it may hold a password."""
        return as_redis_has_it(self._url.reveal())

    def _options(self) -> dict[str, Any] | None:
        try:
            return dict(parse_url(self.url))
        except ValueError:
            return None

    def connect(self) -> redis.Redis:
        """Return a client; it connects with its first call, and tries nothing twice."""
        return redis.Redis.from_url(
            self.url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            client_name="apimodels-async",
            protocol=2,  # each of these would take a round trip more to connect
            driver_info=None,
        )


async def listen(
    client: redis.Redis,
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
