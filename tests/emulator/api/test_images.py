"""Creating and editing images, and polling tasks."""

import asyncio
import base64
import json
import shutil
from decimal import Decimal
from io import BytesIO

import aiohttp
import pytest
from PIL import Image

# Tag in the prompt -> failMsg, failCode, status of a synchronous call.
FAILURES = {
    "[refused]": ("Content policy violation", "CONTENT_MODERATION", 400),
    "[fail]": ("Upstream is busy, try again later", "UPSTREAM_BUSY", 500),
}
# What follows images/generations -> status and words of the refusal.
BAD_POLLS = [
    ("", 400, "task_id is required"),
    ("?taskId=clx", 400, "task_id is required"),
    ("?task_id=clx", 404, "Task not found"),
    ("/clx", 404, "Check your base_url"),
]
# Fields and number of images of a form edit -> words of the refusal.
BAD_FORMS = [
    ({"prompt": "x"}, 0, "image is required"),
    ({"prompt": "x"}, 17, "at most 16"),
    ({}, 1, "prompt is required"),
    ({"prompt": "x", "model": "gpt-image-2"}, 1, "Supported models: gpt-image-2-all"),
]
# The two commands of the API documentation.
DOCUMENTED = {
    "generations-sync": """{
"prompt": "A cute cat wearing a space helmet, digital art",
"aspect_ratio": "16:9",
"seed": 42
}""",
    "edit": """{
"prompt": "Make the background a sunset beach",
"images": ["https://example.com/photo.jpg"],
"aspect_ratio": "16:9"
}""",
}


async def test_a_task_goes_from_pending_to_completed(serve):
    """A task is pending, then processing, then completed with a URL."""
    async with serve(service_times={"*": 100}) as api:
        task = await api.submit()
        answers = [await api.poll(task.id)]
        for seconds in (30, 80):
            api.emulator.advance(seconds)
            answers.append(await api.poll(task.id))

        states = [each["data"]["state"] for each in answers]
        assert states == ["pending", "processing", "completed"]
        data = answers[-1]["data"]
        assert data["completeTime"] - data["createTime"] == 100_000
        assert data["resultUrls"][0].startswith(f"{api.emulator.origin}/files/images/")
        assert (data["credits"], data["modelType"]) == (0.025, "TEXT_TO_IMAGE")


async def test_tags_make_generations_fail(api, emulator):
    """A prompt with [refused] or [fail] fails in that way and costs nothing."""
    for tag, (message, code, status) in FAILURES.items():
        data = await api.ended(await api.submit(f"a {tag} moose"))
        answered, body = await api.sync(tag)

        assert (data["state"], data["failMsg"], data["failCode"]) == (
            "failed",
            message,
            code,
        )
        assert (answered, body["msg"]) == (status, message)
    assert (emulator.spent, emulator.frozen, emulator.balance) == (0, 0, 100)


