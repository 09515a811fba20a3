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


@pytest.mark.parametrize(
    ("sending_s", "session_s", "ends_s", "words"),
    [
        (7, 1800, 10, "task t1 was still 'pending' after 10 s"),
        (20, 1800, 10, "the order was still being sent after 10 s"),
        (1, 5, 6, "after 5 s"),
    ],
)
async def test_waiting_for_the_order_and_for_its_task_is_one_wait(
    sending_s, session_s, ends_s, words
):
    """Whenever another program had sent it, ten seconds are all; or the session's."""

    def script(call):
        return state(call.task_id, "pending")

    async with Rig(script, deadline=session_s) as rig:

        async def follow(_key, *, manual_ack):
            await asyncio.sleep(sending_s)
            return TaskHandle(rig.watch("t1"), rig.tracker)

        session = SimpleNamespace(images=SimpleNamespace(follow=follow))
        context = CommandContext(session, Output())
        began = asyncio.get_running_loop().time()
        with pytest.raises(TaskTimeoutError, match=words):
            await wait_for_one(context, None, StoredOrder(None, "moose"), 10)

    assert asyncio.get_running_loop().time() - began == ends_s
