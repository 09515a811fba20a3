"""
Opens, holds and closes the parts of a session, on one event loop, once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from contextlib import AsyncExitStack, suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async._core.counters import Counters
from apimodels_async._core.polling.latency import Latency
from apimodels_async._core.polling.ledger import Ledger
from apimodels_async._io.config import is_local
from apimodels_async._text import counted
from apimodels_async.errors import (
    ConfigurationError,
    JournalError,
    OutcomeUnknownError,
    SessionClosedError,
)
from apimodels_async.handle import TaskHandle
from apimodels_async.models import ImageResult
from apimodels_async.stores.journals import Journals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from apimodels_async._adapters import Adapters, Options
    from apimodels_async._io.sender import Sender
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._ordering import Ordering
    from apimodels_async._ports import Clock, Observer, Transport
    from apimodels_async._saving import Saver
    from apimodels_async.policies import PollPolicy
    from apimodels_async.stores.sent import SentOrders
    from apimodels_async.stores.store import OrderStore
    from apimodels_async.webhooks.expected import ExpectedCallbacks

logger: logging.Logger = logging.getLogger("apimodels_async.session")

CLOSE_S: Final = 5.0
"""Seconds; closing takes milliseconds, this bounds a connection that will not."""


class State(Enum):
    """A session's life, in order; there is no way back."""

    UNOPENED = "unopened"  # bound to no loop yet
    OPEN = "open"
    CLOSED = "closed"  # pending tasks are attached again in a new session


@define(eq=False, repr=False, kw_only=True)
class Parts:
    """What an open session is made of."""

    loop: asyncio.AbstractEventLoop
    pid: int
    transport: Transport
    sender: Sender
    tracker: Tracker
    callbacks: ExpectedCallbacks | None
    ordering: Ordering
    orders: SentOrders | None
    make_saver: Callable[[], Saver]
    kept_saver: Saver | None = None

    @property
    def saver(self) -> Saver:
        """The way of files; made when the first one is under way, or wanted."""
        if self.kept_saver is None:
            self.kept_saver = self.make_saver()
        return self.kept_saver


