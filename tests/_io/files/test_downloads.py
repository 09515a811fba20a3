"""Downloads: the whole file or none, from where it may come, without the key."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import anyio
import pytest
import trustme
from support.downloads import at, error_of, names
from support.raw import (
    PNG,
    RawServer,
    close,
    hang,
    in_turn,
    message,
    raw,
    respond,
    slowly,
)
from support.tls import certificate

from apimodels_async import (
    ConfigurationError,
    DownloadError,
    ImageResult,
    ResultExpiredError,
    RetryPolicy,
    Timeouts,
    TransportError,
)
from apimodels_async._core.files.keeping import Keeping
from apimodels_async._io.clock import LoopClock
from apimodels_async._io.files.disk import LocalDisk
from apimodels_async._io.files.downloads import Files
from apimodels_async._io.files.storage import FileSink
from apimodels_async._io.http.hosts import Hosts
from apimodels_async._io.http.network import Network
from apimodels_async._ports import File

SEVEN_DAYS = timedelta(days=7)


async def test_a_result_is_stored(session, folder):
    """A file gets the suffix of its content, a directory a name from the task."""
    result = await session.images.generate("a moose", model="gpt-image-2")
    path = await session.download(result, folder / "sub" / "moose")
    named = await session.download(result, folder)

    assert path.parent == folder / "sub"
    assert path.stem == "moose"
    assert path.suffix in {".png", ".jpg", ".webp"}
    assert named.name == f"{result.task_id}{path.suffix}"
    assert named.read_bytes() == path.read_bytes()
    path.write_bytes(b"old")
    assert await session.download(result, path, overwrite=True) == path
    assert path.read_bytes() == named.read_bytes()


async def test_any_of_several_pictures_can_be_stored(session, folder):
    """A result of several files gives each by its index."""
    result = await session.images.generate("moose", model="gpt-image-2-all", n=2)
    paths = [
        await session.download(result, folder / str(index), index=index)
        for index in range(len(result.urls))
    ]

    assert len({path.read_bytes() for path in paths}) == len(result.urls) == 2


async def test_the_file_host_never_sees_the_key(connect, folder):
    """Another origin gets neither Authorization nor cookies, nor does the API's own."""
    async with RawServer(respond(PNG, Set_Cookie="a=b")) as server:
        session = connect(server)
        for _ in range(2):
            await session.download(at(f"{server.origin}/x.png"), folder / "x")

        for request in server.received:
            assert b"sk_" not in request.head
            assert set(request.headers) == {
                "host",
                "accept",
                "accept-encoding",
                "user-agent",
            }
            assert request.headers["accept-encoding"] == "identity"


BROKEN = {
    "close": close,
    "short": raw(message(PNG)[:-9], close=True),
    "short, reset": raw(message(PNG)[:-9], reset=True),
    "junk": raw(b"\x16\x03 no HTTP\r\n\r\n", close=True),
    "500": respond(b"", 500),
    "429": respond(b"", 429),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_broken_transfer_is_repeated(connect, folder, answer):
    """A file cut short is fetched anew, from its beginning."""
    async with RawServer(in_turn(answer, answer, respond(PNG))) as server:
        path = await connect(server).download(at(f"{server.origin}/x"), folder / "x")

        assert path.read_bytes() == PNG
        assert names(folder) == ["x.png"]


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_transfer_that_stays_broken_leaves_nothing(connect, folder, answer):
    """After the last try the reason is told; no file, whole or part, is left."""
    async with RawServer(answer) as server:
        session = connect(server)
        error = await error_of(session, at(f"{server.origin}/x"), folder)

        assert "cannot be had" in str(error)
        tries = [one for one in server.received if one.target == "/x"]
        assert len(tries) == 4


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (respond(b"<!doctype html><title>hi"), "not a picture"),
        (respond(b"<svg xmlns='x'/>", Content_Type="image/png"), "not a picture"),
        (respond(b"", 400), "HTTP 400"),
        (respond(b"", 206), "HTTP 206"),
    ],
    ids=["html", "svg", "400", "206"],
)
async def test_what_is_no_picture_is_refused_at_once(connect, folder, answer, why):
    """HTML, SVG, or a strange status are final."""
    async with RawServer(answer) as server:
        error = await error_of(connect(server), at(f"{server.origin}/x"), folder)

        assert why in str(error)
        assert len(server.received) == 1


