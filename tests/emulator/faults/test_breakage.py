"""Every named fault, as a client meets it."""

import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace

import aiohttp
import pytest

from apimodels_async.emulator import Fault
from apimodels_async.emulator.faults.breakage import altered, break_answer

CUTS = ("reset", "drop", "truncated", "garbage")
# Kind and options -> status and part of the answer.
REPLACEMENTS = [
    ("rate_limit", {}, 429, b"Too many"),
    ("status", {}, 502, b"Error 502"),
    ("status", {"status": 503, "body": "down"}, 503, b"down"),
    ("status", {"status": 500, "body": b"raw"}, 500, b"raw"),
    ("status", {"status": 418, "body": {"a": 1}}, 418, b'{"a": 1}'),
    ("bad_json", {}, 200, b'{"code": 200, "msg"'),
    ("html", {}, 200, b"<!doctype html>"),
    ("html", {"status": 502}, 502, b"<!doctype html>"),
    ("empty", {}, 200, b""),
    ("not_found", {}, 404, b"Task not found"),
    ("unauthorized", {}, 401, b"Invalid API key"),
    ("forbidden", {}, 403, b"Forbidden"),
    ("envelope", {}, 200, b'"code": 402'),
    ("envelope", {"code": 500}, 200, b'"code": 500'),
    ("redirect", {"location": "https://example.com/"}, 307, b""),
]


async def test_faults_that_replace_an_answer(api, emulator):
    """Such a fault answers what it says, once, and is counted."""
    failures = []
    for kind, options, status, words in REPLACEMENTS:
        fault = emulator.fault("balance", kind, **options)
        answered, headers, body = await api.send("GET", "balance")
        seen = (answered, words in body, fault.hits, emulator.requests[-1].fault)
        again, _, _ = await api.send("GET", "balance")
        right = (*seen, again) == (status, True, 1, kind, 200)
        if not right or headers.get("Location") != options.get("location"):
            failures.append((kind, options, seen, again, headers, body))

    assert failures == []


async def test_bad_json_cannot_be_parsed(api, emulator):
    """A bad_json answer ends half-way."""
    emulator.fault("balance", "bad_json")
    _, _, body = await api.send("GET", "balance")
    with pytest.raises(ValueError, match=r"Expecting|Untermin"):
        json.loads(body)


async def test_retry_after_is_as_given(api, emulator):
    """The Retry-After header carries the option, and None leaves it out."""
    for given in (None, 7, "soon"):
        emulator.fault("models", "rate_limit", retry_after=given)
        _, headers, _ = await api.send("GET", "models")

        assert headers.get("Retry-After") == (None if given is None else str(given))


async def test_faults_that_cut_the_connection(api, emulator):
    """Such a fault leaves client and record without a status."""
    for kind in CUTS:
        for after in (False, True):
            # For ever, as the client repeats a GET whose connection was closed.
            emulator.fault("balance", kind, times=None, after=after)
            with pytest.raises(aiohttp.ClientError):
                await api.send("GET", "balance")
            emulator.clear_faults()

            assert emulator.requests[-1].status is None


@pytest.mark.parametrize("path", ["images/generations", "images/generations-sync"])
async def test_a_destroyed_answer_is_charged_only_after_the_effect(api, emulator, path):
    """With after=True the work is done and paid; without, nothing was made."""
    where = "sync" if path.endswith("sync") else "create"
    order = {"model": "sparkpix-image", "prompt": "x"}
    paid = 0
    for kind in ("reset", "drop", "truncated", "html", "rate_limit"):
        for after in (False, True):
            fault = emulator.fault(where, kind, after=after)
            try:
                await api.send("POST", path, json=order)
            except aiohttp.ClientError:
                assert kind in CUTS
            emulator.advance(10)
            paid += after

            made = [*emulator.tasks.values(), *emulator.generations.values()]
            assert [each.charged for each in made] == [True] * paid
            assert emulator.spent == paid * Decimal("0.01")
            record = emulator.requests[-1]
            status = None if kind in CUTS else 429 if kind == "rate_limit" else 200
            assert (fault.hits, record.status, record.charged) == (1, status, after)


