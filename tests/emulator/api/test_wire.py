"""The samples typed from the API documentation, against what the emulator answers."""

import json
from io import BytesIO
from pathlib import Path

import aiohttp
from support.waiting import until

SAMPLES = Path(__file__).parents[2] / "samples"

# The documentation's own bodies leave these out; the vendor's tools read them.
MORE = {"modelType", "createTime", "completeTime", "credits", "failCode", "retryable"}


def shape(value):
    """Return *value* with every leaf replaced by its type; lists by one item."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return "number" if type(value) is float else type(value).__name__


def sample(name):
    """Return status and body of a sample."""
    [path] = SAMPLES.glob(f"{name}.*.json")
    return int(path.suffixes[-2][1:]), json.loads(path.read_text(encoding="utf-8"))


def check(name, status, body, *, more=frozenset()):
    """Compare an answer with a sample; *more* names fields the sample leaves out."""
    expected_status, expected = sample(name)
    rendered = shape(body)
    if isinstance(rendered.get("data"), dict):
        extra = set(rendered["data"]) - set(expected["data"])
        assert extra <= more
        for key in extra:
            del rendered["data"][key]

    assert (status, rendered) == (expected_status, shape(expected))


async def polled(api, task_id, name, *, more=frozenset()):
    """Compare the answer to a poll with a sample."""
    params = {"task_id": task_id}
    check(name, *await api.ask("GET", "images/generations", params=params), more=more)


async def test_create_samples(api, emulator, serve):
    """Create answers look like their samples."""
    layer_free = {"size": "1024x1024"}
    check("create/pending", *await api.create())
    check("create/pending_kling", *await api.create(model="kling-v3"))
    check("create/completed", *await api.create(model="gpt-image-2-lite"))
    check("create/openai_url", *await api.create(model="gpt-image-2-all", **layer_free))
    check(
        "create/openai_b64",
        *await api.create(
            model="gpt-image-2-all", response_format="b64_json", **layer_free
        ),
    )
    emulator.fault("create", "envelope")
    check("create/envelope_402", *await api.create())
    check("create/unknown_model", *await api.create(model="no-such-model"))
    check("create/missing_prompt", *await api.create(""))
    emulator.fault("create", "rate_limit")
    check("create/rate_limited", *await api.create())
    emulator.fault("create", "status", status=500)
    check("create/server_error", *await api.create())
    wrong = {"json": {"model": "gpt-image-2", "prompt": "x"}, "key": "sk_wrong"}
    refused = await api.ask("POST", "images/generations", **wrong)
    check("create/unauthorized", *refused)
    async with serve(credits="0") as poor:
        check("create/insufficient_credits", *await poor.create())


async def test_poll_samples(serve):
    """Poll answers look like their samples, the documentation's own included."""
    async with serve(service_times={"*": 100}) as api:
        emulator = api.emulator
        task, failing = await api.submit(), await api.submit("[refused]")
        layers = await api.submit(
            model="doubao-seedream-5-0-flash", layer_decomposition=True
        )
        await polled(api, task.id, "poll/pending", more=MORE)
        emulator.advance(50)
        await polled(api, task.id, "poll/processing", more=MORE)
        emulator.fault("poll", "unknown_state")
        await polled(api, task.id, "poll/unknown_state", more=MORE)
        emulator.advance(60)
        await polled(api, task.id, "poll/completed", more=MORE)
        await polled(api, task.id, "poll/completed_full")
        await polled(api, layers.id, "poll/completed_layers")
        await polled(api, failing.id, "poll/failed", more=MORE)
        await polled(api, failing.id, "poll/failed_full")
        await polled(api, "clx", "poll/not_found")
        check("poll/task_id_required", *await api.ask("GET", "images/generations"))
        wrong = await api.ask("GET", "images/generations?task_id=x", key="sk_wrong")
        check("poll/unauthorized", *wrong)


async def test_synchronous_samples(api, emulator):
    """SparkPix answers look like their samples."""
    sync, edit = "images/generations-sync", "images/edit"
    fox = {"prompt": "a fox"}
    check("sync/ok", *await api.ask("POST", sync, json=fox))
    bad = await api.ask("POST", sync, json={**fox, "width": 100})
    check("sync/bad_width", *bad)
    assert bad[1] == sample("sync/bad_width")[1]
    refused = await api.ask("POST", sync, json={"prompt": "[refused]"})
    check("sync/refused", *refused)
    emulator.fault("sync", "envelope")
    check("sync/envelope_402", *await api.ask("POST", sync, json=fox))
    check("edit/ok", *await api.ask("POST", edit, json=fox))
    inside = {**fox, "images": ["http://127.0.0.1/a.png"]}
    check("edit/private_address", *await api.ask("POST", edit, json=inside))


async def test_other_samples(api, png):
    """Form edits, balance, models and files look like their samples."""
    form = aiohttp.FormData({"prompt": "x"})
    form.add_field("image", png(), filename="a.png")
    edited = await api.ask("POST", "images/edits", data=form)
    check("edits/openai_url", *edited)
    check("balance/ok", *await api.ask("GET", "balance"))
    check("models/ok", *await api.ask("GET", "models"))
    body = {"filename": "cat.png", "contentType": "image/png"}
    check("files/presigned", *await api.ask("POST", "files", json=body))
    for name, size in (("files/multipart", 10), ("files/too_large", 4_200_000)):
        form = aiohttp.FormData()
        form.add_field("file", BytesIO(b"x" * size), filename="a.png")
        check(name, *await api.ask("POST", "files", data=form))


async def test_callback_samples(api, emulator):
    """Callback bodies look like their samples, the JSON strings inside too."""
    samples = {"a": "callback/completed", "[refused]": "callback/failed"}
    for prompt in samples:
        await api.submit(prompt, callback_url="http://127.0.0.1:9/")
    await until(lambda: len(emulator.callbacks) == 2)
    for (prompt, name), record in zip(samples.items(), emulator.callbacks, strict=True):
        check(name, 200, record.body)
        for field in ("resultJson", "param"):
            inner = json.loads(record.body["data"][field])
            assert shape(inner) == shape(json.loads(sample(name)[1]["data"][field]))
        assert inner["prompt"] == prompt


def test_every_sample_is_checked():
    """Each sample file is named in this module."""
    source = Path(__file__).read_text(encoding="utf-8")
    names = {
        f"{path.parent.name}/{path.name.partition('.')[0]}"
        for path in SAMPLES.rglob("*.json")
    }

    assert {name for name in names if name not in source} == set()


def test_the_documentation_is_quoted_exactly():
    """The three bodies of the documentation are samples, word for word."""
    pending, done = {"taskId": "clxxx...", "state": "pending"}, sample("poll/completed")
    failed = sample("poll/failed")[1]["data"]

    assert sample("create/pending")[1]["data"] == pending
    assert done[1]["data"] == {
        "taskId": "clxxx...",
        "state": "completed",
        "resultUrls": ["https://r2.apimodels.app/images/xxx.jpeg"],
        "createTime": 1705123450000,
        "completeTime": 1705123465000,
    }
    assert failed["failMsg"] == "Content policy violation"
