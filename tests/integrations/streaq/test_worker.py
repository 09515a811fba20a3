"""A worker while its broker is away, and what it leaves to others."""

from __future__ import annotations

import pytest
from support.batches import prompts_ordered
from support.ports import free_port
from support.redis import SAFE, RedisProxy, RedisServer, needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async import ConfigurationError
from apimodels_async.integrations.streaq import OrderQueue

pytestmark = needs_redis
STUCK = {"prompt": "[stuck] moose", "model": "gpt-image-2"}


async def test_a_broker_that_is_back_is_taken_from_at_once(emulator, caplog):
    """However long the slowest order takes that was under way as it went."""
    with RedisServer(SAFE, port=free_port()) as server:
        async with (
            OrderQueue(server.url, base_url=emulator.base_url) as queue,
            working(server.url, emulator) as worker,
        ):
            await queue.put([(STUCK, "stuck")])
            await until(lambda: emulator.tasks)
            server.kill()
            await until(lambda: "the broker is away" in caplog.text)
            server.start()
            await queue.put([("a fox", "fox")])
            fox = await queue.wait("fox")

            assert fox.state == "completed"
            assert worker.loop.under_way == 1
            assert not worker.answers[:-1]
    assert set(prompts_ordered(emulator).values()) == {1}


async def test_a_broker_that_is_silent_is_come_back_to(emulator, broker, caplog):
    """What ended meanwhile is told all the same, and what waits is worked at."""
    async with (
        RedisProxy(broker) as proxy,
        OrderQueue(broker.url, base_url=emulator.base_url) as queue,
        working(proxy.url, emulator, idle_timeout=1) as worker,
    ):
        await queue.put([({"prompt": "a moose", "model": "gpt-image-2"}, "moose")])
        await until(lambda: emulator.tasks)
        proxy.held.clear()
        await until(lambda: "the broker is away" in caplog.text)
        await queue.put([("a fox", "fox")])
        proxy.held.set()
        moose, fox = await queue.wait("moose"), await queue.wait("fox")

    assert (moose.state, fox.state) == ("completed", "completed")
    assert not worker.task.exception()
    assert set(prompts_ordered(emulator).values()) == {1}
    assert "begins again" not in caplog.text


async def test_a_folder_that_cannot_be_made_is_told(emulator, broker, tmp_path):
    """As the worker begins, in its own words: it is no trouble of the broker's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"pictures cannot be saved in .*file"):
        async with working(
            broker.url, emulator, save_to=tmp_path / "file" / "x"
        ) as one:
            await one.task


async def test_a_broker_that_forgot_everything_is_begun_with_anew(
    emulator, broker, queue, caplog
):
    """A worker joins the queue again, and what is put since is worked at."""
    async with working(broker.url, emulator):
        await queue.put([("a fox", "fox")])
        await queue.wait("fox")
        with broker.client() as client:
            client.flushall()
        await queue.put([("a hare", "hare")])
        hare = await queue.wait("hare")

    assert hare.state == "completed"
    assert "the worker begins again" in caplog.text