async def raw_answer(emulator, count=1 << 16):
    """Return what a plain socket reads in answer to GET /balance."""
    port = int(emulator.origin.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = f"Authorization: Bearer {emulator.api_key}\r\n"
    writer.write(f"GET /api/v1/balance HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
    try:
        return await reader.read(count)
    finally:
        writer.close()


async def test_reset_is_a_real_reset_and_drop_is_not(emulator):
    """A reset arrives as RST, a drop as an orderly end."""
    emulator.fault("balance", "reset")
    emulator.fault("balance", "drop")
    with pytest.raises(ConnectionResetError):
        await raw_answer(emulator)

    assert await raw_answer(emulator) == b""


async def test_truncated_ends_where_it_is_told(emulator):
    """A truncated answer has its head and the first `at` bytes of its body."""
    emulator.fault("balance", "truncated", at=5)
    head, _, body = (await raw_answer(emulator)).partition(b"\r\n\r\n")

    assert b"Content-Length: " in head
    assert body == b'{"cod'


async def test_garbage_is_no_http(emulator):
    """Garbage does not begin like an HTTP answer."""
    emulator.fault("balance", "garbage")

    assert (await raw_answer(emulator)).startswith(b"\x16\x03")


async def test_slow_delays_a_right_answer(api, emulator):
    """A slow answer comes late and is right, and the work was done once."""
    for count, after in ((1, False), (2, True)):
        emulator.fault("create", "slow", seconds=0.05, after=after)
        started = asyncio.get_running_loop().time()
        await api.submit()

        assert asyncio.get_running_loop().time() - started >= 0.05
        assert len(emulator.tasks) == count


async def test_hang_never_answers(api, emulator):
    """A hung request gets no answer, and ends when its client leaves."""
    before = asyncio.all_tasks()
    emulator.fault("balance", "hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await api.send("GET", "balance")
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before:  # noqa: ASYNC110 - it ends by polling
            await asyncio.sleep(0.01)

    assert emulator.requests[0].status is None


async def test_polls_can_lie(api, emulator):
    """A poll can show an unknown state, another id, or no result."""
    task = await api.submit()
    await api.ended(task)
    emulator.fault("poll", "unknown_state")
    emulator.fault("poll", "unknown_state", word="dreaming")
    emulator.fault("poll", "wrong_id", match=task.id)
    emulator.fault("poll", "no_result")
    answers = [(await api.poll(task.id))["data"] for _ in range(4)]

    assert [data["state"] for data in answers[:2]] == ["moderating", "dreaming"]
    assert answers[2]["taskId"] != task.id
    assert answers[3]["resultUrls"] == []
    assert (await api.poll(task.id))["data"]["resultUrls"] == list(task.urls)


async def test_faults_that_change_a_task(api, emulator):
    """A task can be refused, stuck, empty or finished from the start."""
    for kind in ("refused", "stuck", "no_result", "completed", "wrong_id"):
        emulator.fault("create", kind, match=kind)
    refused = await api.submit("refused")
    stuck = await api.submit("stuck")
    empty = await api.submit("no_result")
    _, done = await api.create("completed")
    _, strange = await api.create("wrong_id")
    emulator.advance(3600)

    assert (await api.ended(refused))["failCode"] == "CONTENT_MODERATION"
    assert stuck.state in {"processing", "pending"}
    assert (await api.ended(empty))["resultUrls"] == []
    assert empty.charged
    assert done["data"]["state"] == "completed"
    assert strange["data"]["taskId"] not in emulator.tasks


async def test_faults_that_change_a_synchronous_call(api, emulator):
    """A synchronous call can be refused with 400 or answer without a picture."""
    emulator.fault("sync", "refused")
    emulator.fault("sync", "no_result")
    refused, why = await api.sync()
    empty, answer = await api.sync()

    assert (refused, why["msg"]) == (400, "Content policy violation")
    assert (empty, answer["data"]["url"]) == (200, "")


async def test_a_lite_model_can_be_finished_by_a_fault(api, emulator):
    """The completed fault finishes a synchronous model at once as well."""
    emulator.fault("create", "completed")
    _, body = await api.create(model="gpt-image-2-lite")

    assert body["data"]["state"] == "completed"


async def test_file_faults_truncate_the_picture(api, emulator):
    """A truncated picture announces its whole length and ends early."""
    url = await api.result(size="64x64")
    emulator.fault("file", "truncated", match=url[-12:])
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.send("GET", url)
    assert (await api.fetch(url)).size == (64, 64)


async def test_clearing_ends_all_faults(api, emulator):
    """After clear_faults() everything works again."""
    emulator.fault("*", "status", times=None)
    first, _, _ = await api.send("GET", "balance")
    emulator.clear_faults()
    second, _, _ = await api.send("GET", "balance")

    assert (first, second) == (502, 200)


async def test_a_client_that_is_gone_cannot_be_cut():
    """Cutting the connection of a client that has left does nothing."""
    gone = SimpleNamespace(transport=None)
    for kind in (*CUTS, "hang"):
        answer = await break_answer(gone, Fault("*", kind), None, asyncio.Event())

        assert answer is None


def test_no_result_leaves_none_in_either_form():
    """The no_result fault empties the list of results and the JSON string of them."""
    data = {"taskId": "a", "resultUrls": ["x"], "resultJson": '{"resultUrls": ["x"]}'}

    assert altered(data, Fault("poll", "no_result")) == {
        "taskId": "a",
        "resultUrls": [],
        "resultJson": '{"resultUrls": []}',
    }
    assert altered({"taskId": "a"}, Fault("poll", "no_result")) == {"taskId": "a"}
