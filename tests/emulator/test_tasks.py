"""Creating tasks and asking about them."""

from decimal import Decimal

import pytest

from apimodels_async.emulator import Emulator

pytestmark = pytest.mark.anyio


async def test_a_task_goes_from_pending_to_completed(api, emulator):
    """A task is pending, then processing, then completed with a URL."""
    emulator._world.durations._given["*"] = 100
    task = await api.submit()
    first = await api.poll(task.id)
    emulator.advance(30)
    second = await api.poll(task.id)
    emulator.advance(80)
    third = await api.poll(task.id)

    states = [each["data"]["state"] for each in (first, second, third)]
    assert states == ["pending", "processing", "completed"]
    data = third["data"]
    assert data["completeTime"] - data["createTime"] == 100_000
    assert data["resultUrls"][0].startswith(f"{emulator.origin}/files/images/")
    assert (data["credits"], data["modelType"]) == (0.025, "TEXT_TO_IMAGE")


async def test_the_books_show_what_happened(api, emulator):
    """Task and request records tell model, prompt, params, polls and charge."""
    task = await api.submit("a moose", resolution="2K")
    await api.ended(task.id)

    assert (task.model, task.prompt, task.params) == (
        "gpt-image-2",
        "a moose",
        {"resolution": "2K"},
    )
    assert task.charged
    assert task.polls == len(task.poll_times) >= 1
    made, *polls = emulator.requests
    assert (made.endpoint, made.status, made.charged) == ("create", 200, True)
    assert (made.task_id, made.prompt, made.has_key) == (task.id, "a moose", True)
    assert {record.task_id for record in polls} == {task.id}
    assert emulator.connections_opened == len(emulator.requests)
    assert emulator.peak_connections >= 1


@pytest.mark.parametrize(
    ("tag", "message", "code"),
    [
        ("[refused]", "Content policy violation", "CONTENT_MODERATION"),
        ("[fail]", "Upstream is busy, try again later", "UPSTREAM_BUSY"),
    ],
)
async def test_tags_make_tasks_fail(api, emulator, tag, message, code):
    """A prompt with [refused] or [fail] fails in that way and costs nothing."""
    task = await api.submit(f"a {tag} moose")
    data = await api.ended(task.id)

    assert (data["state"], data["failMsg"], data["failCode"]) == (
        "failed",
        message,
        code,
    )
    assert (emulator.spent, emulator.frozen, emulator.balance) == (0, 0, 100)


async def test_a_stuck_task_stays_processing(api, emulator):
    """A prompt with [stuck] is processing a year later, and its price is held."""
    task = await api.submit("[stuck]")
    emulator.advance(365 * 24 * 3600)

    assert (await api.poll(task.id))["data"]["state"] == "pending"
    assert emulator.frozen == task.price


async def test_a_slow_task_takes_ten_times_as_long(api):
    """A prompt with [slow] takes ten service times."""
    quick, slow = await api.submit("x"), await api.submit("x [slow]")

    def length(task):
        return task.due_at * 1000 - task.created_ms

    assert length(slow) - length(quick) == pytest.approx(180, abs=20)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "task_id is required"),
        ("?taskId=clx", 400, "task_id is required"),
        ("?task_id=clx", 404, "Task not found"),
        ("/clx", 404, "Check your base_url"),
    ],
)
async def test_polls_that_name_no_task(api, query, status, words):
    """A poll without a known task_id is refused as the API words it."""
    answered, body = await api.ask("GET", f"images/generations{query}")

    assert answered == body["code"] == status
    assert words in body["msg"]


async def test_lite_answers_with_a_finished_task(api):
    """gpt-image-2-lite answers the create call completed, with its picture."""
    _, body = await api.create(model="gpt-image-2-lite", size="1024x1024")

    assert body["data"]["state"] == "completed"
    assert len(body["data"]["resultUrls"]) == 1


async def test_all_with_a_size_answers_in_the_openai_shape(api):
    """gpt-image-2-all with a WxH size answers created and data, no envelope."""
    _, body = await api.create(model="gpt-image-2-all", size="1024x1024", n=2)
    inline = {"size": "1024x1024", "response_format": "b64_json"}
    _, second = await api.create(model="gpt-image-2-all", **inline)

    assert set(body) == {"created", "data"}
    assert [set(each) for each in body["data"]] == [{"url"}, {"url"}]
    assert second["data"][0]["b64_json"].startswith("/9j/")


async def test_all_with_a_ratio_is_a_task(api):
    """gpt-image-2-all with aspect_ratio and resolution answers a task."""
    task = await api.submit(
        model="gpt-image-2-all", aspect_ratio="16:9", resolution="2K", quality="high"
    )

    assert str(task.price) == "0.10"


async def test_kling_answers_with_its_prefixed_name(api):
    """A Kling create answer carries the prefixed model name."""
    _, body = await api.create(model="kling-v3")

    assert body["data"]["model"] == "kling-image-gen/kling-v3"


async def test_a_prefixed_name_is_accepted(api):
    """The provider's prefix before a model id makes no difference."""
    task = await api.submit(model="grok-image/grok-4.2-image")

    assert task.model == "grok-4.2-image"


async def test_sparkpix_is_accepted_as_a_task(api):
    """SparkPix ids on the async endpoint become tasks."""
    task = await api.submit(model="sparkpix-image")

    assert (await api.ended(task.id))["state"] == "completed"


async def test_an_unknown_model_is_told_what_is_supported(api):
    """An unknown model answers 400 with the list of ids at the end."""
    status, body = await api.create(model="no-such-model")

    assert status == 400
    known = body["msg"].partition("Supported models: ")[2].split(", ")
    assert {"gpt-image-2", "sparkpix-image"} <= set(known)


async def test_layer_split_gives_layers(api):
    """layer_decomposition gives a flat picture, transparent layers and resultJson."""
    task = await api.submit(
        "a fox", "doubao-seedream-5-0-flash", layer_decomposition=True
    )
    data = await api.ended(task.id)
    pictures = [await api.fetch(url) for url in data["resultUrls"]]

    assert [picture.mode for picture in pictures] == ["RGB", *["RGBA"] * 3]
    assert '"bounding_box"' in data["resultJson"]


async def test_ten_thousand_tasks_are_no_trouble():
    """Ten thousand tasks settle in order without an asyncio task each."""
    import asyncio

    from apimodels_async.emulator.service.catalogue import MODELS
    from apimodels_async.emulator.service.ledger import Order

    async with Emulator(credits="1000") as emulator:
        before = len(asyncio.all_tasks())
        for at in range(10_000):
            emulator._world.ledger.open(
                Order(
                    endpoint="create",
                    model=MODELS["gpt-image-2"],
                    prompt=f"{at}",
                    params={},
                    service_s=10 + at % 7,
                    price=Decimal("0.025"),
                )
            )

        assert len(asyncio.all_tasks()) == before
        assert emulator.peak_pending == 10_000
        emulator.advance(20)
        assert {task.state for task in emulator.tasks.values()} == {"completed"}
        assert emulator.spent == 250


async def test_equal_seeds_give_equal_ids():
    """Two emulators with one seed give the same ids and service times."""
    seen = []
    for seed in (1, 1, 2):
        async with Emulator(seed=seed) as emulator:
            world = emulator._world
            seen.append((world.ledger.new_token(), world.durations.draw("x", "", {})))

    assert seen[0] == seen[1] != seen[2]
