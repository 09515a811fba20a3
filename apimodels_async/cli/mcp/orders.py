"""
The orders of an MCP server: placed within its budget, followed, and told of once.

Rules of this file:
1. One call orders at most one generation, and never sends it twice.
2. Nothing is ordered beyond the budget; what may have been charged counts as spent.
3. A call answers within its *wait_s*: clients give up on tools that take minutes.
4. What was bought is in *due* until a call has told of it, or the command does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async import (
    ApiModelsError,
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    TaskHandle,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
    check_request,
)
from apimodels_async._text import printable
from apimodels_async.cli.delivery import first_answer
from apimodels_async.cli.mcp.payments import Payments
from apimodels_async.cli.mcp.replies import WORD_CHARS, finished_reply, pending_reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcp.server.mcpserver import Context
    from mcp.types import CallToolResult

    from apimodels_async import CheckedRequest, Session, SparkPixEdit, SparkPixImage
    from apimodels_async._core.money.budget import Budget

TICK_S: Final = 2.0
"""Between two progress notifications."""
ASK_S: Final = 15.0
"""For one status; a poll may be tried again meanwhile."""


@define(eq=False)
class Orders:
    """All that one server has ordered, or was asked about."""

    session: Session
    budget: Budget
    handles: list[TaskHandle] = field(factory=list[TaskHandle])
    """Every task that was ordered or asked about; the command accounts for them."""
    due: list[TaskHandle | ImageResult] = field(factory=list[TaskHandle | ImageResult])
    """What was bought and no call has told of yet; also accounted for."""
    inline: bool = False
    tick_s: float = TICK_S
    ask_s: float = ASK_S
    payments: Payments = field(init=False)
    _ordered: set[str] = field(init=False, factory=set[str])

    def __attrs_post_init__(self) -> None:
        self.payments = Payments(self.session, self.budget)

    async def generate(
        self,
        context: Context,
        order: Mapping[str, Any],
        key: str | None,
        wait_s: float,
    ) -> CallToolResult:
        """
        Order a picture; return it, or its task if it is not there after *wait_s*.

        Raises:
            ApiModelsError: As ``images.generate``, or it is beyond the budget.
        """
        checked = check_request(order)
        if isinstance(checked.request, ImageRequest):
            handle = await self._submit(checked, checked.request, key)
            with self._telling(handle):
                return await self._follow(context, handle, wait_s)
        async with self.payments.paying(checked, key) as payment:
            result = await self._with_progress(context, checked.request, key)
        if await self.payments.bought(payment):
            self.budget.settle(payment.price, result)
        with self._telling(result):
            return await finished_reply(result, self.session, inline=self.inline)

    async def submit(self, order: Mapping[str, Any], key: str | None) -> CallToolResult:
        """
        Order a picture and return its task.

        Raises:
            ApiModelsError: As ``images.submit``, or it is beyond the budget.
        """
        checked = check_request(order)
        if not isinstance(checked.request, ImageRequest):
            msg = f"{checked.model} is answered at once and has no task: call generate"
            raise InvalidRequestError(msg, parameter="model")
        handle = await self._submit(checked, checked.request, key)
        with self._telling(handle):
            return await self._current_reply(handle)

    async def status(self, task_id: str) -> CallToolResult:
        """
        Return the state of a task, or its picture.

        Raises:
            ApiModelsError: It has failed, or nobody knows it, or nobody answers.
        """
        with self._asking(task_id) as handle:
            try:
                async with asyncio.timeout(self.ask_s):
                    await first_answer(handle)
            except TimeoutError:
                msg = f"no readable answer in {self.ask_s:g} s"
                error = TransportError(msg, task_id=task_id)
                error.charged = None  # the question is free; the task is another matter
                raise error from None
            return await self._current_reply(handle)

    async def wait(
        self, context: Context, task_id: str, wait_s: float
    ) -> CallToolResult:
        """
        Return the picture of a task, or its state if it has none after *wait_s*.

        Raises:
            ApiModelsError: As awaiting a handle.
        """
        with self._asking(task_id) as handle:
            return await self._follow(context, handle, wait_s)

    async def _submit(
        self, checked: CheckedRequest, request: ImageRequest, key: str | None
    ) -> TaskHandle:
        async with self.payments.paying(checked, key) as payment:
            handle = await self.session.images.submit(request, idempotency_key=key)
            self.handles.append(handle)
            self.due.append(handle)
            self._ordered.add(handle.task_id)
        if await self.payments.bought(payment):
            self.payments.open.append((handle, payment.price))
        return handle

    @contextlib.contextmanager
    def _telling(self, bought: TaskHandle | ImageResult) -> Iterator[None]:
        """Tell of *bought* in the body; a cancelled call has told nobody."""
        try:
            yield
        except ApiModelsError:  # names the task
            self._told(bought)
            raise
        self._told(bought)

    def _told(self, bought: TaskHandle | ImageResult) -> None:
        # In place: the command holds this list. Another call may have told of it.
        self.due[:] = [each for each in self.due if each is not bought]

    @contextlib.contextmanager
    def _asking(self, task_id: str) -> Iterator[TaskHandle]:
        """Find a task for the body; one that the API does not know is forgotten."""
        handle = self._find(task_id)
        try:
            yield handle
        except TaskNotFoundError:
            if task_id not in self._ordered:
                self.handles[:] = [each for each in self.handles if each is not handle]
            raise
        self.due[:] = [each for each in self.due if each.task_id != task_id]

    def _find(self, task_id: str) -> TaskHandle:
        for handle in self.handles:
            # One whose deadline passed has ended for us; its task may not have.
            lives = handle.state.finished or not handle.done
            if handle.task_id == task_id and lives:
                return handle
        handle = self.session.images.attach(task_id)
        self.handles.append(handle)
        return handle

    async def _follow(
        self, context: Context, handle: TaskHandle, wait_s: float
    ) -> CallToolResult:
        started = time.monotonic()
        while not handle.done:
            waited = time.monotonic() - started
            if waited >= wait_s:
                return pending_reply(handle, wait_s)
            state = printable(handle.state.value, WORD_CHARS)
            words = f"task {handle.task_id}: {state}"
            await context.report_progress(waited, wait_s, words)
            with contextlib.suppress(TaskTimeoutError):
                await handle.result(timeout=min(self.tick_s, wait_s - waited))
        return await self._current_reply(handle)

    async def _with_progress(
        self, context: Context, request: SparkPixImage | SparkPixEdit, key: str | None
    ) -> ImageResult:
        async def generate() -> ImageResult:
            result = await self.session.images.generate(request, idempotency_key=key)
            self.due.append(result)  # in this step: the call may be cancelled in it
            return result

        # Some clients give a tool more time as long as they hear from it.
        started = time.monotonic()
        order = asyncio.create_task(generate(), name="apimodels-mcp-order")
        try:
            while not (await asyncio.wait([order], timeout=self.tick_s))[0]:
                waited = time.monotonic() - started
                await context.report_progress(waited, None, "generating")
            return await order
        finally:
            order.cancel()  # this call was: the session finishes what it has sent
            await asyncio.gather(order, return_exceptions=True)

    async def _current_reply(self, handle: TaskHandle) -> CallToolResult:
        if not handle.done:
            return pending_reply(handle)
        return await finished_reply(await handle, self.session, inline=self.inline)
