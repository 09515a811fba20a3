"""
Wait for N pictures with one client, and print what that took as one line of JSON.

    python client.py CLIENT N BASE LIMIT_S

With N = 0 it makes one picture after another instead, each answered at once, and
prints how long one call takes.

Runs in the environment of its client, so it imports nothing of ours but for ``ours``.
Each client is used as its own documentation shows, with its own defaults; what differs
is the address, and a key that is none.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import re
import resource
import sys
import time
import urllib.request
import warnings
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    One = Callable[[str], Awaitable[str]]
    Close = Callable[[], Awaitable[object]]

SHORTEST_S, LONGEST_S = 4.0, 20.0
BEAT_S = 0.02
INTERVAL_S = 2.5
CALLS_S = 1.5
KEY = "no-key"


def prompts(count: int) -> list[str]:
    """Return the same prompts, with the same service times, for every client."""
    rng = random.Random(42)
    times = [rng.uniform(SHORTEST_S, LONGEST_S) for _ in range(count)]
    return [f"a moose number {n} d={seconds:.3f}" for n, seconds in enumerate(times)]


async def nothing() -> None:
    """Close what needs no closing."""


async def ours(base: str) -> tuple[One, Close]:
    """Use this library."""
    from apimodels_async import Session

    session = Session(api_key=KEY, base_url=base + "/api/v1")

    async def one(prompt: str) -> str:
        result = await session.images.generate(prompt, model="gpt-image-2")
        return result.url

    return one, session.aclose


async def ours_sync(base: str) -> tuple[One, Close]:
    """Use this library's synchronous model."""
    from apimodels_async import Session

    session = Session(api_key=KEY, base_url=base + "/api/v1")

    async def one(prompt: str) -> str:
        return (await session.images.generate(prompt)).url

    return one, session.aclose


async def aiohttp_sync(base: str) -> tuple[One, Close]:
    """Make the synchronous call by hand."""
    import aiohttp

    http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})
    url = base + "/api/v1/images/generations-sync"

    async def one(prompt: str) -> str:
        async with http.post(url, json={"prompt": prompt}) as reply:
            return str((await reply.json())["data"]["url"])

    return one, http.close


async def aiohttp_by_hand(base: str) -> tuple[One, Close]:
    """Write the loop that one writes with aiohttp."""
    import aiohttp

    http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})
    url = base + "/api/v1/images/generations"

    async def one(prompt: str) -> str:
        body = {"prompt": prompt, "model": "gpt-image-2"}
        async with http.post(url, json=body) as reply:
            task = (await reply.json())["data"]["taskId"]
        while True:
            await asyncio.sleep(INTERVAL_S)
            async with http.get(url, params={"task_id": task}) as reply:
                data = (await reply.json())["data"]
            if data["state"] in ("completed", "failed"):
                return str(data["resultUrls"][0])

    return one, http.close


async def httpx_by_hand(base: str) -> tuple[One, Close]:
    """Write the loop that one writes with httpx."""
    import httpx

    http = httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"})
    url = base + "/api/v1/images/generations"

    async def one(prompt: str) -> str:
        body = {"prompt": prompt, "model": "gpt-image-2"}
        task = (await http.post(url, json=body)).json()["data"]["taskId"]
        while True:
            await asyncio.sleep(INTERVAL_S)
            reply = await http.get(url, params={"task_id": task})
            data = reply.json()["data"]
            if data["state"] in ("completed", "failed"):
                return str(data["resultUrls"][0])

    return one, http.aclose


async def fal(base: str) -> tuple[One, Close]:
    """``AsyncClient.subscribe``: submits, and asks every 0.1 s."""
    import fal_client
    import fal_client.client

    fal_client.client.QUEUE_URL_FORMAT = base + "/fal/"
    client = fal_client.AsyncClient(key="a:b")

    async def one(prompt: str) -> str:
        result = await client.subscribe("o/a", {"prompt": prompt})
        return str(result["images"][0]["url"])

    return one, nothing


async def replicate(base: str) -> tuple[One, Close]:
    """``predictions.async_create`` and ``async_wait``: asks every 0.5 s."""
    import replicate

    client = replicate.Client(api_token="r8_x", base_url=base + "/replicate")

    async def one(prompt: str) -> str:
        prediction = await client.models.predictions.async_create(
            ("o", "a"), input={"prompt": prompt}, wait=False
        )
        await prediction.async_wait()
        return str(prediction.output[0])

    return one, nothing


