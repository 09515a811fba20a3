"""What users do with a session: they order, wait, lose patience, leave, and close."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from sim.batches import request_for, run_batch
from sim.keyed.ask import ASK
from sim.keyed.keys import key_of
from sim.keyed.users import recover
from sim.outside.network import PICTURE

from apimodels_async import TaskHandle
from apimodels_async.errors import (
    ApiModelsError,
    OutcomeUnknownError,
    TaskTimeoutError,
)

PATIENCE_S = 6.0
CALL_S = 2000.0
"""Two orders at most: tries, the waits between them, the deadline of a task."""
PATIENT = 60
"""Times a user waits for so long."""
RETRY_S = 7.0
"""Until a key is ordered again after an error."""
FOLDER = "/pictures"


async def act(life, actor, orders, leave):
    """Do what the plan says that *actor* does, and raise nothing."""
    audit, since = life.audit, life.loop.time()
    try:
        if leave is not None and leave.how == "timeout":
            async with asyncio.timeout(leave.amount):
                await _KINDS[actor.kind](life, actor, orders, leave)
        else:
            await _KINDS[actor.kind](life, actor, orders, leave)
    except ApiModelsError as error:
        audit.read(error, life)
    except (asyncio.CancelledError, TimeoutError) as error:
        if isinstance(error, TimeoutError):
            life.site.weather.struck["cancel by timeout"] += 1
        if leave is None or leave.how == "break":
            audit.broke("typed_errors", f"{actor.kind} was told {error!r}, unasked")
    except BaseException as error:
        audit.read(error, life)
        raise
    audit.note("ends", f"actor {actor.number}")
    patience = CALL_S * (1 + actor.retries)
    if actor.kind not in {"batch", "recover"} and life.loop.time() - since > patience:
        took = life.loop.time() - since
        audit.broke("nobody_waits_for_ever", f"actor {actor.number} took {took:.0f} s")


async def _ask(life, actor, order, call):
    """Order something, and hold what comes against what happened."""
    audit, key = life.audit, key_of(order) if order.keyed else None
    ask = audit.asks(order.number, life, key=key, twist=actor.twist)
    request = request_for(order, twist=actor.twist)
    mine = ASK.set(ask)
    try:
        product = await call(request, idempotency_key=key)
    except ApiModelsError as error:
        audit.tell(order.number, error, life, ask)
        raise
    except BaseException:
        audit.gone(order.number, ask)
        raise
    finally:
        ASK.reset(mine)
    audit.tell(order.number, product, life, ask)
    return product


async def _ask_again(life, actor, order, call):
    for _ in range(actor.retries if order.keyed else 0):
        try:
            return await _ask(life, actor, order, call)
        except OutcomeUnknownError:
            break
        except ApiModelsError:
            await asyncio.sleep(RETRY_S * (1 + actor.number % 3))
    try:
        return await _ask(life, actor, order, call)
    except OutcomeUnknownError:
        if not actor.again:
            raise
    if order.keyed:
        await life.session.forget(key_of(order))
    else:
        life.audit.cases[order.number].allowed += 1
    return await _ask(life, actor, order, call)


async def _generate(life, actor, orders, _leave):
    (order,) = orders
    images = life.session.images
    call = images.edit if order.model.endswith("edit") else images.generate
    result = await _ask_again(life, actor, order, call)
    if actor.download:
        await _download(life, result)


async def _download(life, result):
    path = await life.session.download(result, FOLDER)
    if life.disk.files.get(path) != PICTURE:
        life.audit.broke("file_whole", f"{path} is not the picture")


async def _submit(life, actor, orders, _leave):
    (order,) = orders
    handle = await _ask_again(life, actor, order, life.session.images.submit)
    await _use(life, actor, handle, order.number)


async def _attach(life, actor, _orders, _leave):
    known = list(life.vendor.tasks)
    chance = Random(actor.number)
    if known and chance.random() < 0.8:
        task_id = known[int(chance.random() * len(known))]
    else:
        task_id = f"nowhere-{actor.number}"
    handle = life.session.images.attach(task_id)
    purchase = life.vendor.tasks.get(task_id)
    number = None if purchase is None else purchase.order.number
    await _use(life, actor, handle, number)


async def _use(life, actor, handle, number):
    """Find out how a task ends, in the user's manner."""
    try:
        result = await _MANNERS[actor.manner](life, handle)
    except ApiModelsError as error:
        life.audit.later(number, handle.task_id, error, life)
        if isinstance(error, TaskTimeoutError) and actor.number % 3 == 0:
            await _take_up(life, error.task_id, number)
        return
    if result is not None:
        life.audit.later(number, handle.task_id, result, life)


async def _take_up(life, task_id, number):
    """Attach a task whose deadline has passed, at once."""
    try:
        result = await life.session.images.attach(task_id)
    except ApiModelsError as error:
        life.audit.later(number, task_id, error, life)
    else:
        life.audit.later(number, task_id, result, life)


async def _wait(_life, handle):
    return await handle


async def _watch(life, handle):
    states = [event.state async for event in handle]
    if not states or len(set(states)) != len(states) or not states[-1].finished:
        life.audit.broke("events_in_order", f"{handle.task_id}: {states}")
    return await handle


async def _pair(life, handle):
    async def wait():
        result = await handle.result()
        life.audit.keys.has(result)
        return result

    task = life.loop.create_task(wait(), name="user")
    try:
        with contextlib.suppress(ApiModelsError):
            await handle
        return await task
    finally:
        task.cancel()


async def _lose_patience(_life, handle):
    for _ in range(PATIENT):
        with contextlib.suppress(TaskTimeoutError):
            return await handle.result(timeout=PATIENCE_S)
    return None


async def _forget(_life, _handle):
    return None


async def _from_token(life, handle):
    if not handle.task_id:
        return await handle
    again = life.session.images.attach(handle.to_token())
    if not isinstance(again, TaskHandle) or again.task_id != handle.task_id:
        life.audit.broke("own_result", f"{handle.task_id} became {again!r}")
    return await again


_MANNERS = {
    "await": _wait,
    "events": _watch,
    "pair": _pair,
    "patience": _lose_patience,
    "forget": _forget,
    "token": _from_token,
}
_KINDS = {
    "generate": _generate,
    "submit": _submit,
    "attach": _attach,
    "batch": run_batch,
    "recover": recover,
}
