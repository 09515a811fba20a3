"""Starting, closing, and what is left behind: nothing."""

import asyncio
import threading

import aiohttp
import pytest
from support.waiting import until

from apimodels_async.emulator import Emulator


def test_what_is_no_amount_is_refused():
    """Credits are dollars, 0 or more, in any way a Decimal is written."""
    for wrong in ("x", "", "-1", "NaN", "Infinity", None, [1]):
        with pytest.raises(ValueError, match="credits must be US dollars, 0 or more"):
            Emulator(credits=wrong)

    assert Emulator(credits="0").balance == 0


async def test_closing_twice_is_fine():
    """aclose() works twice, also before the first start, and again after a restart."""
    emulator = Emulator()
    await emulator.aclose()
    assert repr(emulator) == "<Emulator closed | tasks 0, balance 100>"
    for _ in range(2):
        async with emulator:
            assert emulator.base_url == f"{emulator.origin}/api/v1"
            assert repr(emulator).startswith("<Emulator http://127.0.0.1:")
        await emulator.aclose()


async def test_a_taken_port_is_an_error():
    """A port in use raises OSError and leaves nothing open."""
    async with Emulator() as first:
        second = Emulator(port=int(first.origin.rpartition(":")[2]))
        with pytest.raises(OSError, match="in use"):
            await second.start()


async def test_ipv6_is_written_in_brackets():
    """An IPv6 host is bracketed in the origin."""
    async with Emulator(host="::1") as emulator:
        assert emulator.origin.startswith("http://[::1]:")


async def test_records_show_what_happened(api, emulator):
    """Task and request records tell model, prompt, params, polls and charge."""
    task = await api.submit("a moose", resolution="2K")
    await api.ended(task)

    assert (task.model, task.prompt, task.params) == (
        "gpt-image-2",
        "a moose",
        {"resolution": "2K"},
    )
    assert task.charged
    assert task.polls == len(task.poll_times) == 1
    made, *polls = emulator.requests
    assert (made.endpoint, made.status, made.charged) == ("create", 200, True)
    assert (made.task_id, made.prompt, made.has_key) == (task.id, "a moose", True)
    assert {record.task_id for record in polls} == {task.id}
    assert emulator.connections_opened == len(emulator.requests)
    assert emulator.peak_connections >= 1
    assert emulator.peak_pending == 1
    assert emulator.total == 100 - emulator.spent


async def test_equal_seeds_give_equal_ids(serve):
    """Two emulators with one seed give the same ids and service times."""
    seen = []
    for seed in (1, 1, 2):
        async with serve(seed=seed, service_times=None) as api:
            task = await api.submit()
            seen.append((task.id, round(task.due_at - task.starts_at, 6)))

    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0]
    assert seen[0][1] != seen[2][1]


async def test_a_client_that_leaves_is_charged_all_the_same(api, emulator):
    """A synchronous generation goes on, and costs, when its client hangs up."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await api.sync("[slow] x")
    await until(lambda: emulator.generations)
    emulator.advance(10)

    assert [made.charged for made in emulator.generations.values()] == [True]


async def test_closing_ends_what_a_gone_client_left(serve):
    """Requests whose client has left end when the emulator closes."""
    async with serve(service_times={"*": 1000}) as api:
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await api.sync()
        assert asyncio.all_tasks() - before

    assert not asyncio.all_tasks() - before


async def test_closing_ends_what_hangs(api, emulator):
    """Closing is quick with hung, slow and stuck requests under way."""
    emulator.fault("balance", "hang")
    emulator.fault("models", "slow", seconds=60)
    calls = [
        asyncio.create_task(call)
        for call in (
            api.send("GET", "balance"),
            api.send("GET", "models"),
            api.sync("[stuck]"),
        )
    ]
    await until(lambda: len(emulator.requests) == 3)
    started = asyncio.get_running_loop().time()
    await emulator.aclose()

    assert asyncio.get_running_loop().time() - started < 2
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, (tuple, aiohttp.ClientError)) for each in ended)


async def test_no_thread_is_left(api, emulator):
    """The drawing threads are gone after closing."""
    await api.fetch(await api.result(size="64x64"))
    names = {thread.name for thread in threading.enumerate()}
    await emulator.aclose()

    assert any(name.startswith("emulator-pictures") for name in names)
    assert not any(
        thread.name.startswith("emulator-pictures") for thread in threading.enumerate()
    )
