"""
Calls of the orders' script in one Redis server: repeated where that does no harm, and
durable where that is asked for.

Rules of this file:
1. Every call may be made again: the script finds out what a lost answer has done. So
   one that is cut off, or meets a server that starts or fails over, is tried again.
2. What was cut off may arrive later than its repetition, and than what came after that.
   So each try has a number, and the script passes over what a newer one overtook.
3. Nothing waits for longer than ``PATIENCE_S``, and behind one group before it.
4. What is to be durable waits for the server's disk (WAITAOF), with ``appendfsync
   everysec`` for a second. So calls go in groups: while one waits, the next gathers.
   WAITAOF waits for what its own connection wrote (Redis 8: measured 2026-11-28), so a
   group that is repeated writes something in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import uuid
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from redis import exceptions

from apimodels_async._io.redis import is_passing
from apimodels_async._io.shielded import outcome_of
from apimodels_async.errors import JournalError
from apimodels_async.stores.redis.connection import DISK_S, journal_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from apimodels_async.stores.redis.connection import Connection, Words

    Exchange = Callable[[Sequence[Words]], Awaitable[list[Any]]]

logger: logging.Logger = logging.getLogger("apimodels_async.redis")

SCRIPT: Final = (
    files("apimodels_async.stores.redis").joinpath("orders.lua").read_text("utf-8")
)
SHA: Final = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324  Redis names it so
PATIENCE_S: Final = 15.0
"""For which a server that is away, starts, or fails over is tried."""
AWAY_S: Final = 2.0
"""The same, once it was tried in vain; one try, as a rule."""
PAUSE_S: Final = 0.2
GROUP_MAX: Final = 500


@define(eq=False)
class Waiting:
    """What is waited for behind a group, before it counts as durable."""

    disk: bool = False
    """Whether the server can be asked to wait for its disk, and has to be."""
    replicas: int = 0
    """Replicas that must have it, too."""

    @property
    def command(self) -> Words | None:
        """What the server is asked; None: nothing."""
        milliseconds = int(DISK_S * 1000)
        if self.disk:
            return ("WAITAOF", 1, self.replicas, milliseconds)
        return ("WAIT", self.replicas, milliseconds) if self.replicas else None

    def check(self, answer: Any) -> None:
        """
        Do nothing if *answer* says that it is durable.

        Raises:
            JournalError: It is not.
        """
        if isinstance(answer, Exception):
            raise journal_error(answer)
        on_disk, received = answer if self.disk else (1, answer)
        if not on_disk:
            msg = f"the disk of the store on Redis took longer than {DISK_S:g} s"
            raise JournalError(msg)
        if received < self.replicas:
            msg = (
                f"{received} replicas of the store on Redis had it after {DISK_S:g} s, "
                f"and replicas={self.replicas}"
            )
            raise JournalError(msg)


@define(eq=False)
class Calls:
    """Calls of one event loop."""

    _connection: Connection
    name: str
    """Before all keys."""
    patience_s: float = PATIENCE_S
    waiting: Waiting = field(factory=Waiting)
    _away: bool = field(init=False, default=False)
    """Whether it was tried in vain."""
    _plain: _Lane = field(init=False)
    _durable: _Lane = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._plain = _Lane(partial(self._exchange, _Tries()))
        self._durable = _Lane(partial(self._exchange_durably, _Tries()))

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
        await self._connection.aclose()

    async def exchange(self, commands: Sequence[Words]) -> list[Any]:
        """
        Send *commands* at once, and return the answers, errors among them.

        Raises:
            JournalError: There are none.
        """
        return await self._exchange(_Tries(), commands)

    async def _exchange_durably(
        self, tries: _Tries, commands: Sequence[Words]
    ) -> list[Any]:
        wait = self.waiting.command
        if wait is None:
            return await self._exchange(tries, commands)
        *answers, waited = await self._exchange(tries, commands, last=wait)
        self.waiting.check(waited)
        return answers

    async def _exchange(
        self, tries: _Tries, commands: Sequence[Words], *, last: Words | None = None
    ) -> list[Any]:
        # One that was tried in vain is not tried for long again: closing would take
        # minutes, order after order.
        patience_s = min(self.patience_s, AWAY_S) if self._away else self.patience_s
        time = asyncio.get_running_loop().time
        until = time() + patience_s
        told_at = math.inf if self._away else time() + AWAY_S
        before: list[Words] = []
        answers: list[Any] = []
        after = [] if last is None else [last]
        while True:
            error: Exception | None
            numbered = [tries.number(each) for each in commands]
            try:
                async with asyncio.timeout_at(until):
                    answers = await self._connection.send([*before, *numbered, *after])
                error = next((each for each in answers if is_passing(each)), None)
            except (exceptions.RedisError, OSError) as caught:
                if not is_passing(caught):
                    raise journal_error(caught) from None
                error = caught
            finally:
                tries.count += not answers
            if error is None:
                self._away = False
                return answers[len(before) :]
            if time() >= told_at:
                told_at = math.inf
                logger.warning(
                    "%s (it is tried for %g s)", journal_error(error), patience_s
                )
            if time() + PAUSE_S >= until:
                self._away = True
                raise journal_error(error)
            answers = []
            if not isinstance(error, exceptions.NoScriptError):
                await asyncio.sleep(PAUSE_S)
            # It was restarted, or another one took over: neither knows the script.
            before = [("SCRIPT", "LOAD", SCRIPT)]
            if last is not None:
                before.append(("SET", f"{self.name}:again", ""))


@define(eq=False)
class _Tries:
    """Numbers the tries of one lane, in which one follows the other."""

    caller: str = field(init=False, factory=lambda: uuid.uuid4().hex)
    count: int = field(init=False, default=0)
    """Tries that had no answer: each may arrive yet."""

    def number(self, words: Words) -> Words:
        """Return *words* with the number of the next try, if they are the script's."""
        if words[0] != b"EVALSHA":
            return words
        return (*words[:4], self.caller, self.count, *words[4:])


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
                if not done.done():  # this was cancelled
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
            if isinstance(answer, Exception):
                done.set_exception(journal_error(answer))
            else:
                done.set_result(answer)
