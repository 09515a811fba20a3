"""The application: ``uvicorn gallery.app:app``, with one worker for a folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gallery import pages, store, studio
from gallery.feed import Feed
from gallery.guard import SafeHeaders
from gallery.settings import BODY_MAX, Settings


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """
    Open what the process has one of, each inside what it needs.

    On the way out the studio lets orders finish and leaves the rest to the next start,
    then the session closes, and its store with it.
    """
    settings: Settings = app.state.settings
    feed = Feed()
    async with (
        store.opened(settings.folder, feed) as (session, cards),
        studio.opened(session, cards, settings.folder, settings.budget) as workers,
    ):
        yield {"store": cards, "studio": workers, "feed": feed}


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it opens nothing before it is served."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    app = FastAPI(
        title="Gallery",
        lifespan=lifespan,
        exception_handlers={RequestValidationError: pages.refuse_input},
        max_body_size=BODY_MAX,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.settings = settings
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=pages.HERE / "static"))
    app.mount("/pictures", pages.Pictures(directory=settings.folder))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts)
    app.add_middleware(SafeHeaders)
    return app


app = create_app(Settings.from_environment())
