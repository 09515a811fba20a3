"""The one deadline of ``apimodels wait``, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from support.fakes import Rig, state
from support.virtual_time import virtual_time

from apimodels_async import TaskHandle, TaskTimeoutError
from apimodels_async.cli.commands.tasks import wait_for_one
from apimodels_async.cli.context import CommandContext
from apimodels_async.cli.output import Output
from apimodels_async.cli.store import StoredOrder

anyio_backend = virtual_time


@pytest.mark.parametrize(("sending_s", "words"), [(7, "task t1 was still"), (20, "")])
async def test_waiting_for_the_order_and_for_its_task_is_one_wait(sending_s, words):
    """Whenever another program had sent it, the time given is all that passes."""
    async with Rig(lambda call: state(call.task_id, "pending")) as rig:

        async def follow(_key, *, manual_ack):
            await asyncio.sleep(sending_s)
            return TaskHandle(rig.watch("t1"), rig.tracker)

        session = SimpleNamespace(images=SimpleNamespace(follow=follow))
        context = CommandContext(session, Output())
        began = asyncio.get_running_loop().time()
        with pytest.raises(TaskTimeoutError, match=f"{words}.* after 10 s"):
            await wait_for_one(context, None, StoredOrder(None, "moose"), 10)

    assert asyncio.get_running_loop().time() - began == 10
