"""
Opens, holds and closes what a session is made of, on one event loop, once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import nullcontext
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
from attrs import define, field

from apimodels_async._api import requests
from apimodels_async._core.latency import Latency
from apimodels_async._core.ledger import Ledger
from apimodels_async._io.config import is_loopback
from apimodels_async.errors import (
    ApiModelsError,
    ConfigurationError,
    InvalidRequestError,
    OutcomeUnknownError,
    SessionClosedError,
)
from apimodels_async.handle import TaskHandle
from apimodels_async.models import ImageRequest, SparkPixEdit, SparkPixImage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import aiohttp

    from apimodels_async._adapters import Adapters
    from apimodels_async._callbacks import Callbacks
    from apimodels_async._core.entry import Entry
    from apimodels_async._core.notes import Notes
    from apimodels_async._io.downloads import Files
    from apimodels_async._io.sender import Sender
    from apimodels_async._io.storage import Folders
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._io.turns import Turns
    from apimodels_async._ports import Clock, Observer, Pool, Secret
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import PollPolicy, RetryPolicy, Timeouts
    from apimodels_async.webhooks import Callback

logger = logging.getLogger("apimodels_async.session")

FILE_THREADS: Final = 4
CLOSE_S: Final = 5.0
"""Seconds; closing takes milliseconds, this bounds a connection that will not."""


@define(kw_only=True)
class Settings:
    """
    What a session was asked to be.
    """

    key: Secret
    base_url: str
    polling: PollPolicy
    retry: RetryPolicy
    timeouts: Timeouts
    max_connections: int
    max_polls: int
    fresh_connections: bool
    callback: Callback | None
    http: aiohttp.ClientSession | None


class State(Enum):
    """
    A session's life, in order; there is no way back.
    """

    UNOPENED = "unopened"  # bound to no loop yet
    OPEN = "open"
    CLOSED = "closed"  # pending tasks are attached again in a new session


@define(eq=False)
class Parts:
    """
    The open parts.
    """

    loop: asyncio.AbstractEventLoop
    pid: int
    transport: Pool
    sender: Sender
    tracker: Tracker
    files: Files
    threads: anyio.CapacityLimiter
    folders: Folders
    turns: Turns
    callbacks: Callbacks | None


class _Nobody:
    """
    The observer of a session that has none.
    """

    def ordering(
        self,
        request: object,  # noqa: ARG002  the Protocol's name for it
    ) -> AbstractContextManager[Callable[[str], None]]:
        return nullcontext(_ignore)


def _ignore(_task_id: str) -> None:
    pass


@define(eq=False)
class Wiring:
    """
    The one owner of a session's parts.
    """

    settings: Settings
    adapters: Adapters
    observer: Observer = field(init=False, factory=_Nobody)
    state: State = field(init=False, default=State.UNOPENED)
    submitted: int = field(init=False, default=0)
    """Paid requests the API accepted."""
    spent: Decimal = field(init=False, default=Decimal(0))
    """On synchronous calls; the tracker knows the rest."""
    named: set[str] = field(init=False, factory=set[str])
    """Ids of the tasks that this session ordered; 100 bytes each."""
    parts: Parts | None = field(init=False, default=None)
    """Kept after closing, for the counts."""
    _lost: tuple[str, ...] = field(init=False, default=())
    _closing: asyncio.Task[None] | None = field(init=False, default=None)

    def open(self) -> Parts:
        """
        Return the parts, made on first use.

        Raises:
            ConfigurationError: Outside an event loop, on another loop than the first
                time, or after a fork.
            SessionClosedError: Closed, or the tracker has stopped.
        """
        loop = _running_loop()
        if self.state is State.CLOSED:
            msg = "the session is closed; open a new one"
            raise SessionClosedError(msg, task_ids=self._lost)
        if self.parts is None:
            self.parts = self._make(loop)
            self.parts.tracker.start()
            if self.parts.callbacks is not None:
                self.parts.callbacks.start()
            self.state = State.OPEN
        if self.parts.pid != os.getpid():
            msg = "this Session was opened before a fork: make one in each process"
            raise ConfigurationError(msg)
        if self.parts.loop is not loop:
            msg = "this Session belongs to another event loop: make one for each loop"
            raise ConfigurationError(msg)
        self.parts.tracker.check_alive()
        return self.parts

    async def turn(self) -> None:
        """
        Wait while too many orders have begun in this turn of the loop.
        """
        if self.parts is not None and self.parts.loop is _running_loop():
            await self.parts.turns.take()

    def _make(self, loop: asyncio.AbstractEventLoop) -> Parts:
        from apimodels_async._io.sender import Sender
        from apimodels_async._io.storage import Folders
        from apimodels_async._io.tracker import Tracker
        from apimodels_async._io.turns import Turns

        wanted, adapters = self.settings, self.adapters
        clock, draw = adapters.clock(), adapters.draw
        transport = adapters.transport(
            wanted.base_url,
            wanted.key,
            wanted.timeouts,
            wanted.max_connections,
            fresh=wanted.fresh_connections,
            lent=wanted.http,
        )
        sender = Sender(transport, clock, wanted.retry, draw, wanted.max_connections)
        ledger = _ledger(wanted.polling, wanted.max_polls, draw)
        tracker = Tracker(ledger, transport, clock, wanted.max_polls)
        local = is_loopback(urlsplit(wanted.base_url).hostname or "")
        return Parts(
            loop=loop,
            pid=os.getpid(),
            transport=transport,
            sender=sender,
            tracker=tracker,
            files=adapters.files(
                clock,
                wanted.timeouts,
                wanted.retry,
                partial(_ask, sender),
                local=local,
            ),
            threads=anyio.CapacityLimiter(FILE_THREADS),
            folders=Folders(),
            turns=Turns(),
            callbacks=self._callbacks(tracker, sender, clock),
        )

    def _callbacks(
        self, tracker: Tracker, sender: Sender, clock: Clock
    ) -> Callbacks | None:
        callback = self.settings.callback
        if callback is None:
            return None
        from apimodels_async._callbacks import Callbacks
        from apimodels_async._core.coverage import Coverage

        def keep(entry: Entry) -> None:
            self.submitted += 1
            sender.orphans.append(TaskHandle(entry, tracker))

        tracker.ledger.coverage = Coverage(callback.interval)
        return Callbacks(callback, tracker, clock, self.named, keep)

    async def store(
        self,
        result: ImageResult,
        target: Path,
        stem: str,
        notes: Notes | None = None,
        index: int = 0,
    ) -> Path:
        """
        Store a file of *result* as *target*, or as *stem* in it if it is a directory.
        """
        from apimodels_async._core.notes import sidecar
        from apimodels_async._io.metadata import imprint

        parts = self.open()
        facts = notes.facts if notes is not None else {}
        open_sink = partial(
            self.adapters.sink,
            target,
            stem,
            parts.threads,
            parts.folders,
            sidecar(facts) if notes is not None and notes.sidecar else None,
            partial(imprint, facts) if notes is not None and notes.embed else None,
        )
        return await parts.files.download(result, index, open_sink)

    async def aclose(self) -> None:
        """
        Let paid requests finish, stop the tracker, close the connections; idempotent.

        If this is cancelled, paid requests under way are cut and of unknown fate.
        """
        if self.state is State.CLOSED:
            await self._closed()
            return
        # From here on open() refuses, so nothing new is sent while we wait.
        self.state = State.CLOSED
        if self.parts is None:
            return
        parts = self.parts
        self._lost = tuple(parts.tracker.ledger)
        if parts.callbacks is not None:
            parts.callbacks.give_up()
        try:
            # A paid request is never cut before its own timeout: it may be charged.
            await parts.sender.drain()
        finally:
            # A task of its own: a second cancellation ends the wait, not the clean-up.
            self._closing = parts.loop.create_task(
                self._close(parts), name="apimodels-closing"
            )
            await self._closed()

    async def _closed(self) -> None:
        if self._closing is None or self._closing.done():
            return
        # Shielded, or an enclosing cancelled anyio scope would not even begin to wait.
        with anyio.CancelScope(shield=True):
            await asyncio.shield(self._closing)

    async def _close(self, parts: Parts) -> None:
        parts.sender.abort()
        await parts.sender.drain()
        if parts.callbacks is not None:
            await parts.callbacks.aclose()
        self._lost = await parts.tracker.aclose()
        with anyio.move_on_after(CLOSE_S):
            await parts.transport.aclose()
            await parts.files.aclose()
        if self._lost:
            logger.warning(
                "session closed with %d tasks pending; attach them again: %s",
                len(self._lost),
                ", ".join(self._lost[:20]),
            )
        for orphan in parts.sender.orphans:
            if isinstance(orphan, OutcomeUnknownError):
                logger.warning("a cancelled request is of unknown fate: %s", orphan)


async def _ask(sender: Sender, task_id: str) -> ImageResult | None:
    from apimodels_async._api.responses import read_task

    try:
        snapshot = await sender.call(
            requests.poll(task_id), lambda reply: read_task(reply, task_id, None)
        )
    except ApiModelsError:  # the file's own trouble is told
        return None
    return snapshot.result


def _ledger(polling: PollPolicy, max_polls: int, draw: Callable[[], float]) -> Ledger:
    latency = Latency(polling.interval) if polling.learned is not False else None
    if latency is not None and not isinstance(polling.learned, bool):
        latency.load(polling.learned)
    return Ledger(
        polling.interval, polling.deadline, draw, max_polls, polling.max_rate, latency
    )


def make_notes(
    result: ImageResult,
    request: SparkPixImage | SparkPixEdit | ImageRequest | None,
    index: int = 0,
    *,
    sidecar: bool,
    embed: bool,
) -> Notes | None:
    """
    Return what to write down about picture *index* of *result*; None if nothing.

    Raises:
        ConfigurationError: *embed* without Pillow.
        InvalidRequestError: *request* is no request value.
    """
    if not sidecar and not embed:
        return None
    from apimodels_async._core.notes import Notes, facts_of
    from apimodels_async._io.metadata import check_pillow

    if embed:
        check_pillow()
    if request is not None:
        _check_request(request)
    model = None if request is None else requests.model_of(request)
    return Notes(facts_of(result, request, model, index), sidecar, embed)


def _check_request(request: object) -> None:
    if not isinstance(request, (SparkPixImage, SparkPixEdit, ImageRequest)):
        msg = "request= takes SparkPixImage, SparkPixEdit or ImageRequest"
        raise InvalidRequestError(msg, parameter="request")


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    msg = "a Session works inside a running event loop: call it from async code"
    raise ConfigurationError(msg)
