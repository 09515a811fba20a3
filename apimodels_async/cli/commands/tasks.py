"""``apimodels status`` and ``wait``: tasks by their id, or their order's key."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from attrs import evolve

from apimodels_async import (
    ApiModelsError,
    InvalidRequestError,
    TaskState,
    TaskTimeoutError,
    TransportError,
)
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.delivery import (
    Delivery,
    deliver,
    first_answer,
    follow,
    target_of,
)
from apimodels_async.cli.errors import ExitCode, exit_code
from apimodels_async.cli.options import Common, Ordered, Positive
from apimodels_async.cli.output import Output, spinner
from apimodels_async.cli.store import StoredOrder, existing_store
from apimodels_async.stores import OrderState

if TYPE_CHECKING:
    from apimodels_async import ImageResult, Session, TaskHandle
    from apimodels_async.cli.context import CommandContext

POLL_ERRORS_MAX: Final = 3  # in a row; a status is asked for by somebody who waits
LOOK_S: Final = 0.05


async def status(
    task_id: str | None = None,
    *,
    ordered: Ordered = Ordered(),
    common: Common = Common(),
) -> None:
    """
    Ask once how a task is; free. Exit code 1 if it has failed.

    Args:
        task_id: As printed by "apimodels generate --no-wait".
    """
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


def _order_of(task_id: str | None, ordered: Ordered) -> StoredOrder:
    """
    Return the order that is meant; one without a key where *task_id* says it.

    Raises:
        InvalidRequestError: Both are given, or neither, or a store for nothing.
        ConfigurationError: There is no such store.
    """
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
    ends_well = handle.state is TaskState.COMPLETED  # the result names its task
    shown = None if ends_well else task_id
    context.output.facts(key=order.key, task=shown, state=state)
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
    *task_id: str,
    timeout: Positive | None = None,  # noqa: ASYNC109  an option
    delivery: Delivery = Delivery(),
    ordered: Ordered = Ordered(),
    common: Common = Common(),
) -> int:
    """
    Wait for tasks and save their pictures; free.

    Of several tasks each is saved as it ends, in a folder; one that fails stops no
    other, and the exit code is the highest.

    Args:
        task_id: As printed by "apimodels generate --no-wait"; one or more.

        timeout: Seconds, at most; the tasks go on after that (exit code 4).
    """
    output = Output(common.json, orders=False)
    target = target_of(delivery.out, no_save=delivery.no_save)
    if len(task_id) > 1 and ordered.idempotency_key is None:
        ids = list(dict.fromkeys(task_id))
        if target is not None and not target.endswith("/"):
            target += "/"  # a folder, made if it is missing
        async with command_context(open_session(common), output) as context:
            quiet = evolve(delivery, no_preview=True)
            return await _wait_for_all(context, ids, timeout, target, quiet)
    if len(task_id) > 1:
        msg = "task ids and --idempotency-key name different orders: give one"
        raise InvalidRequestError(msg, parameter="task_id")
    named = task_id[0] if task_id else None
    order = _order_of(named, ordered)
    async with command_context(open_session(common, order.store), output) as context:
        result = await wait_for_one(context, named, order, timeout)
        before = order if order.key else None
        asked = await order.request(context)  # its file is named after the prompt
        await deliver(context, result, target, before, delivery=delivery, request=asked)
    return ExitCode.OK


async def wait_for_one(
    context: CommandContext,
    task_id: str | None,
    order: StoredOrder,
    timeout: float | None,  # noqa: ASYNC109  an option, to be named in the error
) -> ImageResult:
    """
    Return the result of a task; *timeout* counts from here, whatever is waited for.

    Raises:
        TaskTimeoutError: *timeout* seconds have passed; the task goes on.
        ApiModelsError: As awaiting a handle.
    """
    handle, limit = None, asyncio.timeout(timeout)
    try:
        async with limit:
            # Another program may be sending it.
            handle = await _take_up(context, task_id, order)
            return await follow(context, handle)
    except TimeoutError:
        if not limit.expired():  # another deadline, which says all
            raise
    if handle is None:
        msg = f"the order was still being sent after {timeout:g} s"
        raise TaskTimeoutError(msg)
    state = handle.state.value
    msg = f"task {handle.task_id} was still {state!r} after {timeout:g} s"
    raise TaskTimeoutError(msg, task_id=handle.task_id)


async def _wait_for_all(
    context: CommandContext,
    task_ids: list[str],
    timeout: float | None,  # noqa: ASYNC109  of each handle's own
    target: str | None,
    delivery: Delivery,
) -> int:
    """Save the pictures of each task as it ends; return the highest exit code."""
    handles = [context.session.images.attach(each) for each in task_ids]
    context.handles.extend(handles)
    context.due.extend(handles)
    worst = ExitCode.OK
    waiting = {
        asyncio.create_task(each.result(timeout=timeout), name="apimodels-wait"): each
        for each in handles
    }
    try:
        while waiting:
            text = f"{len(handles) - len(waiting)} of {len(handles)} tasks have ended"
            with spinner(context.output, text):
                ended, _ = await asyncio.wait(
                    waiting, return_when=asyncio.FIRST_COMPLETED
                )
            for each in ended:
                handle = waiting.pop(each)
                state = handle.state.value
                context.output.record("state", task_id=handle.task_id, state=state)
                try:
                    await deliver(context, await each, target, delivery=delivery)
                except ApiModelsError as error:
                    worst = max(worst, exit_code(error))
                    context.output.error(error)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return worst
