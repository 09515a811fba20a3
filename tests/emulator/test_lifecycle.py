"""
Starting, closing, and what is left behind: nothing.
"""

import asyncio
import threading

import aiohttp
import pytest

from apimodels_async.emulator import Emulator, values
from apimodels_async.emulator.timeline import Timeline

pytestmark = pytest.mark.anyio


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


@pytest.mark.usefixtures("ipv6")
async def test_ipv6_is_written_in_brackets():
    """An IPv6 host is bracketed in the origin."""
    async with Emulator(host="::1") as emulator:
        assert emulator.origin.startswith("http://[::1]:")


async def test_a_client_that_leaves_is_charged_all_the_same(api, emulator):
    """A synchronous generation goes on, and costs, when its client hangs up."""
    body = {"prompt": "[slow] x"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await api.send("POST", "images/generations-sync", json=body)
    while not emulator.generations:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.01)
    emulator.advance(10)

    assert [made.charged for made in emulator.generations.values()] == [True]


async def test_closing_ends_what_a_gone_client_left():
    """Requests whose client has left end when the emulator closes."""
    async with Emulator(service_times={"*": 1000}) as emulator:
        before = asyncio.all_tasks()
        async with aiohttp.ClientSession() as http:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await http.post(
                        f"{emulator.base_url}/images/generations-sync",
                        json={"prompt": "x"},
                        headers={"Authorization": f"Bearer {emulator.api_key}"},
                    )
        assert asyncio.all_tasks() - before

    assert not asyncio.all_tasks() - before


async def test_no_thread_is_left(api, emulator):
    """The drawing threads are gone after closing."""
    task = await api.submit()
    await api.fetch((await api.ended(task.id))["resultUrls"][0])
    names = {thread.name for thread in threading.enumerate()}
    await emulator.aclose()

    assert any(name.startswith("emulator-pictures") for name in names)
    assert not any(
        thread.name.startswith("emulator-pictures") for thread in threading.enumerate()
    )


async def test_records_are_bounded(monkeypatch):
    """Records beyond the limit push out the oldest tenth."""
    monkeypatch.setattr(values, "KEPT_RECORDS", 20)
    records = []
    for at in range(21):
        values.remember(records, at)

    assert records == list(range(2, 21))


async def test_tasks_are_bounded(api, emulator, monkeypatch):
    """Tasks beyond the limit push out the oldest settled one."""
    from apimodels_async.emulator import ledger

    monkeypatch.setattr(ledger, "KEPT_RECORDS", 1)
    monkeypatch.setattr(ledger, "KEPT_POLL_TIMES", 1)
    first = await api.submit()
    await api.ended(first.id)
    await api.poll(first.id)
    await api.poll(first.id)
    second = await api.submit()

    assert list(emulator.tasks) == [second.id]
    assert first.polls > len(first.poll_times) == 1


async def test_the_clock_moves_forward_only():
    """A negative step is refused; advancing runs what is due, in order."""
    timeline, seen = Timeline(), []
    start = timeline.now()
    for delay in (3, 1, 2, 60):
        timeline.at(start + delay, lambda delay=delay: seen.append(delay))
    timeline.advance(5)

    assert seen == [1, 2, 3]
    with pytest.raises(ValueError, match="only moves forward"):
        timeline.advance(-1)
    timeline.close()


async def test_speed_divides_service_times():
    """Twice the speed halves a service time; no speed is refused."""
    for speed, expected in ((1, 8.0), (2, 4.0)):
        emulator = Emulator(speed=speed, service_times={"x": 8.0})
        assert emulator._world.durations.draw("x", "", {}) == expected
    with pytest.raises(ValueError, match="speed must be above 0"):
        Emulator(speed=0)


@pytest.mark.parametrize(
    ("model", "params", "low", "high"),
    [
        ("sparkpix-image", {}, 0.3, 0.9),
        ("gpt-image-2", {}, 43, 53),
        ("qwen3-image-pro", {}, 105, 140),
        ("gpt-image-2-all", {"quality": "low"}, 37, 43),
        ("gpt-image-2-all", {}, 70, 80),
        ("doubao-seedream-5-0-flash", {"layer_decomposition": True}, 58, 83),
    ],
)
async def test_default_service_times(model, params, low, high):
    """The median service time of a model is what the vendor tells."""
    durations = Emulator()._world.durations
    drawn = sorted(durations.draw(model, "", params) for _ in range(999))

    assert low <= drawn[499] <= high


async def test_service_times_can_be_spans():
    """A pair of seconds is drawn evenly between the two."""
    durations = Emulator(service_times={"*": (1, 2)})._world.durations

    assert all(1 <= durations.draw("x", "", {}) <= 2 for _ in range(100))


async def test_a_jump_over_everything_that_was_due_leaves_the_clock_running():
    """What is ordered after a jump is due in its own time, not in that of the past."""
    timeline, seen = Timeline(), asyncio.Event()
    timeline.at(timeline.now() + 600, lambda: None)
    timeline.advance(601)
    timeline.at(timeline.now() + 0.01, seen.set)
    async with asyncio.timeout(5):
        await seen.wait()
    timeline.close()
