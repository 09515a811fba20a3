"""What keeps other sites out: orders cost money, and there is no login here."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Header, HTTPException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_same_origin(site: str | None, origin: str | None, host: str | None) -> bool:
    """
    Return whether a request that changes something came from our own page.

    Browsers say so themselves; those that do not yet, send the page's origin. What
    sends neither is no browser, and has nobody's login to abuse.
    """
    if site is not None:
        return site in {"same-origin", "none"}
    return origin is None or urlsplit(origin).netloc == host


async def same_origin(
    sec_fetch_site: Annotated[str | None, Header()] = None,
    origin: Annotated[str | None, Header()] = None,
    host: Annotated[str | None, Header()] = None,
) -> None:
    """Refuse what another site's page sent (cross-site request forgery)."""
    if not is_same_origin(sec_fetch_site, origin, host):
        raise HTTPException(403, "This came from another site's page: not done.")


class SafeHeaders:
    """Adds ``HEADERS`` to every answer; passes streams on as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending)
