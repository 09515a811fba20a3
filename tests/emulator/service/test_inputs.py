"""Loading input images, and refusing private addresses."""

import asyncio
import base64
import socket

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from support.serving import serving

from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service import inputs
from apimodels_async.emulator.service.store import Store
from apimodels_async.emulator.service.timeline import Timeline
from apimodels_async.emulator.service.values import RefusalError

PRIVATE_URLS = [
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
]


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
async def loader():
    """Return a loader on a network in which pictures.test passes for public."""
    studio = Studio()
    loader = inputs.Inputs(
        Store(Timeline(), studio),
        studio,
        lambda: "http://emulator.test",
        resolver=Names(pictures_test="127.0.0.1"),
    )
    yield loader
    await loader.aclose()
    studio.close()


@pytest.fixture
async def host(png):
    """Serve pictures at http://pictures.test; yield the origin and the paths asked."""
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
    async with serving(app) as origin:
        yield origin.replace("127.0.0.1", "pictures.test"), seen
        leaving.set()


async def test_private_addresses_are_refused(api):
    """A private or loopback address is 400, however it is written."""
    answers = {url: await api.edit(url) for url in PRIVATE_URLS}

    found = {(status, body["msg"]) for status, body in answers.values()}
    assert found == {(400, inputs.PRIVATE)}


async def test_a_name_that_leads_inside_is_refused(loader):
    """A public name with a private address is 400."""
    loader.resolver = inputs.PublicResolver(Names(rebind_test="127.0.0.1"))
    with pytest.raises(RefusalError, match=inputs.PRIVATE):
        await loader.load("http://rebind.test/a.png")


async def test_a_redirect_inside_is_refused(loader, host):
    """A redirect to a private address is 400."""
    with pytest.raises(RefusalError, match=inputs.PRIVATE):
        await loader.load(f"{host[0]}/inside")


async def test_an_input_is_fetched_once(loader, host):
    """An input is fetched, redirects followed, and remembered."""
    base, seen = host
    for path in ("/red.png", "/moved"):
        first = await loader.load(base + path)
        assert first.sides == (64, 48)
        assert await loader.load(base + path) is first

    assert seen == ["/red.png", "/moved", "/red.png"]


async def test_what_cannot_be_fetched_is_a_placeholder(loader, host):
    """A missing, endless, huge or slow input has no data, or is 400 if strict."""
    loader.fetch_bytes, loader.fetch_s = 1000, 0.1
    for path in ("/missing", "/round", "/large", "/slow"):
        loader.strict = False
        assert (await loader.load(host[0] + path)).data is None

        loader.strict = True
        with pytest.raises(RefusalError, match="could not be fetched"):
            await loader.load(host[0] + path + "?again")


async def test_offline_inputs_are_placeholders(loader):
    """Without a network, and with an impossible port, an input has no data."""
    urls = ["https://example.com/a.jpg", "http://x:99999/"]
    found = await loader.load_all(urls)

    assert [(each.label, each.data) for each in found] == [(url, None) for url in urls]


async def test_the_cache_of_inputs_is_bounded(loader, host):
    """Only the last addresses are remembered."""
    loader.cached_urls = 1
    base, seen = host
    for path in ("/red.png", "/1", "/1", "/red.png"):
        await loader.load(base + path)

    assert seen == ["/red.png", "/1", "/red.png"]


async def test_own_files_are_read_directly(api, png):
    """Results and uploads of the emulator itself are inputs like any other."""
    form = aiohttp.FormData()
    form.add_field("file", png((320, 200), "red"), filename="a.png")
    _, hosted = await api.ask("POST", "files", data=form)
    first = (await api.edit(hosted["data"]["publicUrl"]))[1]["data"]["url"]
    second = (await api.edit(first))[1]["data"]["url"]
    missing, _ = await api.edit(f"{api.emulator.origin}/files/images/x.jpeg")

    picture = await api.fetch(first)
    assert (missing, picture.size) == (200, (1280, 800))
    assert (await api.fetch(second)).size == (1280, 800)
    red, green, blue = picture.getpixel((600, 300))
    assert red > max(150, green + 60, blue + 60)


async def test_inline_inputs(api, png):
    """A data URI and bare base64 are inputs, and set the model type."""
    encoded = base64.b64encode(png()).decode()
    for value in (f"data:image/png;base64,{encoded}", encoded, f"{encoded}\n"):
        task = await api.submit(model="grok-4.2-image", image=value)
        data = await api.ended(task)

        assert data["modelType"] == "IMAGE_TO_IMAGE"
        [(_, sketch)] = task.sketches
        assert (sketch.width, sketch.height) == (1152, 864)


async def test_what_is_no_image_value_is_refused(loader):
    """A value that is no URL, data URI or base64 is 400."""
    for value, words in (("an image!", "not an image URL"), ("AAAAA", "not base64")):
        with pytest.raises(RefusalError, match=words):
            await loader.load(value)


async def test_bytes_that_are_no_picture(loader):
    """Sound base64 of something else is a placeholder, or 400 if strict."""
    value = base64.b64encode(b"hello there").decode()
    assert (await loader.load(value)).data is None
    assert (await loader.load("data:text/plain,hello")).data is None

    loader.strict = True
    with pytest.raises(RefusalError, match="is not an image"):
        await loader.load(value)


async def test_strict_is_a_setting_of_the_emulator(serve):
    """With strict_inputs=True an input that is no image is 400."""
    async with serve(strict_inputs=True) as api:
        assert (await api.create(image="AAAA"))[0] == 400


def test_public_hosts_are_not_private():
    """Names and public addresses pass the first look."""
    assert not inputs.is_private("example.com")
    assert not inputs.is_private("8.8.8.8")
    assert inputs.is_private("LOCALHOST.")


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
