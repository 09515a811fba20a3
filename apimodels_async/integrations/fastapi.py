"""
FastAPI: one session for each process, injected, and an answer for each of its errors.

    app = FastAPI(lifespan=lifespan(), exception_handlers=exception_handlers)

    @app.post("/draw")
    async def draw(prompt: str, session: SessionDep) -> dict[str, str]:
        return {"url": (await session.images.generate(prompt)).url}

Needs the extra ``[fastapi]``.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Final

from apimodels_async._io.lazy import without_extra
from apimodels_async.errors import ApiModelsError, ConfigurationError
from apimodels_async.integrations.web import answer_to, log_error, open_session
from apimodels_async.session import Session

try:
    from fastapi import Depends, Header, Request, Response
    from fastapi.responses import JSONResponse
    from starlette.requests import HTTPConnection
except ModuleNotFoundError as _missing:
    raise without_extra(_missing, "fastapi") from None

__all__ = [
    "IdempotencyKey",
    "SessionDep",
    "answer_error",
    "exception_handlers",
    "get_session",
    "lifespan",
]

_STATE: Final = "apimodels_session"
"""Its name in the lifespan's state, which mounted applications share."""


def lifespan(
    make_session: Callable[[], Session] = Session, *, recover: bool = False
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """
    Return a lifespan that opens one session for each process and closes it at the end.

    With things of your own to open, write one around it, and yield both states:
    ``async with lifespan()(app) as state: yield {**state, "mine": mine}``.

    Args:
        make_session: For example ``lambda: Session(store="orders.sqlite")``.

        recover: Also see to the end what dead processes left in the store, as
            ``integrations.web.open_session`` says.
    """

    @asynccontextmanager
    async def opened(_app: Any) -> AsyncIterator[dict[str, Any]]:
        async with open_session(make_session, recover=recover) as session:
            yield {_STATE: session}

    return opened


def get_session(connection: HTTPConnection) -> Session:
    """
    Return the session that the lifespan opened; also for WebSockets.

    Raises:
        ConfigurationError: There is none.
    """
    session = getattr(connection.state, _STATE, None)
    if not isinstance(session, Session):
        msg = (
            "no session is open: FastAPI(lifespan=lifespan()); a TestClient opens it "
            "in its `with`"
        )
        raise ConfigurationError(msg)
    return session


SessionDep = Annotated[Session, Depends(get_session)]
"""A parameter of this type is the session."""
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]
"""
A parameter of this type is the client's own name for its order, for
``idempotency_key=``, which needs a store. Clients share these names: where there is a
login, put the user before it.
"""


async def answer_error(request: Request, error: ApiModelsError) -> Response:
    """
    Return what ``integrations.web.answer_to`` says, as JSON; log what it leaves out.

    Raises:
        ApiModelsError: *error*, in a WebSocket, which has no such answer.
    """
    if request.scope["type"] != "http":
        raise error
    answer = answer_to(error)
    log_error(error, answer)
    return JSONResponse(answer.body, answer.status, answer.headers)


exception_handlers: dict[
    int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]
] = {ApiModelsError: answer_error}
"""For ``FastAPI(exception_handlers=...)``, beside your own."""
