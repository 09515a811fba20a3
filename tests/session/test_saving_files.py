"""
Files of a session: all of them, patiently, in turn, from where they may come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from attrs import evolve
from support.cases import check_all_at_once

from apimodels_async import (
    ConfigurationError,
    DownloadError,
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    Outcome,
    PollPolicy,
    ResultExpiredError,
    RetryPolicy,
    Session,
    SessionClosedError,
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

CHUNK = bytes.fromhex("0000000d4948445200000001000000010802000000907753de")
END = bytes.fromhex("0000000049454e44ae426082")
PNG = b"\x89PNG\r\n\x1a\n" + CHUNK + END
KEY = "sk_canary_7f3a9c51d2"


def say(body=PNG, status=200, **headers):
    """Return a whole answer over HTTP."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Host:
    """
    A file host that gives answers in turn, the last for ever; None: it never answers.
    """

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.now = self.most = 0
        self.hold = None

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1].decode().partition("?")[0]
                self.asked.append((path, time.monotonic()))
                answers = self.answers.get(path, [say()])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                self.now += 1
                self.most = max(self.most, self.now)
                try:
                    if answer is None:
                        await asyncio.Event().wait()
                    if self.hold is not None:
                        await self.hold.wait()
                finally:
                    self.now -= 1
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def result(self, *paths):
        """Return a result whose files are here."""
        urls = tuple(f"{self.origin}{path}" for path in paths)
        return ImageResult(urls=urls, task_id="clx1")


@pytest.fixture
async def host():
    """Serve files, and an API that knows nothing."""
    host = Host()
    host.answers["/api/v1/images/status"] = [say(b"{}", 404)]
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        await host.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=100)
    host.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield host
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def connect(host):
    """Return a maker of sessions, closed after the test."""
    made = []

    def connect(**options):
        defaults = {
            "base_url": f"{host.origin}/api/v1",
            "polling": PollPolicy.unchecked(interval=0.05),
            "retry": RetryPolicy(base=0.01),
            "timeouts": Timeouts(connect=20, read=20, generate=20, download=20),
        }
        made.append(Session(KEY, **(defaults | options)))
        return made[-1]

    yield connect
    for session in made:
        await session.aclose()


