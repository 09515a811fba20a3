"""Input images: where they come from, and what is refused."""

import asyncio
import base64
import socket
from io import BytesIO

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from PIL import Image

from apimodels_async.emulator import Emulator
from apimodels_async.emulator.service import inputs
from apimodels_async.emulator.service.values import RefusalError

anyio = pytest.mark.anyio


class Names(AbstractResolver):
    """Knows the names it was told; every other one does not exist."""

    def __init__(self, **known):
        self.known = {name.replace("_", "."): to for name, to in known.items()}

    async def resolve(self, host, port=0, family=socket.AF_INET):
        """Return the address of *host*."""
        if host not in self.known:
            raise OSError(None, f"no such name: {host}")
        return [
            {
                "hostname": host,
                "host": self.known[host],
                "port": port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self):
        """Hold nothing."""


@pytest.fixture
def offline(emulator):
    """Give the emulator a network without names."""
    names = Names()
    emulator._world.inputs.resolver = names
    return names


@pytest.fixture
async def host(emulator, monkeypatch, png):
    """Serve pictures at http://pictures.test, which passes for a public host."""
    seen, leaving = [], asyncio.Event()

    async def serve(request):
        seen.append(request.path)
        match request.path:
            case "/red.png":
                return web.Response(body=png(), content_type="image/png")
            case "/large":
                return web.Response(body=b"x" * 4096)
            case "/moved":
                return web.Response(status=302, headers={"Location": "/red.png"})
            case "/round":
                return web.Response(status=302, headers={"Location": "/round"})
            case "/inside":
                away = {"Location": "http://127.0.0.1/x"}
                return web.Response(status=302, headers=away)
            case "/slow":
                await leaving.wait()
        return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    emulator._world.inputs.resolver = Names(pictures_test="127.0.0.1")
    monkeypatch.setattr(inputs, "PublicResolver", lambda inner: inner)
    yield f"http://pictures.test:{runner.addresses[0][1]}", seen
    leaving.set()
    await runner.cleanup()


async def edit(api, *images, **more):
    """Return status and JSON of a SparkPix edit."""
    body = {"prompt": "at sunset", "images": list(images), **more}
    return await api.ask("POST", "images/edit", json=body)


@anyio
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://localhost:8080/a.png",
        "http://[::1]/a.png",
        "https://10.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.1.1",
        "http://printer.local/a.png",
        "http://2130706433/a.png",
        "http://127.1/a.png",
        "http://0x7f.1/a.png",
    ],
)
async def test_private_addresses_are_refused(api, offline, url):
    """A private or loopback address is 400, however it is written."""
    status, body = await edit(api, url)

    assert (status, body["msg"]) == (400, inputs.PRIVATE)


@anyio
async def test_a_name_that_leads_inside_is_refused(api, offline):
    """A public name with a private address is 400."""
    offline.known["rebind.test"] = "127.0.0.1"
    status, body = await edit(api, "http://rebind.test/a.png")

    assert (status, body["msg"]) == (400, inputs.PRIVATE)


@anyio
async def test_a_redirect_inside_is_refused(api, host):
    """A redirect to a private address is 400."""
    base, _ = host
    status, body = await edit(api, f"{base}/inside")

    assert (status, body["msg"]) == (400, inputs.PRIVATE)


@anyio
@pytest.mark.parametrize("path", ["/red.png", "/moved"])
async def test_an_input_is_fetched_once(api, host, path):
    """An input is fetched, redirects followed, remembered, and seen in the picture."""
    base, seen = host
    _, body = await edit(api, base + path)
    count = len(seen)
    await edit(api, base + path)
    picture = await api.fetch(body["data"]["url"])

    assert len(seen) == count
    red, green, blue = picture.getpixel((600, 300))
    assert red > 150
    assert red > green + 60
    assert red > blue + 60


@anyio
@pytest.mark.parametrize("path", ["/missing", "/round", "/large"])
async def test_what_cannot_be_fetched_is_a_placeholder(api, host, path, monkeypatch):
    """A missing, endless or huge input is drawn as a placeholder, or 400 if strict."""
    monkeypatch.setattr(inputs, "FETCH_BYTES", 1000)
    base, _ = host
    status, body = await edit(api, base + path)
    picture = await api.fetch(body["data"]["url"])
    assert (status, picture.size) == (200, (1024, 1024))

    api.emulator._world.inputs.strict = True
    status, body = await edit(api, base + path + "?again")
    assert status == 400
    assert "could not be fetched" in body["msg"]


@anyio
async def test_a_slow_host_is_not_waited_for(api, host, monkeypatch):
    """An input that takes too long is a placeholder."""
    monkeypatch.setattr(inputs, "FETCH_S", 0.05)
    base, _ = host

    assert (await edit(api, f"{base}/slow"))[0] == 200


@anyio
async def test_offline_inputs_are_placeholders(api, offline):
    """Without a network an edit still succeeds."""
    status, body = await edit(api, "https://example.com/a.jpg", "http://x:99999/")

    assert status == 200
    assert (await api.fetch(body["data"]["url"])).format == "JPEG"


@anyio
async def test_memory_of_inputs_is_bounded(api, offline, monkeypatch):
    """Only the last addresses are remembered."""
    monkeypatch.setattr(inputs, "_REMEMBERED", 1)
    await edit(api, "https://a.test/1")
    await edit(api, "https://a.test/2")

    assert list(api.emulator._world.inputs._known) == ["https://a.test/2"]


