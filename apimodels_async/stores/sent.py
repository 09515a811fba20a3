"""
One session's orders in a store: claimed before they are sent, and followed to the end.

Rules of this file:
1. No record, no order. What cannot be recorded afterwards is logged with its task id,
   and the paid result is handed over all the same.
2. What was written is awaited only where somebody would be lied to without it: before
   sending, and before a handle or a picture is given out. The rest is written by tasks
   of ours, which closing waits for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from apimodels_async._api.checks import check_key
from apimodels_async._core.money.digests import addresses_in, digest_of
from apimodels_async._io.shielded import outcome_of
from apimodels_async.errors import ApiModelsError, JournalError, SessionClosedError
from apimodels_async.stores.store import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._ports import Clock, Request
    from apimodels_async.stores._lease import Lease
    from apimodels_async.stores.store import OrderStore

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("apimodels_async.stores")


@define(eq=False, repr=False)
class SentOrders:
    """What one session has in a store."""

    store: OrderStore
    scope: str
    clock: Clock
    lease: Lease
    owner: str = field(init=False, factory=lambda: uuid.uuid4().hex)
    _opening: asyncio.Lock = field(init=False, factory=asyncio.Lock)
    _opened: bool = field(init=False, default=False)
    _tries: int = field(init=False, default=0)
    """To open it."""
    _not_opened: JournalError | None = field(init=False, default=None)
    """Why the last one failed."""
    closed: bool = field(init=False, default=False)
    after: set[asyncio.Task[None]] = field(init=False, factory=set)
    """What is to end before this is opened: they close what was there before it."""
    leaving: asyncio.Task[None] | None = field(init=False, default=None)
    """Closes it, since it was left."""
    _renewing: asyncio.Task[None] | None = field(init=False, default=None)
    _writes: set[asyncio.Task[Any]] = field(init=False, factory=set)
    _under_way: set[asyncio.Task[Any]] = field(init=False, factory=set)
    """They carry out orders, and write down how these end."""
    _unwritten: list[Callable[[], Awaitable[None]]] = field(init=False, factory=list)
    """What the store did not take, oldest first; tried again with each renewal."""
    _handed_over: list[int] = field(init=False, factory=list)
    """Attempts whose ends callers have, which is being written or is to be."""
    _left: list[asyncio.Task[OrderRecord | None]] = field(init=False, factory=list)
    """Recoveries whose callers were cancelled."""
    contents: dict[str, str] = field(init=False, factory=dict)
    """Address of an upload -> digest of what it holds."""

    async def open(self) -> None:
        """
        Open the store, once.

        Raises:
            JournalError: It cannot be used.
        """
        if self._opened:
            return
        tries = self._tries
        async with self._opening:
            # A server that is away is waited for: not by one caller after the other.
            if self._tries != tries and self._not_opened is not None:
                raise self._not_opened.fresh()
            self._tries, self._not_opened = self._tries + 1, None
            try:
                await self._open()
            except JournalError as error:
                self._not_opened = error
                raise

    async def _open(self) -> None:
        if self.closed:
            msg = "the session is closed; open a new one"
            raise SessionClosedError(msg, charged=False)
        if self._opened:  # by another caller, meanwhile
            return
        await ask(self.store.open)
        self._opened = True
        # Its first renewal is the first order's, or the first recovery's.
        if self.lease.seconds < math.inf:
            self._renewing = asyncio.get_running_loop().create_task(
                self._renew_now_and_then(), name="apimodels-lease"
            )

    async def _renew_now_and_then(self) -> None:
        while True:
            await self.clock.sleep(self.lease.seconds / 4)
            # Closing cuts the sleep alone: a write cut in the middle would be lost.
            await outcome_of(self.write(self._renew()))

    async def _renew(self) -> None:
        began = self.lease.times()
        try:
            await ask(self.store.renew, self.owner)
        except JournalError as error:
            logger.warning("the lease on orders was not renewed: %r", error)
        else:
            self.lease.renewed(began)
        await self._write_again()

    async def _write_again(self) -> None:
        async def write_again(write: Callable[[], Awaitable[None]]) -> None:
            await self.keep(write, "still not in the store (%r)")
            # Not before: closing can cancel this, and then writes what is left. One
            # that failed is in the list twice, and stays at its end.
            self._unwritten.remove(write)

        # At once: a server that is away is waited for, and not once for each.
        await asyncio.gather(*map(write_again, tuple(self._unwritten)))

    async def keep(
        self, write: Callable[[], Awaitable[None]], trouble: str, *facts: object
    ) -> ApiModelsError | None:
        """
        Carry out *write*, and keep it for later if the store does not take it.

        Args:
            trouble: What the log is told then, with *facts* and the error in it.

        Returns:
            Why the store did not take it.
        """
        # The money is spent: a full disk must not hide what was bought for it.
        try:
            await write()
        except ApiModelsError as error:
            logger.error(trouble, *facts, error)  # noqa: TRY400
            self._unwritten.append(write)
            return error
        return None

    def handed_over(self, attempt: int) -> None:
        """Write down that its end reached a caller, without being waited for."""
        self._handed_over.append(attempt)
        if len(self._handed_over) == 1:
            self.write(self._write_handed_over())

    async def _write_handed_over(self) -> None:
        # All that came while the last ones were written go in one call.
        while some := tuple(self._handed_over):
            write = partial(self.store.handed_over, *some)
            await self.keep(
                partial(ask, write), "not in the store: attempts %s had (%r)", some
            )
            del self._handed_over[: len(some)]

    async def uploaded(self, address: str, data: bytes) -> None:
        """Let the file at *address* count by what it holds."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        self.contents[address] = digest

        async def write() -> None:
            await self.open()
            await ask(self.store.uploaded, self.scope, address, digest)

        trouble = "not in the store: what was uploaded to %s (%r)"
        await outcome_of(self.write(self.keep(write, trouble, address)))

    async def digest_of(self, encoded: Request) -> str:
        """
        Return the digest of what is ordered by *encoded*.

        Raises:
            JournalError: The store cannot be used.
        """
        body = json.loads(encoded.body or b"{}")
        unknown = addresses_in(body) - self.contents.keys()
        if unknown:  # another process may have uploaded it
            await self.open()
            asking = ask(self.store.contents, self.scope, sorted(unknown))
            known = await outcome_of(self.write(asking))
            self.contents.update(known)
        return digest_of(encoded.path, body, self.contents)

    async def find(self, idempotency_key: str) -> OrderRecord | None:
        """Return what the store knows of a key."""
        await self.open()
        return await ask(self.store.find, self.scope, check_key(idempotency_key))

    async def forget(self, idempotency_key: str) -> bool:
        """Let a key name nothing; return whether it named an order."""
        await self.open()
        return await ask(self.store.forget, self.scope, check_key(idempotency_key))

    async def ack(self, idempotency_key: str) -> bool:
        """Let nobody recover what a key names; return whether it names an order."""
        record = await self.find(idempotency_key)
        if record is not None:
            await ask(self.store.handed_over, record.attempt)
        return record is not None

    async def recover(self) -> OrderRecord | None:
        """Take over the oldest order that a dead owner left."""
        while True:
            late = bool(self._left)
            recovering = self._left.pop(0) if late else self.write(self._recover())
            try:
                found = await outcome_of(recovering)
            except asyncio.CancelledError:
                self._left.append(recovering)  # ours by now: the next caller gets it
                raise
            if found is not None or not late:
                return found

    async def _recover(self) -> OrderRecord | None:
        began = self.lease.times()
        record = await ask(self.store.recover, self.scope, self.owner)
        self.lease.renewed(began)
        return record

    def write(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Carry out *step* in a task of ours: whoever waits for it may be cancelled."""
        task = asyncio.get_running_loop().create_task(step, name="apimodels-record")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    def hold_open(self, runner: asyncio.Task[Any]) -> None:
        """Let the store not be closed before *runner*, which orders, has ended."""
        self._under_way.add(runner)
        runner.add_done_callback(self._under_way.discard)

    @property
    def under_way(self) -> bool:
        """Whether an order is."""
        return bool(self._under_way)

    def leave(self, first: asyncio.Task[None] | None = None) -> asyncio.Task[None]:
        """
        Close it after *first*, in a task of its own: whoever leaves may be cancelled.
        """

        async def leave() -> None:
            if first is not None:
                await asyncio.wait([first])
            await self.aclose()

        self.leaving = asyncio.get_running_loop().create_task(
            leave(), name="apimodels-batch-closing"
        )
        return self.leaving

    async def aclose(self) -> None:
        """
        Finish what is under way or being written, and let the store go; raises nothing.
        """
        async with self._opening:
            self.closed = True
        if not self._opened:
            return
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        while pending := self._writes | self._under_way:
            await asyncio.wait(pending)
        await self._write_again()
        if not self._let_go():  # hung up meanwhile
            return
        try:
            await ask(self.store.release, self.owner)
        except JournalError as error:
            logger.warning("the end of this session is not in the store: %r", error)
        try:
            await ask(self.store.aclose)
        except JournalError as error:
            logger.warning("the store was not closed: %r", error)

    def _let_go(self) -> bool:
        """Return whether the store was open; from now on it is not."""
        opened, self._opened = self._opened, False
        return opened

    def hang_up(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what is to be begun, without being waited for, as the loop ends."""
        self.closed = True
        if not self._let_go():
            return ()
        return ask(self.store.release, self.owner), ask(self.store.aclose)
