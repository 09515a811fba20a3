"""Waits for tasks, saves their pictures and prints both."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import frozen
from cyclopts import Parameter

from apimodels_async import DownloadError, ImageResult, InvalidRequestError
from apimodels_async.cli.destinations import read_out
from apimodels_async.cli.options import DELIVERY, Flag, Out
from apimodels_async.cli.output import print_result, spinner

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async import TaskHandle
    from apimodels_async.cli.context import CommandContext
    from apimodels_async.cli.output import Output
    from apimodels_async.cli.store import StoredOrder
    from apimodels_async.models import AnyRequest, SavedAt


@Parameter(name="*", group=DELIVERY)
@frozen(kw_only=True)
class Delivery:
    """Where pictures go."""

    out: Out = None
    """File, or a folder: one that is there, or whose name ends in a separator; else the
    current one, and the file is named after the prompt, or the task where only that is
    known. Without a suffix it gets that of its content. Or an address in object
    storage: s3://bucket/prefix/ (gs, az, file)."""

    no_save: Flag = False
    """Print the URL only; the API keeps the picture for 7 days."""

    overwrite: Flag = False
    """Take the place of a file of that name; else the new one gets a number."""

    sidecar: Flag = False
    """Write prompt, model, seed and task id beside each picture, as JSON."""

    embed: Flag = False
    """Write the same into the picture."""

    open: Flag = False
    """Show the picture in the system's own viewer."""

    no_preview: Flag = False
    """Draw no small picture on the terminal."""


async def follow(context: CommandContext, handle: TaskHandle) -> ImageResult:
    """
    Return the result of *handle*, telling its states until then.

    Raises:
        ApiModelsError: As awaiting a handle.
    """
    context.handles.append(handle)
    context.due.append(handle)
    with spinner(context.output, f"task {handle.task_id}") as say:
        await _report_states(context, handle, say)
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


def target_of(out: str | None, *, no_save: bool) -> str | None:
    """
    Return where pictures go by --out and --no-save; None: nowhere.

    Raises:
        ConfigurationError: It is object storage, and the extra for it is missing.
        InvalidRequestError: Both are given, or *out* cannot be used.
    """
    if not no_save:
        target = out or os.curdir
        read_out(target)  # now, as nothing is paid for yet
        return target
    if out is None:
        return None
    msg = "--no-save and --out contradict each other: leave out one"
    raise InvalidRequestError(msg, parameter="out")


async def deliver(
    context: CommandContext,
    result: ImageResult,
    target: str | None,
    order: StoredOrder | None = None,
    *,
    delivery: Delivery = Delivery(),
    request: AnyRequest | None = None,
) -> None:
    """
    Save the pictures of *result* unless *target* is None, and say where they are.

    One that cannot be saved stops no other.

    Args:
        order: What bought it, if this command did or would have.

        delivery: How it is saved and shown.

        request: What it was ordered with; its file is named after the prompt.

    Raises:
        DownloadError: One could not be saved; its URL was said.
    """
    others = [each for each in context.due if (each.task_id or None) != result.task_id]
    context.due[:] = [*others, result]
    paths: list[SavedAt] = []
    failure: DownloadError | None = None
    if target is not None:
        try:
            with spinner(context.output, "saving"):
                paths = await context.session.download_all(
                    result,
                    target,
                    overwrite=delivery.overwrite,
                    sidecar=delivery.sidecar,
                    embed=delivery.embed,
                    request=request,
                )
        except DownloadError as error:
            paths = [*error.saved]
            failure = error
    before = None if order is None else order.ordered_before(context)
    print_result(context.output, result, paths, ordered_before=before)
    context.due[:] = others  # Ctrl-C from here on does not tell of it again
    if order is not None:
        await order.delivered(context, paths, whole=failure is None)
    await _show(context.output, result, paths, delivery)
    if failure is not None:
        raise failure


async def _show(
    output: Output, result: ImageResult, paths: list[SavedAt], delivery: Delivery
) -> None:
    drawn = paths and not delivery.no_preview and output.interactive
    if not (drawn or delivery.open):
        return
    from apimodels_async.cli.terminal import viewing  # which loads Pillow

    if drawn and viewing.can_preview(output):
        await viewing.preview(output, paths[0])
    if delivery.open:
        await viewing.open_viewer(output, result, paths)
