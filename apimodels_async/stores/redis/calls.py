"""
Calls of the orders' script in one Redis server: retried where that does no harm, and
durable where that is asked for.

Every call may be made again: what a lost answer has done already is found out by the
script. So a connection that breaks is tried again for some time.

Theory of operation: what is to be durable waits for the server's disk (``WAITAOF``),
with ``appendfsync everysec`` for up to a second. So such calls go in groups, over one
connection: while one group waits, the next gathers.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio as redis
from attrs import define, field
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apimodels_async._io.shielded import outcome_of
from apimodels_async._text import printable
from apimodels_async.errors import ConfigurationError, JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Call = tuple[tuple[str | bytes | int | float, ...], asyncio.Future[Any]]

SCRIPT: Final = files("apimodels_async.stores.redis").joinpath("orders.lua").read_text()
SHA: Final = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324  Redis names it so
ANSWER_S: Final = 5.0
TRIES_S: Final = 10.0
"""For which a server that is away, or fails over, is tried again."""
PAUSE_S: Final = 0.2
DISK_S: Final = 3.0
"""For which a group waits for the disk; with ``everysec`` it takes one at most."""
GROUP_MAX: Final = 500
PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
    exceptions.TryAgainError,
    OSError,
)
"""What a server that fails over, starts or is cut off answers with, or does not."""


@define(eq=False)
class Calls:
    """Calls of one event loop."""

    url: str = field(repr=False)  # it may hold a password
    name: str
    _client: redis.Redis = field(init=False)
    _waits: bool = field(init=False, default=False)
    """Whether the server can be asked to wait for its disk."""
    _queue: list[Call] = field(init=False, factory=list)
    _sending: asyncio.Task[None] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        try:
            self._client = redis.Redis.from_url(
                self.url,
                socket_timeout=ANSWER_S + DISK_S,
                socket_connect_timeout=ANSWER_S,
                retry=Retry(NoBackoff(), 0),  # ours, below
                client_name="apimodels-async",
            )
        except ValueError as error:
            msg = f"store: that is no address of a Redis server ({printable(error)})"
            raise ConfigurationError(msg) from None

    async def open(self) -> dict[str, Any]:
        """Return what the server says of itself, once it can be asked."""
        found: dict[str, Any] = await self._patiently(self._client.info)
        version = tuple(
            int(each) for each in str(found["redis_version"]).split(".")[:2]
        )
        self._waits = version >= (7, 2) and bool(found.get("aof_enabled"))
        await self._patiently(lambda: self._client.script_load(SCRIPT))
        return found

    async def run(self, operation: str, *args: str | bytes | float) -> Any:
        """
        Call the script, and return its answer.

        Raises:
            JournalError: The server is away, or something else is there.
        """
        words = (SHA, 1, self.name, operation, *args)
        return await self._patiently(lambda: self._client.evalsha(*words))

    async def ask(self, command: str, key: str, *args: str | bytes | int) -> Any:
        """Send a command about one of our keys, and return its answer."""
        words = (command, f"{self.name}:{key}", *args)
        return await self._patiently(lambda: self._client.execute_command(*words))

    async def run_durably(self, operation: str, *args: str | bytes | float) -> Any:
        """
        Do the same, and return when the disk has it, where the server can tell.

        Raises:
            JournalError: As above, or the disk took too long.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(((operation, *args), done))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="apimodels-redis")
        return await outcome_of(done)

    async def _send(self) -> None:
        try:
            while self._queue:
                group, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
                await self._send_group(group)
        finally:
            self._sending = None

    async def _send_group(self, group: Sequence[Call]) -> None:
        async def send() -> list[Any]:
            async with self._client.pipeline(transaction=False) as pipe:
                for words, _ in group:
                    pipe.evalsha(SHA, 1, self.name, *words)
                if self._waits:
                    pipe.execute_command("WAITAOF", 1, 0, int(DISK_S * 1000))
                return await pipe.execute(raise_on_error=False)

        try:
            answers = await self._patiently(send)
            if self._waits:
                synced = answers.pop()
                if isinstance(synced, Exception):
                    raise synced
                if not synced[0]:
                    msg = f"the store's disk took longer than {DISK_S:g} s"
                    raise JournalError(msg)
        except Exception as error:
            for _, done in group:
                if not done.done():
                    done.set_exception(_in_words(error))
            return
        for (_, done), answer in zip(group, answers, strict=True):
            if done.done():
                continue
            if isinstance(answer, Exception):
                done.set_exception(_in_words(answer))
            else:
                done.set_result(answer)

    async def _patiently(self, call: Any) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + TRIES_S
        while True:
            try:
                answer = await call()
                broken = _first_passing(answer)
                if broken is None:
                    return answer
                error: Exception = broken
            except exceptions.NoScriptError:
                await self._load()
                continue
            except PASSING as raised:
                error = raised
            except exceptions.RedisError as raised:
                raise _in_words(raised) from None
            if isinstance(error, exceptions.NoScriptError):
                await self._load()
                continue
            if loop.time() >= until:
                raise _in_words(error)
            await asyncio.sleep(PAUSE_S)

    async def _load(self) -> None:
        """Give the server the script: it was restarted, or another one took over."""
        try:
            await self._client.script_load(SCRIPT)
        except PASSING:
            await asyncio.sleep(PAUSE_S)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        await self._client.aclose()


def _first_passing(answer: object) -> Exception | None:
    for each in answer if isinstance(answer, list) else ():
        if isinstance(each, (*PASSING, exceptions.NoScriptError)):
            return each
    return None


def _in_words(error: Exception) -> JournalError:
    if isinstance(error, JournalError):
        return error
    what = printable(str(error) or type(error).__name__, 200)
    return JournalError(f"the store on Redis cannot be used: {what}")
