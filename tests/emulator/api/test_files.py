"""Result files and uploads."""

from io import BytesIO

import aiohttp

WEEK_S = 7 * 24 * 3600
# Range header -> status and part of the file.
RANGES = [
    ("bytes=0-9", 206, slice(0, 10)),
    ("bytes=100-", 206, slice(100, None)),
    ("bytes=-10", 206, slice(-10, None)),
    ("bytes=99999999-", 416, slice(0, 0)),
    ("bytes=5-1", 416, slice(0, 0)),
    ("bytes=a-b", 200, slice(None)),
    ("bytes=7", 200, slice(None)),
    ("lines=1-2", 200, slice(None)),
]
# Content-Type, API key, what follows the address, body -> status.
WRONG_PUTS = [
    ("image/jpeg", "", "", b"1234", 403),
    ("image/png", None, "", b"1234", 400),
    ("image/png", "", "x", b"1234", 403),
    ("image/png", "", "", b"12345", 400),
]
BAD_RESERVATIONS = [
    ({"contentType": "image/png"}, "filename is required"),
    ({"filename": "a"}, "contentType is required"),
    ({"filename": "a", "contentType": "b", "fileSize": 0}, "fileSize must be"),
]


async def test_a_result_is_a_jpeg_with_length_and_tag(api):
    """A result is served with type, length, ETag and ranges, and needs no key."""
    url = await api.result(size="64x64")
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


async def test_ranges(api):
    """A Range header gives that part, 416 past the end, all when unreadable."""
    url = await api.result(size="64x64")
    _, _, whole = await api.send("GET", url)
    failures = {}
    for asked, status, part in RANGES:
        got = await api.send("GET", url, headers={"Range": asked})
        expected = (status, whole[part], status != 200)
        if (got[0], got[2], "Content-Range" in got[1]) != expected:
            failures[asked] = got

    assert failures == {}


async def test_if_range_of_another_file_gives_the_whole(api):
    """A Range for a version that is gone gives the whole file."""
    url = await api.result(size="64x64")
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}

    assert (await api.send("GET", url, headers=headers))[0] == 200


async def test_results_expire_after_seven_days(api, emulator):
    """A result can be fetched for 7 days of the emulator's clock, then 404."""
    url = await api.result(size="64x64")
    emulator.advance(WEEK_S - 60)
    before, _, _ = await api.send("GET", url)
    emulator.advance(61)
    after, _, _ = await api.send("GET", url)

    assert (before, after) == (200, 404)


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


async def test_a_wrong_put_is_refused(api):
    """Another type, a key, a wrong signature or another size is refused."""
    data = await presign(api, fileSize=4)
    failures = []
    for kind, key, more, body, status in WRONG_PUTS:
        url, headers = data["uploadUrl"] + more, {"Content-Type": kind}
        answered, _, _ = await api.send("PUT", url, key=key, data=body, headers=headers)
        if answered != status:
            failures.append((kind, key, more, body, answered))

    assert failures == []


async def test_a_put_after_ten_minutes_is_refused(api, emulator):
    """An upload address works for 10 minutes."""
    data = await presign(api)
    emulator.advance(601)
    status, _, _ = await api.send(
        "PUT", data["uploadUrl"], key="", headers={"Content-Type": "image/png"}
    )

    assert status == 403


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


async def test_a_large_form_upload_is_refused(api):
    """A form file above 4 MB is 413."""
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(b"x" * (4 * 1024 * 1024 + 1)), filename="a.png")
    status, body = await api.ask("POST", "files", data=form)

    assert (status, body["code"]) == (413, 413)


async def test_a_form_without_file_is_refused(api):
    """A form without a file part is 400."""
    for form in ({"file": "text"}, {"other": "x"}):
        data = aiohttp.FormData(form, default_to_multipart=True)
        status, body = await api.ask("POST", "files", data=data)

        assert (status, body["msg"]) == (400, "file is required")


async def test_a_bad_presign_is_refused(api):
    """A presigned upload needs a name, a type and a possible size."""
    for body, words in BAD_RESERVATIONS:
        status, answer = await api.ask("POST", "files", json=body)

        assert status == 400
        assert words in answer["msg"]
