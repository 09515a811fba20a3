"""Callbacks: what is sent, how often, and what faults do to it."""

import asyncio
import json

import pytest
from aiohttp import web
from support.serving import serving
from support.waiting import until

from apimodels_async.emulator.service.callbacks import pause_before


class Receiver:
    """Takes callbacks and answers with the statuses it was given, then 200."""

    def __init__(self):
        self.bodies = []
        self.types = []
        self.statuses = []
        self.url = ""

    async def take(self, request):
        """Keep one callback."""
        self.types.append(request.headers["Content-Type"])
        self.bodies.append(await request.read())
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status)

    def data(self, at=0):
        """Return the data of one callback."""
        return json.loads(self.bodies[at])["data"]


@pytest.fixture
async def receiver():
    """Listen for callbacks."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with serving(app) as origin:
        receiver.url = f"{origin}/hook"
        yield receiver


async def test_a_finished_task_is_called_back(api, emulator, receiver):
    """A task with callback_url posts its end, with JSON strings inside the JSON."""
    task = await api.submit("a moose", resolution="2K", callback_url=receiver.url)
    await until(lambda: receiver.bodies)

    data = receiver.data()
    assert receiver.types == ["application/json"]
    assert (data["taskId"], data["state"]) == (task.id, "completed")
    assert data["model"] == "openai/gpt-image-2"
    assert json.loads(data["resultJson"])["resultUrls"] == list(task.urls)
    assert json.loads(data["param"])["resolution"] == "2K"
    await until(lambda: emulator.callbacks[0].status)
    [record] = emulator.callbacks
    assert (record.task_id, record.attempt, record.status) == (task.id, 1, 200)


async def test_a_failed_task_is_called_back(api, receiver):
    """A failed task posts failMsg and failCode."""
    await api.submit("[refused]", callback_url=receiver.url)
    await until(lambda: receiver.bodies)

    data = receiver.data()
    assert (data["state"], data["failMsg"]) == ("failed", "Content policy violation")
    assert data["failCode"] == "CONTENT_MODERATION"


async def test_a_synchronous_call_is_called_back(api, emulator, receiver):
    """SparkPix posts to callBackUrl too, and the id it names can be polled."""
    await api.sync(callBackUrl=receiver.url)
    await until(lambda: receiver.bodies)

    task_id = receiver.data()["taskId"]
    assert task_id in emulator.generations
    assert (await api.poll(task_id))["data"]["state"] == "completed"


async def test_a_callback_is_retried_until_taken(serve, receiver):
    """Anything but 2xx is retried, later and later."""
    receiver.statuses = [500, 302, 404]
    async with serve(speed=100) as api:
        records = api.emulator.callbacks
        await api.submit(callback_url=receiver.url)
        await until(lambda: len(records) == 4 and records[-1].status)

        assert [record.status for record in records] == [500, 302, 404, 200]
        assert [record.attempt for record in records] == [1, 2, 3, 4]


async def test_nobody_listening_is_given_up_after_half_an_hour(api, emulator):
    """A callback nobody takes is tried for 30 minutes of the emulator's clock."""
    emulator.fault("callback", "drop", times=None)
    await api.submit(callback_url="http://127.0.0.1:9/hook")
    for _ in range(60):
        emulator.advance(60)
        for _ in range(5):  # turns of the loop: no attempt touches the network
            await asyncio.sleep(0)
    tried = len(emulator.callbacks)
    emulator.advance(3600)
    await asyncio.sleep(0.01)

    assert 20 <= tried <= 35
    assert len(emulator.callbacks) == tried
    assert {record.status for record in emulator.callbacks} == {None}


def test_pauses_between_attempts():
    """Pauses are 1, 2, 4 s and then a minute, divided by the speed."""
    assert [pause_before(at, 1) for at in (2, 3, 4, 5, 6)] == [1, 2, 4, 60, 60]
    assert pause_before(2, 50) == 0.02


async def test_faults_break_the_body(api, emulator, receiver):
    """A broken callback is no JSON."""
    for kind in ("bad_json", "html", "garbage", "empty"):
        emulator.fault("callback", kind)
        await api.submit(callback_url=receiver.url)
    await until(lambda: len(receiver.bodies) == 4)

    for body in receiver.bodies:
        with pytest.raises(ValueError, match=r"Expecting|Untermin|decode"):
            json.loads(body.decode())


async def test_faults_alter_the_body(api, emulator, receiver):
    """A callback can come twice, late, with a wrong id, a strange state, no result."""
    kinds = ("duplicate", "slow", "wrong_id", "unknown_state", "no_result")
    for kind in kinds:
        options = {"seconds": 0.01} if kind == "slow" else {}
        emulator.fault("callback", kind, match=f"<{kind}>", **options)
        await api.submit(f"<{kind}>", callback_url=receiver.url)
    await until(lambda: len(receiver.bodies) == 6)

    seen = {}
    for at in range(6):
        data = receiver.data(at)
        seen.setdefault(json.loads(data["param"])["prompt"], []).append(data)
    assert len(seen["<duplicate>"]) == 2
    assert len(seen["<slow>"]) == 1
    assert seen["<wrong_id>"][0]["taskId"] not in emulator.tasks
    assert seen["<unknown_state>"][0]["state"] == "moderating"
    assert json.loads(seen["<no_result>"][0]["resultJson"])["resultUrls"] == []


async def test_lost_callbacks(serve, receiver):
    """A dropped callback is retried; one whose sender hangs never comes."""
    async with serve(speed=100) as api:
        for kind in ("drop", "hang"):
            api.emulator.fault("callback", kind, match=kind)
            await api.submit(kind, callback_url=receiver.url)
        await until(lambda: receiver.bodies)
        api.emulator.advance(60)
        await asyncio.sleep(0.02)

        tried = [
            json.loads(each.body["data"]["param"]) for each in api.emulator.callbacks
        ]
        assert sorted(each["prompt"] for each in tried) == ["drop", "drop", "hang"]
        assert len(receiver.bodies) == 1


async def test_closing_drops_callbacks_under_way(api, emulator, receiver):
    """Closing cancels a callback that is being delivered."""
    emulator.fault("callback", "slow", seconds=60)
    await api.submit(callback_url=receiver.url)
    await until(lambda: emulator.callbacks)
    await emulator.aclose()

    assert receiver.bodies == []
