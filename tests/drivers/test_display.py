"""
What a notebook shows of a handle, at each moment of its task.
"""

from __future__ import annotations

import asyncio

from drivers.fakes import Rig, completed, failed, state

from apimodels_async import TaskHandle


def html_of(handle):
    """Return what a notebook shows."""
    return handle._repr_mimebundle_()["text/html"]


async def test_a_pending_handle_says_how_old_its_news_is():
    """The state is shown with the time since it was asked for; showing asks nobody."""
    async with Rig(lambda call: state(call.task_id, "processing")) as rig:
        handle = TaskHandle(rig.watch("t1"), rig.tracker)
        assert "not yet" in html_of(handle)

        await asyncio.sleep(4)
        asked = rig.counters.polls
        html = html_of(handle)

    assert "processing" in html
    assert "1.5 s ago" in html
    assert " UTC" in html
    assert rig.counters.polls == asked


async def test_a_handle_shows_its_picture_once_there_is_one():
    """After the end a handle shows what its result shows, under its own name."""
    async with Rig(lambda call: completed(call.task_id)) as rig:
        handle = TaskHandle(rig.watch("t1"), rig.tracker)
        result = await handle
        forms = handle._repr_mimebundle_()

    assert forms["text/html"] == result._repr_mimebundle_()["text/html"]
    assert forms["text/plain"] == repr(handle)


async def test_a_failed_handle_shows_why():
    """The error stands where the picture would, by name and in words."""
    async with Rig(lambda call: failed(call.task_id)) as rig:
        handle = TaskHandle(rig.watch("t1"), rig.tracker)
        async for _ in handle:
            pass
        html = html_of(handle)

    assert "GenerationFailedError" in html
    assert "failed" in html
