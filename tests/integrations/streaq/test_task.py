"""Jobs that are delivered again: one order, one answer."""

from __future__ import annotations

import asyncio

from support.batches import prompts_ordered
from support.redis import RedisProxy, needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async import (
    ApiModelsError,
    DownloadError,
    GenerationFailedError,
    JournalError,
)
from apimodels_async.integrations.redis import RedisLimit
from apimodels_async.integrations.streaq import OrderQueue
from apimodels_async.integrations.streaq.jobs import Job
from apimodels_async.stores import MemoryStore, RedisStore

pytestmark = needs_redis
ORDERS = [
    ({"prompt": "[fail] fox", "model": "gpt-image-2"}, "failed"),
    ("[refused] bear", "refused"),
]


async def test_what_is_delivered_again_asks_nobody_again(queue, broker, emulator):
    """Refused or failed at the first delivery, it is told as that at the second."""
    limit = RedisLimit(broker.url)
    async with (
        RedisProxy(broker) as proxy,
        working(
            proxy.url, emulator, store=RedisStore(broker.url), limit=limit
        ) as first,
    ):
        first.then = proxy.leave  # it cannot tell the broker any more
        await queue.put(ORDERS)
        await until(lambda: len(first.answers) == 2)
        async with working(broker.url, emulator, idle_timeout=1):
            answers = await asyncio.gather(*(queue.wait(key) for _, key in ORDERS))
        await proxy.listen()
    await limit.aclose()

    assert set(prompts_ordered(emulator).values()) == {1}
    assert [answer.state for answer in answers] == ["failed", "refused"]
    assert [answer.tries for answer in answers] == [2, 2]
    assert isinstance(answers[0].error, GenerationFailedError)
    assert isinstance(answers[1].error, ApiModelsError)
    told = {each.idempotency_key: str(each.error) for each in first.answers}
    assert told == {each.idempotency_key: str(each.error) for each in answers}


async def test_what_is_put_again_is_not_asked_again(queue, broker, emulator):
    """A batch that comes back hears of its refusal; only a new one orders anew."""
    job = Job("k", {"prompt": "[refused] bear", "model": "sparkpix-image"}, None, None)
    async with working(broker.url, emulator):
        for fresh in (True, False, False, True):
            broker.client().delete(f"streaq:apimodels:task:results:{job.id}")
            waiter = queue.waiting.enqueue(job, fresh=fresh)
            answer = await queue.waiting.answer_to(waiter)
            assert answer.state == "refused"

    assert prompts_ordered(emulator) == {"[refused] bear": 2}


class Troubled(MemoryStore):
    """A store that is away at first, and never takes where files are."""

    tried = 0

    async def begin(self, *args):
        """Fail the first time."""
        self.tried += 1
        if self.tried == 1:
            msg = "the store is away"
            raise JournalError(msg)
        return await super().begin(*args)

    async def saved(self, *_):
        """Fail."""
        msg = "the store is away again"
        raise JournalError(msg)


async def test_what_passes_fails_no_job(queue, broker, emulator, tmp_path, caplog):
    """A throttled account, a store that is away: it is given back, and ends well."""
    emulator.fault("paid", "rate_limit", retry_after=1, times=1)
    async with (
        working(broker.url, emulator, attempts=1, concurrency=1) as one,
        OrderQueue(broker.url, queue="other", base_url=emulator.base_url) as other,
        working(
            broker.url, emulator, queue="other", store=Troubled(), save_to=tmp_path
        ),
    ):
        await queue.put([("a fox", "throttled")])
        throttled = await queue.wait("throttled")
        await other.put([("a hare", "away")])
        away = await other.wait("away")

    assert one.answers[0].tries == throttled.tries == 2
    assert (throttled.state, away.state, away.tries) == ("completed", "completed", 2)
    assert len(away.paths) == len(list(tmp_path.iterdir())) == 1
    assert "its files are not in the store" in caplog.text


async def test_what_cannot_be_saved_is_paid_for_and_told(
    queue, broker, emulator, tmp_path
):
    """The answer has result and error; put again, it is saved, and not bought again."""
    emulator.fault("file", "html", status=200, times=2)
    job = Job("numbered", {"prompt": "a fox"}, None, 7)
    async with working(broker.url, emulator, save_to=tmp_path):
        await queue.put([("a hare", "hare")])
        hare = await queue.wait("hare")
        waiter = queue.waiting.enqueue(job, fresh=True)
        fox = await queue.waiting.answer_to(waiter)
        for each in (hare, fox):
            assert each.state == "completed"
            assert each.paths == ()
            assert isinstance(each.error, DownloadError)
        await queue.put([("a hare", "hare")])
        await until(lambda: len(list(tmp_path.iterdir())) == 1)

    assert len(emulator.generations) == 2


async def test_a_worker_of_another_api_orders_nothing(queue, broker, emulator):
    """What is put for an emulator costs nothing at a worker of the real API."""
    elsewhere = "http://127.0.0.1:9/api/v1"
    async with (
        working(broker.url, emulator),
        OrderQueue(broker.url, base_url=elsewhere) as other,
    ):
        await other.put([("a fox", "elsewhere")])
        answer = await other.wait("elsewhere")
        await queue.put([("a hare", "here")])
        assert (await queue.wait("here")).state == "completed"

    assert (answer.state, answer.error.charged) == ("refused", False)
    assert elsewhere in str(answer.error)
    assert prompts_ordered(emulator) == {"a hare": 1}
