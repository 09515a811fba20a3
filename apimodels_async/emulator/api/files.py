"""Endpoints for uploads and for downloads of pictures and uploads."""

from datetime import UTC, datetime

from aiohttp import web

from apimodels_async.emulator.api import checks, forms
from apimodels_async.emulator.api.forms import Part
from apimodels_async.emulator.api.gate import Call
from apimodels_async.emulator.service import store
from apimodels_async.emulator.service.values import RefusalError, envelope
from apimodels_async.emulator.world import World

FORM_FILE_BYTES = 4 * 1024 * 1024  # "small files only"; the real cap is unknown
_USER = "emulator"


async def upload(world: World, call: Call) -> web.Response:
    """
    POST /files: mode 1 (JSON, presigned) or mode 2 (multipart) by Content-Type.

    Source:
        Files page.
    """
    if call.parts is None:
        return _presigned(world, call)
    return _received(world, call.parts)


def _presigned(world: World, call: Call) -> web.Response:
    filename = checks.text(call.body, "filename", required=True)
    content_type = checks.text(call.body, "contentType", required=True)
    checks.integer(call.body, "fileSize", 1, forms.BODY_BYTES)
    now = world.timeline.now()
    path = store.upload_path(_USER, world.ledger.new_token(12), filename)
    token = world.ledger.new_token(32)
    size = call.body.get("fileSize")
    world.store.reserve(path, store.Upload(content_type, now, size=size, token=token))
    public = f"{world.origin}/files/uploads/{path}"
    ends_at = world.timeline.epoch_ms(now + store.UPLOAD_WINDOW_S) / 1000
    return web.json_response(
        envelope(
            {
                "uploadUrl": f"{public}?signature={token}",
                "publicUrl": public,
                "expiresAt": datetime.fromtimestamp(ends_at, UTC).isoformat(),
            }
        )
    )


def _received(world: World, parts: list[Part]) -> web.Response:
    sent = next((part for part in parts if part.name == "file"), None)
    if sent is None or sent.filename is None:
        raise RefusalError(400, "file is required")
    if len(sent.data) > FORM_FILE_BYTES:
        msg = f"file is larger than {FORM_FILE_BYTES} bytes: use a presigned upload"
        raise RefusalError(413, msg)
    path = store.upload_path(_USER, world.ledger.new_token(12), sent.filename)
    kind = store.guess_type(sent.filename, sent.content_type)
    world.store.add_upload(path, store.Upload(kind, world.timeline.now(), sent.data))
    return web.json_response(
        envelope({"publicUrl": f"{world.origin}/files/uploads/{path}"})
    )


async def put(world: World, call: Call) -> web.Response:
    """
    PUT to a presigned address.

    Source:
        Files page: within 10 minutes, with the very same Content-Type. That a
        second credential is refused is how presigned storage behaves.
    """
    request = call.request
    path = request.rel_url.raw_path.removeprefix("/files/uploads/")
    reserved = world.store.reservation(path, request.query.get("signature", ""))
    if reserved is None:
        raise RefusalError(403, "upload address is unknown, used or expired")
    if call.record.has_key:
        raise RefusalError(400, "only one way to authenticate: drop Authorization")
    if request.headers.get("Content-Type", "") != reserved.content_type:
        raise RefusalError(403, f"Content-Type must be {reserved.content_type}")
    data = await forms.read_body(request)
    if reserved.size is not None and len(data) != reserved.size:
        raise RefusalError(400, f"expected {reserved.size} bytes, got {len(data)}")
    world.store.receive(path, data)
    return web.Response(status=200)


async def picture(world: World, call: Call) -> web.Response:
    """GET /files/images/NAME."""
    name = call.request.match_info["name"]
    return _served(call, await world.store.picture(name), f'"{name}"')


async def uploaded(world: World, call: Call) -> web.Response:
    """GET /files/uploads/USER/NAME."""
    path = call.request.rel_url.raw_path.removeprefix("/files/uploads/")
    return _served(call, world.store.uploaded(path), f'"{path}"')


def _served(call: Call, found: tuple[bytes, str] | None, etag: str) -> web.Response:
    if found is None:
        raise RefusalError(404, "no such file, or older than 7 days")
    data, kind = found
    headers = {"Accept-Ranges": "bytes", "ETag": etag, "Content-Type": kind}
    asked = call.request.headers
    if asked.get("If-None-Match") == etag:
        return web.Response(status=304, headers={"ETag": etag})
    if asked.get("If-Range", etag) != etag:
        return web.Response(body=data, headers=headers)
    part = store.byte_range(asked.get("Range"), len(data))
    if part is None:
        return web.Response(body=data, headers=headers)
    first, length = part
    if length == 0:
        headers["Content-Range"] = f"bytes */{len(data)}"
        return web.Response(status=416, headers=headers)
    headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{len(data)}"
    return web.Response(status=206, body=data[first : first + length], headers=headers)
