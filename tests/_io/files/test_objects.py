"""Pictures as objects: checked before they have a name, and called as files are."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile

import anyio
import obstore
import pytest
from obstore.store import HTTPStore, LocalStore, MemoryStore
from support.buckets import SECRET, at_s3, content, objects
from support.downloads import at
from support.raw import PNG, RawServer, close, hang, in_turn, message, raw, respond

from apimodels_async import (
    ConfigurationError,
    DownloadError,
    ImageResult,
    InvalidRequestError,
    Session,
)
from apimodels_async._core.files.keeping import BUFFER_BYTES, Keeping
from apimodels_async._io.files.buckets import Bucket, lent_bucket
from apimodels_async._io.files.objects import ObjectSink
from apimodels_async._ports import CutError

OTHER = PNG + b"other"
LARGE = PNG + bytes(BUFFER_BYTES)

pytestmark = pytest.mark.usefixtures("object_storage")


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    """Return an empty store."""
    if request.param == "memory":
        return MemoryStore()
    return LocalStore(tmp_path / "bucket", mkdir=True)


@pytest.fixture
async def host(connect):
    """Return a server of files, and a session on it."""
    async with RawServer() as server:
        server.session = connect(server)
        server.file = at(f"{server.origin}/x")
        yield server


def sink_in(bucket, key, **keeping):
    """Return a sink for one picture under a key."""
    return ObjectSink(
        anyio.CapacityLimiter(1), Keeping(stem="s", **keeping), bucket, key
    )


async def test_a_picture_is_stored_as_a_file_would_be(host, store):
    """It gets the name of the task and a suffix; equal again is the same, else two."""
    host.answer = in_turn(respond(PNG), respond(PNG), respond(OTHER))
    urls = [await host.session.download(host.file, store) for _ in range(3)]

    assert [url.rpartition("/")[2] for url in urls] == [
        *("clx1.png", "clx1.png"),
        "clx1-2.png",
    ]
    assert {type(url) for url in urls} == {str}
    assert content(store, "clx1.png") == PNG
    assert content(store, "clx1-2.png") == OTHER
    assert len(objects(store)) == 2


async def test_an_object_can_be_replaced(host, store):
    """With overwrite=True picture and sidecar take the place of what is there."""
    host.answer = in_turn(respond(PNG), respond(OTHER))
    for beside in (False, True):
        url = await host.session.download(
            host.file, store, overwrite=True, sidecar=beside
        )

    assert url.endswith("/clx1.png")
    assert content(store, "clx1.png") == OTHER
    assert sorted(objects(store)) == ["clx1.png", "clx1.png.json"]


async def test_addresses_are_returned(host, tmp_path):
    """What is returned is an address of the same kind as was given, key included."""
    host.answer = respond(PNG)
    out = tmp_path / "my out"
    given = ["memory://a/fox", "memory:///a/", f"{out.as_uri()}/a/", out.as_uri()]
    urls = [await host.session.download(host.file, each) for each in given]

    assert urls == [
        *("memory:///a/fox.png", "memory:///a/clx1.png"),
        *(f"{out.as_uri()}/a/clx1.png", f"{out.as_uri()}.png"),
    ]
    assert (out / "a" / "clx1.png").read_bytes() == PNG


async def test_every_picture_has_a_key_of_its_own(host, store):
    """Equal pictures of one result are as many objects; those that came are named."""
    host.answer = in_turn(respond(PNG), respond(PNG), respond(b"", 410))
    urls = (f"{host.origin}/a", f"{host.origin}/b", f"{host.origin}/c")
    with pytest.raises(DownloadError) as caught:
        await host.session.download_all(ImageResult(urls=urls, task_id="clx1"), store)

    assert sorted(objects(store)) == ["clx1-2.png", "clx1.png"]
    assert [url.rpartition("/")[2] for url in caught.value.saved] == [
        *("clx1.png", "clx1-2.png"),
    ]


async def test_what_is_not_whole_is_not_uploaded(host, store):
    """No picture, one that is too large, cut, or never ends: the store stays empty."""
    png = PNG[:8] + b"\0\0\0\rIHDR" + bytes(13 + 4)
    cases = [
        (respond(b"<html>" * 100), {}),
        (respond(PNG), {"max_bytes": 99}),
        (respond(png), {}),
        (close, {}),
    ]
    for answer, options in cases:
        host.answer = answer
        with pytest.raises(DownloadError):
            await host.session.download(host.file, store, **options)
    host.answer = raw(message(PNG)[:-9])
    with anyio.move_on_after(0.3) as scope:
        await host.session.download(host.file, store)

    assert scope.cancelled_caught
    assert objects(store) == {}


async def test_a_large_picture_is_kept_in_a_file_meanwhile(host, store, tmp_path):
    """It is stored whole, with its provenance in it, and the file is gone."""
    host.answer = respond(LARGE)
    before = tempfile.gettempdir()
    tempfile.tempdir = str(tmp_path)
    try:
        await host.session.download(host.file, store, sidecar=True)
        left = [each for each in tmp_path.iterdir() if each.name != "bucket"]
    finally:
        tempfile.tempdir = before

    assert left == []
    assert content(store, "clx1.png") == LARGE
    assert json.loads(content(store, "clx1.png.json"))["task_id"] == "clx1"


async def test_provenance_is_written_into_it(session, store):
    """What is known of a picture is in the object, as in a file."""
    result = await session.images.generate("a red fox")
    url = await session.download(result, store, embed=True)
    key = url.rpartition("/")[2]
    plain = await session.download(result, store)

    assert b"apimodels-async" in content(store, key)
    assert plain != url
    assert len(objects(store)) == 2


async def test_a_sink_begins_anew(store):
    """What was taken in is forgotten, be it in memory or in a file; a cut one is not
    stored."""
    cut = PNG[:8] + b"\0\0\0\rIHDR" + bytes(13 + 4)
    sink = sink_in(lent_bucket(store), "a/fox.png")
    for first in (b"x" * 100, LARGE, cut):
        await sink.add(first)
        if first is cut:
            with pytest.raises(CutError):
                await sink.finish()
        await sink.restart()
        assert sink.size == 0
    await sink.add(OTHER)
    await sink.finish()
    await sink.discard()

    assert objects(store) == {"a/fox.png": len(OTHER)}


async def test_there_may_be_no_room_meanwhile(host, store, tmp_path):
    """Where a large picture cannot be kept, the error says where that was tried."""
    host.answer = respond(LARGE)
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path / "gone")
    try:
        with pytest.raises(DownloadError, match="gone meanwhile: No such file"):
            await host.session.download(host.file, store)
    finally:
        tempfile.tempdir = before
    assert objects(store) == {}


async def test_a_late_thread_finds_that_it_is_over(store):
    """A sink that was left takes nothing in, and leaves nothing open."""
    sink = sink_in(lent_bucket(store), "")
    await sink.discard()
    await sink.add(LARGE)
    await sink.restart()
    await sink.discard()

    assert objects(store) == {}


class Overtaken(Bucket):
    """One in which somebody else is always faster."""

    def __init__(self, store, theirs):
        super().__init__(store, "memory://")
        self.theirs = theirs

    async def create(self, key, content):
        if key in self.theirs:
            await super().create(key, self.theirs.pop(key))
        return await super().create(key, content)


@pytest.mark.parametrize("equal", [True, False])
async def test_somebody_is_faster(equal):
    """A key that is taken between look and upload is kept, with its sidecar."""
    store = MemoryStore()
    bucket = Overtaken(store, {"fox.png": PNG if equal else OTHER})
    sink = sink_in(bucket, "fox.png", sidecar=b"{}")
    await sink.add(PNG)
    url = await sink.finish()
    await sink.discard()

    assert url == ("memory:///fox.png" if equal else "memory:///fox-2.png")
    assert content(store, url.rpartition("/")[2]) == PNG
    assert content(store, "fox.png") == (PNG if equal else OTHER)
    assert sorted(objects(store)) == (
        ["fox.png", "fox.png.json"]
        if equal
        else ["fox-2.png", "fox-2.png.json", "fox.png"]
    )


async def test_a_sidecar_of_others_is_kept(store):
    """Where another one is in its place, picture and sidecar are numbered."""
    obstore.put(store, "fox.png.json", b"theirs")
    sink = sink_in(lent_bucket(store), "fox.png", sidecar=b"{}")
    await sink.add(PNG)
    await sink.finish()
    await sink.discard()

    assert content(store, "fox.png.json") == b"theirs"
    assert sorted(objects(store)) == ["fox-2.png", "fox-2.png.json", "fox.png.json"]


async def test_numbers_end(store):
    """Where all names are taken, that is said."""
    obstore.put(store, "fox.png", OTHER)
    names = Keeping(stem="s").names("fox.png", ".png")
    taken = {lent_bucket(store).url(name) for name in names}
    sink = sink_in(lent_bucket(store), "fox.png", taken=frozenset(taken))
    await sink.add(PNG)
    with pytest.raises(DownloadError, match="all numbers are taken"):
        await sink.finish()
    await sink.discard()


# --- what a service says ----------------------------------------------------------

DENIED = (
    b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIACANARY"
    b"</AWSAccessKeyId><StringToSign>canary</StringToSign></Error>"
)


async def test_no_secret_is_told(host, monkeypatch):
    """A service that echoes keys in its refusal is put into words of ours."""
    host.answer = respond(PNG)
    async with RawServer(respond(DENIED, 403)) as service:
        store = at_s3(service, monkeypatch)
        with pytest.raises(DownloadError) as caught:
            await host.session.download(host.file, store)
        error = caught.value
        with pytest.raises(ConfigurationError) as checked:
            await lent_bucket(store).check("p/")

    assert "s3://pictures/clx1.png: access is denied (SignatureDoesNotMatch)" in str(
        error
    )
    assert error.task_id == "clx1"
    assert "nothing was ordered" in str(checked.value)
    for told in (error, checked.value, host.session, lent_bucket(store)):
        assert "canary" not in repr(told).lower()
        assert SECRET not in repr(told)
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_who_may_not_look_may_write(host, monkeypatch):
    """Where a look is refused (no right to list), the upload itself decides."""
    host.answer = respond(PNG)

    async def serve(request, peer):
        status = 403 if request.method == "HEAD" else 200
        await peer.say(message(b"", status, ETag='"x"'))

    async with RawServer(serve) as service:
        store = at_s3(service, monkeypatch)
        url = await host.session.download(host.file, store)

    assert url == "s3://pictures/clx1.png"


async def test_a_silent_bucket_does_not_hold_up_the_end(host, monkeypatch):
    """Closing the session ends an upload nobody answers, with an error in words."""
    host.answer = respond(PNG)
    async with RawServer(hang) as service:
        store = at_s3(service, monkeypatch)
        task = asyncio.create_task(host.session.download(host.file, store))
        await service.arrived.wait()
        await host.session.aclose()
        with pytest.raises(DownloadError, match="session was closed"):
            await task


# --- before anything is sent ------------------------------------------------------


async def test_what_cannot_be_used_is_refused_first(emulator, session, tmp_path):
    """A wrong address, a wrong kind or a closed bucket costs nothing."""
    (tmp_path / "file").write_bytes(b"")
    refused = [
        ("ftp://h/x", InvalidRequestError),
        ("s3://id:key@b/x", InvalidRequestError),
        (3, InvalidRequestError),
        (f"{tmp_path.as_uri()}/file/x/", ConfigurationError),
        (HTTPStore("https://h/x"), ConfigurationError),
    ]
    for target, kind in refused:
        with pytest.raises(kind):
            await session.download(at("https://h/x"), target)
        with pytest.raises(kind):
            async with session.images.batch(["a fox"], download_to=target):
                pass

    assert emulator.requests == []


async def test_an_account_is_asked_for(session):
    """Azure needs the name of an account, and the error says where from."""
    with pytest.raises(ConfigurationError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        await session.download(at("https://h/x"), "az://c/x")


WITHOUT_OBSTORE = """
import asyncio, sys
sys.modules["obstore"] = None  # as if it were not installed
from apimodels_async import ConfigurationError, ImageResult, Session

async def main():
    result = ImageResult(urls=("https://a.b/c.png",))
    async with Session("sk_x", base_url="http://127.0.0.1:9/v1") as session:
        try:
            await session.download(result, "s3://bucket/x")
        except ConfigurationError as error:
            print(error)
        try:
            session.images.batch(["a fox"], download_to="memory://")
        except ConfigurationError as error:
            print(error)

asyncio.run(main())
"""


def test_the_extra_is_asked_for(tmp_path):
    """Without obstore the error says what to install, and nothing is sent."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_OBSTORE],
        check=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = done.stdout.splitlines()

    assert len(told) == 2
    assert all("pip install 'apimodels-async[cloud]'" in line for line in told)


async def test_an_address_is_opened_once(host):
    """What one call stored in memory, the next one of the session finds."""
    host.answer = in_turn(respond(PNG), respond(OTHER))
    urls = [await host.session.download(host.file, "memory://x") for _ in range(2)]

    assert urls == ["memory:///x.png", "memory:///x-2.png"]
    assert isinstance(host.session, Session)
