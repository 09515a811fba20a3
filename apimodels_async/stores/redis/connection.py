"""
The way to a Redis server, by redis-py; a simulation has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apimodels_async._text import printable
from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Words = tuple[str | bytes | int | float, ...]

ANSWER_S: Final = 5.0
DISK_S: Final = 3.0
"""For which a group waits for the disk; with ``everysec`` it takes one at most."""
FINAL: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Errors of connections that no repetition mends."""
PASSING: Final = (
    *(exceptions.ConnectionError, exceptions.TimeoutError, OSError),
    *(exceptions.ReadOnlyError, exceptions.BusyLoadingError, exceptions.TryAgainError),
    *(exceptions.MasterDownError, exceptions.NoScriptError),
)
"""What one that starts, fails over or is cut off answers with, or that it does not."""


class Connection(Protocol):
    """What carries commands to one server."""

    async def send(self, commands: Sequence[Words]) -> list[Any]:
        """
        Send *commands* at once, and return the answers, errors among them.

        Cancelled, or cut off, it may have carried out any number of them, the first
        ones; and may do so later yet.

        Raises:
            RedisError, OSError: There are no answers.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class RedisConnection:
    """Connections of redis-py, as many as there are calls of ``send`` at once."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=ANSWER_S + DISK_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # that is for the caller to decide
        )

    async def send(self, commands: Sequence[Words]) -> list[Any]:
        """See ``Connection``."""
        async with self._client.pipeline(transaction=False) as pipe:
            for each in commands:
                pipe.execute_command(*each)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers

    async def aclose(self) -> None:
        """See ``Connection``."""
        await self._client.aclose()


def check_address(url: str) -> None:
    """
    Do nothing if *url* is an address of a Redis server.

    Raises:
        ValueError: It is none; the words may hold a password.
    """
    redis.ConnectionPool.from_url(url)


def in_words(error: Exception) -> JournalError:
    """Return *error* as one of the store's."""
    if isinstance(error, JournalError):
        return error.fresh()
    what = printable(str(error) or type(error).__name__, 200)
    return JournalError(f"the store on Redis cannot be used: {what}")


def passes(answer: object) -> bool:
    """Return whether *answer* is an error that a later try may mend."""
    # What is refused while connecting is given as a connection that failed.
    cause = getattr(answer, "__cause__", None)
    found = cause if isinstance(cause, exceptions.RedisError) else answer
    return isinstance(found, PASSING) and not isinstance(found, FINAL)
