"""A queue and its workers: put, bought once, answered."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from streaq import Worker
from support.batches import prompts_ordered
from support.cases import check_all
from support.ports import free_port
from support.redis import SAFE, RedisServer, needs_redis
from support.waiting import until
from support.workers import RunningWorker, working

from apimodels_async import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    GenerationFailedError,
    InvalidRequestError,
    OutcomeUnknownError,
    SessionClosedError,
    UnexpectedResponseError,
)
from apimodels_async.integrations.redis import RedisRelay
from apimodels_async.integrations.streaq import (
    JobState,
    OrderQueue,
    add_order,
    order_worker,
    to_json,
)
from apimodels_async.integrations.streaq.jobs import Job, job_id
from apimodels_async.integrations.streaq.progress import progress_key
from apimodels_async.integrations.streaq.putting import CHUNK
from apimodels_async.stores import MemoryStore, RedisStore

pytestmark = needs_redis
MOOSE = {"prompt": "a moose", "model": "gpt-image-2"}


async def test_an_address_of_valkey_leads_broker_store_limit_and_relay(
    broker, emulator, tmp_path
):
    """A worker that is given one starts, orders and answers."""
    url = broker.url.replace("redis://", "valkey://")
    async with (
        working(url, emulator, save_to=tmp_path / "out"),
        OrderQueue(url, base_url=emulator.base_url) as queue,
    ):
        await queue.put([("a fox", "fox")])
        fox = await queue.wait("fox")

    assert fox.paths
    assert RedisRelay("valkeys://h/1")
    with pytest.raises(ConfigurationError):
        RedisRelay("valkeyz://h/1")


async def test_what_is_put_is_bought_once(queue, broker, emulator, tmp_path):
    """However often it is put, before and after its end; its file is saved."""
    orders = [("a fox", "fox"), (MOOSE, "moose")]
    put = [await queue.put(orders), await queue.put(orders)]
    waiting = await queue.look("moose")
    async with working(broker.url, emulator, save_to=tmp_path / "out") as worker:
        fox, moose = await asyncio.gather(queue.wait("fox"), queue.wait("moose"))
        await queue.put(orders)
        await until(lambda: len(worker.answers) == 4)
        assert await queue.wait("moose") == moose
        ended = await queue.look("moose")

    assert put == [2, 2]
    assert waiting.state is JobState.QUEUED
    assert set(prompts_ordered(emulator).values()) == {1}
    assert (ended.state, ended.task_id) == (JobState.ENDED, moose.task_id)
    assert moose.task_id in emulator.tasks
    assert moose.cost == emulator.tasks[moose.task_id].price
    names = {path.name.partition(".")[0] for path in (tmp_path / "out").iterdir()}
    assert names == {"a-fox", "a-moose"}
    assert len(fox.paths) == 1
    assert (await queue.look("none")).state is JobState.MISSING
    with pytest.raises(ConfigurationError, match="nothing is put"):
        await queue.wait("none")


async def test_an_answer_says_what_a_session_says(queue, broker, emulator, session):
    """A failure, a refusal and an unknown fate: the same error, the same words."""
    emulator.fault("create", "drop", match="lost", times=None, after=True)
    emulator.fault("create", "envelope", match="refused", times=None)
    found = []
    async with working(broker.url, emulator):
        for word in ("[fail] fox", "refused", "lost"):
            with pytest.raises(Exception) as caught:  # noqa: PT011  compared below
                await session.images.generate(word, model="gpt-image-2")
            await queue.put([({"prompt": word, "model": "gpt-image-2"}, word)])
            answer = await queue.wait(word)
            found.append((answer, caught.value))

    for answer, error in found:
        assert type(answer.error) is type(error)
        assert str(answer.error).partition(" (")[0] == str(error).partition(" (")[0]
        assert answer.error.charged is error.charged
    assert [answer.state for answer, _ in found] == ["failed", "refused", "unknown"]
    assert isinstance(found[0][1], GenerationFailedError)
    assert isinstance(found[2][1], OutcomeUnknownError)


async def test_a_key_of_another_request_is_refused(queue, broker, emulator):
    """While that waits, in one call too, and after its end; spelling does not count."""
    await queue.put([(MOOSE | {"seed": 1}, "k")])
    await queue.put([(MOOSE | {"seed": 1.0}, "k")])
    with pytest.raises(InvalidRequestError, match="'k' names another request") as found:
        await queue.put([("a fox", "k")])
    with pytest.raises(InvalidRequestError, match="'n' names another request"):
        await queue.put([("a fox", "n"), ("a hare", "n")])
    async with working(broker.url, emulator):
        first = await queue.wait("k")
        await queue.put([("a fox", "k")])
        second = await queue.wait("k")

    assert found.value.parameter == "idempotency_key"
    assert first.state == "completed"
    assert type(second.error) is InvalidRequestError
    assert list(prompts_ordered(emulator)) == ["a moose"]


async def test_a_worker_whose_key_is_refused_takes_nothing(queue, broker, emulator):
    """It ends as it begins: being the quickest, it would have all rows refused."""
    await queue.put([("a fox", "fox")])
    wrong = RunningWorker(broker.url, emulator, api_key="sk-of-another-service")
    with pytest.raises(AuthenticationError):
        await wrong.task
    emulator.fault("balance", "status", status=503, times=None)  # says nothing of a key
    async with working(broker.url, emulator):
        answer = await queue.wait("fox")

    assert wrong.answers == []
    assert (answer.state, answer.tries) == ("completed", 1)


async def test_a_job_may_not_name_files_of_the_worker(
    queue, broker, emulator, tmp_path
):
    """Whoever may write to the broker may order, and not write files elsewhere."""
    places = [str(tmp_path / "x"), f"file://{tmp_path}/x/", "memory://x/"]
    async with working(broker.url, emulator):
        for place in places:
            await queue.put([("a fox", place)], save_to=place)
        answers = [await queue.wait(place) for place in places]

    assert {answer.state for answer in answers} == {"refused"}
    assert "object storage (s3, gs, az) alone" in str(answers[0].error)
    assert not emulator.generations
    assert list(tmp_path.iterdir()) == []


async def test_a_worker_that_stops_hands_back(queue, broker, emulator):
    """What it had under way, and what it had not begun, another one ends; once."""
    orders = [({"prompt": f"m{n}", "model": "gpt-image-2"}, f"m{n}") for n in range(6)]
    await queue.put(orders)
    async with working(broker.url, emulator, concurrency=2):
        await until(lambda: len(emulator.tasks) >= 2)
    async with working(broker.url, emulator) as second:
        answers = await asyncio.gather(*(queue.wait(key) for _, key in orders))

    assert {answer.state for answer in answers} == {"completed"}
    assert set(prompts_ordered(emulator).values()) == {1}
    assert len(second.answers) >= 4
    assert max(answer.tries for answer in answers) > 1


async def test_a_broker_that_restarts_is_come_back_to(emulator):
    """Worker and queue go on; what was bought is not bought again."""
    with RedisServer(SAFE, port=free_port()) as server:
        orders = [
            ({"prompt": f"m{n}", "model": "gpt-image-2"}, f"m{n}") for n in range(5)
        ]
        async with (
            OrderQueue(server.url, base_url=emulator.base_url) as queue,
            working(server.url, emulator),
        ):
            await queue.put(orders)
            waiting = [asyncio.create_task(queue.wait(key)) for _, key in orders]
            await until(lambda: emulator.tasks and queue.stats().waiting == 5)
            server.kill()
            await until(lambda: queue.stats().trouble)
            with pytest.raises(
                ConnectionFailedError, match="the broker cannot be used"
            ):
                await queue.put([("a fox", "fox")])
            server.start()
            answers = await asyncio.gather(*waiting)

    assert {answer.state for answer in answers} == {"completed"}
    assert set(prompts_ordered(emulator).values()) == {1}


async def test_a_broker_that_is_away_at_first_is_told(emulator, tmp_path, caplog):
    """Queue and worker say so, and no word of a password."""
    url = "redis://:canary-secret@127.0.0.1:1/0"
    with pytest.raises(ConnectionFailedError) as queue_error:
        async with OrderQueue(url):
            pass
    with pytest.raises(ConnectionFailedError) as worker_error:
        async with working(url, emulator) as worker:
            await worker.task
    for error in (queue_error.value, worker_error.value):
        assert str(error).startswith("the broker cannot be used")
        assert "canary" not in f"{error!r} {caplog.text}"
    for bad in ("http://a.b", "redis://:canary-secret@h:x"):
        with pytest.raises(ConfigurationError, match="no address of a Redis") as caught:
            OrderQueue(bad)
        assert "canary" not in repr(caught.value)


async def test_a_picture_that_was_sent_inline_comes_from_the_store(
    queue, broker, emulator
):
    """The broker has its digest alone; whoever waits gets the picture."""
    more = {"size": "1024x1024", "response_format": "b64_json"}
    order = {**MOOSE, "model": "gpt-image-2-all", **more}
    async with working(broker.url, emulator):
        await queue.put([(order, "inline")])
        answer = await queue.wait("inline")

    assert answer.result.url.startswith("data:image/")
    with broker.client() as client:
        (kept,) = client.keys("streaq:*:results:*")
        assert len(client.get(kept)) < 4000


async def test_the_task_goes_into_a_worker_of_ones_own(broker, emulator, connect):
    """Beside other tasks, with the session of its own lifespan."""
    session = connect(emulator, store=RedisStore(broker.url))
    how = {
        "redis_url": broker.url,
        "queue_name": "mine",
        "serializer": to_json,
        "deserializer": json.loads,
    }
    worker, other = Worker(**how), Worker(**how)
    add_order(worker, lambda: session)
    running = asyncio.create_task(worker.run_async())
    try:
        async with other:
            task = await other.enqueue_unsafe("order", "a fox", "fox")
            ended = await task.result(timeout=30)
    finally:
        running.cancel()
        await asyncio.wait([running])

    assert ended.result["state"] == "completed"
    assert list(prompts_ordered(emulator)) == ["a fox"]


async def test_words_of_the_engine_are_no_answers(queue, broker, emulator):
    """A job that nobody can run is told, or failed at; a lost answer is put again."""
    said = {
        "none": "Missing function order!",
        "bug": "division by zero",
        "lost": "Task expired!",
    }
    await queue.put((f"a {key}", key) for key in said)
    waiting = [asyncio.create_task(queue.wait(key)) for key in said]
    await until(lambda: queue.stats().waiting == 3)
    with broker.client() as client:
        for key, words in said.items():
            place = f"streaq:apimodels:task:results:{job_id(key)}"
            client.set(place, json.dumps({"s": False, "r": words}))
        none, bug = await waiting[0], await waiting[1]
        await until(lambda: not client.exists(place))
    async with working(broker.url, emulator):
        lost = await waiting[2]

    assert str(none.error) == "no worker could run it: Missing function order!"
    assert lost.state == "completed"
    assert (bug.state, bug.error.charged) == ("unknown", None)  # it may have ordered


async def test_an_answer_that_cannot_be_read_is_told(queue, broker, emulator):
    """To who waits for that one; the others go on waiting, and get theirs."""
    await queue.put((f"a {key}", key) for key in ("text", "number", "good"))
    keys = ("text", "number", "good")
    waiting = [asyncio.create_task(queue.wait(key)) for key in keys]
    await until(lambda: queue.stats().waiting == 3)
    with broker.client() as client:
        for key, words in (("text", "no JSON"), ("number", "5")):
            client.set(f"streaq:apimodels:task:results:{job_id(key)}", words)
        unreadable = [await waiting[0], await waiting[1]]
    async with working(broker.url, emulator):
        assert (await waiting[2]).state == "completed"

    for answer in unreadable:
        assert isinstance(answer.error, UnexpectedResponseError)
        assert (answer.state, answer.error.charged) == ("unknown", None)


async def test_what_is_put_again_meanwhile_stays_as_it_is(queue, broker, emulator):
    """Its task is told as before, and what a newer release said of it is kept."""
    stuck = {"prompt": "[stuck] moose", "model": "gpt-image-2"}
    async with working(broker.url, emulator):
        await queue.put([(stuck, "stuck")])
        await until(lambda: emulator.tasks)
        place = progress_key("apimodels", job_id("stuck"))
        await until(lambda: broker.client().exists(place))
        await queue.put([(stuck, "stuck")])
        found = await queue.look("stuck")
    newer = Job("newer", {"prompt": "a fox"}, newer=("unheard of",))

    assert found.task_id in emulator.tasks
    assert Job.read(newer.arguments).arguments == newer.arguments
    assert Job.read(({"prompt": "a fox"}, "older")).arguments[2:] == (
        *(None, None, True),
        None,
    )


async def test_any_number_is_put_in_chunks(queue, broker):
    """From an asynchronous source, too; and each is there."""

    async def source():
        for number in range(CHUNK + 1):
            yield f"fox {number}", f"k{number}"

    assert await queue.put(source()) == CHUNK + 1
    assert broker.client().xlen("streaq:apimodels:queues:normal") == CHUNK + 1
    with pytest.raises(InvalidRequestError, match="not a single one"):
        await queue.put("a fox")


async def test_an_inline_picture_of_another_store_is_told(queue, broker, emulator):
    """It is paid for, and not here: an error with its task."""
    more = {"size": "1024x1024", "response_format": "b64_json"}
    order = {**MOOSE, "model": "gpt-image-2-all", **more}
    async with working(broker.url, emulator, store=MemoryStore()):
        await queue.put([(order, "inline")])
        answer = await queue.wait("inline")

    assert isinstance(answer.error, DownloadError)
    assert "workers' store is another one" in str(answer.error)


async def test_a_queue_that_is_left_tells_who_waits(broker, emulator, tmp_path):
    """Whoever waits gets an error; the job stays there."""
    async with OrderQueue(broker.url, base_url=emulator.base_url) as queue:
        await queue.put([("a fox", "fox")])
        waiting = asyncio.create_task(queue.wait("fox"))
        await until(lambda: queue.stats().waiting)
        queue.close()
        with pytest.raises(SessionClosedError, match="goes on"):
            await waiting
        with pytest.raises(SessionClosedError) as again:
            await queue.wait("fox")
        assert again.value.charged is None  # a worker may have bought it
        with pytest.raises(SessionClosedError, match="nothing was put") as late:
            async with queue.batch(["a hare"], name="n", journal=tmp_path / "j"):
                pass
        assert late.value.charged is False
        assert repr(queue) == "<OrderQueue apimodels>"
    with pytest.raises(KeyError, match="redis"):  # and no group of errors
        async with OrderQueue(broker.url, base_url=emulator.base_url):
            raise KeyError(broker.url)
    async with OrderQueue(broker.url, base_url=emulator.base_url) as queue:
        assert (await queue.look("fox")).state is JobState.QUEUED


async def test_what_is_no_pair_is_refused_and_nothing_is_put(queue):
    """A text, or a mapping, of two is none: its halves would be bought."""
    pairs = ("ab", MOOSE, ["a fox"], ("a fox", "fox", 3), 5, None)
    for wrong in ("a fox", *([each] for each in pairs)):
        with pytest.raises(InvalidRequestError, match=r"pair|not a single one"):
            await queue.put(wrong)
    for wrong in (5, None):
        with pytest.raises(InvalidRequestError, match="a list or an iterator"):
            await queue.put(wrong)
    for half in ("b", "model"):
        assert (await queue.look(half)).state is JobState.MISSING


def test_what_a_worker_is_told_is_checked_as_it_is_told(monkeypatch):
    """Not once it runs, in a group of errors; a key may come by then."""
    monkeypatch.delenv("APIMODELS_API_KEY", raising=False)
    url = "redis://localhost"
    wrong = (
        *({"pending": 0}, {"per_second": "x"}, {"concurrency": 0}, {"save_to": 5}),
        *({"concurrency": True}, {"grace_period": -1}, {"grace_period": "x"}),
        *({"idle_timeout": 0}, {"idle_timeout": math.nan}),
        *({"polling": 2.5}, {"max_polls": 0}, {"api_key": "a key"}),
    )

    def check(option):
        with pytest.raises((ConfigurationError, InvalidRequestError)) as refused:
            order_worker(url, **option)
        assert next(iter(option)) in str(refused.value).replace("API key", "api_key")

    check_all([(each,) for each in wrong], check)
    with pytest.raises(ConfigurationError, match="name on a Redis server"):
        order_worker(url, queue=5)
    with pytest.raises(TypeError, match="pendng"):
        order_worker(url, pendng=3)
    assert order_worker(
        url, api_key=None, concurrency=1, grace_period=0, idle_timeout=0.5
    )
