"""Jobs that are delivered again: one order, one answer."""

from __future__ import annotations

import asyncio

from support.batches import prompts_ordered
from support.redis import RedisProxy, needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async import ApiModelsError, GenerationFailedError
from apimodels_async.integrations.redis import RedisLimit
from apimodels_async.integrations.streaq.jobs import Job
from apimodels_async.stores import RedisStore

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