async def test_a_file_without_end_is_cut(connect, folder):
    """More than *max_bytes* are not taken, whatever the headers say."""

    async def pour(_request, peer):
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
        for _ in range(70):
            await peer.say(bytes(1 << 20))

    async with RawServer(pour) as server:
        where = at(f"{server.origin}/x")
        error = await error_of(connect(server), where, folder, max_bytes=64 << 20)

        assert "larger than 64 MiB" in str(error)
        assert len(server.received) == 1


@pytest.mark.parametrize("answer", [hang, slowly(message(PNG), first=60)])
async def test_a_file_that_takes_too_long_is_given_up(connect, folder, answer):
    """The time for a file in all is bounded."""
    async with RawServer(answer) as server:
        quick = Timeouts(read=5, download=0.2)
        session = connect(server, timeouts=quick)
        error = await error_of(session, at(f"{server.origin}/x"), folder)

        assert "within 0.2 s" in str(error)


async def test_an_expired_file_says_so(emulator, connect, folder):
    """After seven days the error is ResultExpiredError; of unknown age, after tries."""
    session = connect(emulator)
    result = await session.images.generate("a fox")
    emulator.advance(8 * 86_400)
    old = ImageResult(
        urls=result.urls,
        task_id="clx1",
        expires_at=datetime.now(UTC) - timedelta(days=1),
    )
    error = await error_of(session, old, folder)
    undated = await error_of(session, at(result.url), folder)

    assert type(error) is type(undated) is ResultExpiredError
    assert f"on {old.expires_at:%Y-%m-%d}" in str(error)
    assert error.status == 404
    asked = [one.endpoint for one in emulator.requests]
    assert asked == ["sync", "file", "poll", "file", "poll", "file", "file", "file"]


async def test_a_file_missing_too_early_is_no_expiry(connect, folder):
    """A 404 before the date is an error of its own."""
    async with RawServer(respond(b"", 404)) as server:
        fresh = at(f"{server.origin}/x", expires_at=datetime.now(UTC) + SEVEN_DAYS)
        error = await error_of(connect(server), fresh, folder)

        assert type(error) is DownloadError
        assert error.status == 404


@pytest.mark.parametrize("after", range(0, 60, 5))
async def test_a_cancelled_download_leaves_nothing(connect, folder, after):
    """Cancelled at any turn, there is the whole file or none."""
    async with RawServer(slowly(message(PNG), first=5_000, pause=0.0005)) as server:
        session = connect(server)
        task = asyncio.create_task(
            session.download(at(f"{server.origin}/x"), folder / "x")
        )
        for _ in range(after):
            await asyncio.sleep(0.001 if after > 30 else 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert names(folder) == []


async def test_an_unwritable_place_is_named(connect, folder):
    """Where no directory can be made, the error names the path."""
    (folder / "file").write_bytes(b"")
    async with RawServer(respond(PNG)) as server:
        with pytest.raises(DownloadError, match="cannot write") as caught:
            await connect(server).download(
                at(f"{server.origin}/x"), folder / "file" / "x.png"
            )

        assert "file/x" in str(caught.value)
        assert caught.value.task_id == "clx1"
        assert names(folder) == ["file"]


# --- redirects and addresses ------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(connect, folder, status):
    """A file may have moved, relatively too."""
    answer = in_turn(respond(b"", status, Location="/moved"), respond(PNG))
    async with RawServer(answer) as server:
        path = await connect(server).download(at(f"{server.origin}/x"), folder / "x")

        assert path.read_bytes() == PNG
        assert [one.target for one in server.received] == ["/x", "/moved"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("/again", "more than 3 redirects"),
        ("ftp://files.example/x", "ftp is not https"),
        ("http://10.0.0.1/x", "private or reserved"),
        ("http://[fe80::1]/x", "private or reserved"),
        ("http://169.254.169.254/latest", "private or reserved"),
        ("http://[::ffff:10.0.0.1]/x", "private or reserved"),
        ("http://[64:ff9b::a00:1]/x", "private or reserved"),
        ("http://[", "URL cannot be used"),
        ("file:///etc/passwd", "file is not https"),
    ],
)
async def test_a_redirect_is_checked_at_each_hop(connect, folder, location, why):
    """Round trips, other schemes and private addresses end a download at once."""
    async with RawServer(respond(b"", 302, Location=location)) as server:
        error = await error_of(connect(server), at(f"{server.origin}/x"), folder)

        assert why in str(error)


