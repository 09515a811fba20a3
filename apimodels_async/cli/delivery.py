"""Waits for tasks, saves their pictures and prints both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from apimodels_async import DownloadError, ImageResult, TaskTimeoutError
from apimodels_async.cli.output import print_result, spinner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async import TaskHandle
    from apimodels_async.cli.context import CommandContext


async def follow(
    context: CommandContext,
    handle: TaskHandle,
    timeout: float | None = None,  # noqa: ASYNC109  an option, to be named in the error
) -> ImageResult:
    """
    Return the result of *handle*, telling its states until then.

    Raises:
        TaskTimeoutError: *timeout* seconds have passed; the task goes on.
        ApiModelsError: As awaiting a handle.
    """
    context.handles.append(handle)
    limit = asyncio.timeout(timeout)
    with spinner(context.output, f"task {handle.task_id}") as say:
        try:
            async with limit:
                await _report_states(context, handle, say)
        except TimeoutError:
            if not limit.expired():  # the session's own deadline, which says all
                raise
            msg = (
                f"task {handle.task_id} was still {handle.state.value!r} after "
                f"{timeout:g} s"
            )
            raise TaskTimeoutError(msg, task_id=handle.task_id) from None
    return await handle


async def _report_states(
    context: CommandContext, handle: TaskHandle, say: Callable[[str], None]
) -> None:
    first = True
    async for event in handle:
        say(f"task {event.task_id}: {event.state.value}")
        # The first is what submit() said, or a guess about an attached task.
        if not first:
            state = event.state.value
            context.output.record(
                "state", task_id=event.task_id, state=state, at=event.at
            )
        first = False


async def first_answer(handle: TaskHandle) -> None:
    """Return once the API has answered about *handle*."""
    async for _ in handle:  # the first one waits for the API's word
        return


async def deliver(
    context: CommandContext, result: ImageResult, target: Path | None
) -> None:
    """
    Save the pictures of *result* unless *target* is None, and say where they are.

    Raises:
        DownloadError: One could not be saved; its URL was said.
    """
    paths: list[Path] = []
    failure: DownloadError | None = None
    if target is not None:
        try:
            with spinner(context.output, "saving"):
                await _save(context, result, target, paths)
        except DownloadError as error:
            failure = error
    print_result(context.output, result, paths)
    if failure is not None:
        raise failure


async def _save(
    context: CommandContext, result: ImageResult, target: Path, paths: list[Path]
) -> None:
    first = await context.session.download(result, target)
    paths.append(first)
    # The whole result with an index, not a result of one URL: a refused address is
    # asked for anew by its place among all of them.
    for index in range(1, len(result.urls)):
        more = first.with_name(f"{first.stem}-{index + 1}{first.suffix}")
        paths.append(await context.session.download(result, more, index=index))
