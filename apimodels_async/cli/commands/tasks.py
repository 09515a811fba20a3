"""``apimodels status`` and ``apimodels wait``: tasks by their id."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from apimodels_async import ApiModelsError, TransportError
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.delivery import deliver, first_answer, follow, target_of
from apimodels_async.cli.options import Common, Flag, Positive
from apimodels_async.cli.output import Output, spinner

if TYPE_CHECKING:
    from apimodels_async import Session, TaskHandle
    from apimodels_async.cli.context import CommandContext

POLL_ERRORS_MAX: Final = 3  # in a row; a status is asked for by somebody who waits
LOOK_S: Final = 0.05


async def status(task_id: str, *, common: Common | None = None) -> None:
    """
    Ask once how a task is; free. Exit code 1 if it has failed.

    Args:
        task_id: As printed by "apimodels generate --no-wait".
    """
    common = common or Common()
    output = Output(common.json)
    async with command_context(open_session(common), output) as context:
        handle = context.session.images.attach(task_id)
        with spinner(output, f"task {handle.task_id}"):
            await answered(context.session, handle)
        await _print_status(context, handle)


async def _print_status(context: CommandContext, handle: TaskHandle) -> None:
    state = handle.state.value
    context.output.facts(task=handle.task_id, state=state)
    context.output.record("state", task_id=handle.task_id, state=state)
    if handle.done:
        await deliver(context, await handle, None)


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
    task_id: str,
    *,
    out: str | None = None,
    no_save: Flag = False,
    timeout: Positive | None = None,  # noqa: ASYNC109  an option
    common: Common | None = None,
) -> None:
    """
    Wait for a task and save its picture; free.

    Args:
        task_id: As printed by "apimodels generate --no-wait".

        out: File, or a folder: one that is there, or whose name ends in a separator;
            else the current one. Without a suffix the file gets that of its content.

        no_save: Print the URL only.

        timeout: Seconds, at most; the task goes on after that (exit code 4).
    """
    common = common or Common()
    output, target = Output(common.json), target_of(out, no_save=no_save)
    async with command_context(open_session(common), output) as context:
        handle = context.session.images.attach(task_id)
        result = await follow(context, handle, timeout)
        await deliver(context, result, target)
