"""
Takes the API's callbacks in a web app, and tells sessions about them.

Rules of this file:
1. Nothing that a caller says is believed, logged or answered in words.
2. An address that is not ours, and a method that is not POST, get one and the same
   empty 404.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api.callbacks import BODY_BYTES_MAX, read_delivery
from apimodels_async._ports import Hint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from aiohttp import web

    from apimodels_async.webhooks.callback import Callback

    Message = MutableMapping[str, Any]

READ_S: Final = 5.0
"""For a whole body; the API gives up on us after 10."""
TAKEN, MALFORMED, ABSENT, SLOW, LARGE, NOBODY = 200, 400, 404, 408, 413, 503


class Receiver:
    """
    An ASGI app, an aiohttp application, or a plain coroutine for anything else.

    ``app.mount("/hooks", Receiver(callback))`` in FastAPI and Starlette;
    ``app.add_subapp("/hooks", Receiver(callback).aiohttp_app())`` in aiohttp;
    ``status = await receiver.deliver(path, body)`` elsewhere. Free: a session that
    knows the order asks the API for its task, at most once an interval.

    Answers have no body: 200 once a session took the hint; 404 for a wrong address or
    method; 400, 408 or 413 for a body that is not the API's, takes over 5 s or has over
    64 KiB; 503 while no session knows the order, so that the API tries again.

    Args:
        callback: The same as the sessions', or one of the same secret and relay.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    async def deliver(self, path: str, body: bytes) -> int:
        """
        Take one POST and return the HTTP status to answer it with.

        Args:
            path: Of the request; its last segment counts.

            body: At most 64 KiB; read no more of it than that.
        """
        nonce = self._callback.nonce_of(path)
        if nonce is None:
            return ABSENT
        if len(body) > BODY_BYTES_MAX:
            return LARGE
        task_id = read_delivery(body)
        if task_id is None:
            return MALFORMED
        taken = await self._callback.relay.publish(Hint(nonce, task_id))
        return TAKEN if taken else NOBODY

    async def _receive(
        self, method: str, path: str, chunks: AsyncIterator[bytes]
    ) -> int:
        # Before the body: a stranger is not read.
        if method != "POST" or self._callback.nonce_of(path) is None:
            return ABSENT
        body = bytearray()
        try:
            async with asyncio.timeout(READ_S):
                async for chunk in chunks:
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        return LARGE
        except TimeoutError:
            return SLOW
        except _HalfBodyError:
            return MALFORMED
        return await self.deliver(path, bytes(body))

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve as an ASGI app, mounted or on its own."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            chunks = _chunks(receive)
            status = await self._receive(scope["method"], scope["path"], chunks)
            headers = [(b"content-length", b"0")]
            start = {"type": "http.response.start", "status": status}
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    def aiohttp_app(self) -> web.Application:
        """Return an application for ``app.add_subapp(prefix, ...)``."""
        from aiohttp import web

        async def read(request: web.Request) -> AsyncIterator[bytes]:
            try:
                async for chunk in request.content.iter_any():
                    yield chunk
            except (ConnectionError, web.RequestPayloadError):
                raise _HalfBodyError from None

        async def handle(request: web.Request) -> web.Response:
            chunks = read(request)
            return web.Response(
                status=await self._receive(request.method, request.path, chunks)
            )

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        return app


class _HalfBodyError(Exception):
    """The sender hung up, or what it sent cannot be unpacked."""


async def _chunks(receive: Callable[[], Awaitable[Message]]) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _HalfBodyError
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _live(
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
