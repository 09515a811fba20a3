"""The calls that make pictures, each as documented, against the emulator."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from support.raw import PICTURE, RawServer, by_method, envelope, respond

from apimodels_async import (
    BadRequestError,
    GenerationFailedError,
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    SparkPixEdit,
    SparkPixImage,
    TaskHandle,
    TaskNotFoundError,
    TaskState,
    TaskTimeoutError,
)

TASK = {"model": "gpt-image-2"}


@pytest.fixture
async def hosted(session, emulator, tmp_path):
    """Return the public URL of an input picture."""
    made = await session.images.generate("an input")
    path = await session.download(made, tmp_path / "input")
    return await session.upload(path)


async def test_text_to_image_in_one_call(session, emulator):
    """SparkPix Image answers at once: a result without a task."""
    result = await session.images.generate(
        "a red fox in snow", aspect_ratio="16:9", seed=42
    )
    [post] = [one for one in emulator.requests if one.method == "POST"]

    assert isinstance(result, ImageResult)
    assert post.path == "/api/v1/images/generations-sync"
    assert post.body == {
        "prompt": "a red fox in snow",
        "aspect_ratio": "16:9",
        "seed": 42,
    }
    assert result.task_id is None
    assert result.model == "sparkpix-image"
    assert result.credits == Decimal("0.01")
    assert result.urls == (result.url,)
    assert 0 < result.duration_s < 10
    assert result.expires_at - result.completed_at == timedelta(days=7)
    assert abs(result.completed_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert result.raw["url"] == result.url
    assert emulator.spent == Decimal("0.01")


async def test_editing_in_one_call(session, emulator, hosted):
    """SparkPix Image Edit takes URLs, the first being the primary one."""
    result = await session.images.edit(
        "image 1 at sunset", images=[hosted, hosted], turbo=False, seed=1
    )
    post = emulator.requests[-1]

    assert post.path == "/api/v1/images/edit"
    assert post.body == {
        "prompt": "image 1 at sunset",
        "images": [hosted, hosted],
        "turbo": False,
        "seed": 1,
    }
    assert result.model == "sparkpix-image-edit"


async def test_a_task_is_submitted_and_waited_for(session, emulator):
    """With another model, generate submits a task and returns its result."""
    result = await session.images.generate("a moose", resolution="2K", **TASK)
    [task] = emulator.tasks.values()

    assert task.params == {"resolution": "2K"}
    assert result.task_id == task.id
    assert result.model == "gpt-image-2"
    assert result.credits == Decimal("0.03")
    assert result.created_at < result.completed_at
    assert result.duration_s == pytest.approx(
        (result.completed_at - result.created_at).total_seconds()
    )
    assert task.charged


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("gpt-image-2", lambda url: {"image_urls": [url]}),
        ("gpt-image-2-lite", lambda url: {"image_url": url}),
        ("kling-v2-1", lambda url: {"image_url": url}),
    ],
)
async def test_image_editing_by_a_task(session, emulator, hosted, model, more):
    """Models of tasks take their input under their own parameter name."""
    result = await session.images.generate("at sunset", model=model, **more(hosted))
    task = emulator.tasks[result.task_id]

    assert task.params == more(hosted)
    assert result.raw.get("modelType") in {"IMAGE_TO_IMAGE", None}


async def test_mask_inpainting(session, emulator, hosted):
    """A mask goes along under its name, next to the picture it belongs to."""
    result = await session.images.generate(
        "a red hat", model="gpt-image-2-all", image_urls=[hosted], mask=hosted
    )
    task = emulator.tasks[result.task_id]

    assert task.params == {"image_urls": [hosted], "mask": hosted}
    assert task.sketches[0][1].mask is not None


async def test_multi_image_fusion(session, emulator, hosted):
    """Several pictures are fused by one task."""
    urls = [hosted, f"{hosted}?2", f"{hosted}?3"]
    result = await session.images.generate(
        "image 1 wears the hat of image 2", model="gpt-image-2", image_urls=urls
    )

    assert len(emulator.tasks[result.task_id].sketches[0][1].inputs) == 3


async def test_a_model_without_prompt(session, hosted):
    """An upscaler takes no prompt."""
    result = await session.images.generate(None, model="real-esrgan", image_url=hosted)

    assert result.model == "real-esrgan"


async def test_request_values_say_everything(session, emulator, hosted):
    """A request value stands in for prompt and parameters, in every call."""
    image = await session.images.generate(SparkPixImage(prompt="a fox", seed=7))
    edited = await session.images.edit(SparkPixEdit(prompt="dusk", images=[hosted]))
    task = ImageRequest("gpt-image-2", "a moose", {"n": 1})
    handle = await session.images.submit(task)

    assert image.model == "sparkpix-image"
    assert edited.model == "sparkpix-image-edit"
    assert emulator.tasks[handle.task_id].params == {"n": 1}
    assert (await session.images.generate(task)).model == "gpt-image-2"


@pytest.mark.parametrize(
    ("more", "parameter"), [({"model": "gpt-image-2"}, "model"), ({"seed": 1}, "seed")]
)
async def test_a_request_value_takes_nothing_beside_it(session, more, parameter):
    """Parameters next to a request value are refused, not dropped."""
    with pytest.raises(InvalidRequestError) as caught:
        await session.images.generate(SparkPixImage(prompt="a fox"), **more)

    assert caught.value.parameter == parameter


async def test_a_refused_parameter_is_never_sent(session, emulator):
    """What the API does not allow is refused here; no request is made."""
    for call in (
        session.images.generate("a fox", aspect_ratio="5:4"),
        session.images.generate(""),
        session.images.edit("dusk"),
        session.images.submit("a moose"),
        session.images.submit("a moose", model="sparkpix-image"),
        session.images.submit(SparkPixImage(prompt="a fox")),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            await call
        assert caught.value.charged is False
        assert caught.value.parameter

    assert emulator.requests == []


async def test_submitting_sparkpix_points_to_generate(session):
    """The refusal says which call to use."""
    with pytest.raises(InvalidRequestError, match=r"images\.generate") as caught:
        await session.images.submit("a fox", model="sparkpix-image")

    assert caught.value.parameter == "model"


async def test_a_handle_before_and_after(session, emulator):
    """Submit returns at once; the handle knows its id, then its end."""
    handle = await session.images.submit("a moose", **TASK)
    assert isinstance(handle, TaskHandle)
    assert handle.task_id in emulator.tasks
    assert not handle.done
    assert handle.state == "pending"
    assert repr(handle) == f"<TaskHandle {handle.task_id} pending>"

    result = await handle
    assert handle.done
    assert handle.state is TaskState.COMPLETED
    assert repr(handle) == f"<TaskHandle {handle.task_id} completed>"
    assert await handle is result


async def test_events_of_a_real_task(session):
    """A stream shows pending first and completed last, each word once."""
    handle = await session.images.submit("a moose", **TASK)
    events = [event async for event in handle]

    words = [str(event.state) for event in events]
    assert words[0] == "pending"
    assert words[-1] == "completed"
    assert len(set(words)) == len(words)
    assert {event.task_id for event in events} == {handle.task_id}


async def test_a_timeout_leaves_the_task_tracked(session):
    """After TaskTimeoutError the same handle still gives the result."""
    handle = await session.images.submit("a moose", **TASK)
    with pytest.raises(TaskTimeoutError) as caught:
        await handle.result(timeout=0.001)

    assert caught.value.task_id == handle.task_id
    assert session.stats().pending == 1
    assert (await handle.result(timeout=30)).task_id == handle.task_id


async def test_a_failed_task(session, emulator):
    """A failure is typed, carries the API's reason, and is not charged."""
    handle = await session.images.submit("a moose [fail]", **TASK)
    errors = await asyncio.gather(
        handle.result(), handle.result(), return_exceptions=True
    )
    words = [str(event.state) async for event in handle]

    assert {type(error) for error in errors} == {GenerationFailedError}
    assert errors[0] is not errors[1]
    assert errors[0].fail_message
    assert errors[0].fail_code
    assert errors[0].charged is False
    assert errors[0].task_id == handle.task_id
    assert words == ["failed"]
    assert emulator.spent == 0
    assert session.stats().failed == 1


