"""Connections that are kept between requests."""

from __future__ import annotations

import asyncio

import aiohttp
from support.raw import RawServer
from support.waiting import until
from yarl import URL

from apimodels_async._io.http.connector import Pool
from apimodels_async._io.http.lines import Lines

CONNECTING = aiohttp.ClientTimeout(connect=20)


def lines_to(server, pool, **options):
    """Return the lines to *server* through the pool's connector."""
    loop = asyncio.get_running_loop()
    target = aiohttp.ClientRequest("GET", URL(server.base_url), loop=loop)
    return Lines(pool.free, target, **options)


async def test_the_youngest_line_is_taken_first():
    """So that those that nobody needs grow old, and are closed."""
    async with RawServer() as server:
        pool = Pool(3, fresh=False)
        lines = lines_to(server, pool, keepalive_s=0.05)
        three = [await lines.take(CONNECTING) for _ in range(3)]
        lines.give_back(three[0])
        await asyncio.sleep(0.03)
        for each in three[1:]:
            lines.give_back(each)
        assert await lines.take(CONNECTING) is three[2]
        await until(lambda: server.open_now == 1)
        assert pool.connections == 1
        lines.give_back(three[2])
        lines.close()
        await pool.aclose()
        await until(lambda: server.open_now == 0)


async def test_an_idle_line_is_left_to_who_asks_the_connector():
    """A pool of one is enough for both ways."""
    async with RawServer() as server:
        pool = Pool(1, fresh=False)
        lines = lines_to(server, pool)
        lines.give_back(await lines.take(CONNECTING))
        lines.spare()
        lines.spare()
        async with asyncio.timeout(20):
            connection = await pool.free.connect(lines._target, [], CONNECTING)
        connection.close()
        await pool.aclose()

        assert server.connections == 1
