"""Sessions of several processes keep the account's limits, as the API itself counts."""

from __future__ import annotations

import asyncio
import sys

from support.waiting import until

from apimodels_async.emulator import Emulator
from apimodels_async.integrations.redis import RedisLimit

WORK = """
import asyncio, json, sys
from apimodels_async import PollPolicy, Session
from apimodels_async.integrations.redis import RedisLimit

async def main(url, redis_url, prefix, count, options):
    options = json.loads(options)
    async with RedisLimit.unchecked(redis_url, **options) as limit:
        polling = PollPolicy.unchecked(interval=0.05)
        made = {"api_key": "sk_worker", "base_url": url, "polling": polling}
        async with Session(limit=limit, **made) as session:
            prompts = [f"{prefix} {number}" for number in range(int(count))]
            batch = session.images.batch(prompts, model="flux-2-klein-4b")
            async with batch as outcomes:
                async for outcome in outcomes:
                    outcome.unwrap()
    print("done", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def work(emulator, server, prefix, count, options):
    """Start a program that buys pictures in a batch; return it."""
    command = [sys.executable, "-c", WORK, emulator.base_url, server.url, prefix]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, str(count), options, stdout=pipe
    )


async def ended(program):
    """Wait until it is done."""
    out, _ = await program.communicate()
    assert out == b"done\n"


def orders(emulator):
    """Return the paid requests, as they came."""
    return [each for each in emulator.requests if each.endpoint == "create"]


async def test_so_many_are_pending_and_no_more(server):
    """Three processes, one killed in between, never have more pending than agreed."""
    options = '{"pending": 5, "lease_s": 2}'
    async with Emulator(api_key="sk_worker", service_times={"*": 0.05}) as emulator:
        programs = [
            await work(emulator, server, name, 16, options) for name in ("a", "b", "c")
        ]
        await until(lambda: len(orders(emulator)) > 10)
        programs[0].kill()
        await programs[0].communicate()
        for program in programs[1:]:
            await ended(program)

        assert emulator.peak_pending <= 5
        prompts = [each.prompt for each in orders(emulator)]
    assert {p for p in prompts if p[0] in "bc"} == {
        f"{name} {number}" for name in "bc" for number in range(16)
    }
    assert len(set(prompts)) == len(prompts)


async def test_so_many_a_second_and_no_more(server):
    """Two processes together order at the agreed pace."""
    rate = 10
    options = f'{{"per_second": {rate}, "lease_s": 60}}'
    async with Emulator(api_key="sk_worker", service_times={"*": 0.05}) as emulator:
        programs = [
            await work(emulator, server, name, 12, options) for name in ("a", "b")
        ]
        for program in programs:
            await ended(program)
        times = [each.at for each in orders(emulator)]

    assert len(times) == 24
    # What is on the way for longer than what follows it makes a second look fuller.
    for first, later in zip(times, times[rate + 5 :], strict=False):
        assert later - first > 0.9


async def test_one_429_slows_all_down(server):
    """After a 429 with a Retry-After to one process nobody orders until then."""
    async with Emulator(api_key="sk_worker", service_times={"*": 0.05}) as emulator:
        emulator.fault("create", "rate_limit", match="a 7", retry_after=2)
        options = '{"pending": 4, "lease_s": 60}'
        programs = [
            await work(emulator, server, name, 20, options) for name in ("a", "b")
        ]
        for program in programs:
            await ended(program)
        found = orders(emulator)

    (refused,) = [each for each in found if each.status == 429]
    after = [each.at for each in found if each.at > refused.at + 1]
    meanwhile = [each for each in found if refused.at < each.at < refused.at + 1.9]
    assert len(after) > 5
    assert len(meanwhile) <= 3  # had been sent when the answer came
    assert len({each.prompt for each in found}) == 40


async def test_a_task_holds_its_permit_until_it_ends(server, emulator, connect):
    """A task counts as pending for the account until the session knows its end."""
    async with RedisLimit(server.url, pending=1) as limit:
        session = connect(emulator, limit=limit)
        first = await session.images.submit("a moose", model="flux-2-klein-4b")
        second = asyncio.create_task(
            session.images.submit("a fox", model="flux-2-klein-4b")
        )
        await first
        await (await second)

    assert emulator.peak_pending == 1