async def test_a_deadline_is_the_tasks_end_for_us(emulator, connect):
    """After the deadline the handle is done with TaskTimeoutError; attach works."""
    from apimodels_async import PollPolicy

    hasty = PollPolicy.unchecked(interval=0.05, deadline=0.01)
    handle = await connect(emulator, polling=hasty).images.submit("a moose", **TASK)
    with pytest.raises(TaskTimeoutError, match="attach"):
        await handle

    assert (await connect(emulator).images.attach(handle.task_id)).urls


# --- attach -----------------------------------------------------------------------


async def test_a_task_is_taken_up_elsewhere(session, emulator, connect):
    """By id or token, another session gets the same result, for free."""
    handle = await session.images.submit("a moose", **TASK)
    other = connect(emulator)
    by_id = other.images.attach(handle.task_id)
    result = await by_id
    by_token = await other.images.attach(handle.to_token())

    assert result.urls == (await handle).urls
    assert result.model is None
    assert by_token.model == "gpt-image-2"
    assert len([one for one in emulator.requests if one.method == "POST"]) == 1


async def test_attach_makes_no_request(session, emulator):
    """Taking up a task is no I/O by itself."""
    handle = session.images.attach("clx123")

    assert handle.state is TaskState.PENDING
    assert not handle.done
    assert emulator.requests == []
    await session.aclose()


