"""Downloads that go on: from where they broke, or from a fresh address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from io import BytesIO

import pytest
from PIL import Image
from support.downloads import at, error_of, names
from support.raw import PNG, RawServer, close, in_turn, message, raw, respond

from apimodels_async import (
    DownloadError,
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    ResultExpiredError,
    SparkPixImage,
    TransportError,
)

TAG = '"v1"'
HALF = len(PNG) // 2
RANGES = {"Accept_Ranges": "bytes", "ETag": TAG}
CUT = raw(message(PNG, **RANGES)[: -(len(PNG) - HALF)], close=True)
REST = respond(
    PNG[HALF:],
    206,
    Content_Range=f"bytes {HALF}-{len(PNG) - 1}/{len(PNG)}",
    **RANGES,
)
SHORT_PART = respond(
    PNG[HALF:-100],
    206,
    Content_Range=f"bytes {HALF}-{len(PNG) - 1}/{len(PNG)}",
    **RANGES,
)
WRONG_PART = respond(
    PNG[9:], 206, Content_Range=f"bytes 9-{len(PNG) - 1}/{len(PNG)}", **RANGES
)


def ranges(server):
    """Return which parts were asked for, in order."""
    return [one.headers.get("range") for one in server.received]


async def test_a_broken_transfer_goes_on_where_it_ended(connect, folder):
    """Only what is missing is sent again, if it is still the same file."""
    async with RawServer(in_turn(CUT, REST)) as server:
        path = await connect(server).download(at(f"{server.origin}/x"), folder / "x")

        assert path.read_bytes() == PNG
        assert ranges(server) == [None, f"bytes={HALF}-"]
        assert server.received[1].headers["if-range"] == TAG
        assert names(folder) == ["x.png"]


@pytest.mark.parametrize(
    "answers",
    [
        (CUT, respond(PNG, **RANGES)),
        (CUT, WRONG_PART, respond(PNG)),
        (CUT, respond(b"", 416), respond(PNG)),
        (CUT, SHORT_PART, respond(PNG)),
        (CUT, CUT, REST),
    ],
    ids=["changed", "another part", "no such part", "short", "cut again"],
)
async def test_a_file_that_is_not_the_same_begins_anew(connect, folder, answers):
    """A whole answer, a wrong part or a 416 never mixes two files."""
    async with RawServer(in_turn(*answers)) as server:
        path = await connect(server).download(at(f"{server.origin}/x"), folder / "x")

        assert path.read_bytes() == PNG
        assert names(folder) == ["x.png"]


async def test_large_parts_on_disk_are_forgotten_too(connect, folder):
    """What had reached the disk is cut away when a file begins anew."""
    large = PNG + bytes(9 << 20)
    cut = raw(message(large, **RANGES)[:-1000], close=True)
    async with RawServer(in_turn(cut, respond(PNG))) as server:
        path = await connect(server).download(at(f"{server.origin}/x"), folder / "x")

        assert path.read_bytes() == PNG


async def test_the_emulator_serves_parts(emulator, connect, folder):
    """A picture cut at some byte is taken up there, over the real file server."""
    session = connect(emulator)
    result = await session.images.generate("a fox")
    whole = (await session.download(result, folder / "whole")).read_bytes()
    emulator.fault("file", "truncated", at=1000)
    path = await session.download(result, folder / "parts")

    assert path.read_bytes() == whole


async def test_a_refused_address_is_asked_for_anew(connect, folder):
    """On 403, 404 or 410 the API may know another address, and that one is fetched."""
    for status in (403, 404, 410):
        async with RawServer() as server:
            fresh = f"{server.origin}/x?sig=2"
            data = {"taskId": "clx1", "state": "completed", "resultUrls": [fresh]}
            body = json.dumps({"code": 200, "data": data}).encode()
            server.answer = in_turn(respond(b"", status), respond(body), respond(PNG))
            session = connect(server)
            path = await session.download(
                at(f"{server.origin}/x?sig=1"), folder / str(status)
            )

            assert path.read_bytes() == PNG
            asked = [one.target for one in server.received]
            assert asked[0].endswith("sig=1")
            assert "task_id=clx1" in asked[1]
            assert asked[2].endswith("sig=2")
            assert "authorization" not in server.received[2].headers


async def test_a_fresh_address_is_that_of_the_same_picture(connect, folder):
    """The API names all addresses anew; of another number of them none is taken."""
    for count in (1, 2, 3):
        async with RawServer() as server:
            fresh = [f"{server.origin}/{at}?sig=2" for at in range(count)]
            data = {"taskId": "clx1", "state": "completed", "resultUrls": fresh}
            body = json.dumps({"code": 200, "data": data}).encode()
            server.answer = in_turn(respond(b"", 403), respond(body), respond(PNG))
            old = tuple(f"{server.origin}/{at}?sig=1" for at in range(2))
            result = ImageResult(urls=old, task_id="clx1")
            with contextlib.suppress(DownloadError):
                await connect(server).download(result, folder / f"{count}", index=1)

            asked = [one.target for one in server.received]
            assert asked[2:] == (["/1?sig=2"] if count == 2 else [])
    assert names(folder) == ["2.png"]


async def test_the_same_address_again_is_the_end(connect, folder):
    """Where the API names the address that was refused, that is said."""
    async with RawServer() as server:
        url = f"{server.origin}/x"
        data = {"taskId": "clx1", "state": "completed", "resultUrls": [url]}
        body = json.dumps({"code": 200, "data": data}).encode()
        server.answer = in_turn(respond(b"", 403), respond(body), respond(PNG))
        error = await error_of(connect(server), at(url), folder)

        assert "names no other address" in str(error)
        assert not isinstance(error, ResultExpiredError)
        assert error.status == 403


async def test_an_upload_is_sent_once(connect):
    """A PUT whose connection breaks is not repeated behind anyone's back."""
    async with RawServer() as server:
        data = {"publicUrl": "https://f/x.png", "uploadUrl": f"{server.origin}/put"}
        body = json.dumps({"code": 200, "data": data}).encode()
        server.answer = in_turn(respond(body), close)
        with pytest.raises(TransportError, match="upload failed"):
            await connect(server).upload(PNG + bytes(5 << 20))

        assert [one.method for one in server.received] == ["POST", "PUT"]


