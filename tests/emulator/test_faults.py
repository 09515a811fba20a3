"""Every named fault, as a client meets it."""

import asyncio
import json
import re
from types import SimpleNamespace

import aiohttp
import pytest

from apimodels_async.emulator import Emulator, Fault
from apimodels_async.emulator.faults.breakage import break_answer
from apimodels_async.emulator.faults.faults import Faults
from apimodels_async.emulator.faults.kinds import KINDS, WHERES, wheres_of
from apimodels_async.emulator.service.values import seeded

anyio = pytest.mark.anyio


@anyio
@pytest.mark.parametrize(
    ("kind", "options", "status", "words"),
    [
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
    ],
)
async def test_faults_that_replace_an_answer(
    api, emulator, kind, options, status, words
):
    """Such a fault answers what it says, once, and is counted."""
    fault = emulator.fault("balance", kind, **options)
    answered, headers, body = await api.send("GET", "balance")
    again, _, _ = await api.send("GET", "balance")

    assert (answered, again, fault.hits) == (status, 200, 1)
    assert words in body
    assert emulator.requests[0].fault == kind
    if kind == "redirect":
        assert headers["Location"] == "https://example.com/"
    if kind == "bad_json":
        with pytest.raises(ValueError, match=r"Expecting|Untermin"):
            json.loads(body)


@anyio
@pytest.mark.parametrize("given", [None, 7, "soon"])
async def test_retry_after_is_as_given(api, emulator, given):
    """The Retry-After header carries the option, and None leaves it out."""
    emulator.fault("models", "rate_limit", retry_after=given)
    _, headers, _ = await api.send("GET", "models")

    assert headers.get("Retry-After") == (None if given is None else str(given))


@anyio
@pytest.mark.parametrize("kind", ["reset", "drop", "truncated", "garbage"])
@pytest.mark.parametrize("after", [False, True])
async def test_faults_that_cut_the_connection(api, emulator, kind, after):
    """Such a fault leaves client and record without a status."""
    emulator.fault("balance", kind, times=None, after=after)
    with pytest.raises(aiohttp.ClientError):
        await api.send("GET", "balance")

    assert emulator.requests[-1].status is None


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


@anyio
async def test_reset_is_a_real_reset_and_drop_is_not(emulator):
    """A reset arrives as RST, a drop as an orderly end."""
    emulator.fault("balance", "reset")
    emulator.fault("balance", "drop")
    with pytest.raises(ConnectionResetError):
        await raw_answer(emulator)

    assert await raw_answer(emulator) == b""


@anyio
async def test_garbage_is_no_http(emulator):
    """Garbage does not begin like an HTTP answer."""
    emulator.fault("balance", "garbage")

    assert (await raw_answer(emulator)).startswith(b"\x16\x03")


@anyio
@pytest.mark.parametrize("after", [False, True])
async def test_slow_delays_a_right_answer(api, emulator, after):
    """A slow answer comes late and is right, and the work was done once."""
    emulator.fault("create", "slow", seconds=0.05, after=after)
    started = asyncio.get_running_loop().time()
    await api.submit()

    assert asyncio.get_running_loop().time() - started >= 0.05
    assert len(emulator.tasks) == 1


