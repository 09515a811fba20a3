"""Batches whose pictures go to object storage, and the page over them there."""

from __future__ import annotations

import asyncio
import json
import re

import obstore
import pytest
from obstore.store import S3Store
from support.buckets import content, environment, objects
from support.raw import RawServer, hang, message
from support.waiting import until

from apimodels_async import ConfigurationError, DownloadError
from apimodels_async._core.files.object_urls import read_object_url
from apimodels_async.cli.batch.folder import Folder
from apimodels_async.cli.batch.place import BucketPlace, FolderPlace
from apimodels_async.cli.gallery.page import MARK

pytestmark = pytest.mark.usefixtures("object_storage")


def links(page):
    """Return what the cards of a page lead to."""
    return re.findall(r'<a class="shot" href="([^"#]*)"', page)


def orders(emulator):
    """Return how often something was ordered."""
    return [one.endpoint for one in emulator.requests].count("sync")


async def test_a_batch_fills_a_bucket(run, emulator, prompts, folder, bucket):
    """Pictures and page are there, the rest is beside the prompts and goes on there."""
    out, name = f"s3://{bucket}/my deck", prompts("a fox", "a hare")
    store = S3Store(bucket, prefix="my deck", client_options={"allow_http": True})
    first = await run("batch", name, "--out", out)
    again = await run("batch", name, "--out", f"{out}/", "--json")
    listed = await run("ls", "p.txt.batch", "--json")
    page = await obstore.get_async(store, "index.html")

    assert (first.code, again.code) == (0, 0)
    assert f"gallery  {out}/index.html" in first.out
    assert f"folder   {folder / 'p.txt.batch'}" in first.out
    assert f"go to {out}/, the journal to {folder / 'p.txt.batch'}" in first.err
    assert again.records[-1]["earlier"] == orders(emulator) == 2
    assert again.records[-1]["folder"] == str(folder / "p.txt.batch")
    assert sorted(objects(store)) == [
        *("00001-a-fox.jpg", "00002-a-hare.jpg", "index.html"),
    ]
    assert page.attributes["Content-Type"] == "text/html; charset=utf-8"
    assert links(content(store, "index.html").decode()) == [
        *("00001-a-fox.jpg", "00002-a-hare.jpg"),
    ]
    assert [one["path"] for one in listed.records] == [
        *(f"{out}/00001-a-fox.jpg", f"{out}/00002-a-hare.jpg"),
    ]
    kept = {path.name for path in (folder / "p.txt.batch").iterdir()}
    assert {"batch.json", "journal.sqlite", "prompts.txt"} <= kept
    assert kept.isdisjoint({"pictures", "index.html"})


async def test_a_folder_does_not_choose_the_bucket(run, emulator, prompts, folder):
    """What a folder says of object storage is done only if an option says it, too."""
    out, other = ((folder / name).as_uri() for name in ("out", "other"))
    name = prompts("a fox")
    first = await run("batch", name, "--out", out, "--folder", "D")
    unsaid = await run("resume", "D")
    wrong = await run("resume", "D", "--out", other)
    moved = await run("batch", name, "--out", other, "--folder", "D")
    local = await run("batch", name, "--out", "D")
    said = await run("resume", "D", "--out", out)
    await run("batch", name, "--out", "E")
    needless = await run("resume", "E", "--out", out)

    assert [first.code, said.code] == [0, 0]
    ends = (unsaid, wrong, moved, local, needless)
    assert [done.code for done in ends] == [2] * 5
    for done in (unsaid, wrong):
        assert f"If they should, say so: --out {out}/" in done.err
    for done in (moved, local):
        assert f"was started with --out {out}/" in done.err
    assert "leave out --out" in needless.err
    assert orders(emulator) == 2
    assert not (folder / "other").exists()


async def test_what_cannot_be_filled_costs_nothing(run, emulator, prompts, bucket):
    """A bucket that is not there is said before any order; mended, it goes on."""
    name = prompts("a fox")
    missing = await run("batch", name, "--out", f"s3://{bucket}-x/deck")
    single = await run("generate", "a fox", "--out", f"s3://{bucket}-x/fox.png")
    gone = await run("generate", "a fox", "--out", "memory://fox")

    assert [done.code for done in (missing, single, gone)] == [2] * 3
    for done in (missing, single):
        assert "no such bucket (NoSuchBucket); nothing was ordered" in done.err
    assert "would be gone with this command" in gone.err
    assert emulator.requests == []

    mended = await run("batch", name, "--out", f"s3://{bucket}/deck")
    assert mended.code == 0
    assert orders(emulator) == 1


async def test_a_batch_without_its_journal_is_not_paid_for_again(
    run, emulator, prompts, folder
):
    """Where the page of a batch is, none begins: elsewhere it would order all anew."""
    out, name = (folder / "out").as_uri(), prompts("a fox")
    await run("batch", name, "--out", out)
    elsewhere = await run("batch", name, "--out", out, "--folder", "other machine")
    other = await run("batch", prompts("a hare", name="q.txt"), "--out", out)

    assert (elsewhere.code, other.code) == (2, 2)
    for done in (elsewhere, other):
        assert "index.html is the page of another batch, or of this one" in done.err
    assert orders(emulator) == 1
    assert not (folder / "other machine").exists()