async def test_a_synchronous_picture_is_charged_at_once(api, emulator):
    """A SparkPix answer means its price was deducted."""
    _, body = await api.sync()

    assert body["data"]["credits"] == 0.01
    assert emulator.spent == Decimal("0.0100")
    assert emulator.requests[-1].charged
    assert [made.charged for made in emulator.generations.values()] == [True]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_documented_commands_work(api, emulator):
    """Both documented curl commands answer a picture of the ratio asked for."""
    for path, body in DOCUMENTED.items():
        curl = await asyncio.create_subprocess_exec(
            "curl",
            *("-s", "--noproxy", "*", "-X", "POST"),
            f"{emulator.base_url}/images/{path}",
            *("-H", f"Authorization: Bearer {emulator.api_key}"),
            *("-H", "Content-Type: application/json"),
            *("-d", body),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await curl.communicate()
        answer = json.loads(output)
        picture = await api.fetch(answer["data"]["url"])

        credits_each = 0.013 if path == "edit" else 0.01
        assert (answer["code"], answer["data"]["credits"]) == (200, credits_each)
        assert picture.size == (1280, 720)


async def test_polls_that_name_no_task(api):
    """A poll without a known task_id is refused as the API words it."""
    for query, status, words in BAD_POLLS:
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

    assert (await api.ended(task))["state"] == "completed"


async def test_an_unknown_model_is_told_what_is_supported(api):
    """An unknown model answers 400 with the list of ids at the end."""
    status, body = await api.create(model="no-such-model")

    assert status == 400
    known = body["msg"].partition("Supported models: ")[2].split(", ")
    assert {"gpt-image-2", "sparkpix-image"} <= set(known)


async def test_layer_split_gives_layers(api):
    """layer_decomposition gives a flat picture, transparent layers and resultJson."""
    task = await api.submit(
        "a fox", "doubao-seedream-5-0-flash", layer_decomposition=True, size="256x256"
    )
    data = await api.ended(task)
    pictures = [await api.fetch(url) for url in data["resultUrls"]]

    assert [picture.mode for picture in pictures] == ["RGB", *["RGBA"] * 3]
    assert '"bounding_box"' in data["resultJson"]


async def test_a_mask_changes_only_its_inside(api, png):
    """Outside a painted mask the picture stays as it was; inside it changes."""
    base = base64.b64encode(png((256, 256), "blue")).decode()
    painted = Image.new("L", (256, 256), 0)
    painted.paste(255, (64, 64, 192, 192))
    file = BytesIO()
    painted.save(file, "PNG")
    mask = base64.b64encode(file.getvalue()).decode()
    task = await api.submit(
        "a hat",
        "grok-4.2-image",
        image=base,
        mask=mask,
        size="256x256",
        output_format="png",
    )
    picture = await api.fetch((await api.ended(task))["resultUrls"][0])

    blue = (0, 0, 255)
    outside = [(10, 10), (128, 63), (200, 128), (128, 250)]
    assert {picture.getpixel(at) for at in outside} == {blue}
    inside = picture.crop((64, 64, 192, 192))
    assert all(colour != blue for _, colour in inside.getcolors(1 << 16))


async def test_a_form_edit(api, png):
    """A multipart edit takes images and a mask and answers in the OpenAI shape."""
    form = aiohttp.FormData()
    form.add_field("prompt", "a hat")
    form.add_field("n", "2")
    form.add_field("size", "1024x640")
    form.add_field("response_format", "b64_json")
    form.add_field("image[]", png(), filename="1.png", content_type="image/png")
    form.add_field("image", png(colour="blue"), filename="2.png")
    form.add_field("mask", png(colour=(0, 0, 0, 0), mode="RGBA"), filename="m.png")
    status, body = await api.ask("POST", "images/edits", data=form)

    assert status == 200
    pictures = [
        Image.open(BytesIO(base64.b64decode(each["b64_json"]))) for each in body["data"]
    ]
    assert [picture.size for picture in pictures] == [(1024, 640)] * 2


async def test_a_bad_form_edit(api, png):
    """A form edit needs a prompt, one to sixteen images and the right model."""
    for fields, count, words in BAD_FORMS:
        form = aiohttp.FormData()
        form.add_field("pad", b"x", filename="pad")
        for name, value in fields.items():
            form.add_field(name, value)
        for at in range(count):
            form.add_field("image[]", png((8, 8)), filename=f"{at}.png")
        status, body = await api.ask("POST", "images/edits", data=form)

        assert status == 400
        assert words in body["msg"]


async def test_content_types_belong_to_endpoints(api):
    """A JSON body on edits and a form on generations are 400."""
    form = aiohttp.FormData({"model": "gpt-image-2"}, default_to_multipart=True)
    as_json, _ = await api.ask("POST", "images/edits", json={"prompt": "x"})
    as_form, _ = await api.ask("POST", "images/generations", data=form)

    assert (as_json, as_form) == (400, 400)


async def test_the_upscaler_multiplies(api, png):
    """real-esrgan answers its input, scale times as large."""
    value = base64.b64encode(png((100, 60))).decode()
    task = await api.submit("", "real-esrgan", image=value, scale=4)
    url = (await api.ended(task))["resultUrls"][0]

    assert (await api.fetch(url)).size == (400, 240)