def names(folder):
    """Return the names of all that is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_every_picture_is_stored(host, connect, tmp_path):
    """In order, under numbers of their own, be they equal; and found again."""
    session = connect()
    result = host.result("/a", "/b", "/c")
    for _ in range(2):
        paths = await session.download_all(result, tmp_path / "fox")
        assert [path.name for path in paths] == ["fox.png", "fox-2.png", "fox-3.png"]
    inside = await session.download_all(result, f"{tmp_path}/new/")
    assert [path.name for path in inside] == ["clx1.png", "clx1-2.png", "clx1-3.png"]
    second = await session.download(result, tmp_path / "new", index=1)
    assert second == inside[1]
    request = ImageRequest("m", "Ein Fuchs im Schnee")
    named = await session.download(result, tmp_path / "new", request=request)
    assert named.name == "ein-fuchs-im-schnee.png"


async def test_two_dots_are_a_directory(host, connect, tmp_path):
    """A target that ends in ".." is the directory above, be the one below missing."""
    saved = await connect().download(host.result("/a"), tmp_path / "sub" / "..")
    assert saved.resolve() == (tmp_path / "clx1.png").resolve()


async def test_one_that_cannot_be_had_stops_no_other(host, connect, tmp_path):
    """The error comes at the end and says what was stored."""
    host.answers["/b"] = [say(b"", 410)]
    with pytest.raises(DownloadError) as caught:
        await connect().download_all(host.result("/a", "/b", "/c"), tmp_path / "fox")

    assert names(tmp_path) == ["fox-3.png", "fox.png"]
    assert [path.name for path in caught.value.saved] == ["fox.png", "fox-3.png"]
    assert "picture 2 of 3" in caught.value.__notes__


PASSING = {
    "404 just after success": say(b"", 404),
    "202": say(b"", 202),
    "204": say(b"", 204),
    "an empty 200": say(b""),
    "425": say(b"", 425),
    "500": say(b"", 500),
    "507": say(b"", 507),
    "521": say(b"", 521),
    "429": say(b"", 429),
    "429, at once": say(b"", 429, Retry_After="0"),
    "cut by its own format": say(PNG[:-5]),
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
async def test_what_passes_is_waited_out(host, connect, tmp_path, answer):
    """Three times trouble, then the picture."""
    host.answers["/x"] = [answer] * 3 + [say()]
    path = await connect().download(host.result("/x"), tmp_path / "x")

    assert path.read_bytes() == PNG
    assert names(tmp_path) == ["x.png"]


async def test_a_file_that_stays_cut_is_an_error(host, connect, tmp_path):
    """Also where the transfer looked whole; a picture inside the answer at once."""
    host.answers["/x"] = [say(PNG[:-5])]
    with pytest.raises(DownloadError, match="its end is missing") as caught:
        await connect().download(host.result("/x"), tmp_path / "x")

    assert type(caught.value) is DownloadError
    assert caught.value.charged is True
    assert names(tmp_path) == []


async def test_retry_after_of_a_host_counts(host, connect, tmp_path):
    """A short one is waited out, one beyond all bounds ends the download at once."""
    host.answers["/x"] = [say(b"", 429, Retry_After="1"), say()]
    await connect().download(host.result("/x"), tmp_path / "x")
    (_, first), (_, second) = host.asked
    assert second - first >= 1
    host.answers |= {
        f"/{seconds}": [say(b"", 503, Retry_After=str(seconds))]
        for seconds in (30, 900)
    }
    for seconds in (30, 900):  # 30 is more than the download may take in all
        with pytest.raises(DownloadError, match=f"try again in {seconds} s"):
            await connect().download(host.result(f"/{seconds}"), tmp_path / "y")
    assert len(host.asked) == 4


async def test_the_age_of_a_missing_file_decides(host, connect, tmp_path):
    """A file that was made days ago is gone; one of unknown age gets some tries."""
    host.answers["/x"] = [say(b"", 404)]
    with pytest.raises(ResultExpiredError):
        await connect().download(host.result("/x"), tmp_path / "x")
    assert [path for path, _ in host.asked].count("/x") == 4
    for days, error, tries in ((8, ResultExpiredError, 1), (0, DownloadError, 8)):
        host.asked.clear()
        then = datetime.now(UTC) - timedelta(days=days)
        dated = evolve(host.result("/x"), completed_at=then)
        with pytest.raises(DownloadError) as caught:
            await connect().download(dated, tmp_path / "x")
        assert type(caught.value) is error
        assert [path for path, _ in host.asked].count("/x") == tries


async def test_downloads_wait_for_a_place(host, connect, tmp_path):
    """No more go at once than asked for, and those that wait are not late."""
    host.hold = asyncio.Event()
    session = connect(max_downloads=3, timeouts=Timeouts(connect=0.3, download=20))
    tasks = [
        asyncio.create_task(session.download(host.result(f"/{n}"), tmp_path / f"{n}"))
        for n in range(12)
    ]
    await asyncio.sleep(0.6)
    assert host.now == 3
    host.hold.set()
    await asyncio.gather(*tasks)

    assert host.most == 3
    assert len(names(tmp_path)) == 12


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "16"])
async def test_the_bound_is_a_number(connect, number):
    """Anything else is a mistake in the set-up."""
    with pytest.raises(ConfigurationError, match="max_downloads"):
        connect(max_downloads=number)


async def test_closing_ends_every_file(host, connect, tmp_path):
    """Under way, waiting, pausing, going up: a typed error at once; nobody hangs."""
    where = {"publicUrl": "https://a.b/c", "uploadUrl": f"{host.origin}/put"}
    host.answers |= {
        "/slow": [None],
        "/put": [None],
        "/busy": [say(b"", 503, Retry_After="15")],
        "/api/v1/files": [say(json.dumps({"code": 200, "data": where}).encode())],
    }
    session = connect(max_downloads=2)
    tasks = [
        asyncio.create_task(session.download(host.result(path), tmp_path / "x"))
        for path in ("/busy", "/slow", "/slow", "/slow", "/slow")
    ]
    tasks.append(asyncio.create_task(session.upload(PNG + bytes(5 << 20))))
    await asyncio.sleep(0.5)
    begun = time.monotonic()
    await session.aclose()
    done, hanging = await asyncio.wait(tasks, timeout=5)

    assert not hanging
    assert time.monotonic() - begun < 2
    assert not any(task.cancelled() for task in done)
    assert [type(task.exception()) for task in tasks[:-1]] == [DownloadError] * 5
    assert type(tasks[-1].exception()) is TransportError
    assert all("was closed" in str(task.exception()) for task in tasks)
    assert names(tmp_path) == []
    with pytest.raises(SessionClosedError):
        await session.download(host.result("/x"), tmp_path / "x")


async def test_a_file_that_takes_too_long_up_is_given_up(host, connect):
    """An upload is bounded as a download is."""
    where = {"publicUrl": "https://a.b/c", "uploadUrl": f"{host.origin}/put"}
    data = json.dumps({"code": 200, "data": where}).encode()
    host.answers |= {"/put": [None], "/api/v1/files": [say(data)]}
    session = connect(timeouts=Timeouts(download=0.3))
    with pytest.raises(TransportError, match=r"within 0\.3 s"):
        await session.upload(PNG + bytes(5 << 20))


ODD = [
    *("http://[::1]x/", "http://[::1", "http://[", "http://a:b/", "http://a:99999/x"),
    *("http://a:-1/", "http://:80/", "http://", "http:///x", "https:x", "", " ", "\n"),
    *("http://a b/", "http://a\nb/", "http://a\0b/", "http://\ud800/", "http://\xad/"),
    *("http://xn--/", "http://" + "a" * 70 + ".com/", "http://a..b/", "http://.a/"),
    *("http://\u2100/", "http://%00/", "http://%zz/", "http://a%2fb/", "http://@/"),
    *("http://u:p@/", "http://[fe80::1%25eth0]/", "http://[::ffff:1.2.3]/", "//a/b"),
    *("http://1.2.3.4.5/", "http://0x7f.1/", "http://127.1/", "http://2130706433/"),
    *("http://256.1.1.1/", "http://0/", "file:///etc/passwd", "data:", "data:,x"),
    *("javascript:1", "ftp://a/b", "http://127.0.0.1:1/", "http://localhost:0/"),
    *(
        "http://\u3002/",
        "http://a\u3002b\u3002/",
        "http://*/",
        "http://-/",
        "http://_/",
    ),
    *("http://127.0.0.1:1/\ud800", "http://127.0.0.1:1/?\ud800", "http://[v1.x]/"),
    *("http://[::]/", "http://[127.0.0.1]/", "http://\u0661.2.3.4/", "HTTP://"),
]


async def test_odd_addresses_are_typed_errors(host, connect, tmp_path):
    """As a result's address, in a redirect, and for an upload: never a bare error."""
    quick = Timeouts(connect=2, read=2, download=5)
    session = connect(retry=RetryPolicy(attempts=1), timeouts=quick)

    async def check(number, url):
        with pytest.raises(DownloadError):
            await session.download(ImageResult(urls=(url,)), tmp_path / f"{number}")
        location = url.encode("latin-1", "replace").decode("latin-1")
        if location.isprintable():
            host.answers[f"/{number}"] = [say(b"", 302, Location=location)]
            with contextlib.suppress(DownloadError):  # some lead back to the host
                await session.download(host.result(f"/{number}"), tmp_path / "x")
        saver = session._runtime.open().saver
        with pytest.raises(TransportError):
            await saver._put(url, await saver.load(PNG, None, None, 1000))

    await check_all_at_once(list(enumerate(ODD)), check)