async def test_a_bucket_that_does_not_show_its_page_is_not_begun(monkeypatch):
    """Whether a batch was paid for there cannot be seen: it is refused."""

    async def serve(request, peer):
        await peer.say(message(b"", 400 if request.method == "HEAD" else 200, ETag="x"))

    async with RawServer(serve) as service:
        place = place_at(service, monkeypatch, 2)
        with pytest.raises(ConfigurationError, match="cannot be read: nothing was"):
            await place.check_new()


async def test_each_shard_has_its_own_page(run, emulator, prompts, folder):
    """Shards of one file fill one place, and none is in another's way."""
    out, name = (folder / "out").as_uri(), prompts("a", "b", "c")
    for shard in ("1/2", "2/2"):
        done = await run("batch", name, "--out", out, "--shard", shard)
        assert done.code == 0

    assert orders(emulator) == 3
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        *("00001-a.jpg", "00002-b.jpg", "00003-c.jpg"),
        *("index-1-of-2.html", "index-2-of-2.html"),
    ]
    page = (folder / "out" / "index-1-of-2.html").read_text("utf-8")
    assert links(page) == ["00001-a.jpg", "00003-c.jpg"]
    plan = json.loads((folder / "p.txt.2-of-2.batch" / "batch.json").read_text())
    assert plan["out"] == f"{out}/"


async def test_a_page_of_others_stays(run, prompts, folder):
    """Where a web site has its page nothing replaces it, and that is said once."""
    (folder / "out").mkdir()
    (folder / "out" / "index.html").write_text("<h1>Theirs")
    done = await run("batch", prompts("a fox"), "--out", (folder / "out").as_uri())

    assert done.code == 0
    assert done.err.count("index.html is another page: it stays") == 1
    assert "gallery " not in done.out
    assert (folder / "out" / "index.html").read_text() == "<h1>Theirs"
    assert (folder / "out" / "00001-a-fox.jpg").is_file()


async def test_a_page_that_is_hidden_stays(monkeypatch):
    """A page that is there and may not be read counts as another's."""

    async def serve(request, peer):
        seen.append(request.method)
        await peer.say(message(b"", 412 if request.method == "PUT" else 403))

    seen = []
    async with RawServer(serve) as service:
        with pytest.raises(DownloadError, match="is another page"):
            await place_at(service, monkeypatch).write_page([], {})

    assert seen == ["HEAD", "PUT"]


async def test_a_silent_bucket_does_not_hold_up_the_page(monkeypatch):
    """A page that nobody takes is given up, in words."""
    async with RawServer(hang) as service:
        place = place_at(service, monkeypatch, 0.1)
        with pytest.raises(DownloadError, match=r"no answer within 0\.1 s"):
            await place.write_page([], {})


async def test_a_page_that_is_on_its_way_is_waited_for(monkeypatch):
    """Its writer may be cancelled: the later page arrives after it, and so it stays."""

    async def serve(request, peer):
        if request.method == "HEAD":
            await peer.say(message(b"", 404))
            return
        arrived.append(request.body)
        await answered.wait()
        await peer.say(message(b"", ETag='"1"'))

    arrived, answered = [], asyncio.Event()
    async with RawServer(serve) as service:
        place = place_at(service, monkeypatch)
        early = asyncio.create_task(place.write_page([], {"state": "running"}))
        await until(lambda: arrived)
        early.cancel()
        late = asyncio.create_task(place.write_page([], {"state": "ended"}))
        await asyncio.wait([early])
        await asyncio.sleep(0.05)
        assert len(arrived) == 1
        answered.set()
        await late

    assert [b"<dd>ended</dd>" in body for body in arrived] == [False, True]


def place_at(server, monkeypatch, seconds=60):
    """Return the place of a batch in a bucket at a raw server."""
    for name, value in environment(server.origin).items():
        monkeypatch.setenv(name, value)
    return BucketPlace(read_object_url("s3://b/deck/", "out"), "index.html", seconds)


async def test_a_page_may_go_by_its_own_mark(folder):
    """What was written by an earlier run is replaced, and by the same run again."""
    url = read_object_url(f"{folder.as_uri()}/", "out")
    page = folder / "index.html"
    for _ in range(2):
        place = BucketPlace(url, "index.html")
        await place.write_page([], {"state": "running"})
        await place.write_page([], {"state": "ended"})

    assert MARK in page.read_bytes()
    assert "ended" in page.read_text("utf-8")
    assert [path.name for path in folder.iterdir()] == ["index.html"]


async def test_a_page_that_was_given_up_never_comes_after_the_next(folder):
    """The thread of a writer who was cancelled leaves the later page as it is."""
    place = FolderPlace(Folder(folder))
    await place.write_page([], {"state": "running"})
    await place.write_page([], {"state": "ended"})
    place._write(1, [], {"state": "running"})  # in its thread, late

    assert "<dd>ended</dd>" in place.page.read_text("utf-8")
