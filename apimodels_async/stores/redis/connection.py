"""
The way to a Redis server, by redis-py; a simulation has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define

from apimodels_async._io.redis import in_words, is_refused
from apimodels_async.errors import JournalError
from apimodels_async.stores.store import StoreSetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    Words = tuple[str | bytes | int | float, ...]

DISK_S: Final = 3.0
"""For which a group waits for the disk; with ``everysec`` it takes one at most."""


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


@define(eq=False)
class RedisConnection:
    """Connections of redis-py, as many as there are calls of ``send`` at once."""

    _client: Redis

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


def journal_error(error: Exception) -> JournalError:
    """Return *error* as one of the store's."""
    if isinstance(error, JournalError):
        return error.fresh()
    kind = StoreSetupError if is_refused(error) else JournalError
    return kind(f"the store on Redis cannot be used: {in_words(error)}")