async def runway(base: str) -> tuple[One, Close]:
    """``wait_for_task_output``: asks every 6 s, give or take 1.5."""
    import runwayml

    client = runwayml.AsyncRunwayML(api_key=KEY, base_url=base + "/runway")

    async def one(prompt: str) -> str:
        task = await client.text_to_image.create(
            model="gen4_image", prompt_text=prompt, ratio="1024:1024"
        )
        done = await task.wait_for_task_output()
        return str(done.output[0])

    return one, client.close


async def openai(base: str, **options: Any) -> tuple[One, Close]:
    """``images.generate``: one request held open for each picture."""
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=base + "/openai/v1", **options)

    async def one(prompt: str) -> str:
        reply = await client.images.generate(prompt=prompt, model="dall-e-3")
        return str(reply.data[0].url)

    return one, client.close


async def openai_aiohttp(base: str) -> tuple[One, Close]:
    """The same over its aiohttp backend."""
    import openai

    return await openai_(base, http_client=openai.DefaultAioHttpClient())


openai_ = openai
CLIENTS: dict[str, Callable[[str], Awaitable[tuple[One, Close]]]] = {
    "ours": ours,
    "ours-sync": ours_sync,
    "aiohttp-sync": aiohttp_sync,
    "aiohttp": aiohttp_by_hand,
    "httpx": httpx_by_hand,
    "fal-client": fal,
    "replicate": replicate,
    "runwayml": runway,
    "openai": openai,
    "openai-aiohttp": openai_aiohttp,
}


def fetch(url: str) -> Any:
    """Ask the stub for its counts."""
    with urllib.request.urlopen(url) as reply:
        return json.loads(reply.read())


def resident_mb() -> float:
    """Return the most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def beat(delays: list[float]) -> None:
    """Note how late a timer of 20 ms is, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        await asyncio.sleep(BEAT_S)
        delays.append(loop.time() - started - BEAT_S)


def at(values: list[float], share: float) -> float | None:
    """Return a quantile."""
    ordered = sorted(values)
    return (
        ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
    )


async def measure(client: str, count: int, base: str, limit_s: float) -> dict[str, Any]:
    """Run *count* pictures at once; stop after *limit_s* seconds."""
    one, close = await CLIENTS[client](base)
    lags: list[float] = []
    failures: Counter[str] = Counter()

    async def run(prompt: str) -> None:
        try:
            url = await one(prompt)
        except Exception as error:  # noqa: BLE001  whatever it is, it counts
            failures[type(error).__name__] += 1
            return
        ended = re.search(r"/img/(\d+)", url)
        assert ended
        lags.append(time.time() - int(ended[1]) / 1000)

    await one("a first one, which pays for imports d=0")
    delays: list[float] = []
    fetch(base + "/reset")
    gc.collect()
    memory = resident_mb()
    heart = asyncio.create_task(beat(delays))
    wall, cpu = time.perf_counter(), time.process_time()
    tasks = [asyncio.create_task(run(prompt)) for prompt in prompts(count)]
    _, late = await asyncio.wait(tasks, timeout=limit_s)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    heart.cancel()
    counts = fetch(base + "/stats")
    for task in late:
        task.cancel()
    with suppress(Exception):
        async with asyncio.timeout(5):
            await close()
    return {
        "client": client,
        "n": count,
        "wall_s": wall,
        "cpu_s": cpu,
        "memory_mb": resident_mb() - memory,
        "requests": counts.get("requests", 0),
        "connections": counts.get("connections", 0) - 1,  # the one that asks for counts
        "done": len(lags),
        "failures": dict(failures),
        "unfinished": len(late),
        "lag_mean_s": sum(lags) / len(lags) if lags else None,
        "lag_p95_s": at(lags, 0.95),
        "beat_p99_ms": (at(delays, 0.99) or 0) * 1000,
        "beat_max_ms": max(delays, default=0) * 1000,
    }


async def time_calls(client: str, base: str) -> dict[str, Any]:
    """Make one call after another for some seconds."""
    one, close = await CLIENTS[client](base)
    await one("a first one, which pays for imports d=0")
    taken: list[float] = []
    until, cpu = time.perf_counter() + CALLS_S, time.process_time()
    while (started := time.perf_counter()) < until:
        await one("a moose d=0")
        taken.append(time.perf_counter() - started)
    cpu = time.process_time() - cpu
    with suppress(Exception):
        await close()
    return {
        "client": client,
        "p50_us": (at(taken, 0.5) or 0) * 1e6,
        "cpu_us": cpu / len(taken) * 1e6,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {0})
    name, number, address, limit = sys.argv[1:]
    count = int(number)
    measuring = (
        measure(name, count, address, float(limit))
        if count
        else time_calls(name, address)
    )
    print(json.dumps(asyncio.run(measuring)))
    sys.stdout.flush()
    os._exit(0)  # some clients hold threads and half-cancelled work
