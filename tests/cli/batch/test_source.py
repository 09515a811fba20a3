"""``apimodels batch --broker`` and ``apimodels worker``: who orders, and who waits."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest
from cli.batch.conftest import progress_of
from support.batches import prompts_ordered
from support.redis import SAFE, RedisServer, needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async.cli.batch.source import QueueSource
from apimodels_async.integrations.streaq import OrderQueue

pytestmark = needs_redis
SECRET = "canary-secret"


@pytest.fixture(scope="module")
def guarded():
    """Serve with a password, for the tests of this file."""
    with RedisServer((*SAFE, "--requirepass", SECRET)) as server:
        yield server


@pytest.fixture
def broker(guarded, monkeypatch):
    """Name the server in the environment, with its password; return its address."""
    from redis import Redis

    with Redis(unix_socket_path=guarded.path, password=SECRET) as client:
        client.flushall()
    url = f"unix://:{SECRET}@{guarded.path}"
    monkeypatch.setenv("APIMODELS_BROKER", url)
    return url


@pytest.fixture
def file(prompts):
    """Write rows of which one fails."""
    return prompts("a fox", "[refused] a bear", "a hare")


async def test_workers_order_and_this_program_tells(
    run, broker, emulator, file, folder, monkeypatch
):
    """The same outcomes, summary and page; without a key; again, nothing is ordered."""
    here = await run("batch", file, "--out", "near", "--broker", "none")
    monkeypatch.delenv("APIMODELS_API_KEY")
    async with working(broker, emulator):
        there = await run("batch", file, "--out", "far", "--json")
        made = prompts_ordered(emulator)
        again = await run("batch", file, "--out", "far")
        page = (folder / "far" / "index.html").read_text("utf-8")
        refused = await run("resume", "far", "--broker", "none")
        changed = await run("batch", file, "--out", "near")
    listed = await run("ls", "far")

    assert (here.code, there.code, again.code) == (1, 1, 1)
    assert "pictures 2 of 3 saved; 1 refused" in here.out.replace("  ", " ")
    assert there.records[-1]["completed"] == 2
    assert there.records[-1]["refused"] == 1
    errors = [each["error"] for each in there.records if each["event"] == "outcome"]
    told = next(each for each in errors if each)
    assert told.partition(" (")[0] in here.out
    assert made == {"a fox": 2, "a hare": 2, "[refused] a bear": 2}
    assert page.count('<li class="card') == 3
    names = [
        sorted(path.name for path in (folder / each / "pictures").iterdir())
        for each in ("near", "far")
    ]
    assert names[0] == names[1]
    assert "name their broker" in refused.err
    assert "was started without workers" in changed.err
    assert listed.out.count("completed") == 2
    shown = f"{there.out}{there.err}{again.err}{page}{refused.err}"
    assert SECRET not in shown
    assert SECRET not in (folder / "far" / "batch.json").read_text()


async def test_a_budget_ends_it_as_ever(run, broker, emulator, prompts):
    """--max-cost is for all that is in the queue, and the next run goes on."""
    file = prompts(*(f"m{n}" for n in range(12)))
    words = ("batch", file, "--out", "D", "--model", "gpt-image-2")
    async with working(broker, emulator):
        stopped = await run(*words, "--max-cost", "0.1")
        spent = emulator.spent
        rest = await run(*words, "--max-cost", "9")

    assert stopped.code == 1
    assert "--max-cost MORE" in stopped.out
    assert 0 < spent <= 0.1
    assert "12 of 12 saved" in rest.out
    assert set(prompts_ordered(emulator).values()) == {1}


async def test_who_waits_may_leave(run, program, broker, emulator, file):
    """Without workers that is said; Ctrl-C twice leaves rows that the next run has."""
    batch = program("batch", file, "--out", "D")
    await until(lambda: jobs(broker) == 3)
    batch.send_signal(signal.SIGINT)
    await asyncio.to_thread(_read_until, batch.stderr, "waited for")
    batch.send_signal(signal.SIGINT)
    err = await asyncio.to_thread(batch.stderr.read)
    batch.wait(60)
    assert batch.returncode == 130
    assert "Workers go on with what is in the queue." in err
    assert "apimodels resume" in err
    listed = await run("ls", "D")
    async with working(broker, emulator):
        resumed = await run("resume", "D")

    assert listed.out.count("pending") == 3
    assert "2 of 3 saved" in resumed.out
    assert set(prompts_ordered(emulator).values()) == {1}


async def test_what_does_not_go_together_is_refused(run, broker, emulator, prompts):
    """An emulator inside, a bucket of one machine, a broker that is none."""
    file = prompts("a fox")
    wrong = {
        ("--broker", "redis://h", "--emulator"): "--emulator is inside",
        ("--broker", "http://h"): "the broker: that is no address of a Redis server",
        ("--out", "file:///tmp/x/", "--folder", "F"): "workers save to s3://",
    }
    for options, why in wrong.items():
        out = () if "--out" in options else ("--out", "D")
        done = await run("batch", file, *out, *options)
        assert (done.code, why in done.err) == (2, True), done
    assert not emulator.requests


async def test_silence_is_told(broker, emulator, run_of, monkeypatch):
    """That no worker is there; and a broker that went away."""
    source = QueueSource(OrderQueue(broker, base_url=emulator.base_url), "x" * 32)
    assert source.silence() is None
    assert source.base_url == emulator.base_url
    run = run_of(progress_of())
    async with source.open() as queue:
        await queue.put([("a fox", "fox")])
        waiting = asyncio.create_task(queue.wait("fox"))
        await until(lambda: queue.stats().workers == 0 and queue.stats().waiting)
        assert source.silence().who == "No worker is at work on the queue"
        run.signal, run.period_s = 15, 0.01
        await run._warn_if_unanswered(source)
        await asyncio.wait([waiting])
        assert type(waiting.exception()).__name__ == "SessionClosedError"


async def test_a_worker_works_until_it_is_stopped(
    program, run, broker, emulator, file, folder
):
    """Its lines say what it did; Ctrl-C ends it with 130; no word of a password."""
    worker = program("worker", "--out", "pics", "--poll-interval", "0.05")
    done = await asyncio.to_thread(_run_batch, program, file)
    worker.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(worker.communicate, timeout=60)

    assert done.returncode == 1, done.communicate()
    assert worker.returncode == 130, err
    assert len(re.findall(r"^completed  [0-9a-f]{32}/\S+", out, re.MULTILINE)) == 2
    assert "refused" in out
    assert "Stopping: 0 rows under way" in err
    assert "2 completed" in err
    assert SECRET not in f"{out}{err}"


async def test_a_worker_says_what_it_lacks(run, monkeypatch, broker):
    """No broker, no key, and a server that lets nobody in."""
    monkeypatch.setenv("APIMODELS_BROKER", f"unix://{broker.rpartition('@')[2]}")
    closed = await run("worker")
    monkeypatch.setenv("APIMODELS_BROKER", broker)
    monkeypatch.delenv("APIMODELS_API_KEY")
    keyless = await run("worker")
    monkeypatch.delenv("APIMODELS_BROKER")
    nowhere = await run("worker")

    assert (closed.code, keyless.code, nowhere.code) == (2, 2, 2)
    assert "the broker cannot be used" in closed.err
    assert "APIMODELS_API_KEY" in keyless.err
    assert "no broker is named" in nowhere.err


def jobs(broker):
    """Return how many jobs the broker has."""
    from redis import Redis

    path = broker.rpartition("@")[2]
    with Redis(unix_socket_path=path, password=SECRET) as client:
        return client.xlen("streaq:apimodels:queues:normal")


def _read_until(stream, words):
    while words not in stream.readline():
        pass


def _run_batch(program, file):
    batch = program("batch", file, "--out", "D")
    batch.wait(60)
    return batch
