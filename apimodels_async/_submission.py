"""
From a request value to what it buys: a task that is tracked, or the picture itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apimodels_async._api import requests
from apimodels_async._core.money.retry import SecondClaimError
from apimodels_async._core.polling.entry import Entry
from apimodels_async.errors import SessionClosedError
from apimodels_async.handle import TaskHandle
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from apimodels_async._callbacks import Intent
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._ports import Reply
    from apimodels_async._wiring import Wiring
    from apimodels_async.errors import OutcomeUnknownError
    from apimodels_async.models import (
        ImageRequest,
        SparkPixEdit,
        SparkPixImage,
        TaskSnapshot,
    )

    AnyRequest = SparkPixImage | SparkPixEdit | ImageRequest


def intend(wiring: Wiring, request: AnyRequest) -> Intent | None:
    """
    Return the intent of the order to come; None where no callback will tell of it.
    """
    try:
        callbacks = wiring.open().callbacks
    except SessionClosedError:  # which the order is told
        return None
    if callbacks is None or requests.callback_of(request) is not None:
        return None
    return callbacks.intend(requests.model_of(request))


async def order(
    wiring: Wiring, request: AnyRequest, intent: Intent | None = None
) -> TaskHandle | ImageResult:
    """
    Send *request* once; return what the API's answer brings, or else its callback.

    Raises:
        ApiModelsError: As ``images.generate``, short of waiting for a task.
    """
    wire = requests.encode(request)
    model, group = requests.model_of(request), requests.group_of(request)
    parts = wiring.open()
    callbacks, tracker = parts.callbacks, parts.tracker
    from apimodels_async._api.responses import read_created  # cattrs, on first use

    intent = intent or intend(wiring, request)
    if callbacks is not None and intent is not None:
        address = callbacks.callback.address(intent.nonce)
        wire = requests.encode(requests.call_back(request, address))
        wire = attrs.evolve(wire, nonce=intent.nonce)

    def take(reply: Reply) -> TaskHandle | ImageResult:
        # Runs in the order's own task: a cancelled caller loses nothing of it.
        created = read_created(reply, model)
        entry = None
        if isinstance(created, ImageResult):
            product: TaskHandle | ImageResult = created
            wiring.spent += created.credits or 0
        else:
            _check_new(wiring, created.task_id, reply.status, tracker)
            entry = _adopt(
                created, model, group, tracker, expects_callback=intent is not None
            )
            product = TaskHandle(entry, tracker)
        if callbacks is not None and intent is not None:
            callbacks.answered(intent, entry)
        wiring.submitted += 1
        return product

    async def rescue(error: OutcomeUnknownError) -> TaskHandle | None:
        if callbacks is None or intent is None:
            return None
        entry = await callbacks.rescue(intent, error.task_id)
        return None if entry is None else found(wiring, tracker, entry)

    return await parts.sender.order(wire, take, rescue)


def recall(wiring: Wiring, request: AnyRequest, nonce: str) -> Intent | None:
    """
    Return the intent of an order that an earlier run sent; None without callbacks.
    """
    callbacks = wiring.open().callbacks
    if callbacks is None:
        return None
    return callbacks.intend(requests.model_of(request), nonce)


async def find(wiring: Wiring, intent: Intent) -> TaskHandle | None:
    """
    Wait for the callback of an order that an earlier run sent, and return its task.
    """
    parts = wiring.open()
    callbacks = parts.callbacks
    entry = None if callbacks is None else await callbacks.rescue(intent, None)
    return None if entry is None else found(wiring, parts.tracker, entry)


def found(wiring: Wiring, tracker: Tracker, entry: Entry) -> TaskHandle:
    """
    Return the handle of a task that only its callback told of.
    """
    wiring.submitted += 1
    return TaskHandle(entry, tracker)


def _check_new(wiring: Wiring, task_id: str, status: int, tracker: Tracker) -> None:
    # One connection's answers can shift by one; two orders never share a task, not
    # even one that has ended since.
    if task_id in wiring.named or tracker.ledger.get(task_id) is not None:
        msg = f"the API named task {task_id} for a second order"
        raise SecondClaimError(msg, status=status)
    wiring.named.add(task_id)


def _adopt(
    created: TaskSnapshot,
    model: str,
    group: str,
    tracker: Tracker,
    *,
    expects_callback: bool,
) -> Entry:
    entry = Entry(
        created.task_id,
        model,
        created.state,
        group=group,
        expects_callback=expects_callback,
    )
    entry.outcome = created.result or created.error
    if not entry.done:
        try:
            tracker.watch(entry)
        except SessionClosedError as error:  # the tracker broke since: keep the id
            entry.outcome = error
    return entry