@anyio
async def test_own_files_are_read_directly(api, offline, png):
    """Results and uploads of the emulator itself are inputs like any other."""
    form = aiohttp.FormData()
    form.add_field("file", png((320, 200), "blue"), filename="a.png")
    _, hosted = await api.ask("POST", "files", data=form)
    first = (await edit(api, hosted["data"]["publicUrl"]))[1]["data"]["url"]
    second = (await edit(api, first))[1]["data"]["url"]
    missing, _ = await edit(api, f"{api.emulator.origin}/files/images/x.jpeg")

    assert (await api.fetch(first)).size == (1280, 800)
    assert (await api.fetch(second)).size == (1280, 800)
    assert missing == 200


@anyio
@pytest.mark.parametrize("form", ["data:image/png;base64,{}", "{}", "{}\n"])
async def test_inline_inputs(api, png, form):
    """A data URI and bare base64 are inputs, and set the model type."""
    value = form.format(base64.b64encode(png()).decode())
    task = await api.submit(model="grok-4.2-image", image=value)
    data = await api.ended(task.id)

    assert data["modelType"] == "IMAGE_TO_IMAGE"
    assert (await api.fetch(data["resultUrls"][0])).size == (1152, 864)


@anyio
@pytest.mark.parametrize(
    ("value", "words"),
    [("not an image!", "not an image URL"), ("AAAAA", "is not base64")],
)
async def test_what_is_no_image_value_is_refused(api, value, words):
    """A value that is no URL, data URI or base64 is 400."""
    status, body = await api.create(image_url=value)

    assert status == 400
    assert words in body["msg"]


@anyio
async def test_bytes_that_are_no_picture(api, emulator):
    """Sound base64 of something else is a placeholder, or 400 if strict."""
    value = base64.b64encode(b"hello there").decode()
    assert (await api.create(image=value))[0] == 200
    assert (await api.create(image="data:text/plain,hello"))[0] == 200

    emulator._world.inputs.strict = True
    status, body = await api.create(image=value)
    assert status == 400
    assert "is not an image" in body["msg"]


@anyio
async def test_strict_is_a_setting():
    """strict_inputs=True reaches the inputs."""
    emulator = Emulator(strict_inputs=True)

    with pytest.raises(RefusalError):
        await emulator._world.inputs.adopt(None, "x")


@anyio
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
    picture = await api.fetch((await api.ended(task.id))["resultUrls"][0])

    blue = (0, 0, 255)
    outside = [(10, 10), (128, 63), (200, 128), (128, 250)]
    assert {picture.getpixel(at) for at in outside} == {blue}
    inside = picture.crop((64, 64, 192, 192))
    assert all(colour != blue for _, colour in inside.getcolors(1 << 16))


@anyio
async def test_a_form_edit(api, png):
    """A multipart edit takes images and a mask and answers in the OpenAI shape."""
    form = aiohttp.FormData()
    form.add_field("prompt", "a hat")
    form.add_field("n", "2")
    form.add_field("size", "1024x1024")
    form.add_field("response_format", "b64_json")
    form.add_field("image[]", png(), filename="1.png", content_type="image/png")
    form.add_field("image", png(colour="blue"), filename="2.png")
    form.add_field("mask", png(colour=(0, 0, 0, 0), mode="RGBA"), filename="m.png")
    status, body = await api.ask("POST", "images/edits", data=form)

    assert status == 200
    pictures = [
        Image.open(BytesIO(base64.b64decode(each["b64_json"]))) for each in body["data"]
    ]
    assert [picture.size for picture in pictures] == [(1024, 1024)] * 2


@anyio
@pytest.mark.parametrize(
    ("fields", "files", "words"),
    [
        ({"prompt": "x"}, 0, "image is required"),
        ({"prompt": "x"}, 17, "at most 16"),
        ({}, 1, "prompt is required"),
        (
            {"prompt": "x", "model": "gpt-image-2"},
            1,
            "Supported models: gpt-image-2-all",
        ),
    ],
)
async def test_a_bad_form_edit(api, png, fields, files, words):
    """A form edit needs a prompt, one to sixteen images and the right model."""
    form = aiohttp.FormData()
    form.add_field("pad", b"x", filename="pad")
    for name, value in fields.items():
        form.add_field(name, value)
    for at in range(files):
        form.add_field("image[]", png((8, 8)), filename=f"{at}.png")
    status, body = await api.ask("POST", "images/edits", data=form)

    assert status == 400
    assert words in body["msg"]


@anyio
async def test_content_types_belong_to_endpoints(api):
    """A JSON body on edits and a form on generations are 400."""
    form = aiohttp.FormData({"model": "gpt-image-2"}, default_to_multipart=True)
    as_json, _ = await api.ask("POST", "images/edits", json={"prompt": "x"})
    as_form, _ = await api.ask("POST", "images/generations", data=form)

    assert (as_json, as_form) == (400, 400)


@anyio
async def test_the_upscaler_multiplies(api, png):
    """real-esrgan answers its input, scale times as large."""
    value = base64.b64encode(png((100, 60))).decode()
    task = await api.submit("", "real-esrgan", image=value, scale=4)
    url = (await api.ended(task.id))["resultUrls"][0]

    assert (await api.fetch(url)).size == (400, 240)


def test_public_hosts_are_not_private():
    """Names and public addresses pass the first look."""
    assert not inputs.is_private("example.com")
    assert not inputs.is_private("8.8.8.8")
    assert inputs.is_private("LOCALHOST.")


@anyio
async def test_the_resolver_refuses_private_answers():
    """The resolver lets public addresses through and refuses private ones."""
    resolver = inputs.PublicResolver(
        Names(good_test="93.184.216.34", bad_test="10.1.1.1")
    )
    found = await resolver.resolve("good.test", 80)

    assert found[0]["host"] == "93.184.216.34"
    with pytest.raises(inputs.PrivateAddressError):
        await resolver.resolve("bad.test", 80)
    await resolver.close()
