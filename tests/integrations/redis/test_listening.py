"""Who listens to a Redis server notices when it is gone."""

from __future__ import annotations

import asyncio

from support.waiting import until

from apimodels_async._io.redis import Server
from apimodels_async._secret import Secret
from apimodels_async.integrations.redis.listening import listen


async def test_a_connection_that_fell_silent_is_made_again(server, proxy, caplog):
    """A quiet server is asked for a sign of life; without one, it counts as gone."""
    opened, heard = [], []

    async def take(message):
        heard.append(message)

    async with Server(Secret(proxy.url), "{a}").connect() as client:
        hearing = asyncio.create_task(
            listen(client, "news", take, lambda: opened.append(1), silence_s=0.3)
        )
        await until(lambda: opened)
        await asyncio.sleep(1)  # nothing is said, and it answers
        assert (len(opened), caplog.text) == (1, "")
        proxy.held.clear()
        await until(lambda: "no answer" in caplog.text)
        proxy.held.set()
        await until(lambda: len(opened) == 2)
        with server.client() as other:
            other.publish("news", "we are back")
        await until(lambda: heard)
        hearing.cancel()
        await asyncio.wait([hearing])

    assert heard == [b"we are back"]
