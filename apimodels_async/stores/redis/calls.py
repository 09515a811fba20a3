"""
Calls of the orders' script in one Redis server: repeated where that does no harm, and
durable where that is asked for.

Rules of this file:
1. Every call may be made again: the script finds out what a lost answer has done. So
   one that is cut off, or meets a server that starts or fails over, is tried again.
2. Nothing waits for longer than ``PATIENCE_S``, and behind one group before it.
3. What is to be durable waits for the server's disk (WAITAOF), with ``appendfsync
   everysec`` for a second. So calls go in groups: while one waits, the next gathers.
   WAITAOF waits for what its own connection wrote (Redis 8: measured 2026-11-28), so a
   group that is repeated writes something in any case.
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
from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Words = tuple[str | bytes | int | float, ...]
    Exchange = Callable[[Sequence[Words]], Awaitable[list[Any]]]

SCRIPT: Final = (
    files("apimodels_async.stores.redis").joinpath("orders.lua").read_text("utf-8")
)
SHA: Final = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324  Redis names it so
ANSWER_S: Final = 5.0
PATIENCE_S: Final = 15.0
"""For which a server that is away, starts, or fails over is tried."""
AWAY_S: Final = 2.0
"""The same, once it was tried in vain; one try, as a rule."""
PAUSE_S: Final = 0.2
DISK_S: Final = 3.0
"""For which a group waits for the disk; with ``everysec`` it takes one at most."""
GROUP_MAX: Final = 500
FINAL: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Errors of connections that no repetition mends."""
PASSING: Final = (
    *(exceptions.ConnectionError, exceptions.TimeoutError, OSError),
    *(exceptions.ReadOnlyError, exceptions.BusyLoadingError, exceptions.TryAgainError),
    *(exceptions.MasterDownError, exceptions.NoScriptError),
)
"""What one that starts, fails over or is cut off answers with, or that it does not."""


@define(eq=False)
class Calls:
    """Calls of one event loop."""

    url: str = field(repr=False)  # it may hold a password
    name: str
    """Before all keys."""
    patience_s: float = PATIENCE_S
    waits: bool = field(init=False, default=False)
    """Whether the server can be asked to wait for its disk."""
    _away: bool = field(init=False, default=False)
    """Whether it was tried in vain."""
    _client: redis.Redis = field(init=False)
    _plain: _Lane = field(init=False)
    _durable: _Lane = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._client = redis.Redis.from_url(
            self.url,
            socket_timeout=ANSWER_S + DISK_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # ours, below
        )
        self._plain = _Lane(self.exchange)
        self._durable = _Lane(self._exchange_durably)

    async def run(self, operation: str, *args: str | bytes | float) -> Any:
        """
        Call the script, and return its answer.

        Raises:
            JournalError: The server is away, or something else is there.
        """
        return await self._plain.call(("EVALSHA", SHA, 1, self.name, operation, *args))

    async def run_durably(self, operation: str, *args: str | bytes | float) -> Any:
        """
        Do the same, and return when the disk has it, where the server can tell.

        Raises:
            JournalError: As above, or the disk took too long.
        """
        words = ("EVALSHA", SHA, 1, self.name, operation, *args)
        return await self._durable.call(words)

    async def ask(self, command: str, key: str, *args: str | bytes | int) -> Any:
        """Send a command about one of our keys, and return its answer."""
        return await self._plain.call((command, f"{self.name}:{key}", *args))

    async def aclose(self) -> None:
        """Finish what is being sent, and close the connections."""
        for lane in (self._plain, self._durable):
            await lane.finish()
        await self._client.aclose()

    async def exchange(self, commands: Sequence[Words]) -> list[Any]:
        """
        Send *commands* at once, and return the answers, errors among them.

        Raises:
            JournalError: There are none.
        """
        return await self._exchange(commands)

    async def _exchange_durably(self, commands: Sequence[Words]) -> list[Any]:
        exchange = self._exchange_to_disk if self.waits else self._exchange
        return await exchange(commands)

    async def _exchange_to_disk(  # pragma: no cover  since Redis 7.2; Debian has 7.0
        self, commands: Sequence[Words]
    ) -> list[Any]:
        wait = ("WAITAOF", 1, 0, int(DISK_S * 1000))
        *answers, synced = await self._exchange(commands, last=wait)
        if isinstance(synced, Exception):
            raise in_words(synced)
        if not synced[0]:
            msg = f"the disk of the store on Redis took longer than {DISK_S:g} s"
            raise JournalError(msg)
        return answers

    async def _exchange(
        self, commands: Sequence[Words], *, last: Words | None = None
    ) -> list[Any]:
        # One that was tried in vain is not tried for long again: closing would take
        # minutes, order after order.
        patience_s = min(self.patience_s, AWAY_S) if self._away else self.patience_s
        until = asyncio.get_running_loop().time() + patience_s
        before: list[Words] = []
        answers: list[Any] = []
        after = [] if last is None else [last]
        while True:
            error: Exception | None
            try:
                async with asyncio.timeout_at(until):
                    answers = await self._send([*before, *commands, *after])
                error = next((each for each in answers if _passes(each)), None)
            except FINAL as refused:
                raise in_words(refused) from None
            except PASSING as passing:
                error = passing
            except exceptions.RedisError as strange:
                raise in_words(strange) from None
            if error is None:
                self._away = False
                return answers[len(before) :]
            if asyncio.get_running_loop().time() + PAUSE_S >= until:
                self._away = True
                raise in_words(error)
            if not isinstance(error, exceptions.NoScriptError):
                await asyncio.sleep(PAUSE_S)
            # It was restarted, or another one took over: neither knows the script.
            before = [("SCRIPT", "LOAD", SCRIPT)]
            if last is not None:
                before.append(("SET", f"{self.name}:again", ""))

    async def _send(self, commands: Sequence[Words]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for each in commands:
                pipe.execute_command(*each)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers


@define(eq=False)
class _Lane:
    """Calls that go over one connection, together where they gather."""

    _exchange: Exchange
    _waiting: list[tuple[Words, asyncio.Future[Any]]] = field(init=False, factory=list)
    _sending: asyncio.Task[None] | None = field(init=False, default=None)

    async def call(self, words: Words) -> Any:
        """Return the answer to *words*, whatever becomes of the other calls."""
        plain = tuple(
            each.encode() if isinstance(each, str) else each for each in words
        )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((plain, done))
        if self._sending is None:
            self._sending = loop.create_task(self._send(), name="apimodels-redis")
        return await outcome_of(done)

    async def finish(self) -> None:
        """Wait until nothing is being sent."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        group: list[tuple[Words, asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                group = self._waiting[:GROUP_MAX]
                del self._waiting[:GROUP_MAX]
                await self._send_group(group)
        finally:
            self._sending = None
            left, self._waiting = [*group, *self._waiting], []
            for _, done in left:
                if not done.done():  # it was cancelled
                    done.set_exception(JournalError("the store on Redis was cut off"))

    async def _send_group(
        self, group: Sequence[tuple[Words, asyncio.Future[Any]]]
    ) -> None:
        answers: list[Any]
        try:
            answers = await self._exchange([words for words, _ in group])
        except JournalError as error:
            answers = [error] * len(group)
        for (_, done), answer in zip(group, answers, strict=True):
            if done.done():
                continue
            if isinstance(answer, Exception):
                done.set_exception(in_words(answer))
            else:
                done.set_result(answer)


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


def _passes(answer: object) -> bool:
    return isinstance(answer, PASSING) and not isinstance(answer, FINAL)