@anyio
async def test_hang_never_answers(api, emulator):
    """A hung request gets no answer, and ends when its client leaves."""
    emulator.fault("balance", "hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await api.send("GET", "balance")
    await asyncio.sleep(0.6)

    assert emulator.requests[0].status is None


@anyio
async def test_closing_ends_what_hangs():
    """Closing is quick with hung, slow and stuck requests under way."""
    async with aiohttp.ClientSession() as http:
        emulator = Emulator(service_times={"*": 0.01})
        await emulator.start()
        emulator.fault("balance", "hang")
        emulator.fault("models", "slow", seconds=60)
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        base = emulator.base_url

        async def call(method, path, **more):
            url = f"{base}/{path}"
            try:
                async with http.request(method, url, headers=key, **more) as reply:
                    return reply.status
            except aiohttp.ClientError:
                return None

        stuck = {"prompt": "[stuck]"}
        calls = [
            asyncio.create_task(call("GET", "balance")),
            asyncio.create_task(call("GET", "models")),
            asyncio.create_task(call("POST", "images/generations-sync", json=stuck)),
        ]
        while len(emulator.requests) < 3:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
        started = asyncio.get_running_loop().time()
        await emulator.aclose()

        assert asyncio.get_running_loop().time() - started < 2
        await asyncio.gather(*calls)


@anyio
async def test_polls_can_lie(api, emulator):
    """A poll can show an unknown state, another id, or no result."""
    task = await api.submit()
    await api.ended(task.id)
    emulator.fault("poll", "unknown_state")
    emulator.fault("poll", "unknown_state", word="dreaming")
    emulator.fault("poll", "wrong_id", match=task.id)
    emulator.fault("poll", "no_result")
    answers = [(await api.poll(task.id))["data"] for _ in range(4)]

    assert [data["state"] for data in answers[:2]] == ["moderating", "dreaming"]
    assert answers[2]["taskId"] != task.id
    assert answers[3]["resultUrls"] == []
    assert (await api.poll(task.id))["data"]["resultUrls"] == list(task.urls)


@anyio
async def test_faults_that_bend_a_task(api, emulator):
    """A task can be refused, stuck, empty or finished from the start."""
    for kind in ("refused", "stuck", "no_result", "completed", "wrong_id"):
        emulator.fault("create", kind, match=kind)
    refused = await api.submit("refused")
    stuck = await api.submit("stuck")
    empty = await api.submit("no_result")
    _, done = await api.create("completed")
    _, strange = await api.create("wrong_id")
    emulator.advance(3600)

    assert (await api.ended(refused.id))["failCode"] == "CONTENT_MODERATION"
    assert stuck.state in {"processing", "pending"}
    assert (await api.ended(empty.id))["resultUrls"] == []
    assert empty.charged
    assert done["data"]["state"] == "completed"
    assert strange["data"]["taskId"] not in emulator.tasks


@anyio
async def test_faults_that_bend_a_synchronous_call(api, emulator):
    """A synchronous call can be refused with 400 or answer without a picture."""
    emulator.fault("sync", "refused")
    emulator.fault("sync", "no_result")
    body = {"prompt": "x"}
    refused, why = await api.ask("POST", "images/generations-sync", json=body)
    empty, answer = await api.ask("POST", "images/generations-sync", json=body)

    assert (refused, why["msg"]) == (400, "Content policy violation")
    assert (empty, answer["data"]["url"]) == (200, "")


@anyio
async def test_a_lite_model_can_be_finished_by_a_fault(api, emulator):
    """The completed fault finishes a synchronous model at once as well."""
    emulator.fault("create", "completed")
    _, body = await api.create(model="gpt-image-2-lite")

    assert body["data"]["state"] == "completed"


@anyio
async def test_file_faults_spoil_the_picture(api, emulator):
    """A truncated picture announces its whole length and ends early."""
    task = await api.submit()
    url = (await api.ended(task.id))["resultUrls"][0]
    emulator.fault("file", "truncated", match=url[-12:])
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.send("GET", url)
    assert (await api.fetch(url)).size == (1024, 1024)


@anyio
async def test_clearing_ends_all_faults(api, emulator):
    """After clear_faults() everything works again."""
    emulator.fault("*", "status", times=None)
    first, _, _ = await api.send("GET", "balance")
    emulator.clear_faults()
    second, _, _ = await api.send("GET", "balance")

    assert (first, second) == (502, 200)


@pytest.mark.parametrize(
    ("where", "kind", "more", "words"),
    [
        ("nowhere", "reset", {}, "unknown where 'nowhere'; allowed: *, balance"),
        ("poll", "explode", {}, "unknown kind 'explode'; allowed: bad_json"),
        ("poll", "stuck", {}, "'stuck' means nothing at 'poll'; allowed: create"),
        ("callback", "status", {}, "means nothing at 'callback'"),
        ("poll", "slow", {"options": {"minutes": 1}}, "allowed: seconds"),
        ("poll", "reset", {"options": {"x": 1}}, "allowed: none"),
        ("poll", "reset", {"probability": 2}, "between 0 and 1"),
    ],
)
def test_a_fault_nobody_knows_is_refused(where, kind, more, words):
    """An unknown place, kind or option is a ValueError that lists the allowed."""
    with pytest.raises(ValueError, match=re.escape(words)):
        Fault(where, kind, **more)


def test_faults_are_read_from_a_command_line():
    """where:kind[:probability] reads as a fault for ever."""
    fault, sure = Fault.parse("poll:reset:0.05"), Fault.parse("*:slow")

    assert (fault.where, fault.kind, fault.probability, fault.times) == (
        "poll",
        "reset",
        0.05,
        None,
    )
    assert sure.probability == 1
    with pytest.raises(ValueError, match="where:kind"):
        Fault.parse("poll:reset:often")


def test_chance_is_seeded():
    """A fault with a probability hits about that often, the same way each run."""

    def run(seed):
        faults = Faults(seeded(seed, "test"))
        fault = faults.add(Fault("*", "reset", times=None, probability=0.25))
        hits = [faults.strike("poll", "") is fault for _ in range(400)]
        assert fault.hits == sum(hits)
        return hits

    assert run(1) == run(1) != run(2)
    assert 60 < sum(run(1)) < 140


def test_every_kind_has_a_place():
    """Each kind means something somewhere, and each place knows some kind."""
    places = [wheres_of(kind) for kind in KINDS]

    assert all(places)
    assert frozenset().union(*places) == WHERES


def test_a_star_hits_only_where_a_kind_means_something():
    """A stuck fault for every place leaves polls alone."""
    assert not Fault("*", "stuck").applies("poll", "")
    assert Fault("*", "stuck").applies("create", "")


def test_paid_stands_for_every_order():
    """A fault for paid requests hits the four kinds of order, and nothing free."""
    fault = Fault("paid", "reset")

    hit = {where for where in WHERES if fault.applies(where, "")}

    assert hit == {"create", "sync", "edit", "edits"}
    with pytest.raises(ValueError, match="means nothing at 'paid'"):
        Fault("paid", "duplicate")


@anyio
@pytest.mark.parametrize("kind", ["reset", "drop", "truncated", "garbage", "hang"])
async def test_a_client_that_is_gone_cannot_be_cut(kind):
    """Cutting the connection of a client that has left does nothing."""
    gone = SimpleNamespace(transport=None)

    assert await break_answer(gone, Fault("*", kind), None, asyncio.Event()) is None
