"""One place in object storage: how it is opened, asked, and what it refuses."""

from __future__ import annotations

import obstore
import pytest
from obstore.store import (
    AzureStore,
    GCSStore,
    HTTPStore,
    LocalStore,
    MemoryStore,
    S3Store,
)
from support.buckets import at_s3, environment
from support.cases import check_all
from support.raw import PNG, RawServer, hang, message, respond

from apimodels_async import ConfigurationError, DownloadError
from apimodels_async._core.files.object_urls import read_object_url
from apimodels_async._io.files.buckets import lent_bucket, open_bucket

pytestmark = pytest.mark.usefixtures("object_storage")


def test_a_store_of_ones_own_has_addresses(tmp_path):
    """Their scheme, bucket and prefix are those of the store."""
    account = {"account_name": "a", "account_key": "aGk="}
    cases = [
        (MemoryStore(), "memory:///k"),
        (LocalStore(tmp_path), f"{tmp_path.as_uri()}/k"),
        (LocalStore(), "file:///k"),
        (S3Store("b", prefix="p/q"), "s3://b/p/q/k"),
        (S3Store("b"), "s3://b/k"),
        (GCSStore("b", skip_signature=True), "gs://b/k"),
        (AzureStore("c", **account), "az://c/k"),
    ]

    def check(store, expected):
        assert lent_bucket(store).url("k") == expected

    check_all(cases, check)
    with pytest.raises(ConfigurationError, match="HTTPStore"):
        lent_bucket(HTTPStore("https://h/x"))


async def test_a_store_that_cannot_refuse_is_asked_before(monkeypatch, caplog):
    """Where no upload can be conditional, that is logged once, and a look decides."""
    for answer in (None, respond(b"", 501)):
        options = {} if answer else {"conditional_put": "disabled"}
        seen = []

        async def serve(request, peer, answer=answer, seen=seen):
            seen.append((request.method, "if-none-match" in request.headers))
            if request.method == "HEAD":
                await peer.say(message(b"", 404))
            elif answer is not None and seen[-1][1]:
                await answer(request, peer)
            else:
                await peer.say(message(b"", ETag='"x"'))

        async with RawServer(serve) as service:
            bucket = lent_bucket(at_s3(service, monkeypatch, **options))
            assert await bucket.create("a.png", PNG)
            assert await bucket.create("b.png", PNG)
        assert seen[-2:] == [("HEAD", False), ("PUT", False)]
    assert [each.message.partition(" cannot")[0] for each in caplog.records] == [
        "s3://pictures",
    ] * 2


async def test_a_taken_key_is_seen_where_nothing_can_refuse(monkeypatch):
    """Without conditional uploads an object that is there is not replaced."""

    async def serve(request, peer):
        head = message(b"", Content_Length="5", ETag='"x"', Last_Modified=MODIFIED)
        await peer.say(head if request.method == "HEAD" else message(b"", 500))

    async with RawServer(serve) as service:
        store = at_s3(service, monkeypatch, conditional_put="disabled")
        assert not await lent_bucket(store).create("a.png", PNG)
        assert [each.method for each in service.received] == ["HEAD"]


MODIFIED = "Sat, 28 Nov 2026 17:00:00 GMT"


async def test_who_has_no_credentials_is_told_soon(monkeypatch):
    """The machine is asked for some, a few times; then it is said that it has none."""
    async with RawServer(respond(b"", 500)) as service:
        for name, value in environment(service.origin).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", service.origin)
        bucket = open_bucket(read_object_url("s3://pictures/p/", "out"), 60)
        with pytest.raises(ConfigurationError, match="no credentials are in the env"):
            await bucket.check("p/", 60)
        asked = [each.target for each in service.received]

    assert asked == ["/latest/api/token"] * 3


async def test_a_bucket_that_does_not_answer_costs_nothing(monkeypatch):
    """A batch waits for its bucket for some time, and says that it did in vain."""
    async with RawServer(hang) as service:
        with pytest.raises(ConfigurationError, match=r"no answer within 0\.2 s"):
            await lent_bucket(at_s3(service, monkeypatch)).check("", 0.2)


def test_every_scheme_is_opened(monkeypatch, tmp_path):
    """An address and the environment are enough to open it; nothing is sent."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "deck")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aGk=")
    cases = [
        (f"{root}/k", f"{root}/k")
        for root in ("s3://b", "gs://b", "az://c", "memory://", tmp_path.as_uri())
    ]

    def check(address, expected):
        url = read_object_url(address, "target")
        assert open_bucket(url, 10).url(url.key) == expected

    check_all(cases, check)


async def test_the_head_of_an_object_is_read():
    """As much as is wanted comes, all of a short one, and nothing of none."""
    store = MemoryStore()
    obstore.put(store, "a", b"0123456789")
    obstore.put(store, "c", b"")
    bucket = lent_bucket(store)

    assert await bucket.read_head("a", 4) == b"0123"
    assert await bucket.read_head("a", 99) == b"0123456789"
    assert await bucket.read_head("b", 4) is None
    assert await bucket.read_head("c", 4) == b""


async def test_a_bucket_that_cannot_say_is_an_error(monkeypatch):
    """A head that is not to be had is not taken for an object that is not there."""
    async with RawServer(respond(b"", 500)) as service:
        bucket = lent_bucket(at_s3(service, monkeypatch))
        with pytest.raises(DownloadError, match="HTTP 500"):
            await bucket.read_head("a", 4)


async def test_a_page_is_served_as_one(monkeypatch):
    """Its type is told, and that it may change; a picture's type is its own."""
    seen = {}

    async def serve(request, peer):
        seen[request.target] = request.headers
        await peer.say(message(b"", ETag='"x"'))

    async with RawServer(serve) as service:
        bucket = lent_bucket(at_s3(service, monkeypatch))
        await bucket.replace("index.html", b"<p>")
        await bucket.replace("fox.png", PNG)
        await bucket.replace("fox", b"x")
    page, picture, other = seen.values()

    assert page["content-type"] == "text/html; charset=utf-8"
    assert page["cache-control"] == "no-cache"
    assert picture["content-type"] == "image/png"
    assert "cache-control" not in picture
    assert "cache-control" not in other
