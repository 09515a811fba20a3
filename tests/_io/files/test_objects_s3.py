"""Pictures in a real S3 service on loopback, and what a broken way to it leaves."""

from __future__ import annotations

import os

import obstore
import pytest
from obstore.store import S3Store
from support.buckets import content, objects
from support.downloads import at
from support.proxy import ChaosProxy, Fault
from support.raw import PNG, RawServer, in_turn, respond
from support.waiting import until

from apimodels_async import ConfigurationError, DownloadError
from apimodels_async._core.files.keeping import BUFFER_BYTES

OTHER = PNG + b"other"
LARGE = PNG + os.urandom(BUFFER_BYTES)


@pytest.fixture
def store(bucket):
    """Return our own way to the bucket."""
    return S3Store(bucket, client_options={"allow_http": True})


@pytest.fixture
async def host(connect):
    """Return a server of files, and a session on it."""
    async with RawServer() as server:
        server.session = connect(server)
        server.file = at(f"{server.origin}/x")
        yield server


async def test_a_picture_goes_to_a_bucket(host, bucket, store):
    """It is there with its type, equal again is the same, another one is numbered."""
    host.answer = in_turn(respond(PNG), respond(PNG), respond(OTHER))
    target = f"s3://{bucket}/東京/ein Fuchs"
    urls = [
        await host.session.download(host.file, target, sidecar=True) for _ in range(3)
    ]
    found = await obstore.get_async(store, "東京/ein Fuchs.png")

    assert urls == [f"{target}.png", f"{target}.png", f"{target}-2.png"]
    assert content(store, "東京/ein Fuchs.png") == PNG
    assert content(store, "東京/ein Fuchs-2.png") == OTHER
    assert found.attributes["Content-Type"] == "image/png"
    assert len(objects(store)) == 4


async def test_a_large_picture_is_one_upload(host, s3, bucket, store):
    """No parts are left over, for there are none; and it is compared to its end."""
    changed = LARGE[:-1] + bytes([LARGE[-1] ^ 1])
    host.answer = in_turn(respond(LARGE), respond(LARGE), respond(changed))
    target = f"s3://{bucket}/fox.png"
    urls = [await host.session.download(host.file, target) for _ in range(3)]

    assert urls == [target, target, f"s3://{bucket}/fox-2.png"]
    assert content(store, "fox.png") == LARGE
    assert content(store, "fox-2.png") == changed
    assert s3.uploads(bucket) == 0


async def test_a_batch_fills_a_bucket_and_finds_it_again(
    emulator, connect, bucket, store, tmp_path
):
    """Run again it orders and uploads nothing; what is gone is saved again."""

    async def run():
        session = connect(emulator)
        async with session.images.batch(
            ["a red fox", "a moose"],
            journal=tmp_path / "j.sqlite",
            download_to=f"s3://{bucket}/pictures",
        ) as outcomes:
            found = [outcome async for outcome in outcomes]
        return sorted(outcome.path for outcome in found)

    first = await run()
    ordered, times = len(emulator.requests), written(store)
    again = await run()
    assert again == first
    assert written(store) == times
    assert len(emulator.requests) == ordered
    assert [path.rpartition(".")[0] for path in first] == [
        f"s3://{bucket}/pictures/00000-a-red-fox",
        f"s3://{bucket}/pictures/00001-a-moose",
    ]

    key = first[0].partition(f"{bucket}/")[2]
    obstore.delete(store, key)
    assert await run() == first
    assert [one.method for one in emulator.requests].count("POST") == 2
    assert sorted(objects(store)) == [path.partition(f"{bucket}/")[2] for path in first]


def written(store):
    """Return when each object of a store was last written."""
    return {
        meta["path"]: meta["last_modified"]
        for batch in obstore.list(store)
        for meta in batch
    }


async def test_a_bucket_that_is_not_there_costs_nothing(emulator, session, bucket):
    """A batch is refused before its first order, and the error says why."""
    batch = session.images.batch(["a fox"], download_to=f"s3://{bucket}-x/p")
    with pytest.raises(ConfigurationError, match="no such bucket"):
        async with batch as outcomes:
            await anext(outcomes)

    assert emulator.requests == []


@pytest.mark.parametrize("size", ["small", "large"])
async def test_an_upload_that_is_cut_leaves_nothing(host, s3, bucket, store, size):
    """Nothing is under the final key until the upload is whole; it is tried again."""
    picture = PNG if size == "small" else LARGE
    host.answer = respond(picture)
    cut = {f"get {number}": Fault("cut_up", at=0.7) for number in (2, 3)}
    async with ChaosProxy(s3, cut) as proxy:
        once = proxied(bucket, proxy, tries=0)
        with pytest.raises(DownloadError, match="trying again is free"):
            await host.session.download(host.file, once)
        assert objects(store) == {}
        url = await host.session.download(host.file, proxied(bucket, proxy, tries=3))

    assert url == f"s3://{bucket}/clx1.png"
    assert content(store, "clx1.png") == picture
    assert s3.uploads(bucket) == 0


async def test_an_answer_that_is_lost_is_no_other_picture(host, s3, bucket, store):
    """What arrived although nobody heard of it is found, not stored twice."""
    host.answer = respond(PNG)
    lost = {"get 2": Fault("cut_down", at=0)}
    async with ChaosProxy(s3, lost) as proxy:
        url = await host.session.download(host.file, proxied(bucket, proxy, tries=3))

    assert url == f"s3://{bucket}/clx1.png"
    assert objects(store) == {"clx1.png": len(PNG)}


async def test_a_bucket_that_goes_away_loses_no_picture(
    emulator, connect, s3, bucket, store
):
    """The outcome has its result and the error; later the picture is stored, free."""
    session = connect(emulator)
    async with ChaosProxy(s3) as proxy:
        way = proxied(bucket, proxy, tries=0)
        async with session.images.batch(["a fox [slow]"], download_to=way) as outcomes:
            await until(lambda: emulator.requests)  # the bucket was tried before
            proxy.leave()
            [outcome] = [each async for each in outcomes]
        assert isinstance(outcome.error, DownloadError)
        assert "no connection" in str(outcome.error) or "refused" in str(outcome.error)
        assert outcome.paths == ()
        assert objects(store) == {}
        proxy.come_back()
        url = await session.download(outcome.unwrap(), f"s3://{bucket}/fox")

    assert url.startswith(f"s3://{bucket}/fox.")
    assert len(objects(store)) == 1


def proxied(bucket, proxy, tries):
    """Return a way to a bucket through *proxy*."""
    return S3Store(
        bucket,
        endpoint=f"http://127.0.0.1:{proxy.port}",
        client_options={"allow_http": True},
        retry_config={"max_retries": tries},
    )