@pytest.fixture
async def public():
    """Return the downloads of a session whose API is not on this machine."""
    files = elsewhere(Network())
    yield files
    await files.aclose()


def elsewhere(network):
    """Return the way to files for an API that is not on this machine."""
    quick = Timeouts(connect=0.5, read=0.5, download=2)

    async def nothing_newer(_task_id):
        return None

    retry = RetryPolicy(base=0.01)
    hosts = Hosts(network, loopback=False, lent=None)
    return Files(LoopClock(), quick, retry, lambda: 0.0, False, nothing_newer, hosts)  # noqa: FBT003


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_this_machine_is_out_of_bounds(public, folder, host):
    """With a public API, a result on loopback is refused without a connection."""
    async with RawServer(respond(PNG)) as server:
        port = server.origin.rpartition(":")[2]
        threads = anyio.CapacityLimiter(1)
        with pytest.raises(DownloadError, match="private or reserved"):
            await public.download(
                at(f"https://{host}:{port}/x"),
                0,
                lambda: FileSink(threads, Keeping(stem="x"), folder / "x", LocalDisk()),
            )

        assert server.connections == 0
    assert names(folder) == []


async def test_plain_http_is_out_of_bounds(public, folder):
    """With a public API only https is fetched or uploaded to."""
    threads = anyio.CapacityLimiter(1)
    for url in ("http://files.example/x", "x", "javascript:1"):
        with pytest.raises(DownloadError, match="is not https"):
            await public.download(
                at(url),
                0,
                lambda: FileSink(threads, Keeping(stem="x"), folder / "x", LocalDisk()),
            )
    with pytest.raises(TransportError, match="is not https"):
        await public.put("http://files.example/x", File("a", "image/png", PNG))
    with pytest.raises(TransportError, match="private or reserved"):
        await public.put("https://127.0.0.1/x", File("a", "image/png", PNG))


async def test_a_proxy_that_cannot_be_used_is_said(folder):
    """What is wrong with the environment is told as such, for either direction."""
    files = elsewhere(Network(None, {"https": "HTTPS_PROXY has no host"}))
    threads, url = anyio.CapacityLimiter(1), "https://files.example/x"
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY has no host"):
        await files.put(url, File("a", "image/png", PNG))
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY has no host"):
        await files.download(
            at(url),
            0,
            lambda: FileSink(threads, Keeping(stem="x"), folder / "x", LocalDisk()),
        )
    await files.aclose()


async def test_an_exception_of_any_class_is_a_typed_error(public, folder):
    """What aiohttp or a hook raises is named in the error, and is not tried again."""
    threads = anyio.CapacityLimiter(1)
    await public.aclose()
    with pytest.raises(DownloadError, match=r"RuntimeError: Session is closed"):
        await public.download(
            at("https://files.example/x"),
            0,
            lambda: FileSink(threads, Keeping(stem="x"), folder / "x", LocalDisk()),
        )
    with pytest.raises(TransportError, match="RuntimeError: Session is closed"):
        await public.put("https://files.example/x", File("a", "image/png", PNG))
    assert names(folder) == []


async def test_an_untrusted_host_is_refused(connect, folder):
    """A file host without a valid certificate gives no file."""
    untrusted = certificate(trustme.CA(), "127.0.0.1")
    async with RawServer(respond(PNG), ssl=untrusted) as server, RawServer() as api:
        error = await error_of(connect(api), at(f"{server.origin}/x"), folder)

        assert "the certificate of 127.0.0.1 is not trusted" in str(error)
        assert "SSL_CERT_FILE" in str(error)
        assert "tries" not in str(error)


# --- pictures inside the answer ---------------------------------------------------


async def test_an_inline_picture_is_stored(connect, folder):
    """A data: URL needs no network."""
    packed = base64.b64encode(PNG).decode()
    async with RawServer() as server:
        session = connect(server)
        path = await session.download(
            at(f"data:image/png;base64,{packed}"), folder / "x"
        )

        assert path.read_bytes() == PNG
        assert server.connections == 0


@pytest.mark.parametrize("packed", ["@@", "A", ""])
async def test_a_damaged_inline_picture_is_refused(connect, folder, packed):
    """What is no base64, or no picture, is final."""
    async with RawServer() as server:
        session = connect(server)
        await error_of(session, at(f"data:image/png;base64,{packed}"), folder)
