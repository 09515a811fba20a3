"""Result files and uploads."""

from io import BytesIO

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimodels_async.emulator.service import store
from apimodels_async.emulator.service.timeline import Timeline

anyio = pytest.mark.anyio
WEEK_S = 7 * 24 * 3600


async def result(api, **params):
    """Return the URL of a finished task's picture."""
    task = await api.submit(**params)
    return (await api.ended(task.id))["resultUrls"][0]


@anyio
async def test_a_result_is_a_jpeg_with_length_and_tag(api):
    """A result is served with type, length, ETag and ranges, and needs no key."""
    url = await result(api)
    status, headers, body = await api.send("GET", url, key="")

    assert url.endswith(".jpeg")
    assert status == 200
    assert headers["Content-Type"] == "image/jpeg"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Accept-Ranges"] == "bytes"
    assert body.startswith(b"\xff\xd8")
    head, length, nothing = await api.send("HEAD", url)
    assert (head, length["Content-Length"], nothing) == (200, str(len(body)), b"")
    tag = {"If-None-Match": headers["ETag"]}
    assert (await api.send("GET", url, headers=tag))[0] == 304


@anyio
@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("bytes=5-1", 416, slice(0, 0)),
        ("bytes=a-b", 200, slice(None)),
        ("bytes=7", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
    ],
)
async def test_ranges(api, asked, status, part):
    """A Range header gives that part, 416 past the end, all when unreadable."""
    url = await result(api)
    _, _, whole = await api.send("GET", url)
    answered, headers, body = await api.send("GET", url, headers={"Range": asked})

    assert answered == status
    assert body == whole[part]
    assert ("Content-Range" in headers) == (status != 200)


@anyio
async def test_if_range_of_another_file_gives_the_whole(api):
    """A Range for a version that is gone gives the whole file."""
    url = await result(api)
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}

    assert (await api.send("GET", url, headers=headers))[0] == 200


@anyio
async def test_results_expire_after_seven_days(api, emulator):
    """A result can be fetched for 7 days of the emulator's clock, then 404."""
    url = await result(api)
    emulator.advance(WEEK_S - 60)
    before, _, _ = await api.send("GET", url)
    emulator.advance(61)
    after, _, _ = await api.send("GET", url)

    assert (before, after) == (200, 404)


@anyio
async def test_a_file_nobody_made_is_missing(api, emulator):
    """Unknown pictures and uploads are 404."""
    for path in ("images/x.jpeg", "uploads/u/x"):
        status, _, _ = await api.send("GET", f"{emulator.origin}/files/{path}")
        assert status == 404


async def presign(api, **more):
    """Return the data of a presigned upload."""
    body = {"filename": "cat.png", "contentType": "image/png", **more}
    status, answer = await api.ask("POST", "files", json=body)
    assert status == 200
    return answer["data"]


@anyio
async def test_a_presigned_upload(api, emulator, png):
    """A PUT with the same Content-Type makes publicUrl live, for 7 days."""
    data = await presign(api, fileSize=len(png()))
    early, _, _ = await api.send("GET", data["publicUrl"])
    kind = {"Content-Type": "image/png"}
    put, _, _ = await api.send(
        "PUT", data["uploadUrl"], key="", data=png(), headers=kind
    )
    status, headers, body = await api.send("GET", data["publicUrl"])
    again, _, _ = await api.send(
        "PUT", data["uploadUrl"], key="", data=png(), headers=kind
    )
    emulator.advance(WEEK_S)
    late, _, _ = await api.send("GET", data["publicUrl"])

    assert (early, put, status, again, late) == (404, 200, 200, 403, 404)
    assert (headers["Content-Type"], body) == ("image/png", png())


