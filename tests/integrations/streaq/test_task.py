"""Jobs that are delivered again: one order, one answer."""

from __future__ import annotations

import asyncio

from streaq.constants import REDIS_GROUP
from support.batches import prompts_ordered
from support.redis import needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async import ApiModelsError, GenerationFailedError

pytestmark = needs_redis
STREAM = "streaq:apimodels:queues:normal"


async def test_what_is_delivered_again_asks_nobody_again(queue, broker, emulator):
    """Refused or failed at the first delivery, it is told as that at the second."""
    emulator.fault("paid", "slow", seconds=3.0, times=2)
    orders = [
        ({"prompt": "[fail] fox", "model": "gpt-image-2"}, "failed"),
        ("[refused] bear", "refused"),
    ]
    async with (
        working(broker.url, emulator) as one,
        working(broker.url, emulator) as two,
    ):
        await queue.put(orders)
        await until(lambda: len(emulator.requests) == 2)
        with broker.client() as client:
            for message in client.xrange(STREAM):
                client.xclaim(STREAM, REDIS_GROUP, "gone", 0, [message[0]], idle=9_000)
        await queue.put([("a hare", "wakes who waits"), ("an elk", "the other one")])
        await until(lambda: len(one.answers) + len(two.answers) == 6)
        answers = await asyncio.gather(*(queue.wait(key) for _, key in orders))

    assert set(prompts_ordered(emulator).values()) == {1}
    assert [answer.state for answer in answers] == ["failed", "refused"]
    assert isinstance(answers[0].error, GenerationFailedError)
    assert isinstance(answers[1].error, ApiModelsError)
    told = [*one.answers, *two.answers]
    for _, key in orders:
        texts = [str(each.error) for each in told if each.idempotency_key == key]
        assert len(texts) == 2
        assert len(set(texts)) == 1