async def test_attaching_twice_polls_once(session, emulator):
    """A pending task has one entry, however many handles there are."""
    emulator.fault("poll", "status", status=503)  # it is pending, however slow we are
    handle = await session.images.submit("a moose", **TASK)
    again = session.images.attach(handle.task_id)

    assert session.stats().pending == 1
    emulator.clear_faults()
    assert await again is await handle


async def test_an_unknown_id_is_told(session):
    """An id the API does not know ends in TaskNotFoundError."""
    with pytest.raises(TaskNotFoundError) as caught:
        await session.images.attach("clxdoesnotexist")

    assert caught.value.task_id == "clxdoesnotexist"
    assert caught.value.charged is None


@pytest.mark.parametrize("task", ["", "a b", "../x", "x" * 129, 5, None, "am1.!"])
async def test_what_cannot_be_an_id_is_refused(session, task):
    """A task id is checked before it gets near a URL."""
    with pytest.raises(InvalidRequestError) as caught:
        session.images.attach(task)

    assert caught.value.parameter == "task_id"


# --- answers of other shapes ------------------------------------------------------


async def test_a_create_call_may_come_back_completed(session, emulator):
    """gpt-image-2-lite gives a handle that is already done, without a poll."""
    handle = await session.images.submit("a moose", model="gpt-image-2-lite")

    assert handle.done
    assert handle.state is TaskState.COMPLETED
    assert [event.state async for event in handle] == [TaskState.COMPLETED]
    assert (await handle).task_id == handle.task_id
    assert session.stats().polls == 0
    assert session.stats().submitted == 1


async def test_a_create_call_may_come_back_failed(connect):
    """A task that failed at once is a handle that raises."""
    failed = {"taskId": "clraw1", "state": "failed", "failMsg": "no"}
    async with RawServer(respond(envelope(failed))) as server:
        handle = await connect(server).images.submit("a moose", **TASK)

        assert handle.done
        with pytest.raises(GenerationFailedError, match="no"):
            await handle


async def test_completed_without_urls_is_polled_for(connect):
    """Completed at once but without URLs, a task is asked for until it has them."""
    bare = {"taskId": "clraw1", "state": "completed"}
    full = bare | {"resultUrls": ["https://files.example/a.png"]}
    answer = by_method(POST=respond(envelope(bare)), GET=respond(envelope(full)))
    async with RawServer(answer) as server:
        result = await connect(server).images.generate("a moose", **TASK)

        assert result.url == "https://files.example/a.png"


