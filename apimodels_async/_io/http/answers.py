"""
Answers that are under way: what has arrived, and for how long it may.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from apimodels_async._io.http.bodies import read_into
from apimodels_async._ports import Kind

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.streams import StreamReader

    from apimodels_async.policies import Timeouts

AT_ONCE_MAX: Final = 1 << 16
"""Bytes of a body, below any at which aiohttp pauses reading."""


def times_of(
    timeouts: Timeouts, connecting: float = 0.0
) -> dict[Kind, tuple[float, float | None]]:
    """Return for each kind the seconds for an answer in all, and of silence in it."""
    read = timeouts.read
    return {
        # A status answer is one small piece, so its silence and its whole are the
        # same; a second timer costs 10 % of a poll (measured, 2026-11).
        Kind.FREE: (read, None),
        # A total everywhere: headers that trickle in are never silent (measured).
        Kind.CREATE: (connecting + 2 * read, read),
        Kind.GENERATE: (timeouts.generate, None),
        Kind.UPLOAD: (timeouts.download, read),
    }


class Answer:
    """What has arrived of an answer."""

    __slots__ = ("body", "ended", "ends_at", "late", "status", "transport")

    def __init__(self) -> None:
        self.status: int | None = None
        self.body: bytes | bytearray = b""
        self.transport: asyncio.Transport
        """Over which it is to come, once its request is sent."""
        self.ends_at = 0.0
        self.ended = False
        self.late = False
        """Whether its time ran out."""

    def give_up(self) -> None:
        """Cut the connection: whoever reads hears of it there, and is not cancelled."""
        self.late = True
        self.transport.abort()

    def take(
        self, payload: StreamReader, protocol: ResponseHandler, limit: int
    ) -> bool:
        """
        Take the body, if it is small and has come with its head; return whether.

        By aiohttp's own methods that would make its parser look for more, and its
        transport resume, although neither was paused: a fifth of what a poll costs.
        """
        if not (
            payload.is_eof() and 0 < payload.total_bytes <= min(limit, AT_ONCE_MAX)
        ):
            return False
        if self.late or protocol.exception() is not None:
            return False
        self.body = b"".join(payload._buffer)  # noqa: SLF001
        return True

    async def read(
        self, payload: StreamReader, protocol: ResponseHandler, limit: int
    ) -> None:
        """Read the body, piece by piece."""
        arrived = self.body = bytearray()
        await read_into(arrived, payload, protocol, limit)
        if self.late:  # a body without a length ends with its connection
            raise TimeoutError


class Watch:
    """
    Gives up answers that take too long: one timer for all that have the same time.

    They end in the order in which they were sent, so the first one is looked at, and no
    timer is set and taken back for each (a twentieth of what a poll costs).
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._answers: deque[Answer] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, answer: Answer, transport: asyncio.Transport) -> None:
        """Count the time of *answer*, which is to come over *transport*."""
        answer.transport = transport
        answer.ends_at = self._loop.time() + self._seconds
        answers = self._answers
        while answers and answers[0].ended:
            answers.popleft()
        answers.append(answer)
        if self._timer is None:
            self._timer = self._loop.call_at(answer.ends_at, self._look)

    def _look(self) -> None:
        now, answers = self._loop.time(), self._answers
        while answers and (answers[0].ended or answers[0].ends_at <= now):
            answer = answers.popleft()
            if not answer.ended:
                answer.give_up()
        self._timer = None
        if answers:
            self._timer = self._loop.call_at(answers[0].ends_at, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
