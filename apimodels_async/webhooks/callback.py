"""
Where the API calls back, and how much a session relies on it.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Final

from apimodels_async._api.checks import is_http_url
from apimodels_async._core.polling.callback_address import (
    NONCE_BYTES,
    sign,
    verify,
)
from apimodels_async._io.config import callback_secret
from apimodels_async._io.relays import MemoryRelay
from apimodels_async._secret import Secret, hidden
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from apimodels_async._ports import Relay

INTERVAL_S: Final = 30.0
PATIENCE_S: Final = 60.0


class Callback:
    """
    A public address for the API's callbacks, for ``Session(callback=...)``.

    Each order gets an address of its own below *url*. A callback to it is a hint and no
    more: the session looks at that task with its key, and what the API answers counts.
    One object may serve several sessions, and a ``Receiver`` at the same time.

    Args:
        url: Where the receiver is reached from the internet, without query.

        secret: At least 32 characters, the same in every process; else
            ``APIMODELS_CALLBACK_SECRET``; else a random one that lives as long as this
            object. ``python -c "import secrets; print(secrets.token_urlsafe(32))"``

        interval: Seconds between two polls of a task while callbacks arrive. When they
            stay away, tasks are polled as without.

        patience: Seconds that an order of unknown fate waits for its callback, before
            ``OutcomeUnknownError`` is raised. A later one still is taken up
            (``session.orphans``).

        relay: How hints get from receivers to sessions: within this process if not
            given; ``SocketRelay`` within one machine; ``RedisRelay`` of
            ``integrations.redis`` over several; or your own ``Relay``.

    Raises:
        ConfigurationError: Not an http(s) URL, a short secret, a number out of range.

    Source:
        Vendor's video page, "callback": sent once a task completed or failed, unsigned,
        4 times in 7 seconds, then for up to 30 minutes, until a 2xx.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        interval: float = INTERVAL_S,
        patience: float = PATIENCE_S,
        relay: Relay | None = None,
    ) -> None:
        given, secret = Secret.of(secret), None  # a frame that raises shows locals
        place, url = hidden(url), ""
        text = place.reveal() if isinstance(place, Secret) else place
        if not is_http_url(text) or "?" in text or "#" in text or "@" in text:
            text = ""
            msg = "Callback.url must be an http(s) URL without user, query and fragment"
            raise ConfigurationError(msg)
        _check_seconds("interval", interval)
        _check_seconds("patience", patience)
        self.url: str = text.rstrip("/")
        """As given, without a slash at the end."""
        self.interval: float = float(interval)
        """Seconds between two polls of a task while callbacks arrive."""
        self.patience: float = float(patience)
        """Seconds that an order of unknown fate waits for its callback."""
        self.relay: Relay = relay or MemoryRelay()
        """How hints get from receivers to sessions."""
        self._secret = callback_secret(given)

    def new_nonce(self) -> str:
        """Return what one order's address is made of; not secret by itself."""
        return secrets.token_hex(NONCE_BYTES)

    def address(self, nonce: str) -> str:
        """Return the URL that the API is to call for the order of *nonce*."""
        return f"{self.url}/{sign(self._secret.reveal().encode(), nonce)}"

    def nonce_of(self, path: str) -> str | None:
        """
        Return the nonce in the last segment of *path*; None if it is none of ours.

        A slash at the end counts for nothing: Litestar puts one there.
        """
        signature = path.removesuffix("/").rpartition("/")[2]
        return verify(self._secret.reveal().encode(), signature)

    def __repr__(self) -> str:
        return f"<Callback {getattr(self, 'url', 'not set up')}>"


def _check_seconds(name: str, value: float) -> None:
    if isinstance(value, bool) or not 0 < value < math.inf:
        msg = f"Callback.{name} must be a positive, finite number, not {value!r}"
        raise ConfigurationError(msg)
