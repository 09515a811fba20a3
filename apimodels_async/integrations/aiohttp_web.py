"""
aiohttp.web: one session for each process, and an answer for each of its errors.

    async def draw(request: web.Request) -> web.Response:
        result = await get_session(request).images.generate("a red fox")
        return web.json_response({"url": result.url})

    app = web.Application()
    setup(app)
    app.router.add_post("/draw", draw)

Needs no extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from apimodels_async.errors import ApiModelsError, ConfigurationError
from apimodels_async.integrations.web import answer_to, log_error, open_session
from apimodels_async.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["SESSION", "answer_errors", "get_session", "setup"]

SESSION: Final = web.AppKey("apimodels_session", Session)
"""Where the application has it."""


def setup(
    app: web.Application,
    make_session: Callable[[], Session] = Session,
    *,
    recover: bool = False,
) -> None:
    """
    Let *app* open one session when it starts and close it when it ends, and answer
    its errors, in sub-applications as well. What is set up later is closed before it.

    Args:
        make_session: For example ``lambda: Session(store="orders.sqlite")``.

        recover: Also see to the end what dead processes left in the store, as
            ``integrations.web.open_session`` says.
    """

    async def opened(app: web.Application) -> AsyncIterator[None]:
        async with open_session(make_session, recover=recover) as session:
            app[SESSION] = session
            yield

    app.cleanup_ctx.append(opened)
    app.middlewares.append(answer_errors)


def get_session(request: web.Request) -> Session:
    """
    Return the session of the application, or of the one it is a part of.

    Raises:
        ConfigurationError: There is none.
    """
    session = request.config_dict.get(SESSION)
    if session is None:
        msg = "no session is open: call setup(app) before the application starts"
        raise ConfigurationError(msg)
    return session


@web.middleware
async def answer_errors(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """
    Answer as ``integrations.web.answer_to`` says, as JSON; log what it leaves out.

    Raises:
        ApiModelsError: An answer had begun, a stream or a WebSocket: no other fits in.
    """
    try:
        return await handler(request)
    except ApiModelsError as error:
        if request.writer.output_size:
            raise
        answer = answer_to(error)
        log_error(error, answer)
        return web.json_response(
            answer.body, status=answer.status, headers=answer.headers
        )