# --- what is written down ---------------------------------------------------------


def picture(kind, **options):
    """Return a small picture in some format."""
    out = BytesIO()
    Image.effect_noise((32, 24), 80).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def with_exif():
    """Return a JPEG that has EXIF already."""
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    return picture("JPEG", exif=exif)


def with_broken_exif():
    """Return a JPEG whose EXIF nobody can read."""
    plain = picture("JPEG")
    return plain[:2] + b"\xff\xe1\x00\x10Exif\0\0nonsense" + plain[2:]


REQUEST = SparkPixImage(
    prompt="a fox \N{FOX FACE}\0 in snow", seed=42, aspect_ratio="16:9"
)
SHOWN = "a fox \N{FOX FACE}\N{REPLACEMENT CHARACTER} in snow"


@pytest.mark.parametrize(
    "content",
    [picture("PNG"), picture("JPEG"), with_exif(), with_broken_exif()],
    ids=["png", "jpeg", "exif", "broken exif"],
)
async def test_a_picture_says_how_it_was_made(connect, folder, content):
    """Prompt, seed and task id are in the file, and its pixels are untouched."""
    async with RawServer(respond(content)) as server:
        path = await connect(server).download(
            at(f"{server.origin}/x"), folder / "x", embed=True, request=REQUEST
        )

    noted, came = Image.open(path), Image.open(BytesIO(content))
    assert noted.tobytes() == came.tobytes()
    assert noted.size == came.size
    if path.suffix == ".png":
        assert noted.text["Description"] == SHOWN
        comment = noted.text["Comment"]
    else:
        exif = noted.getexif()
        assert exif[0x010E].encode("latin-1").decode() == SHOWN
        comment = exif.get_ifd(0x8769)[0x9286].removeprefix(b"ASCII\0\0\0").decode()
        assert (exif.get(0x0110) == "a camera") is (b"a camera" in content)
    known = json.loads(comment)
    assert known["seed"] == 42
    assert known["task_id"] == "clx1"
    assert known["params"] == {"aspect_ratio": "16:9"}
    assert names(folder) == [path.name]


@pytest.mark.parametrize("kind", ["WEBP", "GIF"])
async def test_other_formats_stay_as_they_came(connect, folder, kind):
    """Embedding leaves them alone; the sidecar has it all."""
    content = picture(kind)
    async with RawServer(respond(content)) as server:
        path = await connect(server).download(
            at(f"{server.origin}/x"),
            folder / "x",
            embed=True,
            sidecar=True,
            request=REQUEST,
        )

    assert path.read_bytes() == content
    facts = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))
    assert facts["prompt"] == REQUEST.prompt
    assert facts["model"] == "sparkpix-image"


