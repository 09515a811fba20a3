"""``apimodels status`` and ``wait``: tasks by their id, or their order's key."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from apimodels_async import (
    ApiModelsError,
    InvalidRequestError,
    TaskTimeoutError,
    TransportError,
)
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.delivery import deliver, first_answer, follow, target_of
from apimodels_async.cli.options import Common, Flag, Ordered, Out, Positive
from apimodels_async.cli.output import Output, spinner
from apimodels_async.cli.store import StoredOrder, existing_store
from apimodels_async.stores import OrderState

if TYPE_CHECKING:
    from apimodels_async import Session, TaskHandle
    from apimodels_async.cli.context import CommandContext

POLL_ERRORS_MAX: Final = 3  # in a row; a status is asked for by somebody who waits
LOOK_S: Final = 0.05


async def status(
    task_id: str | None = None,
    *,
    ordered: Ordered | None = None,
    common: Common | None = None,
) -> None:
    """
    Ask once how a task is; free. Exit code 1 if it has failed.

    Args:
        task_id: As printed by "apimodels generate --no-wait".
    """
    common = common or Common()
    output, order = Output(common.json), _order_of(task_id, ordered)
    async with command_context(open_session(common, order.store), output) as context:
        if order.key is not None:
            known = await context.session.find(order.key)
            if known and known.state is OrderState.INTENDED and known.owned:
                output.facts(key=order.key, state="intended")
                _record_state(context, order, None, "intended")
                output.note("Another program is sending it now.")
                return
        handle = await _take_up(context, task_id, order)
        with spinner(output, f"task {handle.task_id}"):
            if not handle.done:
                await answered(context.session, handle)
        await _print_status(context, handle, order)


def _order_of(task_id: str | None, ordered: Ordered | None) -> StoredOrder:
    """
    Return the order that is meant; one without a key where *task_id* says it.

    Raises:
        InvalidRequestError: Both are given, or neither, or a store for nothing.
        ConfigurationError: There is no such store.
    """
    ordered = ordered or Ordered()
    key = ordered.idempotency_key
    if (task_id is None) == (key is None):
        msg = "name one task: by its id, or with --idempotency-key by its order"
        raise InvalidRequestError(msg, parameter="task_id")
    if key is not None:
        return StoredOrder(existing_store(ordered.store), key)
    if ordered.store is not None:
        msg = "--store goes with --idempotency-key: the API knows a task by its id"
        raise InvalidRequestError(msg, parameter="store")
    return StoredOrder(None, None)


async def _take_up(
    context: CommandContext, task_id: str | None, order: StoredOrder
) -> TaskHandle:
    images = context.session.images
    if task_id is not None:
        return images.attach(task_id)
    return await images.follow(order.key or "", manual_ack=True)


async def _print_status(
    context: CommandContext, handle: TaskHandle, order: StoredOrder
) -> None:
    state, task_id = handle.state.value, handle.task_id or None
    context.output.facts(key=order.key, task=task_id, state=state)
    _record_state(context, order, task_id, state)
    if handle.done:
        await deliver(context, await handle, None)


def _record_state(
    context: CommandContext, order: StoredOrder, task_id: str | None, state: str
) -> None:
    named = {} if order.key is None else {"idempotency_key": order.key}
    context.output.record("state", task_id=task_id, state=state, **named)


async def answered(session: Session, handle: TaskHandle) -> None:
    """
    Return once the API has answered about *handle*, the session's only task.

    Raises:
        TransportError: It gave no readable answer, several times in a row.
        ApiModelsError: As iterating over a handle.
    """
    first = asyncio.create_task(first_answer(handle), name="apimodels-status")
    try:
        while not first.done():
            if session.stats().poll_errors >= POLL_ERRORS_MAX:
                msg = f"no readable answer in {POLL_ERRORS_MAX} tries"
                error = TransportError(msg, task_id=handle.task_id)
                error.charged = None  # the question is free; the task is another matter
                raise error
            await asyncio.wait([first], timeout=LOOK_S)
        await first
    finally:
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError, ApiModelsError):
            await first


async def wait(
    task_id: str | None = None,
    *,
    out: Out = None,
    no_save: Flag = False,
    timeout: Positive | None = None,  # noqa: ASYNC109  an option
    ordered: Ordered | None = None,
    common: Common | None = None,
) -> None:
    """
    Wait for a task and save its picture; free.

    Args:
        task_id: As printed by "apimodels generate --no-wait".

        out: File, or a folder: one that is there, or whose name ends in a separator;
            else the current one. Without a suffix the file gets that of its content. Or
            an address in object storage: s3://bucket/prefix/ (gs, az, file).

        no_save: Print the URL only.

        timeout: Seconds, at most; the task goes on after that (exit code 4).
    """
    common = common or Common()
    output, target = Output(common.json), target_of(out, no_save=no_save)
    order = _order_of(task_id, ordered)
    async with command_context(open_session(common, order.store), output) as context:
        try:
            async with asyncio.timeout(timeout):  # another program may be sending it
                handle = await _take_up(context, task_id, order)
        except TimeoutError:
            msg = f"the order was still being sent after {timeout:g} s"
            raise TaskTimeoutError(msg) from None
        result = await follow(context, handle, timeout)
        await deliver(context, result, target, order if order.key else None)