async def test_three_redirects_are_followed(host, connect, tmp_path):
    """The last place that is looked at is the fourth."""
    host.answers |= {f"/{n}": [say(b"", 302, Location=f"/{n + 1}")] for n in range(4)}
    session = connect()
    assert await session.download(host.result("/1"), tmp_path / "x")
    with pytest.raises(DownloadError, match="more than 3 redirects"):
        await session.download(host.result("/0"), tmp_path / "y")


async def test_files_need_no_turn(host, tmp_path):
    """Below the session a download by itself is bounded by its tries alone."""

    async def nothing_newer(_task_id):
        return None

    retry, times = RetryPolicy(base=0.01), Timeouts(download=20)
    hosts = Hosts(Network(), loopback=True, lent=None)
    files = Files(LoopClock(), times, retry, lambda: 1.0, True, nothing_newer, hosts)  # noqa: FBT003
    threads = anyio.CapacityLimiter(1)
    host.answers["/x"] = [say(b"", 503), say()]
    path = await files.download(
        host.result("/x"),
        0,
        lambda: FileSink(threads, Keeping(stem="x"), tmp_path / "x", LocalDisk()),
    )
    await files.aclose()

    assert path.read_bytes() == PNG


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_bytes": "1"}])
async def test_a_wrong_limit_is_refused(host, connect, tmp_path, options):
    """Before anything is fetched or sent; so is a target that is no path."""
    session = connect()
    for call in (session.download, session.download_all):
        with pytest.raises(InvalidRequestError, match="max_bytes"):
            await call(host.result("/x"), tmp_path, **options)
        with pytest.raises(InvalidRequestError, match="target"):
            await call(host.result("/x"), None)
    with pytest.raises(InvalidRequestError, match="max_bytes"):
        await session.upload(PNG, **options)
    assert host.asked == []