async def test_a_picture_without_a_request_is_described_as_far_as_known(
    connect, folder
):
    """Without request= there is no prompt, and no description either."""
    for kind in ("PNG", "JPEG"):
        async with RawServer(respond(picture(kind))) as server:
            path = await connect(server).download(
                at(f"{server.origin}/x"), folder / kind.lower(), embed=True
            )
        with Image.open(path) as noted:
            assert "clx1" in str(getattr(noted, "text", noted.getexif().get_ifd(34665)))
            assert "Description" not in getattr(noted, "text", {})


async def test_what_does_not_fit_is_shortened_or_left_out(connect, folder):
    """EXIF that fills a segment gives way to ours; a huge prompt is cut short."""
    exif = Image.Exif()
    exif[0x010D] = "x" * 60_000
    huge = ImageRequest("m", "a fox " * 20_000, {})
    async with RawServer(respond(picture("JPEG", exif=exif))) as server:
        path = await connect(server).download(
            at(f"{server.origin}/x"), folder / "x", embed=True, request=huge
        )

    with Image.open(path) as noted:
        assert noted.getexif()[0x010E].startswith("a fox a fox")
        assert 0x010D not in noted.getexif()


async def test_a_batch_writes_it_down_too(emulator, connect, folder):
    """Each picture of a batch can have its sidecar."""
    session = connect(emulator)
    async with session.images.batch(
        ["a fox", "a moose"], download_to=folder, sidecar=True, embed=True
    ) as outcomes:
        paths = {one.path.name: one async for one in outcomes}

    assert names(folder) == sorted([*paths, *(f"{name}.json" for name in paths)])
    for name, outcome in paths.items():
        facts = json.loads((folder / f"{name}.json").read_text("utf-8"))
        assert facts["prompt"] == outcome.request.prompt


async def test_a_wrong_request_is_refused(session, folder):
    """What is no request value is told before anything is fetched."""
    with pytest.raises(InvalidRequestError, match="request= takes"):
        await session.download(
            at("https://a.b/c.png"), folder / "x", sidecar=True, request="a fox"
        )

    assert names(folder) == []


async def test_a_sidecar_that_cannot_be_written_leaves_no_picture(connect, folder):
    """Both are there, or neither."""
    (folder / "x.png.json").mkdir()
    async with RawServer(respond(PNG)) as server:
        with pytest.raises(Exception, match="cannot write"):
            await connect(server).download(
                at(f"{server.origin}/x"), folder / "x", sidecar=True, overwrite=True
            )

    assert names(folder) == ["x.png.json"]


async def test_parts_of_killed_processes_are_removed_after_a_day(connect, folder):
    """Old hidden parts go when a session writes there; young ones are another's."""
    day = 86_400
    for name, age in (("old", 2 * day), ("young", 60)):
        part = folder / f".{name}.png.0123abcd.part"
        part.write_bytes(b"x")
        os.utime(part, (time.time() - age,) * 2)
    (folder / "mine.part").write_bytes(b"x")
    os.utime(folder / "mine.part", (0, 0))
    async with RawServer(respond(PNG)) as server:
        session = connect(server)
        for name in ("a", "b"):
            await session.download(at(f"{server.origin}/x"), folder / name)

    assert names(folder) == [".young.png.0123abcd.part", "a.png", "b.png", "mine.part"]


# --- a process that is killed -----------------------------------------------------

VICTIM = """
import asyncio, sys
from apimodels_async import ImageResult, Session

async def main(base_url, url, target):
    async with Session("sk_x", base_url=base_url) as session:
        await session.download(ImageResult(urls=(url,)), target, sidecar=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_download_leaves_no_final_file(connect, folder):
    """After kill -9 there is a hidden part at most, and a day later not even that."""
    content = PNG + bytes(9 << 20)
    sent = asyncio.Event()

    async def most_of_it(_request, peer):
        await peer.say(message(content)[:-9])
        sent.set()
        await asyncio.Event().wait()

    async with RawServer(most_of_it) as server:
        arguments = (server.base_url, f"{server.origin}/x", str(folder / "fox.png"))
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-c", VICTIM, *arguments
        )
        await sent.wait()
        while not names(folder):  # noqa: ASYNC110  the part is there after 8 MiB
            await asyncio.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        await victim.wait()

        [left] = names(folder)

    assert left.startswith(".fox.png.")
    assert left.endswith(".part")