@anyio
@pytest.mark.parametrize(
    ("kind", "key", "query", "body", "status"),
    [
        ("image/jpeg", "", "", b"1234", 403),
        ("image/png", None, "", b"1234", 400),
        ("image/png", "", "x", b"1234", 403),
        ("image/png", "", "", b"12345", 400),
    ],
)
async def test_a_wrong_put_is_refused(api, kind, key, query, body, status):
    """Another type, a key, a wrong signature or another size is refused."""
    data = await presign(api, fileSize=4)
    answered, _, _ = await api.send(
        "PUT",
        data["uploadUrl"] + query,
        key=key,
        data=body,
        headers={"Content-Type": kind},
    )

    assert answered == status


@anyio
async def test_a_put_after_ten_minutes_is_refused(api, emulator):
    """An upload address works for 10 minutes."""
    data = await presign(api)
    emulator.advance(601)
    status, _, _ = await api.send(
        "PUT", data["uploadUrl"], key="", headers={"Content-Type": "image/png"}
    )

    assert status == 403


@anyio
async def test_a_form_upload(api, png):
    """A multipart upload is live at once, with a guessed or given type."""
    for name, kind, expected in (
        ("a.png", None, "application/octet-stream"),
        ("../../b c.png", "image/png", "image/png"),
    ):
        form = aiohttp.FormData()
        form.add_field("file", png(), filename=name, content_type=kind)
        status, body = await api.ask("POST", "files", data=form)
        url = body["data"]["publicUrl"]
        fetched, headers, data = await api.send("GET", url)

        assert (status, fetched, data) == (200, 200, png())
        assert headers["Content-Type"] == expected


@anyio
async def test_a_large_form_upload_is_refused(api):
    """A form file above 4 MB is 413."""
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(b"x" * (4 * 1024 * 1024 + 1)), filename="a.png")
    status, body = await api.ask("POST", "files", data=form)

    assert (status, body["code"]) == (413, 413)


@anyio
async def test_a_form_without_file_is_refused(api):
    """A form without a file part is 400."""
    for form in ({"file": "text"}, {"other": "x"}):
        data = aiohttp.FormData(form, default_to_multipart=True)
        status, body = await api.ask("POST", "files", data=data)

        assert (status, body["msg"]) == (400, "file is required")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"contentType": "image/png"}, "filename is required"),
        ({"filename": "a"}, "contentType is required"),
        ({"filename": "a", "contentType": "b", "fileSize": 0}, "fileSize must be"),
    ],
)
@anyio
async def test_a_bad_presign_is_refused(api, body, words):
    """A presigned upload needs a name, a type and a possible size."""
    status, answer = await api.ask("POST", "files", json=body)

    assert status == 400
    assert words in answer["msg"]


@given(st.text(), st.integers(0, 1000))
def test_any_range_header_is_survived(header, size):
    """Whatever a Range header says, the part lies within the file or is empty."""
    for text in (header, f"bytes={header}", None):
        part = store.byte_range(text, size)
        assert part is None or part[1] == 0 or 0 <= part[0] <= sum(part) <= size


@given(st.text())
def test_no_file_name_leaves_its_folder(filename):
    """A hostile file name stays one path segment."""
    path = store.upload_path("user", "token", filename)

    assert path.count("/") == 1
    assert path.startswith("user/token-")


def test_a_type_is_guessed_from_the_name():
    """A file without a type gets that of its suffix."""
    assert store.guess_type("a.png", None) == "image/png"
    assert store.guess_type("a", None) == "application/octet-stream"


@anyio
async def test_uploads_are_bounded(emulator, monkeypatch):
    """When uploads grow too large together, the oldest go."""
    monkeypatch.setattr(store, "_KEPT_UPLOAD_BYTES", 25)
    shelf = emulator._world.store
    for name in "abc":
        shelf.keep(name, store.Upload("text/plain", Timeline().now(), b"x" * 10))

    assert shelf.uploaded("a") is None
    assert shelf.uploaded("c") is not None


@anyio
async def test_pictures_are_bounded(api, monkeypatch):
    """When there are too many pictures, the oldest go."""
    monkeypatch.setattr(store, "_KEPT_FILES", 1)
    first, second = await result(api), await result(api)

    assert (await api.send("GET", first))[0] == 404
    assert (await api.send("GET", second))[0] == 200