@pytest.mark.parametrize("form", ["url", "b64_json"])
async def test_the_openai_shape_is_a_result(session, form, tmp_path):
    """A {created, data} answer makes a result whose file can be stored, URL or not."""
    result = await session.images.generate(
        "a moose", model="gpt-image-2-all", size="1024x1024", response_format=form
    )
    path = await session.download(result, tmp_path / "moose")

    assert result.task_id is None
    assert result.url.startswith("http:" if form == "url" else "data:image/")
    assert path.suffix in {".png", ".jpg"}
    assert path.stat().st_size > 100


async def test_the_openai_shape_is_a_finished_handle(session):
    """Submitted, such a call gives a handle that is done, without id or token."""
    handle = await session.images.submit(
        "a moose", model="gpt-image-2-all", size="1024x1024"
    )

    assert handle.done
    assert handle.task_id == ""
    assert (await handle).url
    assert [event.state async for event in handle] == [TaskState.COMPLETED]
    with pytest.raises(InvalidRequestError):
        handle.to_token()


async def test_unknown_models_and_parameters_pass_through(session, connect):
    """The API decides about what this library does not know."""
    with pytest.raises(BadRequestError, match="Unknown model") as caught:
        await session.images.submit("a moose", model="brand-new", brand_new=[1, None])
    assert caught.value.charged is False

    async with RawServer() as server:
        await connect(server).images.submit("a moose", model="new", made_up={"a": 1})
        [post] = server.posts

    assert b'"made_up":{"a":1}' in post.body


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda images, url: images.generate("a", callback_url=url), b"callBackUrl"),
        (
            lambda images, url: images.submit("a", model="x", callback_url=url),
            b"callback_url",
        ),
    ],
)
async def test_a_callback_is_spelt_as_each_endpoint_does(connect, call, name):
    """One name here, two on the wire."""
    async with RawServer(respond(PICTURE)) as server:
        await call(connect(server).images, "https://hook.example/x")
        [post] = server.posts

    assert name + b'":"https://hook.example/x"' in post.body


async def test_an_observer_sees_every_order(session):
    """A tracer surrounds each order and learns the task's id."""
    from contextlib import contextmanager

    seen = []

    class Tracer:
        @contextmanager
        def ordering(self, request, idempotency_key=None):
            seen.append(request)
            yield seen.append
            seen.append("over")

    session.observe(Tracer())
    await session.images.generate("a fox")
    handle = await session.images.submit("a moose", **TASK)
    result = await session.images.generate("an elk", **TASK)
    handle_too = await session.images.submit(
        "a moose", model="gpt-image-2-all", size="1024x1024"
    )

    values = [one for one in seen if not isinstance(one, str)]
    words = [one for one in seen if isinstance(one, str)]
    assert [type(one) for one in values] == [SparkPixImage, *[ImageRequest] * 3]
    assert words == ["over", handle.task_id, "over", result.task_id, "over", "over"]
    assert handle_too.done


async def test_a_path_may_be_anything_pathlike(session, tmp_path):
    """download takes a string, a Path or a directory."""
    result = await session.images.generate("a fox")

    for target in (str(tmp_path / "a"), tmp_path / "b", os.fspath(tmp_path)):
        path = await session.download(result, target)
        assert path.parent == tmp_path


async def test_editing_with_another_model_is_refused(session, emulator):
    """edit() buys SparkPix Image Edit and nothing else, and says what to call."""
    with pytest.raises(InvalidRequestError, match=r"generate\(model='gpt-image-2'"):
        await session.images.edit(
            "at night", images=["https://a.example/b.png"], model="gpt-image-2"
        )
    assert emulator.requests == []


async def test_a_task_that_is_attached_again_is_counted_once(session, emulator):
    """Taking up a finished task again adds nothing to what was completed and spent."""
    result = await session.images.generate("a moose", model="gpt-image-2")
    for _ in range(2):
        await session.images.attach(result.task_id)
    stats = session.stats()
    assert (stats.submitted, stats.completed) == (1, 1)
    assert stats.spent == emulator.spent
