"""Jobs that are delivered again: one order, one answer."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from support.batches import orders, prompts_ordered
from support.proxy import ChaosProxy
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
from apimodels_async.integrations.streaq.jobs import Job, job_id
from apimodels_async.integrations.streaq.progress import progress_key
from apimodels_async.stores import MemoryStore, RedisStore

pytestmark = needs_redis
ORDERS = [
    ({"prompt": "[fail] fox", "model": "gpt-image-2"}, "failed"),
    ("[refused] bear", "refused"),
]


async def put_again(queue, broker, job, *, fresh):
    """Return the answer to *job*, whose earlier one the broker forgot."""
    broker.client().delete(f"streaq:apimodels:task:results:{job.id}")
    return await queue.waiting.answer_to(queue.waiting.enqueue(job, fresh=fresh))


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
            answer = await put_again(queue, broker, job, fresh=fresh)
            assert answer.state == "refused"

    assert prompts_ordered(emulator) == {"[refused] bear": 2}


async def test_a_refusal_stays_one_once_it_was_told(queue, broker, emulator, connect):
    """Whatever its words; one that nobody was told of is ordered once more."""
    told = Job("told", {"prompt": "a fox", "model": "sparkpix-image"})
    untold = Job("untold", {"prompt": "a hare", "model": "sparkpix-image"})
    session = connect(emulator, store=RedisStore(broker.url))
    emulator.fault("paid", "status", status=400, times=1)
    with pytest.raises(ApiModelsError):
        await session.images.generate(
            untold.request["prompt"], idempotency_key=untold.key
        )
    emulator.fault("paid", "status", status=501, times=1)
    async with working(broker.url, emulator):
        for job, fresh, state in (
            *((told, True, "refused"), (told, False, "refused")),
            (untold, False, "completed"),
        ):
            answer = await put_again(queue, broker, job, fresh=fresh)
            assert answer.state == state

    assert prompts_ordered(emulator) == {"a hare": 1}
    assert len(orders(emulator)) == 3  # two of them refused


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


async def test_a_task_that_cannot_be_told_yet_is_waited_for(queue, broker, emulator):
    """It is paid for: a broker that takes no word of it is no reason to drop it."""
    place = progress_key("apimodels", job_id("moose"))
    rights = "+@all &* %R~* ~streaq:* ~{apimodels}*"
    with broker.client() as client:
        client.execute_command(
            *("ACL", "SETUSER", "less", "on", ">secret"), *rights.split()
        )
    less = broker.url.replace("://", "://less:secret@")
    async with working(less, emulator):
        await queue.put([({"prompt": "a moose", "model": "gpt-image-2"}, "moose")])
        answer = await queue.wait("moose")

    assert (answer.state, answer.tries) == ("completed", 1)
    assert not broker.client().exists(place)


async def test_what_cannot_be_saved_is_paid_for_and_told(
    queue, broker, emulator, tmp_path
):
    """The answer has result and error; put again, it is saved, and not bought again."""
    emulator.fault("file", "html", status=200, times=2)
    job = Job("numbered", {"prompt": "a fox"}, None, 7)
    nowhere = Job("nowhere", {"prompt": "a bear"}, "az://deck/")  # of no account
    async with working(broker.url, emulator, save_to=tmp_path):
        await queue.put([("a hare", "hare")])
        hare = await queue.wait("hare")
        fox = await put_again(queue, broker, job, fresh=True)
        bear = await put_again(queue, broker, nowhere, fresh=True)
        for each in (hare, fox, bear):
            assert each.state == "completed"
            assert each.paths == ()
            assert isinstance(each.error, DownloadError)
        await queue.put([("a hare", "hare")])
        await until(lambda: len(list(tmp_path.iterdir())) == 1)

    assert "AZURE_STORAGE_ACCOUNT_NAME is needed" in str(bear.error)
    assert len(emulator.generations) == 3


async def test_an_inline_picture_that_is_not_saved_is_told(
    queue, broker, emulator, tmp_path
):
    """Whoever waits gets the picture, out of the store, and why it is not saved."""
    more = {"size": "1024x1024", "response_format": "b64_json"}
    order = {"prompt": "a moose", "model": "gpt-image-2-all", **more}
    place = tmp_path / "gone"
    async with working(broker.url, emulator, save_to=place):
        await queue.put([("a fox", "first")])
        await queue.wait("first")
        shutil.rmtree(place)
        place.write_text("in the way")
        await queue.put([(order, "inline")])
        answer = await queue.wait("inline")

    assert answer.result.url.startswith("data:image/")
    assert (answer.state, answer.paths) == ("completed", ())
    assert isinstance(answer.error, DownloadError)


async def test_a_worker_of_another_api_orders_nothing(queue, broker, emulator):
    """What is put for an emulator costs nothing at a worker of the real API."""
    elsewhere = "http://127.0.0.1:9/api/v1"
    async with (
        working(broker.url, emulator),
        OrderQueue(broker.url, base_url=elsewhere) as other,
    ):
        await other.put([("a fox", "elsewhere")])
        answer = await other.wait("elsewhere")
        for key, address in (("bad", 5), ("here", f"{emulator.base_url}/")):
            job = Job(key, {"prompt": "a hare"}, base_url=address)
            found = await put_again(queue, broker, job, fresh=True)
            assert found.state == ("completed" if key == "here" else "refused")

    assert (answer.state, answer.error.charged) == ("refused", False)
    assert elsewhere in str(answer.error)
    assert prompts_ordered(emulator) == {"a hare": 1}


async def test_what_another_worker_may_have_ordered_is_not_told_as_free(
    queue, broker, emulator
):
    """Refused by one of another API, or of an older release, that has it later."""
    elsewhere = Job("k", {"prompt": "a fox"}, base_url="http://127.0.0.1:9/api/v1")
    newer = Job("n", {"prompt": "a fox"}, newer=("unheard of",))
    async with working(broker.url, emulator):
        answers = [
            await put_again(queue, broker, job, fresh=fresh)
            for job in (elsewhere, newer)
            for fresh in (True, False)
        ]

    told = [(answer.state, answer.error.charged) for answer in answers]
    assert told == [("refused", False), ("unknown", None)] * 2
    assert "update the worker" in str(answers[-1].error)
    assert not emulator.generations


async def test_a_worker_that_is_cut_off_fails_no_job(broker, emulator, caplog):
    """It keeps what it has for a while and gives it back; then it is ordered, once."""
    async with (
        ChaosProxy(emulator) as way,
        working(broker.url, way, api_key=emulator.api_key, attempts=1) as worker,
        OrderQueue(broker.url, base_url=way.base_url) as queue,
    ):
        await queue.put([("a fox", "first")])
        await queue.wait("first")
        way.leave()
        await queue.put([(f"hare {number}", f"{number}") for number in range(12)])
        await until(lambda: "given back until it can be reached" in caplog.text)
        way.come_back()
        answers = [await queue.wait(f"{number}") for number in range(12)]

    assert {answer.state for answer in answers} == {"completed"}
    assert max(answer.tries for answer in answers) >= 2
    assert len(worker.answers) == 13
    assert set(prompts_ordered(emulator).values()) == {1}
    assert caplog.text.count("given back until it can be reached") == 1


async def test_a_refusal_ends_what_a_cut_began(broker, emulator, caplog):
    """It came from the API: the next cut is told anew, and held from its beginning."""
    told = "given back until it can be reached"
    async with (
        ChaosProxy(emulator) as way,
        working(broker.url, way, api_key=emulator.api_key, attempts=1),
        OrderQueue(broker.url, base_url=way.base_url) as queue,
    ):
        await queue.put([("a fox", "first")])
        await queue.wait("first")
        for count in (1, 2):
            way.leave()
            await queue.put([(f"[refused] hare {count}", f"{count}")])
            await until(lambda count=count: caplog.text.count(told) == count)
            way.come_back()
            assert (await queue.wait(f"{count}")).state == "refused"
