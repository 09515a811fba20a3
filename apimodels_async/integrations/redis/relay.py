"""
Hints from the process that received a callback to the session that waits for it, on any
machine, over a Redis server.

Theory of operation: a hint is published together with a place to answer to. Each
session that listens puts there whether it took it; the publisher knows from the server
how many heard it, and reads as many answers, at most.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from apimodels_async._io.redis import Server, in_words
from apimodels_async._ports import Hint
from apimodels_async._secret import hidden
from apimodels_async.errors import ConnectionFailedError
from apimodels_async.integrations.redis.listening import listen, stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

logger: logging.Logger = logging.getLogger("apimodels_async.webhooks")

NAME: Final = "{apimodels}"
ANSWER_S: Final = 5.0
"""A session answers in milliseconds; the API waits 10 s for ours."""
LISTEN_S: Final = 5.0
KEPT_S: Final = 10
"""For which an answer waits to be read."""
MESSAGE_BYTES_MAX: Final = 1024
PLACE_CHARS: Final = 32


class RedisRelay:
    """
    For processes on any machines that share a Redis server.

    Each hint is offered to every session that listens; it counts as taken when one of
    them said so. Where the server is away nothing is taken, the API calls again, and
    polling goes on. A connection that breaks is made again.

    Args:
        url: ``redis://host:6379/0``, ``rediss://`` for TLS, ``unix://``, or
            ``valkey://`` and ``valkeys://``; credentials in it are in no text of this
            library.

        name: Before all that is sent there; of several users of one server.

    Raises:
        ConfigurationError: *url* is none.
    """

    def __init__(self, url: str, *, name: str = NAME) -> None:
        self._name = name
        place, url = hidden(url), ""  # a frame that raises shows locals
        self._server = Server(place, name)
        # Channels are of all databases of a server, keys of one.
        self._channel = f"{name}:hints:{self._server.db}"

    def __repr__(self) -> str:
        return f"<RedisRelay {self._name}>"

    async def publish(self, hint: Hint) -> bool:
        """Offer *hint* to every session that listens; return whether one took it."""
        place = secrets.token_hex(PLACE_CHARS // 2)
        message = json.dumps([hint.nonce, hint.task_id, place])
        try:
            async with asyncio.timeout(ANSWER_S), self._server.connect() as client:
                heard = await client.publish(self._channel, message)
                for _ in range(heard):
                    answer: Any = await client.blpop(self._place(place), 0)
                    if answer[1] == b"1":
                        return True
        except TimeoutError:
            logger.warning("a session did not answer over Redis")
        except (exceptions.RedisError, OSError) as error:
            logger.warning("a callback went nowhere over Redis: %s", in_words(error))
        return False

    @asynccontextmanager
    async def listening(self, take: Callable[[Hint], bool]) -> AsyncIterator[None]:
        """
        Call *take* for every hint while this is open.

        Raises:
            ConnectionFailedError: The server is away, or does not let us, for 5 s.
        """
        client, opened = self._server.connect(), asyncio.Event()

        async def answer(message: bytes) -> None:
            try:
                hint, place = _read(message)
            except (ValueError, RecursionError):
                return  # another's: whoever may publish here may say anything
            said, key = b"1" if take(hint) else b"0", self._place(place)
            async with client.pipeline(transaction=False) as calls:
                calls.rpush(key, said)
                calls.expire(key, KEPT_S)
                await calls.execute()

        hearing = asyncio.create_task(
            listen(client, self._channel, answer, opened.set), name="apimodels-hints"
        )
        try:
            await _opening(opened)
            yield
        finally:
            await stop(hearing)
            await client.aclose()

    def _place(self, place: str) -> str:
        return f"{self._name}:hint:{place}"


async def _opening(opened: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LISTEN_S):
            await opened.wait()
    except TimeoutError:
        msg = "callbacks cannot be heard over Redis; the log says why"
        raise ConnectionFailedError(msg) from None


def _read(message: bytes) -> tuple[Hint, str]:
    if len(message) <= MESSAGE_BYTES_MAX:
        match json.loads(message):
            case [str(nonce), str(task_id), str(place)] if len(place) == PLACE_CHARS:
                return Hint(nonce, task_id), place
            case _:
                pass
    msg = "no hint"
    raise ValueError(msg)
