"""Uploads: both modes, without the key where it does not belong."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from support.raw import PNG, RawServer, by_method, close, envelope, hang, respond

from apimodels_async import (
    APIStatusError,
    InvalidRequestError,
    Timeouts,
    TransportError,
    UnexpectedResponseError,
)

LARGE = PNG + bytes(5 << 20)


async def fetch(emulator, url):
    """Return what the emulator stored at a URL."""
    path = url.partition("/files/")[2]
    return await emulator._world.store.read(path)


@pytest.mark.parametrize("content", [PNG, LARGE], ids=["form", "put"])
async def test_a_file_is_hosted(session, emulator, tmp_path, content):
    """Small files go as a form, large ones by PUT; what is stored is what was sent."""
    path = tmp_path / "fox.png"
    path.write_bytes(content)
    for source in (path, str(path), content):
        url = await session.upload(source)

        assert url.startswith(f"{emulator.origin}/files/uploads/")
        assert await fetch(emulator, url) == content
        assert url.endswith("fox.png" if source is not content else "image.png")
    assert emulator.spent == 0


async def test_name_and_type_may_be_given(session, emulator):
    """The caller's own name and type are told to the API."""
    url = await session.upload(b"?", name="a b.heic", content_type="image/heic")

    assert "heic" in url
    assert await fetch(emulator, url) == b"?"


async def test_the_put_carries_no_key(session, emulator):
    """The key goes to the API alone, not to the address it gives."""
    await session.upload(LARGE)
    question, put = emulator.requests

    assert (question.method, question.has_key) == ("POST", True)
    assert (put.method, put.has_key) == ("PUT", False)


async def test_what_cannot_be_sent_is_refused_here(session, emulator, tmp_path):
    """A missing file and an unknown type never reach the network."""
    (tmp_path / "x").write_bytes(b"?")
    for source, name in (
        (tmp_path / "none.png", "source"),
        (tmp_path / "x", "content_type"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            await session.upload(source)
        assert caught.value.parameter == name
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (close, None),
        (hang, None),
        (respond(b"", 500), 500),
        (respond(b"", 307, Location="/x"), 307),
    ],
    ids=["close", "hang", "500", "307"],
)
async def test_a_put_that_fails_is_told(connect, answer, status):
    """An upload that does not arrive is an error with its status, uncharged."""
    async with RawServer() as server:
        where = {"uploadUrl": f"{server.origin}/u", "publicUrl": "https://a.b/c"}
        server.answer = by_method(POST=respond(envelope(where)), PUT=answer)
        patience = 0.5 if answer is hang else 20
        session = connect(server, timeouts=Timeouts(download=patience))
        with pytest.raises(TransportError, match="upload failed") as caught:
            await session.upload(LARGE)

        assert caught.value.charged is False
        assert caught.value.status == status
        puts = [one for one in server.received if one.method == "PUT"]
        assert 1 <= len(puts) <= 2  # aiohttp repeats a PUT once by itself
        assert b"sk_" not in server.received[-1].head


async def test_an_answer_without_address_is_unexpected(connect):
    """A large file needs an address; none is an error that says so."""
    async with RawServer(respond(envelope({"publicUrl": "https://a.b/c"}))) as server:
        with pytest.raises(UnexpectedResponseError, match="no address"):
            await connect(server).upload(LARGE)


async def test_a_refused_upload_is_typed(connect):
    """413 is the API's no."""
    async with RawServer(respond(envelope(None, 413), 413)) as server:
        with pytest.raises(APIStatusError) as caught:
            await connect(server).upload(PNG)

        assert caught.value.status == 413
        assert len(server.posts) == 1


async def test_a_name_arrives_as_it_was_given(session, emulator):
    """Names of any script and with quotes arrive; line breaks cannot add headers."""
    names = {
        "a b.png": "a b.png",
        "ünï 猫.png": "ünï 猫.png",
        'q"uo;te.png': 'q"uo;te.png',
        "x\r\nX-Y: z.png": "x X-Y: z.png",
        "\udcff.png": "_.png",
    }
    found = {}
    for name in names:
        url = await session.upload(PNG, name=name)
        found[name] = unquote(url.rpartition("/")[2]).partition("-")[2]

    assert found == names
