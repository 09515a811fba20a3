"""A batch that saves to object storage: what it tells, and what it finds again."""

from __future__ import annotations

import obstore
import pytest
from obstore.store import MemoryStore, S3Store
from support.buckets import environment, objects
from support.raw import RawServer, message
from support.waiting import until

from apimodels_async import ConfigurationError, DownloadError

ORDER = {"prompt": "ein Fuchs", "model": "gpt-image-2-all", "n": 3}
NAMES = ["00000-ein-fuchs", "00000-ein-fuchs-2", "00000-ein-fuchs-3"]


pytestmark = pytest.mark.usefixtures("object_storage")


async def run(session, journal, target, **options):
    """Run the batch; return its outcome."""
    async with session.images.batch(
        [ORDER], journal=journal, download_to=target, **options
    ) as outcomes:
        [outcome] = [each async for each in outcomes]
    return outcome


async def test_nothing_is_ordered_for_a_folder_that_takes_nothing(
    session, emulator, tmp_path
):
    """A batch tries its folder before it orders, and leaves nothing of that behind."""
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(ConfigurationError, match=r"cannot write .*; nothing was"):
            await run(session, None, target)
    new = tmp_path / "new" / "folder"
    async with session.images.batch([], download_to=new) as outcomes:
        assert [each async for each in outcomes] == []

    assert not emulator.requests
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


async def test_a_batch_finds_what_is_there(session, emulator, tmp_path):
    """Run again, it orders and saves nothing; what is gone is saved again."""
    store, journal = MemoryStore(), tmp_path / "j.sqlite"
    first = await run(session, journal, store, sidecar=True)
    seen, before = len(emulator.requests), obstore.list(store).collect()
    again = await run(session, journal, store, sidecar=True)

    assert [url.rpartition("/")[2].partition(".")[0] for url in first.paths] == NAMES
    assert again.paths == first.paths
    assert len(emulator.requests) == seen
    assert obstore.list(store).collect() == before
    assert len(before) == 6
    obstore.delete(store, first.path.removeprefix("memory:///"))
    assert (await run(session, journal, store, sidecar=True)).paths == first.paths
    assert len(objects(store)) == 6
    elsewhere = MemoryStore()
    assert (await run(session, journal, elsewhere)).paths == first.paths
    assert len(objects(elsewhere)) == 3


async def test_a_prefix_needs_no_final_slash(session, tmp_path):
    """All of a batch goes below its address, a folder's like a bucket's."""
    address = (tmp_path / "deck").as_uri()
    outcome = await run(session, None, address)
    inside = await run(session, None, "memory://a/b")

    assert [url.rpartition(".")[0] for url in outcome.paths] == [
        f"{address}/{name}" for name in NAMES
    ]
    assert len(list((tmp_path / "deck").iterdir())) == 3  # no empty one is left
    assert inside.path.startswith("memory:///a/b/00000-")


async def test_a_bucket_that_fails_loses_nothing(
    session, emulator, tmp_path, monkeypatch
):
    """The outcome has its result and why it is not saved; the next run saves it."""
    answers = {"fails": False}

    async def serve(request, peer):
        status = 500 if answers["fails"] else 200
        await peer.say(message(b"", status, ETag='"x"'))

    async with RawServer(serve) as service:
        for name, value in environment(service.origin).items():
            monkeypatch.setenv(name, value)
        store = S3Store(
            "pictures",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        journal = tmp_path / "j.sqlite"
        async with session.images.batch(
            [ORDER], journal=journal, download_to=store
        ) as outcomes:
            await until(lambda: emulator.requests)  # the place was tried
            answers["fails"] = True
            [outcome] = [each async for each in outcomes]
    saved = await run(session, journal, MemoryStore())

    assert isinstance(outcome.error, DownloadError)
    assert outcome.paths == ()
    assert outcome.unwrap().urls == saved.result.urls
    assert len(saved.paths) == 3
    assert [one.method for one in emulator.requests].count("POST") == 1


async def test_what_is_ordered_is_handed_over_from_a_place_that_takes_no_more(
    session, emulator, tmp_path, monkeypatch
):
    """A place is tried once, before the first order; what needs none needs no place."""
    journal = tmp_path / "j.sqlite"
    await run(session, journal, MemoryStore())
    seen, asked, found = [], len(emulator.requests), []

    async def serve(request, peer):
        seen.append(request.method)
        status = 200 if request.method == "HEAD" else 500
        await peer.say(message(b"", status, ETag='"x"'))

    async with RawServer(serve) as service:
        for name, value in environment(service.origin).items():
            monkeypatch.setenv(name, value)
        store = S3Store(
            "pictures",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        again = await run(session, journal, store)
        before = [*seen]
        async with session.images.batch(
            [ORDER, *"abcdef"], journal=journal, download_to=store
        ) as outcomes:
            found.append(await anext(outcomes))
            with pytest.raises(ConfigurationError, match="HTTP 500; nothing was"):
                await anext(outcomes)

    assert len(again.paths) == 3
    assert set(before) == {"HEAD"}
    assert seen.count("PUT") == 1
    assert len(emulator.requests) == asked
    assert [len(each.paths) for each in found] == [3]


async def test_a_bucket_that_does_not_say_is_written_to(session, tmp_path, monkeypatch):
    """Where it cannot be seen whether a picture is there, it is saved again."""
    journal = tmp_path / "j.sqlite"
    await run(session, journal, MemoryStore())
    seen = []

    async def serve(request, peer):
        seen.append(request.method)
        first = seen.count("HEAD") == 1 and request.method == "HEAD"
        status = 500 if first else 404 if request.method == "HEAD" else 200
        await peer.say(message(b"", status, ETag='"x"'))

    async with RawServer(serve) as service:
        for name, value in environment(service.origin).items():
            monkeypatch.setenv(name, value)
        store = S3Store(
            "pictures",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        outcome = await run(session, journal, store)

    assert [url.rpartition(".")[0] for url in outcome.paths] == [
        f"s3://pictures/{name}" for name in NAMES
    ]
    assert seen.count("PUT") == 3


async def test_a_name_of_any_script_is_found_again(session, emulator, tmp_path):
    """What an address escapes is the same picture to the next run, and to a folder."""
    journal, order = tmp_path / "j.sqlite", ["ein Füchslein 東京"]
    places = [(tmp_path / "my deck").as_uri(), tmp_path / "my deck"]
    found, asked = [], []
    for place in (places[0], *places):
        async with session.images.batch(
            order, journal=journal, download_to=place
        ) as outcomes:
            found += [each.path async for each in outcomes]
        asked.append(len(emulator.requests))

    assert found[0] == found[1] == found[2].as_uri()
    assert found[2].name.startswith("00000-ein-füchslein-東京")
    assert found[2].is_file()
    assert asked[0] == asked[1]