@define(eq=False, repr=False)
class Runtime:
    """The one owner of a session's parts."""

    options: Options
    adapters: Adapters
    state: State = field(init=False, default=State.UNOPENED)
    _journals: Journals = field(init=False)
    parts: Parts | None = field(init=False, default=None)
    """Kept after closing, for what was counted and left over."""
    counters: Counters = field(init=False, factory=Counters)
    _observer: Observer | None = field(init=False, default=None)
    _lost: tuple[str, ...] = field(init=False, default=())
    """Ids of the tasks that were pending when it closed."""
    _closing: asyncio.Task[None] | None = field(init=False, default=None)
    _told: dict[int, object] = field(init=False, factory=dict)
    """What the log has named, by identity."""

    def __attrs_post_init__(self) -> None:
        self._journals = journals_in(self.adapters)

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
            raise self._closed_error()
        if self.parts is None:
            self.parts = self._start(loop)
            self.state = State.OPEN
        if self.parts.pid != os.getpid():
            msg = "this Session was opened before a fork: make one in each process"
            raise ConfigurationError(msg)
        if self.parts.loop is not loop:
            msg = "this Session belongs to another event loop: make one for each loop"
            raise ConfigurationError(msg)
        self.parts.tracker.check_usable()
        return self.parts

    def journal(self, path: Path) -> SentOrders:
        """Return the orders of a batch in the journal at *path*, not opened yet."""
        return self._journals.at(path)

    def observe(self, observer: Observer) -> None:
        """Let *observer* surround every order from now on."""
        self._observer = observer
        if self.parts is not None:
            self.parts.ordering.observer = observer

    def _start(self, loop: asyncio.AbstractEventLoop) -> Parts:
        parts = self._make(loop)
        parts.tracker.start(self._on_tracker_end)
        if parts.callbacks is not None:
            parts.callbacks.start(parts.ordering.adopt_late)
        return parts

    def _make(self, loop: asyncio.AbstractEventLoop) -> Parts:
        from apimodels_async._adapters import NoObserver
        from apimodels_async._io.order_limit import LocalLimit
        from apimodels_async._io.pacer import StartPacer
        from apimodels_async._io.sender import Sender
        from apimodels_async._io.tracker import Tracker
        from apimodels_async._lost_orders import LostOrders
        from apimodels_async._ordering import Ordering

        options, adapters, counters = self.options, self.adapters, self.counters
        clock, draw = adapters.clock(), adapters.draw
        transport = adapters.transport(options)
        limit = options.limit or LocalLimit()
        sender = Sender(transport, clock, options.retry, draw, limit, options.base_url)
        ledger = _ledger(options.polling, options.max_polls, draw)
        tracker = Tracker(ledger, transport, clock, options.max_polls, counters)
        callbacks: ExpectedCallbacks | None = None
        if options.callback is not None:
            from apimodels_async._core.polling.callback_trust import CallbackTrust
            from apimodels_async.webhooks.expected import ExpectedCallbacks

            ledger.callback_trust = CallbackTrust(options.callback.interval)
            callbacks = ExpectedCallbacks(options.callback, tracker, clock, counters)
        orders = _orders(options, clock)
        return Parts(
            loop=loop,
            pid=os.getpid(),
            transport=transport,
            sender=sender,
            tracker=tracker,
            callbacks=callbacks,
            ordering=Ordering(
                sender,
                tracker,
                StartPacer(),
                counters,
                callbacks,
                self._observer or NoObserver(),
                LostOrders(sender, tracker, counters, callbacks),
            ),
            orders=orders,
            make_saver=partial(self._make_saver, clock, sender),
        )

    def _make_saver(self, clock: Clock, sender: Sender) -> Saver:
        from apimodels_async._saving import Saver, result_now

        options, adapters = self.options, self.adapters
        files = adapters.files(
            clock,
            options.timeouts,
            options.retry,
            partial(result_now, sender),
            local=is_local(options.base_url),
            network=options.network,
            lent=options.http,
        )
        seconds = options.timeouts.download
        return Saver(files, adapters.sink, options.max_downloads, seconds)

    def _closed_error(self) -> SessionClosedError:
        msg = "the session is closed; open a new one"
        return SessionClosedError(msg, task_ids=self._lost, charged=False)

    async def aclose(self) -> None:
        """
        Let paid requests that are out finish, stop the tracker, close the connections.

        Idempotent; whoever calls it waits until all is closed. Orders that are not sent
        end at once. If a caller is cancelled, paid requests that are out are cut and of
        unknown fate.
        """
        parts = self.parts
        if parts is not None and parts.loop.is_closed():
            self.state = State.CLOSED
            self.report()
            _hang_up(parts)
            return
        if parts is not None and parts.loop is not _running_loop():
            msg = "this Session belongs to another event loop: close it there"
            raise ConfigurationError(msg)
        if self.state is State.OPEN and parts is not None:
            self.state = State.CLOSED  # from here on open() refuses
            self._lost = tuple(parts.tracker.ledger)
            parts.ordering.stop(self._closed_error())
            if parts.kept_saver is not None:
                parts.kept_saver.stop()
            if parts.callbacks is not None:
                parts.callbacks.give_up()
            # A task of its own: a cancelled caller ends the wait, not the clean-up.
            self._closing = parts.loop.create_task(
                self._close(parts), name="apimodels-closing"
            )
        self.state = State.CLOSED
        if self._closing is None or self._closing.done() or parts is None:
            return
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            parts.ordering.abort()
            import anyio  # only now: it takes a third of what opening a session does

            # Shielded, or a cancelled anyio scope around us would not wait at all.
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._closing])
            raise

    async def _close(self, parts: Parts) -> None:
        # Last first. What one of them raises, such as a user's relay, keeps none of the
        # others open, and nothing untold.
        async with AsyncExitStack() as closing:
            closing.callback(self.report)
            closing.push_async_callback(_close_network, parts)
            # A disk that hangs is waited for as long as an API that does.
            limit = self.options.timeouts.close
            closing.push_async_callback(_in_time, limit, self._journals.aclose)
            if parts.orders is not None:
                closing.push_async_callback(_in_time, limit, parts.orders.aclose)
            closing.push_async_callback(self._end_tracker, parts)
            if parts.callbacks is not None:
                closing.push_async_callback(parts.callbacks.aclose)
            closing.push_async_callback(parts.ordering.drain)
            closing.callback(parts.ordering.abort)
            await parts.ordering.drain(limit)

    async def _end_tracker(self, parts: Parts) -> None:
        self._lost = await parts.tracker.aclose()

    def _on_tracker_end(self) -> None:
        # Not by aclose(): the program's tasks are cancelled because its loop ends, or
        # the tracker broke. Orders that are cut in the same go end some steps later.
        parts = self.parts
        if self.state is State.OPEN and parts is not None:
            parts.ordering.call_when_idle(partial(self._wind_up, parts))

    def _wind_up(self, parts: Parts) -> None:
        if self.state is State.OPEN:  # nobody has closed it since, and nobody may
            self.report()
            _hang_up(parts)

    def report(self) -> None:
        """Say, each thing once, what can be taken up: the session or its loop ended."""
        if self.parts is None or self.parts.pid != os.getpid():
            return
        ordering, lost = self.parts.ordering, self.parts.tracker.lost
        left: list[object] = [*ordering.orphans]
        if self.parts.loop.is_closed():  # what was under way stays so
            left += ordering.left_open
        pending = [each for each in lost if self._is_news(each)]
        kept = [
            named
            for each in left
            if (named := _name(each)) not in {"", *lost} and self._is_news(each)
        ]
        said = []
        if pending:
            said.append(f"{counted(len(pending), 'task')} pending; attach them again: ")
            keys = self.parts.tracker.lost_keys
            said[-1] += ", ".join(_with_key(each, keys.get(each)) for each in pending)
        if kept:
            said.append("paid for or of unknown fate, left by cancelled callers: ")
            said[-1] += ", ".join(kept)
        if said:
            logger.warning("session closed with %s", "; and ".join(said))

    def warn_if_open(self, session: object) -> None:
        """Warn of *session*, which goes and was never closed."""
        if self.state is not State.OPEN or self.parts is None:
            return
        self.report()
        pending = ", ".join(self.parts.tracker.lost) or "none"
        warnings.warn(
            f"a Session was never closed (tasks pending: {pending}); use "
            "`async with` or `await session.aclose()`",
            ResourceWarning,
            stacklevel=3,
            source=session,
        )

    def _is_news(self, each: object) -> bool:
        known = id(each) in self._told
        self._told[id(each)] = each
        return not known


