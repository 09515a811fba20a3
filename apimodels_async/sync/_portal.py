"""
The event loop behind a synchronous session, in a thread of its own.

Rules of this file:
1. It delegates and waits; what a call does is decided below.
2. An interrupted wait (Ctrl-C) cancels that wait alone, as cancelling a task would.
3. Nothing waits for ever at exit: the thread is a daemon, and closing is bounded.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import anyio
from anyio.from_thread import BlockingPortal
from attrs import define, field

from apimodels_async.errors import ConfigurationError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apimodels_async.session import Session

T = TypeVar("T")

HANDOVER_S: Final = 0.5
"""How long an interrupted caller waits for its call to be cancelled."""
EXIT_S: Final = 5.0
"""Seconds that a session still open at exit gets to finish paid requests."""


@define(eq=False)
class _Call(Generic[T]):
    """
    One call on the loop. What it returned goes to the caller, or to *kept*.

    Two threads meet here without a lock: the loop's puts the result down and then looks
    whether the caller is gone, the caller's says that it is gone and then looks for the
    result. At least one of them sees the other, and only one can pop.
    """

    function: Callable[..., Awaitable[T]]
    args: tuple[object, ...]
    kept: list[object]
    error: BaseException | None = field(init=False, default=None)
    """What the call itself raised."""
    _result: list[T] = field(init=False, factory=list[T])
    _abandoned: bool = field(init=False, default=False)
    _scope: anyio.CancelScope | None = field(init=False, default=None)
    finished: threading.Event = field(init=False, factory=threading.Event)
    """Nothing of it runs any more."""

    async def run(self) -> T | None:
        """Await the function, in the loop's thread."""
        try:
            return await self._run()
        finally:
            self.finished.set()

    async def _run(self) -> T | None:
        with anyio.CancelScope() as self._scope:
            try:
                self._result.append(result := await self.function(*self.args))
            except BaseException as error:
                self.error = error
                raise
            if self._abandoned:
                self._keep()
            return result
        return None  # cancelled: the caller is gone

    def abandon(self) -> None:
        """
        Keep what the call returned, or will return: its caller was interrupted.
        """
        self._abandoned = True
        self._keep()

    def cancel(self) -> None:
        """
        Cancel the call, in the loop's thread.
        """
        if self._scope is not None:
            self._scope.cancel()

    def _keep(self) -> None:
        with contextlib.suppress(IndexError):
            self.kept.append(self._result.pop())


@define(eq=False)
class _Loop:
    """
    One event loop in a daemon thread, and the session that lives on it.

    Not ``start_blocking_portal``: its context manager, left to the garbage collector in
    a forked child or at exit, would wait for a thread that is gone.
    """

    session: Session
    pid: int = field(init=False, factory=os.getpid)
    ended: SessionClosedError | None = field(init=False, default=None)
    kept: list[object] = field(init=False, factory=list[object])
    """What calls returned to a caller who was interrupted just then."""
    _portal: BlockingPortal = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        ready: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(
            target=anyio.run, args=(_serve, ready), name="apimodels-sync", daemon=True
        )
        self._thread.start()
        self._portal = ready.result()

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Await ``function(*args)`` on the loop; an interrupted wait cancels it."""
        call = _Call(function, args, self.kept)
        try:
            try:
                future = self._portal.start_task_soon(call.run)
            except RuntimeError:
                if self.ended is None:  # called from the loop's own thread
                    raise
            else:
                return cast("T", future.result())
        except BaseException as error:
            # Ctrl-C may come at any line above, also between the start and the wait,
            # where nobody knows the future yet.
            if error is not call.error:
                call.abandon()
                with contextlib.suppress(RuntimeError):  # never started: nothing runs
                    self._portal.start_task_soon(call.cancel)
                    # Until what was bought is among the orphans: who catches the
                    # Ctrl-C looks there at once.
                    call.finished.wait(HANDOVER_S)
            raise
        raise self.ended.fresh()

    def close(self, seconds: float | None) -> None:
        """Close the session, for *seconds* at most, and end the thread."""
        self.call(self._close, seconds)
        self._thread.join()

    async def _close(self, seconds: float | None) -> None:
        with anyio.move_on_after(seconds):
            await self.session.aclose()
        try:
            self.session.images.attach("closed")
        except SessionClosedError as error:  # the session's own words, with all ids
            self.ended = error
        await self._portal.stop()


async def _serve(ready: Future[BlockingPortal]) -> None:
    async with BlockingPortal() as portal:
        ready.set_result(portal)
        await portal.sleep_until_stopped()


_loops: set[_Loop] = set()
"""Those that run in this process; a forgotten one is closed at exit."""


@atexit.register
def _close_all() -> None:
    for loop in list(_loops):
        _loops.discard(loop)
        loop.close(EXIT_S)


def _keep_all() -> None:
    # A forked child shares the parent's epoll set. Were it to collect its copies of
    # the connections, it would take them out of there, and the parent would hang.
    for loop in _loops:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(loop))
    _loops.clear()


os.register_at_fork(after_in_child=_keep_all)


@define(eq=False)
class Portal:
    """The way from any thread into a session's loop, which is made on first use."""

    session: Session
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _loop: _Loop | None = field(init=False, default=None)

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """
        Await ``function(*args)`` in the session's thread, and return what it returns.

        Raises:
            ConfigurationError: After a fork.
            SessionClosedError: The session is closed.
        """
        with self._lock:
            if self._loop is None:
                self._loop = _Loop(self.session)
                _loops.add(self._loop)
        if self._loop.pid != os.getpid():
            msg = "this Session was opened before a fork: make one in each process"
            raise ConfigurationError(msg)
        return self._loop.call(function, *args)

    def close(self) -> None:
        """Close the session and end its thread; idempotent."""
        if self._loop is None:
            self.call(_nothing)  # closed unused: later calls are refused all the same
        if self._loop is not None and self._loop in _loops:
            _loops.discard(self._loop)
            self._loop.close(None)

    @property
    def kept(self) -> tuple[object, ...]:
        """What calls returned to a caller who was interrupted just then."""
        return () if self._loop is None else tuple(self._loop.kept)

    def take_kept(self) -> tuple[object, ...]:
        """Return what is kept, and keep it no longer."""
        taken: list[object] = []
        if self._loop is not None:
            with contextlib.suppress(IndexError):  # another thread may take, too
                while True:
                    taken.append(self._loop.kept.pop(0))
        return tuple(taken)

    @property
    def forgotten(self) -> bool:
        """Whether it was opened here and never closed."""
        return self._loop in _loops


async def _nothing() -> None:
    pass
