"""Bad input: always an answer, never a 500."""

import asyncio
import json
from email.utils import parsedate_to_datetime
from io import BytesIO

import aiohttp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.waiting import until

from apimodels_async.emulator import Emulator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "aspect_ratio",
        "width",
        "height",
        "size",
        "resolution",
        "seed",
        "n",
        "scale",
        "quality",
        "background",
        "output_format",
        "response_format",
        "layer_decomposition",
        "turbo",
        "prompt_upsampling",
        "lora_weights",
        "lora_scale",
        "callBackUrl",
        "callback_url",
        "images",
        "image",
        "image_url",
        "mask",
        "filename",
        "contentType",
        "fileSize",
    ]
)
MODELS = st.sampled_from(
    [
        "gpt-image-2",
        "gpt-image-2-all",
        "gpt-image-2-lite",
        "z-image-spicy",
        "x/kling-v3",
    ]
)
LIKELY = st.sampled_from(
    ["16:9", "1024x1024", "2K", "png", "auto", 512, 1024, True, "AAAA", "low", 2]
)
BODIES = st.fixed_dictionaries(
    {"prompt": st.text(max_size=30) | JSON, "model": MODELS | JSON}
).flatmap(
    lambda base: st.dictionaries(NAMES, LIKELY | JSON, max_size=4).map(
        lambda more: {**base, **more}
    )
)
PATHS = st.sampled_from(
    [
        "images/generations",
        "images/generations-sync",
        "images/edit",
        "images/edits",
        "files",
    ]
)
TYPES = st.sampled_from(
    [
        "application/json",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=b",
        'multipart/form-data; boundary="',
        "application/json; charset=klingon",
    ]
)


def run(coroutine):
    """Run *coroutine* in a loop of its own."""
    return asyncio.run(coroutine)


async def statuses(calls):
    """Return the statuses of POSTs (path, type, body) to a fresh emulator."""
    found = []
    async with (
        Emulator(service_times={"*": 0}) as emulator,
        aiohttp.ClientSession() as http,
    ):
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        for path, kind, body in calls:
            async with http.post(
                f"{emulator.base_url}/{path}",
                data=BytesIO(body),
                headers={**key, "Content-Type": kind},
            ) as reply:
                answer = json.loads(await reply.read())
                found.append(reply.status)
                assert isinstance(answer, dict)
                assert "data" in answer
        made = [*emulator.tasks.values(), *emulator.generations.values()]
        for _, sketch in (each for task in made for each in task.sketches):
            assert sketch.format in ("jpeg", "png", "webp")
            assert min(sketch.width, sketch.height) >= 64
            assert max(sketch.width, sketch.height) <= 4096
    return found


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(PATHS, BODIES), min_size=15, max_size=20))
@example([("images/edit", {"prompt": "x", "width": "16:9", "height": False})])
def test_no_json_body_breaks_the_emulator(cases):
    """Whatever JSON is sent, the answer is JSON with a documented status."""
    calls = [
        (path, "application/json", json.dumps(body).encode()) for path, body in cases
    ]

    assert set(run(statuses(calls))) <= {200, 400, 402, 413}


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n'
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nzz\r\n'
    b"--b--\r\n"
)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            PATHS,
            TYPES,
            st.binary(max_size=60)
            | st.sampled_from([b"", b"[1]", b"{" * 3000, b"[" * 90_000, b"9" * 6000])
            | st.integers(0, len(FORM)).map(lambda cut: FORM[:cut])
            | st.just(FORM),
        ),
        min_size=15,
        max_size=30,
    )
)
def test_no_bytes_break_the_emulator(calls):
    """Whatever bytes are sent under whatever type, the answer is 200 or a refusal."""
    assert set(run(statuses(calls))) <= {200, 400, 413}


async def test_a_client_that_leaves_while_sending(emulator, caplog):
    """A body that never ends makes no noise, and nothing of it takes effect."""
    port = int(emulator.origin.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /api/v1/images/generations HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer " + emulator.api_key.encode() + b"\r\n"
        b"Content-Length: 100\r\n\r\nabc"
    )
    await until(lambda: emulator.requests)
    writer.close()
    answer = await reader.read(4096)
    await asyncio.sleep(0.02)

    assert (answer, emulator.requests[0].status, caplog.records) == (b"", None, [])


async def test_the_date_of_an_answer_is_of_the_clock_that_is_moved(api):
    """Date and createTime tell how old a task is, also after advance()."""
    task = await api.submit()
    api.emulator.advance(3600)
    _, headers, _ = await api.send("GET", "balance")
    told = parsedate_to_datetime(headers["Date"]).timestamp()

    assert 3600 <= told - task.created_ms // 1000 < 3660
