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
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

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
    One call on the loop, and what it brought until its caller has it.

    Two threads meet here without a lock: the loop's puts the result down, the caller's
    takes it or says that it never will. Whatever lies here after both are done belongs
    to nobody, and is collected.
    """

    function: Callable[..., Awaitable[T]]
    args: tuple[object, ...]
    give_back: Callable[[T], None] | None
    result: T | None = field(init=False, default=None)
    error: BaseException | None = field(init=False, default=None)
    """What the call itself raised."""
    taken: bool = field(init=False, default=False)
    abandoned: bool = field(init=False, default=False)
    """Its caller was interrupted, perhaps while taking the result."""
    _scope: anyio.CancelScope | None = field(init=False, default=None)
    finished: threading.Event = field(init=False, factory=threading.Event)
    """Nothing of it runs any more."""

    async def run(self) -> None:
        """Await the function, in the loop's thread."""
        try:
            with anyio.CancelScope() as self._scope:
                self.result = await self.function(*self.args)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.finished.set()

    def cancel(self) -> None:
        """
        Cancel the call, in the loop's thread.
        """
        if self._scope is not None:
            self._scope.cancel()


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
    _calls: set[_Call[Any]] = field(init=False, factory=set["_Call[Any]"])
    """Those whose result is not with their caller yet."""
    _portal: BlockingPortal = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        ready: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(
            target=anyio.run, args=(_serve, ready), name="apimodels-sync", daemon=True
        )
        self._thread.start()
        self._portal = ready.result()

    def call(
        self,
        function: Callable[..., Awaitable[T]],
        *args: object,
        give_back: Callable[[T], None] | None = None,
        paid: str | None = None,
    ) -> T:
        """
        Await ``function(*args)`` on the loop; an interrupted wait cancels it.

        Python looks for signals where a call begins and where a loop turns. So what
        takes the result, and what says that nobody will, are plain assignments.
        """
        call = _Call(function, args, give_back)
        self._calls.add(call)
        try:
            try:
                future = self._portal.start_task_soon(self._run, call)
            except RuntimeError:
                if self.ended is None:  # called from the loop's own thread
                    raise
            else:
                future.result()
                call.taken = True
                return call.result  # type: ignore[return-value]  # None where T is
        except BaseException as error:
            # Ctrl-C may come at any line above, also between the start and the wait,
            # where nobody knows the future yet; and again at any call below.
            if error is not call.error:
                call.abandoned = True
                self._calls.add(call)  # it may have counted as taken
                self._cancel(call)
            raise
        closed = self.ended.fresh(task_id=paid)
        if paid is not None:
            closed.charged = None
        raise closed

    async def _run(self, call: _Call[T]) -> None:
        self._collect()  # what earlier calls have left
        await call.run()

    def _cancel(self, call: _Call[T]) -> None:
        with contextlib.suppress(RuntimeError):  # never started: nothing runs
            self._portal.start_task_soon(call.cancel)
            # Until what was bought can be collected: who catches the Ctrl-C looks at
            # the orphans at once.
            call.finished.wait(HANDOVER_S)

    def collect(self) -> None:
        """Let the session keep what calls brought whose callers were interrupted."""
        try:
            self._portal.start_task_soon(self._collect_soon).result()
        except RuntimeError:  # the loop has ended, or this is its thread
            self._collect()

    async def _collect_soon(self) -> None:
        self._collect()

    def _collect(self) -> None:
        # In the loop's thread, while it lives: no signal and no other thread is here.
        ended = [call for call in list(self._calls) if call.finished.is_set()]
        for call in ended:
            if call.abandoned:
                self._keep(call)
        self._calls.difference_update(
            # _keep() has taken the error of an abandoned one.
            call
            for call in ended
            if call.abandoned or call.taken or call.error is not None
        )

    def _keep(self, call: _Call[Any]) -> None:
        found = call.error if call.result is None else call.result
        found = getattr(found, "_inner", found)  # a synchronous handle's own
        parts = self.session._runtime.parts  # noqa: SLF001  the session behind this one
        if call.give_back is not None and call.result is not None:
            call.give_back(call.result)
        elif parts is not None:
            parts.ordering.keep(found)
        call.result = call.error = None

    def drop_orphans(self, count: int) -> None:
        """Forget the oldest *count* orphans."""
        parts = self.session._runtime.parts  # noqa: SLF001  as above
        if parts is not None:
            parts.ordering.drop_orphans(count)

    def close(self, seconds: float | None) -> None:
        """Close the session, for *seconds* at most, and end the thread; idempotent."""
        with contextlib.suppress(SessionClosedError):  # another thread was faster
            self.call(self._close, seconds)
        self._thread.join()

    async def _close(self, seconds: float | None) -> None:
        try:
            self._collect()
            with anyio.move_on_after(seconds):
                await self.session.aclose()
        finally:
            self._collect()  # orders that have ended since: the log names them, too
            self.session._runtime.report()  # noqa: SLF001  as above
            try:
                self.session._runtime.open()  # noqa: SLF001  as above
            except SessionClosedError as error:  # its own words, with all ids
                self.ended = error
            await self._portal.stop()  # which waits for nothing


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


if hasattr(os, "register_at_fork"):  # pragma: no branch  Windows has no forks
    os.register_at_fork(after_in_child=_keep_all)


@define(eq=False)
class Portal:
    """The way from any thread into a session's loop, which is made on first use."""

    session: Session
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _loop: _Loop | None = field(init=False, default=None)

    def call(
        self,
        function: Callable[..., Awaitable[T]],
        *args: object,
        give_back: Callable[[T], None] | None = None,
        paid: str | None = None,
    ) -> T:
        """
        Await ``function(*args)`` in the session's thread, and return what it returns.

        Args:
            give_back: Takes what it returned where Ctrl-C came first; else that is
                among the session's orphans.

            paid: Id of the task that it is about, "" for several: what was ordered may
                be charged, though the session is closed.

        Raises:
            ConfigurationError: After a fork.
            SessionClosedError: The session is closed.
        """
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop = self._loop or _Loop(self.session)
        if loop.pid != os.getpid():
            msg = "this Session was opened before a fork: make one in each process"
            raise ConfigurationError(msg)
        if loop.ended is None:  # each time: Ctrl-C may have come before
            _loops.add(loop)
        return loop.call(function, *args, give_back=give_back, paid=paid)

    def close(self) -> None:
        """Close the session and end its thread; idempotent."""
        if self._loop is None:
            self.call(_nothing)  # closed unused: later calls are refused all the same
        if self._loop is not None and self._loop in _loops:
            self._loop.close(None)
            _loops.discard(self._loop)  # last: interrupted, it is closed at exit

    def collect(self) -> None:
        """Let the session keep what interrupted callers did not get."""
        if self._loop is not None:
            self._loop.collect()

    def drop_orphans(self, count: int) -> None:
        """Forget the oldest *count* orphans."""
        if self._loop is not None:
            self._loop.drop_orphans(count)

    @property
    def forgotten(self) -> bool:
        """Whether it was opened here and never closed."""
        return self._loop in _loops and self._loop.ended is None


async def _nothing() -> None:
    pass