async def test_a_large_file_needs_a_word(host, connect, tmp_path):
    """The limit is told, with the switch."""
    with pytest.raises(DownloadError, match="larger than 20 bytes: max_bytes="):
        await connect().download(host.result("/x"), tmp_path / "x", max_bytes=20)
    await connect().download(host.result("/x"), tmp_path / "x", max_bytes=len(PNG))


def test_an_outcome_has_all_paths(tmp_path):
    """The first of them is *path*; unwrap gives the result or raises."""
    result, error = ImageResult(urls=("https://a/b",)), DownloadError("no")
    saved = Outcome(0, None, result, paths=[tmp_path / "a", tmp_path / "b"])
    assert saved.paths == (tmp_path / "a", tmp_path / "b")
    assert saved.path == tmp_path / "a"
    assert Outcome(0, None).path is None
    assert Outcome(0, None, result, error).unwrap() is result
    with pytest.raises(DownloadError):
        Outcome(0, None, error=error).unwrap()
    with pytest.raises(ValueError, match="a result or an error"):
        Outcome(0, None).unwrap()


async def test_what_is_no_result_is_refused_with_what_to_give(connect, tmp_path):
    """A handle is to be awaited first, an outcome unwrapped; an address is none."""
    session, result = connect(), ImageResult(urls=("https://a.b/c.png",))
    wrong = {
        "await the handle first": session.images.attach("clx1"),
        "outcome.unwrap() is one": Outcome(0, None, result),
        "as generate() returns it": result.urls,
        "an ImageResult, not its address: give what generate() returned; of a task "
        "there is `await images.attach(task_id)` (attach(task_id).result() in sync)": (
            result.url
        ),
    }
    early = session.images.generate("a fox")
    wrong["is not allowed: await the call first"] = early
    for words, given in wrong.items():
        for save in (session.download, session.download_all):
            with pytest.raises(InvalidRequestError) as caught:
                await save(given, tmp_path / "fox")
            assert words in str(caught.value)
            assert caught.value.parameter == "result"
    early.close()
