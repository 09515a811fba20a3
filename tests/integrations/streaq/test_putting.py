"""What is put: in messages that are bounded, and in the place of what is damaged."""

from __future__ import annotations

import json

from support.batches import prompts_ordered
from support.redis import needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async import UnexpectedResponseError
from apimodels_async.integrations.streaq.jobs import Job, job_id
from apimodels_async.integrations.streaq.putting import CHUNK, CHUNK_BYTES, chunked

KNOWN = {"f": "order", "t": 1, "a": ["a fox"], "k": {}}
DAMAGES = {
    "no JSON": "{",
    "no mapping": "5",
    "a list": "[]",
    "empty": "{}",
    "no function": json.dumps(KNOWN | {"f": []}),
    "no arguments": json.dumps(KNOWN | {"a": 5}),
    "no key": json.dumps(KNOWN),
}
ANOTHERS = {"another's": json.dumps(KNOWN | {"a": [{"prompt": "a fox"}, "k"]})}


def test_a_message_is_bounded_in_jobs_and_in_bytes():
    """A job that is larger than the bound goes alone; none is left out."""
    sizes = [CHUNK_BYTES // 4] * 7 + [2 * CHUNK_BYTES] + [10] * (CHUNK + 1)
    jobs = [Job(f"k{n}", {"prompt": "x" * size}) for n, size in enumerate(sizes)]

    chunks = [*chunked(jobs)]

    assert [len(chunk) for chunk in chunks] == [3, 3, 1, 1, CHUNK, 1]
    assert [job for chunk in chunks for job in chunk] == jobs


def damage(broker, damages):
    """Spoil the texts of the jobs that are named so."""
    with broker.client() as client:
        for key, text in damages.items():
            place = f"streaq:apimodels:task:data:{job_id(key)}"
            assert client.exists(place)
            client.set(place, text)


@needs_redis
async def test_a_damaged_job_fails_alone(queue, broker, emulator, caplog):
    """It is named, by a typed error; put again it is bought, once."""
    orders = [(f"a {key}", key) for key in (*DAMAGES, "good")]
    await queue.put(orders)
    damage(broker, DAMAGES)
    early = [await queue.wait(key) for key in DAMAGES]
    async with working(broker.url, emulator):
        assert (await queue.wait("good")).state == "completed"
        results = [f"streaq:apimodels:task:results:{job_id(key)}" for key in DAMAGES]
        await until(lambda: broker.client().exists(*results) == len(DAMAGES))
        late = [await queue.wait(key) for key in DAMAGES]
        await queue.put(orders)
        again = [await queue.wait(key) for _, key in orders]

    for answer in (*early, *late):
        assert repr(answer.idempotency_key) in str(answer.error)
    typed = [isinstance(each.error, UnexpectedResponseError) for each in early + late]
    assert typed == [True] * 12 + [False] * 2  # streaq could call with what these have
    assert [(each.state, each.error.charged) for each in (*early, *late)] == [
        ("unknown", None)
    ] * (2 * len(DAMAGES))
    assert {answer.state for answer in again} == {"completed"}
    assert prompts_ordered(emulator) == {prompt: 1 for prompt, _ in orders}
    assert "begins again" not in caplog.text


@needs_redis
async def test_what_is_put_takes_the_place_of_what_is_damaged(queue, broker, emulator):
    """Before any worker saw it: the others of its message are put as well."""
    damages = DAMAGES | ANOTHERS
    orders = [(f"a {key}", key) for key in damages]
    await queue.put(orders)
    damage(broker, damages)
    await queue.put([*orders, ("a fox", "new")])
    async with working(broker.url, emulator):
        answers = [await queue.wait(key) for key in (*damages, "new")]

    assert {answer.state for answer in answers} == {"completed"}
    assert set(prompts_ordered(emulator).values()) == {1}