def _with_key(task_id: str, idempotency_key: str | None) -> str:
    return f"{task_id} (order {idempotency_key!r})" if idempotency_key else task_id


def _name(orphan: object) -> str:
    if isinstance(orphan, OutcomeUnknownError):
        return _with_key(str(orphan), orphan.idempotency_key)
    if isinstance(orphan, ImageResult):
        return orphan.task_id or orphan.url
    return orphan.task_id if isinstance(orphan, TaskHandle) else ""


async def _close_network(parts: Parts) -> None:
    try:
        await _in_time(CLOSE_S, parts.transport.aclose)
    finally:
        if parts.kept_saver is not None:
            await _in_time(CLOSE_S, parts.kept_saver.aclose)


async def _in_time(seconds: float, close: Callable[[], Awaitable[object]]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await close()


def _hang_up(parts: Parts) -> None:
    """Close the connections as far as that needs no loop."""
    _begin(parts.transport.aclose())
    if parts.kept_saver is not None:
        _begin(parts.kept_saver.aclose())
    for closing in parts.orders.hang_up() if parts.orders is not None else ():
        _begin(closing)


def _begin(closing: Coroutine[object, None, None]) -> None:
    # Not as a task: the loop may have closed, or close before that would have begun.
    with suppress(StopIteration, RuntimeError, JournalError):  # at its end; no loop
        while closing.send(None) is None:  # a bare turn of the loop, no future
            pass
    closing.close()


def _orders(options: Options, clock: Clock) -> SentOrders | None:
    if options.store is None:
        return None
    from apimodels_async.stores.store import scope_of

    return orders_in(options.store, scope_of(options.store, options.base_url), clock)


def orders_in(store: OrderStore, scope: str, clock: Clock) -> SentOrders:
    """Return what one session, or one batch, has in *store*; it is not opened yet."""
    from apimodels_async.stores._lease import Lease
    from apimodels_async.stores.sent import SentOrders

    return SentOrders(store, scope, clock, Lease(clock, store.lease_s))


def journals_in(adapters: Adapters) -> Journals:
    """Return those of one session, or one queue."""

    def make(path: Path) -> SentOrders:
        store = adapters.journal(path)
        return orders_in(store, store.scope, adapters.clock())

    return Journals(make)


def _ledger(polling: PollPolicy, max_polls: int, draw: Callable[[], float]) -> Ledger:
    latency = Latency(polling.interval) if polling.learned is not False else None
    if latency is not None and not isinstance(polling.learned, bool):
        latency.load(polling.learned)
    return Ledger(
        polling.interval, polling.deadline, draw, max_polls, polling.max_rate, latency
    )


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    msg = "a Session works inside a running event loop: call it from async code"
    raise ConfigurationError(msg)
